"""`Engine`: which plans a software can be started with."""

from typing import Literal, Self, get_args

from pydantic import model_validator

from planner.errors import InputError
from planner.machines.origin import Confidence
from planner.records import Record
from planner.units import Count

Space = Literal["engine", "any"]
"""Which plans there are: those that the software's engine can be started with, or all."""

SPACES: tuple[Space, ...] = get_args(Space)

Drafting = Literal["mtp", "eagle", "eagle3", "draft-model", "ngram"]
"""How tokens may be drafted, as `workload.DraftKind` has it."""

Offload = Literal["none", "streams", "layers"]

InFlight = Literal["any", "one", "stages", "stages + 1", "sequences"]


class Engine(Record):
    """Which plans a software can be started with.

    Every rule is a fact of a version of the software, and stands with its source in the file of the
    stack. The default is any plan: that of a stack whose engine has no known rules, of one that
    only lends kernels or collectives, and of a file that says nothing.
    """

    version: str = ""
    """Of which the rules hold."""
    source: str = ""
    """Of all rules, or of the word that none are known."""
    confidence: Confidence = "stated"
    note: str = ""
    """What the rules leave out; where none are known, why."""
    like_stages: bool = False
    """Whether all stages are split alike."""
    decoder_on_each_stage: bool = False
    """Whether each stage needs at least one layer between the embedding and the head."""
    micro_batches: InFlight = "any"
    """In flight over more than one stage, where there are as many sequences: all in one, as many
    as stages, one more, or each sequence by itself. One stage alone takes all at once."""
    most_stages: Count = 10_000_000
    tensor_in_pipelines: bool = True
    """Whether several stages may be split over tensor ranks."""
    experts: Literal["any", "none", "all ranks"] = "any"
    """Over how many ranks of a stage whole experts may be shared out: any number, one, or one or
    all."""
    attention: Literal["any", "none", "all ranks"] = "any"
    """Over how many ranks of a stage sequences may be shared out: likewise."""
    redundant_experts: bool = False
    """Whether some experts may be held twice, so that their number need not divide."""
    whole_blocks: bool = False
    """Whether every width that is split must leave whole blocks of weights that share a scale."""
    offload: Offload = "none"
    """What of a layer may lie in a second memory of the chip, or in the host's: nothing that is
    known of; weights, which are read there in every pass; or the whole layer, which a host's
    processor then computes (see `machines.tiers`)."""
    offload_source: str = ""
    """Of that alone."""
    drafts: tuple[Drafting, ...] = ()
    """Ways in which it has been seen to draft tokens; none: nothing is known of any."""
    drafts_source: str = ""
    """Of that alone."""
    pools: bool = False
    """Whether it serves prompts and later tokens on pools of their own, and hands the caches over;
    false where nothing is known of it."""
    pools_source: str = ""
    """Of that alone."""

    @model_validator(mode="after")
    def check_whole(self) -> Self:
        """Rules are searched as a whole, under one split for all stages; halves would say "optimal"
        of plans that other rules refuse."""
        told = {"version", "source", "confidence", "note", "redundant_experts"}
        # What follows adds plans, and refuses none.
        told |= {"offload", "offload_source"}
        told |= {"drafts", "drafts_source", "pools", "pools_source"}
        stated = self.model_dump(exclude_defaults=True, exclude=told)
        if stated and not self.like_stages:
            raise InputError(
                f"Engine.{min(stated)} needs like_stages = true, as every rule of an engine does;"
                " leave all rules out where they are not known"
            )
        return self

    @property
    def is_known(self) -> bool:
        """Whether any rules are known that refuse plans."""
        return self.like_stages
