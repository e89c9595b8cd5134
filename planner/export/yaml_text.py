"""YAML from plain data, such that every reader of YAML 1.1 and 1.2 sees the same.

Every text is in double quotes, as JSON has it, so that `no`, `1e3` and `0o7` stay what they are; keys
stand bare where no reader takes them for something else.
"""

import json
import re
from collections.abc import Mapping, Sequence

Data = Mapping[str, "Data"] | Sequence["Data"] | str | int | float | bool | None
"""What can be written."""
BARE = re.compile(r"[A-Za-z_][\w./-]*\Z")
HIDDEN = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
"""Characters that some readers refuse, or take for the end of a line."""
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
"""Keys that some readers take for values."""


def yaml_of(data: Data) -> str:
    """A document, ended by a line break."""
    return "\n".join(_lines(data)) + "\n"


def documents_of(*documents: Data) -> str:
    """Several documents in one file."""
    return "---\n".join(yaml_of(one) for one in documents)


def _lines(data: Data) -> list[str]:
    if isinstance(data, Mapping) and data:
        return [line for key, value in data.items() for line in _entry(f"{_key(key)}:", value)]
    if isinstance(data, Sequence) and not isinstance(data, str) and data:
        return [line for value in data for line in _item(value)]
    return [_scalar(data)]


def _entry(head: str, value: Data) -> list[str]:
    """A key, and its value beside it or below."""
    if _is_leaf(value):
        return [f"{head} {_scalar(value)}"]
    return [head, *(f"  {line}" for line in _lines(value))]


def _item(value: Data) -> list[str]:
    first, *rest = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _is_leaf(value: Data) -> bool:
    return not value or isinstance(value, str) or not isinstance(value, Mapping | Sequence)


def _scalar(value: Data) -> str:
    return HIDDEN.sub(lambda one: f"\\u{ord(one[0]):04x}", json.dumps(value, ensure_ascii=False))


def _key(key: str) -> str:
    return key if BARE.match(key) and key.lower() not in WORDS else _scalar(key)
