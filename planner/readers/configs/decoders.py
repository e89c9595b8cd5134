"""A decoder, block by block, from the fields of a config.json."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from planner.models.blocks import (
    Block,
    Decoder,
    DenseFeedForward,
    FeedForward,
    Mixer,
    Projection,
    Recurrence,
)
from planner.readers.configs.attention import FULL, HEADS, KINDS, WINDOWED, AttentionReader
from planner.readers.configs.families import LLAMA, Family, family_of
from planner.readers.configs.feed_forward import NOTHING, FeedForwardReader
from planner.readers.configs.fields import MOST_LAYERS, ConfigFields
from planner.readers.configs.recurrences import RecurrenceReader

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim", "model_dim")
VOCABULARY = ("vocab_size", "padded_vocab_size", "embedding_size", "n_vocab")
CONTEXT = (
    "max_position_embeddings",
    "n_positions",
    "seq_length",
    "max_sequence_length",
    "max_seq_len",
    "n_ctx",
    "model_max_length",
)

TIED = ("tie_word_embeddings", "weight_tying", "tie_embeddings", "tied_embeddings")
RWKV = ("rwkv", "rwkv5", "rwkv6", "rwkv7")
RECEPTANCE = "receptance"
LINEAR, MAMBA, CONVOLUTION, VECTOR, BESIDE, EMPTY = (
    "linear",
    "mamba",
    "convolution",
    "vector",
    "beside",
    "empty",
)
"""Mixers of a layer beside FULL and WINDOWED attention; BESIDE: a recurrence beside attention."""

WORDS: Mapping[str, str] = {
    **KINDS,
    "linear_attention": LINEAR,
    "lightning_attention": LINEAR,
    "kda": LINEAR,
    "gated_deltanet": LINEAR,
    "mamba": MAMBA,
    "mamba2": MAMBA,
    "m": MAMBA,
    "a": FULL,
    "conv": CONVOLUTION,
    "short_conv": CONVOLUTION,
    "recurrent": VECTOR,
    "rglru": VECTOR,
    "compressed_sparse_attention": FULL,
    "heavily_compressed_attention": FULL,
}
LETTERS = {
    "M": (MAMBA, NOTHING),
    "*": (FULL, NOTHING),
    "-": (EMPTY, "dense"),
    "E": (EMPTY, "routed"),
}
"""Of Nemotron-H's hybrid_override_pattern: the mixer of a layer and its feed-forward part."""
BLOCK_WORDS = {
    "mamba": LETTERS["M"],
    "linear_attention": LETTERS["M"],
    "full_attention": LETTERS["*"],
    "attention": LETTERS["*"],
    "mlp": LETTERS["-"],
    "moe": LETTERS["E"],
}


class Sides(NamedTuple):
    """What a layer is made of, in words."""

    mixer: str
    feed_forward: str | None
    """None: as the reader of feed-forward parts says."""


def decoder_from(config: ConfigFields) -> tuple[Decoder, list[str]]:
    """The decoder that a config states, and what answers are to say about how it was read."""
    return _DecoderReader(config).read()


