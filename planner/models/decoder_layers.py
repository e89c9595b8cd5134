"""The layer graph of a decoder: each block's parts become operators, stored as one format says or
as a checkpoint does."""

from collections.abc import Sequence
from typing import Any

from planner.models.blocks import (
    MIXERS,
    Block,
    CompressedAttention,
    Decoder,
    Indexer,
    LatentAttention,
    Projection,
    Recurrence,
    RoutedFeedForward,
    SelfAttention,
)
from planner.models.dtypes import BITS
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import (
    Attention,
    Embedding,
    Experts,
    LayerOperator,
    MatMul,
    Pointwise,
    Recurrent,
    plain_attention,
)
from planner.models.operators import Indexer as IndexerOperator
from planner.models.storage import Formats, Storage, Stored

ATTENTION = "self_attn"
FEED_FORWARD = "mlp"


def graph_of_blocks(
    decoder: Decoder,
    name: str,
    formats: Formats,
    *,
    storage: Storage | None = None,
    source: str = "",
    confidence: str = "",
    remarks: tuple[str, ...] = (),
) -> ModelGraph:
    """The layer graph of a decoder: embedding, its layers, the language-model head; a chain."""
    kept = _Kept(decoder, formats, storage)
    templates: dict[tuple[int, tuple[Stored, ...]], Layer] = {}
    modules: dict[int, tuple[str, ...]] = {}
    inner = []
    for number, block in enumerate(decoder.blocks):
        maker = _Maker(decoder, kept.of_layer(number))
        # Blocks of one template are one object; those whose modules are stored alike share a layer.
        if storage is not None and id(block) not in modules:
            modules[id(block)] = tuple(block_weights(decoder, block))
        key = id(block), kept.asked(number, modules.get(id(block), ()))
        if key not in templates:
            templates[key] = maker.layer(block)
        inner.append(templates[key].model_copy(update={"name": f"decoder.{number}"}))

    ends = _Maker(decoder, kept)
    layers = (ends.embedding(), *inner, ends.head())
    return ModelGraph(
        name=name,
        layers=layers,
        edges=chain_edges(layers),
        weight_dtype=formats.weight_dtype,
        weight_block=formats.weight_block,
        kv_dtype=formats.kv_dtype,
        activation_dtype=formats.compute_dtype,
        parameters_active=sum(layer.parameters_active for layer in layers),
        most_context_tokens=decoder.most_context_tokens,
        source=source,
        confidence=confidence,
        remarks=remarks,
    )


def module_weights(decoder: Decoder) -> dict[str, float]:
    """How many weights each module has, biases and norms apart, by its name as in
    `planner.models.storage`."""
    counted: dict[str, float] = {}
    # Blocks of one template have the same modules under the names of their layers.
    of_block: dict[int, dict[str, float]] = {}
    for number, block in enumerate(decoder.blocks):
        if id(block) not in of_block:
            of_block[id(block)] = block_weights(decoder, block)
        for name, weights in of_block[id(block)].items():
            counted[f"layers.{number}.{name}"] = weights
    ends = _Maker(decoder, _Kept(decoder, Formats(), None, counted=counted))
    ends.embedding()
    ends.head()
    return {name: weights for name, weights in counted.items() if weights}


def block_weights(decoder: Decoder, block: Block) -> dict[str, float]:
    """The same of one block, by the names below its layer: as its operators are made of them."""
    counted: dict[str, float] = {}
    _Maker(decoder, _Kept(decoder, Formats(), None, counted=counted)).layer(block)
    return counted


# ── How modules are stored ───────────────────────────────────────────────────────────────────────


