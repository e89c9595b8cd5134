"""More clients than a plan holds: who is in flight, who waits, and for how long."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.deployment import Deployment
from planner.pricing.seats import seated
from planner.pricing.served import Served
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology

GRAPH = tiny_graph(4)
SIX = pl.Workload(batch_size=6, prompt_tokens=64, output_tokens=16)


def taking(most: int, chips: int = 1) -> pl.Topology:
    """A machine whose software takes so many sequences in a replica."""
    return tiny_topology(chips, software=tiny_software(most_sequences=most))


def score(most: int, work: pl.Workload = SIX, *, replicas: int = 1) -> pl.Score:
    machine = taking(most, replicas)
    plan = pl.uniform_plan(GRAPH, machine, data_parallel=replicas)
    return pl.score_plan(plan, GRAPH, machine, work)


def test_four_of_six_wait_for_two_cycles_of_two():
    """With X requests a second ended, one that finds four before it waits 4 / X; all six are in
    the house for 6 / X (Little 1961)."""
    two = score(2, SIX.replace(batch_size=2))
    found = score(2)
    per_s = two.tokens_per_s / 16
    assert (found.batch_size, found.queued) == (2, 4)
    assert found.queued_s == pytest.approx(4 / per_s)
    assert found.ttft_s == pytest.approx(two.ttft_s + 4 / per_s)
    assert found.request_s == pytest.approx(6 / per_s)
    same = ("tpot_s", "tokens_per_s", "power_w", "energy_per_token_j", "memory_headroom_bytes")
    for field in (*same, "bubble_fraction", "mfu_fraction", "mbu_fraction", "breakdown"):
        assert getattr(found, field) == getattr(two, field)
    assert sum(stage.total_s for stage in found.prefill_breakdown) == pytest.approx(found.ttft_s)
    waits = sum(stage.bubble_s for stage in found.prefill_breakdown)
    assert waits == pytest.approx(
        found.queued_s + sum(stage.bubble_s for stage in two.prefill_breakdown)
    )


def test_of_requests_without_later_tokens_as_much():
    work = SIX.replace(output_tokens=1)
    two = score(2, work.replace(batch_size=2))
    found = score(2, work)
    assert found.queued_s == pytest.approx(4 / two.tokens_per_s)
    assert found.request_s == pytest.approx(two.request_s + 4 / two.tokens_per_s)


def test_seven_that_start_together_are_three_batches_of_three():
    """Three, two and two: as like as they can be, each as long as the largest."""
    work = SIX.replace(batch_size=7, arrivals="together")
    three = score(3, work.replace(batch_size=3))
    found = score(3, work)
    assert (found.batch_size, found.queued) == (3, 4)
    assert found.queued_s == pytest.approx(2 * three.request_s)
    assert found.request_s == pytest.approx(3 * three.request_s)
    assert found.ttft_s + 15 * found.tpot_s == pytest.approx(found.request_s)
    assert found.tokens_per_s == pytest.approx(7 * 16 / found.request_s)
    assert found.energy_per_token_j == pytest.approx(found.power_w / found.tokens_per_s)


def test_seven_for_which_four_fit_are_two_batches_of_four():
    found = score(6, SIX.replace(batch_size=7, arrivals="together"))
    assert (found.batch_size, found.queued) == (4, 3)


def test_replicas_are_all_full_before_anyone_waits():
    found = score(2, SIX.replace(batch_size=7), replicas=3)
    one = score(2, SIX.replace(batch_size=6), replicas=3)
    assert (found.batch_size, found.queued, one.queued) == (6, 1, 0)
    assert found.queued_s == pytest.approx(1 / (one.tokens_per_s / 16))


def test_an_engine_that_is_told_to_take_fewer_makes_the_others_wait():
    told = score(8, SIX.replace(batch_size=2, queued=4))
    assert told == score(2)
    # What does not fit of those waits with them.
    assert score(2, SIX.replace(batch_size=4, queued=2)) == score(2)


def test_memory_sends_into_the_queue_as_the_software_does():
    plan = pl.uniform_plan(GRAPH, tiny_topology(1))
    machine = tiny_topology(1, chip=tiny_chip(1.05 * GRAPH.weight_bytes / 0.9))
    most = Deployment(plan, [Served(GRAPH, machine, SIX)]).most_sequences
    many = SIX.replace(batch_size=most + 5)
    found = pl.score_plan(plan, GRAPH, machine, many)
    assert most >= 1
    assert (found.batch_size, found.queued) == (most, 5)
    assert pl.check_plan(plan, GRAPH, machine, many) == ()
    full = pl.score_plan(plan, GRAPH, machine, many.replace(batch_size=most))
    assert found.queued_s == pytest.approx(5 / (full.tokens_per_s / 16))


def test_where_not_even_one_fits_nobody_waits():
    plan = pl.uniform_plan(GRAPH, tiny_topology(1))
    machine = tiny_topology(1, chip=tiny_chip(GRAPH.weight_bytes))
    (violation,) = pl.check_plan(plan, GRAPH, machine, SIX)
    assert violation.rule == "memory"
    with pytest.raises(pl.InfeasibleError):
        pl.score_plan(plan, GRAPH, machine, SIX)


def test_who_has_a_place_is_left_alone():
    machine = taking(6)
    plan = pl.uniform_plan(GRAPH, machine)
    for work in (SIX, SIX.replace(batch_size=None)):
        deployment = Deployment(plan, [Served(GRAPH, machine, work)])
        assert seated(deployment) is deployment
    assert score(6).queued_s == 0.0


@pytest.mark.slow
@settings(max_examples=40)
@given(
    most=st.integers(1, 12),
    clients=st.integers(1, 40),
    more=st.integers(1, 20),
    arrivals=st.sampled_from(["steady", "together"]),
)
def test_more_clients_wait_longer_and_get_no_more_out_of_a_full_plan(most, clients, more, arrivals):
    work = SIX.replace(batch_size=clients, arrivals=arrivals)
    few = score(most, work)
    many = score(most, work.replace(batch_size=clients + more))
    full = score(most, work.replace(batch_size=most))
    assert many.queued_s >= few.queued_s * (1 - 1e-9)
    assert many.request_s >= few.request_s * (1 - 1e-9)
    assert max(few.tokens_per_s, many.tokens_per_s) <= full.tokens_per_s * (1 + 1e-9)
    assert few.batch_size + few.queued == clients


@pytest.mark.slow
@given(most=st.integers(1, 11), clients=st.integers(1, 40))
def test_more_places_never_make_the_wait_longer(most, clients):
    work = SIX.replace(batch_size=clients)
    fewer, more = score(most, work), score(most + 1, work)
    assert more.queued <= fewer.queued
    assert more.queued_s <= fewer.queued_s * (1 + 1e-9)


@pytest.mark.slow
@given(most=st.integers(1, 40), clients=st.integers(1, 200))
def test_batches_that_start_together_are_the_fewest(most, clients):
    seats = pl.Workload(batch_size=clients, arrivals="together").seated(most)
    batches = math.ceil(clients / most)
    assert seats.batch_size <= most
    assert seats.offered == clients
    assert 1 + seats.cycles_waited == batches
    assert math.ceil(clients / seats.batch_size) == batches
    if batches > 1:
        # Only with `next_batch` in flight there are fewer batches.
        assert math.ceil(clients / seats.next_batch) < batches
        assert math.ceil(clients / (seats.next_batch - 1)) >= batches
