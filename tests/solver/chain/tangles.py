"""Chains and pools that are small enough to try everything, and so tangled that narrow beams leave
labels out.

What `partition` poses on small machines is too plain for that: bounds alone close most of it. Here
options weigh the same items quite differently, sums pull against peaks, and runs of one, two and
three slots cross borders that cost.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from planner.solver.chain import exhaustive, placed
from planner.solver.chain.packing import Packing
from planner.solver.chain.placed import Ground, Link, Place, PlacedProblem, PlacedRun
from planner.solver.chain.problem import ChainProblem, Larger, Measure, Way, evaluate, packed
from tests.lanes import some
from tests.solver.posed import packed_in

SEEDS = range(some(6, 12))
BEAMS = (1, 2, 4)
ITEMS = 5
ALMOST = 1 + 1e-9
"""By how much rounding may make two equal figures differ."""
MIXED = Measure(np.array([1.0, 0.0]), np.array([2.0, 0.0]), (Larger(1, 1, 1.0),))
"""A sum, a peak, and the larger of another sum and another peak."""
MORE_WAYS = (Way(0, (1,)), Way(0, (0, 1)), Way(None, (0,)))
MANIFOLD = replace(MIXED, larger=(Larger(1, 1, 1.0, MORE_WAYS),))
"""The same with the largest of five."""


def asked(seed: int) -> Measure:
    """One of the two."""
    return MANIFOLD if seed % 2 else MIXED


def tangled(seed: int, *, alike: bool, items: int = ITEMS, budget: int = 12) -> ChainProblem:
    """A chain on units of 3 and of 6 slots. `alike`: a link across a border costs the same in front
    of every item."""
    dice = np.random.default_rng(seed)
    points = items + 1
    links = dice.uniform(0.0, 0.6, (1 if alike else points, 3, 3, 2))
    links = np.cumsum(links, axis=2)  # a higher border costs more
    links = np.broadcast_to(links, (points, 3, 3, 2))
    return ChainProblem(
        **_work(dice, options=3, items=items),
        link_sums=links.copy(),
        link_peaks=2 * links,
        **packed_in(Packing(24, (3, 6, 24), (3, 6)), np.array([1, 2, 3])),
        budget=budget,
        objective=asked(seed),
    )


def _work(dice: np.random.Generator, *, options: int, items: int) -> dict[str, np.ndarray]:
    """Two resources that each option uses, and weighs, in its own way; any run may be."""
    points = items + 1
    used = dice.uniform(0.2, 1.0, (options, items, 2))
    return {
        "prefix": np.concatenate([np.zeros((options, 1, 2)), np.cumsum(used, axis=1)], axis=1),
        "feasible": np.stack([np.triu(np.ones((points, points), dtype=bool), 1)] * options),
        "run_sums": dice.uniform(0.2, 1.0, (options, 2, 2)),
        "run_sums_fixed": dice.uniform(0.0, 0.2, (options, 2)),
        "run_peaks": dice.uniform(0.2, 1.0, (options, 2, 2)),
        "run_peaks_fixed": dice.uniform(0.0, 0.2, (options, 2)),
    }


@functools.cache
def chains(*, alike: bool, budget: int = 12) -> tuple[tuple[ChainProblem, float], ...]:
    """Tangled chains, each with the value of its best solution."""
    seeds = SEEDS if budget == 12 else SEEDS[:5]
    problems = [tangled(seed, alike=alike, budget=budget) for seed in seeds]
    return tuple((problem, exhaustive.solve(problem).objective) for problem in problems)


def times_slots(seed: int) -> ChainProblem:
    """A tangled chain whose cost is multiplied by the slots that it takes; wide runs are quicker."""
    problem = tangled(seed, alike=True)
    widths = problem.widths
    nothing = np.zeros((*problem.link_sums.shape[:3], 1))
    return replace(
        problem,
        prefix=problem.prefix / widths[:, None, None] ** 1.5,
        run_sums=np.concatenate([problem.run_sums, np.zeros((3, 1, 2))], axis=1),
        run_sums_fixed=np.concatenate([problem.run_sums_fixed, widths[:, None]], axis=1),
        link_sums=np.concatenate([problem.link_sums, nothing], axis=3),
        objective=Measure(
            np.array([1.0, 0.0, 0.0]), np.array([2.0, 0.0]), asked(seed).larger, held=2
        ),
    )


def late_border(*, in_peak: bool = False, uneven: bool = False) -> ChainProblem:
    """Four items, each a run of its own, on units of 4 and of 8 slots. Item 0 fills a unit. Item 1
    takes 3 slots of the next for nothing, or all 4 for 1.5. Items 2 and 3 take a slot each, and
    behind item 2 a border of a unit of 8 costs 2.

    After 3 slots item 2 still stands inside the unit, and what follows crosses: 2 in all. After 4,
    item 2 has crossed already, where that is free: 1.5 in all. Yet with item 2 placed, the first is
    1.5 cheaper, and a slot ahead. `in_peak`: the same loads one peak. `uneven`: links cost in front
    of the last item alone.
    """
    filler, short, long, single = range(4)
    feasible = np.zeros((4, 5, 5), dtype=bool)
    for item, option in ((0, filler), (1, short), (1, long), (2, single), (3, single)):
        feasible[option, item, item + 1] = True
    paid = np.zeros((4, 1))
    paid[long] = 1.5
    links = np.zeros((5, 4, 3, 1))
    links[3 if uneven else slice(None), single, :, 0] = [0.0, 1.0, 2.0]
    weights = np.array([1.0, 0.0])
    return ChainProblem(
        prefix=np.zeros((4, 5, 1)),
        feasible=feasible,
        run_sums=np.zeros((4, 1, 1)),
        run_sums_fixed=paid * (not in_peak),
        run_peaks=np.zeros((4, 1, 1)),
        run_peaks_fixed=paid * in_peak,
        link_sums=links * (not in_peak),
        link_peaks=links * in_peak,
        **packed_in(Packing(16, (4, 8, 16), (4, 8)), np.array([4, 3, 4, 1])),
        budget=16,
        objective=Measure(weights[[int(in_peak)]], weights[[int(not in_peak)]]),
    )


def dear_link() -> ChainProblem:
    """Two items, each a run of its own on one slot: item 0 for 1.0 with a link for 5 behind it, or
    for 1.5 with one that adds 10 to another sum, for which nobody pays; then item 1 for nothing."""
    feasible = np.zeros((3, 3, 3), dtype=bool)
    for item, option in ((0, 0), (0, 1), (1, 2)):
        feasible[option, item, item + 1] = True
    links = np.zeros((3, 3, 1, 2))
    links[1, 0] = [5.0, 0.0]
    links[1, 1] = [0.0, 10.0]
    return replace(
        late_border(),
        prefix=np.zeros((3, 3, 1)),
        feasible=feasible,
        run_sums=np.zeros((3, 2, 1)),
        run_sums_fixed=np.array([[1.0, 0.0], [1.5, 0.0], [0.0, 0.0]]),
        run_peaks=np.zeros((3, 1, 1)),
        run_peaks_fixed=np.zeros((3, 1)),
        link_sums=links,
        link_peaks=np.zeros((3, 3, 1, 1)),
        **packed_in(Packing(4, (4,)), np.ones(3, dtype=np.intp)),
        budget=4,
        objective=Measure(np.array([1.0, 0.0]), np.array([0.0])),
    )


LATE_BORDERS = pytest.mark.parametrize(
    ("in_peak", "uneven"), [(False, False), (False, True), (True, False), (True, True)]
)


def vectors(problem: ChainProblem) -> np.ndarray:
    """The values of all measures of every solution, shape (solutions, measures)."""
    found = []
    for cuts in exhaustive.all_cuts(problem):
        runs = packed(problem, cuts)
        if runs is not None:
            used = evaluate(problem, runs)
            found.append([float(measure.value(*used)) for measure in problem.measures])
    return np.array(found)


# ── Pools ──

GROUNDS = (
    Ground(Packing(4, (2, 4), (2,)), 4, owner=0),
    Ground(Packing(3, (1, 3), ()), 3, owner=0),
    Ground(Packing(4, (2, 4), (2,)), 4, owner=1),
)
"""Two ways of using one owner's slots, and one of another's."""
GROUND_OF = np.array([0, 0, 1, 2, 2])
WIDTHS = np.array([1, 2, 1, 1, 2])
NO_WAY = (1, 2)
"""Behind a run on the one ground none can go on on the other."""


class _Links:
    """Random links by option, by place before and by place behind; where all is uniform, by option
    and grounds alone."""

    def __init__(self, dice: np.random.Generator, *, uniform: bool, items: int) -> None:
        self.uniform = uniform
        self.level = dice.uniform(0.0, 0.6, (items + 1, len(WIDTHS), len(GROUNDS), 2))
        self.by_slot = dice.uniform(0.0, 0.6, (4, 4))
        self.made: dict[tuple[int, int, int, int], Link] = {}

    def __call__(self, option: int, before: Place, behind: Place) -> Link | None:
        if (before.ground, behind.ground) == NO_WAY:
            return None
        slots = (0, 0) if self.uniform else (before.first, behind.first)
        key = option, behind.ground, *slots
        if key not in self.made:
            more = 0.0 if self.uniform else self.by_slot[slots]
            cost = self.level[:, option, behind.ground] + more
            self.made[key] = Link(cost, 2 * cost)
        return self.made[key]


def pooled(seed: int, *, anywhere: bool, uniform: bool, items: int = ITEMS) -> PlacedProblem:
    """A chain over two owners' grounds. Where it is not `uniform`, links and work cost more on some
    slots."""
    dice = np.random.default_rng(seed)
    count = len(WIDTHS)
    links = _Links(dice, uniform=uniform, items=items)
    cheapest = links.level.min(axis=2)[:, :, None]
    slower = np.zeros((items + 1, 4))
    slower[1:] = np.cumsum(dice.uniform(0.0, 0.3, (items, 4)), axis=0)
    chain = ChainProblem(
        **_work(dice, options=count, items=items),
        link_sums=cheapest,
        link_peaks=2 * cheapest,
        **packed_in(Packing(8, (8,)), WIDTHS),
        budget=8,
        objective=asked(seed),
    )
    return PlacedProblem(
        chain=chain,
        grounds=tuple(replace(ground, uniform=uniform) for ground in GROUNDS),
        ground_of=GROUND_OF,
        link_class=np.arange(count),
        link=links,
        plus=(np.array([0.0, 0.3]),),
        placed=None if uniform else lambda option, place: slower[:, place.first],
        anywhere=anywhere,
    )


def all_placed(
    problem: PlacedProblem, runs: tuple[PlacedRun, ...] = ()
) -> Iterator[tuple[PlacedRun, ...]]:
    """Every solution that begins with some runs."""
    chain = problem.chain
    tail = runs[-1].head if runs else 0
    if tail == chain.items:
        yield runs
        return
    for option in range(chain.options):
        for place in _places(problem, option, runs):
            for head in np.flatnonzero(chain.feasible[option, tail]).tolist():
                yield from all_placed(problem, (*runs, PlacedRun(tail, head, option, place)))


def _places(problem: PlacedProblem, option: int, runs: tuple[PlacedRun, ...]) -> list[Place]:
    """Where the next run may stand: on the ground of the last one, or on one of an owner that is
    not used yet."""
    number = int(problem.ground_of[option])
    width = int(problem.chain.widths[option])
    ground = problem.grounds[number]
    owners = {problem.grounds[run.place.ground].owner for run in runs}
    stays = bool(runs) and runs[-1].place.ground == number
    if ground.owner in owners and not stays:
        return []
    starts = [first for first in ground.packing.starts(width) if first + width <= ground.budget]
    taken = {
        run.place.first + slot
        for run in runs
        if run.place.ground == number
        for slot in range(run.place.width)
    }
    if problem.anywhere:
        starts = [first for first in starts if not taken & set(range(first, first + width))]
    else:
        starts = [first for first in starts if first > max(taken, default=-1)][:1]
    places = [Place(number, first, width) for first in starts]
    if not runs:
        return places
    return [
        place
        for place in places
        if problem.link(runs[-1].option, runs[-1].place, place) is not None
    ]


@functools.cache
def pools(*, anywhere: bool, uniform: bool) -> tuple[tuple[PlacedProblem, float], ...]:
    """Pools, each with the value of its best solution."""
    # Where runs stand anywhere there are many more solutions.
    seeds, items = (SEEDS[:5], 4) if anywhere else (SEEDS, ITEMS)
    problems = [pooled(seed, anywhere=anywhere, uniform=uniform, items=items) for seed in seeds]
    return tuple((problem, _least(problem)) for problem in problems)


def _least(problem: PlacedProblem) -> float:
    values = (
        float(problem.value(0, *placed.evaluate(problem, runs))) for runs in all_placed(problem)
    )
    return min(values, default=math.inf)
