"""By how much a measurement may be worse than a price, for plans whose stages have one split."""

import math

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.pricing.price_list import Split
from planner.space.candidates import Candidates
from planner.space.margins import NONE, Margins

GRAPH = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
MACHINE = pl.load_topology("hgx-h100", chips=8)
WORK = pl.Workload(batch_size=16)


def margins(sure, workload=WORK):
    question = question_of(None, None, {"ttft_s": 1.0}, None, space="engine", sure=sure)
    return Margins(Candidates(GRAPH, MACHINE, workload, question))


def split(tensor):
    return Split(tensor, 1, 1, 1)


def test_the_price_itself_has_no_margin():
    assert margins(None).at(split(8), 1, 16) == NONE
    assert margins(None).least(split(8), 1, 1, 64) == NONE


@pytest.mark.parametrize("tensor", [4, 8])
def test_they_are_the_ends_of_the_intervals_of_a_score(tensor):
    plan = pl.uniform_plan(GRAPH, MACHINE, tensor_parallel=tensor)
    score = pl.score_plan(plan, GRAPH, MACHINE, WORK)
    known = margins(0.8).at(split(tensor), 1, WORK.batch_size / plan.replicas)
    for name in ("ttft_s", "tpot_s"):
        value = getattr(score, name)
        # Four of five below: one of five on either side, so that three of five lie between.
        assert value * known[name] == pytest.approx(score.interval(name, 0.6)[1])
        assert score.sure(name, 0.8) == pytest.approx(value * known[name])
    assert score.sure("tokens_per_s", 0.8) < score.tokens_per_s


def test_percentiles_have_that_of_their_mean_and_what_comes_is_counted():
    known = margins(0.9, pl.Workload(requests_per_s=2.0)).at(split(8), 1, 16)
    assert known["tpot_p99_s"] == known["tpot_s"] > 1
    assert "tokens_per_s" not in known


def test_more_surely_is_further_and_a_range_is_as_sure_as_any_of_it():
    few, many = (margins(sure).at(split(8), 1, 16)["tpot_s"] for sure in (0.6, 0.95))
    assert 1 < few < many
    of_range = margins(0.8).least(split(8), 1, 1, 100_000)
    for count in (1, 5, 16, 300, 100_000):
        assert of_range["tpot_s"] <= margins(0.8).at(split(8), 1, count)["tpot_s"]
    # A hundred times what was measured is less sure.
    far = margins(0.8).at(split(8), 1, 1e7)["tpot_s"]
    assert math.log(far) > math.log(of_range["tpot_s"])
