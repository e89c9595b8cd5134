"""A clock that goes on by looking at it, for tests of what a time limit cuts off."""

import contextlib
import itertools
from collections.abc import Iterator
from unittest import mock

from planner import allowance


@contextlib.contextmanager
def ticking(tick_s: float) -> Iterator[mock.Mock]:
    """Within it, `time.monotonic` goes on by so much at each look, and only then.

    So a search under a limit is cut off after the same number of its steps on a free machine and
    on one that is busy, and its answer is the same. `call_count` of what is yielded says how often
    was looked.
    """
    with mock.patch("time.monotonic", side_effect=itertools.count(0.0, tick_s)) as clock:
        yield clock


@contextlib.contextmanager
def ctrl_c(number: int) -> Iterator[mock.Mock]:
    """Within it Ctrl-C comes at the look of that number, and once only."""
    looks = itertools.count(1)
    real = allowance.look

    def look() -> None:
        if next(looks) == number:
            raise KeyboardInterrupt
        real()

    with mock.patch("planner.allowance.look", side_effect=look) as looked:
        yield looked
