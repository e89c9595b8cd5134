"""Costs of rows, worked out by hand."""

import numpy as np
import pytest

from planner.solver.rows.costs import Cost, Way, longest_of

PEAKS = np.array([[2.0, 3.0], [5.0, 1.0]])
"""Of two peaks of two rows."""


def way(fixed, **weights):
    each = {int(name[1:]): np.array(one, dtype=float) for name, one in weights.items()}
    return Way(np.array(fixed, dtype=float), each)


def test_a_way_adds_its_fixed_part_and_its_weighted_peaks():
    one = way([1, 10], p0=[2, 1], p1=[1, 0])
    assert one.value(PEAKS).tolist() == [1 + 4 + 5, 10 + 3]
    assert one.times(2.0).value(PEAKS).tolist() == [20, 26]
    assert one.plus(way([1, 1], p1=[1, 1])).value(PEAKS).tolist() == [16, 15]


def test_the_longest_way_counts_in_each_row():
    cost = longest_of([way([0, 0], p0=[1, 1]), way([0, 0], p1=[1, 1])])
    assert cost.value(PEAKS).tolist() == [5, 3]
    whole = cost.times(np.array([2.0, 3.0])).plus(Cost(way([1, 1])))
    assert whole.value(PEAKS).tolist() == [11, 10]


@pytest.mark.parametrize("more", [0.0, 0.5, 4.0])
def test_a_cost_never_shrinks_with_a_peak(more):
    cost = longest_of([way([1, 0], p0=[1, 2]), way([0, 3], p1=[1, 0])])
    for peak in range(2):
        higher = PEAKS.copy()
        higher[peak] += more
        assert (cost.value(higher) >= cost.value(PEAKS)).all()
