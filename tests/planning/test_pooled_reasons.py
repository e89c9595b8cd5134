"""Why a plan on pools is the best: what binds, what more would buy, and what is lost without a
pool."""

import pytest

import planner as pl
from planner.answers.reasons import Reasons
from planner.planning.pooled_reasons import bindings_on_pools
from tests.instances import tiny_graph
from tests.planning.test_pooled_proof import WORK, by_hand


def explained(**options):
    return pl.partition_cluster(tiny_graph(2), by_hand(), WORK, minimize="tpot_s", **options)


@pytest.mark.slow
def test_a_slow_link_binds_and_a_quicker_one_pays():
    result = explained()
    reasons = result.why()
    assert reasons.pools == ("a", "b")
    # A hop takes a millisecond at least, and all the rest of so small a model far less.
    by_time = [one for one in reasons.binding if one.counts == "time"]
    assert by_time[0].resource == "the link from pool a to pool b"
    assert by_time[0].share_fraction > 0.85
    prices = {one.change: one for one in reasons.prices}
    nearer = prices["halving the latency of the link between a and b"]
    # Half of what nine tenths of the time go into.
    assert nearer.proved
    assert 0.4 < nearer.effect < 0.5
    # The model then fits one pool, and nothing is passed on at all.
    assert prices["one more GB of HBM on each chip in pool a"].effect > nearer.effect


@pytest.mark.slow
def test_without_a_pool_that_is_needed_there_is_no_plan():
    reasons = explained().why()
    assert [(one.shape, one.refused) for one in reasons.alternatives] == [
        ("without pool a", "no plan fits"),
        ("without pool b", "no plan fits"),
    ]
    assert all(one.proved for one in reasons.alternatives)


def test_what_there_is_no_time_for_is_told_as_unanswered():
    reasons = explained().why(time_limit_s=0.0)
    assert all(one.effect is None for one in reasons.prices)
    assert "not answered in time" in str(reasons)


@pytest.mark.slow
def test_reasons_keep_the_pools_of_their_plans_in_json():
    graph, cluster = tiny_graph(1), by_hand()
    reasons = pl.partition_cluster(graph, cluster, WORK, minimize="tpot_s").why()
    again = Reasons.from_json(reasons.to_json())
    assert again == reasons
    assert "the best plan without each pool that is used" in str(again)


def test_shares_of_time_add_up():
    shares = [one.share_fraction for one in bindings_on_pools(explained()) if one.counts == "time"]
    assert 0.95 < sum(shares) <= 1 + 1e-9
