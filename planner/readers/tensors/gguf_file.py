"""What a GGUF file of llama.cpp says of its model: its metadata, and which tensors it holds; nothing
of their data.

A file is the word GGUF, a version, counts of tensors and of metadata; the metadata, each a name, a
type and a value; of each tensor its name, its axes innermost first, its type and where it begins;
and, aligned, the tensors' bytes [1]. Numbers are little-endian, or all big-endian. Long arrays, a
vocabulary above all, are passed over: only their length is kept.

[1] https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from planner.errors import InputError, listed, shortened, told
from planner.readers.files import file_beside, opened
from planner.readers.tensors.inventory import MOST_ELEMENTS, Inventory, Tensor, elements_of

WHAT = "a GGUF file"
VERSIONS = (2, 3)
MOST_KEYS = 2**14
MOST_TENSORS = 2**16
MOST_AXES = 4
MOST_NAME_BYTES = 1024
MOST_TEXT_BYTES = 1024
"""Of a text that is kept; of longer ones, such as a template, only the length."""
MOST_KEPT = 4096
"""Elements of an array of numbers that is kept: one for each layer at most."""
MOST_TEXTS = 3 * 2**19
"""In all arrays of texts together: each has a length that must be read to find the next."""
MOST_DEPTH = 4
"""Of arrays in arrays."""
MOST_FILES = 1000
SPLIT = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)

TEXT = 8
ARRAY = 9
VALUES = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
"""Types of metadata that have a size of their own, as `struct` calls them."""

TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Of ggml's tensors: name, values in a block, bytes of a block."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed over: a long text or array."""

    length: int


class GgufFile(NamedTuple):
    """What a GGUF file says."""

    metadata: Mapping[str, Any]
    """Numbers, texts, tuples of numbers; a `Passed` stands for what is long."""
    inventory: Inventory
    version: int


