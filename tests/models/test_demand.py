"""The coefficients of a step, against sums done by hand."""

import itertools
import math
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.models.demand import UNLIMITED_TOKENS, Demand, most_of_normal, stacked
from tests.instances import tiny_moe
from tests.lanes import mostly_slow

DENSE = Demand(
    flop_per_token=100.0, flop_per_sequence=7.0, weight_bytes=1000.0, read_bytes_per_token=3.0
)
ATTENTION = Demand(
    flop_per_token_context=2.0, decode_flop_per_token_context=5.0, kv_bytes_per_token=4.0, window_tokens=50.0, kept_tokens=50.0,
    written_bytes_per_token=6.0,
)  # fmt: skip
ROUTED = Demand(sparse_bytes=800.0, sparse_parts=8.0, sparse_parts_active=2.0)


def test_an_operator_that_asks_for_nothing_costs_nothing_but_a_launch():
    nothing = Demand()
    figures = [nothing.flop(8, 100, 2, False), nothing.flop(8, 100, 8, True), nothing.read_bytes(8, 100, 2),
               nothing.written_bytes(8, 2), nothing.held_weight_bytes, nothing.held_kv_bytes(100, 2)]  # fmt: skip
    messages = [
        value
        for name, value in asdict(nothing).items()
        if name.startswith(("reduced", "gathered", "shuffled", "dispatched", "combined"))
    ]
    assert figures == [0.0] * 6
    assert [*messages, nothing.activation_bytes_per_token] == [0.0] * 7
    assert nothing.kernels == 1.0


def test_arithmetic_counts_tokens_contexts_and_sequences():
    assert DENSE.flop(10, 20, 2, decode=False) == 10 * 100 + 2 * 7
    assert ATTENTION.flop(10, 20, 2, decode=False) == 10 * 20 * 2
    assert ATTENTION.flop(10, 20, 10, decode=True) == 10 * 20 * 5


def test_a_window_limits_what_is_seen_read_and_held():
    for context in (50, 51, 10_000):
        assert ATTENTION.flop(10, context, 2, decode=False) == 10 * 50 * 2
        assert (
            ATTENTION.kv_read_bytes(context, 3) == ATTENTION.held_kv_bytes(context, 3) == 3 * 50 * 4
        )
    assert ATTENTION.kv_read_bytes(49, 3) == 3 * 49 * 4


def test_without_a_window_everything_is_seen():
    assert UNLIMITED_TOKENS > 1e9
    assert Demand(kv_bytes_per_token=4.0).held_kv_bytes(10**8, 1) == 4 * 10**8


def test_dense_weights_are_read_once_whatever_the_tokens():
    assert DENSE.weights_read_bytes(1) == DENSE.weights_read_bytes(500) == 1000.0


def test_a_step_reads_weights_cache_and_activations():
    assert DENSE.read_bytes(10, 20, 2) == 1000 + 10 * 3
    assert ATTENTION.read_bytes(10, 20, 2) == 2 * 20 * 4


def test_a_step_writes_activations_and_the_cache_of_its_own_tokens():
    assert ATTENTION.written_bytes(10, 2) == 10 * 6 + 10 * 4


def test_what_a_sequence_moves_is_half_read_and_half_written():
    head = Demand(io_bytes_per_sequence=10.0)
    assert head.read_bytes(8, 100, 4) == head.written_bytes(8, 4) == 4 * 5


@pytest.mark.parametrize(
    ("tokens", "distinct"), [(1, 2.0), (2, 3.5), (4, 8 * (1 - 81 / 256)), (1000, 8.0)]
)
def test_a_step_reads_the_experts_that_its_tokens_are_expected_to_touch(tokens, distinct):
    assert ROUTED.weights_read_bytes(tokens) == pytest.approx(100 * distinct, rel=1e-12)
    assert ROUTED.held_weight_bytes == 800.0


@pytest.mark.parametrize(
    ("experts", "active", "tokens"), [(4, 2, 2), (4, 1, 3), (5, 2, 2), (3, 3, 2)]
)
def test_touched_experts_are_those_of_every_routing_counted_out(experts, active, tokens):
    choices = list(itertools.combinations(range(experts), active))
    routings = list(itertools.product(choices, repeat=tokens))
    mean = sum(len(set().union(*routing)) for routing in routings) / len(routings)
    demand = Demand(sparse_parts=float(experts), sparse_parts_active=float(active))
    assert experts * demand.touched_fraction(tokens) == pytest.approx(mean, rel=1e-12)


