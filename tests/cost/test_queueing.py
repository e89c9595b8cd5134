"""Queues, against formulas that are exact and queues played through."""

import math

import numpy as np
import pytest

from planner.cost.queueing import (
    caught_up_fraction,
    in_flight_fraction,
    in_flight_sequences,
    place_queue_s,
    queue_s,
    trapezoid_longer_fraction,
    trapezoid_s,
    waited_s,
    waits_longer_fraction,
)

LOADS = [0.1, 0.5, 0.8, 0.9]


def waits(load: float, count: int = 200_000) -> np.ndarray:
    """Waits at one server with services of 1, by Lindley's recursion."""
    gaps = np.random.default_rng(3).exponential(1 / load, count)
    walk = np.concatenate([[0.0], np.cumsum(1.0 - gaps)])
    return walk - np.minimum.accumulate(walk)


@pytest.mark.parametrize("load", LOADS)
def test_the_mean_wait_is_that_of_a_queue_played_through(load):
    assert queue_s(1.0, load) == pytest.approx(waits(load).mean(), rel=0.08)


def test_the_mean_wait_by_hand():
    assert queue_s(2.0, 0.25) == 0.5 * 2.0 / (2 * 0.5)
    assert queue_s(2.0, 0.0) == 0.0
    assert queue_s(np.array([1.0, 2.0]), 0.5).tolist() == [0.5, math.inf]


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_as_many_wait_so_long_as_in_a_queue_played_through(load, share):
    if share < load:
        waited = float(np.quantile(waits(load), 1 - share))
        assert waits_longer_fraction(waited, 1.0, load) == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("waited", [0.5, 0.8])
def test_less_than_one_service_is_waited_as_often_as_erlang_says(load, waited):
    """A. K. Erlang, 1909, for equal services of 1 and waits below that: exact, where the tail is a
    fit."""
    exact = 1 - (1 - load) * math.exp(load * waited)
    assert waits_longer_fraction(waited, 1.0, load) == pytest.approx(exact, rel=0.05)


def test_the_tail_of_a_half_loaded_server_by_hand():
    # ½ (e^d - 1) = d at d = 1.2564; the tail is ½ / (½ e^d - 1) × e^(-d t), times of service.
    for waited in (0.3, 0.5, 2.0):
        tail = 0.5 / (0.5 * math.exp(1.25643) - 1) * math.exp(-1.25643 * waited)
        assert waits_longer_fraction(3 * waited, 3.0, 0.5 / 3) == pytest.approx(tail, rel=1e-4)


def test_everybody_waits_longer_than_less_than_nothing_and_some_find_nobody():
    assert waits_longer_fraction(-1.0, 1.0, 0.5) == 1.0
    assert waits_longer_fraction(0.0, 1.0, 0.5) <= 0.5
    assert np.all(np.diff(waits_longer_fraction(np.linspace(0, 20, 50), 1.0, 0.7)) <= 0)


def test_where_nobody_is_in_the_way_of_another_the_number_in_flight_is_poissons():
    shares = in_flight_fraction(np.full(60, 2.0), 1.5)
    assert shares == pytest.approx(
        [math.exp(-3) * 3**n / math.factorial(n) for n in range(61)], abs=1e-12
    )


def test_thousands_in_flight_are_as_likely_as_poisson_says():
    """Of 1000 on average: 1000 itself by Stirling's formula; the weights themselves are too large
    for a float."""
    shares = in_flight_fraction(np.full(4000, 2.0), 500.0)
    assert shares.sum() == pytest.approx(1.0, rel=1e-12)
    assert shares[1000] == pytest.approx(1 / math.sqrt(2 * math.pi * 1000), rel=1e-3)


def test_where_all_share_one_server_the_number_in_flight_is_geometric():
    shares = in_flight_fraction(0.5 * np.arange(1, 200), 1.2)
    assert shares[:9] == pytest.approx([0.4 * 0.6**n for n in range(9)], rel=1e-9)


def test_as_many_are_in_flight_as_come_while_one_stays():
    assert in_flight_sequences(3.0, 2.0) == 6.0


# ── Who catches up with a stream, and sums of two uniform parts ──────────────────────────────────


def test_who_needs_as_long_for_each_that_comes_catches_up_as_borel_and_tanner_say():
    # One unit, and one more for each of those that come, at half of one a unit: n have come when it
    # is done with probability e^(-(n+1)/2) ((n+1)/2)^n / (n + 1)!.
    counts = np.arange(40.0)
    caught = caught_up_fraction(0.5 * (counts + 1.0)[None], counts)
    each = [math.exp(-(n + 1) / 2) * ((n + 1) / 2) ** n / math.factorial(n + 1) for n in range(40)]
    assert caught[0] == pytest.approx(np.cumsum(each), abs=1e-12)


def test_who_catches_up_late_is_counted_too_and_nobody_falls_back():
    counts = np.concatenate([np.arange(65.0), np.arange(66.0, 400.0, 3.0)])
    caught = caught_up_fraction((100.0 + 0.2 * counts)[None], counts)[0]
    # 125 come on average; half of the time no more, within what a third of a request makes.
    assert np.all(np.diff(caught) >= 0)
    assert caught[0] < 1e-9
    assert float(np.interp(125.0, counts, caught)) == pytest.approx(0.5, abs=0.04)
    assert caught[-1] == pytest.approx(1.0, abs=1e-6)


def test_the_sum_of_two_uniform_parts_is_that_of_many_drawn():
    one, other = np.random.default_rng(3).random((2, 200_000)) * np.array([[3.0], [1.0]])
    for share in (0.01, 0.1, 0.5, 0.8, 0.99):
        limit = trapezoid_s(share, 3.0, 1.0)
        assert limit == pytest.approx(float(np.quantile(one + other, share)), abs=0.02)
        assert trapezoid_longer_fraction(limit, 3.0, 1.0) == pytest.approx(1 - share)
    # By hand: a triangle of half a square up to the narrower width.
    assert trapezoid_s(1 / 6, 3.0, 1.0) == pytest.approx(1.0)
    assert trapezoid_s(0.25, 3.0, 0.0) == 0.75
    assert trapezoid_s(0.9, 0.0, 0.0) == 0.0


def test_a_share_waits_as_long_as_the_share_that_waits_longer():
    for share in (0.6, 0.9, 0.99):
        waited = float(waited_s(np.array(share), 2.0, 0.25))
        assert waits_longer_fraction(waited, 2.0, 0.25) == pytest.approx(1 - share)
    assert waited_s(np.array([0.4, 0.5]), 2.0, 0.25).tolist() == [0.0, 0.0]


def test_at_one_place_a_wait_is_that_of_equal_services_and_longer_at_many():
    assert place_queue_s(1, 0.5, 3.0) == 3.0
    assert place_queue_s(8, 0.5, 8.0) == pytest.approx(1.0 + 7 * (math.sqrt(44) - 2) / 128)
