"""Mixes of plans, and what no plan of a mix can beat in a box of batches: bounds for all
mixes at once.

A mix holds the plans with so many stages under each option. Its bounds come from averages (the
largest load is at least the mean over the chips), and from whole layers: a stage whose turn may
last so long, or that has so much memory, holds no more than so many layers, so that no more than so
many of all layers run under the option that is cheapest for them. Where turns are long, sums are
small; so the turn is cut into ranges, each with a bound of its own.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.measures import Peak, Resource, Sum

EVERY = 1_000_000
"""Stages, or layers in one: no bound."""
MOST_MIXES = 1000
"""Up to which the number of stages under each option makes mixes of their own; beyond, ranges
of chips do."""
FINE = 64
"""Chips up to which such a range is one number."""


@dataclass(frozen=True, slots=True)
class Mixes:
    """One row each."""

    counts: Ints
    """Stages under each option, shape (mixes, options); of a range of chips 1 for each option
    that may be used."""
    least_chips: Ints
    """Of one replica, shape (mixes,)."""
    most_chips: Ints
    option: Ints
    """Of a uniform mix; -1 for others."""
    exact: NDArray[np.bool_]
    """Whether `counts` are the numbers of stages."""

    def __len__(self) -> int:
        return len(self.option)


def mixes_of(widths: Ints, budget: int, layers: int) -> Mixes:
    """All mixes on at most `budget` chips: together they hold every plan."""
    options = len(widths)
    every = (one for one in _multisets(widths.tolist(), budget, layers) if any(one))
    counts = list(itertools.islice(every, MOST_MIXES + 1))
    ranges: list[tuple[int, int]] = []
    if len(counts) > MOST_MIXES:
        counts = [
            tuple(stages * (other == option) for other in range(options))
            for option in range(options)
            for stages in range(1, min(budget // int(widths[option]), layers) + 1)
        ]
        ranges = list(_ranges(2 * int(widths.min()), budget))
    table = np.array([*counts, *([(1,) * options] * len(ranges))], dtype=np.intp).reshape(
        -1, options
    )
    chips = table[: len(counts)] @ widths
    lows, highs = ([one[end] for one in ranges] for end in (0, 1))
    single = (table > 0).sum(axis=1) == 1
    exact = np.arange(len(table)) < len(counts)
    return Mixes(
        table,
        np.concatenate([chips, np.array(lows, dtype=np.intp)]),
        np.concatenate([chips, np.array(highs, dtype=np.intp)]),
        np.where(single & exact, table.argmax(axis=1), -1),
        exact,
    )


def _multisets(widths: list[int], budget: int, stages: int) -> Iterator[tuple[int, ...]]:
    """Numbers of stages under each option that fit the budget."""
    if not widths:
        yield ()
        return
    for count in range(min(budget // widths[0], stages) + 1):
        for rest in _multisets(widths[1:], budget - count * widths[0], stages - count):
            yield (count, *rest)


def _ranges(least: int, most: int) -> Iterator[tuple[int, int]]:
    low = least
    while low <= most:
        high = low if low <= FINE else min(most, math.floor(low * 1.05))
        yield low, high
        low = high + 1


class MixBounds:
    """Bounds of the mixes of one question."""

    def __init__(self, candidates: Candidates, mixes: Mixes) -> None:
        self.candidates, self.mixes = candidates, mixes
        self.widths = np.array([split.chips for split in candidates.splits])

    def quick(self, priced: "Priced", rows: Ints) -> Floats:
        """Canonical lower bounds of some mixes, shape (rows, fields); infinite where none of
        its plans fits."""
        return self._of_totals(priced, *self._totals(priced, rows))

    def _totals(self, priced: "Priced", rows: Ints) -> tuple[Floats, Floats]:
        """Least sums and least peaks, each by itself, shapes (rows, sums) and (rows, peaks)."""
        uses = self.mixes.counts[rows] > 0
        sums = _cheapest(priced.sums, uses, priced.counts)
        sums[:, Sum.CHIPS] = self.mixes.least_chips[rows]
        peaks = _cheapest(priced.work, uses, priced.counts) / self.mixes.most_chips[rows][:, None]
        return sums, peaks + np.where(uses[:, :, None], priced.peaks_fixed, np.inf).min(axis=1)

    def _of_totals(self, priced: "Priced", sums: Floats, peaks: Floats) -> Floats:
        found = np.stack([measure.value(sums, peaks) for measure in priced.measures], axis=-1)
        found[peaks[..., Peak.NEEDED] > self.candidates.prices.usable_bytes * (1 + 1e-12)] = np.inf
        return found

    def tight(self, priced: "Priced", rows: Ints) -> tuple[Floats, Floats]:
        """The same for each range of the longest turn, shape (rows, ranges, fields), and where each
        range ends.

        In a range a stage holds no more layers than take the longest turn, or fill its memory, so
        that the cheapest options have room for no more than their stages hold.
        """
        sums, peaks = self._totals(priced, rows)
        stages = np.where(self.mixes.exact[rows][:, None], self.mixes.counts[rows], EVERY)
        stages = np.where(self.mixes.counts[rows] > 0, stages, 0)
        peaks = np.maximum(peaks, _whole_peaks(priced, stages))
        steps = np.concatenate([1.02 ** np.arange(24), [2.0, 4.0, np.inf]])
        turns = peaks[:, Peak.TURN_LOW, None] * steps
        room = np.minimum(
            turns[:, 1:, None] / priced.inner_loads[:, Peak.TURN_LOW], self._memory_room(priced)
        )
        most = stages[:, None] * np.floor(room * (1 + 1e-9))
        outer = priced.counts.sum() - priced.inner
        fewest = np.where(self.mixes.exact[rows][:, None], np.maximum(stages - outer, 0.0), 0.0)
        least = np.repeat(sums[:, None], len(steps) - 1, axis=1)
        for number in np.flatnonzero(priced.inner_sums.any(axis=0)):
            placed, more = _placed(priced.inner_sums[:, number], fewest, most, priced.inner)
            least[..., number] = np.maximum(
                least[..., number], placed + priced.outer_sums(stages > 0)[:, None, number]
            )
            least[~more, number] = np.inf
        each = np.repeat(peaks[:, None], len(steps) - 1, axis=1)
        each[..., Peak.TURN_LOW] = turns[:, :-1]
        found = self._of_totals(priced, np.where(np.isfinite(least), least, 0.0), each)
        found[~np.isfinite(least).all(axis=2)] = np.inf
        return found, turns[:, 1:]

    def _memory_room(self, priced: "Priced") -> Floats:
        """Layers that a stage under each option has room for, shape (options,)."""
        free = self.candidates.prices.usable_bytes - priced.peaks_fixed[:, Peak.NEEDED]
        return np.asarray(
            np.maximum(free, 0.0) / np.maximum(priced.inner_loads[:, Peak.NEEDED], 1e-300)
        )


def _whole_peaks(priced: "Priced", stages: Ints) -> Floats:
    """Least peaks at which so many stages under each option have room for all layers, each layer
    whole and no dearer than the cheapest of those of which there are many, the last one as it
    is; shape (mixes, peaks)."""
    inner, last = priced.inner_loads, priced.last_loads
    used = stages[:, :, None] > 0
    low = np.zeros((len(stages), inner.shape[1]))
    high = np.where(used, inner * priced.inner + last, 0.0).max(axis=1)
    for _ in range(24):
        middle = (low + high) / 2
        room = _whole(middle[:, None], inner)
        lost = np.where(used, room - _whole(middle[:, None] - last, inner), np.inf).min(axis=1)
        enough = (stages[:, :, None] * room).sum(axis=1) - lost >= priced.inner
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(low + np.where(used, priced.peaks_fixed, np.inf).min(axis=1))


def _whole(most: Floats, each: Floats) -> Floats:
    """How many layers of so much load fit."""
    return np.asarray(
        np.minimum(np.floor(np.maximum(most, 0.0) / np.maximum(each, 1e-300) * (1 + 1e-9)), EVERY)
    )


def _placed(
    costs: Floats, fewest: Floats, most: Floats, layers: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Least cost of so many layers, at least and at most so many of them under each option; and
    whether all find a place."""
    left = np.broadcast_to((layers - fewest.sum(axis=1))[:, None], most.shape[:2])
    total = np.broadcast_to((fewest @ costs)[:, None], most.shape[:2])
    for option in np.argsort(costs, kind="stable"):
        here = np.minimum(left, np.maximum(most[..., option] - fewest[:, None, option], 0.0))
        left, total = left - here, total + here * costs[option]
    return total, left <= 0


