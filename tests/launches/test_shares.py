"""Shares of memory, worked out by hand from the ledger of one chip."""

from typing import Any

import pytest

import planner as pl
from planner.launches.launch import Launch
from planner.launches.planning import planned
from planner.launches.shares import told_share
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.scoring.plans import score_plan
from planner.scoring.score import StageScore

LOAD = pl.Workload(batch_size=4, prompt_tokens=500, output_tokens=100)


@pytest.fixture(scope="module")
def llama() -> ModelGraph:
    return pl.load_model("llama-3.1-8b")


def share_of(graph: ModelGraph, **fields: Any) -> tuple[float | None, StageScore, Topology]:
    """The share, and the stage that it is worked out from."""
    launch = Launch(**{"model": "m"} | fields)
    machine = pl.load_topology("hgx-h100", chips=1, software=launch.engine)
    plan = planned(launch, graph, machine, LOAD).plan
    stage = score_plan(plan, graph, machine, LOAD).stages[0]
    return told_share(launch, plan, graph, machine, LOAD), stage, machine


def test_vllm_is_told_it(llama: ModelGraph) -> None:
    assert share_of(llama, engine="vllm", memory_share=0.85)[0] == 0.85
    assert share_of(llama, engine="vllm")[0] is None
    assert share_of(llama, engine="sglang")[0] is None


def test_sglang_is_told_it_without_the_buffers(llama: ModelGraph) -> None:
    share, stage, machine = share_of(llama, engine="sglang", memory_share=0.8)
    capacity = machine.chip.memory[0].capacity_bytes
    beside = machine.software.reserved_bytes + stage.activation_bytes + stage.workspace_bytes
    assert share == pytest.approx(0.8 + beside / capacity)
    assert share_of(llama, engine="sglang", memory_share=1.0)[0] == 1.0


def test_tensorrt_llm_is_told_of_what_is_left(llama: ModelGraph) -> None:
    share, stage, machine = share_of(llama, engine="tensorrt-llm", cache_share=0.5)
    capacity = machine.chip.memory[0].capacity_bytes
    held = machine.software.reserved_bytes + stage.needed_bytes - stage.kv_bytes
    assert share == pytest.approx((held + 0.5 * (capacity - held)) / capacity)
    assert share_of(llama, engine="tensorrt-llm", cache_share=1.0)[0] == pytest.approx(1.0)
