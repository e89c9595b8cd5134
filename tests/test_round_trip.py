"""What is exported is read again as the same plan: degrees, cut, chips, micro-batches, replicas,
drafts, formats, sequences, memory."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import planner as pl
from planner.answers.results import Result
from planner.errors import InputError
from planner.export.exporting import to_engine
from planner.export.exports import Export
from planner.launches.commands import read_command
from planner.launches.launch import EngineName, Launch, Reading
from planner.launches.launching import STACKS
from planner.launches.models import model_of
from planner.launches.planning import Planned, planned
from planner.models.graph import ModelGraph
from planner.space.offloading import with_first_layers
from tests.exported import drawn, result_of
from tests.lanes import some

ENGINES: tuple[EngineName, ...] = ("vllm", "sglang", "llama.cpp", "tensorrt-llm")
FORMATS: dict[EngineName, tuple[str | None, ...]] = {
    "vllm": (None, "fp8"),
    "sglang": (None, "fp8"),
    "llama.cpp": ("fp16", "q4_k_m", "q8_0"),
    "tensorrt-llm": (None, "fp8", "nvfp4"),
}
CACHES: dict[EngineName, tuple[str | None, ...]] = {
    "vllm": (None, "fp8"),
    "sglang": (None, "fp8"),
    "llama.cpp": (None, "q8_0", "q4_0"),
    "tensorrt-llm": (None, "fp8"),
}
FILES = {"fp16": "F16", "q4_k_m": "Q4_K_M", "q8_0": "Q8_0", "fp8": "FP8", "nvfp4": "NVFP4"}
MODELS = ("llama-3.1-8b", "qwen3-30b-a3b", "llama-3.1-70b", "deepseek-v3")
STATED = ("role", "tensor_parallel", "pipeline_parallel", "expert_parallel", "attention_parallel")
STATED += ("replicas", "devices", "cache_format", "context_tokens", "chunk_tokens")
STATED += ("most_sequences", "drafting")
"""Fields of a launch that a command says again, to the letter."""


class Case(NamedTuple):
    """A plan, and where its engine finds the model."""

    result: Result
    model: str | None


def cases(engine: EngineName, count: int, seed: int) -> Iterator[Case]:
    """Random plans of the engine, in formats that its commands can say."""
    draw = random.Random(f"{engine} {seed}")
    software = STACKS[engine][0]
    machine = pl.load_topology("hgx-h200", chips=64, software=software)
    found = 0
    while found < count:
        graph, model = _model(draw, engine)
        told = machine.with_usable_memory(draw.choice([0.8, 0.875, 0.9, 0.95]))
        plan, workload = drawn(draw, graph, told, every_draft=True)
        if plan is None or pl.check_plan(plan, graph, told, workload):
            continue
        found += 1
        yield Case(result_of(graph, told, plan, workload), model)


def _model(draw: random.Random, engine: EngineName) -> tuple[ModelGraph, str | None]:
    name = draw.choice(MODELS)
    weights = None if name == "deepseek-v3" else draw.choice(FORMATS[engine])
    if engine == "llama.cpp":
        weights = weights or "q8_0"
    graph = pl.load_model(name, weight_dtype=weights, kv_dtype=draw.choice(CACHES[engine]))
    if engine == "llama.cpp":
        return graph, f"models/{name}-{FILES[weights or 'q8_0']}.gguf"
    is_made = engine == "tensorrt-llm" and weights is not None
    return graph, f"nvidia/{name}-{FILES[weights]}" if is_made and weights else None


def read_again(export: Export) -> Reading:
    """All files of an export, read as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        for file in export.files:
            (Path(folder) / file.name).write_text(file.text, encoding="utf-8")
        return read_command(folder)


def planned_again(reading: Reading, result: Result) -> tuple[ModelGraph, Planned]:
    """What the reading comes to on the same machine, its own limits and drafts unsaid."""
    graph = model_of(reading.launch).graph
    machine = pl.load_topology("hgx-h200", chips=64, software=result.topology.software.name)
    asked = result.workload.replace(speculation=None)
    return graph, planned(reading.launch, graph, machine, asked)


