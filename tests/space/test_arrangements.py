"""Where replicas stand when slots are out of use."""

import pytest

from planner.errors import InputError
from planner.solver.chain.packing import Packing
from planner.space.arrangements import Arrangement, arranged

NODES = Packing(8, (4, 8), (4,))


def broken(*slots: int, packing: Packing = NODES) -> Packing:
    return Packing(packing.slots, packing.spans, packing.borders, slots)


def test_without_broken_slots_bases_follow_from_the_length():
    (only,) = arranged(NODES, 2)
    assert (only.budget, only.bases) == (4, ())
    assert only.starts(3, 2) == [0, 4]


def test_one_replica_sees_every_slot_up_to_the_last_that_works():
    assert arranged(broken(3, 7), 1) == [Arrangement(broken(3, 7), 7, (0,))]


def test_two_replicas_share_what_is_broken_in_either_or_keep_to_whole_blocks():
    found = {(one.bases, one.packing.blocked): one.budget for one in arranged(broken(1), 2)}
    assert found == {((0, 4), (1,)): 4, ((2, 4), ()): 2}


def test_there_is_no_room_for_more_replicas_than_slots_that_work():
    assert arranged(broken(0, 1, 2, 3, 4, 5), 3) == []
    assert arranged(broken(*range(8)), 1) == []


def test_the_useless_choice_is_the_one_with_less_room():
    wide, narrow = Arrangement(broken(1), 4, (0,)), Arrangement(broken(1, 2), 3, (0,))
    assert narrow.no_better(wide)
    assert not wide.no_better(narrow)


def test_too_many_kinds_of_broken_blocks_are_refused():
    slots = [5 * unit + place for unit in range(26) for place in range(5) if unit >> place & 1]
    with pytest.raises(InputError, match="exclude whole units"):
        arranged(broken(*slots, packing=Packing(130, (5, 130), (5,))), 2)


def test_starts_are_all_places_of_a_block():
    assert NODES.starts(2) == [0, 1, 2, 4, 5, 6]
    assert broken(1).starts(2) == [2, 4, 5, 6]
    assert broken(1).starts(8) == []
