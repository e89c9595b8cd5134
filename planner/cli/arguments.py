"""Arguments and options of the commands, and what is made of them.

The help of a command needs options alone: what is made of them is imported where it is made, since
models, machines and the solver take a second to load.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, cast

import typer

import planner as pl
from planner.cli import completing
from planner.errors import InputError, listed, shortened, told

if TYPE_CHECKING:
    from planner.machines.engine import Space
    from planner.machines.topology import PowerScope, Topology
    from planner.models.graph import ModelGraph
    from planner.planning.search import Engine
    from planner.workload import Speculation, Workload

Format = Literal["table", "json", "csv"]
USUAL_BATCH = "8"
"""Sequences in flight where nobody says how many, and more of them do not help."""
MOST_CHIPS = 1_000_000
"""The highest number by which a chip is named."""


def one_of(name: str, given: str, *known: str) -> str:
    """One of a few words."""
    if given not in known:
        raise InputError(f"{name} must be {listed(known, 'or')}, not {shortened(given)!r}")
    return given


def shape_of(given: str) -> str:
    """What --format says."""
    return one_of("--format", given, "table", "json")


def rows_shape_of(given: str) -> str:
    """What --format says of an answer in rows."""
    return one_of("--format", given, "table", "json", "csv")


def figure(option: str, given: str | None, name: str) -> float | None:
    """What an option says: a number in the unit that `name` tells, or one with its unit, such as
    "30 ms" for a name that ends in `_s`. Bounds are those of whoever takes it."""
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        from planner.units import parse_figure

        return parse_figure(given, name, option)


def seconds(given: str | None) -> float | None:
    """What --time-limit says: '30', '2 min'."""
    limit_s = figure("--time-limit", given, "time_limit_s")
    if limit_s is not None and not limit_s >= 0:
        raise InputError(f"--time-limit must be a number of seconds of at least 0, not {given}")
    return limit_s


def checked_seconds(given: str | None) -> str | None:
    """The same, refused while the command line is read."""
    seconds(given)
    return given


def memory_bytes(given: str | None) -> float | None:
    """What --memory-limit says. [B]"""
    if given is None:
        return None
    from planner.units import parse_quantity

    most = parse_quantity(given, "bytes", "--memory-limit")
    if not most > 0:
        raise InputError(f"--memory-limit must be above 0, such as 4GB, not {told(given)}")
    return most


def space_of(given: str) -> "Space":
    """What --space says."""
    from planner.machines.engine import SPACES

    return cast("Space", one_of("--space", given, *SPACES))


def checked_space(given: str) -> str:
    """The same, refused while the command line is read."""
    return one_of("--space", given, "engine", "any")


ModelName = Annotated[
    str,
    typer.Argument(
        help="A name of the catalogue (see `planner models`), or a config.json.",
        autocompletion=completing.model_names,
    ),
]
TopologyName = Annotated[
    str,
    typer.Argument(
        help="NAME of the catalogue (see `planner topologies`), NAME:CHIPS, or a TOML file.",
        autocompletion=completing.machine_names,
    ),
]
Weights = Annotated[
    str | None, typer.Option("--weights", help="Format of the weights; default: as published.")
]
Kv = Annotated[str, typer.Option("--kv", help="Format of the KV cache.")]
Sparsity = Annotated[
    str | None,
    typer.Option("--sparsity", help="Prune the layers: '2:4', or a share of zeros, '90 %'."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="Denoising steps of a diffusion model.")]
Height = Annotated[int | None, typer.Option("--height", help="Height of a picture in pixels.")]
Width = Annotated[int | None, typer.Option("--width", help="Width of a picture in pixels.")]
Frames = Annotated[int | None, typer.Option("--frames", help="Frames of a video.")]
Dimensions = Annotated[
    list[str] | None,
    typer.Option("--dimension", help="Size of an open axis of an ONNX file: batch=1."),
]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch",
        help="Sequences in flight in the whole deployment ('64', '1k'), or 'max', as many as are"
        " best; default: 8, or max where what is asked for is better with more of them.",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--rate", help="Requests a second of all users ('30', '1.5k/s'), in place of a batch."
    ),
]
Prompt = Annotated[
    str, typer.Option("--prompt", help="Prompt tokens of a request: '1024', '128k', '128Ki'.")
]
Output = Annotated[str, typer.Option("--output", help="Output tokens of a request.")]
Cached = Annotated[
    str,
    typer.Option(
        "--cached-share", help="Share of each prompt that is in the cache already: '0.4', '40 %'."
    ),
]
Arrivals = Annotated[
    str,
    typer.Option(
        "--arrivals",
        help="steady: a finished request is replaced; together: one batch; poisson: requests arrive"
        " at random, at --rate or as many as keep the limits.",
    ),
]
Chips = Annotated[
    int | None, typer.Option("--chips", help="How many chips; default: as the catalogue has them.")
]
Stack = Annotated[
    str | None,
    typer.Option(
        "--software",
        help="Software stack; default: the machine's.",
        autocompletion=completing.software_names,
    ),
]
Usable = Annotated[
    str | None,
    typer.Option(
        "--usable-memory",
        help="Share of a chip's memory that the engine is started with, such as 0.95 or '95 %';"
        " default: as the software says.",
    ),
]
Excluded = Annotated[
    str | None,
    typer.Option("--exclude", help="Chips that have failed or are taken: '3', '0,4-7'."),
]
Scope = Annotated[
    str | None,
    typer.Option(
        "--power-scope",
        help="chip, system or facility (with what the site loses); default: the system where that"
        " is known.",
    ),
]
Drawn = Annotated[
    str | None,
    typer.Option(
        "--power-basis",
        help="drawn or provisioned; default: drawn where that is known.",
    ),
]
Basis = Annotated[
    str | None,
    typer.Option(
        "--price-basis",
        help="What a price pays for: chip, node (with its share of hosts and network), rental, lease"
        " or token; default: node, else rental, lease, chip.",
    ),
]
Hourly = Annotated[
    str | None,
    typer.Option(
        "--price",
        help="Price of each chip: '2.10 USD/h', a lease of '20000 USD/month', or what is asked for"
        " tokens in and out, '0.59/0.79 USD/Mtok'; default: the machine's.",
    ),
]
Licence = Annotated[
    str | None,
    typer.Option(
        "--licence", help="Price of software for each chip bought or leased: '4500 USD/year'."
    ),
]
Lifetime = Annotated[
    str | None,
    typer.Option(
        "--lifetime-years", help="Lifetime of what is bought: '5', '5 years'; default: 4."
    ),
]
PowerPrice = Annotated[
    str | None,
    typer.Option("--usd-per-kwh", help="Price of power: '0.08', '0.08 USD/kWh'; default: 0.10."),
]
Pue = Annotated[
    float | None,
    typer.Option(
        "--pue", help="Power of the site over the power of its machines (PUE); default: 1.2."
    ),
]
Utilisation = Annotated[
    str | None,
    typer.Option(
        "--utilisation",
        help="Share of all hours in which the machine serves: '0.6', '60 %'; default: 1.",
    ),
]
Draft = Annotated[
    str | None,
    typer.Option(
        "--draft",
        help="Model that drafts tokens, or 'lookup': from the text so far (n-grams).",
        autocompletion=completing.model_names,
    ),
]
Drafted = Annotated[
    str, typer.Option("--speculative-tokens", help="Tokens drafted for each pass, or 'best'.")
]
Acceptance = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        help="Acceptance rate of drafted tokens: '0.7', '70 %'; default: as usual for the kind.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--draft-kind", help="mtp, eagle, eagle3, draft-model or ngram."),
]
Minimize = Annotated[
    str | None,
    typer.Option(
        "--minimize",
        help="Field of the score (see `planner fields`); default: tpot_s (diffusion: image_s).",
        autocompletion=completing.field_names,
    ),
]
Maximize = Annotated[
    str | None,
    typer.Option("--maximize", help="Field of the score.", autocompletion=completing.field_names),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="Worst value of a field: tpot_s=20ms, or in SI units tpot_s=0.02.",
        autocompletion=completing.limit_names,
    ),
]
Sure = Annotated[
    str | None,
    typer.Option(
        "--sure",
        help="Keep each limit with this probability, such as 0.8 or '80 %', given the error of the"
        " price.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(
        "--time-limit", help="Seconds, or '2 min'; default: none.", callback=checked_seconds
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        help="What a solve may take, such as 4GB; default: half of this computer's memory.",
    ),
]
Shape = Annotated[str, typer.Option("--format", help="table or json.", callback=shape_of)]
RowsShape = Annotated[
    str, typer.Option("--format", help="table, json or csv.", callback=rows_shape_of)
]

SpaceName = Annotated[
    str,
    typer.Option(
        "--space",
        help="engine: plans that the machine's software can run; any: all plans.",
        callback=checked_space,
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--solver", "--engine", help="auto, or cp-sat: OR-Tools CP-SAT solves the question instead."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Random seed.")]
SharedTokens = Annotated[
    bool,
    typer.Option(
        "--sequence-parallel",
        help="Also split the tokens of a sequence over chips, for long prompts.",
    ),
]
Why = Annotated[
    bool,
    typer.Option(
        "--why",
        help="Also say what limits the plan, what better hardware brings, and what other plans reach.",
    ),
]
PlanOut = Annotated[Path | None, typer.Option("--out", help="Write the plan here, as JSON.")]
SizingOut = Annotated[Path | None, typer.Option("--out", help="Write the answer here, as JSON.")]
CertificateOut = Annotated[
    Path | None,
    typer.Option("--certificate", help="Write what `planner verify` needs here, as JSON."),
]
CertificateFile = Annotated[
    Path,
    typer.Argument(
        help="A certificate, as --certificate of `planner plan` or `planner cluster` writes it."
    ),
]
ProvedAgain = Annotated[
    bool,
    typer.Option(
        "--again", help="Also let OR-Tools CP-SAT prove it anew, from the question alone."
    ),
]
DecodeMachine = Annotated[
    str | None,
    typer.Argument(
        help="Machine of the decode pool; default: the chips of the first are shared out.",
        autocompletion=completing.machine_names,
    ),
]
ExpertMachine = Annotated[
    str,
    typer.Argument(
        help="Machine of the feed-forward parts: a name of the catalogue, or a file.",
        autocompletion=completing.machine_names,
    ),
]
ExpertChips = Annotated[
    int | None, typer.Option("--expert-chips", help="Chips of the second machine.")
]
LinkBandwidth = Annotated[
    str, typer.Option("--link", help="Bandwidth from one pool to the other: '50 GB/s'.")
]
LinkLatency = Annotated[str, typer.Option("--link-latency", help="Latency of that link: '10 us'.")]
DecodeChips = Annotated[
    int | None, typer.Option("--decode-chips", help="Chips of the second machine.")
]
ClusterName = Annotated[
    str,
    typer.Argument(
        help="A cluster of the catalogue (see `planner clusters`), or a TOML file.",
        autocompletion=completing.cluster_names,
    ),
]
Unlike = Annotated[
    bool,
    typer.Option(
        "--unlike",
        help="Share the pools out between unlike deployments, for the most tokens a second.",
    ),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", help="A plan in JSON, as `planner plan --out` writes it."),
]
Machines = Annotated[
    list[str],
    typer.Argument(
        help="Machines, each as NAME or NAME:CHIPS.", autocompletion=completing.machine_names
    ),
]
Tensor = Annotated[int, typer.Option("--tensor", help="Tensor parallel degree.")]
Pipeline = Annotated[int, typer.Option("--pipeline", help="Pipeline parallel degree.")]
Expert = Annotated[int, typer.Option("--expert", help="Expert parallel degree.")]
Data = Annotated[int, typer.Option("--data", help="Data parallel degree.")]
MicroBatches = Annotated[
    int | None,
    typer.Option(
        "--micro-batches",
        help="Micro-batches in flight; default: as many as the software keeps.",
    ),
]


@dataclass(frozen=True, slots=True)
class Formats:
    """In what the model is stored."""

    weights: Weights = None
    kv: Kv = "bf16"
    sparsity: Sparsity = None
    dimension: Dimensions = None
    steps: Steps = None
    height: Height = None
    width: Width = None
    frames: Frames = None

    def unserved(self) -> list[str]:
        """Options that are given and that no engine knows."""
        names = ("sparsity", "dimension", "steps", "height", "width", "frames")
        return [f"--{name}" for name in names if getattr(self, name) is not None]


@dataclass(frozen=True, slots=True)
class Requests:
    """How many requests there are at once, and how long they are."""

    batch: Batch = None
    rate: Rate = None
    prompt: Prompt = "1024"
    output: Output = "256"
    cached_share: Cached = "0"


@dataclass(frozen=True, slots=True)
class Batches:
    """The same where only a number of requests at once can be planned for, and no rate."""

    batch: Batch = None
    prompt: Prompt = "1024"
    output: Output = "256"
    cached_share: Cached = "0"

    def requests(self) -> Requests:
        """As all other commands take them."""
        return Requests(self.batch, None, self.prompt, self.output, self.cached_share)


@dataclass(frozen=True, slots=True)
class Hardware:
    """How the machine is taken that is asked about."""

    chips: Chips = None
    software: Stack = None
    usable_memory: Usable = None

    def given(self, software: str | None = None) -> dict[str, Any]:
        """As `asked_of` takes them; a stack that is not given is the other one."""
        return {
            "chips": self.chips,
            "software": self.software or software,
            "usable_memory": self.usable_memory,
        }


@dataclass(frozen=True, slots=True)
class Degrees:
    """Of a uniform plan."""

    tensor: Tensor = 1
    pipeline: Pipeline = 1
    expert: Expert = 1
    data: Data = 1
    micro_batches: MicroBatches = None

    def given(self) -> dict[str, Any]:
        """As `uniform_plan` takes them."""
        return {
            "tensor_parallel": self.tensor,
            "pipeline_parallel": self.pipeline,
            "expert_parallel": self.expert,
            "data_parallel": self.data,
            "micro_batches": self.micro_batches,
        }


@dataclass(frozen=True, slots=True)
class Drafts:
    """How tokens are guessed before the model checks them."""

    draft: Draft = None
    speculative_tokens: Drafted = "4"
    acceptance: Acceptance = None
    draft_kind: Kind = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What watts and dollars count, and what those who own the machine pay."""

    power_scope: Scope = None
    power_basis: Drawn = None
    price_basis: Basis = None
    price: Hourly = None
    licence: Licence = None
    lifetime_years: Lifetime = None
    usd_per_kwh: PowerPrice = None
    pue: Pue = None
    utilisation: Utilisation = None

    def bases(self) -> dict[str, Any]:
        """As the functions that plan take them."""
        from planner.machines.accounts import check_power_basis
        from planner.machines.prices import check_basis

        check_power_basis(self.power_basis, "--power-basis")
        check_basis(self.price_basis, "--price-basis")
        if self.price is not None and self.price_basis is not None:
            raise InputError(
                "--price and --price-basis are both given; a price that is given has no basis, so"
                " give one"
            )
        return {
            "power_scope": scope_of(self.power_scope),
            "power_basis": self.power_basis,
            "price_basis": self.price_basis,
        }

    def economics(self) -> dict[str, float]:
        """What owners pay, as far as it is given."""
        stated = {
            "lifetime_years": figure("--lifetime-years", self.lifetime_years, "years"),
            "usd_per_kwh": figure("--usd-per-kwh", self.usd_per_kwh, "usd_per_kwh"),
            "pue": self.pue,
            "utilisation": figure("--utilisation", self.utilisation, "fraction"),
        }
        return {name: value for name, value in stated.items() if value is not None}

    def owned(self, topology: "Topology") -> "Topology":
        """The machine with what its owner pays."""
        from planner.machines.accounts import with_economics, with_licence, with_price
        from planner.machines.prices import Economics

        assumed = self.economics()
        if assumed:
            topology = with_economics(topology, Economics(**assumed))
        if self.price is not None:
            topology = with_price(topology, self.price, "--price")
        if self.licence is not None:
            topology = with_licence(topology, self.licence, "--licence")
        return topology


