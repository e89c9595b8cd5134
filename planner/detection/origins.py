"""Where the figures of a machine at hand come from: a driver on a day, or the catalogue, whose short
names of sources a file explains in its first lines, so that it stands alone."""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from planner.catalogue import sources
from planner.readers.files import read_toml

Fields = dict[str, Any]


def today() -> str:
    """The date, as a file states it."""
    return datetime.date.today().isoformat()


def figure(
    value: str | float, source: str, confidence: str, *, note: str = "", within: float | None = None
) -> Fields:
    """One figure of a file."""
    made: Fields = {"value": value, "source": source, "confidence": confidence}
    if within is not None:
        made["within"] = within
    if note:
        made["note"] = note
    return made


def cited(fields: Any) -> list[str]:
    """Short names of sources that the figures of a file cite, sorted."""
    found: set[str] = set()
    todo = [fields]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            todo += one.values()
            if isinstance(one.get("source"), str):
                found.add(one["source"])
        elif isinstance(one, list | tuple):
            todo += one
    return sorted(found & sources().keys())


def meanings(fields: Any) -> list[str]:
    """What those short names stand for, a line each."""
    return [f"{name}: {sources()[name]}" for name in cited(fields)]


@lru_cache
def table(name: str) -> Mapping[str, Any]:
    """A table that stands beside this module."""
    with resources.as_file(resources.files("planner.detection") / f"{name}.toml") as path:
        return read_toml(path, "a table of what is known of machines")
