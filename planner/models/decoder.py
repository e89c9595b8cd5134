"""Decoder-only transformers, and hybrids of attention and recurrences: a shape (what a
config.json states) and the layer graph that it stands for."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.dtypes import ACTIVATIONS_OF, Dtype
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import (
    Attention,
    Embedding,
    Experts,
    LayerOperator,
    MatMul,
    Pointwise,
    Recurrent,
    Width,
)
from planner.records import Record

Some = Annotated[int, Field(ge=0, le=100_000_000)]

FLOP_PER_VALUE = {"mamba-2": 5.0, "gated-delta": 7.0}
"""Of a recurrence's state, for each token (counted in `Recurrent`)."""


class Parts(NamedTuple):
    """What a layer is made of."""

    mixer: Literal["attention", "recurrence", ""]
    feed_forward: Literal["dense", "experts", ""]
    window: int


PATTERN: dict[str, tuple[Literal["attention", "recurrence", ""], Literal["dense", "experts", ""]]] = {
    "M": ("recurrence", ""), "*": ("attention", ""), "-": ("", "dense"), "E": ("", "experts"),
}  # fmt: skip
"""Letters of Nemotron-H's hybrid_override_pattern."""


class DecoderShape(Record):
    """The numbers that make a decoder."""

    layers: Annotated[int, Field(ge=1, le=10_000)]
    hidden: Width
    heads: Width
    kv_heads: Width
    head_dim: Width
    ffn: Some = 0
    """Inner width of a dense feed-forward layer; 0: every layer has experts."""
    matrices: Annotated[int, Field(ge=2, le=3)] = 3
    """Of a feed-forward layer: 3 with a gate, 2 without."""
    vocabulary: Width
    tied_embedding: bool = False
    positions: Some = 0
    """Learned position embeddings."""
    parallel_block: bool = False
    """Attention and feed-forward work on the same input, and their outputs are summed once."""

    experts: Some = 0
    experts_active: Some = 0
    expert_ffn: Some = 0
    shared_ffn: Some = 0
    """Inner width of all shared experts together."""
    dense_first: Some = 0
    """Layers at the beginning without experts."""
    expert_every: Annotated[int, Field(ge=1)] = 1
    """Of the others, every so-manieth has experts, the last of each run."""

    q_latent: Some = 0
    """Multi-head latent attention: width to which queries are compressed (0: not compressed)."""
    kv_latent: Some = 0
    """Multi-head latent attention: width of the cached latent vector; 0: ordinary attention."""
    rope_dim: Some = 0
    nope_dim: Some = 0
    value_dim: Some = 0

    window_tokens: Some = 0
    """Sliding or chunked attention; 0: none."""
    full_every: Some = 0
    """Of the layers every so-manieth attends to everything, in spite of the window; 0: none
    does."""
    full_first: bool = False
    """Whether the full layer comes first in each run (else last)."""

    gated_attention: bool = False
    """Whether queries come with a gate of the same width for the heads' outputs."""
    pattern: str = ""
    """What each layer is, where mixing and feed-forward are layers of their own: M a recurrence,
    * attention, - a dense feed-forward layer, E experts."""
    attention_every: Annotated[int, Field(ge=1)] = 1
    """Of the layers every so-manieth has attention, the last of each run; the others have a
    recurrence."""
    recurrence: Literal["", "mamba-2", "gated-delta"] = ""
    state_heads: Some = 0
    """Of a recurrence; each keeps a matrix of `state_key` × `state_value`."""
    state_key_heads: Some = 0
    """Keys and queries, shared among the heads of a group."""
    state_key: Some = 0
    state_value: Some = 0
    convolved_tokens: Annotated[int, Field(ge=1, le=1000)] = 4
    """Over which the convolution before a recurrence runs."""

    most_context_tokens: Some = 0
    unquantised: tuple[str, ...] = ()
    """What stays at 16 bit whatever the weights' format: "attention", "embedding", "router"."""

    @model_validator(mode="after")
    def check_shape(self) -> Self:
        if self.heads % self.kv_heads:
            raise InputError(
                f"DecoderShape.kv_heads: {self.kv_heads} does not divide the {self.heads} heads; it must"
            )
        if self.experts and not (1 <= self.experts_active <= self.experts and self.expert_ffn):
            raise InputError(
                "DecoderShape.experts: experts need expert_ffn and experts_active between 1 and"
                f" {self.experts}, not {self.experts_active}"
            )
        if not self.ffn and not self.experts:
            raise InputError(
                "DecoderShape.ffn: a decoder without experts needs the width of its feed-forward layers"
            )
        if not self.ffn and (self.dense_first or self.expert_every > 1):
            raise InputError(
                "DecoderShape.ffn: the layers without experts need the width of their feed-forward part"
            )
        if self.kv_latent and not (self.rope_dim and self.nope_dim and self.value_dim):
            raise InputError(
                "DecoderShape.kv_latent: latent attention needs rope_dim, nope_dim and value_dim"
            )
        return self

    @model_validator(mode="after")
    def check_recurrences(self) -> Self:
        strange = next((letter for letter in self.pattern if letter not in PATTERN), None)
        if strange:
            raise InputError(
                f"DecoderShape.pattern: {strange!r} is no kind of layer; M, *, - and E are"
            )
        if self.pattern and len(self.pattern) != self.layers:
            raise InputError(
                f"DecoderShape.pattern: it names {len(self.pattern)} layers of {self.layers}; name all"
            )
        if "E" in self.pattern and not self.experts:
            raise InputError(
                "DecoderShape.pattern: its layers E need experts, expert_ffn and experts_active"
            )
        sizes = (self.state_heads, self.state_key_heads, self.state_key, self.state_value)
        if ("M" in self.pattern or self.attention_every > 1) and not (
            self.recurrence and all(sizes)
        ):
            raise InputError(
                "DecoderShape.recurrence: layers without attention need a recurrence, state_heads, state_key_heads,"
                " state_key and state_value"
            )
        if self.state_key_heads and self.state_heads % self.state_key_heads:
            raise InputError(
                f"DecoderShape.state_key_heads: {self.state_key_heads} does not divide the {self.state_heads} heads of the"
                " state; it must"
            )
        return self

    def parts_of(self, layer: int) -> Parts:
        """What a layer is made of."""
        if self.pattern:
            mixer, feed_forward = PATTERN[self.pattern[layer]]
        else:
            mixer = "attention" if (layer + 1) % self.attention_every == 0 else "recurrence"
            feed_forward = "experts" if self.routes(layer) else "dense"
        return Parts(mixer, feed_forward, self.window_of(layer) if mixer == "attention" else 0)

    def routes(self, layer: int) -> bool:
        """Whether a layer has experts."""
        if not self.experts or layer < self.dense_first:
            return False
        return (layer - self.dense_first + 1) % self.expert_every == 0

    def window_of(self, layer: int) -> int:
        """The window of a layer's attention; 0 sees everything."""
        if self.window_tokens and self.full_every:
            full = layer % self.full_every == (0 if self.full_first else self.full_every - 1)
            return 0 if full else self.window_tokens
        return self.window_tokens


