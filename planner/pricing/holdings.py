"""The memory ledger: what the busiest chip of each stage holds, and how many sequences fit."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import memory
from planner.machines.tiers import tier_of
from planner.machines.topology import Topology
from planner.models.graph import EMBEDDING, ModelGraph
from planner.models.operators import MatMul
from planner.plan import Stage
from planner.pricing.price_list import Holdings, Split
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one chip of a stage holds, and what it may hold. [B]"""

    weight_bytes: float
    kv_bytes: float
    activation_bytes: float
    """At the most in any pass; on the last stage sampling included."""
    workspace_bytes: float
    """What the group's collectives keep for themselves."""
    usable_bytes: float
    offloaded_bytes: float = 0.0
    """Of weights and caches, what lies in its second memory, or in its host's."""
    offload_bytes: float = 0.0
    """What may lie there."""

    @property
    def needed_bytes(self) -> float:
        needed = memory.needed_bytes(
            self.weight_bytes, self.kv_bytes, self.activation_bytes, self.workspace_bytes
        )
        return float(needed)

    @property
    def headroom_bytes(self) -> float:
        """Of the memory in which there is less."""
        near = self.usable_bytes - self.needed_bytes
        if not self.offloaded_bytes:
            return near
        return min(near, self.offload_bytes - self.offloaded_bytes)


def split_of(stage: Stage) -> Split:
    """How a stage of a plan shares out its work."""
    return stage.kept(_split_of)


def _split_of(stage: Stage) -> Split:
    return Split(
        stage.tensor_parallel,
        stage.expert_parallel,
        stage.sequence_parallel,
        stage.attention_parallel,
    )


def layers_of(stage: Stage, graph: ModelGraph) -> NDArray[np.intp]:
    """Positions of a stage's layers in the graph, shape (layers,)."""
    return positions_of(stage.layers, graph)


def positions_of(names: tuple[str, ...], graph: ModelGraph) -> NDArray[np.intp]:
    """Positions of layers in the graph, shape (names,)."""
    if not names:
        return np.zeros(0, dtype=np.intp)
    first = graph.position_of_layer[names[0]]
    if graph.names[first : first + len(names)] == names:
        return np.arange(first, first + len(names), dtype=np.intp)
    return np.array([graph.position_of_layer[name] for name in names], dtype=np.intp)


def kind_counts_of(stage: Stage, graph: ModelGraph) -> NDArray[np.float64]:
    """Layers of each kind in a stage, shape (kinds,)."""
    return _counted(layers_of(stage, graph), graph)


def offloaded_counts_of(stage: Stage, graph: ModelGraph) -> NDArray[np.float64]:
    """The same of those that lie off the first memory of its chips."""
    return _counted(positions_of(stage.offloaded, graph), graph)


def handovers_of(stage: Stage, graph: ModelGraph) -> list[float]:
    """Bytes for one token that change sides, each time that a layer and the next lie in different
    memories. [B]"""
    away = set(stage.offloaded)
    return [
        graph.layers[graph.position_of_layer[name]].activation_bytes_per_token
        for name, following in itertools.pairwise(stage.layers)
        if (name in away) != (following in away)
    ]


def _counted(positions: NDArray[np.intp], graph: ModelGraph) -> NDArray[np.float64]:
    kinds = graph.kind_of_layer[positions]
    return np.bincount(kinds, minlength=len(graph.kinds)).astype(float)


class _Away(NamedTuple):
    """What lies off the first memory of a stage's busiest chip. [B]"""

    weight_bytes: float
    kv_bytes_per_sequence: float
    kv_bytes_more: float
    capacity_bytes: float


