"""Feed-forward parts of a config.json: dense ones, experts in some layers or all, and what runs
beside them."""

from planner.models.blocks import DenseFeedForward, FeedForward, RoutedFeedForward
from planner.readers.configs.families import Family
from planner.readers.configs.fields import ConfigFields

FFN = (
    "intermediate_size",
    "ffn_dim",
    "n_inner",
    "ffn_hidden_size",
    "ff_intermediate_size",
    "d_ff",
    "hidden_dim",
    "inner_dim",
    "encoder_ffn_dim",
)
EXPERTS = (
    "num_local_experts",
    "n_routed_experts",
    "num_experts",
    "moe_num_experts",
    "num_moe_experts",
)
ACTIVE = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "num_selected_experts",
    "top_k_experts",
    "num_experts_top_k",
    "router_topk",
    "moe_router_topk",
)
EXPERT_FFN = (
    "moe_intermediate_size",
    "expert_ffn_hidden_size",
    "moe_ffn_hidden_size",
    "expert_intermediate_size",
    "ffn_hidden_size_moe",
    "expert_dim",
)
SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
SHARED_FFN = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "share_expert_dim",
    "shared_intermediate_size",
)

DENSE_FIRST = (
    "first_k_dense_replace",
    "num_dense_layers",
    "moe_layer_start_index",
    "n_dense_layers",
)
WIDER = ("intermediate_size_mlp", "dense_intermediate_size", "prefix_dense_intermediate_size")
"""Of layers without experts, where `intermediate_size` is an expert's."""

DENSE, ROUTED, BOTH, NOTHING = "dense", "routed", "both", ""


