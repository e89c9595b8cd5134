"""Lower bounds on what is left of a chain, and first solutions that come with them.

The remaining cost for one set of weights is a shortest path to the end of the chain, without regard
to the budget. A price on slots (a Lagrange multiplier) brings the budget in: for every price the
priced path is a lower bound, and the prices at which the best path changes trace the lower hull of
cost against slots [1, 2]. Cost × slots is concave along each edge of that hull, so the corners of
the hull bound a product too. Where few slots are of use, each number of them has a shortest path of
its own (`steps`), and nothing is lost between the corners.

[1] G. Handler, I. Zang, "A dual algorithm for the constrained shortest path problem", Networks 10(4), 1980.
[2] M. Eisner, D. Severance, "Mathematical techniques for efficient record segmentation in large shared databases",
JACM 23(4), 1976.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solver.chain.paths import (
    Rest,
    alone,
    by_slots,
    cheapest,
    farthest,
    recosted,
    run_loads,
    shortest,
    unit,
)
from planner.solver.chain.problem import (
    TOLERANCE,
    ChainProblem,
    Cuts,
    Floats,
    Ints,
    Larger,
    Measure,
    Way,
)

MOST_PRICES = 16
MOST_STEPS = 2e7
"""Ways of going on by a number of slots that may be looked at in one relaxation."""


@dataclass(frozen=True, slots=True)
class MeasureBound:
    """A lower bound on a measure for any start of a solution, one for each way of pricing slots."""

    measure: Measure
    budget: int
    priced: tuple[Rest, ...]
    """Of the measure taken as a sum, at rising prices of a slot; the first is 0."""
    by_peak: tuple["Taken", ...]
    """For each pair of which the larger counts, and each way beside its sum: of the measure as a
    sum but for that pair, for when that way is the larger."""
    held: Rest | None
    """Of the sum that multiplies the whole; None where there is none."""
    held_slots: bool
    """Whether that sum counts the slots."""
    peaks: Floats
    """Least peaks from each item to the end, shape (items + 1, peaks)."""
    work: Floats
    """Least load × slots from each item to the end, shape (items + 1, peaks)."""
    most: "_Most | None"
    """How long the rest can become, where the measure is an average."""
    steps: Floats | None = None
    """Least cost from each item to the end by exactly so many slots, up to those of use, shape
    (1 + ways, items + 1, slots + 1): of the measure as a sum, then as each of `by_peak` has it; None where `priced` has to do."""

    def value(self, item: int, slots: NDArray[np.intp], sums: Floats, peaks: Floats) -> Floats:
        """Of partial solutions that end before `item`, shape (n,)."""
        if self.most is None or self.held is None:
            return self.measure.lined(self.measure.scale * self._whole(item, slots, sums, peaks))
        held = sums[:, self.measure.held] + self.held.cost[item]
        return self.measure.lined(self.measure.scale * held, self.most.total(item, sums, peaks))

    def at_start(self, peaks: Floats) -> Floats:
        """Of whole solutions whose peaks are no less than those given, shape (n, peaks): (n,)."""
        count = len(peaks)
        return self.value(
            0, np.zeros(count, dtype=np.intp), np.zeros((count, len(self.measure.sums))), peaks
        )

    def _whole(self, item: int, slots: NDArray[np.intp], sums: Floats, peaks: Floats) -> Floats:
        """Before the scale, and the lines over it."""
        left = np.maximum(self.budget - slots, 1e-9)
        peaks = np.maximum(np.maximum(peaks, self.peaks[item]), self.work[item] / left[:, None])
        measure = self.measure
        base = measure.of_peaks(peaks)
        whole = sums @ measure.as_sums() + base
        if self.steps is not None:
            return np.asarray(
                self._stepped(self.steps[:, item], item, slots, sums, peaks).min(axis=1)
            )
        by_peak, spread = np.full(len(slots), -np.inf), []
        for taken in self.by_peak:
            beside = sums @ taken.weights + taken.rest.cost[item] + base
            by_peak = np.maximum(by_peak, beside + taken.load(peaks))
            spread.append((beside, float(taken.load(self.work[item]))))
        if self.held is None or measure.held is None:
            return np.asarray(np.maximum(self._priced(item, whole, left), by_peak))
        held = sums[:, measure.held]
        product = self._product(item, held, slots, whole, by_peak)
        for beside, work in spread if self.held_slots and np.isfinite(self.held.cost[item]) else ():
            product = np.maximum(product, self._spread(item, held, slots, beside, work))
        return product

    def _stepped(
        self, steps: Floats, item: int, slots: Ints, sums: Floats, peaks: Floats
    ) -> Floats:
        """Before the scale, if the rest takes so many slots, shape (n, numbers of slots): none
        where nothing is left, else from one on. `steps` is what the rest costs."""
        measure, base, first = self.measure, self.measure.of_peaks(peaks), 1 if steps[0, 0] else 0
        spent, steps = np.arange(steps.shape[1])[first:], steps[:, first:]
        cost = (sums @ measure.as_sums() + base)[:, None] + steps[0]
        spread = self.work[item] / np.maximum(spent, 1)[:, None]
        for taken, beside in zip(self.by_peak, steps[1:], strict=True):
            mine = sums @ taken.weights + base
            either = mine[:, None] + beside
            for peak in taken.way.peaks:
                loads = np.maximum(peaks[:, peak, None], spread[:, peak])
                either = either + taken.pair.weight * loads
            cost = np.maximum(cost, either)
        cost = cost * np.maximum(sums[:, measure.held, None] + spent, measure.least_held)
        return np.where(spent <= (self.budget - slots)[:, None], cost, np.inf)

    def _spread(
        self, item: int, held: Floats, slots: NDArray[np.intp], beside: Floats, work: float
    ) -> Floats:
        """Least of (slots held) × (cost) where the rest's work is spread evenly over the slots
        that the rest takes."""
        assert self.held is not None
        least = max(float(self.held.cost[item]), 1e-9)
        most = np.maximum(least, self.budget - slots)
        spent = np.sqrt(held * work / np.maximum(beside, 1e-300))
        # Slots that count in any case are free to spread the work over.
        spent = np.clip(np.maximum(spent, self.measure.least_held - held), least, most)
        return np.asarray(self._counted(held + spent) * (beside + work / spent))

    def _counted(self, held: Floats) -> Floats:
        """What the sum that is held counts for."""
        return np.maximum(held, self.measure.least_held)

    def _priced(self, item: int, whole: Floats, spent: Floats) -> Floats:
        """The whole with the rest's cost if the rest takes no more than so many slots."""
        lines = [rest.cost[item] - rest.slot_price * spent for rest in self.priced]
        return np.asarray(whole + (lines[0] if len(lines) == 1 else np.maximum.reduce(lines)))

    def _product(
        self, item: int, held: Floats, slots: NDArray[np.intp], whole: Floats, by_peak: Floats
    ) -> Floats:
        """Least of (slots held) × (cost): at a corner of the hull, at its ends, where it meets
        the peaks' own bound, or where slots begin to count."""
        assert self.held is not None
        least, left = self.held.cost[item], np.maximum(self.budget - slots, 0.0)
        if not (np.isfinite(least) and self.held_slots and len(self.priced) > 1):
            total = np.maximum(self._priced(item, whole, left), by_peak)
            return np.asarray(self._counted(held + least) * total)
        dearer = [(rest.cost[item], rest.slot_price) for rest in self.priced]
        corners = [np.full(len(held), (d - c) / (q - p)) for (c, p), (d, q) in pairwise(dearer)]
        meeting = np.maximum.reduce(
            [(whole + cost - by_peak) / price for cost, price in dearer[1:]]
        )
        best = np.full(len(held), np.inf)
        free = self.measure.least_held - held
        for corner in (np.full(len(held), least), *corners, meeting, free, left):
            spent = np.clip(corner, least, np.maximum(least, left))
            total = np.maximum(self._priced(item, whole, spent), by_peak)
            best = np.minimum(best, self._counted(held + spent) * total)
        return best


