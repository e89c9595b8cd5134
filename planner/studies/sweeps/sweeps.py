"""`sweep`: thousands of plans, on the processes of this machine or on any executor, kept in a
file as they come."""

import contextlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any

from planner.answers.question import Limits
from planner.errors import InputError, PlannerError, UnknownNameError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.records import Record, show_as
from planner.report.svg import STAGE_COLOURS, plotly
from planner.report.words import FIELD_WORDS, SAMPLE_WORDS
from planner.studies.plots import axis_title, captioned, dress
from planner.studies.study import Study
from planner.studies.sweeps.cells import (
    CHUNK_CELLS,
    Cell,
    SweepRow,
    Task,
    check_count,
    plan_chunk,
    row_of,
    tasks_of,
)
from planner.studies.sweeps.meters import EVERY_S, Meter, Tally
from planner.studies.sweeps.store import Store
from planner.studies.sweeps.tables import table_text
from planner.studies.sweeps.workers import Embedded
from planner.workload import Workload

IN_FLIGHT = 64
"""Chunks under way on an executor that was given."""
MOST_AT_ONCE = 4_096
"""Processes, or chunks under way: each process takes a thread and some 100 MB."""
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "x",
    "triangle-up",
    "triangle-down",
    "star",
    "hexagon",
    "pentagon",
)

Chunk = tuple[Task, ...]


class Sweep(Study):
    """A row for each cell, sorted by what was asked: the same table whoever made it, in however
    many runs."""

    rows: tuple[SweepRow, ...]
    left: int = 0
    """Cells that Ctrl-C left undone; the same call does them."""

    def columns(self) -> list[str]:
        """Those in which some row has something, but for the key."""
        return [
            name
            for name in super().columns()
            if name != "key" and any(_has(row, name) for row in self.rows)
        ]

    def to_parquet(self, file: str | Path) -> None:
        """Write the table as Parquet (needs pyarrow)."""
        try:
            import pyarrow  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        except ImportError:
            raise InputError(
                "Parquet needs pyarrow: pip install pyarrow; .to_frame().to_csv(file) needs nothing"
            ) from None
        self.to_frame().to_parquet(file, engine="pyarrow")

    def plot(self, x: str = "tokens_per_s_per_user", y: str = "usd_per_million_tokens") -> Any:
        """All plans by two fields of `Score`, machines by colour and models by shape (needs
        plotly)."""
        words = SAMPLE_WORDS | FIELD_WORDS
        for name in (x, y):
            if name not in words:
                raise UnknownNameError("field to draw", name, words)
        return scattered(self, x, y)


def scattered(made: Sweep, x: str, y: str) -> Any:
    """The plans by two fields, in a series for each model on each machine."""
    drawn = plotly().Figure()
    shown = [row for row in made.rows if None not in (getattr(row, x), getattr(row, y))]
    machines = sorted({row.topology for row in shown})
    models = sorted({row.model for row in shown})
    for machine, model in itertools.product(machines, models):
        rows = [row for row in shown if (row.topology, row.model) == (machine, model)]
        if rows:
            marker = {
                "color": STAGE_COLOURS[machines.index(machine) % len(STAGE_COLOURS)],
                "symbol": SYMBOLS[models.index(model) % len(SYMBOLS)],
                "size": 9,
                "line": {"width": 1, "color": "#333333"},
            }
            _add_points(drawn, rows, x, y, marker)
    dress(
        drawn,
        title=captioned(f"Best plans of {len(shown):,} cells", "source: planner's price list"),
        xaxis={"type": "log", "title": axis_title(x)},
        yaxis={"type": "log", "title": axis_title(y)},
    )
    return drawn


def _add_points(
    drawn: Any, rows: Sequence[SweepRow], x: str, y: str, marker: dict[str, Any]
) -> None:
    """Of one model on one machine."""
    drawn.add_scatter(
        name=f"{rows[0].model} on {rows[0].topology}",
        x=[getattr(row, x) for row in rows],
        y=[getattr(row, y) for row in rows],
        text=[_hover(row) for row in rows],
        mode="markers",
        marker=marker,
    )


