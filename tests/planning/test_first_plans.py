"""A plan at once, for searches that were cut off."""

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.planning.first_plans import first_plan
from planner.space.candidates import Candidates
from planner.workload import Workload
from tests.clock import ticking


def asked(chips, field="tpot_s", limits=None, *, space="engine", model="llama-3.1-8b", **work):
    graph = pl.load_model(model)
    topology = pl.load_topology("hgx-h100", chips=chips)
    question = question_of(field, None, limits, None, space=space)
    return Candidates(graph, topology, Workload(**work), question)


@pytest.mark.parametrize("space", ["engine", "any"])
def test_a_first_plan_keeps_every_rule_and_is_worth_its_score(space):
    candidates = asked(8, space=space, batch_size=8)
    best = first_plan(candidates)
    assert not pl.check_plan(
        best.plan, candidates.graph, candidates.topology, candidates.workload, space=space
    )
    score = pl.score_plan(best.plan, candidates.graph, candidates.topology, candidates.workload)
    assert best.value == score.tpot_s


def test_of_what_is_too_large_for_a_chip_the_first_plan_has_several():
    # 141 GB of weights, and chips of 80 GB.
    best = first_plan(asked(8, model="llama-3.1-70b", batch_size=1))
    assert best.plan.chips >= 2


def test_a_first_plan_keeps_all_limits_or_there_is_none():
    assert first_plan(asked(8, limits={"tpot_s": 1e-9}, batch_size=1)).plan is None


def test_of_an_open_rate_there_is_no_first_plan():
    assert first_plan(asked(1, "chips", arrivals="poisson", requests_per_s=1.0)).plan is not None
    graph, topology = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100", chips=1)
    question = question_of(None, "tokens_per_s", {"ttft_p99_s": 1.0}, None)
    rated = Candidates(graph, topology, Workload(arrivals="poisson"), question)
    assert first_plan(rated).plan is None


def test_a_question_without_time_has_a_plan_of_which_nothing_is_proved():
    at = asked(8, batch_size=8)
    with ticking(0.001):
        found = pl.partition(
            at.graph, at.topology, at.workload, minimize="tpot_s", time_limit_s=0.01
        )
    assert (found.status, found.stopped_by, found.bound) == ("feasible", "time", 0.0)
