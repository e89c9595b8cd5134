"""What is shown of plans on pools is never more than the oracle finds, and mostly as much."""

import random

import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.cluster import Cluster, Pool, PoolLink
from planner.planning import pooled_proof
from planner.planning.certificates import verify
from tests.engine_pools import best_on_pools, random_pools, scored_on_pools
from tests.instances import random_cluster, random_graph, random_workload, tiny_graph, tiny_topology
from tests.lanes import some
from tests.oracle import HIGHER_IS_BETTER, best_pooled_plan

QUICK = ("tpot_s", "tokens_per_s", "ttft_s", "usd_per_hour")
WORK = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=16)


def solved(case, field, **options):
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition_cluster(*case, **{direction: field}, **options)
    except pl.InfeasibleError:
        return None


@pytest.mark.slow
def test_plans_of_engines_on_two_pools_are_bounded_by_what_the_oracle_finds():
    confirmed = total = number = 0
    while total < some(4, 40):
        dice, number = random.Random(f"pooled proof {number}"), number + 1
        case, field = random_pools(dice), dice.choice(QUICK)
        result = solved(case, field)
        if result is None:
            continue
        total += 1
        verdict = verify(result.certificate(), time_limit_s=30.0)
        best = best_on_pools(case, field, {}, scored_on_pools(case))
        assert verdict.checked_bound is not None
        sign = -1 if field in HIGHER_IS_BETTER else 1
        assert sign * verdict.checked_bound <= sign * best * (1 + sign * 1e-6)
        confirmed += verdict.confirmed
    assert confirmed >= 0.9 * total


@pytest.mark.slow
def test_plans_of_any_form_are_bounded_by_what_the_oracle_finds():
    confirmed = total = number = 0
    while total < some(3, 20):
        dice, number = random.Random(f"pooled forms {number}"), number + 1
        case = random_graph(dice), random_cluster(dice), random_workload(dice)
        field = dice.choice(("tpot_s", "tokens_per_s"))
        result = solved(case, field, space="any")
        if result is None:
            continue
        total += 1
        verdict = verify(result.certificate(), time_limit_s=30.0)
        _, best = best_pooled_plan(*case, field, most=field in HIGHER_IS_BETTER, limits={})
        assert verdict.checked_bound is not None
        sign = -1 if field in HIGHER_IS_BETTER else 1
        assert sign * verdict.checked_bound <= sign * best * (1 + sign * 1e-6)
        confirmed += verdict.confirmed
    assert confirmed >= 0.6 * total


def by_hand(bandwidth_bytes_per_s: float = 1e9) -> Cluster:
    """Two pools of one chip each, neither of which holds the model alone."""
    graph = tiny_graph(2)
    machine = tiny_topology(1)
    chip = machine.chip
    tier = chip.memory[0].replace(capacity_bytes=0.8 * graph.weight_bytes)
    small = machine.replace(chip=chip.replace(memory=(tier,)))
    link = PoolLink(between=("a", "b"), bandwidth_bytes_per_s=bandwidth_bytes_per_s, latency_s=1e-3)
    pools = (Pool(name="a", topology=small), Pool(name="b", topology=small))
    return Cluster(name="pair", pools=pools, links=(link,))


def test_a_link_between_pools_counts_in_full():
    result = pl.partition_cluster(tiny_graph(2), by_hand(), WORK, minimize="tpot_s")
    assert {stage.pool for stage in result.plan.stages} == {"a", "b"}
    assert result.objective > 1e-3
    assert pl.verify(result.certificate()).confirmed


def test_too_many_places_are_told_as_unconfirmed(monkeypatch):
    result = pl.partition_cluster(tiny_graph(2), by_hand(), WORK, minimize="tpot_s")
    monkeypatch.setattr(pooled_proof, "MOST_PLACES", 1)
    verdict = pl.verify(result.certificate())
    assert (verdict.confirmed, verdict.checked_bound) == (False, None)


@pytest.mark.slow
@pytest.mark.parametrize("field", [name for name in FIELDS if name != "power_w"])
def test_every_field_is_confirmed_or_told_as_unconfirmed_but_never_refused(field):
    dice = random.Random(f"fields {field}")
    result = None
    while result is None:
        case = random_pools(dice)
        result = solved(case, field)
    verdict = verify(result.certificate(), time_limit_s=20.0)
    assert verdict.checked_bound is None or verdict.confirmed or not verdict.is_late
