"""Lower bounds on what is left of a chain, and first solutions that come with them.

The remaining cost for one set of weights is a shortest path to the end of the chain, without regard to the budget. A price
on slots (a Lagrange multiplier) brings the budget in: for every price the priced path is a lower bound, and the prices at
which the best path changes trace the lower hull of cost against slots [1, 2].

[1] G. Handler, I. Zang, "A dual algorithm for the constrained shortest path problem", Networks 10(4), 1980.
[2] M. Eisner, D. Severance, "Mathematical techniques for efficient record segmentation in large shared databases",
JACM 23(4), 1976.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.solver.problem import ChainProblem, Floats, Larger, Measure

Cuts = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """Least weighted cost from each item to the end, shape (items + 1,); infinite where there is no way."""

    cost: Floats
    slot_price: float
    cuts: Cuts
    """The path from the first item; () where there is none."""
    path_slots: int
    path_cost: float
    """Of that path, without the price of its slots."""


def narrowest(problem: ChainProblem) -> Rest:
    """Fewest slots from each item to the end."""
    return cheapest(problem, np.zeros(problem.run_sums.shape[1]), 1.0)


@dataclass(frozen=True, slots=True)
class MeasureBound:
    """A lower bound on a measure for any start of a solution, one for each way of pricing slots."""

    measure: Measure
    budget: int
    priced: tuple[Rest, ...]
    """Of the measure taken as a sum, at several prices of a slot; the first is 0."""
    by_peak: tuple[tuple[Larger, Rest], ...]
    """For each pair of which the larger counts: of the measure as a sum without it, for when its peak is the larger."""
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

    def value(self, item: int, slots: NDArray[np.intp], sums: Floats, peaks: Floats) -> Floats:
        """Of partial solutions that end before `item`, shape (n,)."""
        if self.most is None or self.held is None:
            return self.measure.lined(self.measure.scale * self._whole(item, slots, sums, peaks))
        held = sums[:, self.measure.held] + self.held.cost[item]
        return self.measure.lined(self.measure.scale * held, self.most.total(item, sums, peaks))

    def _whole(self, item: int, slots: NDArray[np.intp], sums: Floats, peaks: Floats) -> Floats:
        """Before the scale, and the lines over it."""
        left = np.maximum(self.budget - slots, 1e-9)
        peaks = np.maximum(np.maximum(peaks, self.peaks[item]), self.work[item] / left[:, None])
        measure = self.measure
        base = measure.of_peaks(peaks)
        whole = sums @ measure.as_sums() + base
        by_peak = np.full(len(slots), -np.inf)
        for pair, rest in self.by_peak:
            one = sums @ measure.as_sums(without=pair) + rest.cost[item] + base + pair.weight * peaks[:, pair.peak]
            by_peak = np.maximum(by_peak, one)
        if self.held is None or measure.held is None:
            lines = [whole + rest.cost[item] - rest.slot_price * left for rest in self.priced]
            return np.asarray(np.maximum(np.maximum.reduce(lines), by_peak))
        return self._product(item, sums[:, measure.held], slots, whole, by_peak)

    def _product(self, item: int, held: Floats, slots: NDArray[np.intp], whole: Floats, by_peak: Floats) -> Floats:
        """Least of (slots held) × (cost), where each price of a slot says how much cost fewer slots must bring."""
        assert self.held is not None
        least = held + self.held.cost[item]
        most = np.maximum(least, held + np.maximum(self.budget - slots, 0))
        best = np.full(len(held), np.inf)
        left = np.maximum(self.budget - slots, 0)
        steps = 12 if len(self.priced) > 1 and self.held_slots else 1
        dead = ~np.isfinite(least)
        ratio = np.where(dead, 1.0, most / np.where(dead, 1.0, np.maximum(least, 1e-300))) ** (1.0 / steps)
        low = least
        for _ in range(steps):
            high = low * ratio
            spent = high - held if self.held_slots else left
            lines = [whole + rest.cost[item] - rest.slot_price * spent for rest in self.priced]
            cost = np.maximum(np.maximum.reduce(lines), by_peak)
            best = np.minimum(best, low * cost)
            low = high
        return best


def bound_of(problem: ChainProblem, measure: Measure) -> tuple[MeasureBound, list[Cuts]]:
    """The bound of one measure, and the solutions found on the way (they may break the budget or a limit)."""
    priced, starts = hull(problem, measure.as_sums())
    by_peak = tuple((pair, cheapest(problem, measure.as_sums(without=pair), 0.0)) for pair in measure.larger)
    held = None if measure.held is None else alone(problem, measure.held)
    most = most_of(problem, measure) if measure.averaged else None
    peaks, work = least_peaks(problem)
    held_slots = measure.held is not None and _counts_slots(problem, measure.held)
    bound = MeasureBound(measure, problem.budget, tuple(priced), by_peak, held, held_slots, peaks, work, most)
    return bound, starts


def alone(problem: ChainProblem, number: int, sign: float = 1.0) -> Rest:
    """Shortest paths under one sum; with the other sign the longest, as costs below zero."""
    unit = np.zeros(problem.run_sums.shape[1])
    unit[number] = sign
    return cheapest(problem, unit, 0.0)


def _finite(cost: Floats) -> Floats:
    """Zero where there is no way to the end: other bounds say so."""
    return np.where(np.isfinite(cost), cost, 0.0)


@dataclass(frozen=True, slots=True)
class _Most:
    """An upper bound on the total of a measure for any start of a solution."""

    measure: Measure
    sums: Floats
    """Longest weighted way from each item to the end, shape (items + 1,)."""
    pairs: tuple[Floats, ...]
    """The same of the sum of each pair."""
    peaks: Floats
    """The most that any run or link loads, shape (peaks,)."""

    def total(self, item: int, sums: Floats, peaks: Floats) -> Floats:
        """Of partial solutions that end before `item`, shape (n,)."""
        peaks = np.maximum(peaks, self.peaks)
        total = sums @ self.measure.sums + self.sums[item] + peaks @ self.measure.peaks
        for pair, longest in zip(self.measure.larger, self.pairs, strict=True):
            total = total + pair.weight * np.maximum(sums[:, pair.sum] + longest[item], peaks[:, pair.peak])
        return np.asarray(np.maximum(total, np.finfo(float).tiny))


def most_of(problem: ChainProblem, measure: Measure) -> _Most:
    """How large a measure's total can become from each item on."""
    loads = np.einsum("oir,oqr->oqi", problem.prefix, problem.run_peaks)
    runs = loads[:, :, None, :] - loads[:, :, :, None] + problem.run_peaks_fixed[:, :, None, None]
    most = np.where(problem.feasible[:, None], runs, 0.0).max(axis=(0, 2, 3))
    return _Most(
        measure,
        -_finite(cheapest(problem, -measure.sums, 0.0).cost),
        tuple(-_finite(alone(problem, pair.sum, -1.0).cost) for pair in measure.larger),
        np.maximum(most, problem.link_peaks.max(axis=(0, 1, 2))),
    )