class Formats(Record):
    """How the weights, the cache and the arithmetic are stored."""

    weight_dtype: Dtype = "bf16"
    kv_dtype: Dtype = "bf16"
    activation_dtype: Dtype | None = None
    """What matmuls multiply in; None: as the recipes with these weights do."""

    @property
    def compute_dtype(self) -> str:
        return self.activation_dtype or ACTIVATIONS_OF.get(self.weight_dtype, "bf16")


def decoder_graph(
    shape: DecoderShape, name: str, formats: Formats, *, source: str = "", confidence: str = ""
) -> ModelGraph:
    """The layer graph of a decoder: embedding, its layers, the language-model head; a chain."""
    layers = [_embedding(shape, formats)]
    templates: dict[Parts, Layer] = {}
    for number in range(shape.layers):
        parts = shape.parts_of(number)
        if parts not in templates:
            templates[parts] = _decoder_layer(shape, formats, parts)
        layers.append(templates[parts].model_copy(update={"name": f"decoder.{number}"}))
    layers.append(_head(shape, formats))
    chain = tuple(layers)
    return ModelGraph(
        name=name,
        layers=chain,
        edges=chain_edges(chain),
        weight_dtype=formats.weight_dtype,
        kv_dtype=formats.kv_dtype,
        activation_dtype=formats.compute_dtype,
        parameters_active=active_parameters(shape, chain),
        most_context_tokens=shape.most_context_tokens,
        source=source,
        confidence=confidence,
    )


