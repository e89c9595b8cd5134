"""Shortest paths cost what their cuts cost, and no cuts cost less."""

import numpy as np
import pytest

from planner.solver.chain import exhaustive, paths
from planner.solver.chain.problem import evaluate, packed
from tests.instances import LISTED
from tests.solver.posed import problems


def test_the_cheapest_path_costs_what_its_cuts_cost():
    for problem in problems("full-mesh", "tpot_s", 4):
        weights = problem.objective.as_sums()
        rest = paths.cheapest(problem, weights, 0.0)
        sums, _ = paths.relaxed_use(problem, rest.cuts)
        assert rest.cost[0] == pytest.approx(float(sums @ weights), rel=1e-12)


def test_a_price_on_slots_never_lets_a_path_take_more_of_them():
    for problem in problems("switch", "energy_per_token_j", 6):
        weights = problem.objective.as_sums()
        free = paths.cheapest(problem, weights, 0.0)
        priced = paths.cheapest(
            problem, weights, 10.0 * float(np.max(free.cost[np.isfinite(free.cost)], initial=1.0))
        )
        assert priced.path_slots <= free.path_slots
        assert priced.path_slots == paths.narrowest(problem).path_slots


@pytest.mark.slow
def test_a_relaxed_path_crosses_no_border_that_a_packed_one_could_keep_clear_of():
    """Links of like widths at the lowest borders that these leave, and never more than where
    they are packed."""
    for problem in problems("switch", "tpot_s", 6):
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                relaxed, packed_sums = (
                    paths.relaxed_use(problem, cuts)[0],
                    evaluate(problem, runs)[0],
                )
                assert (relaxed <= packed_sums * (1 + 1e-12)).all()


@pytest.mark.parametrize("shape", LISTED)
def test_for_every_number_of_slots_the_path_is_the_cheapest_of_all(shape):
    for problem in problems(shape, "energy_per_token_j", 2):
        weights = np.stack([problem.objective.as_sums(), np.ones(problem.run_sums.shape[1])])
        steps = paths.by_slots(problem, weights, problem.budget)
        least = np.full((2, problem.budget + 1), np.inf)
        for cuts in exhaustive.all_cuts(problem):
            slots = int(sum(problem.widths[option] for _, _, option in cuts))
            if slots <= problem.budget:
                least[:, slots] = np.minimum(
                    least[:, slots], weights @ paths.relaxed_use(problem, cuts)[0]
                )
        np.testing.assert_allclose(steps.cost[:, 0], least, rtol=1e-12)
        for number, slots in np.argwhere(np.isfinite(least)).tolist():
            cuts = steps.cuts(problem, number, slots)
            assert sum(problem.widths[option] for _, _, option in cuts) == slots
            cost = float(weights[number] @ paths.relaxed_use(problem, cuts)[0])
            assert cost == pytest.approx(float(least[number, slots]), rel=1e-12)
