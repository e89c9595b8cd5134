"""Energy, price and speed of one token on several machines as models grow: the table behind the
picture."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

from planner.answers.question import FIELDS
from planner.errors import UnknownNameError
from planner.guards import guarded
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.records import Record
from planner.studies.advantage.agreements import Agreement, table_agreement, terms_in_words
from planner.studies.advantage.drafted_plans import best_of_ways
from planner.studies.advantage.terms import Side, Terms, TermsAsked, data_date, sides_of
from planner.studies.advantage.uniform_plans import UniformPlans
from planner.studies.study import Study, uncounted_machine_of
from planner.units import Several
from planner.workload import Workload

AS_STORED = Terms(weight_dtype="fp8", formats="stored")
"""Unless asked otherwise: 8 bit stored on all, requests of 1,024 + 256 tokens, no drafts."""
TOLD = (
    "chips",
    "energy_per_token_j",
    "usd_per_million_tokens",
    "tokens_per_s_per_user",
    "tokens_per_s",
)
"""Fields of `Score` that a row has."""


class FadingRow(Record):
    """The best plan of one model on one machine for so many users; figures are None where there
    is no plan."""

    topology: str
    parameters: float
    users: int
    """Requests in flight."""
    chips: int | None = None
    energy_per_token_j: float | None = None
    usd_per_million_tokens: float | None = None
    tokens_per_s_per_user: float | None = None
    tokens_per_s: float | None = None
    status: str = "infeasible"
    """Of the proof; "uniform plans alone" where machines wait in a share of the hours, which is no
    question to the solver."""
    drafts: str | None = None
    """In which way the plan drafts tokens; None: it drafts none."""


class Fading(Study):
    """Rows of all machines, sizes and numbers of users."""

    metric: str
    """What each plan was made best for."""
    rows: tuple[FadingRow, ...]
    space: Space = "any"
    """Whether plans are those that each machine's software can be started with, or any; tables
    made before this was said are of any."""
    power_scope: str = "unknown"
    """What the watts of all machines count, where that is the same; so the next two."""
    power_basis: str = "unknown"
    price_basis: str = "unknown"
    compared_under: Terms | None = None
    """The terms that were agreed; None: tables made before this was said."""
    workload: Workload | None = None
    """What each machine was asked, with the users of each row in flight."""
    sides: tuple[Side, ...] = ()
    """What the terms came to on each machine: its software, its format, its drafts."""
    data_date: str = ""
    """Of the newest source of the catalogue: as of when prices and figures are."""

    @property
    def under(self) -> str:
        """Under what terms; empty of tables made before these were said."""
        if self.compared_under is None:
            return ""
        return terms_in_words(self.compared_under, self.sides, self.data_date)

    def line(self, topology: str, users: int, field: str) -> list[tuple[float, float]]:
        """(parameters, field) of one machine, where it has a plan, by size."""
        chosen = [row for row in self.rows if row.topology == topology and row.users == users]
        line = [(row.parameters, getattr(row, field)) for row in chosen]
        return [(parameters, value) for parameters, value in line if value is not None]


@guarded
def fading(
    topologies: Sequence[str | Topology],
    sizes: Several,
    users: Sequence[int],
    *,
    metric: str = "energy_per_token_j",
    workload: Workload | None = None,
    terms: Terms | None = None,
    progress: Callable[[FadingRow], None] | None = None,
    **asked: Unpack[TermsAsked],
) -> Fading:
    """The best plan (for `metric`) of the dense family's models on each machine, for each number of
    users.

    Chips are counted honestly: as many as the model, its caches and its buffers need, chosen by the
    solver. `terms` are those of the comparison, by default `AS_STORED`; `asked` are fields of
    `Terms`, in place of those. What a `workload` says of lengths and drafts stands for terms that
    nobody gave. `Fading.compared_under` says what was agreed. InputError: pools, a rate, most
    users, which a table of so many users has no place for; terms that do not go together.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    agreed = table_agreement(metric, AS_STORED, terms, asked, workload)
    machines = agreed.machines([uncounted_machine_of(one) for one in topologies])
    rows = []
    for topology, parameters, count in itertools.product(machines, sizes, users):
        here = replace(agreed, workload=agreed.workload.replace(batch_size=count))
        fields: dict[str, Any] = {
            "topology": topology.name,
            "parameters": parameters,
            "users": count,
        }
        best = _of_grids if here.is_beyond_plans else _of_solver
        rows.append(FadingRow.from_fields(fields | best(parameters, topology, here)))
        if progress is not None:
            progress(rows[-1])
    return Fading(
        metric=metric,
        rows=tuple(rows),
        space=agreed.terms.space,
        compared_under=agreed.terms,
        workload=agreed.workload,
        sides=sides_of(agreed.terms, machines, agreed.family),
        data_date=data_date(),
        **agreed.counted(machines)._asdict(),
    )


def _of_solver(parameters: float, topology: Topology, asked: Agreement) -> dict[str, Any]:
    """What a row says of the best of all plans; nothing where there is none."""
    found = best_of_ways(asked.graph(parameters, topology), topology, asked)
    if found is None:
        return {}
    told = {name: getattr(found.result.score, name) for name in TOLD}
    status = "optimal" if found.is_optimal else "feasible"
    return told | {"status": status, "drafts": found.drafts}


def _of_grids(parameters: float, topology: Topology, asked: Agreement) -> dict[str, Any]:
    """The same of the best uniform plan, whose joules pay for hours that wait."""
    graph = asked.graph(parameters, topology)
    found = UniformPlans(topology, asked).best(graph, asked.roomy(graph, topology).chips)
    if found is None:
        return {}
    told = {name: getattr(found.score, name) for name in TOLD}
    joules = found.energy_per_token_j
    told["energy_per_token_j"] = joules if math.isfinite(joules) else None
    return told | {"status": "uniform plans alone", "drafts": found.drafts}
