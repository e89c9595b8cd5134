"""`partition_operators`: what it promises, and how far rules of thumb are from it."""

import pytest

import planner as pl
from planner.errors import InfeasibleError, InputError


def chain(times, *, transfer_s=1.0, count=2, memory_bytes=None, size_bytes=0.0):
    operators = tuple(
        pl.Operator(name=str(number), times_s=(time,), transfer_s=transfer_s, size_bytes=size_bytes)
        for number, time in enumerate(times)
    )
    edges = tuple((number, number + 1) for number in range(len(times) - 1))
    devices = (pl.DeviceClass(name="a", count=count, memory_bytes=memory_bytes),)
    return pl.OperatorGraph(operators=operators, edges=edges, devices=devices)


def test_a_chain_is_cut_where_a_person_would_cut_it():
    result = pl.partition_operators(chain([4.0, 4.0, 5.0, 3.0]))
    assert result.devices == ("a0", "a0", "a1", "a1")
    assert (result.objective, result.status) == (9.0, "optimal")
    assert result.loads == (("a0", 9.0), ("a1", 9.0))
    assert result.gap == pytest.approx(0.0, abs=5e-6)


def test_one_sample_is_soonest_where_nothing_moves():
    result = pl.partition_operators(chain([4.0, 4.0, 5.0, 3.0]), mode="latency")
    assert len(set(result.devices)) == 1
    assert result.objective == 16.0


def test_scattered_operators_balance_what_contiguous_ones_cannot():
    graph = chain([4.0, 6.0, 4.0, 2.0], transfer_s=0.0)
    assert pl.partition_operators(graph).objective == 10.0
    assert pl.partition_operators(graph, contiguous=False).objective == 8.0


def test_a_heavy_stage_is_taken_in_turn_by_several_devices():
    graph = chain([2.0, 9.0, 3.0], transfer_s=0.0, count=5)
    once, often = pl.partition_operators(graph), pl.partition_operators(graph, most_copies=3)
    assert (once.objective, often.objective, often.status) == (9.0, 3.0, "optimal")
    assert often.devices == ("a0", "a1…a3", "a4")
    assert dict(often.loads) == {"a0": 2.0, "a1…a3": 3.0, "a4": 3.0}


def test_copies_each_need_the_memory_of_the_whole_stage():
    graph = chain([4.0, 4.0], transfer_s=0.0, count=2, memory_bytes=5.0, size_bytes=5.0)
    assert pl.partition_operators(graph, most_copies=2).devices == ("a0", "a1")


def test_more_copies_are_never_slower():
    graph = chain([3.0, 9.0, 2.0, 2.0, 7.0, 1.0], count=4)
    reached = [pl.partition_operators(graph, most_copies=most).objective for most in (1, 2, 3, 4)]
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] < reached[0]


@pytest.mark.parametrize(
    "options",
    [
        {"most_copies": 0},
        {"most_copies": 2, "mode": "latency"},
        {"most_copies": 2, "contiguous": False},
    ],
)
def test_copies_where_they_mean_nothing_are_refused(options):
    with pytest.raises(InputError, match="most_copies"):
        pl.partition_operators(chain([1.0]), **options)


def test_what_does_not_fit_is_proved_infeasible():
    with pytest.raises(InfeasibleError) as refused:
        pl.partition_operators(chain([1.0, 1.0], memory_bytes=3.0, size_bytes=5.0))
    assert (refused.value.demand, refused.value.capacity) == (10.0, 6.0)


def test_devices_that_there_are_none_of_add_no_capacity_to_a_refusal():
    graph = chain([1.0, 1.0], memory_bytes=3.0, size_bytes=5.0)
    none = pl.DeviceClass(name="c", count=0)
    operators = tuple(one.replace(times_s=(*one.times_s, None)) for one in graph.operators)
    both = graph.replace(operators=operators, devices=(*graph.devices, none))
    with pytest.raises(InfeasibleError) as refused:
        pl.partition_operators(both)
    assert refused.value.capacity == 6.0


@pytest.mark.parametrize("mode", ["throughput", "latency"])
def test_no_rule_of_thumb_is_better(mode):
    graph = chain([3.0, 9.0, 2.0, 2.0, 7.0, 1.0], count=3)
    best = pl.partition_operators(graph, mode=mode)
    reached = pl.rules_of_thumb(graph, mode=mode)
    assert set(reached) == {"equal operators", "equal bytes", "equal times", "greedy"}
    assert min(reached.values()) >= best.objective * (1 - 1e-12)
    assert reached["equal operators"] == (13.0 if mode == "throughput" else 13.0 + 6.0 + 9.0)


def test_a_wrong_question_names_the_field():
    with pytest.raises(InputError, match="mode"):
        pl.partition_operators(chain([1.0]), mode="speed")
    with pytest.raises(InputError, match="time_limit_s"):
        pl.partition_operators(chain([1.0]), time_limit_s=0.0)
