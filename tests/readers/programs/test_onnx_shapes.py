"""Shapes of what ONNX operators make."""

import numpy as np
import pytest

from planner.readers.programs.onnx_messages import BOOL, FLOAT, INT64, Node, TensorFacts
from planner.readers.programs.onnx_shapes import RULES, Known, UnknownShapeError, inferred


def ints(*values):
    return Known((len(values),), INT64, np.array(values, dtype=np.int64))


def floats(*values):
    return Known((len(values),), FLOAT, np.array(values, dtype=np.float32))


def made(operation, *given, outputs=1, opset=17, domain="", **attributes):
    known = [Known(one) if isinstance(one, tuple) else one for one in given]
    node = Node(
        operation,
        [f"in{place}" for place in range(len(given))],
        [f"out{place}" for place in range(outputs)],
        domain=domain,
        attributes=attributes,
    )
    return inferred(node, known, opset)


CASES = [
    ("Conv", [(1, 3, 224, 224), (64, 3, 7, 7)], {"strides": [2, 2], "pads": [3, 3, 3, 3]}, (1, 64, 112, 112)),
    ("Conv", [(1, 3, 9, 9), (4, 3, 3, 3)], {"dilations": [2, 2]}, (1, 4, 5, 5)),
    ("Conv", [(1, 3, 9, 9), (4, 3, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (1, 4, 5, 5)),
    ("Conv", [(2, 3, 10), (4, 3, 3)], {"auto_pad": "VALID"}, (2, 4, 8)),
    ("ConvTranspose", [(1, 8, 4, 4), (8, 5, 2, 2)], {"strides": [2, 2]}, (1, 5, 8, 8)),
    ("ConvTranspose", [(1, 8, 4, 4), (8, 5, 3, 3)],
     {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, (1, 5, 8, 8)),
    ("ConvTranspose", [(1, 8, 4), (8, 2, 3)], {"group": 2, "output_shape": [9]}, (1, 4, 9)),
    ("ConvTranspose", [(1, 8, 4), (8, 2, 3)], {"auto_pad": "SAME_LOWER", "strides": [3]}, (1, 2, 12)),
    ("MaxPool", [(1, 64, 112, 112)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, (1, 64, 56, 56)),
    ("MaxPool", [(1, 2, 6, 6)], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (1, 2, 3, 3)),
    # The third window would begin in the padding behind the picture.
    ("MaxPool", [(1, 2, 4)], {"kernel_shape": [2], "strides": [2], "pads": [1, 1], "ceil_mode": 1}, (1, 2, 3)),
    ("GlobalAveragePool", [(1, 2, 4, 5)], {}, (1, 2, 1, 1)),
    ("MatMul", [(5, 2, 3), (3, 4)], {}, (5, 2, 4)),
    ("MatMul", [(3,), (3, 4)], {}, (4,)),
    ("MatMul", [(2, 3), (3,)], {}, (2,)),
    ("Gemm", [(3, 2), (4, 3), (4,)], {"transA": 1, "transB": 1}, (2, 4)),
    ("MatMulNBits", [(1, 7, 32), (64, 1, 16), (64,)], {"K": 32, "N": 64}, (1, 7, 64)),
    ("Einsum", [(2, 3, 4), (2, 4, 5)], {"equation": "bij,bjk->bik"}, (2, 3, 5)),
    ("Einsum", [(3, 4), (4, 5)], {"equation": "ij,jk"}, (3, 5)),
    ("Add", [(3, 1, 5), (4, 1)], {}, (3, 4, 5)),
    ("Where", [(2, 1), (1, 3), ()], {}, (2, 3)),
    ("Gather", [(100, 64), (1, 16)], {}, (1, 16, 64)),
    ("Gather", [(2, 3, 4), ()], {"axis": -1}, (2, 3)),
    ("GatherND", [(2, 3, 4), (5, 2)], {}, (5, 4)),
    ("GatherElements", [(2, 3), (2, 1)], {}, (2, 1)),
    ("ReduceMean", [(2, 3, 4)], {"axes": [-1]}, (2, 3, 1)),
    ("ReduceSum", [(2, 3, 4), ints(0, 1)], {"keepdims": 0}, (4,)),
    ("ReduceMax", [(2, 3)], {"keepdims": 0}, ()),
    ("ReduceMean", [(2, 3)], {"noop_with_empty_axes": 1}, (2, 3)),
    ("ArgMax", [(2, 3)], {"axis": 1, "keepdims": 0}, (2,)),
    ("Reshape", [(2, 3, 4), ints(0, -1)], {}, (2, 12)),
    ("Reshape", [(0, 3), ints(3, 0)], {"allowzero": 1}, (3, 0)),
    ("Flatten", [(2, 3, 4)], {}, (2, 12)),
    ("Flatten", [(2, 3, 4)], {"axis": -1}, (6, 4)),
    ("Transpose", [(2, 3, 4)], {"perm": [2, 0, 1]}, (4, 2, 3)),
    ("Transpose", [(2, 3, 4)], {}, (4, 3, 2)),
    ("Concat", [(2, 3), (2, 5)], {"axis": -1}, (2, 8)),
    ("Slice", [(10, 10), ints(1), ints(2**62), ints(1), ints(3)], {}, (10, 3)),
    ("Slice", [(10,), ints(-1), ints(-(2**62)), ints(0), ints(-1)], {}, (10,)),
    ("Slice", [(10, 4)], {"starts": [2], "ends": [-1]}, (7, 4)),
    ("Unsqueeze", [(2, 3), ints(0, -1)], {}, (1, 2, 3, 1)),
    ("Squeeze", [(1, 2, 1)], {}, (2,)),
    ("Squeeze", [(1, 2, 1), ints(-1)], {}, (1, 2)),
    ("Expand", [(3, 1), ints(2, 1, 6)], {}, (2, 3, 6)),
    ("Tile", [(3, 1), ints(2, 4)], {}, (6, 4)),
    ("Pad", [(3, 4), ints(0, 1, 0, 2)], {}, (3, 7)),
    ("Resize", [(1, 2, 4, 4), None, floats(1, 1, 2, 1.6)], {}, (1, 2, 8, 6)),
    ("Resize", [(1, 2, 4, 4), None, None, ints(1, 2, 9, 9)], {}, (1, 2, 9, 9)),
    ("ConstantOfShape", [ints(7, 8)], {}, (7, 8)),
    ("Range", [ints(0), ints(7), ints(2)], {}, (4,)),
    ("OneHot", [(2, 3), ints(10), ints(0, 1)], {}, (2, 3, 10)),
    ("TopK", [(4, 100), ints(5)], {}, (4, 5)),
    ("DepthToSpace", [(1, 8, 2, 3)], {"blocksize": 2}, (1, 2, 4, 6)),
    ("SpaceToDepth", [(1, 2, 4, 6)], {"blocksize": 2}, (1, 8, 2, 3)),
    ("Shape", [(2, 3, 4)], {"start": 1}, (2,)),
    ("BatchNormalization", [(1, 2, 3), (2,), (2,), (2,), (2,)], {}, (1, 2, 3)),
    ("Attention", [(1, 4, 16, 8), (1, 2, 20, 8), (1, 2, 20, 8)], {}, (1, 4, 16, 8)),
    ("MultiHeadAttention", [(1, 16, 64), (1, 20, 64), (1, 20, 64)], {"num_heads": 4}, (1, 16, 64)),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "given", "attributes", "shape"), CASES)
def test_shapes_are_those_of_the_operator(operation, given, attributes, shape):
    assert made(operation, *given, **attributes)[0].shape == shape


def test_several_outputs_have_shapes_of_their_own():
    parts = made("Split", (2, 10), outputs=3, axis=1, split=[2, 3, 5])
    assert [part.shape for part in parts] == [(2, 2), (2, 3), (2, 5)]
    parts = made("Split", (2, 10), outputs=3, axis=1)
    assert [part.shape for part in parts] == [(2, 4), (2, 4), (2, 2)]
    sequence = made("LSTM", (16, 2, 8), (1, 40, 8), (1, 40, 10), outputs=3)
    assert [part.shape for part in sequence] == [(16, 1, 2, 10), (1, 2, 10), (1, 2, 10)]
    norm = made("SkipLayerNormalization", (1, 4, 8), (1, 4, 8), (8,), outputs=4)
    assert [part.shape for part in norm] == [(1, 4, 8), (1, 4, 1), (1, 4, 1), (1, 4, 8)]


def test_formats_follow():
    assert made("Equal", (2,), (2,))[0].code == BOOL
    assert made("Shape", (2,))[0].code == INT64
    assert made("Cast", (2,), to=10)[0].code == 10
    assert made("Relu", Known((2,), 16))[0].code == 16


FOLDED = [
    ("Shape", [(2, 3, 4)], {}, [2, 3, 4]),
    ("Gather", [ints(5, 6, 7), ints(-1)], {}, [7]),
    ("Concat", [ints(1), ints(2, 3)], {"axis": 0}, [1, 2, 3]),
    ("Slice", [ints(1, 2, 3), ints(1), ints(9)], {}, [2, 3]),
    ("Unsqueeze", [ints(4)], {"axes": [0]}, [[4]]),
    ("Add", [ints(1, 2), ints(3)], {}, [4, 5]),
    ("Div", [ints(-7), ints(2)], {}, [-3]),
    ("Mul", [ints(3), ints(4)], {}, [12]),
    ("Where", [Known((2,), BOOL, np.array([True, False])), ints(1, 1), ints(5, 6)], {}, [1, 6]),
    ("Equal", [ints(1, 2), ints(1, 3)], {}, [True, False]),
    ("Cast", [floats(2.5)], {"to": INT64}, [2]),
    ("Range", [ints(1), ints(7), ints(2)], {}, [1, 3, 5]),
    ("ReduceProd", [ints(2, 3)], {"keepdims": 1}, [6]),
    ("Expand", [ints(7), ints(2, 2)], {}, [[7, 7], [7, 7]]),
    ("Size", [(2, 3)], {}, 6),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "given", "attributes", "values"), FOLDED)
def test_small_integers_are_followed(operation, given, attributes, values):
    assert made(operation, *given, **attributes)[0].values.tolist() == values


def test_a_filled_shape_has_its_value():
    value = TensorFacts("", (1,), INT64, np.array([7], dtype=np.int64))
    assert made("ConstantOfShape", ints(2), value=value)[0].values.tolist() == [7, 7]


def test_large_tensors_are_not_followed():
    assert made("ConstantOfShape", ints(10**6, 10**6))[0].values is None
    assert made("Range", ints(0), ints(10**12), ints(1))[0].values is None
    assert made("Expand", ints(7), ints(10**9))[0].values is None


@pytest.mark.parametrize(
    ("operation", "given", "attributes", "words"),
    [
        ("Nonsense", [(2,)], {}, "is not known"),
        (
            "MatMul",
            [(2, 3), (4, 5)],
            {},
            "a matrix of 3 columns cannot be multiplied by a matrix of 4 rows",
        ),
        ("Add", [(2,), (3,)], {}, "cannot be combined"),
        ("Reshape", [(2, 3), (2,)], {}, "depends on the values"),
        ("Reshape", [(2, 3), ints(4, -1)], {}, "do not fill"),
        ("Reshape", [(2, 3), ints(-2, -3)], {}, "do not fill"),
        ("Conv", [(1, 3, 2, 2), (4, 3, 7, 7)], {}, "larger than its input"),
        ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"strides": [0, 1]}, "below 1"),
        ("Conv", [(1, 3, 8, 8)], {}, "its input 1 is missing"),
        ("Pad", [(2,), ints(-3, 0)], {}, "negative dimension"),
        ("Transpose", [(2, 3)], {"perm": [0, 0]}, "order of axes"),
        ("Concat", [(2, 3), (3, 3)], {"axis": 1}, "differ in other axes"),
        ("Concat", [(2, 3)], {"axis": 5}, "no axis 5"),
        ("Split", [(2, 10)], {"axis": 1, "split": [3]}, "do not add up to the 10"),
        ("Einsum", [(2,), (2,)], {"equation": "...i,i"}, "not understood"),
        ("Range", [ints(0), ints(1), ints(0)], {}, "step is 0"),
        ("DepthToSpace", [(1, 8)], {}, "do not match"),
        ("Unsqueeze", [(2,), ints(0, 0)], {}, "adds an axis twice"),
        ("Resize", [(1, 2)], {}, "scales are not in the file"),
    ],
)
def test_what_does_not_follow_is_named(operation, given, attributes, words):
    with pytest.raises(UnknownShapeError, match=words):
        made(operation, *given, **attributes)


@pytest.mark.parametrize("operation", sorted(RULES))
def test_no_operator_fails_without_inputs(operation):
    """Each refuses, or makes something of nothing."""
    for given in ((), ((), None)):
        try:
            found = made(operation, *given)
        except UnknownShapeError:
            continue
        assert all(size >= 0 for each in found for size in each.shape)