class Taken(NamedTuple):
    """A measure of which one pair is taken to be one of its ways, all others to be their sums."""

    pair: Larger
    way: Way
    weights: Floats
    """Of the sums."""
    rest: Rest
    """Under them."""

    def load(self, peaks: Floats) -> Floats:
        """What that way's peaks add, of one or many rows of peaks."""
        return np.asarray(self.pair.weight * peaks[..., list(self.way.peaks)].sum(axis=-1))


class Relaxed(NamedTuple):
    """What relaxations say about a problem."""

    narrow: Rest
    """Fewest slots from each item to the end."""
    bounds: tuple[MeasureBound, ...]
    """Of each measure."""
    starts: tuple[Cuts, ...]
    """Paths found on the way; they may break the budget or a limit."""


def relaxed(problem: ChainProblem, floors: Floats | None = None, goal: float = math.inf) -> Relaxed:
    """The bounds of all measures, where no peak of a solution is below its floor; of no use
    beyond the goal."""
    goals = (goal, *(limit.most * (1 + TOLERANCE) for limit in problem.limits))
    least, work = least_peaks(problem)
    if floors is not None:
        least = np.maximum(least, floors)
    # All weighings are asked at once: they share one walk over the layers.
    slots_alone = (np.zeros(problem.run_sums.shape[1]), 1.0)
    asked = [slots_alone]
    for measure in problem.measures:
        asked += _weighings(problem, measure)
    answers = iter(shortest(problem, asked))
    narrow = next(answers)
    bounds: list[MeasureBound] = []
    starts = [narrow.cuts] if narrow.cuts else []
    for measure, useful in zip(problem.measures, goals, strict=True):
        bound = _bounded(problem, measure, answers, least, work)
        bound, paths = _stepped(problem, bound, useful)
        if bound.steps is None:
            bound = _priced(problem, bound, narrow, useful)
        bounds.append(bound)
        starts += [rest.cuts for rest in bound.priced if rest.cuts] + paths
    return Relaxed(narrow, tuple(bounds), tuple(starts))


