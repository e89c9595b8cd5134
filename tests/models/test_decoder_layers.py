"""Blocks become operators, stored alike or as a checkpoint stores them."""

import pytest

from planner.models.blocks import (
    Block,
    CompressedAttention,
    Decoder,
    DenseFeedForward,
    Projection,
    RoutedFeedForward,
    SelfAttention,
)
from planner.models.decoder import DecoderShape, decoder_graph
from planner.models.decoder_layers import block_weights, graph_of_blocks, module_weights
from planner.models.storage import PLAIN, Formats, Stored

ATTENTION = SelfAttention(heads=4, kv_heads=2, head_dim=8)
DENSE = Block(parts=(ATTENTION, DenseFeedForward(width=64)))
ROUTED = Block(parts=(ATTENTION, RoutedFeedForward(experts=4, active=2, width=16)))
DECODER = Decoder(hidden=32, vocabulary=100, blocks=(DENSE, ROUTED, DENSE))


class Sorted:
    """Some modules in four bits, the others as they were."""

    weight_dtype = "int4"
    weight_block = None
    vector_bits = 0.0

    def __init__(self, *quantised):
        self.quantised = quantised

    def of(self, module):
        if any(name in module for name in self.quantised):
            return Stored(dtype="int4", stated_bits_per_weight=4.5)
        return PLAIN


def graph_of(decoder, storage=None):
    return graph_of_blocks(decoder, "made", Formats(), storage=storage)


def test_a_shape_and_its_blocks_make_the_same_graph():
    shape = DecoderShape(
        layers=2, hidden=32, heads=4, kv_heads=2, head_dim=8, ffn=64, vocabulary=100
    )
    blocks = Decoder(hidden=32, vocabulary=100, blocks=(DENSE, DENSE))
    assert decoder_graph(shape, "made", Formats()) == graph_of(blocks)


def test_blocks_of_one_make_are_one_kind_of_layer():
    assert graph_of(DECODER).kind_counts == (1, 2, 1, 1)


def test_a_module_is_stored_as_the_checkpoint_says():
    plain = graph_of(DECODER)
    stored = graph_of(DECODER, Sorted("mlp.down_proj"))
    # Two dense layers with 64 × 32 weights: from 16 bits to 4.5.
    assert plain.weight_bytes - stored.weight_bytes == 2 * 64 * 32 * 11.5 / 8


def test_of_modules_in_one_operator_the_bits_are_the_mean():
    # Gate of 16 bits and up of 4.5, equally large.
    stored = graph_of(DECODER, Sorted("mlp.up_proj"))
    up = next(o for o in stored.layers[1].operators if o.name == "feed-forward up")
    assert up.bits_per_weight == pytest.approx(10.25)


def test_layers_that_are_stored_alike_stay_one_kind():
    stored = graph_of(DECODER, Sorted("layers.0.mlp.down_proj"))
    assert stored.kind_counts == (1, 1, 1, 1, 1)
    assert len(block_weights(DECODER, ROUTED)) > len(block_weights(DECODER, DENSE))


def test_biases_are_counted_and_kept_at_16_bit():
    biased = SelfAttention(heads=4, kv_heads=2, head_dim=8, biased=("query", "key value", "output"))
    block = Block(parts=(biased, DenseFeedForward(width=64, biased=True)))
    plain, made = (
        graph_of(Decoder(hidden=32, vocabulary=100, blocks=(each,))) for each in (DENSE, block)
    )
    count = 32 + 32 + 32 + 2 * 64 + 32
    assert made.parameters - plain.parameters == count
    assert made.weight_bytes - plain.weight_bytes == 2 * count


def test_nothing_may_be_left_of_a_layer():
    made = graph_of(Decoder(hidden=32, vocabulary=100, blocks=(DENSE, Block(parts=()))))
    assert made.layers[2].parameters == 0
    assert made.layers[2].kv_bytes_per_token == 0


def test_the_weights_of_modules_add_up_to_those_of_the_graph():
    counted = module_weights(DECODER)
    assert counted["layers.0.self_attn.k_proj"] == 32 * 16
    assert counted["layers.1.mlp.experts.up_proj"] == 4 * 32 * 16
    assert counted["layers.1.mlp.gate"] == 32 * 4
    norms = 3 * 2 * 32 + 32
    assert sum(counted.values()) + norms == graph_of(DECODER).parameters


def test_vectors_are_kept_as_the_checkpoint_keeps_them():
    wide = Sorted()
    wide.vector_bits = 32.0
    plain, made = (graph_of(DECODER, storage) for storage in (Sorted(), wide))
    norms = 3 * 2 * 32 + 32
    assert made.weight_bytes - plain.weight_bytes == 2 * norms


def test_a_tied_head_has_no_weights_of_its_own():
    tied = DECODER.replace(tied_embedding=True)
    assert "lm_head" not in module_weights(tied)
    assert module_weights(tied)["embed_tokens"] == 32 * 100


@pytest.mark.parametrize(
    ("block", "module"),
    [
        (
            Block(
                parts=(
                    CompressedAttention(
                        heads=4, head_dim=8, q_latent=16, window_tokens=4, tokens_per_entry=4,
                        output_groups=2, output_latent=8,
                    ),
                )
            ),
            "self_attn.kv_proj",
        ),
        (
            Block(parts=(RoutedFeedForward(experts=4, active=2, width=16, latent=16),)),
            "mlp.fc1_latent_proj",
        ),
        (Block(parts=(ATTENTION,), side_width=8), "per_layer_projection"),
        (
            Block(
                parts=(ATTENTION,),
                beside=(Projection(name="low rank", inputs=32, outputs=8, module="low_rank"),),
            ),
            "low_rank",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_layers_of_which_one_small_module_is_stored_otherwise_are_unlike(block, module):
    decoder = Decoder(hidden=32, vocabulary=100, blocks=(block, block), side_vocabulary=100)
    first, second = graph_of(decoder, Sorted(f"layers.1.{module}")).layers[1:3]
    assert first.weight_bytes > second.weight_bytes


def test_groups_of_heads_are_compressed_whole():
    part = CompressedAttention(
        heads=8, head_dim=8, q_latent=16, window_tokens=4, output_groups=2, output_latent=8
    )
    decoder = Decoder(hidden=32, vocabulary=100, blocks=(Block(parts=(part,)),))
    (down,) = [one for one in graph_of(decoder).layers[1].operators if one.name == "output down"]
    # 64 values in 2 groups of 32, each to 8: a chip of four has a whole group still.
    assert down.demand(1).weight_bytes == 2 * down.demand(2).weight_bytes == 2 * 32 * 16
    assert down.demand(4).weight_bytes == down.demand(2).weight_bytes
