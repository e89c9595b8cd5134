"""Collectives on the wire, against figures worked out by hand and the conventions of others."""

import inspect
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost import collectives
from planner.cost.collectives import (
    direct_all_gather_s,
    direct_all_to_all_s,
    grid_all_gather_s,
    grid_all_reduce_s,
    grid_all_to_all_s,
    in_switch_all_reduce_s,
    mesh_all_gather_s,
    mesh_one_shot_all_reduce_s,
    mesh_two_shot_all_reduce_s,
    one_shot_all_reduce_s,
    ring_all_gather_s,
    ring_all_reduce_s,
    send_s,
    steps_of_tree,
    tree_all_reduce_s,
    tree_broadcast_s,
    two_shot_all_reduce_s,
)

WIRE = (1e11, 1e-6)
"""100 GB/s and 1 µs: one megabyte takes 10 µs."""
RING, CHAIN = ((8,), (True,)), ((8,), (False,))

# Over 1 MB, in microseconds: steps of 1 µs, then shares of the 10 µs that the whole tensor takes.
GOLDEN = [
    (ring_all_reduce_s, (8,), 2 * 7 * 1 + 2 * 7 / 8 * 10),
    (tree_all_reduce_s, (8,), 2 * 3 * 1 + 2 * 10),
    (tree_all_reduce_s, (9,), 2 * 4 * 1 + 2 * 10),
    (one_shot_all_reduce_s, (8,), 1 + 7 * 10),
    (two_shot_all_reduce_s, (8,), 2 * 1 + 2 * 7 / 8 * 10),
    (in_switch_all_reduce_s, (8,), 2 * 1 + 10),
    (ring_all_gather_s, (8,), 7 * 1 + 7 / 8 * 10),
    (direct_all_gather_s, (8,), 1 + 7 / 8 * 10),
    (direct_all_to_all_s, (8,), 1 + 7 / 8 * 10),
    (tree_broadcast_s, (8,), 3 * 1 + 10),
    (mesh_one_shot_all_reduce_s, (8,), 1 + 10),
    (mesh_two_shot_all_reduce_s, (8,), 2 * (1 + 10 / 8)),
    (mesh_all_gather_s, (8,), 1 + 10 / 8),
    (grid_all_gather_s, RING, 4 * 1 + 7 / 8 * 10 / 2),
    (grid_all_gather_s, CHAIN, 7 * 1 + 7 / 8 * 10),
    (grid_all_gather_s, ((5,), (True,)), 2 * 1 + 4 / 5 * 10 / 2),
    (grid_all_gather_s, ((4, 4), (True, True)), 4 * 1 + 15 / 16 * 10 / 4),
    (grid_all_gather_s, ((2, 4), (False, False)), 4 * 1 + 7 / 8 * 10 / 2),
    (grid_all_gather_s, ((2, 4), (False, True)), 3 * 1 + 7 / 8 * 10 / 3),
    (grid_all_gather_s, ((1, 8), (False, True)), 4 * 1 + 7 / 8 * 10 / 2),
    (grid_all_reduce_s, RING, 2 * (4 * 1 + 7 / 8 * 10 / 2)),
    (grid_all_reduce_s, CHAIN, 2 * (7 * 1 + 7 / 8 * 10)),
    (grid_all_to_all_s, RING, 4 * 1 + 8 / 8 * 10),
    (grid_all_to_all_s, CHAIN, 7 * 1 + 8 / 4 * 10),
    (grid_all_to_all_s, ((4, 4), (True, True)), 4 * 1 + 4 / 8 * 10),
    (grid_all_to_all_s, ((2, 8), (False, True)), 5 * 1 + 8 / 8 * 10),
    (grid_all_to_all_s, ((5,), (True,)), 2 * 1 + 5 / 8 * 10),
    (send_s, (), 1 + 10),
]

THROUGH_PORTS = [
    ring_all_reduce_s, tree_all_reduce_s, one_shot_all_reduce_s, two_shot_all_reduce_s, in_switch_all_reduce_s,
    ring_all_gather_s, direct_all_gather_s, direct_all_to_all_s, tree_broadcast_s,
]  # fmt: skip
PORTS = [*THROUGH_PORTS, mesh_one_shot_all_reduce_s, mesh_two_shot_all_reduce_s, mesh_all_gather_s]
GRIDS = [grid_all_gather_s, grid_all_reduce_s, grid_all_to_all_s]


