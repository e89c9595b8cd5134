"""Shortest paths through a chain: under weights of the sums and a price of a slot, or by exactly so
many slots.

Links are of the cheapest kind that the widths of the options beside them leave.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.solver.chain.problem import ChainProblem, Cuts, Floats, Ints


@dataclass(frozen=True, slots=True)
class Rest:
    """Least weighted cost from each item to the end, shape (items + 1,); infinite where there is
    no way."""

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


def alone(problem: ChainProblem, number: int, sign: float = 1.0) -> Rest:
    """Shortest paths under one sum; with the other sign the longest, as costs below zero."""
    return cheapest(problem, sign * unit(problem, number), 0.0)


def unit(problem: ChainProblem, number: int) -> Floats:
    unit = np.zeros(problem.run_sums.shape[1])
    unit[number] = 1.0
    return unit


def farthest(problem: ChainProblem) -> Ints:
    """The last item before which a run may end, shape (options, items + 1); 0 where none may
    begin."""
    last = problem.items - problem.feasible[:, :, ::-1].argmax(axis=2)
    return np.where(problem.feasible.any(axis=2), last, 0)


def run_loads(problem: ChainProblem) -> Floats:
    """Loads on each peak of items 0 to i - 1 under each option, shape (options, items + 1,
    peaks)."""
    return problem.prefix @ problem.run_peaks.transpose(0, 2, 1)


def run_costs(problem: ChainProblem) -> Floats:
    """What they add to each sum, shape (options, items + 1, sums)."""
    return problem.prefix @ problem.run_sums.transpose(0, 2, 1)


def cheapest(problem: ChainProblem, weights: Floats, slot_price: float) -> Rest:
    """Shortest paths to the end under weights of the sums and a price of slots."""
    return shortest(problem, [(weights, slot_price)])[0]


def shortest(problem: ChainProblem, asked: Sequence[tuple[Floats, float]]) -> list[Rest]:
    """Shortest paths to the end for several weights of the sums and prices of a slot at once;
    links cross the cheapest border that the widths of the options beside them leave."""
    able = np.flatnonzero(problem.feasible.any(axis=(1, 2)))
    able = able if len(able) else np.arange(problem.options)
    if len(able) < problem.options:
        problem = problem.of_options(able)
    weights, prices = np.array([one for one, _ in asked]), np.array([price for _, price in asked])
    items, options, every = problem.items, np.arange(problem.options), np.arange(len(asked))
    costs = np.ascontiguousarray((run_costs(problem) @ weights.T).transpose(2, 0, 1))
    begun = (
        costs + (weights @ problem.run_sums_fixed.T + prices[:, None] * problem.widths)[:, :, None]
    )
    links, kinds = _links(problem, weights)
    rest = np.full((len(asked), items + 1), np.inf)
    rest[:, items] = 0.0
    after = np.full((len(asked), len(options), items + 1), np.inf)
    after[:, :, items] = begun[:, :, items]
    heads = np.zeros((items, len(asked), len(options)), dtype=np.intp)
    follows = np.zeros((items, len(asked), len(options)), dtype=np.intp)
    firsts = np.zeros(len(asked), dtype=np.intp)
    last = np.maximum(farthest(problem).max(axis=0), np.arange(1, items + 2))
    for tail in range(items - 1, -1, -1):
        allowance.look()
        near = slice(tail + 1, last[tail] + 1)
        reach = np.where(problem.feasible[:, tail, near], after[:, :, near], np.inf)
        nearest = reach.argmin(axis=2)
        ways = reach[every[:, None], options, nearest] - costs[:, :, tail]
        heads[tail] = nearest + tail + 1
        firsts = ways.argmin(axis=1)
        rest[:, tail] = ways[every, firsts]
        onward = np.full(ways.shape, np.inf)
        for border, alike in kinds:
            best = alike[ways[:, alike].argmin(axis=1)]
            cost = ways[every, best][:, None] + links[:, tail, :, border]
            follows[tail] = np.where(cost < onward, best[:, None], follows[tail])
            onward = np.minimum(onward, cost)
        after[:, :, tail] = begun[:, :, tail] + onward
    return [
        _with_path(
            problem,
            rest[number],
            float(prices[number]),
            int(firsts[number]),
            heads[:, number],
            follows[:, number],
            able,
        )
        for number in every
    ]


def _links(problem: ChainProblem, weights: Floats) -> tuple[Floats, list[tuple[int, Ints]]]:
    """What a link in front of an item costs at least behind a run of each option, by the nearest
    kind of link that the options after it leave, shape (weights, items + 1, options, kinds); and
    the options that leave each of those kinds."""
    least = lowest_kinds(problem)
    crossed = np.arange(problem.link_sums.shape[2])
    links = np.stack([problem.link_sums @ one for one in weights])
    links = np.minimum.accumulate(links[..., ::-1], axis=3)[..., ::-1]
    links = links[:, :, np.arange(problem.options)[:, None], np.maximum(least[:, None], crossed)]
    return links, [
        (int(border), np.flatnonzero(least == border))
        for border in crossed
        if (least == border).any()
    ]


def lowest_kinds(problem: ChainProblem) -> Ints:
    """No link beside a run of each option is of a lower kind, shape (options,): it crosses the
    borders of the units that the run fills."""
    lowest = np.zeros(problem.options, dtype=np.intp)
    for span in problem.packing.borders:
        lowest += problem.widths % span == 0
    return problem.crossings.nearest[lowest]


@dataclass(frozen=True, slots=True)
class Steps:
    """Shortest paths to the end by exactly so many slots, under several weights of the sums."""

    cost: Floats
    """From each item, shape (weights, items + 1, slots + 1); infinite where there is no way."""
    under: Floats
    """Of those whose first run is under an option, shape (weights, options, items + 1, slots +
    1)."""
    after: Floats
    """What follows a run under an option that ends before an item, its end paid, of the same
    shape."""
    links: Floats
    """As `_links` gives them."""

    def cuts(self, problem: ChainProblem, number: int, slots: int) -> Cuts:
        """The path from the first item under one of the weights; () where there is none."""
        tail, cuts, least = 0, [], lowest_kinds(problem)
        option = int(self.under[number, :, 0, slots].argmin())
        while tail < problem.items and np.isfinite(self.under[number, option, tail, slots]):
            slots -= int(problem.widths[option])
            heads = np.flatnonzero(problem.feasible[option, tail])
            head = int(heads[self.after[number, option, heads, slots].argmin()])
            cuts.append((tail, head, option))
            onward = self.under[number, :, head, slots] + self.links[number, head, option, least]
            tail, option = head, int(onward.argmin())
        return tuple(cuts)


def by_slots(problem: ChainProblem, weights: Floats, most: int) -> Steps:
    """Those of up to so many slots, under weights of the sums of shape (weights, sums)."""
    items, options = problem.items, problem.options
    costs = (run_costs(problem) @ weights.T).transpose(2, 0, 1)
    begun = costs + (weights @ problem.run_sums_fixed.T)[:, :, None]
    links, kinds = _links(problem, weights)
    under = np.full((len(weights), options, items + 1, most + 1), np.inf)
    after = np.full(under.shape, np.inf)
    after[:, :, items, 0] = begun[:, :, items]
    nearest = np.full((len(weights), options, most + 1), np.inf)
    grows = _grows(problem.feasible)
    for tail in range(items - 1, -1, -1):
        allowance.look()
        for option, width in enumerate(problem.widths.tolist()):
            if width > most:
                continue
            if grows[option, tail]:
                if problem.feasible[option, tail, tail + 1]:
                    least = nearest[:, option]
                    np.minimum(least, after[:, option, tail + 1], out=least)
            else:
                heads = np.flatnonzero(problem.feasible[option, tail])
                is_gapless = len(heads) and heads[-1] - heads[0] < len(heads)
                ends = slice(heads[0], heads[-1] + 1) if is_gapless else heads
                nearest[:, option] = after[:, option, ends].min(axis=1, initial=np.inf)
            under[:, option, tail, width:] = (
                nearest[:, option, : most + 1 - width] - costs[:, option, tail, None]
            )
        for border, alike in kinds if tail else ():
            onward = under[:, alike, tail].min(axis=1)[:, None] + links[:, tail, :, border, None]
            after[:, :, tail] = np.minimum(after[:, :, tail], onward + begun[:, :, tail, None])
    cost = under.min(axis=1)
    cost[:, items, 0] = 0.0
    return Steps(cost, under, after, links)


def _grows(feasible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a run from an item may end where one from the next item may, and just before it at
    most beside that: then the nearest of its ends is known from those of the next. Shape (options,
    items)."""
    points = feasible.shape[1]
    every = np.arange(points)
    later = every > np.arange(points - 1)[:, None] + 1
    alike = feasible[:, :-1] == feasible[:, 1:]
    grows: NDArray[np.bool_] = (alike | ~later).all(axis=2)
    return grows


