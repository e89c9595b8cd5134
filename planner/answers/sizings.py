"""How few chips of each of several machines will do, side by side."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from planner.answers.results import Result
from planner.errors import UnknownNameError
from planner.machines.prices import PriceBasis
from planner.models.graph import ModelGraph
from planner.records import Record
from planner.units import Count, Dollars, Seconds
from planner.workload import Workload

if TYPE_CHECKING:
    import pandas as pd


class Bill(Record):
    """What so many chips cost, on the basis of the machine's price."""

    basis: PriceBasis
    node_chips: Count | None = None
    """Chips that are bought together; None: the machine is not described in nodes."""
    nodes: Count | None = None
    """Whole ones, that have at least the chips held; the fewest that do, where they are paid."""
    paid_chips: Count
    """Those of whole nodes where the price pays for a share of the node, else those held."""
    held_usd_per_hour: Dollars | None = None
    """Of the chips held alone; None: no price is known. So below."""
    usd_per_hour: Dollars | None = None
    """Of the chips paid."""
    usd_per_million_tokens: Dollars | None = None
    """The same over output tokens."""


class Headroom(Record):
    """How much more the plan could serve within its limits."""

    field: Literal["requests_per_s", "batch_size", "tokens_per_s"]
    """What of the workload, or which limit, is made more."""
    demand: float
    """What is asked for."""
    capacity: float
    """The most that the same chips serve: of requests and users by the plan itself, of tokens by
    the best plan on as many chips."""

    @property
    def used_share(self) -> float:
        """Of the most, what is asked for."""
        return self.demand / self.capacity


class Told(Record):
    """A time of a plan, and how sure it is."""

    field: str
    """Of the score: the percentile that has a limit (the highest one), else the mean."""
    value_s: Seconds | None = None
    """None: without end, as where more comes than is served. So below."""
    low_s: Seconds | None = None
    """4 of 5 measurements of such a plan would lie between this and the next."""
    high_s: Seconds | None = None
    sure_s: Seconds | None = None
    """What it stays within with the probability `sure`, where that was asked for."""


class SizedMachine(Record):
    """The fewest chips of one machine that are enough, or why no number of them is."""

    machine: str
    """As it was asked for."""
    status: Literal["optimal", "feasible", "infeasible", "no plan found"]
    """Optimal: proved that fewer chips of the machine do not do, at any of its sizes up to
    `most_chips`. Feasible: that is not proved. Infeasible: proved that none of these sizes does."""
    most_chips: Count
    """The largest size of the machine that was allowed."""
    bound_chips: Count
    """Proved: fewer do not do; more than `most_chips` where no number of them does."""
    result: Result | None = None
    """The plan on the fewest chips; None: there is none."""
    reason: str = ""
    """Why there is none."""
    paid_result: Result | None = None
    """The plan on the fewest whole nodes, where those are paid and `result` needs more of them."""
    bill: Bill | None = None
    tokens_per_s_per_chip: Annotated[float, Field(ge=0)] | None = None
    """Output tokens a second of all users, over the chips held."""
    binds: str = ""
    """What keeps these chips from serving more, or where no demand is given fewer chips from doing:
    a limit, or a resource."""
    headroom: Headroom | None = None
    """None where the workload has no demand that could be more."""
    times: tuple[Told, ...] = ()
    """To the first token, between later ones, and of whole requests where that has a limit."""

    @property
    def chips(self) -> int | None:
        """Held by the plan."""
        return None if self.result is None else self.result.score.chips

    @property
    def usd_per_hour(self) -> float | None:
        """What is paid; None: no plan, or no price."""
        return None if self.bill is None else self.bill.usd_per_hour


class Sizing(Record):
    """The fewest chips of each machine; the cheapest first, where prices count the same."""

    machines: tuple[SizedMachine, ...]
    """Those with a plan first; of them by dollars an hour where `ranked`, those without a price
    behind them; else as they were asked for."""
    ranked: bool
    """Whether the prices of all that have one count the same, so that the first is the
    cheapest."""
    notes: tuple[str, ...] = ()
    """What is not comparable, and what is not known."""
    limits: tuple[tuple[str, float], ...]
    sure: float | None = None
    """With what probability limits are kept; None: as priced."""
    graph: ModelGraph
    workload: Workload
    elapsed_s: float

    @property
    def cheapest(self) -> SizedMachine | None:
        """The least dollars an hour; None where prices are not comparable, or none is known."""
        first = self.machines[0]
        return first if self.ranked and first.usd_per_hour is not None else None

    def of(self, machine: str) -> SizedMachine:
        """The row of a machine, by the name that it was asked for."""
        known = {one.machine: one for one in self.machines}
        if machine not in known:
            raise UnknownNameError("machine of this sizing", machine, known)
        return known[machine]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each machine: status, chips, nodes, times [s], rates, dollars."""
        return [_row(one) for one in self.machines]

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table, one column a field."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def _row(one: SizedMachine) -> dict[str, Any]:
    """The figures of a machine; None where there is no plan."""
    score = None if one.result is None else one.result.score
    bill = one.bill
    times: dict[str, Any] = {}
    for told in one.times:
        times[told.field] = told.value_s
        if told.sure_s is not None:
            times[f"{told.field.removesuffix('_s')}_sure_s"] = told.sure_s
    return {
        "machine": one.machine,
        "status": one.status,
        "chips": one.chips,
        "bound_chips": one.bound_chips,
        "nodes": bill and bill.nodes,
        "paid_chips": bill and bill.paid_chips,
        "ttft_s": score and score.ttft_s,
        "tpot_s": score and score.tpot_s,
        "tokens_per_s_per_chip": one.tokens_per_s_per_chip,
        "usd_per_hour": bill and bill.usd_per_hour,
        "usd_per_million_tokens": bill and bill.usd_per_million_tokens,
        "price_basis": bill and bill.basis,
        "binds": one.binds,
        "capacity": one.headroom and one.headroom.capacity,
        "used_share": one.headroom and one.headroom.used_share,
        "evidence": score and score.evidence,
        "reason": one.reason,
    } | times
