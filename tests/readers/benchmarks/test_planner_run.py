"""Tests of the mirror of planner_run: one batch that starts together, whole in its file."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.planner_run import read_planner_run
from tests.readers.benchmarks.texts import planner_run

HERE = Path("run.json")


def test_a_run_is_a_batch_that_says_all_of_itself():
    found = read_planner_run(planner_run(), HERE)
    assert (found.tool, found.engine, found.clock) == ("planner run", "torch-gloo-cpu", "cpu")
    assert (found.load, found.requests, found.chips, found.is_whole) == ("together", 6, 2, True)
    assert (found.ttft.middle_s, found.tpot.middle_s, found.e2e.middle_s) == (0.25, 0.0625, 0.5)
    assert found.version == "0.1.0 (torch 2.13.0, transformers 5.24.0)"


def test_the_clock_says_which_stack_prices_it():
    assert read_planner_run(planner_run(clock="wall"), HERE).engine == "torch-gloo"


def test_a_run_of_one_token_has_no_time_per_later_token():
    found = read_planner_run(planner_run(tpot_s=None), HERE)
    assert found.tpot.middle_s is None


def test_another_version_is_refused():
    with pytest.raises(InputError, match="reads version 1; run the plan again"):
        read_planner_run(planner_run(planner_run=2), HERE)
