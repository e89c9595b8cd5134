import shlex

import pytest

import planner as pl
from planner.errors import InputError
from planner.export.exporting import to_engine
from tests.exported import cut_plan, golden_pools, golden_results, result_of

yaml = pytest.importorskip("yaml")


def spec(result):
    return yaml.safe_load(to_engine(result, "vllm", manifest="kserve").file("kserve.yaml"))["spec"]


def test_degrees_stand_in_the_service_and_all_else_in_a_variable():
    made = spec(golden_results("vllm")["experts"])
    assert made["parallelism"] == {"tensor": 1, "data": 16, "dataLocal": 8, "expert": True}
    variables = {one["name"]: one.get("value") for one in made["template"]["containers"][0]["env"]}
    more = shlex.split(variables["VLLM_ADDITIONAL_ARGS"])
    assert "--max-num-seqs" in more
    assert "--tensor-parallel-size" not in more
    assert made["worker"] == made["template"]


def test_in_one_pod_all_degrees_but_the_tensor_ranks_are_flags():
    graph = pl.load_model("qwen3-30b-a3b")
    machine = pl.load_topology("hgx-h200", software="vllm")
    plan = cut_plan(graph, machine, (48,), attention=4, expert=4)
    made = spec(result_of(graph, machine, plan, pl.Workload(batch_size=8)))
    assert made["parallelism"] == {"tensor": 1}
    (container,) = made["template"]["containers"]
    assert "--data-parallel-size 4 --enable-expert-parallel" in container["env"][-1]["value"]


def test_stages_over_nodes_are_refused():
    with pytest.raises(InputError, match="by attention data parallel alone"):
        spec(golden_results("vllm")["stages"])


def test_a_pool_for_prompts_stands_beside():
    made = spec(golden_pools("vllm"))
    for workload, role in ((made["prefill"], "kv_producer"), (made, "kv_consumer")):
        (container,) = workload["template"]["containers"]
        variables = {one["name"]: one.get("value") for one in container["env"]}
        assert role in variables["VLLM_ADDITIONAL_ARGS"]
