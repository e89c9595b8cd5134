"""Joules and dollars, against figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.cost.energy import energy_per_token_j, held_power_w, hourly_usd, usd_per_million_tokens

GOLDEN = [
    (held_power_w, (8.0, 700.0), 5600.0),
    (energy_per_token_j, (5600.0, 2800.0), 2.0),
    (usd_per_million_tokens, (8.0, 4.5, 1000.0), 10.0),  # 36 USD/h for 3.6 million tokens an hour
    (hourly_usd, (26280.0, 26280.0, 0.0, 0.2), 1.0),  # three years
    (hourly_usd, (26280.0, 26280.0, 500.0, 0.2), 1.1),
]
positive = st.floats(1e-3, 1e6)
factors = st.floats(1.0, 1e3)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_each_figure_is_the_one_worked_out_by_hand(function, given_values, expected):
    assert function(*given_values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, given_values, expected):
    arrays = [np.array([1.0, 2.0, 3.0]) * value for value in given_values]
    one_by_one = [function(*[float(array[n]) for array in arrays]) for n in range(3)]
    assert function(*arrays).shape == (3,)
    assert list(function(*arrays)) == pytest.approx(one_by_one, rel=1e-15)


@settings(deadline=None)
@given(st.integers(1, 1000), positive, positive, factors)
def test_more_tokens_from_the_same_chips_never_cost_more(chips, each, rate, factor):
    power = held_power_w(chips, each)
    assert energy_per_token_j(power, rate * factor) <= energy_per_token_j(power, rate)
    assert usd_per_million_tokens(chips, each, rate * factor) <= usd_per_million_tokens(chips, each, rate)


@settings(deadline=None)
@given(st.integers(1, 1000), positive, positive)
def test_replicas_that_bring_as_many_tokens_as_chips_change_no_price_per_token(replicas, each, rate):
    one = energy_per_token_j(held_power_w(4, each), rate)
    assert energy_per_token_j(held_power_w(4 * replicas, each), rate * replicas) == pytest.approx(one, rel=1e-12)
    alone = usd_per_million_tokens(4, each, rate)
    assert usd_per_million_tokens(4 * replicas, each, rate * replicas) == pytest.approx(alone, rel=1e-12)


@settings(deadline=None)
@given(positive, positive, positive, positive, factors)
def test_a_longer_life_is_never_dearer_by_the_hour(price, life, power, tariff, factor):
    assert hourly_usd(price, life * factor, power, tariff) <= hourly_usd(price, life, power, tariff)
