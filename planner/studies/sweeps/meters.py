"""How far many plans have come: a bar in a terminal or in a notebook."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from importlib import import_module
from typing import Any

from planner.records import Record

EVERY_S = 0.2
FAILED = ("error", "lost", "no plan in time")


class Tally(Record):
    """How far a sweep has come."""

    cells: int
    """All of them."""
    reused: int
    """Found in the file."""
    planned: int
    """In this run; the three below are of them and of those found."""
    infeasible: int
    failed: int
    elapsed_s: float
    damaged: int = 0
    """Rows of the file that were not as they were written, and are planned anew."""
    oldest: str = ""
    """The day on which the oldest of the rows found was planned, such as "2026-11-30"; "": none
    says."""

    @property
    def done(self) -> int:
        return self.reused + self.planned

    @property
    def left_s(self) -> float | None:
        """Until the last is done, as fast as those of this run were; None before the first."""
        return (self.cells - self.done) * self.elapsed_s / self.planned if self.planned else None

    def __str__(self) -> str:
        """'120 of 400 cells, 40 found in the file, 2 infeasible; 31 s left'."""
        counts = (
            (self.reused, "found in the file"),
            (self.infeasible, "infeasible"),
            (self.failed, "failed"),
        )
        told = [f"{count:,} {word}" for count, word in counts if count]
        if self.oldest and self.reused:
            told[0] += f" (the oldest of {self.oldest})"
        if self.damaged:
            told.append(f"{self.damaged:,} damaged there and planned anew")
        text = ", ".join([f"{self.done:,} of {self.cells:,} cells", *told])
        if self.done == self.cells:
            return f"{text}; {clock(self.elapsed_s)}"
        return text if self.left_s is None else f"{text}; {clock(self.left_s)} left"


def clock(seconds: float) -> str:
    """'31 s', '2:05 min', '1:02 h'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


Shown = Callable[[Tally, bool], None]
"""Shows a tally; whether it is the last."""


class Meter:
    """Counts rows and shows the tally: by `progress` where that is a function, else as a bar
    where somebody watches."""

    def __init__(self, cells: int, progress: bool | Callable[[Tally], None]) -> None:
        self._started = self._shown_at = time.monotonic()
        self._counts = {"cells": cells, "reused": 0, "planned": 0, "infeasible": 0, "failed": 0}
        self._of_file: dict[str, Any] = {}
        if callable(progress):
            self._shown: Shown | None = lambda tally, _: progress(tally)
        else:
            self._shown = _bar() if progress else None

    def count(self, statuses: list[str], *, reused: bool = False) -> None:
        """Rows that have come."""
        self._counts["reused" if reused else "planned"] += len(statuses)
        self._counts["infeasible"] += statuses.count("infeasible")
        self._counts["failed"] += sum(status in FAILED for status in statuses)

    def tell_file(self, damaged: int, oldest_s: float | None) -> None:
        """What is to be known of the file that rows were found in."""
        oldest = "" if oldest_s is None else f"{datetime.fromtimestamp(oldest_s, UTC):%Y-%m-%d}"
        self._of_file = {"damaged": damaged, "oldest": oldest}

    def show(self, *, last: bool = False) -> None:
        """Show the tally, not too often."""
        now = time.monotonic()
        if self._shown is not None and (last or now - self._shown_at >= EVERY_S):
            self._shown_at = now
            tally = Tally(**self._counts, **self._of_file, elapsed_s=now - self._started)
            self._shown(tally, last)


def _bar() -> Shown | None:
    """A bar where somebody watches: in a notebook, or in a terminal."""
    shell = sys.modules.get("IPython")
    if shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell":
        return page_bar()
    return terminal_bar() if sys.stderr.isatty() else None


def page_bar() -> Shown:
    """A bar in a notebook: one piece of HTML, drawn anew."""
    page: Any = import_module("IPython.display")
    handle = page.display(page.HTML(""), display_id=True)

    def show(tally: Tally, last: bool) -> None:
        bar = "" if last else f"<progress value='{tally.done}' max='{tally.cells}'></progress> "
        handle.update(page.HTML(bar + escape(str(tally))))

    return show


def terminal_bar() -> Shown:
    """A bar on standard error, and a line in its place at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(BarColumn(), TextColumn("{task.description}"), console=console, transient=True)
    task = bar.add_task("", total=None)
    bar.start()

    def show(tally: Tally, last: bool) -> None:
        bar.update(task, total=tally.cells, completed=tally.done, description=str(tally))
        if last:
            bar.stop()
            console.print(str(tally), highlight=False)

    return show
