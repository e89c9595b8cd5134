"""`partition_cluster` against the oracle, and what must hold of every result on a cluster."""

import random

import pytest

import planner as pl
from planner.candidates import FIELDS
from planner.cluster import Cluster, Pool
from planner.cluster_planning import ClusterResult
from tests.instances import (
    SHAPES,
    random_cluster,
    random_graph,
    random_topology,
    random_workload,
    tiny_graph,
)
from tests.oracle import HIGHER_IS_BETTER, best_pooled_plan

PLANNED = [field for field in FIELDS if field != "power_w"]
CASES = 3
"""That have a plan, for every field; infeasible ones are compared besides."""


def solved(graph, cluster, workload, field, limits=None, **options) -> ClusterResult | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition_cluster(graph, cluster, workload, limits=limits, **{direction: field}, **options)
    except pl.InfeasibleError:
        return None


def limited(graph, cluster, workload, field, dice) -> dict[str, float]:
    """A limit on another field, sometimes: a little worse than what the best plan for it reaches."""
    name = dice.choice([name for name in PLANNED if name != field])
    result = solved(graph, cluster, workload, name) if dice.random() < 0.4 else None
    if result is None or result.objective <= 0:
        return {}
    slack = dice.choice((1.02, 1.3, 3.0))
    return {name: result.objective / slack if name in HIGHER_IS_BETTER else result.objective * slack}


def agrees_with_the_oracle(graph, cluster, workload, field, limits) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    plan, value = best_pooled_plan(graph, cluster, workload, field, most=field in HIGHER_IS_BETTER, limits=limits)
    result = solved(graph, cluster, workload, field, limits)
    assert (plan is None) == (result is None)
    if result is None:
        return False
    assert result.status == "optimal"
    assert result.bound == result.objective == getattr(result.score, field)
    assert result.objective == pytest.approx(value, rel=1e-9)
    assert pl.score_pooled_plan(result.plan, graph, cluster, workload) == result.score
    assert sum(part.total_s for part in result.score.breakdown) == pytest.approx(result.score.tpot_s, rel=1e-9)
    assert sum(part.total_s for part in result.score.prefill_breakdown) == pytest.approx(result.score.ttft_s, rel=1e-9)
    return True


@pytest.mark.parametrize("field", PLANNED)
def test_the_plan_on_two_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"pools {field} {case}"), case + 1
        graph, cluster, workload = random_graph(dice), random_cluster(dice), random_workload(dice)
        limits = limited(graph, cluster, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, cluster, workload, field, limits)


@pytest.mark.parametrize("field", ["tpot_s", "ttft_s", "energy_per_token_j"])
def test_the_plan_on_three_pools_is_as_good_as_the_oracles(field):
    feasible = case = 0
    while feasible < 2:
        dice, case = random.Random(f"three {field} {case}"), case + 1
        pools = random_cluster(dice, 3)
        small = tuple(
            pool.replace(topology=pool.topology.replace(chips=min(pool.topology.chips, 2)), exclude=())
            for pool in pools.pools
        )
        graph, workload = tiny_graph(dice.choice((1, 2)), heads=2, kv_heads=2), random_workload(dice)
        feasible += agrees_with_the_oracle(graph, pools.replace(pools=small), workload, field, {})


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cluster_of_one_pool_gives_what_its_topology_gives(shape):
    for case in range(8):
        dice = random.Random(f"one {shape} {case}")
        graph, topology = random_graph(dice), random_topology(dice, shape)
        workload = (
            random_workload(dice) if case % 4 else pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
        )
        field = dice.choice(PLANNED)
        direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
        one = solved(graph, Cluster(name="one", pools=(Pool(name="only", topology=topology),)), workload, field)
        try:
            plain = pl.partition(graph, topology, workload, **{direction: field})
        except pl.InfeasibleError:
            assert one is None
            continue
        assert one.status == plain.status == "optimal"
        assert one.objective == pytest.approx(plain.objective, rel=1e-9)
