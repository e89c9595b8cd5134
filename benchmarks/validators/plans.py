"""Random plans that an engine can be started with, as commands and as what they must be read as.

python -m benchmarks.validators.plans vllm 500 > plans.jsonl
"""

import json
import shlex
import sys
from typing import Any

from planner.export.exporting import Export, to_engine
from planner.launches.launch import Launch
from planner.models.graph import ModelGraph
from tests.exported import runnable


def case_of(export: Export, graph: ModelGraph) -> dict[str, Any]:
    """One export: its processes, what a parser must say of each, and the model's shape."""
    (launch,) = export.launches
    return {
        "processes": [process_of(line) for line in export.commands],
        "launch": read_as(launch),
        "shape": {name: max(widths) for name, widths in graph.splits().items() if widths},
    }


def process_of(line: str) -> dict[str, Any]:
    """A command line in its words: variables, the program and its options."""
    words = shlex.split(line)
    settings = {}
    while "=" in words[0] and not words[0].startswith("-"):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    first = next(number for number, word in enumerate(words) if word.startswith("--"))
    return {"environment": settings, "program": words[:first], "options": words[first:]}


def read_as(launch: Launch) -> dict[str, Any]:
    """The launch as plain data."""
    return launch.model_dump(mode="json") | {"stage_ranks": launch.stage_ranks}


def main() -> None:
    """Write as many cases as are asked for, one a line."""
    engine, count = sys.argv[1], int(sys.argv[2])
    for result in runnable(engine, count, seed=7):
        print(json.dumps(case_of(to_engine(result, engine), result.graph)))


if __name__ == "__main__":
    main()
