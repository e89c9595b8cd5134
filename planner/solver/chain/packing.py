"""Packing blocks of slots in order, never across a border that they could keep clear of.

Slots come in units of several sizes, each a multiple of the one before: chips, lines of a grid,
nodes, racks. A block no larger than a unit lies inside one; a larger one begins at a unit's first
slot.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]


class Rule(NamedTuple):
    """Where a block may begin: at multiples of `grain`, inside one unit of `fence` slots."""

    grain: int
    fence: int


@dataclass(frozen=True, slots=True)
class Crossings:
    """What the links between blocks of some widths cross, by where the first of two blocks ends.

    The kinds are numbered by border, then by distance: of those across one border the nearest comes
    first.
    """

    widths: Ints
    """Ascending."""
    kinds: Ints
    """Of the link behind a block of one width that ends before a slot, to the next of another
    width; shape (widths, widths, slots + 1)."""
    borders: Ints
    """That links of each kind cross, shape (kinds,)."""
    hops: Ints
    """How far they go, likewise."""

    @property
    def nearest(self) -> Ints:
        """The kind of the nearest link across each border, shape (borders,)."""
        return np.searchsorted(self.borders, np.unique(self.borders))

    @property
    def is_even(self) -> bool:
        """Whether all links across a border are equally long."""
        return len(self.nearest) == len(self.borders)

    def classes(self, widths: Ints) -> Ints:
        """Numbers of widths among those that are known."""
        return np.searchsorted(self.widths, widths)


@dataclass(frozen=True, slots=True)
class Packing:
    """The borders among `slots` slots."""

    slots: int
    spans: tuple[int, ...]
    """Sizes of the units, ascending, each a multiple of the one before; the last holds all
    slots."""
    borders: tuple[int, ...] = ()
    """Those of the spans, ascending, whose borders a message pays for crossing."""
    blocked: tuple[int, ...] = ()
    """Slots that no block may take, ascending."""

    def rule(self, width: int) -> Rule | None:
        """Where a block of `width` slots may begin; None where there are not so many."""
        below = 1
        for span in self.spans or (1,):
            if width <= span:
                return Rule(below, span) if width <= self.slots else None
            below = span
        return None

    def start(self, offset: Ints, width: int) -> Ints:
        """First slots, at or after the offsets, where a block of a width that has a rule may
        begin."""
        rule = self.rule(width)
        if rule is None:
            raise AssertionError(f"no block of {width} slots fits into {self.slots}")
        begin = -(-offset // rule.grain) * rule.grain
        straddles = begin // rule.fence < (begin + width - 1) // rule.fence
        begin = np.where(straddles, -(-begin // rule.fence) * rule.fence, begin)
        for slot in self.blocked:
            if np.any(hit := (begin <= slot) & (slot < begin + width)):
                begin = np.where(
                    hit,
                    replace(self, blocked=()).start(np.full_like(begin, slot + 1), width),
                    begin,
                )
        return begin

    def starts(self, width: int) -> list[int]:
        """All first slots where a block of that width may stand."""
        found, offset = [], 0
        while (
            self.rule(width) is not None
            and (begin := int(self.start(np.array(offset), width))) + width <= self.slots
        ):
            found.append(begin)
            offset = begin + 1
        return found

    def border(self, before: Ints, after: Ints) -> Ints:
        """The highest kind of border between two slots: 0 where there is none, else 1, 2, …"""
        crossed = np.zeros(np.broadcast(before, after).shape, dtype=np.intp)
        for span in self.borders:
            crossed += before // span != after // span
        return crossed

    def following(self, widths: Ints) -> Ints:
        """First slots of the next block of each width behind one that ends before each slot, shape
        (widths, slots + 1)."""
        ends = np.arange(self.slots + 1)
        nowhere = np.full_like(ends, self.slots)
        starts = [
            self.start(ends, width) if self.rule(width) else nowhere for width in widths.tolist()
        ]
        return np.array(starts, dtype=np.intp).reshape(len(widths), self.slots + 1)

    def fewest_slots(self, widths: Ints) -> Ints:
        """Slots of the blocks that some packed in order take when the last one ends at each slot:
        the fewest, more than there are where none ends there; shape (slots + 1,)."""
        able = np.array([width for width in np.unique(widths).tolist() if self.rule(width)])
        fewest = np.full(self.slots + 1, self.slots + 1, dtype=np.intp)
        fewest[0] = 0
        ends = self.following(able) + able[:, None] if len(able) else np.zeros((0, 1), np.intp)
        for slot in range(self.slots):
            if fewest[slot] <= self.slots:
                inside = ends[:, slot] <= self.slots
                np.minimum.at(fewest, ends[inside, slot], fewest[slot] + able[inside])
        return fewest

    def crossings(self, widths: Ints) -> Crossings:
        """Of blocks of such widths, where all links across a border are equally long."""
        able = np.unique(widths)
        borders = self.border(np.arange(self.slots + 1) - 1, self.following(able))
        kinds = np.broadcast_to(borders, (len(able), *borders.shape))
        every = np.arange(len(self.borders) + 1)
        return Crossings(able, kinds, every, np.ones_like(every))

    def copies(self, width: int, count: int) -> list[int] | None:
        """First slots of `count` like copies of something `width` slots wide, all with the same
        borders inside; None where they do not fit."""
        if self.room(width) < count:
            return None
        begins, offset, size = [0], self.padded(width), self.padded(width)
        for _ in range(count - 1):
            begin = int(self.start(np.array(offset), size))
            begins.append(begin)
            offset = begin + size
        return begins

    def room(self, width: int) -> int:
        """How many copies fit."""
        size = self.padded(width)
        rule = self.rule(size)
        if rule is None:  # larger than what is there when padded: one copy, or none
            return int(width <= self.slots)
        whole, rest = divmod(self.slots, rule.fence)
        return whole * (rule.fence // size) + (
            max(0, rest - width) // size + 1 if rest >= width else 0
        )

    def padded(self, width: int) -> int:
        """The smallest block that holds `width` slots."""
        below = 1
        for span in self.spans or (1,):
            if width <= span:
                return -(-width // below) * below
            below = span
        return self.slots + 1

    def widest(self, count: int) -> int:
        """The widest thing of which `count` copies fit, and then all narrower ones do; 0 where
        not even one slot does."""
        low, high = 0, self.slots // count
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.room(middle) >= count else (low, middle - 1)
        return low
