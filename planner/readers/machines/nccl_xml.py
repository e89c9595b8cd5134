"""What NCCL writes to `NCCL_TOPO_DUMP_FILE`, and what clouds give it as `NCCL_TOPO_FILE`: NUMA nodes,
the tree of PCIe bridges below each, GPUs with their NVLinks, and network cards.

A cloud's file has PCIe alone: a GPU is then known by the class of its device.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from planner.errors import InputError, shortened
from planner.readers.machines.markup import number_in, root_of, whole_in
from planner.readers.machines.pci_tree import Hung, ways_between
from planner.readers.machines.seen import SeenDevice, SeenLink, SeenMachine

FORMAT = "NCCL topology XML"
GPU_CLASSES = ("0x0302", "0x0300", "0x0380")
NIC_CLASSES = ("0x0200", "0x0207")
BRIDGE_CLASS = "0x0604"
SWITCH_CLASS = "0x0680"
"""Of an NVSwitch, as the other end of a link."""
PRODUCTS = {
    "0x10de/0x1db1": "Tesla V100-SXM2-16GB", "0x10de/0x1db5": "Tesla V100-SXM2-32GB",
    "0x10de/0x1eb8": "Tesla T4", "0x10de/0x20b0": "NVIDIA A100-SXM4-40GB",
    "0x10de/0x20b2": "NVIDIA A100-SXM4-80GB", "0x10de/0x20b5": "NVIDIA A100 80GB PCIe",
    "0x10de/0x2237": "NVIDIA A10G", "0x10de/0x2330": "NVIDIA H100 80GB HBM3",
    "0x10de/0x2331": "NVIDIA H100 PCIe", "0x10de/0x2335": "NVIDIA H200",
    "0x10de/0x26b9": "NVIDIA L40S", "0x10de/0x27b8": "NVIDIA L4",
    "0x10de/0x2901": "NVIDIA B200", "0x1002/0x74a1": "AMD Instinct MI300X",
}  # fmt: skip
"""By vendor and device, as the PCI ID Repository (pci-ids.ucw.cz) lists them."""
BYTES_PER_TRANSFER = 128 / 130 / 8
"""Of one lane, from 8 GT/s on."""


class Found(NamedTuple):
    """An element below which a device hangs, and where."""

    element: Element
    hung: Hung


def read_nccl(text: str, path: Path) -> SeenMachine:
    """The machine that a file describes."""
    root = root_of(text, path)
    if root.tag != "system":
        raise InputError(f"{path} must begin with <system>, not <{shortened(root.tag, 30)}>")
    found = [one for cpu in root.iter("cpu") for one in _below(cpu, _numa(cpu), ())]
    gpus = [one for one in found if _is_gpu(one.element)]
    cards = [one for one in found if _is_card(one.element)]
    if not gpus:
        raise InputError(
            f"{path} names no GPU, only PCI bridges; give the file that NCCL writes to"
            " NCCL_TOPO_DUMP_FILE when it runs"
        )
    named = {one.element.get("busid", ""): f"GPU{_number(one, at)}" for at, one in enumerate(gpus)}
    if len(set(named.values())) < len(gpus):
        raise InputError(f"{path}: two GPUs have the same busid or the same number")
    hung = [one.hung._replace(name=f"GPU{_number(one, at)}") for at, one in enumerate(gpus)]
    nics = [one.hung._replace(name=f"NIC{at}") for at, one in enumerate(cards)]

    devices = [_gpu(one, at) for at, one in enumerate(gpus)]
    devices += [_card(one, at) for at, one in enumerate(cards)]
    bonds = [bond for one, way in zip(gpus, hung, strict=True) for bond in _bonds(one, way, named)]
    if any("NVSwitch" in bond.between for bond in bonds):
        devices.append(SeenDevice(name="NVSwitch", kind="switch", text="tclass 0x068000"))
    links = _with_bonds(list(ways_between(hung, nics)), bonds)
    if all(one.element.find("gpu") is None for one in gpus):
        # Only a dump has NVLinks: whether PCIe is how GPUs reach each other is not told.
        cards_too = {device.name for device in devices if device.kind == "nic"}
        links = [link for link in links if cards_too & set(link.between)]
        remarks = ("the file has no NVLinks, since NCCL did not write it",)
        return SeenMachine(
            format=FORMAT, devices=tuple(devices), links=tuple(links), remarks=remarks
        )
    return SeenMachine(format=FORMAT, devices=tuple(devices), links=tuple(links))


def _below(element: Element, numa: str, bridges: tuple[str, ...]) -> Iterator[Found]:
    for child in element.findall("pci"):
        busid = child.get("busid", "")
        if _class(child) == BRIDGE_CLASS or child.find("pci") is not None:
            yield from _below(child, numa, (*bridges, busid))
        else:
            yield Found(child, Hung(busid, numa, "", bridges))


def _numa(cpu: Element) -> str:
    """Of several hosts in one file the numbers repeat."""
    return f"{cpu.get('host_hash', '')}/{cpu.get('numaid', '')}"


def _class(element: Element) -> str:
    return (element.get("class") or "")[:6]


def _is_gpu(element: Element) -> bool:
    return element.find("gpu") is not None or _class(element) in GPU_CLASSES


def _is_card(element: Element) -> bool:
    return element.find("nic") is not None or _class(element) in NIC_CLASSES


def _number(one: Found, at: int) -> int:
    gpu = one.element.find("gpu")
    number = None if gpu is None else whole_in(gpu.get("dev"), 4096)
    return at if number is None else number


def _gpu(one: Found, at: int) -> SeenDevice:
    element = one.element
    key = f"{element.get('vendor', '')}/{element.get('device', '')}"
    return SeenDevice(
        name=f"GPU{_number(one, at)}",
        kind="gpu",
        product=PRODUCTS.get(key.lower(), ""),
        port_bytes_per_s=_port(element),
        numa=whole_in(one.hung.numa.rpartition("/")[2]),
        text=f"pci busid={shortened(element.get('busid', ''), 20)} {shortened(key, 20)}",
    )


def _card(one: Found, at: int) -> SeenDevice:
    net = one.element.find("nic/net")
    return SeenDevice(
        name=f"NIC{at}",
        kind="nic",
        product="" if net is None else shortened(net.get("name", ""), 40),
        port_bytes_per_s=_port(one.element),
        numa=whole_in(one.hung.numa.rpartition("/")[2]),
        text=f"pci busid={shortened(one.element.get('busid', ''), 20)}",
    )


def _port(element: Element) -> float | None:
    """Raw, per direction: transfers a second times lanes."""
    transfers = number_in(element.get("link_speed"))
    lanes = whole_in(element.get("link_width"), 64)
    if not transfers or not lanes or transfers > 1000:
        return None
    return transfers * 1e9 * BYTES_PER_TRANSFER * lanes


def _bonds(one: Found, hung: Hung, named: dict[str, str]) -> Iterator[SeenLink]:
    """NVLinks and links of xGMI of one GPU, those to a switch added up."""
    switched = 0
    gpu = one.element.find("gpu")
    for bond in () if gpu is None else [*gpu.findall("nvlink"), *gpu.findall("xgmi")]:
        count = whole_in(bond.get("count"), 1024) or 0
        target = bond.get("target", "")
        if not count:
            continue
        if bond.get("tclass", "").startswith(SWITCH_CLASS):
            switched += count
        elif target in named and named[target] != hung.name:
            yield SeenLink(
                between=(hung.name, named[target]),
                kind="nvlink" if bond.tag == "nvlink" else "xgmi",
                count=count,
                text=f"{bond.tag} target={shortened(target, 20)} count={count}",
            )
    if switched:
        yield SeenLink(
            between=(hung.name, "NVSwitch"), kind="nvlink", count=switched, text="nvlink"
        )


def _with_bonds(ways: list[SeenLink], bonds: list[SeenLink]) -> list[SeenLink]:
    """Bonds in place of the ways over PCIe between the same devices; both ends name each."""
    by_pair = {frozenset(link.between): link for link in ways}
    by_pair |= {frozenset(bond.between): bond for bond in bonds}
    return list(by_pair.values())
