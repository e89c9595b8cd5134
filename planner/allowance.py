"""What a question may take: time and memory, looked at wherever work on it is long.

A verb allows its question so much (`allowed_for`); whatever is done for it, however deep, looks at
the clock now and then (`look`), and asks for memory before it takes much (`ask_for_bytes`). Neither
is handed down from function to function. A look at a clock that has run out raises a TimeUpError:
whoever has an answer so far, or a bound, catches it, as Ctrl-C. Ctrl-C ends all clocks there are
(`end`), so that both take one path.
"""

import functools
import inspect
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar

from planner.errors import InputError, TimeUpError, TooLargeError

P = ParamSpec("P")
T = TypeVar("T")

BEYOND_S, BEYOND_SHARE = 0.25, 0.02
"""What is granted beyond a limit to round an answer off: seconds, and a share of the limit."""
SHARE_OF_MEMORY = 0.5
"""Of the memory of this computer, that a question may take where nothing is said."""
LEAST_BYTES = 100e6
"""About what the program itself takes, whatever is asked: no limit may be lower."""
USUAL_BYTES = 8e9
"""Where it is not known how much that is."""


@dataclass(slots=True)
class Allowance:
    """What one question may take, within what the question may that it is asked for."""

    started: float
    deadline: float
    """On the monotonic clock. [s]"""
    memory_bytes: float
    outer: "Allowance | None" = None
    interrupted: bool = False
    """Whether Ctrl-C came."""

    @property
    def is_up(self) -> bool:
        """Whether the time is over."""
        if self.interrupted:
            return True
        return self.deadline != math.inf and time.monotonic() >= self.deadline


_current: ContextVar[Allowance | None] = ContextVar("planner allowance", default=None)


def look() -> None:
    """Go on only while there is time: a TimeUpError otherwise."""
    now = _current.get()
    if now is not None and now.is_up:
        _refuse(now)


def _refuse(now: Allowance) -> NoReturn:
    raise TimeUpError(interrupted=now.interrupted)


def is_up() -> bool:
    """Whether the time of the question is over."""
    now = _current.get()
    return now is not None and now.is_up


def left_s() -> float | None:
    """Of the time of the question; None where there is no limit to it."""
    now = _current.get()
    if now is None or (now.deadline == math.inf and not now.interrupted):
        return None
    return 0.0 if now.interrupted else max(0.0, now.deadline - time.monotonic())


def is_interrupted() -> bool:
    """Whether Ctrl-C has ended the question."""
    now = _current.get()
    return now is not None and now.interrupted


def remedy() -> str:
    """What helps a question that was cut off too early, in words."""
    return "let it run longer" if is_interrupted() else "allow more time"


def end() -> None:
    """Let the time be over for the question and for those that it is asked for: Ctrl-C came."""
    now = _current.get()
    while now is not None:
        now.interrupted = True
        now = now.outer


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Within it the time is over at a value of `time.monotonic` too."""
    outer = _current.get()
    if outer is None:
        made = Allowance(time.monotonic(), deadline, usual_memory_bytes())
    else:
        last = min(deadline, outer.deadline)
        made = Allowance(outer.started, last, outer.memory_bytes, outer, outer.interrupted)
    with _as_current(made):
        yield


@contextmanager
def in_part(most_s: float, share: float) -> Iterator[bool]:
    """Within it the time is over after a share of what is left, so many seconds at most; what is
    yielded says whether there is any limit."""
    left = left_s()
    if left is None:
        yield False
        return
    with until(time.monotonic() + min(most_s, share * left)):
        yield True


@contextmanager
def beyond() -> Iterator[None]:
    """Within it there is a little time again, after it ran out, to round an answer off."""
    outer = _current.get()
    if outer is None:
        yield
        return
    first = outer
    while first.outer is not None:
        first = first.outer
    now = time.monotonic()
    limit_s = first.deadline - first.started
    more_s = BEYOND_S + (BEYOND_SHARE * limit_s if math.isfinite(limit_s) else 0.0)
    with _as_current(Allowance(now, now + more_s, outer.memory_bytes)):
        yield


@contextmanager
def apart(time_limit_s: float | None) -> Iterator[None]:
    """Within it there is so much time, whatever is left of the question's; its memory holds."""
    now = _current.get()
    with freely(), allowed_for(time_limit_s, None if now is None else now.memory_bytes):
        yield


@contextmanager
def freely() -> Iterator[None]:
    """Within it no look is refused: for what has to be done in any case, and is short."""
    with _as_current(None):
        yield


@contextmanager
def _as_current(allowance: Allowance | None) -> Iterator[None]:
    token = _current.set(allowance)
    try:
        yield
    finally:
        _current.reset(token)


def allowing(function: Callable[P, T]) -> Callable[P, T]:
    """A verb, whose question may take what its arguments `time_limit_s` and `memory_limit_bytes`
    say; Ctrl-C where nothing is known yet is a TimeUpError."""
    named = inspect.signature(function).parameters
    usual = {one: named[one].default for one in LIMITS if one in named}

    @functools.wraps(function)
    def called(*values: P.args, **given: P.kwargs) -> T:
        limits: dict[str, Any] = {one: given.get(one, default) for one, default in usual.items()}
        _refuse_too_little(limits.get("memory_limit_bytes"))
        with allowed_for(**limits):
            try:
                return function(*values, **given)
            except KeyboardInterrupt:
                end()
                raise TimeUpError(interrupted=True) from None

    return called


def _refuse_too_little(most_bytes: float | None) -> None:
    """Refuse a limit that could not be kept: what is counted are tables, not the program."""
    if most_bytes is not None and most_bytes < LEAST_BYTES:
        raise InputError(
            f"memory_limit_bytes (--memory-limit) must be at least {LEAST_BYTES / 1e6:.0f} MB, not"
            f" {most_bytes / 1e6:.3g} MB: only large tables are counted, and the program itself takes"
            " about that much"
        )


LIMITS = ("time_limit_s", "memory_limit_bytes")


@contextmanager
def allowed_for(
    time_limit_s: float | None = None, memory_limit_bytes: float | None = None
) -> Iterator[None]:
    """Within it a question may take so long and so much, and no more than what it is part of."""
    outer = _current.get()
    now = time.monotonic()
    last = math.inf if time_limit_s is None else now + time_limit_s
    most = memory_limit_bytes
    if most is None:
        most = usual_memory_bytes() if outer is None else outer.memory_bytes
    is_over = False
    if outer is not None:
        last = min(last, outer.deadline)
        most = min(most, outer.memory_bytes)
        is_over = outer.interrupted
    with _as_current(Allowance(now, last, most, outer, is_over)):
        yield


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def usual_memory_bytes() -> float:
    """What a question may take where nothing is said: half of this computer's memory."""
    try:
        pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not everywhere is there a name for it
        return USUAL_BYTES
    return SHARE_OF_MEMORY * pages * page_bytes if pages > 0 else USUAL_BYTES


def memory_limit_bytes() -> float:
    """That the question may take."""
    now = _current.get()
    return usual_memory_bytes() if now is None else now.memory_bytes


def ask_for_bytes(needed_bytes: float, what: str, remedy: str) -> None:
    """Go on only where that much memory is allowed: a TooLargeError otherwise, which says what
    takes so much and what would take less."""
    allowed = memory_limit_bytes()
    if needed_bytes <= allowed:
        return
    raise TooLargeError(
        f"{what} would take about {needed_bytes / 1e9:.3g} GB of memory, and {allowed / 1e9:.3g} GB"
        f" are allowed: {remedy}, or allow more (memory_limit_bytes, --memory-limit)"
    )
