"""Headers of safetensors files and their indexes: what is written is read, the rest refused."""

import json
import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.readers.files import INDEX_BYTES
from planner.readers.tensors.safetensors_file import BITS_OF, MOST_TENSORS, read_safetensors
from tests.written import (
    count_of,
    header_of,
    hugging_face_tensors,
    safetensors_bytes,
    with_header,
    write_index,
    write_safetensors,
)

ONE = [("a", "F32", (2, 3))]


def refusal(path):
    with pytest.raises(InputError) as refused:
        read_safetensors(path)
    sentence = str(refused.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def file_of(folder, held):
    path = folder / "model.safetensors"
    path.write_bytes(held)
    return path


@st.composite
def written(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=8).filter(lambda t: t != "__metadata__"),
                          unique=True, max_size=6))  # fmt: skip
    tensors = []
    for name in names:
        dtype = draw(st.sampled_from(sorted(BITS_OF)))
        shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
        if count_of(shape) * BITS_OF[dtype] % 8:
            shape = (*shape, 4)
        tensors.append((name, dtype, shape))
    return tensors


@pytest.mark.slow
@settings(max_examples=40)
@given(written(), st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
def test_what_is_written_is_read(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("one") / "m.safetensors"
    held = safetensors_bytes(tensors, metadata)
    path.write_bytes(held)
    read = read_safetensors(path)
    assert {(one.name, one.dtype, one.shape) for one in read.tensors} == set(tensors)
    assert read.metadata == (metadata or {})
    (length,) = struct.unpack("<Q", held[:8])
    assert read.total_bytes == len(held) - 8 - length
    assert read.remarks == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "F31"}, "has the dtype 'F31'; it may be"),
        ({"dtype": ["F32"]}, "has the dtype"),
        ({"shape": [2, -3]}, "must have a shape of at most 16 whole numbers"),
        ({"shape": [2, 3.0]}, "must have a shape"),
        ({"shape": [True, 6]}, "must have a shape"),
        ({"shape": [1] * 17}, "must have a shape"),
        ({"shape": "23"}, "must have a shape"),
        ({"shape": [2**40, 2**40, 0]}, "has 24 bytes, but its shape and dtype need 0"),
        ({"shape": [2**40, 2**40]}, "more elements than any tensor"),
        ({"shape": [2, 4]}, "has 24 bytes, but its shape and dtype need 32"),
        ({"data_offsets": [24, 0]}, "must have two data_offsets"),
        ({"data_offsets": [0]}, "must have two data_offsets"),
        ({"data_offsets": [4, 28]}, "leaves a gap before"),
        ({"more": 1}, "must be an object of dtype, shape and data_offsets"),
    ],
)
def test_a_tensor_that_cannot_be_is_refused(tmp_path, change, said):
    header, data_bytes = header_of(ONE)
    header["a"] |= change
    assert said in refusal(file_of(tmp_path, with_header(header, data_bytes)))


