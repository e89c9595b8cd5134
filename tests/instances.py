"""Small machines and models that a person can follow, and random ones for the oracle."""

import random
from typing import Any

from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.machines.engine import Engine
from planner.machines.software import CollectiveKernel, Software
from planner.machines.topology import Chip, Fabric, MemoryTier, Peak, Power, Price, Topology
from planner.machines.wiring import Wire
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.models.graph import ModelGraph
from planner.workload import Workload

CONSTANT = Power(chip_w=100.0, system_w=150.0)
FOLLOWING = Power(
    chip_w=100.0,
    system_w=150.0,
    idle_share=0.2,
    compute_activity=7.0,
    memory_activity=1.5,
    host_share=0.5,
)
"""Power that follows what the chips do."""
SHAPES = ("switch", "full-mesh", "ring", "chain", "torus", "mesh", "dragonfly")
LISTED = (*SHAPES, "links")
"""With a list of links, which may be the first fabric alone."""


def tiny_graph(layers: int = 2, **changes: Any) -> ModelGraph:
    """A decoder with round numbers: hidden 1024, 8 heads, 4 key-value heads."""
    numbers: dict[str, Any] = {
        "layers": layers, "hidden": 1024, "heads": 8, "kv_heads": 4, "head_dim": 128, "ffn": 4096, "vocabulary": 8192,
    }  # fmt: skip
    return decoder_graph(DecoderShape(**{**numbers, **changes}), "tiny", Formats())


def tiny_moe(layers: int = 2, **changes: Any) -> ModelGraph:
    """The same with 8 experts, 2 of them active."""
    return tiny_graph(layers, ffn=0, experts=8, experts_active=2, expert_ffn=1024, **changes)


def tiny_software(**changes: Any) -> Software:
    numbers: dict[str, Any] = {
        "name": "plain",
        "kernel_overhead_s": 1e-6,
        "step_overhead_s": 1e-5,
        "compute_efficiency": 0.5,
        "memory_efficiency": 0.8,
        "hop_overhead_s": 1e-6,
        "prefill_chunk_tokens": 256,
        "usable_memory_fraction": 0.9,
        "most_sequences": 64,
        "collectives": (
            CollectiveKernel(
                algorithm="ring",
                kinds=(
                    "all_reduce",
                    "all_gather",
                    "reduce_scatter",
                    "all_to_all",
                    "broadcast",
                    "send_recv",
                ),
                base_latency_s=2e-6,
                bandwidth_fraction=0.8,
            ),
            CollectiveKernel(
                algorithm="one-shot", kinds=("all_reduce",), base_latency_s=1e-6, across_nodes=False
            ),
        ),
    }
    return Software(**{**numbers, **changes})


def waiting(software: Software) -> Software:
    """The same; of one in three, with layers in which tokens wait while their chips are free."""
    dice = random.Random(f"waiting {software}")
    if dice.random() > 1 / 3:
        return software
    return software.replace(
        layer_overhead_s=dice.choice((0.0, 5e-6, 1e-4)),
        layer_crossing_s=dice.choice((1e-5, 1e-4)),
        layer_occupancy=dice.choice((0.0, 0.3, 0.7)),
    )


def tiny_engine(**changes: Any) -> Engine:
    """One that splits all stages alike and keeps as many micro-batches as stages in flight."""
    numbers: dict[str, Any] = {
        "version": "1", "like_stages": True, "decoder_on_each_stage": True, "micro_batches": "stages",
    }  # fmt: skip
    return Engine(**{**numbers, **changes})


ENGINES = {
    "as many as stages": tiny_engine(),
    "one more": tiny_engine(micro_batches="stages + 1", experts="all ranks"),
    "each sequence": tiny_engine(
        micro_batches="sequences", tensor_in_pipelines=False, experts="none", attention="none"
    ),
}
"""Engines that differ in every rule."""


def tiny_chip(memory_bytes: float = 1e9, **changes: Any) -> Chip:
    numbers: dict[str, Any] = {
        "name": "tiny",
        "peaks": (Peak(dtype="bf16", flop_per_s=100e12),),
        "memory": (
            MemoryTier(name="HBM", capacity_bytes=memory_bytes, bandwidth_bytes_per_s=1e12),
        ),
    }
    return Chip(**{**numbers, **changes})


