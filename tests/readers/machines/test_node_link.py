import json
from pathlib import Path

import networkx as nx
import pytest

import planner as pl
from planner.errors import InputError
from planner.readers.machines.node_link import is_graph, read_graph

HERE = Path("graph.json")


@pytest.mark.parametrize("key", ["links", "edges"])
def test_what_a_topology_draws_comes_back(key):
    topology = pl.load_topology("rtx-3090-nvlink-4")
    drawn = nx.node_link_data(topology.to_networkx(), edges=key)
    fields = json.loads(json.dumps(drawn))
    assert key in fields
    assert is_graph(fields)
    seen = read_graph(fields, HERE)
    assert seen.name == "rtx-3090-nvlink-4"
    assert len(seen.of_kind("gpu")) == 4
    assert len(seen.of_kind("switch")) == 1
    widths = sorted(link.bandwidth_bytes_per_s for link in seen.links)
    assert widths == [31e9] * 4 + [56.25e9] * 2
    assert {link.latency_s for link in seen.links} == {1e-6, 0.6e-6}


def test_figures_may_have_units():
    edge = {"source": "a", "target": "b", "bandwidth": "25 GB/s", "latency": "2 us"}
    nodes = [{"id": "a", "kind": "GPU", "product": "NVIDIA L4"}, {"id": "b", "type": "switch"}]
    seen = read_graph({"nodes": nodes, "links": [edge, edge]}, HERE)
    assert len(seen.links) == 1
    assert seen.links[0].bandwidth_bytes_per_s == 25e9
    assert seen.devices[0].product == "NVIDIA L4"


@pytest.mark.parametrize(
    "fields",
    [
        {"nodes": 3, "links": []},
        {"nodes": [{}], "links": []},
        {"nodes": [{"id": "a"}], "links": [{"source": "a", "target": "a"}]},
        {"nodes": [{"id": "a"}], "links": [{"source": "a", "target": "b"}]},
        {"nodes": [{"id": "a"}, {"id": "b"}],
         "links": [{"source": "a", "target": "b", "bandwidth_bytes_per_s": "wide"}]},
        {"nodes": [{"id": "a"}, {"id": "b"}], "links": [{"source": "a", "target": "b", "latency": 3}]},
    ],
)  # fmt: skip
def test_graphs_that_are_none_are_refused(fields):
    with pytest.raises(InputError):
        read_graph(fields, HERE)
