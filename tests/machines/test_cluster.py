"""Pools, links, and the paths over them."""

import itertools

import pytest

from planner.errors import InputError, UnknownNameError
from planner.machines.cluster import Cluster, Pool, PoolLink, Way
from planner.machines.topology import Topology
from tests.instances import tiny_topology


def line(*pools: str, exclude: tuple[int, ...] = ()) -> Cluster:
    """Like pools in a line, and a slow wide shortcut from the first to the last."""
    topology = tiny_topology(2)
    made = tuple(Pool(name=name, topology=topology, exclude=exclude) for name in pools)
    links = [
        PoolLink(between=(a, b), bandwidth_bytes_per_s=1e9, latency_s=1e-5)
        for a, b in itertools.pairwise(pools)
    ]
    shortcut = PoolLink(between=(pools[0], pools[-1]), bandwidth_bytes_per_s=4e9, latency_s=1e-3)
    return Cluster(name="line", pools=made, links=(*links, shortcut))


def test_of_the_paths_between_two_pools_those_stay_that_are_quick_or_wide():
    cluster = line("a", "b", "c")
    assert cluster.ways(0, 2) == (Way(2e-5, 1e9), Way(1e-3, 4e9))
    assert cluster.ways(0, 1) == (Way(1e-5, 1e9),)
    assert cluster.ways(1, 1) == ()
    assert cluster.ways(2, 0) == cluster.ways(0, 2)


def test_pools_are_like_when_chips_and_distances_are():
    assert line("a", "b", "c").twin_before == (None, None, 0)
    assert line("a", "b").twin_before == (None, 0)


def test_pools_of_one_kind_have_the_same_chips_of_which_the_same_are_excluded():
    cluster = line("a", "b", "c", "d")
    copied = Topology.from_json(cluster.pools[2].topology.to_json())
    pools = [
        cluster.pools[0],
        cluster.pools[1].replace(exclude=(1,)),
        cluster.pools[2].replace(topology=copied),
        cluster.pools[3].replace(exclude=(1, 1)),
    ]
    assert cluster.replace(pools=pools).kinds == (0, 1, 0, 1)


def test_of_thousands_of_pools_only_the_ways_that_are_asked_for_are_found():
    cluster = line(*(f"p{number}" for number in range(2000)))
    # 60 links in a row are quicker than the shortcut of 100, and the way round is not wider.
    (way,) = cluster.ways(0, 60)
    assert way == (pytest.approx(60e-5), 1e9)


def test_a_record_survives_json():
    cluster = line("a", "b", "c", exclude=(1,))
    assert Cluster.from_json(cluster.to_json()) == cluster
    assert cluster.pools[0].free_chips == 1


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda: line("a", "a"), "two pools are called 'a'"),
        (
            lambda: line("a", "b").replace(
                links=(PoolLink(between=("a", "a"), bandwidth_bytes_per_s=1, latency_s=0),)
            ),
            "to itself",
        ),
        (
            lambda: Pool(name="a", topology=tiny_topology(2), exclude=(2,)),
            "chips 0 to 1; 2 is not one of them",
        ),
    ],
)
def test_what_cannot_be_is_explained(wrong, word):
    with pytest.raises(InputError, match=word) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_a_link_to_a_pool_that_is_not_there_names_those_that_are():
    stray = PoolLink(between=("a", "x"), bandwidth_bytes_per_s=1e9, latency_s=0.0)
    with pytest.raises(InputError, match="'x'"):
        line("a", "b").replace(links=(stray,))
    with pytest.raises(UnknownNameError, match="pool called 'x'"):
        line("a", "b").number("x")