class _DecoderReader:
    def __init__(self, config: ConfigFields) -> None:
        self.config = config
        self.kind = str(config.get("model_type") or "")
        known = family_of(self.kind) or family_of(self.kind.lower())
        self.remarks: list[str] = []
        self.family = known or self._unknown()
        self.layers = self._layers()
        self.hidden = config.whole(HIDDEN)

    def _unknown(self) -> Family:
        called = (
            f"model_type {self.kind[:40]!r} is not known" if self.kind else "model_type is missing"
        )
        own = "" if self.config.has(TIED) else " and an output head of its own"
        self.remarks.append(
            f"{called}: the model is read as a decoder with gated feed-forward layers{own}"
        )
        return LLAMA

    def _layers(self) -> int:
        config = self.config
        pattern = config.get("hybrid_override_pattern")
        listed = config.get(("layers_block_type", "layer_types"))
        known = {"nemotron_h": pattern if isinstance(pattern, str) else listed}.get(self.kind)
        if isinstance(known, str | list) and known and config.get(LAYERS) is None:
            if len(known) > MOST_LAYERS:
                raise config.fault(f"layers_block_type has more than {MOST_LAYERS} layers")
            return len(known)
        return config.whole(LAYERS, most=MOST_LAYERS)

    def read(self) -> tuple[Decoder, list[str]]:
        config = self.config
        # Some families list what each block is made of, and state no widths for all.
        blocks = self._searched_blocks() if config.has("block_configs") else self._blocks()
        family = self.family
        tied = config.flag(TIED, family.tied)
        # Of these the head is always a matrix of its own, whatever the config says.
        tied = tied and self.kind not in RWKV[1:]
        context = config.whole(CONTEXT, default=0)
        return Decoder(
            hidden=self.hidden,
            vocabulary=config.whole(VOCABULARY)
            if self.kind != "hf_olmo"
            else config.whole(("embedding_size", "vocab_size")),
            blocks=tuple(blocks),
            tied_embedding=tied,
            embedding_width=self._embedding_width(),
            positions=0 if family.positions is None else context + family.positions,
            final_norm_weights=self._final_norms(),
            side_vocabulary=self._side_vocabulary(),
            head_biased=config.flag("lm_head_bias", family.head_biased),
            streams=self._streams(),
            copied_by_matrices=config.has("altup_num_inputs"),
            most_context_tokens=context,
        ), self.remarks

    def _embedding_width(self) -> int:
        width = self.config.whole(("word_embed_proj_dim",), default=0)
        return 0 if width == self.hidden else width

    def _streams(self) -> int:
        """Copies of the stream; how a family that is not known joins them cannot be known."""
        names = ("hc_mult", "altup_num_inputs")
        streams = self.config.whole(names, default=1) or 1
        if streams > 1 and family_of(self.kind) is None:
            raise self.config.fault(
                f"{self.config.name_of(names)} is not a known key for model_type {self.kind!r}"
            )
        return streams

    def _final_norms(self) -> int:
        """OPT's that norm after each part have none at the end."""
        last = self.kind != "opt" or self.config.flag("do_layer_norm_before", True)
        return self.family.final_norms if last else 0

    def _side_vocabulary(self) -> int:
        if not self.config.whole("hidden_size_per_layer_input", default=0):
            self.config.tick("vocab_size_per_layer_input")
            return 0
        return self.config.whole("vocab_size_per_layer_input", default=0) or self.config.whole(
            VOCABULARY
        )

    # ── Blocks ───────────────────────────────────────────────────────────────────────────────────

    def _blocks(self) -> list[Block]:
        config, family = self.config, self.family
        self._open_tables()
        sides = self._sides()
        attends = any(side.mixer in (FULL, WINDOWED, BESIDE) for side in sides)
        attention = None
        if attends or (config.has(HEADS) and self.kind not in RWKV):
            attention = AttentionReader(config, self.kind, family, self.hidden, self.layers)
        if attention and attention.latent and "q_lora_rank" not in config.fields:
            self.remarks.append("q_lora_rank is missing: queries are assumed to be uncompressed")
        heads = attention.heads if attention else 1
        head_dim = attention.head_dim if attention else self.hidden
        kinds = [side.mixer if side.mixer in (FULL, WINDOWED) else FULL for side in sides]
        listed = self._lists_windows()
        mixers = attention.mixers(kinds if listed else None) if attention and attends else []
        recurrences = RecurrenceReader(config, self.kind, self.hidden, heads, head_dim)
        made: dict[str, Recurrence] = {}
        feeds = self._feeds(sides)

        shared: dict[tuple[Any, ...], Block] = {}
        blocks = []
        for number, side in enumerate(sides):
            parts: list[Mixer | FeedForward] = []
            if side.mixer in (FULL, WINDOWED, BESIDE):
                parts.append(mixers[number])
                parts += [mixers[number]] * (self.kind == "longcat_flash")
            if side.mixer in RECURRENT:
                if side.mixer not in made:
                    made[side.mixer] = RECURRENT[side.mixer](recurrences)
                parts.append(made[side.mixer])
            parts += feeds[number]
            key = tuple(id(part) for part in parts)
            if key not in shared:
                shared[key] = self._block(tuple(parts))
                config.check_unlike(shared)
            blocks.append(shared[key])
        return blocks

    def _open_tables(self) -> None:
        """Bring the fields of MPT's and DBRX's groups to the top."""
        opened: dict[str, Any] = {}
        for name in ("attn_config", "ffn_config"):
            table = self.config.table(name)
            if table is not None:
                opened |= {key: value for key, value in table.fields.items() if key in OPENED}
        if opened:
            self.config.fields = {**self.config.fields, **opened}

    def _block(self, parts: tuple[Mixer | FeedForward, ...]) -> Block:
        config, family = self.config, self.family
        # Attention over the outputs of earlier layers: a norm and a vector of scores for each part.
        residual = config.whole("attn_res_block_size", default=0) > 0
        config.tick("parallel_attn", "use_parallel_residual", "new_decoder_architecture")
        parallel = config.flag(
            ("parallel_attn", "use_parallel_residual", "parallel_residual"), family.parallel
        )
        # Falcon's later ones have two norms beside each other.
        newer = config.flag("new_decoder_architecture")
        two = newer and config.whole("num_ln_in_parallel_attn", default=2) > 1
        return Block(
            parts=parts,
            parallel=parallel or newer,
            shares_norm=family.shares_norm and not two,
            norm_weights=family.norms + 2 * residual,
            side_width=config.whole("hidden_size_per_layer_input", default=0),
            beside=self._beside(),
        )

    def _beside(self) -> tuple[Projection, ...]:
        """Of Gemma 3n: a residual of low rank beside attention."""
        rank = self.config.whole("laurel_rank", default=0)
        self.config.tick("activation_sparsity_pattern")
        if not rank:
            return ()
        module = "laurel.linear"
        down = Projection(
            name="laurel down", inputs=self.hidden, outputs=rank, split="none", module=module
        )
        up = Projection(
            name="laurel up", inputs=rank, outputs=self.hidden, split="none", module=module
        )
        return down, up

    def _feeds(self, sides: list[Sides]) -> list[tuple[FeedForward, ...]]:
        """Feed-forward parts of every layer."""
        if all(side.feed_forward == NOTHING for side in sides) or self.kind in NO_FEEDS:
            return [()] * self.layers
        reader = FeedForwardReader(self.config, self.kind, self.family, self.hidden, self.layers)
        if self.kind == "longcat_flash":
            dense = reader.dense()
            routed = reader.routed(self.config.whole(("moe_topk", "num_experts_per_tok")))
            return [(dense, dense, routed)] * self.layers
        if self.kind == "granitemoehybrid" and reader.experts <= 1:
            shared = DenseFeedForward(
                width=self.config.whole("shared_intermediate_size"), gated=True
            )
            return [(shared,)] * self.layers
        stated = [side.feed_forward for side in sides]
        if any(each is not None for each in stated):
            dense_part = (reader.dense(),) if "dense" in stated else ()
            routed_part: tuple[FeedForward, ...] = ()
            if "routed" in stated:
                routed_part = (reader.routed(self.config.whole(("num_experts_per_tok",))),)
            by_word: dict[str | None, tuple[FeedForward, ...]] = {
                "dense": dense_part,
                "routed": routed_part,
                NOTHING: (),
            }
            return [by_word[each] for each in stated]
        return reader.parts()

    # ── Which layers are what ────────────────────────────────────────────────────────────────────

    def _lists_windows(self) -> bool:
        """Whether the config lists which layers have a window."""
        return any(
            self.config.has(name)
            for name in ("layer_types", "hybrid_layer_pattern", "attention_types")
        )

    def _sides(self) -> list[Sides]:
        """What each layer is made of."""
        config, layers = self.config, self.layers
        pattern = config.get("hybrid_override_pattern")
        if isinstance(pattern, str):
            return self._by_letters(pattern)
        if self.kind == "nemotron_h" or (
            config.get("layers_block_type") and self._has_block_words()
        ):
            words = config.each_word(("layers_block_type", "layer_types"), layers, BLOCK_WORDS)
            if words is not None:
                return [Sides(*each) for each in words]
        # Where layers are listed, what else is said of their places says the same again.
        config.tick(
            "conv_L_cache",
            "conv_bias",
            "conv_dim",
            "block_size",
            "attention_layers",
            "full_attn_idxs",
            "full_attention_interval",
            "attn_type_list",
            "attn_layer_period",
            "attn_layer_offset",
        )
        found = self._mixers_by_list() or self._mixers_by_flag() or self._mixers_by_period()
        return [Sides(each, None) for each in found]

    def _has_block_words(self) -> bool:
        words = self.config.get("layers_block_type")
        return isinstance(words, list) and any(word in ("mlp", "moe") for word in words)

    def _by_letters(self, pattern: str) -> list[Sides]:
        config = self.config
        if len(pattern) != self.layers:
            raise config.fault(
                f"hybrid_override_pattern names {len(pattern)} layers, but the model has"
                f" {self.layers}; name each layer once"
            )
        strange = next((letter for letter in pattern if letter not in LETTERS), None)
        if strange:
            raise config.fault(
                f"hybrid_override_pattern: {strange!r} is not a kind of layer; use M, *, - and E"
            )
        return [Sides(*LETTERS[letter]) for letter in pattern]

    def _mixers_by_list(self) -> list[str] | None:
        """As words for each layer, or for a run of layers again and again."""
        config, layers = self.config, self.layers
        words = config.each_word(
            ("layer_types", "layers_block_type", "layer_block_types"), layers, WORDS
        )
        if words is not None:
            return [str(word) for word in words]
        run = config.get(("block_types", "_block_types"))
        if run is None and self.kind == "recurrent_gemma":
            return [FULL if number % 3 == 2 else VECTOR for number in range(layers)]
        if run is None:
            return None
        if not isinstance(run, list) or not 0 < len(run) <= layers:
            raise config.fault(
                f"block_types must be a list of at most {layers} kinds of layers, not {str(run)[:30]!r}"
            )
        meanings = config.each_word(("block_types", "_block_types"), len(run), WORDS) or []
        # What attends does so within a window, where one is stated.
        return [meanings[number % len(run)] for number in range(layers)]

    def _mixers_by_flag(self) -> list[str] | None:
        """As numbers for each layer, or as positions of those that attend."""
        config, layers = self.config, self.layers
        if self.kind in RWKV:
            return [RECEPTANCE] * layers
        for name in ("attn_type_list", "decoder_attention_types"):
            flags = config.each_whole(name, layers)
            if flags is not None:
                strange = next((each for each in flags if each > 1), None)
                if strange is not None:
                    raise config.fault(
                        f"{name} has {strange}; it must be 1 for attention, 0 for linear"
                    )
                return [FULL if flag else LINEAR for flag in flags]
        flags = config.each_whole("hybrid_layer_pattern", layers)
        if flags is not None:
            return [WINDOWED if flag else FULL for flag in flags]
        table = config.table("linear_attn_config")
        if table is not None:
            # Counted from 1.
            full = table.positions("full_attn_layers", layers, first=1)
            linear = table.positions("kda_layers", layers, first=1)
            if full is None and linear is None:
                raise config.fault("linear_attn_config: full_attn_layers is missing")
            attends = full if full is not None else set(range(layers)) - (linear or set())
            return [FULL if number in attends else LINEAR for number in range(layers)]
        if self.kind == "bamba" and config.get("attn_layer_indices") is None:
            return [MAMBA] * layers
        types = config.get("attention_types")
        if types is not None:
            return self._by_runs(types)
        for name, other in (("full_attn_idxs", CONVOLUTION), ("attn_layer_indices", MAMBA)):
            places = config.positions(name, layers)
            if places is not None:
                return [FULL if number in places else other for number in range(layers)]
        return None

    def _by_runs(self, types: Any) -> list[str]:
        """Of GPT-Neo: runs of words, each with how often it comes."""
        found: list[str] = []
        well = isinstance(types, list) and all(
            isinstance(run, list)
            and len(run) == 2
            and isinstance(run[0], list)
            and isinstance(run[1], int)
            and 0 < run[1] <= self.layers
            for run in types
        )
        if well:
            for words, times in types:
                found += [KINDS.get(str(word), "") for word in words] * times
        if len(found) != self.layers or "" in found:
            raise self.config.fault(
                f"attention_types must give {self.layers} layers, each global or local"
            )
        return found

    def _mixers_by_period(self) -> list[str]:
        """Every so-manieth attends; or all do, or none."""
        config, layers = self.config, self.layers
        every = config.whole("full_attention_interval", default=0) or self.family.linear_every
        if every < 0:
            # The first of each run attends.
            return [FULL if n % -every == 0 else LINEAR for n in range(layers)]
        if every:
            return [FULL if (n + 1) % every == 0 else LINEAR for n in range(layers)]
        period = config.whole("attn_layer_period", default=0)
        if period:
            offset = config.whole("attn_layer_offset", default=0)
            if offset >= period:
                raise config.fault(
                    f"attn_layer_offset must be less than attn_layer_period {period}, not {offset}"
                )
            return [FULL if n % period == offset else MAMBA for n in range(layers)]
        if self.kind in ("mamba", "falcon_mamba", "mamba2", "codestral_mamba"):
            return [MAMBA] * layers
        if self.kind == "falcon_h1":
            return [BESIDE] * layers
        return [FULL] * layers

    # ── Blocks that a search has thinned out ─────────────────────────────────────────────────────

    def _searched_blocks(self) -> list[Block]:
        """Of Nemotron-NAS: each block with its own attention and feed-forward part, or without."""
        config = self.config
        rows = config.each("block_configs", self.layers) or []
        attention = AttentionReader(config, self.kind, self.family, self.hidden, self.layers)
        made: dict[str, Block] = {}
        blocks = []
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise config.fault(f"block_configs[{number}] must be an object")
            alike = repr(row)
            if alike not in made:
                fields = ConfigFields(row, f"{config.path}: block_configs[{number}]")
                made[alike] = self._searched(fields, attention)
                config.check_unlike(made)
            blocks.append(made[alike])
        return blocks

    def _searched(self, row: ConfigFields, attention: AttentionReader) -> Block:
        parts: list[Mixer | FeedForward] = []
        mixer = row.table("attention")
        if mixer is not None and not mixer.flag("no_op"):
            if mixer.flag("replace_with_linear"):
                raise row.fault("attention.replace_with_linear is not supported")
            group = mixer.whole("n_heads_in_group", default=0)
            kv_heads = mixer.whole("num_key_value_heads", default=0) or attention.heads // (
                group or 1
            )
            window = mixer.whole("window_length", default=0)
            mixer.tick(
                "sparsify", "num_sink_tokens", "is_mamba", "mamba", "llama4", "unshifted_sink"
            )
            mixer.refuse_unread()
            parts.append(attention.plain(window, kv_heads))
        feed = row.table("ffn")
        if feed is not None and not feed.flag("no_op"):
            if feed.flag("replace_with_linear"):
                raise row.fault("ffn.replace_with_linear is not supported")
            parts.append(DenseFeedForward(width=self._searched_width(feed)))
            feed.tick("sparsify", "gated", "hidden_act", "moe")
            feed.refuse_unread()
        row.refuse_unread()
        return Block(parts=tuple(parts))

    def _searched_width(self, feed: ConfigFields) -> int:
        """As Llama's: two thirds of four times the stream, in whole blocks of 256."""
        stated = feed.whole("intermediate_size", default=0)
        if stated:
            return stated
        factor = feed.number("ffn_mult", 0.0)
        if not factor:
            raise feed.fault("ffn_mult is missing")
        return 256 * -(-int(2 * factor * self.hidden / 3) // 256)


OPENED = ("kv_n_heads", "ffn_hidden_size", "moe_num_experts", "moe_top_k", "clip_qkv", "attn_type")
NO_FEEDS = ("mamba", "falcon_mamba", "mamba2", "codestral_mamba")
RECURRENT = {
    LINEAR: RecurrenceReader.linear,
    MAMBA: RecurrenceReader.mamba,
    BESIDE: RecurrenceReader.mamba,
    CONVOLUTION: RecurrenceReader.convolution,
    VECTOR: RecurrenceReader.vector,
    RECEPTANCE: RecurrenceReader.receptance,
}
