"""Which plans llama.cpp is started with, and what they say of each device: `engine_runs` starts them, a
test holds what they loaded against what the product says today."""

from pathlib import Path
from typing import NamedTuple

import planner as pl
from benchmarks.random_gguf import SHAPES, write_random_gguf
from planner.answers.results import Result
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import in_flight

MACHINE = Path(__file__).with_name("lent_cores.toml")


class Case(NamedTuple):
    """A model, a load, and which plan."""

    model: str
    """Of `random_gguf.SHAPES`."""
    cut: tuple[int, ...] | None
    """Decoder layers of each device; None: what `partition` finds."""
    memory_mb: float
    """Of each device."""
    kv: str = "fp16"
    sequences: int = 4
    prompt: int = 180
    output: int = 60
    chips: int = 2
    away: int = 0
    """Layers of each device that the host computes."""
    arrivals: str = "steady"


CASES = (
    Case("dense-f16", None, 260),
    Case("dense-f16", None, 262, kv="q8_0", sequences=2, prompt=900, output=100),
    Case("dense-f16", (1, 11), 400),
    Case("dense-f16", (10, 2), 400, kv="q8_0", prompt=400, output=112),
    Case("dense-f16", (2, 7, 3), 400, chips=3, arrivals="together"),
    Case("dense-f16", (5, 7), 400, away=2),
    Case("dense-q8_0", None, 245),
    Case("dense-q8_0", (13, 3), 400, kv="q8_0", sequences=1, prompt=1500, output=36),
    Case("dense-q8_0", (3, 1, 12), 400, chips=3, prompt=300, output=30),
    Case("dense-q8_0", (15, 1), 400, kv="q4_0", sequences=3),
    Case("tied-q4_0", None, 220, sequences=2),
    Case("tied-q4_0", (2, 8), 400, kv="q8_0", arrivals="together"),
    Case("tied-q4_0", (7, 3), 400, sequences=1, prompt=700, output=68),
    Case("experts-q8_0", None, 265),
    Case("experts-q8_0", (1, 7), 400, kv="q8_0", sequences=2),
    Case("experts-q8_0", (4, 2, 2), 400, chips=3),
)


class Planned(NamedTuple):
    """What a plan says that one device holds."""

    layers: int
    """Of the decoder; those that the host computes left out."""
    weight_bytes: float
    kv_bytes: float
    buffer_bytes: float
    """For activations and collectives."""


def graph_of(case: Case, folder: Path, *, empty: bool = True) -> tuple[ModelGraph, Path]:
    """The model as the product reads its file, and the file."""
    path = folder / f"{case.model}{'-empty' if empty else ''}.gguf"
    if not path.exists():
        write_random_gguf(path, SHAPES[case.model], empty=empty)
    return pl.load_model(path, kv_dtype=case.kv), path


def machine_of(case: Case) -> pl.Topology:
    """The devices, with as much memory as the case says; each takes whole layers, as llama.cpp's RPC
    servers do."""
    machine = pl.load_topology(MACHINE, chips=case.chips)
    memory = machine.chip.memory[0].replace(capacity_bytes=case.memory_mb * 1e6)
    return machine.replace(
        chip=machine.chip.replace(memory=(memory,)),
        software=machine.software.replace(most_tensor_parallel=1),
    )


def result_of(case: Case, graph: ModelGraph) -> Result:
    """What `partition` answers; of a cut that is given, an answer that nobody searched for."""
    machine = machine_of(case)
    workload = pl.Workload(
        batch_size=case.sequences,
        prompt_tokens=case.prompt,
        output_tokens=case.output,
        arrivals=case.arrivals,  # type: ignore[arg-type]  # pydantic holds it against the words
    )
    if case.cut is None:
        return pl.partition(graph, machine, workload, maximize="tokens_per_s", time_limit_s=60)
    plan = _cut_plan(case, graph, machine)
    score = pl.score_plan(plan, graph, machine, workload)
    return Result(
        status="feasible", objective=score.tokens_per_s, bound=score.tokens_per_s, gap=0.0,
        elapsed_s=0.0, graph=graph, workload=workload, field="tokens_per_s",
        direction="maximize", limits=(), space="engine", plan=plan, score=score, topology=machine,
    )  # fmt: skip


def _cut_plan(case: Case, graph: ModelGraph, machine: pl.Topology) -> Plan:
    """A device a stage; the embedding with the first, the head with the last."""
    assert case.cut is not None
    names, inner = graph.names, graph.inner_positions
    stages, taken = [], 0
    for number, layers in enumerate(case.cut):
        first = inner[taken] if number else 0
        away = tuple(names[inner[taken + one]] for one in range(case.away))
        taken += layers
        last = len(names) if number == len(case.cut) - 1 else inner[taken]
        group = ChipRange(first=number, count=1)
        stages.append(Stage(layers=names[first:last], groups=(group,), offloaded=away))
    kept = in_flight(machine.software.engine, len(case.cut), case.sequences)
    return Plan(stages=tuple(stages), micro_batches=kept or len(case.cut), space="engine")


def planned(result: Result) -> list[Planned]:
    """Device by device."""
    graph = result.graph
    inner = {graph.names[position] for position in graph.inner_positions}
    found = []
    for stage, held in zip(result.plan.stages, result.score.stages, strict=True):
        kept = inner & (set(stage.layers) - set(stage.offloaded))
        buffers = held.activation_bytes + held.workspace_bytes
        found.append(Planned(len(kept), held.weight_bytes, held.kv_bytes, buffers))
    return found
