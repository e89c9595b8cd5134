"""Headers of GGUF files: what is written is read, in both orders of bytes; the rest refused."""

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.readers.tensors.gguf_file import MOST_TEXTS, TYPES, Passed, read_gguf
from tests.written import (
    BLOCKS,
    KINDS,
    LLAMA_KEYS,
    GgufWriter,
    count_of,
    gguf_bytes,
    llama_tensors,
)

NAMED = {"general.architecture": ("str", "llama")}


def file_of(folder, held, name="m.gguf"):
    path = folder / name
    path.write_bytes(held)
    return path


def refusal(path):
    with pytest.raises(InputError) as refused:
        read_gguf(path)
    sentence = str(refused.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


NUMBERS = {
    "u8": st.integers(0, 2**8 - 1), "i16": st.integers(-(2**15), 2**15 - 1), "u32": st.integers(0, 2**32 - 1),
    "i64": st.integers(-(2**63), 2**63 - 1), "u64": st.integers(0, 2**64 - 1), "f64": st.floats(allow_nan=False),
    "bool": st.booleans(), "str": st.text(max_size=20),
}  # fmt: skip


@st.composite
def written(draw):
    keys = draw(st.lists(st.text(max_size=9), unique=True, max_size=5))
    metadata = {}
    for key in keys:
        kind = draw(st.sampled_from(sorted(NUMBERS)))
        if draw(st.booleans()):
            metadata[key] = ("array", (kind, draw(st.lists(NUMBERS[kind], max_size=4))))
        else:
            metadata[key] = (kind, draw(NUMBERS[kind]))
    tensors = []
    for name in draw(st.lists(st.text(max_size=9), unique=True, max_size=5)):
        kind = draw(st.sampled_from(sorted(BLOCKS)))
        axes = [
            BLOCKS[kind][1] * draw(st.integers(0, 3)),
            *draw(st.lists(st.integers(0, 4), max_size=3)),
        ]
        tensors.append((name, tuple(axes), kind))
    return metadata, tensors


@pytest.mark.slow
@settings(max_examples=40)
@given(written(), st.sampled_from("<>"), st.sampled_from([2, 3]))
def test_what_is_written_is_read(tmp_path_factory, both, order, version):
    metadata, tensors = both
    held = gguf_bytes(metadata, tensors, order=order, version=version)
    read = read_gguf(file_of(tmp_path_factory.mktemp("one"), held))
    assert read.version == version
    for key, (kind, value) in metadata.items():
        wanted = value
        if kind == "array":
            inner, values = value
            wanted = Passed(len(values)) if inner == "str" else tuple(values)
        assert read.metadata[key] == wanted
    found = read.inventory.tensors
    assert [(one.name, one.shape[::-1], one.dtype) for one in found] == tensors
    for one, (_, axes, kind) in zip(found, tensors, strict=True):
        _, values, size = BLOCKS[kind]
        assert one.bytes == count_of(axes) // values * size
        assert one.parameters == count_of(axes)


def test_a_vocabulary_is_passed_over(tmp_path):
    read = read_gguf(file_of(tmp_path, gguf_bytes(LLAMA_KEYS, llama_tensors())))
    assert read.metadata["tokenizer.ggml.tokens"] == Passed(96)
    assert read.metadata["llama.block_count"] == 2
    long = {"tokens": ("array", ("u8", [1] * 5000)), "template": ("str", "x" * 2000)}
    read = read_gguf(file_of(tmp_path, gguf_bytes(long, [])))
    assert read.metadata == {"tokens": Passed(5000), "template": Passed(2000)}


def started(tensors, keys):
    made = GgufWriter()
    made.number("Q", tensors)
    made.number("Q", keys)
    return made


def keyed(*numbers):
    """One key `k` and what follows it, as (letter, value)."""
    made = started(0, 1)
    made.text("k")
    for letter, value in numbers:
        made.number(letter, value)
    return made.held


def placed(name="t", axes=(32,), kind=0, begin=0, more=b"", metadata=()):
    made = started(1, len(metadata))
    for key, letter, value in metadata:
        made.text(key)
        made.number("I", KINDS[letter])
        made.value(letter, value)
    made.text(name)
    made.number("I", len(axes))
    for length in axes:
        made.number("Q", length)
    made.number("I", kind)
    made.number("Q", begin)
    return made.held + bytes(-len(made.held) % 32) + more


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"", "it is not a GGUF file"),
        (b"GGUF", "it is not a GGUF file"),
        (b"GGML" + bytes(20), "it is not a GGUF file"),
        (GgufWriter(version=1).held + bytes(16), "GGUF version 1 is not supported; versions 2 and 3 are"),
        (GgufWriter(version=9).held + bytes(16), "GGUF version 9 is not supported"),
        (GgufWriter(version=0).held + bytes(16), "GGUF version 0 is not supported"),
        (GgufWriter().held, "the count of tensors should have 8 bytes, and 0 are left"),
        (started(2**60, 0).held, "at most 65536 and 16384 are read"),
        (started(0, 2**60).held, "at most 65536 and 16384 are read"),
        (started(0, 1).held + struct.pack("<Q", 2**60), "should have 1152921504606846976 bytes"),
        (started(0, 1).held + struct.pack("<Q", 2000) + bytes(2000), "at most 1024 may be"),
        (started(0, 1).held + struct.pack("<Q", 1) + b"\xff", "the name of a key is not UTF-8"),
        (keyed(("I", 13)), "k has type 13, which GGUF does not have"),
        (keyed(("I", 8), ("Q", 2**63)), "k should have 9223372036854775808 bytes"),
        (keyed(("I", 9), ("I", 4), ("Q", 2**60)), "k should have 4611686018427387904 bytes"),
        (keyed(("I", 9), ("I", 8), ("Q", 2**60)), "more than the file can hold"),
        (keyed(("I", 9), ("I", 8), ("Q", 1), ("Q", 2**60)), "ends beyond the file"),
        (keyed(("I", 9), *[("I", 9), ("Q", 1)] * 5), "or too deep"),
        (keyed(("I", 9), ("I", 77), ("Q", 0)), "k is an array of type 77"),
        (placed(axes=(1,) * 5), "t has 5 axes; at most 4 may be"),
        (placed(axes=(2**40, 2**40)), "more elements than any tensor"),
        (placed(axes=(33,), kind=2), "rows of 33 values; Q4_0 has blocks of 32"),
        (placed(kind=4), "t has type 4, which ggml does not use"),
        (placed(begin=8), "begins at 8, which is not a multiple of 32"),
        (placed(more=bytes(127)), "t ends 1 bytes beyond the file"),
        (placed(begin=2**63, more=bytes(128)), "bytes beyond the file"),
        (placed(metadata=[("general.alignment", "u32", 0)]), "must be a power of two"),
        (placed(metadata=[("general.alignment", "u32", 48)]), "must be a power of two"),
        (placed(metadata=[("general.alignment", "f32", 32.0)]), "must be a power of two"),
        (placed(metadata=[("a", "u8", 0)] * 2), "a occurs twice"),
        (placed(metadata=[("split.count", "str", "x")], more=bytes(128)), "split.count must be"),
        (placed(metadata=[("split.count", "u16", 5000)], more=bytes(128)), "split.count must be"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused(tmp_path, held, said):
    assert said in refusal(file_of(tmp_path, held))


def test_two_tensors_of_one_name_or_place_are_refused(tmp_path):
    two = [("t", (32,), "F32"), ("u", (32,), "F32")]
    held = gguf_bytes(NAMED, two)
    assert "two tensors have the same name" in refusal(file_of(tmp_path, held.replace(b"u\x01\0", b"t\x01\0")))  # fmt: skip
    moved = held.replace(struct.pack("<Q", 128), struct.pack("<Q", 64))
    assert "u overlaps the tensor before it" in refusal(file_of(tmp_path, moved))


@pytest.mark.parametrize("length", [9, 30, 100, 400])
def test_a_file_that_was_cut_is_refused(tmp_path, length):
    held = gguf_bytes(LLAMA_KEYS, llama_tensors())
    assert read_gguf(file_of(tmp_path, held)).version == 3
    refusal(file_of(tmp_path, held[:length]))
    refusal(file_of(tmp_path, held[:-length]))


@pytest.mark.slow
def test_the_most_texts_are_passed_over_in_a_moment(tmp_path):
    texts = MOST_TEXTS
    made = keyed(("I", 9), ("I", 8), ("Q", texts)) + bytes(8 * texts)
    begin = time.process_time()
    assert read_gguf(file_of(tmp_path, made)).metadata == {"k": Passed(texts)}
    assert time.process_time() - begin < 3
    more = keyed(("I", 9), ("I", 8), ("Q", texts + 1)) + bytes(8 * texts + 8)
    assert "more than the file can hold" in refusal(file_of(tmp_path, more))


def split(folder, number, count, tensors, keys=()):
    metadata = {**dict(keys), "split.no": ("u16", number - 1), "split.count": ("u16", count)}
    return file_of(folder, gguf_bytes(metadata, tensors), f"m-{number:05}-of-{count:05}.gguf")


def test_files_of_one_model_are_read_together(tmp_path):
    tensors = llama_tensors()
    first = split(tmp_path, 1, 3, [], LLAMA_KEYS.items())
    second = split(tmp_path, 2, 3, tensors[:5])
    third = split(tmp_path, 3, 3, tensors[5:])
    whole = read_gguf(file_of(tmp_path, gguf_bytes(LLAMA_KEYS, tensors))).inventory
    for path in (first, second, third):
        read = read_gguf(path)
        assert read.inventory == whole
        assert read.metadata["general.architecture"] == "llama"

    third.unlink()
    read = read_gguf(first)
    assert len(read.inventory.tensors) == 5
    assert read.inventory.remarks == (
        "1 of 3 files of the model are not there (m-00003-of-00003.gguf): what they hold is missing",
    )


def test_files_of_one_model_must_say_so(tmp_path):
    tensors = llama_tensors()
    first = split(tmp_path, 1, 2, tensors[:3], LLAMA_KEYS.items())
    second = split(tmp_path, 2, 2, tensors[2:])
    with pytest.raises(InputError, match="another file holds"):
        read_gguf(first)
    second.write_bytes(gguf_bytes(NAMED, tensors[3:]))
    with pytest.raises(InputError, match="does not say that it is one of 2 files"):
        read_gguf(first)
    renamed = first.rename(tmp_path / "other.gguf")
    assert "must be called NAME-00001-of-00002.gguf" in refusal(renamed)


def test_types_are_ggmls():
    gguf = pytest.importorskip("gguf")
    theirs = {
        int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()
    }  # fmt: skip
    assert theirs == TYPES


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_what_llama_cpps_own_library_writes_is_read(tmp_path, order):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama", endianess=gguf.GGUFEndian[order])
    writer.add_block_count(2)
    writer.add_head_count_kv([2, 0])
    writer.add_layer_norm_rms_eps(0.5)
    writer.add_token_list(["a", "bc"])
    writer.add_tensor("token_embd.weight", numpy.zeros((2, 64), numpy.float32))
    packed = gguf.quants.quantize(
        numpy.ones((4, 64), numpy.float32), gguf.GGMLQuantizationType.Q4_0
    )
    writer.add_tensor("blk.0.attn_q.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = read_gguf(path)
    assert read.metadata["llama.attention.head_count_kv"] == (2, 0)
    assert read.metadata["llama.attention.layer_norm_rms_epsilon"] == 0.5
    assert read.metadata["tokenizer.ggml.tokens"] == Passed(2)
    theirs = gguf.GGUFReader(path)
    assert [(one.name, one.dtype, one.bytes, one.parameters) for one in read.inventory.tensors] == [
        (one.name, one.tensor_type.name, one.n_bytes, one.n_elements) for one in theirs.tensors
    ]
    assert read.inventory.tensors[1].shape == (4, 64)
