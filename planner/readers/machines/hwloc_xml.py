"""What `lstopo machine.xml` writes (hwloc 2 and 3): packages, NUMA nodes, PCIe bridges, GPUs with
their matrix of NVLinks, network cards."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from planner.errors import InputError, shortened
from planner.readers.machines.markup import number_in, root_of, whole_in
from planner.readers.machines.pci_tree import Hung, ways_between
from planner.readers.machines.seen import SeenDevice, SeenLink, SeenMachine

FORMAT = "hwloc XML"
HOLDING = ("Machine", "Package", "Die", "Group", "NUMANode", "L3Cache", "L2Cache", "L1Cache")
GPU_CLASSES = {"10de": ("0300", "0302"), "1002": ("0302", "0380", "1200")}
"""By maker: AMD's 0300 in a server is the small chip that draws the console."""
NIC_CLASSES = ("0200", "0207")
MIB = 2.0**20
GIB_PER_S = 1e9
"""hwloc's `pci_link_speed` counts in 10⁹ bytes a second, all lanes, one direction."""
MOST_IN_MATRIX = 1024


class Card(NamedTuple):
    """A device on the PCIe bus, and where it hangs."""

    element: Element
    hung: Hung
    numa: int | None

    @property
    def sort(self) -> str:
        """Its class: "0302"."""
        return (self.element.get("pci_type") or "")[:4]

    @property
    def maker(self) -> str:
        """Its vendor: "10de"."""
        return (self.element.get("pci_type") or "").partition("[")[2][:4].lower()


def read_hwloc(text: str, path: Path) -> SeenMachine:
    """The machine that a file describes."""
    root = root_of(text, path)
    machine = root.find("object")
    if root.tag != "topology" or machine is None:
        raise InputError(f"{path} must hold <topology> with an <object> in it, as lstopo writes it")
    if not root.get("version", "").startswith(("2", "3")):
        raise InputError(
            f"{path} was written by hwloc 1 or an unknown version; write it with lstopo of hwloc 2"
            " or 3"
        )
    cards = list(_cards(machine, "", None, "", ()))
    gpus = [one for one in cards if _is_gpu(one)]
    nics = [one for one in cards if one.sort in NIC_CLASSES]
    hung = [one.hung._replace(name=f"GPU{at}") for at, one in enumerate(gpus)]
    others = [one.hung._replace(name=f"NIC{at}") for at, one in enumerate(nics)]

    devices = [_processor(root, machine)]
    devices += [_gpu(one, at) for at, one in enumerate(gpus)]
    devices += [_nic(one, at) for at, one in enumerate(nics)]
    bonds = list(_bonds(root, machine, gpus))
    if any("NVSwitch" in bond.between for bond in bonds):
        devices.append(SeenDevice(name="NVSwitch", kind="switch", text="subtype NVSwitch"))
    by_pair = {frozenset(link.between): link for link in ways_between(hung, others)}
    by_pair |= {frozenset(bond.between): bond for bond in bonds}
    return SeenMachine(
        format=FORMAT,
        name=_info(root, machine, "HostName"),
        devices=tuple(devices),
        links=tuple(by_pair.values()),
    )


def _cards(
    element: Element, numa: str, number: int | None, root: str, bridges: tuple[str, ...]
) -> Iterator[Card]:
    """All devices on the bus below an object."""
    memory = [child for child in element.findall("object") if child.get("type") == "NUMANode"]
    if memory:
        numa = memory[0].get("id") or memory[0].get("gp_index") or ""
        number = whole_in(memory[0].get("os_index"))
    for child in element.findall("object"):
        name = child.get("id") or child.get("gp_index") or ""
        if child.get("type") == "Bridge" and (child.get("bridge_type") or "").startswith("0"):
            yield from _cards(child, numa, number, name, ())
        elif child.get("type") == "Bridge":
            yield from _cards(child, numa, number, root, (*bridges, name))
        elif child.get("type") == "PCIDev":
            # A switch's own port and the slot behind it are two bridges in the file: one device.
            yield Card(child, Hung(name, numa, root, bridges), number)
        elif child.get("type") in HOLDING:
            yield from _cards(child, numa, number, root, bridges)


def _is_gpu(card: Card) -> bool:
    has_driver = any(
        info.get("name") == "GPUModel" for one in card.element.iter("object") for info in one
    )
    return has_driver or card.sort in GPU_CLASSES.get(card.maker, ())


def _info(root: Element, machine: Element, name: str) -> str:
    """A fact about the whole machine: hwloc 3 has it at the root, hwloc 2 in the first object."""
    for holder in (root, machine):
        for info in holder.findall("info"):
            if info.get("name") == name:
                return shortened(info.get("value", ""), 60)
    return ""


def _facts(element: Element) -> dict[str, str]:
    """What is said of an object and of what hangs on it."""
    return {
        info.get("name", ""): info.get("value", "")
        for one in element.iter("object")
        for info in one.findall("info")
    }


