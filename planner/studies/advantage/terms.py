"""`Terms`: under what terms machines are compared, the same for maps, crossovers and tables; and
`Side`: what they come to on one machine."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field, model_validator

from planner.catalogue import sources
from planner.errors import InputError, check_word, listed
from planner.machines.accounts import (
    ENERGY_FIELDS,
    PRICE_FIELDS,
    Counted,
    PowerBasis,
    alike,
    scopes_of,
    what_counts,
    with_economics,
)
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.records import Record
from planner.scoring.disaggregated import transfer_bytes
from planner.studies.advantage.family import Family, member
from planner.studies.study import SPACE_WORDS
from planner.units import Count
from planner.workload import Speculation, Workload

DRAFT_PARAMETERS = 1e9
"""Of the small dense model that drafts where a stack has a draft model."""
OF_EXPERTS = ("mtp",)
"""Ways to draft that only models come with that were trained so: of the families, those with
experts."""
NO_DRAFT = "none"
FORMAT_WORDS = {
    "nearest": "the nearest that each chip multiplies",
    "stored": "the same on all machines",
}


class Terms(Record):
    """Under what terms machines are compared. The defaults: one pool, no drafts, as many users as
    are best for each plan, machines in use all hours."""

    prompt_tokens: Count = 1024
    output_tokens: Count = 256
    weight_dtype: Dtype | dict[str, Dtype] = "fp8"
    """Of the weights; or by name of the machine."""
    formats: Literal["nearest", "stored"] = "nearest"
    """Nearest: each machine takes the format nearest to that, and at least as wide, that its chip
    multiplies as it is. Stored: all store the same, and a chip without arithmetic of it multiplies
    in 16 bit."""
    drafts: Literal["none", "best"] | Speculation = "none"
    """Best: each machine drafts in whichever of the ways that its software is known to have costs
    least, or not at all; a machine of whose software none is known drafts nothing. A
    `Speculation`: all draft so."""
    pools: bool = False
    """Whether prompts and later tokens have pools of their own, on machines whose software is known
    to have that: the prefill pool of least cost beside each decode pool, so many of one for the
    other as their rates ask for."""
    most_users: Count | None = None
    """Most requests in flight in one deployment; None: as many as it likes."""
    requests_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """That come in all, steadily: each plan is held as often as it takes, and waits in what is
    left; None: each plan gets as many as it serves."""
    utilisation: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of all hours in which machines serve; the others are paid for too, in dollars and in
    the joules of machines that wait. None: all hours, or what the price of each machine says."""
    pue: Annotated[float, Field(ge=1, le=10)] | None = None
    """What a site draws over what its machines draw: in dollars, and in joules where `power_scope`
    is "facility"; the same factor for all. None: as each machine's price assumes."""
    power_scope: PowerScope | None = None
    """What joules count; None: the widest that is known of all."""
    price_basis: OfferBasis | None = None
    """What dollars pay for; None: the widest that is known of all."""
    power_basis: PowerBasis | None = None
    """Whether watts are drawn or provisioned; None: drawn, where that is known of all."""
    space: Space = "engine"
    """Whether plans are those that each machine's software can be started with, or any."""
    unknown: Literal["refuse", "draw"] = "refuse"
    """Of machines whose watts or price are not known: refuse them, or say where they might win."""

    @model_validator(mode="after")
    def check_load(self) -> "Terms":
        if self.requests_per_s is not None and self.utilisation is not None:
            raise InputError(
                "Terms.utilisation: requests_per_s says how busy machines are; give one of the two"
            )
        return self

    @property
    def workload(self) -> Workload:
        """What is asked of each machine; every plan has a batch of its own."""
        return Workload(
            batch_size=None, prompt_tokens=self.prompt_tokens, output_tokens=self.output_tokens
        )

    @property
    def dtype_words(self) -> str:
        """The format asked for, where it is one for all."""
        return self.weight_dtype if isinstance(self.weight_dtype, str) else "formats of their own"

    def machines(
        self, topologies: Sequence[Topology], must: Sequence[str] = ()
    ) -> tuple[Topology, ...]:
        """The machines on one basis for all of which one is known, under the owner's costs that
        these terms state; an InputError where there is none for a field of `must`."""
        machines = tuple(map(self._owned, topologies))
        bases: dict[str, Any] = {"price_basis": None, "power_basis": None, "power_scope": None}
        bases |= {name: getattr(self, name) for name in bases}
        if self.unknown == "refuse":
            return alike(machines, must=must, **bases)
        # Those that are known are counted alike as if the others were not there.
        for known in (lambda one: bool(scopes_of(one)), is_priced):
            chosen = [place for place, one in enumerate(machines) if known(one)]
            counted = alike([machines[place] for place in chosen], **bases) if chosen else ()
            by_place = dict(zip(chosen, counted, strict=True))
            machines = tuple(by_place.get(place, one) for place, one in enumerate(machines))
        return machines

    def _owned(self, topology: Topology) -> Topology:
        stated = {
            name: getattr(self, name)
            for name in ("pue", "utilisation")
            if getattr(self, name) is not None
        }
        if not stated:
            return topology
        return with_economics(topology, topology.price.economics.replace(**stated))

    def unknown_of(self, topologies: Sequence[Topology], metric: str) -> tuple[str, ...]:
        """Machines whose metric is not known; an InputError says what to give where these terms
        refuse them, or where what is known is not alike."""
        missing = [one for one in topologies if not is_known(one, metric)]
        if self.unknown == "draw":
            topologies = [one for one in topologies if one not in missing]
        if topologies:
            bases = {"power_scope": self.power_scope}
            if alike(topologies, must=(metric,), **bases) != tuple(topologies):
                raise InputError(
                    "the machines of this map count power or price on unlike bases; give all of"
                    " them to map_grids() anew"
                )
        return tuple(one.name for one in missing)

    def dtype_on(self, topology: Topology) -> Dtype:
        """The format of the weights on one machine."""
        asked = self.weight_dtype
        if not isinstance(asked, str):
            if topology.name not in asked:
                raise InputError(
                    f"weight_dtype: {topology.name} has none; give one for each machine, or one for"
                    f" all; there are {listed(sorted(asked))}"
                )
            asked = asked[topology.name]
        return topology.chip.nearest_multiplied(asked) if self.formats == "nearest" else asked

    def ways(
        self, topology: Topology, graph: ModelGraph, family: Family
    ) -> dict[str, Speculation | None]:
        """In which ways a machine may draft for a model, by name; the plain one is None."""
        if isinstance(self.drafts, Speculation):
            return {self.drafts.kind or "as given": self.drafts}
        ways: dict[str, Speculation | None] = {NO_DRAFT: None}
        if self.drafts == "none":
            return ways
        for kind in self._kinds(topology, family):
            draft: ModelGraph | None = None
            if kind == "draft-model":
                draft = member("dense", DRAFT_PARAMETERS, self.dtype_on(topology))
            elif kind != "ngram":
                draft = graph.cut(1)
            ways[kind] = Speculation(draft=draft, tokens=None, kind=kind)
        return ways

    def _kinds(self, topology: Topology, family: Family) -> tuple[Any, ...]:
        known = topology.software.engine.drafts
        return tuple(one for one in known if family == "moe" or one not in OF_EXPERTS)

    def has_pools(self, topology: Topology) -> bool:
        """Whether a machine's prompts have a pool of their own under these terms."""
        return self.pools and topology.software.engine.pools and bool(topology.fabrics)

    def transfer_s(self, topology: Topology, graph: ModelGraph) -> float:
        """What a prompt's cache takes to a decode pool: over one chip's share of the outermost
        fabric, which is the slowest way that a stack would take. [s]"""
        outer = topology.fabrics[-1]
        sent = transfer_bytes(graph, self.prompt_tokens)
        return outer.latency_s + sent / outer.bandwidth_bytes_per_s

    def side(self, topology: Topology, family: Family) -> "Side":
        """What the terms come to on one machine."""
        engine = topology.software.engine
        dtype = self.dtype_on(topology)
        if isinstance(self.drafts, Speculation):
            drafts: tuple[str, ...] = (self.drafts.kind or "as given",)
        else:
            drafts = self._kinds(topology, family) if self.drafts == "best" else ()
        return Side(
            topology=topology.name,
            title=topology.title or topology.name,
            software=f"{topology.software.name} {engine.version}".rstrip(),
            weight_dtype=dtype,
            multiplied_in=topology.chip.multiplies_in(dtype),
            drafts=drafts,
            has_pools=self.has_pools(topology),
            power_scope=what_counts([topology]).power_scope,
            price_basis=topology.price.basis,
            most_chips=topology.limit_chips,
        )

    def counted(self, topologies: Sequence[Topology]) -> Counted:
        """What joules and dollars count, of the machines of which that is known."""
        powered = [one for one in topologies if scopes_of(one)]
        priced = [one for one in topologies if is_priced(one)]
        power, price = what_counts(powered or topologies), what_counts(priced or topologies)
        scope = power.power_scope
        if self.power_scope == "facility" and scope == "system":
            scope = "facility"
        return Counted(scope, power.power_basis, price.price_basis)

    def words(self) -> str:
        """The terms in one line, without what each machine makes of them."""
        return "; ".join(self.parts)

    @property
    def parts(self) -> list[str]:
        """What `words` says, one thing each."""
        drafts = {"none": "no drafts", "best": "each machine drafts as its software can"}
        said = [
            f"{self.prompt_tokens} + {self.output_tokens} tokens",
            f"weights in {self.dtype_words}, {FORMAT_WORDS[self.formats]}",
            drafts[self.drafts] if isinstance(self.drafts, str) else "all draft alike",
            "separate pools for prefill and decode, where the software has them"
            if self.pools
            else "one pool for prompts and tokens",
            self.load_words,
            SPACE_WORDS[self.space],
        ]
        if self.pue is not None:
            said.append(f"PUE {self.pue:g} for all")
        return said

    @property
    def load_words(self) -> str:
        """How much machines have to do."""
        if self.requests_per_s is not None:
            load = f"a load of {self.requests_per_s:g} requests/s"
        elif self.utilisation is not None:
            load = f"in use {100 * self.utilisation:g} % of all hours"
        else:
            load = "in use all hours"
        if self.most_users is not None:
            users = "user" if self.most_users == 1 else "users"
            load += f", at most {self.most_users} {users} in flight"
        return load