def active_parameters(shape: DecoderShape, layers: tuple[Layer, ...]) -> float:
    """Weights that one token uses, embedding included: of the experts the active ones."""
    idle = 1 - shape.experts_active / shape.experts if shape.experts else 0.0
    routed = sum(
        o.parameters for layer in layers for o in layer.operators if isinstance(o, Experts)
    )
    return sum(layer.parameters for layer in layers) - idle * routed


class _Maker:
    """Operators of one decoder layer."""

    def __init__(self, shape: DecoderShape, formats: Formats) -> None:
        self.shape, self.formats = shape, formats

    def matmul(
        self, name: str, inputs: int, outputs: int, split: str, part: str = "", **options: object
    ) -> MatMul:
        plain = part in self.shape.unquantised
        return MatMul.from_fields(
            {
                "name": name, "inputs": inputs, "outputs": outputs, "split": split,
                "weight_dtype": "bf16" if plain else self.formats.weight_dtype,
                "compute_dtype": "bf16" if plain else self.formats.compute_dtype,
                **options,
            }
        )  # fmt: skip

    def norm(self, name: str) -> Pointwise:
        return Pointwise(name=name, width=self.shape.hidden, weights=self.shape.hidden)

    def attention(self, window: int) -> list[LayerOperator]:
        shape = self.shape
        if shape.kv_latent:
            return self.latent_attention(window)
        width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        summed = not shape.parallel_block
        gate = (
            [Pointwise(name="attention gate", width=width, split=True)]
            if shape.gated_attention
            else []
        )
        return [
            self.matmul("query", shape.hidden, (1 + shape.gated_attention) * width, "outputs", "attention"),
            self.matmul("key value", shape.hidden, 2 * kv_width, "outputs", "attention", most_ways=shape.kv_heads, fused=True),
            Attention.from_fields(
                {
                    "name": "attention", "heads": shape.heads, "kv_heads": shape.kv_heads,
                    "key_width": shape.head_dim, "value_width": shape.head_dim, "cached_width": 2 * shape.head_dim,
                    "decode_key_width": shape.head_dim, "decode_value_width": shape.head_dim,
                    "kv_dtype": self.formats.kv_dtype, "compute_dtype": "bf16", "window_tokens": window,
                }
            ),
            *gate,
            self.matmul("attention output", width, shape.hidden, "inputs", "attention", summed=summed),
        ]  # fmt: skip

    def recurrence(self) -> list[LayerOperator]:
        """Queries, keys, values, a gate of the values' width and the heads' own rates; the
        recurrence; the gated norm."""
        shape = self.shape
        inner, keys = shape.state_heads * shape.state_value, shape.state_key_heads * shape.state_key
        gated_delta = shape.recurrence == "gated-delta"
        rates = (2 if gated_delta else 1) * shape.state_heads
        return [
            self.matmul("state input", shape.hidden, 2 * inner + 2 * keys + rates, "outputs", "attention"),
            Recurrent.from_fields(
                {
                    "name": "recurrence", "heads": shape.state_heads, "key_heads": shape.state_key_heads,
                    "key_width": shape.state_key, "value_width": shape.state_value,
                    "convolved_tokens": shape.convolved_tokens, "flop_per_value": FLOP_PER_VALUE[shape.recurrence],
                }
            ),
            Pointwise(name="gated norm", width=inner, weights=shape.state_value if gated_delta else inner, split=True),
            self.matmul("state output", inner, shape.hidden, "inputs", "attention"),
        ]  # fmt: skip

    def latent_attention(self, window: int) -> list[LayerOperator]:
        """DeepSeek-V2's multi-head latent attention: decode works on the cached latent vector
        (weights absorbed)."""
        shape = self.shape
        query_inputs = shape.q_latent or shape.hidden
        compress = (
            [self.matmul("query down", shape.hidden, shape.q_latent, "none", "attention")]
            if shape.q_latent
            else []
        )
        per_head = shape.nope_dim + shape.rope_dim
        latent = shape.kv_latent + shape.rope_dim
        return [
            *compress,
            self.matmul("query up", query_inputs, shape.heads * per_head, "outputs", "attention"),
            self.matmul("latent down", shape.hidden, latent, "none", "attention"),
            self.matmul(
                "latent up", shape.kv_latent, shape.heads * (shape.nope_dim + shape.value_dim), "outputs", "attention"
            ),
            Attention.from_fields(
                {
                    "name": "latent attention", "heads": shape.heads, "kv_heads": 1,
                    "key_width": per_head, "value_width": shape.value_dim, "cached_width": latent,
                    "decode_key_width": latent, "decode_value_width": shape.kv_latent,
                    "kv_dtype": self.formats.kv_dtype, "compute_dtype": "bf16", "window_tokens": window,
                }
            ),
            self.matmul("attention output", shape.heads * shape.value_dim, shape.hidden, "inputs", "attention"),
        ]  # fmt: skip

    def feed_forward(self, name: str, hidden: int, *, summed: bool = True) -> list[LayerOperator]:
        shape = self.shape
        return [
            self.matmul(f"{name} up", shape.hidden, (shape.matrices - 1) * hidden, "outputs"),
            Pointwise(name=f"{name} activation", width=hidden, split=True),
            self.matmul(f"{name} down", hidden, shape.hidden, "inputs", summed=summed),
        ]

    def experts(self) -> list[LayerOperator]:
        shape = self.shape
        shared = (
            self.feed_forward("shared expert", shape.shared_ffn, summed=False)
            if shape.shared_ffn
            else []
        )
        return [
            MatMul(
                name="router", inputs=shape.hidden, outputs=shape.experts, split="none",
                weight_dtype="bf16", compute_dtype="bf16",
            ),
            *shared,
            Experts.from_fields(
                {
                    "name": "experts", "experts": shape.experts, "experts_active": shape.experts_active,
                    "inputs": shape.hidden, "hidden": shape.expert_ffn, "matrices": shape.matrices,
                    "weight_dtype": self.formats.weight_dtype, "compute_dtype": self.formats.compute_dtype,
                }
            ),
        ]  # fmt: skip