@dataclass(frozen=True, slots=True)
class Goal:
    """What a plan is to be best for, and what it must keep to."""

    minimize: Minimize = None
    maximize: Maximize = None
    limit: Limit = None
    sure: Sure = None
    time_limit: TimeLimit = None
    memory_limit: MemoryLimit = None

    def options(self, counts: Counts) -> dict[str, Any]:
        """As the functions that plan take them."""
        return {"minimize": self.minimize, "maximize": self.maximize} | self.bounds(counts)

    def bounds(self, counts: Counts) -> dict[str, Any]:
        """Those of them that hold whatever is made best."""
        sure = figure("--sure", self.sure, "fraction")
        return {
            "limits": limits_of(self.limit or []),
            **({} if sure is None else {"sure": sure}),
            "time_limit_s": seconds(self.time_limit),
            "memory_limit_bytes": memory_bytes(self.memory_limit),
            **counts.bases(),
        }

    def field(self, graph: "ModelGraph") -> str:
        """What the best plan of a model is best in."""
        return self.maximize or self.minimize or ("image_s" if graph.is_diffusion else "tpot_s")


class Asked(NamedTuple):
    """What a command is asked of: a model, a machine, and what is to be served."""

    graph: "ModelGraph"
    topology: "Topology"
    workload: "Workload"


