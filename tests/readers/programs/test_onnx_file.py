"""ONNX files as graphs: published networks, a Llama, small files by hand, and damage."""

import math
import random
import resource
import time
from pathlib import Path

import pytest

import planner as pl
from planner.errors import InputError
from planner.models.series import in_series
from planner.readers.programs.onnx_file import load_onnx
from tests import onnx_writer as by_hand

FILES = Path(__file__).parent / "onnx"
X = by_hand.value("x", [1, 3, 8, 8])
W = by_hand.tensor("w", [16, 3, 3, 3])
CONV = by_hand.node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])


def macs(graph):
    """Multiplications of products in one run."""
    return sum(
        operator.demand().flop_per_token / 2
        for layer in graph.layers
        for operator in layer.operators
        if operator.kind in ("contraction", "matmul")
    )


def written(folder, content):
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def loaded(folder, nodes, tensors=(), inputs=(X,), outputs=(), **options):
    return load_onnx(by_hand.written(folder, nodes, tensors, inputs, outputs, **options))


def refusal(folder, *parts, **options):
    with pytest.raises(InputError) as caught:
        loaded(folder, *parts, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Weights of convolutions and fully connected layers with their biases, summed by hand from the
# papers' tables; of AlexNet's five convolutions, the second, fourth and fifth have two groups.
ALEXNET = (
    96 * 3 * 121 + 96
    + 256 * 48 * 25 + 256
    + 384 * 256 * 9 + 384
    + 384 * 192 * 9 + 384
    + 256 * 192 * 9 + 256
    + 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
)  # fmt: skip
ALEXNET_MACS = (
    54 * 54 * 96 * 3 * 121
    + 26 * 26 * 256 * 48 * 25
    + 12 * 12 * 384 * (256 + 192) * 9
    + 12 * 12 * 256 * 192 * 9
    + 9216 * 4096 + 4096 * 4096 + 4096 * 1000
)  # fmt: skip
VGG = [(224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), *[(56, 256, 256)] * 3,
       (28, 256, 512), *[(28, 512, 512)] * 3, *[(14, 512, 512)] * 4]  # fmt: skip
DENSE = [(25088, 4096), (4096, 4096), (4096, 1000)]


def test_alexnet_by_hand():
    graph = load_onnx(FILES / "light_bvlc_alexnet.onnx")
    assert graph.parameters == ALEXNET == 60_965_224
    assert graph.weight_bytes == 4 * ALEXNET
    assert macs(graph) == ALEXNET_MACS
    assert graph.is_chain
    assert len(graph.layers) == 8


def test_vgg_19_by_hand():
    graph = load_onnx(FILES / "light_vgg19.onnx")
    convolutions = sum(9 * a * b + b for _, a, b in VGG)
    assert graph.parameters == convolutions + sum(a * b + b for a, b in DENSE) == 143_667_240
    expected = sum(9 * a * b * side**2 for side, a, b in VGG) + sum(a * b for a, b in DENSE)
    assert macs(graph) == expected
    # The first layer hands on 64 pictures of 224 × 224, the second those of 112 × 112.
    assert graph.layers[0].activation_width == 64 * 224**2
    assert graph.layers[1].activation_width == 64 * 112**2
    assert graph.layers[0].activation_bytes_per_token == 4 * 64 * 224**2


def test_squeezenet_has_branches():
    """1,235,496 parameters (Iandola et al., 2016, table 1: 1.24 M): each of eight fire modules goes
    two ways and meets again."""
    graph = load_onnx(FILES / "light_squeezenet.onnx")
    assert graph.parameters == 1_235_496
    assert len(graph.layers) == 26
    assert not graph.is_chain
    assert len(graph.edges) == 25 + 8
    chain = in_series(graph)
    assert chain.is_chain
    assert len(chain.layers) == 18
    assert chain.parameters == graph.parameters
    assert macs(chain) == macs(graph)


def test_a_llama_by_hand():
    """Width 64, 4 heads and 2 key-value heads of 16, feed-forward 128, vocabulary 100, 16 tokens."""
    graph = load_onnx(FILES / "tiny_llama.onnx")
    each_layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    assert graph.parameters == 2 * (each_layer + 2 * 64) + 2 * 6400 + 64 == 86_848
    assert graph.weight_bytes == 4 * 86_848
    # Scores and sums of all 16 × 16 pairs, as the graph does them.
    assert macs(graph) == 16 * (2 * each_layer + 6400) + 2 * 2 * 4 * 16 * 16 * 16
    assert graph.names == ("model.embed_tokens", "model.layers.0", "model.layers.1", "lm_head")
    assert graph.is_chain
    assert graph.layers[1].activation_width == 16 * 64


@pytest.mark.parametrize(
    ("name", "parameters", "giga_macs", "layers"),
    [
        # Parameters as torchvision states them, and running means and variances of norms.
        ("resnet50", 25_557_032 + 2 * 26_560, 4.089, 54),
        # The file has two more vectors of each norm than its four.
        ("densenet121", 7_978_856 + 4 * 41_824, 2.834, 121),
        ("inception_v1", 6_998_552, 1.432, 58),
        ("zfnet512", 87_250_536, 1.482, 8),
    ],
)
def test_published_networks_against_their_papers(name, parameters, giga_macs, layers):
    onnx = pytest.importorskip("onnx")
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    graph = load_onnx(folder / f"light_{name}.onnx")
    assert graph.parameters == pytest.approx(parameters, rel=1e-5)
    assert macs(graph) == pytest.approx(giga_macs * 1e9, rel=1e-3)
    assert len(graph.layers) == layers


def test_a_network_is_priced_as_branches_and_as_a_chain_alike():
    graph = load_onnx(FILES / "light_squeezenet.onnx")
    chip = pl.load_topology("hgx-h100", chips=1)
    asked = pl.Workload(batch_size=1, prompt_tokens=1, output_tokens=1)
    result = pl.partition(in_series(graph), chip, asked, minimize="ttft_s")
    branched = pl.score_plan(pl.uniform_plan(graph, chip), graph, chip, asked)
    assert result.status == "optimal"
    assert result.score.ttft_s == pytest.approx(branched.ttft_s, rel=1e-12)
    with pytest.raises(InputError, match="not a chain"):
        pl.partition(graph, chip, asked)


def test_a_network_is_priced_on_a_whole_node():
    graph = in_series(load_onnx(FILES / "light_squeezenet.onnx"))
    node = pl.load_topology("hgx-h100", chips=8)
    asked = pl.Workload(batch_size=64, prompt_tokens=1, output_tokens=1)
    result = pl.partition(graph, node, asked, maximize="tokens_per_s")
    assert result.status == "optimal"
    alone = pl.partition(
        graph, pl.load_topology("hgx-h100", chips=1), asked, maximize="tokens_per_s"
    )
    assert result.score.tokens_per_s > 4 * alone.score.tokens_per_s


def test_open_axes_are_asked_for(tmp_path):
    path = by_hand.written(
        tmp_path,
        [by_hand.node("MatMul", ["x", "w"], ["y"])],
        [by_hand.tensor("w", [64, 32])],
        [by_hand.value("x", ["batch", "sequence", 64])],
        [by_hand.value("y", ["batch", "sequence", 32])],
    )
    with pytest.raises(InputError, match=r"axes batch and sequence are open; .*\"batch\": 1"):
        load_onnx(path)
    graph = load_onnx(path, {"batch": 2, "sequence": 128}, name="mine")
    assert (graph.name, macs(graph)) == ("mine", 2 * 128 * 64 * 32)
    with pytest.raises(
        InputError,
        match="'length', which is not an open axis of an input; the nearest open axis is",
    ):
        load_onnx(path, {"batch": 2, "length": 128})
    with pytest.raises(InputError, match="whole number of at least 1, not 0"):
        load_onnx(path, {"batch": 0, "sequence": 128})


def test_an_open_axis_without_a_name_is_refused(tmp_path):
    message = refusal(tmp_path, [CONV], [W], [by_hand.value("x", ["", 3, 8, 8])])
    assert "open axis without a name" in message


def test_shapes_are_worked_out_from_shapes(tmp_path):
    """Flattened by way of Shape, Gather, Concat and Reshape, as older exporters do."""
    nodes = [
        CONV,
        by_hand.node("Shape", ["y"], ["all"]),
        by_hand.node("Gather", ["all", "zero"], ["first"], axis=0),
        by_hand.node("Concat", ["first", "rest"], ["wanted"], axis=0),
        by_hand.node("Reshape", ["y", "wanted"], ["flat"]),
        by_hand.node("Gemm", ["flat", "v"], ["z"]),
    ]
    tensors = [
        W,
        by_hand.tensor("zero", [1], 7, ints=[0]),
        by_hand.tensor("rest", [1], 7, ints=[-1]),
        by_hand.tensor("v", [1024, 10]),
    ]
    graph = loaded(tmp_path, nodes, tensors, outputs=[by_hand.value("z", [1, 10])])
    assert macs(graph) == 64 * 16 * 27 + 1024 * 10
    assert [len(layer.operators) for layer in graph.layers] == [1, 1]


def test_nodes_may_stand_in_any_order(tmp_path):
    relu = by_hand.node("Relu", ["y"], ["z"])
    assert loaded(tmp_path, [relu, CONV], [W]) == loaded(tmp_path, [CONV, relu], [W])


def test_unknown_operators_are_elementwise_with_a_remark_or_refused(tmp_path):
    odd = by_hand.node("Odd", ["y"], ["z"], "what", "my.domain")
    graph = loaded(tmp_path, [CONV, odd], [W], stated=[by_hand.value("z", [1, 16, 8, 8])])
    assert graph.confidence.endswith("unknown, and counted as elementwise: Odd")
    assert graph.layers[0].operators[1].demand().flop_per_token == 4 * 1024
    assert "my.domain.Odd (node 'what') makes tensors of unknown shape" in refusal(
        tmp_path, [CONV, odd], [W]
    )
    product = by_hand.node("Odd", ["y", "v"], ["z"], "what", "my.domain")
    message = refusal(
        tmp_path,
        [CONV, product],
        [W, by_hand.tensor("v", [64, 64])],
        stated=[by_hand.value("z", [1])],
    )
    assert "is an unknown operator that reads a matrix of weights ('v')" in message


def test_functions_of_the_file_stand_where_they_are_called(tmp_path):
    inside = [
        by_hand.node("Relu", ["a"], ["middle"]),
        by_hand.node("MatMul", ["middle", "b"], ["c"]),
    ]
    function = by_hand.function("Act", "mine", ["a", "b"], ["c"], inside)
    nodes = [
        by_hand.node("Act", ["x", "v"], ["p"], domain="mine"),
        by_hand.node("Act", ["p", "v"], ["q"], domain="mine"),
    ]
    whole = by_hand.graph(nodes, [by_hand.tensor("v", [8, 8])], [by_hand.value("x", [4, 8])])
    graph = load_onnx(written(tmp_path, by_hand.program(whole, [function])))
    assert macs(graph) == 2 * 4 * 64
    assert graph.parameters == 64
    endless = by_hand.function(
        "Act", "mine", ["a", "b"], ["c"], [by_hand.node("Act", ["a", "b"], ["c"], domain="mine")]
    )
    with pytest.raises(InputError, match="more than 16 deep"):
        load_onnx(written(tmp_path, by_hand.program(whole, [endless])))


def test_weights_without_numbers_and_constants_in_nodes_are_weights(tmp_path):
    filled = by_hand.node("ConstantOfShape", ["sizes"], ["w"])
    sizes = by_hand.tensor("sizes", [4], 7, ints=[16, 3, 3, 3])
    assert loaded(tmp_path, [filled, CONV], [sizes]).parameters == 16 * 27
    held = by_hand.node("Constant", [], ["w"], value=W)
    assert loaded(tmp_path, [held, CONV]).parameters == 16 * 27


def test_quantised_weights_cost_what_they_are_stored_in(tmp_path):
    nodes = [
        by_hand.node("DequantizeLinear", ["q", "scale"], ["w"]),
        by_hand.node("MatMul", ["x", "w"], ["y"]),
    ]
    tensors = [by_hand.tensor("q", [64, 32], 3), by_hand.tensor("scale", [1])]
    graph = loaded(tmp_path, nodes, tensors, [by_hand.value("x", [1, 64])])
    assert graph.weight_bytes == 64 * 32
    assert graph.layers[0].operators[0].compute_dtype == "fp32"
    nodes = [
        by_hand.node("QuantizeLinear", ["x", "scale"], ["xq"]),
        by_hand.node("DequantizeLinear", ["xq", "scale"], ["xd"]),
        nodes[0],
        by_hand.node("MatMul", ["xd", "w"], ["y"]),
    ]
    graph = loaded(tmp_path, nodes, tensors, [by_hand.value("x", [1, 64])])
    assert graph.layers[-1].operators[-1].compute_dtype == "int8"


def test_blocks_of_four_bits_cost_their_scales(tmp_path):
    """128 × 64 weights in blocks of 32, each with a scale of 32 bits: 5 bits a weight."""
    node = by_hand.node(
        "MatMulNBits", ["x", "q", "s"], ["y"], "", "com.microsoft", K=128, N=64, bits=4
    )
    tensors = [by_hand.tensor("q", [64, 4, 16], 2), by_hand.tensor("s", [256])]
    graph = loaded(tmp_path, [node], tensors, [by_hand.value("x", [7, 128])])
    (matmul,) = graph.layers[0].operators
    assert (matmul.weight_dtype, matmul.bits_per_weight) == ("int4", 5)
    assert (graph.parameters, graph.weight_bytes) == (8192, 8192 * 5 / 8)
    assert macs(graph) == 7 * 8192


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([by_hand.node("If", ["x"], ["y"], "choice")], "If (node 'choice') is not supported"),
        ([CONV, CONV], "two nodes write 'y'"),
        ([by_hand.node("Relu", ["missing"], ["y"])], "reads 'missing', which neither"),
        (
            [by_hand.node("Add", ["x", "b"], ["a"], "one"), by_hand.node("Relu", ["a"], ["b"])],
            "cycle, with Add (node 'one') in it",
        ),
        (
            [by_hand.node("Conv", ["x"], ["y"], "bare")],
            "Conv (node 'bare') makes tensors of unknown",
        ),
        ([by_hand.node("Pad", ["x"], ["y"], pads=[0, 0, 0, -9] * 2)], "negative dimension"),
        (
            [by_hand.node("Expand", ["x", "huge"], ["y"])],
            "would have 1.92e+11 values",
        ),
        ([], "holds no operation"),
    ],
)
def test_faults_are_named(tmp_path, nodes, words):
    huge = by_hand.tensor("huge", [4], 7, ints=[10**9, 3, 8, 8])
    assert words in refusal(tmp_path, nodes, [W, huge])


