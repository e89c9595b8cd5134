"""Hosts below switches → fabrics above those of a host: one level of the fabric for each level of
switches, as wide as its widest switch."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from planner.detection.origins import Fields, figure
from planner.detection.wires import network
from planner.readers.machines.seen import SeenMachine
from planner.units import parse_quantity

OVER = "OURS"
"""Short for our own assumption, as in the catalogue."""


def tree_fabrics(
    seen: SeenMachine, node: Mapping[str, Any], chips: int
) -> tuple[list[Fields], list[Fields], list[str]]:
    """Fabrics inside a host, fabrics between hosts, and what is to be said of them."""
    inner = _inside(node, chips)
    beyond = list(node.get("fabric", ()))[len(inner) :]
    domains = {link.between[1] for link in seen.links if link.kind == "nvlink"}
    above = {
        link.between[0]: link.between[1]
        for link in seen.links
        if link.kind in ("network", "nvlink")
    }
    hosts = [device.name for device in seen.of_kind("cpu")]
    levels: list[Counter[str]] = []
    at = {host: host for host in hosts}
    while any(below in above for below in at.values()):
        found = Counter(above[below] for below in set(at.values()) if below in above)
        levels.append(found)
        at = {host: above.get(below, below) for host, below in at.items()}

    outer: list[Fields] = []
    reached = 1
    for number, level in enumerate(levels):
        widest = max(level.values())
        if widest < 2:
            continue
        reached *= widest
        if not outer and domains >= level.keys() and _spans(node, inner, chips * widest):
            inner = [{**inner[0], "units": chips * widest}]
            continue
        outer.append(_level(number, widest, beyond))
    remarks = ["the bandwidth between hosts was not seen: it is taken from the catalogue's machine"]
    tops = len(set(at.values()))
    if reached < len(hosts) or tops > 1:
        # Without a switch above all, jobs cannot span them; blocks are joined by whatever is there.
        outer.append(_level(len(levels), -(-len(hosts) // reached), beyond))
        remarks.append(
            f"no switch joins the {tops} parts of the cluster: the level that joins them is a guess"
        )
    return inner, outer, remarks


def _inside(node: Mapping[str, Any], chips: int) -> list[Fields]:
    """The fabrics of a machine up to as many chips as it has."""
    found: list[Fields] = []
    joined = 1
    for fabric in node.get("fabric", ()):
        if joined >= chips:
            break
        found.append({**fabric, "units": min(fabric["units"], -(-chips // joined))})
        joined *= fabric["units"]
    return found


def _spans(node: Mapping[str, Any], inner: list[Fields], chips: int) -> bool:
    """Whether the innermost fabric of the machine may join the chips of several hosts, as that of a
    rack does."""
    first = next(iter(node.get("fabric", ())), None)
    return first is not None and len(inner) == 1 and bool(first["units"] >= chips)


def _level(number: int, units: int, beyond: list[Fields]) -> Fields:
    """One level of switches."""
    usual = beyond[0] if beyond else None
    wire = network()
    bandwidth = usual["bandwidth"] if usual else wire.bandwidth
    latency = usual["latency"] if usual else wire.latency
    if number:
        longer = figure("1 us", OVER, "guess", within=2, note="a switch more on the way, and back")
        latency = longer if usual is None else {**longer, "value": _more(latency)}
    return {
        "name": f"switches, level {number + 1}",
        "shape": "switch",
        "units": max(2, units),
        "bandwidth": bandwidth,
        "latency": latency,
    }


def _more(latency: Mapping[str, Any]) -> str:
    text = latency["value"] if isinstance(latency, Mapping) else latency
    return f"{parse_quantity(text, 'seconds', 'latency') * 1e6 + 1:.4g} us"
