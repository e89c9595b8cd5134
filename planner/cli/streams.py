"""Where answers go: any encoding, a full disk, a closed pipe, a terminal that obeys control
characters.

What a stream cannot spell is said in ASCII. A name out of somebody's file may hold the orders of a
terminal, and none of them reaches one.
"""

import codecs
import json
import math
import os
import re
import sys
import unicodedata
from contextlib import suppress
from typing import Any, TextIO

from planner.errors import InputError

ASCII = {
    "×": "x", "·": "*", "µ": "u", "μ": "u", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≈": "~",
    "–": "-", "—": "-", "−": "-", "…": "...", "±": "+-", "²": "2", "³": "3", "½": "1/2", "°": "deg",
    "█": "#", "▏": "|", "▎": "|", "▍": "|", "▌": "#", "▋": "#", "▊": "#", "▉": "#", "░": ".",
    "‘": "'", "’": "'", "“": '"', "”": '"', "Δ": "D", "√": "sqrt", "∞": "inf",
    **dict.fromkeys("─━═╌", "-"), **dict.fromkeys("│┃║", "|"), **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
}  # fmt: skip
"""What stands for a character that a stream has no word for."""
CONTROLS = re.compile(
    # C0 but for tab and line feed, DEL and C1; marks that turn the direction of a line around or
    # have no width.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
MOST_MESSAGE = 2_000
"""Characters of a refusal."""
CLOSED_PIPE = 1
"""Status where whoever reads has gone; the command line library has the same."""


def plainly(error: UnicodeError) -> tuple[str, int]:
    """For `codecs`: what stands for the characters that cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    told = "".join(_plain(mark) for mark in error.object[error.start : error.end])
    return told, error.end


def _plain(mark: str) -> str:
    if mark in ASCII:
        return ASCII[mark]
    bare = unicodedata.normalize("NFKD", mark).encode("ascii", "ignore").decode()
    return bare or "?"


def visible(text: str) -> str:
    """A text without orders to a terminal: each is shown by its number."""
    return CONTROLS.sub(_number, text)


def _number(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def prepare() -> None:
    """Let both streams of this process say whatever comes, and find them open."""
    codecs.register_error("plainly", plainly)
    if sys.stderr is None:
        # Else what is printed there lands on standard output.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plainly")


def say(text: str) -> None:
    """An answer on standard output. An InputError says that it is closed or full."""
    if sys.stdout is None:
        raise InputError("standard output is closed; give the answer a place, such as a file")
    try:
        print(visible(text))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up(sys.stdout)
        raise InputError(f"standard output cannot be written: {error.strerror or error}") from None


def say_json(fields: Any) -> None:
    """An answer as JSON: what is no number there is null."""
    say(as_json(fields))


def answer(format: str, text: str, fields: Any) -> None:
    """The answer on standard output, and nothing else there."""
    if format == "json":
        say_json(fields)
    else:
        say(text)


def as_json(fields: Any) -> str:
    """JSON of nested plain data, in which infinities and what is not a number are null."""
    return json.dumps(_finite(fields), indent=1, allow_nan=False)


def _finite(fields: Any) -> Any:
    if isinstance(fields, float):
        return fields if math.isfinite(fields) else None
    if isinstance(fields, dict):
        return {name: _finite(value) for name, value in fields.items()}
    if isinstance(fields, list | tuple):
        return [_finite(value) for value in fields]
    return fields


def complain(message: str) -> None:
    """A sentence on standard error, as one line of a bounded length."""
    line = " ".join(visible(message).split())
    if len(line) > MOST_MESSAGE:
        line = f"{line[: MOST_MESSAGE - 1]}…"
    with suppress(OSError, ValueError):
        print(f"planner: {line}", file=sys.stderr, flush=True)


def nobody_reads() -> None:
    """After a pipe was closed: let Python find nothing to say at its end."""
    for stream in (sys.stdout, sys.stderr):
        _give_up(stream)


def _give_up(stream: TextIO | None) -> None:
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
