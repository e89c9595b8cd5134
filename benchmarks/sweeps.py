"""`python -m benchmarks.sweeps [--cells N] [--kills N] [--only-kills] [--dask]`: speed of a sweep
with two processes against one, and whether two sweeps into one file, killed again and again, end
with the same table as one that is not."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import planner as pl
from benchmarks.isolated import isolated
from planner.studies import Cell, Sweep, Tally, sweep
from planner.studies.sweeps import meters

LANES = 2
"""Processes that sweep into one file at once."""
MOST_LATER_S = 0.05
"""Within which a kill comes once it is its time."""
MODELS = ("llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b")
MACHINES = ("rtx-4090", "hgx-h100", "gh200")


def small_cells(count: int) -> list[Cell]:
    """Plans of a few milliseconds each: small models on one chip, one request, every length
    another."""
    models = [pl.load_model(name, weight_dtype="fp8") for name in MODELS]
    machines = [pl.load_topology(name, chips=1) for name in MACHINES]
    return [
        Cell(
            models[n % 3],
            machines[n // 3 % 3],
            pl.Workload(prompt_tokens=100 + n // 9, output_tokens=128),
        )
        for n in range(count)
    ]


def table(made: Sweep) -> bytes:
    """The table as it would be written."""
    return made.to_frame().to_csv(index=False).encode()


@dataclass(frozen=True, slots=True)
class Taken:
    """What a sweep took."""

    wall_s: float
    cpu_s: float
    """Of this process and of those that it started."""
    table: bytes


def timed(cells: list[Cell], **options: object) -> Taken:
    """A sweep from nothing."""
    before, started = os.times(), time.perf_counter()
    made = sweep(cells=cells, file=None, **options)  # type: ignore[arg-type]
    wall, after = time.perf_counter() - started, os.times()
    return Taken(wall, sum(after[:4]) - sum(before[:4]), table(made))


def killed_once(cells: int, file: Path, after_cells: int, later_s: float) -> bool:
    """Sweep in a process of its own, which gets SIGKILL so long after it has written so many cells:
    while it plans, while it writes, or in between; whether it came in time."""
    arguments = ("--cells", str(cells), "--into", str(file.resolve()))
    command = isolated("-m", "benchmarks.sweeps", *arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            # It waits for this answer, so that a busy machine does not plan far beyond the moment.
            process.stdin.write(b"\n")
            process.stdin.flush()
            if int(line) >= after_cells:
                time.sleep(later_s)
                process.send_signal(signal.SIGKILL)
                break
    return process.returncode == -signal.SIGKILL


def killed_often(
    cells: list[Cell], kills: int, folder: Path, *, seed: int = 0
) -> tuple[bytes, int]:
    """The table of a file into which two processes sweep the same cells at once, each killed again
    and again, so many times together, after random numbers of cells; and how many of the cells
    the last run still had to plan.

    Moments are counted in cells, and only their last bit in time: on a busy machine a second may
    pass before the first cell is planned.
    """
    file = folder / "killed.sqlite"
    told: list[Tally] = []
    most = 2 * len(cells) // (kills + 2)

    def lane(number: int) -> int:
        """How many of the kills of one of the two came in time."""
        moments = random.Random(f"{seed} {number}")
        own = range(number, kills, LANES)
        chosen = [(moments.randint(0, most), moments.random() * MOST_LATER_S) for _ in own]
        return sum(killed_once(len(cells), file, *moment) for moment in chosen)

    with ThreadPoolExecutor(LANES) as lanes:
        came = sum(lanes.map(lane, range(LANES)))
    print(f"{came} of {kills} kills came in time", file=sys.stderr)
    made = sweep(cells=cells, file=file, progress=told.append)
    assert told[-1].reused + told[-1].planned == len(cells)
    return table(made), told[-1].planned


def dask_cluster(**options: Any) -> Any:
    """A cluster of Dask on this machine, without a page about it.

    Its scheduler opens a port for HTTP even so: 8787 unless told otherwise, which another cluster
    may hold.
    """
    from distributed import LocalCluster

    http = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    return LocalCluster(
        dashboard_address=None, worker_dashboard_address=None, scheduler_kwargs=http, **options
    )


def dask_table(cells: list[Cell], workers: int = 2) -> bytes:
    """The table from a cluster of Dask workers, each a process on this machine."""
    from distributed import Client

    with (
        dask_cluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        return table(sweep(cells=cells, file=None, executor=client.get_executor(), progress=False))


def _told_as_written(cells: list[Cell], file: Path) -> None:
    """Sweep, and print how many cells were written, at the start and whenever there are more; each
    time wait for a line before going on."""

    def tell(planned: int) -> None:
        print(planned, flush=True)
        sys.stdin.readline()

    meters.EVERY_S = 0.0
    tell(0)
    sweep(cells=cells, file=file, processes=1, progress=lambda tally: tell(tally.planned))


def main() -> None:
    """Measure and print; exit status 1 where a table differs."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.sweeps", description="Speed and steadfastness of sweeps."
    )
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--dask", action="store_true", help="also on a cluster of two Dask workers")
    parser.add_argument("--only-kills", action="store_true", help="no speeds")
    parser.add_argument("--into", type=Path, help="only sweep into this file")
    options = parser.parse_args()
    cells = small_cells(options.cells)
    if options.into:
        _told_as_written(cells, options.into)
        return
    one = timed(cells, processes=1)
    tables = {}
    if not options.only_kills:
        two = timed(cells, processes=2)
        tables["2 processes"] = two.table
        for name, taken in (("1 process", one), ("2 processes", two)):
            per_cell = 1e3 * taken.cpu_s / len(cells)
            spent = f"{taken.wall_s:>8.1f} s wall{taken.cpu_s:>8.1f} s CPU"
            print(f"{name:<12}{spent}{per_cell:>7.2f} ms CPU a cell")
        print(f"2 processes are {one.wall_s / two.wall_s:.2f} × as fast as 1")
    with tempfile.TemporaryDirectory() as folder:
        tables[f"{options.kills} kills"], left = killed_often(cells, options.kills, Path(folder))
    print(f"{left:,} of {len(cells):,} cells were left for the run after the last kill")
    if options.dask:
        tables["Dask"] = dask_table(cells)
    wrong = [name for name, made in tables.items() if made != one.table]
    print(f"tables that differ from the first: {', '.join(wrong) or 'none'}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
