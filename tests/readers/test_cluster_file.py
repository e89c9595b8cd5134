"""Clusters as files that a person writes."""

import pytest

import planner as pl
from planner import catalogue

MINE = """
name = "mine"
[[pool]]
topology = "hgx-h100"
chips = 4
exclude = [2]
[[pool]]
name = "small"
topology = "l4"
software = "vllm"
[[link]]
between = ["hgx-h100", "small"]
bandwidth = "12.5 GB/s"
latency = "30 us"
"""


def written(tmp_path, text: str) -> pl.Cluster:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return pl.load_cluster(path)


def test_a_file_names_pools_and_links(tmp_path):
    cluster = written(tmp_path, MINE)
    assert [(pool.name, pool.topology.chips, pool.exclude) for pool in cluster.pools] == [
        ("hgx-h100", 4, (2,)),
        ("small", 1, ()),
    ]
    assert cluster.pools[1].topology.software.name == "vllm"
    assert (cluster.links[0].bandwidth_bytes_per_s, cluster.links[0].latency_s) == (
        12.5e9,
        pytest.approx(30e-6),
    )
    (tmp_path / "mine.json").write_text(cluster.to_json(), encoding="utf-8")
    assert pl.load_cluster(tmp_path / "mine.json") == cluster


@pytest.mark.parametrize(
    ("was", "becomes", "word"),
    [
        ('name = "mine"', "", "cluster.name is missing"),
        ("latency", "delay", "link.delay is not a field of a link"),
        ('latency = "30 us"', "", r"link\[0\].latency is missing"),
        ('"30 us"', '"30"', r"link\[0\].latency needs a number and a unit"),
        (
            'topology = "l4"',
            "topology = 4",
            r"pool\[1\].topology must be a name of the catalogue or a table",
        ),
        ('"small"]', '"smal"]', "'smal'"),
        ("[2]", "[9]", "chips 0 to 3; 9 is not one of them"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_sentence(tmp_path, was, becomes, word):
    with pytest.raises(pl.InputError, match=word) as caught:
        written(tmp_path, MINE.replace(was, becomes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", catalogue.cluster_names())
def test_every_figure_of_a_shipped_cluster_has_a_source_that_is_explained(name):
    cluster, known = pl.load_cluster(name), catalogue.sources()
    assert cluster.name == name
    assert len(cluster.figures) == 2 * len(cluster.links) > 0
    for figure in (
        *cluster.figures,
        *(figure for pool in cluster.pools for figure in pool.topology.figures),
    ):
        assert figure.source in known, figure.path
        assert figure.confidence