class _Kept:
    """How each module of a decoder is stored; `counted` collects how many weights each has, where
    that is asked for."""

    def __init__(
        self,
        decoder: Decoder,
        formats: Formats,
        storage: Storage | None,
        prefix: str = "",
        counted: dict[str, float] | None = None,
    ) -> None:
        self.counted = counted
        self.decoder = decoder
        self.formats = formats
        self.storage = storage
        self.prefix = prefix

    @property
    def vector_bits(self) -> float:
        """Of a weight of norms and convolutions, where the checkpoint says it; 0: 16."""
        bits = self.storage.vector_bits if self.storage is not None else 0.0
        return 0.0 if abs(bits - 16) < 0.01 else bits

    def of_layer(self, number: int) -> "_Kept":
        prefix = f"layers.{number}."
        return _Kept(self.decoder, self.formats, self.storage, prefix, self.counted)

    def count(self, modules: Sequence[tuple[str, float]], weights: float) -> None:
        """Share out the weights of an operator among its modules."""
        if self.counted is None:
            return
        whole = sum(share for _, share in modules)
        for name, share in modules:
            found = self.prefix + name
            self.counted[found] = self.counted.get(found, 0.0) + weights * share / whole

    def asked(self, number: int, modules: Sequence[str]) -> tuple[Stored, ...]:
        """How the modules of a layer are stored; (): as the formats say."""
        if self.storage is None:
            return ()
        return tuple(self.storage.of(f"layers.{number}.{name}") for name in modules)

    def stored(self, modules: Sequence[tuple[str, float]], part: str) -> Stored:
        """Of an operator that stands for modules of so many weights each: the format of most of
        them, and their mean bits."""
        if self.storage is None:
            plain = part in self.decoder.unquantised
            return Stored(dtype="bf16", activation_dtype="bf16") if plain else self.formats.stored

        found = [(self.storage.of(self.prefix + name), weights) for name, weights in modules]
        most = max(found, key=lambda pair: pair[1])[0]
        if any(each != most for each, _ in found):
            total = sum(weights for _, weights in found)
            bits = sum(each.bits_per_weight * weights for each, weights in found) / total
            most = most.replace(stated_bits_per_weight=bits)
        if self.formats.activation_dtype is not None and most.bits_per_weight < 16:
            most = most.replace(activation_dtype=self.formats.activation_dtype)
        usual = BITS[most.dtype]
        if most.stated_bits_per_weight and abs(most.bits_per_weight / usual - 1) < 1e-4:
            # What the format has anyway need not be stated.
            most = most.replace(stated_bits_per_weight=0.0)
        return most


FFN_LEAVES = ("gate_proj", "up_proj", "down_proj")
LATENT_LEAVES = (f"{FEED_FORWARD}.fc1_latent_proj", f"{FEED_FORWARD}.fc2_latent_proj")
"""Around experts that work on a compressed stream."""
SIDE_LEAVES = ("per_layer_input_gate", "per_layer_projection")
"""Of a stream of its own."""


# ── Operators ────────────────────────────────────────────────────────────────────────────────────


