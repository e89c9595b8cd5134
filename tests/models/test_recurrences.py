"""Recurrences: weights of each kind, counted by hand."""

import pytest

from planner.models import recurrences as kinds


def matrices(part):
    """Weights before and after it."""
    return sum(each.inputs * each.outputs for each in (*part.projections, part.output))


@pytest.mark.parametrize(
    ("part", "weights"),
    [
        # Queries and keys of 2 × 8, values and gate of 4 × 16, two rates for each head; back.
        (
            kinds.gated_delta(32, heads=4, key_heads=2, key_width=8, value_width=16),
            32 * (2 * 16 + 2 * 64 + 8) + 64 * 32,
        ),
        # One rate for each head.
        (
            kinds.mamba_2(32, heads=4, key_heads=2, key_width=8, value_width=16),
            32 * (2 * 16 + 2 * 64 + 4) + 64 * 32,
        ),
        # Values and gate; decay through a rank; maps of 16; back.
        (
            kinds.mamba_1(32, inner=64, key_width=16, rank=2),
            32 * 128 + 64 * (2 + 32) + 2 * 64 + 64 * 32,
        ),
        (kinds.lightning(32, heads=4, width=8), 5 * 32 * 32),
        # Queries, keys, values, rates of writing; decay and gate through ranks of 8; back.
        (
            kinds.delta_attention(32, heads=4, width=8),
            32 * (96 + 4) + 2 * (32 * 8 + 8 * 32) + 32 * 32,
        ),
        (kinds.delta_attention(32, heads=4, width=8, gate_rank=0), 32 * 100 + 512 + 2 * 32 * 32),
        (kinds.short_convolution(32, width=32, convolved_tokens=3), 4 * 32 * 32),
        # Two branches; two gates in blocks of 8; back.
        (kinds.gated_vector(32, width=32, heads=4), 32 * 64 + 8 * 64 + 32 * 32),
        (kinds.receptance(32, inner=32, width=8, gated=True), 32 * 128 + 32 * 32 + 32 * 32),
    ],
)
def test_the_matrices_of_a_kind(part, weights):
    assert matrices(part) == weights


def test_a_short_convolution_keeps_no_matrix():
    assert kinds.short_convolution(32, width=32, convolved_tokens=3).key_width == 0
