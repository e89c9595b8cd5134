"""Model graphs: what a layer asks for, what a split leaves to each chip, and which graphs are refused."""

import math
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.errors import InputError
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import Attention, Embedding, Experts, MatMul, Pointwise, Recurrent
from tests.instances import random_graph, tiny_graph, tiny_moe

MATMUL = MatMul(name="up", inputs=1024, outputs=4096, weight_dtype="bf16", compute_dtype="bf16", split="outputs")
ATTENTION = Attention(
    name="attention", heads=8, kv_heads=4, key_width=128, value_width=128, cached_width=256, decode_key_width=128,
    decode_value_width=128, kv_dtype="bf16", compute_dtype="bf16",
)  # fmt: skip
EXPERTS = Experts(
    name="experts", experts=8, experts_active=2, inputs=1024, hidden=512, matrices=3, weight_dtype="bf16",
    compute_dtype="bf16",
)  # fmt: skip
RECURRENT = Recurrent(name="recurrence", heads=16, key_heads=2, key_width=32, value_width=64, convolved_tokens=4)
EMBEDDING = Embedding(name="tokens", vocabulary=8192, width=1024, weight_dtype="bf16")
NORM = Pointwise(name="norm", width=1024, weights=1024)

ATTENTION_WEIGHTS = 1024 * 1024 + 1024 * 1024 + 1024 * 1024
"""Of a tiny layer: query, key and value of half the heads each, output."""
FEED_FORWARD_WEIGHTS = 3 * 1024 * 4096
KV_BYTES = 2 * 4 * 128 * 2
"""Of a tiny layer for one token: key and value, 4 heads of 128, 2 bytes."""


def layer(name, **changes):
    return Layer(**{"name": name, "kind": "plain", "operators": (MATMUL,), "activation_width": 1024, **changes})


def graph(names, edges, **changes):
    fields = {
        "name": "graph", "layers": tuple(layer(name) for name in names), "edges": edges, "weight_dtype": "bf16",
        "kv_dtype": "bf16", "activation_dtype": "bf16", "parameters_active": 1.0,
    }  # fmt: skip
    return ModelGraph(**{**fields, **changes})


def dense_then_routed(layers):
    return tiny_graph(layers, dense_first=1, experts=8, experts_active=2, expert_ffn=512)


def chips_total(operator, ways, coefficient, expert_parallel=1):
    return ways * getattr(operator.demand(ways, expert_parallel), coefficient)


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gated_feed_forward_has_three_matrices():
    gated, plain = tiny_graph().layers[1], tiny_graph(matrices=2).layers[1]
    assert gated.parameters == ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS + 2 * 1024
    assert gated.parameters - plain.parameters == 1024 * 4096


def test_a_model_has_the_parameters_of_its_layers_embedding_and_head():
    layers = 3 * (ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS + 2 * 1024)
    assert tiny_graph(3).parameters == layers + 8192 * 1024 + 8192 * 1024 + 1024
    assert tiny_graph(3).weight_bytes == 2 * tiny_graph(3).parameters


def test_a_tied_head_has_no_parameters_of_its_own_but_is_read():
    head = tiny_graph(tied_embedding=True).layers[-1].operators[-1]
    assert tiny_graph().parameters - tiny_graph(tied_embedding=True).parameters == 8192 * 1024
    assert head.parameters == head.weight_bytes == 0.0
    assert head.demand().weight_bytes == 2 * 8192 * 1024


def test_active_parameters_count_two_of_eight_experts():
    idle = 2 * 6 * 3 * 1024 * 1024
    assert tiny_moe(2).parameters - tiny_moe(2).parameters_active == idle
    assert tiny_graph().parameters_active == tiny_graph().parameters


def test_the_cache_of_a_token_is_the_sum_over_the_layers():
    assert tiny_graph(3).layers[1].kv_bytes_per_token == KV_BYTES
    assert tiny_graph(3).kv_bytes_per_token == 3 * KV_BYTES


def test_weight_bytes_are_counted_format_by_format():
    mixed = layer("mixed", operators=(MATMUL, MATMUL.replace(name="down", weight_dtype="fp8"), NORM, ATTENTION))
    assert mixed.weight_bytes_by_dtype() == {"bf16": 2 * 1024 * 4096 + 2 * 1024, "fp8": 1024 * 4096}
    assert mixed.weight_bytes == sum(mixed.weight_bytes_by_dtype().values())


def test_an_activation_crosses_in_16_bits_unless_all_is_in_32():
    assert layer("a").activation_bytes_per_token == 2048
    assert layer("a", activation_dtype="fp32").activation_bytes_per_token == 4096


