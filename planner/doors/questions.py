"""What a program may ask: a record for each question, every field of it bounded."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.errors import InputError, shortened
from planner.machines.engine import Space
from planner.records import Record
from planner.units import Count, Seconds
from planner.workload import DraftKind

FILES = (".json", ".toml", ".gguf", ".onnx", ".safetensors", ".csv", ".yaml", ".yml")
FIELDS = tuple(ASKED | SAMPLE_FIELDS)
"""All that can be made best or limited."""
QUESTION = "the question"
"""What people write, in refusals of it."""
MOST_SECONDS = 120.0
HANDLE = re.compile(r"a[0-9]{1,9}(\.[0-9]{1,2})?")
"""Of an answer: a1, or a2.1 of one machine of several."""


def _no_file(name: str) -> str:
    """A name of the catalogue; programs do not get to say which files are read."""
    # A count of chips may stand behind a file as behind a name.
    parts = [part.strip().lower() for part in name.split(":")]
    if "/" in name or "\\" in name or any(part.endswith(FILES) for part in parts):
        raise InputError(
            f"{shortened(name)!r} names a file, and only names of the catalogue are taken here; the"
            " command planner reads files"
        )
    return name


def _handle(name: str) -> str:
    """That of an answer."""
    if HANDLE.fullmatch(name) is None:
        raise PydanticCustomError(
            "handle", "must be the handle of an earlier answer, such as a1 or a2.1"
        )
    return name


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_no_file)]
FieldName = Annotated[
    str, Field(min_length=1, max_length=100, json_schema_extra={"enum": list(FIELDS)})
]
Figure = Annotated[float, Field(ge=0)] | Annotated[str, Field(max_length=100)]
Price = Annotated[float, Field(gt=0, le=1e9)] | Annotated[str, Field(max_length=100)]
Prices = Annotated[dict[Name, Price], Field(max_length=8)]
Users = Annotated[int, Field(ge=1, le=1_000_000)] | Literal["max"]
Handle = Annotated[
    str,
    Field(max_length=16, json_schema_extra={"pattern": f"^{HANDLE.pattern}$"}),
    AfterValidator(_handle),
]
Degree = Annotated[int, Field(ge=1, le=100_000)]


class Timed(Record):
    """Anything that takes time."""

    time_limit_s: Annotated[Seconds, Field(gt=0, le=MOST_SECONDS)] = 20.0
    """After so long the best answer so far is given, with the bound that was proved until then."""


class Drafts(Record):
    """How tokens are guessed before the model checks them."""

    model: Name
    """Of the catalogue, that guesses them; "lookup": they are looked up in the text so far."""
    tokens: Annotated[int, Field(ge=1, le=64)] | Literal["best"] = 4
    """Guessed for each pass; best: as many as are."""
    kind: DraftKind | None = None
    """Of what guesses; gives the acceptance rate where none is stated."""
    acceptance_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Probability that a guess is kept where those before it are; none: as is usual of the kind,
    else 0.7."""


class Served(Timed):
    """A model and what it is asked to serve."""

    model: Name
    """Of the catalogue, such as llama-3.1-70b; the tool `names` lists them."""
    weights: Name | None = None
    """Format of the weights, such as fp8 or bf16; none: as the model is published."""
    kv_cache: Name | None = None
    """Format of the KV cache; none: the model's own."""
    prompt_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 1024
    """Of one request."""
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 256
    """Of one request."""
    users: Users | None = None
    """Requests in flight at once, in the whole deployment; max: as many as are best. None, and no
    rate: 8, but max where that makes the objective, or what is limited, better."""
    requests_per_s: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Requests that arrive each second, as a Poisson stream; in place of `users`."""
    drafts: Drafts | None = None
    """How tokens are guessed ahead (speculative decoding); none: they are not."""
    prices: Prices = Field(default={})
    """Of one's own, by machine as it is named here: USD for each chip and hour, or text with a
    unit: {"hgx-h100": "2.10 USD/h"}, or "20000 USD/month" of a lease. Others have the
    catalogue's."""


