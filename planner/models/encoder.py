"""Encoders: all tokens of a text at once, each seeing all the others; no cache, no language-model
head [1].

[1] J. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language
    understanding", NAACL 2019.
"""

from typing import Annotated, Self

from pydantic import Field, model_validator

from planner.errors import InputError
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import (
    Embedding,
    LayerOperator,
    MatMul,
    Pointwise,
    Width,
    plain_attention,
)
from planner.models.storage import Formats
from planner.records import Record

Some = Annotated[int, Field(ge=0, le=100_000_000)]


class EncoderShape(Record):
    """The numbers that make an encoder."""

    layers: Annotated[int, Field(ge=1, le=10_000)]
    hidden: Width
    heads: Width
    head_dim: Some = 0
    """Of one head; 0: the stream's width over the heads."""
    ffn: Width
    """Inner width of the feed-forward layers."""
    gated: bool = False
    vocabulary: Some
    """Of a text; 0: what comes in is a picture or a sound."""
    positions: Some
    """Learned position embeddings: the longest text; 0: positions are computed."""
    token_types: Some = 2
    input_values: Some = 0
    """Of a patch of a picture, which one matrix takes to the stream; 0: there are none."""
    sound_channels: Some = 0
    """Of a spectrogram, which two convolutions over three neighbours take to the stream, the second
    at every other step; 0: there is none."""
    classes: Some = 0
    """Tokens of its own before the others, such as [CLS] of a picture."""
    norm_vectors: Annotated[int, Field(ge=1, le=2)] = 2
    """Of a norm: a scale, and a shift."""
    input_norm: bool = True
    """Whether what comes in is normed."""
    final_norm: bool = False
    pooled: bool = True
    """Whether a matrix makes one vector of a text's first token."""
    biased: bool = False
    """Whether the biases of all matmuls are counted."""
    position_buckets: Some = 0
    """Distances between tokens for which each head learns a value."""
    longest: Some = 0
    """The longest text where positions are computed; 0: it is not known."""

    @property
    def width_of_heads(self) -> int:
        """All heads together."""
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @model_validator(mode="after")
    def check_heads(self) -> Self:
        if not self.head_dim and self.hidden % self.heads:
            raise InputError(
                f"EncoderShape.heads: {self.heads} does not divide the width of {self.hidden};"
                " it must"
            )
        return self


def encoder_graph(
    shape: EncoderShape,
    name: str,
    formats: Formats,
    *,
    source: str = "",
    confidence: str = "",
    remarks: tuple[str, ...] = (),
) -> ModelGraph:
    """The layer graph of an encoder: embeddings, its layers, the pooler; a chain. A request ends
    with its prefill."""
    template = _encoder_layer(shape, formats)
    layers = tuple(
        template.model_copy(update={"name": f"encoder.{number}"}) for number in range(shape.layers)
    )
    chain = (_embedding(shape, formats), *layers, _pooler(shape, formats))
    return ModelGraph(
        name=name,
        layers=chain,
        edges=chain_edges(chain),
        weight_dtype=formats.weight_dtype,
        kv_dtype=formats.kv_dtype,
        activation_dtype=formats.compute_dtype,
        parameters_active=sum(layer.parameters for layer in chain),
        most_context_tokens=shape.positions or shape.longest,
        source=source,
        confidence=confidence,
        remarks=remarks,
    )


def _matmul(
    formats: Formats, name: str, inputs: int, outputs: int, split: str, **options: object
) -> MatMul:
    return MatMul.from_fields(
        {
            "name": name,
            "inputs": inputs,
            "outputs": outputs,
            "split": split,
            "weight_dtype": formats.weight_dtype,
            **formats.multiplied,
            **options,
        }
    )


def _norm(shape: EncoderShape, name: str) -> Pointwise:
    """Scale and shift of each value, or a scale alone."""
    return Pointwise(name=name, width=shape.hidden, weights=shape.norm_vectors * shape.hidden)


def _layer(
    shape: EncoderShape, formats: Formats, kind: str, operators: list[LayerOperator]
) -> Layer:
    return Layer(
        name=kind,
        kind=kind,
        operators=tuple(operators),
        activation_width=shape.hidden,
        activation_dtype=formats.stream_dtype,
    )


def _embedding(shape: EncoderShape, formats: Formats) -> Layer:
    sizes = {
        "tokens": shape.vocabulary,
        "positions": shape.positions,
        "token types": shape.token_types if shape.vocabulary else 0,
        "classes": shape.classes,
        "distances": shape.position_buckets,
    }
    hidden = shape.hidden
    operators: list[LayerOperator] = [
        Embedding(
            name=name,
            vocabulary=size,
            width=shape.heads if name == "distances" else hidden,
            weight_dtype=formats.weight_dtype,
        )
        for name, size in sizes.items()
        if size
    ]
    bias = hidden if shape.biased else 0
    if shape.input_values:
        operators.append(
            _matmul(formats, "patches", shape.input_values, hidden, "none", biased=bias)
        )
    if shape.sound_channels:
        # Before the second convolution there are twice as many steps.
        operators += [
            _matmul(
                formats,
                "sound in",
                shape.sound_channels,
                hidden,
                "none",
                positions=3,
                tokens_factor=2.0,
                biased=bias,
            ),
            _matmul(formats, "sound", hidden, hidden, "none", positions=3, biased=bias),
        ]
    if shape.input_norm:
        operators.append(_norm(shape, "embedding norm"))
    return _layer(shape, formats, "embedding", operators)


def _encoder_layer(shape: EncoderShape, formats: Formats) -> Layer:
    hidden, width = shape.hidden, shape.width_of_heads
    inner = 2 * shape.ffn if shape.gated else shape.ffn

    def matmul(name: str, inputs: int, outputs: int, split: str) -> MatMul:
        biased = outputs if shape.biased else 0
        return _matmul(formats, name, inputs, outputs, split, biased=biased)

    attention = plain_attention(
        "attention",
        shape.heads,
        width // shape.heads,
        kv_dtype=formats.kv_dtype,
        compute_dtype=formats.stream_dtype,
        causal=False,
        cached=False,
    )
    operators: list[LayerOperator] = [
        matmul("query", hidden, width, "outputs"),
        matmul("key value", hidden, 2 * width, "outputs"),
        attention,
        matmul("attention output", width, hidden, "inputs"),
        _norm(shape, "attention norm"),
        matmul("feed-forward up", hidden, inner, "outputs"),
        Pointwise(name="feed-forward activation", width=shape.ffn, split=True),
        matmul("feed-forward down", shape.ffn, hidden, "inputs"),
        _norm(shape, "feed-forward norm"),
    ]
    return _layer(shape, formats, "encoder", operators)


def _pooler(shape: EncoderShape, formats: Formats) -> Layer:
    """What makes the answer of the last layer's outputs: a norm, a matrix, or both."""
    operators: list[LayerOperator] = []
    if shape.final_norm or not shape.pooled:
        operators.append(_norm(shape, "final norm"))
    if shape.pooled:
        hidden = shape.hidden
        biased = hidden if shape.biased else 0
        operators.append(
            _matmul(formats, "pooler", hidden, hidden, "outputs", rows="sequences", biased=biased)
        )
    return _layer(shape, formats, "pooler", operators)
