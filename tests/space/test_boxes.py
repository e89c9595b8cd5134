"""Boxes of plans, cut in two again and again."""

import pytest

from planner.space.boxes import Box, least_parts


@pytest.mark.parametrize("whole", [1, 2, 7, 12, 100])
@pytest.mark.parametrize("most", [1, 3, 200])
def test_of_parts_of_one_size_only_the_fewest_are_tried(whole, most):
    parts = list(least_parts(whole, most))
    sizes = [-(-whole // count) for count in parts]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sorted(set(sizes)) == sorted(
        {-(-whole // count) for count in range(1, min(most, whole) + 1)}
    )


def plans_of(box):
    """Micro-batches and sequences in each of all plans that halving leaves."""
    todo, found = [box], []
    while todo:
        one = todo.pop()
        if one.single:
            found.append((one.micro_batches[0], one.micro_sequences[0]))
        else:
            todo += one.halves()
    return found


def test_halving_a_box_again_and_again_leaves_every_plan_once():
    found = plans_of(Box(1, None, (1, 5), (1, 7)))
    assert sorted(found) == [(m, u) for m in range(1, 6) for u in range(1, 8)]


def test_halving_a_box_leaves_every_plan_that_a_replica_can_hold_once():
    found = plans_of(Box(1, None, (1, 9), (1, 20), (1, 23)))
    assert sorted(found) == [(m, u) for m in range(1, 10) for u in range(1, 21) if m * u <= 23]


def test_halving_a_box_of_a_fixed_batch_leaves_every_way_of_cutting_it():
    found = plans_of(Box(1, 12, (1, 12), (1, 12)))
    assert sorted(found) == [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]


def test_where_every_cut_counts_batches_are_cut_into_any_number_of_micro_batches():
    found = plans_of(Box(1, 7, (1, 7), (1, 7), every_cut=True))
    assert sorted(found) == [(1, 7), (2, 4), (3, 3), (4, 2), (5, 2), (6, 2), (7, 1)]
