"""The wire format of protocol buffers [1], read from a file piece by piece: what a caller does not
ask for is stepped over and never loaded, so that a file of many gigabytes costs its structure.

[1] Google, "Protocol buffers: encoding", 2024.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from planner.errors import InputError

MOST_LOADED_BYTES = 64 * 2**20
"""Of a file's structure, weights not counted."""
MOST_FIELDS = 500_000
"""That are looked at."""
LONGEST_VARINT = 10
LARGEST_BLOCK = 2**16
SMALLEST_BLOCK = 2**8

VARINT = 0
FIXED64 = 1
LENGTH = 2
FIXED32 = 5


class Field(NamedTuple):
    """One field of a message."""

    number: int
    wire: int
    value: int
    """Of a varint or a fixed width, unsigned; 0 for what has a length."""
    begin: int
    """Where in the file its bytes stand."""
    end: int

    @property
    def signed(self) -> int:
        """The value as an int64."""
        return signed_of(self.value)

    @property
    def as_float(self) -> float:
        """The value of a fixed width as a floating-point number."""
        code, kind = ("<I", "<f") if self.wire == FIXED32 else ("<Q", "<d")
        return float(struct.unpack(kind, struct.pack(code, self.value))[0])


_field = tuple.__new__
"""Makes a `Field` of a tuple, in a third of the time of calling it."""


class WireReader:
    """Fields of messages, by where they stand in an open file."""

    def __init__(self, file: BinaryIO, size_bytes: int, what: str) -> None:
        """`what` names the file in a refusal."""
        self.file = file
        self.size_bytes = size_bytes
        self.what = what
        self.loaded_bytes = 0
        self.fields_read = 0
        self._block = b""
        self._block_begin = 0
        self._next_size = SMALLEST_BLOCK

    def fault(self, reason: str) -> InputError:
        return InputError(f"{self.what} cannot be read: {reason}")

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """The fields of the message that stands between two places of the file."""
        if not 0 <= begin <= end <= self.size_bytes:
            raise self.fault("a part of it reaches beyond its end; is it truncated?")
        at = begin
        while at < end:
            self.fields_read += 1
            if self.fields_read > MOST_FIELDS:
                raise self.fault(f"it has more than {MOST_FIELDS:,} fields besides its weights")
            # Nearly all fields of a structure are short, and here already: a tag and a length (or
            # a number) of one byte each.
            block = self._block
            place = at - self._block_begin
            if 0 <= place < len(block) - 1 and at < end - 1:
                tag, size = block[place], block[place + 1]
                if 8 <= tag < 0x80 and size < 0x80:
                    if tag & 7 == LENGTH and at + 2 + size <= end:
                        first = at + 2
                        at = first + size
                        yield _field(Field, (tag >> 3, LENGTH, 0, first, at))
                        continue
                    if tag & 7 == VARINT:
                        at += 2
                        yield _field(Field, (tag >> 3, VARINT, size, at - 1, at))
                        continue
            field = self._long_field(at, end)
            at = field.end
            yield field

    def _long_field(self, at: int, end: int) -> Field:
        """The field that begins there, however long its numbers are."""
        tag, at = self._varint(at, end)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise self.fault(f"no field begins at byte {at}; check that the file is of this kind")
        value = 0
        first = at
        if wire == VARINT:
            value, at = self._varint(at, end)
        elif wire == LENGTH:
            length, first = self._varint(at, end)
            at = first + length
        elif wire in (FIXED32, FIXED64):
            at = first + (4 if wire == FIXED32 else 8)
        else:
            raise self.fault(f"no field begins at byte {at}; check that the file is of this kind")
        if at > end:
            raise self.fault(f"the field at byte {first} is longer than what holds it")
        if wire in (FIXED32, FIXED64):
            value = int.from_bytes(self.load(first, at), "little")
        return Field(number, wire, value, first, at)

    def load(self, begin: int, end: int) -> bytes:
        """The bytes between two places of the file."""
        self._hold(begin, end)
        first = begin - self._block_begin
        return self._block[first : first + end - begin]

    def text(self, field: Field) -> str:
        """A field that holds text."""
        return self.load(field.begin, field.end).decode("utf-8", "replace")

    def integers(self, field: Field, most: int) -> list[int]:
        """A repeated int64 of at most `most` values, packed or one of many fields."""
        if field.wire == VARINT:
            return [field.signed]
        found: list[int] = []
        at = field.begin
        while at < field.end:
            # Numbers count as fields do, so that lists without end stop as well.
            self.fields_read += 1
            if self.fields_read > MOST_FIELDS:
                raise self.fault(f"it has more than {MOST_FIELDS:,} fields besides its weights")
            value, at = self._varint(at, field.end)
            found.append(signed_of(value))
            if len(found) > most:
                raise self.fault(f"a list at byte {field.begin} has more than {most} numbers")
        return found

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number, and where the next one begins."""
        block = self._block
        place = at - self._block_begin
        # Most numbers take one byte, which is here already.
        if 0 <= place < len(block) and at < end and block[place] < 0x80:
            return block[place], at + 1
        self._hold(at, min(at + LONGEST_VARINT, end))
        block = self._block
        place = at - self._block_begin
        most = min(len(block), place + min(LONGEST_VARINT, end - at))
        value = 0
        shift = 0
        while place < most:
            byte = block[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, self._block_begin + place
            shift += 7
        raise self.fault(f"the number at byte {at} does not end; is the file truncated?")

    def _hold(self, begin: int, end: int) -> None:
        """Have these bytes in the block. Blocks double as long as they follow each other, and
        start small after a leap: between two large tensors stand a few dozen bytes."""
        held = self._block_begin + len(self._block)
        if self._block_begin <= begin and end <= held:
            return
        follows = self._block_begin <= begin <= held
        self._next_size = min(LARGEST_BLOCK, 2 * self._next_size) if follows else SMALLEST_BLOCK
        wanted = min(max(end - begin, self._next_size), self.size_bytes - begin)
        self.loaded_bytes += wanted
        if self.loaded_bytes > MOST_LOADED_BYTES:
            raise self.fault(f"it has more than {MOST_LOADED_BYTES // 2**20} MiB besides weights")
        self.file.seek(begin)
        self._block = self.file.read(wanted)
        self._block_begin = begin
        if len(self._block) < end - begin:
            raise self.fault(f"it ends at byte {begin + len(self._block)}; is it truncated?")


def signed_of(value: int) -> int:
    """An unsigned 64-bit number as the int64 of the same bits."""
    return value - 2**64 if value >= 2**63 else value
