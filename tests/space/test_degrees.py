"""The plan that engines make from degrees alone."""

import pytest

import planner as pl
from tests.instances import (
    tiny_graph,
    tiny_topology,
)


def test_the_stages_of_a_uniform_plan_are_equal_and_the_ends_carry_more():
    graph, topology = tiny_graph(6), tiny_topology(8)
    plan = pl.uniform_plan(graph, topology, tensor_parallel=2, pipeline_parallel=4)
    assert [len(stage.layers) for stage in plan.stages] == [1 + 1, 2, 2, 1 + 1]
    assert (plan.chips, plan.micro_batches, plan.replicas) == (8, 4, 1)


def test_a_uniform_plan_places_replicas_side_by_side():
    plan = pl.uniform_plan(
        tiny_graph(4), tiny_topology(8), tensor_parallel=2, pipeline_parallel=2, data_parallel=2
    )
    assert [[str(group) for group in stage.groups] for stage in plan.stages] == [
        ["0-1", "4-5"],
        ["2-3", "6-7"],
    ]


@pytest.mark.parametrize(
    ("degrees", "word"),
    [
        ({"tensor_parallel": 3}, "3 does not divide the 8 heads"),
        ({"tensor_parallel": 0}, "tensor_parallel"),
        ({"tensor_parallel": 2.0}, "tensor_parallel"),
        ({"pipeline_parallel": 5}, "pipeline_parallel = 5"),
        ({"tensor_parallel": 8, "pipeline_parallel": 2}, "need 16 chips"),
        ({"expert_parallel": 2, "data_parallel": 2}, "no experts"),
        ({"expert_parallel": 3, "data_parallel": 2}, "expert_parallel = 3"),
    ],
)
def test_degrees_that_cannot_be_are_explained(degrees, word):
    with pytest.raises(pl.InputError, match=word) as caught:
        pl.uniform_plan(tiny_graph(4), tiny_topology(8), **degrees)
    assert "\n" not in str(caught.value)
