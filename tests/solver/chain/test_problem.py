"""Measures, packing and evaluation, by hand on a chain of three items."""

from dataclasses import replace

import numpy as np
import pytest

from planner.solver.chain.packing import Packing
from planner.solver.chain.problem import (
    ChainProblem,
    Larger,
    Line,
    Measure,
    Way,
    evaluate,
    packed,
)

WORK, LINKS = 0, 0


def three_items(budget: int = 4, objective: Measure | None = None) -> ChainProblem:
    """Work of 1, 2 and 3; option 0 takes one slot, option 1 two and halves the work; a link
    costs 0.5, and 2.5 across the border between slots 1 and 2. One sum (work and links), one
    peak (the busiest run)."""
    prefix = np.array([[[0.0], [1.0], [3.0], [6.0]]] * 2)
    shares = np.array([1.0, 0.5])
    widths = np.array([1, 2])
    packing = Packing(4, (2, 4), (2,))
    return ChainProblem(
        prefix=prefix,
        feasible=np.stack([np.triu(np.ones((4, 4), dtype=bool), 1)] * 2),
        run_sums=shares[:, None, None].copy(),
        run_sums_fixed=np.zeros((2, 1)),
        run_peaks=shares[:, None, None].copy(),
        run_peaks_fixed=np.zeros((2, 1)),
        link_sums=np.broadcast_to(np.array([[0.5], [2.5]]), (4, 2, 2, 1)).copy(),
        link_peaks=np.zeros((4, 2, 2, 1)),
        widths=widths,
        packing=packing,
        crossings=packing.crossings(widths),
        budget=budget,
        objective=objective or Measure(np.array([1.0]), np.array([0.0])),
    )


def test_an_average_over_nothing_is_nothing():
    power = Measure(np.array([1.0]), np.array([0.0]), held=0, averaged=True)
    sums = np.array([[0.0], [3.0]])
    assert list(power.value(sums, np.zeros((2, 1)))) == [0.0, 3.0]
    assert float(power.value(np.zeros(1), np.zeros(1))) == 0.0


def test_a_solution_is_evaluated_run_by_run_and_link_by_link():
    problem = three_items()
    runs = packed(problem, ((0, 1, 0), (1, 2, 0), (2, 3, 1)))
    assert [run.start for run in runs] == [0, 1, 2]
    sums, peaks = evaluate(problem, runs)
    assert sums == pytest.approx([1 + 2 + 1.5 + 0.5 + 2.5])
    assert peaks == pytest.approx([2.0])


def test_a_run_of_two_slots_skips_the_slot_before_a_border():
    runs = packed(three_items(), ((0, 1, 0), (1, 3, 1)))
    assert [run.start for run in runs] == [0, 2]


def test_runs_beyond_the_budget_do_not_pack():
    assert packed(three_items(budget=3), ((0, 1, 0), (1, 3, 1))) is None


def test_a_measure_adds_sums_peaks_and_the_larger_of_two():
    measure = Measure(np.array([2.0]), np.array([3.0]), (Larger(0, 0, 10.0),), scale=0.5)
    assert float(measure.value(np.array([1.0]), np.array([4.0]))) == 0.5 * (2 + 12 + 40)
    assert float(measure.value(np.array([5.0]), np.array([4.0]))) == 0.5 * (10 + 12 + 50)


def test_more_ways_count_where_they_are_the_largest():
    pair = Larger(0, 0, 10.0, (Way(1, (0,)), Way(1, (0, 1))))
    measure = Measure(np.zeros(2), np.zeros(2), (pair,))
    # The sum 5, the peak 4, then 2 + 4 and 2 + 4 + 3.
    assert float(measure.value(np.array([5.0, 2.0]), np.array([4.0, 3.0]))) == 10 * 9.0
    assert float(measure.value(np.array([5.0, 0.0]), np.array([4.0, 0.5]))) == 10 * 5.0
    rows = measure.value(np.array([[5.0, 2.0], [9.5, 2.0]]), np.array([[4.0, 3.0], [4.0, 3.0]]))
    assert rows.tolist() == [90.0, 95.0]
    assert measure.as_sums().tolist() == [10.0, 0.0]
    assert measure.as_sums(but=pair).tolist() == [0.0, 0.0]
    assert measure.as_sums(but=pair, way=pair.more[0]).tolist() == [0.0, 10.0]


def test_a_held_measure_is_multiplied_by_its_sum():
    measure = Measure(np.array([1.0, 0.0]), np.array([0.0]), held=1)
    assert float(measure.value(np.array([3.0, 4.0]), np.array([0.0]))) == 12.0


def test_a_measure_takes_many_solutions_at_once():
    measure = Measure(np.array([1.0]), np.array([1.0]))
    assert measure.value(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])).tolist() == [4.0, 6.0]


def test_taking_the_larger_as_its_sum_never_gives_more():
    measure = Measure(np.array([2.0]), np.array([0.0]), (Larger(0, 0, 10.0),))
    for work, peak in ((1.0, 4.0), (5.0, 4.0)):
        value = float(measure.value(np.array([work]), np.array([peak])))
        assert float(np.array([work]) @ measure.as_sums()) <= value


LINED = Measure(
    np.array([2.0, 0.0]), np.array([0.0]), held=1, scale=0.5, lines=(Line(1.0, 7.0), Line(3.0, 0.0))
)


def test_of_several_lines_over_a_measure_the_least_counts():
    """Held wholes of 2 and of 20."""
    values = LINED.value(np.array([[1.0, 2.0], [2.0, 10.0]]), np.array([[0.0], [0.0]]))
    assert values.tolist() == [min(2 + 7, 3 * 2), min(20 + 7, 3 * 20)]


@pytest.mark.parametrize("value", [1.0, 6.0, 10.5, 40.0])
def test_the_lines_reach_a_value_at_the_whole_that_is_said(value):
    assert float(LINED.lined(np.array(LINED.unlined(value)))) == pytest.approx(value)
    assert float(LINED.lined(np.array(LINED.unlined(value) * 1.01))) > value


def test_an_average_is_divided_by_the_time_and_need_not_grow_with_it():
    average = replace(LINED, averaged=True)
    sums, peaks = np.array([[1.0, 2.0], [2.0, 2.0]]), np.zeros((2, 1))
    assert average.value(sums, peaks) == pytest.approx(LINED.value(sums, peaks) / [2.0, 4.0])
    assert average.value(np.array([8.0, 2.0]), np.zeros(1)) < average.value(
        np.array([4.0, 2.0]), np.zeros(1)
    )
