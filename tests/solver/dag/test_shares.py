"""Prices of units: bounds hold, and know that large units do not share out evenly."""

import math

import pytest

from planner.solver.dag.problem import contract
from planner.solver.dag.shares import refuted_below
from tests.solver.graphs import graph_problem, oracle, random_problem


def bound_of(problem, low, high):
    return refuted_below(problem, contract(problem, contiguous=False), low, high, until=math.inf)


def test_five_like_units_do_not_share_out_over_two_devices():
    assert bound_of(graph_problem([[4.0] * 5], []), 10.0, 12.0) >= 11.98


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_bound_is_never_above_the_optimum(seed):
    problem = random_problem(seed, nodes=5, training=seed % 2 == 0)
    best = oracle(problem, "free")
    if math.isfinite(best):
        assert bound_of(problem, 0.0, 2 * best + 1.0) <= best * (1 + 1e-9)
