"""Opening what a user points at: sizes, encodings and syntax, each fault in one sentence."""

import json
import tomllib
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened

MOST_BYTES = 32 * 2**20
"""More than any description of a model or a machine; a file beyond is something else."""


def read_text(path: Path, what: str) -> str:
    """The text of a file that should hold `what`."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; {what} must be a file")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(
                f"{path} has {size / 2**20:.0f} MiB; {what} has less than {MOST_BYTES // 2**20}"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; {what} must be UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{shortened(str(path).replace(chr(0), '?'), 200)} cannot be read: {reason}"
        ) from None


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object."""
    text = read_text(path, what)
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON (line {error.lineno}: {error.msg}); is it truncated?"
        ) from None
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
