"""Flags of `python -m sglang.launch_server`."""

import math

from planner.errors import InputError, listed
from planner.export.hosts import Seat, seats_of
from planner.export.orders import (
    ANY_ATTENTION_RANK,
    Order,
    asked_of_server,
    cut_of,
    decided_by_servers,
    lengths_of,
    numbered,
    pace_flags,
    shared_micro_batches,
    visible,
)
from planner.export.routers import BOOTSTRAP_PORT
from planner.export.scripts import Start, Words, node_address
from planner.launches.launch import Drafting, Launch

CUT = "SGLANG_PP_LAYER_PARTITION"
PORT = 30000
MASTER_PORT = 20000
QUANTISES = ("fp8",)
"""Formats that it makes of 16-bit weights when it starts."""
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
CACHES = {"fp8": "fp8_e4m3", "nvfp4": "nvfp4", "mxfp8": "mxfp8"}
ALGORITHMS = {
    "mtp": "NEXTN",
    "eagle": "EAGLE",
    "eagle3": "EAGLE3",
    "draft-model": "STANDALONE",
    "ngram": "NGRAM",
}
IN_PIPELINES = ("mtp", "eagle")
"""Kinds of drafts over several stages."""
ALONE = ("draft-model", "ngram")
"""Kinds of drafts that attention ranks do not have."""


def starts(order: Order) -> list[Start]:
    """Every process: one for each engine and node."""
    launch = order.launch
    _check_drafts(launch)
    found = []
    for replica, chips in numbered(order):
        seats = seats_of(launch, chips, whole_stages=True)
        for rank, seat in enumerate(seats):
            command = _command(order, replica, rank, seats)
            port = _port(order, replica) if rank == 0 else None
            settings = tuple(_environment(order, seat))
            found.append(Start(replica, seat.node, rank, settings, command, port))
    return found


def _check_drafts(launch: Launch) -> None:
    """What its own check of arguments refuses (validation_hook, speculative_hook of 0.5.23)."""
    kind = None if launch.drafting is None else launch.drafting.kind
    if kind and launch.pipeline_parallel > 1 and kind not in IN_PIPELINES:
        raise InputError(
            f"plan: sglang drafts by {listed(IN_PIPELINES, 'or')} where there are several stages, not"
            f" by {kind}; ask for one stage, or for another draft_kind"
        )
    if kind in ALONE and launch.attention_parallel > 1:
        raise InputError(
            f"plan: sglang does not draft by {kind} where ranks share out sequences; ask for one"
            " attention rank, or for another draft_kind"
        )


def _port(order: Order, replica: int) -> int:
    return PORT + order.first_port + replica


def _environment(order: Order, seat: Seat) -> list[tuple[str, str]]:
    launch = order.launch
    settings = [visible(order, seat.chips)]
    if launch.pipeline_parallel > 1:
        settings.append((CUT, cut_of(launch)))
    return settings


def _command(order: Order, replica: int, rank: int, seats: list[Seat]) -> Words:
    flags: list[tuple[str, ...]] = [
        ("python3", "-m", "sglang.launch_server"),
        ("--model-path", order.launch.model),
        *engine_flags(order),
    ]
    if len(seats) > 1:
        head = node_address(seats[0].node, order.nodes)
        flags += [
            ("--nnodes", str(len(seats))),
            ("--node-rank", str(rank)),
            ("--dist-init-addr", f"{head}:{MASTER_PORT + order.first_port + replica}"),
        ]
    if order.launch.role == "prefill":
        flags.append(("--disaggregation-bootstrap-port", str(BOOTSTRAP_PORT + replica)))
    return (*flags, ("--host", "0.0.0.0"), ("--port", str(_port(order, replica))))


def engine_flags(order: Order) -> Words:
    """What is told to every process of an engine, wherever it stands."""
    launch = order.launch
    flags: list[tuple[str, ...]] = [
        ("--tp-size", str(launch.stage_ranks)),
        ("--pp-size", str(launch.pipeline_parallel)),
        *_ranks(order),
        ("--max-running-requests", str(launch.most_sequences)),
        ("--context-length", str(launch.context_tokens)),
        # It shares the chunk out over the attention ranks; each was priced with a whole one.
        ("--chunked-prefill-size", str((launch.chunk_tokens or 1) * launch.attention_parallel)),
        ("--mem-fraction-static", f"{static_share(order):.3f}"),
        *_formats(order),
        *_drafts(launch.drafting),
    ]
    away = max(stage.offloaded_bytes for stage in order.job.score.stages)
    if away:
        flags.append(("--cpu-offload-gb", str(math.ceil(away / 2**30))))
    if launch.role != "both":
        flags.append(("--disaggregation-mode", launch.role))
        flags.append(("--disaggregation-transfer-backend", "nixl"))
    return tuple(flags)


