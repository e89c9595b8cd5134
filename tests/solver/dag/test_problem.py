"""What an assignment costs, by hand and against the oracle; contraction loses nothing."""

import itertools
import math

import numpy as np
import pytest

from planner.solver.dag.problem import contract, faults, latency, loads
from tests.solver.graphs import (
    allowed,
    classes_of,
    graph_problem,
    latency_of,
    load_of,
    random_problem,
)

FORK = graph_problem(
    [[3, 4, 5], [6, 8, 10]],
    [(0, 1), (0, 2)],
    counts=(2, 1),
    pays=(True, False),
    transfer=[7, 1, 1],
    sizes=[1, 2, 3],
)
"""One producer, two consumers; two accelerators and a host."""


def test_a_producer_is_paid_for_once_on_each_device():
    assert loads(FORK, (0, 1, 1)).tolist() == [3 + 7, 4 + 5 + 7, 0]
    assert loads(FORK, (0, 1, 0)).tolist() == [3 + 5 + 7, 4 + 7, 0]


def test_one_device_pays_for_nothing():
    assert loads(FORK, (0, 0, 0)).tolist() == [12, 0, 0]


def test_a_host_pays_for_nothing_and_its_neighbours_do():
    assert loads(FORK, (2, 0, 0)).tolist() == [4 + 5 + 7, 0, 6]


def test_latency_adds_what_waits_and_hosts_work_side_by_side():
    assert latency(FORK, (0, 1, 1)) == 10 + 16
    assert latency(FORK, (0, 2, 2)) == 10 + 10


def test_pieces_that_wait_for_each_other_never_finish():
    chain = graph_problem([[1, 1, 1]], [(0, 1), (1, 2)])
    assert latency(chain, (0, 1, 0)) == math.inf
    assert faults(chain, (0, 1, 0), contiguous=True) == (
        "forward edges go back and forth between devices",
    )
    assert faults(chain, (0, 1, 0), contiguous=False) == ()


def test_every_rule_is_named():
    problem = graph_problem([[1, math.inf]], [(0, 1)], sizes=[2, 2], capacity=[3], colour=[0, 0])
    assert len(faults(problem, (0, 0), contiguous=True)) == 2
    assert "one colour" in faults(problem, (0, 1), contiguous=True)[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_loads_latency_and_rules_against_the_oracle(seed):
    problem = random_problem(seed, nodes=5, training=seed % 2 == 0)
    for device in itertools.product(range(3), repeat=5):
        mine = [load_of(problem, device, place) for place in range(3)]
        np.testing.assert_allclose(loads(problem, device), mine)
        assert latency(problem, device) == pytest.approx(latency_of(problem, device))
        for contiguous in (True, False):
            assert (not faults(problem, device, contiguous=contiguous)) == allowed(
                problem, device, contiguous=contiguous
            )


def test_units_on_a_cycle_are_merged_for_contiguous_stages_only():
    crossed = graph_problem([[1, 1, 1, 1]], [(0, 1), (2, 3)], colour=[0, 1, 1, 0])
    assert contract(crossed, contiguous=True).members == ((0, 1, 2, 3),)
    assert contract(crossed, contiguous=False).members == ((0, 3), (1, 2))


def test_nets_join_what_may_be_cut_and_alike_nets_are_one():
    doubled = graph_problem(
        [[1, 1, 1]], [(0, 1), (0, 2), (1, 2)], transfer=[2, 3, 9], colour=[0, 0, 1]
    )
    units = contract(doubled, contiguous=True)
    assert units.nets == ((0, 1),)
    assert units.costs.tolist() == [5.0]


@pytest.mark.parametrize("seed", range(8))
def test_contraction_keeps_every_load(seed):
    problem = random_problem(seed, training=True)
    units = contract(problem, contiguous=False)
    for device in itertools.islice(itertools.product(range(3), repeat=units.count), 0, None, 7):
        spread = units.spread(device)
        total = [load_of(problem, spread, place) for place in range(3)]
        for place, kind in enumerate(classes_of(problem)):
            inside = {unit for unit, other in enumerate(device) if other == place}
            cut = [0 < len(inside & set(net)) < len(net) for net in units.nets]
            mine = units.times[kind, sorted(inside)].sum() + (
                units.costs[cut].sum() if problem.pays[kind] else 0.0
            )
            assert mine == pytest.approx(total[place])
