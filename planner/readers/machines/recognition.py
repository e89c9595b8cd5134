"""`read_machine`: a description of a machine in any format that is known, told by what it holds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError, listed
from planner.readers.files import parsed_json, read_text
from planner.readers.machines import (
    amd_matrix,
    hwloc_xml,
    kubernetes,
    nccl_xml,
    node_link,
    nvidia_matrix,
    nvidia_products,
    processors,
    slurm,
    topograph,
)
from planner.readers.machines.markup import root_of
from planner.readers.machines.seen import SeenMachine
from planner.readers.yaml_text import read_yaml

MOST_BYTES = 8 * 2**20
FORMATS = (
    nvidia_matrix.FORMAT, nvidia_products.FORMAT, amd_matrix.FORMAT, kubernetes.FORMAT,
    hwloc_xml.FORMAT, nccl_xml.FORMAT, slurm.FORMAT, slurm.YAML_FORMAT, topograph.FORMAT,
    node_link.FORMAT, processors.FORMAT,
)  # fmt: skip


class Format(NamedTuple):
    """One that is plain text."""

    is_it: Callable[[str], bool]
    read: Callable[[str, Path], SeenMachine]


# AMD's tables name GPUs as NVIDIA's matrix does, and their title tells them apart.
PLAIN = (
    Format(amd_matrix.is_amd_matrix, amd_matrix.read_amd_matrix),
    Format(nvidia_matrix.is_matrix, nvidia_matrix.read_matrix),
    Format(slurm.is_slurm, slurm.read_slurm),
    Format(nvidia_products.is_products, nvidia_products.read_products),
    Format(processors.is_processor, processors.read_processor),
)


def read_machine(path: str | Path) -> SeenMachine:
    """What a file says of a machine."""
    path = Path(path)
    return seen_in(read_text(path, "a description of a machine", most_bytes=MOST_BYTES), path)


def seen_in(text: str, path: Path) -> SeenMachine:
    """What a text says of a machine; `path` says where it comes from."""
    begins = text.lstrip()[:1]
    if begins == "<":
        return _of_markup(text, path)
    if begins == "{":
        return _of_json(text, path)
    for known in PLAIN:
        if known.is_it(text):
            return known.read(text, path)
    if "topology:" in text or "blocks:" in text:
        return _of_yaml(text, path)
    raise _unknown(path)


def _of_markup(text: str, path: Path) -> SeenMachine:
    root = root_of(text, path)
    if root.tag == "topology":
        return hwloc_xml.read_hwloc(text, path)
    if root.tag == "system":
        return nccl_xml.read_nccl(text, path)
    raise _unknown(path)


def _of_json(text: str, path: Path) -> SeenMachine:
    fields = parsed_json(text, path)
    try:
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{path} has an incomplete character; save it again as UTF-8") from None
    if kubernetes.is_nodes(fields):
        return kubernetes.read_nodes(fields, path)
    if node_link.is_graph(fields):
        return node_link.read_graph(fields, path)
    if "instances" in fields:
        return topograph.read_topograph(fields, path)
    raise _unknown(path)


def _of_yaml(text: str, path: Path) -> SeenMachine:
    fields = next(iter(read_yaml(text, path)), None)
    if isinstance(fields, dict) and "blocks" in fields:
        return topograph.read_model_of_topograph(fields, path)
    if isinstance(fields, list | dict):
        return slurm.read_slurm_yaml(text, path)
    raise _unknown(path)


def _unknown(path: Path) -> InputError:
    return InputError(
        f"{path} is not a known description of a machine; give {listed(FORMATS, 'or')}"
    )


def merged(seen: Sequence[SeenMachine]) -> SeenMachine:
    """One machine from several descriptions of it: what links devices from the first that says so,
    names and memory from whichever says them."""
    first = max(seen, key=lambda one: len(one.links))
    known = {device.name: device for one in seen for device in one.devices}
    for one in (*seen, first):
        for device in one.devices:
            said = {name: value for name, value in device if value not in (None, "", ())}
            known[device.name] = known[device.name].replace(**said)
    remarks = dict.fromkeys(remark for one in seen for remark in one.remarks)
    return SeenMachine(
        format=" and ".join(dict.fromkeys(one.format for one in seen)),
        name=next((one.name for one in seen if one.name), ""),
        devices=tuple(known.values()),
        links=first.links,
        remarks=tuple(remarks),
    )
