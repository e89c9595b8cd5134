"""What a tensor of a checkpoint is, by its name: of which module, and which part of it.

Families name alike things differently, and so do file formats; a fused matrix stands for several
modules. Modules are spelled as `planner.models.storage.Storage` says.
"""

import re
from functools import lru_cache
from typing import NamedTuple

PART = re.compile(
    r"^(?P<stem>.+?)[._](?P<part>"
    r"weight\.(?:absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+)"
    r"|weight(?:_packed|_scale(?:_inv|_2)?|_zero_point|_shape|_g_idx|_global_scale|_format)?"
    r"|qweight|qzeros|scales|g_idx|biases|bias|blocks|scale(?:_inv)?|SCB"
    r"|(?:input|output|activation|[qkv]|pre_quant)_scale|input_global_scale|input_zero_point"
    r"|_weight_(?P<torchao>\w+)|weight:_?(?P<older>\w+)"
    r")$"
)
TORCHAO = {
    "qdata": "qdata",
    "data": "qdata",
    "scale": "weight_scale",
    "zero_point": "weight_zero_point",
}
"""Parts of a tensor that torchao has taken apart, as others call them."""
LAST_WORDS = {
    "weight", "bias", "qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale",
    "weight_shape", "weight_scale_inv", "weight_scale_2", "input_scale", "biases",
}  # fmt: skip
"""The commonest parts."""
LAYER = re.compile(
    r"^(?P<before>(?:.*?\.)?)(?:layers|layer|h|blocks|block|blk)\.(?P<number>\d{1,6})\.(?P<body>.+)$"
)
BESIDE = (
    ("prediction of later tokens", re.compile(r"\bmtp\b|\bmtp_|\bnextn\b")),
    ("projector", re.compile(r"projector|connector|resampler|aligner|adapter|^mm\b|embed_vision")),
    ("vision", re.compile(r"vision|visual|image|\bvit\b|\bvpm\b|^v\b")),
    ("audio", re.compile(r"audio|speech|talker|token2wav|embed_audio|^a\b")),
)
"""What a checkpoint holds beside the language model, by the first that its name has."""
MTP = BESIDE[0][0]
SMALL = re.compile(
    r"[Nn]orm|^ln(?:_\w*)?$|^(?:A_log|A|D|dt_bias|conv|conv1d|inv_freq|sinks)$|^ssm_(?:a|d|conv1d)$"
    r"|^rope_|^attn_sinks$|^e_score_correction|^exp_probs_b$|^shared_expert_gate$"
    r"|^ffn_gate_inp_shexp$|^position_embeddings$"
    r"|^(?:token_types|token_type_embeddings)$"
)
"""By the last word of a matrix's name."""

