"""A `params.json` as Meta and Mistral ship it, in the words of a Hugging Face config.json.

Meta's states no width of the feed-forward layers but what it is made from: two thirds of four
times the model's, by a factor, up to the next multiple [1].

[1] https://github.com/meta-llama/llama/blob/main/llama/model.py, `FeedForward`.
"""

import math
from collections.abc import Mapping
from typing import Any

from planner.errors import InputError, told

Fields = Mapping[str, Any]

NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "vocab_size": "vocab_size",
    "sliding_window": "sliding_window",
    "_sliding_window": "sliding_window",
    "max_seq_len": "max_position_embeddings",
    "max_position_embeddings": "max_position_embeddings",
    "model_max_length": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
    "tie_embeddings": "tie_word_embeddings",
    "q_lora_rank": "q_lora_rank",
    "kv_lora_rank": "kv_lora_rank",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "qk_nope_head_dim": "qk_nope_head_dim",
    "v_head_dim": "v_head_dim",
}
EXPERTS = {
    "num_experts": "num_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace",
    "route_every_n": "moe_layer_freq",
    "num_expert_groups": "n_group",
    "num_expert_groups_per_tok": "topk_group",
}
NO_STRUCTURE = (
    "use_scaled_rope", "rope_scaling_factor", "rope_scaling", "rope_freq_base", "yarn", "causal",
    "use_biases", "ffn_dim_multiplier", "multiple_of", "moe", "max_batch_size", "llama_4_scaling",
    "vision_encoder", "vision_args", "audio_encoder", "multimodal", "quantization", "routed_scale",
    "num_vocab_size_padding", "rms_norm", "expert_parallel", "expert_model_parallel",
)  # fmt: skip
"""What is read elsewhere here, or says nothing of which weights the text model has."""


def config_fields_of_params(fields: Fields, path: str) -> dict[str, Any]:
    """The fields of a params.json in the words of a Hugging Face config.json.

    What is not known here keeps its name, so that the reader of configs can refuse it. An
    InputError says what is missing or no such number.
    """
    nested = next((fields[key] for key in ("text", "text_config", "llm") if key in fields), None)
    given = {**fields, **nested} if isinstance(nested, dict) else dict(fields)
    for key in ("text", "text_config", "llm"):
        given.pop(key, None)
    _whole(given, "dim", path)
    made: dict[str, Any] = {"model_type": "mistral" if "hidden_dim" in given else "llama"}
    for key, value in given.items():
        if key in NAMES and value is not None:
            made[NAMES[key]] = value
        elif key not in NAMES and key not in NO_STRUCTURE:
            made[key] = value
    if made.get("vocab_size") == -1:
        raise InputError(
            f"{path}: vocab_size is -1, which means that only the tokenizer has it; write the"
            " tokenizer's number of tokens"
        )
    if "hidden_dim" not in given:
        made["intermediate_size"] = _metas_width(given, path)
    return made | _experts(given, path)


def _metas_width(given: Fields, path: str) -> int:
    """Of a feed-forward layer."""
    multiple = _whole(given, "multiple_of", path, default=256)
    factor = given.get("ffn_dim_multiplier")
    width = int(2 * 4 * _whole(given, "dim", path) / 3)
    if factor is not None:
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not number or not 0 < factor < 1000:
            raise InputError(
                f"{path}: ffn_dim_multiplier must be a number above 0, such as 1.3, not"
                f" {told(factor, 30)}"
            )
        width = int(factor * width)
    return multiple * math.ceil(width / multiple)


def _experts(given: Fields, path: str) -> dict[str, Any]:
    """Of Mistral's table of experts, or of its older keys beside the others."""
    table = given.get("moe")
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise InputError(f"{path}: moe must be an object with num_experts, num_experts_per_tok")
    made: dict[str, Any] = {"model_type": "mixtral"}
    for key, value in table.items():
        if key in EXPERTS and value is not None:
            made[EXPERTS[key]] = value
        elif key not in EXPERTS and key not in NO_STRUCTURE:
            made[f"moe.{key}"] = value
    made["num_local_experts"] = made.pop("num_experts", None)
    return made


def _whole(given: Fields, key: str, path: str, default: int | None = None) -> int:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
        raise InputError(
            f"{path}: {key} must be a whole number of at least 1, not"
            f" {'missing' if value is None else told(value, 30)}"
        )
    return value
