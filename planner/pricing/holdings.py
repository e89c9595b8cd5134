"""The memory ledger: what the busiest chip of each stage holds, and how many sequences fit."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost import memory
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.pricing.price_list import Holdings, PriceList, Split
from planner.pricing.schedule import Schedule, scheduled
from planner.workload import Workload


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one chip of a stage holds, and what it may hold. [B]"""

    weight_bytes: float
    kv_bytes: float
    activation_bytes: float
    usable_bytes: float

    @property
    def needed_bytes(self) -> float:
        return float(memory.needed_bytes(self.weight_bytes, self.kv_bytes, self.activation_bytes))

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


def ledger_of(prices: PriceList, stage: Stage, at: Schedule) -> Ledger:
    """What the busiest chip of a stage holds while it serves a schedule."""
    graph, split, present = prices.graph, split_of(stage), layers_of(stage, prices.graph)
    kinds = graph.kind_of_layer[present]
    at_once = at.most_tokens / graph.passes_per_step  # guidance can run pass by pass
    holdings = _holdings(prices, split, at, at_once)
    weights = float(holdings.weight_bytes[kinds].sum())
    here = set(present.tolist()) if graph.tied_layers else set[int]()
    weights -= sum(
        float(holdings.tied_bytes[graph.kind_of_layer[a]])
        for a, b in graph.tied_layers
        if {a, b} <= here
    )
    share = at.held_sequences(split.attention)
    return Ledger(
        weight_bytes=weights,
        kv_bytes=float(
            (share * holdings.kv_bytes_per_sequence + holdings.kv_bytes_more)[kinds].sum()
        ),
        activation_bytes=holdings.activation_bytes,
        usable_bytes=prices.usable_bytes,
    )


def _holdings(prices: PriceList, split: Split, at: Schedule, tokens: float) -> Holdings:
    """What a chip holds: stages that share out their work alike hold the same of each kind of
    layer, and what is checked is scored next."""
    key = split, tokens, at.decode.rows
    for known in _RECENT:
        if known[0] is prices and known[1] is at.workload and known[2] == key:
            return known[3]
    _RECENT.append(
        (prices, at.workload, key, prices.holdings(split, at.workload, tokens, at.decode.rows))
    )
    return _RECENT[-1][3]


_RECENT: deque[tuple[PriceList, Workload, tuple[Split, float, float], Holdings]] = deque(maxlen=4)
"""Of these very objects."""


def most_sequences(prices: PriceList, plan: Plan, workload: Workload) -> int:
    """The most sequences in one replica that every stage can hold; 0 where not even one fits."""
    software = prices.topology.software

    def fits(sequences: int) -> bool:
        at = scheduled(
            workload, software, batch_size=sequences * plan.replicas, replicas=plan.replicas,
            micro_batches=plan.micro_batches, graph=prices.graph,
        )  # fmt: skip
        return all(ledger_of(prices, stage, at).headroom_bytes >= 0 for stage in plan.stages)

    return largest(fits, software.most_sequences)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` that fits, where all smaller ones fit too; 0 where 1 does
    not."""
    fitting, failing = 0, most + 1
    probe = 1
    while failing - fitting > 1:
        if fits(probe):
            fitting = probe
            probe = (
                min(2 * probe, (fitting + failing) // 2)
                if failing > most
                else (fitting + failing) // 2
            )
            probe = max(probe, fitting + 1)
        else:
            failing = probe
            probe = (fitting + failing) // 2
    return fitting
