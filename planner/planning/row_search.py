"""The same question stated once more, for OR-Tools CP-SAT: which row of the engine's plans, and
where its layers are cut.

A row is a form, a number of replicas and a batch (`space.engine_rows`). Rows that no cut could make
better than the best plan so far are left out: by what the stages take on average, and by the layers
that one of them must have. Of the others CP-SAT chooses one and cuts it, those of one depth at a
time, the most promising first; what it finds is scored, and the rest is proved to be no better.
Nothing is shared with `engine_search` but the list of forms, the price list, and `score_plan`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.proof import AS_GOOD, StoppedBy
from planner.plan import Plan
from planner.planning.best import Best
from planner.planning.engine_search import EngineSearch
from planner.planning.limited import LimitedCourse
from planner.planning.search import Progress
from planner.solver.rows.choice import Choice, ChoiceModel
from planner.solver.rows.choice import Rows as Stated
from planner.space.candidates import Candidates
from planner.space.engine_rows import PREFILL, Priced, Rows, Table
from planner.space.layout import even_cut

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MILLIONTH = 1e-6
"""Relative: how far the bound may lie below the plan of an optimum."""
IMPROVES = 1 - 0.6 * MILLIONTH
"""Values above this part of the best so far are no improvement: CP-SAT rounds costs to the grid of
its integers."""
AT_ONCE = 12
"""Rows in one model, at most."""
FEW, MANY = 8, 256
"""Rows whose replicas are told apart together."""
LOOKS = 8
"""Rows whose even cut is scored before anything is proved."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one split that may be of use, and what they cost at least, shape (rows,)."""

    rows: Rows
    bounds: Floats


