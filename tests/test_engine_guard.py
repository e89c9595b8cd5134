"""Tests of the process that keeps an engine's: it ends with whoever asked for it."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks.engine_guard import main
from benchmarks.isolated import isolated

SAYS_AND_WAITS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
PATIENCE_S = 60.0
LOOKS = 3000
"""At a log, fifty a second."""


def guarded(log, *command):
    return subprocess.Popen(
        isolated("-m", "benchmarks.engine_guard", str(log), *command),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def said(log):
    """What an engine says first."""
    for _ in range(LOOKS):
        if log.exists() and log.read_text().endswith("\n"):
            return log.read_text().strip()
        time.sleep(0.02)
    raise AssertionError("it said nothing")


def runs(process_id):
    """Whether a process is there, and more than a name that nobody asked after."""
    try:
        with open(f"/proc/{process_id}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_an_engine_ends_when_its_callers_end_of_the_pipe_is_closed(tmp_path):
    guard = guarded(tmp_path / "log", sys.executable, "-c", SAYS_AND_WAITS)
    engine = int(said(tmp_path / "log"))
    assert runs(engine)
    guard.stdin.close()
    assert guard.wait(PATIENCE_S) == 0
    assert not runs(engine)


def test_an_engine_that_ends_by_itself_hands_its_status_on(tmp_path):
    guard = guarded(tmp_path / "log", sys.executable, "-c", "print('no port'); raise SystemExit(3)")
    assert guard.wait(PATIENCE_S) == 3
    guard.stdin.close()
    assert said(tmp_path / "log") == "no port"


def test_a_program_that_is_not_there_is_told_in_the_log(tmp_path):
    assert main([str(tmp_path / "log"), str(tmp_path / "llama-server")]) == 127
    assert "llama-server: No such file or directory" in (tmp_path / "log").read_text()
