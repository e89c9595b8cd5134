"""What a file may name: entries of the catalogue, and files below its own folder.

Whoever wrote the file is often not who reads it, and may not choose what else is opened on the
reader's machine. So names that are paths are held against the file's folder when it is read, and
are whole paths from then on.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.readers.files import file_below

ONE = ("software", "kernels_of", "topology", "model", "plan_file")
"""Keys under which one name stands."""
SEVERAL = ("collectives_of", "models", "topologies")
"""Keys under which a list of names stands."""
SUFFIXES = (".toml", ".json", ".gguf", ".onnx", ".safetensors")
COUNT = re.compile(r":\d+")
"""Of chips, after the name of a machine."""
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def with_names(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The fields of a file in that folder, each path in them whole; an InputError says which leads
    out of the folder."""
    return {key: _placed(key, value, folder) for key, value in fields.items()}


def _placed(key: str, value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return with_names(value, folder)
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return [_placed(key, one, folder) for one in value]
    if key in ONE:
        return _named(key, value, folder)
    if key in SEVERAL and isinstance(value, list):
        return [_named(key, one, folder) for one in value]
    return value


def _named(key: str, value: Any, folder: Path) -> Any:
    """A name as it is; a path whole, with the count of chips that stands behind it."""
    if not isinstance(value, str):
        return value
    count = COUNT.search(value, max(0, value.rfind(":")))
    name = value[: count.start()] if count and count.end() == len(value) else value
    if not ("/" in name or "\\" in name or name.lower().endswith(SUFFIXES)):
        return value
    if key in ("model", "models") and HUB_NAME.fullmatch(name) and not (folder / name).exists():
        return value  # an owner and a name, as on the hub
    return str(file_below(name, folder, key).absolute()) + value[len(name) :]