def test_pooled_tokens_touch_more_experts():
    pooled = Demand(sparse_parts=8.0, sparse_parts_active=2.0, sparse_tokens_per_token=4.0)
    assert pooled.touched_fraction(1) == pytest.approx(1 - (3 / 4) ** 4, rel=1e-12)


def test_a_step_without_tokens_touches_nothing():
    assert ROUTED.touched_fraction(0) == 0.0


def test_a_state_is_held_read_and_written_whatever_the_context():
    recurrence = Demand(state_bytes_per_sequence=100.0)
    for context in (1, 10_000):
        assert recurrence.held_kv_bytes(context, 3) == recurrence.read_bytes(3, context, 3) == 300
        assert recurrence.written_bytes(3, 3) == recurrence.written_bytes(60, 3) == 300


def test_skipped_zeros_cost_no_arithmetic_but_their_bytes_stay():
    halved = DENSE.skipping(0.5)
    assert halved.flop(10, 20, 2, decode=False) == (10 * 100 + 2 * 7) / 2
    assert halved.read_bytes(10, 20, 2) == DENSE.read_bytes(10, 20, 2)


def test_stacked_demands_give_what_each_gives_alone():
    demands = [operator.demand(2, 4) for layer in tiny_moe().layers for operator in layer.operators]
    together, tokens = stacked(demands), np.array([1.0, 4.0, 300.0])
    for name, figures in {
        "flop": lambda demand, n: demand.flop(n, 1000.0, n, True),
        "read": lambda demand, n: demand.read_bytes(n, 1000.0, n),
        "written": lambda demand, n: demand.written_bytes(n, n),
        "held": lambda demand, n: demand.held_kv_bytes(1000.0, n) + demand.held_weight_bytes,
    }.items():
        alone = [[figures(demand, float(n)) for n in tokens] for demand in demands]
        assert figures(together, tokens) == pytest.approx(np.array(alone), rel=1e-12), name


def test_stacked_coefficients_are_columns_that_nobody_changes():
    together = stacked([DENSE, ATTENTION, ROUTED])
    for field in fields(Demand):
        column = getattr(together, field.name)
        if field.name != "sparse_spread":
            assert column.shape == (3, 1)
            assert not column.flags.writeable
    assert together.sparse_spread == 0.0
    uneven = replace(ROUTED, sparse_groups=2.0, sparse_spread=0.5)
    assert stacked([DENSE, uneven]).sparse_spread.tolist() == [[0.0], [0.5]]
    with pytest.raises(FrozenInstanceError):
        together.weight_bytes = math.nan


def test_a_text_half_as_long_has_half_the_work_and_a_quarter_of_the_pairs():
    whole = Demand(
        flop_per_token=10.0, flop_per_token_context=3.0, weight_bytes=7.0, read_bytes_per_token=4.0
    )
    half = whole.for_tokens(0.5)
    assert (half.flop_per_token, half.flop_per_token_context) == (5.0, 0.75)
    assert (half.weight_bytes, half.read_bytes_per_token) == (7.0, 2.0)
    assert half.flop(100.0, 50.0, 1.0, False) == whole.flop(50.0, 25.0, 1.0, False)
    assert whole.for_tokens(1.0) is whole


def test_a_window_stays_as_wide_whatever_the_factor():
    windowed = Demand(flop_per_token_context=1.0, window_tokens=10.0)
    assert windowed.for_tokens(0.5).flop(100.0, 40.0, 1.0, False) == windowed.flop(
        50.0, 20.0, 1.0, False
    )


