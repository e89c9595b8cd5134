"""The published JSON schemas (draft 2020-12) of the nouns that files hold; `make schemas` writes
them beside this file.

Knows those nouns; nothing of how they are read.
"""

import json
from pathlib import Path

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
    return json.dumps(PUBLISHED[name].json_schema(), indent=1, ensure_ascii=False) + "\n"


def schema_path(name: str) -> Path:
    """Where that file is."""
    return Path(__file__).parent / f"{name}.schema.json"


def write_schemas() -> None:
    """Write all of them again, from the code."""
    for name in PUBLISHED:
        schema_path(name).write_text(schema_text(name), encoding="utf-8")
