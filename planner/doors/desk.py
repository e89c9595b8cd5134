"""`Desk`: questions of programs, one after the other, each in a process that is ended when its time
is over."""

from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as LateError
from contextlib import contextmanager, suppress
from itertools import count
from threading import BoundedSemaphore, Lock

from planner.answers.results import Result
from planner.doors.answers import Answer, Answered, SoFar
from planner.doors.asking import answered
from planner.doors.questions import ExplainQuestion, PlanQuestion, Question, VerifyQuestion
from planner.errors import InputError, NoPlanFoundError, PlannerError
from planner.studies.sweeps.workers import LostError, Processes

GRACE_S = 30.0
"""Beyond its time limit, for what a question takes besides its search: loading, telling."""
MOST_WAITING = 16
"""Questions at the desk at once."""
MOST_KEPT = 64
"""Results that `verify` and `explain` know; the oldest go first."""

WARMING = PlanQuestion(
    model="qwen3-0.6b", machine="hgx-h100", chips=1, users=1, prompt_tokens=16, output_tokens=2
)
"""A small question, of which nobody reads the answer."""


class BusyError(PlannerError):
    """Too many questions wait; nothing was asked."""


class LeftError(PlannerError):
    """Whoever asked has gone."""


class Desk:
    """Takes questions from any number of threads; `close` ends what is under way."""

    def __init__(self, *, grace_s: float = GRACE_S, most_waiting: int = MOST_WAITING) -> None:
        self._grace_s = grace_s
        self._numbers = count(1)
        self._room = BoundedSemaphore(most_waiting)
        self._turn = Lock()
        self._processes: Processes | None = None
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._at: Question | None = None
        self._left: list[Question] = []
        self.so_far: SoFar | None = None
        """Of the question under way, as far as it tells."""

    def ask(self, question: Question) -> Answer:
        """The answer, once those who asked before have theirs. PlannerErrors are sentences."""
        with self._turn_of(question):
            return self._asked(question)

    def work(self, question: Question, handle: str, earlier: Result | None = None) -> Answered:
        """Likewise for a caller who numbers answers and keeps results."""
        with self._turn_of(question):
            return self._found(question, handle, earlier)

    def warm(self) -> None:
        """Let a process load what questions need before anybody asks; returns when it has."""
        if self._processes is not None:
            return
        processes = self._processes = self._started()
        # What keeps it from that is told to whoever asks next.
        with suppress(PlannerError, CancelledError):
            processes.submit(answered, WARMING, "a0", None).result()

    def _started(self) -> Processes:
        return Processes(1, hear=self._hear)

    def _hear(self, news: SoFar) -> None:
        self.so_far = news

    @contextmanager
    def _turn_of(self, question: Question) -> Iterator[None]:
        if not self._room.acquire(blocking=False):
            raise BusyError("too many questions wait here already; ask again in a minute")
        try:
            with self._turn:
                self._at = question
                yield
        finally:
            self._at = None
            self.so_far = None
            self._left = [one for one in self._left if one is not question]
            self._room.release()

    def leave(self, question: Question) -> None:
        """Work no more on a question that nobody waits for: others do."""
        self._left.append(question)
        if self._at is question:
            self.close()

    def close(self) -> None:
        """End the process, and what it works on."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.shutdown(wait=False, cancel_futures=True)

    def _asked(self, question: Question) -> Answer:
        earlier = None
        if isinstance(question, VerifyQuestion | ExplainQuestion):
            earlier = self._kept.get(question.answer)
        found = self._found(question, f"a{next(self._numbers)}", earlier)
        for name, result in found.results.items():
            self._kept[name] = result
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found.answer

    def _found(self, question: Question, handle: str, earlier: Result | None) -> Answered:
        if self._is_left(question):
            raise LeftError("nobody waits for this answer")
        processes = self._processes = self._processes or self._started()
        future = processes.submit(answered, question, handle, earlier)
        return self._awaited(future, question)

    def _is_left(self, question: Question) -> bool:
        # By identity: others may ask the same.
        return any(one is question for one in self._left)

    def _awaited(self, future: Future[Answered], question: Question) -> Answered:
        time_limit_s = question.time_limit_s
        try:
            return future.result(time_limit_s + self._grace_s)
        except LateError:
            self.close()
            raise NoPlanFoundError(
                f"the question was stopped {self._grace_s:g} s after its time limit of"
                f" {time_limit_s:g} s, and nothing is proved; ask for fewer machines or chips, or"
                f" give it more time"
            ) from None
        except (LostError, CancelledError):
            self.close()
            if self._is_left(question):
                raise LeftError("nobody waits for this answer") from None
            raise InputError(
                "the process that worked on the question died, perhaps for want of memory; ask for"
                " fewer chips"
            ) from None
