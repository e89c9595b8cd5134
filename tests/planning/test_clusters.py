"""`partition_cluster` against the oracle, and what must hold of every result on a cluster."""

import random

import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.answers.results import ClusterResult
from planner.machines.cluster import Cluster, Pool
from tests.clock import ticking
from tests.instances import (
    SHAPES,
    random_cluster,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
)
from tests.lanes import mostly_slow
from tests.oracle import HIGHER_IS_BETTER, best_pooled_plan

PLANNED = [field for field in FIELDS if field != "power_w"]
CASES = 2
"""That have a plan, for every field; infeasible ones are compared besides."""


def solved(graph, cluster, workload, field, limits=None, **options) -> ClusterResult | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition_cluster(
            graph, cluster, workload, limits=limits, **{direction: field}, **options
        )
    except pl.InfeasibleError:
        return None


def limited(graph, cluster, workload, field, dice) -> dict[str, float]:
    """A limit on another field, sometimes: a little worse than what the best plan for it
    reaches."""
    name = dice.choice([name for name in PLANNED if name != field])
    result = solved(graph, cluster, workload, name) if dice.random() < 0.4 else None
    if result is None or result.objective <= 0:
        return {}
    slack = dice.choice((1.02, 1.3, 3.0))
    return {
        name: result.objective / slack if name in HIGHER_IS_BETTER else result.objective * slack
    }


def agrees_with_the_oracle(graph, cluster, workload, field, limits) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    plan, value = best_pooled_plan(
        graph, cluster, workload, field, most=field in HIGHER_IS_BETTER, limits=limits
    )
    result = solved(graph, cluster, workload, field, limits)
    assert (plan is None) == (result is None)
    if result is None:
        return False
    assert result.status == "optimal"
    assert result.bound == result.objective == getattr(result.score, field)
    assert result.objective == pytest.approx(value, rel=1e-9)
    assert pl.score_pooled_plan(result.plan, graph, cluster, workload) == result.score
    assert sum(part.total_s for part in result.score.breakdown) == pytest.approx(
        result.score.tpot_s, rel=1e-9
    )
    assert sum(part.total_s for part in result.score.prefill_breakdown) == pytest.approx(
        result.score.ttft_s, rel=1e-9
    )
    return True


@pytest.mark.parametrize("field", mostly_slow(PLANNED, but=("tokens_per_s", "energy_per_token_j")))
def test_the_plan_on_two_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"pools {field} {case}"), case + 1
        graph, cluster, workload = random_graph(dice), random_cluster(dice), random_workload(dice)
        limits = limited(graph, cluster, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, cluster, workload, field, limits)


@pytest.mark.parametrize(
    "field", mostly_slow(["tpot_s", "ttft_s", "energy_per_token_j"], but=("tpot_s",))
)
def test_the_plan_on_three_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < 2:
        dice, case = random.Random(f"three {field} {case}"), case + 1
        pools = random_cluster(dice, 3)
        small = tuple(
            pool.replace(
                topology=pool.topology.replace(chips=min(pool.topology.chips, 2)), exclude=()
            )
            for pool in pools.pools
        )
        graph, workload = (
            tiny_graph(dice.choice((1, 2)), heads=2, kv_heads=2),
            random_workload(dice),
        )
        feasible += agrees_with_the_oracle(graph, pools.replace(pools=small), workload, field, {})


@pytest.mark.parametrize("shape", mostly_slow(SHAPES, but=("switch",)))
def test_a_cluster_of_one_pool_gives_what_its_topology_gives(shape):
    for case in range(5):
        dice = random.Random(f"one {shape} {case}")
        graph, topology = random_graph(dice), random_topology(dice, shape)
        workload = (
            random_workload(dice)
            if case % 4
            else pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
        )
        field = dice.choice(PLANNED)
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        one = solved(
            graph,
            Cluster(name="one", pools=(Pool(name="only", topology=topology),)),
            workload,
            field,
        )
        try:
            plain = pl.partition(graph, topology, workload, **{direction: field})
        except pl.InfeasibleError:
            assert one is None
            continue
        assert one.status == plain.status == "optimal"
        assert one.objective == pytest.approx(plain.objective, rel=1e-9)


