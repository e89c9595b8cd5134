"""Joules and dollars, against figures worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.energy import active_s, drawn_w, energy_j, hourly_usd, usd_per_million_tokens

GOLDEN = [
    (active_s, (2.0, 3.0, 7.0, 1.5), 18.5),
    (usd_per_million_tokens, (8.0, 4.5, 1000.0), 10.0),  # 36 USD/h for 3.6 million tokens an hour
    (hourly_usd, (26280.0, 26280.0, 0.0, 0.2), 1.0),  # three years
    (hourly_usd, (26280.0, 26280.0, 500.0, 0.2), 1.1),
]
positive = st.floats(1e-3, 1e6)
factors = st.floats(1.0, 1e3)
shares = st.floats(0.01, 1.0)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_each_figure_is_the_one_worked_out_by_hand(function, given_values, expected):
    assert function(*given_values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, given_values, expected):
    arrays = [np.array([1.0, 2.0, 3.0]) * value for value in given_values]
    one_by_one = [function(*[float(array[n]) for array in arrays]) for n in range(3)]
    assert function(*arrays).shape == (3,)
    assert list(function(*arrays)) == pytest.approx(one_by_one, rel=1e-15)


@pytest.mark.parametrize(
    ("active_chip_s", "joules"),
    [(0.0, 2 * (140 + 50)), (0.2, 2 * 190 + 0.2 * 560), (1e9, 2 * 750)],
)
def test_a_chip_draws_its_idle_share_then_joules_for_its_activity_and_never_more_than_its_watts(
    active_chip_s, joules
):
    draws = drawn_w(700.0, 0.2, 50.0)
    assert float(energy_j(draws, 2.0, active_chip_s)) == pytest.approx(joules, rel=1e-12)


def test_what_is_drawn_saturates_as_the_exponential_does():
    activity = np.linspace(0, 6, 200)
    drawn = energy_j(drawn_w(1.0, 0.25, 0.0), 1.0, activity)
    exact = 0.25 + 0.75 * (1 - np.exp(-activity))
    assert (drawn >= exact - 1e-12).all()
    assert drawn == pytest.approx(exact, abs=0.04)
    touching = energy_j(drawn_w(1.0, 0.25, 0.0), 1.0, np.array([0.0, 0.5, 1.0, 2.0]))
    assert list(touching) == pytest.approx(
        [0.25 + 0.75 * (1 - math.exp(-at)) for at in (0.0, 0.5, 1.0, 2.0)], rel=1e-12
    )


def test_a_chip_that_always_draws_its_watts_asks_nothing_of_its_activity():
    (draw,) = drawn_w(700.0, 1.0, 100.0)
    assert draw == (800.0, 0.0)


@pytest.mark.slow
@given(positive, shares, positive, positive, positive, factors)
def test_neither_time_nor_work_ever_saves_energy_and_power_stays_below_what_is_provisioned(
    chip, idle, host, held, active, factor
):
    draws = drawn_w(chip, idle, host)
    joules = float(energy_j(draws, held, active))
    assert joules <= float(energy_j(draws, held * factor, active)) * (1 + 1e-12)
    assert joules <= float(energy_j(draws, held, active * factor)) * (1 + 1e-12)
    assert (chip * idle + host) * held * (1 - 1e-12) <= joules <= (chip + host) * held * (1 + 1e-12)


@pytest.mark.slow
@given(st.integers(1, 1000), positive, positive, factors)
def test_more_tokens_from_the_same_chips_never_cost_more(chips, each, rate, factor):
    assert usd_per_million_tokens(chips, each, rate * factor) <= usd_per_million_tokens(
        chips, each, rate
    )


@pytest.mark.slow
@given(st.integers(1, 1000), shares, positive, positive)
def test_replicas_that_bring_as_many_tokens_as_chips_change_no_price_per_token(
    replicas, idle, active, rate
):
    draws = drawn_w(700.0, idle, 50.0)
    one = float(energy_j(draws, 4.0, active))
    assert float(energy_j(draws, 4.0 * replicas, active * replicas)) == pytest.approx(
        replicas * one, rel=1e-12
    )
    alone = usd_per_million_tokens(4, 2.0, rate)
    assert usd_per_million_tokens(4 * replicas, 2.0, rate * replicas) == pytest.approx(
        alone, rel=1e-12
    )


@pytest.mark.slow
@given(positive, positive, positive, positive, factors)
def test_a_longer_life_is_never_dearer_by_the_hour(price, life, power, tariff, factor):
    assert hourly_usd(price, life * factor, power, tariff) <= hourly_usd(price, life, power, tariff)
