"""Numbers to the digits that their intervals allow."""

import math

import pytest

from planner.studies.advantage.rounding import digits_of, rounded, size_text


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [
        (95.0, 105.0, 3),
        (100 / 1.1, 110.0, 3),
        (90.0, 105.0, 2),
        (60.0, 199.0, 2),
        (60.0, 201.0, 1),
        (49.0, 101.0, 1),
        (0.0, 101.0, 1),
        (90.0, math.inf, 1),
        (math.nan, 101.0, 1),
    ],
)
def test_a_wider_interval_leaves_fewer_digits(low, high, digits):
    assert digits_of(100.0, low, high) == digits


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (2.0379e11, 3, "204 B"),
        (2.0379e11, 2, "200 B"),
        (8.364e10, 2, "84 B"),
        (8.364e10, 1, "80 B"),
        (1.1812e12, 2, "1,200 B"),
        (8.34e9, 2, "8.3 B"),
        (math.inf, 1, "any number"),
    ],
)
def test_sizes_are_told_in_billions(value, digits, text):
    assert size_text(value, digits) == text


def test_nothing_and_what_has_no_end_are_left_alone():
    assert rounded(0.0, 2) == 0.0
    assert rounded(math.inf, 2) == math.inf
    assert rounded(-0.01234, 2) == pytest.approx(-0.012)
