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
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.measures import Peak, Resource, Sum

EVERY = 1_000_000
"""Stages, or layers in one: no bound."""
MOST_FIGURES = 2_000_000
"""Of mixes whose totals are made at once."""
MOST_MIXES = 1000
"""Up to which the number of stages under each option makes mixes of their own; beyond, ranges
of chips do."""
FINE = 64
"""Chips up to which such a range is one number."""
STEPS = np.concatenate([1.02 ** np.arange(24), [2.0, 4.0, np.inf]])
"""Ranges of the longest turn, over the least that it can be."""
FEW = 0.2
"""Layers of a kind, as a share of those of the commonest, below which they count by themselves."""


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

    def taken(self, rows: Ints) -> "Mixes":
        """Some of them."""
        return Mixes(
            self.counts[rows],
            self.least_chips[rows],
            self.most_chips[rows],
            self.option[rows],
            self.exact[rows],
        )

    def using(self, options: NDArray[np.bool_]) -> "Mixes":
        """The same told for some of the options, where none uses others; shape (options,)."""
        numbers = np.cumsum(options) - 1
        option = np.where(self.option >= 0, numbers[self.option], -1)
        return replace(self, counts=self.counts[:, options], option=option)

    def on(self, chips: int) -> "Mixes":
        """The same where all have no fewer chips than so many."""
        return replace(self, least_chips=np.maximum(self.least_chips, chips))


def mixes_of(widths: Ints, budget: int, layers: int, *, most: int = MOST_MIXES) -> Mixes:
    """All mixes on at most `budget` chips: together they hold every plan. Beyond so many, ranges
    of chips take the place of those of several options."""
    options = len(widths)
    counts = []
    for one in itertools.islice(_multisets(widths.tolist(), budget, layers), 1, most + 2):
        # A row has a figure for each of hundreds of options.
        allowance.look()
        counts.append(one)
    ranges: list[tuple[int, int]] = []
    told = np.array(counts, dtype=np.intp).reshape(-1, options)
    if len(counts) > most:
        told = _uniform(widths, budget, layers)
        ranges = list(_ranges(2 * int(widths.min()), budget))
    lows, highs = (np.array([one[end] for one in ranges], dtype=np.intp) for end in (0, 1))
    # A mix of several stages leaves each of them no more than the narrowest other one does.
    fitting = widths <= highs[:, None] - widths.min(initial=0)
    table = np.concatenate([told, fitting])
    chips = told @ widths
    single = (table > 0).sum(axis=1) == 1
    exact = np.arange(len(table)) < len(told)
    return Mixes(
        table,
        np.concatenate([chips, lows]),
        np.concatenate([chips, highs]),
        np.where(single & exact, table.argmax(axis=1), -1),
        exact,
    )


