"""The wire format of protocol buffers."""

import io
import struct
import time

import pytest

from planner.errors import InputError
from planner.readers.programs.protobuf import MOST_FIELDS, MOST_LOADED_BYTES, WireReader, signed_of
from tests.onnx_writer import of_bytes, of_number, varint


def reader(content):
    return WireReader(io.BytesIO(content), len(content), "it.onnx")


def fields(content):
    return list(reader(content).fields(0, len(content)))


def test_every_kind_of_field_is_read():
    content = of_number(1, 300) + of_bytes(2, "name")
    content += varint(3 << 3 | 5) + struct.pack("<f", 0.5)
    content += varint(4 << 3 | 1) + struct.pack("<d", -2.25)
    number, named, single, double = fields(content)
    assert (number.number, number.value) == (1, 300)
    assert reader(content).text(named) == "name"
    assert (single.as_float, double.as_float) == (0.5, -2.25)


def test_negative_numbers_are_those_of_64_bits():
    assert fields(of_number(1, -1))[0].signed == -1
    assert signed_of(2**63 - 1) == 2**63 - 1
    assert signed_of(2**63) == -(2**63)


def test_lists_may_be_packed_or_not():
    packed = of_bytes(1, varint(3) + varint(-1) + varint(224))
    read = reader(packed)
    assert read.integers(next(read.fields(0, len(packed))), 3) == [3, -1, 224]
    assert reader(packed).integers(fields(of_number(1, 7))[0], 3) == [7]
    with pytest.raises(InputError, match="more than 2 numbers"):
        read.integers(next(read.fields(0, len(packed))), 2)


def test_weights_are_stepped_over_and_never_loaded(tmp_path):
    """A file with holes of 1 GB each, which disks do not store."""
    path = tmp_path / "large"
    size = 0
    with path.open("wb") as file:
        for _ in range(50):
            head = of_bytes(8, "weight") + varint(9 << 3 | 2) + varint(10**9)
            file.seek(size)
            file.write(head)
            size += len(head) + 10**9
        file.truncate(size)
    with path.open("rb") as file:
        read = WireReader(file, size, "large")
        found = list(read.fields(0, size))
    assert len(found) == 100
    assert found[-1].end == size
    assert read.loaded_bytes < 50 * 1024


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 20, "does not end"),
        (b"\x12\x05abc", "longer than what holds it"),
        (b"\x0f\x00", "no field begins"),
        (b"\x00\x00", "no field begins"),
        (of_bytes(1, b"x")[:1] + varint(2**40), "longer than what holds it"),
        (varint(3 << 3 | 1) + b"abc", "longer than what holds it"),
    ],
)
def test_damage_is_named(content, words):
    with pytest.raises(InputError, match=words) as caught:
        fields(content)
    assert str(caught.value).startswith("it.onnx cannot be read: ")


def test_a_part_beyond_the_end_is_refused():
    with pytest.raises(InputError, match="beyond its end"):
        list(reader(b"\x08\x01").fields(0, 9))
    short = WireReader(io.BytesIO(b"\x12\x05ab"), 100, "it")
    with pytest.raises(InputError, match="it ends at byte"):
        list(short.fields(0, 100))


def test_floods_of_fields_and_of_bytes_stop(monkeypatch):
    monkeypatch.setattr("planner.readers.programs.protobuf.MOST_FIELDS", 1000)
    with pytest.raises(InputError, match="more than 1,000 fields"):
        fields(of_number(1, 1) * 1001)
    assert len(fields(of_number(1, 1) * 1000)) == 1000
    monkeypatch.setattr("planner.readers.programs.protobuf.MOST_LOADED_BYTES", 2**20)
    content = of_bytes(1, b"x" * 30) * 40_000
    monkeypatch.setattr("planner.readers.programs.protobuf.MOST_FIELDS", 10**6)
    with pytest.raises(InputError, match="more than 1 MiB besides weights"):
        fields(content)


def test_numbers_of_lists_count_as_fields(monkeypatch):
    monkeypatch.setattr("planner.readers.programs.protobuf.MOST_FIELDS", 1000)
    source = reader(of_bytes(1, b"\x01" * 600) * 2)
    first, second = source.fields(0, source.size_bytes)
    assert source.integers(first, 10**6) == [1] * 600
    with pytest.raises(InputError, match="more than 1,000 fields"):
        source.integers(second, 10**6)


def test_fields_are_the_same_wherever_a_block_ends():
    """Short fields take a quick way where they are loaded already, and else a slow one."""
    content = of_number(1, 5) + of_bytes(2, b"ab") + of_number(300, 7) + of_bytes(3, b"x" * 300)
    content *= 50
    expected = []
    at = 0
    while at < len(content):
        # Each field alone, as the beginning of a file of its own.
        source = reader(content[at : at + 400])
        field = source._long_field(0, source.size_bytes)
        expected.append(field._replace(begin=field.begin + at, end=field.end + at))
        at += field.end
    assert list(reader(content).fields(0, len(content))) == expected


def test_the_limits_hold_real_models():
    assert MOST_LOADED_BYTES == 64 * 2**20
    assert MOST_FIELDS >= 500_000


@pytest.mark.slow
def test_many_fields_take_seconds_at_most():
    content = of_number(1, 1) * 200_000
    begin = time.process_time()
    assert len(fields(content)) == 200_000
    assert time.process_time() - begin < 5
