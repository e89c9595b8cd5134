"""Mixers that keep a state in place of a cache: the matrices around each kind, and what it computes
for a token.

Operations for a value of the state and a token are counted in `Recurrent`; kinds beside those two:
linear attention with a fixed decay (lightning) decays (1), adds a product (2) and reads (2); Kimi's
delta attention is the gated delta rule with a rate of decay for each key [1]; RWKV-6 and 7 as well
[2]; Griffin's RG-LRU keeps a vector [3]: two rates applied and an input added, 5.

[1] Kimi Team, "Kimi Linear", 2025.
[2] B. Peng et al., "Eagle and Finch: RWKV with matrix-valued states", COLM 2024.
[3] S. De et al., "Griffin: mixing gated linear recurrences with local attention", 2024.
[4] A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", COLM 2024.
[5] Liquid AI, "LFM2 technical report", 2025.
"""

from planner.models.blocks import Projection, Recurrence
from planner.models.dtypes import Dtype

IN = "linear_attn.in_proj"
OUT = "linear_attn.out_proj"


def gated_delta(
    hidden: int,
    *,
    heads: int,
    key_heads: int,
    key_width: int,
    value_width: int,
    convolved_tokens: int = 4,
    state_dtype: Dtype = "fp32",
) -> Recurrence:
    """The gated delta rule: queries, keys, values, a gate of the values' width, and for each head a
    rate of decay and one of writing; one norm for all heads."""
    inner = heads * value_width
    inputs = 2 * inner + 2 * key_heads * key_width + 2 * heads
    return _recurrence(
        hidden,
        inputs=inputs,
        inner=inner,
        heads=heads,
        key_heads=key_heads,
        key_width=key_width,
        value_width=value_width,
        convolved_tokens=convolved_tokens,
        flop_per_value=7.0,
        weights=value_width,
        state_dtype=state_dtype,
    )


def mamba_2(
    hidden: int,
    *,
    heads: int,
    key_heads: int,
    key_width: int,
    value_width: int,
    convolved_tokens: int = 4,
    state_dtype: Dtype = "fp32",
) -> Recurrence:
    """Mamba-2: values, a gate as wide, input and output maps, and for each head a rate of decay; a
    norm over all heads."""
    inner = heads * value_width
    return _recurrence(
        hidden,
        inputs=2 * inner + 2 * key_heads * key_width + heads,
        inner=inner,
        heads=heads,
        key_heads=key_heads,
        key_width=key_width,
        value_width=value_width,
        convolved_tokens=convolved_tokens,
        flop_per_value=5.0,
        weights=inner,
        state_dtype=state_dtype,
    )


def mamba_1(
    hidden: int, *, inner: int, key_width: int, rank: int, convolved_tokens: int = 4
) -> Recurrence:
    """Mamba [4]: every channel has a state of its own; what it reads, writes and decays by is made
    from the values themselves, the decay through a rank."""
    return Recurrence(
        projections=(
            _into(hidden, 2 * inner),
            Projection(
                name="state maps",
                inputs=inner,
                outputs=rank + 2 * key_width,
                split="inputs",
                module="linear_attn.x_proj",
            ),
            Projection(
                name="state rates",
                inputs=rank,
                outputs=inner,
                module="linear_attn.dt_proj",
                biased=True,
            ),
        ),
        output=_out_of(inner, hidden),
        heads=inner,
        key_heads=1,
        key_width=key_width,
        value_width=1,
        convolved_tokens=convolved_tokens,
        convolves_keys=False,
        flop_per_value=5.0,
        norm_width=inner,
        weights=inner * (key_width + 2),
    )


def delta_attention(
    hidden: int, *, heads: int, width: int, convolved_tokens: int = 4, gate_rank: int | None = None
) -> Recurrence:
    """Kimi's delta attention [1]: queries, keys and values of one width, a rate of decay for each
    key and an output gate, both through a rank of the head's width (or the gate whole)."""
    inner = heads * width
    rank = width if gate_rank is None else gate_rank
    gates = [
        Projection(
            name="decay down",
            inputs=hidden,
            outputs=width,
            split="none",
            module="linear_attn.f_a_proj",
        ),
        Projection(name="decay up", inputs=width, outputs=inner, module="linear_attn.f_b_proj"),
    ]
    if rank:
        gates += [
            Projection(
                name="gate down",
                inputs=hidden,
                outputs=rank,
                split="none",
                module="linear_attn.g_a_proj",
            ),
            Projection(name="gate up", inputs=rank, outputs=inner, module="linear_attn.g_b_proj"),
        ]
    else:
        gates.append(
            Projection(name="gate", inputs=hidden, outputs=inner, module="linear_attn.g_proj")
        )
    return Recurrence(
        projections=(
            _into(hidden, 3 * inner + heads),
            *gates,
        ),
        output=_out_of(inner, hidden),
        heads=heads,
        key_heads=heads,
        key_width=width,
        value_width=width,
        convolved_tokens=convolved_tokens,
        flop_per_value=7.0,
        norm_width=inner,
        weights=width + inner + heads,
    )


