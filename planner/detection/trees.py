"""The tree of PCIe below which the GPUs of a computer hang, put together from how far it is between
each two of them."""

from collections.abc import Mapping, Sequence

from planner.detection.origins import Fields
from planner.detection.wires import Port, half_latency, uplink, way
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink

Pair = frozenset[str]
STEPS: tuple[tuple[LinkKind, str], ...] = (
    ("pix", "PCIe switch"),
    ("pxb", "PCIe switches"),
    ("phb", "host bridge"),
    ("node", "NUMA node"),
    ("sys", "between sockets"),
)
"""What joins the chips of each kind of way, the nearest first."""


def tree_of(
    gpus: Sequence[SeenDevice], links: Mapping[Pair, SeenLink], ports: Sequence[Port]
) -> list[Fields]:
    """Links of the tree, chips numbered as they stand."""
    kinds = _kinds(gpus, links)
    groups: list[tuple[int, ...]] = [(number,) for number in range(len(gpus))]
    tops: dict[tuple[int, ...], int | str] = {group: group[0] for group in groups}
    made: list[Fields] = []
    for kind, label in STEPS:
        merged = _merged(groups, kinds, kind)
        for number, parts in enumerate(parts for parts in merged if len(parts) > 1):
            hub = f"{label} {number}"
            made += [_branch(tops[part], hub, kind, [ports[one] for one in part]) for part in parts]
            tops[_group(parts)] = hub
        groups = [_group(parts) for parts in merged]
    return made


def _kinds(
    gpus: Sequence[SeenDevice], links: Mapping[Pair, SeenLink]
) -> dict[tuple[int, int], LinkKind]:
    """How far apart each two are over PCIe. Where NVLink hides it their NUMA nodes say it, as far as
    these are known."""
    found: dict[tuple[int, int], LinkKind] = {}
    known = {kind for kind, _ in STEPS}
    for one, here in enumerate(gpus):
        for other, there in enumerate(gpus[one + 1 :], one + 1):
            link = links.get(Pair((here.name, there.name)))
            alike = here.numa is not None and here.numa == there.numa
            hidden: LinkKind = "node" if alike else "sys"
            found[one, other] = link.kind if link and link.kind in known else hidden
    return found


def _merged(
    groups: Sequence[tuple[int, ...]], kinds: Mapping[tuple[int, int], LinkKind], kind: LinkKind
) -> list[list[tuple[int, ...]]]:
    """Groups that ways of this kind join."""
    found: list[list[tuple[int, ...]]] = []
    for group in groups:
        near = [
            parts
            for parts in found
            if any(kinds[min(a, b), max(a, b)] == kind for a in group for b in _group(parts))
        ]
        found = [parts for parts in found if parts not in near]
        found.append([part for parts in near for part in parts] + [group])
    return sorted(found, key=lambda parts: min(_group(parts)))


def _group(parts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted(number for part in parts for number in part))


def _branch(top: int | str, hub: str, kind: LinkKind, ports: Sequence[Port]) -> Fields:
    """From a chip, or from what joins some, to what joins more. A chip's link is as wide as its own
    port, a switch's as one port; a processor's bridge has a port for each chip below it, and what
    lies between sockets is shared by all."""
    wire = way(kind, ports[0])
    if isinstance(top, int):
        latency = half_latency(kind, wire.latency)
        return {"between": [top, hub], "bandwidth": wire.bandwidth, "latency": latency}
    longer = uplink(kind, ports[0])
    bandwidth = longer.bandwidth
    if kind != "sys" and not top.startswith("PCIe"):
        together = sum(port.bandwidth_bytes_per_s for port in ports)
        note = f"as much as the {len(ports)} ports below it"
        bandwidth = {**bandwidth, "value": f"{together / 1e9:.6g} GB/s", "note": note}
    return {"between": [top, hub], "bandwidth": bandwidth, "latency": longer.latency}
