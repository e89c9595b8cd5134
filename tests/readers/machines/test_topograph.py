from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.topograph import read_model_of_topograph, read_topograph

HERE = Path("topology.json")


def instance(name, *layers, domain="nvl-1"):
    labels = {"accelerator.topograph.run/domain": domain}
    return {"id": name, "network_layers": list(layers), "labels": labels}


def test_instances_stand_below_their_switches():
    made = [instance(f"I{at}", f"leaf-{at // 2}", "spine", domain=f"d{at // 2}") for at in range(4)]
    seen = read_topograph({"instances": made}, HERE)
    assert len(seen.of_kind("cpu")) == 4
    assert {one.name for one in seen.of_kind("switch")} == {"leaf-0", "leaf-1", "spine"}
    assert len(seen.links) == 4 + 2
    assert "2 NVLink domains" in seen.remarks[0]


def test_models_have_blocks_below_switches():
    fields = {
        "switches": {"core": {"switches": ["leaf-1", "leaf-2"]}},
        "blocks": [
            {"switch": "leaf-1", "nodes": ["n[1-18]"]},
            {"switch": "leaf-2", "nodes": ["n[19-36]"],
             "annotations": {"accelerator.topology.test/domain": "d2"}},
        ],
    }  # fmt: skip
    seen = read_model_of_topograph(fields, HERE)
    assert len(seen.of_kind("cpu")) == 36
    assert len(seen.of_kind("switch")) == 3
    assert "1 NVLink domains" in seen.remarks[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"instances": 3},
        {"instances": ["a"]},
        {"instances": [{"id": "a", "network_layers": []}]},
        {"instances": [{"id": None, "network_layers": ["s"]}]},
        {"instances": [instance("a", "s", "x"), instance("b", "s", "y")]},
    ],
)
def test_instances_that_are_none_are_refused(fields):
    with pytest.raises(InputError, match="instances"):
        read_topograph(fields, HERE)


@pytest.mark.parametrize("fields", [{"blocks": 3}, {"blocks": [{}]}, {"blocks": [{"nodes": 3}]}])
def test_blocks_that_are_none_are_refused(fields):
    with pytest.raises(InputError, match="blocks"):
        read_model_of_topograph(fields, HERE)
