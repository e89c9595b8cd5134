"""What a node of an ONNX graph costs, once the shapes around it are known: an `Operation` of the
traced program."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.errors import InputError, shortened
from planner.models.dtypes import Dtype
from planner.readers.programs.onnx_messages import (
    BOOL,
    DOUBLE,
    FLOAT,
    FLOAT16,
    INT8,
    INT32,
    INT64,
    UINT8,
    Node,
)
from planner.readers.programs.onnx_shapes import (
    Known,
    UnknownShapeError,
    needed,
    place_of_weights,
    several,
    terms_of,
    turned,
    whole,
)
from planner.readers.programs.traced import Label, Operation, Value, Weight, names_in

BITS_OF_CODE = {
    FLOAT: 32, UINT8: 8, INT8: 8, 4: 16, 5: 16, INT32: 32, INT64: 64, 8: 64, BOOL: 8, FLOAT16: 16,
    DOUBLE: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4,
    23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6,
}  # fmt: skip
"""Of one value, by the number of its format in `onnx.proto`."""

DTYPE_OF_CODE: dict[int, Dtype] = {
    FLOAT: "fp32", UINT8: "int8", INT8: "int8", INT32: "fp32", FLOAT16: "fp16", 16: "bf16",
    17: "fp8", 18: "fp8", 19: "fp8", 20: "fp8", 21: "int4", 22: "int4", 23: "fp4", 25: "int2",
    26: "int2", 27: "fp6", 28: "fp6",
}  # fmt: skip
"""The format in which weights are stored; a 32-bit integer costs what a float of its size does."""

REFUSED = {
    "If": "it chooses between subgraphs",
    "Loop": "it repeats a subgraph",
    "Scan": "it repeats a subgraph",
    "SequenceMap": "it repeats a subgraph",
    "MoE": "its experts are chosen as it runs",
    "QMoE": "its experts are chosen as it runs",
}
"""Operators whose work shapes do not tell."""

VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")
"""What moves nothing."""
LAYOUTS = (*VIEWS, "Transpose", "Cast", "DequantizeLinear")
"""What leaves weights what they are."""
COPIES = names_in(
    "Transpose Concat Slice Split Expand Gather GatherElements GatherND Tile Pad Cast CastLike"
    " Trilu ScatterND ScatterElements Scatter DepthToSpace SpaceToDepth ConstantOfShape Range OneHot"
    " Resize Upsample ReverseSequence Where EyeLike"
)
"""What moves values, and does no arithmetic."""
CHEAP = names_in(
    "Add Sub Mul Div Max Min Relu Neg Abs Clip LeakyRelu PRelu Equal Greater Less Not And Or Sum"
    " QuantizeLinear DequantizeLinear Floor Ceil Round Sign"
)
"""One operation for each value; others count as a pass of four, as our own norms do."""
POOLS = ("AveragePool", "MaxPool", "LpPool")
CONVOLUTIONS = ("Conv", "QLinearConv", "ConvInteger", "FusedConv")
PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul")
INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")
FUSED = ("Attention", "MultiHeadAttention", "GroupQueryAttention")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that the file holds, perhaps turned or under another name by now."""

    name: str
    code: int
    count: int
    is_initialiser: bool
    is_dequantised: bool = False

    @property
    def stored_bytes(self) -> float:
        return self.count * BITS_OF_CODE.get(self.code, 32) / 8

    def weight(self) -> Weight:
        dtype = DTYPE_OF_CODE.get(self.code)
        if dtype is None:
            raise InputError(
                f"tensor {shortened(self.name)!r} holds weights in a format that no machine here"
                f" multiplies (number {self.code} of onnx.proto); store them as floats of 32 bits"
            )
        return Weight(self.name, self.count, dtype, self.stored_bytes)