def _with_path(
    problem: ChainProblem,
    rest: Floats,
    slot_price: float,
    option: int,
    heads: Ints,
    follows: Ints,
    able: Ints,
) -> Rest:
    cuts, tail = [], 0
    while tail < problem.items and np.isfinite(rest[0]):
        head = int(heads[tail, option])
        cuts.append((tail, head, option))
        if head < problem.items:
            option = int(follows[head, option])
        tail = head
    slots = int(sum(problem.widths[used] for _, _, used in cuts))
    cost = float(rest[0]) - slot_price * slots
    return Rest(
        rest,
        slot_price,
        tuple((tail, head, int(able[used])) for tail, head, used in cuts),
        slots,
        cost,
    )


def recosted(problem: ChainProblem, path: Rest, weights: Floats) -> Rest:
    """The same path, its cost under other weights."""
    sums, _ = relaxed_use(problem, path.cuts)
    return Rest(path.cost, math.inf, path.cuts, path.path_slots, float(sums @ weights))


def relaxed_use(problem: ChainProblem, cuts: Cuts) -> tuple[Floats, Floats]:
    """Sums and peaks of a path, its links of the lowest kinds that its options leave."""
    sums, peaks = np.zeros(problem.run_sums.shape[1]), np.zeros(problem.run_peaks.shape[1])
    lowest = lowest_kinds(problem)
    for number, (tail, head, option) in enumerate(cuts):
        used = problem.prefix[option, head] - problem.prefix[option, tail]
        sums += problem.run_sums[option] @ used + problem.run_sums_fixed[option]
        peaks = np.maximum(
            peaks, problem.run_peaks[option] @ used + problem.run_peaks_fixed[option]
        )
        if head < problem.items:
            kind = max(lowest[option], lowest[cuts[number + 1][2]])
            sums += problem.link_sums[head, option, kind]
            peaks = np.maximum(peaks, problem.link_peaks[head, option, kind])
    return sums, peaks
