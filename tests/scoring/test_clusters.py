"""The price of plans on clusters, by hand where a hand can follow."""

import random

import pytest

import planner as pl
from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage
from planner.plan import ChipRange, Plan
from planner.pricing.crossing import crossing_s
from tests.instances import (
    FOLLOWING,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
    tiny_topology,
)
from tests.machines.test_cluster import line
from tests.oracle import all_plans, scored


def split_between(*pools: str, layers: int = 2) -> PooledPlan:
    """A tiny model in equal parts on chip 0 of some pools."""
    names = [layer.name for layer in tiny_graph(layers).layers]
    each = len(names) // len(pools)
    return PooledPlan(
        stages=tuple(
            PooledStage(
                pool=pool,
                layers=tuple(names[n * each : (n + 1) * each]),
                groups=(ChipRange(first=0, count=1),),
            )
            for n, pool in enumerate(pools)
        )
    )


def test_on_one_pool_a_plan_scores_as_on_its_topology():
    compared = 0
    for case in range(12):
        dice = random.Random(f"pooling {case}")
        graph, topology, work = (
            random_graph(dice),
            random_topology(dice, "switch"),
            random_workload(dice),
        )
        cluster = Cluster(name="one", pools=(Pool(name="only", topology=topology),))
        for plan in list(all_plans(graph, topology, work))[::17]:
            score = scored(plan, graph, topology, work)
            if score is None:
                continue
            compared += 1
            stages = tuple(
                PooledStage(pool="only", **{k: getattr(s, k) for k in type(s).model_fields})
                for s in plan.stages
            )
            pooled = pl.score_pooled_plan(
                PooledPlan(stages=stages, micro_batches=plan.micro_batches), graph, cluster, work
            )
            for name in type(score).model_fields:
                if isinstance(getattr(score, name), float):
                    assert getattr(pooled, name) == pytest.approx(getattr(score, name), rel=1e-9), (
                        name
                    )
            assert pooled.stages == score.stages
    assert compared > 20


def test_what_crosses_a_link_is_paid_once_for_each_pair_of_neighbours():
    graph, cluster, work = tiny_graph(2), line("a", "b", "c"), pl.Workload(batch_size=2)
    near = pl.score_pooled_plan(split_between("a", "b"), graph, cluster, work)
    far = pl.score_pooled_plan(split_between("a", "c"), graph, cluster, work)
    sent = 2 * graph.layers[1].activation_bytes_per_token
    difference = far.tpot_s - near.tpot_s
    assert difference == pytest.approx(
        float(crossing_s(cluster, 0, 2, sent) - crossing_s(cluster, 0, 1, sent))
    )
    assert sum(part.total_s for part in far.breakdown) == pytest.approx(far.tpot_s)
    assert [part.hop_s > 0 for part in far.breakdown] == [True, False]


def test_price_and_power_add_up_over_the_pools():
    graph, work = tiny_graph(2), pl.Workload(batch_size=1)
    cluster = line("a", "b")
    dear = cluster.pools[1].topology.replace(price=pl.load_topology("l4").price, power=FOLLOWING)
    cluster = cluster.replace(pools=(cluster.pools[0], cluster.pools[1].replace(topology=dear)))
    score = pl.score_pooled_plan(split_between("a", "b"), graph, cluster, work)
    hourly = 1.0 + dear.price.usd_per_chip_hour
    assert score.usd_per_million_tokens == pytest.approx(1e6 * hourly / 3600 / score.tokens_per_s)
    assert 150 + 0.2 * 100 < score.power_w < 300
    assert score.energy_per_token_j == pytest.approx(score.power_w / score.tokens_per_s)
    free = cluster.pools[0].replace(
        topology=tiny_topology(2, price=pl.load_topology("apple-m3-max").price)
    )
    unknown = cluster.replace(pools=(free, cluster.pools[1]))
    assert (
        pl.score_pooled_plan(split_between("a", "b"), graph, unknown, work).usd_per_million_tokens
        is None
    )


def test_rules_that_a_plan_breaks_are_named_with_the_pool():
    graph, cluster, work = tiny_graph(2), line("a", "b"), pl.Workload(batch_size=1)
    plan = split_between("a", "b")
    assert pl.check_pooled_plan(plan, graph, cluster, work) == ()
    taken = cluster.replace(pools=(cluster.pools[0], cluster.pools[1].replace(exclude=(0,))))
    (violation,) = pl.check_pooled_plan(plan, graph, taken, work)
    assert (violation.rule, violation.message) == (
        "exclude",
        "pool b: a stage uses chip 0, which is excluded",
    )
    (violation,) = pl.check_pooled_plan(plan, graph, cluster.replace(links=()), work)
    assert violation.rule == "links"
    off = PooledPlan(
        stages=(plan.stages[0], plan.stages[1].replace(groups=(ChipRange(first=2, count=1),)))
    )
    assert [one.rule for one in pl.check_pooled_plan(off, graph, cluster, work)] == ["chips"]
    with pytest.raises(pl.InfeasibleError, match="on each chip"):
        pl.score_pooled_plan(
            split_between("a", layers=60), tiny_graph(60), cluster, work.replace(batch_size=60)
        )
    with pytest.raises(pl.InputError, match="give a batch_size"):
        pl.score_pooled_plan(plan, graph, cluster, pl.Workload(requests_per_s=1.0))


def test_a_pooled_plan_is_a_plan_that_survives_json():
    plan = split_between("a", "b")
    assert isinstance(plan, Plan)
    assert PooledPlan.from_json(plan.to_json()) == plan
