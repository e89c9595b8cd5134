"""Attention of a config.json: ordinary or latent, with windows, indexers and compressed caches, the
same in all layers or not."""

from collections.abc import Mapping
from typing import Any

from planner.models.blocks import (
    CompressedAttention,
    Indexer,
    LatentAttention,
    Mixer,
    SelfAttention,
)
from planner.readers.configs.families import ALL, NONE, QKV, Biases, Family
from planner.readers.configs.fields import ConfigFields

HEADS = (
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "attention_heads",
    "num_query_heads",
)
KV_HEADS = (
    "num_key_value_heads",
    "num_kv_heads",
    "n_head_kv",
    "n_kv_heads",
    "multi_query_group_num",
    "num_attention_groups",
    "kv_n_heads",
    "num_query_groups",
)
HEAD_DIM = ("head_dim", "attention_head_dim", "kv_channels", "head_size", "d_kv")
WINDOW = (
    "sliding_window",
    "sliding_window_size",
    "attention_chunk_size",
    "attention_window_size",
    "window_size",
    "local_window_size",
    "context_window",
)

PLACES = (
    "sliding_window_pattern",
    "layer_pattern",
    "max_window_layers",
    "global_attn_every_n_layers",
    "no_rope_layer_interval",
    "no_rope_layers",
    "prefix_dense_sliding_window_pattern",
)
"""Which layers have a window, said otherwise than in a list."""

WINDOWED_HEADS = ("swa_num_attention_heads", "num_sliding_attention_heads")

BIASES = (
    "attention_bias",
    "qkv_bias",
    "use_qkv_bias",
    "add_qkv_bias",
    "use_bias",
    "bias",
    "attn_bias",
)
"""Whether projections have a bias; some of the names speak of the three before attention alone."""

FULL, WINDOWED = "full", "window"
KINDS: Mapping[str, str] = {
    "full_attention": FULL,
    "attention": FULL,
    "global_attention": FULL,
    "global": FULL,
    "full": FULL,
    "sliding_attention": WINDOWED,
    "sliding_window": WINDOWED,
    "chunked_attention": WINDOWED,
    "local_attention": WINDOWED,
    "local": WINDOWED,
    "window_attention": WINDOWED,
    "indexed_attention": FULL,
    "minimax_m3_sparse": FULL,
    "sparse_attention": FULL,
    "deepseek_sparse_attention": FULL,
    "hybrid": FULL,
}
"""What words of `layer_types` say of attention."""


