"""Every engine behind the door against the oracle, in every mode."""

import math

import pytest

from planner.solver.dag import portfolio
from planner.solver.dag.problem import faults, latency, loads
from tests.lanes import mostly_slow, some
from tests.solver.graphs import graph_problem, oracle, random_problem

LONG_S = 3_600.0
"""Far more than is needed, on any machine."""

ENGINES = {"contiguous": portfolio.contiguous, "free": portfolio.free, "latency": portfolio.soonest}


@pytest.mark.parametrize("mode", ENGINES)
@pytest.mark.parametrize("seed", mostly_slow(range(some(8, 14)), but=(0, 3, 7)))
def test_the_optimum_is_found_and_proved(mode, seed):
    problem = random_problem(
        seed, nodes=6, training=mode != "latency" and seed % 2 == 0, unlike=seed % 4 == 3
    )
    best = oracle(problem, mode)
    found = ENGINES[mode](problem, time_limit_s=LONG_S)
    assert found.objective == pytest.approx(best, rel=1e-9)
    if math.isinf(best):
        assert found.device is None
        assert found.bound == math.inf
        return
    assert not faults(problem, found.device, contiguous=mode == "contiguous")
    value = (
        latency(problem, found.device) if mode == "latency" else loads(problem, found.device).max()
    )
    assert found.objective == pytest.approx(value, rel=1e-12)
    assert best * (1 - 1e-5) <= found.bound <= best * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_stages_that_devices_take_in_turn_are_found_and_proved(seed):
    problem = random_problem(
        seed, nodes=5, training=seed % 2 == 0, unlike=seed % 4 == 3
    ).replicated(2)
    best = oracle(problem, "contiguous")
    found = portfolio.contiguous(problem, time_limit_s=LONG_S)
    assert found.objective == pytest.approx(best, rel=1e-9)
    if math.isfinite(best):
        assert not faults(problem, found.device, contiguous=True)
        assert best * (1 - 1e-5) <= found.bound <= best * (1 + 1e-9)


@pytest.mark.parametrize("mode", mostly_slow(ENGINES, but=("contiguous", "latency")))
def test_the_same_question_gets_the_same_answer(mode):
    problem = random_problem(5, nodes=9)
    assert ENGINES[mode](problem, time_limit_s=LONG_S) == ENGINES[mode](
        problem, time_limit_s=LONG_S
    )


def test_what_fits_nowhere_is_proved_infeasible():
    large = graph_problem([[1, 1]], [(0, 1)], sizes=[5, 5], capacity=[3])
    for solve in ENGINES.values():
        assert solve(large, time_limit_s=LONG_S).bound == math.inf
