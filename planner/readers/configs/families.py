"""What families of decoders have that their config.json does not say: a gate or none, biases, norms,
what they tie, which layers see a window.

Read from the modelling code of transformers 5.24 (Apache-2.0) and, for families that it has no class
for, of the models' own repositories; each is held against a count of the true tensors (docs/model_counts.md).
`family_defaults.json` has the values that the family's config class gives to keys which a file leaves
out.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple

Biases = tuple[Literal["query", "key value", "output"], ...]

NONE: Biases = ()
QKV: Biases = ("query", "key value")
ALL: Biases = ("query", "key value", "output")


class Family(NamedTuple):
    """What a family has unless its config says otherwise."""

    gated: bool = True
    """Whether a feed-forward part has a gate."""
    tied: bool = False
    norms: int = 1
    """Vectors of a norm: 2 where it shifts too, or where another follows the part."""
    final_norms: int = 1
    biased: Biases = NONE
    ffn_biased: bool = False
    normed: Literal["", "head", "all"] = ""
    """Norms of queries and keys: none, one for a head, or one over all heads."""
    parallel: bool = False
    shares_norm: bool = True
    positions: int | None = None
    """Learned positions beyond those of the longest context; None: positions are computed."""
    full_every: int = 0
    """Of layers with windows, which are said to be there, every so-manieth sees everything."""
    full_first: bool = False
    full_at_ends: bool = False
    """Whether the first layer or the last sees everything too."""
    asks_for_windows: bool = False
    """Whether a window counts only where `use_sliding_window` says so."""
    has_windows: bool = True
    gate: Literal["", "wide", "head"] = ""
    """Of attention's outputs."""
    shared_gate: bool = False
    dense_beside: bool = False
    """Whether layers with experts have an ordinary feed-forward part too."""
    head_biased: bool = False
    router_biased: bool = False
    experts_biased: bool = False
    dense_first: int = 0
    """Layers at the beginning without experts, where nothing is said of them."""
    linear_every: int = 0
    """Of layers every so-manieth attends, where nothing is said of it; 0: all do."""


LLAMA = Family()
LAYER_NORMS = Family(norms=2, final_norms=2)
QWEN_2 = Family(biased=QKV, asks_for_windows=True)
QWEN_3 = Family(normed="head", asks_for_windows=True)
OLDER = Family(gated=False, norms=2, final_norms=2, biased=ALL, ffn_biased=True)
GEMMA_3 = Family(tied=True, norms=2, normed="head", full_every=6)
DEEPSEEK = Family()
COHERE = Family(tied=True, parallel=True)
FALCON = Family(gated=False, tied=True, norms=2, final_norms=2, parallel=True)
PHI = OLDER._replace(parallel=True, head_biased=True)
QWEN_NEXT = Family(normed="head", gate="wide", shared_gate=True, linear_every=4)

