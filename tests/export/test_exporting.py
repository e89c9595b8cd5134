"""From plans to texts and back: what an engine is told is what was planned."""

import json
import os
import random
import shlex
import subprocess

import pytest

import planner as pl
from planner.export import to_engine
from planner.export.exporting import ENGINES, wanted_of
from planner.plan import Plan
from planner.planning.disaggregation import disaggregate
from tests.exported import (
    GOLDEN,
    cut_plan,
    golden_results,
    golden_texts,
    options_of,
    result_of,
    runnable,
)

DENSE = pl.load_model("llama-3.1-8b")
MACHINE = pl.load_topology("hgx-h100", software="vllm")


@pytest.mark.parametrize("engine", ENGINES)
def test_files_are_those_that_stand_in_the_data(engine):
    texts = golden_texts(engine)
    there = {one.name for one in GOLDEN.iterdir() if one.name.startswith(f"{engine}-")}
    assert set(texts) == there
    for name, text in texts.items():
        assert text == (GOLDEN / name).read_text(encoding="utf-8"), name


def chips_seen(export) -> list[tuple[int, ...]]:
    """By process."""
    seen = (options_of(line)["CUDA_VISIBLE_DEVICES"] for line in export.commands)
    return [tuple(map(int, one.split(","))) for one in seen]


@pytest.mark.slow
def test_vllm_is_told_every_degree_of_any_plan_that_it_can_run():
    for result in runnable("vllm", 40):
        export = to_engine(result, "vllm")
        (launch,) = export.launches
        assert sum(map(len, chips_seen(export))) == result.plan.chips
        for line in export.commands:
            told = options_of(line)
            stage = result.plan.stages[0]
            assert int(told["--tensor-parallel-size"]) == stage.tensor_parallel
            assert int(told.get("--data-parallel-size", 1)) == stage.attention_parallel
            assert ("--enable-expert-parallel" in told) == (stage.expert_parallel > 1)
            cut = told.get("VLLM_PP_LAYER_PARTITION", str(len(result.graph.inner_positions)))
            assert tuple(map(int, cut.split(","))) == launch.layers
            assert len(result.plan.stages) == int(told["--pipeline-parallel-size"])


@pytest.mark.slow
def test_sglang_counts_all_ranks_of_a_stage():
    for result in runnable("sglang", 40):
        for line in to_engine(result, "sglang").commands:
            told, stage = options_of(line), result.plan.stages[0]
            assert int(told["--tp-size"]) == stage.group_chips
            assert int(told.get("--attn-dp-size", 1)) == stage.attention_parallel
            assert int(told.get("--ep-size", 1)) == stage.expert_parallel
            assert int(told["--pp-size"]) == len(result.plan.stages)


def test_the_runner_takes_plans_and_no_export():
    with pytest.raises(pl.InputError, match=r"write the plan with --out plan\.json"):
        wanted_of("torch-gloo")


def test_a_plan_comes_back_from_its_file_as_it_was():
    result = next(runnable("vllm", 1, seed=3))
    assert Plan.from_json(to_engine(result, "vllm").file("plan.json")) == result.plan


@pytest.mark.slow
def test_engines_stand_on_chips_of_their_own():
    draw = random.Random(4)
    for result in runnable("vllm", 10, seed=draw.randrange(100)):
        (launch,) = to_engine(result, "vllm").launches
        held = [chip for chips in launch.devices for chip in chips]
        assert len(held) == len(set(held)) == result.plan.chips


@pytest.mark.parametrize(
    ("engine", "weights", "words"),
    [
        ("tensorrt-llm", "fp8", "tensorrt-llm cannot convert .* to fp8 weights"),
        ("vllm", "int4", "vllm cannot convert .* to int4 weights"),
    ],
)
def test_formats_that_an_engine_does_not_make_need_a_checkpoint(engine, weights, words):
    graph = pl.load_model("llama-3.1-8b", weight_dtype=weights)
    machine = pl.load_topology("hgx-h100", software=engine)
    result = result_of(graph, machine, cut_plan(graph, machine, (32,)), pl.Workload(batch_size=8))
    with pytest.raises(pl.InputError, match=words):
        to_engine(result, engine)
    export = to_engine(result, engine, model="some/checkpoint")
    assert f"some/checkpoint must hold {weights} weights." in export.notes


def test_an_older_version_is_told_in_its_own_words():
    graph = pl.load_model("qwen3-30b-a3b")
    machine = pl.load_topology("hgx-h100", software="sglang")
    plan = cut_plan(graph, machine, (48,), attention=4, expert=4)
    result = result_of(graph, machine, plan, pl.Workload(batch_size=8))
    told = options_of(to_engine(result, "sglang", version="0.5.9").commands[0])
    assert told["--dp-size"] == "4"
    assert "--enable-dp-attention" in told
    assert "--attn-dp-size" not in told


def test_what_is_wrong_is_said_before_anything_is_made():
    with pytest.raises(pl.InputError, match="engine must be vllm"):
        wanted_of("vlm")
    with pytest.raises(pl.InputError, match="chips_per_node must be at least 1"):
        wanted_of("vllm", chips_per_node=0)


