"""Latency by pieces: chains that bind, and bounds that hold without a start."""

import itertools
import math

import pytest

from planner.solver.dag.pieces import Paths, soonest
from planner.solver.dag.problem import contract, latency, loads
from tests.solver.graphs import graph_problem, latency_of, oracle, random_problem

LONG_S = 3_600.0
"""Far more than is needed, on any machine."""

DIAMOND = graph_problem(
    [[1, 5, 2, 1]], [(0, 1), (0, 2), (1, 3), (2, 3)], counts=(3,), transfer=[1] * 4
)


def test_the_longest_path_goes_through_the_slow_branch():
    paths = Paths(DIAMOND)
    assert paths.longest() == (0, 1, 3)
    assert paths.longest(0, 2) == (0, 2)
    assert paths.longest(1, 2) is None


def test_the_binding_chain_follows_what_waits():
    assert Paths(DIAMOND).binding((0, 0, 1, 2)) == (0, 2, 3)
    assert Paths(DIAMOND).binding((0, 1, 2, 2)) == (0, 1, 3)


@pytest.mark.parametrize("seed", range(20))
def test_chains_hold_nodes_once_and_make_the_latency_of_what_shares_a_piece(seed):
    problem = random_problem(seed, nodes=8)
    for device in itertools.islice(itertools.product(range(3), repeat=8), seed, None, 397):
        if latency(problem, device) < math.inf:
            chain = Paths(problem).binding(device)
            joined = {(int(tail), int(head)) for tail, head in problem.edges}
            assert len(set(chain)) == len(chain)
            for one, other in itertools.pairwise(chain):
                assert (one, other) in joined or (device[one] == device[other] != 2)
            met = {device[node] for node in chain} - {2}
            waited = loads(problem, device)[sorted(met)].sum()
            hosted = [node for node in chain if device[node] == 2]
            assert waited + problem.times[1, hosted].sum() == pytest.approx(
                latency(problem, device)
            )


@pytest.mark.parametrize("seed", range(10))
def test_pieces_are_found_and_proved_without_a_start(seed):
    problem = random_problem(seed, nodes=5)
    best = oracle(problem, "latency")
    device, bound = soonest(problem, contract(problem, contiguous=False), None, time_limit_s=LONG_S)
    if math.isinf(best):
        assert (device, bound) == (None, math.inf)
    else:
        assert latency_of(problem, device) == pytest.approx(best)
        assert bound == pytest.approx(best, rel=1e-5)
