"""Decoder-only transformers, and hybrids of attention and recurrences: a shape (what a
config.json states) and the layer graph that it stands for."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.dtypes import ACTIVATIONS_OF, NATIVE, Dtype
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
    plain_attention,
)
from planner.records import Record

Some = Annotated[int, Field(ge=0, le=100_000_000)]

FLOP_PER_VALUE = {"mamba-2": 5.0, "gated-delta": 7.0}
"""Of a recurrence's state, for each token (counted in `Recurrent`)."""


Mixer = Literal["attention", "recurrence", ""]
FeedForward = Literal["dense", "experts", ""]


class Parts(NamedTuple):
    """What a layer is made of."""

    mixer: Mixer
    feed_forward: FeedForward
    window: int


PATTERN: dict[str, tuple[Mixer, FeedForward]] = {
    "M": ("recurrence", ""),
    "*": ("attention", ""),
    "-": ("", "dense"),
    "E": ("", "experts"),
}
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
    expert_groups: Annotated[int, Field(ge=1)] = 1
    """Of experts, of which a token chooses some before it chooses experts in them."""
    expert_groups_active: Annotated[int, Field(ge=1)] = 1
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
    def check_heads(self) -> Self:
        if self.heads % self.kv_heads:
            raise InputError(
                f"DecoderShape.kv_heads: {self.kv_heads} does not divide the {self.heads} heads;"
                " it must"
            )
        return self

    @model_validator(mode="after")
    def check_feed_forward(self) -> Self:
        if self.experts and not (1 <= self.experts_active <= self.experts and self.expert_ffn):
            raise InputError(
                "DecoderShape.experts: experts need expert_ffn and experts_active between 1 and"
                f" {self.experts}, not {self.experts_active}"
            )
        if self.ffn:
            return self
        if not self.experts:
            raise InputError(
                "DecoderShape.ffn: a decoder without experts needs the width of its feed-forward"
                " layers"
            )
        if self.dense_first or self.expert_every > 1:
            raise InputError(
                "DecoderShape.ffn: the layers without experts need the width of their feed-forward"
                " part"
            )
        return self

    @model_validator(mode="after")
    def check_latent_attention(self) -> Self:
        if self.kv_latent and not all((self.rope_dim, self.nope_dim, self.value_dim)):
            raise InputError(
                "DecoderShape.kv_latent: latent attention needs rope_dim, nope_dim and value_dim"
            )
        return self

    @model_validator(mode="after")
    def check_pattern(self) -> Self:
        if not self.pattern:
            return self
        strange = next((letter for letter in self.pattern if letter not in PATTERN), None)
        if strange:
            raise InputError(
                f"DecoderShape.pattern: {strange!r} is no kind of layer; M, *, - and E are"
            )
        if len(self.pattern) != self.layers:
            raise InputError(
                f"DecoderShape.pattern: it names {len(self.pattern)} layers of {self.layers};"
                " name all"
            )
        if "E" in self.pattern and not self.experts:
            raise InputError(
                "DecoderShape.pattern: its layers E need experts, expert_ffn and experts_active"
            )
        return self

    @model_validator(mode="after")
    def check_recurrences(self) -> Self:
        recurs = "M" in self.pattern or self.attention_every > 1
        sizes = (self.state_heads, self.state_key_heads, self.state_key, self.state_value)
        if recurs and not all((self.recurrence, *sizes)):
            raise InputError(
                "DecoderShape.recurrence: layers without attention need a recurrence, state_heads,"
                " state_key_heads, state_key and state_value"
            )
        if self.state_key_heads and self.state_heads % self.state_key_heads:
            raise InputError(
                f"DecoderShape.state_key_heads: {self.state_key_heads} does not divide the"
                f" {self.state_heads} heads of the state; it must"
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
        if not self.window_tokens or not self.full_every:
            return self.window_tokens
        place_of_full = 0 if self.full_first else self.full_every - 1
        if layer % self.full_every == place_of_full:
            return 0
        return self.window_tokens


class Formats(Record):
    """How the weights, the cache and the arithmetic are stored."""

    weight_dtype: Dtype = "bf16"
    weight_block: Width | None = None
    """As of a graph."""
    kv_dtype: Dtype = "bf16"
    activation_dtype: Dtype | None = None
    """What matmuls multiply in; None: as the recipes with these weights do, and 4-bit floats
    without one as chip and stack can."""

    @property
    def compute_dtype(self) -> Dtype:
        return self.activation_dtype or ACTIVATIONS_OF.get(self.weight_dtype, "bf16")

    @property
    def multiplied(self) -> dict[str, object]:
        """Of an operator with these weights: what it is multiplied in, and whether the machine may
        do it in the weights' own format instead."""
        natively = self.activation_dtype is None and self.weight_dtype in NATIVE
        return {"compute_dtype": self.compute_dtype, "natively": natively}

    @property
    def stream_dtype(self) -> Dtype:
        """Of the residual stream, which stays at 16 bit however the matmuls are quantised."""
        return "fp32" if self.compute_dtype == "fp32" else "bf16"


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
        weight_block=formats.weight_block,
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
    operators = [operator for layer in layers for operator in layer.operators]
    routed = sum(each.parameters for each in operators if isinstance(each, Experts))
    return sum(layer.parameters for layer in layers) - idle * routed


class _Maker:
    """Operators of one decoder layer."""

    def __init__(self, shape: DecoderShape, formats: Formats) -> None:
        self.shape = shape
        self.formats = formats

    def matmul(
        self, name: str, inputs: int, outputs: int, split: str, part: str = "", **options: object
    ) -> MatMul:
        plain = part in self.shape.unquantised
        return MatMul.from_fields(
            {
                "name": name,
                "inputs": inputs,
                "outputs": outputs,
                "split": split,
                "weight_dtype": "bf16" if plain else self.formats.weight_dtype,
                **({"compute_dtype": "bf16"} if plain else self.formats.multiplied),
                **options,
            }
        )

    def norm(self, name: str) -> Pointwise:
        return Pointwise(name=name, width=self.shape.hidden, weights=self.shape.hidden)

    def attention(self, window: int) -> list[LayerOperator]:
        shape = self.shape
        if shape.kv_latent:
            return self.latent_attention(window)
        width = shape.heads * shape.head_dim
        queries = 2 * width if shape.gated_attention else width
        keys_and_values = 2 * shape.kv_heads * shape.head_dim

        operators: list[LayerOperator] = [
            self.matmul("query", shape.hidden, queries, "outputs", "attention"),
            self.matmul(
                "key value",
                shape.hidden,
                keys_and_values,
                "outputs",
                "attention",
                most_ways=shape.kv_heads,
                fused=True,
            ),
            plain_attention(
                "attention",
                shape.heads,
                shape.head_dim,
                kv_heads=shape.kv_heads,
                kv_dtype=self.formats.kv_dtype,
                compute_dtype="bf16",
                window_tokens=window,
            ),
        ]
        if shape.gated_attention:
            operators.append(Pointwise(name="attention gate", width=width, split=True))
        # Beside a parallel feed-forward part the two outputs are summed once, by the later one.
        summed = not shape.parallel_block
        output = self.matmul(
            "attention output", width, shape.hidden, "inputs", "attention", summed=summed
        )
        return [*operators, output]

    def recurrence(self) -> list[LayerOperator]:
        """Queries, keys, values, a gate of the values' width and the heads' own rates; the
        recurrence; the gated norm."""
        shape = self.shape
        inner = shape.state_heads * shape.state_value
        keys = shape.state_key_heads * shape.state_key

        # The gated delta rule has a rate of decay and one of writing, and one norm for all heads.
        gated_delta = shape.recurrence == "gated-delta"
        rates = 2 * shape.state_heads if gated_delta else shape.state_heads
        scales = shape.state_value if gated_delta else inner

        inputs = 2 * inner + 2 * keys + rates
        return [
            self.matmul("state input", shape.hidden, inputs, "outputs", "attention"),
            Recurrent(
                name="recurrence",
                heads=shape.state_heads,
                key_heads=shape.state_key_heads,
                key_width=shape.state_key,
                value_width=shape.state_value,
                convolved_tokens=shape.convolved_tokens,
                flop_per_value=FLOP_PER_VALUE[shape.recurrence],
            ),
            Pointwise(name="gated norm", width=inner, weights=scales, split=True),
            self.matmul("state output", inner, shape.hidden, "inputs", "attention"),
        ]

    def latent_attention(self, window: int) -> list[LayerOperator]:
        """DeepSeek-V2's multi-head latent attention: decode works on the cached latent vector
        (weights absorbed)."""
        shape = self.shape
        hidden = shape.hidden
        key_width = shape.nope_dim + shape.rope_dim
        latent = shape.kv_latent + shape.rope_dim
        queries = shape.heads * key_width
        keys_and_values = shape.heads * (shape.nope_dim + shape.value_dim)
        values = shape.heads * shape.value_dim

        operators: list[LayerOperator] = []
        query_inputs = hidden
        if shape.q_latent:
            query_inputs = shape.q_latent
            operators.append(self.matmul("query down", hidden, query_inputs, "none", "attention"))
        attention = Attention(
            name="latent attention",
            heads=shape.heads,
            kv_heads=1,
            key_width=key_width,
            value_width=shape.value_dim,
            cached_width=latent,
            decode_key_width=latent,
            decode_value_width=shape.kv_latent,
            kv_dtype=self.formats.kv_dtype,
            compute_dtype="bf16",
            window_tokens=window,
        )
        return [
            *operators,
            self.matmul("query up", query_inputs, queries, "outputs", "attention"),
            self.matmul("latent down", hidden, latent, "none", "attention"),
            self.matmul("latent up", shape.kv_latent, keys_and_values, "outputs", "attention"),
            attention,
            self.matmul("attention output", values, hidden, "inputs", "attention"),
        ]

    def feed_forward(self, name: str, hidden: int, *, summed: bool = True) -> list[LayerOperator]:
        shape = self.shape
        return [
            self.matmul(f"{name} up", shape.hidden, (shape.matrices - 1) * hidden, "outputs"),
            Pointwise(name=f"{name} activation", width=hidden, split=True),
            self.matmul(f"{name} down", hidden, shape.hidden, "inputs", summed=summed),
        ]

    def experts(self) -> list[LayerOperator]:
        shape = self.shape
        router = MatMul(
            name="router",
            inputs=shape.hidden,
            outputs=shape.experts,
            split="none",
            weight_dtype="bf16",
            compute_dtype="bf16",
        )
        shared: list[LayerOperator] = []
        if shape.shared_ffn:
            # Summed with the routed experts' outputs, not before.
            shared = self.feed_forward("shared expert", shape.shared_ffn, summed=False)
        routed = Experts.from_fields(
            {
                "name": "experts",
                "experts": shape.experts,
                "experts_active": shape.experts_active,
                "inputs": shape.hidden,
                "hidden": shape.expert_ffn,
                "matrices": shape.matrices,
                "weight_dtype": self.formats.weight_dtype,
                "groups": shape.expert_groups,
                "groups_active": shape.expert_groups_active,
                **self.formats.multiplied,
            }
        )
        return [router, *shared, routed]


def _decoder_layer(shape: DecoderShape, formats: Formats, parts: Parts) -> Layer:
    maker = _Maker(shape, formats)
    operators: list[LayerOperator] = []
    if parts.mixer == "attention":
        operators += [maker.norm("attention norm"), *maker.attention(parts.window)]
    if parts.mixer == "recurrence":
        operators += [maker.norm("recurrence norm"), *maker.recurrence()]

    shares_norm = bool(parts.mixer) and shape.parallel_block
    if parts.feed_forward and not shares_norm:
        operators.append(maker.norm("feed-forward norm"))
    if parts.feed_forward == "dense":
        operators += maker.feed_forward("feed-forward", shape.ffn)
    if parts.feed_forward == "experts":
        operators += maker.experts()

    return Layer(
        name="decoder",
        kind="decoder",
        operators=tuple(operators),
        activation_width=shape.hidden,
        activation_dtype=formats.stream_dtype,
    )


def _embedding(shape: DecoderShape, formats: Formats) -> Layer:
    dtype = "bf16" if "embedding" in shape.unquantised else formats.weight_dtype

    def table(name: str, entries: int) -> Embedding:
        return Embedding(name=name, vocabulary=entries, width=shape.hidden, weight_dtype=dtype)

    tables = [table("tokens", shape.vocabulary)]
    if shape.positions:
        tables.append(table("positions", shape.positions))
    return Layer(
        name="embedding",
        kind="embedding",
        operators=tuple(tables),
        activation_width=shape.hidden,
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