def _weighings(problem: ChainProblem, measure: Measure) -> list[tuple[Floats, float]]:
    """The weights of sums, and the price of a slot, of which a measure's bound needs the cheapest
    ways: all pairs as sums, each pair left to its peak or another way, and the sum that multiplies."""
    asked = [(measure.as_sums(), 0.0)]
    asked += [(measure.as_sums(but=pair, way=way), 0.0) for pair, way in _ways(measure)]
    if measure.held is not None:
        asked.append((unit(problem, measure.held), 0.0))
    return asked


def _ways(measure: Measure) -> list[tuple[Larger, Way]]:
    """All that may be larger than the sum of a pair."""
    return [(pair, way) for pair in measure.larger for way in pair.beside_sum]


def _bounded(
    problem: ChainProblem,
    measure: Measure,
    answers: Iterator[Rest],
    least: Floats,
    work: Floats,
) -> MeasureBound:
    """The bound of a measure from the answers to its weighings, in their order."""
    free = next(answers)
    by_peak = tuple(
        Taken(pair, way, measure.as_sums(but=pair, way=way), next(answers))
        for pair, way in _ways(measure)
    )
    held = None
    held_slots = False
    if measure.held is not None:
        held = next(answers)
        held_slots = _counts_slots(problem, measure.held)
    most = most_of(problem, measure) if measure.averaged else None
    return MeasureBound(
        measure, problem.budget, (free,), by_peak, held, held_slots, least, work, most
    )


def _finite(cost: Floats) -> Floats:
    """Zero where there is no way to the end: other bounds say so."""
    return np.where(np.isfinite(cost), cost, 0.0)


@dataclass(frozen=True, slots=True)
class _Most:
    """An upper bound on the total of a measure for any start of a solution."""

    measure: Measure
    sums: Floats
    """Longest weighted way from each item to the end, shape (items + 1,)."""
    longest: Floats
    """The same of each sum by itself, shape (items + 1, sums)."""
    peaks: Floats
    """The most that any run or link loads, shape (peaks,)."""

    def total(self, item: int, sums: Floats, peaks: Floats) -> Floats:
        """Of partial solutions that end before `item`, shape (n,)."""
        peaks = np.maximum(peaks, self.peaks)
        total = sums @ self.measure.sums + self.sums[item] + peaks @ self.measure.peaks
        for pair in self.measure.larger:
            total = total + pair.weight * pair.of(sums + self.longest[item], peaks)
        return np.asarray(np.maximum(total, np.finfo(float).tiny))


def most_of(problem: ChainProblem, measure: Measure) -> _Most:
    """How large a measure's total can become from each item on."""
    longest = [alone(problem, number, -1.0) for number in range(len(measure.sums))]
    return _Most(
        measure,
        -_finite(cheapest(problem, -measure.sums, 0.0).cost),
        np.stack([-_finite(rest.cost) for rest in longest], axis=1),
        most_peaks(problem),
    )


def most_peaks(problem: ChainProblem) -> Floats:
    """The largest load that any run or link can bring, shape (peaks,): loads grow with a run, so
    its last end tells."""
    loads, last = run_loads(problem), farthest(problem)
    runs = (
        loads[np.arange(problem.options)[:, None], last] - loads + problem.run_peaks_fixed[:, None]
    )
    runs = np.where(last[..., None] > 0, runs, 0.0)
    return np.asarray(np.maximum(runs.max(axis=(0, 1)), problem.link_peaks.max(axis=(0, 1, 2))))


def _counts_slots(problem: ChainProblem, number: int) -> bool:
    return not problem.run_sums[:, number].any() and np.array_equal(
        problem.run_sums_fixed[:, number], problem.widths
    )


