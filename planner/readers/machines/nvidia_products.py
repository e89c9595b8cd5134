"""Names and memory of GPUs, wherever NVIDIA's tools or PyTorch's report print them: `nvidia-smi -L`,
`--query-gpu=… --format=csv`, its table, and "GPU models and configuration"."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError
from planner.readers.machines.seen import SeenDevice, SeenMachine

FORMAT = "nvidia-smi"
LISTED = re.compile(r"^\s*(?:-\s*)?(?:\*\*)?GPU ([\d,]{1,4000}):(?:\*\*)? ([^\n|(]{2,80})")
"""GPU 0: NVIDIA L4 (UUID: …), or GPU 0,1: NVIDIA L4."""
TABLE = re.compile(r"^\|\s{1,9}(\d{1,4})\s{1,9}(\S.{0,60}?)\s{1,30}(?:On|Off|N/A|Default)\s*\|")
TABLE_MEMORY = re.compile(r"/\s*(\d{1,9})MiB\s*\|")
SLICE = re.compile(r"^\s+MIG\s+\S+\s+Device\s+\d+:", re.MULTILINE)
MIB = 2.0**20
MOST_GPUS = 4096
COLUMNS = {
    "index": "index",
    "name": "name",
    "gpu_name": "name",
    "memory.total": "total",
    "memory.reserved": "kept",
    "pcie.link.gen.max": "generation",
    "pcie.link.width.current": "lanes",
}
"""Of a query: those that are read. Idle ports fall to the first generation, but keep their lanes."""
TRANSFERS = {1: 2e9, 2: 4e9, 3: 7.877e9, 4: 15.754e9, 5: 31.508e9, 6: 60.5e9}
"""Bits a second of one lane, by generation of PCIe, in one direction and after its coding."""


class Product(NamedTuple):
    """What is said of one GPU."""

    name: str = ""
    memory_bytes: float | None = None
    kept_bytes: float | None = None
    text: str = ""
    port_bytes_per_s: float | None = None


def is_sliced(text: str) -> bool:
    """Whether MIG instances are listed."""
    return SLICE.search(text) is not None


def is_products(text: str) -> bool:
    """Whether a text names GPUs."""
    return bool(products_in(text))


def read_products(text: str, path: Path) -> SeenMachine:
    """GPUs by name, with nothing said of what joins them."""
    found = products_in(text)
    if not found:
        raise InputError(f"{path} names no GPU")
    devices = [
        SeenDevice(
            name=f"GPU{number}",
            kind="gpu",
            product=product.name,
            memory_bytes=product.memory_bytes,
            kept_bytes=product.kept_bytes,
            port_bytes_per_s=product.port_bytes_per_s,
            text=product.text,
        )
        for number, product in sorted(found.items())
    ]
    remarks: tuple[str, ...] = ()
    if is_sliced(text):
        remarks = ("some GPUs are split into MIG instances, but they are planned as whole GPUs",)
    return SeenMachine(format=FORMAT, devices=tuple(devices), remarks=remarks)


def products_in(text: str) -> dict[int, Product]:
    """GPUs by number, from whatever lines of a text name them; figures of a query count most."""
    lines = text.splitlines()
    found = _listed(lines)
    found |= _of_the_table(lines)
    return found | _queried(lines)


def _listed(lines: Sequence[str]) -> dict[int, Product]:
    found: dict[int, Product] = {}
    for line in lines:
        match = LISTED.match(line)
        name = match[2].strip() if match else ""
        if match is None or not name[:1].isalpha():
            continue
        for number in match[1].split(","):
            if number and len(found) < MOST_GPUS:
                found.setdefault(int(number[:4]), Product(name, text=line.strip()))
    return found


def _of_the_table(lines: Sequence[str]) -> dict[int, Product]:
    """Of the usual table: a line with the name, and one with the memory below it."""
    found: dict[int, Product] = {}
    for line, below in itertools.pairwise(lines):
        match = TABLE.match(line)
        memory = TABLE_MEMORY.search(below) if match else None
        # A name that was cut says too little.
        if match is None or memory is None or match[2].endswith("..."):
            continue
        size = float(memory[1]) * MIB
        found[int(match[1])] = Product(match[2], size or None, text=line.strip())
    return found


def _queried(lines: Sequence[str]) -> dict[int, Product]:
    """Rows below the header of a query."""
    found: dict[int, Product] = {}
    columns: list[str] = []
    for line in lines:
        cells = [cell.strip() for cell in line.split(",")]
        names = [COLUMNS.get(cell.partition(" ")[0], "") for cell in cells]
        if "name" in names:
            columns = names
            continue
        if not columns or len(cells) != len(columns):
            columns = []
            continue
        row = dict(zip(columns, cells, strict=True))
        number = row.get("index", str(len(found)))
        if number.isdecimal() and row["name"][:1].isalpha() and len(found) < MOST_GPUS:
            total, kept = _bytes_in(row.get("total", "")), _bytes_in(row.get("kept", ""))
            port = _port(row.get("generation", ""), row.get("lanes", ""))
            found[int(number[:4])] = Product(
                row["name"][:80], total or None, kept, line.strip(), port
            )
    return found


def _port(generation: str, lanes: str) -> float | None:
    if generation not in map(str, TRANSFERS) or lanes not in ("1", "2", "4", "8", "16"):
        return None
    return TRANSFERS[int(generation)] / 8 * int(lanes)


def _bytes_in(cell: str) -> float | None:
    """Of '81559 MiB', or of a bare number of them."""
    number = cell.removesuffix("MiB").strip()
    return float(number) * MIB if number.isdecimal() and len(number) < 10 else None
