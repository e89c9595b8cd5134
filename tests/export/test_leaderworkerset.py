import pytest

from planner.export.exporting import to_engine
from tests.exported import golden_results

yaml = pytest.importorskip("yaml")


def made(engine, form):
    export = to_engine(golden_results(engine)[form], engine, manifest="leaderworkerset")
    return list(yaml.safe_load_all(export.file("leaderworkerset.yaml")))


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_each_node_of_an_engine_is_a_pod_of_its_group(engine):
    group, service = made(engine, "stages")
    template = group["spec"]["leaderWorkerTemplate"]
    assert (group["spec"]["replicas"], template["size"]) == (1, 2)
    (leader,) = template["leaderTemplate"]["spec"]["containers"]
    (worker,) = template["workerTemplate"]["spec"]["containers"]
    assert leader["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert "$(LWS_WORKER_INDEX)" in worker["command"]
    assert "ports" not in worker
    assert service["spec"]["ports"][0]["port"] == leader["ports"][0]["containerPort"]
    assert {
        "name": f"{'VLLM' if engine == 'vllm' else 'SGLANG'}_PP_LAYER_PARTITION",
        "value": "41,39",
    } in worker["env"]


def test_an_engine_of_one_node_is_a_group_of_one():
    config, group, _ = made("tensorrt-llm", "tensor")
    assert config["kind"] == "ConfigMap"
    assert yaml.safe_load(config["data"]["trtllm.yaml"])["tensor_parallel_size"] == 4
    assert group["spec"]["replicas"] == 2
    assert "leaderTemplate" not in group["spec"]["leaderWorkerTemplate"]
