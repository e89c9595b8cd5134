"""Decoders: parameters counted by hand and against what was published, and which layer is of
which kind."""

import csv
from pathlib import Path

import pytest

import planner as pl
from planner.catalogue import diffusion_table
from planner.models.decoder import DecoderShape, Formats, decoder_graph
from planner.models.operators import Attention, MatMul, Recurrent
from tests.instances import tiny_graph, tiny_moe

with (Path(__file__).parent.parent / "data" / "parameters.csv").open() as table:
    PUBLISHED = {row["model"]: row for row in csv.DictReader(table)}

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCABULARY = 1024, 8, 4, 128, 4096, 8192
"""Of `tiny_graph`."""
ATTENTION = 2 * HIDDEN * HEADS * HEAD_DIM + 2 * HIDDEN * KV_HEADS * HEAD_DIM
"""Query and output, key and value."""


def layer_parameters(graph, number=0):
    return next(layer for layer in graph.layers if layer.name == f"decoder.{number}").parameters


def windows(graph):
    return [
        o.window_tokens
        for layer in graph.layers
        for o in layer.operators
        if isinstance(o, Attention)
    ]


def mixers(graph):
    """A letter for each layer, as in the pattern of a hybrid."""
    letters = {Attention: "*", Recurrent: "M"}
    return "".join(
        next((letters[type(o)] for o in layer.operators if type(o) in letters), "-")
        for layer in graph.layers[1:-1]
    )


def has_experts(graph):
    return ["experts" in layer.splits() for layer in graph.layers if layer.kind == "decoder"]


