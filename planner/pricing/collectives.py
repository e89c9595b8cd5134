"""What moving data between chips costs: collectives over the levels that a group spans, and hops
from stage to stage.

A collective over several levels runs level by level: reduce-scatter inside, the rest outside on
what is left, all-gather inside. Of the kernels that the software stack offers, the cheapest for the
message is used.

Tokens go to their experts and back in as many copies as ranks, or units of an outer level, hold any
of these: once to each unit, and there once to each rank (`Copies`). Stacks may instead gather all
tokens on all ranks, and sum up with a reduce-scatter, where that is cheaper.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from planner.catalogue import AnyMachine, load_software, machine_of
from planner.cost import collectives as wire
from planner.errors import InputError, UnknownNameError
from planner.guards import guarded
from planner.machines.software import CollectiveKernel, CollectiveKind
from planner.machines.topology import Level, Topology
from planner.machines.wiring import Lanes, Wiring, ways_s, worst_of

Floats = NDArray[np.float64]
Numbers = float | Floats
Spans = tuple[int, ...]
"""Participants at each level, innermost first; for aligned groups their product is the number of
ranks."""

EXCHANGES = {"dispatch": "all_gather", "combine": "reduce_scatter"}
"""How tokens go to their experts and back, and what does the same with all tokens."""


class Copies(NamedTuple):
    """In how many copies tokens are sent to their experts."""

    of_levels: tuple[float, ...]
    """Units of each level that a token reaches on average, its own included: ranks at the
    innermost level."""
    ranks: int
    """That share the experts out: what a gather reaches."""


def spans_of(topology: Topology, first: int, count: int) -> Spans:
    """How consecutive chips lie in the levels: the most of them in one unit, then units touched,
    level by level."""
    return tuple(_units_spanned(level, first, first + count - 1) for level in topology.levels)


def within(spans: Spans, ranks: int) -> Spans:
    """Those of the first `ranks` of a group: the innermost levels first."""
    inner = []
    for units in spans:
        taken = min(units, ranks)
        inner.append(taken)
        ranks = math.ceil(ranks / taken)
    return tuple(inner)


def _units_spanned(level: Level, first: int, last: int) -> int:
    """The most units of a level that chips `first` to `last` have within one unit of the next
    level."""
    lowest = first // level.unit_chips
    highest = last // level.unit_chips
    borders = highest // level.units - lowest // level.units
    if borders == 0:
        return highest - lowest + 1
    if borders == 1:
        before = level.units - lowest % level.units
        behind = highest % level.units + 1
        return max(before, behind)
    return level.units  # those in the middle are whole


def offers(topology: Topology, kind: str, spans: Spans) -> bool:
    """Whether the software stack has such a collective for such a group; a gather may stand for a
    dispatch."""
    if math.prod(spans) == 1 or any(True for _ in _kernels(topology, kind, spans)):
        return True
    return kind in EXCHANGES and any(True for _ in _kernels(topology, EXCHANGES[kind], spans))


class Route(NamedTuple):
    """How messages go from one unit of a level to another."""

    bandwidth_bytes_per_s: float
    latency_s: float
    is_port: bool
    """Whether all that a chip sends shares the bandwidth, as at the port of a switch."""


def routes_of(level: Level, hops: int | None = None) -> list[Route]:
    """The nearest way, so many hops long (None: as between the nearest units), and where the
    fabric has it the way through other units, twice as long."""
    fabric = level.fabric
    latency_s = fabric.latency_s * (level.nearest_hops if hops is None else hops)
    routes = [Route(fabric.bandwidth_bytes_per_s, latency_s, fabric.shape == "switch")]
    if fabric.detour_bandwidth_bytes_per_s is not None:
        routes.append(Route(fabric.detour_bandwidth_bytes_per_s, 2 * latency_s, True))
    return routes


class _Group(NamedTuple):
    """Those of a group that one step of a collective is among."""

    level: Level
    ranks: int
    copies: float
    """Of what a rank sends to its experts, on this level."""
    spans: Spans
    """Of a list of links, which stands in several levels: on each of them."""


def _grouped(topology: Topology, spans: Spans, copies: Sequence[float]) -> Iterator[_Group]:
    """A group level by level, innermost first; a list of links is one level, whose groups are
    rings of all their chips."""
    levels = topology.levels
    listed = sum(level.wiring is not None for level in levels)
    if math.prod(spans[:listed]) > 1:
        inner = spans[:listed]
        yield _Group(levels[0], math.prod(inner), copies[0], inner)
    for level, ranks, sent in zip(levels[listed:], spans[listed:], copies[listed:], strict=True):
        if ranks > 1:
            yield _Group(level, ranks, sent, (ranks,))


class Collectives:
    """What collectives take on one machine: `topology.kept(Collectives)`.

    Every kernel takes a time that does not depend on the message, and a time for each byte of it.
    So each is a line, drawn once for each group, and the cheapest is the lowest of a few.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._lines: dict[tuple[str, Spans, Copies | None], tuple[Floats, Floats]] = {}

    def seconds(
        self, kind: str, spans: Spans, tensor_bytes: Numbers, copies: Copies | None = None
    ) -> Numbers:
        """One collective over a group, by the cheapest kernel of the topology's software. [s]

        `tensor_bytes` as in `cost.collectives`, or with `copies` those of one copy of all tokens of
        a rank; an InputError says so where the software has no such collective.
        """
        if math.prod(spans) == 1:
            return 0.0 * tensor_bytes
        key = kind, spans, copies
        if key not in self._lines:
            self._lines[key] = self._lines_of(kind, spans, copies)
        starts_s, s_per_byte = self._lines[key]
        lines = starts_s + s_per_byte * np.asarray(tensor_bytes)[..., None]
        quickest: Floats = lines.min(axis=-1)
        launched_s = self.topology.software.collective_overhead_s
        return np.maximum(quickest, launched_s) if launched_s else quickest

    def _lines_of(self, kind: str, spans: Spans, copies: Copies | None) -> tuple[Floats, Floats]:
        """Of each kernel that can run a collective over a group, what it takes for no bytes [s],
        and for each byte [s/B]; each of shape (kernels,)."""
        topology = self.topology
        lines = list(self._drawn(kind, spans, copies))
        if copies and kind in EXCHANGES:
            gathered = self._drawn(EXCHANGES[kind], spans, None)
            lines += [(start_s, copies.ranks * slope) for start_s, slope in gathered]
        if not lines:
            raise InputError(
                f"software {topology.software.name!r} has no {kind} over {math.prod(spans)} chips"
                f" of {topology.name!r}"
            )
        starts_s, s_per_byte = np.array(lines).T
        return starts_s, s_per_byte

    def _drawn(
        self, kind: str, spans: Spans, copies: Copies | None
    ) -> Iterator[tuple[float, float]]:
        """The line of each kernel of one kind."""
        times = (1.0,) * len(spans) if copies is None else copies.of_levels
        groups = list(_grouped(self.topology, spans, times))
        chip = self.topology.chip
        for kernel in _kernels(self.topology, kind, spans):
            once_s = kernel.base_latency_s + kernel.meets * chip.meeting_latency_s
            once_s += _leaving_s(kernel, [group.level for group in groups])
            places = [
                [
                    _Place(kernel, group, chip.signal_latency_s, route)
                    for route in self._routes_of(group, kernel, kind)
                ]
                for group in groups
            ]
            for way in itertools.product(*places):
                empty = float(_levels_s(way, kind, 0.0))
                full = float(_levels_s(way, kind, LONG_BYTES))
                yield once_s + empty, (full - empty) / LONG_BYTES

    def _routes_of(self, group: "_Group", kernel: CollectiveKernel, kind: str) -> list[Route]:
        """Each way that a kernel's messages may take among some units of a level."""
        level = group.level
        if level.wiring is None:
            return routes_of(level)
        in_turn = kernel.algorithm in ("ring", "tree", "in-switch") and kind not in EXCHANGING
        lanes = self._lanes_of_links(level.wiring, group.spans, in_turn)
        return [Route(lane.bandwidth_bytes_per_s, lane.latency_s, True) for lane in lanes]

    def _lanes_of_links(self, wiring: Wiring, spans: Spans, in_turn: bool) -> Lanes:
        """Of a list of links, what the worst of all groups that lie like this gets: round a ring,
        or all to all."""
        levels = [level for level in self.topology.levels if level.wiring is not None]
        priced = wiring.ring if in_turn else wiring.exchange
        found = []
        for first, last in itertools.combinations(range(wiring.chips), 2):
            if tuple(_units_spanned(level, first, last) for level in levels) == spans:
                found.append(priced(tuple(range(first, last + 1))))
        return worst_of(found or [priced(tuple(range(wiring.chips)))])


