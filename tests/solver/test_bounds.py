"""Relaxations never promise more than the exhaustive solver finds."""

from dataclasses import replace

import numpy as np
import pytest

from planner.candidates import FIELDS
from planner.solver import bounds, chain, exhaustive
from planner.solver.problem import evaluate, packed
from tests.instances import SHAPES
from tests.solver.posed import problems


@pytest.mark.parametrize("field", FIELDS)
def test_the_bound_at_the_root_is_never_above_the_optimum(field):
    for shape in SHAPES:
        for problem in problems(shape, field, 2):
            best = exhaustive.solve(problem)
            assert chain.root_bound(problem) <= best.objective * (1 + 1e-12)


def test_the_cheapest_path_costs_what_its_cuts_cost():
    for problem in problems("full-mesh", "tpot_s", 4):
        weights = problem.objective.as_sums()
        rest = bounds.cheapest(problem, weights, 0.0)
        sums, _ = bounds.relaxed_use(problem, rest.cuts)
        assert rest.cost[0] == pytest.approx(float(sums @ weights), rel=1e-12)


def test_a_price_on_slots_never_lets_a_path_take_more_of_them():
    for problem in problems("switch", "energy_per_token_j", 6):
        weights = problem.objective.as_sums()
        free = bounds.cheapest(problem, weights, 0.0)
        priced = bounds.cheapest(problem, weights, 10.0 * float(np.max(free.cost[np.isfinite(free.cost)], initial=1.0)))
        assert priced.path_slots <= free.path_slots
        assert priced.path_slots == bounds.narrowest(problem).path_slots


def test_least_peaks_are_below_those_of_every_solution():
    for problem in problems("ring", "tpot_s", 4):
        least, _ = bounds.least_peaks(problem)
        for cuts in exhaustive.all_cuts(problem):
            loads = [
                problem.run_peaks[o] @ (problem.prefix[o, h] - problem.prefix[o, t]) + problem.run_peaks_fixed[o]
                for t, h, o in cuts
            ]
            assert (least[0] <= np.max(loads, axis=0) * (1 + 1e-12)).all()


@pytest.mark.parametrize("field", ["energy_per_token_j", "power_w"])
def test_no_solution_is_below_the_bound_where_power_follows_the_plan(field):
    seen = 0
    for problem in problems("switch", field, 24):
        if bounds.narrowest(problem).cost[0] > problem.budget:
            continue
        seen += bool(problem.objective.lines)
        least = float(bounds.relaxed(problem).bounds[0].at_start(np.zeros((1, problem.run_peaks.shape[1])))[0])
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                assert least <= float(problem.objective.value(*evaluate(problem, runs))) * (1 + 1e-12)
    assert seen > 4


def test_a_total_never_becomes_larger_than_is_said():
    for problem in problems("ring", "power_w", 12):
        measure = replace(problem.objective, held=None, scale=1.0, lines=(), averaged=False)
        first = np.zeros((1, problem.run_sums.shape[1])), np.zeros((1, problem.run_peaks.shape[1]))
        most = float(bounds.most_of(problem, measure).total(0, *first)[0])
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                assert float(measure.value(*evaluate(problem, runs))) <= most * (1 + 1e-12)


def test_a_relaxed_path_crosses_no_border_that_a_packed_one_could_keep_clear_of():
    """Links of like widths at the lowest borders that these leave, and never more than where they are packed."""
    for problem in problems("switch", "tpot_s", 6):
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                relaxed, packed_sums = bounds.relaxed_use(problem, cuts)[0], evaluate(problem, runs)[0]
                assert (relaxed <= packed_sums * (1 + 1e-12)).all()


def test_no_run_loads_more_than_the_most_that_is_said():
    for problem in problems("chain", "ttft_s", 4):
        most = bounds.most_peaks(problem)
        for cuts in exhaustive.all_cuts(problem):
            assert (bounds.relaxed_use(problem, cuts)[1] <= most * (1 + 1e-12)).all()