def lightning(hidden: int, *, heads: int, width: int) -> Recurrence:
    """Lightning attention: queries, keys, values and a gate of one width, a decay that is fixed for
    each head, a norm over all of them."""
    inner = heads * width
    return _recurrence(
        hidden,
        inputs=4 * inner,
        inner=inner,
        heads=heads,
        key_heads=heads,
        key_width=width,
        value_width=width,
        convolved_tokens=1,
        flop_per_value=5.0,
        weights=inner,
    )


def short_convolution(
    hidden: int, *, width: int, convolved_tokens: int, biased: bool = False
) -> Recurrence:
    """LFM2's [5]: values between two gates, and a convolution over a few tokens; no other state."""
    return Recurrence(
        projections=(_into(hidden, 3 * width, biased=biased),),
        output=_out_of(width, hidden, biased=biased),
        heads=width,
        key_heads=1,
        key_width=0,
        value_width=1,
        convolved_tokens=convolved_tokens,
        convolves_keys=False,
        flop_per_value=0.0,
        norm_width=width,
        weights=0,
    )


def gated_vector(hidden: int, *, width: int, heads: int, convolved_tokens: int = 4) -> Recurrence:
    """Griffin's RG-LRU [3]: a branch that recurs beside one that gates; two gates that are diagonal
    in blocks, one for each head."""
    block = width // heads
    return Recurrence(
        projections=(
            _into(hidden, 2 * width, biased=True),
            Projection(
                name="state gates",
                inputs=block,
                outputs=2 * width,
                module="linear_attn.gates",
                biased=True,
            ),
        ),
        output=_out_of(width, hidden, biased=True),
        heads=width,
        key_heads=1,
        key_width=1,
        value_width=1,
        convolved_tokens=convolved_tokens,
        convolves_keys=False,
        flop_per_value=5.0,
        norm_width=width,
        weights=2 * width,
    )


def receptance(hidden: int, *, inner: int, width: int, gated: bool) -> Recurrence:
    """RWKV's [2]: receptance, keys, values (and a gate), a state for each head; and the matrix that
    gates its feed-forward part. Its first version keeps a numerator and a denominator in place of a
    matrix."""
    matrices = 4 if gated else 3
    return Recurrence(
        projections=(
            _into(hidden, matrices * inner),
            Projection(
                name="feed-forward receptance",
                inputs=hidden,
                outputs=hidden,
                split="none",
                module="mlp.receptance",
            ),
        ),
        output=_out_of(inner, hidden),
        heads=inner // width,
        key_heads=inner // width,
        key_width=width if gated else 2,
        value_width=width,
        convolved_tokens=1,
        flop_per_value=7.0,
        norm_width=inner,
        # Rates of decay and a first step for each value; of each part how much of the last token it takes.
        weights=(4 if gated else 2) * inner + (6 if gated else 5) * hidden,
    )


def _into(hidden: int, outputs: int, *, biased: bool = False) -> Projection:
    """The matrix from the stream."""
    return Projection(name="state input", inputs=hidden, outputs=outputs, module=IN, biased=biased)


def _out_of(inputs: int, hidden: int, *, biased: bool = False) -> Projection:
    """The matrix back to the stream."""
    return Projection(
        name="state output",
        inputs=inputs,
        outputs=hidden,
        split="inputs",
        module=OUT,
        biased=biased,
    )


def _recurrence(
    hidden: int,
    *,
    inputs: int,
    inner: int,
    heads: int,
    key_heads: int,
    key_width: int,
    value_width: int,
    convolved_tokens: int,
    flop_per_value: float,
    weights: int,
    state_dtype: Dtype = "fp32",
) -> Recurrence:
    """With one matrix before it and one after."""
    return Recurrence(
        projections=(_into(hidden, inputs),),
        output=_out_of(inner, hidden),
        heads=heads,
        key_heads=key_heads,
        key_width=key_width,
        value_width=value_width,
        convolved_tokens=convolved_tokens,
        flop_per_value=flop_per_value,
        norm_width=inner,
        weights=weights,
        state_dtype=state_dtype,
    )
