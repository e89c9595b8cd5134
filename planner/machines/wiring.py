"""A fabric that is a list of links: bridges between pairs of cards, PCIe switches, links that are
slow or missing.

Chips are numbers, switches have names, and both pass on what is not for them. A message takes a way
through the links: of each width the one of the least latency, and of these the one that is quickest
for so many bytes. A collective takes a ring through its chips, or sends all to all; what shares a
link in one direction shares its bandwidth.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.errors import InputError, listed
from planner.records import Record
from planner.units import BytesPerS, Seconds

End = int | str
"""A chip, or a switch."""
MOST_RINGS_OF = 8
"""Chips up to which every ring is tried: 2,520 of them. Of more chips two rings are: in their order,
and to the nearest next. Any ring can be run, so the price is never too low."""
LONG_BYTES = 1e6
"""By what a message of this size takes, ways are sorted."""


class Wire(Record):
    """One link, of as much in each direction."""

    between: tuple[End, End]
    """Chips by number, switches by name."""
    bandwidth_bytes_per_s: BytesPerS | None = None
    """Per direction; None: the fabric's. So below."""
    latency_s: Seconds | None = None


class Lane(NamedTuple):
    """What one way gives to a message that has it alone, or a step of a collective."""

    bandwidth_bytes_per_s: float
    latency_s: float


Lanes = tuple[Lane, ...]
"""Of which a message takes the quickest."""
Hop = tuple[End, End]
Path = tuple[Hop, ...]
"""Links in a direction, one after the other."""