EXCHANGING = ("all_to_all", *EXCHANGES)
"""Kinds in which every rank has something else for every other, whatever the algorithm."""


LONG_BYTES = 1e15
"""A message beside which no latency counts: where the slope of a line is read."""


def group_collective_s(
    topology: Topology, kind: str, spans: Spans, tensor_bytes: Numbers
) -> Numbers:
    """A collective over a group (see `Collectives.seconds`). [s]"""
    return topology.kept(Collectives).seconds(kind, spans, tensor_bytes)


def _kernels(topology: Topology, kind: str, spans: Spans) -> Iterator[CollectiveKernel]:
    """The kernels that can run a collective over a group; of tokens to experts and back those of
    an all-to-all, where the stack has none of their own."""
    ranks = math.prod(spans)
    levels = [level for level, units in zip(topology.levels, spans, strict=True) if units > 1]
    kernels = topology.software.collectives
    if kind in EXCHANGES and not any(kind in kernel.kinds for kernel in kernels):
        kind = "all_to_all"
    for kernel in kernels:
        offered = kind in kernel.kinds and ranks <= kernel.most_ranks
        offered &= topology.fabrics[0].units >= kernel.least_units
        if offered and _works_over(kernel, levels):
            yield kernel


def _works_over(kernel: CollectiveKernel, levels: Sequence[Level]) -> bool:
    """Whether a kernel reaches as far as these levels, and finds switches that add up where it
    needs them."""
    if not kernel.across_nodes and any(level.leaves_node for level in levels):
        return False
    if kernel.algorithm != "in-switch":
        return True
    return any(level.fabric.reduces_in_network for level in levels)


