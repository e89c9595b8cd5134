import shlex

import pytest

from planner.errors import InputError
from planner.export.exporting import to_engine
from tests.exported import golden_pools, golden_results

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


def test_stages_over_nodes_are_refused():
    with pytest.raises(InputError, match="by attention data parallel alone"):
        spec(golden_results("vllm")["stages"])


def test_a_pool_for_prompts_stands_beside():
    made = spec(golden_pools("vllm"))
    assert made["prefill"]["replicas"] >= 1
    assert made["parallelism"]