class Counted(NamedTuple):
    """A machine, and how many chips of it; None: as the catalogue has them."""

    name: str
    chips: int | None


def asked_of(
    model: str,
    topology: str,
    formats: Formats,
    requests: Requests,
    *,
    arrivals: str = "steady",
    chips: int | None = None,
    software: str | None = None,
    usable_memory: str | None = None,
    drafts: Drafts | None = None,
    counts: Counts | None = None,
    goal: Goal | None = None,
) -> Asked:
    """The nouns that a command line names."""
    graph = graph_of(model, formats)
    machine = machine_of(topology, chips, software=software, usable_memory=usable_memory)
    if counts is not None:
        machine = counts.owned(machine)
    workload = workload_of(requests, arrivals, goal=goal)
    if drafts is not None:
        workload = workload.replace(speculation=speculation_of(drafts, formats))
    return Asked(graph, machine, workload)


def counted_name(entry: str, chips: int | None = None, option: str = "--chips") -> "Counted":
    """A machine as NAME or NAME:CHIPS, whose count is that of the option where both are given."""
    name, is_counted, text = entry.rpartition(":")
    # A colon may stand in a path too: C:\\machines\\mine.toml.
    if not is_counted or not name or "\\" in text or "/" in text:
        return Counted(entry, chips)
    count = whole("chips", text, "chips")
    if chips is not None and chips != count:
        raise InputError(
            f"{option} {chips} and {shortened(entry)} name different numbers of chips; give one of"
            " them"
        )
    return Counted(name, count)


