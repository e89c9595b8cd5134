"""Costs that are sums of peaks, and of the longest of such sums: what many rows cost at once, and
what one of them costs in the terms of an integer model.

A *row* says how a chain is run in all but one thing: where it is cut. The cut decides the *peaks*
of a row, the largest load of each sort over its stages. A cost never shrinks with a peak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Way(NamedTuple):
    """One way of adding up: a fixed part, and a weight for each peak."""

    fixed: Floats
    """Shape (rows,)."""
    weights: Floats
    """Shape (peaks, rows)."""

    def value(self, peaks: Floats) -> Floats:
        """At such peaks, shape (peaks, rows)."""
        return np.asarray(self.fixed + (self.weights * peaks).sum(axis=0))

    def times(self, factor: Floats | float) -> "Way":
        """So many times as much, of each row."""
        return Way(self.fixed * factor, self.weights * factor)

    def plus(self, other: "Way") -> "Way":
        """Both together."""
        return Way(self.fixed + other.fixed, self.weights + other.weights)

    def of(self, rows: NDArray[np.intp]) -> "Way":
        """Of some rows alone."""
        return Way(self.fixed[rows], self.weights[:, rows])


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
            each = np.stack([way.value(peaks) for way in ways])
            total = total + weight * each.max(axis=0)
        return np.asarray(total)

    def times(self, factor: Floats | float) -> "Cost":
        """So many times as much, of each row; no factor is below 0."""
        longest = tuple(Longest(one.weight * factor, one.ways) for one in self.longest)
        return Cost(self.base.times(factor), longest)

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.base.plus(other.base), self.longest + other.longest)

    def of(self, rows: NDArray[np.intp]) -> "Cost":
        """Of some rows alone."""
        longest = tuple(
            Longest(one.weight[rows], tuple(way.of(rows) for way in one.ways))
            for one in self.longest
        )
        return Cost(self.base.of(rows), longest)


def fixed_cost(values: Floats, peaks: int) -> Cost:
    """What no cut changes, of each row."""
    return Cost(Way(values, np.zeros((peaks, len(values)))))


def peak_way(number: int, weights: Floats, peaks: int) -> Way:
    """One peak so many times, of each row."""
    every = np.zeros((peaks, len(weights)))
    every[number] = weights
    return Way(np.zeros(len(weights)), every)


def longest_of(ways: Sequence[Way]) -> Cost:
    """The longest of some ways."""
    rows = len(ways[0].fixed)
    nothing = Way(np.zeros(rows), np.zeros_like(ways[0].weights))
    return Cost(nothing, (Longest(np.ones(rows), tuple(ways)),))