def _has(row: SweepRow, name: str) -> bool:
    return getattr(row, name) not in (None, "", ())


def sweep_text(made: Sweep) -> str:
    """For a terminal: how many cells ended how, a table of them, and the first sentence of each
    kind without a plan."""
    return table_text(made.rows, made.left)


show_as(Sweep, text=sweep_text)


def _hover(row: SweepRow) -> str:
    shape = f"{row.pipeline_parallel} stages, tensor {row.tensor_parallel}"
    return f"{row.chips} chips, {shape}, batch {row.batch_size}, best {row.objective}"


@guarded
def sweep(
    models: str | ModelGraph | Iterable[str | ModelGraph] = (),
    topologies: str | Topology | Iterable[str | Topology] = (),
    workloads: Workload | Iterable[Workload] = (),
    objectives: str | Iterable[str] = ("tpot_s",),
    *,
    limits: Limits | None = None,
    cells: Iterable[Cell | tuple[Any, ...]] = (),
    file: str | Path | None = "sweep.sqlite",
    executor: Executor | None = None,
    processes: int | None = None,
    in_flight: int = IN_FLIGHT,
    progress: bool | Callable[[Tally], None] = True,
    resume: bool = True,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> Sweep:
    """The best plan of every combination of models, machines, workloads and objectives (fields of
    `Score`), and of `cells`.

    Rows go to `file` (SQLite) as they come, by the content of their question: a killed sweep goes
    on where it was, and what has changed is planned anew; `resume=False` plans all anew. A cell
    without a plan, or with an error, is a row that says so. Ctrl-C returns what is done. After a
    second, `processes` (None: one a core) share the work; `executor` is anything shaped like
    `concurrent.futures.Executor` instead, such as Dask's `Client.get_executor()`, with `in_flight`
    chunks of cells under way. `time_limit_s` holds for each cell; where it binds, answers depend on
    the machine. `space` "any" takes plans too that a machine's software cannot be started with.
    InputError: nothing to plan, too many cells, or options that do not go together."""
    _check_counts(executor, processes, in_flight)
    lists: list[Sequence[Any]] = [
        _several(one) for one in (models, topologies, workloads, objectives)
    ]
    cells = tuple(cells)
    check_count(math.prod(map(len, lists)) + len(cells), "these are")
    product = itertools.product(*lists)
    asked = itertools.chain(((*one, limits) for one in product), cells)
    every = tasks_of(
        asked,
        time_limit_s=time_limit_s,
        power_scope=power_scope,
        price_basis=price_basis,
        power_basis=power_basis,
        space=space,
    )
    tasks = _by_key(every)
    store = None if file is None else Store(file)
    engine = executor or Embedded(processes or _cores())
    run = _Run(engine, in_flight, store, Meter(len(tasks), progress))
    try:
        if resume:
            run.recall(tasks)
        with contextlib.suppress(KeyboardInterrupt):
            run.work(tasks)
    finally:
        run.end()
    rows = sorted(run.rows.values(), key=lambda row: row.order)
    return Sweep(rows=tuple(rows), left=len(tasks) - len(rows))


def _by_key(every: Sequence[Task]) -> list[Task]:
    """A question that was asked twice is planned once, and hard cells come among easy ones, so that
    the time that is left can be told."""
    by_key = {task.key: task for task in every}
    if not by_key:
        raise InputError(
            "a sweep needs at least one model, topology, workload and objective, or cells="
        )
    return [by_key[key] for key in sorted(by_key)]


def _check_counts(executor: Executor | None, processes: int | None, in_flight: int) -> None:
    if executor is not None and processes is not None:
        raise InputError(
            "processes= counts those that sweep starts; leave it out where executor= is given"
        )
    for name, count in (("processes", processes), ("in_flight", in_flight)):
        if count is not None and not 1 <= count <= MOST_AT_ONCE:
            raise InputError(f"{name} must be 1 to {MOST_AT_ONCE:,}, not {count}")


def rows_of(cells: Sequence[Cell], **options: Any) -> list[SweepRow]:
    """The row of each cell, in their order; `options` are those of `sweep`. What a cell is
    refused for is raised, and so is Ctrl-C; the file keeps what was done."""
    made = {row.key: row for row in sweep(cells=cells, **options).rows}
    tasks = tasks_of(
        cells,
        time_limit_s=options.get("time_limit_s"),
        power_scope=options.get("power_scope"),
        price_basis=options.get("price_basis"),
        power_basis=options.get("power_basis"),
        space=options.get("space", "engine"),
    )
    for task in tasks:
        if task.key not in made:
            raise KeyboardInterrupt
        if made[task.key].status in ("error", "lost"):
            raise InputError(made[task.key].message)
    return [made[task.key] for task in tasks]


def _several(given: Any) -> Sequence[Any]:
    return (given,) if isinstance(given, str | Record) else tuple(given)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Run:
    """Rows of one call, as they come."""

    def __init__(self, engine: Executor, in_flight: int, store: Store | None, meter: Meter) -> None:
        self.engine = engine
        self.in_flight = in_flight
        self.store = store
        self.meter = meter
        self.rows: dict[str, SweepRow] = {}

    def recall(self, tasks: list[Task]) -> None:
        """Take what the file has; a row that was lost, or is not that of its key, counts as not
        there."""
        if self.store is None:
            return
        found = self.store.known(task.key for task in tasks)
        damaged = len(found.damaged)
        for key, text in found.rows.items():
            try:
                row = SweepRow.from_json(text, edited=False)
            except InputError:
                damaged += 1
                continue
            if row.key != key:
                damaged += 1
            elif row.status != "lost":
                self.rows[key] = row
        self.meter.tell_file(damaged, found.oldest_s)
        self.meter.count([row.status for row in self.rows.values()], reused=True)

    def keep(self, done: list[tuple[str, str]]) -> None:
        """Write rows down, then count them."""
        if self.store is not None:
            self.store.keep(done)
        rows = [SweepRow.from_json(row, edited=False) for _, row in done]
        self.rows |= {row.key: row for row in rows}
        self.meter.count([row.status for row in rows])

    def work(self, tasks: list[Task]) -> None:
        """Plan what is missing, with few chunks under way, so that memory stays small."""
        waiting = deque(_pieces([task for task in tasks if task.key not in self.rows], CHUNK_CELLS))
        under_way: dict[Future[Any], Chunk] = {}
        try:
            while waiting or under_way:
                room = self.engine.room() if isinstance(self.engine, Embedded) else self.in_flight
                while waiting and len(under_way) < room:
                    chunk = waiting.popleft()
                    under_way[self._submitted(chunk)] = chunk
                for future in wait(under_way, timeout=EVERY_S, return_when=FIRST_COMPLETED).done:
                    waiting.extendleft(self._taken(future, under_way.pop(future)))
                self.meter.show()
        finally:
            for future in under_way:
                future.cancel()

    def _submitted(self, chunk: Chunk) -> Future[Any]:
        try:
            return self.engine.submit(plan_chunk, chunk)
        except RuntimeError as error:
            raise PlannerError(
                f"the executor stopped taking work after {len(self.rows)} cells ({error}); sweep"
                " again with another executor, and it continues from there"
            ) from error

    def _taken(self, future: Future[Any], chunk: Chunk) -> list[Chunk]:
        """Keep what has come of a chunk; what is left of it, in pieces as large as that. Of a
        chunk that was lost every cell is tried again, alone."""
        error = future.exception()
        if error is None:
            done = future.result()
            self.keep(done)
            return _pieces(chunk[len(done) :], len(done))
        if len(chunk) == 1:
            lost = row_of(chunk[0], lost=f"{type(error).__name__}: {error}")
            self.keep([(lost.key, lost.to_json(indent=None))])
            return []
        return _pieces(chunk, 1)

    def end(self) -> None:
        """Stop what was started here, and close the file."""
        if isinstance(self.engine, Embedded):
            self.engine.shutdown(cancel_futures=True)
        if self.store is not None:
            self.store.close()
        self.meter.show(last=True)


def _pieces(tasks: Sequence[Task], size: int) -> list[Chunk]:
    return [tuple(tasks[start : start + size]) for start in range(0, len(tasks), size)]