def machine_of(
    entry: str,
    chips: int | None = None,
    *,
    software: str | None = None,
    usable_memory: str | None = None,
    option: str = "--chips",
) -> "Topology":
    """The machine of NAME or NAME:CHIPS, with the software that is asked for."""
    named = counted_name(entry, chips, option)
    return pl.load_topology(
        named.name,
        chips=named.chips,
        software=software,
        usable_memory=figure("--usable-memory", usable_memory, "fraction"),
    )


def graph_of(model: str, formats: Formats) -> "ModelGraph":
    """The model of --weights, --kv, --sparsity, --dimension and what a diffusion model makes."""
    return pl.load_model(
        model,
        weight_dtype=formats.weights,
        kv_dtype=formats.kv,
        sparsity=None if formats.sparsity is None else formats.sparsity.replace(" ", ""),
        dimensions=dimensions_of(formats.dimension or []) or None,
        height=formats.height,
        width=formats.width,
        frames=formats.frames,
        steps=formats.steps,
    )


def gains_by_batch(goal: Goal | None) -> str | None:
    """What is asked for, or limited, that is better the more is in flight: then a batch that nobody
    states is left open, as any number of users would be a limit that nobody set. None: nothing."""
    if goal is None:
        return None
    from planner.answers.question import FIELDS, SAMPLE_FIELDS

    known = FIELDS | SAMPLE_FIELDS
    limited = [one.partition("=")[0].strip() for one in goal.limit or []]
    for named in (goal.maximize or goal.minimize, *limited):
        if named in known and known[named].end == "high":
            return named
    return None


