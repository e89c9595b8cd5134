"""Progress on standard error: over one line where somebody is watching, and a line every ten
seconds where a file or another program is."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from planner.cli.streams import complain

if TYPE_CHECKING:
    from planner.planning.search import Progress
    from planner.studies.sweeps.meters import Tally

WATCHED_S = (1.0, 0.5)
"""From when on a terminal is told, and how often."""
PIPED_S = 10.0
"""How often whoever does not watch is told."""


def is_watched() -> bool:
    """Whether a terminal is there that can write over its own line."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def over_the_line(text: str) -> None:
    """In a terminal, in the place of what stood there."""
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


class Meter:
    """How far a search has come, by its own clock."""

    def __init__(self) -> None:
        self._watched = is_watched()
        self._next_s = WATCHED_S[0] if self._watched else PIPED_S

    def __call__(self, progress: "Progress") -> None:
        if progress.elapsed_s < self._next_s:
            return
        self._next_s = progress.elapsed_s + (WATCHED_S[1] if self._watched else PIPED_S)
        best = "no plan yet" if progress.objective is None else f"best {progress.objective:.4g}"
        bound = "" if progress.bound is None else f", bound {progress.bound:.4g}"
        boxes = f"{progress.boxes_done} done, {progress.boxes_open} open"
        line = f"{progress.elapsed_s:5.0f} s  {best}{bound}  ({boxes}; Ctrl-C stops)"
        if self._watched:
            over_the_line(line)
        else:
            complain(line)


class SweepMeter:
    """A bar where somebody is watching, else a line every ten seconds; at the end what is to be
    known of rows that were found in a file."""

    def __init__(self) -> None:
        from planner.studies.sweeps.meters import terminal_bar

        self._bar = terminal_bar() if is_watched() else None
        self._last: Tally | None = None
        self._next_s = PIPED_S

    def __call__(self, tally: "Tally") -> None:
        self._last = tally
        if self._bar is not None:
            self._bar(tally, False)
        elif tally.elapsed_s >= self._next_s:
            self._next_s = tally.elapsed_s + PIPED_S
            complain(str(tally))

    def end(self) -> None:
        """Put a line in the place of the bar; where there is none, say what is old or damaged."""
        if self._last is None:
            return
        if self._bar is not None:
            self._bar(self._last, True)
        elif self._last.reused or self._last.damaged:
            complain(str(self._last))


@contextmanager
def at_work(what: str) -> Iterator[None]:
    """While something runs that says nothing itself: that it still does, and for how long."""
    done = Event()
    watched = is_watched()
    teller = Thread(target=_tell, args=(what, done, watched), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(what: str, done: Event, watched: bool) -> None:
    started = time.monotonic()
    told = False
    while not done.wait(WATCHED_S[0] if watched else PIPED_S):
        line = f"{time.monotonic() - started:5.0f} s  {what}"
        if watched:
            over_the_line(f"{line}  (Ctrl-C stops)")
            told = True
        else:
            complain(line)
    if told:
        over_the_line("")
