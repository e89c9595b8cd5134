"""What moving data between chips costs: collectives over the levels that a group spans, and hops
from stage to stage.

A collective over several levels runs level by level: reduce-scatter inside, the rest outside on
what is left, all-gather inside. Of the kernels that the software stack offers, the cheapest for the
message is used.
"""

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from planner.catalogue import load_software
from planner.cost import collectives as wire
from planner.errors import InputError, UnknownNameError
from planner.machines.software import CollectiveKernel, CollectiveKind
from planner.machines.topology import Level, Topology

Numbers = float | NDArray[np.float64]
Spans = tuple[int, ...]
"""Participants at each level, innermost first; for aligned groups their product is the number of
ranks."""


def spans_of(topology: Topology, first: int, count: int) -> Spans:
    """How consecutive chips lie in the levels: the most of them in one unit, then units touched,
    level by level."""
    spans = []
    for level in topology.levels:
        lowest, highest = first // level.unit_chips, (first + count - 1) // level.unit_chips
        borders = highest // level.units - lowest // level.units
        ends = (level.units - lowest % level.units, highest % level.units + 1)
        spans.append((highest - lowest + 1, max(ends), level.units)[min(borders, 2)])
    return tuple(spans)


def offers(topology: Topology, kind: str, spans: Spans) -> bool:
    """Whether the software stack has such a collective for such a group."""
    return bool(_kernels(topology, kind, spans)) or math.prod(spans) == 1


def group_collective_s(
    topology: Topology, kind: str, spans: Spans, tensor_bytes: Numbers
) -> Numbers:
    """One collective over a group, by the cheapest kernel of the topology's software. [s]

    `tensor_bytes` as in `cost.collectives`; an InputError says so where the software has no such
    collective.
    """
    if math.prod(spans) == 1:
        return 0.0 * tensor_bytes
    offered = [
        way[0].kernel.base_latency_s + _levels_s(way, kind, tensor_bytes)
        for way in _ways(topology, kind, spans)
    ]
    if not offered:
        ranks = math.prod(spans)
        raise InputError(
            f"software {topology.software.name!r} has no {kind} over {ranks} chips of {topology.name!r}"
        )
    quickest = np.minimum.reduce(np.broadcast_arrays(*offered)) if len(offered) > 1 else offered[0]
    launched_s = topology.software.collective_overhead_s
    return np.maximum(quickest, launched_s) if launched_s else quickest


def _kernels(topology: Topology, kind: str, spans: Spans) -> list[CollectiveKernel]:
    """The kernels that can run a collective over a group."""
    levels = [level for level, ranks in zip(topology.levels, spans, strict=True) if ranks > 1]
    across = any(level.unit_chips > 1 for level in levels)
    return [
        kernel
        for kernel in topology.software.collectives
        if kind in kernel.kinds
        and math.prod(spans) <= kernel.most_ranks
        and (kernel.across_nodes or not across)
        if kernel.algorithm != "in-switch"
        or any(level.fabric.reduces_in_network for level in levels)
    ]


def hop_s(topology: Topology, level: int | None, hops: int, tensor_bytes: Numbers) -> Numbers:
    """One transfer from a stage to the next across a level; None: both are on the same chips.
    [s]"""
    if level is None:
        return 0.0 * tensor_bytes
    fabric = topology.levels[level].fabric
    sent = wire.send_s(tensor_bytes, fabric.bandwidth_bytes_per_s, fabric.latency_s, hops)
    return sent + topology.software.hop_overhead_s


def _ways(topology: Topology, kind: str, spans: Spans) -> "list[list[_Place]]":
    """Each kernel that can run a collective over a group, on each level with several units: of
    the last machines, remembered."""
    ways = next((ways for known, ways in _RECENT if known is topology), None)
    if ways is None:
        ways = {}
        _RECENT.append((topology, ways))
    if (kind, spans) not in ways:
        part = [
            (level, ranks) for level, ranks in zip(topology.levels, spans, strict=True) if ranks > 1
        ]
        kernels = _kernels(topology, kind, spans)
        ways[kind, spans] = [
            [_Place(kernel, level, ranks) for level, ranks in part] for kernel in kernels
        ]
    return ways[kind, spans]


_RECENT: "deque[tuple[Topology, dict[tuple[str, Spans], list[list[_Place]]]]]" = deque(maxlen=4)


