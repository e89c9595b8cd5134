"""Chains with several objectives: labels as in `labels`, dropped where a known vector is as good
within a tolerance.

A label's lower bounds, one for each measure, make a vector; a known vector that is no more than (1
+ tolerance) times as large in every measure covers all its completions. What reaches the end
uncovered is returned; once nothing does, the known vectors cover every solution [1].

[1] C. Papadimitriou, M. Yannakakis, "On the approximability of trade-offs", FOCS 2000.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solver.chain.bounds import relaxed
from planner.solver.chain.labels import LAST_BEAM, Stopped, _Labels, _Search, _traced
from planner.solver.chain.problem import ChainProblem, Cuts, Floats, Incumbent


class Known:
    """Vectors of values, all to be small."""

    def __init__(self, measures: int, tolerance: float) -> None:
        self.vectors: Floats = np.zeros((0, measures))
        self.tolerance = tolerance

    def covers(self, lower: Floats) -> NDArray[np.bool_]:
        """Which of some vectors are reached, within the tolerance, by one that is known, shape
        (n,)."""
        covered: NDArray[np.bool_] = np.asarray(~np.isfinite(lower).all(axis=1))
        most = lower * (1 + self.tolerance)
        # One step for each of whichever are fewer.
        if len(most) < len(self.vectors):
            for number, one in enumerate(most):
                covered[number] |= (one >= self.vectors).all(axis=1).any()
        else:
            for one in self.vectors:
                covered |= (most >= one).all(axis=1)
        return covered

    def offer(self, vector: Floats) -> bool:
        """Take a vector unless one that is known is at least as good in everything; those that
        it beats go."""
        if (self.vectors <= vector).all(axis=1).any():
            return False
        beaten = (vector <= self.vectors).all(axis=1)
        self.vectors = np.concatenate([self.vectors[~beaten], vector[None]])
        return True


class Tradeoff(NamedTuple):
    """A solution that nothing known covered."""

    cuts: Cuts
    vector: Floats


def uncovered(
    problem: ChainProblem,
    known: Known,
    *,
    beam: int = LAST_BEAM,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[Tradeoff], bool]:
    """Solutions so that each solution of the problem is covered by a known vector or by one of
    these; and whether that is proved (else there were more than `beam` labels at one item, or
    `stop` said so). Limits serve as further measures and are not enforced."""
    search = _Tradeoffs(problem, relaxed(problem), Incumbent(problem), stop)
    search.known, search.found = known, []
    if search.slots_left[0] > problem.budget:
        return [], True
    try:
        return search.found, search.run(beam) == math.inf
    except Stopped:
        return search.found, False


class _Tradeoffs(_Search):
    known: Known
    found: list[Tradeoff]

    def _alive(self, item: int, labels: _Labels) -> NDArray[np.bool_]:
        alive = np.asarray(labels.slots + self.slots_left[item] <= self.problem.budget)
        if alive.any():
            lower = [
                bound.value(item, labels.slots, labels.sums, labels.peaks) for bound in self.bounds
            ]
            alive &= ~self.known.covers(np.stack(lower, axis=1))
        return alive

    def _finish(self, labels: _Labels, history: list[tuple[int, _Labels]]) -> None:
        values = [measure.value(labels.sums, labels.peaks) for measure in self.problem.measures]
        vectors = np.stack(values, axis=1)
        mine = Known(vectors.shape[1], self.known.tolerance)
        for index in np.lexsort(vectors.T[::-1]).tolist():
            vector = vectors[index]
            if not mine.covers(vector[None])[0]:
                mine.offer(vector)
                self.found.append(Tradeoff(_traced(index, labels, history), vector))
