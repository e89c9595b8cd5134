"""`Jobs`: many questions at once, each answered in its turn by a process kept warm, and kept."""

import logging
import time
from collections import deque
from threading import Condition, Semaphore, Thread
from typing import Any

from planner.answers.results import Result
from planner.doors.desk import GRACE_S, BusyError, Desk, LeftError
from planner.doors.keeping import Job, Keep
from planner.doors.questions import REFERRING, Question
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    PlannerError,
    TooLargeError,
)

SHORT = ("score", "names", "report", "export")
"""Answered within a moment; they have a process of their own and never wait for a search."""
MOST_WAITING = 64
"""Questions of each sort that wait for their turn."""
CANCELLED = "the question was cancelled"

logger = logging.getLogger(__name__)


class UnknownJobError(InputError):
    """No such job is kept."""


class _Lane:
    """Questions that wait for the same processes, and those under way."""

    def __init__(self) -> None:
        self.waiting: deque[_Entry] = deque()
        self.changed = Condition()


class _Entry:
    """A job that is not answered yet."""

    def __init__(self, number: int, question: Question, lane: _Lane) -> None:
        self.number = number
        self.question = question
        self.lane = lane
        self.desk: Desk | None = None
        self.begun = 0.0


class Jobs:
    """Takes questions from any number of threads; `close` ends what is under way."""

    def __init__(
        self,
        keep: Keep,
        *,
        workers: int = 2,
        most_waiting: int = MOST_WAITING,
        grace_s: float = GRACE_S,
        warm: bool = True,
    ) -> None:
        self._keep = keep
        self._most_waiting = most_waiting
        self._warm = warm
        self._open: dict[int, _Entry] = {}
        self._closed = False
        self._warmed = Semaphore(0)
        self._lanes = {"short": _Lane(), "long": _Lane()}
        self._desks = []
        self._threads = []
        for name, count in (("short", 1), ("long", workers)):
            for _ in range(count):
                desk = Desk(grace_s=grace_s)
                thread = Thread(target=self._attend, args=(self._lanes[name], desk), daemon=True)
                self._desks.append(desk)
                self._threads.append(thread)
                thread.start()

    def wait_until_warm(self) -> None:
        """Returns when every process has what it needs to answer at once; once, before anybody
        asks."""
        for _ in self._threads:
            self._warmed.acquire()

    def ask(self, kind: str, question: Question) -> Job:
        """A new job. BusyError: too many wait already."""
        lane = self._lanes["short" if kind in SHORT else "long"]
        with lane.changed:
            if len(lane.waiting) >= self._most_waiting:
                raise BusyError(
                    f"{len(lane.waiting)} questions wait here already; ask again in a minute"
                )
            number = self._keep.add(kind, question)
            entry = _Entry(number, question, lane)
            self._open[number] = entry
            lane.waiting.append(entry)
            lane.changed.notify()
        return self.job(f"a{number}")

    def job(self, name: str) -> Job:
        """A job as it stands."""
        number = _number_of(name)
        job = None if number is None else self._keep.job(number)
        if number is None or job is None:
            raise UnknownJobError(f"there is no job {name[:20]!r} here; ask again")
        entry = self._open.get(number)
        if entry is None or not job.is_open:
            return job
        if entry.begun:
            so_far = None if entry.desk is None else entry.desk.so_far
            return job.replace(elapsed_s=time.monotonic() - entry.begun, so_far=so_far)
        with entry.lane.changed:
            ahead = sum(other.number < number for other in entry.lane.waiting)
        return job.replace(ahead=ahead)

    def cancel(self, name: str) -> Job:
        """Work no more on a job; an answered one stays as it is."""
        job = self.job(name)
        entry = self._open.get(int(job.id[1:]))
        if entry is None:
            return job
        with entry.lane.changed:
            if entry in entry.lane.waiting:
                entry.lane.waiting.remove(entry)
                self._refused(entry, LeftError())
            elif entry.number in self._open and entry.desk is not None:
                entry.desk.leave(entry.question)
        return self.job(name)

    def result(self, handle: str) -> Result:
        """What was found under a handle."""
        found = self._keep.result(handle)
        if found is None:
            raise UnknownJobError(f"there is no answer {handle[:20]!r} here; ask again")
        return found

    def close(self) -> None:
        """End all processes; what was not answered is lost, what was is kept."""
        self._closed = True
        for lane in self._lanes.values():
            with lane.changed:
                lane.changed.notify_all()
        for desk in self._desks:
            desk.close()
        for thread in self._threads:
            thread.join()
        self._keep.close()

    def _attend(self, lane: _Lane, desk: Desk) -> None:
        """Answer one question after the other."""
        while not self._closed:
            if self._warm:
                desk.warm()
            self._warmed.release()
            entry = self._next(lane, desk)
            if entry is not None:
                self._answer(entry, desk)
        desk.close()

    def _next(self, lane: _Lane, desk: Desk) -> _Entry | None:
        """The question that waited longest, once there is one; None: no more are answered."""
        with lane.changed:
            lane.changed.wait_for(lambda: lane.waiting or self._closed)
            if self._closed:
                return None
            entry = lane.waiting.popleft()
            entry.desk, entry.begun = desk, time.monotonic()
            return entry

    def _answer(self, entry: _Entry, desk: Desk) -> None:
        try:
            self._keep.begin(entry.number)
            earlier = self._earlier(entry.question)
            found = desk.work(entry.question, f"a{entry.number}", earlier)
            elapsed_s = time.monotonic() - entry.begun
            self._keep.end(entry.number, found.answer, found.results, elapsed_s)
            self._open.pop(entry.number)
        except Exception as error:
            if not self._closed:
                self._refused(entry, error)

    def _earlier(self, question: Question) -> Result | None:
        return self._keep.result(question.answer) if isinstance(question, REFERRING) else None

    def _refused(self, entry: _Entry, error: Exception) -> None:
        elapsed_s = time.monotonic() - entry.begun if entry.begun else 0.0
        code, sentence = refusal_of(error)
        status: Any = "cancelled" if isinstance(error, LeftError) else "refused"
        self._keep.refuse(entry.number, status, sentence, code, elapsed_s)
        self._open.pop(entry.number, None)


def refusal_of(error: Exception) -> tuple[int, str]:
    """What HTTP calls a refusal, and its one sentence."""
    if isinstance(error, InfeasibleError):
        return 409, f"infeasible, proved: {error}"
    if isinstance(error, NoPlanFoundError):
        return 409, f"no plan found in time, nothing is proved: {error}"
    if isinstance(error, LeftError):
        return 409, CANCELLED
    if isinstance(error, BusyError):
        return 429, str(error)
    if isinstance(error, UnknownJobError):
        return 404, str(error)
    if isinstance(error, InputError | TooLargeError):
        return 422, str(error)
    if isinstance(error, PlannerError):
        return 409, str(error)
    logger.error("a question failed", exc_info=error)
    return 500, (
        f"a fault of the planner, not of the question: {type(error).__name__}; ask otherwise, and"
        " report it"
    )


def _number_of(name: str) -> int | None:
    """Of "a17"; None: it is no job's name."""
    digits = name[1:]
    is_name = name.startswith("a") and digits.isascii() and digits.isdigit() and len(digits) < 10
    return int(digits) if is_name else None
