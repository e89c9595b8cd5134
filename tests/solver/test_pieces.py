"""Latency by pieces: chains that bind, and bounds that hold without a start."""

import math

import pytest

from planner.solver.dag import contract
from planner.solver.pieces import Paths, soonest
from tests.solver.graphs import graph_problem, latency_of, oracle, random_problem

DIAMOND = graph_problem([[1, 5, 2, 1]], [(0, 1), (0, 2), (1, 3), (2, 3)], counts=(3,), transfer=[1] * 4)


def test_the_longest_path_goes_through_the_slow_branch():
    paths = Paths(DIAMOND)
    assert paths.longest() == (0, 1, 3)
    assert paths.longest(0, 2) == (0, 2)
    assert paths.longest(1, 2) is None


def test_the_binding_chain_follows_what_waits():
    assert Paths(DIAMOND).binding((0, 0, 1, 2)) == (0, 2, 3)
    assert Paths(DIAMOND).binding((0, 1, 2, 2)) == (0, 1, 3)


@pytest.mark.parametrize("seed", range(10))
def test_pieces_are_found_and_proved_without_a_start(seed):
    problem = random_problem(seed, nodes=5)
    best = oracle(problem, "latency")
    device, bound = soonest(problem, contract(problem, contiguous=False), None, time_limit_s=20.0)
    if math.isinf(best):
        assert (device, bound) == (None, math.inf)
    else:
        assert latency_of(problem, device) == pytest.approx(best)
        assert bound == pytest.approx(best, rel=1e-5)
