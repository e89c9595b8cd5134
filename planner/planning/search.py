"""The search over boxes of plans: best first, each bounded by its problem and cut in two until
it is a single one."""

import heapq
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from planner.answers.proof import StoppedBy
from planner.plan import Plan
from planner.records import Record
from planner.solver.chain import labels, thresholds
from planner.solver.chain.problem import ChainProblem, Run, Solution
from planner.space.boxes import Box
from planner.space.candidates import Candidates

Engine = Literal["auto", "cp-sat"]

CLOSE = 1 - 1e-12
"""Canonical values closer than this are one."""


NARROW, WIDE_NODES, NARROW_NODES = 1.3, 3, 48
"""Boxes that span no larger a ratio are bounded with more nodes: they could well be closed as
they are."""


class Progress(Record):
    """How far a search has come."""

    elapsed_s: float
    boxes_done: int
    boxes_open: int
    objective: float | None
    """Of the best plan so far, in the field's own unit."""
    bound: float | None
    """Proved so far: no plan is better."""


@dataclass
class _Best:
    plan: Plan | None = None
    value: float = math.inf


class Search:
    """Best first over boxes of plans: each is bounded by its problem, cut in two where it is not
    single."""

    def __init__(
        self,
        candidates: Candidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        engine: Engine = "auto",
        seed: int = 0,
        enough: float = -math.inf,
        hopeless: float = math.inf,
    ) -> None:
        """`enough` is a canonical value that need not be bettered, `hopeless` one above which
        none is of use: either ends the search."""
        self.enough, self.hopeless = enough, hopeless
        self.candidates, self.progress, self.engine, self.seed = candidates, progress, engine, seed
        self.started = time.monotonic()
        self.deadline = math.inf if time_limit_s is None else self.started + time_limit_s
        self.best = _Best()
        self.open: list[tuple[float, int, Box]] = []
        self.done = 0
        self.interrupted = False
        self.left: list[float] = []
        """Bounds of boxes that the clock closed."""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def bound(self) -> float:
        """Proved: no plan has a lower canonical value."""
        return min([self.goal, *self.left, *(bound for bound, _, _ in self.open)])

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.interrupted:
            return "interrupt"
        if self.bound >= self.goal * CLOSE:
            return "proof"
        if time.monotonic() >= self.deadline:
            return "time"
        return "beam"

    @property
    def goal(self) -> float:
        """What a plan must stay below to be of use."""
        return min(self.best.value, self.hopeless)

    def run(self) -> None:
        """Until the best plan is proved, the clock runs out, or Ctrl-C."""
        try:
            self._run()
        except KeyboardInterrupt:
            self.interrupted = True
        self.open = [
            (max(bound, self._root_bound(box, bound)), number, box)
            for bound, number, box in self.open
        ]

    def _run(self) -> None:
        for number, box in enumerate(self.candidates.boxes()):
            heapq.heappush(self.open, (-math.inf, number, box))
        number = len(self.open)
        while self.open and time.monotonic() < self.deadline:
            bound, _, box = self.open[0]
            if bound >= self.goal * CLOSE or self.best.value <= self.enough:
                return
            children = self._closed(bound, box)
            heapq.heappop(self.open)
            for lower, child in children:
                heapq.heappush(self.open, (lower, number, child))
                number += 1
            self.done += 1
            if self.progress is not None:
                self.progress(self._report())

    def _root_bound(self, box: Box, known: float) -> float:
        """A quick bound of a box that was never opened, so that an interrupted search still
        proves something."""
        if known > -math.inf:
            return known
        problem = self.candidates.to_problem(box)
        return math.inf if problem is None else thresholds.root_bound(problem)

    def _closed(self, bound: float, box: Box) -> list[tuple[float, Box]]:
        """Solve a box's problem; the boxes that it leaves."""
        problem = self.candidates.to_problem(box)
        if problem is None:
            return []
        solution = self._solved(problem, box)
        if solution.runs is not None:
            self._offer(box, self.candidates.to_plan(box, solution.runs), solution.objective)
        lower = max(bound, solution.bound)
        if box.single:
            if lower < self.goal * CLOSE:
                self.left.append(lower)
            return []
        return [(lower, half) for half in box.halves()]

    def _solved(self, problem: ChainProblem, box: Box) -> Solution:
        """By labels; what they cannot finish, and everything where that is asked for, by CP-SAT.
        A box that will be cut in any case gets a quick look: a few nodes, and no labels."""
        if self.engine == "cp-sat" and not any(measure.averaged for measure in problem.measures):
            return self._by_cpsat(problem, None)
        solution = thresholds.solve(
            problem,
            incumbent=self.goal,
            last_beam=labels.LAST_BEAM if box.single else 0,
            most_nodes=math.inf
            if box.single
            else NARROW_NODES
            if box.ratio < NARROW
            else WIDE_NODES,
            stop=lambda: time.monotonic() >= self.deadline,
        )
        if not box.single:
            return solution
        best = min(self.goal, solution.objective)
        if solution.bound >= best * CLOSE or time.monotonic() >= self.deadline:
            return solution
        other = self._by_cpsat(problem, solution.runs)
        better = min(solution, other, key=lambda one: one.objective)
        return Solution(better.runs, better.objective, max(solution.bound, other.bound))

    def _by_cpsat(self, problem: ChainProblem, runs: tuple[Run, ...] | None) -> Solution:
        from planner.solver.chain import cpsat

        if not cpsat.supports(problem):
            return Solution(runs, math.inf, 0.0)
        hint = None if runs is None else tuple((run.tail, run.head, run.option) for run in runs)
        limit = self.deadline - time.monotonic()
        return cpsat.solve(problem, hint=hint, time_limit_s=limit, seed=self.seed)

    def _offer(self, box: Box, plan: Plan, value: float) -> None:
        if not box.single or self.candidates.workload.requests_per_s is not None:
            plan, value = self.candidates.realised(box, plan)
        if value < self.best.value:
            self.best = _Best(plan, value)

    def _report(self) -> Progress:
        name = self.candidates.question.objective
        known = self.best.plan is not None
        bound = self.bound
        return Progress(
            elapsed_s=self.elapsed_s,
            boxes_done=self.done,
            boxes_open=len(self.open),
            objective=self.candidates.field_value(name, self.best.value) if known else None,
            bound=self.candidates.field_value(name, bound)
            if math.isfinite(bound) and bound > 0
            else None,
        )
