"""Exact on chains: thresholds on peaks first, labels for what they leave open.

A node allows every peak a range. Runs that load a peak beyond its range are left out, and no
solution of the node has a peak below it, so what remains to be found is a path: shortest under
sums, or at a corner of the hull of cost against slots. Best first, a node is relaxed; ranges lose
what could only be worse than the best solution known; then the range of the peak that the relaxed
path says least about is halved. Where halving no longer helps, because slots, several sums or
borders are what is in the way, label setting finishes the node.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from planner.errors import TimeUpError
from planner.solver.chain.bounds import MeasureBound, Relaxed, most_peaks, relaxed
from planner.solver.chain.labels import FIRST_BEAM, LAST_BEAM, labelled, used_criteria
from planner.solver.chain.paths import farthest, relaxed_use, run_loads
from planner.solver.chain.problem import TOLERANCE, ChainProblem, Cuts, Floats, Incumbent, Solution

GRID = 64
"""Points of a peak's range at which its bound is looked at."""
FEW_SLOTS = 16
"""Up to which labels are so few that thresholds do not pay."""
ROUNDING, TINY = 1e-13, 1e-300
PROMISING = 0.02
"""Part of the gap to the best solution that a peak must explain for its range to be worth
halving."""


def solve(
    problem: ChainProblem,
    *,
    incumbent: float = math.inf,
    first_beam: int = FIRST_BEAM,
    last_beam: int = LAST_BEAM,
    most_nodes: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
) -> Solution:
    """The best solution below `incumbent`, with a proved bound (the incumbent itself where nothing
    better exists).

    Passes over the labels of a node keep `first_beam` at one item, then more. The search ends
    without proof when it would need more than `last_beam` (with 0, labels are set only where they
    are few), after so many nodes, or when `stop` says so.
    """
    return _Thresholds(
        problem, Incumbent(problem, incumbent), first_beam, last_beam, stop
    ).solution(most_nodes)


def root_bound(problem: ChainProblem) -> float:
    """A lower bound from relaxations alone; infinite where there is no way at all."""
    relaxation = relaxed(problem)
    if relaxation.narrow.cost[0] > problem.budget:
        return math.inf
    return float(relaxation.bounds[0].at_start(np.zeros((1, problem.run_peaks.shape[1])))[0])


class _Node(NamedTuple):
    """Solutions whose peaks lie in a range, the upper end left out."""

    lower: float
    number: int
    floors: Floats
    caps: Floats