def shared_out(experts: int, active: int, groups: int) -> Demand:
    return Demand(
        flop_per_token=1.0, sparse_parts=float(experts), sparse_parts_active=float(active), sparse_groups=float(groups),
        sparse_spread=most_of_normal(groups),
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_the_largest_of_normal_variables_lies_as_far_out_as_drawn_ones(count):
    drawn = np.random.default_rng(1).standard_normal((40_000, count)).max(axis=1).mean()
    assert most_of_normal(count) == pytest.approx(drawn, abs=0.04)


@pytest.mark.parametrize(
    ("experts", "active", "groups"), [(256, 8, 8), (128, 4, 8), (128, 4, 2), (256, 8, 32)]
)
@pytest.mark.parametrize("tokens", mostly_slow([1, 4, 16, 64, 512], but=(1, 4, 16)))
def test_the_busiest_group_has_as_much_as_in_drawn_routings(experts, active, groups, tokens):
    dice = np.random.default_rng(2)
    draws = (
        dice.random((200, tokens, experts))
        .argpartition(active, axis=2)[..., :active]
        .reshape(200, -1)
    )
    counts = np.stack([np.bincount(draw, minlength=experts) for draw in draws]).reshape(
        200, groups, -1
    )
    busiest, touched = (
        counts.sum(axis=2).max(axis=1).mean(),
        (counts > 0).sum(axis=2).max(axis=1).mean(),
    )
    demand = shared_out(experts, active, groups)
    assert float(demand.touched_fraction(tokens)) * experts / groups == pytest.approx(
        touched, rel=0.15 if tokens > 1 else 0.3
    )
    assert float(demand.busiest_share(tokens)) * tokens * active / groups == pytest.approx(
        busiest, rel=0.15 if tokens > 1 else 0.3
    )


def test_half_a_tile_of_each_part_is_empty_and_a_third_of_small_ones():
    # Eight parts, two for each token, all touched by so many: of 4,096 tokens each has 1,024, and
    # 64 places are empty; of 512, 128 and 64; of 128, 32, in smaller tiles, of which a third is.
    assert ROUTED.tiles_share(4096, 128) == pytest.approx(1 + 64 / 1024)
    assert ROUTED.tiles_share(512, 128) == pytest.approx(1.5)
    assert ROUTED.tiles_share(128, 128) == pytest.approx(1.5)
    assert ROUTED.tiles_share(0, 128) == 1.0
    assert DENSE.tiles_share(4096, 128) == 1.0
    # Four ranks pool their tokens.
    assert replace(ROUTED, sparse_tokens_per_token=4.0).tiles_share(1024, 128) == pytest.approx(
        1 + 64 / 1024
    )


@pytest.mark.slow
@given(
    tokens=st.floats(1e-3, 1e6), more=st.floats(1.0, 10.0), tile=st.sampled_from((0.0, 64.0, 256.0))
)
def test_tiles_of_more_tokens_take_longer_and_each_token_no_longer(tokens, more, tile):
    few, many = (ROUTED.tiles_share(count, tile) for count in (tokens, more * tokens))
    assert 1.0 <= many <= few * (1 + 1e-9)
    assert many * more >= few * (1 - 1e-9)


@pytest.mark.parametrize(
    ("experts", "active", "groups"),
    [(256, 8, 256), (256, 8, 32), (128, 4, 2), (8, 2, 8), (64, 1, 64)],
)
def test_the_busiest_group_has_more_to_do_for_more_tokens_and_less_for_each(
    experts, active, groups
):
    demand, tokens = shared_out(experts, active, groups), np.geomspace(0.01, 1e5, 3000)
    for work in (
        np.asarray(demand.touched_fraction(tokens)),
        np.asarray(demand.flop(tokens, 0.0, tokens, True)),
    ):
        assert (np.diff(work) >= -1e-12 * work[1:]).all()
        assert (np.diff(work / tokens) <= 1e-12 * (work / tokens)[1:]).all()


def test_what_is_moved_is_what_is_read_and_what_is_written():
    demand = Demand(
        weight_bytes=1e6, sparse_bytes=1e5, sparse_parts=8.0, sparse_parts_active=2.0,
        sparse_groups=4.0, sparse_spread=1.0, read_bytes_per_token=20.0, written_bytes_per_token=30.0,
        io_bytes_per_sequence=400.0, kv_bytes_per_token=5.0, state_bytes_per_sequence=600.0,
    )  # fmt: skip
    read = demand.read_bytes(12.0, 100.0, 3.0, 6.0)
    assert demand.moved_bytes(12.0, 100.0, 3.0, 6.0) == pytest.approx(
        read + demand.written_bytes(12.0, 6.0), rel=1e-14
    )