QKV = ("q_proj", "k_proj", "v_proj")
ATTENTION = {
    # The gate of an attention's outputs is counted with its queries.
    **dict.fromkeys(("q_proj", "wq", "query", "attn_q", "attn_gate"), ("q_proj",)),
    **dict.fromkeys(("k_proj", "wk", "key", "attn_k"), ("k_proj",)),
    **dict.fromkeys(("v_proj", "wv", "value", "attn_v"), ("v_proj",)),
    **dict.fromkeys(("o_proj", "wo", "attn_output"), ("o_proj",)),
    **dict.fromkeys(("qkv_proj", "query_key_value", "Wqkv", "wqkv", "c_attn", "qkv"), QKV),
    **dict.fromkeys(("W_pack", "attn_qkv"), QKV),
    "kv_proj": ("k_proj", "v_proj"),
    **dict.fromkeys(("q_a_proj", "wq_a", "attn_q_a"), ("q_a_proj",)),
    **dict.fromkeys(("q_b_proj", "wq_b", "attn_q_b"), ("q_b_proj",)),
    **dict.fromkeys(
        ("kv_a_proj_with_mqa", "wkv_a", "wkv_a_with_mqa", "attn_kv_a_mqa"), ("kv_a_proj_with_mqa",)
    ),
    **dict.fromkeys(("kv_b_proj", "wkv_b", "attn_kv_b", "attn_k_b", "attn_v_b"), ("kv_b_proj",)),
    # MLX multiplies queries and outputs by its two halves.
    **dict.fromkeys(("embed_q", "unembed_out"), ("kv_b_proj",)),
    "fused_qkv_a_proj_with_mqa": ("q_a_proj", "kv_a_proj_with_mqa"),
}
ATTENTION_OUT = dict.fromkeys(("out_proj", "dense", "c_proj", "output.dense"), ("o_proj",))
"""Names that mean the output projection below an attention, and something else elsewhere."""
GATE_UP = ("gate_proj", "up_proj")
FEED_FORWARD = {
    **dict.fromkeys(("gate_proj", "w1", "c_fc_0", "ffn_gate"), ("gate_proj",)),
    **dict.fromkeys(("up_proj", "w3", "c_fc_1", "ffn_up", "v1"), ("up_proj",)),
    **dict.fromkeys(("fc1", "fc_in", "c_fc", "intermediate.dense"), ("up_proj",)),
    **dict.fromkeys(("down_proj", "w2", "ffn_down", "fc2", "fc_out", "c_proj"), ("down_proj",)),
    **dict.fromkeys(("dense_4h_to_h", "output.dense", "output_linear"), ("down_proj",)),
    **dict.fromkeys(("gate_up_proj", "input_linear", "w13"), GATE_UP),
    "dense_h_to_4h": GATE_UP,
}
FIRST_OF_QWEN = {"w1": ("up_proj",), "w2": ("gate_proj",)}
"""Below `mlp`, where Qwen's first models multiply the first by the second's activation."""
LINEAR = {
    **dict.fromkeys(("in_proj", "in_proj_qkvz", "in_proj_ba", "in_proj_qkv"), ("in_proj",)),
    **dict.fromkeys(("in_proj_z", "in_proj_a", "in_proj_b"), ("in_proj",)),
    **dict.fromkeys(("ssm_in", "ssm_ba", "ssm_alpha", "ssm_beta"), ("in_proj",)),
    **dict.fromkeys(("x_proj", "ssm_x"), ("x_proj",)),
    **dict.fromkeys(("dt_proj", "ssm_dt"), ("dt_proj",)),
    **dict.fromkeys(("out_proj", "ssm_out"), ("out_proj",)),
}
GGUF_EXPERTS = re.compile(r"^ffn_(?P<leaf>gate_up|gate|up|down)_(?P<kind>exps|shexp|chexps)$")
EXPERTS = re.compile(
    r"^(?:.*\.)?(?:experts|switch_mlp)\.(?:\d+\.)?(?:mlp\.)?(?P<leaf>[\w]+)$|"
    r"^block_sparse_moe\.(?P<granite>input_linear|output_linear)$"
)
SHARED = re.compile(r"^(?:.*\.)?(?:shared_experts?|shared_mlp)\.(?P<leaf>\w+)$")
ROUTER = re.compile(
    r"^(?:mlp|block_sparse_moe|feed_forward|moe|mixer|ffn)\.(?:gate|router|router\.layer|gate\.wg)$"
    r"|^mlp\.router\.\w+$|^ffn\.router\.layer$|^ffn_gate_inp$|^router\.proj$"
)
ATTENTIONS = (
    "self_attn", "self_attention", "attention", "attn", "mixer", "attention.self", "attn.attention",
    "norm_attn_norm.attn", "temporal_block",
)  # fmt: skip
FEED_FORWARDS = ("mlp", "mlp_block", "feed_forward", "ffn", "mixer", "")
LINEARS = ("linear_attn", "mamba", "mixer", "conv", "shortconv", "ssm", "")
TOPS = {
    **dict.fromkeys(
        ("embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embed_in", "token_embd"),
        "embed_tokens",
    ),
    **dict.fromkeys(("embeddings", "embedding"), "embed_tokens"),
    **dict.fromkeys(("wpe", "embed_positions", "position_embd"), "embed_positions"),
    **dict.fromkeys(("lm_head", "output", "embed_out", "output_layer"), "lm_head"),
    **dict.fromkeys(("embed_tokens_per_layer", "per_layer_token_embd"), "embed_tokens_per_layer"),
    **dict.fromkeys(
        ("per_layer_model_projection", "per_layer_model_proj"), "per_layer_model_projection"
    ),
    **dict.fromkeys(("altup_projections", "altup_proj"), "altup_projections"),
    **dict.fromkeys(
        ("altup_unembed_projections", "altup_unembd_proj"), "altup_unembed_projections"
    ),
}
OF_LAYERS = {
    **dict.fromkeys(("laurel.linear_left", "laurel.linear_right"), ("laurel.linear",)),
    **dict.fromkeys(("laurel_l", "laurel_r"), ("laurel.linear",)),
    **dict.fromkeys(("per_layer_input_gate", "inp_gate"), ("per_layer_input_gate",)),
    **dict.fromkeys(("per_layer_projection", "proj"), ("per_layer_projection",)),
    "self_attn.gate_proj": ("self_attn.q_proj",),
}
"""Matrices of a layer that stand in no container of others like them, or mean something else in
one."""


