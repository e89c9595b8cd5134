"""`Cluster`: pools of unlike chips, and the links between them. `PooledPlan`: which layers run on
which chips of which pool.

A pool is a topology, maybe with chips that are not to be used. A link joins two pools; what goes
between pools that no link joins passes through others. Its packets go through one after the other,
so latencies add up and the narrowest link sets the pace; all that crosses a link at once shares it.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from planner.errors import InputError, UnknownNameError
from planner.machines.topology import Figure, Topology
from planner.plan import Plan, Stage
from planner.records import Record
from planner.units import BytesPerS, Seconds

ChipNumber = Annotated[int, Field(ge=0, le=10_000_000)]


class Pool(Record):
    """Equal chips of a cluster."""

    name: str
    topology: Topology
    exclude: tuple[ChipNumber, ...] = ()
    """Chips that have failed or are taken: no plan may use them."""

    @model_validator(mode="after")
    def check_exclude(self) -> Self:
        strange = next((chip for chip in self.exclude if chip >= self.topology.chips), None)
        if strange is not None:
            raise InputError(
                f"exclude: {self.topology.name} has chips 0 to {self.topology.chips - 1};"
                f" {strange} is not one of them"
            )
        return self

    @property
    def free_chips(self) -> int:
        return self.topology.chips - len(set(self.exclude))


class PoolLink(Record):
    """The link between two pools, in both directions."""

    between: tuple[str, str]
    """Names of the pools."""
    bandwidth_bytes_per_s: BytesPerS
    """Per direction, of the whole link."""
    latency_s: Seconds
    """From a chip of one to a chip of the other."""


class Way(NamedTuple):
    """A path over links."""

    latency_s: float
    bandwidth_bytes_per_s: float

    def then(self, link: PoolLink) -> "Way":
        """The way that goes on over a link: latencies add up, the narrowest sets the pace."""
        return Way(
            self.latency_s + link.latency_s,
            min(self.bandwidth_bytes_per_s, link.bandwidth_bytes_per_s),
        )


class Cluster(Record):
    """Pools and the links between them."""

    name: str
    title: str = ""
    pools: Annotated[tuple[Pool, ...], Field(min_length=1)]
    links: tuple[PoolLink, ...] = ()
    figures: tuple[Figure, ...] = ()
    """Source and confidence of every number of the links; those of a pool stand in its topology."""

    @model_validator(mode="after")
    def check_names(self) -> Self:
        names = [pool.name for pool in self.pools]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise InputError(
                f"Cluster.pools: two pools are called {repeated!r}; give each a name of its own"
            )
        for link in self.links:
            for name in link.between:
                if name not in names:
                    raise UnknownNameError("pool at the end of a link", name, names)
            if link.between[0] == link.between[1]:
                raise InputError(
                    f"Cluster.links: a link joins {link.between[0]!r} to itself; name two pools"
                )
        return self

    def number(self, name: str) -> int:
        """Of a pool in `pools`."""
        for number, pool in enumerate(self.pools):
            if pool.name == name:
                return number
        raise UnknownNameError("pool", name, [pool.name for pool in self.pools])

    @cached_property
    def ways(self) -> tuple[tuple[tuple[Way, ...], ...], ...]:
        """From each pool to each other: the paths of which none is both slower and narrower than
        another; () for a pool and itself, and where there is none."""
        return tuple(self._ways_from(start) for start in range(len(self.pools)))

    def _ways_from(self, start: int) -> tuple[tuple[Way, ...], ...]:
        reached: list[list[Way]] = [[] for _ in self.pools]
        todo = [(start, Way(0.0, np.inf))]
        # A longer way goes on only from where it is not beaten, so that the search ends: going
        # round in a circle is never quicker nor wider.
        while todo:
            at, way = todo.pop()
            for other, link in self._links_at(at):
                longer = way.then(link)
                known = reached[other]
                if other == start or any(_no_worse(one, longer) for one in known):
                    continue
                reached[other] = [one for one in known if not _no_worse(longer, one)]
                reached[other].append(longer)
                todo.append((other, longer))
        return tuple(tuple(sorted(ways)) for ways in reached)

    def _links_at(self, number: int) -> Iterator[tuple[int, PoolLink]]:
        name = self.pools[number].name
        for link in self.links:
            if name in link.between:
                yield self.number(link.between[link.between[0] == name]), link

    @cached_property
    def twin_before(self) -> tuple[int | None, ...]:
        """For each pool the last one before it that it is like: the same chips, as far from
        everything else."""
        return tuple(map(self._twin_before, range(len(self.pools))))

    def _twin_before(self, number: int) -> int | None:
        for other in reversed(range(number)):
            if self._alike(number, other):
                return other
        return None

    def _alike(self, one: int, other: int) -> bool:
        here, there = self.pools[one], self.pools[other]
        if here.topology != there.topology or set(here.exclude) != set(there.exclude):
            return False
        rest = [number for number in range(len(self.pools)) if number not in (one, other)]
        return all(self.ways[one][number] == self.ways[other][number] for number in rest)


def _no_worse(one: Way, other: Way) -> bool:
    return (
        one.latency_s <= other.latency_s
        and one.bandwidth_bytes_per_s >= other.bandwidth_bytes_per_s
    )


class PooledStage(Stage):
    """Layers that run together on chips of one pool, numbered as in that pool."""

    pool: str


class PooledPlan(Plan):
    """Stages in the order in which a token crosses them, each on a pool."""

    stages: Annotated[tuple[PooledStage, ...], Field(min_length=1)]