# ── A step ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_decode_step_of_a_dense_layer_is_two_operations_per_weight_and_its_attention():
    dense = tiny_graph().layers[1]
    weights = ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS
    attention_each = 2 * 8 * (128 + 128)
    for sequences in (1, 16):
        expected = sequences * (2 * weights + attention_each * 1000)
        assert dense.flop(sequences, 1000, sequences) == pytest.approx(expected, rel=1e-3)


def test_a_decode_step_reads_weights_once_and_the_cache_once_per_sequence():
    dense = tiny_graph().layers[1]
    # Norms, query, key and value, attention, output, up, activation and down: widths of 1024, 4096 where they work inside.
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


@pytest.mark.parametrize(("sequences", "distinct"), [(1, 2.0), (2, 3.5), (4, 8 * (1 - 81 / 256)), (64, 8.0)])
def test_a_step_reads_the_distinct_experts_that_a_batch_touches(sequences, distinct):
    each = 3 * 1024 * 512 * 2
    assert EXPERTS.demand().weights_read_bytes(sequences) == pytest.approx(distinct * each, rel=1e-6)


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
    bytes_moved = (demand.read_bytes_per_token, demand.written_bytes_per_token, demand.activation_bytes_per_token)
    assert bytes_moved == tuple(2 * values for values in moved)