class _Stream:
    """A file, read number by number within its bounds."""

    def __init__(self, stream: BinaryIO, size: int, path: Path) -> None:
        self.stream = stream
        self.size = size
        self.path = path
        self.at = 0
        self.order = "<"
        self.texts = 0
        self._structs: dict[str, struct.Struct] = {}

    def turn(self) -> None:
        """From here on the largest byte of a number comes first."""
        self.order = ">"
        self._structs.clear()

    def fault(self, sentence: str) -> InputError:
        return InputError(f"{self.path}: {sentence}")

    def taken(self, length: int, what: str) -> bytes:
        """The next bytes."""
        self._claim(length, what)
        held = self.stream.read(length)
        if len(held) < length:
            raise self.fault(f"the file ends within {what}; it is truncated")
        return held

    def pass_over(self, length: int, what: str) -> None:
        """Leave the next bytes unread."""
        self._claim(length, what)
        self.stream.seek(length, 1)

    def _claim(self, length: int, what: str) -> None:
        if length > self.size - self.at:
            raise self.fault(
                f"{what} should have {length} bytes, and {self.size - self.at} are left; it is"
                " truncated or no GGUF file"
            )
        self.at += length

    def number(self, kind: str, what: str) -> Any:
        """The next number, of a type of `struct`."""
        known = self._structs.get(kind)
        if known is None:
            known = self._structs[kind] = struct.Struct(self.order + kind)
        return known.unpack(self.taken(known.size, what))[0]

    def text(self, most_bytes: int, what: str) -> str | Passed:
        """The next text, or how long it is where it is longer than `most_bytes`."""
        length = self.number("Q", what)
        if length > most_bytes:
            self.pass_over(length, what)
            return Passed(length)
        try:
            return self.taken(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fault(f"{what} is not UTF-8") from None

    def pass_texts(self, count: int, what: str) -> None:
        """Leave texts unread: a vocabulary has a million, so that this is the loop to keep
        short."""
        take, unpack = self.stream.read, struct.Struct(f"{self.order}Q").unpack
        at = self.at
        for _ in range(count):
            held = take(8)
            if len(held) < 8:
                raise self.fault(f"the file ends within {what}; it is truncated")
            (length,) = unpack(held)
            at += 8 + length
            if at > self.size:
                raise self.fault(f"a text of {what} has {length} bytes; it ends beyond the file")
            # Reading what is buffered is cheaper than asking where the file is.
            if length < 4096:
                take(length)
            else:
                self.stream.seek(at)
        self.at = at

    def name(self, what: str) -> str:
        found = self.text(MOST_NAME_BYTES, what)
        if isinstance(found, Passed):
            raise self.fault(f"{what} has {found.length} bytes; at most {MOST_NAME_BYTES} may be")
        return found


def read_gguf(path: str | Path) -> GgufFile:
    """The metadata and the tensors of a GGUF file; of one of several that are one model, all of
    them.

    Files of a model that are not there are told in a remark. An InputError says what is wrong with
    a file.
    """
    path = Path(path)
    one = _read_one(path)
    count = one.metadata.get("split.count", 0)
    if not isinstance(count, int) or not 0 <= count <= MOST_FILES:
        raise InputError(f"{path}: split.count must be a whole number of at most {MOST_FILES}")
    return one if count <= 1 else _read_all(path, one, count)


def _read_all(path: Path, one: GgufFile, count: int) -> GgufFile:
    """All files of a model that is split into `count`, one of which is read already."""
    named = SPLIT.fullmatch(path.name)
    if named is None or int(named["count"]) != count:
        raise InputError(
            f"{path} is one of {count} files and must be called NAME-00001-of-{count:05}.gguf"
        )
    tensors: dict[str, Tensor] = {}
    absent: list[str] = []
    metadata: dict[str, Any] = {}
    for number in range(1, count + 1):
        name = f"{named['name']}-{number:05}-of-{count:05}.gguf"
        beside = file_beside(name, path)
        if not beside.exists():
            absent.append(beside.name)
            continue
        read = one if beside.name == path.name else _read_one(beside)
        if read.metadata.get("split.count") != count:
            raise InputError(f"{beside} does not say that it is one of {count} files")
        # The first file has the model's metadata; the others only say which they are.
        metadata = {**read.metadata, **metadata}
        for tensor in read.inventory.tensors:
            if tensor.name in tensors:
                raise InputError(f"{beside}: another file holds {shortened(tensor.name)} as well")
            tensors[tensor.name] = tensor
        if len(tensors) > MOST_TENSORS:
            raise InputError(f"{path}: its files hold more than {MOST_TENSORS} tensors")
    remarks: tuple[str, ...] = ()
    if absent:
        remarks = (
            f"{len(absent)} of {count} files of the model are not there"
            f" ({listed(absent[:2])}{' and more' * (len(absent) > 2)}): what they hold is missing",
        )
    return GgufFile(metadata, Inventory(tuple(tensors.values()), remarks=remarks), one.version)


def _read_one(path: Path) -> GgufFile:
    with opened(path, WHAT) as (stream, size):
        read = _Stream(stream, size, path)
        version = _version_of(read)
        tensors = read.number("Q", "the count of tensors")
        keys = read.number("Q", "the count of keys")
        if tensors > MOST_TENSORS or keys > MOST_KEYS:
            raise read.fault(
                f"it says that it has {tensors} tensors and {keys} keys; at most {MOST_TENSORS} and"
                f" {MOST_KEYS} are read"
            )
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = read.name("the name of a key")
            if key in metadata:
                raise read.fault(f"{shortened(key)} occurs twice; every key must occur once")
            kind = read.number("I", f"the type of {shortened(key)}")
            metadata[key] = _value(read, kind, shortened(key))
        placed = [_tensor(read) for _ in range(tensors)]
    _check_placed(placed, _alignment_of(metadata, read), read)
    return GgufFile(metadata, Inventory(tuple(tensor for tensor, _ in placed)), version)


def _version_of(read: _Stream) -> int:
    """The version, which also tells the order of bytes."""
    if read.size < 8 or read.taken(4, "the word GGUF") != b"GGUF":
        raise read.fault("it is not a GGUF file, which begins with the letters GGUF")
    version = read.number("I", "the version")
    if version & 0xFFFF == 0 and version:  # 3 in the other order
        read.turn()
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in VERSIONS:
        raise read.fault(
            f"GGUF version {version} is not supported; versions {listed(VERSIONS)} are"
        )
    return int(version)


def _value(read: _Stream, kind: int, key: str) -> Any:
    """The value of a key; of long texts and arrays, and of arrays of texts, their length."""
    if kind == TEXT:
        return read.text(MOST_TEXT_BYTES, key)
    if kind == ARRAY:
        return _array(read, key, 1)
    if kind not in VALUES:
        raise read.fault(f"{key} has type {kind}, which GGUF does not have")
    return read.number(VALUES[kind], key)


def _array(read: _Stream, key: str, depth: int) -> tuple[Any, ...] | Passed:
    kind = read.number("I", f"the type of {key}")
    count = read.number("Q", f"the length of {key}")
    if kind in VALUES:
        size = struct.calcsize(f"={VALUES[kind]}")
        if count > MOST_KEPT:
            read.pass_over(count * size, key)
            return Passed(count)
        held = read.taken(count * size, key)
        return struct.unpack(f"{read.order}{count}{VALUES[kind]}", held)
    if kind not in (TEXT, ARRAY) or depth == MOST_DEPTH:
        raise read.fault(f"{key} is an array of type {kind}, or too deep; it cannot be read")

    # Eight bytes at least for each, so that a count beyond the file is not walked along.
    read.texts += count
    if 8 * count > read.size - read.at or read.texts > MOST_TEXTS:
        raise read.fault(
            f"{key} says that it has {count} elements, which is more than the file can hold"
        )
    if kind == TEXT:
        read.pass_texts(count, key)
    else:
        for _ in range(count):
            _array(read, key, depth + 1)
    return Passed(count)


def _tensor(read: _Stream) -> tuple[Tensor, int]:
    """A tensor, and where it begins among the data."""
    name = read.name("the name of a tensor")
    where = shortened(name)
    axes = read.number("I", f"the axes of {where}")
    if axes > MOST_AXES:
        raise read.fault(f"{where} has {axes} axes; at most {MOST_AXES} may be")
    innermost_first = [read.number("Q", f"the shape of {where}") for _ in range(axes)]
    kind = read.number("I", f"the type of {where}")
    begin = read.number("Q", f"the place of {where}")
    if kind not in TYPES:
        raise read.fault(f"{where} has type {kind}, which ggml does not use, or no longer uses")
    dtype, block, block_bytes = TYPES[kind]
    elements = elements_of(innermost_first)
    if elements > MOST_ELEMENTS:
        raise read.fault(f"{where} has a shape of more elements than any tensor")
    row = innermost_first[0] if innermost_first else 1
    if row % block:
        raise read.fault(f"{where} has rows of {row} values; {dtype} has blocks of {block}")
    shape = tuple(reversed(innermost_first))
    return Tensor(name, shape, dtype, elements // block * block_bytes), begin


def _alignment_of(metadata: Mapping[str, Any], read: _Stream) -> int:
    """Of where tensors begin. [bytes]"""
    alignment = metadata.get("general.alignment", 32)
    whole = isinstance(alignment, int) and not isinstance(alignment, bool)
    if not whole or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise read.fault(
            f"general.alignment must be a power of two of at most {2**20}, not"
            f" {told(alignment, 30)}"
        )
    return int(alignment)


def _check_placed(placed: list[tuple[Tensor, int]], alignment: int, read: _Stream) -> None:
    """Refuse tensors that are there twice, overlap, or end beyond the file."""
    names = {tensor.name for tensor, _ in placed}
    if len(names) < len(placed):
        raise read.fault("two tensors have the same name; every name must occur once")
    begin_of_data = -(-read.at // alignment) * alignment
    reached = 0
    for tensor, begin in sorted(placed, key=lambda one: (one[1], one[0].bytes)):
        where = shortened(tensor.name)
        if begin % alignment:
            raise read.fault(f"{where} begins at {begin}, which is not a multiple of {alignment}")
        if begin < reached:
            raise read.fault(f"{where} overlaps the tensor before it")
        reached = begin + tensor.bytes
        if begin_of_data + reached > read.size:
            raise read.fault(
                f"{where} ends {begin_of_data + reached - read.size} bytes beyond the file; it is"
                " truncated"
            )