def _ranks(order: Order) -> list[tuple[str, ...]]:
    launch, option = order.launch, order.release.attention_ranks
    flags: list[tuple[str, ...]] = []
    if launch.attention_parallel > 1:
        flags.append((option, str(launch.attention_parallel)))
        if option == "--dp-size":
            flags.append(("--enable-dp-attention",))
    if launch.expert_parallel > 1:
        flags.append(("--ep-size", str(launch.expert_parallel)))
    if launch.redundant_experts:
        flags.append(("--ep-num-redundant-experts", str(launch.redundant_experts)))
    return flags


def static_share(order: Order) -> float:
    """Of a chip's memory, what weights and caches may take, rounded down: all that may be filled
    less the buffers, which `--mem-fraction-static` leaves out."""
    capacity = order.job.topology.chip.memory[0].capacity_bytes
    shares = (
        (stage.weight_bytes + stage.kv_room_bytes) / capacity for stage in order.job.score.stages
    )
    return math.floor(1000 * min(shares)) / 1000


def _formats(order: Order) -> list[tuple[str, ...]]:
    launch = order.launch
    flags: list[tuple[str, ...]] = []
    if launch.weight_format in DTYPES:
        flags.append(("--dtype", DTYPES[launch.weight_format]))
    if order.quantises:
        flags.append(("--quantization", str(launch.weight_format)))
    if launch.cache_format is not None:
        flags.append(("--kv-cache-dtype", CACHES.get(launch.cache_format, launch.cache_format)))
    return flags


def _drafts(drafting: Drafting | None) -> list[tuple[str, ...]]:
    if drafting is None:
        return []
    flags: list[tuple[str, ...]] = [("--speculative-algorithm", ALGORITHMS[drafting.kind])]
    if drafting.model:
        flags.append(("--speculative-draft-model-path", drafting.model))
    if drafting.kind != "ngram":
        flags.append(("--speculative-num-steps", str(drafting.tokens)))
        flags.append(("--speculative-eagle-topk", "1"))
    # It counts the token that the pass itself yields.
    flags.append(("--speculative-num-draft-tokens", str(drafting.tokens + 1)))
    return flags


def files(order: Order) -> dict[str, str]:
    """None: all is told by flags."""
    return {}


def decided(order: Order) -> list[str]:
    """What it decides by itself."""
    return decided_by_servers(
        order,
        cache="how many tokens its cache holds: what --mem-fraction-static leaves",
        micro_batches=shared_micro_batches(order),
        attention=ANY_ATTENTION_RANK,
    )


def benchmark(order: Order, url: str) -> Words:
    """Its own benchmark of a server; a range ratio of 1 leaves no length to chance."""
    shared, prompt, output = lengths_of(order)
    requests, *_ = asked_of_server(order)
    command: list[tuple[str, ...]] = [
        ("python3", "-m", "sglang.bench_serving"),
        ("--backend", "sglang"),
        ("--base-url", url),
        ("--model", order.launch.model),
    ]
    if shared:
        command += _with_prefix(requests, shared, prompt, output)
    else:
        command += [
            ("--dataset-name", "random"),
            ("--random-input-len", str(prompt)),
            ("--random-output-len", str(output)),
            ("--random-range-ratio", "1"),
            ("--num-prompts", str(requests)),
        ]
    return (*command, *pace_flags(order))


def _with_prefix(requests: int, shared: int, prompt: int, output: int) -> list[tuple[str, ...]]:
    """Requests that begin alike."""
    return [
        ("--dataset-name", "generated-shared-prefix"),
        ("--gsp-num-groups", "1"),
        ("--gsp-prompts-per-group", str(requests)),
        ("--gsp-system-prompt-len", str(shared)),
        ("--gsp-question-len", str(prompt)),
        ("--gsp-output-len", str(output)),
    ]
