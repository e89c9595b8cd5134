"""Parts of blocks: what cannot be is refused."""

import pytest

from planner.errors import InputError
from planner.models.blocks import (
    Block,
    Decoder,
    DenseFeedForward,
    RoutedFeedForward,
    SelfAttention,
)


def test_heads_are_shared_evenly():
    with pytest.raises(InputError, match=r"SelfAttention.kv_heads: 3 does not divide the 8 heads"):
        SelfAttention(heads=8, kv_heads=3, head_dim=4)


def test_no_token_uses_more_experts_than_there_are():
    with pytest.raises(InputError, match=r"RoutedFeedForward.active: it must lie between"):
        RoutedFeedForward(experts=4, active=5, width=8)


def test_parts_are_told_apart_in_json():
    block = Block(
        parts=(SelfAttention(heads=8, kv_heads=2, head_dim=4), DenseFeedForward(width=16))
    )
    decoder = Decoder(hidden=32, vocabulary=10, blocks=(block, block))
    assert Decoder.from_json(decoder.to_json()) == decoder
    assert decoder.layers == 2