@st.composite
def wired(draw):
    """A collective over a group of any number of ranks or shape of grid; or a message over some
    hops."""
    function = draw(st.sampled_from([*PORTS, *GRIDS, send_s]))
    if function is send_s:
        return partial(function, hops=draw(st.integers(1, 20)))
    if function in PORTS:
        return partial(function, ranks=draw(st.integers(1, 1000)))
    axes = draw(st.lists(st.integers(1, 16), min_size=1, max_size=3))
    wraps = draw(st.lists(st.booleans(), min_size=len(axes), max_size=len(axes)))
    return partial(function, axes=axes, wraps=wraps)


def seconds(collective, tensor_bytes, bandwidth, latency):
    return collective(tensor_bytes=tensor_bytes, bandwidth_bytes_per_s=bandwidth, latency_s=latency)


sizes = st.floats(0.0, 1e12)
bandwidths = st.floats(1e6, 1e13)
latencies = st.floats(0.0, 1e-3)
factors = st.floats(1.0, 1e4)


@pytest.mark.parametrize(("function", "group", "microseconds"), GOLDEN)
def test_each_collective_takes_what_a_hand_works_out(function, group, microseconds):
    assert function(1e6, *group, *WIRE) == pytest.approx(microseconds * 1e-6, rel=1e-12)


def test_a_message_pays_each_hops_latency_and_its_bytes_once():
    assert send_s(1e6, *WIRE, hops=3) == pytest.approx(13e-6, rel=1e-12)


def test_every_collective_has_a_golden_row():
    priced = {
        name
        for name, _ in inspect.getmembers(collectives, inspect.isfunction)
        if name.endswith("_s")
    }
    assert priced == {function.__name__ for function, *_ in GOLDEN}