def _decoder_layer(shape: DecoderShape, formats: Formats, parts: Parts) -> Layer:
    maker = _Maker(shape, formats)
    operators: list[LayerOperator] = []
    if parts.mixer:
        operators.append(
            maker.norm("attention norm" if parts.mixer == "attention" else "recurrence norm")
        )
        operators += (
            maker.attention(parts.window) if parts.mixer == "attention" else maker.recurrence()
        )
    if parts.feed_forward:
        if not (parts.mixer and shape.parallel_block):
            operators.append(maker.norm("feed-forward norm"))
        routed = parts.feed_forward == "experts"
        operators += maker.experts() if routed else maker.feed_forward("feed-forward", shape.ffn)
    return Layer(
        name="decoder", kind="decoder", operators=tuple(operators), activation_width=shape.hidden,
        activation_dtype="fp32" if formats.compute_dtype == "fp32" else "bf16",
    )  # fmt: skip


def _embedding(shape: DecoderShape, formats: Formats) -> Layer:
    dtype = "bf16" if "embedding" in shape.unquantised else formats.weight_dtype
    tables: list[LayerOperator] = [
        Embedding(
            name="tokens", vocabulary=shape.vocabulary, width=shape.hidden, weight_dtype=dtype
        )
    ]
    if shape.positions:
        tables.append(
            Embedding(
                name="positions", vocabulary=shape.positions, width=shape.hidden, weight_dtype=dtype
            )
        )
    return Layer(
        name="embedding", kind="embedding", operators=tuple(tables), activation_width=shape.hidden
    )


def _head(shape: DecoderShape, formats: Formats) -> Layer:
    maker = _Maker(shape, formats)
    tied = {"tied_to": "embedding"} if shape.tied_embedding else {}
    logits = maker.matmul(
        "logits", shape.hidden, shape.vocabulary, "outputs", "embedding", rows="sequences", **tied
    )
    return Layer(
        name="head",
        kind="head",
        operators=(maker.norm("final norm"), logits),
        activation_width=shape.hidden,
    )
