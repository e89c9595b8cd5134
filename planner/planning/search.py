"""The search over boxes of plans: best first, each bounded by its problem and cut in two until
it is a single one.

What is searched is a `Space`, of one machine or of a cluster; how the problem of a box is solved is
a `Solver`'s part. The search itself knows neither.
"""

import heapq
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar

from planner import allowance
from planner.answers.proof import StoppedBy
from planner.answers.question import Question
from planner.answers.results import ClusterResult
from planner.errors import TimeUpError
from planner.machines.cluster import PooledPlan
from planner.plan import Plan
from planner.planning.best import Best
from planner.records import Record
from planner.solver.chain import labels, placed, thresholds
from planner.solver.chain.placed import PlacedProblem, PlacedRun
from planner.solver.chain.problem import ChainProblem, Run, Solution
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterBox, ClusterCandidates
from planner.workload import Workload

Engine = Literal["auto", "cp-sat"]
ENGINES: tuple[Engine, ...] = ("auto", "cp-sat")

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


# ── What is searched, and how its problems are solved ────────────────────────────────────────────


class Divisible(Protocol):
    """A set of plans."""

    @property
    def single(self) -> bool:
        """Whether it is of one batch."""
        ...

    def halves(self) -> Iterator[Self]:
        """The set cut in two."""
        ...