class TermsAsked(TypedDict, total=False):
    """Fields of `Terms`, as keywords of what takes them one by one."""

    prompt_tokens: int
    output_tokens: int
    weight_dtype: Dtype | Mapping[str, Dtype]
    formats: Literal["nearest", "stored"]
    drafts: Literal["none", "best"] | Speculation
    pools: bool
    most_users: int | None
    requests_per_s: float | None
    utilisation: float | None
    pue: float | None
    power_scope: PowerScope | None
    price_basis: OfferBasis | None
    power_basis: PowerBasis | None
    space: Space
    unknown: Literal["refuse", "draw"]


def terms_of(terms: Terms | None, asked: TermsAsked) -> Terms:
    """Terms with some of their fields changed; an InputError names what is no field."""
    for name in asked:
        check_word(name, tuple(Terms.model_fields), "field of Terms")
    return (terms or Terms()).replace(**asked)


class Side(Record):
    """What the terms come to on one machine."""

    topology: str
    title: str
    software: str
    """Its stack, with the version of which its engine's rules hold."""
    weight_dtype: str
    """Of the weights as they are stored there."""
    multiplied_in: str
    """By the chip, of that format."""
    drafts: tuple[str, ...]
    """Ways in which it may draft; none: it drafts nothing."""
    has_pools: bool
    """Whether prompts have a pool of their own."""
    power_scope: str
    """In which its watts are taken."""
    price_basis: str
    most_chips: int
    """The largest that was ever described, up to which plans go."""

    def words(self) -> str:
        """In one clause."""
        kept = self.weight_dtype
        if self.multiplied_in != kept:
            kept += f" multiplied in {self.multiplied_in}"
        said = [f"{self.topology}: {self.software}", kept]
        if self.drafts:
            said.append(f"drafts by {listed(self.drafts, 'or')}")
        if self.has_pools:
            said.append("two pools")
        return ", ".join(said)


def sides_of(terms: Terms, topologies: Sequence[Topology], family: Family) -> tuple[Side, ...]:
    """Of all machines."""
    return tuple(terms.side(one, family) for one in topologies)


def is_priced(topology: Topology) -> bool:
    """Whether what an hour of it costs is known."""
    return topology.price.usd_per_chip_hour is not None


def is_known(topology: Topology, metric: str) -> bool:
    """Whether a metric can be told of a machine."""
    if metric in ENERGY_FIELDS:
        return bool(scopes_of(topology))
    return metric not in PRICE_FIELDS or is_priced(topology)


@cache
def data_date() -> str:
    """Of the newest source of the catalogue that states a day: what prices and figures are as of,
    whenever they are looked at."""
    days = (re.findall(r"\b20\d\d-\d\d-\d\d\b", text) for text in sources().values())
    return str(max(day for found in days for day in found))