def is_open(requests: Requests, arrivals: str, goal: Goal | None = None) -> bool:
    """Whether the number of sequences in flight is left open."""
    if requests.batch is not None:
        return requests.batch == "max"
    return requests.rate is not None or arrivals == "poisson" or gains_by_batch(goal) is not None


def workload_of(requests: Requests, arrivals: str, *, goal: Goal | None = None) -> "Workload":
    """The workload of --batch or --rate, --prompt, --output and --arrivals; where no batch is
    given, that of the goal."""
    batch, rate = requests.batch, figure("--rate", requests.rate, "requests_per_s")
    if rate is not None and batch is not None:
        raise InputError(
            "--batch and --rate are both given; under a rate the batch is an outcome, so give one"
            " or the other"
        )
    left_open = is_open(requests, arrivals, goal)
    given: dict[str, Any] = {
        "batch_size": None if left_open else whole("--batch", batch or USUAL_BATCH, "sequences"),
        "prompt_tokens": whole("--prompt", requests.prompt, "tokens"),
        "output_tokens": whole("--output", requests.output, "tokens"),
        "cached_prompt_share": figure("--cached-share", requests.cached_share, "fraction"),
        "arrivals": arrivals,
    }
    if rate is not None:
        given["requests_per_s"] = rate
    return pl.Workload.from_fields(given)


