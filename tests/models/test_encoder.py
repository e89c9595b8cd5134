"""Encoders: parameters counted by hand, and what sets them apart from decoders."""

import pytest

from planner.errors import InputError
from planner.models.decoder import Formats
from planner.models.encoder import EncoderShape, encoder_graph
from planner.models.operators import Attention, MatMul
from planner.pricing.price_list import PriceList, Reach, Split, Step
from tests.instances import tiny_topology

SHAPE = EncoderShape(layers=3, hidden=256, heads=4, ffn=1024, vocabulary=1000, positions=128)


def tiny_encoder(**formats):
    return encoder_graph(SHAPE, "tiny", Formats(**formats))


def test_an_encoder_has_the_parameters_of_its_tables_layers_and_pooler():
    layer = 4 * 256 * 256 + 2 * 256 * 1024 + 2 * 2 * 256
    tables = (1000 + 128 + 2) * 256 + 2 * 256
    graph = tiny_encoder()
    assert graph.parameters == graph.parameters_active == tables + 3 * layer + 256 * 256
    assert [layer.kind for layer in graph.layers] == [
        "embedding",
        "encoder",
        "encoder",
        "encoder",
        "pooler",
    ]
    assert graph.is_chain
    assert graph.most_context_tokens == 128


def test_an_encoder_keeps_nothing_for_later_tokens():
    graph = tiny_encoder()
    assert graph.kv_bytes_per_token == graph.state_bytes_per_sequence == 0
    found = [o for layer in graph.layers for o in layer.operators if isinstance(o, Attention)]
    assert [(o.causal, o.cached) for o in found] == 3 * [(False, False)]


def test_every_token_of_a_text_sees_all_of_it():
    # 2 texts of 100 tokens: each token works on 100 keys and 100 values of width 64 for each of 4
    # heads.
    graph = tiny_encoder()
    step = Step(tokens=200.0, sequences=2.0, context_tokens=50.0, decode=False)
    prices = PriceList(graph, tiny_topology(1)).prices(Split(), step, Reach((1,), (1,), (1,)))
    matmuls = (
        2 * 200 * sum(o.parameters for o in graph.layers[1].operators if isinstance(o, MatMul))
    )
    pointwise = 200 * 4 * (2 * 256 + 1024)
    assert prices.flop[1] == matmuls + pointwise + 200 * 2 * 100 * 4 * (64 + 64)


def test_the_pooler_works_on_one_token_of_each_text():
    pooler = tiny_encoder().layers[-1].operators[0].demand()
    assert (pooler.flop_per_sequence, pooler.flop_per_token) == (2 * 256 * 256, 0)


@pytest.mark.parametrize(("dtype", "stream"), [("bf16", 2), ("fp32", 4), ("int8", 2)])
def test_the_stream_stays_at_16_bit_unless_all_is_in_32(dtype, stream):
    graph = tiny_encoder(weight_dtype=dtype)
    assert {layer.activation_bytes_per_token for layer in graph.layers} == {256 * stream}


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="3 does not divide the width of 256"):
        SHAPE.replace(heads=3)