class FeedForwardReader:
    """Feed-forward parts of each layer of a decoder."""

    def __init__(self, config: ConfigFields, kind: str, family: Family, hidden: int, layers: int):
        self.config = config
        self.kind = kind
        self.family = family
        self.hidden = hidden
        self.layers = layers
        self.widths: list[int] | None = None
        self.ffn = self._width()
        self.experts = config.whole(EXPERTS, default=0)
        if config.get("enable_moe_block") is not None and not config.flag("enable_moe_block"):
            config.tick(*EXPERTS, *ACTIVE, *EXPERT_FFN)
            self.experts = 0
        self.biased = self._biased()
        config.tick(*WIDER)
        config.tick(*EXPERT_FFN, *SHARED, *SHARED_FFN)
        # What of them is read now, so that a key without meaning here is not refused later.
        config.tick(
            "n_group",
            "num_expert_group",
            "topk_group",
            "moe_layer_freq",
            "decoder_sparse_step",
            "first_k_dense_replace",
        )

    def _width(self) -> int:
        """Inner width of a dense feed-forward part; 0: none is stated."""
        config = self.config
        if self.kind in ("hf_olmo", "olmo_1"):
            return self._olmo_width()
        listed = config.get(FFN)
        if isinstance(listed, list) and len(set(map(str, listed))) > 1:
            self.widths = config.each_whole(FFN, self.layers, least=1)
            return self.widths[0] if self.widths else 0
        width = config.whole(FFN, default=0)
        if self.kind == "qwen":
            # Both matrices before the gate, together.
            return width // 2
        if self.kind == "recurrent_gemma":
            return width // 2
        config.tick("block_multiple_of")
        if self.kind in ("lfm2",) and config.flag("block_auto_adjust_ff_dim", True):
            return self._adjusted(width)
        if width:
            config.tick(*FFN)
            self._widen(width)
            return width
        if self.kind in ("rwkv5", "rwkv6"):
            return int(3.5 * self.hidden) // 32 * 32
        for name in ("mlp_ratio", "expansion_ratio", "intermediate_multiple_size"):
            ratio = config.number(name, 0.0)
            if ratio:
                return round(ratio * self.hidden)
        return 0

    def _widen(self, width: int) -> None:
        """Of Gemma 4's small ones: twice as wide where keys and values are borrowed."""
        config = self.config
        borrowing = config.whole("num_kv_shared_layers", default=0)
        if not config.has("use_double_wide_mlp"):
            return
        if config.flag("use_double_wide_mlp") and 0 < borrowing < self.layers:
            own = self.layers - borrowing
            self.widths = [width] * own + [2 * width] * borrowing

    def _olmo_width(self) -> int:
        """Of OLMo 1: gate and up lie in one matrix of the width that is stated."""
        stated = self.config.whole("mlp_hidden_size", default=0)
        stated = stated or round(self.config.number("mlp_ratio", 4.0) * self.hidden)
        self.config.tick("mlp_ratio", *FFN)
        return stated // 2

    def _adjusted(self, width: int) -> int:
        """Of LFM2: two thirds of what is stated, in whole blocks."""
        block = self.config.whole("block_multiple_of", default=256)
        factor = self.config.number("block_ffn_dim_multiplier", 1.0)
        narrow = int(factor * int(2 * width / 3))
        return block * -(-narrow // block)

    def _biased(self) -> bool:
        config = self.config
        names = ("mlp_bias", "ffn_bias")
        if config.get(names) is not None:
            return config.flag(names)
        # Of a family without biases the general key speaks of attention alone.
        general = self.family.ffn_biased or self.kind.startswith(("ernie4_5", "paddleocr"))
        if config.get(("use_bias", "bias")) is not None and general:
            return config.flag(("use_bias", "bias"))
        return self.family.ffn_biased

    # ── Which layers have what ───────────────────────────────────────────────────────────────────

    def parts(self) -> list[tuple[FeedForward, ...]]:
        """Of every layer."""
        if self.widths is not None and self.experts <= 1:
            self._active_of_layers()
            self._ignore_places()
            self.config.check_unlike(set(self.widths))
            each = {width: (self.dense(width),) for width in set(self.widths)}
            return [each[width] for width in self.widths]
        made: dict[tuple[str, int], tuple[FeedForward, ...]] = {}
        found: list[tuple[FeedForward, ...]] = []
        chosen = self._active_of_layers()
        kinds = self.kinds()
        for kind, active in zip(kinds, chosen, strict=True):
            key = kind, active if kind in (ROUTED, BOTH) else 0
            if key not in made:
                made[key] = self._parts_of(*key)
            found.append(made[key])
        return found

    def _active_of_layers(self) -> list[int]:
        """Experts that a token uses in each layer."""
        if self.experts <= 1:
            if self.kind == "hunyuan_v1_moe":
                raise self.config.fault("num_experts must be above 1")
            self._refuse_uncounted()
            self.config.tick(*ACTIVE, *EXPERT_FFN, *SHARED, *SHARED_FFN)
            return [0] * self.layers
        value = self.config.get(ACTIVE)
        if isinstance(value, list) and len(set(map(str, value))) > 1:
            return self.config.each_whole(ACTIVE, self.layers, least=1) or []
        return [self.config.whole(ACTIVE)] * self.layers

    def _refuse_uncounted(self) -> None:
        """Refuse experts that are chosen from, and not counted."""
        config = self.config
        chosen = config.get(ACTIVE)
        switched_off = config.get("enable_moe_block") is False or self.experts == 1
        if switched_off or isinstance(chosen, list | bool) or not chosen:
            return
        raise config.fault(
            f"{config.name_of(EXPERTS)} must be above 0, since the config states how many experts"
            " each token uses"
        )

    def kinds(self) -> list[str]:
        """DENSE, ROUTED, BOTH or NOTHING for each layer."""
        if self.experts <= 1:
            self._ignore_places()
            return [DENSE] * self.layers
        routed = BOTH if self._beside() else ROUTED
        places = self._routed_layers()
        return [routed if number in places else DENSE for number in range(self.layers)]

    def _beside(self) -> bool:
        config = self.config
        residual = config.flag("residual_moe")
        arctic = config.flag("use_residual") and config.flag("parallel_attn_mlp_res", True)
        config.tick("parallel_attn_mlp_res")
        return residual or arctic or self.family.dense_beside

    def _ignore_places(self) -> None:
        self.config.tick(
            "mlp_only_layers",
            "mlp_layer_types",
            "moe_layers",
            "interleave_moe_layer_step",
            "moe_layer_start_index",
            "moe_layer_end_index",
            "moe_layer_interval",
            "expert_layer_period",
            "expert_layer_offset",
            "moe_layer_frequency",
            "num_dense_layers",
            "moe_layers_enum",
            "moe_every_n_layers",
        )

    def _routed_layers(self) -> set[int]:
        """Layers with experts."""
        config, layers = self.config, self.layers
        every = range(layers)
        types = config.each_word(
            "mlp_layer_types",
            layers,
            {"dense": False, "sparse": True, "moe": True, "hash_moe": True},
        )
        if types is not None:
            config.tick("first_k_dense_replace")
            return {number for number in every if types[number]}
        listed = config.get("moe_layers_enum")
        if isinstance(listed, str):
            return self._enumerated(listed)
        for name in ("moe_layers", "moe_layers_list"):
            named = config.positions(name, layers)
            if named is not None:
                self._ignore_places()
                return named

        frequency = config.get(("moe_layer_freq", "moe_layer_frequency"))
        if isinstance(frequency, list):
            flags = config.each_whole(("moe_layer_freq", "moe_layer_frequency"), layers) or []
            return {number for number in every if flags[number]}
        return self._by_period()

    def _enumerated(self, text: str) -> set[int]:
        """Numbers with commas between."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        if len(words) > 10_000 or not all(word.isdecimal() and len(word) < 6 for word in words):
            raise self.config.fault("moe_layers_enum must be numbers of layers with commas between")
        return {int(word) for word in words if int(word) < self.layers}

    def _by_period(self) -> set[int]:
        config, layers = self.config, self.layers
        dense_first = config.whole(
            DENSE_FIRST,
            default=0,
        )
        if not any(config.fields.get(name) is not None for name in DENSE_FIRST):
            dense_first = self.family.dense_first
        last = config.get("moe_layer_end_index")
        end = layers
        if isinstance(last, int) and last >= 0:
            end = min(layers, config.whole("moe_layer_end_index", default=0) + 1)
        dense = config.positions("mlp_only_layers", layers) or set()
        period = config.whole(("expert_layer_period",), default=0)
        offset = config.whole("expert_layer_offset", default=0)
        if period:
            return {n for n in range(layers) if n % period == offset}
        names = (
            "decoder_sparse_step",
            "interleave_moe_layer_step",
            "moe_layer_freq",
            "moe_layer_frequency",
            "moe_every_n_layers",
            "moe_layer_interval",
        )
        every = config.whole(names, default=1)
        if self.kind in FROM_FIRST:
            places = {n for n in range(dense_first, end) if n % every == 0}
        else:
            places = {n for n in range(dense_first, end) if (n + 1) % every == 0}
        return places - dense

    # ── One part ─────────────────────────────────────────────────────────────────────────────────

    def _parts_of(self, kind: str, active: int) -> tuple[FeedForward, ...]:
        if kind == DENSE:
            return (self.dense(),)
        routed = self.routed(active)
        return (self.dense(self._beside_width()), routed) if kind == BOTH else (routed,)

    def _beside_width(self) -> int:
        """Of Arctic's residual part, which is as wide as the stream; of the others as stated."""
        return self.hidden if self.config.flag("use_residual") else 0

    def dense(self, width: int = 0) -> DenseFeedForward:
        """An ordinary feed-forward part, as wide as is stated, or four times the stream."""
        config = self.config
        stated = width or config.whole(WIDER, default=0) or self.ffn
        if not stated and self.kind not in FOURFOLD:
            raise config.fault(f"{FFN[0]} is missing")
        return DenseFeedForward(
            width=stated or 4 * self.hidden, gated=self.family.gated, biased=self.biased
        )

    def routed(self, active: int) -> RoutedFeedForward:
        """Experts, with what all tokens use beside them."""
        config = self.config
        width = config.whole(EXPERT_FFN, default=0) or self.ffn
        if not width:
            raise config.fault(f"{EXPERT_FFN[0]} is missing")
        latent = config.whole(("moe_latent_size", "routed_expert_hidden_size"), default=0)
        groups = config.whole(("n_group", "num_expert_group"), default=1) or 1
        chosen = config.whole("topk_group", default=groups) or groups
        if not 1 <= active <= self.experts:
            raise config.fault(
                f"{config.name_of(ACTIVE)} must lie between 1 and the {self.experts} experts,"
                f" not {active}"
            )
        idle = config.whole(("zero_expert_num", "num_zero_experts"), default=0)
        return RoutedFeedForward(
            experts=self.experts,
            # Of the experts that a token chooses, those that compute nothing cost nothing.
            active=max(1, round(active * self.experts / (self.experts + idle))),
            width=width,
            gated=self.family.gated,
            groups=groups,
            groups_active=chosen if groups > 1 else 1,
            shared_width=self._shared_width(width),
            shared_gate=self.family.shared_gate,
            latent=latent,
            biased=self.family.experts_biased,
            routed_to=self.experts + idle if idle else 0,
            router_biased=self.family.router_biased,
        )

    def _shared_width(self, width: int) -> int:
        config = self.config
        if self.kind.startswith("llama4"):
            return width
        stated = config.whole(SHARED_FFN, default=0)
        count = config.whole(SHARED, default=0)
        if self.kind == "hunyuan_v1_moe" and not config.has(SHARED):
            count = 1
        # The wider key is of one shared expert where a number stands beside it, or of all.
        return stated or count * width


FROM_FIRST = (
    "deepseek",
    "deepseek_v2",
    "deepseek_v3",
    "kimi_k2",
    "deepseek_v32",
    "kimi_linear",
    "ernie4_5_moe_x",
)
"""Families whose every so-manieth layer with experts is counted from the first."""
FOURFOLD = (
    "gpt2",
    "gptj",
    "gpt_neo",
    "gpt_bigcode",
    "codegen",
    "bloom",
    "falcon",
    "refinedweb",
    "refinedwebmodel",
    "RefinedWeb",
    "RefinedWebModel",
    "mpt",
    "phi-msft",
    "mixformer-sequential",
    "gpt_neox",
    "gpt_neox_japanese",
    "openai-gpt",
    "",
)
"""Families whose feed-forward parts are four times as wide as the stream where nothing is said."""
