"""The names that families give to their modules: each canonical one (see `Storage`) may be spelled
as one of several paths of components, the usual one first.

A path is what follows `layers.N.`; `#` stands for the number of an expert. Matrices that some
families store as one (`qkv_proj`, `gate_up_proj`) are a spelling of each of their parts.
"""

from functools import lru_cache
from typing import NamedTuple

Path = tuple[str, ...]

LAYERS = ("layers", "h", "blocks", "layer", "block")
"""What a list of layers is called."""
WHOLE = (
    "model",
    "language_model",
    "text_model",
    "backbone",
    "transformer",
    "decoder",
    "llm",
    "thinker",
    "gpt_neox",
    "base_model",
)
"""Components before a list of layers, which say nothing of the module itself."""

FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack", "wqkv", "qkv")
ATTENTION = {
    "q_proj": ("q_proj", *FUSED, "wq", "query"),
    "k_proj": ("k_proj", *FUSED, "wk", "key"),
    "v_proj": ("v_proj", *FUSED, "wv", "value"),
    "o_proj": ("o_proj", "out_proj", "c_proj", "dense", "wo", "wo_a", "wo_b"),
    "q_a_proj": ("q_a_proj", "fused_qkv_a_proj", "wq_a"),
    "q_b_proj": ("q_b_proj", "wq_b"),
    "kv_a_proj_with_mqa": ("kv_a_proj_with_mqa", "kv_a_proj", "fused_qkv_a_proj", "wkv_a", "wkv"),
    "kv_b_proj": ("kv_b_proj", "wkv_b"),
}
RECURRENT = {
    "in_proj": ("in_proj", "in_proj_qkvz", "in_proj_qkv"),
    "out_proj": ("out_proj",),
}
FEED_FORWARD = {
    "gate_proj": ("gate_proj", "gate_up_proj", "w1", "w13", "gate_and_up", "input_linear"),
    "up_proj": (
        *("up_proj", "gate_up_proj", "w3", "w13", "gate_and_up", "input_linear"),
        *("fc1", "c_fc", "dense_h_to_4h", "fc_in"),
    ),
    "down_proj": (
        *("down_proj", "w2", "output_linear"),
        *("fc2", "c_proj", "dense_4h_to_h", "fc_out"),
    ),
}

ATTENTIONS = ("self_attn", "attention", "attn", "mixer", "self_attention")
RECURRENTS = ("linear_attn", "mixer", "mamba")
FEED_FORWARDS = ("mlp", "feed_forward", "ffn", "mixer", "block_sparse_moe", "moe")
EXPERTS: tuple[Path, ...] = (("experts", "#"), ("experts",), ("switch_mlp",))
SHARED = ("shared_experts", "shared_expert", "shared_mlp")
ROUTERS = ("gate", "router", "gate.wg", "router.gate", "router.layer", "router.proj")
ENDS = {
    "embed_tokens": (
        *("embed_tokens", "wte", "word_embeddings", "embeddings", "embed", "tok_embeddings"),
        *("embed_in", "embedding"),
    ),
    "lm_head": ("lm_head", "output", "head", "embed_out", "output_layer"),
}

SPELLED = frozenset(
    word
    for words in (
        *(*ATTENTION.values(), *RECURRENT.values(), *FEED_FORWARD.values(), *ENDS.values()),
        *(ATTENTIONS, RECURRENTS, FEED_FORWARDS, SHARED, *EXPERTS),
        *(name.split(".") for name in ROUTERS),
    )
    for word in words
)
"""All words of which paths are made."""

ROUTER = "mlp.gate"
EXPERT = "mlp.experts."

FOREIGN = (
    *("vision", "visual", "vit", "image", "audio", "speech", "mtp", "nextn", "draft", "eagle"),
    *("projector", "merger", "connector", "multi_modal", "mm_", "aligner", "resampler", "tower"),
    *("encoder", "patch", "sam_model", "codec", "talker", "medusa", "video"),
)
"""Names with these belong to other parts of a checkpoint than the decoder."""
SMALL = (
    *("norm", "ln_", "bias", "conv1d", "rotary", "score", "classifier", "hc_", "eh_proj"),
    *("shared_head", "shared_expert_gate", "a_log", "dt_proj", "x_proj", "in_proj_a", "in_proj_b"),
    *("in_proj_z", "sinks", "compressor", "wpe", "embed_positions", "position", "index", "altup"),
    *("laurel", "per_layer", "latent", "f_a_proj", "f_b_proj", "g_a_proj", "g_b_proj", "b_proj"),
    *("g_proj", "lora", "scale", "self_attn.attn", "q_a_layernorm", "kv_cache"),
)
"""Names with these are of parts that are too small to be told apart."""


