"""Arguments and options of the commands, and what is made of them."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from planner import catalogue
from planner.errors import (
    InputError,
    shortened,
)
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.search import Engine
from planner.readers.files import read_text
from planner.workload import Speculation, Workload

Format = Literal["table", "json"]
ModelName = Annotated[
    str, typer.Argument(help="A name of the catalogue (see `planner models`), or a config.json.")
]
TopologyName = Annotated[
    str, typer.Argument(help="A name of the catalogue (see `planner topologies`), or a TOML file.")
]
Weights = Annotated[
    str | None, typer.Option("--weights", help="Format of the weights; default: as published.")
]
Kv = Annotated[str, typer.Option("--kv", help="Format of the KV cache.")]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch", help="Sequences in flight in the whole deployment, or 'max'; default: 8."
    ),
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", help="Requests a second of all users, in place of a batch."),
]
Prompt = Annotated[int, typer.Option("--prompt", help="Prompt tokens of a request.")]
Output = Annotated[int, typer.Option("--output", help="Output tokens of a request.")]
Arrivals = Annotated[
    str,
    typer.Option("--arrivals", help="steady: a finished request is replaced; together: one batch."),
]
Chips = Annotated[
    int | None, typer.Option("--chips", help="How many chips; default: as the catalogue has them.")
]
Stack = Annotated[
    str | None, typer.Option("--software", help="Software stack; default: the machine's.")
]
Scope = Annotated[
    str | None,
    typer.Option("--power-scope", help="chip or system; default: the widest that is known."),
]
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="Model that drafts tokens; 'lookup': none, as by n-grams."),
]
Drafted = Annotated[
    str, typer.Option("--speculative-tokens", help="Tokens drafted for each pass, or 'best'.")
]
Acceptance = Annotated[
    float, typer.Option("--acceptance", help="Acceptance rate of drafted tokens.")
]
Minimize = Annotated[
    str | None,
    typer.Option("--minimize", help="Field of the score; default: tpot_s (diffusion: image_s)."),
]
Maximize = Annotated[str | None, typer.Option("--maximize", help="Field of the score.")]
Limit = Annotated[
    list[str] | None, typer.Option("--limit", help="Worst value of a field: tpot_s=0.02.")
]
TimeLimit = Annotated[float | None, typer.Option("--time-limit", help="Seconds.")]
Shape = Annotated[str, typer.Option("--format", help="table or json.")]


def nouns(
    model: str,
    topology: str,
    weights: str | None,
    kv: str,
    batch: str | None,
    prompt: int,
    output: int,
    arrivals: str,
    chips: int | None,
    software: str | None,
    rate: float | None,
) -> tuple[ModelGraph, Topology, Workload]:
    """Model, machine and workload, as they are named on the command line."""
    graph = catalogue.load_model(model, weight_dtype=weights, kv_dtype=kv)
    machine = catalogue.load_topology(topology, chips=chips, software=software)
    return graph, machine, workload_of(batch, rate, prompt, output, arrivals)


def workload_of(
    batch: str | None, rate: float | None, prompt: int, output: int, arrivals: str
) -> Workload:
    """The workload of --batch or --rate, --prompt, --output and --arrivals."""
    if rate is not None and batch is not None:
        raise InputError(
            "--batch and --rate are both given; under a rate the batch is an outcome, so give one or the other"
        )
    size = None if batch == "max" or rate is not None else whole("--batch", batch or "8")
    fields: dict[str, Any] = {
        "batch_size": size,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "arrivals": arrivals,
    }
    return Workload.from_fields(fields | ({} if rate is None else {"requests_per_s": rate}))


def speculation_of(
    draft: str | None, tokens: str, acceptance: float, weights: str | None, kv: str
) -> Speculation | None:
    """How tokens are drafted; the draft model has the formats of the other."""
    if draft is None:
        if (tokens, acceptance) != ("4", 0.7):
            raise InputError(
                "--speculative-tokens and --acceptance speak of drafts; give --draft NAME, or --draft lookup"
            )
        return None
    return Speculation(
        draft=None
        if draft == "lookup"
        else catalogue.load_model(draft, weight_dtype=weights, kv_dtype=kv),
        tokens=None if tokens == "best" else whole("--speculative-tokens", tokens),
        acceptance_rate=acceptance,
    )


def whole(name: str, text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name} must be a whole number, not {shortened(text)!r}") from None


def limits_of(entries: list[str]) -> dict[str, float]:
    """What --limit says: 'tpot_s=0.02'."""
    limits = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        try:
            limits[name.strip()] = float(value)
        except ValueError:
            raise InputError(
                f"--limit must look like tpot_s=0.02, not {shortened(entry)!r}"
            ) from None
    return limits


def one_of(name: str, given: str, *known: str) -> str:
    """One of a few words."""
    if given not in known:
        raise InputError(f"{name} must be {' or '.join(known)}, not {shortened(given)!r}")
    return given


def seconds(given: float | None) -> float | None:
    """What --time-limit says."""
    if given is not None and not given >= 0:
        raise InputError(f"--time-limit must be a number of seconds of at least 0, not {given}")
    return given


def engine_of(given: str) -> Engine:
    """What --engine says."""
    return cast(Engine, one_of("--engine", given, "auto", "cp-sat"))


def scope_of(given: str | None) -> PowerScope | None:
    """What --power-scope says."""
    return (
        None
        if given is None
        else cast(PowerScope, one_of("--power-scope", given, "chip", "system"))
    )


def read_plan(path: Path) -> Plan:
    """A plan from a file."""
    text = read_text(path, "a plan")
    try:
        return Plan.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
