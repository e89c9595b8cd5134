"""A machine whose chips are cores of this one, as ranks of a run use them: one thread each.

What a core reaches is measured by CPU seconds, with the products that ranks do, so that other work
on the machine counts for little: of a few rows the bandwidth, of many the arithmetic.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from planner.detection.origins import Fields, figure, today
from planner.errors import InputError
from planner.running.launching import check_extra
from planner.running.stages import packed

WIDTH = 2048
MATRICES = 8
"""Read one after the other: together several times any cache."""
ROWS = 512
FEW_ROWS = 4
"""With which products wait for memory alone; one row runs a slower kernel."""
MOST_REPEATS = 1000
LOOPBACK = "2 GB/s"
STATISTICS = Path("/proc/stat")
LOOK_S = 0.5
IDLE_CORES = 0.5
"""What an idle machine may be seen to work beside."""


class Core(NamedTuple):
    """What one core reaches, each repeat's."""

    flop_per_s: tuple[float, ...]
    bytes_per_s: tuple[float, ...]


def measured_core(repeats: int = 7, clock: Callable[[], float] = time.process_time) -> Core:
    """Products of a few rows and of many with packed weights, by one thread."""
    check_extra()
    if not 1 <= repeats <= MOST_REPEATS:
        raise InputError(f"--repeats must lie between 1 and {MOST_REPEATS}, not {repeats}")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            return _measured(torch, repeats, clock)
    finally:
        torch.set_num_threads(threads)


def _measured(torch: Any, repeats: int, clock: Callable[[], float]) -> Core:
    products = [packed(torch, torch.rand(WIDTH, WIDTH), None) for _ in range(MATRICES)]

    def rates(rows: int, amount: float) -> tuple[float, ...]:
        states = torch.rand(rows, WIDTH)
        found = []
        for _ in range(repeats + 1):
            begun = clock()
            for product in products:
                product(states)
            found.append(amount / max(clock() - begun, 1e-9))
        return tuple(found[1:])  # the first one warms up

    weights = MATRICES * WIDTH**2
    return Core(rates(ROWS, 2.0 * ROWS * weights), rates(FEW_ROWS, 4.0 * weights))


def cores_at_hand() -> int:
    """That this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def busy_cores(
    ticks: Callable[[], tuple[float, float]] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> float:
    """Cores that other work keeps busy while we wait for a moment; none where nobody counts."""
    ticks = ticks or _ticks
    before = ticks()
    wait(LOOK_S)
    idle, whole = (after - first for after, first in zip(ticks(), before, strict=True))
    return (1 - idle / whole) * (os.cpu_count() or 1) if whole > 0 else 0.0


def _ticks() -> tuple[float, float]:
    """Of all cores since the start, idle and all, as Linux counts them."""
    try:
        counted = STATISTICS.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0, 0.0
    ticks = [float(one) for one in counted[:8]]
    return sum(ticks[3:5]), sum(ticks)


def remarks_on(ranks: int, cores: int, busy: float) -> list[str]:
    """What makes times by the wall longer than a plan's own."""
    if ranks > cores:
        return [
            f"{ranks} ranks share {cores} cores: CPU seconds and bytes are still right, but"
            " wall-clock times are not"
        ]
    if busy + ranks > cores + IDLE_CORES:
        return [
            f"other work keeps {busy:.1f} of {cores} cores busy: wall-clock times will be too"
            " long; wait, or use --clock cpu"
        ]
    return []


def memory_at_hand_bytes() -> float:
    """Of the whole machine."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def machine_of_cores(
    core: Core, name: str, ranks: int, memory_bytes: float, processor: str
) -> Fields:
    """A machine's file, with a chip for each rank."""
    if ranks < 1:
        raise InputError(f"--ranks must be at least 1, not {ranks}")
    source = f"measured here, {today()}"
    peak = {"dtype": "fp32", **_figure(core.flop_per_s, "GFLOP/s", 1e9, source, f"{ROWS} rows")}
    capacity = figure(
        f"{0.9 * memory_bytes / ranks / 2**30:.4g} GiB",
        source,
        "A",
        note=f"0.9 of {memory_bytes / 2**30:.4g} GiB, shared out over {ranks} ranks",
    )
    memory = {
        "name": "memory of the computer",
        "capacity": capacity,
        "bandwidth": _figure(core.bytes_per_s, "GB/s", 1e9, source, f"{FEW_ROWS} rows"),
    }
    made: Fields = {
        "name": name,
        "title": f"{processor}: {ranks} ranks of one thread",
        "chips": ranks,
        "software": "torch-gloo",
        "chip": {"name": f"core of {processor}", "peak": [peak], "memory": [memory]},
    }
    if ranks > 1:
        made["fabric"] = [_loopback(ranks)]
    return made


def _loopback(ranks: int) -> Fields:
    """Between processes: what the stack's figures were fitted over."""
    note = "by CPU seconds of one end; the stack's share of it was fitted"
    return {
        "name": "loopback",
        "shape": "switch",
        "units": ranks,
        "bandwidth": figure(LOOPBACK, "OURS", "guess", note=note),
        "latency": figure("10 us", "OURS", "guess"),
    }


def _figure(rates: tuple[float, ...], unit: str, scale: float, source: str, note: str) -> Fields:
    median = statistics.median(rates)
    doubt = round(max(1.02, max(rates) / median, median / min(rates)), 3)
    words = f"{note}, {len(rates)} runs by CPU time"
    return figure(f"{median / scale:.4g} {unit}", source, "A", note=words, within=doubt)
