"""Clusters of unlike nodes from JSON, for stages of consecutive layers: what `benchmarks.flow`
maximises.

Top: `layers`, `nodes` (how many), `node_types` (each with its `nodes` and
`tokens_per_s_by_layers`) and `links`: `every_ordered_pair_tokens_per_s`,
`source_and_sink_tokens_per_s`, and `pairs` of those that differ, each [sender, receiver, tokens per
second], where "source" and "sink" are ends too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flow import FlowProblem
from planner.errors import InputError, shortened
from planner.readers.files import read_json

MOST_NODES = 10_000


def read_cluster(path: str | Path) -> FlowProblem:
    """The cluster of a file."""
    fields = read_json(Path(path), "a cluster")
    layers, count = (_whole(fields.get(name), name) for name in ("layers", "nodes"))
    types = fields.get("node_types")
    if not isinstance(types, list) or not all(isinstance(kind, dict) for kind in types):
        raise InputError("node_types must be a list of objects; is the file a cluster?")
    rows = _rows(types, count)
    longest = min(layers, max((most for row in rows.values() for most in row), default=1))
    rates = np.zeros((count, longest + 1))
    for node, row in rows.items():
        for held, rate in row.items():
            if held <= longest:
                rates[node, held] = rate
    return FlowProblem(layers, rates, *_links(fields.get("links"), count))


def _rows(types: list[dict[str, Any]], count: int) -> dict[int, dict[int, float]]:
    """Of each node what it passes, by the layers that it holds."""
    rows: dict[int, dict[int, float]] = {}
    for number, kind in enumerate(types):
        rates = kind.get("tokens_per_s_by_layers")
        if not isinstance(rates, dict):
            raise InputError(
                f"node_types[{number}].tokens_per_s_by_layers must be an object of layers and"
                " tokens per second"
            )
        row = {}
        for text, rate in rates.items():
            row[_layers(text, number)] = _rate(rate, f"node_types[{number}]")
        nodes = kind.get("nodes")
        for node in nodes if isinstance(nodes, list) else ():
            is_number = isinstance(node, int) and not isinstance(node, bool)
            if not is_number or not 0 <= node < count or node in rows:
                raise InputError(
                    f"node_types[{number}].nodes must name each of 0 to {count - 1} once,"
                    f" not {shortened(node)}"
                )
            rows[node] = row
    if len(rows) < count:
        raise InputError(f"node_types must say of each of the {count} nodes what it is")
    return rows


def _links(
    links: Any, count: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if not isinstance(links, Mapping):
        raise InputError(
            "links must be an object with every_ordered_pair_tokens_per_s and"
            " source_and_sink_tokens_per_s"
        )
    table = np.zeros((count + 2, count + 2))
    table[:count, :count] = _rate(links.get("every_ordered_pair_tokens_per_s", 0.0), "links")
    outer = _rate(links.get("source_and_sink_tokens_per_s"), "links")
    table[count, :count] = outer
    table[:count, count + 1] = outer
    ends: dict[object, int] = {number: number for number in range(count)}
    ends |= {"source": count, "sink": count + 1}
    pairs = links.get("pairs", [])
    if not isinstance(pairs, list):
        raise InputError("links.pairs must be a list of [sender, receiver, tokens per second]")
    for number, pair in enumerate(pairs):
        is_three = isinstance(pair, list) and len(pair) == 3
        if not is_three or not all(_is_end(end, ends) for end in pair[:2]):
            raise InputError(
                f"links.pairs[{number}] must be [sender, receiver, tokens per second] of nodes 0 to"
                f" {count - 1}"
            )
        table[ends[pair[0]], ends[pair[1]]] = _rate(pair[2], f"links.pairs[{number}]")
    np.fill_diagonal(table, 0.0)
    return table[:count, :count], table[count, :count], table[:count, count + 1]


def _is_end(end: object, ends: Mapping[object, int]) -> bool:
    return isinstance(end, int | str) and end in ends


def _layers(text: str, number: int) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise InputError(
            f"node_types[{number}].tokens_per_s_by_layers has {shortened(text, 20)!r};"
            " it must be a number of layers"
        )
    return int(text)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_NODES:
        raise InputError(
            f"{name} must be a whole number from 1 to {MOST_NODES},"
            f" not {shortened(repr(value), 40)}"
        )
    return value


def _rate(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e15:
        raise InputError(
            f"{where}: tokens per second must be a number of at least 0,"
            f" not {shortened(repr(value), 40)}"
        )
    return float(value)
