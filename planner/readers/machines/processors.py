"""Processors as their own system tells of them: `/proc/cpuinfo`, `/proc/meminfo`, `lscpu`, and on a
Mac `sysctl` and `system_profiler`. Any of these texts may follow one another."""

import re
from pathlib import Path

from planner.errors import InputError
from planner.readers.machines.seen import SeenDevice, SeenMachine

FORMAT = "lscpu, /proc or sysctl"
FIELD = re.compile(
    r"^[ \t]*([A-Za-z][\w .()/-]{0,60}?)[ \t]*:[ \t]*(\S.{0,20000}?)[ \t]*$", re.MULTILINE
)
MODEL = ("Model name", "model name", "Model", "machdep.cpu.brand_string", "Chip", "Chip Model")
BRAND = ("machdep.cpu.brand_string", "Chip", "Chipset Model")
CORES = ("hw.physicalcpu", "cpu cores")
FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "sve", "asimd", "neon",
)  # fmt: skip
CLOCK = re.compile(r"@ ?([\d.]{1,6}) ?GHz")
MEMORY = re.compile(r"(\d{1,17}) ?(kB|KB|MB|GB|TB)?")
UNITS = {"kB": 1024.0, "KB": 1024.0, "MB": 2.0**20, "GB": 2.0**30, "TB": 2.0**40}
"""As these systems mean them."""
GPU_CORES = re.compile(r"Total Number of Cores\s*:\s*(\d{1,4})\s*$", re.MULTILINE)
MOST_CORES = 65_536


def is_processor(text: str) -> bool:
    """Whether a text names a processor."""
    fields = _fields(text)
    return any(key in fields for key in MODEL)


def read_processor(text: str, path: Path) -> SeenMachine:
    """A computer of one kind of processor; a Mac's chip is one GPU and its memory."""
    fields = _fields(text)
    product = next((fields[key] for key in MODEL if key in fields), "")
    if not product:
        raise InputError(f"{path} names no processor")
    brand = next((fields[key] for key in BRAND if key in fields), "")
    if brand.startswith("Apple"):
        return SeenMachine(format=FORMAT, devices=(_mac(brand, fields, text),))

    cores, sockets = _cores(fields, text)
    device = SeenDevice(
        name="CPU",
        kind="cpu",
        product=product[:80],
        memory_bytes=_memory(fields),
        cores=cores,
        sockets=sockets,
        cycles_per_s=_clock(product, fields),
        features=_features(fields),
        text=product[:80],
    )
    return SeenMachine(format=FORMAT, devices=(device,))


def _fields(text: str) -> dict[str, str]:
    """Of keys that repeat for each processor, the first."""
    found: dict[str, str] = {}
    for key, value in FIELD.findall(text):
        found.setdefault(key, value)
    return found


def _mac(brand: str, fields: dict[str, str], text: str) -> SeenDevice:
    """Memory is the GPU's too; a limit that somebody set on the GPU's share counts."""
    memory = _memory(fields)
    limit = fields.get("iogpu.wired_limit_mb", "0")
    if limit.isdecimal() and int(limit[:9]) > 0:
        memory = int(limit[:9]) * 2.0**20
    cores = GPU_CORES.search(text)
    number = int(cores[1]) if cores else 0
    return SeenDevice(
        name="GPU0",
        kind="gpu",
        product=brand[:80],
        memory_bytes=memory,
        cores=number or None,
        text=brand[:80],
    )


def _memory(fields: dict[str, str]) -> float | None:
    for key in ("MemTotal", "hw.memsize", "Memory"):
        match = MEMORY.match(fields.get(key, ""))
        if match:
            return float(match[1]) * UNITS.get(match[2] or "", 1.0) or None
    return None


def _cores(fields: dict[str, str], text: str) -> tuple[int | None, int | None]:
    """Of all sockets, and how many these are."""
    sockets = _count(fields.get("Socket(s)"))
    each = _count(fields.get("Core(s) per socket")) or _count(fields.get("cpu cores"))
    packages = set(re.findall(r"^physical id\s*: (\d{1,4})$", text, re.MULTILINE))
    sockets = sockets or len(packages) or None
    if each is not None:
        return min(MOST_CORES, each * (sockets or 1)), sockets
    threads = len(re.findall(r"^processor\s*: \d", text, re.MULTILINE))
    return _count(fields.get("hw.physicalcpu")) or threads or None, sockets


def _count(text: str | None) -> int | None:
    text = text or ""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    return number or None


def _clock(product: str, fields: dict[str, str]) -> float | None:
    """The base clock that its name states, else the highest."""
    match = CLOCK.search(product)
    text = match[1] if match else ""
    megahertz = fields.get("CPU max MHz") or fields.get("cpu MHz") or ""
    try:
        found = float(text) * 1e9 if text else float(megahertz[:20]) * 1e6
    except ValueError:
        return None
    return found if 1e8 < found < 2e10 else None


def _features(fields: dict[str, str]) -> tuple[str, ...]:
    said = f"{fields.get('Flags', '')} {fields.get('flags', '')} {fields.get('Features', '')}"
    flags = set(said.split())
    return tuple(name for name in FEATURES if name in flags)
