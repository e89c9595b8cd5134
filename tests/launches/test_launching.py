import math

import pytest

import planner as pl
from planner.launches.launching import (
    BEYOND_TOKENS,
    decoder_layers,
    hub_name,
    job_of,
    launch_of,
    node_chips,
)
from tests.exported import cut_plan, result_of
from tests.instances import tiny_graph

DENSE = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="vllm")
WORKLOAD = pl.Workload(batch_size=12, prompt_tokens=100, output_tokens=20)


def result(machine=MACHINE, cut=(20, 12), **degrees):
    plan = cut_plan(DENSE, machine, cut, sequences=12, **degrees)
    return result_of(DENSE, machine, plan, WORKLOAD)


def test_a_launch_says_what_the_ledger_assumed():
    job, notes = job_of(result(tensor=2, replicas=2), "vllm")
    launch = launch_of(job, "vllm")
    assert notes == ()
    assert launch.layers == (20, 12)
    assert launch.devices == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert launch.most_sequences == 6
    assert launch.context_tokens == 120 + BEYOND_TOKENS
    assert launch.memory_share == MACHINE.software.usable_memory_fraction
    assert launch.model == "meta-llama/Meta-Llama-3.1-8B"
    assert launch.weight_format is None
    assert launch.chips == job.plan.chips


def test_the_embedding_and_the_head_are_no_decoder_layers():
    plan = pl.uniform_plan(DENSE, MACHINE, pipeline_parallel=4)
    assert decoder_layers(plan, DENSE) == (8, 8, 8, 8)


def test_experts_that_ranks_do_not_divide_are_held_twice():
    graph = pl.load_model("deepseek-v3")
    machine = pl.load_topology("hgx-h200", chips=144, software="vllm")
    plan = cut_plan(graph, machine, (61,), attention=144, expert=144, sequences=144)
    made = result_of(graph, machine, plan, pl.Workload(batch_size=144))
    assert launch_of(job_of(made, "vllm")[0], "vllm").redundant_experts == 288 - 256


def test_a_plan_that_the_engine_lacks_is_refused_with_what_the_best_reaches():
    made = result()
    odd = result_of(DENSE, MACHINE, made.plan.replace(micro_batches=1, space="any"), WORKLOAD)
    best = 0.00312
    with pytest.raises(pl.InputError) as refused:
        job_of(odd.replace(engine_objective=best), "vllm")
    words = str(refused.value)
    assert "keeps 3 micro-batches of 12 sequences in flight over 2 stages, not 1" in words
    assert "the best plan that it can run has tpot_s = 3.12 ms" in words
    assert "space='engine'" in words


def test_where_the_best_is_not_known_it_is_searched_for():
    made = result()
    odd = result_of(DENSE, MACHINE, made.plan.replace(micro_batches=1, space="any"), WORKLOAD)
    found = pl.partition(DENSE, MACHINE, WORKLOAD, minimize="tpot_s")
    with pytest.raises(pl.InputError, match=f"tpot_s = {1e3 * found.objective:.3g} ms"):
        job_of(odd, "vllm")


def test_a_plan_of_another_engine_is_priced_anew_with_the_micro_batches_that_this_one_keeps():
    machine = pl.load_topology("hgx-h100", software="tensorrt-llm")
    job, notes = job_of(result(machine), "vllm")
    assert job.plan.micro_batches == 3
    assert job.software.name == "vllm"
    assert job.score == pl.score_plan(job.plan, DENSE, job.topology, WORKLOAD)
    assert "made for tensorrt-llm" in notes[0]


def test_what_another_engine_lacks_is_said_of_it():
    machine = pl.load_topology("hgx-h100", software="vllm")
    with pytest.raises(
        pl.InputError, match=r"llama\.cpp cannot combine tensor parallel with pipeline stages"
    ):
        job_of(result(machine, tensor=2), "llama.cpp")


@pytest.mark.parametrize(
    ("name", "engine", "words"),
    [
        ("groq-lpu-chain", "vllm", "does not run on Groq LPU v1"),
        ("mi300x-8", "tensorrt-llm", "only on chips of NVIDIA"),
    ],
)
def test_an_engine_runs_on_chips_of_some_makers(name, engine, words):
    machine = pl.load_topology(name, chips=8)
    graph = tiny_graph(8)
    plan = pl.uniform_plan(graph, machine, pipeline_parallel=8)
    with pytest.raises(pl.InputError, match=words):
        job_of(result_of(graph, machine, plan, pl.Workload(batch_size=8)), engine)


def test_a_model_that_no_hub_is_known_to_have_must_be_named():
    with pytest.raises(pl.InputError, match="give model="):
        hub_name(pl.load_model("gpt-3-175b"), "vllm")
    with pytest.raises(pl.InputError, match=r"a file\.gguf"):
        hub_name(DENSE, "llama.cpp")
    assert hub_name(pl.load_model("deepseek-v3"), "sglang") == "deepseek-ai/DeepSeek-V3"


def test_a_checkpoint_in_another_format_is_not_the_model():
    for name in ("glm-4.7", "minimax-m2.5", "nemotron-3-super-120b-a12b"):
        with pytest.raises(pl.InputError, match="give model="):
            hub_name(pl.load_model(name), "vllm")
    named = pl.load_model("nemotron-3-ultra-550b-a55b", weight_dtype="fp8")
    assert hub_name(named, "vllm") == "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16"


def test_racks_are_made_of_trays_of_four():
    assert node_chips(pl.load_topology("gb200-nvl72")) == 4
    assert node_chips(pl.load_topology("hgx-h100", chips=4)) == 8


def test_drafts_are_asked_for_as_the_engine_knows_them():
    workload = WORKLOAD.replace(speculation=pl.Speculation(kind="eagle3", draft=DENSE.cut(1)))
    plan = cut_plan(DENSE, MACHINE, (32,), sequences=12)
    job, _ = job_of(result_of(DENSE, MACHINE, plan, workload), "vllm")
    with pytest.raises(pl.InputError, match=r"draft: .* give draft= \(--draft-path\)"):
        launch_of(job, "vllm")
    told = launch_of(job, "vllm", draft="some/head").drafting
    assert told is not None
    assert (told.kind, told.tokens, told.model) == ("eagle3", 4, "some/head")


def test_sequences_are_those_of_the_fullest_engine():
    made = result(cut=(32,), replicas=5)
    assert launch_of(job_of(made, "vllm")[0], "vllm").most_sequences == math.ceil(12 / 5)
