"""The plan that engines make from degrees alone."""

import pytest

import planner as pl
from planner.machines.engine import Engine
from tests.instances import (
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)


def with_engine(**rules):
    """A machine of eight chips whose software has rules."""
    engine = Engine(version="1.2", like_stages=True, decoder_on_each_stage=True, **rules)
    return tiny_topology(8, software=tiny_software(engine=engine))


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


@pytest.mark.parametrize(
    ("kept", "stages", "micro_batches"),
    [
        ("stages", 4, 4),
        ("stages", 1, 1),
        ("stages + 1", 4, 5),
        ("stages + 1", 1, 1),
        ("sequences", 4, 4),
        ("sequences", 1, 1),
    ],
)
def test_a_uniform_plan_takes_the_micro_batches_that_its_engine_keeps(kept, stages, micro_batches):
    machine = with_engine(micro_batches=kept)
    plan = pl.uniform_plan(tiny_graph(6), machine, pipeline_parallel=stages)
    assert (plan.micro_batches, plan.space) == (micro_batches, "engine")


def test_other_micro_batches_may_be_chosen_and_the_plan_says_that_no_engine_takes_them():
    machine = with_engine(micro_batches="stages")
    for chosen, space in ((2, "any"), (4, "engine"), (8, "any")):
        plan = pl.uniform_plan(tiny_graph(6), machine, pipeline_parallel=4, micro_batches=chosen)
        assert (plan.micro_batches, plan.space) == (chosen, space)
        work = pl.Workload(batch_size=16)
        faults = pl.check_plan(plan, tiny_graph(6), machine, work, space="engine")
        assert (faults == ()) == (space == "engine")


def test_a_uniform_plan_that_an_engine_does_not_take_is_of_any_kind():
    graph = tiny_moe(2)
    machine = with_engine(micro_batches="stages", experts="none")
    split = pl.uniform_plan(graph, machine, tensor_parallel=4, expert_parallel=4)
    whole = pl.uniform_plan(graph, machine, tensor_parallel=4)
    assert (split.space, whole.space) == ("any", "engine")


def test_without_rules_a_uniform_plan_is_of_any_kind():
    assert pl.uniform_plan(tiny_graph(6), tiny_topology(8), pipeline_parallel=2).space == "any"


@pytest.mark.parametrize("chosen", [0, -1, 2.0, True])
def test_micro_batches_are_a_whole_number(chosen):
    with pytest.raises(pl.InputError, match="micro_batches must be a whole number"):
        pl.uniform_plan(tiny_graph(6), tiny_topology(8), micro_batches=chosen)


def test_a_batch_says_how_many_micro_batches_an_engine_has_that_keeps_each_sequence_by_itself():
    asked = tiny_graph(4), with_engine(micro_batches="sequences")
    # Ten sequences of two replicas: five of each, in flight over two stages one by one.
    degrees = {"pipeline_parallel": 2, "data_parallel": 2}
    plan = pl.uniform_plan(*asked, **degrees, batch_size=10)
    assert (plan.replicas, plan.micro_batches, plan.space) == (2, 5, "engine")
    assert pl.uniform_plan(*asked, **degrees).micro_batches == 2


def test_few_sequences_fill_few_micro_batches():
    asked = tiny_graph(4), with_engine(micro_batches="stages")
    assert pl.uniform_plan(*asked, pipeline_parallel=4, batch_size=3).micro_batches == 3
    assert pl.uniform_plan(*asked, pipeline_parallel=4, batch_size=30).micro_batches == 4


def test_a_batch_is_a_whole_number_of_sequences():
    with pytest.raises(pl.InputError, match="batch_size must be a whole number"):
        pl.uniform_plan(tiny_graph(4), tiny_topology(4), batch_size=0)
