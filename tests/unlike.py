"""Random small decoders of which no layer need be like another: every kind of block there is, in
heads and widths of its own."""

import random
from collections.abc import Callable

from planner.models.blocks import (
    Block,
    CompressedAttention,
    Decoder,
    DenseFeedForward,
    Indexer,
    LatentAttention,
    Projection,
    RoutedFeedForward,
    SelfAttention,
)
from planner.models.blocks import FeedForward as FeedForwardPart
from planner.models.blocks import Mixer as MixerPart
from planner.models.decoder import Formats, decoder_graph
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.models.recurrences import gated_delta, lightning, mamba_2, short_convolution
from planner.models.storage import Stored

HIDDEN = 384
VOCABULARY = 5000
FORMATS: tuple[Dtype, ...] = ("bf16", "fp8", "int4")


def unlike_graph(dice: random.Random, layers: int) -> ModelGraph:
    """A decoder of such blocks; of some, modules are stored in formats of their own."""
    decoder = unlike_decoder(dice, layers)
    storage = Mixed(dice.random()) if dice.random() < 0.4 else None
    return decoder_graph(decoder, "unlike", Formats(), storage=storage)


class Mixed:
    """A checkpoint whose modules are stored in one of some formats each, as chance has it."""

    weight_dtype: Dtype = "bf16"
    weight_block: int | None = None
    vector_bits: float = 0.0

    def __init__(self, seed: float) -> None:
        self.seed = seed

    def of(self, module: str) -> Stored:
        """In a few sizes too."""
        dice = random.Random(f"{self.seed} {module}")
        dtype = dice.choice(FORMATS)
        bits = dice.choice((0.0, 8.5)) if dtype == "fp8" else 0.0
        return Stored(dtype=dtype, stated_bits_per_weight=bits)


def unlike_decoder(dice: random.Random, layers: int) -> Decoder:
    """The blocks of one; heads of all its layers are multiples of one number, so that some tensor
    degrees are left."""
    heads = dice.choice((3, 4, 6))
    blocks = []
    for _ in range(layers):
        blocks.append(_block(dice, heads))
    return Decoder(
        hidden=HIDDEN,
        vocabulary=VOCABULARY,
        blocks=tuple(blocks),
        tied_embedding=dice.random() < 0.4,
        streams=dice.choice((1, 1, 1, 4)),
        side_vocabulary=VOCABULARY if any(block.side_width for block in blocks) else 0,
    )


def _block(dice: random.Random, heads: int) -> Block:
    mixers: tuple[Callable[[random.Random, int], MixerPart | None], ...] = (
        _plain,
        _plain,
        _latent,
        _compressed,
        _recurrent,
        lambda dice, heads: None,
    )
    parts: list[MixerPart | FeedForwardPart] = []
    for mixer in [dice.choice(mixers) for _ in range(dice.choice((1, 1, 1, 2)))]:
        part = mixer(dice, heads)
        if part is not None:
            parts.append(part)
    if dice.random() < 0.8:
        parts.append(_feed_forward(dice))
    beside: tuple[Projection, ...] = ()
    if dice.random() < 0.1:
        beside = (Projection(name="beside", inputs=HIDDEN, outputs=64, module="beside"),)
    return Block(
        parts=tuple(parts),
        side_width=64 if dice.random() < 0.1 else 0,
        beside=beside,
    )


def _plain(dice: random.Random, heads: int) -> MixerPart:
    heads *= dice.choice((1, 2))
    return SelfAttention(
        heads=heads,
        kv_heads=dice.choice([count for count in (1, 2, 3, 4, 6) if heads % count == 0]),
        head_dim=dice.choice((32, 64)),
        value_dim=dice.choice((0, 0, 32)),
        window_tokens=dice.choice((0, 0, 16, 128)),
        borrowed=dice.random() < 0.25,
        crossed_tokens=dice.choice((0, 0, 0, 100)),
        indexer=_indexer(dice),
    )


def _indexer(dice: random.Random) -> Indexer | None:
    if dice.random() < 0.6:
        return None
    return Indexer(
        heads=dice.choice((1, 5)), width=32, inputs=HIDDEN, chosen_tokens=dice.choice((8, 64))
    )


def _latent(dice: random.Random, heads: int) -> MixerPart:
    return LatentAttention(
        heads=heads * dice.choice((1, 2)),
        q_latent=dice.choice((0, 128)),
        kv_latent=128,
        rope_dim=16,
        nope_dim=32,
        value_dim=32,
        indexer=_indexer(dice),
    )


def _compressed(dice: random.Random, heads: int) -> MixerPart:
    per_entry = dice.choice((0, 4, 128))
    return CompressedAttention(
        heads=heads,
        head_dim=64,
        q_latent=128,
        window_tokens=16,
        tokens_per_entry=per_entry,
        output_groups=1,
        output_latent=64,
        indexer=_indexer(dice) if per_entry == 4 else None,
    )


def _recurrent(dice: random.Random, heads: int) -> MixerPart:
    kind = dice.choice((0, 1, 2, 3))
    if kind == 0:
        return lightning(HIDDEN, heads=heads, width=32)
    if kind == 1:
        return short_convolution(HIDDEN, width=HIDDEN, convolved_tokens=3)
    make = mamba_2 if kind == 2 else gated_delta
    keys = dice.choice([count for count in (1, 2, 3) if heads % count == 0])
    return make(HIDDEN, heads=heads, key_heads=keys, key_width=16, value_width=32)


def _feed_forward(dice: random.Random) -> FeedForwardPart:
    if dice.random() < 0.6:
        return DenseFeedForward(width=dice.choice((256, 1024)), gated=dice.random() < 0.5)
    return RoutedFeedForward(
        experts=dice.choice((4, 4, 8, 12)),
        active=dice.choice((1, 2)),
        width=256,
        shared_width=dice.choice((0, 256)),
    )


def sharing_graph(borrowed: tuple[bool, ...]) -> ModelGraph:
    """A decoder of like layers, some of which read the cache of one before them."""
    blocks = tuple(
        Block(
            parts=(
                SelfAttention(heads=4, kv_heads=4, head_dim=64, borrowed=borrows),
                DenseFeedForward(width=1024),
            )
        )
        for borrows in borrowed
    )
    decoder = Decoder(hidden=256, vocabulary=1000, blocks=blocks)
    return decoder_graph(decoder, "sharing", Formats())