def _counts_slots(problem: ChainProblem, number: int) -> bool:
    return not problem.run_sums[:, number].any() and np.array_equal(problem.run_sums_fixed[:, number], problem.widths)


def hull(problem: ChainProblem, weights: Floats, most: int = 12) -> tuple[list[Rest], list[Cuts]]:
    """Priced shortest paths along the lower hull of cost against slots, the free one first; and all paths seen."""
    free = cheapest(problem, weights, 0.0)
    narrow = narrowest(problem)
    if not free.cuts or not narrow.cuts:
        return [free], []
    found = [free]
    ends = [(free, _recosted(problem, narrow, weights))]
    while ends and len(found) < most:
        wide, thin = ends.pop(0)
        if wide.path_slots <= thin.path_slots or wide.path_cost >= thin.path_cost:
            continue
        price = (thin.path_cost - wide.path_cost) / (wide.path_slots - thin.path_slots)
        between = cheapest(problem, weights, price)
        found.append(between)
        if between.path_slots not in (wide.path_slots, thin.path_slots):
            ends += [(between, thin), (wide, between)]
    return found, [narrow.cuts, *(rest.cuts for rest in found)]


def cheapest(problem: ChainProblem, weights: Floats, slot_price: float) -> Rest:
    """Shortest paths to the end under weights of the sums and a price of slots; links cross the cheapest border."""
    items, options = problem.items, problem.options
    costs = np.einsum("oir,osr,s->oi", problem.prefix, problem.run_sums, weights)
    fixed = problem.run_sums_fixed @ weights + slot_price * problem.widths
    links = (problem.link_sums @ weights).min(axis=2)
    rest = np.full(items + 1, np.inf)
    rest[items] = 0.0
    after = np.full((options, items + 1), np.inf)
    after[:, items] = costs[:, items] + fixed
    choice = np.zeros((items, 2), dtype=np.intp)
    for tail in range(items - 1, -1, -1):
        reach = np.where(problem.feasible[:, tail, tail + 1 :], after[:, tail + 1 :], np.inf)
        heads = reach.argmin(axis=1)
        ways = reach[np.arange(options), heads] - costs[:, tail]
        option = int(ways.argmin())
        rest[tail] = ways[option]
        choice[tail] = option, tail + 1 + heads[option]
        after[:, tail] = costs[:, tail] + fixed + links[tail] + rest[tail]
    return _with_path(problem, rest, slot_price, choice)


