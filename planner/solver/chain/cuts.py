"""Cut a chain into a given number of runs, all under one option, so that a value of the largest
loads is least.

Every run, and the link behind it, loads some *peaks*; of each peak the largest over the chain
counts. For one peak alone the best cut is a plain recursion over runs and items. A value of several
peaks grows with each of them, so it is bounded by the least that each can be by itself; where no
cut reaches all of these at once, the range of one peak is cut in two.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance

Floats = NDArray[np.float64]
Value = Callable[[Floats], float]
"""Of the peaks, shape (peaks,); it grows with each, and is infinite where a limit is broken."""

CLOSE = 1 - 1e-13
"""Values closer than this are one."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of items to be cut into as many runs as there are `loads`."""

    loads: Sequence[Floats]
    """Of each run in turn: what items tail to head - 1 load on each peak, infinite where they may
    not be a run, shape (peaks, items + 1, items + 1)."""
    links: Sequence[Floats]
    """Of the link behind each run but the last: what it loads where the run ends in front of an
    item, shape (peaks, items + 1)."""

    def peaks_of(self, borders: Sequence[int]) -> Floats:
        """Of a cut, given by the first item of every run and the end of the chain."""
        peaks = np.zeros(len(self.loads[0]))
        for number, (tail, head) in enumerate(itertools.pairwise(borders)):
            peaks = np.maximum(peaks, self.loads[number][:, tail, head])
            if number < len(self.links):
                peaks = np.maximum(peaks, self.links[number][:, head])
        return peaks


class Cut(NamedTuple):
    """A cut, and what was proved of it."""

    value: float
    borders: tuple[int, ...]
    """The first item of every run, and the end of the chain; () where there is no cut."""
    peaks: Floats


NO_CUT = Cut(math.inf, (), np.zeros(0))


def bottlenecks(chain: Chain, tops: Floats | None = None) -> tuple[Floats, list[tuple[int, ...]]]:
    """The least that each peak can be by itself, shape (peaks,), and the cuts that reach it; no run
    and no link may load a peak beyond its top. Infinite, and (), where there is no cut."""
    masked = {id(loads): _below(loads, tops) for loads in chain.loads}
    each = [masked[id(loads)] for loads in chain.loads]
    reached = each[0][:, 0, :]
    choices = []
    for link, loads in zip(chain.links, each[1:], strict=True):
        allowance.look()
        # The run before ends in front of an item, over a link; from there the next one runs on.
        through = np.maximum(reached, _below(link, tops))
        totals = np.maximum(through[:, :, None], loads)
        choice = totals.argmin(axis=1)
        choices.append(choice)
        reached = np.take_along_axis(totals, choice[:, None, :], axis=1)[:, 0, :]
    least = reached[:, -1]
    cuts = [
        _borders(choices, peak, reached.shape[1] - 1) if math.isfinite(least[peak]) else ()
        for peak in range(len(least))
    ]
    return least, cuts


def _below(loads: Floats, tops: Floats | None) -> Floats:
    """Loads, infinite on all peaks where one lies beyond its top."""
    if tops is None:
        return loads
    beyond = (loads > tops.reshape(-1, *[1] * (loads.ndim - 1))).any(axis=0)
    return np.where(beyond, np.inf, loads)


def _borders(choices: list[NDArray[np.intp]], peak: int, items: int) -> tuple[int, ...]:
    """Back from the end of the chain, run by run."""
    borders = [items]
    for choice in reversed(choices):
        borders.append(int(choice[peak, borders[-1]]))
    return (0, *reversed(borders)) if choices else (0, items)


def best_cut(chain: Chain, value: Value, goal: float = math.inf) -> Cut:
    """The cut of least value; none where that is not below the goal."""
    best = NO_CUT._replace(value=goal)
    peaks = len(chain.loads[0])
    count = itertools.count()
    todo = [(-math.inf, next(count), np.full(peaks, np.inf), np.zeros(peaks))]
    while todo:
        bound, _, tops, lows = heapq.heappop(todo)
        if bound >= best.value * CLOSE:
            break
        # What each peak is at least, alone or since the rest of its range was looked at elsewhere.
        least, cuts = bottlenecks(chain, tops if np.isfinite(tops).any() else None)
        least = np.maximum(least, lows)
        bound = value(least) if np.isfinite(least).all() else math.inf
        if bound >= best.value * CLOSE:
            continue
        found = [Cut(0.0, borders, chain.peaks_of(borders)) for borders in dict.fromkeys(cuts)]
        found = [one._replace(value=value(one.peaks)) for one in found]
        near = min(found, key=lambda one: one.value)
        if near.value < best.value:
            best = near
        if bound >= best.value * CLOSE:
            continue
        for below, above in halves(chain, near.peaks, least, tops, lows):
            heapq.heappush(todo, (bound, next(count), below, above))
    return best if best.borders else NO_CUT


