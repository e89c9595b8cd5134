"""What each operator demands, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.models.operators import (
    Attention,
    Contraction,
    Experts,
    Indexer,
    Pointwise,
    plain_attention,
)
from tests.instances import tiny_graph, tiny_moe
from tests.models.layers import (
    ATTENTION,
    ATTENTION_WEIGHTS,
    EMBEDDING,
    EXPERTS,
    FEED_FORWARD_WEIGHTS,
    KV_BYTES,
    MATMUL,
    NORM,
    RECURRENT,
    chips_total,
    layer,
)


def test_a_decode_step_of_a_dense_layer_is_two_operations_per_weight_and_its_attention():
    dense = tiny_graph().layers[1]
    weights = ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS
    attention_each = 2 * 8 * (128 + 128)
    for sequences in (1, 16):
        expected = sequences * (2 * weights + attention_each * 1000)
        assert dense.flop(sequences, 1000, sequences) == pytest.approx(expected, rel=1e-3)


def test_a_decode_step_reads_weights_once_and_the_cache_once_per_sequence():
    dense = tiny_graph().layers[1]
    # Norms, query, key and value, attention, output, up, activation and down: widths of 1024, 4096
    # where they work inside.
    activations = 2 * (2 * 1024 + 1024 + 1024 + 1024 + 1024 + 1024 + 4096 + 4096)
    for sequences in (1, 16):
        expected = dense.weight_bytes + sequences * (1000 * KV_BYTES + activations)
        assert dense.read_bytes(sequences, 1000, sequences) == pytest.approx(expected, rel=1e-12)


def test_a_prompts_cache_is_read_once_for_all_its_tokens():
    dense = tiny_graph().layers[1]
    longer = dense.read_bytes(256, 2000, 1) - dense.read_bytes(256, 1000, 1)
    assert longer == 1000 * KV_BYTES


def test_a_step_writes_the_cache_of_each_of_its_tokens():
    attention = layer("a", operators=(ATTENTION,))
    assert attention.written_bytes(10, 1) == 10 * (KV_BYTES + 8 * 128 * 2)


def test_a_head_works_once_for_each_sequence_however_long_the_prompt():
    head = tiny_graph().layers[-1]
    logits = 2 * 1024 * 8192
    assert head.flop(100, 50, 1) - head.flop(99, 50, 1) == 4 * 1024  # the norm alone
    assert head.flop(100, 50, 2) - head.flop(100, 50, 1) == logits


@pytest.mark.parametrize(
    ("sequences", "distinct"), [(1, 2.0), (2, 3.5), (4, 8 * (1 - 81 / 256)), (64, 8.0)]
)
def test_a_step_reads_the_distinct_experts_that_a_batch_touches(sequences, distinct):
    each = 3 * 1024 * 512 * 2
    assert EXPERTS.demand().weights_read_bytes(sequences) == pytest.approx(
        distinct * each, rel=1e-6
    )


def test_an_embedding_reads_the_rows_that_its_tokens_name():
    assert EMBEDDING.demand().weights_read_bytes(1) == pytest.approx(2 * 1024, rel=1e-9)
    assert EMBEDDING.demand().held_weight_bytes == 2 * 8192 * 1024


def test_a_window_limits_attention():
    windowed = ATTENTION.replace(window_tokens=100).demand()
    assert windowed.flop(1, 5000, 1, True) == ATTENTION.demand().flop(1, 100, 1, True)
    assert windowed.kv_read_bytes(5000, 3) == windowed.held_kv_bytes(5000, 3) == 3 * 100 * KV_BYTES
    assert ATTENTION.demand().kv_read_bytes(5000, 3) == 3 * 5000 * KV_BYTES


@pytest.mark.parametrize(
    ("operator", "moved"),
    [
        # For one token: read, written, held while it runs, in values of 2 bytes.
        (MATMUL, (1024, 4096, 1024 + 4096)),
        (ATTENTION, (8 * 128, 8 * 128, 8 * (128 + 128))),
        (ATTENTION.replace(value_width=64), (8 * 128, 8 * 64, 8 * (128 + 64))),
        (EXPERTS, (2 * (1024 + 512), 2 * (1024 + 512), 2 * (2 * 1024 + 2 * 512))),
        (EMBEDDING, (0, 1024, 1024)),
        (NORM, (1024, 1024, 2 * 1024)),
    ],
    ids=lambda given_value: getattr(given_value, "name", None),
)
def test_an_operator_moves_its_inputs_and_outputs_for_each_token(operator, moved):
    demand = operator.demand()
    bytes_moved = (
        demand.read_bytes_per_token,
        demand.written_bytes_per_token,
        demand.activation_bytes_per_token,
    )
    assert bytes_moved == tuple(2 * values for values in moved)


@pytest.mark.parametrize(
    ("operator", "flop"),
    [
        (MATMUL, 2 * 1024 * 4096),
        (EXPERTS, 2 * 2 * 3 * 1024 * 512),
        (EMBEDDING, 0),
        (NORM, 4 * 1024),
    ],
    ids=lambda given_value: getattr(given_value, "name", None),
)
def test_an_operator_works_two_operations_for_each_weight_that_a_token_uses(operator, flop):
    assert operator.demand().flop_per_token == flop


def test_chips_that_share_out_a_sequence_send_queries_values_and_cache():
    uneven = ATTENTION.replace(value_width=64)
    assert uneven.demand().shuffled_bytes_per_token == 2 * (8 * (128 + 64) + 4 * 256)
    assert uneven.demand(4).shuffled_bytes_per_token == 2 * (8 * (128 + 64) + 4 * 256) / 4


def test_a_head_moves_its_inputs_and_logits_once_for_each_sequence():
    head = MATMUL.replace(rows="sequences", outputs=8192).demand()
    assert head.io_bytes_per_sequence == 2 * (1024 + 8192)
    assert (head.read_bytes_per_token, head.written_bytes_per_token, head.flop_per_token) == (
        0.0,
        0.0,
        0.0,
    )


def test_experts_that_are_split_move_a_share_and_launch_three_kernels():
    split = EXPERTS.demand(4, 4)
    assert split.read_bytes_per_token == split.written_bytes_per_token == 2 * 2 * (1024 + 512) / 4
    assert split.activation_bytes_per_token == 2 * 2 * (2 * 1024 + 2 * 512) / 4
    assert (split.kernels, MATMUL.demand().kernels) == (3.0, 1.0)


def test_an_activation_between_two_splits_works_on_its_shard():
    split = NORM.replace(split=True, weights=0, flop_per_value=3.0).demand(4)
    assert (split.flop_per_token, split.read_bytes_per_token) == (3 * 256, 2 * 256)


def test_decode_on_a_latent_cache_works_at_its_own_widths():
    latent = ATTENTION.replace(decode_key_width=576, decode_value_width=512).demand()
    assert latent.flop(1, 1000, 1, True) == 2 * 8 * (576 + 512) * 1000
    assert latent.flop(10, 1000, 1, False) == 10 * 2 * 8 * (128 + 128) * 1000


def test_arrays_of_steps_give_what_each_step_gives_alone():
    for part in tiny_moe().layers:
        sequences = np.array([1.0, 4.0, 64.0])
        read, flop = (
            part.read_bytes(sequences, 1000.0, sequences),
            part.flop(sequences, 1000.0, sequences),
        )
        assert list(read) == pytest.approx(
            [part.read_bytes(n, 1000.0, n) for n in (1.0, 4.0, 64.0)], rel=1e-12
        )
        assert list(flop) == pytest.approx(
            [part.flop(n, 1000.0, n) for n in (1.0, 4.0, 64.0)], rel=1e-12
        )


@pytest.mark.parametrize("ways", [2, 4, 8])
@pytest.mark.parametrize(
    "operator", [MATMUL, MATMUL.replace(split="inputs"), EXPERTS, EXPERTS.replace(experts_active=8)]
)
def test_a_tensor_split_divides_weights_and_arithmetic_evenly(operator, ways):
    whole = operator.demand()
    assert chips_total(operator, ways, "flop_per_token") == whole.flop_per_token
    assert (
        chips_total(operator, ways, "held_weight_bytes")
        == whole.held_weight_bytes
        == operator.weight_bytes
    )


@pytest.mark.parametrize("ways", [2, 4])
def test_a_tensor_split_divides_heads_and_their_cache_evenly(ways):
    assert (
        chips_total(ATTENTION, ways, "flop_per_token_context")
        == ATTENTION.demand().flop_per_token_context
    )
    assert chips_total(ATTENTION, ways, "kv_bytes_per_token") == KV_BYTES


def test_beyond_the_key_value_heads_each_chip_keeps_one_whole():
    assert ATTENTION.demand(8).kv_bytes_per_token == KV_BYTES / 4
    assert (
        ATTENTION.demand(8).flop_per_token_context == ATTENTION.demand().flop_per_token_context / 8
    )
    repeated = MATMUL.replace(most_ways=4)
    assert repeated.demand(8) == repeated.demand(4)


def test_a_row_split_sums_its_outputs_and_a_column_split_sends_nothing():
    row = MATMUL.replace(split="inputs")
    assert row.demand(4).reduced_bytes_per_token == 4096 * 2
    assert row.demand(1).reduced_bytes_per_token == 0.0
    assert MATMUL.demand(4).reduced_bytes_per_token == 0.0
    assert row.replace(summed=False).demand(4).reduced_bytes_per_token == 0.0


def test_what_is_not_split_is_whole_on_every_chip():
    router = MATMUL.replace(split="none")
    assert router.demand(8) == router.demand(1)
    assert NORM.demand(8) == NORM.demand(1)


def test_a_dense_layer_sums_twice_and_a_parallel_block_once():
    def summed(part):
        return sum(operator.demand(4).reduced_bytes_per_token for operator in part.operators)

    assert summed(tiny_graph().layers[1]) == 2 * 1024 * 2
    assert summed(tiny_graph(parallel_block=True).layers[1]) == 1024 * 2


def test_experts_beyond_the_tensor_group_are_fetched_by_exchange():
    inside, across = EXPERTS.demand(4, 4), EXPERTS.demand(2, 8)
    assert (inside.combined_bytes_per_token, inside.reduced_bytes_per_token) == (0.0, 1024 * 2)
    # A copy of a token is 1024 values, of which each of the two tensor ranks sends half.
    assert across.combined_bytes_per_token == 1024 * 2 / 2
    assert across.dispatched_bytes_per_token == 1024 * 2 / 2
    assert (across.reduced_bytes_per_token, across.gathered_bytes_per_token) == (0.0, 1024 * 2)


def test_experts_spread_over_more_chips_hold_fewer_and_serve_all_groups():
    spread = EXPERTS.demand(1, 8)
    assert spread.sparse_bytes == EXPERTS.weight_bytes / 8
    assert (
        spread.flop_per_token == EXPERTS.demand().flop_per_token
    )  # an eighth of the experts, eight groups' tokens
    assert spread.touched_fraction(1) == 1.0  # of one expert each, the busiest group reads all


def test_an_embedding_and_a_head_are_split_over_the_vocabulary():
    head = MATMUL.replace(rows="sequences", outputs=8192)
    assert chips_total(EMBEDDING, 4, "held_weight_bytes") == EMBEDDING.weight_bytes
    assert EMBEDDING.demand(4).reduced_bytes_per_token == 1024 * 2
    assert chips_total(head, 4, "flop_per_sequence") == head.demand().flop_per_sequence
    assert (
        head.demand().gathered_bytes_per_sequence,
        head.demand(4).gathered_bytes_per_sequence,
    ) == (0.0, 8192 * 2)


def test_a_recurrence_keeps_a_matrix_for_every_head_and_the_tokens_of_its_convolution():
    width = 16 * 64 + 2 * 2 * 32
    demand = RECURRENT.demand()
    assert demand.state_bytes_per_sequence == 16 * 32 * 64 * 4 + 3 * width * 2
    assert demand.flop_per_token == 5 * 16 * 32 * 64 + 2 * 4 * width
    assert demand.kv_bytes_per_token == demand.flop_per_token_context == 0
    assert RECURRENT.parameters == 4 * width


def test_a_decode_step_of_a_recurrence_costs_the_same_whatever_the_context():
    alone = layer("a", operators=(RECURRENT,))
    assert alone.flop(4, 10, 4) == alone.flop(4, 1_000_000, 4)
    assert alone.read_bytes(4, 10, 4) == alone.read_bytes(4, 1_000_000, 4)


def test_a_recurrence_splits_over_its_heads_and_repeats_keys_beyond_theirs():
    assert layer("a", operators=(RECURRENT,)).splits() == {"heads": 16, "kv_heads": 2}
    for ways in (1, 2):
        assert (
            chips_total(RECURRENT, ways, "state_bytes_per_sequence")
            == RECURRENT.demand().state_bytes_per_sequence
        )
    each = 4 * 32 * 64 * 4 + 3 * (4 * 64 + 2 * 32) * 2
    assert RECURRENT.demand(4).state_bytes_per_sequence == each


def test_without_a_convolution_a_recurrence_has_no_weights():
    plain = RECURRENT.replace(convolved_tokens=1)
    assert plain.parameters == plain.demand().weight_bytes == 0
    assert plain.demand().kernels == RECURRENT.demand().kernels - 1


def test_attention_to_both_sides_sees_twice_the_mean_of_a_causal_one():
    both = ATTENTION.replace(causal=False)
    assert both.demand().flop_per_token_context == 2 * ATTENTION.demand().flop_per_token_context


def test_attention_without_a_cache_reads_its_keys_and_values_from_this_step():
    fresh, cached = ATTENTION.replace(cached=False).demand(), ATTENTION.demand()
    assert fresh.kv_bytes_per_token == fresh.held_kv_bytes(1000, 1) == 0
    assert fresh.read_bytes_per_token - cached.read_bytes_per_token == 4 * 256 * 2


@pytest.mark.parametrize(
    ("dtype", "share"), [("bf16", 9 / 16), ("fp8", 5 / 8), ("int8", 5 / 8), ("fp32", 17 / 32)]
)
def test_a_matrix_with_two_zeros_in_four_stores_what_is_left_and_where_it_stood(dtype, share):
    dense = MATMUL.replace(weight_dtype=dtype)
    pruned = dense.replace(pattern="2:4", density=0.5)
    assert pruned.weight_bytes == pruned.demand().weight_bytes == share * dense.weight_bytes
    assert pruned.parameters == dense.parameters
    assert pruned.demand().flop_per_token == dense.demand().flop_per_token


@pytest.mark.parametrize(
    ("density", "stored"), [(0.1, 0.1 * 2 + 0.1), (0.5, 0.5 * 2 + 0.125), (0.99, 2.0)]
)
def test_zeros_anywhere_need_a_place_for_each_value_that_is_left_or_a_map(density, stored):
    experts = EXPERTS.replace(pattern="unstructured", density=density)
    assert experts.weight_bytes == pytest.approx(stored * EXPERTS.parameters, rel=1e-12)
    assert experts.demand().sparse_bytes == experts.weight_bytes


def test_a_convolution_multiplies_its_neighbours_and_reads_its_inputs_once():
    whole = MATMUL.replace(positions=9)
    assert whole.parameters == 9 * MATMUL.parameters
    assert whole.demand().flop_per_token == 9 * MATMUL.demand().flop_per_token
    assert whole.demand().read_bytes_per_token == MATMUL.demand().read_bytes_per_token


def test_attention_in_both_directions_sees_twice_as_much_and_keeps_nothing():
    attention = next(o for o in tiny_graph(1).layers[1].operators if isinstance(o, Attention))
    both = attention.replace(causal=False, cached=False).demand()
    assert both.flop_per_token_context == 2 * attention.demand().flop_per_token_context
    assert both.kv_bytes_per_token == 0
    assert both.read_bytes_per_token > attention.demand().read_bytes_per_token


def test_cross_attention_grows_with_the_tokens_alone():
    attention = next(o for o in tiny_graph(1).layers[1].operators if isinstance(o, Attention))
    crossed = attention.replace(fixed_tokens=77, cached=False, causal=False).demand()
    assert (
        crossed.flop(100.0, 50.0, 1.0, False)
        == crossed.flop(100.0, 5000.0, 1.0, False)
        == 100 * 77 * 4 * 1024
    )
    assert crossed.shuffled_bytes_per_token == 0


def test_linear_attention_reads_and_exchanges_its_own_keys_beside_a_state():
    # 8 heads of 64: queries, keys and values come in, and results change hands with them.
    linear = plain_attention(
        "a",
        8,
        64,
        kv_dtype="bf16",
        compute_dtype="bf16",
        causal=False,
        cached=False,
        fixed_tokens=64,
        linear=True,
    ).demand()
    assert linear.flop(100.0, 50.0, 1.0, False) == 100 * 64 * 4 * 8 * 64
    assert linear.read_bytes_per_token == 3 * 8 * 64 * 2
    assert linear.shuffled_bytes_per_token == 4 * 8 * 64 * 2


def deepseek_experts() -> Experts:
    """Those of a layer of DeepSeek-V3, in 8 bit: three matrices of 7,168 × 2,048 each."""
    return Experts(
        name="experts",
        experts=256,
        experts_active=8,
        inputs=7168,
        hidden=2048,
        matrices=3,
        weight_dtype="fp8",
        compute_dtype="fp8",
    )


EXPERT_BYTES = 3 * 7168 * 2048


@pytest.mark.parametrize(
    ("ranks", "held", "places"), [(64, 4, 256), (100, 3, 300), (144, 2, 288), (256, 1, 256)]
)
def test_a_rank_holds_as_many_experts_as_the_fullest(ranks, held, places):
    """144 ranks have 288 places, so that each holds two of the 256 experts, 32 of them twice."""
    demand = deepseek_experts().demand(1, ranks)
    assert demand.sparse_bytes == held * EXPERT_BYTES
    assert demand.sparse_parts == places


def test_tokens_go_to_all_places_alike():
    """One token on each of 144 ranks sends 1,152 copies to 288 places: one of them is missed by
    (1 - 8/288)^144 of the steps, 1.731 %, before the unevenness among ranks."""
    even = replace(deepseek_experts().demand(1, 144), sparse_spread=0.0)
    assert even.touched_fraction(1) == pytest.approx(1 - (1 - 8 / 288) ** 144)
    assert 1 - even.touched_fraction(1) == pytest.approx(0.01731, rel=1e-3)
    assert even.flop_per_token == pytest.approx(2 * 8 * EXPERT_BYTES)


def test_experts_inside_a_tensor_group_are_whole_before_they_are_split():
    """Six tensor ranks in three groups: 86 experts each, halved over two ranks."""
    demand = deepseek_experts().demand(6, 3)
    assert demand.sparse_bytes == pytest.approx(86 * EXPERT_BYTES / 2)


@pytest.mark.slow
@given(
    experts=st.integers(1, 300), active=st.integers(1, 8), share=st.floats(0, 1, exclude_min=True)
)
def test_places_are_filled_whole_and_never_more_than_one_beyond_an_even_share(
    experts, active, share
):
    ranks = max(1, math.ceil(share * experts))
    routed = deepseek_experts().replace(experts=experts, experts_active=min(active, experts))
    demand = routed.demand(1, ranks)
    held = demand.sparse_bytes / EXPERT_BYTES
    assert held == pytest.approx(round(held))
    assert experts / ranks <= held + 1e-9
    assert held < experts / ranks + 1
    if experts % ranks == 0:
        assert demand.sparse_bytes == routed.weight_bytes / ranks
        assert demand.sparse_parts == experts
    assert demand.weights_read_bytes(1) <= demand.sparse_bytes * (1 + 1e-12)


@pytest.mark.slow
@given(experts=st.integers(2, 300), ranks=st.integers(1, 299))
def test_more_ranks_never_hold_more(experts, ranks):
    routed = deepseek_experts().replace(experts=experts, experts_active=1)
    fewer, more = (routed.demand(1, one) for one in (min(ranks, experts - 1), experts))
    one_more = routed.demand(1, min(ranks + 1, experts))
    assert more.sparse_bytes <= one_more.sparse_bytes * (1 + 1e-12)
    assert one_more.sparse_bytes <= fewer.sparse_bytes * (1 + 1e-12)


def test_a_contraction_is_its_figures_on_every_chip():
    """16 channels from 3 in windows of 9, on 64 places, with its biases, in 32 bits."""
    made = Contraction(
        name="conv",
        flop_per_token=2 * 16 * 27 * 64,
        weights=16 * 27 + 16,
        stored_bytes=4 * (16 * 27 + 16),
        weight_dtype="fp32",
        compute_dtype="fp32",
        read_bytes_per_token=4 * 3 * 64,
        written_bytes_per_token=4 * 16 * 64,
    )
    assert made.parameters == 448
    for ways in (1, 4):
        demand = made.demand(ways)
        assert demand.flop(10, 0, 10, False) == 10 * 2 * 16 * 27 * 64
        assert demand.held_weight_bytes == made.weight_bytes == 1792
        assert demand.moved_bytes(10, 0, 10, 10) == 1792 + 10 * 4 * 19 * 64
        assert demand.reduced_bytes_per_token == 0


def test_pointwise_values_and_weights_are_as_wide_as_their_format():
    half = Pointwise(name="norm", width=100, weights=50)
    single = half.replace(weight_dtype="fp32")
    assert (half.weight_bytes, single.weight_bytes) == (100, 200)
    assert (half.demand().moved_bytes(1, 0, 1, 1), single.demand().moved_bytes(1, 0, 1, 1)) == (
        500,
        1000,
    )
    assert half.replace(weight_dtype="bf16") == half


# ── Sparse attention with an indexer, by DeepSeek-V3.2's numbers ─────────────────────────────────

SPARSE = Attention(
    name="sparse", heads=128, kv_heads=1, key_width=192, value_width=128, cached_width=576, decode_key_width=576,
    decode_value_width=512, kv_dtype="bf16", compute_dtype="bf16", chosen_tokens=2048,
)  # fmt: skip
INDEXER = Indexer(name="indexer", heads=64, key_width=128)


@pytest.mark.parametrize("context", [4096, 131_072, 1_000_000])
def test_sparse_attention_reads_what_is_chosen_and_keeps_everything(context):
    attention, indexer = SPARSE.demand(), INDEXER.demand()
    # Of the cache 2048 latent vectors of 576 values of 2 bytes; of the indexer's, all keys of 128
    # values in 8 bit with a scale of 4 bytes.
    assert attention.kv_read_bytes(context, 3) == 3 * 2048 * 1152
    assert attention.held_kv_bytes(context, 3) == 3 * context * 1152
    assert indexer.kv_read_bytes(context, 3) == indexer.held_kv_bytes(context, 3)
    assert indexer.held_kv_bytes(context, 3) == 3 * context * 132
    # 128 heads over 576 + 512 values; 64 heads over 128.
    assert attention.flop(3, context, 3, decode=True) == 3 * 2048 * 2 * 128 * 1088
    assert indexer.flop(3, context, 3, decode=True) == 3 * context * 2 * 64 * 128


def test_below_its_choice_sparse_attention_is_latent_attention():
    dense = SPARSE.replace(chosen_tokens=0)
    for context in (1, 1000, 2048):
        for decode in (True, False):
            assert SPARSE.demand().flop(1, context, 1, decode) == dense.demand().flop(
                1, context, 1, decode
            )


def test_tokens_of_a_prompt_see_all_keys_or_those_chosen_in_latent_form_whichever_is_less():
    demand, dense = SPARSE.demand(), SPARSE.replace(chosen_tokens=0).demand()
    # All of 4096 keys, 192 + 128 values each, are less than 2048 of 1088; beyond 6963 they are
    # more.
    assert demand.flop(10, 4096, 1, decode=False) == 10 * 4096 * 2 * 128 * 320
    assert demand.flop(10, 4096, 1, decode=False) == dense.flop(10, 4096, 1, decode=False)
    chosen = 10 * 2048 * 2 * 128 * 1088
    for context in (7000, 131_072):
        assert demand.flop(10, context, 1, decode=False) == pytest.approx(chosen, rel=1e-12)
    both = demand.flop(10.0, 131_072, 10.0, np.array([True, False]))
    assert both.tolist() == pytest.approx([chosen, chosen], rel=1e-12)
    # Keys of a head's own are the same in both steps.
    plain = plain_attention("plain", 8, 64, kv_dtype="bf16", compute_dtype="bf16", chosen_tokens=16)
    assert plain.demand().flop(10, 100, 1, decode=False) == 10 * 16 * 2 * 8 * 128


def test_an_indexer_is_quadratic_in_a_prompt_and_what_it_chooses_is_linear():
    def of_prompt(operator, tokens):
        return operator.demand().flop(tokens, tokens / 2, 1, decode=False)

    assert of_prompt(INDEXER, 200_000) == 4 * of_prompt(INDEXER, 100_000)
    assert of_prompt(SPARSE, 200_000) == pytest.approx(2 * of_prompt(SPARSE, 100_000), rel=1e-12)


def test_entries_of_a_compressed_cache_stand_for_several_tokens():
    # DeepSeek-V4: one head of 512 values, an entry for 4 tokens, 512 entries chosen.
    entries = plain_attention(
        "entries", 64, 512, kv_heads=1, kv_dtype="bf16", compute_dtype="bf16", cached_width=512,
        tokens_per_entry=4, chosen_tokens=512,
    ).demand()  # fmt: skip
    assert entries.held_kv_bytes(100_000, 1) == 25_000 * 1024
    assert entries.kv_read_bytes(100_000, 1) == 512 * 1024
    assert entries.flop(1, 100_000, 1, decode=True) == 512 * 2 * 64 * 1024
    assert entries.flop(1, 1000, 1, decode=True) == 250 * 2 * 64 * 1024


def test_a_borrowed_cache_is_read_and_neither_written_nor_held():
    own = ATTENTION.demand()
    borrowed = ATTENTION.replace(borrowed=True).demand()
    assert borrowed.kv_read_bytes(1000, 2) == own.kv_read_bytes(1000, 2) == 2 * 1000 * KV_BYTES
    assert borrowed.held_kv_bytes(1000, 2) == 0
    assert own.written_bytes(5, 2) - borrowed.written_bytes(5, 2) == 5 * KV_BYTES
    assert borrowed.flop(5, 1000, 5, decode=True) == own.flop(5, 1000, 5, decode=True)


def test_a_recurrence_does_the_same_whatever_the_context():
    demand = RECURRENT.demand()
    for context in (10, 1_000_000):
        assert demand.flop(4, context, 4, decode=True) == demand.flop(4, 0, 4, decode=True)
        assert demand.kv_read_bytes(context, 4) == demand.held_kv_bytes(0, 4)
