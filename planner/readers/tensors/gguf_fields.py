"""A GGUF file's metadata in the words of a Hugging Face config.json, so that one reader reads both.

llama.cpp calls most things alike in all families; where Hugging Face does not, the family decides.
What says something of a model's structure and is not known here is handed on under its own name,
so that the reader of configs can refuse what it does not know.
"""

from collections.abc import Mapping
from typing import Any

from planner.errors import InputError, shortened, told
from planner.readers.tensors.gguf_file import GgufFile, Passed
from planner.readers.tensors.inventory import Tensor

Fields = dict[str, Any]

MODEL_TYPES = {
    **{name: name for name in (
        "llama", "falcon", "baichuan", "gpt2", "gptj", "mpt", "bloom", "stablelm", "qwen", "qwen2",
        "qwen3", "phi3", "phimoe", "internlm2", "minicpm", "minicpm3", "gemma", "gemma2",
        "starcoder2", "mamba", "mamba2", "jamba", "cohere2", "dbrx", "olmo", "olmo2", "olmoe",
        "openelm", "arctic", "deepseek", "chatglm", "glm4", "bitnet", "nemotron", "nemotron_h",
        "exaone", "exaone4", "granite", "granitemoe", "dots1", "arcee", "afmoe", "ernie4_5",
        "smollm3", "lfm2", "seed_oss", "apertus",
    )},
    "bailingmoe": "bailing_moe",
    "bailingmoe2": "bailing_moe_v2",
    "command-r": "cohere",
    "deepseek2": "deepseek_v3",
    "ernie4_5-moe": "ernie4_5_moe",
    "falcon-h1": "falcon_h1",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "glm4moe": "glm4_moe",
    "gpt-oss": "gpt_oss",
    "gptneox": "gpt_neox",
    "granitehybrid": "granitemoehybrid",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "kimi-linear": "kimi_linear",
    "lfm2moe": "lfm2_moe",
    "llama4": "llama4_text",
    "minimax-m2": "minimax_m2",
    "mistral3": "ministral3",
    "nemotron_h_moe": "nemotron_h",
    "phi2": "phi",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl_text",
    "qwen3vlmoe": "qwen3_vl_moe_text",
    "starcoder": "gpt_bigcode",
}  # fmt: skip
"""Hugging Face's `model_type` by llama.cpp's architecture."""
PLAIN = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "context_length": "max_position_embeddings",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.sliding_window": "sliding_window",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "leading_dense_block_count": "first_k_dense_replace",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "moe_every_n_layers": "moe_layer_freq",
    "full_attention_interval": "full_attention_interval",
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "altup.num_inputs": "altup_num_inputs",
    "shortconv.l_cache": "conv_L_cache",
    "use_parallel_residual": "use_parallel_residual",
}
"""What is the same in all families."""
NONE_AT_ZERO = ("intermediate_size", "num_attention_heads", "num_key_value_heads")
LOCAL_EXPERTS = (
    "llama", "llama4", "gpt-oss", "phimoe", "granitemoe", "granitehybrid", "minimax-m2",
)  # fmt: skip
ROUTED_EXPERTS = ("deepseek", "deepseek2", "glm4moe", "dots1", "nemotron_h_moe")
"""Families that call their experts so; the others have `num_experts`."""
FFN_OF_EXPERTS = ("llama", "gpt-oss", "phimoe", "granitemoe", "granitehybrid", "minimax-m2")
"""Families whose `intermediate_size` is an expert's."""
WINDOW_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "olmo2": 4,
}  # fmt: skip
"""Layers of which the last sees everything and the others a window, where llama.cpp knows it
without being told."""
PASSED_BY = (
    "vocab_size", "rope.", "attention.layer_norm", "attention.scale", "attention.output_scale",
    "attention.temperature", "attention.clamp_kqv", "attention.max_alibi_bias", "attention.causal",
    "attention.group_norm_epsilon", "attention.relative_buckets", "attn_logit_softcapping",
    "final_logit_softcapping", "router_logit_softcapping", "logit_scale", "residual_scale",
    "embedding_scale", "expert_weights", "expert_gating_func", "expert_group_scale",
    "tensor_data_layout", "pooling_type", "swiglu_clamp", "activation_sparsity_scale",
    "altup.active_idx", "ssm.dt_b_c_rms", "use_parallel_residual", "nextn_predict_layers",
    "n_deepstack_layers", "rescale_every_n_layers",
)  # fmt: skip
"""Beginnings of keys that say nothing of which weights there are."""
STRUCTURAL = ("_count", "_length", "_size", "_rank", "_layers", "_step", "_interval", "_dim")


