"""Operator graphs from JSON of the kind that Tarnawski et al. (NeurIPS 2020) published.

Top: `maxSizePerFPGA`, `maxFPGAs`, `maxCPUs`, `nodes`, `edges`. Node: `id`, `fpgaLatency`,
`cpuLatency`, `supportedOnFpga`, `isBackwardNode`, `colorClass`, `size`. Edge: `sourceId`, `destId`,
`cost`, equal on all edges out of a node. Accelerators become a0, a1 and so on, processors c0, c1
and so on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.models.operator_graph import DeviceClass, Operator, OperatorGraph
from planner.readers.files import read_json

Fields = Mapping[str, Any]


def load_operators(path: str | Path) -> OperatorGraph:
    """The operators, edges and devices of a file; operators are named by their ids."""
    fields = read_json(Path(path), "an operator graph")
    nodes, edges = (_rows(fields, name) for name in ("nodes", "edges"))
    ids = [_whole(node, "id", f"nodes[{number}]") for number, node in enumerate(nodes)]
    place = {name: number for number, name in enumerate(ids)}
    if len(place) < len(ids):
        raise InputError("nodes: every id must be there once")
    costs: dict[int, float] = {}
    ends = []
    for number, edge in enumerate(edges):
        tail, head = (_whole(edge, end, f"edges[{number}]") for end in ("sourceId", "destId"))
        if tail not in place or head not in place:
            raise InputError(f"edges[{number}] joins {tail} and {head}; both must be ids of nodes")
        cost = _figure(edge, "cost", f"edges[{number}]")
        if abs(costs.setdefault(place[tail], cost) - cost) > 1e-6:
            raise InputError(
                f"edges[{number}].cost must equal that of the other edges out of node {tail}"
            )
        ends.append((place[tail], place[head]))
    return OperatorGraph(
        operators=tuple(
            _operator(node, f"nodes[{number}]", costs.get(number, 0.0))
            for number, node in enumerate(nodes)
        ),
        edges=tuple(ends),
        devices=(
            DeviceClass(
                name="a",
                count=_whole(fields, "maxFPGAs", "the file"),
                memory_bytes=_figure(fields, "maxSizePerFPGA", "the file"),
            ),
            DeviceClass(
                name="c", count=_whole(fields, "maxCPUs", "the file"), pays_transfers=False
            ),
        ),
    )


def _operator(node: Fields, where: str, transfer: float) -> Operator:
    supported = bool(node.get("supportedOnFpga", True))
    return Operator(
        name=str(node["id"]),
        times_s=(
            _figure(node, "fpgaLatency", where) if supported else None,
            _figure(node, "cpuLatency", where),
        ),
        transfer_s=transfer,
        size_bytes=_figure(node, "size", where) if "size" in node else 0.0,
        colour=_whole(node, "colorClass", where) if node.get("colorClass") is not None else None,
        backward=bool(node.get("isBackwardNode", False)),
    )


def _rows(fields: Fields, name: str) -> Sequence[Fields]:
    rows = fields.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{name} must be a list of objects; is the file an operator graph?")
    return rows


def _figure(fields: Fields, name: str, where: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e18:
        raise InputError(
            f"{where}: {name} must be a number of at least 0, not {shortened(repr(value), 40)}"
        )
    return float(value)


def _whole(fields: Fields, name: str, where: str) -> int:
    value = fields.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= 1e15
        or value != int(value)
    ):
        raise InputError(
            f"{where}: {name} must be a whole number, not {shortened(repr(value), 40)}"
        )
    return int(value)
