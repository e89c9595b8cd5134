import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.kubernetes import is_nodes, read_nodes

HERE = Path("nodes.json")
GIB = 2**30


def node(
    name,
    gpus=8,
    *,
    free=None,
    product="NVIDIA-H100-80GB-HBM3",
    memory="81559",
    resource="nvidia.com/gpu",
):
    labels = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus),
              "nvidia.com/gpu.memory": memory}  # fmt: skip
    capacity = {"cpu": "112", "memory": "2113395308Ki", resource: str(gpus)}
    allocatable = capacity | {resource: str(gpus if free is None else free)}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels if resource.startswith("nv") else {}},
        "status": {"capacity": capacity, "allocatable": allocatable},
    }


def nodes(*items):
    return {"kind": "List", "items": list(items)}


def test_nodes_say_what_gpus_they_have():
    plain = {"kind": "Node", "metadata": {"name": "cpu-only"}, "status": {"capacity": {"cpu": "4"}}}
    fields = json.loads(json.dumps(nodes(node("a"), node("b", free=6), plain)))
    assert is_nodes(fields)
    seen = read_nodes(fields, HERE)
    assert len(seen.of_kind("gpu")) == 16
    assert seen.hosts == ("a", "b")
    gpu = seen.of_kind("gpu", "b")[0]
    assert gpu.product == "NVIDIA H100 80GB HBM3"
    assert gpu.memory_bytes == 81559 * 2**20
    assert seen.of_kind("cpu", "a")[0].memory_bytes == 2113395308 * 1024
    assert seen.remarks == ("only 6 of the 8 GPUs of b can be allocated",)


def test_gpus_that_are_shared_out_are_counted_whole():
    shared = node("a", 1, product="Tesla-T4-SHARED")
    shared["status"]["capacity"]["nvidia.com/gpu"] = "10"
    seen = read_nodes(shared, HERE)
    assert len(seen.of_kind("gpu")) == 1
    assert seen.of_kind("gpu")[0].product == "Tesla T4"
    assert "shared by time slicing" in seen.remarks[0]
    sliced = read_nodes(node("a", 1, product="NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"), HERE)
    assert sliced.of_kind("gpu")[0].product == "NVIDIA A100 SXM4 40GB"
    assert "MIG" in sliced.remarks[0]


def test_amds_gpus_are_counted_by_what_the_node_has():
    seen = read_nodes(node("a", 4, resource="amd.com/gpu"), HERE)
    assert len(seen.of_kind("gpu")) == 4
    assert seen.of_kind("gpu")[0].product == ""


def test_nodes_that_nvlink_joins_are_one_host():
    some = [node(f"tray{at}", 4, product="NVIDIA-GB200", memory="189471") for at in range(3)]
    for at, one in enumerate(some):
        one["metadata"]["labels"]["nvidia.com/gpu.clique"] = f"7b968a6d.{at // 2}"
    seen = read_nodes(nodes(*some), HERE)
    assert seen.hosts == ("NVLink domain 7b968a6d.0", "NVLink domain 7b968a6d.1")
    assert len(seen.of_kind("gpu", seen.hosts[0])) == 8
    assert len(seen.of_kind("cpu", seen.hosts[0])) == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (nodes(), "none of the 0 nodes"),
        ({"kind": "List", "items": 3}, "must be a list"),
        (nodes(node("a"), node("a")), "two nodes are called a"),
        (nodes(node("a", 1000)), "says that it has 1000 GPUs"),
        (nodes(3, None, {"metadata": []}), "none of the 3 nodes"),
    ],
)
def test_nodes_without_gpus_are_refused(fields, said):
    with pytest.raises(InputError, match=said):
        read_nodes(fields, HERE)
