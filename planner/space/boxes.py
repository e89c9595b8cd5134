"""Boxes of plans: how they are cut in two, down to single ones, and the best batch of a plan in
one."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from planner.plan import Plan
from planner.pricing.holdings import largest

P = TypeVar("P", bound=Plan)


class Box(NamedTuple):
    """A set of plans: replicas, and ranges (ends included) of micro-batches and of the sequences in
    each.

    Where the workload fixes the batch, the most micro-batches go with the fewest sequences in each.
    """

    replicas: int
    batch_size: int | None
    """Of the whole deployment, where the workload fixes it."""
    micro_batches: tuple[int, int]
    micro_sequences: tuple[int, int]
    all_sequences: tuple[int, int] = (0, 0)
    """What a replica may have in flight, where the batch is open: products of the two."""
    every_cut: bool = False
    """Whether a settled batch has plans of every number of micro-batches; else, of those whose
    largest is as large, of the fewest alone, where these are never worse."""

    @property
    def single(self) -> bool:
        return (
            self.micro_batches[0] == self.micro_batches[1]
            and self.micro_sequences[0] == self.micro_sequences[1]
        )

    @property
    def corners(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Micro-batches and sequences in each at the low end, where a pass is shortest, and at
        the high end."""
        (m0, m1), (u0, u1) = self.micro_batches, self.micro_sequences
        return ((m0, u0), (m1, u1)) if self.batch_size is None else ((m1, u0), (m0, u1))

    @property
    def ratio(self) -> float:
        """The largest that a range spans."""
        sides = (
            self.micro_batches,
            self.micro_sequences,
            *((self.all_sequences,) if self.all_sequences[1] else ()),
        )
        return max(float(high / low) for low, high in sides)

    def sequences(self, end: int) -> int:
        """Of one replica, at the low (0) or the high (1) end."""
        if self.batch_size is not None:
            return math.ceil(self.batch_size / self.replicas)
        micro_batches, micro_sequences = self.corners[end]
        whole = micro_batches * micro_sequences
        return min(whole, self.all_sequences[1]) if end and self.all_sequences[1] else whole

    @property
    def least_sequences(self) -> int:
        """That a replica holds in any case."""
        return max(self.sequences(0), self.all_sequences[0])

    def halves(self) -> Iterator["Box"]:
        """The box cut in two along the side that spans the larger ratio."""
        if self.batch_size is not None:
            ways = self._ways()
            for half in (ways[: len(ways) // 2], ways[len(ways) // 2 :]):
                yield self._replace(
                    micro_batches=(half[0], half[-1]), micro_sequences=self._sizes(half)
                )
        else:
            sides = (
                "micro_batches",
                "micro_sequences",
                *(("all_sequences",) if self.all_sequences[1] else ()),
            )
            side = max(sides, key=lambda name: getattr(self, name)[1] / getattr(self, name)[0])
            low, high = getattr(self, side)
            middle = math.isqrt(low * high)
            for part in ((low, middle), (middle + 1, high)):
                yield from Box(**{**self._asdict(), side: part}).trimmed()

    def trimmed(self) -> Iterator["Box"]:
        """The box with no more of each range than the others leave of it; nothing where one is
        left empty."""
        (m0, m1), (u0, u1), (n0, n1) = self.micro_batches, self.micro_sequences, self.all_sequences
        if not n1:
            yield self
            return
        n0, n1 = max(n0, m0 * u0), min(n1, m1 * u1)
        m0, m1 = max(m0, -(-n0 // u1)), min(m1, n1 // u0)
        u0, u1 = max(u0, -(-n0 // max(1, m1))), min(u1, n1 // m0)
        if n0 <= n1 and m0 <= m1 and u0 <= u1:
            yield self._replace(
                micro_batches=(m0, m1), micro_sequences=(u0, u1), all_sequences=(n0, n1)
            )

    def _ways(self) -> list[int]:
        """Numbers of micro-batches into which a settled batch is cut."""
        m0, m1 = self.micro_batches
        if self.every_cut:
            return list(range(m0, m1 + 1))
        sequences = self.sequences(0)
        return [parts for parts in least_parts(sequences, sequences) if m0 <= parts <= m1]

    def _sizes(self, ways: list[int]) -> tuple[int, int]:
        return math.ceil(self.sequences(0) / ways[-1]), math.ceil(self.sequences(0) / ways[0])


def best_batch(
    box: Box, plan: P, most: int | None, value_of: Callable[[P], float], limited: bool
) -> tuple[P, float]:
    """The best plan of a box with the stages of one, and its value (infinite: none fits).

    `most` sequences fit into a replica (None: the batch is settled): tried are the largest batch
    that fits, and the largest that keeps the limits.
    """
    best, value = plan, math.inf
    (low, high), stages = box.micro_batches, len(plan.stages)
    for micro_batches in sorted({low, high, min(max(stages, low), high)}):
        cut = plan.replace(micro_batches=micro_batches, batch_size=None)
        fitting = None if most is None else min(most // micro_batches, box.micro_sequences[1])
        for candidate in _batches(cut, fitting, value_of, limited):
            reached = value_of(candidate)
            if reached < value:
                best, value = candidate, reached
    return best, value


def _batches(
    plan: P, fitting: int | None, value_of: Callable[[P], float], limited: bool
) -> Iterator[P]:
    """The plan with the largest micro-batch that fits, and the largest that keeps the limits;
    settled batches as they are."""
    each = plan.replicas * plan.micro_batches
    if fitting is None:
        yield plan
    elif fitting:
        yield plan.replace(batch_size=fitting * each)
        if limited:
            allowed = largest(
                lambda size: math.isfinite(value_of(plan.replace(batch_size=size * each))), fitting
            )
            if allowed:
                yield plan.replace(batch_size=allowed * each)


def least_parts(whole: int, most: int) -> Iterator[int]:
    """For each size that the largest of some parts can have, the fewest parts that give it: 1,
    then more."""
    parts = 1
    while parts <= min(whole, most):
        yield parts
        size = math.ceil(whole / parts)
        if size == 1:
            return
        parts = math.ceil(whole / (size - 1))
