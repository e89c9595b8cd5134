"""What the machine at hand reaches: bytes a second from its memory, copied and in STREAM's triad, by
one thread and by all, and operations a second in a matrix product; of a GPU where PyTorch is there.

Each is repeated; the median is what a file states, and how far repeats lie apart is its doubt.
"""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.detection.origins import Fields, figure, today
from planner.detection.probing import package_at_hand
from planner.errors import InputError
from planner.units import parse_quantity, spoken

Array = NDArray[np.float64]
REPEATS = 7
MOST_REPEATS = 1000
ARRAY_BYTES = 256 * 2**20
"""Of each of three arrays: several times any cache."""
MATRIX_WIDTH = 4096
GPU_WIDTH = 8192
LEAST_DOUBT = 1.02
"""Clocks and neighbours move a machine by that much from day to day."""


class Measurement(NamedTuple):
    """One thing that was measured."""

    what: str
    """Such as "triad, all threads"."""
    of: str
    """What it is a figure of: "bandwidth", or a format."""
    rates: tuple[float, ...]
    """Each repeat's, in bytes or operations a second."""
    device: str = "cpu"

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    @property
    def spread(self) -> float:
        """By what factor the tenth part of repeats that is farthest off differs from the median."""
        low, high = np.quantile(self.rates, (0.1, 0.9))
        return float(max(high / self.median, self.median / low))

    @property
    def said(self) -> str:
        """For a person."""
        unit = "B/s" if self.of == "bandwidth" else "FLOP/s"
        low, high = spoken(min(self.rates), unit), spoken(max(self.rates), unit)
        return f"{spoken(self.median, unit)} ({low} to {high} in {len(self.rates)} runs)"


class Bench(NamedTuple):
    """How much is measured, and by what clock."""

    repeats: int = REPEATS
    array_bytes: int = ARRAY_BYTES
    width: int = MATRIX_WIDTH
    clock: Callable[[], float] = time.perf_counter
    threads: int | None = None
    """None: as many as this process may run on."""


def measured_here(bench: Bench | None = None) -> tuple[Measurement, ...]:
    """Everything that can be measured here."""
    bench = bench or Bench()
    if not 1 <= bench.repeats <= MOST_REPEATS:
        raise InputError(f"--repeats must lie between 1 and {MOST_REPEATS}, not {bench.repeats}")
    found = [*_memory(bench), _product(bench)]
    torch = package_at_hand("torch")
    if torch is not None:
        found += _with_torch(torch, bench)
    return tuple(found)


def _rates(run: Callable[[], object], amount: float, bench: Bench) -> tuple[float, ...]:
    """What each repeat reaches; a first run warms up and does not count."""
    run()
    rates = []
    for _ in range(bench.repeats):
        begun = bench.clock()
        run()
        rates.append(amount / max(bench.clock() - begun, 1e-9))
    return tuple(rates)


def _memory(bench: Bench) -> list[Measurement]:
    """Copies and triads; bytes are counted as STREAM counts them, each read and each written once.
    Numpy's triad goes over an array twice: five are moved in place of three."""
    count = max(1, bench.array_bytes // 8)
    target, one, other = (np.full(count, value) for value in (0.0, 1.0, 2.0))
    every = bench.threads or _threads()
    found = []
    for threads in dict.fromkeys((1, every)):
        parts = _parts(count, threads)
        words = "one thread" if threads == 1 else f"{threads} threads"
        with ThreadPoolExecutor(threads) as pool:

            def copy(part: slice) -> None:
                np.copyto(target[part], one[part])

            def triad(part: slice) -> None:
                np.multiply(other[part], 3.0, out=target[part])
                np.add(target[part], one[part], out=target[part])

            for name, kernel, moved in (("copy", copy, 2), ("triad", triad, 5)):
                run = partial(_over_parts, pool, kernel, parts)
                rates = _rates(run, moved * count * 8, bench)
                found.append(Measurement(f"{name}, {words}", "bandwidth", rates))
    return found


def _over_parts(
    pool: ThreadPoolExecutor, kernel: Callable[[slice], None], parts: Sequence[slice]
) -> None:
    """Every part by a thread, and all of them done."""
    list(pool.map(kernel, parts))


def _threads() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _parts(count: int, threads: int) -> list[slice]:
    bounds = np.linspace(0, count, threads + 1).astype(int).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(bounds)]


