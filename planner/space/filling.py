"""How few chips hold a model with the caches of so many sequences, however its layers are cut.

No plan holds more sequences on as few chips, so that boxes of plans know how many chips each
sequence costs at least.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from planner import allowance

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ROUNDING = 1e-12
"""Relative: of bytes that just fit."""


class Filling:
    """The fewest chips for any number of sequences, over options of what a stage may be."""

    def __init__(
        self,
        widths: Ints,
        ranks: Ints,
        fixed_bytes: Floats,
        cache_bytes: Floats,
        room_bytes: Floats,
        most_on_rank: int,
    ) -> None:
        """Of each option the chips, the ranks that share out the sequences, and the room on a
        chip, shape (options,); of each layer under it the weights on a chip, and the cache of one
        of a rank's sequences, shape (options, layers)."""
        self.widths = widths
        self.ranks = ranks
        self.fixed_bytes = fixed_bytes
        self.cache_bytes = cache_bytes
        self.room_bytes = room_bytes
        self.most_on_rank = most_on_rank
        self.fewest_chips = functools.cache(self._fewest_chips)

    def _fewest_chips(self, sequences: int) -> float:
        """Of a replica with so many sequences; infinite where no chips hold them."""
        on_rank = np.ceil(sequences / self.ranks)
        held = self.fixed_bytes + on_rank[:, None] * self.cache_bytes
        before = np.concatenate([np.zeros((len(held), 1)), np.cumsum(held, axis=1)], axis=1)
        room = self.room_bytes + ROUNDING * before[:, -1]
        able = np.flatnonzero(on_rank <= self.most_on_rank)
        if not len(able):
            return math.inf
        ends = np.array(
            [
                np.searchsorted(before[option], before[option] + room[option], side="right") - 1
                for option in able
            ]
        )
        # Buffers alone may be more than there is room for.
        ends = np.maximum(ends, 0)
        widths = self.widths[able]
        layers = held.shape[1]
        # Fewer layers never need more chips, so that a stage takes as many as it has room for.
        chips = np.full(layers + 1, math.inf)
        chips[layers] = 0.0
        for tail in range(layers - 1, -1, -1):
            allowance.look()
            # A stage without room for a layer leads nowhere: `chips` is infinite there yet.
            chips[tail] = (widths + chips[ends[:, tail]]).min()
        return float(chips[0])

    def least_chips_each(self, first: int, last: int) -> float:
        """Chips for one sequence where a replica has from `first` to `last` of them: the least."""
        best = float("inf")
        ranges = [(first, last)]
        while ranges:
            low, high = ranges.pop()
            chips = self.fewest_chips(low)
            if chips / high >= best:
                continue
            if self.fewest_chips(high) == chips:
                best = chips / high
                continue
            middle = (low + high) // 2
            ranges += [(low, middle), (middle + 1, high)]
        return best
