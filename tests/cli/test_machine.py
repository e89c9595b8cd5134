"""`planner machine` as people call it."""

from inspect import signature

import pytest

import planner as pl
from planner.cli import machine as module
from planner.detection.measuring import REPEATS, Measurement
from planner.readers.machines.processors import read_processor
from tests.readers.machines.test_processors import LSCPU
from tests.readers.machines.written import matrix_text, named, square_matrix
from tests.terminal import refused


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "topo.txt"
    path.write_text(matrix_text(square_matrix(["NV4 SYS SYS", "SYS SYS", "NV4"])), encoding="utf-8")
    return path


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text(named(*["NVIDIA GeForce RTX 3090"] * 4), encoding="utf-8")
    return path


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "planner.detection.probing.machine_here", lambda: read_processor(LSCPU, tmp_path)
    )


@pytest.mark.slow
def test_a_description_becomes_a_file_that_is_planned_on(run, matrix, names, tmp_path):
    out = tmp_path / "my.toml"
    done = run("machine", "detect", "--from", str(matrix), "--from", str(names), "--out", str(out))
    assert done.status == 0, done.err
    assert f"planner plan MODEL {out}" in done.out
    assert pl.load_topology(out).chips == 4
    done = run("plan", "llama-3.1-8b", str(out), "--weights", "int8", "--format", "json")
    assert done.status == 0, done.err
    assert done.fields["status"] == "optimal"


def test_without_a_place_the_file_is_printed(run, matrix):
    done = run("machine", "detect", "--from", str(matrix), "--chip", "rtx-3090", "--name", "box")
    assert 'name = "box"' in done.out
    done = run("machine", "detect", "--from", str(matrix), "--chip", "rtx-3090", "--format", "json")
    assert done.fields["machine"]["fabric"][0]["shape"] == "links"


def test_what_is_wrong_is_one_sentence_and_nothing_is_written(run, matrix, tmp_path):
    out = tmp_path / "my.toml"
    done = run("machine", "detect", "--from", str(matrix), "--out", str(out))
    assert "the chip of GPU0 is not known" in refused(done, 2)
    assert not out.exists()
    done = run("machine", "detect", "--from", str(matrix), "--out", str(tmp_path))
    assert "is a folder" in refused(done, 2)


def test_the_machine_at_hand_is_detected(run, here):
    done = run("machine", "detect")
    assert "Platinum 8480+" in done.out


def test_what_was_measured_stands_in_the_file(run, here, monkeypatch, tmp_path):
    rates = Measurement("triad, 2 threads", "bandwidth", (40e9, 41e9, 42e9))
    monkeypatch.setattr("planner.detection.measuring.measured_here", lambda bench: (rates,))
    out = tmp_path / "my.toml"
    done = run("machine", "measure", "--repeats", "3", "--out", str(out))
    assert done.status == 0, done.err
    assert "41 GB/s (40 GB/s to 42 GB/s in 3 runs)" in done.out
    topology = pl.load_topology(out)
    assert topology.chip.memory[0].bandwidth_bytes_per_s == 41e9
    figure = next(
        one for one in topology.figures if one.path == "chip.memory[0].bandwidth_bytes_per_s"
    )
    assert figure.source.startswith("measured here")
    assert figure.within > 1


def test_of_a_mixed_box_measurements_are_told_alone(run, monkeypatch, tmp_path):
    from planner.readers.machines.recognition import seen_in

    cards = named("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090")
    text = cards + matrix_text(square_matrix(["PHB"]))
    monkeypatch.setattr("planner.detection.probing.machine_here", lambda: seen_in(text, tmp_path))
    rates = Measurement("copy", "bandwidth", (1e9,))
    monkeypatch.setattr("planner.detection.measuring.measured_here", lambda bench: (rates,))
    done = run("machine", "measure", "--out", str(tmp_path / "my.toml"))
    assert "chips are of several kinds" in done.out
    assert pl.load_cluster(tmp_path / "my.toml").pools


def test_a_measurement_is_repeated_as_often_as_the_function_does():
    assert signature(module.measure).parameters["repeats"].default == REPEATS
