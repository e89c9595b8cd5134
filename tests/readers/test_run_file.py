"""Tests of the mirror of run_file: a file that is a model, a machine and a plan at once."""

import json
from pathlib import Path

import pytest

import planner as pl
from planner.errors import InputError
from planner.readers.run_file import SavedRun, is_run, read_run, run_in
from tests.readers.benchmarks.texts import RUN_MACHINE, planner_run

HERE = Path("run.json")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps(planner_run()), encoding="utf-8")
    return path


def test_a_run_is_read_back_as_it_was_written(saved):
    found = read_run(saved)
    assert found.chips == 2
    assert found.plan.micro_batches == 2
    assert SavedRun.from_json(found.to_json()) == found


def test_the_file_is_a_model_and_a_machine_too(saved):
    graph = pl.load_model(saved, weight_dtype="fp32", kv_dtype="fp32")
    assert [layer.name for layer in graph.layers] == ["embedding", "decoder.0", "decoder.1", "head"]
    machine = pl.load_topology(str(saved), chips=1)
    assert (machine.chips, machine.software.name) == (1, "torch-gloo")
    assert machine.chip.peak_flop_per_s("fp32") == 1e11
    assert pl.load_topology(saved, software="pytorch").software.name == "pytorch"


def test_other_files_are_none(tmp_path):
    plain = tmp_path / "plan.json"
    plain.write_text('{"note": "planner_run"}')
    assert read_run(plain) is None
    assert not is_run({"planner": 1})


@pytest.mark.parametrize("version", [2, 0, "1", True, None, [1]])
def test_an_unknown_version_is_one_sentence(version):
    with pytest.raises(InputError, match=r"run\.json was saved by .* reads version 1"):
        run_in(planner_run(planner_run=version), HERE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clock": "sundial"}, "clock"),
        ({"request_s": -1}, "request_s"),
        ({"plan": {"stages": []}}, "stages"),
        ({"colour": "red"}, "colour"),
        ({"machine": {**RUN_MACHINE, "kernels_of": "../other.toml"}}, "below the folder"),
    ],
)
def test_a_fault_is_named_with_its_file(changes, words):
    with pytest.raises(InputError) as told:
        run_in(planner_run(**changes), HERE)
    assert str(told.value).startswith("run.json: ")
    assert words in str(told.value)
    assert "\n" not in str(told.value)