@pytest.mark.parametrize(
    ("operator", "flop"),
    [(MATMUL, 2 * 1024 * 4096), (EXPERTS, 2 * 2 * 3 * 1024 * 512), (EMBEDDING, 0), (NORM, 4 * 1024)],
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
    assert (head.read_bytes_per_token, head.written_bytes_per_token, head.flop_per_token) == (0.0, 0.0, 0.0)


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
        read, flop = part.read_bytes(sequences, 1000.0, sequences), part.flop(sequences, 1000.0, sequences)
        assert list(read) == pytest.approx([part.read_bytes(n, 1000.0, n) for n in (1.0, 4.0, 64.0)], rel=1e-12)
        assert list(flop) == pytest.approx([part.flop(n, 1000.0, n) for n in (1.0, 4.0, 64.0)], rel=1e-12)


# ── Splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ways", [2, 4, 8])
@pytest.mark.parametrize(
    "operator", [MATMUL, MATMUL.replace(split="inputs"), EXPERTS, EXPERTS.replace(experts_active=8)]
)
def test_a_tensor_split_divides_weights_and_arithmetic_evenly(operator, ways):
    whole = operator.demand()
    assert chips_total(operator, ways, "flop_per_token") == whole.flop_per_token
    assert chips_total(operator, ways, "held_weight_bytes") == whole.held_weight_bytes == operator.weight_bytes


@pytest.mark.parametrize("ways", [2, 4])
def test_a_tensor_split_divides_heads_and_their_cache_evenly(ways):
    assert chips_total(ATTENTION, ways, "flop_per_token_context") == ATTENTION.demand().flop_per_token_context
    assert chips_total(ATTENTION, ways, "kv_bytes_per_token") == KV_BYTES


def test_beyond_the_key_value_heads_each_chip_keeps_one_whole():
    assert ATTENTION.demand(8).kv_bytes_per_token == KV_BYTES / 4
    assert ATTENTION.demand(8).flop_per_token_context == ATTENTION.demand().flop_per_token_context / 8
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
    assert (inside.exchanged_bytes_per_token, inside.reduced_bytes_per_token) == (0.0, 1024 * 2)
    assert across.exchanged_bytes_per_token == 2 * 1024 * 2 / 2
    assert (across.reduced_bytes_per_token, across.gathered_bytes_per_token) == (0.0, 1024 * 2)


def test_experts_spread_over_more_chips_hold_fewer_and_serve_all_groups():
    spread = EXPERTS.demand(1, 8)
    assert spread.sparse_bytes == EXPERTS.weight_bytes / 8
    assert spread.flop_per_token == EXPERTS.demand().flop_per_token  # an eighth of the experts, eight groups' tokens
    assert spread.touched_fraction(1) == 1.0  # of one expert each, the busiest group reads all


def test_an_embedding_and_a_head_are_split_over_the_vocabulary():
    head = MATMUL.replace(rows="sequences", outputs=8192)
    assert chips_total(EMBEDDING, 4, "held_weight_bytes") == EMBEDDING.weight_bytes
    assert EMBEDDING.demand(4).reduced_bytes_per_token == 1024 * 2
    assert chips_total(head, 4, "flop_per_sequence") == head.demand().flop_per_sequence
    assert (head.demand().gathered_bytes_per_sequence, head.demand(4).gathered_bytes_per_sequence) == (0.0, 8192 * 2)


def test_a_layer_knows_how_many_ways_it_can_be_shared_out():
    assert tiny_moe().layers[1].splits() == {"heads": 8, "kv_heads": 4, "experts": 8}
    assert tiny_moe().layers[0].splits() == {}
    assert dense_then_routed(2).splits() == {"heads": (8,), "kv_heads": (4,), "experts": (8,)}


# ── Kinds, and the picture ───────────────────────────────────────────────────────────────────────────────────────────


def test_equal_layers_are_one_kind():
    kinds = tiny_graph(5).kinds
    assert [kind[0].kind for kind in kinds] == ["embedding", "decoder", "head"]
    assert tiny_graph(5).kind_counts == (1, 5, 1)
    assert list(tiny_graph(5).kind_of_layer) == [0, 1, 1, 1, 1, 1, 2]


def test_layers_of_different_windows_or_feed_forwards_are_different_kinds():
    assert list(tiny_graph(4, window_tokens=64, full_every=2).kind_of_layer) == [0, 1, 2, 1, 2, 3]
    assert list(dense_then_routed(3).kind_of_layer) == [0, 1, 2, 2, 3]


def test_layers_that_were_read_apart_are_still_one_kind():
    read = ModelGraph.from_json(tiny_graph(3).to_json())
    assert read.kind_counts == (1, 3, 1)
    assert not read.kind_of_layer.flags.writeable


def test_the_picture_has_the_layers_and_what_they_hand_on():
    drawn = tiny_graph(2).to_networkx()
    assert list(drawn.nodes) == ["embedding", "decoder.0", "decoder.1", "head"]
    assert list(drawn.edges) == [("embedding", "decoder.0"), ("decoder.0", "decoder.1"), ("decoder.1", "head")]
    assert drawn.edges["decoder.0", "decoder.1"] == {"activation_bytes_per_token": 2048}
    assert drawn.nodes["decoder.1"] == {
        "kind": "decoder",
        "parameters": ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS + 2048,
        "weight_bytes": 2 * (ATTENTION_WEIGHTS + FEED_FORWARD_WEIGHTS + 2048),
        "kv_bytes_per_token": KV_BYTES,
    }


def test_a_decoder_is_a_chain_and_a_diamond_is_not():
    diamond = graph("abcd", (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")))
    assert tiny_graph().is_chain
    assert not diamond.is_chain
    assert nx.is_directed_acyclic_graph(diamond.to_networkx())
    assert nx.dag_longest_path_length(diamond.to_networkx(), weight=None) == 2


def test_edges_of_a_chain_join_each_layer_to_the_next():
    assert chain_edges((layer("a"), layer("b"), layer("c"))) == (("a", "b"), ("b", "c"))
    assert chain_edges((layer("a"),)) == ()


# ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "edges", "sentence"),
    [
        ("aba", (), "ModelGraph.layers: two layers are called 'a'; names must be unique"),
        ("ab", (("a", "z"),), "ModelGraph.edges: there is no layer called 'z'"),
        ("ab", (("z", "a"),), "ModelGraph.edges: there is no layer called 'z'"),
        ("ab", (("b", "a"),), "ModelGraph.layers: 'a' stands before 'b', which feeds it"),
        ("a", (("a", "a"),), "ModelGraph.edges: the layers form a cycle (a then a); a model graph must be acyclic"),
    ],
)
def test_a_graph_that_is_none_is_refused_in_a_sentence(names, edges, sentence):
    with pytest.raises(InputError) as refusal:
        graph(names, edges)
    assert str(refusal.value) == sentence


def test_a_cycle_is_named_by_the_layers_in_it():
    with pytest.raises(InputError, match=r"^ModelGraph\.edges: the layers form a cycle \([^\n]+\); [^\n]+$") as refusal:
        graph("abcd", (("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")))
    named = str(refusal.value).partition("(")[2].partition(")")[0]
    assert set(named.replace(",", "").split()) - {"then"} == {"b", "c"}


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: MATMUL.replace(inputs=0), "MatMul.inputs"),
        (lambda: MATMUL.replace(outputs=1.5), "MatMul.outputs"),
        (lambda: MATMUL.replace(weight_dtype="fp7"), "MatMul.weight_dtype"),
        (lambda: MATMUL.replace(split="rows"), "MatMul.split"),
        (lambda: MATMUL.replace(bias=True), "MatMul.bias"),
        (lambda: ATTENTION.replace(heads=0), "Attention.heads"),
        (lambda: ATTENTION.replace(window_tokens=-1), "Attention.window_tokens"),
        (lambda: EXPERTS.replace(matrices=4), "Experts.matrices"),
        (lambda: EXPERTS.replace(experts=0), "Experts.experts"),
        (lambda: EMBEDDING.replace(vocabulary=0), "Embedding.vocabulary"),
        (lambda: NORM.replace(flop_per_value=math.nan), "Pointwise.flop_per_value"),
        (lambda: NORM.replace(flop_per_value=math.inf), "Pointwise.flop_per_value"),
        (lambda: NORM.replace(weights=-1), "Pointwise.weights"),
        (lambda: layer("a", operators=({"kind": "convolution"},)), "Layer.operators[0]"),
        (lambda: layer("a", activation_width=0), "Layer.activation_width"),
        (lambda: graph("", ()), "ModelGraph.layers"),
        (lambda: graph("a", (("a",),)), "ModelGraph.edges[0]"),
        (lambda: graph("a", (), parameters_active=math.nan), "ModelGraph.parameters_active"),
        (lambda: graph("a", (), kv_dtype="none"), "ModelGraph.kv_dtype"),
        (lambda: graph("a", (), context=8), "ModelGraph.context"),
    ],
)
def test_a_bad_figure_is_refused_by_name(build, field):
    with pytest.raises(InputError) as refusal:
        build()
    assert str(refusal.value).startswith(field)
    assert "\n" not in str(refusal.value)