@dataclass(frozen=True, slots=True)
class Around:
    """A node and what is known of the tensors around it, input by input."""

    node: Node
    known: list[Known | None]
    constants: list[Constant | None]
    made: list[Known]
    dequantised: bool = False
    """Whether its first input comes out of a DequantizeLinear."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [() if each is None else each.shape for each in self.known]


LOOKED_UP = ("Gather", "GatherND")
"""What takes rows out of a table."""


def operation_of(around: Around) -> Operation:
    """The operation of a node."""
    node = around.node
    if node.operation in CONVOLUTIONS or node.operation == "ConvTranspose":
        return _convolution(around)
    if node.operation in PRODUCTS:
        return _product(around)
    if node.operation == "MatMulNBits":
        return _nbits(around)
    if node.operation == "Einsum":
        return _einsum(around)
    if node.operation in FUSED:
        return _attention(around)
    if node.operation in GATES:
        return _recurrence(around)
    if node.operation in LOOKED_UP and _is_table(around):
        return _embedding(around)
    return _pointwise(around)


def _made(around: Around, label: Label, flop: float, **more: object) -> Operation:
    """An operation with the names and sizes around it."""
    node = around.node
    activations = [
        name
        for place, name in enumerate(node.inputs)
        if name and place < len(around.known) and around.constants[place] is None
    ]
    outputs = [
        Value(name, each.count, BITS_OF_CODE.get(each.code, 32) / 8)
        for name, each in zip(node.outputs, around.made, strict=False)
        if name
    ]
    return Operation(
        name=node.name or (node.outputs[0] if node.outputs else node.operation),
        label=label,
        inputs=tuple(activations),
        outputs=tuple(outputs),
        module=node.module,
        flop=flop,
        **{"dtype": _dtype(around), **more},  # type: ignore[arg-type]
    )


def _dtype(around: Around) -> Dtype:
    """What a node multiplies in: integers where it is quantised, else the format of what it
    makes."""
    if around.node.operation in INTEGER:
        return "int8"
    weights = [each for each in around.constants if each is not None and each.is_dequantised]
    if weights and around.dequantised and weights[0].code in (INT8, UINT8):
        return "int8"
    code = around.made[0].code if around.made else FLOAT
    return DTYPE_OF_CODE.get(code, "fp32")


def _weights(around: Around, places: Sequence[int]) -> tuple[Weight, ...]:
    """The weights among the inputs of these places."""
    found = [around.constants[place] for place in places if place < len(around.constants)]
    return tuple(each.weight() for each in found if each is not None)


def _tables(around: Around, weights: Sequence[Weight]) -> float:
    """Bytes of constants that are no weights. [B]"""
    names = {weight.name for weight in weights}
    return sum(
        each.stored_bytes
        for each in around.constants
        if each is not None and each.name not in names
    )


def _convolution(around: Around) -> Operation:
    node = around.node
    place = place_of_weights(node)
    kernel = needed(around.known, place).shape
    # Each output sees its group's channels; transposed, each input feeds its group's channels.
    each = math.prod(kernel[1:])
    transposed = node.operation == "ConvTranspose"
    many = needed(around.known, 0).count if transposed else around.made[0].count
    last = 8 if node.operation == "QLinearConv" else 2
    weights = _weights(around, [place, last])
    return _made(around, "convolution", 2.0 * many * each, weights=weights)


def _product(around: Around) -> Operation:
    node = around.node
    place = place_of_weights(node)
    a = turned(needed(around.known, 0).shape, whole(node, "transA", 0))
    b = turned(needed(around.known, place).shape, whole(node, "transB", 0))
    flop = 2.0 * around.made[0].count * a[-1]
    biases = [2] if node.operation in ("Gemm", "FusedGemm") else []
    weights = _weights(around, [0, place, *biases])
    matrix = None
    if len(b) == 2 and around.constants[place] is not None and around.constants[0] is None:
        matrix = (b[0], b[1], around.made[0].count // max(1, b[1]))
    return _made(around, "matmul", flop, weights=weights, matrix=_positive(matrix))


def _positive(matrix: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    return matrix if matrix is not None and min(matrix) > 0 else None


def _nbits(around: Around) -> Operation:
    """A matrix in blocks of few bits with a scale each [1].

    [1] ONNX Runtime, "Contrib operators: MatMulNBits".
    """
    node = around.node
    inputs, outputs = whole(node, "K", 1), whole(node, "N", 1)
    bits = whole(node, "bits", 4)
    formats: dict[int, Dtype] = {2: "int2", 3: "int3", 4: "int4", 5: "int5", 6: "int6", 8: "int8"}
    packed = [each for each in around.constants[1:] if each is not None]
    if bits not in formats or not packed:
        raise UnknownShapeError(f"weights of {bits} bits are not known")
    stored = sum(each.stored_bytes for each in packed)
    weight = Weight(packed[0].name, inputs * outputs, formats[bits], stored)
    rows = around.made[0].count // max(1, outputs)
    flop = 2.0 * rows * inputs * outputs
    matrix = _positive((inputs, outputs, rows))
    return _made(around, "matmul", flop, weights=(weight,), matrix=matrix)


def _einsum(around: Around) -> Operation:
    terms, _, sizes = terms_of(around.node, around.known)
    flop = 2.0 * math.prod(sizes.values()) * max(1, len(terms) - 1)
    return _made(around, "matmul", flop, weights=_weights(around, range(len(terms))))


def _attention(around: Around) -> Operation:
    """Scores and sums over all keys, masked or not, as an exported graph states them; with its own
    projection where that is fused in."""
    node = around.node
    query = needed(around.known, 0).shape
    out = around.made[0]
    if node.domain == "com.microsoft" and node.operation == "Attention":
        rows = math.prod(query[:-1])
        projection = 2.0 * rows * query[-1] * needed(around.known, 1).shape[-1]
        scores = 4.0 * out.count * _keys(around, 4, query[1])
        weights = _weights(around, [1, 2])
        return _made(around, "attention", projection + scores, weights=weights)
    key = around.known[1] if len(around.known) > 1 else None
    own = query[-2] if len(query) == 4 else query[1]
    if key is not None:
        own = key.shape[-2] if len(key.shape) == 4 else key.shape[1]
    place = {"GroupQueryAttention": 3, "MultiHeadAttention": 6}.get(node.operation, 4)
    return _made(around, "attention", 4.0 * out.count * _keys(around, place, own))


def _keys(around: Around, place: int, own: int) -> int:
    """Keys that each query sees: its own run's, and those of a cache."""
    cache = around.known[place] if place < len(around.known) else None
    if cache is None or len(cache.shape) < 4:
        return own
    return own + cache.shape[-2]


