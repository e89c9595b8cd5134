"""A family of dense transformers of any size, between and beyond those that exist."""

import math

from planner.catalogue import model_table
from planner.decoder import DecoderShape, Formats, decoder_graph
from planner.dtypes import Dtype
from planner.errors import InputError
from planner.graph import ModelGraph

ANCHORS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LEAST, MOST = 1e9, 2e13


def dense_shape(parameters: float) -> DecoderShape:
    """The shape of a dense decoder with so many parameters.

    Depth and width follow Llama 3.1's three sizes, straight lines between and beyond them on logarithmic axes; heads are
    the nearest power of two, so that splitting stays possible; the feed-forward width takes up what is left, so that the
    count comes out to a few millionths.
    """
    if not LEAST <= parameters <= MOST:
        raise InputError(f"parameters must lie between {LEAST:.0e} and {MOST:.0e}, not {parameters:.4g}")
    anchors = [DecoderShape.from_fields(model_table()[name]["shape"]) for name in ANCHORS]
    sizes = [_parameters(shape) for shape in anchors]
    layers = round(_interpolated(parameters, sizes, [shape.layers for shape in anchors]))
    hidden = 128 * round(_interpolated(parameters, sizes, [shape.hidden for shape in anchors]) / 128)
    heads = 2 ** round(math.log2(_interpolated(parameters, sizes, [shape.heads for shape in anchors])))
    plain = anchors[0].replace(layers=layers, hidden=hidden, heads=heads, ffn=1)
    one = _parameters(plain.replace(ffn=2)) - _parameters(plain)
    ffn = 1 + round((parameters - _parameters(plain)) / one)
    if ffn < hidden:
        raise InputError(f"no dense shape of the family has {parameters:.4g} parameters")
    return plain.replace(ffn=ffn)


def dense_family(parameters: float, *, weight_dtype: Dtype = "bf16", kv_dtype: Dtype = "bf16") -> ModelGraph:
    """The layer graph of that shape."""
    shape = dense_shape(parameters)
    formats = Formats(weight_dtype=weight_dtype, kv_dtype=kv_dtype)
    name = f"dense-{parameters / 1e9:.4g}b"
    source = f"interpolated from {', '.join(ANCHORS)}"
    return decoder_graph(shape, name, formats, source=source, confidence="derived")


def _parameters(shape: DecoderShape) -> float:
    return decoder_graph(shape, "", Formats()).parameters


def _interpolated(parameters: float, sizes: list[float], values: list[int]) -> float:
    """Piecewise straight on logarithmic axes, the end pieces prolonged."""
    piece = next((n for n in range(len(sizes) - 2) if parameters < sizes[n + 1]), len(sizes) - 2)
    low, high = math.log(sizes[piece]), math.log(sizes[piece + 1])
    share = (math.log(parameters) - low) / (high - low)
    return math.exp((1 - share) * math.log(values[piece]) + share * math.log(values[piece + 1]))