FAMILIES: dict[str, Family] = {
    # As Llama
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "mixtral",
            "yi",
            "aquila",
            "baichuan",
            "internlm2",
            "internlm3",
            "deepseek",
            "granite",
            "smollm3",
            "helium",
            "ministral",
            "mistral3",
            "ministral3",
            "xverse",
            "seed_oss",
            "emu3",
            "aria_text",
            "granitemoe",
            "granitemoeshared",
            "deci",
            "zephyr",
            "vicuna",
            "skywork",
            "telechat",
            "solar",
            "arctic",
            "csm",
            "jais2",
            "nanochat",
            "hunyuan",
            "mobilellm",
            "llada",
            "dream",
            "open_llama",
            "bailing_moe",
            "ernie4_5",
            "ernie4_5_moe_vl_text",
            "grok-1",
            "grok",
            "git",
            "diffllama",
            "phi3",
            "phi3_v",
            "phi4mm",
            "phi4_multimodal",
            "mllama_text_model",
            "exaone",
            "nemotron-nas",
            "telechat2",
            "solar_open",
            "voxtral",
            "longcat_flash",
            "pixtral",
            "jetmoe",
            "youtu",
            "minimax_text_01",
            "minimax_m1",
            "lfm2",
            "lfm2_moe",
            "falcon_h1",
            "bamba",
            "jamba",
            "granitemoehybrid",
        ),
        LLAMA,
    ),
    "seed_oss": Family(biased=QKV),
    "internlm": Family(biased=ALL),
    "hunyuan_v1_dense": Family(normed="head"),
    "hunyuan_v1_moe": Family(normed="head"),
    "hunyuan_vl_text": Family(normed="head"),
    "hunyuan_moe": Family(normed="head"),
    **dict.fromkeys(
        ("ernie4_5", "ernie4_5_moe", "paddleocr_vl_text", "minicpm", "minicpm3"), Family(tied=True)
    ),
    "granite": Family(),
    "orion": LAYER_NORMS,
    "stablelm": LAYER_NORMS,
    "stablelm_epoch": LAYER_NORMS,
    "phimoe": Family(norms=2, final_norms=2, router_biased=False),
    "phi3small": Family(norms=2, final_norms=2, biased=ALL, ffn_biased=True, tied=True),
    "smollm3": Family(tied=True, asks_for_windows=True),
    "youtu": Family(tied=True),
    "lfm2": Family(tied=True, normed="head"),
    "lfm2_moe": Family(tied=True, normed="head"),
    "bitnet": Family(),
    "cwm": Family(full_every=4, full_first=True),
    "mimo_v2_flash": Family(full_every=6, full_at_ends=True, dense_first=1),
    "minimax": Family(linear_every=-2),
    **dict.fromkeys(("emu3_text_model", "iquestcoder", "hyperclovax", "mistral4"), LLAMA),
    **dict.fromkeys(
        ("granite_swa", "granitemoe_swa"), Family(tied=True, full_every=4, full_first=True)
    ),
    "hy_v3": Family(normed="head", dense_first=1),
    "mellum": Family(normed="head", has_windows=False),
    "kolibri1": Family(norms=2, normed="head", full_every=5),
    "muse_glimmer_text": Family(norms=2, gate="wide", full_every=4, full_at_ends=True),
    "beam": Family(
        norms=2, normed="head", gate="wide", full_every=6, full_at_ends=True, dense_first=3
    ),
    # Qwen
    "qwen": Family(biased=QKV),
    "qwen2": QWEN_2,
    "qwen2_vl_text": QWEN_2,
    "qwen2_5_vl_text": QWEN_2,
    "qwen2_5_omni_text": QWEN_2,
    "qwen2_vl": QWEN_2,
    "qwen2_5_vl": QWEN_2,
    "qwen2_moe": QWEN_2._replace(shared_gate=True),
    "mimo": QWEN_2,
    "qwen3": QWEN_3,
    "qwen3_moe": QWEN_3,
    "qwen3_vl_text": QWEN_3._replace(has_windows=False),
    "qwen3_vl_moe_text": QWEN_3._replace(has_windows=False),
    "qwen3_omni_moe_text": QWEN_3,
    "qwen3_next": QWEN_NEXT,
    "qwen3_5_text": QWEN_NEXT,
    "qwen3_5_moe_text": QWEN_NEXT,
    "qwen3_5": QWEN_NEXT,
    "qwen3_5_moe": QWEN_NEXT,
    # DeepSeek and those built alike
    **dict.fromkeys(
        (
            "deepseek_v2",
            "deepseek_vl_v2",
            "kimi_k2",
            "kimi_k25",
            "kimi_vl",
            "kimi_linear",
        ),
        DEEPSEEK,
    ),
    **dict.fromkeys(("deepseek_v3", "deepseek_v32", "glm_moe_dsa"), Family(dense_first=3)),
    **dict.fromkeys(("axk1", "sarvam_mla", "glm4_moe_lite"), Family(dense_first=1)),
    "deepseek_v4": Family(),
    "deepseek_ref": Family(),
    # GLM
    "chatglm": Family(biased=QKV),
    "glm": Family(biased=QKV),
    "glm4": Family(biased=QKV, norms=2),
    "glm4_moe": Family(biased=NONE, dense_first=1),
    "glm_ocr_text": Family(norms=2),
    "glm4v_text": Family(biased=QKV, norms=2),
    "glm4v_moe_text": Family(biased=QKV, dense_first=1),
    # Gemma
    "gemma": Family(tied=True),
    "gemma2": Family(tied=True, norms=2, full_every=2),
    "gemma3_text": GEMMA_3,
    "gemma3": GEMMA_3,
    "gemma3n_text": Family(tied=True, norms=2, normed="head", full_every=5),
    **dict.fromkeys(
        ("gemma4_text", "gemma4", "gemma4_unified", "gemma4_unified_text"),
        GEMMA_3._replace(full_at_ends=True, dense_beside=True),
    ),
    "vaultgemma": Family(tied=True, full_every=2),
    "recurrent_gemma": Family(tied=True),
    # OLMo
    "olmo": Family(norms=0, final_norms=0),
    "hf_olmo": Family(norms=0, final_norms=0, tied=True),
    "olmo2": Family(normed="all"),
    "olmo3": Family(normed="all", full_every=4),
    "olmoe": Family(normed="all"),
    "flex_olmo": Family(normed="all"),
    # Cohere
    "cohere": COHERE,
    "cohere2": COHERE._replace(full_every=4),
    "cohere2_moe": COHERE._replace(full_every=4),
    # EXAONE, MiniMax, gpt-oss, Llama 4, Step, Grok, others of now
    "exaone4": Family(normed="head", full_every=4),
    "exaone_moe": Family(normed="head", full_every=4, dense_first=1),
    "minimax_m2": Family(normed="all"),
    "minimax_m3": Family(normed="head"),
    "minimax_m3_vl": Family(normed="head"),
    "minimax_m3_vl_text": Family(normed="head"),
    "gpt_oss": Family(biased=ALL, full_every=2, router_biased=True, experts_biased=True),
    "llama4_text": Family(full_every=4),
    "llama4": Family(full_every=4),
    "step3p5": Family(normed="head", gate="head"),
    "step3p7": Family(normed="head", gate="head"),
    "dots1": Family(normed="head"),
    "afmoe": Family(normed="head", norms=2, gate="wide"),
    "bailing_moe_v2": Family(normed="head"),
    "sarvam_moe": Family(normed="head", dense_first=1),
    "apertus": Family(gated=False, normed="head"),
    "apertus1p5_text": Family(gated=False, normed="head"),
    "arcee": Family(gated=False),
    "jais2": Family(gated=False, norms=2, final_norms=2, biased=ALL, ffn_biased=True),
    "nanochat": Family(gated=False, norms=0, final_norms=0),
    "nemotron": Family(gated=False, norms=2, final_norms=2),
    "nemotron_h": Family(gated=False),
    "persimmon": Family(
        gated=False, norms=2, final_norms=2, biased=ALL, ffn_biased=True, normed="head"
    ),
    "phi": PHI,
    "phi-msft": PHI,
    "mixformer-sequential": PHI,
    # Before them
    "gpt2": OLDER._replace(tied=True, positions=0),
    "gpt-sw3": OLDER._replace(tied=True, positions=0),
    "openai-gpt": OLDER._replace(tied=True, positions=0, final_norms=0),
    "gpt_bigcode": OLDER._replace(tied=True, positions=0),
    "gpt_neo": OLDER._replace(tied=True, positions=0, biased=("output",)),
    "gptj": Family(
        gated=False, norms=2, final_norms=2, ffn_biased=True, parallel=True, head_biased=True
    ),
    "codegen": Family(
        gated=False, norms=2, final_norms=2, ffn_biased=True, parallel=True, head_biased=True
    ),
    "gpt_neox": OLDER._replace(parallel=True, shares_norm=False),
    "gpt_neox_japanese": Family(tied=True, gated=False, norms=2, final_norms=2),
    "opt": OLDER._replace(tied=True, positions=2),
    "bloom": OLDER._replace(tied=True),
    "biogpt": OLDER._replace(tied=True, positions=2),
    "xglm": OLDER._replace(tied=True),
    "mpt": Family(gated=False, tied=True),
    "falcon": FALCON,
    "RefinedWeb": FALCON,
    "RefinedWebModel": FALCON,
    "refinedweb": FALCON,
    "refinedwebmodel": FALCON,
    "starcoder2": OLDER._replace(tied=True),
    "dbrx": Family(norms=1),
    # States in place of caches
    "mamba": Family(tied=True),
    "falcon_mamba": Family(tied=True),
    "mamba2": Family(),
    "codestral_mamba": Family(),
    "rwkv": Family(gated=False, norms=2, final_norms=2),
    "rwkv5": Family(gated=False, norms=2, final_norms=2),
    "rwkv6": Family(gated=False, norms=2, final_norms=2),
}
"""By `model_type`."""

