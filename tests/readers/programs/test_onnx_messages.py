"""What an ONNX file states."""

import struct

import pytest

from planner.errors import InputError
from planner.readers.programs.onnx_messages import FLOAT, INT64, read_program
from tests import onnx_writer as by_hand


def read(folder, content):
    path = folder / "model.onnx"
    path.write_bytes(content)
    return read_program(path)


def test_everything_is_read_but_weights(tmp_path):
    nodes = [
        by_hand.node("Conv", ["x", "w"], ["y"], "/layers.0/conv/Conv", group=2, pads=[1, 1], alpha=0.5, auto_pad="VALID"),
        by_hand.node("Gelu", ["y"], ["z"], "act", "com.microsoft"),
    ]  # fmt: skip
    tensors = [
        by_hand.tensor("w", [4, 3, 3], raw=b"\0" * 144),
        by_hand.tensor("shape", [2], INT64, ints=[7, -1]),
        by_hand.tensor("half", [1], 10, raw=struct.pack("<e", 1.5)),
    ]
    graph = by_hand.graph(
        nodes, tensors, [by_hand.value("x", ["batch", 3, 8])], [by_hand.value("z", [1])]
    )
    program = read(tmp_path, by_hand.program(graph, opset=19))
    first, second = program.nodes
    assert (first.operation, first.inputs, first.outputs) == ("Conv", ["x", "w"], ["y"])
    assert first.module == "layers.0.conv"
    assert first.attributes == {"group": 2, "pads": [1, 1], "alpha": 0.5, "auto_pad": "VALID"}
    assert (second.domain, second.module) == ("com.microsoft", "")
    assert program.tensors["w"].dims == (4, 3, 3)
    assert program.tensors["w"].values is not None
    assert program.tensors["shape"].values.tolist() == [7, -1]
    assert program.tensors["half"].values.tolist() == [1.5]
    assert program.inputs[0].dims == ("batch", 3, 8)
    assert program.outputs == ["z"]
    assert (program.opset, program.producer) == (19, "by hand")


def test_a_large_tensor_is_not_read(tmp_path):
    graph = by_hand.graph([], [by_hand.tensor("w", [65], raw=b"\0" * 260)])
    tensor = read(tmp_path, by_hand.program(graph)).tensors["w"]
    assert (tensor.count, tensor.code, tensor.values) == (65, FLOAT, None)


def test_external_data_is_not_read(tmp_path):
    whole = by_hand.tensor("w", [2], INT64, ints=[1, 2]) + by_hand.of_number(14, 1)
    tensor = read(tmp_path, by_hand.program(by_hand.graph([], [whole]))).tensors["w"]
    assert tensor.values is None


def test_numbers_may_be_listed_in_other_fields(tmp_path):
    bare = by_hand.tensor("w", [2], INT64) + by_hand.of_bytes(
        7, by_hand.varint(5) + by_hand.varint(6)
    )
    single = by_hand.tensor("s", [2], FLOAT) + by_hand.of_bytes(4, struct.pack("<2f", 1, 2.5))
    tensors = read(tmp_path, by_hand.program(by_hand.graph([], [bare, single]))).tensors
    assert tensors["w"].values.tolist() == [5, 6]
    assert tensors["s"].values.tolist() == [1, 2.5]


def test_modules_are_those_of_torch_s_exporter(tmp_path):
    scopes = by_hand.of_bytes(1, "pkg.torch.onnx.name_scopes")
    scopes += by_hand.of_bytes(2, "['', 'model', 'model.layers.3', 'linear_2']")
    node = by_hand.node("Relu", ["x"], ["y"], "node_relu") + by_hand.of_bytes(9, scopes)
    graph = by_hand.graph([node], [], [by_hand.value("x", [1])])
    assert read(tmp_path, by_hand.program(graph)).nodes[0].module == "model.layers.3"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no graph"),
        (b"PK\x03\x04 a zip, or something else", "of this kind"),
        (b"just text\n", "is it|longer|truncated"),
        (by_hand.program(by_hand.graph([], [by_hand.tensor("w", [-3])])), "impossible dimensions"),
        (by_hand.program(by_hand.graph([], [by_hand.tensor("w", [2**60])])), "impossible dimensions"),
        (by_hand.program(by_hand.graph([], [by_hand.tensor("w", [1] * 65)])), "impossible dimensions"),
        (by_hand.program(by_hand.of_bytes(15, b"")), "sparse tensors"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_program(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        read_program(tmp_path / "missing.onnx")


def test_too_many_nodes_are_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("planner.readers.programs.onnx_messages.MOST_NODES", 10)
    monkeypatch.setattr("planner.readers.programs.onnx_messages.MOST_TENSORS", 10)
    with pytest.raises(InputError, match="more than 10 nodes"):
        read(tmp_path, by_hand.program(by_hand.graph([b"\xff"] * 11)))
    with pytest.raises(InputError, match="more than 10 tensors"):
        read(tmp_path, by_hand.program(by_hand.graph([], [b"\xff"] * 11)))
