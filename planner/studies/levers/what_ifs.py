"""`what_if`: the best plan before and after some figures change."""

from collections.abc import Iterable, Mapping
from typing import Any

from planner.answers.question import Limits, question_of
from planner.answers.results import Result
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InfeasibleError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, counted
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.pricing.stacks import machine_for
from planner.records import Record, show_as
from planner.report.svg import CAUSE_COLOURS, plotly
from planner.report.text import CAUSES, aligned
from planner.report.words import FIELD_WORDS, SAMPLE_WORDS, field_text
from planner.studies.levers.paths import Change, changed, check_whole, figure_text, figures_of
from planner.studies.plots import FIRST_ON_TOP, captioned, dress
from planner.studies.study import Study
from planner.units import PositiveBytes
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
        return before_and_after(self)


def before_and_after(made: WhatIf) -> Any:
    """A bar of causes for each of the two plans that there are."""
    go = plotly()
    found = {name: one for name, one in (("before", made.before), ("after", made.after)) if one}
    drawn = go.Figure()
    for cause in CAUSES:
        parts_ms = [
            1e3 * sum(getattr(stage, f"{cause}_s") for stage in one.score.breakdown)
            for one in found.values()
        ]
        if any(parts_ms):
            drawn.add_bar(
                name=cause,
                y=list(found),
                x=parts_ms,
                orientation="h",
                marker_color=CAUSE_COLOURS[cause],
            )
    dress(
        drawn,
        barmode="stack",
        xaxis_title="time [ms]",
        yaxis=FIRST_ON_TOP,
        title=captioned(
            f"Best plans for {(SAMPLE_WORDS | FIELD_WORDS)[made.field].title}",
            _title(made, "<br>"),
            "source: planner's price list",
        ),
        margin={"t": 100 + 24 * min(TOLD + 1, len(made.changes))},
    )
    return drawn


@guarded
def what_if(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    changes: Mapping[str, Change],
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    exclude: Iterable[int] = (),
    space: Space = "engine",
) -> WhatIf:
    """The best plan before and after figures change, each solved to a proof (or until
    `time_limit_s`).

    `changes` are new values by path: {"chip.memory[0].bandwidth_bytes_per_s": "x2",
    "workload.batch_size": 32}. The options are those of `partition`. An UnknownNameError names the
    figures nearest to a wrong path.
    """
    graph, topology = model_of(graph), machine_of(topology)
    asked = question_of(
        minimize, maximize, limits, power_scope, diffusion=graph.is_diffusion, space=space
    )
    topology = machine_for(
        graph, counted(topology, price_basis=price_basis, power_basis=power_basis)
    )
    machine, work = changed(topology, workload, check_whole(topology, workload, changes))
    options: dict[str, Any] = {
        "minimize": minimize,
        "maximize": maximize,
        "limits": limits,
        "time_limit_s": time_limit_s,
        "memory_limit_bytes": memory_limit_bytes,
        "power_scope": power_scope,
        "exclude": tuple(exclude),
        "space": space,
    }

    before, no_before = _best(graph, topology, workload, options)
    after, no_after = _best(graph, machine, work, options)
    fields = SAMPLE_WORDS if graph.is_diffusion else FIELD_WORDS
    old = figures_of(topology, workload)
    new = figures_of(machine, work)
    moved = [path for path in old if old[path] != new[path]]
    return WhatIf(
        rows=tuple(_compared(name, before, after) for name in fields),
        changes=tuple(FigureChange(path=path, before=old[path], after=new[path]) for path in moved),
        field=asked.objective,
        before=before,
        after=after,
        refusals=(no_before, no_after),
    )


def _best(
    graph: ModelGraph, on: Topology, under: Workload, options: dict[str, Any]
) -> tuple[Result | None, str]:
    """The best plan, or why there is none."""
    try:
        return partition(graph, on, under, **options), ""
    except InfeasibleError as error:
        return None, str(error)


def _compared(field: str, before: Result | None, after: Result | None) -> FieldChange:
    old, new = (None if one is None else getattr(one.score, field) for one in (before, after))
    effect = new / old - 1 if old and new is not None else None
    return FieldChange(field=field, before=old, after=new, effect=effect)


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
    sides = zip(("before", "after"), made.refusals, strict=True)
    refused = [f"{side}: {text}" for side, text in sides if text]
    plan = "another plan is best" if made.is_other_plan else "the same plan is best"
    table = aligned([("", "before", "after", ""), *rows])
    return "\n".join([_title(made), *(refused or [plan]), *table])


def _effect(effect: float | None) -> str:
    return "" if not effect else f"{100 * effect:+.3g} %"


show_as(WhatIf, text=what_if_text)
