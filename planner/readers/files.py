"""Opening what a user points at: sizes, encodings and syntax, each fault in one sentence."""

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from planner.errors import InputError, shortened

MOST_BYTES = 32 * 2**20
"""More than any description of a model or a machine; a file beyond is something else."""
CONFIG_BYTES = 8 * 2**20
"""Of a config.json or a params.json: lists of every module that stays as it was take 3 MiB."""
INDEX_BYTES = 16 * 2**20
"""Of the index of a checkpoint, and of the header of one of its files."""
MOST_VALUES = 2**19
"""Of a JSON text: each may take a hundred times the memory of its text."""

Pairs = Sequence[tuple[str, Any]]


@contextmanager
def opened(path: Path, what: str) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file that should hold `what`, open for reading, and its bytes; refused before
    anything is read of it where it is a folder, a pipe or a device."""
    flags = os.O_RDONLY
    # A pipe that nobody writes to would hold up who opens it; Windows reads text unless told.
    for name in ("O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        number = os.open(path, flags)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise _unreadable(path, what, error) from None

    kind = os.fstat(number).st_mode
    if not stat.S_ISREG(kind):
        os.close(number)
        found = "a folder" if stat.S_ISDIR(kind) else "a pipe or a device"
        raise InputError(f"{path} is {found}; {what} must be a file")
    with open(number, "rb", buffering=2**16) as stream:
        try:
            yield stream, os.fstat(number).st_size
        except OSError as error:
            raise _unreadable(path, what, error) from None


def _unreadable(path: Path, what: str, error: Exception) -> InputError:
    shown = shortened(str(path).replace(chr(0), "?"), 200)
    if isinstance(error, PermissionError) and path.is_dir():  # so Windows says of a folder
        return InputError(f"{shown} is a folder; {what} must be a file")
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{shown} cannot be read: {reason}")


def read_text(path: Path, what: str, *, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file that should hold `what`, which has no more than `most_bytes`."""
    with opened(path, what) as (stream, size):
        # A file may grow, and some of the kernel's own say that they are empty.
        held = b"" if size > most_bytes else stream.read(most_bytes + 1)
        found = max(size, len(held))
    if found > most_bytes:
        power, unit = (2**20, "MiB") if most_bytes >= 2**20 else (2**10, "KiB")
        raise InputError(
            f"{path} has {found / power:.0f} {unit}; {what} has less than {most_bytes // power}"
        )
    return text_of(held, path, what)


def text_of(held: bytes, path: Path, what: str) -> str:
    """Bytes of a file as text."""
    try:
        text = held.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; {what} must be UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(
    path: Path,
    what: str,
    *,
    most_bytes: int = MOST_BYTES,
    paired: Callable[[Pairs], Any] | None = None,
) -> dict[str, Any]:
    """A JSON object; `paired` makes of an object's names and values what shall stand for it."""
    text = read_text(path, what, most_bytes=most_bytes)
    return parsed_json(text, path, paired=paired)


def parsed_json(
    text: str, path: Path, *, paired: Callable[[Pairs], Any] | None = None
) -> dict[str, Any]:
    """The JSON object that a text of a file holds."""
    values = sum(text.count(mark) for mark in ",[{")
    if values > MOST_VALUES:
        raise InputError(f"{path} holds {values} values; at most {MOST_VALUES} are read")
    try:
        fields = json.loads(text, object_pairs_hook=paired)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON (line {error.lineno}: {error.msg}); is it truncated?"
        ) from None
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is not valid JSON (a number of thousands of digits, or nested too deeply)"
        ) from None
    if not isinstance(fields, dict):
        raise InputError(
            f"{path} must hold a JSON object; it holds {shortened(type(fields).__name__)}"
        )
    return fields


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML table."""
    text = read_text(path, what)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {shortened(str(error), 100)}") from None


PLAIN_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,254}")


def plain_file(name: object, path: Path) -> str:
    """A name that a file gives of another beside it: a name alone, no way to elsewhere."""
    if not isinstance(name, str) or not PLAIN_FILE.fullmatch(name):
        raise InputError(
            f"{path} names the file {shortened(repr(name))}; it must be a plain name in the same"
            " folder"
        )
    return name
