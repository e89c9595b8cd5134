"""What may be said of a search: optimal only where objective and bound are one."""

import math

import pytest

from planner.answers.proof import TOLERANCE, gap_between, proved
from planner.answers.question import Question

FASTEST = Question("tpot_s", (("chips", 8.0),))
MOST = Question("tokens_per_s", ())


def said(question, objective, bound, **given):
    found = {"promised": objective, "elapsed_s": 0.5, "stopped_by": "time"} | given
    return proved(question, objective=objective, bound=bound, **found)


def test_where_objective_and_bound_are_one_the_answer_is_optimal_and_ended_by_its_proof():
    fields = said(FASTEST, 0.020, 0.020)
    assert fields["status"] == "optimal"
    assert fields["stopped_by"] == "proof"
    assert fields["gap"] == 0.0
    assert fields["bound"] == fields["objective"] == 0.020


@pytest.mark.parametrize("ended", ["time", "interrupt", "beam"])
def test_where_they_differ_the_answer_is_feasible_and_says_what_ended_the_search(ended):
    fields = said(FASTEST, 0.020, 0.015, stopped_by=ended)
    assert fields["status"] == "feasible"
    assert fields["stopped_by"] == ended
    assert fields["gap"] == pytest.approx(0.25)


def test_rounding_is_forgiven_and_nothing_more():
    assert said(FASTEST, 1.0, 1.0 - TOLERANCE / 2)["status"] == "optimal"
    assert said(FASTEST, 1.0, 1.0 - 3 * TOLERANCE)["status"] == "feasible"


def test_of_what_is_to_be_high_the_bound_lies_above():
    fields = said(MOST, 100.0, 130.0)
    assert fields["direction"] == "maximize"
    assert fields["status"] == "feasible"
    assert fields["gap"] == pytest.approx(0.3)
    assert said(MOST, 100.0, 100.0)["status"] == "optimal"


def test_a_bound_that_the_plan_itself_beats_is_drawn_back_to_it():
    assert said(FASTEST, 0.020, 0.021)["bound"] == 0.020
    assert said(MOST, 100.0, 99.0)["bound"] == 100.0


def test_without_a_bound_nothing_is_proved():
    fields = said(MOST, 100.0, math.inf)
    assert fields["status"] == "feasible"
    assert fields["gap"] == math.inf


def test_a_search_that_promised_another_value_than_its_plan_scores_is_a_fault_of_ours():
    with pytest.raises(AssertionError, match=r"promised 0\.019 for tpot_s, its plan scores 0\.02"):
        said(FASTEST, 0.020, 0.015, promised=0.019)


def test_what_was_asked_stands_in_the_answer():
    fields = said(FASTEST, 0.020, 0.015)
    assert (fields["field"], fields["direction"], fields["limits"]) == (
        "tpot_s",
        "minimize",
        (("chips", 8.0),),
    )


def test_the_gap_is_relative_and_nothing_where_the_objective_is_nothing():
    assert gap_between(-50.0, -40.0) == pytest.approx(0.2)
    assert gap_between(0.0, 0.0) == 0.0