class Hunt:
    """The best plan of some rows: CP-SAT looks at one of them after the other until none is left
    that could be better."""

    def __init__(
        self,
        table: Table,
        blocks: list[Block],
        *,
        deadline: float,
        hopeless: float,
        seed: int,
        chips: int | None = None,
    ) -> None:
        """`hopeless`: a canonical value above which no plan is of use; `chips`: only rows that hold
        so many."""
        self.table = table
        self.blocks = list(blocks)
        self.deadline = deadline
        self.hopeless = hopeless
        self.seed = seed
        self.best: Best[Plan] = Best()
        self.looked_at = 0
        self.shown = math.inf
        """Bound of all rows that CP-SAT has looked at."""
        self.open = [block.bounds.copy() for block in blocks]
        """The bounds, infinite where that is done."""
        self.chips = chips
        for block, bounds in zip(blocks, self.open, strict=True):
            self._leave_out(block.rows, bounds)

    def _leave_out(self, rows: Rows, bounds: Floats) -> None:
        """Rows that do not hold as many chips as are asked for."""
        if self.chips is None:
            return
        replicas = self.chips // rows.chips_of_replica
        may = (replicas >= rows.replicas) & (replicas <= rows.most_replicas)
        bounds[~may | (replicas * rows.chips_of_replica != self.chips)] = math.inf

    @property
    def goal(self) -> float:
        """What a plan must stay below to be of use."""
        return min(self.best.value, self.hopeless)

    @property
    def bound(self) -> float:
        """Proved: no row has a lower canonical value."""
        left = [float(bounds.min(initial=math.inf)) for bounds in self.open]
        return min([self.goal, self.shown, *left])

    @property
    def rows_left(self) -> int:
        """That could still be better."""
        return sum(int((bounds < self.goal * IMPROVES).sum()) for bounds in self.open)

    def look_at_even_cuts(self) -> None:
        """Score the even cut of a few rows, so that there is a plan from the first moment on."""
        graph = self.table.graph
        for _ in range(LOOKS):
            for _, number, _ in self._first(1):
                self._tell_apart(number, FEW)
        for _, number, row in self._first(LOOKS):
            rows = self.blocks[number].rows
            stages = int(rows.stages[row])
            if not rows.is_apart or stages > max(1, len(graph.inner_positions)):
                continue
            borders = even_cut(graph, stages) if stages > 1 else [0, len(graph.layers)]
            self._offer(self.table.to_plan(rows, row, borders))

    def _tell_apart(self, number: int, count: int) -> bool:
        """Whether the rows of a block had to be told apart, so many of the most promising ones
        for now."""
        rows = self.blocks[number].rows
        bounds = self.open[number]
        if rows.is_apart:
            return False
        best = np.argsort(bounds, kind="stable")[:count]
        best = best[bounds[best] < math.inf]
        every = self.table.apart(rows.some(best))
        found = Priced(self.table, every).bounds()
        self._leave_out(every, found)
        # Until its parts are bounded a row keeps its own bound, so that a stop claims nothing.
        bounds[best] = math.inf
        self.blocks.append(Block(every, found))
        self.open.append(found.copy())
        return True

    def _first(self, count: int) -> list[tuple[float, int, int]]:
        """Bound, block and row of those with the least bounds, ascending."""
        found: list[tuple[float, int, int]] = []
        for number, bounds in enumerate(self.open):
            few = min(count, len(bounds))
            least = np.argpartition(bounds, few - 1)[:few] if few else ()
            found += [(float(bounds[row]), number, int(row)) for row in least]
        return sorted(one for one in found if one[0] < math.inf)[:count]

    def step(self) -> bool:
        """Let CP-SAT look at the most promising row, and at others of its split and depth; False
        where none is left that could be better."""
        # A plan that was found otherwise counts for nothing until CP-SAT has seen its like.
        goal = self.goal * (IMPROVES if self.looked_at else 1 + MILLIONTH)
        first = self._first(1)
        if not first or first[0][0] >= goal:
            return False
        _, number, row = first[0]
        if self._tell_apart(number, MANY if self.looked_at else FEW):
            return True
        rows = self.blocks[number].rows
        bounds = self.open[number]
        alike = np.flatnonzero((rows.stages == rows.stages[row]) & (bounds < goal))
        alike = alike[np.argsort(bounds[alike], kind="stable")]
        chosen = alike[: AT_ONCE if self.looked_at else 1]
        self.shown = min(self.shown, self._looked_at(rows.some(chosen), goal))
        bounds[chosen] = math.inf
        self.looked_at += 1
        return True

    def _looked_at(self, rows: Rows, goal: float) -> float:
        """What rows of one split and depth are proved to be no better than, once what CP-SAT finds
        below a goal is offered."""
        shown = math.inf
        touched: list[Floats] = []
        left_out: list[tuple[int, Ints]] = []
        while True:
            priced = Priced(self.table, rows, np.array(touched) if touched else None)
            stated = stated_of(priced)
            model = ChoiceModel(stated, goal)
            for row, counts in left_out:
                model.forbid(row, counts)
            choice = model.solve(self.deadline - time.monotonic(), self.seed)
            if choice.row is None:
                return min(shown, goal, choice.bound)
            value = self._offer(self._plan(rows, choice))
            if self.table.rows_are_plans and value < choice.bound * (1 - MILLIONTH):
                raise AssertionError(
                    f"CP-SAT proved {choice.bound!r}, and a plan of these rows scores {value!r}"
                )
            is_met = value <= choice.value * (1 + 0.2 * MILLIONTH)
            if is_met or time.monotonic() >= self.deadline:
                return min(shown, choice.bound)
            # It costs more than the model says: since a limit is missed within the grid, or a queue
            # was told from below. Told exactly, or left out, it is no longer the best of the model.
            longest = float(stated.peaks_of(choice.row, choice.counts)[PREFILL])
            known = [float(priced.least[PREFILL, choice.row])]
            known += [float(one[choice.row]) for one in touched]
            if self.table.rate and longest not in known:
                is_row = np.arange(len(rows)) == choice.row
                touched.append(np.where(is_row, longest, priced.least[PREFILL]))
            else:
                left_out.append((choice.row, choice.counts))
                shown = min(shown, value)

    def _plan(self, rows: Rows, choice: Choice) -> Plan:
        assert choice.row is not None
        return self.table.to_plan(rows, choice.row, choice.counts.sum(axis=1).tolist())

    def _offer(self, plan: Plan) -> float:
        """Canonical value of a plan, kept where it is the best."""
        value = self.table.candidates.allowed_value(plan)
        if value < self.goal:
            self.best = Best(plan, value)
        return value