class StageHoldings:
    """What the busiest chip of a stage holds: weights whatever happens, the rest as sequences
    come."""

    def __init__(self, served: Served, stage: Stage) -> None:
        self.served = served
        self.split = split_of(stage)
        graph = served.graph
        held = served.holdings(self.split)
        counts = kind_counts_of(stage, graph)
        self.samples = stage.layers[-1] == graph.names[-1]
        """Whether it has the last layer, after which a token is drawn."""
        self.offloaded: _Away | None = None
        if not stage.offloaded:
            twice = self._twice_bytes(held, set(stage.layers))
            self.weight_bytes = float(counts @ held.weight_bytes) - twice
            self.kv_bytes_per_sequence = float(counts @ held.kv_bytes_per_sequence)
            self.kv_bytes_more = float(counts @ held.kv_bytes_more)
            return

        tier = tier_of(served.topology)
        away = offloaded_counts_of(stage, graph)
        there = set(stage.offloaded)
        cached = away if tier.holds_caches else 0.0 * away
        self.offloaded = _Away(
            weight_bytes=float(away @ held.weight_bytes) - self._twice_bytes(held, there),
            kv_bytes_per_sequence=float(cached @ held.kv_bytes_per_sequence),
            kv_bytes_more=float(cached @ held.kv_bytes_more),
            capacity_bytes=tier.capacity_bytes,
        )
        twice = self._twice_bytes(held, set(stage.layers) - there)
        self.weight_bytes = float((counts - away) @ held.weight_bytes) - twice
        self.kv_bytes_per_sequence = float((counts - cached) @ held.kv_bytes_per_sequence)
        self.kv_bytes_more = float((counts - cached) @ held.kv_bytes_more)

    def _twice_bytes(self, held: Holdings, here: set[str]) -> float:
        """Of tied weights whose layers are both here, what would count twice. [B]"""
        graph = self.served.graph
        return sum(
            float(held.tied_bytes[graph.kind_of_layer[reader]])
            for reader, owner in graph.tied_layers
            if graph.names[reader] in here and graph.names[owner] in here
        )

    def ledger(self, at: Schedule) -> Ledger:
        """While it serves a schedule."""
        share = at.held_sequences(self.split.attention)
        activation_bytes = self.served.activation_bytes(self.split, at)
        if self.samples:
            activation_bytes += self.served.logits_bytes(self.split, at)
        near = Ledger(
            weight_bytes=self.weight_bytes,
            kv_bytes=share * self.kv_bytes_per_sequence + self.kv_bytes_more,
            activation_bytes=activation_bytes,
            workspace_bytes=self.served.prices.workspace_bytes(self.split),
            usable_bytes=self.served.usable_bytes,
        )
        away = self.offloaded
        if away is None:
            return near
        cached = share * away.kv_bytes_per_sequence + away.kv_bytes_more
        return replace(
            near,
            offloaded_bytes=away.weight_bytes + cached,
            offload_bytes=away.capacity_bytes,
        )


def held_weight_bytes(graph: ModelGraph, topology: Topology) -> float:
    """Of a model's weights, what chips that share them out hold between them. [B]"""
    if not topology.embeds_on_host:
        return graph.weight_bytes
    tables = sum(layer.weight_bytes for layer in graph.layers if layer.kind == EMBEDDING)
    copied = sum(
        operator.replace(tied_to="").weight_bytes
        for reader, _ in graph.tied_layers
        for operator in graph.layers[reader].operators
        if isinstance(operator, MatMul) and operator.tied_to
    )
    return graph.weight_bytes - tables + copied


def most_fitting(headroom_bytes: Callable[[int], float], most: int) -> int:
    """The largest number up to `most` that leaves headroom, which only shrinks with the number; 0
    where not even 1 does.

    What is needed grows nearly in proportion, so a straight line through the last two probes points
    at the end of the room: a handful of probes in place of a dozen halvings. Steps and kinks could
    make the line creep along one end, so every third probe halves the rest.
    """
    lack = headroom_bytes(most)
    if lack >= 0:
        return most
    spare = headroom_bytes(1) if most > 1 else lack
    if spare < 0:
        return 0
    fitting, failing = 1, most
    probes = 0
    while failing - fitting > 1:
        probes += 1
        ahead = math.floor((failing - fitting) * spare / (spare - lack))
        if probes % 3 == 0:
            ahead = (failing - fitting) // 2
        # An exact line ends at the last that fits; then the next one is the proof that it is.
        probe = min(fitting + max(1, ahead), failing - 1)
        room = headroom_bytes(probe)
        if room >= 0:
            fitting, spare = probe, room
        else:
            failing, lack = probe, room
    return fitting


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where all smaller ones fit too; 0 where 1 does
    not."""
    fitting, failing = 0, most + 1
    probe = 1
    while failing - fitting > 1:
        if fits(probe):
            fitting = probe
        else:
            failing = probe
        probe = (fitting + failing) // 2
        if failing > most:
            # Nothing failed yet: doubling finds the order of magnitude.
            probe = min(2 * fitting, probe)
        probe = max(probe, fitting + 1)
    return fitting
