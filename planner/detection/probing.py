"""The machine at hand, asked: NVML where its Python package is there, else `nvidia-smi`, `rocm-smi`,
`lscpu` and `/proc`; on a Mac `sysctl` and `system_profiler`.

Programs are started by their whole path, never from the working folder, and not waited for long.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from planner.detection.nvml import seen_by_nvml
from planner.errors import InputError
from planner.readers.machines.amd_matrix import is_amd_matrix, read_amd_matrix
from planner.readers.machines.nvidia_matrix import is_matrix, read_matrix
from planner.readers.machines.nvidia_products import is_products, read_products
from planner.readers.machines.processors import is_processor, read_processor
from planner.readers.machines.recognition import merged
from planner.readers.machines.seen import SeenMachine

PATIENCE_S = 30.0
"""A driver that hangs is no reason to."""
MOST_CHARACTERS = 4 * 2**20
QUERY = (
    "--query-gpu=index,name,memory.total,memory.reserved,pcie.link.gen.max,pcie.link.width.current"
)
PLAIN_QUERY = "--query-gpu=index,name,memory.total"
"""Old drivers know no more."""
HERE = Path("this machine")
MAC_FACTS = ("machdep.cpu.brand_string", "hw.memsize", "hw.physicalcpu", "iogpu.wired_limit_mb")


class Probe(NamedTuple):
    """How the machine is asked; tests answer in its place."""

    run: Callable[..., str | None]
    """What a program prints, given its name and arguments; None: it is not there, or fails."""
    text: Callable[[str], str | None]
    """What a file of the kernel holds; None: it is not there."""
    nvml: Callable[[], Any]
    """NVML's Python package; None: it is not there."""
    system: str
    """As Python calls it: "linux", "darwin", "win32"."""
    processors: int | None
    """That this process may run on."""


def at_hand() -> Probe:
    """The machine that this runs on."""
    allowed = getattr(os, "sched_getaffinity", None)
    processors = len(allowed(0)) if allowed is not None else os.cpu_count()
    return Probe(printed_by, _text_of, _nvml, sys.platform, processors)


def machine_here(probe: Probe | None = None) -> SeenMachine:
    """What is seen of the machine at hand."""
    probe = probe or at_hand()
    if probe.system == "darwin":
        return _mac(probe)
    found = [one for one in (_nvidia(probe) or _amd(probe), _processor(probe)) if one is not None]
    if not found:
        raise InputError(
            "no program or file here says what this machine is (nvidia-smi, rocm-smi, lscpu,"
            " /proc/cpuinfo); give a description with --from"
        )
    return merged(found)


def _nvidia(probe: Probe) -> SeenMachine | None:
    package = probe.nvml()
    seen = seen_by_nvml(package) if package is not None else None
    if seen is not None:
        return seen
    # Without numbers apart from names a text is none of a query's.
    named = probe.run("nvidia-smi", QUERY, "--format=csv")
    named = named or probe.run("nvidia-smi", PLAIN_QUERY, "--format=csv")
    named = named or probe.run("nvidia-smi", "-L")
    if not named or not is_products(named):
        return None
    matrix = probe.run("nvidia-smi", "topo", "-m") or ""
    text = f"{matrix}\n{named}"
    return read_matrix(text, HERE) if is_matrix(matrix) else read_products(named, HERE)


def _amd(probe: Probe) -> SeenMachine | None:
    links = probe.run("rocm-smi", "--showtopo")
    if not links or not is_amd_matrix(links):
        return None
    names = probe.run("rocm-smi", "--showproductname") or ""
    return read_amd_matrix(f"{links}\n{names}", HERE)


def _processor(probe: Probe) -> SeenMachine | None:
    """The processor and its memory, as far as this process may use them."""
    board = probe.text("/proc/device-tree/model") or ""
    name = board.replace("\x00", " ").strip()
    text = f"Model name: {name}\n" if name else ""
    text += probe.run("lscpu") or probe.text("/proc/cpuinfo") or ""
    text += "\n" + (probe.text("/proc/meminfo") or "")
    if not is_processor(text):
        return None
    seen = read_processor(text, HERE)
    (cpu,) = seen.devices
    limit = (probe.text("/sys/fs/cgroup/memory.max") or "").strip()
    most = float(limit) if limit.isdecimal() and len(limit) < 19 else float("inf")
    remarks = []
    if cpu.memory_bytes is not None and most < cpu.memory_bytes:
        cpu = cpu.replace(memory_bytes=most)
        remarks.append("the memory is the limit of this container")
    if cpu.cores is not None and probe.processors is not None and probe.processors < cpu.cores:
        cpu = cpu.replace(cores=probe.processors)
        remarks.append(f"this process may use {probe.processors} processors, fewer than there are")
    return seen.replace(devices=(cpu,), remarks=tuple(remarks))


def _mac(probe: Probe) -> SeenMachine:
    facts = [probe.run("sysctl", name) or "" for name in MAC_FACTS]
    facts.append(probe.run("system_profiler", "SPDisplaysDataType") or "")
    text = "\n".join(facts)
    if not is_processor(text):
        raise InputError(
            "neither sysctl nor system_profiler says what this Mac is; give their output with"
            " --from"
        )
    return read_processor(text, HERE)


def printed_by(name: str, *arguments: str) -> str | None:
    """What a program prints; None where it is not there, fails, or takes too long."""
    path = program(name)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            env=os.environ | {"LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    return done.stdout[:MOST_CHARACTERS].decode("utf-8", "replace")


def program(name: str) -> str | None:
    """The whole path of a program; never one in the working folder, where anybody may have put it."""
    here = Path.cwd().resolve()
    folders = [
        folder
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if os.path.isabs(folder) and Path(folder).resolve() != here
    ]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None or not os.path.isabs(found) or Path(found).parent.resolve() == here:
        return None
    return found


def _text_of(path: str) -> str | None:
    try:
        with open(path, "rb") as stream:
            return stream.read(MOST_CHARACTERS).decode("utf-8", "replace")
    except OSError:
        return None


def _nvml() -> Any:
    return package_at_hand("pynvml")


def package_at_hand(name: str) -> Any:
    """An installed package, imported; None where there is none, or only a file of that name in the
    working folder."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    here = Path.cwd().resolve()
    if here in (Path(found.origin).resolve().parent, Path(found.origin).resolve().parent.parent):
        return None
    try:
        return import_module(name)
    except (ImportError, OSError):
        return None
