"""What llama.cpp says of where it put a model: layers and buffers of each device, from the log of its
server at full verbosity, and bytes from the logs of the servers that lend it their devices.

The server tells buffers in hundredths of MiB, a lender (with GGML_RPC_DEBUG set) in bytes: of what a
lender allots, the one that rounds to what the server told is meant.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from planner.errors import InputError

MIB = 2.0**20
BUILD = re.compile(r"\bbuild(?:_info)?[ :=]+(\S+(?: \(\w+\))?)")
LAYER = re.compile(r"load_tensors: layer\s+(\d+) assigned to device ([^,\s]+)")
BUFFER = re.compile(
    r"\w+: +([A-Za-z]\w*)(?:\[(\S*)\])? +(model|KV|compute) buffer size = +([\d.]+) MiB"
)
ALLOTTED = re.compile(r"alloc_buffer\] device: \d+, size: (\d+) -> remote_ptr")


class Device(NamedTuple):
    """What one device holds."""

    layers: tuple[int, ...] = ()
    """Numbers; the output layer counts as the one behind the last."""
    model_mib: float = 0.0
    kv_mib: float = 0.0
    compute_mib: float = 0.0


def devices_of(log: str, addresses: Sequence[str]) -> dict[str, Device]:
    """By name: RPC0 and so on as the addresses of lenders were given, "CPU" for the server's own
    host. An InputError: the log does not say."""
    layers: dict[str, list[int]] = {}
    for number, name in LAYER.findall(log):
        found = layers.setdefault(_named(name), [])
        if int(number) not in found:
            found.append(int(number))
    sizes: dict[tuple[str, str], dict[str, float]] = {}
    for name, address, kind, mib in BUFFER.findall(log):
        # Each lender counts its own devices from 0.
        whose = f"RPC{addresses.index(address)}" if address in addresses else _named(name)
        # A server that first tries what fits tells all twice: what it told last is what it did.
        sizes.setdefault((whose, kind), {})[name] = float(mib)
    if not layers or not any(kind == "model" for _, kind in sizes):
        raise InputError(
            f"this log of llama.cpp {version_of(log)} does not say which device has which layer, or"
            " how large its buffers are; start it with -v, or take a version that"
            " benchmarks/llama_cpp_log.py knows"
        )
    names = dict.fromkeys([*layers, *(name for name, _ in sizes)])
    return {
        name: Device(
            tuple(sorted(layers.get(name, []))),
            *(sum(sizes.get((name, kind), {}).values()) for kind in ("model", "KV", "compute")),
        )
        for name in names
    }


def _named(device: str) -> str:
    """Of a kind of buffer the device: CPU_Mapped and CPU_REPACK are the host's."""
    return device.partition("_")[0]


def version_of(log: str) -> str:
    """As the log says it, or "of an unknown version"."""
    found = BUILD.search(log)
    return found[1] if found else "of an unknown version"


def exact_bytes(mib: float, lender: str) -> int:
    """Of what a lender's log says that it allotted, the one that the server told of. An InputError
    where there is none, or several that are unlike."""
    sizes = {int(size) for size in ALLOTTED.findall(lender)}
    meant = {size for size in sizes if abs(size / MIB - mib) <= 0.005 + 1e-9}
    if len(meant) != 1:
        raise InputError(
            f"of {len(sizes)} buffers in the lender's log, {len(meant)} have {mib} MiB; set"
            " GGML_RPC_DEBUG for it, or take a version whose log tells every buffer in bytes"
        )
    return meant.pop()
