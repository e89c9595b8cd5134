"""A clock that goes on by looking at it, for tests of what a time limit cuts off."""

import contextlib
import itertools
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def ticking(tick_s: float) -> Iterator[mock.Mock]:
    """Within it, `time.monotonic` goes on by so much at each look, and only then.

    So a search under a limit is cut off after the same number of its steps on a free machine and
    on one that is busy, and its answer is the same. `call_count` of what is yielded says how often
    was looked.
    """
    with mock.patch("time.monotonic", side_effect=itertools.count(0.0, tick_s)) as clock:
        yield clock