def test_a_graph_stays_as_it_is():
    with pytest.raises(ValidationError, match="frozen"):
        tiny_graph().name = "other"


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_json_gives_back_an_equal_graph(seed):
    made = random_graph(random.Random(seed))
    made.kinds  # noqa: B018 - what was worked out once must not count
    assert ModelGraph.from_json(made.to_json()) == made


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4]))
def test_a_split_never_leaves_a_chip_with_more_than_the_whole(seed, ways):
    for part in random_graph(random.Random(seed)).layers:
        for operator in part.operators:
            whole, each = operator.demand(), operator.demand(min(ways, part.splits().get("heads", ways)))
            assert each.flop(64, 500.0, 2, False) <= whole.flop(64, 500.0, 2, False)
            assert each.read_bytes(64, 500.0, 2) <= whole.read_bytes(64, 500.0, 2)
            assert each.held_weight_bytes <= whole.held_weight_bytes


# ── Recurrences, encoders, zeros ─────────────────────────────────────────────────────────────────────────────────────


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
        assert chips_total(RECURRENT, ways, "state_bytes_per_sequence") == RECURRENT.demand().state_bytes_per_sequence
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


@pytest.mark.parametrize(("dtype", "share"), [("bf16", 9 / 16), ("fp8", 5 / 8), ("int8", 5 / 8), ("fp32", 17 / 32)])
def test_a_matrix_with_two_zeros_in_four_stores_what_is_left_and_where_it_stood(dtype, share):
    dense = MATMUL.replace(weight_dtype=dtype)
    pruned = dense.replace(pattern="2:4", density=0.5)
    assert pruned.weight_bytes == pruned.demand().weight_bytes == share * dense.weight_bytes
    assert pruned.parameters == dense.parameters
    assert pruned.demand().flop_per_token == dense.demand().flop_per_token


@pytest.mark.parametrize(("density", "stored"), [(0.1, 0.1 * 2 + 0.1), (0.5, 0.5 * 2 + 0.125), (0.99, 2.0)])
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
    assert crossed.flop(100.0, 50.0, 1.0, False) == crossed.flop(100.0, 5000.0, 1.0, False) == 100 * 77 * 4 * 1024
    assert crossed.shuffled_bytes_per_token == 0


def test_layers_that_run_once_are_a_kind_of_their_own_and_cannot_bind_the_split():
    base = tiny_graph(2)
    once = base.layers[1].model_copy(update={"runs_per_sample": 1})
    graph = base.replace(layers=(base.layers[0], once, *base.layers[2:]))
    assert len(graph.kinds) == len(base.kinds) + 1
    assert once.splits() == {}


def test_a_diffusion_graph_needs_tokens():
    with pytest.raises(InputError, match="tokens_per_sample"):
        tiny_graph(1).replace(steps=10)


def test_a_cut_keeps_the_ends_and_the_last_layers():
    graph = tiny_graph(4, dense_first=1, ffn=2048, experts=8, experts_active=2, expert_ffn=512)
    head = graph.cut(1)
    assert [layer.name for layer in head.layers] == ["embedding", "decoder.3", "head"]
    assert (head.is_chain, head.name) == (True, "1 layer of tiny")
    assert graph.cut(4).layers == graph.layers
    assert graph.cut(4).parameters_active == pytest.approx(graph.parameters_active, rel=1e-6)
    assert graph.cut(2).parameters == graph.parameters - sum(layer.parameters for layer in graph.layers[1:3])
    for bad in (0, 5):
        with pytest.raises(InputError, match="layers must lie between 1 and the 4 of tiny"):
            graph.cut(bad)
