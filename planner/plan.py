"""`Plan`: which layers run on which chips, and how each stage splits its work."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError, shortened
from planner.records import Record
from planner.units import Count, Degree


class ChipRange(Record):
    """Consecutive chips."""

    first: Annotated[int, Field(ge=0, le=10_000_000)]
    count: Count

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    def __str__(self) -> str:
        return f"{self.first}" if self.count == 1 else f"{self.first}-{self.last}"


class Stage(Record):
    """Layers that run together on one group of chips, and its copies in the other replicas."""

    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names, in the order in which they run."""
    groups: Annotated[tuple[ChipRange, ...], Field(min_length=1)]
    """The chips of each replica; all of the same count."""
    tensor_parallel: Degree = 1
    """Ways in which every matmul is split."""
    expert_parallel: Degree = 1
    """Ways in which the experts are shared out, inside the group."""
    sequence_parallel: Degree = 1
    """Ways in which a sequence's tokens are shared out."""
    offloaded: tuple[str, ...] = ()
    """Of its layers those that lie in the second memory of its chips or in that of their host (see
    `machines.tiers`); none in files written before this was said."""

    @model_validator(mode="after")
    def check_groups(self) -> Self:
        sizes = {group.count for group in self.groups}
        if len(sizes) > 1:
            raise InputError(
                "Stage.groups: every replica needs as many chips as the others, not"
                f" {sorted(sizes)}"
            )
        each = self.tensor_parallel * self.sequence_parallel
        if self.group_chips % each:
            raise InputError(
                f"Stage.groups: {self.group_chips} chips do not divide into groups of"
                f" tensor_parallel × sequence_parallel = {each}"
            )
        unknown = set(self.offloaded) - set(self.layers)
        if unknown:
            raise InputError(
                f"Stage.offloaded: {shortened(min(unknown))!r} is not one of the stage's layers"
            )
        return self

    @property
    def group_chips(self) -> int:
        """Chips of one replica of the stage."""
        return self.groups[0].count

    @property
    def attention_parallel(self) -> int:
        """Ways in which the group shares out its sequences: data-parallel attention over common
        experts."""
        return self.group_chips // (self.tensor_parallel * self.sequence_parallel)


class Plan(Record):
    """Stages in the order in which a token crosses them."""

    schema_version: Literal[1] = 1
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    micro_batches: Count = 1
    """Into how many parts a replica cuts its sequences while it decodes, so that the stages work
    at the same time."""
    batch_size: Count | None = None
    """Sequences in flight that the plan was made for, where the workload leaves them open and
    states no rate of requests."""
    requests_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Requests a second that the plan was made for, where the workload leaves their rate open."""
    space: Literal["engine", "any"] = "any"
    """Whether it was made to be one that the software's engine can be started with; files written
    before this was said are of any kind."""

    @model_validator(mode="after")
    def check_replicas(self) -> Self:
        counts = {len(stage.groups) for stage in self.stages}
        if len(counts) > 1:
            raise InputError(
                f"Plan.stages: every stage needs as many groups as the others, not {sorted(counts)}"
            )
        return self

    @property
    def replicas(self) -> int:
        return len(self.stages[0].groups)

    @property
    def chips(self) -> int:
        """Chips that it holds."""
        return sum(stage.group_chips * len(stage.groups) for stage in self.stages)


class PairedPlan(Record):
    """A model whose attention runs on one machine and whose feed-forward parts run on another: a
    token goes from one to the other and back in every layer."""

    schema_version: Literal[1] = 1
    attention: Plan
    """Of the attention half (see `models.halves`): one stage, whose replicas share out the
    sequences and hold their caches."""
    experts: Plan
    """Of the feed-forward half, on chips of the other machine: one replica, whose stages have
    layers of their own. Where `expert_parallel` is more than `tensor_parallel`, tokens go
    straight to the chips of their experts; else each goes to its stage once."""
    batch_size: Count
    """Sequences in flight."""

    @model_validator(mode="after")
    def check_halves(self) -> Self:
        if len(self.attention.stages) > 1:
            raise InputError(
                "PairedPlan.attention: attention runs in one stage, which all layers come back to,"
                f" not in {len(self.attention.stages)}"
            )
        if self.experts.replicas > 1:
            raise InputError(
                "PairedPlan.experts: feed-forward parts are held once, for all replicas of the"
                f" attention, not {self.experts.replicas} times"
            )
        if self.attention.micro_batches != self.experts.micro_batches:
            raise InputError(
                "PairedPlan: both halves have the same micro_batches, not"
                f" {self.attention.micro_batches} and {self.experts.micro_batches}"
            )
        return self

    @property
    def micro_batches(self) -> int:
        """Parts of the sequences in flight, of which one half has some while the other has
        others."""
        return self.attention.micro_batches

    @property
    def chips(self) -> int:
        """Of both machines."""
        return self.attention.chips + self.experts.chips


Way = Literal["tensor", "sequence", "pipeline", "expert", "replicas"]

WAYS: tuple[Way, ...] = ("tensor", "sequence", "pipeline", "expert", "replicas")
"""What a plan may do with more than one chip."""


def ways_of(plan: Plan) -> frozenset[Way]:
    """The ways in which a plan uses more than one chip; experts count where they are shared out
    beyond the tensor group."""
    used: dict[Way, bool] = {
        "tensor": any(stage.tensor_parallel > 1 for stage in plan.stages),
        "pipeline": len(plan.stages) > 1,
        "sequence": any(stage.sequence_parallel > 1 for stage in plan.stages),
        "expert": any(stage.expert_parallel > stage.tensor_parallel for stage in plan.stages),
        "replicas": plan.replicas > 1,
    }
    return frozenset(way for way, is_used in used.items() if is_used)


def shape_name(ways: frozenset[Way]) -> str:
    """'tensor × pipeline', 'replicas only', 'one chip'."""
    names = [way for way in WAYS if way in ways]
    if not names:
        return "one chip"
    if len(names) == 1:
        return f"{names[0]} only"
    return " × ".join(names)