# ── Golden ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_model_of_the_catalogue_has_a_published_count():
    assert set(PUBLISHED) == set(pl.model_names()) - set(diffusion_table())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name):
    row = PUBLISHED[name]
    assert pl.load_model(name).parameters == pytest.approx(
        1e9 * float(row["parameters_billion"]), rel=float(row["tolerance"])
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_active_parameters_are_as_published(name):
    row = PUBLISHED[name]
    assert pl.load_model(name).parameters_active == pytest.approx(
        1e9 * float(row["active_billion"]), rel=float(row["tolerance"])
    )


@pytest.mark.parametrize(
    "name", [name for name, row in PUBLISHED.items() if row["kv_bytes_per_token"]]
)
def test_the_cache_of_a_token_in_16_bit_is_as_published(name):
    graph = pl.load_model(name, kv_dtype="bf16")
    assert graph.kv_bytes_per_token == float(PUBLISHED[name]["kv_bytes_per_token"])


def test_the_smallest_model_has_the_count_of_its_shapes():
    norms = 2 * 1024 + 2 * 128
    layer = 2 * 1024 * 16 * 128 + 2 * 1024 * 8 * 128 + 3 * 1024 * 3072 + norms
    assert pl.load_model("qwen3-0.6b").parameters == 151936 * 1024 + 28 * layer + 1024


# ── Counted by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gated_feed_forward_layer_has_three_matrices():
    assert layer_parameters(tiny_graph()) == ATTENTION + 3 * HIDDEN * FFN + 2 * HIDDEN


def test_an_ungated_feed_forward_layer_has_two_matrices():
    assert layer_parameters(tiny_graph(matrices=2)) == ATTENTION + 2 * HIDDEN * FFN + 2 * HIDDEN


def test_a_parallel_block_has_one_norm_and_sums_once():
    layer = tiny_graph(parallel_block=True).layers[1]
    assert layer.parameters == ATTENTION + 3 * HIDDEN * FFN + HIDDEN
    sums = [
        o for o in layer.operators if isinstance(o, MatMul) and o.split == "inputs" and o.summed
    ]
    assert [o.name for o in sums] == ["feed-forward down"]


def test_embedding_and_head_stand_around_the_layers():
    graph = tiny_graph(layers=3)
    assert [layer.kind for layer in graph.layers] == [
        "embedding",
        "decoder",
        "decoder",
        "decoder",
        "head",
    ]
    assert graph.is_chain
    assert graph.layers[0].parameters == VOCABULARY * HIDDEN
    assert graph.layers[-1].parameters == VOCABULARY * HIDDEN + HIDDEN


def test_a_tied_head_reads_the_embedding_and_counts_no_weights_of_its_own():
    tied, untied = tiny_graph(tied_embedding=True), tiny_graph()
    assert untied.parameters - tied.parameters == VOCABULARY * HIDDEN
    assert tied.layers[-1].operators[-1].tied_to == "embedding"


def test_learned_positions_count():
    assert tiny_graph(positions=512).parameters - tiny_graph().parameters == 512 * HIDDEN


def test_experts_count_all_and_are_active_in_part():
    graph, expert = tiny_moe(layers=2), 3 * HIDDEN * 1024
    assert layer_parameters(graph) == ATTENTION + 2 * HIDDEN + HIDDEN * 8 + 8 * expert
    assert graph.parameters - graph.parameters_active == 2 * (8 - 2) * expert


def test_shared_experts_are_always_active():
    plain, shared = tiny_moe(layers=1), tiny_moe(layers=1, shared_ffn=512)
    assert shared.parameters - plain.parameters == 3 * HIDDEN * 512
    assert shared.parameters_active - plain.parameters_active == 3 * HIDDEN * 512


def test_a_dense_decoder_is_active_throughout():
    graph = tiny_graph()
    assert graph.parameters_active == graph.parameters


def test_latent_attention_caches_one_vector_for_all_heads():
    graph = tiny_graph(
        layers=1, kv_latent=256, q_latent=384, rope_dim=64, nope_dim=128, value_dim=128
    )
    up, down = HEADS * (128 + 64), 256 + 64
    attention = (
        HIDDEN * 384 + 384 * up + HIDDEN * down + 256 * HEADS * (128 + 128) + HEADS * 128 * HIDDEN
    )
    assert layer_parameters(graph) == attention + 3 * HIDDEN * FFN + 2 * HIDDEN + 384 + 256
    assert graph.kv_bytes_per_token == 2 * down


def test_the_cache_holds_key_and_value_of_every_head():
    assert tiny_graph(layers=3).kv_bytes_per_token == 3 * 2 * KV_HEADS * HEAD_DIM * 2


def test_an_8_bit_cache_is_half_as_large():
    def cache(kv_dtype):
        return pl.load_model("llama-3.1-8b", kv_dtype=kv_dtype).kv_bytes_per_token

    assert cache("fp8") == cache("bf16") / 2


# ── Which layer is what ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_layers_can_be_dense():
    graph = tiny_graph(layers=4, experts=4, experts_active=1, expert_ffn=512, dense_first=3)
    assert has_experts(graph) == [False, False, False, True]


def test_of_every_so_many_layers_the_last_has_experts():
    graph = tiny_graph(layers=6, experts=4, experts_active=1, expert_ffn=512, expert_every=3)
    assert has_experts(graph) == [False, False, True, False, False, True]


def test_without_a_window_every_layer_sees_everything():
    assert windows(tiny_graph(layers=2)) == [0, 0]


def test_a_window_alone_holds_in_every_layer():
    assert windows(tiny_graph(layers=2, window_tokens=64)) == [64, 64]


@pytest.mark.parametrize(
    ("full_first", "expected"), [(False, [64, 64, 0, 64]), (True, [0, 64, 64, 0])]
)
def test_of_every_so_many_layers_one_sees_everything(full_first, expected):
    assert (
        windows(tiny_graph(layers=4, window_tokens=64, full_every=3, full_first=full_first))
        == expected
    )


def test_equal_layers_are_of_one_kind():
    assert tiny_graph(layers=50).kind_counts == (1, 50, 1)


# ── Hybrids ──────────────────────────────────────────────────────────────────────────────────────────────────────────

MAMBA = {
    "recurrence": "mamba-2", "state_heads": 16, "state_key_heads": 2, "state_key": 32, "state_value": 64,
}  # fmt: skip
INNER, KEYS = 16 * 64, 2 * 32
CONVOLUTION = 4 * (INNER + 2 * KEYS)


def test_a_pattern_makes_mixing_and_feed_forward_layers_of_their_own():
    graph = tiny_graph(layers=4, pattern="M-*-", **MAMBA)
    mixing = HIDDEN * (2 * INNER + 2 * KEYS + 16) + CONVOLUTION + INNER + INNER * HIDDEN
    expected = [
        mixing + HIDDEN,
        3 * HIDDEN * FFN + HIDDEN,
        ATTENTION + HIDDEN,
        3 * HIDDEN * FFN + HIDDEN,
    ]
    assert [layer_parameters(graph, number) for number in range(4)] == expected
    assert graph.kind_counts == (1, 1, 2, 1, 1)


def test_a_pattern_can_place_experts():
    graph = tiny_moe(layers=3, pattern="ME*", **MAMBA)
    assert has_experts(graph) == [False, True, False]
    assert mixers(graph) == "M-*"


def test_of_every_so_many_layers_one_has_attention_and_the_others_a_recurrence():
    graph = tiny_graph(layers=8, attention_every=4, **{**MAMBA, "recurrence": "gated-delta"})
    assert mixers(graph) == "MMM*MMM*"
    mixing = HIDDEN * (2 * INNER + 2 * KEYS + 2 * 16) + CONVOLUTION + 64 + INNER * HIDDEN
    assert layer_parameters(graph) == mixing + 3 * HIDDEN * FFN + 2 * HIDDEN


def test_a_recurrence_has_a_state_and_no_cache():
    graph = tiny_graph(layers=2, pattern="M*", **MAMBA)
    assert graph.kv_bytes_per_token == 2 * KV_HEADS * HEAD_DIM * 2
    assert graph.state_bytes_per_sequence == 16 * 32 * 64 * 4 + 3 * (INNER + 2 * KEYS) * 2


def test_gated_attention_doubles_the_queries():
    gated, plain = tiny_graph(layers=1, gated_attention=True), tiny_graph(layers=1)
    assert gated.parameters - plain.parameters == HIDDEN * HEADS * HEAD_DIM


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nemotron-nano-9b-v2", "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-"),
        ("nemotron-nano-12b-v2", 6 * "M-M-M-M*-" + "M-M-M-M-"),
        ("qwen3.5-397b-a17b", 15 * "MMM*"),
        ("gemma-3-12b", 48 * "*"),
    ],
)
def test_the_layers_of_a_hybrid_are_as_published(name, pattern):
    assert mixers(pl.load_model(name)) == pattern


