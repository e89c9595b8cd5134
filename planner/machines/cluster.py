"""`Cluster`: pools of unlike chips, and the links between them. `PooledPlan`: which layers run on
which chips of which pool.

A pool is a topology, maybe with chips that are not to be used. A link joins two pools; what goes
between pools that no link joins passes through others. Its packets go through one after the other,
so latencies add up and the narrowest link sets the pace; all that crosses a link at once shares it.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from planner import allowance
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

    def then(self, link: "Way") -> "Way":
        """The way that goes on over a link: latencies add up, the narrowest sets the pace."""
        return Way(
            self.latency_s + link.latency_s,
            min(self.bandwidth_bytes_per_s, link.bandwidth_bytes_per_s),
        )


Joined = tuple[int, tuple[Way, ...]]
"""Another pool, and the links to it of which none betters another."""


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
        names = Counter(pool.name for pool in self.pools)
        repeated = next((name for name, count in names.items() if count > 1), None)
        if repeated is not None:
            raise InputError(
                f"Cluster.pools: two pools are called {repeated!r}; give each a name of its own"
            )
        for link in self.links:
            for name in link.between:
                if name not in names:
                    raise UnknownNameError("pool at the end of a link", name, list(names))
            if link.between[0] == link.between[1]:
                raise InputError(
                    f"Cluster.links: a link joins {link.between[0]!r} to itself; name two pools"
                )
        return self

    def number(self, name: str) -> int:
        """Of a pool in `pools`."""
        number = self._numbers.get(name)
        if number is None:
            raise UnknownNameError("pool", name, list(self._numbers))
        return number

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {pool.name: number for number, pool in enumerate(self.pools)}

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """For each pool the first one that has the same chips, of which the same are excluded."""
        firsts: dict[tuple[int, frozenset[int]], int] = {}
        seen: dict[int, int] = {}
        different: list[Topology] = []
        found = []
        for number, pool in enumerate(self.pools):
            # Most pools of a kind share one record, and to compare two takes a while.
            known = seen.get(id(pool.topology))
            if known is None:
                known = _place_in(different, pool.topology)
                seen[id(pool.topology)] = known
            found.append(firsts.setdefault((known, frozenset(pool.exclude)), number))
        return tuple(found)

    # ── How far pools are from one another ───────────────────────────────────────────────────────

    def ways(self, sender: int, receiver: int) -> tuple[Way, ...]:
        """From a pool to another: the paths of which none is both slower and narrower than another;
        () for a pool and itself, and where there is none."""
        known = self._known_ways.get(sender)
        if known is None:
            # From each pool only when it is asked for: of thousands all pairs are millions.
            known = self._known_ways[sender] = self._ways_from(sender)
        return known.get(receiver, ())

    @cached_property
    def _known_ways(self) -> dict[int, dict[int, tuple[Way, ...]]]:
        return {}

    def _ways_from(self, start: int) -> dict[int, tuple[Way, ...]]:
        allowance.look()
        reached: dict[int, list[Way]] = {}
        todo = [(0.0, -math.inf, start)]
        # Quicker ways come first, so that a later one is of use only where it is wider.
        while todo:
            latency_s, narrowness, at = heapq.heappop(todo)
            way = Way(latency_s, -narrowness)
            known = reached.setdefault(at, [])
            if known and known[-1].bandwidth_bytes_per_s >= way.bandwidth_bytes_per_s:
                continue
            known.append(way)
            for other, links in self._links_at[at]:
                for longer in map(way.then, links):
                    heapq.heappush(todo, (longer.latency_s, -longer.bandwidth_bytes_per_s, other))
        del reached[start]
        return {other: tuple(ways) for other, ways in reached.items()}

    @cached_property
    def _links_at(self) -> tuple[tuple[Joined, ...], ...]:
        """Of each pool the pools that links join it to, and the links that none of them betters."""
        links: list[dict[int, list[Way]]] = [{} for _ in self.pools]
        for link in self.links:
            one, other = (self.number(name) for name in link.between)
            way = Way(link.latency_s, link.bandwidth_bytes_per_s)
            links[one].setdefault(other, []).append(way)
            links[other].setdefault(one, []).append(way)
        return tuple(
            tuple((other, _unbeaten(joined[other])) for other in sorted(joined)) for joined in links
        )

    @cached_property
    def twin_before(self) -> tuple[int | None, ...]:
        """For each pool the last one before it that it is like: the same chips, and the same links
        to the same other pools."""
        last: dict[tuple[int, frozenset[Joined]], int] = {}
        found: list[int | None] = []
        for number, kind in enumerate(self.kinds):
            keys = [(kind, joined) for joined in self._joined_as(number)]
            found.append(max((last[key] for key in keys if key in last), default=None))
            last |= dict.fromkeys(keys, number)
        return tuple(found)

    def _joined_as(self, number: int) -> Iterator[frozenset[Joined]]:
        """The links of a pool; and, for each of their kinds, the same with one to itself: two pools
        that such a link joins are joined alike where these are the same."""
        joined = frozenset(self._links_at[number])
        yield joined
        for links in {links for _, links in joined}:
            yield joined | {(number, links)}


def _place_in(different: list[Topology], topology: Topology) -> int:
    """Of a machine among some, of which none is like another; it joins them where it is new."""
    for place, known in enumerate(different):
        if known == topology:
            return place
    different.append(topology)
    return len(different) - 1


def _unbeaten(ways: list[Way]) -> tuple[Way, ...]:
    """Those that no other is both as quick and as wide as."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda one: (one.latency_s, -one.bandwidth_bytes_per_s)):
        if not kept or way.bandwidth_bytes_per_s > kept[-1].bandwidth_bytes_per_s:
            kept.append(way)
    return tuple(kept)


class PooledStage(Stage):
    """Layers that run together on chips of one pool, numbered as in that pool."""

    pool: str


class PooledPlan(Plan):
    """Stages in the order in which a token crosses them, each on a pool."""

    stages: Annotated[tuple[PooledStage, ...], Field(min_length=1)]
