"""Small layers of which a person can count everything."""

from planner.models.graph import Layer
from planner.models.operators import Attention, Embedding, Experts, MatMul, Pointwise, Recurrent

MATMUL = MatMul(
    name="up", inputs=1024, outputs=4096, weight_dtype="bf16", compute_dtype="bf16", split="outputs"
)


ATTENTION = Attention(
    name="attention", heads=8, kv_heads=4, key_width=128, value_width=128, cached_width=256, decode_key_width=128,
    decode_value_width=128, kv_dtype="bf16", compute_dtype="bf16",
)  # fmt: skip


EXPERTS = Experts(
    name="experts", experts=8, experts_active=2, inputs=1024, hidden=512, matrices=3, weight_dtype="bf16",
    compute_dtype="bf16",
)  # fmt: skip


RECURRENT = Recurrent(
    name="recurrence", heads=16, key_heads=2, key_width=32, value_width=64, convolved_tokens=4
)


EMBEDDING = Embedding(name="tokens", vocabulary=8192, width=1024, weight_dtype="bf16")


NORM = Pointwise(name="norm", width=1024, weights=1024)


ATTENTION_WEIGHTS = 1024 * 1024 + 1024 * 1024 + 1024 * 1024
"""Of a tiny layer: query, key and value of half the heads each, output."""


FEED_FORWARD_WEIGHTS = 3 * 1024 * 4096


KV_BYTES = 2 * 4 * 128 * 2
"""Of a tiny layer for one token: key and value, 4 heads of 128, 2 bytes."""


def layer(name, **changes):
    return Layer(
        **{
            "name": name,
            "kind": "plain",
            "operators": (MATMUL,),
            "activation_width": 1024,
            **changes,
        }
    )


def chips_total(operator, ways, coefficient, expert_parallel=1):
    return ways * getattr(operator.demand(ways, expert_parallel), coefficient)
