"""What a driver calls a chip → the chip of the catalogue, with its capacity as the driver counts it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from planner import catalogue
from planner.detection.origins import Fields, figure, table
from planner.errors import InputError, listed, nearest_names, plain_name, shortened
from planner.readers.files import read_toml
from planner.readers.machines.seen import SeenDevice
from planner.units import parse_quantity

FILLER = re.compile(
    r"\b(nvidia|amd|intel\(r\)|intel|geforce|tesla|quadro|instinct|radeon|generation|gpu|\(r\)|\(tm\))\b"
)
KEPT_SHARE = 1.05
"""All of a memory over what engines are granted, at the most where it is the same memory."""


class Known(NamedTuple):
    """A chip of the catalogue, or of a file, in the words of a file."""

    name: str
    """Of its file."""
    fields: Fields


def known_chip(name: str) -> Known:
    """A chip that somebody named: of the catalogue, or in a TOML file."""
    if name.endswith(".toml"):
        fields = read_toml(Path(name), "a chip")
        return Known(name, dict(fields.get("chip", fields)))
    folder = {plain_name(one): one for one in catalogue.chip_names()}
    return Known(folder.get(plain_name(name), name), catalogue.find_chip(name))


def chip_of(device: SeenDevice, *, source: str, chip: str | None = None) -> Known:
    """The chip that a device is; `chip` says it where the driver did not, `source` where capacities
    come from."""
    if chip is not None:
        known = known_chip(chip)
        return known._replace(fields=with_capacity(known.fields, device, source))
    if not device.product:
        raise InputError(
            f"the chip of {device.name} is not known; name it (--chip h100-sxm), or add the output"
            " of `nvidia-smi -L`"
        )
    row = _row_of(device.product)
    if row is not None:
        known = known_chip(row["chip"])
        fields = with_capacity(_edition(known.fields, row, device), device, source)
        return Known(known.name, fields)
    named = _of_that_name(device.product)
    if named is None:
        raise InputError(_unknown(device))
    known = known_chip(named)
    return known._replace(fields=with_capacity(known.fields, device, source))


def _unknown(device: SeenDevice) -> str:
    titles = {str(catalogue.find_chip(name)["name"]): name for name in catalogue.chip_names()}
    nearest = [titles[one] for one in nearest_names(device.product, titles)]
    return (
        f"no chip of the catalogue is called {shortened(device.product)!r} ({device.name}); the"
        f" nearest are {listed(nearest)}; name one with --chip, or give a TOML file that describes"
        " it, as in docs/machines.md"
    )


def is_known(product: str) -> bool:
    """Whether the catalogue has that chip."""
    return _row_of(product) is not None or _of_that_name(product) is not None


def _row_of(product: str) -> Mapping[str, Any] | None:
    words = " ".join(re.sub(r"[^a-z0-9+]+", " ", product.lower()).split())
    rows: list[Mapping[str, Any]] = table("products")["product"]
    return next((row for row in rows if re.search(row["is"], words)), None)


def _of_that_name(product: str) -> str | None:
    wanted = _bare(product)
    for name in catalogue.chip_names():
        if _bare(str(catalogue.find_chip(name).get("name", ""))) == wanted:
            return name
    return None


def _bare(product: str) -> str:
    """A name without its maker's words."""
    return plain_name(FILLER.sub(" ", product.lower()))


def _edition(chip: Fields, row: Mapping[str, Any], device: SeenDevice) -> Fields:
    """The chip as this edition of it is: less memory, fewer cores."""
    made = {**chip, "name": row.get("name", chip["name"])}
    memory = dict(made["memory"][0])
    for key in ("capacity", "bandwidth"):
        if key in row:
            memory[key] = row[key]
    if "sold" in row:
        cores = _cores(row, device)
        memory["bandwidth"] = _bandwidth_with(row, cores, memory["bandwidth"])
        made["peak"] = [_scaled(peak, cores, row["cores"]) for peak in made["peak"]]
    return {**made, "memory": [memory, *made["memory"][1:]]}


def _cores(row: Mapping[str, Any], device: SeenDevice) -> int:
    """As seen; else the most that it is sold with."""
    most = max(int(cores) for cores in row["sold"])
    return min(device.cores or most, most)


def _bandwidth_with(row: Mapping[str, Any], cores: int, stated: Any) -> Any:
    """Of the edition with so many cores; the catalogue's own where that is the same."""
    sold = {int(count): text for count, text in row["sold"].items()}
    nearest = min(sold, key=lambda count: abs(count - cores))
    if nearest == row["cores"] and "name" not in row:
        return stated
    return figure(sold[nearest], "MEM", "M", note=f"with {nearest} cores")


def _scaled(peak: Fields, cores: int, of: int) -> Fields:
    """A peak with another number of cores."""
    if cores == of:
        return peak
    value = parse_quantity(peak["value"], "operations per second", "peak") * cores / of
    return {
        **peak,
        "value": f"{value / 1e12:.4g} TFLOP/s",
        "confidence": "derived",
        "note": f"{cores} of {of} cores",
    }


def with_capacity(chip: Fields, device: SeenDevice, source: str) -> Fields:
    """The chip with as much memory as the driver says it has, less what the driver keeps."""
    if device.memory_bytes is None:
        return chip
    memory = chip["memory"][0]
    total = device.memory_bytes
    stated = memory["capacity"]
    text = stated["value"] if isinstance(stated, dict) else stated
    granted = parse_quantity(text, "bytes", "chip.memory[0].capacity")
    if device.kept_bytes is not None and device.kept_bytes < total:
        note = f"{_mebibytes(total)}, less {_mebibytes(device.kept_bytes)} that it keeps"
        found = figure(_mebibytes(total - device.kept_bytes), source, "A", note=note)
    elif granted <= total <= granted * KEPT_SHARE:
        # The catalogue knows what engines are granted of the same memory.
        note = f"the driver counts {_mebibytes(total)}, of which engines are granted this"
        found = figure(text, source, "B", note=note)
    else:
        found = figure(_mebibytes(total), source, "B", note="as counted; engines get 1 to 4 % less")
    changed = {**memory, "capacity": found}
    return {**chip, "memory": [changed, *chip["memory"][1:]]}


def _mebibytes(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
