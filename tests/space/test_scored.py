"""The best of plans that are all scored."""

import pytest

from planner.answers.question import question_of
from planner.errors import InputError
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
from planner.space.scored import best_of_scored
from planner.workload import Workload
from tests.instances import tiny_graph, tiny_topology

GRAPH, MACHINE = tiny_graph(), tiny_topology(4)
ONE, TWO, FOUR = (uniform_plan(GRAPH, MACHINE, data_parallel=ways) for ways in (1, 2, 4))
SCORE = score_plan(ONE, GRAPH, MACHINE, Workload(batch_size=4))


def reaching(tpot_s: float, tokens_per_s: float, energy_per_token_j: float | None = 1.0):
    return SCORE.replace(
        tpot_s=tpot_s, tokens_per_s=tokens_per_s, energy_per_token_j=energy_per_token_j
    )


SCORED = [(FOUR, reaching(1.0, 8.0)), (TWO, reaching(1.0, 9.0)), (ONE, reaching(2.0, 3.0))]


def asked(minimize=None, maximize=None, limits=None):
    return question_of(minimize, maximize, limits, None)


def test_the_best_is_the_least_of_times_and_the_most_of_rates():
    assert best_of_scored(SCORED, asked(maximize="tokens_per_s")) == SCORED[1]
    assert best_of_scored(SCORED[::2], asked(minimize="tpot_s")) == SCORED[0]


def test_of_plans_as_good_the_one_on_the_fewest_chips_is_taken():
    assert best_of_scored(SCORED, asked(minimize="tpot_s")) == SCORED[1]


def test_limits_hold_up_to_rounding_and_from_both_sides():
    limited = asked(maximize="tokens_per_s", limits={"tpot_s": 1.0})
    assert best_of_scored(SCORED, limited) == SCORED[1]
    slow = asked(minimize="tpot_s", limits={"tokens_per_s": 8.5})
    assert best_of_scored([SCORED[0], SCORED[2]], slow) is None


def test_what_is_not_known_cannot_be_best():
    unknown = [*SCORED, (ONE, reaching(1.0, 1.0, None))]
    with pytest.raises(InputError, match="energy_per_token_j needs a figure"):
        best_of_scored(unknown, asked(minimize="energy_per_token_j"))
