import pytest

from planner.errors import InputError
from planner.export.exporting import to_engine
from tests.exported import golden_pools, golden_results

yaml = pytest.importorskip("yaml")


def graph(result, engine, **given):
    export = to_engine(result, engine, manifest="dynamo", **given)
    return list(yaml.safe_load_all(export.file("dynamo.yaml")))[-1]["spec"]


def test_nodes_are_counted_and_found_by_the_operator():
    front, worker = graph(golden_results("vllm")["stages"], "vllm")["components"]
    assert (front["type"], worker["type"]) == ("frontend", "worker")
    assert worker["multinode"] == {"nodeCount": 2}
    (container,) = worker["podTemplate"]["spec"]["containers"]
    assert "--nnodes" not in container["args"]
    assert container["command"] == ["python3", "-m", "dynamo.vllm"]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_pools_are_components_of_one_graph(engine):
    _, *pools = graph(golden_pools(engine), engine)["components"]
    assert [one["type"] for one in pools] == ["prefill", "decode"]
    for pool in pools:
        (container,) = pool["podTemplate"]["spec"]["containers"]
        args = container["args"]
        assert args[args.index("--disaggregation-mode") + 1] == pool["type"]
        assert args.count("--disaggregation-mode") == 1


def test_other_engines_are_refused():
    with pytest.raises(InputError, match=r"not llama\.cpp"):
        graph(golden_results("llama.cpp")["tensor"], "llama.cpp", model="m.gguf")
