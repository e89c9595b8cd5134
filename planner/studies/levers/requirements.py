"""`required`: what a figure must be for a target to be met. The inverse question, with the
solver inside."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from planner.answers.question import Limits
from planner.catalogue import AnyModel, model_of
from planner.errors import InputError, told
from planner.guards import guarded
from planner.machines.accounts import alike
from planner.machines.engine import Space
from planner.machines.topology import PowerScope, Topology
from planner.records import Record, show_as
from planner.report.svg import log_axis, plotly
from planner.report.words import field_text
from planner.studies.advantage.best_plans import with_room
from planner.studies.levers.paths import (
    SHARES,
    changed,
    figure_text,
    figures_of,
    paths_like,
    unit_of,
)
from planner.studies.levers.questions import LeverQuestion, SweepOptions, lever_question
from planner.studies.plots import LEGEND_BELOW, axis_title, captioned, dress
from planner.studies.study import Study, machine_of
from planner.studies.sweeps.cells import DIRECTIONS, Cell, SweepRow
from planner.studies.sweeps.meters import Tally
from planner.workload import Workload

SPAN = 1000.0
"""How many times smaller, and larger, than it is a figure is tried."""
POINTS = 7
"""Values, evenly spaced on a logarithmic axis, between which the target is looked for."""
CLOSE = 1e-2
"""Relative: how narrow the value is bracketed."""


class Tried(Record):
    """A value of the figure, and the best plan with it."""

    value: float
    objective: float | None
    """None: proved that there is no plan; `message` says why."""
    target: float
    is_met: bool
    chips: int | None = None
    """That the plan holds."""
    status: str
    """As in a sweep."""
    message: str = ""


class Required(Study):
    """What a figure must be, with all values that were tried."""

    rows: tuple[Tried, ...]
    """Ascending."""
    path: str
    field: str
    against: str
    """The machine that is to be beaten; empty where the target is a number."""
    outcome: Literal["found", "always", "never"]
    value: float | None
    """With which the target is just met, to 1 %; None where all values tried, or none, meet it."""
    is_least: bool | None
    """Whether larger values meet it as well, or smaller ones."""
    now: float
    """What the figure is."""
    crossings: int
    """How often, over the values tried, the target comes to be met or missed; `value` is the
    crossing nearest to `now`."""
    title: str
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any; answers given
    before this was said are of any."""

    @property
    def best(self) -> Tried | None:
        """What comes nearest to the target; None where no value has a plan."""
        known = [row for row in self.rows if row.objective is not None]
        sign = 1 if DIRECTIONS[self.field] == "minimize" else -1
        return min(known, key=lambda row: sign * (row.objective or 0.0) / row.target, default=None)

    @property
    def verdict(self) -> str:
        """The answer, in a sentence."""
        low, high = (figure_text(self.path, row.value) for row in (self.rows[0], self.rows[-1]))
        if self.value is not None:
            return self._found_at(self.value)
        if self.outcome == "always":
            return f"every {self.path} from {low} to {high} gives {self._goal(self.rows[-1])}"
        if self.best is None:
            return f"no {self.path} from {low} to {high} has a plan: {self.rows[-1].message}"
        reached = field_text(self.field, self.best.objective)
        at = figure_text(self.path, self.best.value)
        return (
            f"no {self.path} from {low} to {high} gives {self._goal(self.best)}:"
            f" the best is {reached}, at {at}"
        )

    def _found_at(self, value: float) -> str:
        most = "at least" if self.is_least else "at most"
        now = figure_text(self.path, self.now)
        met = next(row for row in self.rows if row.value == value)
        sentence = (
            f"{self.path} must be {most} {figure_text(self.path, value)}"
            f" (now {now}, × {value / self.now:.3g}) for {self._goal(met)}"
        )
        if self.crossings > 1:
            sentence += f"; it crosses {self.crossings} times, this one is nearest"
        return sentence

    def _goal(self, row: Tried) -> str:
        words = "at most" if DIRECTIONS[self.field] == "minimize" else "at least"
        rival = f", as on {self.against}" if self.against else ""
        return f"{self.field} of {words} {field_text(self.field, row.target)}{rival}"

    def plot(self) -> Any:
        """The objective over the figure, the target, and where they meet (needs plotly)."""
        return target_plot(self)