def config_fields(gguf: GgufFile) -> Fields:
    """The metadata of a GGUF file in the words of a Hugging Face config.json.

    A key of the model's own that is structural and not known here keeps its name, such as
    `llama.new_layer_count`. An InputError says what is missing or no such number.
    """
    return _Metadata(gguf).fields()


def config_remarks(gguf: GgufFile) -> tuple[str, ...]:
    """What a reader should know of how `config_fields` read a file."""
    architecture = _architecture(gguf.metadata)
    if architecture in MODEL_TYPES:
        return ()
    return (
        f"general.architecture {shortened(architecture)} is not known; only the keys that all"
        " families share were read",
    )


def _architecture(metadata: Mapping[str, Any]) -> str:
    found = metadata.get("general.architecture")
    if not isinstance(found, str) or not found:
        raise InputError("general.architecture is missing; it names the family of the model")
    return found


class _Metadata:
    """Keys of one family, and which of them have been read."""

    def __init__(self, gguf: GgufFile) -> None:
        self.metadata = gguf.metadata
        self.architecture = _architecture(gguf.metadata)
        self.tensors: dict[str, Tensor] = {one.name: one for one in gguf.inventory.tensors}
        self.read: set[str] = set()

    def get(self, key: str) -> Any:
        """The value of a key of the family, one number where all layers have the same; None: it
        is not there."""
        self.read.add(key)
        found = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(found, Passed):
            raise InputError(f"{self.architecture}.{key} has {found.length} elements; too many")
        if isinstance(found, tuple):
            return found[0] if len(set(found)) == 1 else list(found)
        return found

    def whole(self, key: str, default: int | None = None) -> int:
        found = self.get(key)
        if found is None and default is not None:
            return default
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**40:
            raise InputError(
                f"{self.architecture}.{key} must be a whole number, not"
                f" {'missing' if found is None else told(found, 30)}"
            )
        return found

    def fields(self) -> Fields:
        made: Fields = {"model_type": MODEL_TYPES.get(self.architecture, self.architecture)}
        layers = self.whole("block_count") - self.whole("nextn_predict_layers", 0)
        if not 1 <= layers <= 10**5:
            raise InputError(
                f"{self.architecture}.block_count must leave at least one layer, not {layers}"
            )
        made["num_hidden_layers"] = layers
        for key, name in PLAIN.items():
            found = self.get(key)
            # A family without a thing, such as one without attention, says that it has none.
            if found is not None and not (found == 0 and name in NONE_AT_ZERO):
                made[name] = _cut(found, layers)
        made |= self._vocabulary()
        made |= self._heads(made)
        made |= self._experts(made)
        made |= self._windows(made, layers)
        made |= self._states(made, layers)
        made |= self._of_tensors()
        made = {name: value for name, value in made.items() if value is not None}
        return made | self._unknown()

    def _vocabulary(self) -> Fields:
        """As many rows as the embedding has, padding included."""
        embedding = self.tensors.get("token_embd.weight")
        tokens = self.metadata.get("tokenizer.ggml.tokens")
        made: Fields = {}
        if embedding is not None and embedding.shape:
            made["vocab_size"] = embedding.shape[0]
        elif self.get("vocab_size") is not None:
            made["vocab_size"] = self.whole("vocab_size")
        elif isinstance(tokens, Passed):
            made["vocab_size"] = tokens.length
        if self.tensors:
            made["tie_word_embeddings"] = "output.weight" not in self.tensors
        return made

    def _of_tensors(self) -> Fields:
        """What llama.cpp takes from the tensors, since no key says it."""
        made: Fields = {}
        side = self.tensors.get("per_layer_token_embd.weight")
        if side is not None and side.shape:
            made["vocab_size_per_layer_input"] = side.shape[0]
        laurel = self.tensors.get("blk.0.laurel_l.weight")
        if laurel is not None and laurel.shape:
            made["laurel_rank"] = laurel.shape[0]
        if self.architecture == "llama":
            for key, name in (("attention_bias", "attn_output"), ("mlp_bias", "ffn_down")):
                if f"blk.0.{name}.bias" in self.tensors:
                    made[key] = True
        if self.architecture.startswith("lfm2"):
            # The length of its feed-forward is what the tensors have.
            made["block_auto_adjust_ff_dim"] = False
        return made

    def _heads(self, made: Fields) -> Fields:
        """Widths of heads; of latent attention, those of its parts."""
        key, value = self.get("attention.key_length"), self.get("attention.value_length")
        latent_key, latent_value = (
            self.get("attention.key_length_mla"),
            self.get("attention.value_length_mla"),
        )
        if made.get("kv_lora_rank"):
            rotated = self.whole("rope.dimension_count")
            whole = "attention.key_length_mla" if latent_key else "attention.key_length"
            # Files that absorb one projection into another say one head of the latent's width.
            return {
                "qk_rope_head_dim": rotated,
                "qk_nope_head_dim": self.whole(whole) - rotated,
                "v_head_dim": latent_value or value,
                "num_key_value_heads": made.get("num_attention_heads"),
            }
        found: Fields = {}
        if key is not None:
            found["head_dim"] = key
        if value is not None and value != key:
            found["v_head_dim"] = value
        kv_heads = made.get("num_key_value_heads")
        if self.architecture == "falcon" and isinstance(kv_heads, int):
            found |= {
                "num_kv_heads": kv_heads,
                "multi_query": kv_heads == 1,
                "new_decoder_architecture": kv_heads > 1,
                "parallel_attn": True,
            }
        return found

    def _experts(self, made: Fields) -> Fields:
        count = self.get("expert_count")
        if not count:
            return self._without_experts(made)
        found: Fields = {}
        if self.architecture == "ernie4_5-moe":
            # What its converter writes is no width of the tensors.
            found["shared_expert_intermediate_size"] = None
        if self.architecture == "llama":
            found["model_type"] = "mixtral"
        if self.architecture == "deepseek2" and self.get("expert_gating_func") != 2:
            found["model_type"] = "deepseek_v2"  # whose router takes a softmax
        name = "num_experts"
        if self.architecture in LOCAL_EXPERTS:
            name = "num_local_experts"
        elif self.architecture in ROUTED_EXPERTS:
            name = "n_routed_experts"
        found[name] = count
        wide = made.get("moe_intermediate_size")
        if wide and self.architecture == "llama4":
            found["intermediate_size_mlp"] = made.get("intermediate_size")
        if wide and self.architecture in ("llama4", *FFN_OF_EXPERTS):
            found["intermediate_size"] = wide
        shared = made.get("shared_expert_intermediate_size")
        if shared and self.architecture.startswith("granite"):
            found["shared_intermediate_size"] = shared
        if shared and self.architecture == "nemotron_h_moe":
            found["moe_shared_expert_intermediate_size"] = shared
        if self.architecture == "lfm2moe":
            found["num_dense_layers"] = made.get("first_k_dense_replace", 0)
        return found

    def _without_experts(self, made: Fields) -> Fields:
        """Of a family that may have experts, a model that has none."""
        found: Fields = {"num_experts_per_tok": None}
        if self.architecture == "granitehybrid":
            found["num_local_experts"] = 0
            found["shared_intermediate_size"] = made.get("intermediate_size")
        return found

    def _windows(self, made: Fields, layers: int) -> Fields:
        """Which layers see a window only."""
        pattern = self.get("attention.sliding_window_pattern")
        if not made.get("sliding_window"):
            return {}
        if isinstance(pattern, list):
            windowed = [bool(one) for one in pattern[:layers]]
        elif isinstance(pattern, bool):
            windowed = [pattern] * layers
        else:
            period = pattern or WINDOW_PERIODS.get(self.architecture, 0)
            if not isinstance(period, int) or period < 1:
                return {}
            windowed = [number % period < period - 1 for number in range(layers)]
        kinds = {True: "sliding_attention", False: "full_attention"}
        return {"layer_types": [kinds[one] for one in windowed]}

    def _states(self, made: Fields, layers: int) -> Fields:
        """State-space and convolution layers: each family has its own words."""
        held = {
            name: self.get(f"ssm.{name}")
            for name in ("conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count")
        }
        heads = self.metadata.get(f"{self.architecture}.attention.head_count_kv")
        mixed = heads if isinstance(heads, tuple) and 0 in heads and any(heads) else ()
        found: Fields = {}
        if mixed:
            found |= _one_number(made, "num_key_value_heads", "num_attention_heads")
            if self.architecture.startswith("nemotron_h"):
                found |= _one_number(made, "intermediate_size")
        if all(value is None for value in held.values()):
            if mixed and self.architecture.startswith("lfm2"):
                kinds = ["full_attention" if one else "conv" for one in mixed[:layers]]
                found["layer_types"] = kinds
            elif mixed:
                found[f"{self.architecture}.attention.head_count_kv"] = list(mixed)
            return found
        for name, value in held.items():
            if isinstance(value, bool) or not (value is None or isinstance(value, int)):
                raise InputError(f"{self.architecture}.ssm.{name} must be a whole number")
        return found | self._of_states(held, mixed, layers)

    def _of_states(self, held: Mapping[str, Any], heads: tuple[Any, ...], layers: int) -> Fields:
        inner = held["inner_size"] or 0
        ranks = held["time_step_rank"] or 0
        a_head = inner // ranks if ranks else 0
        if self.architecture == "mamba":
            return {
                "conv_kernel": held["conv_kernel"],
                "intermediate_size": inner,
                "state_size": held["state_size"],
                "time_step_rank": ranks,
            }
        if self.architecture == "mamba2":
            return {
                "conv_kernel": held["conv_kernel"],
                "state_size": held["state_size"],
                "n_groups": held["group_count"],
                "num_heads": ranks,
                "head_dim": a_head,
                "expand": inner // max(self.whole("embedding_length"), 1),
            }
        if self.architecture in ("qwen3next", "qwen35", "qwen35moe"):
            return {
                "linear_conv_kernel_dim": held["conv_kernel"],
                "linear_key_head_dim": held["state_size"],
                "linear_num_key_heads": held["group_count"],
                "linear_num_value_heads": ranks,
                "linear_value_head_dim": a_head,
                # llama.cpp's own, where the file does not say.
                "full_attention_interval": self.whole("full_attention_interval", 4),
            }
        if self.architecture.startswith("nemotron_h"):
            return {
                "conv_kernel": held["conv_kernel"],
                "ssm_state_size": held["state_size"],
                "n_groups": held["group_count"],
                "mamba_num_heads": ranks,
                "mamba_head_dim": a_head,
                "hybrid_override_pattern": self._pattern(layers),
            }
        if self.architecture == "jamba":
            return self._of_jamba(held, heads, layers)
        if self.architecture in ("granitehybrid", "falcon-h1"):
            found: Fields = {
                "mamba_d_conv": held["conv_kernel"],
                "mamba_d_state": held["state_size"],
                "mamba_n_groups": held["group_count"],
                "mamba_n_heads": ranks,
                "mamba_d_head": a_head,
                "mamba_d_ssm": inner,
            }
            if heads:
                found["layer_types"] = ["attention" if one else "mamba" for one in heads[:layers]]
            return found
        return {f"{self.architecture}.ssm.{name}": value for name, value in held.items()}

    def _of_jamba(self, held: Mapping[str, Any], heads: tuple[Any, ...], layers: int) -> Fields:
        routed = [f"blk.{number}.ffn_gate_inp.weight" in self.tensors for number in range(layers)]
        return {
            "mamba_d_conv": held["conv_kernel"],
            "mamba_d_state": held["state_size"],
            "mamba_dt_rank": held["time_step_rank"] or 0,
            "mamba_expand": (held["inner_size"] or 0) // max(self.whole("embedding_length"), 1),
            **_period([bool(one) for one in heads[:layers]], "attn_layer"),
            **_period(routed, "expert_layer"),
        }

    def _pattern(self, layers: int) -> str:
        """Nemotron-H's layers by its own letters: attention, experts, feed-forward, Mamba."""
        marks = (("attn_q", "*"), ("ffn_gate_inp", "E"), ("ffn_up", "-"), ("ssm_out", "M"))
        letters = ""
        for number in range(layers):
            found = [mark for leaf, mark in marks if f"blk.{number}.{leaf}.weight" in self.tensors]
            if not found:
                raise InputError(f"blk.{number} has no tensor that shows what kind of layer it is")
            letters += found[0]
        return letters

    def _unknown(self) -> Fields:
        """Keys that say something of the structure, and that nobody here has read."""
        made: Fields = {}
        begin = f"{self.architecture}."
        for key, value in self.metadata.items():
            name = key.removeprefix(begin)
            if not key.startswith(begin) or name in self.read or name.startswith(PASSED_BY):
                continue
            listing = isinstance(value, tuple | Passed)
            if listing or name.endswith(STRUCTURAL):
                made[key] = list(value) if isinstance(value, tuple) else value
        return made


def _cut(found: Any, layers: int) -> Any:
    """A list with one entry for each layer, without those of layers that predict later tokens."""
    return found[:layers] if isinstance(found, list) else found


def _period(found: list[bool], name: str) -> Fields:
    """Every how many layers one is of a kind, and the first that is."""
    numbers = [number for number, one in enumerate(found) if one]
    if not numbers:
        return {}
    period = numbers[1] - numbers[0] if len(numbers) > 1 else len(found)
    return {f"{name}_period": period, f"{name}_offset": numbers[0]}


def _one_number(made: Fields, *names: str) -> Fields:
    """Of lists that have zeros where a layer has none of a thing, the number that all others
    have."""
    found: Fields = {}
    for name in names:
        listed = made.get(name)
        if isinstance(listed, list) and len(set(listed) - {0}) == 1:
            found[name] = max(listed)
    return found