class RowSearch(LimitedCourse):
    """The best plan of the engine's space, chosen and proved by CP-SAT."""

    candidates: Candidates
    engine_value = math.inf
    """Of a wider space alone; see `FreeSearch`."""

    def __init__(
        self,
        candidates: Candidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        enough: float = -math.inf,
        hopeless: float = math.inf,
        nice: bool = True,
        seed: int = 0,
    ) -> None:
        """`enough`, `hopeless` and `nice` as of `EngineSearch`; an InputError says what of the
        question CP-SAT cannot state."""
        super().__init__(
            candidates,
            time_limit_s=time_limit_s,
            progress=progress,
            enough=enough,
            hopeless=hopeless,
        )
        self.nice = nice
        self.seed = seed
        self.hunt: Hunt | None = None
        """Once all rows are in the table."""
        self.rows = 0
        """That the table has."""

    @cached_property
    def table(self) -> Table:
        """Made while the clock runs: of a large machine that takes a while."""
        return Table(self.candidates)

    @property
    def as_good(self) -> float:
        """How far apart plans may be that are as good, relative; not at all for room in memory."""
        is_room = self.candidates.question.objective == "memory_headroom_bytes"
        return 0.0 if is_room else AS_GOOD

    @property
    def bound(self) -> float:
        """Proved: no plan has a lower canonical value."""
        floor = min(self.goal, self.floor)
        return floor if self.hunt is None else max(floor, self.hunt.bound)

    @property
    def models(self) -> int:
        """Integer models that CP-SAT has decided."""
        return 0 if self.hunt is None else self.hunt.looked_at

    @property
    def stopped_by(self) -> StoppedBy:
        """What ended the search."""
        if self.interrupted:
            return "interrupt"
        is_proved = self.hunt is not None and self.bound >= self.hunt.goal * (1 - MILLIONTH)
        return "proof" if is_proved else "time"

    def _like(self, candidates: Candidates, **options: Any) -> EngineSearch:
        return EngineSearch(
            candidates, enough=self.enough, hopeless=self.hopeless, nice=False, **options
        )

    def _fall_back(self) -> None:
        # What was found in a step that was cut off counts too.
        if self.hunt is not None and self.best.plan is None:
            self.best = self.hunt.best
        super()._fall_back()

    def _run(self) -> None:
        blocks = []
        for rows in self._with_floor(self.table.blocks()):
            allowance.look()
            bounds = Priced(self.table, rows).bounds()
            useful = np.flatnonzero(bounds < math.inf)
            blocks.append(Block(rows.some(useful), bounds[useful]))
            self.rows += len(rows)
        self.hunt = self._hunt(blocks, self.hopeless)
        self.hunt.look_at_even_cuts()
        self.best = self.hunt.best
        while time.monotonic() < self.deadline and self.best.value > self.enough:
            if not self.hunt.step():
                break
            self.best = self.hunt.best
            self.tell(self.hunt.rows_left)
        if self.nice and self.best.plan is not None and self.stopped_by == "proof":
            self._take_fewer_chips(blocks)

    def _hunt(self, blocks: list[Block], hopeless: float, chips: int | None = None) -> Hunt:
        return Hunt(
            self.table,
            blocks,
            deadline=self.deadline,
            hopeless=hopeless,
            seed=self.seed,
            chips=chips,
        )

    def _take_fewer_chips(self, blocks: list[Block]) -> None:
        """Of the plans that are as good as the best, the best of those with the fewest chips."""
        assert self.best.plan is not None
        far = self.best.value * (1 + self.as_good)
        for chips in _held_by(blocks, far):
            if chips >= self.best.plan.chips or time.monotonic() >= self.deadline:
                return
            hunt = self._hunt(blocks, far, chips)
            while time.monotonic() < self.deadline and hunt.step():
                pass
            if hunt.best.plan is not None:
                self.best = hunt.best
                return


def _held_by(blocks: list[Block], far: float) -> list[int]:
    """Numbers of chips that rows hold whose bounds are no higher than that, ascending."""
    found: set[int] = set()
    for block in blocks:
        rows = block.rows.some(np.flatnonzero(block.bounds <= far))
        columns = rows.chips_of_replica, rows.replicas, rows.most_replicas
        for each, fewest, most in np.unique(np.stack(columns, axis=1), axis=0).tolist():
            found.update(each * replicas for replicas in range(fewest, most + 1))
    return sorted(found)


def stated_of(priced: Priced) -> Stated:
    """The integer model's arrays of rows of one depth."""
    table = priced.table
    segments = table.segments
    everywhere = np.ones(len(segments.sizes), dtype=bool)
    question = table.question
    objective = priced.cost(question.objective)
    return Stated(
        stages=int(priced.stages[0]),
        sizes=segments.sizes,
        inner=segments.inner if table.needs_inner else everywhere,
        loads=priced.each_layer[:, segments.kinds],
        last=priced.last,
        floor=priced.floor,
        most=priced.most,
        objective=objective,
        limits=tuple((priced.cost(name), most) for name, most in table.limits),
        least=objective.value(priced.least),
    )