def target_plot(made: Required) -> Any:
    """Best plans and the target, over the values that were tried."""
    go = plotly()
    known = {row.value: row for row in made.rows if row.objective is not None}
    drawn = go.Figure()
    drawn.add_scatter(
        name="best plan",
        x=list(known),
        y=[row.objective for row in known.values()],
        text=[f"{row.chips} chips, {row.status}" for row in known.values()],
        mode="lines+markers",
        line={"color": "#0072B2"},
    )
    drawn.add_scatter(
        name=made.against or "target",
        x=[row.value for row in made.rows],
        y=[row.target for row in made.rows],
        mode="lines",
        line={"color": "#D55E00", "dash": "dash"},
    )
    marks = (("now", made.now, "circle-open"), ("required", made.value, "diamond"))
    for name, value, symbol in marks:
        if value in known:
            drawn.add_scatter(
                name=name,
                x=[value],
                y=[known[value].objective],
                text=[f"{name}: {figure_text(made.path, value)}"],
                mode="markers+text",
                marker={"size": 13, "symbol": symbol, "color": "#333333"},
                textposition="top right",
                showlegend=False,
            )
    heights = [row.target for row in made.rows]
    heights += [row.objective for row in known.values() if row.objective is not None]
    across = f"{made.path} [{unit_of(made.path)}]".replace(" []", "")
    dress(
        drawn,
        xaxis={"type": "log", "title": across, "exponentformat": "SI", "dtick": "D2"},
        yaxis=log_axis(axis_title(made.field), heights),
        legend=LEGEND_BELOW,
        title=captioned(made.title, "each point planned anew; source: planner's price list"),
    )
    return drawn


class _Trial(NamedTuple):
    """Best plans by value of the figure, each made once."""

    asked: LeverQuestion
    path: str
    target: float | Topology
    free_chips: bool
    known: dict[float, Tried]

    def plan(self, values: Sequence[float]) -> list[Tried]:
        """The best plan at each value, against the target. All that are new go into one sweep,
        those of the machine to beat after ours."""
        new = [value for value in values if value not in self.known]
        ours: list[Cell] = []
        theirs: list[Cell] = []
        for value in new:
            point = {self.path: value}
            machine, work = changed(self.asked.topology, self.asked.workload, point)
            ours.append(self._cell(machine, work))
            if isinstance(self.target, Topology):
                theirs.append(self._cell(self.target, work))
        rows = self.asked.rows_of([*ours, *theirs]) if new else []
        for value, row, other in zip_longest(new, rows[: len(new)], rows[len(new) :]):
            self.known[value] = self._tried(value, row, other)
        return [self.known[value] for value in values]

    def _cell(self, machine: Topology, work: Workload) -> Cell:
        roomy = with_room(self.asked.graph, machine, work) if self.free_chips else machine
        return self.asked.cell(roomy, work)

    def _tried(self, value: float, row: SweepRow, other: SweepRow | None) -> Tried:
        target = self.target if other is None else other.value
        if not isinstance(target, int | float):
            raise InputError(f"there is no plan to compare with: {other.message if other else ''}")
        better = 1 if DIRECTIONS[self.asked.objective] == "maximize" else -1
        return Tried(
            value=value,
            objective=row.value,
            target=target,
            is_met=row.value is not None and better * row.value >= better * target,
            chips=row.chips,
            status=row.status,
            message=row.message,
        )


