import pytest

from planner.export.exporting import to_engine
from tests.exported import golden_pools, golden_results

yaml = pytest.importorskip("yaml")


def values(result):
    return yaml.safe_load(to_engine(result, "vllm", manifest="llm-d").file("llm-d.yaml"))


def test_one_pool_is_the_decode_of_the_chart():
    made = values(golden_results("vllm")["tensor"])
    assert made["prefill"] == {"create": False}
    assert made["decode"]["replicas"] == 2
    assert made["decode"]["parallelism"]["tensor"] == 4
    assert made["decode"]["containers"][0]["modelCommand"] == "vllmServe"
    assert made["modelArtifacts"]["uri"] == "hf://meta-llama/Meta-Llama-3.1-70B"


def test_several_nodes_have_a_leader_and_workers():
    made = values(golden_results("vllm")["stages"])
    assert made["multinode"]
    assert made["decode"]["workerTemplate"]["containers"][0]["args"][-1] == "--headless"


def test_both_pools_are_made():
    made = values(golden_pools("vllm"))
    assert made["prefill"]["create"]
    assert made["decode"]["create"]