def _cheapest(costs: Floats, uses: NDArray[np.bool_], counts: Floats) -> Floats:
    """Sums over the layers, each under its cheapest option, shape (mixes, columns)."""
    each = np.where(uses[:, :, None, None], costs, np.inf).min(axis=1)
    return np.asarray(np.einsum("fgc,g->fc", each, counts))


class Priced:
    """A box's arrays, by option and by group of equal layers."""

    def __init__(self, candidates: Candidates, box: Box) -> None:
        ends, options = (
            (candidates.schedule(box, 0), candidates.schedule(box, 1)),
            len(candidates.splits),
        )
        self.measures = [candidates.measure(name, box, ends) for name in candidates.question.fields]
        whole, activation = candidates.resources(ends, box.least_sequences)
        resources = whole[:options].copy()
        if candidates.tied:
            resources[..., Resource.HELD] = np.minimum(
                resources[..., Resource.HELD], whole[options:, :, Resource.HELD]
            )
        arrays = candidates.run_arrays(ends, activation)
        run_sums, _, run_peaks, self.peaks_fixed = (array[:options] for array in arrays)
        """Shape (options, peaks)."""
        widths = candidates.widths[:options]
        first, self.counts = groups_of(candidates)
        grouped = resources[:, first]
        self.sums = np.einsum("osr,ogr->ogs", run_sums, grouped)
        """Shape (options, groups, sums)."""
        loads = np.einsum("oqr,ogr->ogq", run_peaks, grouped)
        self.work = loads * widths[:, None, None]
        """Load × chips, shape (options, groups, peaks)."""
        self.many = self.counts > 1
        if not self.many.any():
            self.many = np.ones_like(self.many)
        self.inner = float(self.counts[self.many].sum())
        """Layers of which there are many alike."""
        self.inner_loads, self.inner_sums = (
            loads[:, self.many].min(axis=1),
            self.sums[:, self.many].min(axis=1),
        )
        """Of the least of them, shapes (options, peaks) and (options, sums)."""
        self.last_loads = np.einsum("oqr,or->oq", run_peaks, resources[:, -1]) * (
            not self.many[first.argmax()]
        )
        """Of the last layer where it is none of them."""
        turns = np.einsum("or,oir->oi", run_peaks[:, Peak.TURN_LOW], resources)
        self.prefix = np.concatenate([np.zeros((options, 1)), np.cumsum(turns, axis=1)], axis=1)
        """Of a stage's turns, shape (options, layers + 1)."""

    def outer_sums(self, uses: NDArray[np.bool_]) -> Floats:
        """Of all other layers, each under its cheapest option, shape (mixes, sums)."""
        return _cheapest(self.sums[:, ~self.many], uses, self.counts[~self.many])