def test_pools_of_one_machine_stand_side_by_side_behind_a_router():
    workload = pl.Workload(batch_size=None, requests_per_s=1.0, prompt_tokens=500, output_tokens=50)
    pools = disaggregate(
        DENSE,
        workload,
        prefill=MACHINE,
        link=pl.Link(bandwidth_bytes_per_s=50e9),
        minimize="tpot_s",
    )
    export = to_engine(pools, "vllm")
    prefill, decode = export.launches
    assert (prefill.role, decode.role) == ("prefill", "decode")
    assert prefill.devices[0][0] == 0
    assert decode.devices[0][0] == pools.prefill_topology.chips
    assert '"kv_role": "kv_producer"' in export.file("prefill-start.sh")
    assert '"kv_role": "kv_consumer"' in export.file("decode-start.sh")
    assert "--vllm-pd-disaggregation" in export.router
    with pytest.raises(pl.InputError, match="not known to hand caches"):
        to_engine(pools, "llama.cpp", model="m.gguf")


@pytest.mark.slow
def test_tensorrt_llm_reads_every_degree_from_its_file():
    yaml = pytest.importorskip("yaml")
    written = 0
    for result in runnable("tensorrt-llm", 40):
        try:
            export = to_engine(result, "tensorrt-llm")
        except pl.InputError:
            continue
        written += 1
        (launch,), stage = export.launches, result.plan.stages[0]
        told = yaml.safe_load(export.file("trtllm.yaml"))
        assert told["tensor_parallel_size"] == stage.group_chips
        assert told["enable_attention_dp"] == (stage.attention_parallel > 1)
        assert told.get("moe_expert_parallel_size", 1) == stage.expert_parallel
        assert told.get("pp_partition", list(launch.layers)) == list(launch.layers)
        assert told["max_batch_size"] * stage.attention_parallel >= launch.most_sequences
    assert written > 10


@pytest.mark.slow
def test_llama_cpp_counts_layers_on_each_card():
    for result in runnable("llama.cpp", 20):
        export = to_engine(result, "llama.cpp", model="m.gguf")
        told = options_of(export.commands[-1])
        layers = len(result.graph.inner_positions)
        assert told["-ngl"] == str(layers + 1)
        if told["-sm"] == "layer":
            *others, last = map(int, told["-ts"].split(","))
            assert (*others, last - 1) == export.launches[0].layers
        else:
            assert len(result.plan.stages) == 1


def test_answers_of_other_kinds_are_refused():
    result = next(runnable("vllm", 1))
    with pytest.raises(pl.InputError, match="not a Plan"):
        to_engine(result.plan, "vllm")


def test_a_pool_by_itself_is_said_to_be_one():
    plan = cut_plan(DENSE, MACHINE, (32,), sequences=16)
    workload = pl.Workload(batch_size=16, phase="decode")
    export = to_engine(result_of(DENSE, MACHINE, plan, workload), "vllm")
    assert "a pool for decode alone" in " ".join(export.notes)


def test_a_rate_that_was_found_is_the_rate_of_the_benchmark():
    plan = cut_plan(DENSE, MACHINE, (32,), sequences=16).replace(requests_per_s=2.5)
    workload = pl.Workload(arrivals="poisson")
    export = to_engine(result_of(DENSE, MACHINE, plan, workload), "vllm")
    assert options_of(export.benchmark)["--request-rate"] == "2.5"


def test_stages_that_are_split_unlike_are_refused():
    plan = cut_plan(DENSE, MACHINE, (20, 12), tensor=2, sequences=16)
    first, second = plan.stages
    odd = plan.replace(
        stages=(first, second.replace(tensor_parallel=1, groups=(pl.ChipRange(first=2, count=1),)))
    )
    result = result_of(DENSE, MACHINE, odd.replace(space="any"), pl.Workload(batch_size=16))
    with pytest.raises(pl.InputError, match="vllm splits all stages alike"):
        to_engine(result.replace(engine_objective=0.003), "vllm")


STAND_IN = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["SEEN"], "a") as seen:
    print(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], *sys.argv[1:]]), file=seen)
"""


@pytest.mark.slow
def test_scripts_start_what_the_commands_say(tmp_path):
    export = to_engine(golden_results("vllm")["stages"], "vllm")
    program = tmp_path / "vllm"
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    places = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "NODE_0": "10.0.0.1",
        "SEEN": str(tmp_path / "seen"),
    }
    for number, line in enumerate(export.commands):
        subprocess.run(
            ["bash", "-c", export.file(f"start-node-{number}.sh")], env=places, check=True
        )
        chips, *arguments = json.loads((tmp_path / "seen").read_text().splitlines()[-1])
        told = options_of(line)
        assert chips == told["CUDA_VISIBLE_DEVICES"]
        assert shlex.split(line.replace("$NODE_0", "10.0.0.1"))[-len(arguments) :] == arguments
