"""Labels with several objectives cover every solution that the exhaustive search finds."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest

from planner.solver.chain import exhaustive
from planner.solver.chain.exhaustive import all_cuts
from planner.solver.chain.problem import ChainProblem, Limit, Measure, evaluate, packed
from planner.solver.chain.tradeoffs import Known, uncovered
from tests.solver.chain.tangles import (
    ALMOST,
    BEAMS,
    LATE_BORDERS,
    SEEDS,
    late_border,
    tangled,
    vectors,
)
from tests.solver.posed import problems


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("shape", ["switch", "ring", "chain"])
def test_every_solution_is_covered(shape, tolerance):
    others = problems(shape, "chips", 4)
    for problem, other in zip(problems(shape, "tpot_s", 4), others, strict=True):
        problem = replace(problem, limits=(Limit(other.objective, 1e300),))  # noqa: PLW2901
        known = Known(2, tolerance)
        found, proved = uncovered(problem, known)
        assert proved
        for one in found:
            known.offer(one.vector)
        for cuts in all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                totals = evaluate(problem, runs)
                vector = np.array([float(measure.value(*totals)) for measure in problem.measures])
                assert known.covers(vector[None] * (1 + 1e-9))[0]
        again, proved = uncovered(problem, known)
        assert proved
        assert all(known.covers(one.vector[None])[0] for one in again)


@functools.cache
def tradeoffs(*, alike: bool) -> tuple[tuple[ChainProblem, np.ndarray], ...]:
    """Chains with a time and a sum to be small, each with the vectors of all its solutions."""
    other = Limit(Measure(np.array([0.0, 1.0]), np.array([0.0, 1.0])), math.inf)
    found = []
    for seed in SEEDS:
        problem = replace(tangled(seed, alike=alike, items=4), limits=(other,))
        found.append((problem, vectors(problem)))
    return tuple(found)


@pytest.mark.slow
@pytest.mark.parametrize("beam", [*BEAMS, 10_000])
@pytest.mark.parametrize("alike", [False, True])
def test_a_narrow_beam_says_that_all_is_covered_only_where_it_is(alike, beam):
    open_ = missed = 0
    for problem, all_of_them in tradeoffs(alike=alike):
        known = Known(2, 0.0)
        found, proved = uncovered(problem, known, beam=beam)
        for one in found:
            totals = evaluate(problem, packed(problem, one.cuts))
            assert one.vector == pytest.approx(
                [float(measure.value(*totals)) for measure in problem.measures]
            )
            known.offer(one.vector)
        covered = known.covers(all_of_them * ALMOST).all()
        assert covered or not proved
        open_ += not proved
        missed += not covered
    if beam in BEAMS:
        assert open_ >= len(SEEDS) / 2
        assert missed
    else:
        assert not open_


@LATE_BORDERS
def test_a_start_that_is_ahead_does_not_win_by_less_than_a_border_may_cost(in_peak, uneven):
    problem = late_border(in_peak=in_peak, uneven=uneven)
    found, proved = uncovered(problem, Known(1, 0.0))
    assert proved
    assert [one.vector.tolist() for one in found] == [[1.5]]


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.01, 0.2])
def test_what_is_known_within_a_tolerance_is_not_found_again(tolerance):
    """With every best vector known nothing is left; without one of them, what is found covers
    it."""
    for problem, all_of_them in tradeoffs(alike=True):
        known = Known(2, tolerance)
        for vector in all_of_them:
            known.offer(vector)
        assert uncovered(problem, known) == ([], True)
        first = known.vectors[known.vectors[:, 0].argmin()].copy()
        known.vectors = known.vectors[(known.vectors != first).any(axis=1)]
        found, proved = uncovered(problem, known)
        for one in found:
            known.offer(one.vector)
        assert proved
        assert known.covers(first[None] * ALMOST)[0]


@pytest.mark.slow
def test_a_search_that_is_stopped_proves_nothing():
    solvable = [
        one for one in problems("switch", "tpot_s", 6) if exhaustive.solve(one).runs is not None
    ]
    assert solvable
    for problem in solvable:
        known = Known(1 + len(problem.limits), 0.0)
        assert uncovered(problem, known, stop=lambda: True) == ([], False)


def test_what_is_beaten_is_forgotten_and_what_is_no_better_refused():
    known = Known(2, 0.1)
    assert known.offer(np.array([1.0, 2.0]))
    assert not known.offer(np.array([1.0, 2.0]))
    assert known.offer(np.array([0.9, 2.0]))
    assert known.vectors.tolist() == [[0.9, 2.0]]
    assert known.covers(np.array([[0.85, 2.0], [0.8, 2.0], [np.inf, 1.0]])).tolist() == [
        True,
        False,
        True,
    ]
