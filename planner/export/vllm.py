"""Flags of `vllm serve`."""

import json
from typing import Any

from planner.export.hosts import Seat, seats_of
from planner.export.orders import (
    ANY_ATTENTION_RANK,
    Order,
    asked_of_server,
    check_drafts_in_pipeline,
    cut_of,
    decided_by_servers,
    flying,
    lengths_of,
    numbered,
    pace_flags,
    visible,
)
from planner.export.scripts import Start, Words, node_address
from planner.launches.launch import Drafting, Launch
from planner.launches.ranks import by_attention_rank

CUT = "VLLM_PP_LAYER_PARTITION"
PORT = 8000
MASTER_PORT = 29500
RPC_PORT = 13345
SIDE_PORT = 5600
"""Where engines ask one another for caches; each attention rank has a port of its own."""
QUANTISES = ("fp8",)
"""Formats that it makes of 16-bit weights when it starts."""
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
CACHES = {"fp8": "fp8", "bf16": "bfloat16"}
ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}


def starts(order: Order) -> list[Start]:
    """Every process: one for each engine and node."""
    launch = order.launch
    check_drafts_in_pipeline(order, CUT)
    found = []
    for replica, chips in numbered(order):
        seats = seats_of(launch, by_attention_rank(launch, chips))
        for rank, seat in enumerate(seats):
            command = _command(order, replica, rank, seats)
            port = _port(order, replica) if rank == 0 else None
            settings = tuple(_environment(order, seat, replica))
            found.append(Start(replica, seat.node, rank, settings, command, port))
    return found


def _port(order: Order, replica: int) -> int:
    return PORT + order.first_port + replica


def _environment(order: Order, seat: Seat, replica: int) -> list[tuple[str, str]]:
    launch = order.launch
    settings = [visible(order, seat.chips)]
    if launch.pipeline_parallel > 1:
        settings.append((CUT, cut_of(launch)))
    if launch.role != "both":
        port = SIDE_PORT + order.first_port + launch.attention_parallel * replica
        settings.append(("VLLM_NIXL_SIDE_CHANNEL_HOST", node_address(seat.node, order.nodes)))
        settings.append(("VLLM_NIXL_SIDE_CHANNEL_PORT", str(port)))
    return settings


def _command(order: Order, replica: int, rank: int, seats: list[Seat]) -> Words:
    return (
        ("vllm", "serve", order.launch.model),
        *engine_flags(order),
        *_place(order, replica, rank, seats),
    )


def engine_flags(order: Order) -> Words:
    """What is told to every process of an engine, wherever it stands."""
    return tuple(
        (name,) if value is True else (name, _word(value))
        for name, value in engine_options(order).items()
        if value is not None
    )


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def engine_options(order: Order) -> dict[str, Any]:
    """The same by name; True: an option without a value."""
    launch = order.launch
    shares = launch.expert_parallel > 1
    twice = launch.redundant_experts
    return {
        "--tensor-parallel-size": launch.tensor_parallel,
        "--pipeline-parallel-size": launch.pipeline_parallel,
        "--data-parallel-size": launch.attention_parallel
        if launch.attention_parallel > 1
        else None,
        "--enable-expert-parallel": True if shares else None,
        "--enable-eplb": True if twice else None,
        "--eplb-config": {"num_redundant_experts": twice} if twice else None,
        "--max-num-seqs": order.sequences_per_rank,
        "--max-model-len": launch.context_tokens,
        "--max-num-batched-tokens": max(launch.chunk_tokens or 0, order.sequences_per_rank),
        "--gpu-memory-utilization": launch.memory_share,
        **_formats(order),
        "--enable-prefix-caching": launch.prefix_caching or None,
        "--cpu-offload-gb": _offloaded_gib(order),
        "--speculative-config": _speculative(launch.drafting),
        "--kv-transfer-config": _transfer(launch),
    }


def _formats(order: Order) -> dict[str, Any]:
    launch = order.launch
    weights = launch.weight_format or ""
    return {
        "--dtype": DTYPES.get(weights),
        "--quantization": weights if order.quantises else None,
        "--kv-cache-dtype": CACHES.get(launch.cache_format or "", launch.cache_format),
    }


def _offloaded_gib(order: Order) -> float | None:
    away = max(stage.offloaded_bytes for stage in order.job.score.stages)
    return round(away / 2**30 + 0.005, 2) if away else None


def _speculative(drafting: Drafting | None) -> dict[str, Any] | None:
    if drafting is None:
        return None
    method = {"draft-model": "draft_model"}.get(drafting.kind, drafting.kind)
    told: dict[str, Any] = {"method": method, "num_speculative_tokens": drafting.tokens}
    if drafting.model:
        told["model"] = drafting.model
    if drafting.kind == "ngram":
        told["prompt_lookup_max"] = drafting.tokens
    return told


def _transfer(launch: Launch) -> dict[str, Any] | None:
    if launch.role == "both":
        return None
    return {"kv_connector": "NixlConnector", "kv_role": ROLES[launch.role]}


def _place(order: Order, replica: int, rank: int, seats: list[Seat]) -> Words:
    """Ports and nodes."""
    flags: list[tuple[str, ...]] = []
    if len(seats) > 1:
        head = node_address(seats[0].node, order.nodes)
        flags += [
            ("--nnodes", str(len(seats))),
            ("--node-rank", str(rank)),
            ("--master-addr", head),
            ("--master-port", str(MASTER_PORT + order.first_port + replica)),
        ]
        if rank:
            return (*flags, ("--headless",))
    if order.launch.attention_parallel > 1:
        flags.append(("--data-parallel-rpc-port", str(RPC_PORT + order.first_port + replica)))
    return (*flags, ("--port", str(_port(order, replica))))


def files(order: Order) -> dict[str, str]:
    """None: all is told by flags."""
    return {}


def decided(order: Order) -> list[str]:
    """What it decides by itself."""
    return decided_by_servers(
        order,
        cache="how many blocks of the cache it has: what it finds free at its start",
        micro_batches="how sequences are shared out over micro-batches, and how many are in flight"
        f" ({flying(order)} were priced: stages, and one more where it schedules ahead)",
        attention=ANY_ATTENTION_RANK,
    )


def benchmark(order: Order, url: str) -> Words:
    """Its own benchmark of a server."""
    shared, prompt, output = lengths_of(order)
    requests, *_ = asked_of_server(order)
    command: list[tuple[str, ...]] = [
        ("vllm", "bench", "serve"),
        ("--backend", "vllm"),
        ("--base-url", url),
        ("--model", order.launch.model),
        ("--dataset-name", "random"),
        ("--random-input-len", str(prompt)),
        ("--random-output-len", str(output)),
        ("--random-range-ratio", "0"),
        ("--ignore-eos",),
        ("--num-prompts", str(requests)),
        ("--percentile-metrics", "ttft,tpot,itl,e2el"),
    ]
    if shared:
        command.append(("--random-prefix-len", str(shared)))
    return (*command, *pace_flags(order))
