"""Containers of manifests: what they are told, by words and variables, and the chips that they get."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from planner.errors import InputError, shortened
from planner.launches.shell import Word

KUBERNETES = re.compile(r"\$\(([A-Za-z_]\w*)\)")
GPU = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/xe", "gpu.intel.com/i915", "habana.ai/gaudi")


def containers_in(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Wherever they stand."""
    if depth == 0:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "containers" and isinstance(inner, list):
                yield from (one for one in inner if isinstance(one, dict))
            else:
                yield from containers_in(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from containers_in(inner, depth - 1)


def words_of(container: dict[str, Any]) -> Iterator[str]:
    """Its command and what that is given."""
    for key in ("command", "args"):
        stated = container.get(key) or ()
        if isinstance(stated, str):
            yield stated
        elif isinstance(stated, list):
            yield from (plain_text(one) for one in stated)


def plain_text(value: Any) -> str:
    """As it was written, as far as YAML keeps that."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def environment_of(stated: Any) -> dict[str, str]:
    """Variables with values; what comes from secrets and the like has none here."""
    known: dict[str, str] = {}
    if isinstance(stated, dict):
        return {str(name): plain_text(value) for name, value in stated.items() if value is not None}
    for one in stated if isinstance(stated, list) else ():
        if isinstance(one, dict) and one.get("value") is not None:
            known[str(one.get("name"))] = plain_text(one["value"])
        elif isinstance(one, str) and "=" in one:
            name, _, value = one.partition("=")
            known[name] = value
    return known


def chips_of(container: dict[str, Any]) -> int | None:
    """The chips that it is given; None: nothing is said of any."""
    resources = container.get("resources")
    limits = resources.get("limits") if isinstance(resources, dict) else None
    if not isinstance(limits, dict):
        return None
    named = next((name for name in GPU if name in limits), None)
    return None if named is None else count_of(limits[named], named)


def count_of(stated: Any, name: str) -> int:
    """A number of things; what is not stated is one."""
    if stated is None:
        return 1
    text = str(stated)
    if isinstance(stated, bool) or not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise InputError(f"{name} must be a whole number of at least 1, not {shortened(text)!r}")
    return int(text)


def filled_in(text: str, known: Mapping[str, str]) -> Word:
    """With the variables of Kubernetes put in; what a shell puts in stays."""
    unknown: list[str] = []

    def value(match: "re.Match[str]") -> str:
        if match[1] in known:
            return known[match[1]]
        unknown.append(match[1])
        return f"${match[1]}"

    if "\n" in text or " " in text.strip():
        # A script, whose shell has the same variables.
        return Word(KUBERNETES.sub(lambda match: f"${{{match[1]}}}", text))
    return Word(KUBERNETES.sub(value, text), tuple(unknown))
