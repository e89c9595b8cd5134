"""The borders of a topology, as packing sees them; where even pipelines are cut and where their
stages stand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.solver.chain.packing import Crossings, Ints, Packing

Bools = NDArray[np.bool_]


def packing_of(topology: Topology) -> Packing:
    """Chips as slots; the levels as spans, of a grid also its lines, planes and so on. Messages
    pay at the levels' borders."""
    spans: list[int] = []
    for level in topology.levels:
        size = level.unit_chips
        for length in reversed(level.axes):
            size *= length
            if length > 1:
                spans.append(size)
    return Packing(
        topology.chips, tuple(spans), tuple(level.span_chips for level in topology.levels[:-1])
    )


def crossings_of(topology: Topology, packing: Packing, widths: Ints) -> Crossings:
    """The links between stages of such widths that are packed in order, as `Topology.ways` tells
    them apart."""
    nearest = np.array([level.nearest_hops for level in topology.levels], dtype=np.intp)
    is_even = all(level.wiring is None for level in topology.levels)
    if is_even and all(sum(length > 1 for length in level.axes) == 1 for level in topology.levels):
        # On one axis the next stage begins in the same unit or in the one beside it.
        return replace(packing.crossings(widths), hops=nearest)
    able = np.unique(widths)
    end = np.arange(packing.slots + 1)
    sender = (end - able[:, None, None], end[None, None] - 1)
    start = packing.following(able)[None]
    receiver = (start, start + able[None, :, None] - 1)
    levels, hops = topology.ways(sender, receiver)
    happens = (sender[0] >= 0) & (receiver[1] < packing.slots)
    far = int(max(packing.slots, hops.max(initial=0))) + 1
    shortest = np.arange(len(nearest)) * far + nearest
    lengths = np.where(happens, levels * far + hops, shortest[0])
    every = np.unique(np.concatenate([shortest, lengths.ravel()]))
    return Crossings(able, np.searchsorted(every, lengths), every // far, every % far)


def starts_of(packing: Packing, widths: Sequence[int]) -> tuple[list[int], int]:
    """First chips of stages of such widths, one after the other, inside the borders where they
    fit; and where they end."""
    starts: list[int] = []
    offset = 0
    for width in widths:
        starts.append(
            int(packing.start(np.array(offset), width)) if packing.rule(width) else offset
        )
        offset = starts[-1] + width
    return starts, offset


def even_cut(graph: ModelGraph, stages: int) -> list[int]:
    """Where each stage begins that engines make by themselves, and where the last one ends: equally
    many layers to each, the embedding with the first and the head with the last."""
    inner = graph.inner_positions
    borders = (inner[border] for border in even_borders(len(inner), stages))
    return [0, *borders, len(graph.layers)]


def with_inner_layer(graph: ModelGraph) -> Bools:
    """Whether layers tail to head - 1 have one between the embedding and the head, shape (layers +
    1, layers + 1); every run has where the graph has none at all."""
    before = np.zeros(len(graph.layers) + 1, dtype=np.intp)
    before[np.array(graph.inner_positions, dtype=np.intp) + 1] = 1
    before = np.cumsum(before)
    return np.asarray((before > before[:, None]) | (before[-1] == 0))


def even_borders(layers: int, stages: int) -> list[int]:
    """The first layer of each stage but the first: equally many layers in each, what is left
    over in those before the last."""
    counts = np.full(stages, layers // stages)
    counts[stages - 1 - layers % stages : stages - 1] += 1
    return [int(border) for border in np.cumsum(counts)[:-1]]