@pytest.mark.parametrize(("function", "group", "microseconds"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, group, microseconds):
    sent, bandwidth, latency = (
        np.array([0.0, 1e3, 1e6]),
        np.array([1e9, 1e10, 1e11]),
        np.array([1e-6, 0.0, 2e-5]),
    )
    together = function(sent, *group, bandwidth, latency)
    one_by_one = [
        function(float(sent[n]), *group, float(bandwidth[n]), float(latency[n])) for n in range(3)
    ]
    assert together.shape == (3,)
    assert list(together) == pytest.approx(one_by_one, rel=1e-15)


@pytest.mark.parametrize(
    ("ranks", "steps"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (1024, 10)]
)
def test_a_tree_doubles_with_every_step(ranks, steps):
    assert steps_of_tree(ranks) == steps


@pytest.mark.parametrize("function", PORTS)
def test_one_rank_needs_no_time(function):
    assert function(1e9, 1, *WIRE) == 0.0


@pytest.mark.parametrize("function", GRIDS)
@pytest.mark.parametrize("axes", [(1,), (1, 1), (1, 1, 1)])
def test_a_grid_of_one_needs_no_time(function, axes):
    assert function(1e9, axes, (False,) * len(axes), *WIRE) == 0.0


@pytest.mark.slow
@given(wired(), sizes, bandwidths, latencies, factors)
def test_more_bandwidth_is_never_slower(collective, sent, bandwidth, latency, factor):
    assert seconds(collective, sent, bandwidth * factor, latency) <= seconds(
        collective, sent, bandwidth, latency
    )


@pytest.mark.slow
@given(wired(), sizes, bandwidths, latencies, latencies)
def test_more_latency_is_never_faster(collective, sent, bandwidth, latency, more):
    assert seconds(collective, sent, bandwidth, latency + more) >= seconds(
        collective, sent, bandwidth, latency
    )


@pytest.mark.slow
@given(wired(), sizes, sizes, bandwidths, latencies)
def test_more_bytes_are_never_faster(collective, sent, more, bandwidth, latency):
    assert seconds(collective, sent + more, bandwidth, latency) >= seconds(
        collective, sent, bandwidth, latency
    )


@pytest.mark.slow
@given(
    st.sampled_from(THROUGH_PORTS),
    st.integers(1, 500),
    st.integers(0, 500),
    sizes,
    bandwidths,
    latencies,
)
def test_through_a_port_more_ranks_are_never_faster(
    function, ranks, more, sent, bandwidth, latency
):
    few, many = (
        function(sent, ranks, bandwidth, latency),
        function(sent, ranks + more, bandwidth, latency),
    )
    assert many >= few * (1 - 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("all_reduce", "all_gather"),
    [
        (ring_all_reduce_s, ring_all_gather_s),
        (two_shot_all_reduce_s, direct_all_gather_s),
        (mesh_two_shot_all_reduce_s, mesh_all_gather_s),
    ],
)
@given(ranks=st.integers(1, 1000), sent=sizes, bandwidth=bandwidths, latency=latencies)
def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather(
    all_reduce, all_gather, ranks, sent, bandwidth, latency
):
    halves = 2 * all_gather(sent, ranks, bandwidth, latency)
    assert all_reduce(sent, ranks, bandwidth, latency) == pytest.approx(halves, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "all_reduce",
    [ring_all_reduce_s, tree_all_reduce_s, one_shot_all_reduce_s, two_shot_all_reduce_s],
)
@given(ranks=st.integers(2, 1000), sent=sizes, bandwidth=bandwidths, latency=latencies)
def test_no_all_reduce_through_one_port_moves_less_than_theory_demands(
    all_reduce, ranks, sent, bandwidth, latency
):
    least = 2 * (ranks - 1) / ranks * sent / bandwidth
    assert all_reduce(sent, ranks, bandwidth, latency) >= least * (1 - 1e-12)


@pytest.mark.slow
@given(
    st.sampled_from(GRIDS),
    st.lists(st.integers(3, 16), min_size=1, max_size=3),
    sizes,
    bandwidths,
    latencies,
)
def test_closing_the_axes_of_a_grid_is_never_slower(function, axes, sent, bandwidth, latency):
    torus = function(sent, axes, [True] * len(axes), bandwidth, latency)
    assert torus <= function(sent, axes, [False] * len(axes), bandwidth, latency)


@pytest.mark.slow
@given(st.sampled_from(GRIDS), st.integers(2, 64), st.booleans(), sizes, bandwidths, latencies)
def test_an_axis_of_one_adds_nothing_to_a_grid(function, length, closed, sent, bandwidth, latency):
    line = function(sent, (length,), (closed,), bandwidth, latency)
    assert function(sent, (1, length, 1), (False, closed, False), bandwidth, latency) == line


@pytest.mark.parametrize("ranks", [2, 3, 8, 72, 1024])
def test_the_bus_bandwidth_of_a_ring_is_the_links_against_nccl_tests(ranks):
    reduced = ring_all_reduce_s(1e9, ranks, 1e11, 0.0)
    gathered = ring_all_gather_s(1e9, ranks, 1e11, 0.0)
    assert 1e9 / reduced * 2 * (ranks - 1) / ranks == pytest.approx(1e11, rel=1e-12)
    assert 1e9 / gathered * (ranks - 1) / ranks == pytest.approx(1e11, rel=1e-12)


def test_latency_keeps_the_bus_bandwidth_below_the_links_against_nccl_tests():
    busbw = [
        size / ring_all_reduce_s(size, 8, 1e11, 1e-6) * 2 * 7 / 8 for size in (1e4, 1e6, 1e8, 1e10)
    ]
    assert busbw == sorted(busbw)
    assert busbw[0] < 0.02 * 1e11  # 10 kB: 0.175 µs on the wire, 14 µs of steps
    assert 0.999 * 1e11 < busbw[-1] < 1e11


@pytest.mark.parametrize(("ranks", "tolerance"), [(16, 0.07), (256, 0.004), (4096, 0.0003)])
def test_a_ring_all_gathers_at_both_links_speed_against_scaling_book(ranks, tolerance):
    whole, one_way = 1e9, 45e9
    gathered = grid_all_gather_s(whole, (ranks,), (True,), one_way, 0.0)
    assert gathered == pytest.approx(whole / (2 * one_way), rel=tolerance)


def test_an_all_gather_over_more_axes_uses_all_their_links_against_scaling_book():
    whole, one_way = 1e9, 45e9
    gathered = grid_all_gather_s(whole, (16, 16, 16), (True, True, True), one_way, 0.0)
    assert gathered == pytest.approx(whole / (3 * 2 * one_way), rel=0.0003)


@pytest.mark.parametrize("ranks", [4, 8, 16, 64])
def test_a_small_all_gather_waits_for_half_the_ring_against_scaling_book(ranks):
    assert grid_all_gather_s(0.0, (ranks,), (True,), 45e9, 1e-6) == pytest.approx(
        ranks / 2 * 1e-6, rel=1e-12
    )


@pytest.mark.parametrize(("ranks", "tolerance"), [(16, 0.07), (256, 0.004), (4096, 0.0003)])
def test_an_all_to_all_on_a_ring_costs_a_quarter_of_an_all_gather_against_scaling_book(
    ranks, tolerance
):
    whole, one_way = (
        1e9,
        45e9,
    )  # the book counts the array over all chips, of which each sends its shard
    exchanged = grid_all_to_all_s(whole / ranks, (ranks,), (True,), one_way, 0.0)
    gathered = grid_all_gather_s(whole, (ranks,), (True,), one_way, 0.0)
    assert exchanged / gathered == pytest.approx(1 / 4, rel=tolerance)
