"""The published JSON schemas (draft 2020-12) of the nouns that files hold; `make schemas` writes
them beside this file.

Knows those nouns; nothing of how they are read.
"""

import json
from pathlib import Path
from typing import Any

from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.records import Record
from planner.workload import Workload

PUBLISHED: dict[str, type[Record]] = {
    "model-graph": ModelGraph,
    "topology": Topology,
    "workload": Workload,
    "plan": Plan,
}


def schema_text(name: str) -> str:
    """The schema of one of the published nouns, as its file holds it."""
    schema = _unfolded(PUBLISHED[name].json_schema())
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _unfolded(part: Any) -> Any:
    """With each paragraph of a description on one line: where ours break is no one else's
    business."""
    if isinstance(part, list):
        return [_unfolded(each) for each in part]
    if not isinstance(part, dict):
        return part
    unfolded = {key: _unfolded(value) for key, value in part.items()}
    if isinstance(part.get("description"), str):
        paragraphs = part["description"].split("\n\n")
        unfolded["description"] = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    return unfolded


def schema_path(name: str) -> Path:
    """Where that file is."""
    return Path(__file__).parent / f"{name}.schema.json"


def write_schemas() -> None:
    """Write all of them again, from the code."""
    for name in PUBLISHED:
        schema_path(name).write_text(schema_text(name), encoding="utf-8")
