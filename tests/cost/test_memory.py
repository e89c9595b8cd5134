"""What a chip holds, against figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.memory import fewest_chips, most_sequences, needed_bytes, usable_bytes

GOLDEN = [
    (usable_bytes, (80e9, 0.9, 2e9), 70e9),
    (usable_bytes, (80e9, 1.0, 0.0), 80e9),
    (needed_bytes, (14e9, 3e9, 1e9), 18e9),
]
amounts = st.integers(0, 10**12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_each_figure_is_the_one_worked_out_by_hand(function, given_values, expected):
    assert function(*given_values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, given_values, expected):
    arrays = [np.array([1.0, 0.5, 0.25]) * value for value in given_values]
    one_by_one = [function(*[float(array[n]) for array in arrays]) for n in range(3)]
    assert function(*arrays).shape == (3,)
    assert list(function(*arrays)) == one_by_one


@pytest.mark.parametrize(
    ("free", "each", "expected"),
    [(10e9, 3e9, 3), (9e9, 3e9, 3), (2.9e9, 3e9, 0), (0.0, 3e9, 0), (-1.0, 3e9, 0)],
)
def test_as_many_sequences_are_in_flight_as_fit_whole(free, each, expected):
    assert most_sequences(free, each) == expected


def test_without_a_cache_memory_sets_no_practical_limit_to_the_sequences():
    assert most_sequences(1e9, 0.0) == most_sequences(0.0, 0.0) >= 1_000_000
    assert most_sequences(-1.0, 0.0) == 0


@pytest.mark.parametrize(
    ("demand", "each", "expected"),
    [(140e9, 72e9, 2), (144e9, 72e9, 2), (144.1e9, 72e9, 3), (1.0, 72e9, 1), (0.0, 72e9, 0)],
)
def test_as_many_chips_are_needed_as_hold_it_between_them(demand, each, expected):
    assert fewest_chips(demand, each) == expected


@pytest.mark.slow
@given(amounts, st.integers(1, 10**12))
def test_the_most_sequences_fit_and_one_more_does_not(free, each):
    count = most_sequences(free, each)
    assert count * each <= free < (count + 1) * each


@pytest.mark.slow
@given(st.integers(1, 10**4), st.integers(10**4, 10**11))
def test_one_chip_less_would_not_do(chips, each):
    assert fewest_chips(chips * each, each) == chips
    assert fewest_chips(chips * each + each // 100, each) == chips + 1
