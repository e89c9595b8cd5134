"""Doubts: which of the figures that nobody is sure of move the answer."""

from collections.abc import Callable
from typing import NamedTuple

from planner.errors import PlannerError
from planner.machines.topology import Figure, PowerScope, Topology, with_value
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.scoring.plans import score_plan
from planner.workload import Workload

DOUBTFUL = {"C", "M", "derived", "fit", "guess", "claim"}
"""Grades of confidence below a source that was read."""
STEP = 0.2
"""Relative: how far a figure is moved."""
SPREADS = {
    "A": 0.02,
    "stated": 0.02,
    "B": 0.05,
    "derived": 0.05,
    "M": 0.1,
    "C": 0.2,
    "fit": 0.2,
    "claim": 0.3,
    "guess": 0.3,
}
"""Half widths of the 80 % interval by grade of confidence, relative: no source states its error,
so these are a judgement, and the first thing to change for those who know better. What was
fitted carries its own residual in `Score.interval`."""
MATTERS = 0.01
"""Relative: effects below this are left out."""
WORDS = {
    "A": "primary source",
    "B": "secondary source",
    "C": "contested source",
    "M": "from memory",
    "derived": "derived",
    "fit": "fitted",
    "guess": "guess",
    "claim": "claim",
    "stated": "as stated",
}


def spread_of(figure: Figure) -> float:
    """How far off a figure may be with 80 %, relative: as it says itself, else by its grade."""
    return SPREADS[figure.confidence] if figure.spread is None else figure.spread


class Doubt(NamedTuple):
    """A figure of low confidence, and what it does to the answer."""

    figure: Figure
    effect: float
    """Relative change of the field when the figure grows by STEP (or shrinks, where it cannot
    grow)."""
    step: float


def doubts_about(
    field: str,
    plan: Plan,
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    power_scope: PowerScope | None = None,
    most: int = 5,
) -> tuple[Doubt, ...]:
    """The doubtful figures that move a field of the plan's score by more than 1 %, strongest
    first; none of a field that is not known."""

    def value_on(machine: Topology) -> float | None:
        value = getattr(score_plan(plan, graph, machine, workload, power_scope=power_scope), field)
        return None if value is None else float(value)

    base = value_on(topology)
    if not base:
        return ()
    found = []
    for figure in topology.figures:
        if figure.confidence not in DOUBTFUL or figure.value == 0:
            continue
        doubt = _doubt(value_on, base, topology, figure)
        if doubt is not None and abs(doubt.effect) >= MATTERS:
            found.append(doubt)
    return tuple(sorted(found, key=lambda doubt: -abs(doubt.effect))[:most])


def _doubt(
    value_on: Callable[[Topology], float | None], base: float, topology: Topology, figure: Figure
) -> Doubt | None:
    """What a figure does to the answer when it grows, or shrinks where it cannot grow; None where
    it can do neither."""
    for step in (STEP, -STEP):
        moved = _moved(value_on, topology, figure, step)
        if moved is not None:
            return Doubt(figure, moved / base - 1, step)
    return None


def _moved(
    value_on: Callable[[Topology], float | None], topology: Topology, figure: Figure, step: float
) -> float | None:
    """The field with one figure moved; None where that makes no sense."""
    value = figure.value * (1 + step)
    if figure.path.endswith(("_tokens", "_sequences", "_parallel", "wraps_from")):
        value = max(1, round(value))
    try:
        return value_on(with_value(topology, figure.path, value))
    except PlannerError:
        return None
