"""Plans that were carried out, as they were measured: what figures of `torch-gloo` are fitted on,
and what they are held against.

`runs.csv` has a row for each rank of each run; models and machines stand in the folder `runs`.
"""

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from planner.catalogue import load_model, load_topology
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.readers.files import parsed_json, read_rows, read_text
from planner.running.comparing import PlanRun, Question, compared
from planner.running.jobs import Config, PhaseReport, RankReport
from planner.workload import Workload

RUNS = Path(__file__).parent / "runs.csv"
FOLDER = Path(__file__).parent / "runs"
PHASES = ("prefill", "decode")


class Shape(NamedTuple):
    """What is told apart of plans that are run: the embedding is with the first stage, the head
    with the last, and chips are numbered replica after replica."""

    cuts: tuple[int, ...]
    """Decoder layers of each stage."""
    tensor: int = 1
    expert: int = 1
    replicas: int = 1
    micro_batches: int = 1

    def __str__(self) -> str:
        copies = f"{self.replicas} × " if self.replicas > 1 else ""
        experts = f" EP {self.expert}" if self.expert > 1 else ""
        micro = f", {self.micro_batches} micro-batches" if self.micro_batches > 1 else ""
        return f"{copies}TP {self.tensor}{experts}, {'+'.join(map(str, self.cuts))}{micro}"


class KeptRun(NamedTuple):
    """One run, and what its ranks told."""

    model: str
    """Of those in the folder; so the machine."""
    machine: str
    sort: str
    """ "fitted on", "held out" or "picked"."""
    shape: Shape
    batch_size: int
    prompt_tokens: int
    output_tokens: int
    reports: tuple[RankReport, ...]

    @property
    def question(self) -> tuple[Any, ...]:
        """What repeats have in common."""
        return self._replace(sort="", reports=())

    @property
    def workload(self) -> Workload:
        """One batch that starts together."""
        return Workload(
            batch_size=self.batch_size,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            arrivals="together",
        )


def plan_of(shape: Shape) -> Plan:
    """The plan of a shape; `shape_of` gives it back."""
    layers = ["embedding", *(f"decoder.{number}" for number in range(sum(shape.cuts))), "head"]
    last = len(shape.cuts) - 1
    each = shape.tensor * len(shape.cuts)
    stages = []
    for number, count in enumerate(shape.cuts):
        taken = count + (number == 0) + (number == last)
        own, layers = tuple(layers[:taken]), layers[taken:]
        first = number * shape.tensor
        groups = tuple(
            ChipRange(first=copy * each + first, count=shape.tensor)
            for copy in range(shape.replicas)
        )
        stages.append(
            Stage(
                layers=own,
                groups=groups,
                tensor_parallel=shape.tensor,
                expert_parallel=shape.expert,
            )
        )
    return Plan(stages=tuple(stages), micro_batches=shape.micro_batches)


def shape_of(plan: Plan) -> Shape:
    """The shape of a plan that `plan_of` could have made; chips may be numbered otherwise."""
    cuts = [sum(name.startswith("decoder") for name in stage.layers) for stage in plan.stages]
    first = plan.stages[0]
    return Shape(
        tuple(cuts),
        first.tensor_parallel,
        first.expert_parallel,
        plan.replicas,
        plan.micro_batches,
    )


COLUMNS = (
    "model", "machine", "sort", "run", "cuts", "tensor", "expert", "replicas", "micro_batches",
    "batch_size", "prompt_tokens", "output_tokens", "stage", "rank", "replica", "weight_bytes",
    "cache_bytes", *(f"{phase}_{name}" for phase in PHASES for name in PhaseReport.model_fields),
)  # fmt: skip