def _levels_s(way: "list[_Place]", kind: str, tensor_bytes: Numbers) -> Numbers:
    seconds: Numbers = 0.0
    left = tensor_bytes
    for position, place in enumerate(way):
        if kind == "all_reduce" and position < len(way) - 1:
            seconds = seconds + 2 * place.all_gather_s(left)
        elif kind == "all_reduce":
            seconds = seconds + place.all_reduce_s(left)
        elif kind in ("all_gather", "reduce_scatter"):
            seconds = seconds + place.all_gather_s(left)
        elif kind == "all_to_all":
            seconds = seconds + place.all_to_all_s(tensor_bytes)
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
    level: Level
    ranks: int

    @cached_property
    def wiring(self) -> str:
        shape = self.level.fabric.shape
        return {"switch": "switch", "full-mesh": "mesh", "dragonfly": "mesh"}.get(shape, "grid")

    @cached_property
    def link(self) -> tuple[float, float]:
        """Bandwidth and latency of one step."""
        fabric, kernel = self.level.fabric, self.kernel
        inside = self.level.unit_chips == 1
        software_s = kernel.step_latency_s if inside else kernel.across_step_latency_s
        share = (
            kernel.bandwidth_fraction
            if inside
            else kernel.across_bandwidth_fraction or kernel.bandwidth_fraction
        )
        return (
            fabric.bandwidth_bytes_per_s * share,
            self.level.nearest_hops * fabric.latency_s + software_s,
        )

    @cached_property
    def grid(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Axes of the block that consecutive units fill, and which of them close."""
        axes, left = [], self.ranks
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
            "one-shot": wire.one_shot_all_reduce_s
            if self.wiring == "switch"
            else wire.mesh_one_shot_all_reduce_s,
            "two-shot": wire.two_shot_all_reduce_s
            if self.wiring == "switch"
            else wire.mesh_two_shot_all_reduce_s,
            "in-switch": wire.in_switch_all_reduce_s if self._in_switch else wire.ring_all_reduce_s,
        }
        return by_algorithm[self.kernel.algorithm](tensor_bytes, self.ranks, *self.link)

    @property
    def _in_switch(self) -> bool:
        return self.level.fabric.shape == "switch" and self.level.fabric.reduces_in_network

    def all_gather_s(self, tensor_bytes: Numbers) -> Numbers:
        if self.wiring == "grid":
            return wire.grid_all_gather_s(tensor_bytes, *self.grid, *self.link)
        if self.wiring == "mesh" and self.kernel.algorithm != "ring":
            return wire.mesh_all_gather_s(tensor_bytes, self.ranks, *self.link)
        gather = (
            wire.ring_all_gather_s if self.kernel.algorithm == "ring" else wire.direct_all_gather_s
        )
        return gather(tensor_bytes, self.ranks, *self.link)

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


def collective_s(
    topology: Topology,
    kind: str,
    ranks: int,
    message_bytes: float,
    *,
    software: str | None = None,
    ranks_per_node: int | None = None,
) -> float:
    """One collective among `ranks` chips of an otherwise idle machine. [s]

    `kind` is one of all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, send_recv;
    `message_bytes` is the payload of one rank, as `cost.collectives` counts it; `software` replaces
    the topology's stack; `ranks_per_node` spreads the ranks over nodes.
    """
    if software is not None:
        topology = topology.replace(software=load_software(software))
    if kind not in get_args(CollectiveKind):
        raise UnknownNameError("collective", kind, get_args(CollectiveKind))
    if not 1 <= ranks <= topology.chips:
        raise InputError(
            f"ranks must lie between 1 and the {topology.chips} chips of {topology.name}, not {ranks}"
        )
    if not message_bytes >= 0:
        raise InputError(f"message_bytes must not be negative, not {message_bytes}")
    spans = spans_of(topology, 0, ranks)
    if ranks_per_node is not None and not 1 <= ranks_per_node <= ranks:
        raise InputError(
            f"ranks_per_node must lie between 1 and the {ranks} ranks, not {ranks_per_node}"
        )
    if ranks_per_node and len(spans) > 1:
        spans = (ranks_per_node, math.ceil(ranks / ranks_per_node), *(1 for _ in spans[2:]))
    return float(group_collective_s(topology, kind, spans, message_bytes))
