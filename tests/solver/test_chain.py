"""Label setting against the exhaustive solver, on the very problems that `partition` poses."""

import pytest

from planner.candidates import FIELDS
from planner.solver import chain, exhaustive
from tests.instances import SHAPES
from tests.solver.posed import problems


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_label_setting_finds_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 3):
        best, found = exhaustive.solve(problem), chain.solve(problem)
        assert (best.runs is None) == (found.runs is None)
        assert found.objective == pytest.approx(best.objective, rel=1e-9)
        if found.runs is not None:
            assert found.bound == pytest.approx(found.objective, rel=1e-9)


def test_an_incumbent_that_is_already_best_is_proved_and_not_improved():
    for problem in problems("switch", "tpot_s", 6):
        best = exhaustive.solve(problem)
        if best.runs is not None:
            again = chain.solve(problem, incumbent=best.objective)
            assert again.bound == pytest.approx(best.objective, rel=1e-9)


def test_a_search_that_is_stopped_still_proves_a_bound():
    for problem in problems("switch", "tpot_s", 5):
        best = exhaustive.solve(problem)
        stopped = chain.solve(problem, stop=lambda: True)
        assert stopped.bound <= best.objective * (1 + 1e-12)
        assert stopped.objective >= best.objective * (1 - 1e-12)


def test_a_beam_of_one_label_proves_no_more_than_it_may():
    for problem in problems("chain", "request_s", 5):
        best = exhaustive.solve(problem)
        narrow = chain.solve(problem, last_beam=1)
        assert narrow.bound <= best.objective * (1 + 1e-12)