def groups_of(candidates: Candidates) -> tuple[Ints, Floats]:
    """The first of each group of equal layers, and how many they are; the last layer, and
    readers of tied weights, stand alone."""
    kinds = candidates.graph.kind_of_layer.astype(np.intp)
    alone = {len(kinds) - 1, *(reader for reader, _ in candidates.tied)}
    keys = np.array([-1 - number if number in alone else kind for number, kind in enumerate(kinds)])
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    return first.astype(np.intp), counts.astype(float)


def mixed_cuts(priced: Priced, counts: Ints, turn_s: float, order: Sequence[int]) -> Cuts | None:
    """A pipeline with so many stages under each option, in the order given, none with a longer
    turn where that can be: the cheapest options are filled first, stages of one option alike.
    None where there are more stages than layers."""
    stages = [option for option in order for _ in range(int(counts[option]))]
    layers = priced.prefix.shape[1] - 1
    if len(stages) > layers:
        return None
    # The last layer (the head) is longer than the others: its stage takes so many layers fewer.
    loads = np.diff(priced.prefix, axis=1)
    typical = np.median(loads, axis=1)
    last = stages[-1]
    heavy = int(np.rint(max(0.0, loads[last, -1] / typical[last] - 1)))
    room = np.maximum(1, np.floor(turn_s / typical * (1 + 1e-9))).astype(int)
    taken = _shared_out(priced, counts, room, stages, layers + heavy)
    taken[-1] -= heavy
    ends = np.cumsum(taken)
    if min(taken) < 1 or ends[-1] != layers:
        return None
    return tuple(zip([0, *ends[:-1].tolist()], ends.tolist(), stages, strict=True))


def _shared_out(
    priced: Priced, counts: Ints, room: Ints, stages: list[int], layers: int
) -> list[int]:
    """How many layers each stage takes: those of the cheapest option as many as they have room
    for, but so that every stage of a dearer one keeps a layer; the dearest takes what is left."""
    sizes: dict[int, list[int]] = {}
    todo = layers
    cheap = sorted(set(stages), key=lambda option: priced.inner_sums[option, Sum.DECODE_LOW])
    for option in cheap:
        alike = int(counts[option])
        take = todo
        if option != cheap[-1]:
            dearer = cheap[cheap.index(option) + 1 :]
            kept = sum(int(counts[other]) for other in dearer)
            take = min(todo - kept, alike * int(room[option]))
        each, more = divmod(take, alike)
        sizes[option] = [each + (number < more) for number in range(alike)]
        todo -= take
    return [sizes[option].pop() for option in stages]


def even_cuts(prefix: Floats, stages: int, option: int) -> Cuts:
    """The uniform pipeline whose largest load is least."""
    layers = len(prefix) - 1
    low, high = float(np.diff(prefix).max()), float(prefix[-1])
    best = _filled(prefix, stages, high)
    for _ in range(40):
        middle = (low + high) / 2
        ends = _filled(prefix, stages, middle)
        if ends is None:
            low = middle
        else:
            high, best = middle, ends
    assert best is not None
    cuts = [0, *best]
    return tuple((a, b, option) for a, b in itertools.pairwise(cuts) if a < b <= layers)


def _filled(prefix: Floats, stages: int, load: float) -> list[int] | None:
    """Ends of at most `stages` stages, each as long as the load allows, but so that every later
    one keeps a layer."""
    ends: list[int] = []
    low = 0
    layers = len(prefix) - 1
    for left in range(stages - 1, -1, -1):
        high = int(np.searchsorted(prefix, prefix[low] + load * (1 + 1e-12), side="right")) - 1
        high = min(high, layers - left)
        if high <= low:
            return None
        ends.append(high)
        low = high
    return ends if low == layers else None
