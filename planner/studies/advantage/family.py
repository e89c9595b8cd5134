"""Families of transformers of any size, dense or with experts, between and beyond those that
exist."""

import math
from functools import cache
from typing import Literal

import numpy as np

from planner.catalogue import model_table
from planner.errors import InputError, UnknownNameError
from planner.guards import guarded
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
STEP_HIDDEN = 32
"""Of the width of members with experts."""
MARGIN = 1.04
"""Active parameters over those of attention, vocabulary and 8 experts, at least: so that a layer
more or less, by rounding, leaves room for a shared expert."""
SHARPNESS = 8
"""Power in which two counts are added, so that the larger prevails without a corner."""
Family = Literal["dense", "moe"]


@guarded
def dense_shape(parameters: float) -> DecoderShape:
    """The shape of a dense decoder with so many parameters.

    Depth and width follow Llama 3.1's three sizes, straight lines between and beyond them on
    logarithmic axes; heads are the nearest power of two, so that splitting stays possible; the
    feed-forward width takes up what is left, so that the count comes out to a few millionths.

    InputError: a size that the family does not have.
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


@guarded
def dense_family(
    parameters: float, *, weight_dtype: Dtype = "bf16", kv_dtype: Dtype = "bf16"
) -> ModelGraph:
    """The layer graph of a dense decoder with so many parameters, as `dense_shape` shapes it.

    InputError: a size that the family does not have.
    """
    shape = dense_shape(parameters)
    formats = Formats(weight_dtype=weight_dtype, kv_dtype=kv_dtype)
    name = f"dense-{parameters / 1e9:.4g}b"
    source = f"interpolated from {', '.join(ANCHORS)}"
    return decoder_graph(shape, name, formats, source=source, confidence="derived")


@guarded
def moe_shape(parameters: float) -> DecoderShape:
    """The shape of a decoder with so many parameters of which most are experts, 8 of them active
    for a token.

    What cannot change by little does not change: 256 experts (as DeepSeek-V3 and MiniMax-M2.5), 64
    heads of 128 (the median of the models below), 8 for keys and values. So splits stay the same at
    every size, and nothing jumps but the layers, by one. Depth and width follow power laws fitted
    to the catalogue's models with many small experts (least squares on logarithmic axes); an expert
    that all tokens share makes active parameters follow a law fitted to theirs, or what attention
    and 8 experts need where that is more; the experts' width takes up what is left, so that the
    count comes out to half a percent.

    InputError: a size that the family does not have.
    """
    _check_size(parameters)
    layers, hidden, _ = _expert_laws(parameters)
    plain = _routed(round(layers), STEP_HIDDEN * round(hidden / STEP_HIDDEN))
    row = plain.layers * plain.matrices * plain.hidden
    besides = _parameters(plain) - plain.experts * row
    # Two widths for two counts: all parameters, and those that a token uses.
    left = parameters - besides
    wanted = _active(parameters) - besides
    routed = (left - wanted) / (1 - plain.experts_active / plain.experts)
    return plain.replace(
        expert_ffn=max(1, round(routed / (plain.experts * row))),
        shared_ffn=max(1, round((left - routed) / row)),
    )


def _routed(layers: int, hidden: int) -> DecoderShape:
    """A member whose experts are as narrow as can be."""
    return DecoderShape(
        layers=layers,
        hidden=hidden,
        heads=64,
        kv_heads=8,
        head_dim=128,
        vocabulary=151936,
        experts=256,
        experts_active=8,
        expert_ffn=1,
        most_context_tokens=131072,
    )


def _active(parameters: float) -> float:
    """Parameters that a token uses: those of the law, or MARGIN times what a member without a
    shared expert has, whichever is more, without a corner between them; smooth in size."""
    layers, hidden, law = _expert_laws(parameters)
    # With so many heads a count of parameters is linear in layers, and in the width.
    one, two = (_routed(number, 1024) for number in (1, 2))
    each = (_parameters(two) - _parameters(one)) / 1024
    ends = _parameters(one) / 1024 - each
    experts = one.experts * one.matrices
    besides = hidden * (ends + layers * (each - experts))
    share = one.experts_active / one.experts
    least = MARGIN * (besides + share * max(0.0, parameters - besides))
    return float((law**SHARPNESS + least**SHARPNESS) ** (1 / SHARPNESS))


def _expert_laws(parameters: float) -> tuple[float, float, float]:
    """Layers, width and active parameters at a size, as the laws have them."""
    layers, hidden, active = (
        math.exp(a + b * math.log(parameters)) for a, b in _fitted_to_anchors()
    )
    return layers, hidden, active


@cache
def _fitted_to_anchors() -> tuple[tuple[float, float], ...]:
    """Intercept and slope of layers, width and active parameters over parameters, all in
    logarithms."""
    shapes = [DecoderShape.from_fields(model_table()[name]["shape"]) for name in EXPERT_ANCHORS]
    graphs = [decoder_graph(shape, "", Formats()) for shape in shapes]
    sizes = np.log([graph.parameters for graph in graphs])
    columns: list[list[float]] = [
        [float(shape.layers) for shape in shapes],
        [float(shape.hidden) for shape in shapes],
        [graph.parameters_active for graph in graphs],
    ]
    laws = (np.polynomial.polynomial.polyfit(sizes, np.log(column), 1) for column in columns)
    return tuple((float(a), float(b)) for a, b in laws)


@guarded
def moe_family(
    parameters: float, *, weight_dtype: Dtype = "bf16", kv_dtype: Dtype = "bf16"
) -> ModelGraph:
    """The layer graph of a decoder with experts and so many parameters, as `moe_shape` shapes it.

    InputError: a size that the family does not have.
    """
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