class _Maker:
    """Operators of one layer, or of the ends."""

    def __init__(self, decoder: Decoder, kept: _Kept) -> None:
        self.decoder = decoder
        self.kept = kept
        self.formats = kept.formats

    def matmul(
        self,
        name: str,
        inputs: int,
        outputs: int,
        split: str,
        modules: Sequence[tuple[str, float]],
        part: str = "",
        **options: object,
    ) -> MatMul:
        stored = self.kept.stored(modules, part)
        self.kept.count(modules, 0.0 if "tied_to" in options else float(inputs) * outputs)
        return MatMul.from_fields(
            {
                "name": name,
                "inputs": inputs,
                "outputs": outputs,
                "split": split,
                "weight_dtype": stored.dtype,
                "bits_per_weight": stored.stated_bits_per_weight,
                **stored.multiplied,
                **options,
            }
        )

    def attended(
        self,
        name: str,
        inputs: int,
        outputs: int,
        split: str,
        leaves: str | Sequence[tuple[str, float]],
        **options: object,
    ) -> MatMul:
        """A matmul of attention, for modules below it."""
        pairs = [(leaves, 1.0)] if isinstance(leaves, str) else leaves
        modules = [(f"{ATTENTION}.{leaf}", weights) for leaf, weights in pairs]
        return self.matmul(name, inputs, outputs, split, modules, "attention", **options)

    def norm(self, name: str, vectors: int = 1, more: int = 0) -> Pointwise:
        """Of the stream, with so many vectors of its width and `more` weights."""
        hidden = self.decoder.hidden
        return self.vector(name, hidden, vectors * hidden + more)

    def vector(self, name: str, width: int, weights: int, **options: Any) -> Pointwise:
        """One pass with some parameters, kept as the checkpoint keeps its vectors."""
        bits = self.kept.vector_bits
        return Pointwise(name=name, width=width, weights=weights, bits_per_weight=bits, **options)

    # ── Attention ──

    def self_attention(self, part: SelfAttention, *, summed: bool) -> list[LayerOperator]:
        hidden = self.decoder.hidden
        value_dim = part.value_dim or part.head_dim
        width = part.heads * part.head_dim
        values = part.heads * value_dim
        queries = width + part.gate_width

        operators: list[LayerOperator] = [
            self.attended(
                "query",
                hidden,
                queries,
                "outputs",
                "q_proj",
                biased=queries if "query" in part.biased else 0,
            )
        ]
        if not part.borrowed:
            operators.append(self._key_value(part, value_dim))
        operators += self._indexer(part.indexer)
        operators.append(self._core(part, value_dim))
        if part.gate_width:
            operators.append(Pointwise(name="attention gate", width=values, split=True))
        biased = hidden if "output" in part.biased else 0
        output = self.attended(
            "attention output",
            values,
            hidden,
            "inputs",
            "o_proj",
            summed=summed,
            biased=biased,
        )
        return [*operators, output]

    def _key_value(self, part: SelfAttention, value_dim: int) -> MatMul:
        keys = part.kv_heads * part.head_dim
        values = 0 if part.key_is_value else part.kv_heads * value_dim
        leaves = [("k_proj", float(keys))]
        if values:
            leaves.append(("v_proj", float(values)))
        return self.attended(
            "key value",
            self.decoder.hidden,
            keys + values,
            "outputs",
            leaves,
            most_ways=part.kv_heads,
            fused=True,
            biased=keys + values if "key value" in part.biased else 0,
        )

    def _core(self, part: SelfAttention, value_dim: int) -> Attention:
        chosen = part.indexer.chosen_tokens if part.indexer is not None else 0
        plain = plain_attention(
            "attention",
            part.heads,
            part.head_dim,
            kv_heads=part.kv_heads,
            kv_dtype=self.formats.kv_dtype,
            compute_dtype="bf16",
            window_tokens=part.window_tokens,
            chosen_tokens=chosen,
            borrowed=part.borrowed,
            fixed_tokens=part.crossed_tokens,
        )
        if value_dim == part.head_dim:
            return plain
        return plain.replace(
            value_width=value_dim,
            decode_value_width=value_dim,
            cached_width=part.head_dim + value_dim,
        )

    def latent_attention(self, part: LatentAttention, *, summed: bool) -> list[LayerOperator]:
        """Decode works on the cached latent vector (weights absorbed)."""
        hidden = self.decoder.hidden
        key_width = part.nope_dim + part.rope_dim
        latent = part.kv_latent + part.rope_dim
        queries = part.heads * key_width
        values = part.heads * part.value_dim

        operators: list[LayerOperator] = []
        query_inputs = hidden
        if part.q_latent:
            query_inputs = part.q_latent
            operators.append(self.attended("query down", hidden, query_inputs, "none", "q_a_proj"))
        query = "q_b_proj" if part.q_latent else "q_proj"
        operators += [
            self.attended("query up", query_inputs, queries, "outputs", query),
            self.attended("latent down", hidden, latent, "none", "kv_a_proj_with_mqa"),
            self.attended(
                "latent up",
                part.kv_latent,
                part.heads * (part.nope_dim + part.value_dim),
                "outputs",
                "kv_b_proj",
            ),
            *self._indexer(part.indexer),
            Attention(
                name="latent attention",
                heads=part.heads,
                kv_heads=1,
                key_width=key_width,
                value_width=part.value_dim,
                cached_width=latent,
                decode_key_width=latent,
                decode_value_width=part.kv_latent,
                kv_dtype=self.formats.kv_dtype,
                compute_dtype="bf16",
                window_tokens=part.window_tokens,
                chosen_tokens=part.indexer.chosen_tokens if part.indexer is not None else 0,
            ),
        ]
        if part.gate_width:
            operators += [
                self.attended("attention gate", hidden, part.gate_width, "outputs", "g_proj"),
                Pointwise(name="attention gating", width=values, split=True),
            ]
        output = self.attended(
            "attention output", values, hidden, "inputs", "o_proj", summed=summed
        )
        return [*operators, output]

    def compressed_attention(self, part: CompressedAttention) -> list[LayerOperator]:
        """A window of whole tokens, and beside it entries that stand for several; both feed one
        softmax."""
        hidden = self.decoder.hidden
        width = part.heads * part.head_dim
        every = {
            "heads": part.heads,
            "kv_heads": 1,
            "key_width": part.head_dim,
            "value_width": part.head_dim,
            "cached_width": part.head_dim,
            "decode_key_width": part.head_dim,
            "decode_value_width": part.head_dim,
            "kv_dtype": self.formats.kv_dtype,
            "compute_dtype": "bf16",
        }
        operators: list[LayerOperator] = [
            self.attended("query down", hidden, part.q_latent, "none", "q_a_proj"),
            self.attended("query up", part.q_latent, width, "outputs", "q_b_proj"),
            self.attended("key value", hidden, part.head_dim, "none", "kv_proj"),
            Attention.from_fields(
                {**every, "name": "window attention", "window_tokens": part.window_tokens}
            ),
        ]
        if part.tokens_per_entry:
            runs = 2 if part.overlaps else 1
            operators += [
                # Values and their weights in the sum that makes an entry, and biases by place.
                self.attended(
                    "entries", hidden, 2 * runs * part.head_dim, "none", "compressor.wkv"
                ),
                *self._indexer(part.indexer, part.tokens_per_entry, runs),
                Attention.from_fields(
                    {
                        **every,
                        "name": "compressed attention",
                        "tokens_per_entry": part.tokens_per_entry,
                        "chosen_tokens": part.indexer.chosen_tokens if part.indexer else 0,
                    }
                ),
            ]
        return [*operators, *self._compressed_output(width, part.output_groups, part.output_latent)]

    def _compressed_output(self, width: int, groups: int, latent: int) -> list[LayerOperator]:
        """Each group of heads is compressed by itself, then all of them are projected."""
        return [
            self.attended(
                "output down",
                width // groups,
                groups * latent,
                "outputs",
                "o_a_proj",
                most_ways=groups,
            ),
            self.attended(
                "attention output", groups * latent, self.decoder.hidden, "inputs", "o_b_proj"
            ),
        ]

    def _indexer(
        self, part: Indexer | None, tokens_per_entry: int = 1, runs: int = 0
    ) -> list[LayerOperator]:
        """Scores of all entries; whole on every chip, as engines run it."""
        if part is None or not part.owned:
            return []
        hidden = self.decoder.hidden
        # Keys of a compressed cache are made from runs of tokens, each with weights of its own.
        keys = 2 * runs * part.width if runs else part.width
        return [
            self.attended(
                "indexer query", part.inputs, part.heads * part.width, "none", "indexer.wq_b"
            ),
            self.attended("indexer key", hidden, keys, "none", "indexer.wk", fused=True),
            self.attended(
                "indexer weights", hidden, part.heads, "none", "indexer.weights_proj", fused=True
            ),
            IndexerOperator(
                name="indexer",
                heads=part.heads,
                key_width=part.width,
                tokens_per_entry=tokens_per_entry,
                key_dtype=part.key_dtype,
                compute_dtype=part.key_dtype,
            ),
        ]

    # ── Recurrences ──

    def recurrence(self, part: Recurrence, *, summed: bool) -> list[LayerOperator]:
        operators: list[LayerOperator] = [self._projected(each) for each in part.projections]
        operators.append(
            Recurrent(
                name="recurrence",
                heads=part.heads,
                key_heads=part.key_heads,
                key_width=part.key_width,
                value_width=part.value_width,
                convolved_tokens=part.convolved_tokens,
                convolves_keys=part.convolves_keys,
                flop_per_value=part.flop_per_value,
                state_dtype=part.state_dtype,
                bits_per_weight=self.kept.vector_bits,
            )
        )
        if part.norm_width:
            operators.append(self.vector("gated norm", part.norm_width, part.weights, split=True))
        return [*operators, self._projected(part.output, summed=summed)]

    def _projected(self, part: Projection, **options: object) -> MatMul:
        biased = part.outputs if part.biased else 0
        modules = [(part.module, 1.0)]
        return self.matmul(
            part.name,
            part.inputs,
            part.outputs,
            part.split,
            modules,
            "attention",
            biased=biased,
            **options,
        )

    # ── Feed-forward ──

    def dense(
        self,
        name: str,
        width: int,
        *,
        gated: bool,
        biased: bool = False,
        summed: bool = True,
        below: str = FEED_FORWARD,
    ) -> list[LayerOperator]:
        hidden = self.decoder.hidden
        inner = 2 * width if gated else width
        leaves = ("gate_proj", "up_proj") if gated else ("up_proj",)
        return [
            self.matmul(
                f"{name} up",
                hidden,
                inner,
                "outputs",
                [(f"{below}.{leaf}", 1.0) for leaf in leaves],
                biased=inner if biased else 0,
            ),
            Pointwise(name=f"{name} activation", width=width, split=True),
            self.matmul(
                f"{name} down",
                width,
                hidden,
                "inputs",
                [(f"{below}.down_proj", 1.0)],
                summed=summed,
                biased=hidden if biased else 0,
            ),
        ]

    def routed(self, part: RoutedFeedForward) -> list[LayerOperator]:
        hidden = self.decoder.hidden
        routed_to = part.routed_to or part.experts
        router = self._router(routed_to, biased=routed_to if part.router_biased else 0)
        operators: list[LayerOperator] = [router]
        if part.shared_width:
            # Summed with the routed experts' outputs, not before.
            operators += self.dense(
                "shared expert",
                part.shared_width,
                gated=part.gated,
                summed=False,
                below=f"{FEED_FORWARD}.shared_experts",
            )
            if part.shared_gate:
                operators.append(self.vector("shared expert gate", hidden, hidden))

        inputs = part.latent or hidden
        if part.latent:
            operators.append(
                self.matmul("latent down", hidden, inputs, "none", [(LATENT_LEAVES[0], 1.0)])
            )
        operators.append(self._experts(part, inputs))
        if part.latent:
            operators.append(
                self.matmul("latent up", inputs, hidden, "none", [(LATENT_LEAVES[1], 1.0)])
            )
        return operators

    def _router(self, outputs: int, biased: int) -> MatMul:
        modules = [(f"{FEED_FORWARD}.gate", 1.0)]
        stored = self.kept.stored(modules, "router")
        self.kept.count(modules, float(self.decoder.hidden) * outputs)
        # Without a checkpoint that says otherwise a router stays at 16 bit.
        if self.kept.storage is None:
            stored = Stored(dtype="bf16", activation_dtype="bf16")
        return MatMul.from_fields(
            {
                "name": "router",
                "inputs": self.decoder.hidden,
                "outputs": outputs,
                "split": "none",
                "weight_dtype": stored.dtype,
                "bits_per_weight": stored.stated_bits_per_weight,
                "biased": biased,
                **stored.multiplied,
            }
        )

    def _experts(self, part: RoutedFeedForward, inputs: int) -> Experts:
        leaves = FFN_LEAVES if part.gated else FFN_LEAVES[1:]
        modules = [(f"{FEED_FORWARD}.experts.{leaf}", 1.0) for leaf in leaves]
        stored = self.kept.stored(modules, "experts")
        self.kept.count(modules, float(len(leaves)) * part.experts * inputs * part.width)
        return Experts.from_fields(
            {
                "name": "experts",
                "experts": part.experts,
                "experts_active": part.active,
                "inputs": inputs,
                "hidden": part.width,
                "matrices": 3 if part.gated else 2,
                "weight_dtype": stored.dtype,
                "bits_per_weight": stored.stated_bits_per_weight,
                "groups": part.groups,
                "groups_active": part.groups_active,
                "biased": part.biased,
                **stored.multiplied,
            }
        )

    # ── Layers ──

    def layer(self, block: Block) -> Layer:
        operators: list[LayerOperator] = []
        mixes = any(isinstance(part, MIXERS) for part in block.parts)
        for part in block.parts:
            is_mixer = isinstance(part, MIXERS)
            # Beside a parallel feed-forward part the two outputs are summed once, by the later one.
            summed = not (block.parallel and is_mixer)
            if is_mixer or not (block.parallel and block.shares_norm and mixes):
                operators.append(self._norm_before(part, block))
            operators += self._operators_of(part, summed=summed)
        operators += [self._projected(each) for each in block.beside]
        if block.side_width:
            operators += self._side(block)
        if not operators:
            # Nothing is left of the layer: it hands on what it gets.
            operators = [Pointwise(name="nothing", width=1, flop_per_value=0.0)]
        return Layer(
            name="decoder",
            kind="decoder",
            operators=tuple(operators),
            activation_width=self.decoder.hidden * self.decoder.streams,
            activation_dtype=self.formats.stream_dtype,
        )

    def _norm_before(self, part: Any, block: Block) -> Pointwise:
        more = getattr(part, "norm_weights", 0)
        name = "feed-forward norm"
        if isinstance(part, Recurrence):
            name = "recurrence norm"
        elif isinstance(part, MIXERS):
            name = "attention norm"
        return self.norm(name, block.norm_weights, more)

    def _operators_of(self, part: Any, *, summed: bool) -> list[LayerOperator]:
        if isinstance(part, SelfAttention):
            return self.self_attention(part, summed=summed)
        if isinstance(part, LatentAttention):
            return self.latent_attention(part, summed=summed)
        if isinstance(part, CompressedAttention):
            return self.compressed_attention(part)
        if isinstance(part, Recurrence):
            return self.recurrence(part, summed=summed)
        if isinstance(part, RoutedFeedForward):
            return self.routed(part)
        return self.dense("feed-forward", part.width, gated=part.gated, biased=part.biased)

    def _side(self, block: Block) -> list[LayerOperator]:
        """A stream of its own for the layer: gated by the main one, and added to it."""
        hidden, width = self.decoder.hidden, block.side_width
        return [
            self.matmul("side gate", hidden, width, "none", [(SIDE_LEAVES[0], 1.0)]),
            self.matmul("side output", width, hidden, "none", [(SIDE_LEAVES[1], 1.0)]),
            self.norm("side norm"),
        ]

    def embedding(self) -> Layer:
        decoder = self.decoder
        width = decoder.embedding_width or decoder.hidden
        tables: list[LayerOperator] = [
            self._table("tokens", decoder.vocabulary, width, "embed_tokens")
        ]
        if decoder.positions:
            tables.append(
                self._table("positions", decoder.positions, decoder.hidden, "embed_positions")
            )
        if decoder.embedding_width:
            tables.append(
                self.matmul(
                    "embedding projection", width, decoder.hidden, "none", [("project_in", 1.0)]
                )
            )
        tables += self._copies("stream copies", "altup_projections")
        sides = sum(block.side_width for block in decoder.blocks)
        if sides:
            tables += [
                self._table(
                    "side tokens", decoder.side_vocabulary, sides, "embed_tokens_per_layer"
                ),
                self.matmul(
                    "side projection",
                    decoder.hidden,
                    sides,
                    "none",
                    [("per_layer_model_projection", 1.0)],
                ),
            ]
        return Layer(
            name="embedding",
            kind="embedding",
            operators=tuple(tables),
            activation_width=decoder.hidden,
        )

    def _copies(self, name: str, module: str) -> list[LayerOperator]:
        """Between the stream and its copies."""
        decoder = self.decoder
        if not decoder.copied_by_matrices:
            return []
        outputs = (decoder.streams - 1) * decoder.hidden
        return [self.matmul(name, decoder.hidden, outputs, "none", [(module, 1.0)])]

    def _table(self, name: str, entries: int, width: int, module: str) -> Embedding:
        modules = [(module, 1.0)]
        stored = self.kept.stored(modules, "embedding")
        self.kept.count(modules, float(entries) * width)
        return Embedding(
            name=name,
            vocabulary=entries,
            width=width,
            weight_dtype=stored.dtype,
            bits_per_weight=stored.stated_bits_per_weight,
        )

    def head(self) -> Layer:
        decoder = self.decoder
        tied = {"tied_to": "embedding"} if decoder.tied_embedding else {}
        width = decoder.embedding_width or decoder.hidden
        operators: list[LayerOperator] = [self.norm("final norm", decoder.final_norm_weights)]
        if decoder.embedding_width:
            operators.append(
                self.matmul(
                    "head projection", decoder.hidden, width, "none", [("project_out", 1.0)]
                )
            )
        operators += self._copies("stream sums", "altup_unembed_projections")
        outputs = decoder.vocabulary
        module = "embed_tokens" if tied else "lm_head"
        logits = self.matmul(
            "logits",
            width,
            outputs,
            "outputs",
            [(module, 1.0)],
            "embedding",
            rows="sequences",
            biased=outputs if decoder.head_biased else 0,
            **tied,
        )
        return Layer(
            name="head",
            kind="head",
            operators=(*operators, logits),
            activation_width=decoder.hidden,
        )