def check_same(case: Case, export: Export, reading: Reading, *, placed: bool = True) -> None:
    """`placed`: whether it says on which chips."""
    result = case.result
    written, read = export.launches[0], reading.launch
    if not placed:
        read, written = (one.replace(devices=None) for one in (read, written))
    assert said(read) == said(written)
    graph, again = planned_again(reading, result)
    assert graph == result.graph
    # A plan may state more micro-batches than it has sequences; each is then one.
    most = -(-result.score.batch_size // result.plan.replicas)
    kept = min(result.plan.micro_batches, most)
    assert again.plan.replace(micro_batches=kept) == result.plan.replace(micro_batches=kept)
    assert min(again.plan.micro_batches, most) == kept
    told, planned_for = again.topology.software, result.topology.software
    assert told.prefill_chunk_tokens == planned_for.prefill_chunk_tokens
    assert again.workload.speculation == result.workload.speculation
    if read.engine != "llama.cpp":  # which takes what it needs
        share = planned_for.usable_memory_fraction
        assert share - 1e-3 <= told.usable_memory_fraction <= share + 1e-9


def said(launch: Launch) -> dict[str, object]:
    return {name: getattr(launch, name) for name in STATED}


NOT_WRITTEN = ("manifest: ", "plan: tensorrt-llm starts the same ranks on the same chips")
"""How refusals begin of what has no command: some manifests have no several nodes, or no attention
ranks."""


def exported(case: Case, engine: EngineName, manifest: str | None = None) -> Export | None:
    """None: it is not written."""
    try:
        return to_engine(case.result, engine, model=case.model, manifest=manifest)
    except InputError as refusal:
        if not str(refusal).startswith(NOT_WRITTEN):
            raise
        return None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_export_is_read_again_as_the_plan_that_it_was_made_of(engine: EngineName) -> None:
    count = 0
    for case in cases(engine, some(5, 125), seed=1):
        export = exported(case, engine)
        if export is not None:
            check_same(case, export, read_again(export))
            count += 1
    assert count >= some(3, 80)


def in_one_manifest(export: Export, name: str) -> Reading:
    return read_command(export.file(f"{name}.yaml"))


MANIFESTS = [(engine, "leaderworkerset") for engine in ENGINES]
MANIFESTS += [(engine, "dynamo") for engine in ("vllm", "sglang", "tensorrt-llm")]
MANIFESTS += [("vllm", name) for name in ("llm-d", "kserve", "ray-serve")]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "name"), MANIFESTS)
def test_a_manifest_is_read_again_as_the_plan_that_it_was_made_of(
    engine: EngineName, name: str
) -> None:
    count = 0
    for case in cases(engine, some(5, 60), seed=2):
        export = exported(case, engine, name)
        if export is not None:
            check_same(case, export, in_one_manifest(export, name), placed=False)
            count += 1
    assert count


def layers_on_cards(plan: pl.Plan) -> list[int]:
    return [len(stage.layers) - len(stage.offloaded) for stage in plan.stages]


@pytest.mark.parametrize(("cards", "away"), [(1, 9), (3, 4)])
def test_layers_off_the_cards_are_read_again(cards: int, away: int) -> None:
    graph = pl.load_model("llama-3.1-8b", weight_dtype="q8_0")
    machine = pl.load_topology("rtx-3090-nvlink-4", chips=cards, software="llama.cpp")
    workload = pl.Workload(batch_size=2, prompt_tokens=500, output_tokens=50)
    whole = pl.uniform_plan(graph, machine, pipeline_parallel=cards)
    plan = with_first_layers(whole, away).replace(micro_batches=2 if cards > 1 else 1)
    result = result_of(graph, machine, plan, workload)
    reading = read_again(to_engine(result, "llama.cpp", model="models/llama-3.1-8b-Q8_0.gguf"))
    again = planned(reading.launch, model_of(reading.launch).graph, machine, workload).plan
    assert again.micro_batches == plan.micro_batches
    # Each card holds as much; but llama.cpp takes the first of the model, not of each stage.
    assert layers_on_cards(again) == layers_on_cards(plan)
    assert (again == plan) is (cards == 1)
