"""Tests of the mirror of launching: no rank outlives whoever asked for it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from planner.errors import InputError
from planner.running import launching
from planner.running.jobs import job_of
from planner.running.launching import Ranks, RunError
from tests.running.models import config_of, cut_plan, tiny_graph


def long_job(tmp_path, **fields):
    config = config_of()
    asked = {"batch_size": 2, "prompt_tokens": 4, "output_tokens": 100_000} | fields
    return job_of(cut_plan((2, 2)), tiny_graph(tmp_path, config), config, **asked)


def members(group):
    """Processes of a group that are not yet gone."""
    told = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in told.stdout.splitlines()]
    return sum(row[0] == str(group) and not row[1].startswith("Z") for row in rows)


def wait_until(is_so):
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(launching, "NEEDED", ("there_is_no_such_package",))
    with pytest.raises(InputError, match="install the extra 'run'"):
        Ranks()


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_a_sentence(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    config = {**long_job(tmp_path).config, "hidden_act": "no such function"}
    with Ranks() as ranks:
        with pytest.raises(RunError, match=r"ended, since rank \d"):
            ranks.run(long_job(tmp_path).replace(config=config))
        # The others are gone, and the next job finds none of them.
        wait_until(lambda: members(ranks.group) == 1)
        assert ranks.run(long_job(tmp_path, output_tokens=2))[1].tokens
    assert members(ranks.group) == 0


ASKING = """
import signal, sys
# A suite that was started in the background ignores Ctrl-C, and so would this process.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from planner.running.launching import Ranks
from tests.running.test_launching import long_job
with Ranks() as ranks:
    print(ranks.group, flush=True)
    ranks.run(long_job(Path(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_ranks_end_with_whoever_asked(tmp_path, how):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    group = int(asking.stdout.readline())
    try:
        wait_until(lambda: members(group) == 3)
        asking.send_signal(how)
        wait_until(lambda: members(group) == 0)
    finally:
        asking.kill()
        asking.wait()
        asking.stdout.close()


def test_the_working_folder_is_no_place_for_modules(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(("", ".", "/opt/modules", "here")))
    assert launching._without_working_folder()["PYTHONPATH"] == "/opt/modules"
    monkeypatch.setenv("PYTHONPATH", ".")
    assert "PYTHONPATH" not in launching._without_working_folder()