def _gpu(card: Card, at: int) -> SeenDevice:
    facts = _facts(card.element)
    kib = number_in(facts.get("CUDAGlobalMemorySize"))
    port = number_in(card.element.get("pci_link_speed"))
    return SeenDevice(
        name=f"GPU{at}",
        kind="gpu",
        product=shortened(facts.get("GPUModel", ""), 80),
        memory_bytes=kib * 1024 if kib else None,
        port_bytes_per_s=port * GIB_PER_S if port and port < 1e4 else None,
        numa=card.numa,
        text=f"PCIDev {shortened(card.element.get('pci_busid', ''), 20)}",
    )


def _nic(card: Card, at: int) -> SeenDevice:
    names = [one.get("name", "") for one in card.element.iter("object") if one.get("name")]
    return SeenDevice(
        name=f"NIC{at}",
        kind="nic",
        product=shortened(names[0], 40) if names else "",
        numa=card.numa,
        text=f"PCIDev {shortened(card.element.get('pci_busid', ''), 20)}",
    )


def _processor(root: Element, machine: Element) -> SeenDevice:
    """All packages together."""
    objects = list(machine.iter("object"))
    packages = [one for one in objects if one.get("type") == "Package"]
    models = [_facts_of(one).get("CPUModel", "") for one in packages]
    memory = [
        number_in(one.get("local_memory")) for one in objects if one.get("type") == "NUMANode"
    ]
    cores = sum(one.get("type") == "Core" for one in objects)
    rate = _memory_rate(root)
    return SeenDevice(
        name="CPU",
        kind="cpu",
        product=shortened(models[0], 80) if models else "",
        memory_bytes=sum(size for size in memory if size) or None,
        bandwidth_bytes_per_s=rate,
        cores=cores or None,
        sockets=len(packages) or None,
        text=f"{len(packages)} Package, {cores} Core, {len(memory)} NUMANode",
    )


def _facts_of(element: Element) -> dict[str, str]:
    return {info.get("name", ""): info.get("value", "") for info in element.findall("info")}


def _memory_rate(root: Element) -> float | None:
    """Of all NUMA nodes, each as its nearest processors see it; firmware says so in MiB/s."""
    best: dict[str, float] = {}
    for attribute in root.findall("memattr"):
        if attribute.get("name") != "Bandwidth":
            continue
        for value in attribute.findall("memattr_value"):
            rate = number_in(value.get("value"))
            node = value.get("target_obj_gp_index", "")
            if rate:
                best[node] = max(best.get(node, 0.0), rate)
    total = sum(best.values()) * MIB
    return total if 0 < total < 1e18 else None


def _bonds(root: Element, machine: Element, gpus: Sequence[Card]) -> Iterator[SeenLink]:
    """Of the matrix of NVLinks, in MB/s: those between GPUs, and those from each GPU to switches, or
    to processors, added up."""
    for matrix in (*root.findall("distances2hetero"), *root.findall("distances2")):
        if matrix.get("name") not in ("NVLinkBandwidth", "XGMIBandwidth"):
            continue
        ends = _ends(matrix)
        values = [number_in(word) or 0.0 for word in _words(matrix, "u64values")]
        if len(values) != len(ends) ** 2 or len(ends) > MOST_IN_MATRIX:
            raise InputError(
                f"the matrix {matrix.get('name')} has {len(values)} values for {len(ends)} devices;"
                f" it should have {len(ends) ** 2}"
            )
        named = _named(machine, gpus)
        bridges = {end for end in ends if end.startswith("PCIDev:")}
        kind = "nvlink" if matrix.get("name") == "NVLinkBandwidth" else "xgmi"
        for at, end in enumerate(ends):
            one = named.get(end)
            if one is None:
                continue
            added: Counter[str] = Counter()
            for other, rate in zip(ends, values[at * len(ends) :], strict=False):
                far = named.get(other, "NVSwitch" if other in bridges else "CPU")
                # The diagonal says what a device reaches in itself.
                if 0 < rate < 1e9 and far != one:
                    added[far] += round(rate)
            for far, rate in added.items():
                yield _bond(one, far, kind, rate)


def _bond(one: str, other: str, kind: str, rate: float) -> SeenLink:
    return SeenLink.from_fields(
        {
            "between": (one, other),
            "kind": kind,
            "bandwidth_bytes_per_s": rate * 1e6,
            "text": f"{rate:.0f} MB/s",
        }
    )


def _words(matrix: Element, tag: str) -> list[str]:
    return [word for part in matrix.findall(tag) for word in (part.text or "").split()]


def _ends(matrix: Element) -> list[str]:
    """Of the rows: type and number of each object."""
    sort = matrix.get("type", "")
    return [word if ":" in word else f"{sort}:{word}" for word in _words(matrix, "indexes")]


def _named(machine: Element, gpus: Sequence[Card]) -> dict[str, str]:
    """GPUs by the objects of which the matrix may speak: the device, and its driver's."""
    found = {}
    for at, card in enumerate(gpus):
        for one in card.element.iter("object"):
            found[f"{one.get('type')}:{one.get('gp_index')}"] = f"GPU{at}"
    return found