def _uniform(widths: Ints, budget: int, layers: int) -> Ints:
    """Mixes of one option alone, with every number of stages, shape (mixes, options)."""
    deepest = np.minimum(budget // widths, layers)
    options = np.repeat(np.arange(len(widths)), deepest)
    stages = np.concatenate([np.arange(1, most + 1) for most in deepest.tolist()])
    table = np.zeros((len(options), len(widths)), dtype=np.intp)
    table[np.arange(len(options)), options] = stages
    return table


def _multisets(
    widths: list[int], budget: int, stages: int, least: int = 0
) -> Iterator[tuple[int, ...]]:
    """Numbers of stages under each option that fit the budget, and take `least` of it or more."""
    if not widths:
        if least <= 0:
            yield ()
        return
    if least > 0 and (not stages or budget < min(widths)):
        return
    for count in range(min(budget // widths[0], stages) + 1):
        taken = count * widths[0]
        for rest in _multisets(widths[1:], budget - taken, stages - count, least - taken):
            yield (count, *rest)


def _ranges(least: int, most: int) -> Iterator[tuple[int, int]]:
    low = least
    while low <= most:
        high = low if low <= FINE else min(most, math.floor(low * 1.05))
        yield low, high
        low = high + 1


def exact_mixes(counts: Ints, used: NDArray[np.bool_], widths: Ints) -> Mixes:
    """Mixes of so many stages under each of the options in use, told for all options."""
    every = np.zeros((len(counts), len(widths)), dtype=np.intp)
    every[:, used] = counts
    chips = every @ widths
    single = (every > 0).sum(axis=1) == 1
    option = np.where(single, every.argmax(axis=1), -1)
    return Mixes(every, chips, chips, option, np.ones(len(every), dtype=bool))


def joined(parts: Sequence[Mixes]) -> Mixes:
    """All mixes of some, one after the other."""
    return Mixes(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.least_chips for part in parts]),
        np.concatenate([part.most_chips for part in parts]),
        np.concatenate([part.option for part in parts]),
        np.concatenate([part.exact for part in parts]),
    )


def mixes_on(widths: Ints, low: int, high: int, layers: int, *, most: int) -> Ints | None:
    """Stages under each option of all mixes of several options on so many chips, shape (mixes,
    options); None where they are more than `most`."""
    ways = [1, *[0] * high]
    for width in widths.tolist():
        for chips in range(width, high + 1):
            ways[chips] += ways[chips - width]
    # Of as many stages as they like; those of too many are few on chips that are few.
    if sum(ways[low:]) > 2 * most:
        return None
    every = _multisets(widths.tolist(), high, layers, low)
    several = (one for one in every if sum(count > 0 for count in one) > 1)
    counts = list(itertools.islice(several, most + 1))
    if len(counts) > most:
        return None
    return np.array(counts, dtype=np.intp).reshape(-1, len(widths))


class MixBounds:
    """Bounds of the mixes of one question."""

    def __init__(self, candidates: Candidates, mixes: Mixes) -> None:
        self.candidates, self.mixes = candidates, mixes
        self.widths = np.array([split.chips for split in candidates.splits])

    def quick(self, priced: "Priced", rows: Ints) -> Floats:
        """Canonical lower bounds of some mixes, shape (rows, fields); infinite where none of
        its plans fits."""
        return self.of_totals(priced, *self.totals(priced, rows))

    def totals(self, priced: "Priced", rows: Ints) -> tuple[Floats, Floats]:
        """Least sums and least peaks, each by itself, shapes (rows, sums) and (rows, peaks)."""
        each = priced.sums.size + priced.work.size
        size = max(1, MOST_FIGURES // max(1, each))
        if len(rows) <= size:
            return self._totals(priced, rows)
        # Many at once would take gigabytes, and seconds.
        parts = [self._totals(priced, rows[at : at + size]) for at in range(0, len(rows), size)]
        sums, peaks = zip(*parts, strict=True)
        return np.concatenate(sums), np.concatenate(peaks)

    def _totals(self, priced: "Priced", rows: Ints) -> tuple[Floats, Floats]:
        allowance.look()
        uses = self.mixes.counts[rows] > 0
        sums = _cheapest(priced.sums, uses, priced.counts)
        sums[:, Sum.CHIPS] = self.mixes.least_chips[rows]
        peaks = _cheapest(priced.work, uses, priced.counts) / self.mixes.most_chips[rows][:, None]
        return sums, peaks + np.where(uses[:, :, None], priced.peaks_fixed, np.inf).min(axis=1)

    def of_totals(self, priced: "Priced", sums: Floats, peaks: Floats) -> Floats:
        """Canonical fields of sums and peaks, along the last axis; infinite beyond a chip's
        memory."""
        found = np.stack([measure.value(sums, peaks) for measure in priced.measures], axis=-1)
        found[peaks[..., Peak.NEEDED] > self.candidates.prices.usable_bytes * (1 + 1e-12)] = np.inf
        return found

    def tight(self, priced: "Priced", rows: Ints) -> tuple[Floats, Floats]:
        """The same for each range of the longest turn, shape (rows, ranges, fields), and where each
        range ends.

        In a range a stage holds no more layers than take the longest turn, or fill its memory, so
        that the cheapest options have room for no more than their stages hold.
        """
        sums, peaks = self.totals(priced, rows)
        found = np.empty((len(rows), len(STEPS) - 1, len(priced.measures)))
        turns = np.empty((len(rows), len(STEPS) - 1))
        for alike, used in alike_of(self.mixes, rows):
            allowance.look()
            found[alike], turns[alike] = self._in_ranges(priced, used, sums[alike], peaks[alike])
        return found, turns

    def _in_ranges(
        self, priced: "Priced", used: "Used", sums: Floats, peaks: Floats
    ) -> tuple[Floats, Floats]:
        peaks = np.maximum(peaks, _whole_peaks(priced, used))
        turns = peaks[:, Peak.TURN_LOW, None] * STEPS
        loads = priced.inner_loads[:, Peak.TURN_LOW][used.options]
        memory = self.memory_room(priced)[used.options]
        room = np.minimum(turns[:, 1:, None] / loads[:, None], memory[:, None])
        # A stage has no more than all layers, however many that hold nothing it had room for.
        most = used.stages[:, None] * np.floor(np.minimum(room, priced.inner) * (1 + 1e-9))
        outer = priced.counts.sum() - priced.inner
        fewest = np.where(used.stages < EVERY, np.maximum(used.stages - outer, 0.0), 0.0)
        least = np.repeat(sums[:, None], len(STEPS) - 1, axis=1)
        uses = np.zeros((len(sums), len(self.widths)), dtype=bool)
        np.put_along_axis(uses, used.options, True, axis=1)
        outer_sums = priced.outer_sums(uses)
        for number in np.flatnonzero(priced.inner_sums.any(axis=0)):
            costs = priced.inner_sums[:, number][used.options]
            placed, more = _placed(costs, fewest, most, priced.inner)
            least[..., number] = np.maximum(
                least[..., number], placed + outer_sums[:, None, number]
            )
            least[~more, number] = np.inf
        each = np.repeat(peaks[:, None], len(STEPS) - 1, axis=1)
        each[..., Peak.TURN_LOW] = turns[:, :-1]
        found = self.of_totals(priced, np.where(np.isfinite(least), least, 0.0), each)
        found[~np.isfinite(least).all(axis=2)] = np.inf
        return found, turns[:, 1:]

    def memory_room(self, priced: "Priced") -> Floats:
        """Layers that a stage under each option has room for, shape (options,)."""
        free = self.candidates.prices.usable_bytes - priced.peaks_fixed[:, Peak.NEEDED]
        least = priced.inner_loads[:, Peak.NEEDED]
        # A layer of which nothing is left holds nothing.
        endless = np.full(len(least), np.inf)
        return np.asarray(np.divide(np.maximum(free, 0.0), least, out=endless, where=least > 0))


class Used(NamedTuple):
    """The options of mixes that use as many of them, and their stages, shapes (mixes, used)."""

    options: Ints
    stages: Ints
    """`EVERY` of a range of chips."""

    @classmethod
    def of(cls, mixes: Mixes, rows: Ints, number: int) -> "Used":
        counts = mixes.counts[rows]
        options = np.nonzero(counts)[1].reshape(len(rows), number)
        stages = np.take_along_axis(counts, options, axis=1)
        return cls(options, np.where(mixes.exact[rows][:, None], stages, EVERY))


def alike_of(mixes: Mixes, rows: Ints) -> Iterator[tuple[Ints, Used]]:
    """Some mixes by how many options they use, and whether their stages are known: their places
    among those rows, and arrays without holes."""
    exact = mixes.exact[rows]
    uses = np.count_nonzero(mixes.counts[rows], axis=1)
    for is_exact, number in np.unique(np.stack([exact, uses]), axis=1).T.tolist():
        alike = np.flatnonzero((exact == is_exact) & (uses == number))
        yield alike, Used.of(mixes, rows[alike], number)


def _whole_peaks(priced: "Priced", used: Used) -> Floats:
    """Least peaks at which so many stages under each option have room for all layers, each layer
    whole and no dearer than the cheapest of those of which there are many, the last one as it
    is; shape (mixes, peaks)."""
    inner, last = priced.inner_loads[used.options], priced.last_loads[used.options]
    stages = used.stages[:, :, None]
    low = np.zeros((len(inner), inner.shape[2]))
    high = (inner * priced.inner + last).max(axis=1)
    for _ in range(24):
        middle = (low + high) / 2
        room = _whole(middle[:, None], inner)
        lost = (room - _whole(middle[:, None] - last, inner)).min(axis=1)
        enough = (stages * room).sum(axis=1) - lost >= priced.inner
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(low + priced.peaks_fixed[used.options].min(axis=1))


def _whole(most: Floats, each: Floats) -> Floats:
    """How many layers of so much load fit."""
    return np.asarray(
        np.minimum(np.floor(np.maximum(most, 0.0) / np.maximum(each, 1e-300) * (1 + 1e-9)), EVERY)
    )


def _placed(
    costs: Floats, fewest: Floats, most: Floats, layers: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Least cost of so many layers, at least and at most so many of them under each option of a
    mix; and whether all find a place, shapes (mixes, ranges)."""
    left = np.broadcast_to((layers - fewest.sum(axis=1))[:, None], most.shape[:2])
    total = np.broadcast_to((fewest * costs).sum(axis=1)[:, None], most.shape[:2])
    order = np.argsort(costs, axis=1, kind="stable")
    dearer = np.take_along_axis(costs, order, axis=1)
    more = np.take_along_axis(np.maximum(most - fewest[:, None], 0.0), order[:, None], axis=2)
    for place in range(costs.shape[1]):
        here = np.minimum(left, more[..., place])
        left, total = left - here, total + here * dearer[:, None, place]
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
        first, group, self.counts = groups_of(candidates)
        grouped = resources[:, first]
        self.sums = np.einsum("osr,ogr->ogs", run_sums, grouped)
        """Shape (options, groups, sums)."""
        loads = np.einsum("oqr,ogr->ogq", run_peaks, grouped)
        self.work = loads * widths[:, None, None]
        """Load × chips, shape (options, groups, peaks)."""
        self.many = (self.counts > 1) & (self.counts >= FEW * self.counts.max())
        if not self.many.any():
            self.many = np.ones_like(self.many)
        self.inner = float(self.counts[self.many].sum())
        """Layers of which there are many alike."""
        self.is_many = self.many[group]
        """Whether a layer is one of them, shape (layers,)."""
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


def groups_of(candidates: Candidates) -> tuple[Ints, Ints, Floats]:
    """The first of each group of equal layers, the group of each layer, and how many they are; the
    last layer, and readers of tied weights, stand alone."""
    kinds = candidates.graph.kind_of_layer.astype(np.intp)
    alone = {len(kinds) - 1, *(reader for reader, _ in candidates.tied)}
    keys = np.array([-1 - number if number in alone else kind for number, kind in enumerate(kinds)])
    _, first, group, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return first.astype(np.intp), group.astype(np.intp), counts.astype(float)


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
