"""A decoder's shape from a Hugging Face `config.json`: the dense Llama shapes, Mixtral, Qwen-MoE, DeepSeek and Kimi,
gpt-oss, Llama 4.

The keys decide, not the name of the architecture, since families borrow from each other: several keys stand for the same
number, and the first that is there counts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.decoder import DecoderShape
from planner.errors import InputError, shortened
from planner.readers.files import read_json

Fields = Mapping[str, Any]

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
FFN = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
ACTIVE = ("num_experts_per_tok", "experts_per_token", "moe_topk", "moe_top_k", "num_selected_experts", "top_k")
EXPERT_FFN = ("moe_intermediate_size", "expert_ffn_hidden_size")
CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")

NOT_DECODERS = {"bert", "roberta", "t5", "clip", "vit", "whisper", "mamba", "rwkv", "diffusers"}
GATED = {"silu", "swish", "swiglu", "silu_and_mul", "gelu_pytorch_tanh", "gelu_tanh"}
UNGATED_TYPES = {
    "gpt2",
    "gptj",
    "gpt_neo",
    "gpt_neox",
    "gpt_bigcode",
    "opt",
    "bloom",
    "falcon",
    "phi",
    "mpt",
    "starcoder2",
}


def read_config(path: Path) -> tuple[DecoderShape, str]:
    """The shape that a config.json states, and the format in which its weights are published."""
    fields = read_json(path, "a config.json")
    nested = next((fields[key] for key in ("text_config", "llm_config", "language_config") if key in fields), None)
    text = {**fields, **nested} if isinstance(nested, dict) else fields
    return shape_of(text, str(path)), published_dtype(fields)


def shape_of(fields: Fields, path: str) -> DecoderShape:
    """The shape of a config whose text part has been brought to the top."""
    kind = str(fields.get("model_type", ""))
    if kind in NOT_DECODERS or not any(key in fields for key in LAYERS):
        raise InputError(f"{path} does not describe a decoder: it has no {LAYERS[0]}")
    config = _Config(fields, path)
    hidden, heads = config.whole(HIDDEN), config.whole(HEADS)
    head_dim = config.whole(("head_dim",), default=0) or hidden // heads
    return DecoderShape(
        layers=config.whole(LAYERS),
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=head_dim,
        matrices=2 if kind in UNGATED_TYPES else 3,
        vocabulary=config.whole(("vocab_size",)),
        tied_embedding=bool(fields.get("tie_word_embeddings", kind in {"gpt2", "falcon", "bloom", "gemma"})),
        parallel_block=bool(fields.get("parallel_attn", False)),
        most_context_tokens=config.whole(CONTEXT, default=0),
        **_feed_forward(config, kind),
        **_latent_attention(config),
        **_window(config, kind),
        unquantised=_unquantised(fields),
    )


def published_dtype(fields: Fields) -> str:
    """The format of the weights as they are published; bf16 where the config does not say."""
    quantised = fields.get("quantization_config")
    method = str(quantised.get("quant_method", "")) if isinstance(quantised, dict) else ""
    named = {"fp8": "fp8", "mxfp4": "mxfp4", "gptq": "int4", "awq": "int4", "fbgemm_fp8": "fp8"}
    return named.get(method, "bf16")


class _Config:
    """Numbers of a config, by any of their names."""

    def __init__(self, fields: Fields, path: str) -> None:
        self.fields, self.path = fields, path

    def whole(self, names: tuple[str, ...], default: int | None = None) -> int:
        for name in names:
            value = self.fields.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
                raise InputError(f"{self.path}: {name} must be a whole number, not {shortened(repr(value), 30)}")
            return value
        if default is None:
            raise InputError(f"{self.path}: {names[0]} is missing")
        return default


def _kv_heads(config: _Config, heads: int) -> int:
    if config.fields.get("multi_query") and not config.fields.get("new_decoder_architecture"):
        return 1
    return config.whole(KV_HEADS, default=heads)


def _feed_forward(config: _Config, kind: str) -> dict[str, Any]:
    fields, experts = config.fields, config.whole(EXPERTS, default=0)
    ffn = config.whole(FFN, default=0)
    if experts <= 1:
        return {"ffn": ffn or 4 * config.whole(HIDDEN)}
    routed: dict[str, Any] = {"experts": experts, "experts_active": config.whole(ACTIVE)}
    routed["expert_ffn"] = config.whole(EXPERT_FFN, default=0) or ffn
    if kind.startswith("llama4"):
        routed |= {"shared_ffn": ffn, "expert_every": config.whole(("interleave_moe_layer_step",), default=1)}
        return routed | {"ffn": config.whole(("intermediate_size_mlp",), default=ffn)}
    shared = config.whole(("n_shared_experts", "num_shared_experts"), default=0)
    routed["shared_ffn"] = (
        config.whole(("shared_expert_intermediate_size",), default=0) or shared * routed["expert_ffn"]
    )
    routed["dense_first"] = config.whole(("first_k_dense_replace",), default=0)
    routed["expert_every"] = config.whole(("decoder_sparse_step", "moe_layer_freq"), default=1)
    if fields.get("mlp_only_layers"):
        raise InputError(f"{config.path}: mlp_only_layers is not empty; dense layers in the middle are not read yet")
    has_dense = routed["dense_first"] or routed["expert_every"] > 1
    return routed | {"ffn": ffn if has_dense else 0}


def _latent_attention(config: _Config) -> dict[str, int]:
    latent = config.whole(("kv_lora_rank",), default=0)
    if not latent:
        return {}
    return {
        "kv_latent": latent,
        "q_latent": config.whole(("q_lora_rank",), default=0),
        "rope_dim": config.whole(("qk_rope_head_dim",)),
        "nope_dim": config.whole(("qk_nope_head_dim",)),
        "value_dim": config.whole(("v_head_dim",)),
    }


def _window(config: _Config, kind: str) -> dict[str, Any]:
    fields = config.fields
    kinds = fields.get("layer_types")
    window = config.whole(("sliding_window", "attention_chunk_size"), default=0)
    if not window or fields.get("use_sliding_window") is False:
        return {}
    if isinstance(kinds, list) and "full_attention" in kinds:
        first = kinds.index("full_attention")
        every = next((n - first for n in range(first + 1, len(kinds)) if kinds[n] == "full_attention"), len(kinds))
        return {"window_tokens": window, "full_every": every, "full_first": first == 0}
    return {"window_tokens": window, "full_every": 4 if kind.startswith("llama4") else 0}


def _unquantised(fields: Fields) -> tuple[str, ...]:
    """Parts that stay at 16 bit: as the config lists them."""
    quantised = fields.get("quantization_config")
    kept = quantised.get("modules_to_not_convert") if isinstance(quantised, dict) else None
    text = " ".join(str(name) for name in kept) if isinstance(kept, list) else ""
    parts = (("attention", "self_attn"), ("embedding", "lm_head"), ("router", "router"))
    return tuple(part for part, marker in parts if marker in text)
