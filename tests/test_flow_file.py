"""Clusters from JSON."""

import json

import pytest

from benchmarks.flow_file import read_cluster
from planner.errors import InputError

FIELDS = {
    "layers": 3, "nodes": 2,
    "node_types": [{"nodes": [0, 1], "tokens_per_s_by_layers": {"1": 9.0, "2": 5.0, "4": 1.0}}],
    "links": {"every_ordered_pair_tokens_per_s": 7.0, "source_and_sink_tokens_per_s": 50.0},
}  # fmt: skip


def read(folder, **changes):
    path = folder / "cluster.json"
    path.write_text(json.dumps(FIELDS | changes))
    return read_cluster(path)


def test_rates_and_links_are_those_of_the_file(tmp_path):
    cluster = read(tmp_path)
    assert cluster.rates.tolist() == [[0.0, 9.0, 5.0, 0.0]] * 2
    assert cluster.links.tolist() == [[0.0, 7.0], [7.0, 0.0]]
    assert cluster.source.tolist() == cluster.sink.tolist() == [50.0, 50.0]


def test_links_that_differ_are_told_by_pairs(tmp_path):
    cluster = read(
        tmp_path,
        links=FIELDS["links"] | {"pairs": [[0, 1, 2.0], ["source", 1, 3.0], [0, "sink", 4.0]]},
    )
    assert cluster.links.tolist() == [[0.0, 2.0], [7.0, 0.0]]
    assert (cluster.source.tolist(), cluster.sink.tolist()) == ([50.0, 3.0], [4.0, 50.0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 0}, "layers"),
        ({"node_types": {}}, "node_types must be"),
        ({"nodes": 3}, "each of the 3 nodes"),
        ({"node_types": [FIELDS["node_types"][0] | {"nodes": [0, 0]}]}, "once"),
        (
            {"node_types": [{"nodes": [0], "tokens_per_s_by_layers": {"one": 1}}]},
            "number of layers",
        ),
        ({"links": None}, "links must be an object"),
        ({"links": FIELDS["links"] | {"pairs": [[0, 9, 1.0]]}}, "links.pairs[0]"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, changes, words):
    with pytest.raises(InputError) as refused:
        read(tmp_path, **changes)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
