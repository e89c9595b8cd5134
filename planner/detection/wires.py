"""What a link carries, by its kind and by the chips at its ends: seen where a description says it,
else from the table of kinds (`wires.toml`)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from planner.detection.origins import Fields, table
from planner.readers.machines.nvidia_products import TRANSFERS
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink
from planner.units import parse_quantity

LANES = 16


class Wire(NamedTuple):
    """Of one link: figures as they stand in a file, and what they are."""

    bandwidth: Fields
    latency: Fields

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return parse_quantity(self.bandwidth["value"], "bytes per second", "bandwidth")

    @property
    def latency_s(self) -> float:
        return parse_quantity(self.latency["value"], "seconds", "latency")


class Port(NamedTuple):
    """A chip's port to PCIe: what of it is reached, per direction."""

    bandwidth_bytes_per_s: float
    figure: Fields


def nvlink_count(architecture: str) -> int:
    """How many NVLinks a chip has."""
    kinds: Mapping[str, Any] = table("wires")["nvlink"]
    found: int = kinds.get(architecture, kinds["other"])["links"]
    return found


def bonded(link: SeenLink, architecture: str) -> Wire:
    """A bond of NVLinks or of xGMI between two chips, or from one to its switch."""
    kinds = table("wires")
    if link.kind == "xgmi":
        one, latency = kinds["xgmi"]["bandwidth"], kinds["xgmi"]["latency"]
    else:
        by_chip: Mapping[str, Any] = kinds["nvlink"]
        one = by_chip.get(architecture, by_chip["other"])["bandwidth"]
        latency = kinds["nvlink_step"]["latency"]
    if link.bandwidth_bytes_per_s is not None:
        return Wire({**_gigabytes(link.bandwidth_bytes_per_s), **_seen_as(link)}, latency)
    each = parse_quantity(one["value"], "bytes per second", "bandwidth")
    note = f"{link.count} × {one['value']}; {one['note']}"
    bandwidth = {**one, **_gigabytes(each * link.count), "note": note}
    return Wire(bandwidth, latency)


def _seen_as(link: SeenLink) -> Fields:
    return {"source": f"as described: {link.text}", "confidence": "B"}


def port_of(device: SeenDevice, architecture: str) -> Port:
    """A chip's port, as its slot has it where that is seen, else with 16 lanes."""
    kinds = table("wires")
    share = kinds["port"]["share"]
    if device.port_bytes_per_s is not None:
        raw = device.port_bytes_per_s
        note = f"{share['value']} of the {raw / 1e9:.3g} GB/s that its slot has"
    else:
        generation: int = kinds["pcie"].get(architecture, kinds["pcie"]["other"])
        raw = TRANSFERS[generation] / 8 * LANES
        note = f"PCIe {generation} x16: {share['value']} of {raw / 1e9:.3g} GB/s; the slot was not seen"
    reached = raw * share["value"]
    return Port(reached, {**share, **_gigabytes(reached), "note": note})


def way(kind: LinkKind, port: Port) -> Wire:
    """A message over PCIe from one chip to another."""
    known = table("wires")["way"][kind]
    shared = known.get("bandwidth")
    latency = known["latency"]
    if shared is None:
        return Wire(port.figure, latency)
    most = parse_quantity(shared["value"], "bytes per second", "bandwidth")
    return Wire(shared if most < port.bandwidth_bytes_per_s else port.figure, latency)


def uplink(kind: LinkKind, port: Port) -> Wire:
    """From what joins chips so to what joins those: half of what the longer way takes more than the
    way to a switch is between; `kind` is that of the longer way."""
    wire = way(kind, port)
    return Wire(wire.bandwidth, half_latency(kind, wire.latency, less="pix"))


def half_latency(kind: LinkKind, figure: Fields, *, less: LinkKind | None = None) -> Fields:
    """Half of a way, or of what it takes more than another one."""
    ways = table("wires")["way"]
    whole_s = parse_quantity(figure["value"], "seconds", "latency")
    if less is not None:
        whole_s -= parse_quantity(ways[less]["latency"]["value"], "seconds", "latency")
    note = f"half of a way ({kind.upper()}); {figure.get('note', '')}"
    return {**figure, "value": f"{max(0.0, whole_s) / 2 * 1e6:.4g} us", "note": note}


def network(ports: int = 1) -> Wire:
    """Between hosts, where nothing is known of it; through so many ports side by side."""
    known = table("wires")["network"]
    each = parse_quantity(known["bandwidth"]["value"], "bytes per second", "bandwidth")
    return Wire({**known["bandwidth"], **_gigabytes(each * ports)}, known["latency"])


def _gigabytes(bytes_per_s: float) -> Fields:
    return {"value": f"{bytes_per_s / 1e9:.6g} GB/s"}
