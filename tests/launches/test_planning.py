"""What an engine makes of a launch, worked out by hand on small shapes and against its own rules."""

from typing import Any

import pytest

import planner as pl
from planner.errors import InputError
from planner.launches.launch import Drafting, Launch
from planner.launches.planning import plan_of, planned, settled_launch, stack_of, told_machine
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.pricing.engines import in_flight
from planner.scoring.checking import check_plan


@pytest.fixture(scope="module")
def llama() -> ModelGraph:
    return pl.load_model("llama-3.1-8b")


@pytest.fixture(scope="module")
def experts() -> ModelGraph:
    return pl.load_model("qwen3-30b-a3b")


def machine(software: str = "vllm", chips: int = 8) -> Topology:
    return pl.load_topology("hgx-h100", software=software, chips=chips)


def launch(**fields: Any) -> Launch:
    return Launch(**{"engine": "vllm", "model": "m"} | fields)


LOAD = pl.Workload(batch_size=32, prompt_tokens=512, output_tokens=64)


def test_degrees_alone_are_the_plan_that_uniform_plan_makes(llama: ModelGraph) -> None:
    told = launch(tensor_parallel=2, pipeline_parallel=2, replicas=2)
    plan, remarks = plan_of(told, llama, machine())
    assert remarks == ()
    assert plan == pl.uniform_plan(
        llama, machine(), tensor_parallel=2, pipeline_parallel=2, data_parallel=2
    )
    assert plan.space == "engine"


def test_a_stated_cut_and_stated_chips_are_kept(llama: ModelGraph) -> None:
    told = launch(pipeline_parallel=2, layers=(20, 12), devices=((4, 5),))
    plan, _ = plan_of(told, llama, machine())
    assert [len(stage.layers) for stage in plan.stages] == [21, 13]
    assert [stage.groups[0].first for stage in plan.stages] == [4, 5]


def test_each_engine_keeps_as_many_micro_batches_as_it_does(llama: ModelGraph) -> None:
    for engine, kept in (("vllm", 3), ("sglang", 2), ("tensorrt-llm", 2)):
        told = launch(engine=engine, pipeline_parallel=2)
        assert plan_of(told, llama, machine(engine))[0].micro_batches == kept
    told = launch(engine="llama.cpp", pipeline_parallel=2, most_sequences=4)
    made = planned(told, llama, machine("llama.cpp"), LOAD)
    assert made.plan.micro_batches == 4


def test_a_cut_that_is_not_all_layers_is_refused(llama: ModelGraph) -> None:
    with pytest.raises(InputError, match=r"31 in all, and llama-3\.1-8b has 32"):
        plan_of(launch(pipeline_parallel=2, layers=(20, 11)), llama, machine())


def test_chips_that_are_no_neighbours_are_said_to_be_priced_as_such(llama: ModelGraph) -> None:
    _, remarks = plan_of(launch(tensor_parallel=2, devices=((0, 4),)), llama, machine())
    assert "are not neighbours" in remarks[0]


def test_data_parallel_of_a_dense_model_is_engines_apart(llama: ModelGraph) -> None:
    told = launch(attention_parallel=4, tensor_parallel=2, most_sequences=256)
    settled, remarks = settled_launch(told, llama, machine())
    assert (settled.replicas, settled.attention_parallel, settled.most_sequences) == (4, 1, 64)
    assert "4 separate engines" in remarks[0]


def test_experts_without_expert_parallel_are_priced_as_shared_out(experts: ModelGraph) -> None:
    told = launch(attention_parallel=4, tensor_parallel=2)
    settled, remarks = settled_launch(told, experts, machine())
    assert settled.expert_parallel == 8
    assert "split over all 8 ranks" in remarks[0]


def test_llama_cpp_takes_all_cards_as_stages_by_shares(llama: ModelGraph) -> None:
    told = launch(engine="llama.cpp", spread="stages", stage_shares=(3.0, 1.0))
    settled = settled_launch(told, llama, machine("llama.cpp")).launch
    plan, _ = plan_of(settled, llama, machine("llama.cpp"))
    assert [len(stage.layers) for stage in plan.stages] == [26, 8]
    settled = settled_launch(launch(engine="llama.cpp", spread="tensor"), llama, machine()).launch
    assert settled.tensor_parallel == 8


def test_layers_that_stay_off_the_cards_are_the_first(llama: ModelGraph) -> None:
    told = launch(engine="llama.cpp", kept_layers=20)
    plan, remarks = plan_of(
        told, llama, pl.load_topology("rtx-3090-nvlink-4", software="llama.cpp")
    )
    # 13 of 32 decoder layers (the output layer is one of the 20), and the embedding.
    assert plan.stages[0].offloaded == llama.names[:14]
    assert remarks == ("13 layers are not on the cards",)


def test_the_engine_is_started_with_the_limits_that_it_is_told(llama: ModelGraph) -> None:
    told = launch(most_sequences=64, chunk_tokens=2048, attention_parallel=4)
    software = told_machine(told, machine()).software
    assert (software.most_sequences, software.prefill_chunk_tokens) == (16, 2048)


def test_drafts_and_roles_are_the_loads(llama: ModelGraph) -> None:
    told = launch(drafting=Drafting(kind="mtp", tokens=2))
    speculation = planned(told, llama, machine(), LOAD).workload.speculation
    assert speculation is not None
    assert (speculation.tokens, speculation.draft) == (2, llama.cut(1))
    made = planned(launch(role="prefill"), llama, machine(), LOAD)
    assert (made.workload.phase, made.workload.batch_size) == ("prefill", None)


def test_a_draft_model_that_is_not_known_is_asked_for(llama: ModelGraph) -> None:
    told = launch(drafting=Drafting(kind="draft-model", tokens=3, model="a/b"))
    with pytest.raises(InputError, match="--draft NAME --speculative-tokens 3"):
        planned(told, llama, machine(), LOAD)


def test_cards_without_a_layer_are_refused(llama: ModelGraph) -> None:
    told = launch(engine="llama.cpp", pipeline_parallel=2, stage_shares=(1.0, 0.0))
    with pytest.raises(InputError, match="--tensor-split leaves a card"):
        plan_of(told, llama, machine("llama.cpp"))
    told = launch(engine="llama.cpp", pipeline_parallel=8, kept_layers=3)
    with pytest.raises(InputError, match="--gpu-layers leaves a card"):
        plan_of(told, llama, machine("llama.cpp"))


def test_requests_beyond_the_context_are_refused(llama: ModelGraph) -> None:
    made = planned(launch(context_tokens=512), llama, machine(), LOAD)
    assert "at most 512 tokens, but these have 576" in made.faults[0]


def test_more_chips_than_the_machine_has_are_refused(llama: ModelGraph) -> None:
    with pytest.raises(InputError, match="--chips 16"):
        planned(launch(tensor_parallel=16), llama, machine(), LOAD)


def test_an_eager_engine_has_a_stack_of_its_own() -> None:
    assert stack_of(launch(eager=True)) == "vllm-eager"
    assert stack_of(launch(engine="sglang", eager=True)) == "sglang"


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
def test_plans_of_commands_are_ones_that_the_engine_can_be_started_with(
    engine: str, llama: ModelGraph
) -> None:
    software = machine(engine).software
    for stages in (1, 2, 4):
        told = launch(engine=engine, pipeline_parallel=stages, tensor_parallel=2)
        made = planned(told, llama, machine(engine), LOAD)
        assert check_plan(made.plan, llama, made.topology, made.workload) == ()
        assert made.plan.micro_batches == in_flight(software.engine, stages, 32)
