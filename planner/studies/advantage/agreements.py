"""`Agreement`: what a crossover or a table of fading asks of each machine, under agreed terms. A term
that such a study cannot keep is refused here, in one sentence that names it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.errors import InputError
from planner.machines.accounts import ENERGY_FIELDS, PRICE_FIELDS, Counted
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.studies.advantage.best_plans import with_room
from planner.studies.advantage.family import Family, member
from planner.studies.advantage.terms import Side, Terms, TermsAsked, terms_of
from planner.studies.study import SPACE_WORDS
from planner.workload import Workload

ON_GRIDS = ("energy_per_token_j", "usd_per_million_tokens")
"""Fields of which one replica is as good as many, so that grids, which have one, know the best."""
LENGTHS = ("prompt_tokens", "output_tokens")
WITHOUT_POWER = ("rental", "given")
"""Bases of prices that have power in them, whatever a site draws."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is asked of each machine."""

    metric: str
    family: Family
    terms: Terms
    workload: Workload
    """Of the lengths that the terms have, without drafts; a batch of None: as many are in flight as
    are best, up to the terms' `most_users`."""
    tells: tuple[str, ...]
    """Fields that the answer tells, the metric among them."""

    def machines(self, given: Sequence[Topology]) -> tuple[Topology, ...]:
        """The machines as the terms count them, on one basis for all; InputErrors say why there
        is none, and which of the terms moves nothing that is told."""
        machines = self.terms.machines(given, must=(self.metric,))
        self._refuse_idle_terms(machines)
        return machines

    def counted(self, machines: Sequence[Topology]) -> Counted:
        """What joules and dollars count."""
        return self.terms.counted(machines)

    def _refuse_idle_terms(self, machines: Sequence[Topology]) -> None:
        """A PUE that neither the joules nor the dollars of the answer hang on."""
        if self.terms.pue is None:
            return
        in_joules = self._tells(ENERGY_FIELDS) and self.terms.power_scope == "facility"
        has_power = any(one.price.basis not in (*WITHOUT_POWER, "unknown") for one in machines)
        if not in_joules and not (self._tells(PRICE_FIELDS) and has_power):
            raise InputError(
                f"pue: {self.metric} does not depend on it; joules do with power_scope='facility',"
                " and dollars where power is paid for separately; leave pue out"
            )

    def _tells(self, fields: Sequence[str]) -> bool:
        return any(name in fields for name in self.tells)

    def graph(self, parameters: float, topology: Topology) -> ModelGraph:
        """The family's model of a size, in the machine's format."""
        return member(self.family, parameters, self.terms.dtype_on(topology))

    def roomy(self, graph: ModelGraph, topology: Topology) -> Topology:
        """The machine with as many chips as a model and its users may want: the largest that was
        described, where any number of users may be in flight."""
        users = self.workload.batch_size or self.terms.most_users
        if users is None:
            return topology.replace(chips=topology.limit_chips)
        return with_room(graph, topology, self.workload.replace(batch_size=users))

    def works(self, topology: Topology, graph: ModelGraph) -> dict[str, Workload]:
        """What is asked in each of the ways in which a machine may draft, by name."""
        ways = self.terms.ways(topology, graph, self.family)
        return {name: self.workload.replace(speculation=one) for name, one in ways.items()}

    @property
    def is_on_grids(self) -> bool:
        """Whether grids know this question: steady requests, both phases, no stream of them."""
        work = self.workload
        is_plain = work.arrivals == "steady" and work.phase == "both"
        return self.metric in ON_GRIDS and is_plain and work.requests_per_s is None

    @property
    def is_beyond_plans(self) -> bool:
        """Whether what is told is not that of one plan that serves all the time: it is of pools, of
        copies that serve a rate, or of machines that wait."""
        return self.terms.pools or self.terms.requests_per_s is not None or self._waits

    @property
    def _waits(self) -> bool:
        return self.terms.utilisation not in (None, 1.0) and self._tells(ENERGY_FIELDS)

    @property
    def is_provable(self) -> bool:
        """Whether the solver's question is this one."""
        is_capped = self.workload.batch_size is None and self.terms.most_users is not None
        return not (self.is_beyond_plans or is_capped)


def terms_in_words(terms: Terms, sides: Sequence[Side], data_date: str, *said: str) -> str:
    """Lengths, format, drafts, pools, load and hours, what else is said, what all of it comes to on
    each machine, and as of when. Among which plans is said elsewhere."""
    parts = [one for one in terms.parts if one != SPACE_WORDS[terms.space]]
    parts += [*said, *(side.words() for side in sides)]
    if terms.pools:
        alone = [side.topology for side in sides if not side.has_pools]
        parts += [f"one pool on {one}, whose software is not known to have two" for one in alone]
    if data_date:
        parts.append(f"prices and figures as of {data_date}")
    return "; ".join(filter(None, parts))


