"""The exhaustive solver leaves nothing out: counted by hand."""

import math

from planner.solver.chain import exhaustive
from tests.solver.chain.test_problem import three_items


def test_three_items_under_two_options_have_eighteen_pipelines():
    # Compositions of 3: 1+1+1 (2³), 1+2 and 2+1 (2² each), 3 (2): 8 + 4 + 4 + 2.
    cuts = list(exhaustive.all_cuts(three_items()))
    assert len(cuts) == len(set(cuts)) == 18


def test_the_best_of_them_is_found():
    found = exhaustive.solve(three_items())
    assert [tuple(run) for run in found.runs] == [(0, 3, 1, 0)]
    assert found.objective == 3.0  # six units of work, halved


def test_without_room_there_is_no_solution():
    found = exhaustive.solve(three_items(budget=0))
    assert found.runs is None
    assert found.objective == math.inf
