"""`LeverQuestion`: the question that is put again and again while figures move, and how the plans
that answer it are made."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from planner.answers.question import Limits, question_of
from planner.machines.engine import Space
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.pricing.stacks import machine_for
from planner.studies.levers.paths import changed
from planner.studies.sweeps.cells import Cell, SweepRow
from planner.studies.sweeps.meters import Tally
from planner.studies.sweeps.sweeps import rows_of
from planner.workload import Workload


class SweepOptions(TypedDict):
    """How the plans are made: options of `sweep`."""

    power_scope: PowerScope | None
    space: Space
    time_limit_s: float | None
    file: str | Path | None
    executor: Executor | None
    processes: int | None
    progress: bool | Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class LeverQuestion:
    """The best plan of a model for one field, on a machine and under a workload whose figures are
    levers."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    objective: str
    limits: Limits | None
    options: SweepOptions

    @property
    def title(self) -> str:
        return f"{self.graph.name} on {self.topology.chips} × {self.topology.name}"

    def cell(self, topology: Topology, workload: Workload) -> Cell:
        """The question, of a machine and a workload."""
        return Cell(self.graph, topology, workload, self.objective, self.limits)

    def rows_of(self, cells: Sequence[Cell]) -> list[SweepRow]:
        """The best plan of each cell, in their order."""
        return rows_of(cells, **self.options)

    def rows_at(self, points: Iterable[Mapping[str, float]]) -> list[SweepRow]:
        """The best plan at each point: figures by path, and what they are there."""
        nouns = [changed(self.topology, self.workload, point) for point in points]
        return self.rows_of([self.cell(topology, workload) for topology, workload in nouns])


def lever_question(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    minimize: str | None,
    maximize: str | None,
    limits: Limits | None,
    options: SweepOptions,
) -> LeverQuestion:
    """The question that such options ask; a wrong field or limit is refused before any plan."""
    scope = options["power_scope"]
    question = question_of(
        minimize, maximize, limits, scope, diffusion=graph.is_diffusion, space=options["space"]
    )
    machine = machine_for(graph, topology)
    read = dict(question.limits)
    return LeverQuestion(graph, machine, workload, question.objective, read, options)
