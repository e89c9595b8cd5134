"""Packing, against every first slot tried."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.solver.chain.packing import Packing, Rule


@st.composite
def packings(draw):
    """Up to 48 slots in units of up to three sizes, each a multiple of the one before, the last
    unit perhaps not full."""
    spans, size = [], 1
    for _ in range(draw(st.integers(1, 3))):
        size *= draw(st.integers(2, 4))
        spans.append(size)
    below = spans[-2] if len(spans) > 1 else 1
    slots = draw(st.integers(below + 1, spans[-1]))
    borders = (
        draw(st.lists(st.sampled_from(spans[:-1]), unique=True).map(sorted))
        if len(spans) > 1
        else []
    )
    return Packing(slots, tuple(spans), tuple(borders))


def borders_inside(packing, begin, width):
    """For each size of unit, which neighbouring slots of a block have a border between them."""
    return [
        [(begin + n) // span != (begin + n + 1) // span for n in range(width - 1)]
        for span in packing.spans
    ]


def keeps_clear(packing, begin, width):
    """Whether a block lies inside the smallest unit that can hold it, and begins at a border of the
    next smaller."""
    fence = min(span for span in packing.spans if span >= width)
    below = max((span for span in packing.spans if span < width), default=1)
    return begin // fence == (begin + width - 1) // fence and begin % below == 0


def most_copies(packing, width):
    """Like copies that fit, each begun at the first slot that leaves it the borders of the first
    copy and overlaps none."""
    found, free = 0, 0
    for begin in range(packing.slots - width + 1):
        alike = borders_inside(packing, begin, width) == borders_inside(packing, 0, width)
        if begin >= free and alike:
            found, free = found + 1, begin + width
    return found


NODES_OF_EIGHT = Packing(32, (8, 32), (8,))


@pytest.mark.parametrize(
    ("offset", "width", "start"),
    [(0, 8, 0), (1, 8, 8), (6, 2, 6), (7, 2, 8), (5, 4, 8), (3, 16, 8), (9, 1, 9)],
)
def test_a_block_waits_for_a_place_that_crosses_no_border(offset, width, start):
    assert NODES_OF_EIGHT.start(np.array(offset), width) == start


@pytest.mark.parametrize(
    ("width", "rule"),
    [
        (1, Rule(1, 8)),
        (8, Rule(1, 8)),
        (9, Rule(8, 32)),
        (16, Rule(8, 32)),
        (32, Rule(8, 32)),
        (33, None),
        (40, None),
    ],
)
def test_a_block_larger_than_a_unit_begins_where_one_begins(width, rule):
    assert NODES_OF_EIGHT.rule(width) == rule


def test_a_block_that_is_larger_than_all_there_is_is_our_bug():
    with pytest.raises(AssertionError, match="no block of 33 slots"):
        NODES_OF_EIGHT.start(np.array(0), 33)


def test_one_slot_alone_has_one_place():
    alone = Packing(1, ())
    assert (alone.rule(1), alone.rule(2)) == (Rule(1, 1), None)
    assert (alone.copies(1, 1), alone.copies(1, 2), alone.room(2), alone.widest(1)) == (
        [0],
        None,
        0,
        1,
    )


@pytest.mark.parametrize(
    ("width", "count", "begins"),
    [
        (8, 4, [0, 8, 16, 24]),
        (5, 4, [0, 8, 16, 24]),
        (5, 5, None),
        (9, 2, [0, 16]),
        (3, 3, [0, 3, 8]),
        (17, 2, None),
    ],
)
def test_copies_lie_where_a_hand_puts_them(width, count, begins):
    assert NODES_OF_EIGHT.copies(width, count) == begins


def test_the_last_copy_may_end_where_the_slots_end():
    assert Packing(25, (8, 32), (8,)).copies(9, 2) == [0, 16]
    assert Packing(24, (8, 32), (8,)).copies(9, 2) is None


def test_the_highest_border_between_two_slots_counts():
    racks = Packing(64, (8, 32, 64), (8, 32))
    before, after = np.array([0, 7, 31, 8]), np.array([7, 8, 32, 9])
    assert list(racks.border(before, after)) == [0, 1, 2, 0]
    assert list(Packing(64, (4, 8, 64), (8,)).border(before, after)) == [0, 1, 1, 0]


@pytest.mark.slow
@given(packings(), st.data())
def test_a_block_starts_at_the_first_slot_of_all_that_are_allowed(packing, data):
    width = data.draw(st.integers(1, packing.slots))
    offset = data.draw(st.integers(0, packing.slots))
    allowed = [begin for begin in range(offset, offset + 200) if keeps_clear(packing, begin, width)]
    assert packing.start(np.array(offset), width) == allowed[0]


@pytest.mark.slow
@given(packings(), st.data())
def test_many_offsets_start_as_each_alone(packing, data):
    width = data.draw(
        st.integers(1, packing.slots).filter(lambda width: packing.rule(width) is not None)
    )
    offsets = np.arange(packing.slots + 1)
    assert list(packing.start(offsets, width)) == [
        int(packing.start(np.array(n), width)) for n in offsets
    ]


@pytest.mark.slow
@settings(max_examples=200)
@given(packings(), st.data())
def test_there_is_room_for_as_many_copies_as_trying_every_slot_finds(packing, data):
    width = data.draw(st.integers(1, packing.slots))
    assert packing.room(width) == most_copies(packing, width)


@pytest.mark.slow
@settings(max_examples=200)
@given(packings(), st.data())
def test_copies_are_alike_inside_overlap_nowhere_and_fit(packing, data):
    width = data.draw(st.integers(1, packing.slots))
    count = data.draw(st.integers(1, packing.room(width)))
    begins = packing.copies(width, count)
    assert len(begins) == count
    assert begins[0] == 0
    assert begins[-1] + width <= packing.slots
    assert all(after - before >= width for before, after in itertools.pairwise(begins))
    assert all(
        borders_inside(packing, begin, width) == borders_inside(packing, 0, width)
        for begin in begins
    )
    assert packing.copies(width, packing.room(width) + 1) is None


@pytest.mark.slow
@given(packings(), st.integers(1, 20))
def test_the_widest_is_the_widest_of_all_widths_tried(packing, count):
    fitting = [
        width for width in range(1, packing.slots + 1) if most_copies(packing, width) >= count
    ]
    assert packing.widest(count) == max(fitting, default=0)
    assert fitting == list(range(1, len(fitting) + 1))


@pytest.mark.slow
@given(packings(), st.data())
def test_padding_makes_the_smallest_block_of_whole_units(packing, data):
    width = data.draw(st.integers(1, packing.slots))
    units = {fence: unit for unit, fence in itertools.pairwise((1, *packing.spans))}
    whole = [
        block
        for block in range(width, packing.slots + 1)
        if block % units[min(span for span in packing.spans if span >= block)] == 0
    ]
    if whole:
        assert packing.padded(width) == whole[0]
    else:
        assert packing.padded(width) > packing.slots


@pytest.mark.slow
@settings(max_examples=40)
@given(packings(), st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True))
def test_the_fewest_slots_up_to_each_end_are_those_of_all_blocks_in_any_order(packing, widths):
    able = [width for width in widths if packing.rule(width)]
    fewest = {0: 0}
    todo = [(0, 0)]
    seen = set(todo)
    while todo:
        end, taken = todo.pop()
        for width in able:
            block = int(packing.start(np.array(end), width)) + width, taken + width
            if block[0] <= packing.slots and block not in seen:
                seen.add(block)
                todo.append(block)
                fewest[block[0]] = min(fewest.get(block[0], block[1]), block[1])
    found = packing.fewest_slots(np.array(widths))
    nowhere = packing.slots + 1
    assert found.tolist() == [fewest.get(end, nowhere) for end in range(packing.slots + 1)]