def _leaving_s(kernel: CollectiveKernel, levels: Sequence[Level]) -> float:
    """What a collective takes once more where any of these levels lies beyond the innermost.
    [s]"""
    leaves = any(level.leaves_node for level in levels)
    return kernel.across_base_latency_s if leaves else 0.0


def hop_s(topology: Topology, level: int | None, hops: int, tensor_bytes: Numbers) -> Numbers:
    """One transfer from a stage to the next across a level; None: both are on the same chips.
    [s]"""
    if level is None:
        return 0.0 * tensor_bytes
    crossed = topology.levels[level]
    if crossed.crossings is not None:
        sent = ways_s(crossed.crossings.ways[hops], tensor_bytes)
        return sent + topology.software.hop_overhead_s
    each = [
        wire.send_s(tensor_bytes, route.bandwidth_bytes_per_s, route.latency_s * hops)
        for route in routes_of(crossed, hops=1)
    ]
    return functools.reduce(np.minimum, each) + topology.software.hop_overhead_s


def _levels_s(way: "Sequence[_Place]", kind: str, tensor_bytes: Numbers) -> Numbers:
    """A collective by one kernel, level by level, but for what it takes once. [s]"""
    seconds: Numbers = 0.0
    left = tensor_bytes
    for position, place in enumerate(way):
        if kind == "all_reduce" and position < len(way) - 1:
            seconds = seconds + 2 * place.all_gather_s(left)
        elif kind == "all_reduce":
            seconds = seconds + place.all_reduce_s(left)
        elif kind in ("all_gather", "reduce_scatter"):
            seconds = seconds + place.all_gather_s(left)
        elif kind == "all_to_all" or kind in EXCHANGES:
            seconds = seconds + place.all_to_all_s(place.group.copies * tensor_bytes)
        elif kind == "broadcast":
            seconds = seconds + place.broadcast_s(tensor_bytes)
        else:
            seconds = seconds + place.send_s(tensor_bytes)
        left = left / place.ranks
    return seconds


