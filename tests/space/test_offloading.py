"""Which layers leave the chips, by hand."""

import pytest

from planner.errors import InputError
from planner.machines.engine import Engine
from planner.pricing.served import Served
from planner.space.degrees import uniform_plan
from planner.space.offloading import (
    FITTED_TOKENS,
    can_offload,
    fewest_offloaded,
    fitted_by_engine,
    with_first_layers,
)
from planner.workload import Workload
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.machines.test_tiers import round_host

GRAPH = tiny_graph(8)
TABLE = 8192 * 1024 * 2
"""Bytes of the embedding, and of the head but for its norm."""
LAYER = (GRAPH.weight_bytes - 2 * TABLE) / 8


def machine(memory_bytes: float, mode: str = "layers", chips: int = 1):
    """Chips of which 90 % may be filled, in a roomy host."""
    software = tiny_software(engine=Engine(offload=mode))
    host = round_host(bandwidth=25e9)
    roomy = tiny_chip(1e12).memory
    host = host.replace(processor=host.processor.replace(memory=roomy))
    return tiny_topology(chips, chip=tiny_chip(memory_bytes / 0.9), software=software, host=host)


def test_nothing_leaves_where_everything_fits():
    topology = machine(2 * GRAPH.weight_bytes)
    plan = uniform_plan(GRAPH, topology)
    assert fewest_offloaded(plan, Served(GRAPH, topology, Workload(batch_size=1)), 1) is plan
    assert fitted_by_engine(plan, GRAPH, topology) is plan


@pytest.mark.parametrize(
    ("short_bytes", "leave"),
    [(0.5 * TABLE, 1), (TABLE + 0.5 * LAYER, 2), (TABLE + 1.5 * LAYER, 3)],
)
def test_the_first_layers_leave_as_few_as_have_to(short_bytes, leave):
    small = {"batch_size": 1, "prompt_tokens": 1, "output_tokens": 1}
    topology = machine(GRAPH.weight_bytes - short_bytes)
    plan = uniform_plan(GRAPH, topology, offloaded_layers=0)
    found = fewest_offloaded(plan, Served(GRAPH, topology, Workload(**small)), 1)
    assert found.stages[0].offloaded == GRAPH.names[:leave]


def test_an_engine_leaves_room_for_a_cache_only_where_weights_do_not_fit():
    cache = FITTED_TOKENS * GRAPH.kv_bytes_per_token
    assert cache > LAYER / 8
    fitting = machine(GRAPH.weight_bytes + 0.5 * cache)
    assert not uniform_plan(GRAPH, fitting).stages[0].offloaded
    short = machine(GRAPH.weight_bytes - 0.5 * TABLE)
    away = uniform_plan(GRAPH, short).stages[0].offloaded
    by_hand = 1 + max(0, -(-(cache - 0.5 * TABLE) // (LAYER + cache / 8)))
    assert by_hand <= len(away) <= by_hand + 1  # buffers take a little


def test_weights_alone_are_left_behind_only_when_asked_for():
    topology = machine(GRAPH.weight_bytes - 0.5 * TABLE, mode="streams")
    assert not uniform_plan(GRAPH, topology).stages[0].offloaded
    assert len(uniform_plan(GRAPH, topology, offloaded_layers=3).stages[0].offloaded) == 3


def test_what_a_host_computes_it_computes_whole():
    both = machine(2e9, chips=2)
    split = uniform_plan(GRAPH, machine(2e9, mode="none", chips=2), tensor_parallel=2)
    assert not can_offload(split, both)
    assert can_offload(split, machine(2e9, mode="streams", chips=2))
    with pytest.raises(InputError, match="computes layers on the host whole; make tensor_parallel"):
        uniform_plan(GRAPH, both, tensor_parallel=2, offloaded_layers=1)


@pytest.mark.parametrize("wrong", [-1, 2.0, True])
def test_layers_that_leave_are_counted(wrong):
    plan = uniform_plan(GRAPH, machine(2e9))
    with pytest.raises(InputError, match="offloaded_layers must be a whole number"):
        with_first_layers(plan, wrong)


def test_no_more_layers_leave_than_a_stage_has():
    with pytest.raises(InputError, match="offloaded_layers is 11, but the smallest stage has 10"):
        uniform_plan(GRAPH, machine(2e9), offloaded_layers=11)
