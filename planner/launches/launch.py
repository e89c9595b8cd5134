"""`Launch`: what one engine is told at its start, in no engine's words.

Between a plan and a command: `export` writes it as flags, YAML or a manifest of an engine, readers
of commands make it from those. What an engine decides by itself is None.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.records import Record
from planner.units import Count, Degree, Fraction
from planner.workload import DraftKind

EngineName = Literal["vllm", "sglang", "tensorrt-llm", "llama.cpp", "huggingface"]
Role = Literal["both", "prefill", "decode"]


class Drafting(Record):
    """How an engine drafts tokens."""

    kind: DraftKind
    tokens: Count
    """Drafted before each pass that verifies them."""
    model: str = ""
    """A name on a hub or a path of what drafts; "" where the model has its own heads, or where
    tokens are looked up in the prompt."""


class Launch(Record):
    """One deployment: an engine, or several alike behind a router."""

    engine: EngineName
    version: str = ""
    """Of the engine whose options are meant; "": the newest that is known."""
    model: str
    """A name on a hub, or a path."""
    role: Role = "both"
    """Which passes it serves, where prefill and decode have pools of their own."""

    tensor_parallel: Degree = 1
    """Ranks that split each matrix of the attention. Not SGLang's `--tp-size`, which counts all
    ranks of a stage."""
    pipeline_parallel: Degree = 1
    expert_parallel: Degree = 1
    """Ranks that whole experts are shared out over."""
    redundant_experts: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Of a layer, that are held twice so that the ranks divide them."""
    attention_parallel: Degree = 1
    """Ranks, each of `tensor_parallel`, that share out the sequences over common experts."""
    sequence_parallel: Degree = 1
    """Ranks that share out the tokens of a sequence."""
    replicas: Count = 1
    """Engines alike, each with all weights."""
    layers: tuple[Count, ...] | None = None
    """Decoder layers of each stage; None: the engine cuts by itself."""
    devices: tuple[tuple[int, ...], ...] | None = None
    """Chips of each replica by their number in the machine, in the order of ranks (tensor ranks
    together, then sequence ranks, then attention ranks, then stages); None: the engine takes the
    first."""
    chips_per_node: Count | None = None
    """Where one replica may reach over several nodes."""

    weight_format: str | None = None
    """As the catalogue calls dtypes, such as "bf16" or "fp8"; None: as the model is stored."""
    cache_format: str | None = None
    """Of keys and values; None: as the engine chooses."""
    most_sequences: Count | None = None
    """In flight in one replica."""
    context_tokens: Count | None = None
    """Of prompt and output together, at most."""
    chunk_tokens: Count | None = None
    """Of prompts, in one pass at most."""
    memory_share: Fraction | None = None
    """Of each chip's memory that the engine may take."""
    cache_share: Fraction | None = None
    """Of the memory that weights leave free, what caches may take, where an engine is told that."""
    prefix_caching: bool | None = None
    offloaded_layers: int | None = None
    """Decoder layers that lie off the chips' first memory."""
    kept_layers: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Layers that stay on the chips, counted from the last, where an engine is told that instead."""
    spread: Literal["", "stages", "tensor"] = ""
    """Whether an engine that is told of no degrees spreads itself over all chips that it sees: as
    stages, or as ranks of one."""
    stage_shares: tuple[Annotated[float, Field(ge=0, le=1e9)], ...] | None = None
    """Of the layers, for each chip of such a spread; None: alike."""
    eager: bool = False
    """Whether kernels are launched one by one where the engine would replay graphs of them."""
    drafting: Drafting | None = None

    @model_validator(mode="after")
    def check_whole(self) -> Self:
        if self.layers is not None and len(self.layers) != self.pipeline_parallel:
            raise InputError(
                f"Launch.layers: {len(self.layers)} stages are cut, but pipeline_parallel is"
                f" {self.pipeline_parallel}"
            )
        self._check_devices()
        return self

    def _check_devices(self) -> None:
        if self.devices is None:
            return
        if len(self.devices) != self.replicas:
            raise InputError(
                f"Launch.devices: chips are named for {len(self.devices)} engines, but replicas is"
                f" {self.replicas}"
            )
        for chips in self.devices:
            if len(chips) != self.replica_chips:
                raise InputError(
                    f"Launch.devices: an engine has {len(chips)} chips, but its degrees ask for"
                    f" {self.replica_chips}"
                )
        named = [chip for chips in self.devices for chip in chips]
        if len(set(named)) != len(named):
            raise InputError("Launch.devices: a chip is named twice")

    @property
    def stage_ranks(self) -> int:
        """Chips of one stage of one replica."""
        return self.tensor_parallel * self.attention_parallel * self.sequence_parallel

    @property
    def replica_chips(self) -> int:
        return self.stage_ranks * self.pipeline_parallel

    @property
    def chips(self) -> int:
        """Of all replicas."""
        return self.replica_chips * self.replicas


class Told(Record):
    """A line that a command had, and what was made of it."""

    text: str
    """As it stands in the command."""
    words: str
    """What it was taken for, or why it was left out."""
    taken: bool = True


class Reading(Record):
    """What was read from a command or a manifest."""

    launch: Launch
    told: tuple[Told, ...] = ()
    """What each flag was taken for, then those that have no place in `launch`: unknown ones, and
    those that are not priced or change nothing that is."""
    asked: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    """What is decided elsewhere and must be told: variables without a value."""