B = TypeVar("B", bound=Divisible)
P = TypeVar("P")
R = TypeVar("R")
N = TypeVar("N", bound=Plan)
P_co = TypeVar("P_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
P_contra = TypeVar("P_contra", contravariant=True)
R_contra = TypeVar("R_contra", contravariant=True)


class Asked(Protocol):
    """What is asked, and how values of fields are told."""

    question: Question

    def field_value(self, name: str, canonical: float) -> float:
        """The inverse of `canonical`."""
        ...


class Space(Asked, Protocol[B, P_co, R_contra, N]):
    """Which plans there are: boxes of them, each with its problem in the solver's arrays."""

    workload: Workload

    def boxes(self) -> Iterator[B]:
        """All plans."""
        ...

    def to_problem(self, box: B) -> P_co | None:
        """The solver's arrays for a box; None where it holds no plan."""
        ...

    def to_plan(self, box: B, runs: R_contra) -> N:
        """The plan that a solution of a box's problem stands for."""
        ...

    def realised(self, box: B, plan: N) -> tuple[N, float]:
        """The best plan of a box with the stages of a relaxed solution, and its canonical
        value."""
        ...

    def canonical(self, name: str, value: float) -> float:
        """A field's value as the solver minimises it."""
        ...


class Solved(Protocol[R_co]):
    """What was found of a problem, and what was proved about it."""

    @property
    def runs(self) -> R_co | None: ...
    @property
    def objective(self) -> float: ...
    @property
    def bound(self) -> float: ...


class Solver(Protocol[B_contra, P_contra, R_co]):
    """How the problem of a box is solved."""

    def root_bound(self, problem: P_contra) -> float:
        """A quick lower bound; infinite where there is no solution at all."""
        ...

    def solve(
        self, problem: P_contra, box: B_contra, *, goal: float, deadline: float
    ) -> Solved[R_co]:
        """The best solution below the goal, as far as the box asks for it and the clock
        allows."""
        ...


@dataclass(frozen=True, slots=True)
class ChainSolver:
    """For plans on one machine: labels, and CP-SAT for what they cannot finish."""

    engine: Engine
    seed: int

    def root_bound(self, problem: ChainProblem) -> float:
        return thresholds.root_bound(problem)

    def solve(self, problem: ChainProblem, box: Box, *, goal: float, deadline: float) -> Solution:
        """By labels; what they cannot finish, and everything where that is asked for, by CP-SAT.
        A box that will be cut in any case gets a quick look: a few nodes, and no labels."""
        if self.engine == "cp-sat" and _is_for_cpsat(problem):
            return self._by_cpsat(problem, None, deadline)
        solution = thresholds.solve(
            problem,
            incumbent=goal,
            last_beam=labels.LAST_BEAM if box.single else 0,
            most_nodes=_nodes_for(box),
            stop=lambda: time.monotonic() >= deadline,
        )
        if not box.single:
            return solution
        best = min(goal, solution.objective)
        if solution.bound >= best * CLOSE or time.monotonic() >= deadline:
            return solution
        other = self._by_cpsat(problem, solution.runs, deadline)
        better = min(solution, other, key=lambda one: one.objective)
        return Solution(better.runs, better.objective, max(solution.bound, other.bound))

    def _by_cpsat(
        self, problem: ChainProblem, runs: tuple[Run, ...] | None, deadline: float
    ) -> Solution:
        from planner.solver.chain import cpsat

        if not cpsat.supports(problem):
            return Solution(runs, math.inf, 0.0)
        hint = None if runs is None else tuple((run.tail, run.head, run.option) for run in runs)
        limit = deadline - time.monotonic()
        return cpsat.solve(problem, hint=hint, time_limit_s=limit, seed=self.seed)


def _is_for_cpsat(problem: ChainProblem) -> bool:
    """Whether CP-SAT's model could state it; labels take what it could not."""
    is_averaged = any(measure.averaged for measure in problem.measures)
    return problem.crossings.is_even and not is_averaged


def _nodes_for(box: Box) -> float:
    """How many nodes a box is worth."""
    if box.single:
        return math.inf
    return NARROW_NODES if box.ratio < NARROW else WIDE_NODES


class PlacedSolver:
    """For plans on a cluster: labels that know where each stage stands."""

    def root_bound(self, problem: PlacedProblem) -> float:
        return placed.root_bound(problem)

    def solve(
        self, problem: PlacedProblem, box: ClusterBox, *, goal: float, deadline: float
    ) -> placed.PlacedSolution:
        return placed.solve(
            problem,
            incumbent=goal,
            last_beam=labels.LAST_BEAM if box.single else labels.FIRST_BEAM,
            stop=lambda: time.monotonic() >= deadline,
        )


# ── The search ───────────────────────────────────────────────────────────────────────────────────


class Course(Generic[N]):
    """What every best-first search keeps and tells: its clock, its best plan, how far it has
    come."""

    def __init__(
        self,
        candidates: Asked,
        *,
        time_limit_s: float | None,
        progress: Callable[[Progress], None] | None,
        enough: float,
        hopeless: float,
    ) -> None:
        """`enough` is a canonical value that need not be bettered, `hopeless` one above which
        none is of use: either ends the search."""
        self.candidates = candidates
        self.progress = progress
        self.enough = enough
        self.hopeless = hopeless
        self.started = time.monotonic()
        self.deadline = math.inf if time_limit_s is None else self.started + time_limit_s
        self.best: Best[N] = Best()
        self.spare: Best[N] = Best()
        """A plan that was found at once, for a search that is cut off before it has a better
        one."""
        self.floor = 0.0
        """Proved of all plans before they are told apart."""
        self.done = 0
        self.interrupted = False

    @property
    def elapsed_s(self) -> float:
        """Since the search was made."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float | None:
        """Of the time limit; None where there is none."""
        return None if self.deadline == math.inf else self.deadline - time.monotonic()

    @property
    def goal(self) -> float:
        """What a plan must stay below to be of use."""
        return min(self.best.value, self.hopeless)

    @property
    def bound(self) -> float:
        """Proved: no plan has a lower canonical value."""
        least = min(self.goal, self.floor)
        left = self._bounds_left()
        return least if left is None else max(least, min([self.goal, *left]))

    def _bounds_left(self) -> list[float] | None:
        """Bounds that together are of all plans that are not looked at yet; None: they are not told
        apart so far."""
        raise NotImplementedError

    def run(self) -> None:
        """Until the best plan is proved, the clock runs out, or Ctrl-C."""
        try:
            with allowance.until(self.deadline):
                self.spare = self._soon()
                self._run()
        except KeyboardInterrupt:
            self.interrupted = True
            allowance.end()
        except TimeUpError as up:
            self.interrupted |= up.interrupted
            self.deadline = min(self.deadline, time.monotonic())
        # Of plans that are as good a search that came to its end has the one that is wanted.
        if self.stopped_by != "proof":
            self._fall_back()
        self._round_off()

    def early(self) -> Best[N]:
        """A plan without a search, of which nothing is proved; none where there is no limit to the
        time, or too little of it."""
        with allowance.until(self.deadline), suppress(TimeUpError):
            return self._soon()
        return Best()

    def _soon(self) -> Best[N]:
        """Any plan, where time is short."""
        return Best()

    def _at_last(self) -> Best[N]:
        """Any plan, after time ran out."""
        return Best()

    def _run(self) -> None:
        raise NotImplementedError

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        raise NotImplementedError

    def _fall_back(self) -> None:
        """Take the plan that was found at once where there is none that is better, or any."""
        if self.spare.value < self.goal:
            self.best = self.spare
        if self.best.plan is None:
            last = self._at_last()
            if last.value < self.goal:
                self.best = last

    def _round_off(self) -> None:
        """What is still done of a search that was cut off."""

    def tell(self, left: int) -> None:
        """Say how far the search has come, one more box done and so many left."""
        self.done += 1
        if self.progress is None:
            return
        found = self.best.plan is not None
        self.progress(
            Progress(
                elapsed_s=self.elapsed_s,
                boxes_done=self.done,
                boxes_open=left,
                objective=self._told(self.best.value) if found else None,
                bound=self._told(self.bound) if 0 < self.bound < math.inf else None,
            )
        )

    def _told(self, canonical: float) -> float:
        """A canonical value of the objective, in the field's own unit."""
        return self.candidates.field_value(self.candidates.question.objective, canonical)


class BoxSearch(Course[N], Generic[B, P, R, N]):
    """Best first over boxes of plans: each is bounded by its problem, cut in two where it is not
    single."""

    candidates: Space[B, P, R, N]

    def __init__(
        self,
        candidates: Space[B, P, R, N],
        solver: Solver[B, P, R],
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        enough: float = -math.inf,
        hopeless: float = math.inf,
    ) -> None:
        super().__init__(
            candidates,
            time_limit_s=time_limit_s,
            progress=progress,
            enough=enough,
            hopeless=hopeless,
        )
        self.solver = solver
        self.open: list[tuple[float, int, B]] = []
        self.left: list[float] = []
        """Bounds of boxes that were closed without a proof."""
        self.bounds_rest = True
        """Whether boxes that were never opened get a quick bound in the end; of many of them it
        takes a while."""
        self.spread = False
        """Whether all plans are in `open`."""

    def _bounds_left(self) -> list[float] | None:
        return [*self.left, *(bound for bound, _, _ in self.open)] if self.spread else None

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

    def _round_off(self) -> None:
        """Bound the boxes that were never opened, where there is time for all of them: the least
        counts."""
        super()._round_off()
        if not self.bounds_rest or not self.spread:
            return
        is_proved = self.bound >= self.goal * CLOSE
        if is_proved or self.best.value <= self.enough:
            return
        with allowance.beyond(), suppress(TimeUpError):
            self.open = [
                (max(bound, self._root_bound(box, bound)), number, box)
                for bound, number, box in self.open
            ]

    def _run(self) -> None:
        self._spread_out()
        self._work_off()

    def _spread_out(self) -> None:
        """Put all plans in boxes."""
        for number, box in enumerate(self.candidates.boxes()):
            allowance.look()
            heapq.heappush(self.open, (0.0, number, box))
        self.spread = True

    def _work_off(self) -> None:
        """Box by box, the most promising first."""
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
            self.tell(len(self.open))

    def _root_bound(self, box: B, known: float) -> float:
        """A quick bound of a box that was never opened, so that an interrupted search still
        proves something."""
        if known > 0.0:
            return known
        problem = self.candidates.to_problem(box)
        return math.inf if problem is None else self.solver.root_bound(problem)

    def _closed(self, bound: float, box: B) -> list[tuple[float, B]]:
        """Solve a box's problem; the boxes that it leaves."""
        problem = self.candidates.to_problem(box)
        if problem is None:
            return []
        solution = self.solver.solve(problem, box, goal=self.goal, deadline=self.deadline)
        if solution.runs is not None:
            self._offer(box, self.candidates.to_plan(box, solution.runs), solution.objective)
        lower = max(bound, solution.bound)
        if box.single:
            if lower < self.goal * CLOSE:
                self.left.append(lower)
            return []
        return [(lower, half) for half in box.halves()]

    def _offer(self, box: B, plan: N, value: float) -> None:
        # A box of several batches was solved for none of them, and under a rate of requests the
        # batch follows from the plan: only the score knows what such a plan is worth.
        if not box.single or self.candidates.workload.requests_per_s is not None:
            plan, value = self.candidates.realised(box, plan)
        if value < self.best.value:
            self.best = Best(plan, value)


class Search(BoxSearch[Box, ChainProblem, tuple[Run, ...], Plan]):
    """The search over plans on one machine."""

    candidates: Candidates

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
        super().__init__(
            candidates,
            ChainSolver(engine, seed),
            time_limit_s=time_limit_s,
            progress=progress,
            enough=enough,
            hopeless=hopeless,
        )


class ClusterSearch(BoxSearch[ClusterBox, PlacedProblem, tuple[PlacedRun, ...], PooledPlan]):
    """The search over plans on a cluster; `known` is a result to improve on."""

    candidates: ClusterCandidates

    def __init__(
        self,
        candidates: ClusterCandidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        known: ClusterResult | None = None,
    ) -> None:
        super().__init__(candidates, PlacedSolver(), time_limit_s=time_limit_s, progress=progress)
        if known is not None:
            value = candidates.canonical(known.field, known.objective)
            self.best = Best(known.plan, value)
