"""The best of all plans of one model on one machine that draft in any of the ways that agreed terms
leave open."""

from typing import NamedTuple

from planner.answers.results import Result
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.studies.advantage.agreements import Agreement
from planner.studies.advantage.best_plans import best_on


class Drafted(NamedTuple):
    """The best plan of all ways."""

    result: Result
    drafts: str | None
    """In which way it drafts; None: in none."""
    bound: float | None
    """No plan of any way is below it, in the metric turned so that less is better; None where
    nothing was proved of one of them."""
    is_optimal: bool
    """Whether the best plan of every way is proved."""


def best_of_ways(
    graph: ModelGraph, topology: Topology, asked: Agreement, time_limit_s: float | None = None
) -> Drafted | None:
    """On as many chips as it likes; None where none fits. The time is that of each way; a
    NoPlanFoundError where it ends before one of them has a plan."""
    machine = asked.roomy(graph, topology)
    found: list[tuple[str, Result]] = []
    for name, work in asked.works(topology, graph).items():
        result = best_on(
            graph,
            machine,
            work,
            asked.metric,
            space=asked.terms.space,
            power_scope=asked.terms.power_scope,
            time_limit_s=time_limit_s,
        )
        if result is not None:
            found.append((name, result))
    if not found:
        return None
    name, best = min(found, key=lambda one: low(one[1].direction, one[1].objective))
    bounds = [low(one.direction, one.bound) for _, one in found if one.bound]
    return Drafted(
        best,
        drafts=None if best.workload.speculation is None else name,
        bound=min(bounds) if len(bounds) == len(found) else None,
        is_optimal=all(one.status == "optimal" for _, one in found),
    )


def low(direction: str, value: float) -> float:
    """A value turned so that less is better."""
    return value if direction == "minimize" else 1.0 / value
