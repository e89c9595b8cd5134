"""How a proof closes: the best plan so far and the proved bound, over the solver's time."""

from typing import Any, Literal

from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.planning.search import Progress
from planner.records import Record
from planner.report.svg import log_axis, plotly
from planner.report.words import FIELD_WORDS
from planner.studies.plots import LEGEND_BELOW, captioned, dress
from planner.studies.study import Study
from planner.workload import Workload


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

    def _end(self) -> str:
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
        looks = (
            ("objective", "best plan so far", "#D55E00", "solid"),
            ("bound", "no plan is better: proved", "#0072B2", "dash"),
        )
        for name, words, colour, dash in looks:
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
            title=captioned(f"{self.model} on {self.machine}: {self.status}", self._end()),
            xaxis={"title": "solver's time [s]", "rangemode": "tozero"},
            yaxis=log_axis(f"{word.title} [{word.unit or '1'}]", known),
            legend=LEGEND_BELOW,
            margin={"b": 110},
        )
        return figure


def proof_course(
    graph: ModelGraph, topology: Topology, workload: Workload, **asked: Any
) -> ProofCourse:
    """`partition(graph, topology, workload, **asked)`, with what was known when."""
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
