"""YAML that people give: read safely, of bounded size, by PyYAML (extra `manifests`)."""

import re
from importlib import import_module
from typing import Any

from planner.errors import InputError, shortened
from planner.launches.shell import MOST_BYTES

MOST_ALIASES = 20
"""Of a text: each may double what is written once, or more."""
ALIAS = re.compile(r"\*[^\s,\]}]")
MOST_DOCUMENTS = 100
MOST_DEPTH = 60
"""Of brackets in brackets, and of marks of lists and keys before one another: what a parser takes
grows with its square."""
NESTED_MARKS = re.compile(rf"(?:[-?:][ \t]+){{{MOST_DEPTH},}}")


def read_yaml(text: str, what: str) -> list[Any]:
    """The documents of a text that should hold `what`."""
    size = len(text.encode("utf-8", "replace"))
    if size > MOST_BYTES:
        raise InputError(f"{what} has {size:,} bytes; at most {MOST_BYTES:,} are read")
    if _depth(text) > MOST_DEPTH or NESTED_MARKS.search(text):
        raise InputError(f"{what} is not valid YAML: it is nested more than {MOST_DEPTH} deep")
    yaml = _library(what)
    try:
        # What may be one is counted before it is parsed, which takes far longer.
        aliases = len(ALIAS.findall(text))
        if aliases > MOST_ALIASES:
            aliases = sum(isinstance(one, yaml.AliasToken) for one in yaml.scan(text))
        if aliases > MOST_ALIASES:
            raise InputError(
                f"{what} repeats parts of itself {aliases} times (by *name); at most"
                f" {MOST_ALIASES} are read, so write them out"
            )
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f"line {where.line + 1}: " if where is not None else ""
        problem = getattr(error, "problem", None) or error
        raise InputError(f"{what} is not valid YAML ({line}{shortened(problem)})") from None
    except InputError:
        raise
    except (ValueError, RecursionError, OverflowError, TypeError, AttributeError):
        # Numbers and dates that are none, keys that cannot be any, and what is nested too deeply.
        raise InputError(f"{what} is not valid YAML") from None
    if len(documents) > MOST_DOCUMENTS:
        raise InputError(
            f"{what} has {len(documents)} documents; at most {MOST_DOCUMENTS} are read"
        )
    return documents


def _depth(text: str) -> int:
    """Of brackets; those in quotes count too, and are as good as always closed."""
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
            f"{what} is YAML, which needs PyYAML: pip install 'spread-planner[manifests]'"
        ) from None
