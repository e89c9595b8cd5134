"""Processes on this machine that work for one caller: an executor that starts them when there is
enough to do.

Each is a fresh interpreter that is fed over its standard input. So a script needs no `if __name__
== "__main__"`, Ctrl-C does not reach it, it ends when its caller does (however that ends), and one
that dies takes only its own work along.

It starts isolated: no folder that it happens to work in, and no variable of the environment, says
what it runs. Only then is it told where its caller finds modules, since work may be a function of
any of them.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO, Any

import planner
from planner.errors import PlannerError

PATIENCE_S = 1.0
"""Starting a process takes about as long: what is done by then was not worth one."""
ISOLATED = ("-I", "-S")
"""Neither the working folder nor PYTHONPATH, and of what is installed nothing yet: the standard
library alone."""
BOOT = """
import json, site, sys
standard = [*sys.path]
site.main()
installed = sys.path[len(standard):]
root, *others = json.loads(sys.argv[1])
sys.path[:] = [*standard, root]
import planner
known = [*standard, *installed]
sys.path[:] = [*known, *(place for place in others if place not in known)]
from planner.studies.sweeps.workers import serve
serve()
"""
"""The standard library and what is installed come first whatever the caller has, so that no file of
a like name stands in for a part of them, and the folder that it works in comes last; the package
is the caller's own, however that came by it. `site` adds what installed packages hook into
imports."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Each process has one core."""

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class LostError(PlannerError):
    """The process that worked on something died."""


class Processes(Executor):
    """So many processes, each started with its first call."""

    def __init__(self, count: int, *, hear: Callable[[Any], None] | None = None) -> None:
        """`hear` is given what work tells of itself while it is under way (see `tell`)."""
        self._hear = hear
        self._calls: SimpleQueue[tuple[Future[Any], Call] | None] = SimpleQueue()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._threads = [Thread(target=self._attend, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Call `work` in the next process that is free; all must be picklable."""
        future: Future[Any] = Future()
        self._calls.put((future, (work, arguments, options)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, at once where `cancel_futures` says so."""
        if cancel_futures:
            self._stopped = True
            for process in list(self._alive):
                process.kill()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _attend(self) -> None:
        process: subprocess.Popen[bytes] | None = None
        while (entry := self._calls.get()) is not None:
            future, call = entry
            if self._stopped or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            process = process or self._started()
            try:
                is_well, answer = _answered(process, call, self._hear)
            except (EOFError, OSError, pickle.UnpicklingError):
                future.set_exception(
                    LostError(f"its process ended with status {self._ended(process)}")
                )
                process = None
            except Exception as error:  # what cannot be pickled
                future.set_exception(error)
            else:
                if is_well:
                    future.set_result(answer)
                else:
                    future.set_exception(answer)
        if process is not None:
            self._ended(process)

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
        )
        self._alive.add(process)
        if self._stopped:
            process.kill()
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        # What a dead process was still to be told cannot be flushed.
        with suppress(BrokenPipeError), process:
            pass
        self._alive.discard(process)
        return process.returncode


def command() -> list[str]:
    """What starts a process that finds modules where this one does."""
    root = Path(planner.__file__).resolve().parent.parent
    here = os.path.realpath("")
    places = [str(root), *sorted(sys.path, key=lambda place: os.path.realpath(place) == here)]
    return [sys.executable, *ISOLATED, "-c", BOOT, json.dumps(places)]


def _answered(
    process: subprocess.Popen[bytes], call: Call, hear: Callable[[Any], None] | None
) -> tuple[bool, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pickle.dumps(call))
    process.stdin.flush()
    while True:
        is_well, answer = pickle.load(process.stdout)
        if is_well is not None:
            return is_well, answer
        if hear is not None:
            hear(answer)


class Embedded(Executor):
    """A thread while that may suffice, then processes."""

    def __init__(self, count: int) -> None:
        self._count, self._started = count, time.monotonic()
        self._processes: Processes | None = None

    def room(self) -> int:
        """Calls worth having under way: one for a thread; one in work and one in store for each
        process."""
        return 1 if time.monotonic() - self._started < PATIENCE_S else 2 * self._count

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        """Call `work` in a thread, later in a process."""
        if self.room() == 1:
            return in_thread(work, *arguments, **options)
        self._processes = self._processes or Processes(self._count)
        return self._processes.submit(work, *arguments, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; nobody waits for the thread."""
        if self._processes is not None:
            self._processes.shutdown(wait, cancel_futures=cancel_futures)


def in_thread(work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
    """Call `work` in a thread, which Ctrl-C does not reach and which the interpreter does not
    wait for."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work(*arguments, **options))
        except Exception as error:  # it belongs to the caller
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def serve() -> None:
    """Answer calls from standard input on standard output until it ends; what work prints goes
    to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _callers.append(answers)
    answer_all(sys.stdin.buffer, answers)


_callers: list[IO[bytes]] = []
"""Who hears what work tells; nobody but in a process that was started here."""


def tell(news: Any) -> None:
    """Let the caller of the work that is under way hear how far it is; of one thread alone."""
    for caller in _callers:
        with suppress(BrokenPipeError):
            caller.write(pickle.dumps((None, news)))
            caller.flush()


def answer_all(calls: IO[bytes], answers: IO[bytes]) -> None:
    """Answer one call after the other: whether it went well, and what it gave or raised."""
    while True:
        try:
            work, arguments, options = pickle.load(calls)
        except EOFError:
            return
        try:
            answer = pickle.dumps((True, work(*arguments, **options)))
        except Exception as error:  # it belongs to the caller
            answer = pickle.dumps((False, error))
        try:
            answers.write(answer)
            answers.flush()
        except BrokenPipeError:  # the caller is gone
            return