def test_tensors_may_not_overlap(tmp_path):
    header, _ = header_of([*ONE, ("b", "F32", (2, 3))])
    header["b"]["data_offsets"] = [12, 36]
    assert "b overlaps the tensor before it" in refusal(file_of(tmp_path, with_header(header, 36)))


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "has 0 bytes"),
        (b"1234567", "has 7 bytes"),
        (struct.pack("<Q", 2**60), "but only 0 follow; it is truncated"),
        (struct.pack("<Q", 3) + b"{}", "says that its header has 3 bytes, but only 2 follow"),
        (with_header(b"[]", 0), "its header must begin with a brace"),
        (with_header(b"\xef\xbb\xbf{}", 0), "its header must begin with a brace"),
        (with_header(b"{\xff}", 0), "is not text"),
        (with_header(b'{"a"}', 0), "is not valid JSON"),
        (with_header({}, 1), "holds 1 bytes of data, but its tensors need 0"),
        (with_header({"__metadata__": {"a": 1}}, 0), "whose values are texts"),
        (with_header(b'{"a": 1, "a": 1}', 0), "a is given twice"),
        (with_header(b'{"__metadata__": {"x": "1", "x": "2"}}', 0), "x is given twice"),
        (with_header(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", 0), "nested too deeply"),
        (with_header(b'{"a":[' + b"{}," * 2**19 + b"{}]}", 0), "values; at most"),
        (safetensors_bytes(ONE)[:-1], "holds 23 bytes of data, but its tensors need 24"),
        (safetensors_bytes(ONE) + b"x", "holds 25 bytes of data, but its tensors need 24"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path, held, said):
    assert said in refusal(file_of(tmp_path, held))


def test_a_header_of_more_than_a_description_is_not_read(tmp_path):
    path = file_of(tmp_path, struct.pack("<Q", INDEX_BYTES + 1))
    with path.open("r+b") as stream:
        stream.truncate(INDEX_BYTES + 100)
    assert "has a header of 16 MiB; at most 16 are read" in refusal(path)


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    pipe = tmp_path / "model.safetensors"
    os.mkfifo(pipe)
    assert "is a pipe or a device" in refusal(pipe)


def test_an_index_reads_the_files_beside_it(tmp_path):
    tensors = hugging_face_tensors()
    files = {
        "model-00001-of-00002.safetensors": tensors[:9],
        "model-00002-of-00002.safetensors": tensors[9:],
    }
    index = write_index(tmp_path, files)
    read = read_safetensors(index)
    assert {(one.name, one.dtype, one.shape) for one in read.tensors} == set(tensors)
    assert read.total_bytes == sum(2 * count_of(shape) for _, _, shape in tensors)
    assert read.remarks == ()
    assert read_safetensors(tmp_path) == read


def test_of_files_that_are_not_there_the_names_are_known(tmp_path):
    names = ["model.layers.0.mlp.up_proj.weight", "model.norm.weight"]
    index = write_index(tmp_path, {"a.safetensors": ONE, "b.safetensors": names}, 1000)
    read = read_safetensors(index)
    assert [one.name for one in read.tensors] == ["a"]
    assert read.unread == tuple(sorted(names))
    assert read.total_bytes == 1000
    assert read.remarks == (
        "1 of 2 files that model.safetensors.index.json names are not there (b.safetensors): of 2"
        " tensors only the names are known",
    )


def test_an_index_and_its_files_that_disagree_are_told(tmp_path):
    index = write_index(tmp_path, {"a.safetensors": [*ONE, ("b", "U8", (7,))]})
    index.write_text(json.dumps({"weight_map": {"a": "a.safetensors", "c": "a.safetensors"}}))
    read = read_safetensors(index)
    assert [one.name for one in read.tensors] == ["a"]
    assert read.remarks == (
        "a.safetensors lacks 1 tensors that its index lists, such as c",
        "a.safetensors holds 7e-09 GB of tensors that its index does not name",
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "weight_map is missing"),
        ({"weight_map": []}, "weight_map is missing"),
        ({"weight_map": {"a": "../a.safetensors"}}, "must be a plain name in the same folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "must be a plain name"),
        ({"weight_map": {"a": "b\\a.safetensors"}}, "must be a plain name"),
        ({"weight_map": {"a": ".."}}, "must be a plain name"),
        ({"weight_map": {"a": ["x"]}}, "must be a plain name"),
        ({"weight_map": {"a": "x\0y"}}, "must be a plain name"),
        (
            {"weight_map": {f"{n}": f"{n}.safetensors" for n in range(1001)}},
            "names more than 1000 files",
        ),
        ({"weight_map": {"a": "b"}, "metadata": {"total_size": -1}}, "total_size must be a whole"),
        ({"weight_map": {"a": "b"}, "metadata": {"total_size": True}}, "total_size must be"),
    ],
)
def test_an_index_that_leads_elsewhere_or_says_nothing_is_refused(tmp_path, fields, said):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    assert said in refusal(path)


def test_a_name_twice_in_an_index_is_refused(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": {"a": "x", "a": "y"}}', encoding="utf-8")
    with pytest.raises(InputError, match="a is given twice"):
        read_safetensors(path)


def test_a_folder_without_an_index_is_all_its_files(tmp_path):
    write_safetensors(tmp_path / "one.safetensors", ONE)
    write_safetensors(tmp_path / "two.safetensors", [("b", "I8", (5,))])
    write_safetensors(tmp_path / "adapter_model.safetensors", [("c", "I8", (5,))])
    assert read_safetensors(tmp_path).total_bytes == 29
    write_safetensors(tmp_path / "two.safetensors", ONE)
    assert "two files hold a" in refusal(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", ONE)
    assert read_safetensors(tmp_path).total_bytes == 24


def test_a_folder_without_tensors_says_so(tmp_path):
    assert "holds no model.safetensors.index.json and no safetensors file" in refusal(tmp_path)


def test_shapes_agree_with_the_formats_own_library(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "model.safetensors"
    arrays = {
        "a": numpy.zeros((3, 4), numpy.float16), "b": numpy.zeros((0, 2), numpy.int32),
        "c": numpy.zeros((), numpy.float64), "d": numpy.zeros((5,), numpy.bool_),
    }  # fmt: skip
    theirs.save_file(arrays, path, {"format": "np"})
    read = read_safetensors(path)
    assert {one.name: one.shape for one in read.tensors} == {
        name: array.shape for name, array in arrays.items()
    }
    assert read.total_bytes == sum(array.nbytes for array in arrays.values())
    assert read.metadata == {"format": "np"}


@pytest.mark.slow
def test_what_we_take_the_formats_own_library_takes(tmp_path):
    library = pytest.importorskip("safetensors")
    draw = random.Random(7)
    seed = safetensors_bytes([*ONE, ("b", "BF16", (4,)), ("c", "U8", (0, 3))], {"format": "pt"})
    taken = 0
    for _ in range(3000):
        held = bytearray(seed)
        for _ in range(draw.randint(1, 2)):
            held[draw.randrange(len(held))] = draw.choice(b'0123456789{}[]",: FBU\x00\x01')
        path = file_of(tmp_path, bytes(held))
        try:
            read_safetensors(path)
        except InputError:
            continue
        taken += 1
        library.deserialize(bytes(held))  # raises where it refuses
    assert taken > 100


@pytest.mark.slow
def test_more_tensors_than_any_checkpoint_has_are_refused(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    where = {f"{number}": "a.safetensors" for number in range(MOST_TENSORS + 1)}
    path.write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    assert "names 262145 tensors; at most 262144 are read" in refusal(path)


def test_a_folder_that_may_not_be_listed_is_told(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert "cannot be read: Permission denied" in refusal(tmp_path)
