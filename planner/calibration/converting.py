"""From what a tool measured to rows of a table: with what ran, as options, a command or the tool's
own file say it.

Clients that wait for their answers keep so many sequences in flight: a steady batch. At a rate of
requests that number is what the tool counted, or Little's law; first tokens are left out then,
since they hang on how requests happened to come. All at once is one batch, whose requests are
timed as a whole.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from planner import catalogue
from planner.calibration.measurements import Measurement
from planner.errors import InputError, listed
from planner.launches.commands import read_command
from planner.launches.launch import Launch
from planner.launches.models import known_model
from planner.models.graph import ModelGraph
from planner.readers.benchmarks.measured import Benchmark, Measured, TimedCollective
from planner.records import Record
from planner.units import Count, Degree

DEGREES = (
    "tensor_parallel",
    "pipeline_parallel",
    "expert_parallel",
    "data_parallel",
    "sequence_parallel",
)
SPREAD_OVER = ("tensor_parallel", "pipeline_parallel", "data_parallel", "sequence_parallel")
"""Degrees whose product is the number of chips."""
OWN_HEADS = ("mtp", "eagle", "eagle3")
"""Drafts that a row can state: by a small head of the model itself."""
LIBRARIES = ("nccl", "nccl-pytorch")
"""Stacks of collectives alone: no engine is one."""


class Ran(Record):
    """What ran, as far as options and a command say; what they do not, a tool's file may."""

    machine: str = ""
    """A name of the catalogue, or a file; "" where the tool's file says it itself."""
    software: str = ""
    model: str = ""
    chips: Count | None = None
    batch_size: Count | None = None
    prompt_tokens: Count | None = None
    output_tokens: Count | None = None
    weight_format: str = ""
    cache_format: str = ""
    tensor_parallel: Degree | None = None
    pipeline_parallel: Degree | None = None
    expert_parallel: Degree | None = None
    data_parallel: Degree | None = None
    sequence_parallel: Degree | None = None
    launch: Launch | None = None
    """Of the command."""


class Converted(NamedTuple):
    """Rows, and what has become none."""

    rows: tuple[Measurement, ...]
    remarks: tuple[str, ...]


class _Load(NamedTuple):
    """What a row says of the load."""

    batch_size: int | None
    arrivals: str
    fields: tuple[str, ...]
    """That this load tells, the first choices first."""


def launch_of(command: str) -> Launch:
    """What a command starts, or one in a file, by the readers of engines' command lines."""
    return read_command(command).launch


def measurements_of(measured: Measured, ran: Ran, path: Path) -> Converted:
    """All rows that a file of a tool gives."""
    rows: list[Measurement] = []
    remarks = dict.fromkeys(measured.remarks)
    for number, one in enumerate(measured.benchmarks, 1):
        made = _rows_of(one, ran, f"{path.stem}-{number}", path)
        rows += made.rows
        remarks |= dict.fromkeys(made.remarks)
    for number, timed in enumerate(measured.collectives, 1):
        rows.append(_collective_row(timed, ran, f"{path.stem}-{number}", path))
    return Converted(tuple(rows), tuple(f"{path}: {remark}" for remark in remarks))


def _rows_of(one: Benchmark, ran: Ran, name: str, path: Path) -> Converted:
    load = _load_of(one, ran, path)
    figures = dict(_figures(one, ran, load.fields))
    if not figures:
        return Converted((), (f"run {name} has none of {listed(load.fields, 'or')}",))
    about = _about(one, ran, path)
    source = ", ".join(part for part in (f"{one.tool} {one.version}".strip(), one.date) if part)
    rows = [
        Measurement(
            row_id=f"{name}-{field}",
            family=one.tool,
            field=field,
            value=value,
            batch_size=load.batch_size,
            arrivals=load.arrivals,
            source=f"{source}: {path.name}",
            **about,
        )
        for field, value in figures.items()
    ]
    remarks: tuple[str, ...] = ()
    if one.load == "rate" and one.ttft.middle_s:
        remarks = (
            "times to the first token under a rate of requests are left out: they depend on bursts",
        )
    if one.clock == "cpu":
        remarks += ("its times are CPU seconds, added up as on an idle machine",)
    return Converted(tuple(rows), remarks)


def _load_of(one: Benchmark, ran: Ran, path: Path) -> _Load:
    streamed = ("ttft_s", "tpot_s")
    whole = ("request_s", "tokens_per_s")
    if one.tool == "llama-bench":
        return _Load(1, "together", (*streamed, "request_s"))
    if one.is_whole:
        return _Load(one.requests, "together", (*streamed, "request_s"))
    if one.tool == "vllm bench throughput":
        return _Load(ran.batch_size, "steady", ("tokens_per_s",))
    if one.load == "rate":
        in_flight = ran.batch_size or one.in_flight
        if in_flight is None:
            raise InputError(
                f"{path} says neither how many requests were in flight nor how long they took; say"
                " --batch"
            )
        return _Load(max(1, round(in_flight)), "steady", ("tpot_s",))
    clients = ran.batch_size or one.clients
    requests = one.requests or clients
    if one.load == "together" or (clients and requests and requests <= clients):
        together = ran.batch_size or requests
        if together is None:
            raise InputError(f"{path} does not say how many requests came at once; say --batch")
        return _Load(together, "together", ("request_s",))
    if clients is None:
        raise InputError(
            f"{path} does not say how many requests were in flight at once; say --batch"
        )
    return _Load(clients, "steady", (*streamed, *whole))


