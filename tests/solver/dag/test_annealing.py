"""Annealing: never worse, always allowed, out of a local optimum, and the same answer for the
same seed."""

import math

import numpy as np
import pytest

from planner.solver.dag.annealing import anneal
from planner.solver.dag.problem import contract, faults, loads
from tests.lanes import mostly_slow, some, spread
from tests.solver.graphs import graph_problem, oracle, random_problem


def annealed(problem, start, **options):
    units = contract(problem, contiguous=False)
    options = {"patience": 6, "until": math.inf} | options
    device = units.spread(anneal(problem, units, start(units), **options))
    return device, loads(problem, device).max()


def one_device(place):
    return lambda units: (place,) * units.count


@pytest.mark.parametrize("seed", mostly_slow(spread(range(10), 4), but=(7,)))
def test_small_graphs_reach_the_optimum(seed):
    problem = random_problem(seed, nodes=6, unlike=seed % 4 == 3)
    host = int(problem.counts.sum()) - 1
    device, value = annealed(problem, one_device(host), patience=some(30, 60))
    assert not faults(problem, device, contiguous=False)
    assert value == pytest.approx(oracle(problem, "free"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(some(2, 4)))
def test_large_graphs_stay_allowed_and_improve(seed):
    problem = random_problem(seed, nodes=some(30, 60), unlike=seed % 2 == 1)
    host = int(problem.counts.sum()) - 1
    device, value = annealed(problem, one_device(host), patience=2)
    assert not faults(problem, device, contiguous=False)
    assert value <= loads(problem, (host,) * problem.nodes).max()


@pytest.mark.slow
def test_units_of_unlike_times_change_places():
    problem = graph_problem([[7.0, 5.0, 4.0, 4.0, 4.0]], [])
    _, value = annealed(problem, lambda units: (0, 0, 1, 1, 1))
    assert value == 12.0
    _, value = annealed(
        graph_problem([[5.0, 4.0, 3.0, 3.0, 3.0]], [], counts=[2]), lambda units: (0, 1, 0, 1, 0)
    )
    assert value == 9.0


@pytest.mark.slow
def test_memory_allows_only_changes_of_places():
    problem = graph_problem([[8.0, 7.0, 2.0, 1.0]], [], sizes=[1.0] * 4, capacity=[2.0])
    device, value = annealed(problem, lambda units: (0, 0, 1, 1))
    assert value == 9.0
    assert np.bincount(device).tolist() == [2, 2]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_placement():
    problem = random_problem(5, nodes=15)
    first, second = (annealed(problem, one_device(2), patience=3, seed=7)[0] for _ in range(2))
    assert first == second


def test_a_load_at_the_floor_is_left_alone():
    problem = graph_problem([[1.0, 1.0]], [])
    assert annealed(problem, lambda units: (1, 0), floor=1.0)[0] == (1, 0)
