"""What `rocm-smi --showtopo` prints: links between AMD's GPUs, and their NUMA nodes; names of the
GPUs where `--showproductname` stands beside it."""

import re
from collections.abc import Sequence
from pathlib import Path

from planner.errors import InputError, shortened
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink, SeenMachine

FORMAT = "rocm-smi --showtopo"
TITLE = re.compile(r"=+\s*Link Type between two GPUs\s*=+", re.IGNORECASE)
HOPS = re.compile(r"=+\s*Hops between two GPUs\s*=+", re.IGNORECASE)
GPU = re.compile(r"GPU(\d{1,4})")
SAID = re.compile(r"^GPU\[(\d{1,4})\]\s*:\s*(.+?)\s*:\s*(.*?)\s*$", re.MULTILINE)
PRODUCTS = ("Card Series", "Card series", "Card SKU", "Card model", "Card Model")
"""In the order in which they are believed."""
MOST_GPUS = 256
KINDS: dict[str, LinkKind] = {"XGMI": "xgmi", "PCIE": "phb"}


def is_amd_matrix(text: str) -> bool:
    """Whether a text holds the table of links."""
    return TITLE.search(text) is not None


def read_amd_matrix(text: str, path: Path) -> SeenMachine:
    """The machine that a text tells of."""
    types = _matrix(text, TITLE, path)
    hops = _matrix(text, HOPS, path) if HOPS.search(text) else {}
    gpus = list(types)
    said: dict[int, dict[str, str]] = {}
    for number, what, value in SAID.findall(text):
        said.setdefault(int(number), {})[what.removeprefix("(Topology) ")] = value
    devices = [_device(name, said.get(int(name[3:]), {})) for name in gpus]
    links = []
    for at, name in enumerate(gpus):
        for other in gpus[at + 1 :]:
            word = types[name][gpus.index(other)]
            if word.upper() not in KINDS:
                raise InputError(
                    f"{path}: the link between {name} and {other} is {shortened(word, 20)}; it"
                    " must be XGMI or PCIE"
                )
            kind = KINDS[word.upper()]
            # Three hops over PCIe lead through both processors.
            if kind == "phb" and hops.get(name, ["0"] * len(gpus))[gpus.index(other)] == "3":
                kind = "sys"
            links.append(SeenLink(between=(name, other), kind=kind, text=word))
    return SeenMachine(format=FORMAT, devices=tuple(devices), links=tuple(links))


def _matrix(text: str, title: re.Pattern[str], path: Path) -> dict[str, Sequence[str]]:
    """Rows below a title, by GPU."""
    match = title.search(text)
    lines = text[match.end() :].splitlines() if match else []
    columns: list[str] = []
    rows: dict[str, Sequence[str]] = {}
    for line in lines:
        words = line.split()
        if not words:
            if rows:
                break
            continue
        if not columns:
            columns = words
            continue
        if words[0] not in columns or len(words) != len(columns) + 1:
            break
        rows[words[0]] = words[1:]
    whole = list(rows) == columns and 0 < len(columns) <= MOST_GPUS
    if not whole or not all(GPU.fullmatch(name) for name in columns):
        raise InputError(
            f"{path}: the table of links has {len(rows)} rows for {len(columns)} GPUs; give the"
            " whole table"
        )
    return rows


def _device(name: str, said: dict[str, str]) -> SeenDevice:
    named = (said[key] for key in PRODUCTS if said.get(key) and said[key] != "N/A")
    numa = said.get("Numa Node", "")
    return SeenDevice(
        name=name,
        kind="gpu",
        product=next(named, "")[:80],
        numa=int(numa) if numa.isascii() and numa.isdecimal() and len(numa) < 6 else None,
        text=f"{name} of rocm-smi",
    )