def _product(bench: Bench) -> Measurement:
    """A matrix product in FP32, by whatever numpy was built on, with all threads."""
    draw = np.random.default_rng(0)
    left, right = (draw.random((bench.width, bench.width), dtype=np.float32) for _ in range(2))
    out = np.empty_like(left)
    rates = _rates(lambda: np.matmul(left, right, out=out), 2.0 * bench.width**3, bench)
    return Measurement(f"matrix product, {bench.width} wide", "fp32", rates)


def _with_torch(torch: Any, bench: Bench) -> list[Measurement]:
    """Of the first GPU its memory and BF16; without one BF16 of the processor."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    width = bench.width if device == "cpu" or bench.width < MATRIX_WIDTH else GPU_WIDTH
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    found = []

    def run_all(kernel: Callable[[], object]) -> None:
        kernel()
        wait()

    left, right = (torch.rand(width, width, device=device).to(torch.bfloat16) for _ in range(2))
    rates = _rates(lambda: run_all(lambda: left @ right), 2.0 * width**3, bench)
    found.append(Measurement(f"matrix product, {width} wide", "bf16", rates, device))
    if device == "cuda":
        source = torch.ones(bench.array_bytes, dtype=torch.float32, device=device)
        target = torch.empty_like(source)
        moved = 2.0 * 4 * bench.array_bytes
        rates = _rates(lambda: run_all(lambda: target.copy_(source)), moved, bench)
        found.append(Measurement("copy", "bandwidth", rates, device))
    return found


def with_measurements(fields: Fields, measured: Sequence[Measurement]) -> Fields:
    """A machine's file with what was measured in place of what was taken: of its chip where that is
    what was measured, of its host where the chip is a GPU and the processor was."""
    gpu = any(one.device == "cuda" for one in measured)
    own = [one for one in measured if (one.device == "cuda") == gpu]
    is_host = "host" in fields
    if gpu or not is_host:
        fields = {**fields, "chip": _with(fields["chip"], own, 1)}
    if is_host:
        shares = int(fields.get("chips", 1))
        processor = [one for one in measured if one.device == "cpu"]
        fields = {**fields, "host": _with(fields["host"], processor, shares)}
    return fields


def _with(chip: Fields, measured: Sequence[Measurement], shares: int) -> Fields:
    """A chip, or the share of one of so many chips in a host, with what was measured of it."""
    rates = [one for one in measured if one.of == "bandwidth"]
    made = dict(chip)
    if rates:
        best = max(rates, key=lambda one: one.median)
        memory = {**chip["memory"][0], "bandwidth": _figure(best, "GB/s", 1e9, shares)}
        made["memory"] = [memory, *chip["memory"][1:]]
    stated = {one.of: one for one in measured if one.of != "bandwidth"}
    made["peak"] = [_peak(peak, stated, chip["peak"], shares) for peak in chip["peak"]]
    return made


def _peak(
    peak: Fields, stated: dict[str, Measurement], peaks: Sequence[Fields], shares: int
) -> Fields:
    """As measured; a guess moves with what was measured of the format that it was guessed from."""
    if peak["dtype"] in stated:
        made = _figure(stated[peak["dtype"]], "TFLOP/s", 1e12, shares)
        return {"dtype": peak["dtype"], **made}
    base = next((one for one in peaks if one["dtype"] == "fp32"), None)
    if peak.get("confidence") != "guess" or base is None or "fp32" not in stated:
        return peak
    guessed, before = (
        parse_quantity(one["value"], "operations per second", "peak") for one in (peak, base)
    )
    value = guessed / before * stated["fp32"].median / shares
    note = "in FP32's proportion, which was measured"
    return {**peak, "value": f"{value / 1e12:.4g} TFLOP/s", "note": note}


def _figure(one: Measurement, unit: str, scale: float, shares: int) -> Fields:
    doubt = round(max(one.spread, LEAST_DOUBT), 3)
    share = "" if shares == 1 else f", a {shares}th of it for each chip"
    value = f"{one.median / shares / scale:.5g} {unit}"
    return figure(
        value, f"measured here, {today()}", "A", note=f"{one.what}: {one.said}{share}", within=doubt
    )