class Limited(Served):
    """That, with limits."""

    limits: dict[FieldName, Figure] = Field(default_factory=dict, max_length=16)
    """The worst values allowed, by field: at most for times, costs and chips, at least for rates.
    Text has a unit: {"ttft_p99_s": "2 s", "tpot_p99_s": "50 ms"}; a number is in SI."""
    sure: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Keep each limit with this probability for all that our prices may be off, such as 0.8."""
    space: Space = "engine"
    """Which plans there are: those that the machine's engine can be started with, or any."""


class PlanQuestion(Limited):
    """Find the best way to spread a model over one machine, and prove it."""

    machine: Name
    """Of the catalogue, such as hgx-h100, or hgx-h100:16 for 16 chips of it; the tool `names` lists
    them."""
    chips: Annotated[Count, Field(le=100_000)] | None = None
    """Of the machine; none: as many as it is described with."""
    software: Name | None = None
    """Such as vllm, sglang or tensorrt-llm; none: what fits chip and model."""
    objective: FieldName | None = None
    """The field to make best: times and costs as low as can be, rates as high. None: tpot_s, of a
    diffusion model image_s."""


class SizeQuestion(Limited):
    """Find how few chips of each machine serve a demand within limits, and what they cost; the
    cheapest first. Where neither users nor a rate are given, the model just has to fit and to keep
    the limits."""

    machines: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
    """Names of the catalogue; "hgx-h100:16" takes at most 16 chips of it."""


class CompareQuestion(Limited):
    """Find the best plan of one model on each of several machines, side by side."""

    machines: Annotated[tuple[Name, ...], Field(min_length=2, max_length=8)]
    """Names of the catalogue; "hgx-h100:16" is 16 chips of it."""
    objective: FieldName | None = None
    """As of `plan`."""


class ScoreQuestion(Served):
    """Price a plan of one's own: equal stages, the same split on each. tensor × pipeline × data is
    the number of chips held."""

    machine: Name
    """Of the catalogue."""
    chips: Annotated[Count, Field(le=100_000)] | None = None
    """Of the machine; none: as many as it is described with."""
    software: Name | None = None
    """Such as vllm, sglang or tensorrt-llm; none: what fits chip and model."""
    tensor_parallel: Degree = 1
    """Chips among which each layer is split."""
    pipeline_parallel: Degree = 1
    """Stages of consecutive layers."""
    expert_parallel: Degree = 1
    """Among how many of tensor × data experts are placed whole."""
    data_parallel: Degree = 1
    """Replicas."""


class VerifyQuestion(Timed):
    """Prove the bound of an earlier answer again, without the solver that found it."""

    answer: Handle
    """Its handle, such as a1, or a2.1 of one machine of several."""
    again: bool = False
    """Let OR-Tools CP-SAT prove it from the question too; takes longer."""


class ExplainQuestion(Timed):
    """Say of an earlier answer what binds, what more of each resource would buy, what other shapes
    reach, and which limit the next better plans break."""

    answer: Handle
    """Its handle, such as a1, or a2.1 of one machine of several."""


class NamesQuestion(Timed):
    """List what the catalogue has under a kind of name."""

    kind: Literal["models", "machines", "software", "fields"]
    """Fields are what can be made best or limited, with units."""


class ParetoQuestion(Served):
    """Find the plans worth having on one machine when several figures count: none is better than
    another in all of them. Where neither users nor a rate are given, of any number of users."""

    machine: Name
    """Of the catalogue."""
    chips: Annotated[Count, Field(le=100_000)] | None = None
    """Of the machine; none: as many as it is described with."""
    software: Name | None = None
    """Such as vllm, sglang or tensorrt-llm; none: what fits chip and model."""
    fields: Annotated[tuple[FieldName, ...], Field(min_length=2, max_length=4)] = (
        "tpot_s",
        "tokens_per_s",
    )
    """That count."""
    tolerance: Annotated[float, Field(ge=1e-4, le=1)] = 0.05
    """By how much, at most, a plan that is left out may be better than one that is told."""
    space: Space = "engine"
    """Which plans there are: those that the machine's engine can be started with, or any."""