def _with_path(problem: ChainProblem, rest: Floats, slot_price: float, choice: NDArray[np.intp]) -> Rest:
    cuts, tail = [], 0
    while tail < problem.items and np.isfinite(rest[0]):
        option, head = int(choice[tail, 0]), int(choice[tail, 1])
        cuts.append((tail, head, option))
        tail = head
    slots = int(sum(problem.widths[option] for _, _, option in cuts))
    cost = float(rest[0]) - slot_price * slots
    return Rest(rest, slot_price, tuple(cuts), slots, cost)


def _recosted(problem: ChainProblem, path: Rest, weights: Floats) -> Rest:
    """The same path, its cost under other weights."""
    cost = 0.0
    for tail, head, option in path.cuts:
        used = problem.prefix[option, head] - problem.prefix[option, tail]
        cost += float(weights @ (problem.run_sums[option] @ used + problem.run_sums_fixed[option]))
        if head < problem.items:
            cost += float((problem.link_sums[head, option] @ weights).min())
    return Rest(path.cost, 0.0, path.cuts, path.path_slots, cost)


def least_peaks(problem: ChainProblem) -> tuple[Floats, Floats]:
    """From each item to the end: the least peak over all ways, and the least load × slots, each (items + 1, peaks)."""
    items, peaks = problem.items, problem.run_peaks.shape[1]
    loads = np.einsum("oir,oqr->oqi", problem.prefix, problem.run_peaks)
    least = np.zeros((items + 1, peaks))
    work = np.zeros((items + 1, peaks))
    for peak in range(peaks):
        load = loads[:, peak]
        for tail in range(items - 1, -1, -1):
            run = load[:, tail + 1 :] - load[:, tail, None] + problem.run_peaks_fixed[:, peak, None]
            open_ = problem.feasible[:, tail, tail + 1 :]
            worst = np.where(open_, np.maximum(run, least[None, tail + 1 :, peak]), np.inf)
            least[tail, peak] = worst.min()
            spent = np.where(open_, run * problem.widths[:, None] + work[None, tail + 1 :, peak], np.inf)
            work[tail, peak] = spent.min()
    dead = ~np.isfinite(least)  # no way to the end: the shortest paths say so
    return np.where(dead, 0.0, least), np.where(dead, 0.0, work)
