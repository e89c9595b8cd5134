"""What the tests of reports share."""

import pytest

import planner as pl
from tests.instances import tiny_graph, tiny_topology

WORKLOAD = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)


@pytest.fixture(scope="module")
def result():
    return pl.partition(tiny_graph(), tiny_topology(), WORKLOAD, limits={"chips": 4})


@pytest.fixture(scope="module")
def score():
    """Of three stages that differ: the first holds the embedding, the last the head."""
    return score_of_pipeline(stages=3, layers=6)


def score_of_pipeline(stages, layers):
    graph, topology = tiny_graph(layers=layers), tiny_topology(max(stages, 2))
    plan = pl.uniform_plan(graph, topology, pipeline_parallel=stages)
    return pl.score_plan(plan, graph, topology, WORKLOAD)
