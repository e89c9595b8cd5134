"""`Job`: what the ranks of a run are told, and `RankReport`: what each of them tells.

Nothing here needs PyTorch: plans are cut into ranks, and widths are looked at, before any process
is started.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from planner.errors import InputError, listed
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.records import Record

FAMILIES = ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
"""Values of `model_type` whose layers the runner knows how to slice."""

Config = Mapping[str, Any]
"""The fields of a config.json."""


class StagePart(Record):
    """What the ranks of one stage hold, and how they split it."""

    first_rank: int
    ranks: int
    expert_ways: int = 1
    """Ways in which whole experts are shared out; what is left of the ranks splits each."""
    embeds: bool = False
    """Whether it looks tokens up."""
    first_decoder: int = 0
    """Of the model's decoder layers."""
    decoders: int = 0
    makes_tokens: bool = False
    """Whether it has the final norm and the head."""


class Job(Record):
    """One run: a model of random weights, cut into stages, and a batch of random prompts."""

    config: dict[str, Any]
    """As in the model's config.json."""
    stages: tuple[StagePart, ...]
    """Of each replica."""
    batch_size: int
    """Of all replicas."""
    replicas: int = 1
    """Copies that share the batch out, and do not meet."""
    prompt_tokens: int
    output_tokens: int
    micro_batches: int = 1
    """Into which a replica's sequences are cut while they decode."""
    prompt_passes: int = 1
    """Into which they are cut while prompts run."""
    seed: int = 0
    """Of weights and prompts."""
    patience_s: float = 300.0
    """After which a rank that waits for another gives up."""
    keeps_logits: bool = False
    """Whether the last stage hands back the logits of every token."""

    @property
    def replica_ranks(self) -> int:
        """Processes of one replica."""
        return sum(stage.ranks for stage in self.stages)

    @property
    def ranks(self) -> int:
        """Processes of all."""
        return self.replicas * self.replica_ranks

    @property
    def sequences(self) -> int:
        """Of each replica."""
        return self.batch_size // self.replicas


class PhaseReport(Record):
    """What one rank did in one phase, prompts or later tokens."""

    cpu_s: float = 0.0
    """Of all its threads, that of messages included."""
    messages_cpu_s: float = 0.0
    """Of that, what passed while it sent, received or added up."""
    wall_s: float = 0.0
    passes: int = 0
    moved_bytes: float = 0.0
    """That it took in over the wire, each tensor of an all-reduce once, as `Score.traffic`
    counts."""
    token_bytes: float = 0.0
    """Besides, the numbers of tokens on their way back to the first stage, which nothing prices."""


class RankReport(Record):
    """What one rank held and did."""

    stage: int
    rank: int
    """Of all."""
    replica: int = 0
    weight_bytes: float
    cache_bytes: float
    prefill: PhaseReport
    decode: PhaseReport
    tokens: tuple[tuple[int, ...], ...] = ()
    """Of each sequence, in order; of ranks of the last stage alone."""
    logits: tuple[tuple[tuple[float, ...], ...], ...] = ()
    """Of each sequence and token, where they were asked for."""


class Sequences(NamedTuple):
    """Some of the batch that go through a pass together."""

    first: int
    last: int
    """Behind the last of them."""

    @property
    def total(self) -> int:
        """How many they are."""
        return self.last - self.first


def cut(batch_size: int, parts: int) -> list[Sequences]:
    """The batch in so many parts, the larger ones first; no more parts than sequences."""
    parts = min(parts, batch_size)
    least, more = divmod(batch_size, parts)
    found = []
    first = 0
    for number in range(parts):
        last = first + least + (number < more)
        found.append(Sequences(first, last))
        first = last
    return found


