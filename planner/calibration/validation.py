"""Predictions beside measurements, one sort of measurement after the other."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from planner.answers.question import FIELDS, SAMPLE_FIELDS
from planner.calibration.measurements import Measurement
from planner.catalogue import load_model, load_topology
from planner.errors import InfeasibleError, InputError, PlannerError, UnknownNameError, told
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.partitioning import partition
from planner.pricing.collectives import collective_s
from planner.pricing.stacks import machine_for
from planner.readers.plan_file import read_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Evidence, Score
from planner.scoring.vouching import Setting, setting_of
from planner.space.degrees import uniform_plan
from planner.workload import Speculation, Workload


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
    setting: Setting | None = None
    """How near it is to others; None of a collective."""
    evidence: Evidence = "measured"

    @property
    def field(self) -> str:
        return self.measurement.field

    @property
    def family(self) -> str:
        return self.measurement.family

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


class Accuracy(NamedTuple):
    """How good the predictions of like measurements are; errors as factors: 0.1 is 10 % off either
    way."""

    name: str
    """Of `Measurement.family`, which they share."""
    rows: int
    predicted: int
    median: float
    p90: float
    bias: float
    """Median of ln(predicted / measured)."""
    covered: float
    """Share within the 80 % interval."""


class _Run:
    """A question of which several figures were measured, priced once for all of them."""

    def __init__(
        self, plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload, scope: str
    ) -> None:
        self.topology = topology
        self.scope = cast(PowerScope | None, scope or None)
        self.asked = plan, graph, workload
        self.last: tuple[Topology, Score] | None = None

    def score(self, machine: Topology) -> Score:
        if self.last is None or self.last[0] is not machine:
            self.last = machine, self._scored(machine)
        return self.last[1]

    def _scored(self, machine: Topology) -> Score:
        plan, graph, workload = self.asked
        try:
            return score_plan(plan, graph, machine, workload, power_scope=self.scope)
        except InfeasibleError:
            if plan.batch_size is None:
                raise
        # A plan that fills the machine as it is may hold fewer on one whose constants have moved.
        open_plan = plan.replace(batch_size=None)
        return score_plan(open_plan, graph, machine, workload, power_scope=self.scope)

    def setting(self) -> Setting:
        plan, graph, workload = self.asked
        machine = machine_for(graph, self.topology)
        batch_size = self.score(self.topology).batch_size
        return setting_of(plan, graph, machine, workload, batch_size)


class _Loaded:
    """Graphs, machines and runs, each loaded once."""

    def __init__(self) -> None:
        self.runs: dict[Measurement, _Run] = {}
        self.graphs: dict[tuple[object, ...], ModelGraph] = {}
        self.topologies: dict[tuple[object, ...], Topology] = {}

    def graph(self, row: Measurement) -> ModelGraph:
        asked = {name: getattr(row, name) for name in ("height", "width", "frames", "steps")}
        picture = {name: value for name, value in asked.items() if value}
        key = (row.model, row.weight_dtype, row.activation_dtype, row.kv_dtype, *picture.items())
        if key not in self.graphs:
            self.graphs[key] = load_model(
                row.model,
                weight_dtype=row.weight_dtype,
                kv_dtype=row.kv_dtype,
                activation_dtype=row.activation_dtype or None,
                **picture,
            )
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
    loaded = _Loaded()
    cases = []
    refused = []
    for row in measurements:
        case_of = _message_case if row.field == "collective_s" else _score_case
        try:
            cases.append(case_of(row, loaded))
        except PlannerError as error:
            refused.append(Refused(row, str(error)))
    return cases, refused


def _message_case(row: Measurement, loaded: _Loaded) -> Case:
    topology = loaded.topology(row)

    def predict(machine: Topology) -> float:
        return collective_s(
            machine,
            str(row.collective),
            row.ranks or 1,
            row.message_bytes or 0.0,
            ranks_per_node=row.ranks_per_node,
        )

    return Case(row, topology, predict, predict(topology), _width(topology, row.field))


def _width(topology: Topology, field: str) -> float:
    return next((one.half_width for one in topology.software.residuals if one.field == field), 0.0)


def _score_case(row: Measurement, loaded: _Loaded) -> Case:
    """Scored once, for the figure and for its interval."""
    run = _run(row, loaded)

    def predict(machine: Topology) -> float:
        return float(getattr(run.score(machine), row.field))

    score = run.score(run.topology)
    figure = getattr(score, row.field, None)
    if figure is None:
        raise InputError(f"{told(row.field)} is not known on {row.topology}")
    if not isinstance(figure, int | float):
        raise InputError(f"{row.field} is not a field that can be measured")
    low, high = score.interval(row.field, 0.8)
    width = math.log(high / low) / 2 if low > 0 else 0.0
    setting = run.setting()
    if row.plan == "best":
        # Which plan was run, nobody says: the row vouches for no degree of ours.
        setting = setting._replace(
            tensor_parallel=1, expert_parallel=1, stages=1, across_nodes=False
        )
    return Case(row, run.topology, predict, figure, width, setting, score.evidence)


def _run(row: Measurement, loaded: _Loaded) -> _Run:
    """What several rows may ask of; the best plan depends on what it is best in."""
    own = {} if row.plan == "best" else {"field": ""}
    question = row.replace(row_id="", family="", value=1.0, source="", **own)
    if question not in loaded.runs:
        graph = loaded.graph(row)
        topology = loaded.topology(row)
        workload = _workload(row, graph)
        if row.chips is None:
            # With those between its stages that are left free, where these keep clear of borders.
            fewest = partition(graph, topology, workload, minimize="chips").plan
            last = max(group.last for stage in fewest.stages for group in stage.groups)
            topology = topology.replace(chips=last + 1)
        plan = _plan(row, graph, topology, workload)
        loaded.runs[question] = _Run(plan, graph, topology, workload, row.power_scope)
    return loaded.runs[question]


def _workload(row: Measurement, graph: ModelGraph) -> Workload:
    drafting = None
    if row.draft_tokens:
        drafting = Speculation(
            draft=graph.cut(1), tokens=row.draft_tokens, acceptance_rate=row.acceptance_rate
        )
    return Workload(
        batch_size=row.batch_size,
        prompt_tokens=row.prompt_tokens,
        output_tokens=row.output_tokens,
        arrivals=row.arrivals,
        phase=row.phase,
        speculation=drafting,
    )


def _plan(row: Measurement, graph: ModelGraph, topology: Topology, workload: Workload) -> Plan:
    if row.plan == "best":
        fastest = "samples_per_s" if graph.is_diffusion else "tokens_per_s"
        field = fastest if row.field.startswith(("power", "energy")) else row.field
        known = {**FIELDS, **SAMPLE_FIELDS}
        if field not in known:
            raise UnknownNameError("field to plan best for", field, known)
        wish = "maximize" if known[field].best == "most" else "minimize"
        return partition(graph, topology, workload, **{wish: field}).plan  # type: ignore[arg-type]
    if row.plan_file:
        return read_plan(Path(row.plan_file))
    return uniform_plan(
        graph,
        topology,
        tensor_parallel=row.tensor_parallel,
        pipeline_parallel=row.pipeline_parallel,
        expert_parallel=row.expert_parallel,
        data_parallel=row.data_parallel,
        sequence_parallel=row.sequence_parallel,
    )


def accuracies_of(cases: Sequence[Case], refused: Sequence[Refused]) -> list[Accuracy]:
    """The table of errors, by `Measurement.family`."""
    errors: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    missed: dict[str, int] = defaultdict(int)
    for case in cases:
        error = math.log(case.predicted() / case.measurement.value)
        errors[case.measurement.family].append((error, abs(error) <= case.half_width))
    for one in refused:
        missed[one.measurement.family] += 1
    names = sorted({*errors, *missed})
    return [_accuracy(name, errors.get(name, []), missed[name]) for name in names]


def _accuracy(name: str, errors: list[tuple[float, bool]], missed: int) -> Accuracy:
    if not errors:
        return Accuracy(name, missed, 0, math.nan, math.nan, math.nan, math.nan)
    signed = np.array([error for error, _ in errors])
    factors = np.exp(np.abs(signed)) - 1
    return Accuracy(
        name=name,
        rows=len(errors) + missed,
        predicted=len(errors),
        median=float(np.median(factors)),
        p90=float(np.quantile(factors, 0.9)),
        bias=float(np.median(signed)),
        covered=float(np.mean([inside for _, inside in errors])),
    )
