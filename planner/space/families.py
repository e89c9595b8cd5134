"""Which mixes of plans a box of batches may still hold something of use in.

A box is bounded by its mixes, which know of the limits; it hands those that are left on to its
halves, with no more options than they use, so that small boxes are quick to bound and to solve.
"""

import copy
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from planner.solver.chain.problem import Cuts, Floats, Ints
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.mixes import MixBounds, Mixes, Priced, even_cuts, mixed_cuts, mixes_of
from planner.space.mixtures import Layers, Rows, mixed_bound

ROUNDING = 1e-9
"""Relative: of limits that are just kept."""


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

    def narrowed(self, box: Box, goal: float) -> "Family":
        """The mixes that may hold plans of a box that keep the limits and are better than a
        goal, a canonical value."""
        rows = np.arange(len(self.mixes))
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
        left = lower < goal
        return self._of(rows[left], lower[left], turns[left])

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
        order = np.flatnonzero(counts).tolist()
        turn_s = min(float(self.turns[best]), float(priced.prefix.max()))
        for ordered in (order, order[::-1]):
            cuts = mixed_cuts(priced, counts, turn_s, ordered)
            if cuts is not None:
                yield cuts

    def _kept(self, found: Floats, goal: float) -> Floats:
        """The objective, infinite where that is no better than a goal or a limit is broken."""
        limits = np.array(self._limits)
        broken = (found[..., 1:] > limits + ROUNDING * np.abs(limits)).any(axis=-1)
        return np.where(broken | (found[..., 0] >= goal), np.inf, found[..., 0])

    @property
    def _limits(self) -> list[float]:
        candidates = self.candidates
        return [candidates.canonical(name, value) for name, value in candidates.question.limits]

    def _together(self, priced: Priced, rows: Ints, goal: float) -> Floats:
        """Bounds of mixes of several options, each layer under one of them."""
        sums, _ = self.bounds.totals(priced, rows)
        return mixed_bound(
            Layers(priced.sums, priced.work, priced.peaks_fixed, priced.counts),
            Rows(
                self.mixes.counts[rows] > 0, self.mixes.most_chips[rows].astype(np.float64), sums
            ),
            priced.measures,
            [limit + ROUNDING * abs(limit) for limit in self._limits],
            self.candidates.prices.usable_bytes,
            goal,
        )

    def _of(self, rows: Ints, lower: Floats, turns: Floats) -> "Family":
        mixes, candidates = self.mixes.taken(rows), self.candidates
        used = (mixes.counts > 0).any(axis=0)
        if not used.all():
            candidates = copy.copy(candidates)
            pairs = zip(candidates.splits, used.tolist(), strict=True)
            candidates.offer(tuple(split for split, kept in pairs if kept))
            mixes = mixes.using(used)
        left = Family(candidates, mixes)
        left.lower, left.turns = lower, turns
        return left


def whole_family(candidates: Candidates, box: Box) -> Family:
    """All mixes of a box; where more replicas of a plan are as good or better, without those on so
    few chips that there is room for more."""
    budget = candidates.packing.widest(box.replicas)
    splits = tuple(split for split in candidates.splits if split.chips <= budget)
    offered = copy.copy(candidates)
    offered.offer(splits)
    widths = np.array([split.chips for split in splits], dtype=np.intp)
    mixes = mixes_of(widths, budget, len(candidates.graph.layers))
    least = candidates.fewest_chips_of(box)
    return Family(offered, mixes.taken(np.flatnonzero(mixes.most_chips >= least)).on(least))
