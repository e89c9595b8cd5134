"""Operator graphs from JSON of the kind that Tarnawski et al. (NeurIPS 2020) published.

Top: `maxSizePerFPGA`, `maxFPGAs`, `maxCPUs`, `nodes`, `edges`. Node: `id`, `fpgaLatency`,
`cpuLatency`, `supportedOnFpga`, `isBackwardNode`, `colorClass`, `size`. Edge: `sourceId`, `destId`,
`cost`, equal on all edges out of a node. Accelerators become a0, a1 and so on, processors c0, c1
and so on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, told
from planner.guards import guarded
from planner.models.operator_graph import DeviceClass, Operator, OperatorGraph
from planner.readers.files import OPERATOR_BYTES, read_json

Fields = Mapping[str, Any]


@guarded
def load_operators(path: str | Path) -> OperatorGraph:
    """The operators, edges and devices of a file; operators are named by their ids.

    InputError: a field that is missing or wrong, by its name.
    """
    fields = read_json(Path(path), "an operator graph", most_bytes=OPERATOR_BYTES)
    nodes = _rows(fields, "nodes")
    edges = _rows(fields, "edges")
    ends, costs = _wired(edges, _places_of(nodes))
    operators = []
    for number, node in enumerate(nodes):
        operators.append(_operator(node, f"nodes[{number}]", costs.get(number, 0.0)))
    accelerators = DeviceClass(
        name="a",
        count=_whole(fields, "maxFPGAs", "the file"),
        memory_bytes=_figure(fields, "maxSizePerFPGA", "the file"),
    )
    processors = DeviceClass(
        name="c",
        count=_whole(fields, "maxCPUs", "the file"),
        pays_transfers=False,
    )
    return OperatorGraph(
        operators=tuple(operators),
        edges=tuple(ends),
        devices=(accelerators, processors),
    )


def _places_of(nodes: Sequence[Fields]) -> dict[int, int]:
    """Of each node in the file, by its id."""
    places: dict[int, int] = {}
    for number, node in enumerate(nodes):
        places[_whole(node, "id", f"nodes[{number}]")] = number
    if len(places) < len(nodes):
        raise InputError("nodes: every id must occur once")
    return places


def _wired(
    edges: Sequence[Fields], places: dict[int, int]
) -> tuple[list[tuple[int, int]], dict[int, float]]:
    """Both ends of each edge, and for each node with edges out of it what its output costs."""
    ends = []
    costs: dict[int, float] = {}
    for number, edge in enumerate(edges):
        where = f"edges[{number}]"
        tail = _whole(edge, "sourceId", where)
        head = _whole(edge, "destId", where)
        if tail not in places or head not in places:
            raise InputError(f"{where} joins {tail} and {head}; both must be ids of nodes")
        # An output moves once, whoever reads it, so that it has one cost.
        cost = _figure(edge, "cost", where)
        if abs(costs.setdefault(places[tail], cost) - cost) > 1e-6:
            raise InputError(f"{where}.cost must equal that of the other edges out of node {tail}")
        ends.append((places[tail], places[head]))
    return ends, costs


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
        raise InputError(f"{where}: {name} must be a number of at least 0, not {told(value, 40)}")
    return float(value)


def _whole(fields: Fields, name: str, where: str) -> int:
    value = fields.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= 1e15
        or value != int(value)
    ):
        raise InputError(f"{where}: {name} must be a whole number, not {told(value, 40)}")
    return int(value)