def _stepped(
    problem: ChainProblem, bound: MeasureBound, goal: float
) -> tuple[MeasureBound, list[Cuts]]:
    """The same with what each number of slots costs, and a path for each weighing; without, and
    none, where slots do not multiply the cost, or are too many."""
    (free,), measure = bound.priced, bound.measure
    if not free.cuts or bound.most is not None or not bound.held_slots:
        return bound, []
    most = problem.budget
    least = measure.scale * (float(free.cost[0]) + float(measure.of_peaks(bound.peaks[0])))
    if math.isfinite(goal) and least > 0:
        most = min(most, int(measure.unlined(goal) / least) + 1)
    apart = [taken.weights for taken in bound.by_peak]
    weights = np.array([measure.as_sums(), *apart])
    cells = np.count_nonzero(problem.feasible) * (most + 1) * len(weights)
    if most < 1 or cells > MOST_STEPS:
        return bound, []
    steps = by_slots(problem, weights, most)
    bound = replace(bound, steps=steps.cost)
    # The number of slots at which the bound of the whole chain is least shows where to look.
    nothing = np.zeros(1, dtype=np.intp)
    no_sums = np.zeros((1, len(measure.sums)))
    each = bound._stepped(steps.cost[:, 0], 0, nothing, no_sums, bound.peaks[:1])
    slots = int(each.argmin()) + 1
    paths = [steps.cuts(problem, number, slots) for number in range(len(weights))]
    return bound, [cuts for cuts in paths if cuts]


def _priced(problem: ChainProblem, bound: MeasureBound, narrow: Rest, goal: float) -> MeasureBound:
    """The same with prices of slots along the lower hull of cost against slots: around the
    budget, and, where slots multiply the cost, wherever a corner could still lie below the goal."""
    (free,) = bound.priced
    weights = bound.measure.as_sums()
    if not free.cuts or not narrow.cuts:
        return bound
    if not bound.held_slots and free.path_slots <= bound.budget:
        return bound
    # Between two ways of which one is wider and cheaper, the price of a slot at which both cost
    # the same finds a way on the hull between them, or shows that there is none.
    found = [free]
    ends = [(free, recosted(problem, narrow, weights))]
    while len(found) < MOST_PRICES:
        ends = [(wide, thin) for wide, thin in ends if _is_worth(bound, wide, thin, goal)]
        if not ends:
            break
        between = shortest(problem, [(weights, _even_price(*pair)) for pair in ends])
        found += between
        parted: list[tuple[Rest, Rest]] = []
        for (wide, thin), one in zip(ends, between, strict=True):
            if one.path_slots not in (wide.path_slots, thin.path_slots):
                parted += [(wide, one), (one, thin)]
        ends = parted
    rising = {rest.slot_price: rest for rest in sorted(found, key=lambda rest: rest.slot_price)}
    return replace(bound, priced=tuple(rising.values()))


def _even_price(wide: Rest, thin: Rest) -> float:
    """Of a slot, at which two ways cost the same."""
    return (thin.path_cost - wide.path_cost) / (wide.path_slots - thin.path_slots)


def _is_worth(bound: MeasureBound, wide: Rest, thin: Rest, goal: float) -> bool:
    """Whether a price between those of two ways could still raise the bound where it matters."""
    if wide.path_slots <= thin.path_slots or wide.path_cost >= thin.path_cost:
        return False
    if thin.path_slots > bound.budget:
        return False
    if not bound.held_slots:
        return wide.path_slots > bound.budget
    # Where slots multiply the cost: the corner at which the lines of both ways meet.
    measure = bound.measure
    cost = float(wide.cost[0])
    slots = float(thin.path_slots)
    if math.isfinite(thin.slot_price):
        slots = max(slots, (float(thin.cost[0]) - cost) / (thin.slot_price - wide.slot_price))
    base = float(measure.of_peaks(bound.peaks[0]))
    corner = measure.scale * slots * (cost - wide.slot_price * slots + base)
    return float(measure.lined(np.asarray(corner))) < goal


def least_peaks(problem: ChainProblem) -> tuple[Floats, Floats]:
    """From each item to the end: what no largest load and no load × slots is below, each (items
    + 1, peaks). Every item is in a run, which loads at least as much as the item alone."""
    loads = np.diff(run_loads(problem), axis=1)
    fixed, widths = problem.run_peaks_fixed[:, None], problem.widths[:, None, None]
    none = np.zeros((1, loads.shape[2]))
    alone_ = (loads + fixed).min(axis=0)
    work = (loads * widths).min(axis=0)
    least = np.maximum.accumulate(alone_[::-1], axis=0)[::-1]
    return np.concatenate([least, none]), np.concatenate(
        [np.cumsum(work[::-1], axis=0)[::-1], none]
    )
