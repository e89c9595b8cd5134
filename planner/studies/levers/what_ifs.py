"""`what_if`: the best plan before and after some figures change."""

from collections.abc import Mapping
from typing import Any

from planner.answers.question import question_of
from planner.answers.results import Result
from planner.errors import InfeasibleError
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.records import Record, show_as
from planner.report.svg import CAUSE_COLOURS, plotly
from planner.report.text import CAUSES, aligned
from planner.report.words import FIELD_WORDS, SAMPLE_WORDS, field_text
from planner.studies.levers.paths import Change, changed, figure_text, figures_of
from planner.studies.study import Study
from planner.workload import Workload

TOLD = 3
"""The most changes that a title names."""


class FieldChange(Record):
    """A field of `Score`, before and after; None where there is no plan, or the field is not
    known."""

    field: str
    before: float | None
    after: float | None
    effect: float | None
    """Relative: after ÷ before − 1."""


class FigureChange(Record):
    """A figure, before and after."""

    path: str
    before: float | None
    after: float | None


class WhatIf(Study):
    """Fields of the best plans before and after."""

    rows: tuple[FieldChange, ...]
    changes: tuple[FigureChange, ...]
    field: str
    """The one that both plans are best for."""
    before: Result | None
    """None: proved that there is no plan; `refusals` says why."""
    after: Result | None
    refusals: tuple[str, str]
    """Before and after; empty where there is a plan."""

    @property
    def is_other_plan(self) -> bool:
        """Whether the best plan moved, and not only its price."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return self.before.plan != self.after.plan

    def plot(self) -> Any:
        """One output token (one step of a diffusion model) before and after, by cause (needs
        plotly)."""
        go, found = (
            plotly(),
            [(name, one) for name, one in (("before", self.before), ("after", self.after)) if one],
        )
        drawn = go.Figure()
        for cause in CAUSES:
            parts = [
                1e3 * sum(getattr(stage, f"{cause}_s") for stage in one.score.breakdown)
                for _, one in found
            ]
            if any(parts):
                names = [name for name, _ in found]
                drawn.add_bar(
                    y=names, x=parts, name=cause, orientation="h", marker_color=CAUSE_COLOURS[cause]
                )
        drawn.update_layout(
            barmode="stack", template="plotly_white", font={"size": 13}, xaxis_title="time [ms]",
            yaxis={"autorange": "reversed"},
            title=f"Best plans for {self.field}<br><sup>{_title(self, '<br>')}<br>source: planner's price list</sup>",
            margin={"t": 100 + 24 * min(TOLD + 1, len(self.changes))},
        )  # fmt: skip
        return drawn


def what_if(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    changes: Mapping[str, Change],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
) -> WhatIf:
    """The best plan before and after figures change, each solved to a proof (or until
    `time_limit_s`).

    `changes` are new values by path: {"chip.memory[0].bandwidth_bytes_per_s": "x2",
    "fabrics[*].latency_s": "1 us", "workload.batch_size": 32}. The options are those of
    `partition`. An UnknownNameError names the figures nearest to a wrong path.
    """
    question = question_of(minimize, maximize, limits, power_scope, diffusion=graph.is_diffusion)
    machine, work = changed(topology, workload, changes)

    def best(on: Topology, under: Workload) -> tuple[Result | None, str]:
        try:
            return partition(
                graph, on, under, minimize=minimize, maximize=maximize, limits=limits, time_limit_s=time_limit_s,
                power_scope=power_scope,
            ), ""  # fmt: skip
        except InfeasibleError as error:
            return None, str(error)

    (before, no_before), (after, no_after) = best(topology, workload), best(machine, work)
    old, new = figures_of(topology, workload), figures_of(machine, work)
    return WhatIf(
        rows=tuple(_compared(name, before, after) for name in (SAMPLE_WORDS if graph.is_diffusion else FIELD_WORDS)),
        changes=tuple(
            FigureChange(path=path, before=old[path], after=new[path]) for path in old if old[path] != new[path]
        ),
        field=question.objective, before=before, after=after, refusals=(no_before, no_after),
    )  # fmt: skip


def _compared(field: str, before: Result | None, after: Result | None) -> FieldChange:
    old, new = (None if one is None else getattr(one.score, field) for one in (before, after))
    return FieldChange(
        field=field,
        before=old,
        after=new,
        effect=new / old - 1 if old and new is not None else None,
    )


def _title(made: WhatIf, between: str = ", ") -> str:
    def text(path: str, value: float | None) -> str:
        return "none" if value is None else figure_text(path, value)

    told = [
        f"{one.path} {text(one.path, one.before)} → {text(one.path, one.after)}"
        for one in made.changes[:TOLD]
    ]
    more = [f"{len(made.changes) - TOLD} more"] if len(made.changes) > TOLD else []
    return between.join([*told, *more]) or "nothing changed"


def what_if_text(made: WhatIf) -> str:
    """For a terminal."""
    words = SAMPLE_WORDS | FIELD_WORDS
    rows = [
        (
            words[row.field].title,
            field_text(row.field, row.before),
            field_text(row.field, row.after),
            _effect(row.effect),
        )
        for row in made.rows
    ]
    refused = [
        f"{side}: {text}"
        for side, text in zip(("before", "after"), made.refusals, strict=True)
        if text
    ]
    plan = "another plan is best" if made.is_other_plan else "the same plan is best"
    return "\n".join(
        [_title(made), *(refused or [plan]), *aligned([("", "before", "after", ""), *rows])]
    )


def _effect(effect: float | None) -> str:
    return "" if not effect else f"{100 * effect:+.3g} %"


show_as(WhatIf, text=what_if_text)