class Place(NamedTuple):
    """Where a tensor belongs."""

    stem: str
    """Its name without its part: what the tensors of one matrix share."""
    part: str
    """Of the matrix: "weight", or its scales and the like; "weight" where the name has none."""
    modules: tuple[str, ...] = ()
    """That it stands for; none: it is something else."""
    layer: int | None = None
    beside: str = ""
    """Which part beside the language model it belongs to."""
    small: bool = False
    """Whether it is a norm, a bias or the like, which no module's weights count."""


def place_of(name: str) -> Place:
    """Where the tensor of that name belongs."""
    stem, part = _stem_and_part(name)
    found = LAYER.match(stem)
    number = int(found["number"]) if found else None
    # Of a layer only what stands before its number says whose layer it is.
    beside = _beside(found["before"] if found else stem)
    if beside or (found and ".nextn." in stem):
        return Place(stem, part, layer=number, beside=beside or MTP)
    small = part == "bias" or bool(SMALL.search(stem.rpartition(".")[2]))
    if found is None:
        # Of a list of matrices each has a number.
        words = stem.rsplit(".", 2)
        numbered = words[-1].isdecimal() and len(words) > 1
        top = TOPS.get(words[-2] if numbered else words[-1])
        return Place(stem, part, (top,) if top and not small else (), small=small)
    below = () if small else modules_below(found["body"])
    modules = tuple([f"layers.{number}.{module}" for module in below])
    return Place(stem, part, modules, number, small=small)


def _stem_and_part(name: str) -> tuple[str, str]:
    stem, dot, last = name.rpartition(".")
    # Nearly all names end so, and some checkpoints have two hundred thousand.
    if dot and stem and last in LAST_WORDS:
        return stem, last
    split = PART.match(name)
    if split is None:
        return name, "weight"
    taken_apart = split["torchao"] or split["older"]
    part = (
        split["part"] if taken_apart is None else TORCHAO.get(taken_apart, f"weight_{taken_apart}")
    )
    return split["stem"], part


@lru_cache(maxsize=4096)
def _beside(whose: str) -> str:
    return next((beside for beside, mark in BESIDE if mark.search(whose)), "")


@lru_cache(maxsize=4096)
def modules_below(body: str) -> tuple[str, ...]:
    """The modules of a layer that a matrix of it stands for; none where it is not known."""
    if body in OF_LAYERS:
        return OF_LAYERS[body]
    gguf = GGUF_EXPERTS.match(body)
    if gguf:
        kind = "shared_experts" if gguf["kind"] == "shexp" else "experts"
        return _below(f"mlp.{kind}", FEED_FORWARD.get(f"{gguf['leaf']}_proj"))
    if ROUTER.match(body):
        return ("mlp.gate",)
    shared = SHARED.match(body)
    if shared:
        return _below("mlp.shared_experts", FEED_FORWARD.get(shared["leaf"]))
    routed = EXPERTS.match(body)
    if routed:
        leaf = routed["leaf"] or routed["granite"]
        return _below("mlp.experts", FEED_FORWARD.get(leaf))
    return _in_container(body)


def _in_container(body: str) -> tuple[str, ...]:
    """What a matrix is by the container that it stands in and its own name."""
    for leaf in _leaves(body):
        container = body[: -len(leaf)].rstrip(".")
        if container in (*ATTENTIONS, "") and leaf in ATTENTION:
            return _below("self_attn", ATTENTION[leaf])
        if container in ATTENTIONS and container != "mixer" and leaf in ATTENTION_OUT:
            return _below("self_attn", ATTENTION_OUT[leaf])
        if container == "mlp" and leaf in FIRST_OF_QWEN:
            return _below("mlp", FIRST_OF_QWEN[leaf])
        if container in FEED_FORWARDS and leaf in FEED_FORWARD:
            return _below("mlp", FEED_FORWARD[leaf])
        if container in LINEARS and leaf in LINEAR:
            return _below("linear_attn", LINEAR[leaf])
    return ()


def _leaves(body: str) -> tuple[str, ...]:
    """The last word of a name, and its last two."""
    words = body.split(".")
    return ".".join(words[-2:]), words[-1]


def _below(container: str, leaves: tuple[str, ...] | None) -> tuple[str, ...]:
    return tuple([f"{container}.{leaf}" for leaf in leaves or ()])
