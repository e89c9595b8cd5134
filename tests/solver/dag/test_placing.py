"""CP-SAT for the largest load: bounds hold, fixed units stay, improvement never loses."""

import math

import pytest

from planner.solver.dag.placing import improve, prove
from planner.solver.dag.problem import contract, loads
from tests.solver.graphs import oracle, random_problem


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["contiguous", "free"])
def test_nothing_better_than_the_optimum_is_promised(seed, mode):
    problem = random_problem(seed, nodes=5)
    units = contract(problem, contiguous=mode == "contiguous")
    best = oracle(problem, mode)
    device, bound = prove(problem, units, 1000.0, None, ordered=mode == "contiguous")
    if device is None:
        assert bound == 1000.0
        assert best == float("inf")
    else:
        assert loads(problem, units.spread(device)).max() == pytest.approx(best)
        assert bound <= best * (1 + 1e-9)


def test_fixed_units_stay_where_they_are():
    problem = random_problem(3, nodes=8)
    units = contract(problem, contiguous=False)
    start = tuple(0 if unit % 2 else 2 for unit in range(units.count))
    device, _ = prove(problem, units, 1000.0, start, ordered=False, fixed={0, 2})
    assert device is None or (device[0], device[2]) == (start[0], start[2])


@pytest.mark.slow
def test_improvement_never_makes_it_worse():
    problem = random_problem(4, nodes=9)
    units = contract(problem, contiguous=False)
    start = (2,) * units.count
    better = improve(problem, units, start, until=math.inf)
    assert loads(problem, units.spread(better)).max() <= loads(problem, units.spread(start)).max()
