"""Options of `llama-server`, and of the `ggml-rpc-server`s of other nodes.

Cards of other nodes stand before its own in the list that `-ts` counts along, so the server itself
runs where the last stage is.
"""

from planner.errors import InputError, listed
from planner.export.hosts import Seat, seats_of
from planner.export.orders import Order, lengths_of, numbered, on_processors, visible
from planner.export.scripts import Start, Words
from planner.launches.launch import Drafting, Launch
from planner.models.dtypes import bytes_of

PORT = 8080
RPC_PORT = 50052
QUANTISES: tuple[str, ...] = ()
"""It reads formats from its file."""
CACHES = {"int8": "q8_0", "int4": "q4_0", "fp8": "q8_0", "fp16": "f16", "bf16": "bf16"}
CACHES |= {name: name for name in ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1")} | {"iq4": "iq4_nl"}
WITH_SCALES = ("int8", "int4", "fp8")
"""Formats that it keeps in blocks with a scale each."""
LEAST_BATCH = 2048
"""Its own default of -b."""
TYPES = {
    "mtp": "draft-mtp",
    "eagle3": "draft-eagle3",
    "draft-model": "draft-simple",
    "ngram": "ngram-simple",
}


def starts(order: Order) -> list[Start]:
    """Servers of cards on other nodes first, then the server itself, for each engine."""
    found = []
    ports: dict[int, int] = {}
    for replica, chips in numbered(order):
        seats = _merged(seats_of(order.launch, chips))
        *others, last = seats
        remote = []
        for seat in others:
            for chip in seat.chips:
                ports[seat.node] = port = ports.get(seat.node, RPC_PORT - 1) + 1
                remote.append(f"$NODE_{seat.node}:{port}")
                found.append(_card(order, replica, Seat(seat.node, (chip,)), port))
        command = _command(order, replica, ",".join(remote))
        found.append(
            Start(replica, last.node, len(others), _seen(order, last), command, PORT + replica)
        )
    return found


def _merged(seats: list[Seat]) -> list[Seat]:
    """One a node: a node's cards follow one another."""
    chips: dict[int, tuple[int, ...]] = {}
    for seat in seats:
        chips[seat.node] = chips.get(seat.node, ()) + seat.chips
    return [Seat(node, held) for node, held in chips.items()]


def _card(order: Order, replica: int, seat: Seat, port: int) -> Start:
    command: Words = ((order.release.lender, "-H", "0.0.0.0", "-p", str(port)),)
    return Start(replica, seat.node, 0, _seen(order, seat), command)


def _seen(order: Order, seat: Seat) -> tuple[tuple[str, str], ...]:
    return () if on_processors(order) else (visible(order, seat.chips),)


def _command(order: Order, replica: int, remote: str) -> Words:
    flags: list[tuple[str, ...]] = [("llama-server",), ("-m", order.launch.model)]
    if remote:
        flags.append(("--rpc", remote))
    flags += engine_flags(order)
    return (*flags, ("--host", "0.0.0.0"), ("--port", str(PORT + replica)))


def engine_flags(order: Order) -> Words:
    """What says how an engine is spread, and what it holds."""
    launch = order.launch
    slots = launch.most_sequences or 1
    chunk = launch.chunk_tokens or 1
    return (
        *_spread(order),
        ("-ngl", str(0 if on_processors(order) else _on_cards(launch))),
        ("-np", str(slots)),
        ("-c", str(slots * (launch.context_tokens or 1))),
        ("-b", str(max(LEAST_BATCH, chunk))),
        ("-ub", str(chunk)),
        *_cache(launch),
        *_drafts(order),
    )


def _spread(order: Order) -> list[tuple[str, ...]]:
    launch = order.launch
    if on_processors(order) and launch.replica_chips > 1:
        raise InputError(
            "plan: llama.cpp uses all processors of a host as one; plan for one"
            f" {order.job.topology.chip.name}, or for replicas"
        )
    if launch.replica_chips == 1:
        return [("-sm", "none")]
    if launch.tensor_parallel > 1:
        mode = order.release.tensor_mode
        shares = ",".join("1" for _ in range(launch.tensor_parallel))
        fit: list[tuple[str, ...]] = [("--fit", "off")] if mode == "tensor" else []
        return [("-sm", mode), ("-ts", shares), *fit]
    return [("-sm", "layer"), ("-ts", ",".join(map(str, shares_of(order))))]


def shares_of(order: Order) -> list[int]:
    """Layers of each card, those on the host left out, the output counted as one of the last."""
    kept = [stage.layers - stage.offloaded_layers for stage in order.job.score.stages]
    ends = [sum(name in ends_of(order) for name in stage.layers) for stage in order.job.plan.stages]
    shares = [layers - end for layers, end in zip(kept, ends, strict=True)]
    shares[-1] += 1
    return shares


def ends_of(order: Order) -> set[str]:
    """Names of the embedding and the head."""
    graph = order.job.graph
    inner = set(graph.inner_positions)
    return {name for number, name in enumerate(graph.names) if number not in inner}


def _on_cards(launch: Launch) -> int:
    """Layers and the output, less those on the host."""
    return sum(launch.layers or ()) + 1 - (launch.offloaded_layers or 0)


def _cache(launch: Launch) -> list[tuple[str, ...]]:
    if launch.cache_format is None:
        return []
    if launch.cache_format not in CACHES:
        raise InputError(
            f"kv_dtype: llama.cpp cannot keep a cache in {launch.cache_format}, only in"
            f" {listed(CACHES)}; plan with one of these"
        )
    kind = CACHES[launch.cache_format]
    return [("-ctk", kind), ("-ctv", kind)]


def _drafts(order: Order) -> list[tuple[str, ...]]:
    drafting = order.launch.drafting
    if drafting is None:
        return []
    flags: list[tuple[str, ...]] = []
    if order.release.draft_types:
        flags.append(("--spec-type", TYPES[drafting.kind]))
    elif drafting.kind != "draft-model":
        raise InputError(
            f"draft_kind: llama.cpp {order.release.version} drafts with a draft model alone, not by"
            f" {drafting.kind}; give a newer version"
        )
    if drafting.model:
        flags.append(("-md", drafting.model))
    return [*flags, _drafted(order, drafting)]


def _drafted(order: Order, drafting: Drafting) -> tuple[str, ...]:
    name = "--spec-ngram-simple-size-m" if drafting.kind == "ngram" else order.release.drafted
    return name, str(drafting.tokens)


def files(order: Order) -> dict[str, str]:
    """None: all is told by options."""
    return {}


def decided(order: Order) -> list[str]:
    """What it decides by itself."""
    sentences = ["its kernels, and whether attention is fused (-fa auto)"]
    if order.launch.pipeline_parallel > 1:
        sentences.append("when a sequence's pass is cut for the next stage (each slot by itself)")
    if order.launch.offloaded_layers:
        sentences.append(
            "which layers the host computes: the first of the model, where the plan takes the first"
            " of each stage; each card holds as many as the plan says"
        )
    if order.launch.cache_format in WITH_SCALES:
        kind = CACHES[order.launch.cache_format]
        more = bytes_of(kind) / bytes_of(order.launch.cache_format) - 1
        sentences.append(
            f"how a cache in {order.launch.cache_format} is kept: as {kind}, whose scales take"
            f" {more:.0%} more than was priced; plan with kv_dtype={kind} (--kv {kind})"
        )
    if order.launch.prefix_caching is None:
        sentences.append("which slot a request goes to, by how much of its prompt is there already")
    return sentences


def benchmark(order: Order, url: str) -> Words:
    """Its benchmark of sequences that start as one, on the cards of one engine and with no server
    beside it."""
    _, prompt, output = lengths_of(order)
    slots = order.launch.most_sequences or 1
    flags = [flag for flag in engine_flags(order) if flag[0] not in NOT_MEASURED]
    server = starts(order)[-1]
    settings = tuple("=".join(pair) for pair in server.environment)
    remote = [flag for flag in server.command if flag[0] == "--rpc"]
    return (
        ("env", *settings, "llama-batched-bench"),
        ("-m", order.launch.model),
        *remote,
        *flags,
        ("-npp", str(prompt)),
        ("-ntg", str(output)),
        ("-npl", str(slots)),
    )


NOT_MEASURED = (
    "-np", "-md", "--spec-type", "--draft-max", "--spec-draft-n-max", "--spec-ngram-simple-size-m",
)  # fmt: skip
"""Options that the benchmark does not have."""
