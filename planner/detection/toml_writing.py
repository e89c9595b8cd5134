"""Fields of a file of a machine → its text, laid out as the files of the catalogue are."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

UNPRINTED = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd]")
BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(fields: Mapping[str, Any], comment: Sequence[str] = ()) -> str:
    """The whole file; `comment` stands above it, a line each."""
    lines = [f"# {_printed(line)}" for line in comment]
    if comment:
        lines.append("")
    lines += _table_lines(fields, ())
    return "\n".join(lines).strip("\n") + "\n"


def _table_lines(fields: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Figures of a table first, tables in it after them: so TOML wants it."""
    lines = [
        f"{_key(key)} = {_value(value)}" for key, value in fields.items() if not _is_below(value)
    ]
    for key, value in fields.items():
        if not _is_below(value):
            continue
        name = ".".join(_key(part) for part in (*path, key))
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_table_lines(value, (*path, key))]
            continue
        for one in value:
            lines += ["", f"[[{name}]]", *_table_lines(one, (*path, key))]
    return lines


def _is_below(value: Any) -> bool:
    """Whether it is a table, or a list of tables, and no figure or list of figures."""
    if isinstance(value, Mapping):
        return "value" not in value
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(one, Mapping) and "value" not in one for one in value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        if any(isinstance(one, Mapping) for one in value):
            return "[\n" + "".join(f"  {_value(one)},\n" for one in value) + "]"
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return json.dumps(_printed(str(value)), ensure_ascii=False)


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else json.dumps(_printed(key), ensure_ascii=False)


def _printed(text: str) -> str:
    """On one line, without what a terminal takes for an order."""
    return UNPRINTED.sub("", " ".join(text.split()))
