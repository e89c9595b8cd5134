"""Processes that work for one caller."""

import importlib
import inspect
import io
import math
import operator
import os
import pathlib
import pickle
import select
import subprocess
import sys
import threading
import time

import numpy
import pytest

import planner
from planner.detection import probing
from planner.running import launching
from planner.studies.sweeps import workers
from planner.studies.sweeps.workers import Embedded, LostError, Processes, answer_all


@pytest.fixture(scope="module")
def two():
    with Processes(2) as started:
        yield started


def test_work_is_done_elsewhere(two):
    assert two.submit(os.getpid).result() != os.getpid()
    assert list(two.map(operator.mul, range(5), range(5))) == [0, 1, 4, 9, 16]


def test_what_work_raises_comes_back(two):
    with pytest.raises(ZeroDivisionError):
        two.submit(operator.truediv, 1, 0).result()


def test_what_work_tells_on_the_way_is_heard_before_its_answer(two):
    heard = []
    with Processes(1, hear=heard.append) as listened_to:
        assert list(listened_to.map(workers.tell, range(3))) == [None] * 3
    assert heard == [0, 1, 2]
    assert two.submit(workers.tell, "nobody listens").result() is None
    workers.tell("nobody")  # here, where none is served


def test_what_work_prints_does_not_garble_answers(two):
    assert two.submit(print, "a word", file=None).result() is None
    assert two.submit(abs, -1).result() == 1


def test_what_cannot_be_pickled_is_refused(two):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        two.submit(lambda: 1).result()


def test_a_process_that_dies_loses_only_its_own_work(two):
    dying, well = two.submit(os._exit, 7), [two.submit(abs, -number) for number in range(8)]
    with pytest.raises(LostError, match="status 7"):
        dying.result()
    assert [future.result() for future in well] == list(range(8))


def test_a_process_that_died_between_two_calls_loses_the_second():
    with Processes(1) as processes:
        number = processes.submit(os.getpid).result()
        ended = os.pidfd_open(number)
        os.kill(number, 9)
        select.select([ended], [], [])
        os.close(ended)
        # What it was to be told stays in a buffer that can no more be flushed.
        with pytest.raises(LostError, match="status -9"):
            processes.submit(abs, -1).result()
        assert processes.submit(abs, -1).result() == 1


def test_cancelling_ends_at_once():
    processes = Processes(1)
    asleep, waiting = processes.submit(time.sleep, 600), processes.submit(abs, 1)
    while not asleep.running():
        time.sleep(0.01)
    processes.shutdown(cancel_futures=True)
    assert isinstance(asleep.exception(), LostError)  # it did not wake up: it was ended
    assert waiting.cancelled()


def test_little_work_starts_no_process(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_S", math.inf)
    with Embedded(2) as engine:
        assert engine.room() == 1
        assert engine.submit(os.getpid).result() == os.getpid()
        with pytest.raises(ZeroDivisionError):
            engine.submit(operator.truediv, 1, 0).result()
    monkeypatch.setattr(workers, "PATIENCE_S", 0.0)
    with Embedded(2) as engine:
        assert engine.room() == 4
        assert engine.submit(os.getpid).result() != os.getpid()


def test_a_process_ends_with_its_caller_however_that_ends():
    script = (
        "import os, time; from planner.studies.sweeps.workers import Processes\n"
        "print(Processes(1).submit(os.getpid).result(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        (sys.executable, "-c", script), stdout=subprocess.PIPE, env=os.environ
    ) as caller:
        ended = os.pidfd_open(int(caller.stdout.readline()))
        caller.kill()
    came, _, _ = select.select([ended], [], [], 500)
    os.close(ended)
    assert came


@pytest.fixture
def poisoned(tmp_path, monkeypatch):
    """A working folder with a file for each module that a process needs to start; what they write
    when they are run."""
    ran = tmp_path / "ran"
    names = ("json", "site", "pickle", "planner", "numpy", "sitecustomize", "usercustomize")
    for name in names:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(ran)!r}, 'a').write({name!r})\n", encoding="utf-8"
        )
    monkeypatch.chdir(tmp_path)
    return ran


@pytest.mark.slow
@pytest.mark.parametrize("place", [None, "", "."])
def test_no_file_in_the_working_folder_is_run_in_the_place_of_a_module(
    poisoned, monkeypatch, place
):
    monkeypatch.setenv("PYTHONPATH", str(poisoned.parent))
    if (
        place is not None
    ):  # as in a notebook, whose own modules were there before it came to this folder
        monkeypatch.setattr(sys, "path", [place, *sys.path])
    with Processes(1) as processes:
        assert processes.submit(numpy.float64, 1.5).result() == 1.5
    assert not poisoned.exists()


def test_a_process_runs_the_package_of_its_caller_however_that_came_by_it(monkeypatch):
    root = os.path.dirname(os.path.dirname(planner.__file__))
    kept = [place for place in sys.path if os.path.realpath(place) != os.path.realpath(root)]
    monkeypatch.setattr(sys, "path", kept)
    with Processes(1) as processes:
        assert processes.submit(inspect.getfile, LostError).result() == workers.__file__


def test_work_may_be_a_function_of_any_module_that_its_caller_can_import(tmp_path, monkeypatch):
    (tmp_path / "of_the_caller.py").write_text(
        "def doubled(number):\n    return 2 * number\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    doubled = importlib.import_module("of_the_caller").doubled
    with Processes(1) as processes:
        assert processes.submit(doubled, 4).result() == 8


def test_nothing_else_in_the_package_starts_a_process():
    """What does must start it isolated, as `workers` does, or by a whole path outside the working
    folder, as the room that looks for GPUs does."""
    starting = (
        "subprocess",
        "multiprocessing",
        "ProcessPoolExecutor",
        "os.system",
        "os.exec",
        "os.spawn",
        "os.popen",
    )
    sources = pathlib.Path(planner.__file__).parent.rglob("*.py")
    found = [
        source
        for source in sources
        if any(word in source.read_text(encoding="utf-8") for word in starting)
    ]
    known = [pathlib.Path(one.__file__) for one in (probing, launching, workers)]
    assert sorted(found) == sorted(known)


def test_calls_are_answered_in_order_until_they_end():
    calls = io.BytesIO(
        pickle.dumps((abs, (-3,), {})) + pickle.dumps((operator.truediv, (1, 0), {}))
    )
    answers = io.BytesIO()
    answer_all(calls, answers)
    answers.seek(0)
    assert pickle.load(answers) == (True, 3)
    well, error = pickle.load(answers)
    assert not well
    assert isinstance(error, ZeroDivisionError)


@pytest.mark.slow
def test_threads_end_with_their_executor():
    before = set(threading.enumerate())
    with Processes(2) as processes:
        processes.submit(abs, 1).result()
        started = set(threading.enumerate()) - before
    assert len(started) == 2
    assert not any(thread.is_alive() for thread in started)
