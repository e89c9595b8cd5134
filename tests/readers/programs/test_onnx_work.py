"""What nodes of an ONNX graph cost, worked out by hand."""

import pytest

from planner.errors import InputError
from planner.readers.programs.onnx_messages import FLOAT16, INT8, UINT8, Node
from planner.readers.programs.onnx_shapes import Known, UnknownShapeError, inferred
from planner.readers.programs.onnx_work import Around, Constant, operation_of, refusal_of


def work(operation, given, held=(), code=1, codes=None, domain="", outputs=1, **attributes):
    """The operation of a node whose inputs at `held` are in the file."""
    names = [f"layer.in{place}" for place in range(len(given))]
    node = Node(
        operation,
        names,
        [f"out{place}" for place in range(outputs)],
        domain=domain,
        attributes=attributes,
    )
    codes = codes or [code] * len(given)
    known = [
        None if shape is None else Known(shape, kind)
        for shape, kind in zip(given, codes, strict=True)
    ]
    constants = [
        Constant(names[place], codes[place], known[place].count, True) if place in held else None
        for place in range(len(given))
    ]
    return operation_of(Around(node, known, constants, inferred(node, known, 17)))


def test_a_convolution_multiplies_each_output_by_its_group_s_window():
    plain = work("Conv", [(1, 3, 8, 8), (16, 3, 3, 3), (16,)], {1, 2}, pads=[1] * 4)
    assert plain.flop == 2 * 16 * 8 * 8 * 3 * 9
    assert [weight.count for weight in plain.weights] == [16 * 3 * 9, 16]
    assert plain.label == "convolution"
    depthwise = work("Conv", [(1, 16, 8, 8), (16, 1, 3, 3)], {1}, pads=[1] * 4, group=16)
    assert depthwise.flop == 2 * 16 * 8 * 8 * 9
    assert depthwise.weights[0].count == 16 * 9
    assert depthwise.inputs == ("layer.in0",)


def test_a_transposed_convolution_multiplies_each_input():
    made = work("ConvTranspose", [(1, 8, 4, 4), (8, 5, 2, 2)], {1}, strides=[2, 2])
    assert made.flop == 2 * 8 * 16 * 5 * 4
    assert made.outputs[0].count == 5 * 64


def test_products_with_and_without_weights():
    linear = work("MatMul", [(1, 7, 32), (32, 64)], {1})
    assert linear.flop == 2 * 7 * 32 * 64
    assert linear.matrix == (32, 64, 7)
    scores = work("MatMul", [(1, 4, 16, 8), (1, 4, 8, 16)])
    assert scores.flop == 2 * 4 * 16 * 8 * 16
    assert (scores.matrix, scores.weights) == (None, ())
    gemm = work("Gemm", [(2, 32), (64, 32), (64,)], {1, 2}, transB=1)
    assert gemm.flop == 2 * 2 * 32 * 64
    assert sum(weight.count for weight in gemm.weights) == 32 * 64 + 64
    einsum = work("Einsum", [(2, 3, 4), (4, 5)], {1}, equation="bij,jk->bik")
    assert einsum.flop == 2 * 2 * 3 * 4 * 5


def test_weights_of_few_bits():
    """128 × 64 weights of 4 bits, in blocks of 32 with a scale of 16 bits each."""
    made = work(
        "MatMulNBits", [(1, 7, 128), (64, 4, 16), (256,)], {1, 2}, codes=[FLOAT16, UINT8, FLOAT16],
        K=128, N=64, bits=4,
    )  # fmt: skip
    assert made.weights[0].count == 128 * 64
    assert made.weights[0].dtype == "int4"
    assert made.weights[0].stored_bytes == 64 * 4 * 16 + 256 * 2
    assert made.matrix == (128, 64, 7)
    with pytest.raises(UnknownShapeError, match="weights of 7 bits"):
        work("MatMulNBits", [(1, 128), (64, 4, 16)], {1}, K=128, N=64, bits=7)


