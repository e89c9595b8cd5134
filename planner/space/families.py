"""Which mixes of plans a box of batches may still hold something of use in.

A box is bounded by its mixes, which know of the limits; it hands those that are left on to its
halves, with no more options than they use, so that small boxes are quick to bound and to solve.
"""

import copy
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from planner import allowance
from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.mixes import (
    MOST_FIGURES,
    MixBounds,
    Mixes,
    Priced,
    alike_of,
    even_cuts,
    exact_mixes,
    joined,
    mixed_cuts,
    mixes_of,
    mixes_on,
)
from planner.space.mixtures import Layers, Rows, mixed_bound
from planner.space.spreads import cuts_of, spreads_of

ROUNDING = 1e-9
"""Relative: of limits that are just kept."""
MOST_MIXES = 2000
"""Of ranges of chips, that are told one by one."""
FEW_MIXES = 200
"""Up to which all of a machine are from the start."""


class Family:
    """The mixes of a box, and candidates that offer the options of those alone."""

    def __init__(self, candidates: Candidates, mixes: Mixes) -> None:
        self.candidates = candidates
        self.mixes = mixes
        self.lower: Floats = np.zeros(len(mixes))
        """Canonical, of each mix in the box that it was narrowed for."""
        self.turns: Floats = np.zeros(len(mixes))
        """The longest turn of a stage where the bound is least. [s]"""

    @cached_property
    def bounds(self) -> MixBounds:
        return MixBounds(self.candidates, self.mixes)

    def narrowed(self, box: Box, goal: float, *, closely: bool = False) -> "Family":
        """The mixes that may hold plans of a box that keep the limits and are better than a
        goal, a canonical value; `closely`: by each way of spreading their layers too."""
        rows = np.arange(len(self.mixes))
        allowance.look()
        priced = Priced(self.candidates, box)
        lower = self._kept(self.bounds.quick(priced, rows), goal)
        rows = rows[np.isfinite(lower)]
        lower = lower[rows]
        together = np.count_nonzero(self.mixes.counts[rows], axis=1) > 1
        if together.any():
            beside = self._together(priced, rows[together], goal)
            lower[together] = np.maximum(lower[together], beside)
        rows, lower = rows[lower < goal], lower[lower < goal]
        turns = np.full(len(rows), np.inf)
        exact = np.flatnonzero(self.mixes.exact[rows])
        if len(exact):
            found, ends = self.bounds.tight(priced, rows[exact])
            tight = self._kept(found, goal)
            lower[exact] = np.maximum(lower[exact], tight.min(axis=1))
            turns[exact] = np.take_along_axis(ends, tight.argmin(axis=1)[:, None], axis=1)[:, 0]
        if closely:
            for place in np.flatnonzero(self.mixes.exact[rows] & (lower < goal)).tolist():
                kept = self._kept(spreads_of(self.bounds, priced, int(rows[place]))[0], goal)
                lower[place] = max(lower[place], float(kept.min(initial=np.inf)))
        left = lower < goal
        return self._of(rows[left], lower[left], turns[left])

    @property
    def is_ranged(self) -> bool:
        """Whether some mixes are told by their chips alone."""
        return not self.mixes.exact.all()

    @property
    def bound(self) -> float:
        """Of all of them, canonical; infinite where there are none."""
        return float(self.lower.min(initial=np.inf))

    def promising(self, box: Box) -> Iterator[Cuts]:
        """Stages of plans of the mix whose bound is least, where that says how many there are."""
        if not len(self.mixes) or not self.mixes.exact[best := int(self.lower.argmin())]:
            return
        candidates, priced = self.candidates, Priced(self.candidates, box)
        option, counts = int(self.mixes.option[best]), self.mixes.counts[best]
        if option >= 0:
            stages = int(counts[option])
            whole = len(candidates.splits) if candidates.tied and stages == 1 else 0
            yield even_cuts(priced.prefix[option], stages, option + whole)
            return
        order = np.flatnonzero(counts)
        found, layers = spreads_of(self.bounds, priced, best)
        if len(layers):
            spread = layers[self._kept(found, np.inf).argmin()]
            for way in (slice(None), slice(None, None, -1)):
                used = order[way]
                cuts = cuts_of(priced, spread[way], counts[used], used)
                if cuts is not None:
                    yield cuts
            return
        turn_s = min(float(self.turns[best]), float(priced.prefix.max()))
        for ordered in (order.tolist(), order[::-1].tolist()):
            cuts = mixed_cuts(priced, counts, turn_s, ordered)
            if cuts is not None:
                yield cuts

    def _kept(self, found: Floats, goal: float) -> Floats:
        """The objective, infinite where that is no better than a goal or a limit is broken."""
        limits = np.array(self._limits)
        broken = (found[..., 1:] > limits + ROUNDING * np.abs(limits)).any(axis=-1)
        # What no bound is known of counts as nothing.
        least = np.fmax(found[..., 0], 0.0)
        return np.where(broken | (least >= goal), np.inf, least)

    @property
    def _limits(self) -> list[float]:
        candidates = self.candidates
        return [candidates.canonical(name, value) for name, value in candidates.question.limits]

    def _together(self, priced: Priced, rows: Ints, goal: float) -> Floats:
        """Bounds of mixes of several options, each layer under one of them."""
        sums, _ = self.bounds.totals(priced, rows)
        layers = Layers(priced.sums, priced.work, priced.peaks_fixed, priced.counts)
        chips = self.mixes.most_chips[rows].astype(np.float64)
        limits = [limit + ROUNDING * abs(limit) for limit in self._limits]
        usable_bytes = self.candidates.prices.usable_bytes
        found = np.empty(len(rows))
        for alike, used in alike_of(self.mixes, rows):
            # Each mix is told by itself; many at once would take gigabytes, and seconds.
            for some in _blocks(len(alike), used.options.shape[1] * layers.columns[0].size):
                allowance.look()
                few = alike[some]
                mixed = Rows(used.options[some], chips[few], sums[few])
                found[few] = mixed_bound(layers, mixed, priced.measures, limits, usable_bytes, goal)
        return found

    def one_by_one(self) -> "Family":
        """The same with the mixes of ranges of chips told one by one, where they are not too
        many."""
        mixes, candidates = self.mixes, self.candidates
        parts = [mixes.taken(np.flatnonzero(mixes.exact))]
        room = MOST_MIXES
        for row in np.flatnonzero(~mixes.exact).tolist():
            used = mixes.counts[row] > 0
            widths = candidates.widths[: len(candidates.splits)]
            low, high = int(mixes.least_chips[row]), int(mixes.most_chips[row])
            layers = len(candidates.graph.layers)
            counts = mixes_on(widths[used], low, high, layers, most=room)
            if counts is None:
                parts.append(mixes.taken(np.array([row])))
                continue
            room -= len(counts)
            parts.append(exact_mixes(counts, used, widths))
        return Family(candidates, joined(parts))

    def _of(self, rows: Ints, lower: Floats, turns: Floats) -> "Family":
        mixes, candidates = self.mixes.taken(rows), self.candidates
        used = np.asarray((mixes.counts > 0).any(axis=0))
        if not used.all():
            candidates = copy.copy(candidates)
            pairs = zip(candidates.splits, used.tolist(), strict=True)
            filling = candidates.filling
            candidates.offer(tuple(split for split, kept in pairs if kept))
            # Of more options the least is no more, and what is known of it need not be told anew.
            candidates.filling = filling
            mixes = mixes.using(used)
        left = Family(candidates, mixes)
        left.lower, left.turns = lower, turns
        return left


def _blocks(rows: int, each: int) -> Iterator[slice]:
    """Rows in blocks, of each of which no more than so many figures are made at once."""
    size = max(1, MOST_FIGURES // max(1, each))
    for first in range(0, rows, size):
        yield slice(first, first + size)


def whole_family(candidates: Candidates, box: Box, few: int = FEW_MIXES) -> Family:
    """All mixes of a box, told one by one up to so few; where more replicas of a plan are as good
    or better, without those on so few chips that there is room for more."""
    budget = candidates.packing.widest(box.replicas)
    splits = tuple(split for split in candidates.splits if split.chips <= budget)
    offered = copy.copy(candidates)
    offered.offer(splits)
    widths = np.array([split.chips for split in splits], dtype=np.intp)
    mixes = mixes_of(widths, budget, len(candidates.graph.layers), most=few)
    least = candidates.fewest_chips_of(box)
    return Family(offered, mixes.taken(np.flatnonzero(mixes.most_chips >= least)).on(least))
