"""Model graphs: what a layer asks for, what a split leaves to each chip, and which graphs are
refused."""

import math
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import planner as pl
from planner.errors import InputError
from planner.models.graph import ModelGraph, chain_edges
from planner.models.operators import Pointwise
from tests.instances import random_graph, tiny_graph, tiny_moe
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
    layer,
)
from tests.unlike import sharing_graph


def graph(names, edges, **changes):
    fields = {
        "name": "graph", "layers": tuple(layer(name) for name in names), "edges": edges, "weight_dtype": "bf16",
        "kv_dtype": "bf16", "activation_dtype": "bf16", "parameters_active": 1.0,
    }  # fmt: skip
    return ModelGraph(**{**fields, **changes})


def dense_then_routed(layers):
    return tiny_graph(layers, dense_first=1, experts=8, experts_active=2, expert_ffn=512)


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
    mixed = layer(
        "mixed",
        operators=(MATMUL, MATMUL.replace(name="down", weight_dtype="fp8"), NORM, ATTENTION),
    )
    assert mixed.weight_bytes_by_dtype() == {"bf16": 2 * 1024 * 4096 + 2 * 1024, "fp8": 1024 * 4096}
    assert mixed.weight_bytes == sum(mixed.weight_bytes_by_dtype().values())


def test_an_activation_crosses_in_16_bits_unless_all_is_in_32():
    assert layer("a").activation_bytes_per_token == 2048
    assert layer("a", activation_dtype="fp32").activation_bytes_per_token == 4096


# ── A step ───────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── Splits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    assert list(drawn.edges) == [
        ("embedding", "decoder.0"),
        ("decoder.0", "decoder.1"),
        ("decoder.1", "head"),
    ]
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
        (
            "a",
            (("a", "a"),),
            "ModelGraph.edges: the layers form a cycle (a then a); a model graph must be acyclic",
        ),
    ],
)
def test_a_graph_that_is_none_is_refused_in_a_sentence(names, edges, sentence):
    with pytest.raises(InputError) as refusal:
        graph(names, edges)
    assert str(refusal.value) == sentence


def test_a_cycle_is_named_by_the_layers_in_it():
    with pytest.raises(
        InputError, match=r"^ModelGraph\.edges: the layers form a cycle \([^\n]+\); [^\n]+$"
    ) as refusal:
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


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_json_gives_back_an_equal_graph(seed):
    made = random_graph(random.Random(seed))
    made.kinds  # noqa: B018 - what was worked out once must not count
    assert ModelGraph.from_json(made.to_json()) == made


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4]))
def test_a_split_never_leaves_a_chip_with_more_than_the_whole(seed, ways):
    for part in random_graph(random.Random(seed)).layers:
        for operator in part.operators:
            whole, each = (
                operator.demand(),
                operator.demand(min(ways, part.splits().get("heads", ways))),
            )
            assert each.flop(64, 500.0, 2, False) <= whole.flop(64, 500.0, 2, False)
            assert each.read_bytes(64, 500.0, 2) <= whole.read_bytes(64, 500.0, 2)
            assert each.held_weight_bytes <= whole.held_weight_bytes


# ── Recurrences, encoders, zeros ─────────────────────────────────────────────────────────────────────────────────────


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
    assert graph.cut(2).parameters == graph.parameters - sum(
        layer.parameters for layer in graph.layers[1:3]
    )
    for bad in (0, 5):
        with pytest.raises(InputError, match="layers must lie between 1 and the 4 of tiny"):
            graph.cut(bad)


def test_operators_stand_kind_by_kind_and_know_their_kind():
    graph = tiny_moe()
    kinds = [len(kind[0].operators) for kind in graph.kinds]
    assert graph.operators == tuple(
        operator for kind in graph.kinds for operator in kind[0].operators
    )
    assert np.bincount(graph.kind_of_operator).tolist() == kinds
    assert [graph.operators[first] for first in graph.first_operators] == [
        kind[0].operators[0] for kind in graph.kinds
    ]


def test_what_operators_ask_is_made_once_for_each_way_of_splitting():
    graph = tiny_moe()
    halves = graph.demand(2, 1)
    assert graph.demand(2, 1) is halves
    assert graph.demand() is not halves
    for row, operator in enumerate(graph.operators):
        assert halves.weight_bytes[row, 0] == operator.demand(2, 1).weight_bytes
    fused = graph.demand(2, 1, unfused_share=0.5)
    pointwise = [isinstance(operator, Pointwise) for operator in graph.operators]
    assert any(pointwise)
    lost = halves.read_bytes_per_token - fused.read_bytes_per_token
    assert (lost[:, 0] > 0).tolist() == pointwise


def test_sorts_of_operators_differ_in_what_they_do_and_in_their_formats():
    graph = tiny_graph()
    first, numbers = graph.sorts
    assert len(first) < len(graph.operators)
    for operator, number in zip(graph.operators, numbers, strict=True):
        assert list(first.values())[number].kind == operator.kind
    matmul = next(one for one in graph.layers[1].operators if one.kind == "matmul")
    narrow = matmul.replace(weight_dtype="fp8")
    layer = graph.layers[1].replace(operators=(narrow, *graph.layers[1].operators))
    mixed = graph.replace(layers=(graph.layers[0], layer, *graph.layers[2:]))
    assert len(mixed.sorts[0]) == len(first) + 1


# ── Unlike layers ────────────────────────────────────────────────────────────────────────────────


def test_a_layer_with_several_mixers_is_split_as_all_of_them_are():
    both = layer("both", operators=(ATTENTION, RECURRENT.replace(heads=12, key_heads=3)))
    graph = tiny_graph(1).replace(layers=(both,), edges=())
    assert both.splits() == {"heads": 4, "kv_heads": 1}
    assert graph.splits() == {"heads": (8, 12), "kv_heads": (3, 4)}


def test_a_cache_is_lent_by_the_last_layer_before_that_keeps_one_of_the_same_form():
    wide, narrow = ATTENTION, ATTENTION.replace(window_tokens=64)
    operators = [wide, narrow, wide, narrow.replace(borrowed=True), wide.replace(borrowed=True)]
    layers = tuple(layer(str(n), operators=(one,)) for n, one in enumerate(operators))
    graph = tiny_graph(1).replace(layers=layers, edges=chain_edges(layers))
    assert graph.lent_caches == ((3, 1), (4, 2))
    assert graph.may_begin.tolist() == [True, True, False, False, False, True]
    assert tiny_graph(3).lent_caches == ()
    assert tiny_graph(3).may_begin.all()


def test_a_cut_keeps_the_caches_that_it_would_borrow_of_layers_it_has_not():
    graph = sharing_graph((False, True, True))
    whole = graph.kv_bytes_per_token
    assert whole == 2 * 4 * 64 * 2
    assert graph.cut(3) == graph.replace(name=graph.cut(3).name)
    # The first of the two that are left keeps what both read.
    assert graph.cut(2).kv_bytes_per_token == whole
    assert graph.cut(2).lent_caches == ((2, 1),)
    assert graph.cut(1).kv_bytes_per_token == whole


def test_a_layer_tied_to_one_that_is_not_there_is_refused():
    head = pl.load_model("llama-3.2-1b").layers[-1]
    assert head.tied_to
    with pytest.raises(InputError, match=r"'head' is tied to '\w+', which is no other layer"):
        pl.ModelGraph.from_fields(
            {
                **pl.load_model("llama-3.2-1b").model_dump(),
                "layers": [head.model_dump()],
                "edges": (),
            }
        )
