"""How a proof closes: the best plan so far and the proved bound, over the solver's time."""

from typing import Any, Literal

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.guards import guarded
from planner.planning.partitioning import partition
from planner.planning.search import Progress
from planner.records import Record
from planner.report.static import Picture, look, new_figure, wrapped
from planner.report.svg import log_axis, plotly
from planner.report.words import FIELD_WORDS
from planner.studies.plots import LEGEND_BELOW, captioned, dress
from planner.studies.study import Study
from planner.workload import Workload

LINES = (
    ("objective", "best plan so far", "#D55E00", "solid"),
    ("bound", "no plan is better: proved", "#0072B2", "dash"),
)
"""Of a picture: what, its name, its colour and its dashes."""


class ProofStep(Record):
    """Where a search stood."""

    elapsed_s: float
    objective: float | None
    """Of the best plan so far, in the field's unit."""
    bound: float | None
    """Proved by then: no plan is better."""


class ProofCourse(Study):
    """Steps at which the best plan or the bound moved, and the end."""

    field: str
    status: Literal["optimal", "feasible"]
    model: str
    machine: str
    rows: tuple[ProofStep, ...]

    def picture(self) -> Picture:
        """The same in print: between the two lines lies what is not proved yet (needs
        matplotlib)."""
        with look():
            return _drawn(self)

    @property
    def told_end(self) -> str:
        """What is proved at the end, in words."""
        last = self.rows[-1]
        if last.objective is None or not last.bound:
            return f"after {last.elapsed_s:.2g} s"
        gap = abs(last.objective / last.bound - 1)
        left = "no gap is left" if gap < 1e-6 else f"a gap of {100 * gap:.2g} % is left"
        return f"after {last.elapsed_s:.2g} s {left}"

    def plot(self) -> Any:
        """Both over time (needs plotly)."""
        figure = plotly().Figure()
        word = FIELD_WORDS[self.field]
        for name, words, colour, dash in LINES:
            there = [row for row in self.rows if getattr(row, name) is not None]
            figure.add_scatter(
                name=words,
                x=[row.elapsed_s for row in there],
                y=[getattr(row, name) for row in there],
                mode="lines+markers",
                line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
            )
        known = [value for row in self.rows for value in (row.objective, row.bound) if value]
        dress(
            figure,
            title=captioned(f"{self.model} on {self.machine}: {self.status}", self.told_end),
            xaxis={"title": "solver's time [s]", "rangemode": "tozero"},
            yaxis=log_axis(f"{word.title} [{word.unit or '1'}]", known),
            legend=LEGEND_BELOW,
            margin={"b": 110},
        )
        return figure


def _drawn(course: ProofCourse) -> Picture:
    figure = new_figure(8.0, 4.0)
    axes = figure.add_axes((0.13, 0.27, 0.84, 0.55))
    word = FIELD_WORDS[course.field]
    scale, unit = (1e3, "ms") if word.unit == "s" else (1.0, word.unit)
    end = course.rows[-1].elapsed_s
    known: list[float] = []
    for name, words, colour, dash in LINES:
        there = [row for row in course.rows if getattr(row, name) is not None]
        values = [scale * getattr(row, name) for row in there]
        known += [value for value in values if value > 0]
        # What was known last is known to the end.
        axes.step(
            [*(row.elapsed_s for row in there), end],
            [*values, *values[-1:]],
            where="post",
            color=colour,
            linestyle="--" if dash == "dash" else "-",
            linewidth=2,
            marker="o" if name == "objective" else "D",
            markersize=5,
            label=words,
        )
    low, high = min(known), max(known)
    room = (high - low) / 8 or low / 20
    axes.set(ylim=(low - room, high + room), xlim=(0, 1.02 * end))
    axes.set_xlabel("solver's time [s]")
    axes.set_ylabel(f"{word.title} [{unit or '1'}]".replace(" per", "\nper", 1))
    axes.grid(color="#E5E5E5")
    title = f"{course.model} on {course.machine}: {course.status}"
    words = wrapped(figure, f"{title}, {course.told_end}", 7.7, fontsize=12)
    figure.text(0.02, 0.97, words, va="top", fontsize=12, parse_math=False)
    figure.legend(loc="lower left", bbox_to_anchor=(0.1, 0.0), ncols=2, fontsize=10)
    return Picture(figure, title)


@guarded
def proof_course(
    graph: AnyModel, topology: AnyMachine, workload: Workload, **asked: Any
) -> ProofCourse:
    """`partition(graph, topology, workload, **asked)`, with what was known when.

    Errors are those of `partition`: InfeasibleError, NoPlanFoundError and InputError.
    """
    graph, topology = model_of(graph), machine_of(topology)
    seen: list[ProofStep] = []

    def note(progress: Progress) -> None:
        step = ProofStep(
            elapsed_s=progress.elapsed_s, objective=progress.objective, bound=progress.bound
        )
        if not seen or (seen[-1].objective, seen[-1].bound) != (step.objective, step.bound):
            seen.append(step)

    result = partition(graph, topology, workload, progress=note, **asked)
    seen.append(
        ProofStep(elapsed_s=result.elapsed_s, objective=result.objective, bound=result.bound)
    )
    return ProofCourse(
        field=result.field,
        status=result.status,
        model=graph.name,
        machine=f"{topology.chips} × {topology.chip.name}",
        rows=tuple(seen),
    )
