"""One operator on one chip, against figures worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.roofline import (
    attainable_flop_per_s,
    compute_s,
    fed_fraction,
    intensity_flop_per_byte,
    memory_s,
    operator_s,
)

amounts = st.floats(1.0, 1e15)
rates = st.floats(1e6, 1e18)
factors = st.floats(1.0, 1e6)
fractions = st.floats(0.01, 1.0)

GOLDEN = [
    (compute_s, (1e12, 100e12), 0.01),
    (compute_s, (1e12, 100e12, 0.5), 0.02),
    # Half of 100 TFLOP/s: fed at 100. Of 20 TFLOP/s that leaves 1 / (1/20 + 1/100) = 16.7.
    (fed_fraction, (0.5, 0.2), 5 / 6),
    (fed_fraction, (0.5, 1.0), 0.5),
    (fed_fraction, (1.0, 0.2), 1.0),
    (memory_s, (16e9, 2e12), 0.008),
    (memory_s, (16e9, 2e12, 0.8), 0.01),
    (operator_s, (3.0, 2.0), 3.0),
    (operator_s, (2.0, 3.0, 0.25), 3.25),
    (intensity_flop_per_byte, (4e9, 2e9), 2.0),
    (attainable_flop_per_s, (10.0, 100e12, 2e12), 20e12),
    (attainable_flop_per_s, (500.0, 100e12, 2e12), 100e12),
]


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_each_figure_is_the_one_worked_out_by_hand(function, given_values, expected):
    assert function(*given_values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, given_values, expected):
    scales = np.array([1.0, 0.5, 0.25])
    arrays = [scales * value for value in given_values]
    one_by_one = [function(*[float(array[n]) for array in arrays]) for n in range(3)]
    assert function(*arrays).shape == (3,)
    assert list(function(*arrays)) == one_by_one


def test_an_operator_at_the_ridge_needs_as_long_for_arithmetic_as_for_traffic():
    peak, bandwidth = 100e12, 2e12  # the ridge lies at 50 operations for each byte
    assert compute_s(50e9, peak) == pytest.approx(memory_s(1e9, bandwidth), rel=1e-12)
    assert attainable_flop_per_s(49.0, peak, bandwidth) < peak
    assert attainable_flop_per_s(50.0, peak, bandwidth) == peak


@pytest.mark.slow
@given(amounts, amounts, rates, rates, factors)
def test_a_faster_chip_is_never_slower(flop, moved, peak, bandwidth, factor):
    def seconds(peak_flop_per_s, bandwidth_bytes_per_s):
        return operator_s(
            compute_s(flop, peak_flop_per_s), memory_s(moved, bandwidth_bytes_per_s), 1e-6
        )

    assert seconds(peak * factor, bandwidth) <= seconds(peak, bandwidth)
    assert seconds(peak, bandwidth * factor) <= seconds(peak, bandwidth)


@pytest.mark.slow
@given(amounts, rates, fractions, fractions)
def test_a_better_efficiency_is_never_slower(amount, rate, one, other):
    worse, better = min(one, other), max(one, other)
    assert compute_s(amount, rate, better) <= compute_s(amount, rate, worse)
    assert memory_s(amount, rate, better) <= memory_s(amount, rate, worse)


@pytest.mark.slow
@given(amounts, amounts, rates, rates)
def test_no_operator_beats_the_roof_over_its_intensity(flop, moved, peak, bandwidth):
    reached = flop / operator_s(compute_s(flop, peak), memory_s(moved, bandwidth))
    roof = attainable_flop_per_s(intensity_flop_per_byte(flop, moved), peak, bandwidth)
    assert reached == pytest.approx(roof, rel=1e-9)


@pytest.mark.slow
@given(amounts, amounts, st.floats(0.0, 1.0))
def test_overhead_is_never_hidden(arithmetic, traffic, overhead):
    assert operator_s(arithmetic, traffic, overhead) == pytest.approx(
        operator_s(arithmetic, traffic) + overhead
    )


@pytest.mark.slow
@given(fractions, fractions, fractions)
def test_a_chip_with_less_arithmetic_reaches_more_of_it_and_never_does_more(efficiency, one, two):
    less, more = sorted((one, two))
    shares = [float(fed_fraction(efficiency, share)) for share in (less, more)]
    assert efficiency - 1e-12 <= shares[1] <= shares[0] + 1e-12 <= 1 + 2e-12
    assert less * shares[0] <= more * shares[1] + 1e-12