SIZES = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "hidden_size",
    "n_embd",
    "d_model",
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "intermediate_size",
    "ffn_dim",
    "n_inner",
    "vocab_size",
    "head_dim",
)
"""Keys without which a config is taken to be cut short, unless it is the text part of a larger
one: that may state just what differs from the defaults of its family."""


NEVER = ("q_lora_rank",)
"""Keys that files of these families leave out for null, whatever the default."""
LEAVE_OUT = ("deepseek_v2", "deepseek_v3", "deepseek_vl_v2", "kimi_")


def family_of(kind: str) -> Family | None:
    """The family of a `model_type`; None: it is not known."""
    return FAMILIES.get(kind)


@lru_cache
def family_defaults() -> dict[str, dict[str, Any]]:
    """By `model_type`: what its config class gives to keys that a file leaves out."""
    text = (
        resources.files("planner.readers.configs")
        .joinpath("family_defaults.json")
        .read_text("utf-8")
    )
    rows: dict[str, dict[str, Any]] = json.loads(text)["defaults"]
    return rows


def defaults_of(
    kind: str, fields: Mapping[str, Any], aliases: Sequence[tuple[str, ...]], *, nested: bool
) -> dict[str, Any]:
    """What a family's defaults add to the fields of a file: nothing that stands there by any of its
    names, be it null."""
    known = family_defaults().get(kind, {})
    stated = {name for names in aliases if any(name in fields for name in names) for name in names}
    return {
        key: value
        for key, value in known.items()
        if key not in fields
        and key not in stated
        and not (key in NEVER and kind.startswith(LEAVE_OUT))
        and (nested or key not in SIZES or key == "head_dim")
    }
