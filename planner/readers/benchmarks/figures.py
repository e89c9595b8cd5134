"""Figures in what tools write: present or not, numbers or refused."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.benchmarks.measured import Spread

MOST_DEPTH = 8
DTYPE_IN_NAME = re.compile(r"(?<![a-z0-9])(nvfp4|mxfp4|fp8|int8|int4|awq|gptq)(?![a-z0-9])")
STORED_AS = {"awq": "int4", "gptq": "int4"}


def number_of(fields: Mapping[str, Any], key: str, path: Path) -> float | None:
    """A figure that is not negative; None where it is not there, or 0 of what cannot be 0."""
    given = fields.get(key)
    if given is None or given == "":
        return None
    if isinstance(given, str):
        given = as_number(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1e15:
        raise InputError(
            f"{path}: {key} must be a number of at least 0, not {shortened(repr(fields[key]))}"
        )
    return float(given)


def positive_of(fields: Mapping[str, Any], key: str, path: Path) -> float | None:
    """The same, where 0 says that nothing was measured."""
    return number_of(fields, key, path) or None


def count_of(fields: Mapping[str, Any], key: str, path: Path) -> int | None:
    """A whole number of at least 1."""
    found = positive_of(fields, key, path)
    return None if found is None else round(found) or None


def as_number(text: str) -> float:
    """A number as tools print it, with commas between thousands; not a number: of anything else."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.nan


def word_of(fields: Mapping[str, Any], key: str) -> str:
    """A text; "" where there is none."""
    given = fields.get(key)
    return _whole(given) if isinstance(given, str) else ""


def _whole(text: str) -> str:
    """Of a text, as much as a name has; half a character, which JSON may hold, becomes a mark."""
    return text[:1000].encode("utf-8", "replace").decode("utf-8")


def part_of(fields: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A table within tables; an empty one where it is not there."""
    found: Any = fields
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def found_in(fields: object, keys: tuple[str, ...]) -> Iterator[Any]:
    """Every value that has one of these names, at any depth; what is about a warm-up is left out.

    Settings of a run move about from version to version, and keep their names.
    """
    yield from _found(fields, keys, MOST_DEPTH)


def _found(fields: object, keys: tuple[str, ...], depth: int) -> Iterator[Any]:
    if depth == 0:
        return
    if isinstance(fields, list | tuple):
        for one in fields[:100]:
            yield from _found(one, keys, depth - 1)
    if not isinstance(fields, Mapping) or _is_warmup(fields.get("name")):
        return
    for name, value in fields.items():
        if name in keys and value is not None:
            yield value
        elif not _is_warmup(name):
            yield from _found(value, keys, depth - 1)


def _is_warmup(name: object) -> bool:
    return isinstance(name, str) and "warm" in name.lower()


def first_count(fields: object, *keys: str) -> int | None:
    """The first whole number of that name; tools write one alone as a list of one too."""
    for found in found_in(fields, keys):
        one = found[0] if isinstance(found, list) and len(found) == 1 else found
        if isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= 10**7:
            return one
    return None


def first_rate(fields: object, *keys: str) -> float | None:
    """The first rate of that name."""
    for found in found_in(fields, keys):
        one = found[0] if isinstance(found, list) and len(found) == 1 else found
        if isinstance(one, int | float) and not isinstance(one, bool) and 0 < one < 1e9:
            return float(one)
    return None


def first_name(fields: object, *keys: str) -> str:
    """The first text of that name, or the name of the first of a list."""
    for found in found_in(fields, keys):
        one = found[0] if isinstance(found, list) and found else found
        if isinstance(one, str) and one:
            return _whole(one)
    return ""


def spread_of(
    fields: Mapping[str, Any], names: Mapping[str, str], path: Path, *, unit_s: float
) -> Spread:
    """Times, each field of a spread by its name in the file, which counts in such units."""
    found = {}
    for name, key in names.items():
        value = number_of(fields, key, path)
        if value is not None:
            found[name] = value * unit_s
    return Spread(**found)


def stored_as(model: str) -> str:
    """The format that a model's name says its weights are in, as the catalogue calls it; "" where
    it says none."""
    found = DTYPE_IN_NAME.search(model.lower())
    return STORED_AS.get(found[1], found[1]) if found else ""
