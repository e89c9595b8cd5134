"""A decoder's shape from a Hugging Face `config.json`: the dense Llama shapes, Mixtral, Qwen-MoE,
DeepSeek and Kimi, gpt-oss, Llama 4.

The keys decide, not the name of the architecture, since families borrow from each other: several
keys stand for the same number, and the first that is there counts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from planner.errors import InputError, shortened
from planner.models.decoder import DecoderShape
from planner.readers.files import read_json

Fields = Mapping[str, Any]

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
FFN = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
ACTIVE = (
    "num_experts_per_tok",
    "experts_per_token",
    "moe_topk",
    "moe_top_k",
    "num_selected_experts",
    "top_k",
)
EXPERT_FFN = ("moe_intermediate_size", "expert_ffn_hidden_size")
CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")

ENCODERS = (
    "bert",
    "roberta",
    "electra",
    "deberta",
    "t5",
    "clip",
    "vit",
    "whisper",
    "bart",
    "siglip",
)
"""A model_type with one of these in its name is no decoder."""
STATE_SPACES = ("mamba", "ssm_", "hybrid_override_pattern", "linear_num_", "rwkv", "time_mix")
"""Keys that begin so belong to layers that are not attention."""
UNGATED_TYPES = (
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
)
"""Families whose feed-forward layers have no gate."""
TIED_TYPES = ("gpt2", "falcon", "bloom", "gemma")
"""Families that tie their embedding where the config does not say."""
METHODS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4", "awq": "int4", "nvfp4": "nvfp4"}
"""Formats by the name of a quantisation that has just one."""
UNBLOCKED = ("embedding",)
"""What stays at 16 bit where blocks of 8-bit floats share a scale, whether or not the config lists
it: the blocks are DeepSeek-V3's, which keeps its embedding and its output head (arXiv 2412.19437,
section 3.3)."""


class Read(NamedTuple):
    """What a config.json states of a model."""

    shape: DecoderShape
    dtype: str
    """Of its weights: the one asked for, else as they are published."""
    block: int | None
    """Of weights that share a scale, where they stay as they are published."""


def read_config(path: Path, weight_dtype: str | None = None) -> Read:
    """The shape that a config.json states, and the format of its weights."""
    fields = read_json(path, "a config.json")
    nested = next(
        (fields[key] for key in ("text_config", "llm_config", "language_config") if key in fields),
        None,
    )
    text = {**fields, **nested} if isinstance(nested, dict) else fields
    dtype = weight_dtype or published_dtype(text, str(path))
    block = published_block(text, str(path)) if dtype == "fp8" else None
    shape = shape_of(text, str(path))
    if block is not None and "embedding" not in shape.unquantised:
        shape = shape.replace(unquantised=(*shape.unquantised, *UNBLOCKED))
    return Read(shape, dtype, block)


def shape_of(fields: Fields, path: str) -> DecoderShape:
    """The shape of a config whose text part has been brought to the top."""
    kind = str(fields.get("model_type", "")).lower()
    _check_decoder(fields, kind, path)
    config = _Config(fields, path)
    hidden, heads = config.whole(HIDDEN), config.whole(HEADS)
    head_dim = config.whole(("head_dim",), default=0) or hidden // heads
    try:
        return DecoderShape(
            layers=config.whole(LAYERS),
            hidden=hidden,
            heads=heads,
            kv_heads=_kv_heads(config, heads),
            head_dim=head_dim,
            matrices=2 if kind in UNGATED_TYPES else 3,
            vocabulary=config.whole(("vocab_size",)),
            tied_embedding=bool(fields.get("tie_word_embeddings", kind.startswith(TIED_TYPES))),
            parallel_block=bool(fields.get("parallel_attn", False)),
            most_context_tokens=config.whole(CONTEXT, default=0),
            **_feed_forward(config, kind),
            **_latent_attention(config),
            **_window(config, kind),
            unquantised=_unquantised(fields),
        )
    except InputError as error:
        raise InputError(
            str(error) if str(error).startswith(path) else f"{path}: {error}"
        ) from None


def _check_decoder(fields: Fields, kind: str, path: str) -> None:
    """Refuse what this reader would price as something that it is not."""
    if any(name in kind for name in ENCODERS) or fields.get("is_encoder_decoder"):
        raise InputError(
            f"{path} does not describe a decoder: {shortened(kind)} is an encoder, or has one"
        )
    foreign = _beside_attention(fields)
    if foreign:
        raise InputError(
            f"{path} does not describe a decoder of attention alone ({shortened(foreign)});"
            " hybrids are not read yet"
        )
    if not any(key in fields for key in LAYERS):
        raise InputError(f"{path} does not describe a decoder: it has no {LAYERS[0]}")


def _beside_attention(fields: Fields) -> str:
    """What says that layers are not attention; "": nothing does."""
    for key in map(str, fields):
        if key.startswith(STATE_SPACES):
            return key
    kinds = fields.get("layer_types")
    names = [str(name) for name in kinds] if isinstance(kinds, list) else []
    if any("linear" in name or "mamba" in name for name in names):
        return "linear layers"
    return ""


def published_dtype(fields: Fields, path: str = "config.json") -> str:
    """The format of the weights as they are published; bf16 where the config does not say that
    they are quantised."""
    quantised = fields.get("quantization_config")
    if not isinstance(quantised, dict):
        return "bf16"
    method = str(quantised.get("quant_method", "")).lower()
    bits, floats = _bits(quantised)
    if bits == 8:
        return "fp8" if floats or "fp8" in method else "int8"
    if bits == 4:
        return "nvfp4" if floats else "int4"
    named = METHODS.get(method) or METHODS.get(str(quantised.get("quant_algo", "")).lower())
    if named is None:
        raise InputError(
            f"{path}: quantization_config of method {shortened(method)!r} is not known;"
            " give weight_dtype (--weights)"
        )
    return named


def published_block(fields: Fields, path: str = "config.json") -> int | None:
    """Neighbours whose 8-bit floats share one scale, along the longer side; None where the config
    states no blocks."""
    quantised = fields.get("quantization_config")
    if not isinstance(quantised, dict):
        return None
    stated = quantised.get("weight_block_size") or _weights_of(quantised).get("block_structure")
    if not stated:
        return None
    if isinstance(stated, str):
        # Some write "128x128".
        stated = [int(side) if side.isdecimal() else side for side in stated.split("x")]
    sides = stated if isinstance(stated, list) else [stated]
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if not whole or min(sides) < 1:
        raise InputError(
            f"{path}: weight_block_size must be whole numbers of at least 1, such as [128, 128],"
            f" not {shortened(repr(stated), 30)}"
        )
    return int(max(sides))


def _weights_of(quantised: Fields) -> Fields:
    """What the first of its groups says of weights."""
    groups = quantised.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    return weights if isinstance(weights, dict) else {}


def _bits(quantised: Fields) -> tuple[int, bool]:
    """Bits of a weight, and whether it is a float; 0 where the config does not say."""
    if quantised.get("load_in_4bit") or quantised.get("load_in_8bit"):
        return (4 if quantised.get("load_in_4bit") else 8), False
    weights = _weights_of(quantised)
    if weights:
        return int(weights.get("num_bits", 0)), weights.get("type") == "float"
    bits = quantised.get("bits", 0)
    return (bits if isinstance(bits, int) else 0), False


class _Config:
    """Numbers of a config, by any of their names."""

    def __init__(self, fields: Fields, path: str) -> None:
        self.fields = fields
        self.path = path

    def whole(self, names: tuple[str, ...], default: int | None = None) -> int:
        for name in names:
            value = self.fields.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
                raise InputError(
                    f"{self.path}: {name} must be a whole number, not {shortened(repr(value), 30)}"
                )
            if value == 0 and default != 0:
                raise InputError(f"{self.path}: {name} must be at least 1, not 0")
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
        routed |= {
            "shared_ffn": ffn,
            "expert_every": config.whole(("interleave_moe_layer_step",), default=1),
        }
        return routed | {"ffn": config.whole(("intermediate_size_mlp",), default=ffn)}
    shared = config.whole(("n_shared_experts", "num_shared_experts"), default=0)
    routed["shared_ffn"] = (
        config.whole(("shared_expert_intermediate_size",), default=0)
        or shared * routed["expert_ffn"]
    )
    groups = config.whole(("n_group",), default=1)
    if groups > 1:
        routed["expert_groups"] = groups
        routed["expert_groups_active"] = config.whole(("topk_group",), default=groups)
    routed["dense_first"] = config.whole(("first_k_dense_replace",), default=0)
    routed["expert_every"] = config.whole(("decoder_sparse_step", "moe_layer_freq"), default=1)
    if fields.get("mlp_only_layers"):
        raise InputError(
            f"{config.path}: mlp_only_layers is not empty; dense layers in the middle are not read"
            " yet"
        )
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
    """Which layers see a window only: as listed, or every so-manieth not."""
    fields = config.fields
    kinds = fields.get("layer_types")
    window = config.whole(("sliding_window", "attention_chunk_size"), default=0)
    if not window or fields.get("use_sliding_window") is False:
        return {}
    if not isinstance(kinds, list) or "full_attention" not in kinds:
        usual = 4 if kind.startswith("llama4") else 0
        every = config.whole(("sliding_window_pattern",), default=0) or usual
        return {"window_tokens": window, "full_every": every}

    every, full_first = _period_of(kinds, config)
    return {"window_tokens": window, "full_every": every, "full_first": full_first}


def _period_of(kinds: list[Any], config: _Config) -> tuple[int, bool]:
    """Of listed layers, every so-manieth of which sees everything; and whether the first does."""
    full = [name == "full_attention" for name in kinds]
    places = [number for number, is_full in enumerate(full) if is_full]
    every = places[1] - places[0] if len(places) > 1 else len(kinds)
    full_first = places[0] == 0

    # A shape states a period and no list, so that the list must be what the period gives.
    place_of_full = 0 if full_first else every - 1
    layers = range(config.whole(LAYERS))
    if full != [number % every == place_of_full for number in layers]:
        raise InputError(
            f"{config.path}: layer_types mixes full and windowed layers without a period; that is"
            " not read yet"
        )
    return every, full_first


def _unquantised(fields: Fields) -> tuple[str, ...]:
    """Parts that stay at 16 bit: as the config lists them."""
    quantised = fields.get("quantization_config")
    kept = quantised.get("modules_to_not_convert") if isinstance(quantised, dict) else None
    text = " ".join(str(name) for name in kept) if isinstance(kept, list) else ""
    parts = (("attention", "self_attn"), ("embedding", "lm_head"), ("router", "router"))
    return tuple(part for part, marker in parts if marker in text)
