"""A small model of experts, and what a table makes of its modules."""

import pytest

from planner.errors import InputError
from planner.readers.quantisation import PublishedStorage, published_storage

MODEL = {
    "model_type": "some_moe",
    "hidden_size": 4096,
    "num_hidden_layers": 8,
    "num_experts": 8,
    "tie_word_embeddings": False,
}
QUERY = "layers.3.self_attn.q_proj"
DOWN = "layers.3.mlp.down_proj"
EXPERT = "layers.3.mlp.experts.up_proj"
ROUTER = "layers.3.mlp.gate"
HEAD = "lm_head"
EMBEDDING = "embed_tokens"


def read(quantised=None, sidecar=None, **fields) -> PublishedStorage:
    stated = {} if quantised is None else {"quantization_config": quantised}
    return published_storage({**MODEL, **stated, **fields}, sidecar, "config.json")


def way(storage, module) -> tuple[str, float, str]:
    """Format, bits of a weight, and what it is multiplied in."""
    stored = storage.of(module)
    return stored.dtype, pytest.approx(stored.bits_per_weight, rel=1e-9), stored.compute_dtype


def refusal(quantised=None, sidecar=None, **fields) -> str:
    with pytest.raises(InputError) as refused:
        read(quantised, sidecar, **fields)
    return str(refused.value)


PLAIN = ("bf16", 16.0, "bf16")
