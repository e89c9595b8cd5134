"""Work that is cut off: by the clock, or by Ctrl-C."""

from collections.abc import Callable

from planner import allowance
from planner.errors import TimeUpError


def cut_off(work: Callable[[], object], deadline: float) -> bool | None:
    """Do some work until a deadline on the monotonic clock; None where it was done, else whether it
    was Ctrl-C that ended it."""
    try:
        with allowance.until(deadline):
            work()
    except KeyboardInterrupt:
        allowance.end()
        return True
    except TimeUpError as up:
        return up.interrupted
    return None
