"""What `nvidia-smi topo -m` prints: how each GPU reaches each other and each network card.

The matrix may stand in the midst of other text, such as a report of an error, with columns apart by
tabs or by spaces, with colours, and with rows of network cards or without; names and memory of the
GPUs are taken from the same text where it has them too.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from planner.errors import InputError, listed, shortened
from planner.readers.machines.nvidia_products import Product, is_sliced, products_in
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink, SeenMachine

FORMAT = "nvidia-smi topo -m"
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
GPU = re.compile(r"GPU\d{1,4}")
BONDED = re.compile(r"NV(\d{1,3})")
KINDS: dict[str, LinkKind] = {
    "PIX": "pix", "PXB": "pxb", "PHB": "phb", "NODE": "node", "SYS": "sys",
    "SOC": "sys",  # as drivers before 2017 said it
}  # fmt: skip
PEER_ACCESS = {"OK", "CNS", "GNS", "TNS", "NS", "DR", "U"}
"""Entries of the other matrix, `topo -p2p`."""
MOST_COLUMNS = 512
NIC_NAME = re.compile(r"^\s*(NIC\d+)\s*:\s*(\S+)\s*$")
AFFINITY = re.compile(r"\d[\d,-]*")


class Row(NamedTuple):
    """What the matrix says of one device."""

    entries: tuple[str, ...]
    """One for each column."""
    rest: tuple[str, ...]
    """Processors and NUMA node that are near."""
    text: str


def is_matrix(text: str) -> bool:
    """Whether a text holds such a matrix, or the one that is easily taken for it."""
    lines = COLOUR.sub("", text).splitlines()
    return any(_columns(line) for line in lines)


def read_matrix(text: str, path: Path) -> SeenMachine:
    """The machine that a text tells of."""
    lines = COLOUR.sub("", text).splitlines()
    other = False
    for number, line in enumerate(lines):
        columns = _columns(line)
        if not columns:
            continue
        rows = _rows(lines[number + 1 :], columns, path)
        if any(entry in PEER_ACCESS for row in rows.values() for entry in row.entries):
            other = True
            continue
        _check_rows(columns, rows, path)
        return _machine(columns, rows, text)
    if other:
        raise InputError(
            f"{path} is the output of `nvidia-smi topo -p2p`, which does not say how the GPUs are"
            " connected; give the output of `nvidia-smi topo -m`"
        )
    raise InputError(f"{path} has no matrix of GPUs; give the output of `nvidia-smi topo -m`")


def _columns(line: str) -> tuple[str, ...]:
    """Names of the devices in a header; () where the line is none."""
    words = line.split()
    if not words or not GPU.fullmatch(words[0]) or len(words) > MOST_COLUMNS:
        return ()
    names = words[: words.index("CPU")] if "CPU" in words else words
    names = names[: names.index("NUMA")] if "NUMA" in names else names
    is_entry = any(_is_entry(name) or AFFINITY.fullmatch(name) for name in names)
    if is_entry or len(set(names)) < len(names):
        return ()
    # A line of a table about one GPU begins so too: the matrix of one names its columns.
    return tuple(names) if len(names) > 1 or "CPU" in words else ()


def _is_entry(word: str) -> bool:
    return word == "X" or word in KINDS or word in PEER_ACCESS or bool(BONDED.fullmatch(word))


def _rows(lines: Sequence[str], columns: Sequence[str], path: Path) -> dict[str, Row]:
    """Those that follow the header, by device; the first line that is none ends them."""
    found: dict[str, Row] = {}
    for line in lines:
        words = line.split()
        if not words:
            continue
        if words[0] not in columns or words[0] in found:
            break
        entries = tuple(words[1 : len(columns) + 1])
        if len(entries) < len(columns):
            raise InputError(
                f"{path}: the row of {words[0]} has {len(entries)} entries for {len(columns)}"
                " columns; give the whole matrix, without broken lines"
            )
        found[words[0]] = Row(entries, tuple(words[len(columns) + 1 :]), line)
    return found


def _check_rows(columns: Sequence[str], rows: dict[str, Row], path: Path) -> None:
    """Refuse a matrix that lacks GPUs, has entries of no meaning, or says two things of a pair."""
    missing = [name for name in columns if GPU.fullmatch(name) and name not in rows]
    if missing:
        raise InputError(
            f"{path}: the matrix has no row for {listed(missing)}; give the whole matrix"
        )
    for name, row in rows.items():
        for other, entry in zip(columns, row.entries, strict=True):
            strange = not _is_entry(entry) or entry in PEER_ACCESS
            if strange or (entry == "X") != (name == other):
                known = listed(["X for itself", "NV and a number", *KINDS], "or")
                raise InputError(
                    f"{path}: the link between {name} and {other} is {shortened(entry, 20)}; it"
                    f" must be {known}"
                )
            back = rows[other].entries[columns.index(name)] if other in rows else entry
            if back != entry:
                raise InputError(
                    f"{path}: {name} reaches {other} by {entry}, and {other} reaches {name} by"
                    f" {shortened(back, 20)}; one of the two rows is wrong"
                )


def _machine(columns: Sequence[str], rows: dict[str, Row], text: str) -> SeenMachine:
    products = products_in(text)
    cards = _names_of_cards(text)
    devices = [_device(name, rows.get(name), products, cards) for name in columns]
    gpus = sum(device.kind == "gpu" for device in devices)
    remarks = []
    if is_sliced(text):
        remarks.append("some GPUs are split into MIG instances, but they are planned as whole GPUs")
    if products and len(products) != gpus:
        remarks.append(f"the text lists {len(products)} GPUs, but its matrix has {gpus}")
    return SeenMachine(
        format=FORMAT, devices=tuple(devices), links=tuple(_links(columns, rows)),
        remarks=tuple(remarks),
    )  # fmt: skip


def _device(
    name: str, row: Row | None, products: dict[int, Product], cards: dict[str, str]
) -> SeenDevice:
    if not GPU.fullmatch(name):
        product = cards.get(name, name)
        return SeenDevice(name=name, kind="nic", product=product, text=row.text if row else name)
    known = products.get(int(name.removeprefix("GPU")), Product())
    return SeenDevice(
        name=name,
        kind="gpu",
        product=known.name,
        memory_bytes=known.memory_bytes,
        kept_bytes=known.kept_bytes,
        port_bytes_per_s=known.port_bytes_per_s,
        numa=None if row is None else _numa(row.rest),
        text="" if row is None else row.text,
    )


def _numa(rest: Sequence[str]) -> int | None:
    """The NUMA node behind the list of processors, where it is one number."""
    if len(rest) < 2 or not rest[1].isdecimal():
        return None
    return int(rest[1][:6])


def _names_of_cards(text: str) -> dict[str, str]:
    """The legend below the matrix."""
    matches = (NIC_NAME.match(line) for line in COLOUR.sub("", text).splitlines())
    return {match[1]: match[2] for match in matches if match}


def _links(columns: Sequence[str], rows: dict[str, Row]) -> Iterator[SeenLink]:
    """Each pair once."""
    seen: set[frozenset[str]] = set()
    for name, row in rows.items():
        for other, entry in zip(columns, row.entries, strict=True):
            pair = frozenset((name, other))
            if entry == "X" or pair in seen:
                continue
            seen.add(pair)
            bonded = BONDED.fullmatch(entry)
            count = max(1, int(bonded[1])) if bonded else 1
            kind: LinkKind = "nvlink" if bonded else KINDS[entry]
            yield SeenLink(between=(name, other), kind=kind, count=count, text=entry)
