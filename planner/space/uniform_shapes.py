"""Shapes of uniform plans: a split and a depth, and where their stages stand."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from planner.machines.engine import Space
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ENDS, ModelGraph
from planner.plan import ChipRange
from planner.pricing.engines import split_fault
from planner.pricing.holdings import held_weight_bytes
from planner.pricing.price_list import Reach, Split, reach_of, usable_bytes_of
from planner.pricing.timing import Hop, hops_along
from planner.space.boxes import least_parts
from planner.space.candidates import splits_of
from planner.space.layout import even_cut, packing_of, starts_of


class Shape(NamedTuple):
    """A uniform pipeline."""

    split: Split
    stages: int
    """That share out the layers evenly."""
    ends: Split | None = None
    """How embedding and head are split on stages of their own; None: they join the first and the
    last stage."""

    @property
    def chips(self) -> int:
        """Of all its stages."""
        inner = self.split.chips * self.stages
        return inner if self.ends is None else inner + 2 * self.ends.chips

    @property
    def depth(self) -> int:
        """All stages, those of embedding and head too."""
        return self.stages if self.ends is None else self.stages + 2


class Stand(NamedTuple):
    """Where a stage stands, how far its messages go, and its hop to the next."""

    start: int
    split: Split
    reach: Reach
    hop: Hop
    code: int
    """The same for all stages of the same split, reach and hop."""


class Ground:
    """Where stages stand on one machine: the same for graphs of all sizes."""

    def __init__(self, topology: Topology) -> None:
        self.topology, self.packing = topology, packing_of(topology)
        self._stands: dict[Shape, tuple[Stand, ...]] = {}
        self._starts: dict[tuple[int, int], list[int]] = {}
        self._reaches: dict[tuple[Split, int], Reach] = {}
        self._codes: dict[tuple[Split, Reach, Hop], int] = {}
        self.last: object = None
        """What was worked out of the last graph here (see `uniform_stages.layouts_of`)."""

    def end(self, shape: Shape) -> int:
        """The chip behind the last one that a shape takes."""
        outer = shape.ends or shape.split
        return self._starts_of(shape)[-1] + outer.chips

    def holds(self, shape: Shape) -> bool:
        """Whether the machine has room for a shape."""
        if shape.chips > self.topology.chips:
            return False
        end = self.end(shape)
        return end <= self.topology.chips and self.packing.room(end) > 0

    def stands(self, shape: Shape) -> tuple[Stand, ...]:
        """Of the stages of a shape that fits, in order."""
        if shape not in self._stands:
            self._stands[shape] = tuple(self._made(shape))
        return self._stands[shape]

    def _made(self, shape: Shape) -> Iterator[Stand]:
        starts = self._starts_of(shape)
        splits = [shape.split] * len(starts)
        if shape.ends is not None:
            splits[0] = splits[-1] = shape.ends
        groups = [
            ChipRange(first=start, count=split.chips)
            for start, split in zip(starts, splits, strict=True)
        ]
        hops = hops_along(self.topology, groups)
        for start, split, hop in zip(starts, splits, [*hops, (None, 0)], strict=True):
            reach = self._reach_of(split, start)
            code = self._codes.setdefault((split, reach, hop), len(self._codes))
            yield Stand(start, split, reach, hop, code)

    def _reach_of(self, split: Split, start: int) -> Reach:
        # Deeper pipelines of a split begin with the stages of those less deep.
        if (split, start) not in self._reaches:
            self._reaches[split, start] = reach_of(self.topology, split, start)
        return self._reaches[split, start]

    def _starts_of(self, shape: Shape) -> list[int]:
        width = shape.split.chips
        outer = 0 if shape.ends is None else shape.ends.chips
        if len(self._starts.get((width, outer), ())) < shape.stages:
            # Twice as many as are asked for, so that deeper shapes find theirs.
            widths = [*([outer] if outer else []), *[width] * 2 * shape.stages]
            self._starts[width, outer] = starts_of(self.packing, widths)[0][bool(outer) :]
        starts = self._starts[width, outer][: shape.stages]
        if not outer:
            return starts
        last = int(self.packing.start(np.array(starts[-1] + width), outer))
        return [0, *starts, last]


def cuts_of(graph: ModelGraph, shape: Shape) -> list[int]:
    """Where each stage of a shape begins, and where the last one ends."""
    cut = even_cut(graph, shape.stages)
    if shape.ends is None:
        return cut
    inner = graph.inner_positions
    return [0, inner[0], *cut[1:-1], inner[-1] + 1, len(graph.layers)]


def keeps_caches(shape: Shape, graph: ModelGraph) -> bool:
    """Whether no stage of a shape begins between layers that share a cache."""
    if not graph.lent_caches:
        return True
    return bool(graph.may_begin[cuts_of(graph, shape)].all())


def is_runnable(shape: Shape, graph: ModelGraph, software: Software) -> bool:
    """Whether the software's engine can be started with a shape, whatever the batch."""
    engine = software.engine
    if shape.ends is not None:
        unlike = engine.like_stages and shape.ends != shape.split
        if unlike or engine.decoder_on_each_stage:
            return False
        if split_fault(graph, software, shape.ends, shape.depth) is not None:
            return False
    return split_fault(graph, software, shape.split, shape.depth) is None


def shapes_of(
    graph: ModelGraph, ground: Ground, space: Space = "engine", most_chips: int | None = None
) -> Iterator[Shape]:
    """Uniform pipelines whose weights the machine has room for: of each depth the fewest stages;
    embedding and head apart where they, and a layer, do not fit together. Those that the software's
    engine can be started with, or any; on the ground's first `most_chips` chips, or on all."""
    topology = ground.topology
    most_chips = topology.chips if most_chips is None else min(most_chips, topology.chips)
    weight_bytes = held_weight_bytes(graph, topology)
    usable = usable_bytes_of(topology)
    ends_bytes = [layer.weight_bytes for layer in graph.layers if layer.kind in ENDS]
    layers = len(graph.layers) - len(ends_bytes)
    depths = list(least_parts(layers, min(layers, topology.chips)))
    splits = splits_of(graph, topology, ground.packing)
    for split in splits:
        apart = _ends_apart(split, splits, max(ends_bytes, default=0.0), usable)
        for stages, ends in itertools.product(depths, apart):
            shape = Shape(split, stages, ends)
            if shape.chips > most_chips or weight_bytes > shape.chips * usable:
                continue
            if not keeps_caches(shape, graph):
                continue
            if space == "engine" and not is_runnable(shape, graph, topology.software):
                continue
            if ground.holds(shape) and ground.end(shape) <= most_chips:
                yield shape


def _ends_apart(
    split: Split, splits: Sequence[Split], heaviest: float, usable: float
) -> list[Split | None]:
    """How embedding and head may be split on stages of their own; None: they join others."""
    if split.attention > 1 or heaviest <= usable * split.chips / 4:
        return [None]
    wider = (Split(split.tensor), Split(2 * split.tensor))
    return [None, *(ends for ends in wider if ends in splits)]
