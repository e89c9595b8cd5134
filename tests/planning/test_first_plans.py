"""A plan at once, for searches that were cut off."""

import pytest

import planner as pl
from planner import allowance
from planner.answers.question import question_of
from planner.planning.first_plans import first_plan, likely, soon
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


def test_a_first_plan_stands_around_chips_that_are_out_of_use():
    at = asked(8, batch_size=2)
    # Of 141 GB of weights no chip of 80 GB holds all, and two in a row are left at 2 and at 6.
    candidates = Candidates(
        pl.load_model("llama-3.1-70b"), at.topology, at.workload, at.question, exclude=(1, 4)
    )
    plan = first_plan(candidates).plan
    groups = [group for stage in plan.stages for group in stage.groups]
    assert groups
    assert not any(group.first <= chip <= group.last for group in groups for chip in (1, 4))
    assert not pl.check_plan(
        plan, candidates.graph, at.topology, at.workload, exclude=(1, 4), space="any"
    )


def test_soon_is_never_where_there_is_all_the_time():
    candidates = asked(8, batch_size=8)
    assert soon(candidates).plan is None
    with ticking(0.0), allowance.allowed_for(10.0):
        assert soon(candidates).plan is not None


def test_likely_splits_are_the_widest_on_a_fabric_and_not_much_alike():
    found = list(likely(asked(8, batch_size=8)))
    assert [split.chips for split, _ in found[:4]] == [8, 4, 2, 1]
    assert {stages for _, stages in found} == {1, 2, 4}


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
