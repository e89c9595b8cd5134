"""CP-SAT against the exhaustive solver; its grid is good to a few millionths."""

import math

import pytest

from planner import allowance
from planner.answers.question import FIELDS
from planner.errors import TimeUpError
from planner.solver.chain import cpsat, exhaustive
from tests.clock import ticking
from tests.instances import LISTED
from tests.lanes import paired
from tests.solver.chain.tangles import ALMOST, chains
from tests.solver.posed import problems


@pytest.mark.parametrize(("shape", "field"), paired(LISTED, tuple(FIELDS)))
def test_cp_sat_finds_what_the_exhaustive_search_finds(shape, field):
    for problem in filter(cpsat.supports, problems(shape, field, 2)):
        best, found = exhaustive.solve(problem), cpsat.solve(problem, deterministic_limit=60.0)
        assert (best.runs is None) == (found.runs is None)
        assert found.bound <= best.objective * (1 + 1e-9)
        assert found.objective == pytest.approx(best.objective, rel=1e-5)


def test_with_a_hint_it_finds_the_same():
    for problem in problems("switch", "tpot_s", 3):
        best = exhaustive.solve(problem)
        if best.runs is not None:
            cuts = tuple((run.tail, run.head, run.option) for run in best.runs)
            assert cpsat.solve(problem, hint=cuts).objective == pytest.approx(
                best.objective, rel=1e-5
            )


def test_the_same_seed_gives_the_same_plan():
    for problem in problems("torus", "usd_per_million_tokens", 2):
        assert cpsat.solve(problem, seed=3).runs == cpsat.solve(problem, seed=3).runs


@pytest.mark.slow
def test_stopped_half_way_it_claims_no_more_than_it_proved():
    """After one hundredth of a unit of CP-SAT's own clock there is a plan, and a gap."""
    open_ = 0
    for problem, best in chains(alike=True)[:6]:
        found = cpsat.solve(problem, hint=((0, problem.items, 0),), deterministic_limit=0.01)
        assert found.bound <= best * ALMOST
        assert best <= found.objective * ALMOST
        open_ += 0 < found.bound < 0.99 * best < found.objective < math.inf
    assert open_ >= 3


def test_a_model_that_takes_too_long_to_make_is_left():
    (problem, *_) = problems("switch", "tpot_s", 1)
    with ticking(1.0) as clock:
        cpsat.solve(problem)
        assert clock.call_count == 0
    with ticking(1.0), allowance.allowed_for(5.5), pytest.raises(TimeUpError):
        cpsat.solve(problem)


def test_out_of_time_it_still_proves_a_bound():
    for problem in problems("switch", "energy_per_token_j", 3):
        best = exhaustive.solve(problem)
        assert cpsat.solve(problem, time_limit_s=0.0).bound <= best.objective * (1 + 1e-9)