@guarded
def required(
    path: str,
    graph: AnyModel,
    topology: str | Topology,
    workload: Workload,
    *,
    target: float | str | Topology,
    minimize: str | None = None,
    maximize: str | None = None,
    between: tuple[float, float] | None = None,
    free_chips: bool = False,
    limits: Limits | None = None,
    power_scope: PowerScope | None = None,
    time_limit_s: float | None = None,
    file: str | Path | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    space: Space = "engine",
    progress: bool | Callable[[Tally], None] = False,
) -> Required:
    """What a figure must be for the best plan to reach a target: a number, or what another machine
    reaches with its own best plan for the same model and workload.

    `path` is that of a figure (`paths.figures_of` has them all), such as
    "chip.memory[0].capacity_bytes" or "fabrics[*].latency_s", whose places are then all set to one
    value. Seven values `between` (default: 1/1000 of what it is to 1000 times) are planned, and the
    change nearest to what it is bisected to 1 %. `free_chips`: both machines may take as many chips
    as they like. The last five options are those of `sweep`. InputError where the machine to beat
    has no plan.
    """
    graph = model_of(graph)
    machine = machine_of(topology)
    rival = _to_beat(target)
    if isinstance(rival, Topology):
        asked_for = tuple(name for name in (minimize, maximize) if name)
        machine, rival = alike((machine, rival), must=asked_for, power_scope=power_scope)
    options = SweepOptions(
        power_scope=power_scope,
        space=space,
        time_limit_s=time_limit_s,
        file=file,
        executor=executor,
        processes=processes,
        progress=progress,
    )
    asked = lever_question(graph, machine, workload, minimize, maximize, limits, options)
    now, whole = _now(path, machine, workload)

    trial = _Trial(asked, path, rival, free_chips, {})
    points = trial.plan(_values(path, now, whole, between, machine.limit_chips))
    return Required(
        **_outcome(trial, points, now, whole),
        rows=tuple(trial.known[at] for at in sorted(trial.known)),
        path=path,
        field=asked.objective,
        against=rival.name if isinstance(rival, Topology) else "",
        now=now,
        title=f"{graph.name} on {machine.name}",
        space=space,
    )


def _outcome(trial: _Trial, points: Sequence[Tried], now: float, whole: bool) -> dict[str, Any]:
    """Whether the target is met at all, and where; of several crossings the one nearest to what
    the figure is."""
    brackets = [(low, high) for low, high in pairwise(points) if low.is_met != high.is_met]
    if not brackets:
        outcome = "always" if points[0].is_met else "never"
        return {"outcome": outcome, "value": None, "is_least": None, "crossings": 0}
    low, high = min(brackets, key=lambda ends: abs(_way(ends, now)))
    return {
        "outcome": "found",
        "value": _bisected(trial, low, high, whole=whole).value,
        "is_least": high.is_met,
        "crossings": len(brackets),
    }


def _to_beat(target: float | str | Topology) -> float | Topology:
    """A number above 0, or a machine by its name or as it is."""
    if isinstance(target, str | Topology):
        return machine_of(target)
    if not (isinstance(target, int | float) and 0 < target < math.inf):
        raise InputError(f"target must be a number above 0, or a machine, not {told(target)}")
    return target


def _way(ends: tuple[Tried, Tried], now: float) -> float:
    """From what the figure is to the middle of a bracket, doubled, on a logarithmic scale."""
    low, high = ends
    return math.log(low.value * high.value / now**2)


def _now(path: str, machine: Topology, workload: Workload) -> tuple[float, bool]:
    """What the figure is (the first, of several), and whether it is a whole number."""
    figures = figures_of(machine, workload)
    value = figures[paths_like(path, figures)[0]]
    if value is None or value <= 0:
        raise InputError(f"{path} is {value}; give a machine on which it has a value above 0")
    return value, isinstance(value, int)


def _values(
    path: str, now: float, whole: bool, between: tuple[float, float] | None, most_chips: int
) -> list[float]:
    most = most_chips if path == "chips" else math.inf
    low, high = between or (now / SPAN, min(now * SPAN, most))
    if between is None and path.endswith(SHARES):
        high = 1.0
    low = max(low, 1) if whole else low
    if not 0 < low < high < math.inf:
        raise InputError(f"between must be two numbers above 0, the lower first, not {between}")
    steps = [low * (high / low) ** (step / (POINTS - 1)) for step in range(POINTS)]
    steps[-1] = high
    steps += [now] if low <= now <= high else []
    return sorted({float(round(step)) if whole else step for step in steps})


def _bisected(trial: _Trial, low: Tried, high: Tried, *, whole: bool) -> Tried:
    """The end of the bracket, once narrow, at which the target is met."""
    while high.value / low.value > 1 + CLOSE and not (whole and high.value - low.value <= 1):
        middle = math.sqrt(low.value * high.value)
        (found,) = trial.plan([float(round(middle)) if whole else middle])
        if found in (low, high):
            break
        low, high = (found, high) if found.is_met == low.is_met else (low, found)
    return low if low.is_met else high


show_as(Required, text=lambda made: made.verdict)