def job_of(plan: Plan, graph: ModelGraph, config: Config, **asked: Any) -> Job:
    """A run of a plan; an InputError where the runner cannot carry it out. `asked` are the other
    fields of `Job`."""
    check_family(config)
    _check_window(config, asked["prompt_tokens"] + asked["output_tokens"])
    batch = asked["batch_size"]
    if batch % plan.replicas:
        raise InputError(
            f"batch_size: {batch} sequences do not divide into {plan.replicas} replicas; ask for a"
            " multiple of them"
        )
    parts = []
    first_rank = 0
    for number, stage in enumerate(plan.stages):
        part = _part(number, stage, graph, first_rank)
        check_widths(config, part)
        first_rank += part.ranks
        parts.append(part)
    degrees = sorted({part.ranks for part in parts})
    if len(degrees) > 1:
        raise InputError(
            "Stage.tensor_parallel: each rank sends to one rank of the next stage, so all stages"
            f" need the same degree, not {listed(degrees, 'and')}"
        )
    return Job(
        config=dict(config),
        stages=tuple(parts),
        replicas=plan.replicas,
        micro_batches=min(plan.micro_batches, batch // plan.replicas),
        **asked,
    )


def check_family(config: Config) -> None:
    """An InputError for a model that the runner does not know how to slice."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise InputError(
            f"model_type: the runner slices {listed(FAMILIES, 'and')}, not {family!r}; give the"
            " config.json of one of these"
        )


def _check_window(config: Config, context_tokens: int) -> None:
    """Attention sees everything here, so a window must be as long as the context."""
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", True) and window < context_tokens:
        raise InputError(
            f"sliding_window: the runner attends to all {context_tokens} tokens of a sequence, and"
            f" the model to {window}; ask for fewer tokens"
        )


def _part(number: int, stage: Stage, graph: ModelGraph, first_rank: int) -> StagePart:
    """What the ranks of a stage hold."""
    refused = {
        "sequence_parallel": stage.sequence_parallel > 1,
        "offloaded": bool(stage.offloaded),
        "tensor_parallel": stage.attention_parallel > 1,
        "expert_parallel": stage.expert_parallel > stage.tensor_parallel,
    }
    for field, is_used in refused.items():
        if is_used:
            raise InputError(
                f"Stage.{field}: the runner can split a stage only by tensor parallelism, with"
                f" experts shared out among the same ranks; give a plan whose stage {number} does"
                " not need more"
            )
    order = {layer.name: place for place, layer in enumerate(graph.layers)}
    strange = next((name for name in stage.layers if name not in order), None)
    if strange is not None:
        raise InputError(f"Stage.layers: {strange!r} is not a layer of {graph.name}")
    places = sorted(order[name] for name in stage.layers)
    last = len(graph.layers) - 1
    decoders = [place - 1 for place in places if 0 < place < last]
    return StagePart(
        first_rank=first_rank,
        ranks=stage.group_chips,
        expert_ways=stage.expert_parallel,
        embeds=places[0] == 0,
        first_decoder=decoders[0] if decoders else 0,
        decoders=len(decoders),
        makes_tokens=places[-1] == last,
    )


def check_widths(config: Config, part: StagePart) -> None:
    """An InputError for a width of the model that does not divide by the ranks of a stage."""
    ranks = part.ranks
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    if groups % ranks and ranks % groups:
        raise InputError(
            f"num_key_value_heads: {groups} heads can be neither shared out over {ranks} tensor"
            " ranks nor copied to them; choose a degree that divides or multiplies them"
        )
    for field, width in _split_widths(config, part).items():
        ways = ranks // part.expert_ways if field == "expert width" else ranks
        if width % ways:
            raise InputError(
                f"{field}: {width} does not divide by {ways} tensor ranks; choose another degree"
            )
    experts = _experts(config)
    if experts % part.expert_ways:
        raise InputError(
            f"Stage.expert_parallel: {experts} experts cannot be shared out over"
            f" {part.expert_ways} ranks; choose a degree that divides them"
        )


def _experts(config: Config) -> int:
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


def _split_widths(config: Config, part: StagePart) -> dict[str, int]:
    """What the ranks of a stage share out, by its field of the config."""
    widths = {"num_attention_heads": config["num_attention_heads"]}
    if part.embeds or part.makes_tokens:
        widths["vocab_size"] = config["vocab_size"]
    if not _experts(config):
        widths["intermediate_size"] = config["intermediate_size"]
        return widths
    own = config.get("moe_intermediate_size") or config["intermediate_size"]
    widths["expert width"] = own
    if config.get("shared_expert_intermediate_size"):
        widths["shared_expert_intermediate_size"] = config["shared_expert_intermediate_size"]
    return widths