class _Thresholds:
    def __init__(
        self,
        problem: ChainProblem,
        best: Incumbent,
        first_beam: int,
        last_beam: int,
        stop: Callable[[], bool],
    ) -> None:
        self.problem, self.best, self.stop = problem, best, stop
        self.first_beam, self.last_beam = first_beam, last_beam
        self.loads = run_loads(problem)
        self.peaks = np.flatnonzero(used_criteria(problem)[1])
        none = np.zeros(problem.run_peaks.shape[1])
        self.open = [_Node(-math.inf, 0, none, np.full(len(none), np.inf))]
        self.farthest = farthest(problem)
        self.count = 1
        self.left = math.inf
        """The least bound of nodes that were given up."""
        self.cut_off = 0

    def solution(self, most_nodes: float) -> Solution:
        nodes = 0
        while self.open and self.open[0].lower < self.best.goal:
            if self.stop() or nodes >= most_nodes:
                break
            nodes += 1
            node = heapq.heappop(self.open)
            try:
                self._close(node)
            except TimeUpError:
                # What was found on the way counts; the node is as open as it was.
                heapq.heappush(self.open, node)
                break
        lowest = min(self.left, self.open[0].lower if self.open else math.inf)
        if lowest == -math.inf:
            lowest = self._root_bound()
        proved = self.best.value if lowest >= self.best.goal else lowest
        return self.best.solution(proved, self.cut_off)

    def _root_bound(self) -> float:
        """Where no node was closed; nothing where there is no time for it."""
        try:
            return root_bound(self.problem)
        except TimeUpError:
            return 0.0

    def _close(self, node: _Node) -> None:
        """Relax a node, and leave what is to be done with it."""
        problem = self._capped(node.caps)
        relaxation = relaxed(problem, node.floors, self.best.goal)
        if relaxation.narrow.cost[0] > problem.budget:
            return
        for cuts in relaxation.starts:
            self.best.offer(cuts)
        objective, *limited = relaxation.bounds
        lower = max(node.lower, float(objective.at_start(node.floors[None])[0]))
        if lower >= self.best.goal or self._breaks_a_limit(node, limited):
            return
        # No cap need lie above what any run can bring.
        highest = (1 + ROUNDING) * most_peaks(problem) + TINY
        caps = self._tightened(node, relaxation, np.minimum(node.caps, highest))
        _, reached = relaxed_use(problem, self._path(relaxation, node.floors))
        few = problem.budget <= FEW_SLOTS
        peak = None
        if not few:
            peak = self._widest(objective, node.floors, np.minimum(reached, caps), lower)
        if peak is not None:
            self._halve(node, lower, caps, peak, float(min(reached[peak], caps[peak])))
        elif not few and ((reached >= caps) & (caps < node.caps))[self.peaks].any():
            self._push(lower, node.floors, caps)
        else:
            proved = max(lower, self._labelled(problem, relaxation, few))
            if proved < self.best.goal:
                self.left = min(self.left, proved)

    def _breaks_a_limit(self, node: _Node, limited: Sequence[MeasureBound]) -> bool:
        """Whether some limit is out of reach of every solution of a node."""
        for bound, limit in zip(limited, self.problem.limits, strict=True):
            if float(bound.at_start(node.floors[None])[0]) > limit.most * (1 + TOLERANCE):
                return True
        return False

    def _labelled(self, problem: ChainProblem, relaxation: Relaxed, few: bool) -> float:
        """What labels prove about a node; nothing where they are not to be set."""
        # Where labels are few, even a quick look can afford one pass.
        last_beam = self.last_beam or (self.first_beam if few else 0)
        if not last_beam:
            return -math.inf
        proved = labelled(
            problem,
            relaxation,
            self.best,
            first_beam=self.first_beam,
            last_beam=last_beam,
            stop=self.stop,
        )
        self.cut_off += proved.cut_off
        return proved.bound

    def _capped(self, caps: Floats) -> ChainProblem:
        """The problem without runs and links that reach a cap."""
        problem, items = self.problem, self.problem.items
        if not np.isfinite(caps).any():
            return problem
        last = np.full((problem.options, items + 1), items)
        dead = np.zeros((items + 1, problem.options), dtype=bool)
        for peak in np.flatnonzero(np.isfinite(caps)):
            room = caps[peak] - problem.run_peaks_fixed[:, peak, None] + self.loads[:, :, peak]
            for option in range(problem.options):
                ends = np.searchsorted(self.loads[option, :, peak], room[option], side="left") - 1
                last[option] = np.minimum(last[option], ends)
            dead |= problem.link_peaks[:, :, :, peak].min(axis=2) >= caps[peak]
        dead[[0, items]] = False
        return replace(
            problem,
            feasible=problem.feasible
            & (np.arange(items + 1) <= last[:, :, None])
            & ~dead.T[:, None],
        )

    def _tightened(self, node: _Node, relaxation: Relaxed, caps: Floats) -> Floats:
        """Caps less what can only be worse than the best solution known, or breaks a limit."""
        goals = (
            self.best.goal,
            *(limit.most * (1 + 2 * TOLERANCE) for limit in self.problem.limits),
        )
        tight = caps.copy()
        for peak in self.peaks:
            floors = np.repeat(node.floors[None], GRID, axis=0)
            low = max(node.floors[peak], relaxation.bounds[0].peaks[0, peak])
            floors[:, peak] = np.linspace(low, max(low, caps[peak]), GRID)
            for bound, goal in zip(relaxation.bounds, goals, strict=True):
                beyond = np.flatnonzero(bound.at_start(floors) >= goal)
                if len(beyond) and beyond[0]:
                    tight[peak] = min(tight[peak], floors[beyond[0], peak])
        return tight

    def _path(self, relaxation: Relaxed, floors: Floats) -> Cuts:
        """The path that the bound is about: the best of all paths whose peaks would be at their
        floors."""
        objective = self.problem.objective

        def promised(cuts: Cuts) -> tuple[bool, float, int]:
            sums, _ = relaxed_use(self.problem, cuts)
            slots = int(sum(self.problem.widths[option] for _, _, option in cuts))
            return slots > self.problem.budget, float(objective.value(sums, floors)), slots

        return min(relaxation.starts, key=promised)

    def _widest(
        self, bound: MeasureBound, floors: Floats, reached: Floats, lower: float
    ) -> int | None:
        """The peak whose range, up to what the path reaches, makes most of the gap; None where
        none makes much of it."""
        raised = np.repeat(floors[None], len(self.peaks), axis=0)
        raised[np.arange(len(self.peaks)), self.peaks] = np.maximum(floors, reached)[self.peaks]
        rises = bound.at_start(raised) - lower
        most = int(rises.argmax()) if len(rises) else 0
        gap = self.best.goal - lower if math.isfinite(self.best.goal) else 0.0
        worth = max(PROMISING * gap, TOLERANCE * abs(lower))
        return int(self.peaks[most]) if len(rises) and rises[most] > worth else None

    def _halve(self, node: _Node, lower: float, caps: Floats, peak: int, reached: float) -> None:
        middle = float(node.floors[peak] + reached) / 2
        below = caps.copy()
        below[peak] = middle
        self._push(lower, node.floors, below)
        above = np.maximum(node.floors, self._least_beside(peak, middle))
        if (above < caps).all():
            self._push(lower, above, caps)

    def _least_beside(self, peak: int, load: float) -> Floats:
        """What no peak is below where a run or a link loads one of them so much, shape (peaks,)."""
        problem, least = self.problem, []
        for option in range(problem.options):
            along, fixed = self.loads[option], problem.run_peaks_fixed[option]
            heads = np.searchsorted(
                along[:, peak], load - fixed[peak] + along[:, peak], side="left"
            )
            tails = np.flatnonzero(heads <= self.farthest[option])
            least.append(along[heads[tails]] - along[tails] + fixed)
        links = problem.link_peaks[problem.link_peaks[..., peak] >= load]
        return np.asarray(
            (1 - ROUNDING) * np.concatenate([*least, links]).min(axis=0, initial=np.inf)
        )

    def _push(self, lower: float, floors: Floats, caps: Floats) -> None:
        heapq.heappush(self.open, _Node(lower, self.count, floors, caps))
        self.count += 1