def fabric(shape: str, units: int, **changes: Any) -> Fabric:
    numbers: dict[str, Any] = {
        "name": shape, "shape": shape, "units": units, "bandwidth_bytes_per_s": 50e9, "latency_s": 1e-6,
    }  # fmt: skip
    if shape in ("torus", "mesh"):
        numbers["dimensions"] = (units,) if units in (2, 3) else (2, units // 2)
    if shape == "links":
        numbers["links"] = bridged(units)
    return Fabric(**{**numbers, **changes})


def bridged(units: int) -> tuple[Wire, ...]:
    """Cards behind a switch; the first two are joined by a bridge, and so are the last two."""
    ends = {(0, 1), (units - 2, units - 1)} if units > 1 else set()
    return (
        *(Wire(between=(card, "switch")) for card in range(units)),
        *(Wire(between=pair, bandwidth_bytes_per_s=200e9) for pair in sorted(ends)),
    )


def detoured(wires: Fabric) -> Fabric:
    """The same; of one mesh in two, with a way through other units that is wider, and longer."""
    dice = random.Random(f"detoured {wires}")
    if wires.shape not in ("full-mesh", "dragonfly") or dice.random() < 0.5:
        return wires
    wider = dice.choice((2, 5)) * wires.bandwidth_bytes_per_s
    return wires.replace(detour_bandwidth_bytes_per_s=wider)


def tiny_topology(chips: int = 4, *fabrics: Fabric, **changes: Any) -> Topology:
    numbers: dict[str, Any] = {
        "name": "tiny",
        "chip": tiny_chip(),
        "chips": chips,
        "fabrics": fabrics or (fabric("switch", max(chips, 2)),),
        "software": tiny_software(),
        "power": CONSTANT,
        "price": Price(usd_per_chip_hour=1.0, basis="rental"),
    }
    return Topology(**{**numbers, **changes})


def random_graph(dice: random.Random) -> ModelGraph:
    heads = dice.choice((2, 4, 8))
    changes: dict[str, Any] = {
        "heads": heads,
        "kv_heads": dice.choice([count for count in (1, 2, 4, 8) if heads % count == 0]),
        "hidden": dice.choice((256, 512, 1024)),
        "head_dim": 64,
        "tied_embedding": dice.random() < 0.3,
        "vocabulary": dice.choice((1000, 8192, 50000)),
    }
    layers = dice.choice((1, 2, 2))
    if dice.random() < 0.35:
        changes |= {"dense_first": dice.choice((0, 1))}
        dense = {"ffn": 2048} if changes["dense_first"] else {}
        return tiny_moe(layers, **{**changes, **dense}) if not dense else tiny_graph(
            layers, **changes, **dense, experts=4, experts_active=2, expert_ffn=512
        )  # fmt: skip
    return tiny_graph(layers, **changes, ffn=dice.choice((1024, 4096)))


def random_topology(dice: random.Random, shape: str) -> Topology:
    """One or two levels, the first or the second of the given shape; memory about as large as
    the models."""
    inner_shape, outer_shape = (
        (shape, None) if dice.random() < 0.5 else (dice.choice(SHAPES), shape)
    )
    if outer_shape == "links":
        inner_shape, outer_shape = outer_shape, inner_shape
    inner = dice.choice((2, 4)) if outer_shape else dice.choice((2, 3, 4))
    changes = {
        "bandwidth_bytes_per_s": dice.choice((1e9, 20e9, 300e9)),
        "latency_s": dice.choice((0.0, 1e-6, 2e-5)),
    }
    fabrics = [detoured(fabric(inner_shape, inner, **changes))]
    chips = inner
    if outer_shape:
        outer = 2
        slower = {
            "bandwidth_bytes_per_s": dice.choice((1e8, 5e8)),
            "latency_s": dice.choice((2e-5, 1e-4)),
        }
        fabrics.append(detoured(fabric(outer_shape, outer, **slower)))
        chips = (
            dice.choice((inner * outer, inner * outer - 1))
            if inner == 2
            else inner + dice.choice((0, 1))
        )
    return tiny_topology(
        max(chips, 2),
        *fabrics,
        chip=tiny_chip(dice.choice((12e6, 25e6, 60e6, 400e6)) * (1 + dice.random())),
        software=_random_software(dice),
        power=dice.choice((CONSTANT, FOLLOWING)),
    )


def _random_software(dice: random.Random) -> Software:
    return waiting(
        tiny_software(
            step_overhead_s=dice.choice((0.0, 1e-5)),
            most_tensor_parallel=dice.choice((1, 1_000_000, 1_000_000, 1_000_000)),
            prefill_chunk_tokens=dice.choice((16, 64, 4096)),
            request_overhead_s=dice.choice((0.0, 1e-3)),
            sequence_overhead_s=dice.choice((0.0, 1e-5)),
            burst_share=dice.choice((0.0, 0.1)),
            interruption_share=dice.choice((0.9, 0.6)),
            packs_prompts=dice.random() < 0.6,
            attention_overhead_s=dice.choice((None, 5e-6)),
        )
    )


def random_workload(dice: random.Random) -> Workload:
    return Workload(
        batch_size=dice.choice((1, 1, 2, 3, 5)),
        prompt_tokens=dice.choice((8, 100, 500)),
        output_tokens=dice.choice((1, 2, 20)),
        arrivals=dice.choice(("steady", "together")),
    )


def random_cluster(dice: random.Random, pools: int = 2) -> Cluster:
    """Small pools that hold a part of a small model each, joined in a line, sometimes with a
    shortcut."""
    made = []
    for number in range(pools):
        topology = random_topology(dice, dice.choice(SHAPES))
        topology = (
            topology.replace(chips=min(topology.chips, dice.choice((1, 2, 2, 3))))
            if number
            else topology
        )
        taken = dice.choice(((), (), (0,), (topology.chips - 1,))) if topology.chips > 1 else ()
        made.append(Pool(name=f"pool-{number}", topology=topology, exclude=taken))
    pairs = [(number, number + 1) for number in range(pools - 1)] + (
        [(0, pools - 1)] if pools > 2 else []
    )
    links = tuple(
        PoolLink(
            between=(f"pool-{a}", f"pool-{b}"),
            bandwidth_bytes_per_s=dice.choice((1e7, 1e9)),
            latency_s=dice.choice((1e-6, 1e-4)),
        )
        for a, b in pairs
    )
    return Cluster(name="tiny-cluster", pools=tuple(made), links=links)