def in_flight(workload: Workload, most_users: int | None = None) -> str:
    """How many requests a workload has in flight, where that is not said as the most already; and
    how it is unlike other workloads."""
    said = []
    count = workload.batch_size
    if count is not None and count != most_users:
        said.append(f"{count:,} {'request' if count == 1 else 'requests'} in flight")
    if workload.arrivals != "steady" or workload.requests_per_s is not None:
        said.append("that start together" if workload.arrivals == "together" else "as they come")
    elif count is None and most_users is None:
        said.append("as many requests in flight as are best")
    if workload.phase != "both":
        said.append(f"{workload.phase} alone")
    if workload.cached_prompt_share:
        said.append(f"{100 * workload.cached_prompt_share:g} % of prompts in the cache")
    return ", ".join(said)


def agreement_of(
    metric: str,
    family: Family,
    default: Terms,
    terms: Terms | None,
    asked: TermsAsked,
    workload: Workload | None,
) -> Agreement:
    """What a crossover asks: terms with some fields changed, and a workload, which says how many
    are in flight; None: at most as many as the terms say. InputErrors name what does not go
    together, and what a crossover cannot keep."""
    agreed = terms_of(terms or default, asked)
    if workload is None:
        alone = 1 if agreed.most_users == 1 else None
        work = agreed.workload.replace(batch_size=alone)
    else:
        agreed = _with_workload(agreed, workload, _said(terms, asked))
        work = workload.replace(speculation=None)
    made = Agreement(metric, family, agreed, work, (metric,))
    _refuse_unkept(made, "a crossover")
    return made


def table_agreement(
    metric: str, default: Terms, terms: Terms | None, asked: TermsAsked, workload: Workload | None
) -> Agreement:
    """What a table of fading asks, in which each row has its number of users."""
    agreed = terms_of(terms or default, asked)
    for name, value in (("pools", False), ("requests_per_s", None), ("most_users", None)):
        if getattr(agreed, name) != value:
            raise InputError(
                f"{name}: each row of a table of fading states its own users, in one pool; leave"
                f" {name} out, or draw a map"
            )
    work = agreed.workload
    if workload is not None:
        work = workload.replace(batch_size=None, queued=0)
        agreed = _with_workload(agreed, work, _said(terms, asked))
        work = work.replace(speculation=None)
    made = Agreement(metric, "dense", agreed, work, (metric, *ON_GRIDS))
    _refuse_unkept(made, "a table of fading")
    return made


def _said(terms: Terms | None, asked: TermsAsked) -> tuple[str, ...]:
    """Fields that somebody stated, rather than a study's defaults."""
    return tuple(asked) if terms is None else tuple(Terms.model_fields)


def _with_workload(terms: Terms, workload: Workload, said: tuple[str, ...]) -> Terms:
    """The terms with what a workload says in place of what nobody said."""
    changed: dict[str, Any] = {name: getattr(workload, name) for name in LENGTHS}
    if workload.speculation is not None:
        changed["drafts"] = workload.speculation
    for name, value in changed.items():
        if name in said and getattr(terms, name) != value:
            raise InputError(
                f"{name}: the terms and the workload differ; give it in one of the two, or leave"
                " the workload out and give most_users"
            )
    if "most_users" not in said:
        changed["most_users"] = None
    elif (terms.most_users or math.inf) < (workload.batch_size or 0):
        raise InputError(
            f"most_users: at most {terms.most_users} may be in flight, and the workload has"
            f" {workload.batch_size}; give one of the two"
        )
    return terms.replace(**changed)


def _refuse_unkept(made: Agreement, study: str) -> None:
    """Terms that a study of one metric cannot keep."""
    terms = made.terms
    if terms.unknown == "draw":
        raise InputError(
            f"unknown: {study} cannot use machines whose {made.metric} is not known; leave unknown"
            " at 'refuse'"
        )
    is_capped = made.workload.batch_size is None and terms.most_users is not None
    stated = {
        "pools": terms.pools,
        "requests_per_s": terms.requests_per_s is not None,
        "utilisation": terms.utilisation not in (None, 1.0),
        "most_users": is_capped,
    }
    if made.metric in PRICE_FIELDS and not made.is_beyond_plans:
        # An hour's price is divided by the share of hours that serve, whatever is planned.
        stated["utilisation"] = False
    for name, is_stated in stated.items():
        if is_stated and not made.is_on_grids:
            raise InputError(
                f"{name}: {study} of {made.metric} compares single plans that serve all the time;"
                f" ask for {' or '.join(ON_GRIDS)} of steady requests, or leave {name} out"
            )