def test_three_macs_hold_together_what_none_of_them_holds_alone():
    graph, cluster, work = (
        pl.load_model("llama-3.1-70b", weight_dtype="bf16"),
        pl.load_cluster("three-macs"),
        pl.Workload(batch_size=1),
    )
    small = cluster.replace(pools=cluster.pools[1:], links=cluster.links[1:])
    result = pl.partition_cluster(graph, small, work, minimize="tpot_s")
    assert {stage.pool for stage in result.plan.stages} == {"m3-max", "m1-max"}
    assert result.status == "optimal"
    whole = pl.partition_cluster(graph, cluster, work, minimize="tpot_s")
    assert whole.objective < result.objective
    with pytest.raises(pl.InfeasibleError, match=r"add a pool or take fewer bits") as caught:
        pl.partition_cluster(
            graph, small.replace(pools=small.pools[1:], links=()), work, minimize="tpot_s"
        )
    assert caught.value.gap == caught.value.demand - caught.value.capacity > 0


@pytest.mark.slow
def test_a_model_goes_over_three_kinds_of_gpus_with_a_proof():
    graph, cluster, work = (
        pl.load_model("llama-3.1-70b", weight_dtype="bf16"),
        pl.load_cluster("a100-l4-t4"),
        pl.Workload(batch_size=8),
    )
    result = pl.partition_cluster(graph, cluster, work, minimize="tpot_s")
    assert result.status == "optimal"
    assert result.objective == pytest.approx(
        pl.score_pooled_plan(result.plan, graph, cluster, work).tpot_s
    )
    alone = pl.partition(graph, cluster.pools[0].topology, work, minimize="tpot_s")
    assert result.objective <= alone.objective


def relabelled(cluster: Cluster, order: tuple[int, ...]) -> Cluster:
    """The same pools in another order and under other names."""
    names = {pool.name: f"renamed-{number}" for number, pool in enumerate(cluster.pools)}
    pools = tuple(cluster.pools[number] for number in order)
    return cluster.replace(
        pools=tuple(pool.replace(name=names[pool.name]) for pool in pools),
        links=tuple(
            link.replace(between=tuple(names[end] for end in link.between))
            for link in cluster.links
        ),
    )


@pytest.mark.slow
def test_names_and_order_of_pools_change_nothing():
    for case in range(3):
        dice = random.Random(f"relabel {case}")
        graph, cluster, work = random_graph(dice), random_cluster(dice, 3), random_workload(dice)
        twin = cluster.pools[0].replace(name="twin")
        links = tuple(
            link.replace(
                between=tuple(
                    "twin" if end == cluster.pools[0].name else end for end in link.between
                )
            )
            for link in cluster.links
        )
        doubled = cluster.replace(pools=(*cluster.pools, twin), links=(*cluster.links, *links))
        one = solved(graph, doubled, work, "tpot_s")
        other = solved(graph, relabelled(doubled, (3, 1, 2, 0)), work, "tpot_s")
        assert (one is None) == (other is None)
        if one is not None:
            assert other.objective == pytest.approx(one.objective, rel=1e-12)
            without = solved(graph, cluster, work, "tpot_s")
            assert without is None or one.objective <= without.objective * (1 + 1e-12)


def test_a_limit_that_no_plan_keeps_is_named_with_the_best_there_is():
    graph, cluster = tiny_graph(2), random_cluster(random.Random("limits"))
    with pytest.raises(
        pl.InfeasibleError, match="tpot_s of at most 1e-09 cannot be met: the best that any plan"
    ) as caught:
        pl.partition_cluster(
            graph, cluster, pl.Workload(), minimize="chips", limits={"tpot_s": 1e-9}
        )
    assert caught.value.capacity > caught.value.demand == 1e-9


def test_a_search_without_time_says_so_or_proves_what_it_can():
    cut_off = 0
    for case in range(12):
        dice = random.Random(f"clock {case}")
        graph, cluster, work = random_graph(dice), random_cluster(dice), random_workload(dice)
        try:
            with ticking(1.0):
                result = solved(graph, cluster, work, "request_s", time_limit_s=10)
        except pl.NoPlanFoundError:
            continue
        if result is not None:
            cut_off += result.status == "feasible"
            assert result.bound <= result.objective
            assert result.status == "optimal" or result.gap > 0
    assert cut_off


def test_an_open_batch_on_a_cluster_serves_as_many_as_fit():
    graph, cluster = tiny_graph(2), random_cluster(random.Random("open 1"))
    work = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
    result = pl.partition_cluster(graph, cluster, work, maximize="tokens_per_s")
    assert result.status == "optimal"
    assert result.score.batch_size == result.plan.batch_size > 1
    fixed = pl.partition_cluster(
        graph, cluster, work.replace(batch_size=result.score.batch_size), maximize="tokens_per_s"
    )
    assert fixed.objective <= result.objective * (1 + 1e-9)


def test_a_result_on_a_cluster_survives_json():
    result = solved(tiny_graph(2), random_cluster(random.Random("json")), pl.Workload(), "tpot_s")
    assert ClusterResult.from_json(result.to_json()) == result