def _recurrence(around: Around) -> Operation:
    node = around.node
    gates = GATES[node.operation]
    directions, _, hidden = needed(around.known, 2).shape
    length, batch, width = needed(around.known, 0).shape
    flop = 2.0 * length * batch * directions * gates * hidden * (width + hidden)
    weights = _weights(around, [1, 2, 3])
    return _made(around, "recurrence", flop, weights=weights)


def _is_table(around: Around) -> bool:
    """Whether rows of weights are looked up: those of an embedding, or whole experts."""
    table = around.constants[0]
    known = around.known[0]
    if table is None or known is None or len(known.shape) < 2:
        return False
    axis = whole(around.node, "axis", 0)
    first = axis in (0, -len(known.shape))
    return known.code not in (INT32, INT64, BOOL) and first


def _embedding(around: Around) -> Operation:
    shape = needed(around.known, 0).shape
    indices = needed(around.known, 1)
    # A Gather names rows; a GatherND names places along as many axes as its indices are long.
    deep = indices.shape[-1] if around.node.operation == "GatherND" and indices.shape else 1
    rows, width = math.prod(shape[:deep]), math.prod(shape[deep:])
    looked_up = max(1, indices.count // max(1, deep))
    weights = _weights(around, [0])
    table = _positive((rows, width, looked_up))
    return _made(around, "embedding", 0.0, weights=weights, table=table)


def _pointwise(around: Around) -> Operation:
    node = around.node
    named = _weights(around, _places_of_parameters(around))
    tables = _tables(around, named)
    # Exporters keep one of several equal tensors, such as the norms of an untrained model; each of
    # the operations has parameters of its own all the same.
    weights = tuple(replace(each, name=f"{each.name} of {node.outputs[0]}") for each in named)
    values = max((each.count for each in around.made), default=0)
    if node.operation in COPIES:
        each = 0.0
    elif node.operation in CHEAP or node.operation.startswith("Reduce"):
        each = 1.0
        values = max(values, *(known.count for known in around.known if known is not None), 0)
    elif node.operation in POOLS:
        each = float(math.prod(several(node, "kernel_shape")))
    elif node.operation.startswith("Global"):
        each = 1.0
        values = needed(around.known, 0).count
    else:
        each = 4.0
    is_view = node.operation in VIEWS and around.constants[0] is None
    return _made(
        around,
        "pointwise",
        each * values,
        weights=weights,
        constant_bytes=tables,
        is_view=is_view,
    )


def _places_of_parameters(around: Around) -> list[int]:
    """Of an elementwise operation the inputs that are parameters: vectors, and tables that the file
    names as a module's own. An exporter that folds constants leaves tables of rotations and masks
    behind, whose names are those of a trace and no module's."""
    found = []
    for place, constant in enumerate(around.constants):
        known = around.known[place]
        if constant is None or known is None or constant.count <= 1:
            continue
        if constant.code in (INT64, BOOL, INT32, 8) or around.node.operation in ("Where", "Expand"):
            continue
        is_vector = sum(size > 1 for size in known.shape) <= 1
        is_named = constant.is_initialiser and ("." in constant.name or "/" in constant.name)
        if is_vector or is_named:
            found.append(place)
    return found


def refusal_of(node: Node) -> str:
    """Why a node's work cannot be told from shapes; "": it can."""
    if node.operation in REFUSED:
        return REFUSED[node.operation]
    return "it holds a subgraph" if node.has_subgraph else ""