class Part(NamedTuple):
    """A canonical module: its layer, and what it is called there."""

    layer: int | None
    leaf: str

    @property
    def is_router(self) -> bool:
        return self.leaf == ROUTER

    @property
    def is_expert(self) -> bool:
        """Whether it is of the routed experts."""
        return self.leaf.startswith(EXPERT)

    @property
    def is_end(self) -> bool:
        """Whether it is the embedding or the output head."""
        return self.leaf in ENDS


def part_of(module: str) -> Part:
    """What a canonical name says."""
    first, _, rest = module.partition(".")
    number, _, leaf = rest.partition(".")
    if first == "layers" and is_count(number) and leaf:
        return Part(int(number), leaf)
    return Part(None, module)


def is_count(text: str) -> bool:
    """Whether it is a number as names have them."""
    return text.isascii() and text.isdecimal() and len(text) <= 6


@lru_cache(maxsize=512)
def paths_of(leaf: str, kind: str = "") -> tuple[Path, ...]:
    """How a canonical module may be spelled, the usual spelling of the family first; `kind` is the
    family's `model_type`."""
    if leaf in ENDS:
        return tuple((name,) for name in ENDS[leaf])
    home, _, name = leaf.rpartition(".")
    own = _paths_of_family(home, name, kind)
    if own:
        return own
    if home == "self_attn":
        return _products(ATTENTIONS, ((),), ATTENTION.get(name, (name,)))
    if home == "linear_attn":
        return _products(RECURRENTS, ((),), RECURRENT.get(name, (name,)))
    if leaf == ROUTER:
        return (*_products(FEED_FORWARDS, ((),), ROUTERS), ("router",), ("router", "proj"))
    if home == "mlp":
        names = FEED_FORWARD.get(name, (name,))
        return (*_products(FEED_FORWARDS, ((),), names), *((one,) for one in names))
    if home == "mlp.experts":
        names = FEED_FORWARD.get(name, (name,))
        bare = tuple((*middle, one) for middle in EXPERTS[:2] for one in names)
        return (*_products(FEED_FORWARDS, EXPERTS, names), *bare)
    if home == "mlp.shared_experts":
        middles = tuple((one,) for one in SHARED)
        return _products(FEED_FORWARDS, middles, FEED_FORWARD.get(name, (name,)))
    return (tuple(leaf.split(".")),)


def _paths_of_family(home: str, name: str, kind: str) -> tuple[Path, ...]:
    """Where a family calls by a usual name something else than others do."""
    if kind.startswith("gemma4"):
        # Dense and routed layers side by side, the routed ones beside `mlp`, not in it.
        if home == "mlp.experts":
            names = FEED_FORWARD.get(name, (name,))
            bare = tuple((*middle, one) for middle in EXPERTS[:2] for one in names)
            return (*bare, *(("moe", *path) for path in bare))
        if f"{home}.{name}" == ROUTER:
            return (("router", "proj"), ("router",))
        if home == "mlp.shared_experts":
            return _products(("mlp",), ((),), FEED_FORWARD.get(name, (name,)))
    if kind == "dbrx" and home == "mlp.experts":
        names = FEED_FORWARD.get(name, (name,))
        return tuple(("ffn", "experts", "mlp", one) for one in reversed(names))
    if kind.startswith("kimi") and home == "linear_attn":
        # Its recurrent layers are attention by name.
        names = {"in_proj": ("q_proj",), "out_proj": ("o_proj",)}.get(name, (name,))
        return _products(("self_attn", "linear_attn"), ((),), names)
    return ()


def _products(
    homes: tuple[str, ...], middles: tuple[Path, ...], names: tuple[str, ...]
) -> tuple[Path, ...]:
    return tuple(
        (home, *middle, *name.split(".")) for home in homes for middle in middles for name in names
    )


@lru_cache(maxsize=512)
def beginnings_of(leaf: str, kind: str = "") -> frozenset[Path]:
    """What a module lies in, and the module itself, in all spellings."""
    paths = paths_of(leaf, kind)
    return frozenset(path[:count] for path in paths for count in range(len(path) + 1))


@lru_cache(maxsize=512)
def runs_of(leaf: str, kind: str = "") -> frozenset[Path]:
    """All rows of neighbouring components in the spellings of a module."""
    return frozenset(
        path[first:end]
        for path in paths_of(leaf, kind)
        for first in range(len(path))
        for end in range(first + 1, len(path) + 1)
    ) | {()}


def is_elsewhere(name: str) -> bool:
    """Whether a name is of another part of a checkpoint than the decoder."""
    plain = name.lower()
    return any(word in plain for word in FOREIGN)


def is_small(name: str) -> bool:
    """Whether a name is of a part that is too small to be told apart."""
    plain = name.lower()
    return any(word in plain for word in SMALL)