def runs_csv(runs: Iterable[KeptRun], first: int = 0) -> str:
    """Runs as the table that `read_runs` reads, numbered from `first`; behind other runs, without
    a header."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if first == 0:
        table.writerow(COLUMNS)
    for number, run in enumerate(runs, first):
        shape = run.shape
        cuts = "+".join(map(str, shape.cuts))
        about = (run.model, run.machine, run.sort, number, cuts, *shape[1:], *run[4:7])
        for report in run.reports:
            held = (report.stage, report.rank, report.replica)
            sizes = [f"{size:.0f}" for size in (report.weight_bytes, report.cache_bytes)]
            table.writerow((*about, *held, *sizes, *_cells(report.prefill), *_cells(report.decode)))
    return text.getvalue()


def _cells(phase: PhaseReport) -> list[str]:
    return [f"{value:.6g}" if name.endswith("_s") else f"{value:.0f}" for name, value in phase]


def read_runs(path: Path = RUNS) -> tuple[KeptRun, ...]:
    """All runs of a table, in their order."""
    _, rows = read_rows(path, "a table of runs")
    by_number: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        by_number[row["run"]].append(row)
    return tuple(_run(ranks) for ranks in by_number.values())


def _run(ranks: Sequence[dict[str, str]]) -> KeptRun:
    row = ranks[0]
    counts = [int(row[name]) for name in ("tensor", "expert", "replicas", "micro_batches")]
    return KeptRun(
        row["model"],
        row["machine"],
        row["sort"],
        Shape(tuple(map(int, row["cuts"].split("+"))), *counts),
        int(row["batch_size"]),
        int(row["prompt_tokens"]),
        int(row["output_tokens"]),
        tuple(_report(one) for one in ranks),
    )


def _report(row: dict[str, str]) -> RankReport:
    own = {name: row[name] for name in ("stage", "rank", "replica", "weight_bytes", "cache_bytes")}
    phases = {
        phase: {name: row[f"{phase}_{name}"] for name in PhaseReport.model_fields}
        for phase in PHASES
    }
    return RankReport.from_fields(own | phases)


def asked_by(run: KeptRun, software: str | None = None) -> Question:
    """What was run, on which machine; priced by the stack of that name in place of its own."""
    return Question(*_nouns(run.model, run.machine, software), run.workload)


@lru_cache
def _nouns(model: str, machine: str, software: str | None) -> tuple[ModelGraph, Config, Topology]:
    path = FOLDER / f"{model}.json"
    graph = load_model(path, weight_dtype="fp32", kv_dtype="fp32")
    config = parsed_json(read_text(path, "a config"), path)
    return graph, config, load_topology(FOLDER / f"{machine}.toml", software=software)


def beside_price(run: KeptRun, software: str | None = None) -> PlanRun:
    """What it took beside what its plan is priced at today."""
    return compared(plan_of(run.shape), asked_by(run, software), run.reports)


def repeats_of(runs: Iterable[KeptRun]) -> list[tuple[KeptRun, ...]]:
    """Runs of one plan and batch together, in the order of the first of each."""
    found: dict[tuple[Any, ...], list[KeptRun]] = defaultdict(list)
    for run in runs:
        found[run.question].append(run)
    return [tuple(alike) for alike in found.values()]


def median_run(repeats: Sequence[KeptRun]) -> KeptRun:
    """One run with the median of each figure of each rank."""
    if len(repeats) == 1:
        return repeats[0]
    ranks = zip(*(run.reports for run in repeats), strict=True)
    return repeats[0]._replace(reports=tuple(_median_report(alike) for alike in ranks))


def _median_report(alike: Sequence[RankReport]) -> RankReport:
    phases = {
        phase: PhaseReport.from_fields(
            {
                name: _middle(name, [getattr(getattr(one, phase), name) for one in alike])
                for name in PhaseReport.model_fields
            }
        )
        for phase in PHASES
    }
    return alike[0].replace(**phases)


def _middle(name: str, values: Sequence[float]) -> float:
    """Counts are those of the first: they are all the same."""
    return statistics.median(values) if name.endswith("_s") else values[0]
