"""Energy, price and speed of one token on several machines as models grow: the table behind the
picture."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from planner.machines.accounts import PowerBasis, alike_for, what_counts
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.records import Record
from planner.studies.advantage.crossovers import ONE_REQUEST, best_plan
from planner.studies.study import Study, machine_of
from planner.workload import Workload

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

    def line(self, topology: str, users: int, field: str) -> list[tuple[float, float]]:
        """(parameters, field) of one machine, where it has a plan, by size."""
        chosen = [row for row in self.rows if row.topology == topology and row.users == users]
        line = [(row.parameters, getattr(row, field)) for row in chosen]
        return [(parameters, value) for parameters, value in line if value is not None]


def fading(
    topologies: Sequence[str | Topology],
    sizes: Sequence[float],
    users: Sequence[int],
    *,
    metric: str = "energy_per_token_j",
    workload: Workload = ONE_REQUEST,
    weight_dtype: Dtype = "fp8",
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
    progress: Callable[[FadingRow], None] | None = None,
) -> Fading:
    """The best plan (for `metric`) of the dense family's models on each machine, for each number of
    users.

    Chips are counted honestly: as many as the model, its caches and its buffers need, chosen by the
    solver. `space` "any" takes plans too that a machine's software cannot be started with.
    """
    given = [machine_of(one) for one in topologies]
    machines = alike_for(metric, given, price_basis, power_basis, power_scope)
    rows = []
    for topology, parameters, count in itertools.product(machines, sizes, users):
        work = workload.replace(batch_size=count)
        result = best_plan(
            parameters, topology, work, metric, weight_dtype=weight_dtype, space=space
        )
        fields: dict[str, Any] = {
            "topology": topology.name,
            "parameters": parameters,
            "users": count,
        }
        if result is not None:
            fields |= {name: getattr(result.score, name) for name in TOLD}
            fields["status"] = result.status
        rows.append(FadingRow.from_fields(fields))
        if progress is not None:
            progress(rows[-1])
    counts = what_counts(machines)._asdict()
    return Fading(metric=metric, rows=tuple(rows), space=space, **counts)
