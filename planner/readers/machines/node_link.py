"""A graph as networkx writes it (`node_link_data`): nodes with a kind, and edges with bandwidth and
latency; what `Topology.to_networkx` draws comes back so."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.machines.seen import DeviceKind, SeenDevice, SeenLink, SeenMachine
from planner.units import parse_quantity

FORMAT = "networkx node-link JSON"
KINDS: dict[str, DeviceKind] = {
    "chip": "gpu", "gpu": "gpu", "device": "gpu", "accelerator": "gpu", "switch": "switch",
    "nic": "nic", "cpu": "cpu",
}  # fmt: skip
BANDWIDTH = ("bandwidth_bytes_per_s", "bandwidth")
LATENCY = ("latency_s", "latency")
PRODUCT = ("chip", "product", "name")
MOST_NODES = 10_000
MOST_EDGES = 100_000


def is_graph(fields: Mapping[str, Any]) -> bool:
    """Whether an object has nodes and edges, which older releases of networkx call links."""
    return "nodes" in fields and ("links" in fields or "edges" in fields)


def read_graph(fields: Mapping[str, Any], path: Path) -> SeenMachine:
    """The machine that a graph draws."""
    nodes = _tables(fields, "nodes", MOST_NODES, path)
    key = "edges" if "edges" in fields else "links"
    edges = _tables(fields, key, MOST_EDGES, path)
    names = [_name(node.get("id"), f"{path}: nodes[{at}].id") for at, node in enumerate(nodes)]
    devices = [_device(name, node) for name, node in zip(names, nodes, strict=True)]
    links: dict[frozenset[str], SeenLink] = {}
    for at, edge in enumerate(edges):
        link = _link(edge, f"{path}: {key}[{at}]")
        # One direction and the other of a directed graph are one link.
        links.setdefault(frozenset(link.between), link)
    graph = fields.get("graph")
    name = graph.get("name", "") if isinstance(graph, dict) else ""
    return SeenMachine(
        format=FORMAT,
        name=str(name)[:60],
        devices=tuple(devices),
        links=tuple(links.values()),
    )


def _tables(
    fields: Mapping[str, Any], key: str, most: int, path: Path
) -> Sequence[Mapping[str, Any]]:
    found = fields[key]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{path}: {key} must be a list of objects")
    if len(found) > most:
        raise InputError(f"{path}: {key} has {len(found)} entries; at most {most} are read")
    return found


def _name(given: object, field: str) -> str:
    if not isinstance(given, str | int) or isinstance(given, bool) or not str(given)[:200].strip():
        raise InputError(f"{field} must be a number or a name, not {shortened(repr(given))}")
    return str(given)[:200]


def _device(name: str, node: Mapping[str, Any]) -> SeenDevice:
    kind = KINDS.get(str(node.get("kind", node.get("type", "chip"))).lower(), "switch")
    product = next((node[key] for key in PRODUCT if isinstance(node.get(key), str)), "")
    memory = node.get("memory_bytes")
    is_number = isinstance(memory, int | float) and not isinstance(memory, bool)
    return SeenDevice.from_fields(
        {
            "name": name,
            "kind": kind,
            "product": product[:80],
            "memory_bytes": memory if is_number else None,
            "text": f"node {name}"[:80],
        }
    )


def _link(edge: Mapping[str, Any], where: str) -> SeenLink:
    ends = tuple(_name(edge.get(key), f"{where}.{key}") for key in ("source", "target"))
    if ends[0] == ends[1]:
        raise InputError(f"{where} joins {shortened(ends[0])} to itself; remove it")
    return SeenLink.from_fields(
        {
            "between": ends,
            "kind": "network",
            "bandwidth_bytes_per_s": _figure(edge, BANDWIDTH, "bytes per second", where),
            "latency_s": _figure(edge, LATENCY, "seconds", where),
            "text": str(edge.get("fabric", "edge"))[:80],
        }
    )


def _figure(
    edge: Mapping[str, Any], keys: tuple[str, str], dimension: str, where: str
) -> float | None:
    """A number in SI, or text with a unit."""
    bare, spoken = keys
    given = edge.get(bare)
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise InputError(f"{where}.{bare} must be a number, not {shortened(repr(given))}")
        return float(given) if abs(given) < 1e300 else 1e300
    if spoken not in edge:
        return None
    return parse_quantity(edge[spoken], dimension, f"{where}.{spoken}")
