"""The memory ledger: what the busiest chip of each stage holds, and how many sequences fit."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost import memory
from planner.models.graph import ModelGraph
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

    @property
    def needed_bytes(self) -> float:
        needed = memory.needed_bytes(
            self.weight_bytes, self.kv_bytes, self.activation_bytes, self.workspace_bytes
        )
        return float(needed)

    @property
    def headroom_bytes(self) -> float:
        return self.usable_bytes - self.needed_bytes


def split_of(stage: Stage) -> Split:
    """How a stage of a plan shares out its work."""
    return Split(
        stage.tensor_parallel,
        stage.expert_parallel,
        stage.sequence_parallel,
        stage.attention_parallel,
    )


def layers_of(stage: Stage, graph: ModelGraph) -> NDArray[np.intp]:
    """Positions of a stage's layers in the graph, shape (layers,)."""
    first = graph.position_of_layer[stage.layers[0]]
    if graph.names[first : first + len(stage.layers)] == stage.layers:
        return np.arange(first, first + len(stage.layers), dtype=np.intp)
    return np.array([graph.position_of_layer[name] for name in stage.layers], dtype=np.intp)


def kind_counts_of(stage: Stage, graph: ModelGraph) -> NDArray[np.float64]:
    """Layers of each kind in a stage, shape (kinds,)."""
    kinds = graph.kind_of_layer[layers_of(stage, graph)]
    return np.bincount(kinds, minlength=len(graph.kinds)).astype(float)


class StageHoldings:
    """What the busiest chip of a stage holds: weights whatever happens, the rest as sequences
    come."""

    def __init__(self, served: Served, stage: Stage) -> None:
        self.served = served
        self.split = split_of(stage)
        graph = served.graph
        held = served.holdings(self.split)
        counts = kind_counts_of(stage, graph)
        self.weight_bytes = float(counts @ held.weight_bytes)
        if graph.tied_layers:
            self.weight_bytes -= self._twice_bytes(held, set(layers_of(stage, graph).tolist()))
        self.kv_bytes_per_sequence = float(counts @ held.kv_bytes_per_sequence)
        self.kv_bytes_more = float(counts @ held.kv_bytes_more)
        self.samples = stage.layers[-1] == graph.names[-1]
        """Whether it has the last layer, after which a token is drawn."""

    def _twice_bytes(self, held: Holdings, here: set[int]) -> float:
        """Of tied weights whose layers are both here, what would count twice. [B]"""
        graph = self.served.graph
        return sum(
            float(held.tied_bytes[graph.kind_of_layer[reader]])
            for reader, owner in graph.tied_layers
            if reader in here and owner in here
        )

    def ledger(self, at: Schedule) -> Ledger:
        """While it serves a schedule."""
        share = at.held_sequences(self.split.attention)
        activation_bytes = self.served.activation_bytes(self.split, at)
        if self.samples:
            activation_bytes += self.served.logits_bytes(self.split, at)
        return Ledger(
            weight_bytes=self.weight_bytes,
            kv_bytes=share * self.kv_bytes_per_sequence + self.kv_bytes_more,
            activation_bytes=activation_bytes,
            workspace_bytes=self.served.prices.workspace_bytes(self.split),
            usable_bytes=self.served.usable_bytes,
        )


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