class AttentionReader:
    """Attention of each layer of a decoder."""

    def __init__(self, config: ConfigFields, kind: str, family: Family, hidden: int, layers: int):
        self.config = config
        self.kind = kind
        self.family = family
        self.hidden = hidden
        self.layers = layers
        self.heads_of_layers = self._listed(HEADS)
        self.heads = self.heads_of_layers[0] if self.heads_of_layers else config.whole(HEADS)
        self.kv_heads_of_layers = self._listed(KV_HEADS)
        self.kv_heads = self.kv_heads_of_layers[0] if self.kv_heads_of_layers else self._kv_heads()
        self.head_dim = config.whole(HEAD_DIM, default=0) or self._even_head_dim()
        self.latent = self._latent_width()
        self.biased = self._biases()
        self.crossed = config.positions("cross_attention_layers", layers) or set()
        self.borrowing = self._borrowing()

    def _latent_width(self) -> int:
        """To which keys and values are compressed; 0: they are not."""
        config = self.config
        switch = config.get("use_mla")
        if switch is None:
            return config.whole("kv_lora_rank", default=0)
        if not config.flag("use_mla"):
            config.tick("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "v_head_dim")
            config.tick("qk_rope_head_dim")
            return 0
        return config.whole("kv_lora_rank")

    def _listed(self, names: tuple[str, ...]) -> list[int] | None:
        """A number for each layer, where the config lists unlike ones."""
        value = self.config.get(names)
        if not isinstance(value, list) or len(set(map(str, value))) < 2:
            return None
        return self.config.each_whole(names, self.layers, least=1)

    def _even_head_dim(self) -> int:
        if self.hidden % self.heads and not self.config.has("kv_lora_rank"):
            raise self.config.fault(
                f"hidden_size {self.hidden} is not a multiple of the {self.heads} heads, and"
                " head_dim is missing; give head_dim"
            )
        return self.hidden // self.heads

    def _kv_heads(self) -> int:
        config = self.config
        multi_query = config.flag("multi_query", self.kind.lower() in ("gpt_bigcode", *FALCONS))
        newer = config.flag("new_decoder_architecture")
        config.tick("multi_query_attention")
        if multi_query and not newer and self.kind not in ("mpt",):
            config.get(KV_HEADS)
            return 1
        if self.kind == "chatglm" and not config.flag("multi_query_attention"):
            config.get(KV_HEADS)
            return self.heads
        if self.kind.lower() in ("gpt_bigcode", *FALCONS) and not newer:
            # Falcon's first generation has one key for all heads or one for each, whatever is stated.
            config.get(KV_HEADS)
            return self.heads
        return config.whole(KV_HEADS, default=self.heads)

    def _biases(self) -> Biases:
        config, kind = self.config, self.kind
        stated = config.get(BIASES)
        if stated is None:
            return self.family.biased
        on = config.flag(BIASES)
        if kind in ALWAYS_BIASED:
            return self.family.biased
        name = config.name_of(BIASES)
        if config.flag("attention_out_bias") and on:
            return ALL
        if not on:
            return NONE
        if name in ("qkv_bias", "use_qkv_bias", "add_qkv_bias") or kind in QKV_ALONE:
            return QKV
        return ALL

    def _borrowing(self) -> int:
        """Of the last layers, as many read the keys and values of earlier ones."""
        shared = self.config.whole("num_kv_shared_layers", default=0)
        if shared >= self.layers:
            raise self.config.fault(
                f"num_kv_shared_layers must be less than the {self.layers} layers, not {shared}"
            )
        return shared

    # ── Windows ──────────────────────────────────────────────────────────────────────────────────

    def windows(self, kinds: list[str] | None) -> list[int]:
        """Of each layer; 0 sees everything. `kinds` are FULL and WINDOWED where layers are listed."""
        config = self.config
        listed = kinds is not None and WINDOWED in kinds
        if kinds is not None:
            # Where layers are listed, what else is said of their places says the same again.
            config.tick(*PLACES, *WINDOWED_HEADS)
        window = self._window()
        if kinds is not None and not listed and FULL in kinds:
            # What is listed as seeing everything does so, whatever window stands beside it.
            return [0] * self.layers
        if listed and not window:
            raise config.fault(
                "sliding_window is missing, but some layers are listed as having a window; give"
                " sliding_window"
            )
        if not window:
            config.tick(*PLACES)
            return [0] * self.layers
        if kinds is not None and listed:
            return [window if each == WINDOWED else 0 for each in kinds]
        return [0 if full else window for full in self._full_layers()]

    def _window(self) -> int:
        config = self.config
        if self.kind == "chatglm" or not self.family.has_windows:
            config.tick(*WINDOW)
            return 0
        value = config.get(WINDOW)
        if isinstance(value, list):
            # Some list one for each layer: read as they are.
            config.tick(*WINDOW)
            return 0
        window = config.whole(WINDOW, default=0)
        asked = config.get("use_sliding_window")
        if self.family.asks_for_windows or asked is not None:
            window = window if config.flag("use_sliding_window") else 0
        return window

    def listed_windows(self) -> list[int] | None:
        """A window for each layer, where the config lists them so."""
        if not isinstance(self.config.get(WINDOW), list):
            return None
        return self.config.each_whole(WINDOW, self.layers)

    def _full_layers(self) -> list[bool]:
        """Which of the layers see everything, where a window is stated and no list."""
        config, layers = self.config, self.layers
        pattern = config.get(("sliding_window_pattern", "layer_pattern"))
        if isinstance(pattern, str):
            return self._spelled(pattern)
        flags = config.get("no_rope_layers") if self.kind.startswith("llama4") else None
        if flags:
            return [not rope for rope in config.each_whole("no_rope_layers", layers) or []]

        below = config.whole("max_window_layers", default=0)
        if self.kind == "qwen2_moe" and below:
            # Below it every second has a window, the first one first.
            return [number % 2 == 1 or number >= below for number in range(layers)]
        if self.family.asks_for_windows and below:
            return [number < below for number in range(layers)]
        every = config.whole(
            (
                "sliding_window_pattern",
                "layer_pattern",
                "global_attn_every_n_layers",
                "no_rope_layer_interval",
            ),
            default=0,
        )
        for name in ("sliding_window_pattern", "layer_pattern"):
            if config.fields.get(name) == 0:
                raise config.fault(f"{name} must be at least 1, not 0")
        every = every or self.family.full_every
        if not every:
            return [False] * layers
        first = self.family.full_first
        place = 0 if first else every - 1
        full = [number % every == place for number in range(layers)]
        if self.family.full_at_ends:
            full[0] = full[0] or self.kind.startswith("mimo")
            full[-1] = full[-1] or not self.kind.startswith("mimo")
        return full

    def _spelled(self, pattern: str) -> list[bool]:
        """A run of letters, L for a window and G for everything, again and again."""
        letters = {"L": False, "S": False, "G": True, "F": True}
        name = self.config.name_of(("sliding_window_pattern", "layer_pattern"))
        if not pattern or len(pattern) > self.layers or any(x not in letters for x in pattern):
            raise self.config.fault(
                f"{name} must be letters, L for attention within a window and G for attention to"
                f" all tokens, at most one for each of the {self.layers} layers, not"
                f" {pattern[:30]!r}"
            )
        if len(set(pattern)) == 1 and len(pattern) > 1:
            raise self.config.fault(
                f"{name} {pattern[:30]!r} has only one kind of layers; give both letters, or leave"
                " it out"
            )
        return [letters[pattern[number % len(pattern)]] for number in range(self.layers)]

    # ── One layer ────────────────────────────────────────────────────────────────────────────────

    def mixers(self, kinds: list[str] | None) -> list[Mixer]:
        """Attention of every layer; of those that have none, what they would have."""
        config = self.config
        windows = self.listed_windows() or self.windows(kinds)
        made: dict[Any, Mixer] = {}
        ratios = self._compress_ratios()
        heads = self.heads_of_layers or [self.heads] * self.layers
        kv_heads = self._kv_heads_of_layers()
        widths = self._head_dims_of_layers()
        sparse = self._indexed_layers()
        found = []
        for number, window in enumerate(windows):
            borrowed = number >= self.layers - self.borrowing
            key = (
                window,
                heads[number],
                kv_heads[number],
                widths[number],
                borrowed,
                number in self.crossed,
                ratios[number],
                sparse[number],
            )
            if key not in made:
                made[key] = self._mixer(*key)
                config.check_unlike(made)
            found.append(made[key])
        return found

    def _kv_heads_of_layers(self) -> list[int]:
        stated = self.config.each_whole("num_key_value_heads_per_layer", self.layers, least=1)
        found = stated or self.kv_heads_of_layers or [self.kv_heads] * self.layers
        return self._overridden(found, KV_HEADS)

    def _head_dims_of_layers(self) -> list[int]:
        """0: as all others."""
        return self._overridden([0] * self.layers, HEAD_DIM)

    def _overridden(self, values: list[int], names: tuple[str, ...]) -> list[int]:
        """With what `per_layer_config` says of single layers."""
        table = self.config.table("per_layer_config")
        if table is None:
            return values
        found = list(values)
        for key, row in table.fields.items():
            if not str(key).isdecimal() or not int(key) < self.layers or not isinstance(row, dict):
                raise table.fault(
                    f"{str(key)[:20]!r} must be the number of a layer, and its value must be an"
                    " object"
                )
            one = ConfigFields(row, f"{table.path}[{key}]")
            one.tick(*KV_HEADS, *HEAD_DIM)
            one.refuse_unread()
            found[int(key)] = one.whole(names, default=0) or found[int(key)]
        return found

    def _mixer(
        self,
        window: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        borrowed: bool,
        crossed: bool,
        ratio: int,
        sparse: str,
    ) -> Mixer:
        if ratio >= 0:
            return self._compressed(ratio)
        if self.latent:
            return self._latent(window, sparse)
        return self.plain(
            window,
            kv_heads,
            heads=heads,
            head_dim=head_dim,
            borrowed=borrowed,
            crossed=crossed,
            sparse=sparse,
        )

    def plain(
        self,
        window: int,
        kv_heads: int,
        *,
        heads: int = 0,
        head_dim: int = 0,
        borrowed: bool = False,
        crossed: bool = False,
        sparse: str = "",
    ) -> SelfAttention:
        """Ordinary attention of one layer; 0 heads or width: as all layers."""
        config = self.config
        heads, stated_dim = heads or self.heads, head_dim
        head_dim = head_dim or self.head_dim
        value_dim = config.whole("v_head_dim", default=0)
        if config.get("use_mla") is False:
            value_dim = 0
        key_is_value = False
        if window:
            heads = config.whole(WINDOWED_HEADS, default=0) or heads
            heads = self._other_heads() or heads
            twice = 2 * kv_heads if self.kind == "mimo_v2_flash" else kv_heads
            kv_heads = config.whole("swa_num_key_value_heads", default=0) or twice
            head_dim = config.whole("swa_head_dim", default=0) or head_dim
            value_dim = config.whole("swa_v_head_dim", default=0) or value_dim
        else:
            wide = config.whole("global_head_dim", default=self._wide_head_dim())
            head_dim = stated_dim or wide or head_dim
            key_is_value = config.flag("attention_k_eq_v")
            fewer = config.whole("num_global_key_value_heads", default=0)
            if key_is_value or not self.kind.startswith("gemma4"):
                kv_heads = fewer or kv_heads
        if heads % kv_heads:
            raise config.fault(
                f"{config.name_of(KV_HEADS)} {kv_heads} does not divide the {heads} heads; it must"
            )
        gate = self._gate(heads, head_dim)
        return SelfAttention(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            value_dim=0 if value_dim == head_dim else value_dim,
            window_tokens=window,
            gate_width=gate,
            biased=self.biased,
            norm_weights=self._norm_weights(heads, kv_heads, head_dim),
            key_is_value=key_is_value,
            borrowed=borrowed,
            crossed_tokens=self._crossed_tokens() if crossed else 0,
            indexer=self._indexer(sparse, self.hidden),
        )

    def _wide_head_dim(self) -> int:
        """Of layers that see everything, where neither a key nor a table says it; 0: as all."""
        if self.kind.startswith("gemma4") and not self.config.has("per_layer_config"):
            return 512
        return 0

    def _other_heads(self) -> int:
        """Step's: layers with a window may have more heads."""
        other = self.config.table("attention_other_setting")
        return other.whole(HEADS, default=0) if other is not None else 0

    def _gate(self, heads: int, head_dim: int) -> int:
        config = self.config
        stated = config.get(("attn_output_gate", "use_head_wise_attn_gate", "attention_gate"))
        config.tick("attention_output_gate", "use_attention_output_gate")
        kind = self.family.gate
        if stated is not None and not config.flag(
            ("attn_output_gate", "use_head_wise_attn_gate", "attention_gate")
        ):
            kind = ""
        if kind == "wide":
            return heads * head_dim
        return heads if kind == "head" else 0

    def _norm_weights(self, heads: int, kv_heads: int, head_dim: int) -> int:
        config = self.config
        kind: str = self.family.normed
        config.tick("qk_norm_type")
        if config.get("qk_norm_type") in ("per_head", "per_layer"):
            kind = "head" if config.get("qk_norm_type") == "per_head" else "all"
        names = ("use_qk_norm", "qk_layernorm", "qk_norm", "attn_qk_norm", "use_query_key_norm")
        stated = config.get(names)
        if stated is not None and self.kind not in NORMED_ANYWAY:
            kind = (kind or "head") if config.flag(names) else ""
        if kind == "head":
            return 2 * head_dim
        return (heads + kv_heads) * head_dim if kind == "all" else 0

    def _crossed_tokens(self) -> int:
        """Of a picture: tiles of so many patches, and one for each tile's class."""
        table = self.config.table("vision_config") or ConfigFields({}, self.config.path)
        patch = table.whole("patch_size", default=14)
        size = table.whole("image_size", default=560)
        tiles = table.whole("max_num_tiles", default=4)
        return tiles * ((size // patch) ** 2 + 1)

    # ── Latent attention ─────────────────────────────────────────────────────────────────────────

    def _latent(self, window: int, sparse: str) -> LatentAttention:
        config = self.config
        q_latent = config.whole("q_lora_rank", default=0)
        value_dim = config.whole("v_head_dim", default=0) or self.hidden // self.heads
        gated = config.flag("mla_use_output_gate")
        return LatentAttention(
            heads=self.heads,
            q_latent=q_latent,
            kv_latent=self.latent,
            rope_dim=self._rope_dim(),
            nope_dim=config.whole("qk_nope_head_dim"),
            value_dim=value_dim,
            window_tokens=window,
            gate_width=self.heads * value_dim if gated else 0,
            norm_weights=q_latent + self.latent,
            indexer=self._indexer(sparse, q_latent or self.hidden),
        )

    def _rope_dim(self) -> int:
        self.config.tick("qk_head_dim", "mla_use_nope", "qk_nope_dim")
        if self.config.get("qk_rope_head_dim") == 0:
            return 0
        return self.config.whole("qk_rope_head_dim")

    # ── What an indexer chooses ──────────────────────────────────────────────────────────────────

    def _indexed_layers(self) -> list[str]:
        """Of each layer: "own" where an indexer scores for it, "other" where it takes the choice of
        an earlier layer, "" where it sees everything."""
        config, layers = self.config, self.layers
        config.tick(
            "index_n_heads",
            "index_head_dim",
            "index_block_size",
            "index_local_blocks",
            "index_topk_freq",
            "index_skip_topk_offset",
            "index_topk_pattern",
            "index_share_for_mtp_iteration",
        )
        types = config.each_word("indexer_types", layers, {"full": "own", "shared": "other"})
        if types is not None:
            return [str(each) for each in types]
        if config.has("index_topk_blocks"):
            words = config.get("layer_types") or []
            listed = isinstance(words, list) and "minimax_m3_sparse" in words
            return [
                "own" if listed and words[n] == "minimax_m3_sparse" else "" for n in range(layers)
            ]
        sparse = config.table("sparse_attention_config")
        if sparse is not None:
            where = sparse.each_whole("sparse_attention_freq", layers)
            return ["own" if each else "" for each in where or [1] * layers]
        if not config.has("index_topk"):
            return [""] * layers
        # The first ones score for themselves, and then every so-manieth, the last of its run.
        every = config.whole("index_topk_freq", default=1)
        first = config.whole("index_skip_topk_offset", default=0)
        return [
            "own" if number < first or (number - first + 1) % every == 0 else "other"
            for number in range(layers)
        ]

    def _indexer(self, sparse: str, inputs: int) -> Indexer | None:
        config = self.config
        if not sparse:
            return None
        if config.has("index_topk_blocks"):
            return Indexer(
                heads=config.whole("index_n_heads"),
                width=config.whole("index_head_dim"),
                inputs=self.hidden,
                chosen_tokens=config.whole("index_topk_blocks")
                * config.whole("index_block_size", default=128),
                key_dtype="bf16",
            )
        table = config.table("sparse_attention_config")
        if table is not None:
            blocks = table.whole("sparse_topk_blocks", default=16)
            each = table.whole("sparse_block_size", default=128)
            return Indexer(
                heads=table.whole("sparse_num_index_heads"),
                width=table.whole("sparse_index_dim"),
                inputs=self.hidden,
                chosen_tokens=blocks * each,
                key_dtype="bf16",
            )
        return Indexer(
            heads=config.whole("index_n_heads"),
            width=config.whole("index_head_dim"),
            inputs=inputs,
            chosen_tokens=config.whole("index_topk"),
            owned=sparse == "own",
        )

    # ── Compressed caches ────────────────────────────────────────────────────────────────────────

    def _compress_ratios(self) -> list[int]:
        """Tokens that an entry of each layer stands for; 0: a window alone, -1: no such cache."""
        config = self.config
        stated = config.each_whole("compress_ratios", self.layers)
        rates = config.table(("compress_rates", "compress_rate"))
        if (
            stated is None
            and self.kind in ("deepseek_v4", "deepseek_ref")
            and config.has("layer_types")
        ):
            words = {
                "sliding_attention": 0,
                "full_attention": 0,
                "compressed_sparse_attention": 4,
                "heavily_compressed_attention": 128,
            }
            if rates is not None:
                words |= {name: rates.whole(name) for name in rates.fields if name in words}
            return config.each_word("layer_types", self.layers, words) or []
        return [-1] * self.layers if stated is None else stated

    def _compressed(self, ratio: int) -> CompressedAttention:
        config = self.config
        q_latent = config.whole("q_lora_rank")
        config.tick("qk_rope_head_dim", "num_key_value_heads")
        # Entries of few tokens are chosen from, and overlap; those of many are all seen.
        chosen = 0 < ratio <= 16 and config.has("index_topk")
        indexer = None
        if chosen:
            indexer = self._indexer("own", q_latent)
        return CompressedAttention(
            heads=self.heads,
            head_dim=self.head_dim,
            q_latent=q_latent,
            window_tokens=config.whole(WINDOW),
            tokens_per_entry=ratio,
            overlaps=chosen,
            output_groups=config.whole("o_groups", default=1),
            output_latent=config.whole("o_lora_rank"),
            norm_weights=q_latent + 2 * self.head_dim,
            indexer=indexer,
        )


FALCONS = ("falcon", "refinedweb", "refinedwebmodel")
ALWAYS_BIASED = (
    "gpt2",
    "gpt_neo",
    "gpt_bigcode",
    "opt",
    "bloom",
    "gptj",
    "codegen",
    "phi",
    "phi-msft",
    "qwen",
)
"""Families whose biases no key moves."""
QKV_ALONE = (
    "seed_oss",
    "glm",
    "glm4",
    "glm4_moe",
    "glm4v_text",
    "glm4v_moe_text",
    "chatglm",
    "qwen2_moe",
    "stablelm",
    "stablelm_epoch",
)
"""Families whose key for biases spares the output."""
NORMED_ANYWAY = ("llama4_text", "llama4", "gemma3_text", "nemotron_h")
"""Families of which a key on norms of queries and keys brings no weights, or takes none away."""
