"""YAML that strangers give: read safely, of bounded size, depth and repetition, by PyYAML (extra
`yaml`)."""

import re
from importlib import import_module
from typing import Any

from planner.errors import InputError, shortened

MOST_BYTES = 2 * 2**20
"""PyYAML takes some seconds for each."""
MOST_ALIASES = 20
"""Of a text: each may double what is written once, or more."""
MOST_DOCUMENTS = 100
MOST_DEPTH = 60
"""What a parser takes grows with its square."""
NESTED_MARKS = re.compile(rf"(?:[-?:][ \t]+){{{MOST_DEPTH},}}")
"""Marks of lists and keys before one another."""


def read_yaml(text: str, what: object, *, most_bytes: int = MOST_BYTES) -> list[Any]:
    """The documents of a text that should hold `what`, as plain values."""
    shown = shortened(what, 200)
    size = len(text.encode("utf-8", "replace"))
    if size > most_bytes:
        raise InputError(f"{shown} has {size:,} bytes; at most {most_bytes:,} are read")
    # Before it is parsed: parsing is what deep nesting makes slow.
    if _bracket_depth(text) > MOST_DEPTH or NESTED_MARKS.search(text):
        raise _too_deep(shown)
    yaml = _library(shown)
    try:
        _check_events(yaml, text, shown)
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}: " if where is not None else ""
        problem = getattr(error, "problem", None) or error
        raise InputError(f"{shown} is not valid YAML ({line}{shortened(problem)})") from None
    except InputError:
        raise
    except (ValueError, RecursionError, OverflowError, TypeError, AttributeError):
        # Numbers and dates that are none, and keys that cannot be any.
        raise InputError(
            f"{shown} is not valid YAML (a value that is none, or nested too deeply)"
        ) from None
    if len(documents) > MOST_DOCUMENTS:
        raise InputError(
            f"{shown} has {len(documents)} documents; at most {MOST_DOCUMENTS} are read"
        )
    return documents


def _too_deep(what: str) -> InputError:
    return InputError(f"{what} is not valid YAML: it is nested more than {MOST_DEPTH} deep")


def _check_events(yaml: Any, text: str, what: str) -> None:
    """Refuse what would grow in reading, before anything is made of it."""
    depth = 0
    aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > MOST_DEPTH:
            raise _too_deep(what)
        if aliases > MOST_ALIASES:
            raise InputError(
                f"{what} repeats parts of itself (by *name) more than {MOST_ALIASES} times; write"
                " them out"
            )


def _bracket_depth(text: str) -> int:
    """Those in quotes count too, and are as good as always closed."""
    depth = 0
    deepest = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth = max(0, depth - 1)
    return deepest


def _library(what: str) -> Any:
    try:
        return import_module("yaml")
    except ImportError:
        raise InputError(
            f"{what} is YAML, which needs PyYAML: pip install 'spread-planner[yaml]'"
        ) from None