@dataclass(frozen=True)
class _Place:
    """One kernel on one level among so many of its units."""

    kernel: CollectiveKernel
    group: _Group
    signal_s: float
    """Of a chip (`Chip.signal_latency_s`)."""
    route: Route

    @property
    def level(self) -> Level:
        return self.group.level

    @property
    def ranks(self) -> int:
        return self.group.ranks

    @cached_property
    def wiring(self) -> str:
        if self.route.is_port:
            return "switch"
        return "mesh" if self.level.fabric.shape in ("full-mesh", "dragonfly") else "grid"

    @cached_property
    def link(self) -> tuple[float, float]:
        """Bandwidth and latency of one step."""
        kernel = self.kernel
        software_s = kernel.step_latency_s + self.signal_s
        share = kernel.bandwidth_fraction
        if self.level.leaves_node:
            software_s = kernel.across_step_latency_s
            share = kernel.across_bandwidth_fraction or share
        return self.route.bandwidth_bytes_per_s * share, self.route.latency_s + software_s

    @cached_property
    def grid(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Axes of the block that consecutive units fill, and which of them close."""
        axes: list[int] = []
        left = self.ranks
        for length in reversed(self.level.axes):
            axes.append(min(length, left))
            left = math.ceil(left / length)
        axes.reverse()
        whole = [
            axes[axis] == length and self.level.wraps(axis)
            for axis, length in enumerate(self.level.axes)
        ]
        return tuple(axes), tuple(whole)

    def all_reduce_s(self, tensor_bytes: Numbers) -> Numbers:
        if self.wiring == "grid":
            return wire.grid_all_reduce_s(tensor_bytes, *self.grid, *self.link)
        by_algorithm = {
            "ring": wire.ring_all_reduce_s,
            "tree": wire.tree_all_reduce_s,
            "one-shot": wire.mesh_one_shot_all_reduce_s,
            "two-shot": wire.mesh_two_shot_all_reduce_s,
            "in-switch": wire.ring_all_reduce_s,  # where the switches do not add up
        }
        if self.wiring == "switch":
            by_algorithm["one-shot"] = wire.one_shot_all_reduce_s
            by_algorithm["two-shot"] = wire.two_shot_all_reduce_s
            if self.level.fabric.reduces_in_network:
                by_algorithm["in-switch"] = wire.in_switch_all_reduce_s
        return by_algorithm[self.kernel.algorithm](tensor_bytes, self.ranks, *self.link)

    def all_gather_s(self, tensor_bytes: Numbers) -> Numbers:
        if self.wiring == "grid":
            return wire.grid_all_gather_s(tensor_bytes, *self.grid, *self.link)
        if self.wiring == "mesh" and self.kernel.algorithm != "ring":
            return wire.mesh_all_gather_s(tensor_bytes, self.ranks, *self.link)
        if self.kernel.algorithm == "ring":
            return wire.ring_all_gather_s(tensor_bytes, self.ranks, *self.link)
        return wire.direct_all_gather_s(tensor_bytes, self.ranks, *self.link)

    def all_to_all_s(self, tensor_bytes: Numbers) -> Numbers:
        if self.wiring == "grid":
            return wire.grid_all_to_all_s(tensor_bytes, *self.grid, *self.link)
        if self.wiring == "mesh":
            return wire.mesh_all_gather_s(tensor_bytes, self.ranks, *self.link)
        return wire.direct_all_to_all_s(tensor_bytes, self.ranks, *self.link)

    def broadcast_s(self, tensor_bytes: Numbers) -> Numbers:
        if self.wiring == "grid":
            return wire.grid_all_gather_s(tensor_bytes, *self.grid, *self.link)
        return wire.tree_broadcast_s(tensor_bytes, self.ranks, *self.link)

    def send_s(self, tensor_bytes: Numbers) -> Numbers:
        return wire.send_s(tensor_bytes, *self.link)


@guarded
def collective_s(
    topology: AnyMachine,
    kind: str,
    ranks: int,
    message_bytes: float,
    *,
    software: str | None = None,
    ranks_per_node: int | None = None,
) -> float:
    """One collective among `ranks` chips of an otherwise idle machine. [s]

    `kind` is one of all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, send_recv,
    dispatch, combine; `message_bytes` is the payload of one rank, as `cost.collectives` counts it;
    `software` replaces the topology's stack; `ranks_per_node` spreads the ranks over nodes.

    UnknownNameError: no such kind. InputError: more ranks than chips, a negative message, or a
    collective that the stack lacks.
    """
    topology = machine_of(topology)
    if software is not None:
        topology = topology.replace(software=load_software(software))
    if kind not in get_args(CollectiveKind):
        raise UnknownNameError("collective", kind, get_args(CollectiveKind))
    if not 1 <= ranks <= topology.chips:
        raise InputError(
            f"ranks must lie between 1 and the {topology.chips} chips of {topology.name}, not"
            f" {ranks}"
        )
    if not message_bytes >= 0:
        raise InputError(f"message_bytes must not be negative, not {message_bytes}")
    spans = spans_of(topology, 0, ranks)
    if ranks_per_node is not None and not 1 <= ranks_per_node <= ranks:
        raise InputError(
            f"ranks_per_node must lie between 1 and the {ranks} ranks, not {ranks_per_node}"
        )
    if ranks_per_node and any(level.leaves_node for level in topology.levels):
        spans = _spread(topology, ranks, ranks_per_node)
    return float(group_collective_s(topology, kind, spans, message_bytes))


def _spread(topology: Topology, ranks: int, ranks_per_node: int) -> Spans:
    """The spans of ranks that share out nodes."""
    inner = sum(not level.leaves_node for level in topology.levels)
    here = spans_of(topology, 0, ranks_per_node)[:inner]
    outer = len(topology.levels) - inner - 1
    return (*here, math.ceil(ranks / ranks_per_node), *(1 for _ in range(outer)))
