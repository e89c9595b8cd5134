"""Families of transformers of any size, dense or with experts, between and beyond those that
exist."""

import math
from functools import cache
from typing import Literal

import numpy as np

from planner.catalogue import model_table
from planner.errors import InputError, UnknownNameError
from planner.models.decoder import DecoderShape, decoder_graph
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.models.storage import Formats

ANCHORS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LEAST = 1e9
MOST = 2e13
EXPERT_ANCHORS = (
    "qwen3-30b-a3b",
    "gpt-oss-120b",
    "minimax-m2.5",
    "qwen3-235b-a22b",
    "glm-4.7",
    "qwen3-coder-480b-a35b",
    "deepseek-v3",
    "kimi-k2",
)
"""Models with many small experts: no two of them lie on one line, so a power law is fitted to
all."""
Family = Literal["dense", "moe"]


def dense_shape(parameters: float) -> DecoderShape:
    """The shape of a dense decoder with so many parameters.

    Depth and width follow Llama 3.1's three sizes, straight lines between and beyond them on
    logarithmic axes; heads are the nearest power of two, so that splitting stays possible; the
    feed-forward width takes up what is left, so that the count comes out to a few millionths.
    """
    _check_size(parameters)
    anchors = [DecoderShape.from_fields(model_table()[name]["shape"]) for name in ANCHORS]
    sizes = [_parameters(shape) for shape in anchors]

    def like_the_anchors(field: str) -> float:
        return _interpolated(parameters, sizes, [getattr(shape, field) for shape in anchors])

    layers = round(like_the_anchors("layers"))
    hidden = 128 * round(like_the_anchors("hidden") / 128)
    heads = 2 ** round(math.log2(like_the_anchors("heads")))
    plain = anchors[0].replace(layers=layers, hidden=hidden, heads=heads, ffn=1)
    one = _parameters(plain.replace(ffn=2)) - _parameters(plain)
    ffn = 1 + round((parameters - _parameters(plain)) / one)
    if ffn < hidden:
        raise InputError(f"no dense shape of the family has {parameters:.4g} parameters")
    return plain.replace(ffn=ffn)


def dense_family(
    parameters: float, *, weight_dtype: Dtype = "bf16", kv_dtype: Dtype = "bf16"
) -> ModelGraph:
    """The layer graph of that shape."""
    shape = dense_shape(parameters)
    formats = Formats(weight_dtype=weight_dtype, kv_dtype=kv_dtype)
    name = f"dense-{parameters / 1e9:.4g}b"
    source = f"interpolated from {', '.join(ANCHORS)}"
    return decoder_graph(shape, name, formats, source=source, confidence="derived")


def moe_shape(parameters: float) -> DecoderShape:
    """The shape of a decoder with so many parameters of which most are experts, 8 of them active
    for a token.

    Depth, width and number of experts follow power laws fitted to the catalogue's models with many
    small experts (least squares on logarithmic axes); attention has 8 key-value heads of 128, as
    most of them do; the experts' width takes up what is left, so that the count comes out to half a
    percent.
    """
    _check_size(parameters)
    layers, hidden, experts = (math.exp(a + b * math.log(parameters)) for a, b in _expert_laws())
    width = 128 * round(hidden / 128)
    plain = DecoderShape(
        layers=round(layers),
        hidden=width,
        heads=2 ** round(math.log2(width / 64)),
        kv_heads=8,
        head_dim=128,
        vocabulary=151936,
        experts=2 ** round(math.log2(experts)),
        experts_active=8,
        expert_ffn=1,
        most_context_tokens=131072,
    )
    one = _parameters(plain.replace(expert_ffn=2)) - _parameters(plain)
    more = round((parameters - _parameters(plain)) / one)
    return plain.replace(expert_ffn=max(1, 1 + more))


@cache
def _expert_laws() -> tuple[tuple[float, float], ...]:
    """Intercept and slope of layers, width and experts over parameters, all in logarithms."""
    shapes = [DecoderShape.from_fields(model_table()[name]["shape"]) for name in EXPERT_ANCHORS]
    sizes = np.log([_parameters(shape) for shape in shapes])
    columns = [
        [shape.layers for shape in shapes],
        [shape.hidden for shape in shapes],
        [shape.experts for shape in shapes],
    ]
    laws = (np.polynomial.polynomial.polyfit(sizes, np.log(column), 1) for column in columns)
    return tuple((float(a), float(b)) for a, b in laws)


def moe_family(
    parameters: float, *, weight_dtype: Dtype = "bf16", kv_dtype: Dtype = "bf16"
) -> ModelGraph:
    """The layer graph of that shape."""
    formats = Formats(weight_dtype=weight_dtype, kv_dtype=kv_dtype)
    source = f"power laws through {', '.join(EXPERT_ANCHORS)}"
    return decoder_graph(
        moe_shape(parameters),
        f"moe-{parameters / 1e9:.4g}b",
        formats,
        source=source,
        confidence="derived",
    )


def member(family: Family, parameters: float, weight_dtype: Dtype) -> ModelGraph:
    """The model of a family with so many parameters."""
    made = {"dense": dense_family, "moe": moe_family}
    if family not in made:
        raise UnknownNameError("family of models", family, made)
    return made[family](parameters, weight_dtype=weight_dtype)


def _check_size(parameters: float) -> None:
    if not LEAST <= parameters <= MOST:
        raise InputError(
            f"parameters must lie between {LEAST:.0e} and {MOST:.0e}, not {parameters:.4g}"
        )


def _parameters(shape: DecoderShape) -> float:
    return decoder_graph(shape, "", Formats()).parameters


def _interpolated(parameters: float, sizes: list[float], values: list[int]) -> float:
    """Piecewise straight on logarithmic axes, the end pieces prolonged."""
    piece = next((n for n in range(len(sizes) - 2) if parameters < sizes[n + 1]), len(sizes) - 2)
    low, high = math.log(sizes[piece]), math.log(sizes[piece + 1])
    share = (math.log(parameters) - low) / (high - low)
    first, last = math.log(values[piece]), math.log(values[piece + 1])
    return math.exp((1 - share) * first + share * last)