@pytest.mark.parametrize(
    ("name", "layers", "full"), [("gemma-3-12b", 48, 8), ("gemma-3-27b", 62, 10)]
)
def test_every_sixth_layer_of_gemma_sees_everything(name, layers, full):
    seen = windows(pl.load_model(name))
    assert (len(seen), seen.count(0), seen.count(1024)) == (layers, full, layers - full)
    assert seen[:6] == [1024] * 5 + [0]


# ── Formats ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("weights", "activations", "multiplied"),
    [("bf16", None, "bf16"), ("fp8", None, "fp8"), ("int4", None, "bf16"), ("mxfp4", None, "bf16"), ("fp8", "bf16", "bf16")],
)  # fmt: skip
def test_matmuls_multiply_in_what_recipes_with_such_weights_do(weights, activations, multiplied):
    assert Formats(weight_dtype=weights, activation_dtype=activations).compute_dtype == multiplied


def test_half_the_bits_are_half_the_bytes_but_for_norms():
    norms = 3 * HIDDEN * 2
    wide, narrow = (
        tiny_graph(layers=1),
        decoder_graph(shape(layers=1), "tiny", Formats(weight_dtype="fp8")),
    )
    assert narrow.weight_bytes - norms == (wide.weight_bytes - norms) / 2


def test_what_is_not_quantised_stays_at_16_bit():
    graph = pl.load_model("gpt-oss-20b")
    assert graph.weight_dtype == "mxfp4"
    experts = 24 * 32 * 3 * 2880 * 2880
    by_dtype = {
        dtype: sum(layer.weight_bytes_by_dtype().get(dtype, 0.0) for layer in graph.layers)
        for dtype in ("mxfp4", "bf16")
    }
    assert by_dtype == {"mxfp4": experts * 4.25 / 8, "bf16": 2 * (graph.parameters - experts)}


def test_a_router_stays_at_16_bit_whatever_the_weights_are():
    graph = decoder_graph(
        shape(ffn=0, experts=8, experts_active=2, expert_ffn=64),
        "tiny",
        Formats(weight_dtype="int4"),
    )
    router = next(operator for operator in graph.layers[1].operators if operator.name == "router")
    assert (router.weight_dtype, router.compute_dtype) == ("bf16", "bf16")


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def shape(**changes):
    numbers = {
        "layers": 2, "hidden": HIDDEN, "heads": HEADS, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "ffn": FFN,
        "vocabulary": VOCABULARY,
    }  # fmt: skip
    return DecoderShape(**{**numbers, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kv_heads": 3}, "DecoderShape.kv_heads: 3 does not divide the 8 heads"),
        ({"experts": 8, "expert_ffn": 64}, "experts_active between 1 and 8, not 0"),
        (
            {"experts": 8, "expert_ffn": 64, "experts_active": 9},
            "experts_active between 1 and 8, not 9",
        ),
        ({"experts": 8, "experts_active": 2}, "experts need expert_ffn"),
        ({"ffn": 0}, "DecoderShape.ffn: a decoder without experts needs"),
        ({"kv_latent": 512}, "latent attention needs rope_dim, nope_dim and value_dim"),
        ({"pattern": "MX"}, "DecoderShape.pattern: 'X' is not a kind of layer"),
        ({"pattern": "*"}, "DecoderShape.pattern: it names 1 layers, but the model has 2"),
        ({"pattern": "*E"}, "DecoderShape.pattern: its layers E need experts"),
        ({"pattern": "M*"}, "DecoderShape.recurrence: layers without attention need"),
        ({"attention_every": 2}, "DecoderShape.recurrence: layers without attention need"),
        (
            {"state_heads": 4, "state_key_heads": 3},
            "DecoderShape.state_key_heads: 3 does not divide the 4 heads",
        ),
        ({"layers": 0}, "DecoderShape.layers must be at least 1, not 0"),
        ({"layers": 10_001}, "DecoderShape.layers must be at most 10,000"),
        ({"hidden": -1}, "DecoderShape.hidden must be at least 1, not -1"),
        ({"matrices": 4}, "DecoderShape.matrices must be at most 3, not 4"),
        ({"width": 5}, "DecoderShape.width is not a field of it"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(pl.InputError) as refusal:
        shape(**changes)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("changes", [{"dense_first": 1}, {"expert_every": 2}])
def test_dense_layers_among_experts_need_their_width(changes):
    with pytest.raises(pl.InputError, match="ffn"):
        tiny_moe(layers=2, **changes)
