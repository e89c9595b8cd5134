"""Shapes of what the nodes of an ONNX graph make, at fixed shapes of its inputs [1], and the values
of the small tensors of integers from which shapes are worked out.

[1] ONNX, "Operator schemas", opset 23.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.readers.programs.onnx_messages import BOOL, FLOAT, INT64, KINDS, Node, TensorFacts
from planner.readers.programs.traced import names_in

Shape = tuple[int, ...]

MOST_FOLDED = 1024
"""Values of a tensor whose values are followed."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value."""

    shape: Shape
    code: int = FLOAT
    values: NDArray[Any] | None = None
    """Those of a small tensor."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)


class UnknownShapeError(Exception):
    """The shape cannot be worked out; what is missing, in words."""


Rule = Callable[[Node, list["Known | None"], int], list[Shape]]


def needed(known: Sequence[Known | None], place: int) -> Known:
    """The input of that place."""
    found = known[place] if place < len(known) else None
    if found is None:
        raise UnknownShapeError(f"its input {place} is missing")
    return found


def whole(node: Node, name: str, default: int) -> int:
    """An attribute that is a number."""
    found = node.attributes.get(name, default)
    return int(found) if isinstance(found, int | float) else default


def several(node: Node, name: str) -> list[int]:
    """An attribute that is a list of numbers; empty where there is none."""
    found = node.attributes.get(name)
    if not isinstance(found, list):
        return []
    return [int(each) for each in found]


def text(node: Node, name: str, default: str) -> str:
    found = node.attributes.get(name, default)
    return found if isinstance(found, str) else default


def listed_values(known: Sequence[Known | None], place: int) -> list[int] | None:
    """The numbers of a small input; None where there is no such input."""
    found = known[place] if place < len(known) else None
    if found is None:
        return None
    if found.values is None:
        raise UnknownShapeError("a shape in it depends on the values of a tensor")
    if found.values.dtype.kind == "f" and not np.isfinite(found.values).all():
        raise UnknownShapeError("a shape in it is no number")
    return [int(each) for each in found.values.ravel()]


def axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise UnknownShapeError(f"it has no axis {axis}")
    return axis % rank


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape to which all of them are stretched."""
    if shapes and all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            raise UnknownShapeError(f"the shapes of its inputs cannot be combined ({sorted(wide)})")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def _elementwise(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    given = [each for each in known if each is not None]
    # Before opset 7 the smaller input could stand anywhere within the larger one.
    if opset < 7 and given:
        return [max((each.shape for each in given), key=math.prod)]
    return [broadcast([each.shape for each in given])]


def _same(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    return [needed(known, 0).shape] * max(1, len(node.outputs))


def _normalised(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    """The first output as its input; others hold means and variances, or the sum before it."""
    shape = needed(known, 0).shape
    few = (*shape[:-1], 1) if shape else shape
    summed = node.operation.startswith("Skip")
    shapes = [shape]
    for place in range(1, len(node.outputs)):
        shapes.append(shape if summed and place == 3 else few)
    return shapes


def window_of(node: Node, rank: int, kernel: Sequence[int]) -> tuple[list[int], ...]:
    """Strides, dilations and paddings (before, after) of a window over so many axes."""
    strides = several(node, "strides") or [1] * rank
    dilations = several(node, "dilations") or [1] * rank
    pads = several(node, "pads") or [0] * (2 * rank)
    if not len(strides) == len(dilations) == len(kernel) == rank or len(pads) != 2 * rank:
        raise UnknownShapeError("its window and its input have different numbers of axes")
    if min((*strides, *dilations, *kernel), default=1) < 1:
        raise UnknownShapeError("its window has a stride or a side below 1")
    return strides, dilations, pads[:rank], pads[rank:]


def slid(node: Node, spatial: Shape, kernel: Sequence[int]) -> Shape:
    """Where a window of that size stands as it slides over the axes of a picture."""
    strides, dilations, before, after = window_of(node, len(spatial), kernel)
    padding = text(node, "auto_pad", "NOTSET")
    up = whole(node, "ceil_mode", 0)
    found = []
    for place, size in enumerate(spatial):
        side = dilations[place] * (kernel[place] - 1) + 1
        stride = strides[place]
        if padding.startswith("SAME"):
            found.append(-(-size // stride))
            continue
        padded = size if padding == "VALID" else size + before[place] + after[place]
        room = padded - side
        steps = -(-room // stride) if up else room // stride
        # A window may not begin in the padding behind the picture.
        if up and padding != "VALID" and steps * stride >= size + before[place]:
            steps -= 1
        if room < 0:
            raise UnknownShapeError("its window is larger than its input")
        found.append(steps + 1)
    return tuple(found)


def _convolution(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x, weights = needed(known, 0).shape, needed(known, place_of_weights(node)).shape
    if len(x) < 3 or len(weights) != len(x):
        raise UnknownShapeError("a convolution needs a picture and as many axes of weights")
    return [(x[0], weights[0], *slid(node, x[2:], weights[2:]))]


def place_of_weights(node: Node) -> int:
    """Which input holds the weights: quantised operators state a scale and a zero point first."""
    return 3 if node.operation in ("QLinearConv", "QLinearMatMul") else 1


def _transposed_convolution(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x, weights = needed(known, 0).shape, needed(known, 1).shape
    if len(x) < 3 or len(weights) != len(x):
        raise UnknownShapeError("a convolution needs a picture and as many axes of weights")
    channels = weights[1] * whole(node, "group", 1)
    stated = several(node, "output_shape")
    if stated:
        return [(x[0], channels, *stated[-(len(x) - 2) :])]
    rank = len(x) - 2
    kernel = weights[2:]
    strides, dilations, before, after = window_of(node, rank, kernel)
    more = several(node, "output_padding") or [0] * rank
    same = text(node, "auto_pad", "NOTSET").startswith("SAME")
    sizes = []
    for place, size in enumerate(x[2:]):
        if same:
            sizes.append(size * strides[place])
            continue
        side = dilations[place] * (kernel[place] - 1) + 1
        padding = before[place] + after[place]
        sizes.append(strides[place] * (size - 1) + more[place] + side - padding)
    return [(x[0], channels, *sizes)]


def _pooling(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    shape = (*x[:2], *slid(node, x[2:], several(node, "kernel_shape")))
    return [shape] * max(1, len(node.outputs))


def _global_pooling(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    return [(*x[:2], *(1 for _ in x[2:]))]


def product_shape(a: Shape, b: Shape) -> Shape:
    """Of a product of matrices, as numpy multiplies them."""
    if not a or not b:
        raise UnknownShapeError("a product needs matrices")
    rows = a if len(a) > 1 else (1, *a)
    columns = b if len(b) > 1 else (*b, 1)
    if rows[-1] != columns[-2]:
        raise UnknownShapeError(
            f"a matrix of {rows[-1]} columns cannot be multiplied by a matrix of {columns[-2]} rows"
        )
    shape = (*broadcast([rows[:-2], columns[:-2]]), rows[-2], columns[-1])
    if len(a) == 1:
        shape = (*shape[:-2], shape[-1])
    return shape[:-1] if len(b) == 1 else shape


def turned(shape: Shape, transposed: int) -> Shape:
    """With its last two axes exchanged, where that is asked for."""
    if not transposed or len(shape) < 2:
        return shape
    return (*shape[:-2], shape[-1], shape[-2])


def _matmul(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    a = turned(needed(known, 0).shape, whole(node, "transA", 0))
    b = turned(needed(known, place_of_weights(node)).shape, whole(node, "transB", 0))
    return [product_shape(a, b)]


def _matmul_nbits(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    return [(*needed(known, 0).shape[:-1], whole(node, "N", 1))]


def terms_of(node: Node, known: list[Known | None]) -> tuple[list[str], str, dict[str, int]]:
    """Of an Einsum: the letters of its inputs and of its output, and the size of each letter."""
    equation = text(node, "equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if "." in equation or len(terms) != len(known):
        raise UnknownShapeError(f"its equation is not understood ({equation[:40]})")
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        shape = needed(known, place).shape
        if len(shape) != len(term):
            raise UnknownShapeError("its equation and its inputs have different axes")
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    if not arrow:
        right = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    if set(right) - set(sizes):
        raise UnknownShapeError("its equation has a letter without a size")
    return terms, right, sizes


def _einsum(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    _, right, sizes = terms_of(node, known)
    return [tuple(sizes[letter] for letter in right)]


def _gather(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    data, chosen = needed(known, 0).shape, needed(known, 1).shape
    axis = axis_of(whole(node, "axis", 0), len(data))
    return [(*data[:axis], *chosen, *data[axis + 1 :])]


def _gather_elements(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    return [needed(known, 1).shape]


def _gather_nd(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    data, chosen = needed(known, 0).shape, needed(known, 1).shape
    skipped = whole(node, "batch_dims", 0)
    return [(*chosen[:-1], *data[skipped + (chosen[-1] if chosen else 0) :])]


def _reduction(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    axes = several(node, "axes") or listed_values(known, 1) or []
    if node.operation.startswith("Arg"):
        axes = [whole(node, "axis", 0)]
    elif not axes and whole(node, "noop_with_empty_axes", 0):
        return [x]
    gone = {axis_of(axis, len(x)) for axis in axes} or set(range(len(x)))
    if whole(node, "keepdims", 1):
        return [tuple(1 if place in gone else size for place, size in enumerate(x))]
    return [tuple(size for place, size in enumerate(x) if place not in gone)]


def _reshape(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    wanted = several(node, "shape") or listed_values(known, 1) or []
    keeps_zero = whole(node, "allowzero", 0)
    sizes = []
    for place, size in enumerate(wanted):
        if size == 0 and not keeps_zero:
            if place >= len(x):
                raise UnknownShapeError("it keeps an axis that its input lacks")
            sizes.append(x[place])
        else:
            sizes.append(size)
    whole_count = math.prod(x)
    rest = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and rest and not whole_count % rest:
        sizes[sizes.index(-1)] = whole_count // rest
    if math.prod(sizes) != whole_count or min(sizes, default=0) < 0:
        raise UnknownShapeError(f"{whole_count} values do not fill the shape {sizes}")
    return [tuple(sizes)]


def _flatten(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    axis = whole(node, "axis", 1)
    axis = axis + len(x) if axis < 0 else axis
    return [(math.prod(x[:axis]), math.prod(x[axis:]))]


def _transpose(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    order = several(node, "perm") or list(range(len(x)))[::-1]
    if sorted(order) != list(range(len(x))):
        raise UnknownShapeError("its order of axes names axes that its input does not have")
    return [tuple(x[place] for place in order)]


def _concat(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    shapes = [needed(known, place).shape for place in range(len(known))]
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        raise UnknownShapeError("its inputs have different numbers of axes")
    axis = axis_of(whole(node, "axis", 1), len(shapes[0]))
    if any(
        shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :]
        for shape in shapes
    ):
        raise UnknownShapeError(
            "its inputs differ in other axes than the one along which they are joined"
        )
    total = sum(shape[axis] for shape in shapes)
    return [(*shapes[0][:axis], total, *shapes[0][axis + 1 :])]


def slices_of(node: Node, known: list[Known | None]) -> list[slice]:
    """Of each axis of its input what a Slice takes."""
    x = needed(known, 0).shape
    starts = several(node, "starts") or listed_values(known, 1) or []
    ends = several(node, "ends") or listed_values(known, 2) or []
    axes = several(node, "axes") or listed_values(known, 3) or list(range(len(starts)))
    steps = listed_values(known, 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise UnknownShapeError("its starts, ends, axes and steps do not match")
    taken = [slice(None)] * len(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Going backwards, an end far below zero means "to the first", which Python writes as None.
        last = None if step < 0 and end < -x[axis_of(axis, len(x))] else end
        taken[axis_of(axis, len(x))] = slice(start, last, step)
    return taken


def _slice(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    taken = zip(slices_of(node, known), x, strict=True)
    return [tuple(len(range(*part.indices(size))) for part, size in taken)]


def _split(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    axis = axis_of(whole(node, "axis", 0), len(x))
    sizes = several(node, "split") or listed_values(known, 1)
    count = len(node.outputs)
    if not sizes:
        each = -(-x[axis] // max(1, count))
        sizes = [min(each, max(0, x[axis] - place * each)) for place in range(count)]
    if sum(sizes) != x[axis] or min(sizes) < 0:
        raise UnknownShapeError(f"parts of {sizes} do not add up to the {x[axis]} of its input")
    return [(*x[:axis], size, *x[axis + 1 :]) for size in sizes]


def _unsqueeze(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    axes = several(node, "axes") or listed_values(known, 1) or []
    rank = len(x) + len(axes)
    places = {axis_of(axis, rank) for axis in axes}
    if len(places) != len(axes):
        raise UnknownShapeError("it adds an axis twice")
    left = iter(x)
    return [tuple(1 if place in places else next(left) for place in range(rank))]


def _squeeze(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    axes = several(node, "axes") or listed_values(known, 1)
    gone = (
        {axis_of(axis, len(x)) for axis in axes}
        if axes
        else {place for place, size in enumerate(x) if size == 1}
    )
    return [tuple(size for place, size in enumerate(x) if place not in gone)]


def _expand(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    wanted = listed_values(known, 1) or []
    return [broadcast([needed(known, 0).shape, tuple(wanted)])]


def _tile(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    times = listed_values(known, 1) or []
    if len(times) != len(x):
        raise UnknownShapeError("it repeats other axes than its input has")
    return [tuple(size * often for size, often in zip(x, times, strict=True))]


def _pad(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    pads = several(node, "pads") or listed_values(known, 1) or []
    axes = listed_values(known, 3) or list(range(len(x)))
    if len(pads) != 2 * len(axes):
        raise UnknownShapeError("it pads other axes than its input has")
    sizes = list(x)
    for place, axis in enumerate(axes):
        sizes[axis_of(axis, len(x))] += pads[place] + pads[place + len(axes)]
    return [tuple(sizes)]


def _resize(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    is_old = node.operation == "Upsample" or opset < 11
    places = (1,) if is_old else (2,)
    if not is_old and len(known) > 3 and known[3] is not None:
        sizes = listed_values(known, 3) or []
        axes = several(node, "axes") or list(range(len(x)))
        if len(sizes) != len(axes):
            raise UnknownShapeError("its sizes are those of other axes")
        found = list(x)
        for axis, size in zip(axes, sizes, strict=True):
            found[axis_of(axis, len(x))] = size
        return [tuple(found)]
    scales = known[places[0]] if len(known) > places[0] else None
    if scales is None or scales.values is None or scales.values.size != len(x):
        raise UnknownShapeError("its scales are not in the file")
    grown = zip(x, scales.values.ravel().tolist(), strict=True)
    return [tuple(math.floor(size * scale) for size, scale in grown)]


def _of_shape(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    return [tuple(listed_values(known, 0) or [])]


def _range(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    found = [known[place].values for place in range(3)]  # type: ignore[union-attr]
    if any(each is None for each in found):
        raise UnknownShapeError("its length depends on the values of a tensor")
    start, limit, step = (float(each.ravel()[0]) for each in found)  # type: ignore[union-attr]
    if not step or not all(map(math.isfinite, (start, limit, step))):
        raise UnknownShapeError("its step is 0")
    return [(max(0, math.ceil((limit - start) / step)),)]


def _recurrence(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x, recurrent = needed(known, 0).shape, needed(known, 2).shape
    if len(x) != 3 or len(recurrent) != 3:
        raise UnknownShapeError("it needs a sequence of vectors")
    directions, hidden = recurrent[0], recurrent[2]
    last = (directions, x[1], hidden)
    shapes = [(x[0], directions, x[1], hidden), last, last]
    if whole(node, "layout", 0):
        shapes = [(x[0], x[1], directions, hidden), (x[0], directions, hidden)]
        shapes.append(shapes[-1])
    return shapes[: max(1, len(node.outputs))]


def _attention(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    """Of fused attention: the queries' shape, as wide as the values."""
    query = needed(known, 0).shape
    if len(query) not in (3, 4):
        raise UnknownShapeError("its queries must have three or four axes")
    value = known[2] if len(known) > 2 else None
    if node.operation == "GroupQueryAttention":
        heads = whole(node, "num_heads", 1)
        kv_heads = whole(node, "kv_num_heads", heads)
        wide = query[-1]
        if value is None:
            wide = wide * heads // max(1, heads + 2 * kv_heads)
        return _with_caches((*query[:-1], wide), node, known)
    if node.domain == "com.microsoft" and node.operation == "Attention":
        return _with_caches((*query[:-1], needed(known, 1).shape[-1] // 3), node, known)
    if value is None or len(query) == 4:
        wide = query[-1] if value is None else value.shape[-1]
        return _with_caches((*query[:-1], wide), node, known)
    heads = whole(node, "q_num_heads", 0)
    kv_heads = whole(node, "kv_num_heads", heads)
    wide = value.shape[-1] * heads // kv_heads if heads and kv_heads else value.shape[-1]
    return _with_caches((*query[:-1], wide), node, known)


def _with_caches(shape: Shape, node: Node, known: list[Known | None]) -> list[Shape]:
    """The output, then caches as long as those that came in: in a buffer of full length."""
    if len(node.outputs) == 1 or not any(node.outputs[1:]):
        return [shape]
    raise UnknownShapeError("it returns caches whose shape is not in the file")


def _one_hot(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    chosen = needed(known, 0).shape
    depth = (listed_values(known, 1) or [1])[0]
    axis = whole(node, "axis", -1)
    place = axis_of(axis, len(chosen) + 1)
    return [(*chosen[:place], depth, *chosen[place:])]


def _top_k(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    count = (listed_values(known, 1) or [whole(node, "k", 1)])[0]
    axis = axis_of(whole(node, "axis", -1), len(x))
    return [(*x[:axis], count, *x[axis + 1 :])] * 2


def _depth_to_space(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    batch, channels, height, width = needed(known, 0).shape
    side = whole(node, "blocksize", 1)
    if side < 1:
        raise UnknownShapeError("its blocks have no size")
    if node.operation == "DepthToSpace":
        return [(batch, channels // side**2, height * side, width * side)]
    return [(batch, channels * side**2, height // side, width // side)]


def _shape(node: Node, known: list[Known | None], opset: int) -> list[Shape]:
    x = needed(known, 0).shape
    taken = slice(whole(node, "start", 0), whole(node, "end", len(x)))
    return [(len(x[taken]),)]


ELEMENTWISE = names_in(
    "Add Sub Mul Div Pow Sum Max Min Mean Where Equal Greater Less GreaterOrEqual LessOrEqual And"
    " Or Xor Mod BitShift BitwiseAnd BitwiseOr PRelu"
)
SAME = names_in(
    "Relu Sigmoid Tanh Erf Exp Log Sqrt Reciprocal Neg Abs Floor Ceil Round Sign Sin Cos Tan Not"
    " Clip LeakyRelu Elu Selu Celu Softplus Softsign HardSigmoid HardSwish Swish Gelu Mish"
    " ThresholdedRelu Softmax LogSoftmax Hardmax LRN LpNormalization InstanceNormalization"
    " GroupNormalization Identity Cast CastLike Dropout IsNaN IsInf CumSum Trilu FastGelu QuickGelu"
    " BiasGelu RotaryEmbedding QuantizeLinear DequantizeLinear ScatterND ScatterElements Scatter"
    " GemmFastGelu Atan Asin Acos Sinh Cosh Asinh Acosh Atanh Shrink MeanVarianceNormalization"
    " ReverseSequence BitwiseNot DynamicQuantizeLinear"
)
NORMALISATIONS = names_in(
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization"
    " SkipSimplifiedLayerNormalization"
)
REDUCTIONS = names_in(
    "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum"
    " ReduceLogSumExp ReduceSumSquare ArgMax ArgMin"
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(NORMALISATIONS, _normalised),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(("Conv", "QLinearConv", "ConvInteger", "FusedConv"), _convolution),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global_pooling),
    **dict.fromkeys(
        ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul"), _matmul
    ),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention"), _attention),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrence),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth_to_space),
    "BatchNormalization": lambda node, known, opset: [needed(known, 0).shape],
    "ConvTranspose": _transposed_convolution,
    "MatMulNBits": _matmul_nbits,
    "Einsum": _einsum,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "ConstantOfShape": _of_shape,
    "Range": _range,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "Shape": _shape,
    "Size": lambda node, known, opset: [()],
}
"""How each operator's output shapes follow from its inputs."""

LOGICAL = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "Not")
COUNTING = ("Shape", "Size", "ArgMax", "ArgMin", "NonZero")


def code_of(node: Node, known: list[Known | None]) -> int:
    """The number format of what a node makes, where nobody states it."""
    if node.operation == "Cast":
        return whole(node, "to", FLOAT)
    if node.operation == "ConstantOfShape":
        value = node.attributes.get("value")
        return value.code if isinstance(value, TensorFacts) else FLOAT
    if node.operation in (*LOGICAL, "IsNaN", "IsInf"):
        return BOOL
    if node.operation in COUNTING:
        return INT64
    # Dequantised values have the format of their scale; so has what a choice takes.
    place = 1 if node.operation in ("DequantizeLinear", "Where", "CastLike") else 0
    found = known[place] if place < len(known) else None
    return FLOAT if found is None else found.code


Fold = Callable[[Node, list[Known | None], list[NDArray[Any]]], "NDArray[Any]"]


def _folded_slice(node: Node, known: list[Known | None], given: list[NDArray[Any]]) -> Any:
    return given[0][tuple(slices_of(node, known))]


def _folded_division(node: Node, known: list[Known | None], given: list[NDArray[Any]]) -> Any:
    if given[0].dtype.kind != "f":
        return np.trunc(given[0] / np.where(given[1] == 0, 1, given[1])).astype(given[0].dtype)
    return given[0] / given[1]


def _folded_constant(node: Node, known: list[Known | None], given: list[NDArray[Any]]) -> Any:
    value = node.attributes.get("value")
    filled: NDArray[Any] = np.zeros(1, dtype=np.float32)
    if isinstance(value, TensorFacts) and value.values is not None and value.values.size:
        filled = value.values
    return np.full(tuple(int(size) for size in given[0].ravel()), filled.ravel()[0])


FOLDS: dict[str, Fold] = {
    "Add": lambda node, known, given: given[0] + given[1],
    "Sub": lambda node, known, given: given[0] - given[1],
    "Mul": lambda node, known, given: given[0] * given[1],
    "Div": _folded_division,
    "Mod": lambda node, known, given: given[0] % np.where(given[1] == 0, 1, given[1]),
    "Max": lambda node, known, given: np.maximum.reduce(given),
    "Min": lambda node, known, given: np.minimum.reduce(given),
    "Neg": lambda node, known, given: -given[0],
    "Abs": lambda node, known, given: np.abs(given[0]),
    "Floor": lambda node, known, given: np.floor(given[0]),
    "Ceil": lambda node, known, given: np.ceil(given[0]),
    "Sqrt": lambda node, known, given: np.sqrt(given[0]),
    "Equal": lambda node, known, given: given[0] == given[1],
    "Greater": lambda node, known, given: given[0] > given[1],
    "Less": lambda node, known, given: given[0] < given[1],
    "GreaterOrEqual": lambda node, known, given: given[0] >= given[1],
    "LessOrEqual": lambda node, known, given: given[0] <= given[1],
    "And": lambda node, known, given: given[0] & given[1],
    "Or": lambda node, known, given: given[0] | given[1],
    "Not": lambda node, known, given: ~given[0],
    "Where": lambda node, known, given: np.where(given[0], given[1], given[2]),
    "Identity": lambda node, known, given: given[0],
    "Cast": lambda node, known, given: given[0].astype(KINDS[whole(node, "to", FLOAT)]),
    "Concat": lambda node, known, given: np.concatenate(given, axis=whole(node, "axis", 0)),
    "Gather": lambda node, known, given: np.take(
        given[0], given[1].astype(np.int64), axis=whole(node, "axis", 0)
    ),
    "Slice": _folded_slice,
    "ConstantOfShape": _folded_constant,
    "Range": lambda node, known, given: np.arange(
        given[0].ravel()[0], given[1].ravel()[0], given[2].ravel()[0]
    ),
    "ReduceProd": lambda node, known, given: np.asarray(np.prod(given[0])),
    "ReduceSum": lambda node, known, given: np.asarray(np.sum(given[0])),
    "ReduceMax": lambda node, known, given: np.asarray(np.max(given[0])),
    "ReduceMin": lambda node, known, given: np.asarray(np.min(given[0])),
    "Transpose": lambda node, known, given: np.transpose(given[0], several(node, "perm") or None),
    **dict.fromkeys(
        ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Expand"),
        lambda node, known, given: given[0],
    ),
}
"""What each operator makes of small tensors; the shape is known already."""


def folded(node: Node, known: list[Known | None], shape: Shape) -> NDArray[Any] | None:
    """The values of a node's first output, where all of its inputs' are known and they are few."""
    if node.operation == "Shape":
        x = needed(known, 0).shape
        taken = slice(whole(node, "start", 0), whole(node, "end", len(x)))
        return np.array(x[taken], dtype=np.int64)
    if node.operation == "Size":
        return np.array(needed(known, 0).count, dtype=np.int64)
    rule = FOLDS.get(node.operation)
    given = [each.values for each in known if each is not None]
    if rule is None or not given or math.prod(shape) > MOST_FOLDED:
        return None
    if any(each is None for each in given):
        return None
    values = [each for each in given if each is not None]
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(rule(node, known, values))
        if node.operation == "Expand":
            return np.broadcast_to(made, shape)
        return made.reshape(shape)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnknownShapeError):
        # Nothing is known of what does not follow the rules; if a shape hangs on it, that is said.
        return None


def inferred(node: Node, known: list[Known | None], opset: int) -> list[Known]:
    """What a node makes. An UnknownShapeError where that does not follow from its inputs."""
    rule = RULES.get(node.operation)
    if rule is None:
        raise UnknownShapeError("this operator is not known")
    try:
        shapes = rule(node, known, opset)
    except (ValueError, IndexError, TypeError, AttributeError, OverflowError):
        raise UnknownShapeError("its inputs and attributes do not match") from None
    if any(size < 0 for shape in shapes for size in shape):
        raise UnknownShapeError("it makes a tensor with a negative dimension")
    code = code_of(node, known)
    first = Known(shapes[0], code, folded(node, known, shapes[0]))
    return [first, *(Known(shape, code) for shape in shapes[1:])]
