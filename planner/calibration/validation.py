"""Predictions beside measurements, family by family."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.answers.question import FIELDS, SAMPLE_FIELDS
from planner.calibration.measurements import Measurement
from planner.catalogue import load_model, load_topology
from planner.errors import InputError, PlannerError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.partitioning import partition
from planner.pricing.collectives import collective_s
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.degrees import uniform_plan
from planner.workload import Workload


@dataclass(frozen=True, slots=True)
class Case:
    """A measurement, and what the planner says of it."""

    measurement: Measurement
    topology: Topology
    predict: Callable[[Topology], float]
    figure: float
    """Predicted."""
    half_width: float
    """Of its 80 % interval, on a logarithmic scale; 0 where nothing is known of it."""

    @property
    def field(self) -> str:
        return self.measurement.field

    @property
    def measured(self) -> float:
        return self.measurement.value

    def predicted(self, topology: Topology | None = None) -> float:
        """The figure that the planner gives, on the case's machine or on another version of it."""
        return self.figure if topology is None else self.predict(topology)


class Refused(NamedTuple):
    """A measurement that cannot be predicted, and why."""

    measurement: Measurement
    reason: str


class Family(NamedTuple):
    """How good the predictions of a family are; errors as factors: 0.1 is 10 % off either way."""

    name: str
    rows: int
    predicted: int
    median: float
    p90: float
    bias: float
    """Median of ln(predicted / measured)."""
    covered: float
    """Share within the 80 % interval."""


class _Loaded:
    """Graphs and machines, each loaded once."""

    def __init__(self) -> None:
        self.graphs: dict[tuple[object, ...], ModelGraph] = {}
        self.topologies: dict[tuple[object, ...], Topology] = {}

    def graph(self, row: Measurement) -> ModelGraph:
        picture = {
            name: getattr(row, name)
            for name in ("height", "width", "frames", "steps")
            if getattr(row, name)
        }
        key = (row.model, row.weight_dtype, row.activation_dtype, row.kv_dtype, *picture.items())
        if key not in self.graphs:
            self.graphs[key] = load_model(
                row.model, weight_dtype=row.weight_dtype, kv_dtype=row.kv_dtype,
                activation_dtype=row.activation_dtype or None, **picture,
            )  # fmt: skip
        return self.graphs[key]

    def topology(self, row: Measurement) -> Topology:
        key = (row.topology, row.chips, row.software)
        if key not in self.topologies:
            self.topologies[key] = load_topology(
                row.topology, chips=row.chips, software=row.software or None
            )
        return self.topologies[key]


def cases_of(measurements: Sequence[Measurement]) -> tuple[list[Case], list[Refused]]:
    """What can be predicted, and what cannot."""
    loaded, cases, refused = _Loaded(), [], []
    for row in measurements:
        try:
            cases.append(
                _message_case(row, loaded)
                if row.field == "collective_s"
                else _score_case(row, loaded)
            )
        except PlannerError as error:
            refused.append(Refused(row, str(error)))
    return cases, refused


def _message_case(row: Measurement, loaded: _Loaded) -> Case:
    topology = loaded.topology(row)
    kind, ranks, message_bytes = str(row.collective), row.ranks or 1, row.message_bytes or 0.0

    def predict(machine: Topology) -> float:
        return collective_s(machine, kind, ranks, message_bytes, ranks_per_node=row.ranks_per_node)

    return Case(row, topology, predict, predict(topology), _width(topology, row.field))


def _width(topology: Topology, field: str) -> float:
    return next((one.half_width for one in topology.software.residuals if one.field == field), 0.0)


def _score_case(row: Measurement, loaded: _Loaded) -> Case:
    """Scored once, for the figure and for its interval."""
    graph, topology = loaded.graph(row), loaded.topology(row)
    workload = Workload(
        batch_size=row.batch_size, prompt_tokens=row.prompt_tokens, output_tokens=row.output_tokens,
        arrivals=row.arrivals,
    )  # fmt: skip
    if row.chips is None:
        topology = topology.replace(
            chips=partition(graph, topology, workload, minimize="chips").score.chips
        )
    plan = _plan(row, graph, topology, workload)

    def scored(machine: Topology) -> Score:
        return score_plan(plan, graph, machine, workload, power_scope=row.power_scope or None)  # type: ignore[arg-type]

    score = scored(topology)
    if getattr(score, row.field, None) is None:
        raise InputError(f"{row.field} is not known on {row.topology}")
    low, high = score.interval(row.field, 0.8)
    width = math.log(high / low) / 2 if low > 0 else 0.0
    return Case(
        row,
        topology,
        lambda machine: float(getattr(scored(machine), row.field)),
        getattr(score, row.field),
        width,
    )


def _plan(row: Measurement, graph: ModelGraph, topology: Topology, workload: Workload) -> Plan:
    if row.plan == "best":
        fastest = "samples_per_s" if graph.is_diffusion else "tokens_per_s"
        field = fastest if row.field.startswith(("power", "energy")) else row.field
        wish = "maximize" if {**FIELDS, **SAMPLE_FIELDS}[field].best == "most" else "minimize"
        return partition(graph, topology, workload, **{wish: field}).plan  # type: ignore[arg-type]
    return uniform_plan(
        graph, topology, tensor_parallel=row.tensor_parallel, pipeline_parallel=row.pipeline_parallel,
        expert_parallel=row.expert_parallel, data_parallel=row.data_parallel,
        sequence_parallel=row.sequence_parallel,
    )  # fmt: skip


def families_of(cases: Sequence[Case], refused: Sequence[Refused]) -> list[Family]:
    """The table of errors."""
    errors: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    missed: dict[str, int] = defaultdict(int)
    for case in cases:
        error = math.log(case.predicted() / case.measurement.value)
        errors[case.measurement.family].append((error, abs(error) <= case.half_width))
    for one in refused:
        missed[one.measurement.family] += 1
    return [
        _family(name, errors.get(name, []), missed[name]) for name in sorted({*errors, *missed})
    ]


def _family(name: str, errors: list[tuple[float, bool]], missed: int) -> Family:
    if not errors:
        return Family(name, missed, 0, math.nan, math.nan, math.nan, math.nan)
    signed = np.array([error for error, _ in errors])
    sizes = np.exp(np.abs(signed)) - 1
    return Family(
        name=name,
        rows=len(errors) + missed,
        predicted=len(errors),
        median=float(np.median(sizes)),
        p90=float(np.quantile(sizes, 0.9)),
        bias=float(np.median(signed)),
        covered=float(np.mean([inside for _, inside in errors])),
    )
