"""Plans of which none is better than another in every field."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from planner.answers.proof import Ended
from planner.answers.question import FIELDS
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, shape_name, ways_of
from planner.records import Record, as_figure
from planner.scoring.score import Score
from planner.workload import Workload

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Member(Record):
    """A plan of a front."""

    plan: Plan
    score: Score


def best_first(members: Iterable[Member], name: str) -> tuple[Member, ...]:
    """Those with the best of a field first; of equals the ones on the fewest chips."""
    sign = 1 if FIELDS[name].best == "least" else -1
    return tuple(
        sorted(members, key=lambda one: (sign * getattr(one.score, name), one.score.chips))
    )


class Front(Ended):
    """Plans of which none is better than another in every field.

    Complete: every plan of the space (see `partition`) is, in every field, at most `tolerance`
    better than one of them.
    """

    fields: tuple[str, ...]
    tolerance: float
    """Relative."""
    status: Literal["complete", "partial"]
    """Partial: time ran out; the members are real, others may be missing."""
    members: tuple[Member, ...]
    """In the order of the first field, the best first."""
    graph: ModelGraph
    topology: Topology
    workload: Workload
    space: Space = "any"
    """Which plans there were; files written before this was said are of any."""

    def rows(self) -> list[dict[str, Any]]:
        """A row for each member: its fields, its shape, chips, replicas, stages, micro-batches
        and sequences."""
        return [self._row(one) for one in self.members]

    def _row(self, one: Member) -> dict[str, Any]:
        figures = {name: getattr(one.score, name) for name in self.fields}
        return figures | {
            "shape": shape_name(ways_of(one.plan)),
            "chips": one.score.chips,
            "replicas": one.plan.replicas,
            "stages": len(one.plan.stages),
            "micro_batches": one.plan.micro_batches,
            "batch_size": one.score.batch_size,
        }

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def plot(self, across: str | None = None, up: str | None = None) -> "go.Figure":
        """An interactive picture of two of the fields; between the two lines no plan is proved
        to be missing, beyond the dashed one there is none (needs plotly)."""
        return as_figure(self, across, up)