def test_a_large_tensor_is_named(tmp_path):
    assert "cannot be priced" in refusal(tmp_path, [CONV], [W], [by_hand.value("x", [10**12])])


MUTATIONS = 200


@pytest.mark.slow
def test_damaged_files_are_refused_in_one_sentence_or_read(tmp_path):
    """Bytes changed, cut out, doubled or cut off: never anything but a graph or an InputError."""
    originals = [
        (FILES / "tiny_llama.onnx").read_bytes(),
        (FILES / "light_bvlc_alexnet.onnx").read_bytes(),
    ]
    chance = random.Random(7)
    refused = 0
    for _ in range(MUTATIONS):
        content = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(content))
            kind = chance.randrange(4)
            if kind == 0:
                content[at] = chance.randrange(256)
            elif kind == 1:
                del content[at : at + chance.randint(1, 40)]
            elif kind == 2:
                content[at:at] = content[at : at + chance.randint(1, 40)]
            elif chance.random() < 0.1:
                del content[at:]
        path = written(tmp_path, bytes(content))
        begin = time.process_time()
        sentence = ""
        try:
            load_onnx(path)
        except InputError as error:
            sentence = str(error)
        refused += bool(sentence)
        assert "\n" not in sentence
        assert len(sentence) < 600
        assert time.process_time() - begin < 5
    assert MUTATIONS // 4 < refused < MUTATIONS