def _figures(one: Benchmark, ran: Ran, fields: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """What was measured of these; times of a whole request or throughput only where no time of a
    token is known, since they follow from it."""
    drafts = ran.launch is not None and ran.launch.drafting is not None
    known = {
        "ttft_s": one.ttft.middle_s,
        "tpot_s": one.tpot.middle_s or (None if drafts else one.itl.middle_s),
        "request_s": one.e2e.middle_s,
        "tokens_per_s": one.tokens_per_s or _worked_off(one, ran),
    }
    told = False
    for field in fields:
        value = known[field]
        if value and not (told and field in ("request_s", "tokens_per_s")):
            told = True
            yield field, value


def _worked_off(one: Benchmark, ran: Ran) -> float | None:
    """Output tokens a second, of requests of a known length."""
    length = ran.output_tokens or one.output_tokens
    return one.requests_per_s * length if one.requests_per_s and length else None


def _about(one: Benchmark, ran: Ran, path: Path) -> dict[str, Any]:
    """What a row says of the model, the machine and the plan."""
    asked = ran.launch.model if ran.launch else ""
    own = str(path) if one.is_whole else ""
    model, graph = _model_of(ran.model or asked or own or one.model, path)
    lengths = {
        "prompt_tokens": ran.prompt_tokens or round(one.prompt_tokens or 0),
        "output_tokens": ran.output_tokens or round(one.output_tokens or 0),
    }
    if one.tool == "llama-bench":
        # A test of prompts alone makes no token, and still ends with one.
        lengths["output_tokens"] = lengths["output_tokens"] or 1
    for name, option in (("prompt_tokens", "--prompt"), ("output_tokens", "--output")):
        if not lengths[name]:
            raise InputError(f"{path} does not say {name.replace('_', ' ')}; say {option}")
    degrees = _degrees(one, ran)
    chips = 1
    for name in SPREAD_OVER:
        chips *= degrees.get(name, 1)
    launch = ran.launch
    engine = launch.engine if launch else _stack_named(one.engine)
    if one.clock == "cpu" and ran.software not in ("", engine):
        raise InputError(
            f"{path} has CPU seconds, which the stack {engine} prices and {ran.software} does not;"
            f" give --software {engine}, or run the plan again with --clock wall"
        )
    return {
        "model": model,
        "topology": _machine_of(ran, path, own),
        "chips": ran.chips or one.chips or chips,
        "software": engine if ran.software in LIBRARIES else ran.software or engine,
        "weight_dtype": _first(
            ran.weight_format,
            launch and launch.weight_format,
            one.weight_format,
            graph.weight_dtype,
        ),
        "kv_dtype": _first(
            ran.cache_format, launch and launch.cache_format, one.cache_format, graph.kv_dtype
        ),
        **lengths,
        **degrees,
        **({"plan_file": own} if own and not degrees else {}),
        **_drafts(launch),
    }


def _machine_of(ran: Ran, path: Path, own: str = "") -> str:
    if not (ran.machine or own):
        raise InputError(f"{path} does not say what it was measured on; say --machine")
    return ran.machine or own


def _first(*given: object) -> str:
    return next(str(one) for one in given if one)


def _stack_named(engine: str) -> str:
    """The stack that a tool's word for an engine means; "" of words for an interface, such as
    openai-chat."""
    plain = engine.lower().removesuffix("-chat").removesuffix("-oai").removesuffix("-native")
    known = {"trt": "tensorrt-llm", "tensorrt_llm": "tensorrt-llm", "trtllm": "tensorrt-llm"}
    return known.get(plain, plain if plain in catalogue.software_names() else "")


def _degrees(one: Benchmark, ran: Ran) -> dict[str, int]:
    """Of options, else of the command, else of what the engine told the tool."""
    told: Mapping[str, int | None] = {name: getattr(one, name, None) for name in DEGREES}
    launch = ran.launch
    if launch is not None:
        of_command = {name: getattr(launch, name, None) for name in DEGREES}
        told = of_command | {"data_parallel": launch.replicas * launch.attention_parallel}
    found = {name: getattr(ran, name) or told[name] for name in DEGREES}
    return {name: value for name, value in found.items() if value}


def _drafts(launch: Launch | None) -> dict[str, int]:
    if launch is None or launch.drafting is None:
        return {}
    kind = launch.drafting.kind
    if kind not in OWN_HEADS:
        raise InputError(
            f"a row of measurements cannot have drafts by {kind}, only by {listed(OWN_HEADS)}"
        )
    return {"draft_tokens": launch.drafting.tokens}


def _model_of(name: str, path: Path) -> tuple[str, ModelGraph]:
    """A name that is known, by the name that an engine was asked for, and its graph."""
    if not name:
        raise InputError(f"{path} does not name the model; say --model")
    try:
        known = known_model(name)
    except InputError as error:
        if name == str(path):
            raise
        raise InputError(f"{path}: {error}") from None
    return known, catalogue.load_model(known)


def _collective_row(timed: TimedCollective, ran: Ran, name: str, path: Path) -> Measurement:
    """NCCL alone is timed, whatever engine runs beside it."""
    across = timed.ranks_per_node < timed.ranks
    return Measurement(
        row_id=f"{name}-collective_s",
        family=timed.tool,
        field="collective_s",
        value=timed.time_s,
        topology=_machine_of(ran, path),
        chips=ran.chips or timed.ranks,
        software=ran.software if ran.software in LIBRARIES else LIBRARIES[0],
        collective=timed.kind,
        ranks=timed.ranks,
        ranks_per_node=timed.ranks_per_node if across else None,
        message_bytes=timed.message_bytes,
        source=f"{timed.tool} {timed.version}".strip() + f": {path.name}",
    )
