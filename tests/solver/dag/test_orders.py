"""Linear orders: interval loads from the definition, the DP against all cuts, the search."""

import itertools
import math

import numpy as np
import pytest

from planner.solver.dag.orders import along, interval_loads, one_after_another, search, start_orders
from planner.solver.dag.problem import contract, faults, latency, loads
from tests.solver.graphs import graph_problem, load_of, oracle, random_problem


@pytest.mark.parametrize("seed", range(6))
def test_the_load_of_every_interval_is_that_of_its_units(seed):
    problem = random_problem(seed)
    units = contract(problem, contiguous=True)
    order = start_orders(units)[0]
    table = interval_loads(units, order, pays=True, times=units.times[0])
    for first, last in itertools.combinations(range(units.count + 1), 2):
        inside = set(order[first:last])
        device = units.spread([0 if unit in inside else 1 for unit in range(units.count)])
        assert table[first, last] == pytest.approx(load_of(problem, device, 0))


@pytest.mark.parametrize("seed", range(6))
def test_start_orders_are_topological(seed):
    units = contract(random_problem(seed, nodes=9, training=seed % 2 == 0), contiguous=True)
    for order in start_orders(units):
        place = {unit: number for number, unit in enumerate(order)}
        assert sorted(order) == list(range(units.count))
        assert all(place[tail] < place[head] for tail, head in units.edges)


def test_a_chain_needs_one_order_only():
    chain = graph_problem(
        [[2, 3, 4, 1, 5]], [(0, 1), (1, 2), (2, 3), (3, 4)], counts=(3,), transfer=[1] * 5
    )
    units = contract(chain, contiguous=True)
    found = along(chain, units, range(5))
    assert found is not None
    assert found.objective == oracle(chain, "contiguous") == 7


@pytest.mark.parametrize("seed", range(12))
def test_stages_are_what_they_are_said_to_be(seed):
    problem = random_problem(seed, unlike=seed % 3 == 0)
    units = contract(problem, contiguous=True)
    found = search(problem, units, rounds=10)
    best = oracle(problem, "contiguous")
    if found is None:
        return
    spare = {
        number: np.flatnonzero(problem.devices == number).tolist()
        for number in range(problem.counts.size)
    }
    place = [spare[number].pop(0) for number in found.classes]
    device = units.spread([place[stage] for stage in found.stage])
    assert not faults(problem, device, contiguous=True)
    assert loads(problem, device).max() == pytest.approx(found.objective)
    assert found.objective >= best * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_pieces_one_after_another_take_no_longer_than_their_sum(seed):
    problem = random_problem(seed)
    units = contract(problem, contiguous=True)
    found = one_after_another(problem, units, start_orders(units)[0])
    if found is not None:
        device = units.spread(found[1])
        assert latency(problem, device) <= found[0] * (1 + 1e-12)
        assert latency(problem, device) < math.inf
