from planner.export.hosts import Seat, devices_of, node_count, nodes_of, seats_of
from planner.launches.launch import Launch


def launch(**fields) -> Launch:
    return Launch(engine="sglang", model="m", **fields)


def test_a_node_holds_consecutive_ranks():
    one = launch(tensor_parallel=8, pipeline_parallel=2, chips_per_node=8)
    assert seats_of(one, tuple(range(16))) == [
        Seat(0, tuple(range(8))),
        Seat(1, tuple(range(8))),
    ]
    assert nodes_of(one) == [0, 1]
    assert node_count(one) == 2


def test_where_nodes_hold_unlike_many_ranks_they_count_as_several():
    one = launch(tensor_parallel=4, pipeline_parallel=3, chips_per_node=8)
    assert [seat.node for seat in seats_of(one, tuple(range(12)))] == [0, 0, 1]
    assert {len(seat.chips) for seat in seats_of(one, tuple(range(12)))} == {4}


def test_stages_are_not_torn_where_the_engine_wants_them_whole():
    one = launch(tensor_parallel=4, attention_parallel=2, pipeline_parallel=3, chips_per_node=12)
    assert {len(seat.chips) for seat in seats_of(one, tuple(range(24)))} == {12}
    torn = seats_of(one, tuple(range(24)), whole_stages=True)
    assert {len(seat.chips) for seat in torn} == {4}


def test_a_tensor_group_is_shared_out_over_whole_nodes():
    one = launch(tensor_parallel=8, pipeline_parallel=3, chips_per_node=6)
    assert {len(seat.chips) for seat in seats_of(one, tuple(range(24)))} == {2}


def test_chips_that_nobody_named_are_the_first():
    assert devices_of(launch(tensor_parallel=2, replicas=2)) == ((0, 1), (2, 3))
    assert devices_of(launch(devices=((5,),))) == ((5,),)