def speculation_of(drafts: Drafts, formats: Formats) -> "Speculation | None":
    """How tokens are drafted; the draft model has the formats of the other."""
    if drafts.draft is None:
        if drafts != Drafts():
            raise InputError(
                "--speculative-tokens, --draft-kind and --acceptance need a draft; give --draft"
                " NAME, or --draft lookup"
            )
        return None
    # Open axes and what is pruned are the model's; a draft has neither.
    closed = replace(formats, dimension=None, sparsity=None)
    draft = None if drafts.draft == "lookup" else graph_of(drafts.draft, closed)
    tokens = drafts.speculative_tokens
    return pl.Speculation.from_fields(
        {
            "draft": draft,
            "tokens": None if tokens == "best" else whole("--speculative-tokens", tokens),
            "kind": drafts.draft_kind,
            "acceptance_rate": figure("--acceptance", drafts.acceptance, "fraction"),
        }
    )


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command some of whose parameters are dataclasses of options, with each field of them a
    parameter by itself: typer knows no groups."""
    parameters: list[Parameter] = []
    groups: dict[str, type[Any]] = {}
    for one in signature(command).parameters.values():
        is_group = is_dataclass(one.annotation)
        if is_group:
            groups[one.name] = one.annotation
            parameters += signature(one.annotation).parameters.values()
        else:
            parameters.append(one)

    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    ordered = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = Signature(ordered)  # type: ignore[attr-defined]
    return run


def whole(name: str, text: str, counted: str = "") -> int:
    """A whole number: '64', '128k' (128,000), '128Ki' (131,072), with what is `counted` behind it
    or not."""
    try:
        return int(text)
    except ValueError:
        from planner.units import parse_count

        return parse_count(text, counted, name)


def chips_of(option: str, text: str | None) -> tuple[int, ...]:
    """Chips by number, as '3' or '0,4-7' names them."""
    found: list[int] = []
    for part in (text or "").split(",") if text is not None else ():
        first, is_range, last = part.strip().partition("-")
        try:
            low = int(first)
            high = int(last) if is_range else low
        except ValueError:
            low, high = 1, 0
        if not 0 <= low <= high < MOST_CHIPS:
            raise InputError(
                f"{option} names chips by number, such as '3' or '0,4-7', not {shortened(text)!r}"
            )
        found += range(low, high + 1)
    return tuple(found)


def limits_of(entries: list[str]) -> dict[str, str]:
    """What --limit says, by field, as it was written: 'tpot_s=30ms'."""
    limits = {}
    for entry in entries:
        name, is_given, value = entry.partition("=")
        if not is_given:
            raise InputError(f"--limit must look like tpot_s=30ms, not {shortened(entry)!r}")
        limits[name.strip()] = value.strip()
    return limits


def dimensions_of(entries: list[str]) -> dict[str, int]:
    """What --dimension says, by axis."""
    dimensions: dict[str, int] = {}
    for entry in entries:
        # Names of axes may hold an equals sign themselves, as sums of others do.
        name, is_given, size = entry.rpartition("=")
        if not is_given:
            raise InputError(f"--dimension must look like batch=1, not {shortened(entry)!r}")
        name = name.strip()
        if name in dimensions:
            raise InputError(f"--dimension {shortened(name)} is given twice")
        dimensions[name] = whole(f"--dimension {shortened(name)}", size.strip())
    return dimensions


def engine_of(given: str) -> "Engine":
    """What --solver says."""
    from planner.planning.search import ENGINES

    return cast("Engine", one_of("--solver", given, *ENGINES))


def scope_of(given: str | None) -> "PowerScope | None":
    """What --power-scope says."""
    if given is None:
        return None
    return cast("PowerScope", one_of("--power-scope", given, "chip", "system", "facility"))
