"""Costs that are sums of peaks, and of the longest of such sums: what many rows cost at once, and
what one of them costs in the terms of an integer model.

A *row* says how a chain is run in all but one thing: where it is cut. The cut decides the *peaks*
of a row, the largest load of each sort over its stages. A cost never shrinks with a peak.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Way(NamedTuple):
    """One way of adding up: a fixed part, and a weight for each peak that counts."""

    fixed: Floats
    """Shape (rows,)."""
    weights: dict[int, Floats]
    """By the number of the peak, each of shape (rows,)."""

    def value(self, peaks: Floats) -> Floats:
        """At such peaks, shape (peaks, rows)."""
        total = self.fixed
        for peak, weight in self.weights.items():
            total = total + weight * peaks[peak]
        return total

    def times(self, factor: Floats | float) -> "Way":
        """So many times as much, of each row."""
        each = {peak: weight * factor for peak, weight in self.weights.items()}
        return Way(self.fixed * factor, each)

    def plus(self, other: "Way") -> "Way":
        """Both together."""
        each = dict(self.weights)
        for peak, weight in other.weights.items():
            each[peak] = each[peak] + weight if peak in each else weight
        return Way(self.fixed + other.fixed, each)


class Longest(NamedTuple):
    """A weight, and the ways of which the longest counts."""

    weight: Floats
    """Shape (rows,)."""
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """A sum of peaks and of longest ways, for each of many rows."""

    base: Way
    longest: tuple[Longest, ...] = ()

    def value(self, peaks: Floats) -> Floats:
        """At such peaks, shape (peaks, rows)."""
        total = self.base.value(peaks)
        for weight, ways in self.longest:
            each = [way.value(peaks) for way in ways]
            total = total + weight * functools.reduce(np.maximum, each)
        return total

    def times(self, factor: Floats | float) -> "Cost":
        """So many times as much, of each row; no factor is below 0."""
        longest = tuple(Longest(one.weight * factor, one.ways) for one in self.longest)
        return Cost(self.base.times(factor), longest)

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.base.plus(other.base), self.longest + other.longest)


def longest_of(ways: Sequence[Way]) -> Cost:
    """The longest of some ways."""
    rows = len(ways[0].fixed)
    return Cost(Way(np.zeros(rows), {}), (Longest(np.ones(rows), tuple(ways)),))