def test_integers_are_multiplied_as_such():
    given = [(1, 3, 8, 8), (), (), (16, 3, 3, 3), (), (), (), (), (16,)]
    made = work("QLinearConv", given, {1, 2, 3, 4, 5, 6, 7, 8}, code=INT8)
    assert made.dtype == "int8"
    assert made.flop == 2 * 16 * 6 * 6 * 27
    assert made.weights[0].stored_bytes == 16 * 27


def test_fused_attention():
    """4 queries' heads of 8 over 20 keys: 2 · 16 · 20 · 32 each for scores and sums."""
    made = work("MultiHeadAttention", [(1, 16, 32), (1, 20, 32), (1, 20, 32)], num_heads=4)
    assert made.flop == 2 * 2 * 16 * 20 * 32
    heads = work("Attention", [(1, 4, 16, 8), (1, 4, 20, 8), (1, 4, 20, 8)])
    assert heads.flop == 2 * 2 * 16 * 20 * 32
    projected = work(
        "Attention", [(1, 16, 32), (32, 96), (96,)], {1, 2}, domain="com.microsoft", num_heads=4
    )
    assert projected.flop == 2 * 16 * 32 * 96 + 2 * 2 * 16 * 16 * 32
    assert sum(weight.count for weight in projected.weights) == 32 * 96 + 96


def test_recurrences():
    made = work("LSTM", [(16, 2, 8), (1, 40, 8), (1, 40, 10), (1, 80)], {1, 2, 3})
    assert made.flop == 2 * 16 * 2 * 40 * (8 + 10)
    assert sum(weight.count for weight in made.weights) == 40 * 18 + 80
    assert work("GRU", [(5, 1, 8), (2, 30, 8), (2, 30, 10)], {1, 2}).flop == 2 * 5 * 2 * 30 * 18


def test_a_table_of_weights_is_an_embedding_and_one_of_indices_is_none():
    made = work("Gather", [(100, 64), (1, 16)], {0}, codes=[1, 7])
    assert (made.label, made.table) == ("embedding", (100, 64, 16))
    assert work("Gather", [(100, 64), (1, 16)], {0}, codes=[7, 7]).label == "pointwise"
    assert work("Gather", [(100, 64), (1, 16)], codes=[1, 7]).label == "pointwise"


@pytest.mark.parametrize(
    ("operation", "given", "attributes", "flop"),
    [
        ("Relu", [(2, 10)], {}, 20),
        ("Softmax", [(2, 10)], {}, 80),
        ("Transpose", [(2, 10)], {}, 0),
        ("ReduceSum", [(2, 10)], {"keepdims": 0}, 20),
        ("MaxPool", [(1, 4, 4, 4)], {"kernel_shape": [2, 2], "strides": [2, 2]}, 4 * 4 * 4),
        ("GlobalAveragePool", [(1, 4, 5, 5)], {}, 100),
    ],
)
def test_elementwise_work(operation, given, attributes, flop):
    made = work(operation, given, **attributes)
    assert (made.label, made.flop) == ("pointwise", flop)


def test_norms_have_weights_and_folded_tables_have_none():
    norm = work("LayerNormalization", [(1, 16, 64), (64,), (64,)], {1, 2})
    assert [weight.count for weight in norm.weights] == [64, 64]
    node = Node("Mul", ["x", "unsqueeze_14"], ["y"])
    known = [Known((1, 4, 16, 16)), Known((1, 1, 16, 16))]
    constants = [None, Constant("unsqueeze_14", 1, 256, True)]
    made = operation_of(Around(node, known, constants, inferred(node, known, 17)))
    assert made.weights == ()
    assert made.constant_bytes == 1024
    constants = [None, Constant("embeddings.position", 1, 256, True)]
    made = operation_of(Around(node, known, constants, inferred(node, known, 17)))
    assert made.weights[0].count == 256


def test_weights_in_strange_formats_are_refused():
    with pytest.raises(InputError, match=r"'layer\.in1' holds weights in a format"):
        work("MatMul", [(1, 32), (32, 64)], {1}, codes=[1, 11])


def test_what_shapes_do_not_tell_is_refused():
    assert refusal_of(Node("If", [], [])) == "it chooses between subgraphs"
    assert refusal_of(Node("Odd", [], [], has_subgraph=True)) == "it holds a subgraph"
    assert refusal_of(Node("Relu", [], [])) == ""
