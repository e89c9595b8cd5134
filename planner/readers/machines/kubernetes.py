"""What `kubectl get nodes -o json` prints: the GPUs of each node, as GPU feature discovery labels
them, and as the node has them to give away."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner.errors import InputError, shortened
from planner.readers.machines.seen import SeenDevice, SeenMachine

FORMAT = "kubectl get nodes -o json"
RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
AMD_PRODUCTS = ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name")
SHARED = re.compile(r"-SHARED$")
SLICED = re.compile(r"-MIG-[\w.]+$")
SIZES = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "": 1.0, "k": 1e3, "M": 1e6,
         "G": 1e9, "T": 1e12}  # fmt: skip
SIZE = re.compile(r"(\d{1,18})([KMGT]i|[kMGT]|)")
MOST_NODES = 10_000
MOST_GPUS = 64
"""Of one node."""
MIB = 2.0**20


def is_nodes(fields: Mapping[str, Any]) -> bool:
    """Whether an object is a list of nodes, or one node."""
    if fields.get("kind") == "Node":
        return True
    items = fields.get("items")
    return isinstance(items, list) and fields.get("kind") in ("List", "NodeList")


def read_nodes(fields: Mapping[str, Any], path: Path) -> SeenMachine:
    """GPUs of all nodes that have some."""
    items = fields.get("items") if "items" in fields else [fields]
    if not isinstance(items, list) or len(items) > MOST_NODES:
        raise InputError(f"{path}: items must be a list of at most {MOST_NODES} nodes")
    devices: list[SeenDevice] = []
    remarks: list[str] = []
    names: set[str] = set()
    for number, item in enumerate(items):
        node = item if isinstance(item, dict) else {}
        metadata = _table(node, "metadata")
        name = str(metadata.get("name") or f"node{number}")[:200]
        if name in names:
            raise InputError(f"{path}: two nodes are called {shortened(name)}")
        names.add(name)
        labels, status = _table(metadata, "labels"), _table(node, "status")
        devices += _gpus(name, labels, status, path)
        remarks += _remarks(name, labels, status)
    if not devices:
        raise InputError(
            f"{path}: none of the {len(items)} nodes offers nvidia.com/gpu or amd.com/gpu; check"
            " that a device plugin runs on them"
        )
    return SeenMachine(format=FORMAT, devices=tuple(devices), remarks=tuple(remarks[:20]))


def _table(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = fields.get(key)
    return found if isinstance(found, dict) else {}


def _gpus(
    name: str, labels: Mapping[str, Any], status: Mapping[str, Any], path: Path
) -> Iterator[SeenDevice]:
    """Those of a node, and its processor where it has any."""
    count = _count(labels, status)
    if count > MOST_GPUS:
        raise InputError(f"{path}: {shortened(name)} says that it has {count} GPUs")
    if not count:
        return
    product = _product(labels)
    holder = _domain(labels) or name
    memory = _whole(labels.get("nvidia.com/gpu.memory"))
    for number in range(count):
        yield SeenDevice(
            name=f"{name}/GPU{number}",
            kind="gpu",
            host=holder,
            product=product,
            memory_bytes=memory * MIB if memory else None,
            text=f"nvidia.com/gpu.product={product}",
        )
    capacity = _table(status, "capacity")
    yield SeenDevice(
        name=f"{name}/CPU",
        kind="cpu",
        host=holder,
        memory_bytes=_size(capacity.get("memory")),
        cores=_whole(capacity.get("cpu")) or None,
        text="status.capacity",
    )


def _count(labels: Mapping[str, Any], status: Mapping[str, Any]) -> int:
    """As many as are there, whoever holds them: what can be given away may be fewer, and of those
    that are shared more."""
    counted = _whole(labels.get("nvidia.com/gpu.count"))
    if counted is not None:
        return counted
    for holder in ("capacity", "allocatable"):
        for resource in RESOURCES:
            found = _whole(_table(status, holder).get(resource))
            if found:
                return found
    return 0


def _product(labels: Mapping[str, Any]) -> str:
    found = labels.get("nvidia.com/gpu.product")
    found = found or next((labels[key] for key in AMD_PRODUCTS if key in labels), "")
    whole = SLICED.sub("", SHARED.sub("", str(found)))
    return whole[:80].replace("-", " ").replace("_", " ")


def _remarks(name: str, labels: Mapping[str, Any], status: Mapping[str, Any]) -> Sequence[str]:
    found = []
    product = str(labels.get("nvidia.com/gpu.product") or "")
    if SLICED.search(product):
        found.append(
            f"GPUs of {shortened(name)} are split into MIG instances, but they are planned as"
            " whole GPUs"
        )
    if SHARED.search(product):
        found.append(
            f"GPUs of {shortened(name)} are shared by time slicing, but they are planned as whole"
            " GPUs"
        )
    capacity, allocatable = _table(status, "capacity"), _table(status, "allocatable")
    for resource in RESOURCES:
        there, free = _whole(capacity.get(resource)), _whole(allocatable.get(resource))
        if there and free is not None and free < there:
            found.append(f"only {free} of the {there} GPUs of {shortened(name)} can be allocated")
    return found


def _domain(labels: Mapping[str, Any]) -> str:
    """Nodes whose GPUs NVLink joins are planned as one computer; of zeros: of no other node's."""
    clique = str(labels.get("nvidia.com/gpu.clique") or "")[:200]
    return "" if not clique or clique.startswith("00000000-0000") else f"NVLink domain {clique}"


def _whole(given: object) -> int | None:
    text = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _size(given: object) -> float | None:
    match = SIZE.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        return None
    return float(match[1]) * SIZES[match[2]] or None
