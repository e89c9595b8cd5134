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


class EncoderShape(Record):
    """The numbers that make an encoder."""

    layers: Annotated[int, Field(ge=1, le=10_000)]
    hidden: Width
    heads: Width
    ffn: Width
    """Inner width of the feed-forward layers, which have no gate."""
    vocabulary: Width
    positions: Width
    """Learned position embeddings: the longest text."""
    token_types: Width = 2

    @model_validator(mode="after")
    def check_heads(self) -> Self:
        if self.hidden % self.heads:
            raise InputError(
                f"EncoderShape.heads: {self.heads} does not divide the width of {self.hidden};"
                " it must"
            )
        return self


def encoder_graph(
    shape: EncoderShape, name: str, formats: Formats, *, source: str = "", confidence: str = ""
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
        most_context_tokens=shape.positions,
        source=source,
        confidence=confidence,
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
    """Scale and shift of each value."""
    return Pointwise(name=name, width=shape.hidden, weights=2 * shape.hidden)


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
        "token types": shape.token_types,
    }
    tables: list[LayerOperator] = [
        Embedding(name=name, vocabulary=size, width=shape.hidden, weight_dtype=formats.weight_dtype)
        for name, size in sizes.items()
    ]
    return _layer(shape, formats, "embedding", [*tables, _norm(shape, "embedding norm")])


def _encoder_layer(shape: EncoderShape, formats: Formats) -> Layer:
    hidden = shape.hidden
    attention = plain_attention(
        "attention",
        shape.heads,
        hidden // shape.heads,
        kv_dtype=formats.kv_dtype,
        compute_dtype=formats.stream_dtype,
        causal=False,
        cached=False,
    )
    operators: list[LayerOperator] = [
        _matmul(formats, "query", hidden, hidden, "outputs"),
        _matmul(formats, "key value", hidden, 2 * hidden, "outputs"),
        attention,
        _matmul(formats, "attention output", hidden, hidden, "inputs"),
        _norm(shape, "attention norm"),
        _matmul(formats, "feed-forward up", hidden, shape.ffn, "outputs"),
        Pointwise(name="feed-forward activation", width=shape.ffn, split=True),
        _matmul(formats, "feed-forward down", shape.ffn, hidden, "inputs"),
        _norm(shape, "feed-forward norm"),
    ]
    return _layer(shape, formats, "encoder", operators)


def _pooler(shape: EncoderShape, formats: Formats) -> Layer:
    pooler = _matmul(formats, "pooler", shape.hidden, shape.hidden, "outputs", rows="sequences")
    return _layer(shape, formats, "pooler", [pooler])
