"""Operator graphs from JSON."""

import json

import pytest

from planner.errors import InputError
from planner.readers.operator_file import load_operators

NODE = {
    "id": 7,
    "supportedOnFpga": 1,
    "fpgaLatency": 1.5,
    "cpuLatency": 15.0,
    "isBackwardNode": 0,
    "size": 4.0,
}
FIELDS = {
    "maxSizePerFPGA": 9.0, "maxFPGAs": 2, "maxCPUs": 1,
    "nodes": [NODE, NODE | {"id": 3, "colorClass": 5, "supportedOnFpga": False, "isBackwardNode": True}],
    "edges": [{"sourceId": 7, "destId": 3, "cost": 0.25}],
}  # fmt: skip


def read(folder, **changes):
    path = folder / "graph.json"
    path.write_text(json.dumps(FIELDS | changes))
    return load_operators(path)


def test_everything_in_the_file_is_in_the_graph(tmp_path):
    graph = read(tmp_path)
    first, second = graph.operators
    assert (first.name, first.times_s, first.transfer_s, first.size_bytes) == (
        "7",
        (1.5, 15.0),
        0.25,
        4.0,
    )
    assert (second.name, second.times_s, second.colour, second.backward) == (
        "3",
        (None, 15.0),
        5,
        True,
    )
    assert graph.edges == ((0, 1),)
    assert graph.device_names == ("a0", "a1", "c0")
    assert graph.devices[0].memory_bytes == 9.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": 3}, "nodes must be a list"),
        ({"nodes": [NODE, NODE]}, "every id"),
        ({"nodes": [NODE | {"fpgaLatency": "fast"}], "edges": []}, "nodes[0]: fpgaLatency"),
        ({"nodes": [NODE | {"id": 1.5}], "edges": []}, "nodes[0]: id"),
        ({"edges": [{"sourceId": 7, "destId": 8, "cost": 1}]}, "edges[0]"),
        ({"edges": [FIELDS["edges"][0], FIELDS["edges"][0] | {"cost": 1.0}]}, "edges[1].cost"),
        ({"maxFPGAs": None}, "maxFPGAs"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, changes, words):
    with pytest.raises(InputError) as refused:
        read(tmp_path, **changes)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
