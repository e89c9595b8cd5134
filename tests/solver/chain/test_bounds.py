"""Relaxations never promise more than the exhaustive solver finds."""

from dataclasses import replace

import numpy as np
import pytest

from planner.answers.question import FIELDS
from planner.solver.chain import bounds, exhaustive, thresholds
from planner.solver.chain.paths import narrowest, relaxed_use
from planner.solver.chain.problem import evaluate, packed
from tests.instances import LISTED
from tests.lanes import some
from tests.solver.chain.tangles import ALMOST, times_slots
from tests.solver.posed import problems


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_the_bound_at_the_root_is_never_above_the_optimum(field):
    for shape in LISTED:
        for problem in problems(shape, field, 2):
            best = exhaustive.solve(problem)
            assert thresholds.root_bound(problem) <= best.objective * (1 + 1e-12)


def test_least_peaks_are_below_those_of_every_solution():
    for problem in problems("ring", "tpot_s", 4):
        least, _ = bounds.least_peaks(problem)
        for cuts in exhaustive.all_cuts(problem):
            loads = [
                problem.run_peaks[o] @ (problem.prefix[o, h] - problem.prefix[o, t])
                + problem.run_peaks_fixed[o]
                for t, h, o in cuts
            ]
            assert (least[0] <= np.max(loads, axis=0) * (1 + 1e-12)).all()


@pytest.mark.slow
@pytest.mark.parametrize("field", ["energy_per_token_j", "power_w"])
def test_no_solution_is_below_the_bound_where_power_follows_the_plan(field):
    seen = 0
    for problem in problems("switch", field, 24):
        if narrowest(problem).cost[0] > problem.budget:
            continue
        seen += bool(problem.objective.lines)
        least = float(
            bounds.relaxed(problem).bounds[0].at_start(np.zeros((1, problem.run_peaks.shape[1])))[0]
        )
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                assert least <= float(problem.objective.value(*evaluate(problem, runs))) * (
                    1 + 1e-12
                )
    assert seen > 4


@pytest.mark.slow
def test_a_total_never_becomes_larger_than_is_said():
    for problem in problems("ring", "power_w", 12):
        measure = replace(problem.objective, held=None, scale=1.0, lines=(), averaged=False)
        first = np.zeros((1, problem.run_sums.shape[1])), np.zeros((1, problem.run_peaks.shape[1]))
        most = float(bounds.most_of(problem, measure).total(0, *first)[0])
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                assert float(measure.value(*evaluate(problem, runs))) <= most * (1 + 1e-12)


def test_no_run_loads_more_than_the_most_that_is_said():
    for problem in problems("chain", "ttft_s", 4):
        most = bounds.most_peaks(problem)
        for cuts in exhaustive.all_cuts(problem):
            assert (relaxed_use(problem, cuts)[1] <= most * (1 + 1e-12)).all()


@pytest.mark.parametrize("field", ["energy_per_token_j", "usd_per_million_tokens", "mfu_fraction"])
def test_where_slots_multiply_the_cost_each_number_of_them_is_bounded_by_itself(field):
    for problem in problems("switch", field, 8):
        best = exhaustive.solve(problem).objective
        floors = np.zeros((1, problem.run_peaks.shape[1]))
        for goal in (np.inf, best * 1.5, best * (1 + 1e-9)) if np.isfinite(best) else ():
            bound = bounds.relaxed(problem, goal=goal).bounds[0]
            assert bound.steps is not None
            exact = float(bound.at_start(floors)[0])
            assert float(replace(bound, steps=None).at_start(floors)[0]) <= exact * (1 + 1e-12)
            assert exact <= best * (1 + 1e-12)


@pytest.mark.slow
def test_where_slots_multiply_the_cost_prices_of_slots_promise_no_more_than_is_true(monkeypatch):
    """Of every start of every solution, not of the whole alone: that is what labels are cut by."""
    monkeypatch.setattr(bounds, "MOST_STEPS", 0)
    for seed in range(some(1, 2)):
        problem = times_slots(seed)
        bound = bounds.relaxed(problem).bounds[0]
        assert len(bound.priced) > 1
        for cuts in exhaustive.all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is None:
                continue
            value = float(problem.objective.value(*evaluate(problem, runs)))
            for count in range(len(runs)):
                item = runs[count - 1].head if count else 0
                slots = (
                    runs[count - 1].start + problem.widths[runs[count - 1].option] if count else 0
                )
                sums, peaks = evaluate(problem, runs[:count])
                lower = bound.value(item, np.array([slots]), sums[None], peaks[None])
                assert lower[0] <= value * ALMOST


@pytest.mark.slow
def test_labels_cut_by_prices_of_slots_find_the_best_of_all(monkeypatch):
    monkeypatch.setattr(bounds, "MOST_STEPS", 0)
    for seed in range(6):
        problem = times_slots(seed)
        found = thresholds.solve(problem, first_beam=1)
        assert found.objective == pytest.approx(exhaustive.solve(problem).objective, rel=1e-9)
        assert found.bound == found.objective


def test_numbers_of_slots_are_left_to_prices_where_there_are_too_many(monkeypatch):
    (problem,) = problems("switch", "energy_per_token_j", 1)
    monkeypatch.setattr(bounds, "MOST_STEPS", 0)
    assert bounds.relaxed(problem).bounds[0].steps is None
