"""Degrees: the rules that plans are checked by, and the lists that the space is made of."""

import pytest

from planner.machines.engine import Engine
from planner.pricing.degrees import (
    expert_degrees,
    expert_fault,
    nesting_fault,
    sequence_degrees,
    tensor_degrees,
    tensor_fault,
)
from tests.instances import tiny_graph, tiny_moe, tiny_software

PLAIN = tiny_software()
PADDING = tiny_software(pads_heads=True)
REDUNDANT = tiny_software(engine=Engine(redundant_experts=True))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "degrees"),
    [(8, 4, [1, 2, 4, 8]), (12, 6, [1, 2, 3, 6, 12]), (24, 6, [1, 2, 3, 6, 12, 24])],
)
def test_heads_are_shared_out_whole_and_those_of_keys_whole_or_in_copies(heads, kv_heads, degrees):
    """With 24 heads and 6 of keys 4 and 8 divide the heads, but neither divide the six nor hold
    as many copies of each."""
    graph = tiny_graph(heads=heads, kv_heads=kv_heads)
    assert tensor_degrees(graph, PLAIN, 64) == degrees


def test_software_that_pads_shares_heads_out_up_to_one_for_each_chip():
    graph = tiny_graph(heads=6, kv_heads=3)
    assert tensor_degrees(graph, PADDING, 64) == [1, 2, 3, 4, 5, 6]
    assert "without any of the 6 heads" in tensor_fault(graph, PADDING, 7)


def test_some_software_leaves_chips_without_heads():
    """PaLM's 48 heads on 64 chips: the feed-forward part is shared out over all of them."""
    able = tiny_software(pads_heads=True, leaves_chips_without_heads=True)
    graph = tiny_graph(heads=6, kv_heads=3)
    assert tensor_degrees(graph, able, 8) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert tensor_fault(graph, able, 8) is None
    assert sequence_degrees(graph, able, 8, 64) == [1]


def test_neither_more_than_the_software_splits_nor_than_there_are_chips():
    assert tensor_degrees(tiny_graph(), tiny_software(most_tensor_parallel=2), 64) == [1, 2]
    assert tensor_degrees(tiny_graph(), PLAIN, 4) == [1, 2, 4]
    assert "at most 2 ways" in tensor_fault(tiny_graph(), tiny_software(most_tensor_parallel=2), 4)


def test_sequences_are_shared_out_as_far_as_heads_go_round():
    assert sequence_degrees(tiny_graph(heads=12), PLAIN, 2, 64) == [1, 2, 3, 6]
    assert sequence_degrees(tiny_graph(heads=12), PLAIN, 2, 5) == [1, 2]
    assert sequence_degrees(tiny_graph(heads=6, kv_heads=3), PADDING, 2, 64) == [1, 2, 3]


def test_experts_are_shared_out_whole():
    assert expert_degrees(tiny_moe(), PLAIN, 64) == [1, 2, 4, 8]
    assert expert_degrees(tiny_moe(), PLAIN, 5) == [1, 2, 4]
    assert expert_degrees(tiny_graph(), PLAIN, 64) == [1]
    assert "has no experts" in expert_fault(tiny_graph(), PLAIN, 2)


def test_experts_held_twice_need_not_divide():
    assert expert_degrees(tiny_moe(), REDUNDANT, 64) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert expert_degrees(tiny_moe(), REDUNDANT, 5) == [1, 2, 3, 4, 5]
    assert expert_fault(tiny_moe(), REDUNDANT, 3) is None
    assert "does not divide the 8 experts" in expert_fault(tiny_moe(), PLAIN, 3)
    assert "more than the 8 experts" in expert_fault(tiny_moe(), REDUNDANT, 9)
    assert "has no experts" in expert_fault(tiny_graph(), REDUNDANT, 2)


def test_experts_lie_inside_a_tensor_group_or_are_groups_together():
    assert nesting_fault(4, 2) is None
    assert nesting_fault(2, 4) is None
    assert "neither divides nor is a multiple" in nesting_fault(4, 6)
