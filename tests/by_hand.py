"""A machine and models so small and so round that every figure can be worked out on paper.

A chip does 100 operations a second and moves 10 B a second; so does a link, in steps of 1 s.
Nothing is lost, and a launch, a hop and the start of a collective take 1 s each.
"""

from typing import Any

from planner.machines.software import CollectiveKernel, Software
from planner.machines.topology import (
    Chip,
    Fabric,
    MemoryTier,
    Peak,
    Power,
    Price,
    Topology,
)
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import Attention, LayerOperator, MatMul
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.price_list import Reach

ALONE = Reach((1,), (1,), (1,))
"""A group of one chip."""
EVERY_KIND = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")


def round_chip(**changes: Any) -> Chip:
    """100 FLOP/s in 16 bit and 200 in 8, 1,000 B of memory at 10 B/s."""
    numbers: dict[str, Any] = {
        "name": "round",
        "peaks": (Peak(dtype="bf16", flop_per_s=100.0), Peak(dtype="fp8", flop_per_s=200.0)),
        "memory": (MemoryTier(name="RAM", capacity_bytes=1000.0, bandwidth_bytes_per_s=10.0),),
    }
    return Chip(**{**numbers, **changes})


def round_software(**changes: Any) -> Software:
    """Whole efficiencies, 1 s for a launch and for a hop, prompts in chunks of 10 tokens, a ring
    that starts in 1 s."""
    ring = CollectiveKernel(algorithm="ring", kinds=EVERY_KIND, base_latency_s=1.0)
    numbers: dict[str, Any] = {
        "name": "round",
        "kernel_overhead_s": 1.0,
        "compute_efficiency": 1.0,
        "memory_efficiency": 1.0,
        "hop_overhead_s": 1.0,
        "prefill_chunk_tokens": 10,
        "usable_memory_fraction": 1.0,
        "collectives": (ring,),
    }
    return Software(**{**numbers, **changes})


def round_machine(
    chips: int = 2, *, software: dict[str, Any] | None = None, **changes: Any
) -> Topology:
    """Chips at one switch, 10 B/s and 1 s a step; 100 W a chip, 150 W at the wall, 3.6 USD an
    hour."""
    switch = Fabric(
        name="switch",
        shape="switch",
        units=max(chips, 2),
        bandwidth_bytes_per_s=10.0,
        latency_s=1.0,
    )
    numbers: dict[str, Any] = {
        "name": "round",
        "chip": round_chip(),
        "chips": chips,
        "fabrics": (switch,),
        "software": round_software(**(software or {})),
        "power": Power(chip_w=100.0, system_w=150.0),
        "price": Price(usd_per_chip_hour=3.6, basis="rental"),
    }
    return Topology(**{**numbers, **changes})


def matmul(**changes: Any) -> MatMul:
    """5 × 10 in 16 bit: 100 B of weights; for a token 100 FLOP, 10 B read, 20 B written."""
    numbers: dict[str, Any] = {
        "name": "matmul",
        "inputs": 5,
        "outputs": 10,
        "weight_dtype": "bf16",
        "compute_dtype": "bf16",
        "split": "outputs",
    }
    return MatMul(**{**numbers, **changes})


def head(**changes: Any) -> MatMul:
    """The same for one row of each sequence: 100 FLOP and 30 B for a row."""
    return matmul(**{"name": "head", "rows": "sequences", **changes})


def attention(**changes: Any) -> Attention:
    """2 heads of 5: 40 FLOP and 40 B of cache for each token that is seen; 20 B read and 20 B
    written for a token."""
    numbers: dict[str, Any] = {
        "name": "attention",
        "heads": 2,
        "kv_heads": 2,
        "key_width": 5,
        "value_width": 5,
        "cached_width": 10,
        "decode_key_width": 5,
        "decode_value_width": 5,
        "kv_dtype": "bf16",
        "compute_dtype": "bf16",
    }
    return Attention(**{**numbers, **changes})


def layer(name: str, *operators: LayerOperator, kind: str = "decoder", **changes: Any) -> Layer:
    """A layer that hands on 10 values of 2 B for a token."""
    return Layer(name=name, kind=kind, operators=operators, activation_width=10, **changes)


def chain(*layers: Layer, **changes: Any) -> ModelGraph:
    """Each layer feeds the next."""
    numbers: dict[str, Any] = {
        "name": "round",
        "layers": layers,
        "edges": chain_edges(layers),
        "weight_dtype": "bf16",
        "kv_dtype": "bf16",
        "activation_dtype": "bf16",
        "parameters_active": 100.0,
    }
    return ModelGraph(**{**numbers, **changes})


def stage(
    *layers: str, first: int = 0, chips: int = 1, replicas: int = 1, apart: int = 1, **degrees: Any
) -> Stage:
    """Layers on `chips` chips from `first` on; each further replica `apart` chips after the one
    before."""
    groups = tuple(
        ChipRange(first=first + apart * number, count=chips) for number in range(replicas)
    )
    return Stage(layers=layers, groups=groups, **degrees)


def plan_of(*stages: Stage, **changes: Any) -> Plan:
    return Plan(stages=stages, **changes)
