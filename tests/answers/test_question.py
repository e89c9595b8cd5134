"""Questions."""

import pytest

import planner as pl
from planner.answers.question import question_of


def test_a_question_has_one_objective():
    with pytest.raises(pl.InputError, match="minimize= or maximize="):
        question_of("tpot_s", "tokens_per_s", None, None)


def test_without_a_field_the_time_per_token_is_asked_for():
    assert question_of(None, None, None, None).objective == "tpot_s"


def test_an_unknown_field_gets_the_nearest():
    with pytest.raises(pl.UnknownNameError, match="tpot_s"):
        question_of("tpot", None, None, None)


@pytest.mark.parametrize(("minimize", "maximize"), [("tokens_per_s", None), (None, "tpot_s")])
def test_the_wrong_direction_is_refused(minimize, maximize):
    with pytest.raises(pl.InputError, match=r"tokens_per_s|tpot_s"):
        question_of(minimize, maximize, None, None)


@pytest.mark.parametrize("limit", [float("nan"), -1.0, "fast"])
def test_a_limit_that_is_no_figure_is_refused(limit):
    with pytest.raises(pl.InputError, match="ttft_s"):
        question_of("tpot_s", None, {"ttft_s": limit}, None)