class MapQuestion(Timed):
    """Draw which machine is the best for models of each size, where every user is to get so many
    tokens a second. Takes up to a minute or two."""

    machines: Annotated[tuple[Name, ...], Field(min_length=2, max_length=6)]
    """Names of the catalogue."""
    metric: Literal["energy_per_token_j", "usd_per_million_tokens", "chips"] = "energy_per_token_j"
    """Of which the least is the best."""
    prices: Prices = Field(default={})
    """Of one's own, by machine: USD for each chip and hour, or text with a unit; others have the
    catalogue's."""
    family: Literal["dense", "moe"] = "dense"
    """Of models: all parameters at work, or experts."""
    prompt_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Of one request."""
    output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Of one request."""
    time_limit_s: Annotated[Seconds, Field(gt=0, le=MOST_SECONDS)] = MOST_SECONDS
    """After so long it is given up."""


class AuditQuestion(Timed):
    """Hold the claims of an article about such machines against capacity, roofline, arithmetic,
    sources, each other, and the best plans."""

    claims: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    """By name; none: all of them, which takes a minute."""
    time_limit_s: Annotated[Seconds, Field(gt=0, le=MOST_SECONDS)] = MOST_SECONDS
    """Claims that are left by then have no verdict."""


class ReportQuestion(Timed):
    """Show an earlier answer whole: tables and pictures as HTML."""

    answer: Handle
    """Its handle, such as a1, or a2.1 of one machine of several."""


class ExportQuestion(Timed):
    """Write the commands and files that start an engine with the plan of an earlier answer."""

    answer: Handle
    """Its handle, such as a1, or a2.1 of one machine of several."""
    engine: Literal["vllm", "sglang", "tensorrt-llm", "llama.cpp", "huggingface"]
    """That is to be started."""


class CommandQuestion(Timed):
    """Price what a command starts (vLLM, SGLang, llama.cpp, TensorRT-LLM), say what was read of it,
    and what the best plan of the same engine would gain. The text is read and never run."""

    command: Annotated[str, Field(min_length=1, max_length=20_000)]
    """A line of a shell, a script, docker run, or a manifest of Kubernetes or docker compose. What
    it names is looked up in the catalogue; files of options are refused."""
    machine: Name
    """Of the catalogue, that it runs on."""
    chips: Annotated[Count, Field(le=100_000)] | None = None
    """Of the machine; none: as many as it is described with, or as the command asks for."""
    model: Name | None = None
    """Of the catalogue, in place of the model that the command names."""
    prompt_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 1024
    """Of one request."""
    output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 256
    """Of one request."""
    users: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Requests in flight at once, in the whole deployment."""
    prices: Prices = Field(default={})
    """Of one's own: USD for each chip and hour of the machine, or text with a unit; none: the
    catalogue's."""
    best: bool = True
    """Whether the best plans are looked for too."""


Question = (
    PlanQuestion
    | SizeQuestion
    | CompareQuestion
    | ScoreQuestion
    | VerifyQuestion
    | ExplainQuestion
    | NamesQuestion
    | ParetoQuestion
    | MapQuestion
    | AuditQuestion
    | ReportQuestion
    | ExportQuestion
    | CommandQuestion
)
QUESTIONS: dict[str, type[Question]] = {
    "plan": PlanQuestion,
    "size": SizeQuestion,
    "score": ScoreQuestion,
    "pareto": ParetoQuestion,
    "compare": CompareQuestion,
    "verify": VerifyQuestion,
    "explain": ExplainQuestion,
    "names": NamesQuestion,
    "score_command": CommandQuestion,
}
"""By the name that each door has for it."""
PICTURED: dict[str, type[Question]] = {
    "map": MapQuestion,
    "audit": AuditQuestion,
    "report": ReportQuestion,
    "export": ExportQuestion,
}
"""What is answered with pictures and files: for doors whose answers are not read word by word."""
REFERRING = (VerifyQuestion, ExplainQuestion, ReportQuestion, ExportQuestion)
"""They speak of an earlier answer."""