@pytest.mark.slow
@pytest.mark.parametrize(
    "graph",
    [
        lambda: by_hand.graph([b""] * 120_000),
        lambda: by_hand.graph([], [b""] * 250_000),
        lambda: by_hand.graph([by_hand.node("Relu", ["x"], ["y"], a=[1] * 4000)] * 300),
        lambda: b"\xff" * 10**6,
        lambda: by_hand.graph([by_hand.of_bytes(1, b"") * 10**6]),
        lambda: by_hand.graph([by_hand.of_bytes(5, by_hand.of_bytes(8, b"\x01" * 10**6))]),
        pytest.param(
            lambda: by_hand.graph([by_hand.node("Relu", ["x"], ["y"], a=1, b=2)] * 99_000),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["nodes", "tensors", "lists", "numbers", "inputs", "attribute", "fields"],
)
def test_floods_end_soon_and_small(tmp_path, graph):
    path = written(tmp_path, by_hand.program(graph()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    with pytest.raises(InputError):
        load_onnx(path)
    assert time.process_time() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_what_is_too_large_to_plan_is_refused(tmp_path, monkeypatch):
    """Inputs of all nodes together, and layers."""
    relus = [by_hand.node("Relu", ["x"], [f"y{number}"]) for number in range(9)]
    joined = [by_hand.node("Sum", [f"y{number}" for number in range(9)], ["z"])] * 1
    monkeypatch.setattr("planner.readers.programs.onnx_file.MOST_READS", 17)
    assert "more than 17 inputs in all" in refusal(tmp_path, relus + joined)
    monkeypatch.setattr("planner.readers.programs.onnx_file.MOST_READS", 18)
    assert loaded(tmp_path, relus + joined).layers
    convolutions = [
        by_hand.node("Conv", [f"v{number}" if number else "x", "w"], [f"v{number + 1}"])
        for number in range(5)
    ]
    kernels = [by_hand.tensor("w", [3, 3, 1, 1])]
    assert len(loaded(tmp_path, convolutions, kernels).layers) == 5
    monkeypatch.setattr("planner.readers.programs.traced.MOST_LAYERS", 4)
    assert "has 5 layers, and at most 4" in refusal(tmp_path, convolutions, kernels)


def test_names_of_axes_stay_on_one_line(tmp_path):
    odd = [by_hand.value("x", ["a\nb", 3, 8, 8])]
    path = by_hand.written(tmp_path, [by_hand.node("Relu", ["x"], ["y"])], [], odd)
    for dimensions in ({"c": 1}, {}):
        with pytest.raises(InputError, match="a b") as refused:
            load_onnx(path, dimensions=dimensions)
        assert "\n" not in str(refused.value)


# ── All published networks of the onnx package, by a count of its own ────────────────────────────

LIGHT = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
    "squeezenet", "vgg19", "zfnet512",
)  # fmt: skip


def light(name):
    onnx = pytest.importorskip("onnx")
    folder = Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light"
    return onnx, folder / f"light_{name}.onnx"


def counted(onnx, path):
    """Parameters, multiplications of products, and shapes of all values, from the file by the onnx
    package alone: weights are fills of constants, which no shape hides."""
    model = onnx.load(path)
    graph = model.graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    numbers = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(int(size) for size in numbers[node.input[0]])
    for one in (
        *graph.input,
        *onnx.shape_inference.infer_shapes(model).graph.value_info,
        *graph.output,
    ):
        sizes = tuple(size.dim_value for size in one.type.tensor_type.shape.dim)
        shapes.setdefault(one.name, sizes)
    fills = [node.output[0] for node in graph.node if node.op_type == "ConstantOfShape"]
    floats = [one.name for one in graph.initializer if one.data_type == 1 and len(one.dims) > 0]
    parameters = sum(math.prod(shapes[name]) for name in {*fills, *floats})
    macs = 0
    for node in graph.node:
        if node.op_type == "Conv":
            macs += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        if node.op_type in ("Gemm", "MatMul"):
            turned = {one.name: one.i for one in node.attribute}.get("transB", 0)
            weights = shapes[node.input[1]]
            inputs, outputs = weights[::-1] if turned else weights
            macs += math.prod(shapes[node.input[0]]) // inputs * inputs * outputs
    return model, parameters, macs


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_all_light_networks_against_a_count_by_the_onnx_package(name):
    onnx, path = light(name)
    _, parameters, expected = counted(onnx, path)
    assert expected > 0
    for graph in (load_onnx(path), pl.load_model(path)):
        assert graph.parameters == pytest.approx(parameters, rel=1e-3)
        assert macs(graph) == pytest.approx(expected, rel=1e-2)
    assert pl.load_model(path).is_chain


@pytest.mark.parametrize("name", LIGHT)
def test_edges_are_the_flow_of_data(name):
    """From each layer's first product along the file's own names: which products feed which, with
    nothing between them that has matrices of weights, must be the edges."""
    onnx, path = light(name)
    graph = load_onnx(path)
    whole = onnx.load(path).graph
    weights = {one.name for one in whole.initializer}
    given = [one for one in whole.input if one.name not in weights]
    nodes = [one for one in whole.node if one.op_type != "ConstantOfShape"]
    # As in the reader: a product opens a layer, and what has none goes to the last one that feeds it.
    layer_of, edges = {}, set()
    opened = -1
    for node in nodes:
        senders = sorted({layer_of[one] for one in node.input if one in layer_of})
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            opened += 1
            own = opened
        else:
            own = senders[-1] if senders else 0
            if not senders and not {one.name for one in given} & set(node.input):
                continue  # what makes weights of weights
        edges |= {(sender, own) for sender in senders if sender != own}
        layer_of.update(dict.fromkeys(node.output, own))
    names = [layer.name for layer in graph.layers]
    assert len(names) == opened + 1
    assert {(names.index(one), names.index(other)) for one, other in graph.edges} == edges
