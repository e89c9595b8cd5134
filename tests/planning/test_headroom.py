"""How much more a plan serves, and what then stands in the way."""

import pytest

import planner as pl
from planner.planning.headroom import broken_by, headroom_of
from tests.instances import ENGINES, tiny_chip, tiny_graph, tiny_software, tiny_topology

GRAPH = tiny_graph()
TOPOLOGY = tiny_topology(4, software=tiny_software(engine=ENGINES["as many as stages"]))
RATE = pl.Workload(requests_per_s=2000.0, prompt_tokens=100, output_tokens=20)


def fewest(workload, topology=TOPOLOGY, **limits) -> pl.Result:
    return pl.partition(GRAPH, topology, workload, minimize="chips", limits=limits)


@pytest.mark.slow
def test_a_rate_may_grow_until_the_limit_is_reached():
    result = fewest(RATE, tpot_s=3e-4)
    binds, headroom = headroom_of(result)
    assert (binds, headroom.field, headroom.demand) == ("tpot_s", "requests_per_s", 2000.0)
    assert headroom.capacity > headroom.demand
    assert headroom.used_share == headroom.demand / headroom.capacity
    for rate, keeps in ((headroom.capacity, True), (headroom.capacity * (1 + 2e-4), False)):
        score = pl.score_plan(result.plan, GRAPH, TOPOLOGY, RATE.replace(requests_per_s=rate))
        assert (score.tpot_s <= 3e-4) == keeps


@pytest.mark.slow
@pytest.mark.parametrize("sure", [None, 0.8])
def test_a_rate_may_grow_until_a_percentile_is_reached_as_surely_as_is_asked(sure):
    limits = {"ttft_p99_s": 0.02, "tpot_p99_s": 6e-4}
    result = pl.partition(GRAPH, TOPOLOGY, RATE, minimize="chips", limits=limits, sure=sure)
    binds, headroom = headroom_of(result)
    assert headroom.capacity > headroom.demand == 2000.0
    assert binds in limits
    for rate, keeps in ((headroom.capacity, True), (headroom.capacity * (1 + 2e-4), False)):
        score = pl.score_plan(result.plan, GRAPH, TOPOLOGY, RATE.replace(requests_per_s=rate))
        assert score.stays_within(binds, limits[binds], sure) == keeps


@pytest.mark.slow
def test_who_wants_to_be_sure_has_less_room():
    limits = {"tpot_p99_s": 6e-4}
    plain = pl.partition(GRAPH, TOPOLOGY, RATE, minimize="chips", limits=limits)
    # The same plan, whoever asks.
    sure = plain.replace(sure=0.8)
    assert headroom_of(sure)[1].capacity < headroom_of(plain)[1].capacity


def test_clients_may_grow_until_a_percentile_is_reached():
    users = pl.Workload(batch_size=20, prompt_tokens=20, output_tokens=4)
    result = fewest(users)
    at_50 = pl.score_plan(result.plan, GRAPH, TOPOLOGY, users.replace(batch_size=50))
    binds, headroom = headroom_of(fewest(users, ttft_p99_s=at_50.ttft_p99_s))
    assert (binds, headroom.field, headroom.capacity) == ("ttft_p99_s", "batch_size", 50)


@pytest.mark.slow
def test_requests_that_are_asked_for_at_least_are_the_demand():
    open_ = pl.Workload(batch_size=None, prompt_tokens=20, output_tokens=4)
    result = fewest(open_, requests_per_s=250.0, tokens_per_s=900.0)
    _, headroom = headroom_of(result)
    best = pl.partition(
        GRAPH, TOPOLOGY, open_, maximize="requests_per_s", limits={"chips": result.score.chips}
    )
    assert (headroom.field, headroom.demand) == ("requests_per_s", 250.0)
    assert headroom.capacity == pytest.approx(best.objective)


@pytest.mark.slow
def test_without_limits_the_rate_itself_binds():
    result = fewest(RATE)
    binds, headroom = headroom_of(result)
    with pytest.raises(pl.InfeasibleError) as refusal:
        pl.score_plan(
            result.plan, GRAPH, TOPOLOGY, RATE.replace(requests_per_s=headroom.capacity * 1.001)
        )
    assert binds == refusal.value.resource != ""


def test_users_may_grow_until_one_more_waits_or_breaks_the_limit():
    users = pl.Workload(batch_size=40, prompt_tokens=20, output_tokens=4)
    result = fewest(users)
    assert result.score.chips == 1
    assert headroom_of(result)[0] == "places for users"
    # An engine of the tiny software keeps 64 sequences.
    assert headroom_of(result)[1].capacity == 64
    at_50 = pl.score_plan(result.plan, GRAPH, TOPOLOGY, users.replace(batch_size=50)).tpot_s
    binds, headroom = headroom_of(fewest(users, tpot_s=at_50))
    assert (binds, headroom.capacity, headroom.used_share) == ("tpot_s", 50, 0.8)


@pytest.mark.slow
def test_tokens_are_those_of_the_best_plan_on_as_many_chips():
    open_ = pl.Workload(batch_size=None, prompt_tokens=20, output_tokens=4)
    result = fewest(open_, tokens_per_s=1000.0)
    _, headroom = headroom_of(result)
    best = pl.partition(
        GRAPH, TOPOLOGY, open_, maximize="tokens_per_s", limits={"chips": result.score.chips}
    )
    assert (headroom.field, headroom.demand) == ("tokens_per_s", 1000.0)
    assert headroom.capacity == pytest.approx(best.objective)


def test_a_model_without_demand_has_no_headroom_and_memory_binds():
    small = TOPOLOGY.replace(chip=tiny_chip(GRAPH.weight_bytes * 0.7))
    result = fewest(pl.Workload(batch_size=None), small)
    assert result.score.chips > 1
    binds, headroom = headroom_of(result)
    assert headroom is None
    assert binds.startswith("memory for weights")
    assert headroom_of(fewest(pl.Workload(batch_size=None)))[0] == ""


def test_a_limit_of_at_least_is_broken_from_below():
    users = pl.Workload(batch_size=40, prompt_tokens=20, output_tokens=4)
    reached = fewest(users).score.tokens_per_s
    result = fewest(users, tokens_per_s=reached)
    assert broken_by(result, batch_size=40) == broken_by(result, batch_size=60) == ""
    assert broken_by(result, batch_size=30) == "tokens_per_s"