class Wiring:
    """Links among the chips of one node, numbered from 0."""

    def __init__(
        self, links: Sequence[Wire], chips: int, bandwidth_bytes_per_s: float, latency_s: float
    ) -> None:
        self.chips = chips
        self.lanes_of_links: dict[Hop, Lane] = {}
        for link in links:
            one, other = link.between
            if any(isinstance(end, int) and end >= chips for end in link.between):
                continue  # to a chip that is not there
            width = link.bandwidth_bytes_per_s or bandwidth_bytes_per_s
            delay_s = latency_s if link.latency_s is None else link.latency_s
            self.lanes_of_links[one, other] = Lane(width, delay_s)
            self.lanes_of_links[other, one] = Lane(width, delay_s)
        self._steps: dict[tuple[int, ...], Lanes] = {}
        self._exchanges: dict[tuple[int, ...], Lanes] = {}

    @property
    def apart(self) -> list[int]:
        """Chips that no way leads to from the first."""
        reached = self._paths_from(0, 0.0)
        return [chip for chip in range(1, self.chips) if chip not in reached]

    @cached_property
    def paths(self) -> tuple[dict[tuple[int, int], Path], ...]:
        """From chip to chip the way of the least latency over links of some width or more, for each
        width at which all chips are joined, the widest first."""
        found = []
        for width in sorted({lane.bandwidth_bytes_per_s for lane in self.lanes_of_links.values()}):
            paths = {}
            for one in range(self.chips):
                reached = self._paths_from(one, width)
                others = (chip for chip in range(self.chips) if chip != one and chip in reached)
                paths.update({(one, other): reached[other] for other in others})
            found.append(paths)
        return tuple(reversed(found))

    def _paths_from(self, chip: int, width: float) -> dict[End, Path]:
        """The quickest ways to all that can be reached (Dijkstra)."""
        found: dict[End, Path] = {}
        numbers = itertools.count()
        ahead: list[tuple[float, int, int, End, Path]] = [(0.0, 0, next(numbers), chip, ())]
        while ahead:
            latency_s, steps, _, end, path = heapq.heappop(ahead)
            if end in found:
                continue
            found[end] = path
            for (one, other), lane in self.lanes_of_links.items():
                if one == end and other not in found and lane.bandwidth_bytes_per_s >= width:
                    # Between equals the order of the links decides.
                    number = next(numbers)
                    further = (*path, (one, other))
                    entry = latency_s + lane.latency_s, steps + 1, number, other, further
                    heapq.heappush(ahead, entry)
        return found

    def lanes(self, one: int, other: int) -> Lanes:
        """From one chip to another that has the links to itself."""
        pair = one, other
        offered = {self._loaded([paths[pair]]) for paths in self.paths if pair in paths}
        return _best(offered)

    def _loaded(self, paths: Sequence[Path]) -> Lane:
        """What messages on several ways at once get, each: what shares a link shares its
        bandwidth; the latency is the longest."""
        loads = Counter(itertools.chain.from_iterable(paths))
        lanes = self.lanes_of_links
        width = min(lanes[hop].bandwidth_bytes_per_s / load for hop, load in loads.items())
        return Lane(width, max(sum(lanes[hop].latency_s for hop in path) for path in paths))

    def ring(self, members: tuple[int, ...]) -> Lanes:
        """A step of the ring through some chips that is widest, and of the one that is nearest."""
        if members not in self._steps:
            offered = set()
            for paths in self._joining(members):
                for ring in self._rings(members):
                    hops = itertools.pairwise((*ring, ring[0]))
                    offered.add(self._loaded([paths[hop] for hop in hops]))
            self._steps[members] = _best(offered)
        return self._steps[members]

    def exchange(self, members: tuple[int, ...]) -> Lanes:
        """All chips of a group to all others at once: what each sends in all."""
        if members not in self._exchanges:
            offered = set()
            for paths in self._joining(members):
                pairs = itertools.permutations(members, 2)
                each = self._loaded([paths[pair] for pair in pairs])
                whole = (len(members) - 1) * each.bandwidth_bytes_per_s
                offered.add(Lane(whole, each.latency_s))
            self._exchanges[members] = _best(offered)
        return self._exchanges[members]

    def _joining(self, members: Sequence[int]) -> Iterator[dict[tuple[int, int], Path]]:
        """Ways over links of each width at which all members are joined."""
        for paths in self.paths:
            if all(pair in paths for pair in itertools.permutations(members, 2)):
                yield paths

    def _rings(self, members: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Orders of the members, each ring in one direction only."""
        first, *rest = members
        if len(members) <= MOST_RINGS_OF:
            for order in itertools.permutations(rest):
                if order[0] <= order[-1]:
                    yield (first, *order)
            return
        yield members
        visited = [first]
        while rest:
            lanes = [(ways_s((self.lanes(visited[-1], chip),), LONG_BYTES), chip) for chip in rest]
            _, nearest = min(lanes)
            rest.remove(nearest)
            visited.append(nearest)
        yield tuple(visited)

    def crossings(self, inside: int, within: int) -> "Crossings":
        """Messages that leave a block of `inside` chips for another in the same block of
        `within`."""
        numbers = range(self.chips)
        pairs = [
            (one, other)
            for one, other in itertools.permutations(numbers, 2)
            if one // inside != other // inside and one // within == other // within
        ]
        # Replicas stand in like blocks, and the slowest of them counts.
        alike: dict[tuple[int, int, int], set[Lanes]] = {}
        for one, other in pairs:
            key = _place_of(one, other, inside)
            alike.setdefault(key, set()).add(self.lanes(one, other))
        worst = {key: tuple(sorted(found)) for key, found in alike.items()}
        kinds = sorted(set(worst.values()), key=lambda ways: (ways_s(ways, LONG_BYTES), ways))
        numbered = {ways: number for number, ways in enumerate(kinds, 1)}
        codes = np.zeros((self.chips, self.chips), dtype=np.intp)
        for one, other in pairs:
            codes[one, other] = numbered[worst[_place_of(one, other, inside)]]
        return Crossings(codes, (_nearest(kinds), *kinds))


def _place_of(one: int, other: int, inside: int) -> tuple[int, int, int]:
    """The same for pairs that are a number of blocks apart."""
    return one % inside, other % inside, other // inside - one // inside


class Crossings(NamedTuple):
    """The ways across one border, sorted into kinds."""

    codes: NDArray[np.intp]
    """The kind of the way from each chip of a node to each other, shape (chips, chips)."""
    ways: tuple[tuple[Lanes, ...], ...]
    """Of each kind, those that count as alike, of which the slowest counts; first, as kind 0, one
    as near as any."""

    @property
    def nearest(self) -> int:
        """A kind that no other is nearer than."""
        return 1 if len(self.ways) <= 2 else 0


def ways_s(
    ways: Sequence[Lanes], message_bytes: float | NDArray[np.float64]
) -> float | NDArray[np.float64]:
    """A message over the slowest of several ways that count as alike. [s]"""
    slowest: float | NDArray[np.float64] = 0.0
    for lanes in ways:
        quickest: float | NDArray[np.float64] = np.inf
        for lane in lanes:
            taken = lane.latency_s + message_bytes / lane.bandwidth_bytes_per_s
            quickest = np.minimum(quickest, taken)
        slowest = np.maximum(slowest, quickest)
    return slowest


def _nearest(kinds: Iterable[tuple[Lanes, ...]]) -> tuple[Lanes, ...]:
    """As wide as the widest and as near as the nearest."""
    lanes = [lane for ways in kinds for each in ways for lane in each]
    if not lanes:
        return ()
    widest = max(lane.bandwidth_bytes_per_s for lane in lanes)
    return ((Lane(widest, min(lane.latency_s for lane in lanes)),),)


def _best(offered: Iterable[Lane]) -> Lanes:
    """Those that no other is both wider and nearer than, the widest first."""
    found: list[Lane] = []
    for lane in sorted(offered, key=lambda one: (-one.bandwidth_bytes_per_s, one.latency_s)):
        if not found or lane.latency_s < found[-1].latency_s:
            found.append(lane)
    return tuple(found)


def worst_of(groups: Iterable[Lanes]) -> Lanes:
    """What all of several groups have at once: of each choice of one lane of every group the
    narrowest and the farthest, and of these the ones that no other is better than.

    Of all choices: those of the widest lanes alone would be farther once one of them widens.
    """
    first, *others = groups
    found = _best(first)
    for lanes in others:
        found = _best(_both(one, other) for one in found for other in lanes)
    return found


def _both(one: Lane, other: Lane) -> Lane:
    """As narrow as the narrower and as far as the farther."""
    width = min(one.bandwidth_bytes_per_s, other.bandwidth_bytes_per_s)
    return Lane(width, max(one.latency_s, other.latency_s))


def check_links(name: str, links: Sequence[Wire], units: int) -> None:
    """Refuse links that join nothing, the same twice, or chips that are not there."""
    seen: set[frozenset[End]] = set()
    for number, link in enumerate(links):
        where = f"Fabric.links[{number}].between of {name!r}"
        for end in link.between:
            if isinstance(end, int) and not 0 <= end < units:
                raise InputError(f"{where}: {end} is not one of its chips, 0 to {units - 1}")
        pair = frozenset(link.between)
        if len(pair) < 2:
            raise InputError(f"{where}: it joins {link.between[0]!r} to itself")
        if pair in seen:
            raise InputError(
                f"{where}: {link.between[0]!r} and {link.between[1]!r} are joined twice; add up"
                " their bandwidths in one link"
            )
        seen.add(pair)


def check_joined(where: str, wiring: Wiring) -> None:
    """Refuse chips that no way leads to."""
    if wiring.apart:
        apart = listed([str(chip) for chip in wiring.apart])
        raise InputError(f"{where}: no way leads from chip 0 to chip {apart}; join them by links")


def blocks_of(units: int) -> list[int]:
    """Into how many parts a node of so many chips falls, level by level, innermost first: pairs,
    pairs of pairs and so on, as long as they come out even."""
    found = []
    while units % 2 == 0:
        found.append(2)
        units //= 2
    return [*found, units] if units > 1 else found
