"""`partition_fleet` against every way of sharing pools out."""

import random

import pytest

import planner as pl
from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.planning.fleets import part_of
from tests.engine_pools import OnPools, best_on_pools, random_pools, scored_on_pools
from tests.instances import (
    fabric,
    random_cluster,
    random_graph,
    tiny_chip,
    tiny_graph,
    tiny_topology,
)
from tests.lanes import mostly_slow, some

OPEN = pl.Workload(batch_size=None, prompt_tokens=50, output_tokens=20)


def sharings(pools: tuple[int, ...]):
    """Every way of putting pools into groups, some of them left out."""
    if not pools:
        yield ()
        return
    first, rest = pools[0], pools[1:]
    for sharing in sharings(rest):
        yield sharing
        yield ((first,), *sharing)
        for number, group in enumerate(sharing):
            yield (*sharing[:number], (first, *group), *sharing[number + 1 :])


def most(graph, cluster, limits=None) -> float:
    def of(group) -> float:
        try:
            return pl.partition_cluster(graph, part_of(cluster, frozenset(group)), OPEN, maximize="tokens_per_s",
                                        limits=limits).objective  # fmt: skip
        except pl.InfeasibleError:
            return 0.0

    return max(
        sum(of(group) for group in sharing)
        for sharing in sharings(tuple(range(len(cluster.pools))))
    )


def small_pools(dice, count: int) -> Cluster:
    cluster = random_cluster(dice, count)
    few = [
        pool.replace(topology=pool.topology.replace(chips=min(2, pool.topology.chips)), exclude=())
        for pool in cluster.pools
    ]
    return cluster.replace(pools=tuple(few))  # fmt: skip


def test_a_fleet_serves_as_much_as_it_can_and_not_at_a_rate():
    workload = pl.Workload(requests_per_s=3.0)
    with pytest.raises(pl.InputError, match="compare the rate with requests_per_s of the answer"):
        pl.partition_fleet(tiny_graph(2), small_pools(random.Random("rate"), 2), workload)


@pytest.mark.slow
def test_a_fleet_gives_as_much_as_the_best_of_all_sharings():
    feasible = case = 0
    while feasible < some(1, 4):
        dice, case = random.Random(f"fleet {case}"), case + 1
        graph, cluster = random_graph(dice), small_pools(dice, 2 + case % 2)
        try:
            fleet = pl.partition_fleet(graph, cluster, OPEN)
        except pl.InfeasibleError:
            assert most(graph, cluster) == 0.0
            continue
        feasible += 1
        assert fleet.status == "optimal"
        assert fleet.objective == fleet.bound == pytest.approx(most(graph, cluster), rel=1e-9)
        assert fleet.objective == pytest.approx(
            sum(one.score.tokens_per_s for one in fleet.deployments), rel=1e-12
        )


def pair(quick: float = 4.0, bandwidth: float = 1e9) -> Cluster:
    """A quick pool and a slow one; either holds the tiny model."""
    chips = tiny_chip(), tiny_chip()
    slow = chips[1].replace(
        memory=tuple(
            tier.replace(bandwidth_bytes_per_s=tier.bandwidth_bytes_per_s / quick)
            for tier in chips[1].memory
        )
    )
    pools = [
        Pool(name=name, topology=tiny_topology(2, fabric("switch", 2), chip=chip))
        for name, chip in zip(("quick", "slow"), (chips[0], slow), strict=True)
    ]
    link = PoolLink(between=("quick", "slow"), bandwidth_bytes_per_s=bandwidth, latency_s=1e-3)
    return Cluster(name="pair", pools=tuple(pools), links=(link,))


@pytest.mark.slow
def test_unlike_pools_on_a_poor_link_serve_each_on_its_own():
    graph, cluster = tiny_graph(2), pair(bandwidth=1e6)
    fleet = pl.partition_fleet(graph, cluster, OPEN)
    assert [tuple(pool.name for pool in one.cluster.pools) for one in fleet.deployments] == [
        ("quick",),
        ("slow",),
    ]
    together = pl.partition_cluster(graph, cluster, OPEN, maximize="tokens_per_s")
    assert fleet.objective > 1.1 * together.objective
    assert fleet.chips == 4


