"""Layers on clusters: the flow by hand, layouts against all layouts, bounds that hold."""

import itertools
import random

import numpy as np
import pytest

from benchmarks.flow import FlowProblem, solve, throughput
from tests.clock import ticking


def cluster(layers, rows, *, link=1e6):
    """Nodes from what they pass with 1, 2 and so on layers."""
    longest = max(len(row) for row in rows)
    rates = np.array([[0.0, *row, *[0.0] * (longest - len(row))] for row in rows])
    nodes = len(rows)
    links = np.full((nodes, nodes), link) * (1 - np.eye(nodes))
    return FlowProblem(layers, rates, links, np.full(nodes, 1e6), np.full(nodes, 1e6))


def oracle(problem):
    """The best of all layouts."""
    runs = [
        [(0, 0), *((first, count) for count in range(1, problem.rates.shape[1]) if problem.rates[node, count] > 0
                   for first in range(problem.layers - count + 1))]
        for node in range(problem.nodes)
    ]  # fmt: skip
    return max(throughput(problem, layout) for layout in itertools.product(*runs))


def test_replicas_of_a_stage_add_up_and_the_slowest_stage_binds():
    problem = cluster(3, [[9, 5], [9, 4], [9, 3]])
    assert throughput(problem, ((0, 2), (0, 2), (2, 1))) == 9.0
    assert throughput(problem, ((0, 2), (1, 2), (2, 1))) == 5.0


def test_a_link_binds():
    assert throughput(cluster(2, [[9], [9]], link=2.0), ((0, 1), (1, 1))) == 2.0


def test_layers_that_nobody_holds_stop_everything():
    assert throughput(cluster(3, [[9], [9]]), ((0, 1), (2, 1))) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_layouts_are_what_they_are_said_to_be_and_bounds_hold(seed):
    generator = random.Random(seed)
    rows = [[float(generator.randint(4, 12)), float(generator.randint(2, 6))] for _ in range(2)]
    problem = cluster(
        3, [rows[generator.randrange(2)] for _ in range(3)], link=generator.choice((1e6, 3.0))
    )
    with ticking(1.0):
        found = solve(problem, time_limit_s=500)
    best = oracle(problem)
    assert found.objective == pytest.approx(throughput(problem, found.runs))
    assert found.objective <= best * (1 + 1e-9)
    assert found.bound >= best * (1 - 1e-9)


def test_a_line_of_like_nodes_is_proved():
    found = solve(cluster(12, [[90.0, 40.0, 25.0]] * 6 + [[60.0, 29.0, 5.0]] * 2), time_limit_s=600)
    assert found.objective == found.bound


def test_too_few_nodes_pass_nothing():
    assert solve(cluster(9, [[5.0, 3.0]] * 2), time_limit_s=600).objective == 0.0
