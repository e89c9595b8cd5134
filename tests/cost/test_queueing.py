"""Queues, against formulas that are exact and queues played through."""

import math

import numpy as np
import pytest

from planner.cost.queueing import (
    in_flight_fraction,
    in_flight_sequences,
    queue_s,
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
