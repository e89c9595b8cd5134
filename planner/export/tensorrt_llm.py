"""The file of `trtllm-serve --config`, and the command that reads it."""

import math
from typing import Any

from planner.errors import InputError
from planner.export.hosts import Seat, seats_of
from planner.export.orders import (
    Order,
    asked_of_server,
    decided_by_servers,
    lengths_of,
    numbered,
    pace_flags,
    shared_micro_batches,
    visible,
)
from planner.export.scripts import Start, Words
from planner.export.yaml_text import yaml_of
from planner.launches.launch import Drafting
from planner.scoring.score import StageScore

PORT = 8000
QUANTISES: tuple[str, ...] = ()
"""It makes no format when it starts: a checkpoint must have it."""
CONFIG = "trtllm.yaml"
CACHES = {"fp8": "fp8", "nvfp4": "nvfp4"}
TYPES = {"mtp": "MTP", "eagle3": "Eagle", "ngram": "NGram"}
"""Of drafts; "Eagle" is what old and new versions know, the newest with a warning."""


def starts(order: Order) -> list[Start]:
    """One command an engine; on several nodes MPI starts the ranks."""
    launch = order.launch
    found = []
    for replica, chips in numbered(order):
        seats = seats_of(launch, chips)
        port = PORT + order.first_port + replica
        serve: Words = (
            ("trtllm-serve", launch.model),
            (order.release.config, f"{order.prefix}{CONFIG}"),
            ("--host", "0.0.0.0"),
            ("--port", str(port)),
        )
        if len(seats) > 1:
            _check_alike(seats)
            hosts = ",".join(f"$NODE_{seat.node}:{len(seat.chips)}" for seat in seats)
            serve = (
                ("mpirun", "-n", str(len(chips)), "--allow-run-as-root"),
                ("--host", hosts, "-x", "CUDA_VISIBLE_DEVICES"),
                ("trtllm-llmapi-launch", *serve[0]),
                *serve[1:],
            )
        first = seats[0]
        found.append(Start(replica, first.node, 0, (visible(order, first.chips),), serve, port))
    return found


def _check_alike(seats: list[Seat]) -> None:
    """MPI gives every node the same variables, and a node stands in its list once."""
    if len({seat.chips for seat in seats}) > 1 or len({seat.node for seat in seats}) < len(seats):
        raise InputError(
            "plan: tensorrt-llm starts the same ranks on the same chips of every node, and this plan"
            " does not; ask for as many chips as whole nodes have, or export to vllm or sglang"
        )


def files(order: Order) -> dict[str, str]:
    """What the command is told."""
    return {CONFIG: yaml_of(config(order))}


def config(order: Order) -> dict[str, Any]:
    """Arguments of its LLM API by name."""
    launch = order.launch
    ranks = launch.stage_ranks
    found: dict[str, Any] = {
        "backend": "pytorch",
        "tensor_parallel_size": ranks,
        "pipeline_parallel_size": launch.pipeline_parallel,
        "gpus_per_node": min(launch.chips_per_node or launch.replica_chips, launch.replica_chips),
        "enable_attention_dp": launch.attention_parallel > 1,
        "max_batch_size": order.sequences_per_rank,
        "max_seq_len": launch.context_tokens,
        "max_num_tokens": launch.chunk_tokens,
        "enable_chunked_prefill": True,
        "kv_cache_config": _cache(order),
    }
    if launch.pipeline_parallel > 1:
        found["pp_partition"] = list(launch.layers or ())
    if launch.expert_parallel > 1:
        found["moe_expert_parallel_size"] = launch.expert_parallel
        found["moe_tensor_parallel_size"] = max(1, ranks // launch.expert_parallel)
    if launch.redundant_experts:
        slots = launch.redundant_experts + _experts(order)
        found["moe_config"] = {"load_balancer": {"num_slots": slots}}
    if launch.drafting is not None:
        found["speculative_config"] = _speculative(launch.drafting, order)
    if launch.role != "both":
        found["cache_transceiver_config"] = {"backend": "DEFAULT"}
        found["disable_overlap_scheduler"] = launch.role == "prefill"
    return found


def _experts(order: Order) -> int:
    return max(order.job.graph.splits().get("experts", (0,)))


def _cache(order: Order) -> dict[str, Any]:
    launch = order.launch
    found: dict[str, Any] = {
        "free_gpu_memory_fraction": free_share(order),
        "enable_block_reuse": bool(launch.prefix_caching),
    }
    if launch.cache_format is not None:
        found["dtype"] = CACHES.get(launch.cache_format, launch.cache_format)
    return found


def free_share(order: Order) -> float:
    """Of what weights and buffers leave free, the share that caches may take, rounded down."""
    capacity = order.job.topology.chip.memory[0].capacity_bytes
    kept = order.job.software.reserved_bytes
    shares = [_share(stage, capacity - kept) for stage in order.job.score.stages]
    return math.floor(1000 * min(shares)) / 1000


def _share(stage: StageScore, capacity_bytes: float) -> float:
    free = capacity_bytes - (stage.needed_bytes - stage.kv_bytes)
    return stage.kv_room_bytes / free


def _speculative(drafting: Drafting, order: Order) -> dict[str, Any]:
    kind = TYPES.get(drafting.kind, order.release.draft_target)
    found: dict[str, Any] = {"decoding_type": kind}
    if drafting.kind == "mtp":
        return {**found, "num_nextn_predict_layers": drafting.tokens}
    found["max_draft_len"] = drafting.tokens
    if drafting.kind == "ngram":
        return {**found, "max_matching_ngram_size": drafting.tokens}
    return {**found, "speculative_model_dir": drafting.model}


def decided(order: Order) -> list[str]:
    """What it decides by itself."""
    return decided_by_servers(
        order,
        cache="how many tokens its cache holds: free_gpu_memory_fraction of what it finds free",
        micro_batches=shared_micro_batches(order),
    )


def benchmark(order: Order, url: str) -> Words:
    """Its own benchmark of a server."""
    shared, prompt, output = lengths_of(order)
    requests, *_ = asked_of_server(order)
    command: list[tuple[str, ...]] = [
        ("python3", "-m", "tensorrt_llm.serve.scripts.benchmark_serving"),
        ("--backend", "openai"),
        ("--base-url", url),
        ("--model", order.launch.model),
        ("--dataset-name", "random"),
        ("--random-ids",),
        ("--random-input-len", str(prompt)),
        ("--random-output-len", str(output)),
        ("--random-prefix-len", str(shared)),
        ("--ignore-eos",),
        ("--num-prompts", str(requests)),
    ]
    return (*command, *pace_flags(order))
