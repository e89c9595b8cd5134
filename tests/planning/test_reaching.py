"""The best value of a field under limits, and what is proved about it."""

import math

import pytest

from planner.answers.question import FIELDS, SAMPLE_FIELDS, Question
from planner.planning.reaching import asked, best_is_least, is_beyond, keeps, reached
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from tests.instances import tiny_graph
from tests.machines.test_cluster import line
from tests.two_layers import ALONE_S, GRAPH, REPLICAS_S, WORK, machine

SPACE = Candidates(GRAPH, machine(), WORK, Question("chips", (), space="engine"))


def test_a_field_is_best_under_the_limits_that_are_given():
    free = reached([SPACE], "tpot_s")
    assert (free.value, free.bound, free.proved) == (pytest.approx(REPLICAS_S), free.value, True)
    tight = reached([SPACE], "tpot_s", (("chips", 1.0),))
    assert tight.value == pytest.approx(ALONE_S)
    assert tight.plan.chips == 1


def test_that_no_plan_keeps_the_limits_is_proved():
    none = reached([SPACE], "chips", (("tpot_s", 20.0),))
    assert none.is_impossible
    assert is_beyond(none, "chips", math.inf)


def test_of_several_spaces_the_best_counts():
    small = Candidates(GRAPH, machine(1), WORK, SPACE.question)
    assert reached([small, SPACE], "tpot_s").value == pytest.approx(REPLICAS_S)
    assert reached([small, SPACE], "tokens_per_s").value == pytest.approx(4 / 42)
    assert reached([small, SPACE], "tpot_s").space.topology == SPACE.topology


def test_without_time_nothing_is_proved():
    late = reached([SPACE], "tpot_s", deadline=-math.inf)
    assert late.plan is None
    assert not late.proved
    assert not late.is_impossible
    assert not is_beyond(late, "tpot_s", 1.0)


def test_a_value_that_is_enough_ends_the_search():
    found = reached([SPACE], "tpot_s", enough=math.inf)
    assert found.plan is not None
    assert found.bound <= REPLICAS_S * (1 + 1e-9)


@pytest.mark.parametrize("name", [*FIELDS, *SAMPLE_FIELDS])
def test_a_limit_is_kept_by_itself_and_by_what_is_better(name):
    better, worse = (0.5, 2.0) if best_is_least(name) else (2.0, 0.5)
    assert keeps(name, 1.0, 1.0)
    assert keeps(name, better, 1.0)
    assert not keeps(name, worse, 1.0)


def test_a_cluster_is_asked_too():
    cluster = line("a", "b")
    space = ClusterCandidates(tiny_graph(2), cluster, WORK, Question("tpot_s", ()))
    again = asked(space, "chips", (("tpot_s", 1.0),))
    assert again.question.fields == ("chips", "tpot_s")
    assert reached([space], "chips").value == 1.0
