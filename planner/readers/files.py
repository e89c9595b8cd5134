"""Opening what a user points at: sizes, encodings and syntax, each fault in one sentence."""

import csv
import io
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeVar

from planner.errors import InputError, shortened, told
from planner.faults import unique
from planner.records import Record

TOML_BYTES = 2**18
"""Of a machine, a stack, a sweep or a table of claims; the catalogue's largest table of models has
an eighth of it."""
MOST_BYTES = 2**22
"""Of what has no bound of its own: a plan, a certificate or a machine as JSON, a table of
measurements. More would take longer, and more memory, to refuse than a user waits for."""
OPERATOR_BYTES = 2**23
"""Of an operator graph; the largest published has a tenth."""
MOST_ROWS = 50_000
"""Of a table of measurements."""
LONGEST_LINE = 2**16
"""Letters in a line of one."""
CONFIG_BYTES = 8 * 2**20
"""Of a config.json or a params.json: lists of every module that stays as it was take 3 MiB."""
INDEX_BYTES = 16 * 2**20
"""Of the index of a checkpoint, and of the header of one of its files."""
MOST_VALUES = 2**19
"""Of a JSON text: each may take a hundred times the memory of its text."""

PART = r"""(?:"[^"\n]*"|'[^'\n]*'|[\w-]+)"""
TOO_DEEP = re.compile(rf"(?<![\w-]){PART}(?:[ \t]*\.[ \t]*{PART}){{64}}")
"""A TOML key of more parts than a table has floors; its reader takes memory by the square of
them."""

Pairs = Sequence[tuple[str, Any]]
R = TypeVar("R", bound=Record)


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
            f"{path} has {found / power:.3g} {unit}; {what} has at most {most_bytes / power:.3g}"
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
    paired: Callable[[Pairs], Any] = unique,
) -> dict[str, Any]:
    """A JSON object; `paired` makes of an object's names and values what shall stand for it."""
    text = read_text(path, what, most_bytes=most_bytes)
    return parsed_json(text, path, paired=paired)


def parsed_json(
    text: str, path: Path, *, paired: Callable[[Pairs], Any] = unique
) -> dict[str, Any]:
    """The JSON object that a text of a file holds."""
    fields = json_value(text, path, paired=paired)
    if not isinstance(fields, dict):
        raise InputError(
            f"{path} must hold a JSON object; it holds {shortened(type(fields).__name__)}"
        )
    return fields


def json_value(
    text: str,
    path: Path,
    *,
    most_values: int = MOST_VALUES,
    paired: Callable[[Pairs], Any] = unique,
) -> Any:
    """What a JSON text of a file holds, whatever it is."""
    values = sum(text.count(mark) for mark in ",[{")
    if values > most_values:
        raise InputError(f"{path} holds {values} values; at most {most_values} are read")
    try:
        return json.loads(text, object_pairs_hook=paired)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON (line {error.lineno}: {error.msg}); is it truncated?"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError):
        raise InputError(
            f"{path} is not valid JSON (a number of thousands of digits, or nested too deeply)"
        ) from None


def read_record(kind: type[R], path: Path, what: str) -> R:
    """A record from a file of JSON that should hold `what`, such as "a plan"."""
    text = read_text(path, what)
    try:
        return kind.from_json(text, whole=f"the {what.split(maxsplit=1)[1]}")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """A TOML table."""
    text = read_text(path, what, most_bytes=TOML_BYTES)
    if TOO_DEEP.search(text):
        raise InputError(
            f"{path} has a key of more than 64 parts, which is too deep for a table; shorten the"
            " key"
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {shortened(str(error), 100)}") from None


PLAIN_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,254}")


def plain_file(name: object, path: Path) -> str:
    """A name that a file gives of another beside it: a name alone, no way to elsewhere."""
    if not isinstance(name, str) or not PLAIN_FILE.fullmatch(name):
        raise InputError(
            f"{path} names the file {told(name, 60)}; it must be a plain name in the same folder"
        )
    return name


def file_below(name: str, folder: Path, said: str) -> Path:
    """The file that a name in another one means: below that one's folder, symbolic links followed,
    since whoever wrote it may not choose what else is read here; `said` names the field."""
    given = PurePath(name)
    refused = InputError(
        f"{said} is {told(name)}; it must be a name of the catalogue, or a path below the folder"
        " of the file that names it"
    )
    if given.is_absolute() or ".." in given.parts or chr(0) in name:
        raise refused
    path = folder / given
    try:
        is_below = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle, or longer than any path
        raise refused from None
    if not is_below:
        raise refused
    return path


def file_beside(name: str, path: Path) -> Path:
    """A file in the folder of another. A link may lead on only to where a cache of the hub
    keeps its files, a folder called `blobs`."""
    beside = path.with_name(name)
    folder = path.parent.resolve()
    if beside.is_symlink():
        try:
            held = beside.resolve().parent
        except (OSError, RuntimeError):
            raise InputError(f"{beside} is a symbolic link to a file that does not exist") from None
        if held.name != "blobs" and not held.is_relative_to(folder):
            raise InputError(
                f"{beside} is a symbolic link to a file outside its folder; copy the file into the"
                " folder"
            )
    return beside


def read_rows(path: Path, what: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The columns of a CSV table, and its rows."""
    text = read_text(path, what)
    count = text.count("\n")
    if count > MOST_ROWS:
        raise InputError(f"{path} has {count} lines; {what} has at most {MOST_ROWS}")
    longest = max(len(line) for line in text.split("\n"))
    if longest > LONGEST_LINE:
        raise InputError(
            f"{path} has a line of {longest} letters; {what} has at most {LONGEST_LINE}"
        )
    reader = csv.DictReader(io.StringIO(text))
    with _told_as_no_table(path, reader):
        columns = list(reader.fieldnames or [])
    return columns, _rows_of(reader, path)


def _rows_of(reader: "csv.DictReader[str]", path: Path) -> Iterator[dict[str, Any]]:
    with _told_as_no_table(path, reader):
        yield from reader


@contextmanager
def _told_as_no_table(path: Path, reader: "csv.DictReader[str]") -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: this is not valid CSV: {error}"
        ) from None