@pytest.mark.slow
def test_limits_hold_for_every_deployment():
    graph, cluster = tiny_graph(2), pair()
    free = pl.partition_fleet(graph, cluster, OPEN)
    limit = 0.7 * max(one.score.tpot_s for one in free.deployments)
    fleet = pl.partition_fleet(graph, cluster, OPEN, limits={"tpot_s": limit})
    assert all(one.score.tpot_s <= limit * (1 + 1e-9) for one in fleet.deployments)
    assert fleet.objective == pytest.approx(most(graph, cluster, {"tpot_s": limit}), rel=1e-9)


def test_what_a_fleet_costs_is_over_all_its_tokens():
    fleet = pl.partition_fleet(tiny_graph(2), pair(bandwidth=1e6), OPEN)
    power = sum(one.score.power_w for one in fleet.deployments)
    assert fleet.energy_per_token_j == pytest.approx(power / fleet.objective, rel=1e-9)
    assert fleet.usd_per_million_tokens is None or fleet.usd_per_million_tokens > 0
    # Four chips at a dollar each.
    assert (fleet.chips, fleet.usd_per_hour) == (4, 4.0)
    assert fleet.tokens_per_s_per_chip == fleet.objective / 4
    served = sum(one.score.requests_per_s for one in fleet.deployments)
    assert fleet.requests_per_s == pytest.approx(served, rel=1e-12)


@pytest.mark.slow
def test_a_fleet_keeps_a_limit_on_what_each_deployment_costs():
    asked = tiny_graph(2), pair(bandwidth=1e6), OPEN
    fleet = pl.partition_fleet(*asked, limits={"usd_per_hour": "1 USD/h"})
    assert [one.score.usd_per_hour for one in fleet.deployments] == [1.0, 1.0]
    assert fleet.limits == (("usd_per_hour", 1.0),)
    assert fleet.objective < pl.partition_fleet(*asked).objective


def test_without_time_nothing_is_claimed():
    with pytest.raises(pl.NoPlanFoundError, match="nothing is proved"):
        pl.partition_fleet(tiny_graph(2), pair(), OPEN, time_limit_s=0.0)


def test_what_fits_nowhere_is_proved_infeasible():
    with pytest.raises(pl.InfeasibleError, match="does not fit pair"):
        pl.partition_fleet(pl.load_model("llama-3.1-70b"), pair(), OPEN)


def test_a_batch_and_too_many_pools_are_refused():
    with pytest.raises(pl.InputError, match="batch_size must be None for a fleet"):
        pl.partition_fleet(tiny_graph(2), pair(), OPEN.replace(batch_size=8))
    pools = tuple(pair().pools[0].replace(name=f"p{number}") for number in range(11))
    with pytest.raises(pl.InputError, match="at most 10 pools"):
        pl.partition_fleet(tiny_graph(2), Cluster(name="many", pools=pools), OPEN)


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def most_of_engine(case: OnPools) -> float:
    """What all sharings of two pools give at most, by all plans of the engine on each."""
    values = {}
    for group in ((0,), (1,), (0, 1)):
        part = case._replace(cluster=part_of(case.cluster, frozenset(group)))
        best = best_on_pools(part, "tokens_per_s", {}, scored_on_pools(part))
        values[group] = best or 0.0
    return max(values[0, 1], values[0,] + values[1,])


@pytest.mark.parametrize("number", mostly_slow(range(12), but=(0, 1)))
def test_a_fleet_of_an_engine_gives_as_much_as_the_best_of_all_sharings(number):
    case = random_pools(random.Random(f"engine fleet {number}"), unlike=number % 3 == 2)
    case = case._replace(workload=OPEN)
    most_of_all = most_of_engine(case)
    try:
        fleet = pl.partition_fleet(*case, space="engine")
    except pl.InfeasibleError:
        assert most_of_all == 0.0
        return
    assert (fleet.status, fleet.space) == ("optimal", "engine")
    assert fleet.objective == fleet.bound == pytest.approx(most_of_all, rel=1e-9)
    for one in fleet.deployments:
        assert pl.check_pooled_plan(one.plan, one.graph, one.cluster, OPEN, space="engine") == ()