def halves(
    chain: Chain, peaks: Floats, least: Floats, tops: Floats, lows: Floats
) -> Iterator[tuple[Floats, Floats]]:
    """The range of the peak that a cut misses most, in two: ends from above, and from below."""
    misses = peaks / np.maximum(least, 1e-300)
    peak = int(misses.argmax())
    middle = (least[peak] + peaks[peak]) / 2
    if misses[peak] <= 1:
        return
    unit = np.arange(len(tops)) == peak
    yield np.where(unit, middle, tops), lows
    beyond = _next_load(chain, peak, float(middle))
    if math.isfinite(beyond):
        yield tops, np.where(unit, beyond, lows)


def _next_load(chain: Chain, peak: int, load: float) -> float:
    """The least load of a run or a link that is larger; infinite where there is none."""
    distinct = {id(one): one[peak] for one in (*chain.loads, *chain.links)}.values()
    larger = (one[one > load] for one in distinct)
    return min((float(one.min()) for one in larger if len(one)), default=math.inf)


@dataclass(frozen=True, slots=True)
class Reached:
    """What cuts reach, each vector of it once."""

    peaks: Floats
    """Shape (cuts, peaks)."""
    added: Floats
    """What the links add up to, shape (cuts, sums)."""
    borders: NDArray[np.intp]
    """The first item of every run, and the end of the chain, shape (cuts, runs + 1)."""

    def __len__(self) -> int:
        return len(self.peaks)

    def on(self, load: Floats, more: Floats, head: int) -> "Reached":
        """With one more run that ends in front of an item; once each, the first that reaches it."""
        peaks = np.maximum(self.peaks, load)
        added = self.added + more
        rows = np.concatenate([peaks, added], axis=1)
        _, first = np.unique(rows, axis=0, return_index=True)
        first.sort()
        ends = np.full((len(first), 1), head, dtype=np.intp)
        borders = np.concatenate([self.borders[first], ends], axis=1)
        return Reached(peaks[first], added[first], borders)


def all_reached(chain: Chain, most: int, adds: Sequence[Floats] = ()) -> Reached | None:
    """Every vector of peaks, and of sums over the links, that some cut has; None where there are
    more than `most` on the way.

    `adds`: what the link behind each run but the last adds to each sum where the run ends in front
    of an item, shape (sums, items + 1). For values that do not grow with the peaks, such as an
    average over the time that they take, and for links that depend on the cut.
    """
    sums = len(adds[0]) if adds else 0
    items = chain.loads[0].shape[1] - 1
    nothing = Reached(
        np.zeros((1, len(chain.loads[0]))), np.zeros((1, sums)), np.zeros((1, 1), dtype=np.intp)
    )
    known = {0: nothing}
    for number, loads in enumerate(chain.loads):
        has_link = number < len(chain.links)
        after = {}
        for head in range(1, items + 1):
            allowance.look()
            tails = [tail for tail in known if np.isfinite(loads[0, tail, head])]
            if not tails:
                continue
            before = _joined([known[tail] for tail in tails])
            often = [len(known[tail]) for tail in tails]
            load = np.repeat(loads[:, tails, head].T, often, axis=0)
            if has_link:
                load = np.maximum(load, chain.links[number][:, head])
            more = adds[number][:, head] if has_link and adds else np.zeros(sums)
            after[head] = before.on(load, more, head)
        if sum(map(len, after.values())) > most:
            return None
        known = after
    return known.get(items, Reached(nothing.peaks[:0], nothing.added[:0], nothing.borders[:0]))


def _joined(every: Sequence[Reached]) -> Reached:
    """All of them."""
    return Reached(
        np.concatenate([one.peaks for one in every]),
        np.concatenate([one.added for one in every]),
        np.concatenate([one.borders for one in every]),
    )
