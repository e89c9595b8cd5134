"""What joins the GPUs of one computer → the fabric of a topology: the ordinary one where all reach
each other alike, else a list of links that says which do not.

GPUs whose links to each other are the widest become neighbours, since groups of a plan are
neighbours; what order that is, is said.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from planner.detection.origins import Fields
from planner.detection.trees import tree_of
from planner.detection.wires import Port, Wire, bonded, nvlink_count, port_of, way
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink, SeenMachine

Pair = frozenset[str]
BONDS: tuple[LinkKind, ...] = ("nvlink", "xgmi")


class Joined(NamedTuple):
    """How the chips of a computer are joined."""

    fabric: Fields | None
    """None: one chip, or nothing is known of it."""
    order: tuple[int, ...]
    """For each chip of the topology, the number of the device that it is."""
    remarks: tuple[str, ...] = ()


class Bonds(NamedTuple):
    """NVLinks of a computer."""

    direct: Mapping[Pair, SeenLink]
    """From GPU to GPU."""
    switched: Mapping[str, SeenLink]
    """From a GPU to switches that join it to all others there."""


def joined(seen: SeenMachine, gpus: Sequence[SeenDevice], architecture: str) -> Joined:
    """The fabric of some GPUs that are one chip."""
    order = tuple(range(len(gpus)))
    links = _among(seen, gpus)
    if len(gpus) < 2 or not links:
        return Joined(None, order)
    bonds = bonds_of(seen, gpus, links, architecture)
    ports = [port_of(gpu, architecture) for gpu in gpus]
    even = _even(gpus, links, bonds, ports, architecture)
    if even is not None:
        return Joined(even, order)

    widths = _widths(gpus, links, bonds, ports, architecture)
    order = neighbours(widths)
    placed = [gpus[number] for number in order]
    wired = [ports[number] for number in order]
    fabric = _listed(placed, links, bonds, wired, architecture)
    return Joined(fabric, order, tuple(_remarks(gpus, bonds, order)))


def _among(seen: SeenMachine, gpus: Sequence[SeenDevice]) -> dict[Pair, SeenLink]:
    """Links that join GPUs to each other or to their switches."""
    names = {gpu.name for gpu in gpus}
    switches = {device.name for device in seen.of_kind("switch")}
    found = {}
    for link in seen.links:
        ends = set(link.between)
        if ends & names and ends <= names | switches:
            found[Pair(link.between)] = link
    return found


def bonds_of(
    seen: SeenMachine,
    gpus: Sequence[SeenDevice],
    links: Mapping[Pair, SeenLink],
    architecture: str,
) -> Bonds:
    """NVLinks, sorted into those between GPUs and those to switches. A matrix of `nvidia-smi` does
    not tell them apart: a GPU that reaches others over more links than it has reaches them by
    switches."""
    bonded_pairs = {pair: link for pair, link in links.items() if link.kind in BONDS}
    names = {gpu.name for gpu in gpus}
    switched = {
        next(iter(pair & names)): link for pair, link in bonded_pairs.items() if pair - names
    }
    direct = {pair: link for pair, link in bonded_pairs.items() if pair <= names}
    counted: Counter[str] = Counter()
    for pair, link in direct.items():
        if link.kind == "nvlink":
            counted.update(dict.fromkeys(pair, link.count))
    if max(counted.values(), default=0) <= nvlink_count(architecture):
        return Bonds(direct, switched)
    for pair, link in direct.items():
        for name in pair:
            if name not in switched or link.count > switched[name].count:
                switched[name] = link
    return Bonds({}, switched)


def _even(
    gpus: Sequence[SeenDevice],
    links: Mapping[Pair, SeenLink],
    bonds: Bonds,
    ports: Sequence[Port],
    architecture: str,
) -> Fields | None:
    """The ordinary fabric, where all reach all alike."""
    pairs = [Pair(pair) for pair in combinations([gpu.name for gpu in gpus], 2)]
    if len(bonds.switched) == len(gpus) and not bonds.direct and _are_alike(bonds.switched):
        return _plain("NVSwitch", "switch", gpus, bonded(_any(bonds.switched), architecture))
    meshed = not bonds.switched and all(pair in bonds.direct for pair in pairs)
    if meshed and _are_alike(bonds.direct):
        name = "xGMI" if _any(bonds.direct).kind == "xgmi" else "NVLink"
        return _plain(name, "full-mesh", gpus, bonded(_any(bonds.direct), architecture))
    if bonds.direct or bonds.switched or any(pair not in links for pair in pairs):
        return None
    kinds = {links[pair].kind for pair in pairs}
    speeds = {port.bandwidth_bytes_per_s for port in ports}
    if len(kinds) > 1 or len(speeds) > 1 or kinds == {"network"}:
        return None
    kind = kinds.pop()
    return _plain(f"PCIe ({kind.upper()})", "switch", gpus, way(kind, ports[0]))


def _any(found: Mapping[Pair, SeenLink] | Mapping[str, SeenLink]) -> SeenLink:
    return next(iter(found.values()))


def _are_alike(found: Mapping[Pair, SeenLink] | Mapping[str, SeenLink]) -> bool:
    """Whether all bonds are as wide."""
    widths = {(link.count, link.bandwidth_bytes_per_s) for link in found.values()}
    return len(widths) == 1


def _plain(name: str, shape: str, gpus: Sequence[SeenDevice], wire: Wire) -> Fields:
    return {
        "name": name,
        "shape": shape,
        "units": len(gpus),
        "bandwidth": wire.bandwidth,
        "latency": wire.latency,
    }


def _listed(
    gpus: Sequence[SeenDevice],
    links: Mapping[Pair, SeenLink],
    bonds: Bonds,
    ports: Sequence[Port],
    architecture: str,
) -> Fields:
    """A list of links: the tree of PCIe, and bonds besides."""
    numbers = {gpu.name: number for number, gpu in enumerate(gpus)}
    made = _stated(gpus, links)
    if not made:
        made = tree_of(gpus, links, ports)
        for name, link in bonds.switched.items():
            made.append(_link([numbers[name], "NVSwitch"], bonded(link, architecture)))
        for pair, link in bonds.direct.items():
            made.append(_link(sorted(numbers[name] for name in pair), bonded(link, architecture)))
    first = way("pix", ports[0])
    bonded_too = bool(bonds.direct or bonds.switched)
    return {
        "name": "NVLink and PCIe" if bonded_too else "PCIe",
        "shape": "links",
        "units": len(gpus),
        "bandwidth": first.bandwidth,
        "latency": first.latency,
        "link": made,
    }


def _link(between: Sequence[int | str], wire: Wire) -> Fields:
    return {"between": list(between), "bandwidth": wire.bandwidth, "latency": wire.latency}


def _stated(gpus: Sequence[SeenDevice], links: Mapping[Pair, SeenLink]) -> list[Fields]:
    """Links of a graph, each of which says what it carries."""
    numbers: dict[str, int | str] = {gpu.name: number for number, gpu in enumerate(gpus)}
    made = []
    for link in links.values():
        if link.kind != "network":
            return []
        fields: Fields = {"between": [numbers.get(end, f"switch {end}") for end in link.between]}
        source = {"source": f"as described: {link.text}", "confidence": "stated"}
        if link.bandwidth_bytes_per_s is not None:
            fields["bandwidth"] = {"value": f"{link.bandwidth_bytes_per_s / 1e9!r} GB/s", **source}
        if link.latency_s is not None:
            fields["latency"] = {"value": f"{link.latency_s * 1e6!r} us", **source}
        made.append(fields)
    return made


def _widths(
    gpus: Sequence[SeenDevice],
    links: Mapping[Pair, SeenLink],
    bonds: Bonds,
    ports: Sequence[Port],
    architecture: str,
) -> list[list[float]]:
    """Between each two GPUs, in bytes a second of what joins them the most directly."""
    found = [[0.0] * len(gpus) for _ in gpus]
    for (one, here), (other, there) in combinations(enumerate(gpus), 2):
        link = links.get(Pair((here.name, there.name)))
        width = min(ports[one].bandwidth_bytes_per_s, ports[other].bandwidth_bytes_per_s)
        if link is not None and link.kind in BONDS:
            width = bonded(link, architecture).bandwidth_bytes_per_s
        elif link is not None and link.kind == "network":
            width = link.bandwidth_bytes_per_s or width
        elif link is not None:
            # The longer of two ways of like width is the worse one.
            width = way(link.kind, ports[one]).bandwidth_bytes_per_s * min(
                1.0, width / ports[one].bandwidth_bytes_per_s
            )
            width /= 1 + 0.01 * ("pix", "pxb", "phb", "node", "sys").index(link.kind)
        if here.name in bonds.switched and there.name in bonds.switched:
            width = min(
                bonded(bonds.switched[gpu.name], architecture).bandwidth_bytes_per_s
                for gpu in (here, there)
            )
        found[one][other] = width
        found[other][one] = width
    return found


def neighbours(widths: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """An order in which what is joined the best stands in pairs, these in fours and so on; as
    numbered, where that is as good."""
    import networkx as nx

    blocks: list[tuple[int, ...]] = [(number,) for number in range(len(widths))]
    while len(blocks) > 1 and len(blocks) % 2 == 0:
        graph: nx.Graph[int] = nx.Graph()
        for one, other in combinations(range(len(blocks)), 2):
            joint = min(widths[a][b] for a in blocks[one] for b in blocks[other])
            graph.add_edge(one, other, weight=round(joint / 1e6))
        found = nx.max_weight_matching(graph, maxcardinality=True)
        best = sum(graph[one][other]["weight"] for one, other in found)
        usual = [(number, number + 1) for number in range(0, len(blocks), 2)]
        if sum(graph[one][other]["weight"] for one, other in usual) >= best:
            pairs = usual
        else:
            pairs = sorted((min(pair), max(pair)) for pair in found)
        blocks = [blocks[one] + blocks[other] for one, other in pairs]
    return tuple(number for block in blocks for number in block)


def _number_of(gpu: SeenDevice, at: int) -> str:
    """As the driver counts: of one kind in a mixed computer others stand between."""
    number = gpu.name.removeprefix("GPU")
    return number if number.isdecimal() else str(at)


def _remarks(gpus: Sequence[SeenDevice], bonds: Bonds, order: Sequence[int]) -> list[str]:
    """What is out of the ordinary, for whoever plans on it."""
    found = []
    if tuple(order) != tuple(range(len(gpus))):
        numbers = ",".join(_number_of(gpus[number], number) for number in order)
        found.append(
            f"chips 0 to {len(gpus) - 1} are GPUs {numbers}, so that the best connected are"
            f" neighbours: start the engine with CUDA_VISIBLE_DEVICES={numbers}"
        )
    counts = Counter(link.count for link in (*bonds.switched.values(), *bonds.direct.values()))
    if len(counts) > 1 and bonds.switched:
        most = max(counts)
        found += [
            f"{name} has {link.count} NVLinks, where others have {most}"
            for name, link in bonds.switched.items()
            if link.count < most
        ]
    if bonds.switched:
        found += [
            f"{gpu.name} reaches no NVSwitch, only PCIe"
            for gpu in gpus
            if gpu.name not in bonds.switched
        ]
    return found
