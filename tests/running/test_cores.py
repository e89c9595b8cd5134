"""Tests of the mirror of cores: a machine of ranks, and rates by a clock that a test sets."""

import itertools

import pytest

from planner.catalogue import described_topology
from planner.errors import InputError
from planner.running import cores
from planner.running.cores import Core, machine_of_cores, measured_core


def test_every_rank_is_a_chip_with_its_share_of_memory():
    core = Core((9e10, 1e11, 2e11), (1e10,))
    topology = described_topology(machine_of_cores(core, "here", 2, 8 * 2**30, "a processor"))
    assert topology.chips == 2
    assert topology.software.name == "torch-gloo"
    assert topology.chip.memory[0].capacity_bytes == pytest.approx(3.6 * 2**30)
    assert topology.chip.peak_flop_per_s("fp32") == 1e11
    assert not described_topology(machine_of_cores(core, "here", 1, 8e9, "a processor")).fabrics
    with pytest.raises(InputError, match="--ranks"):
        machine_of_cores(core, "here", 0, 8e9, "a processor")


def test_rates_are_amounts_by_the_clock(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.setattr(cores, "WIDTH", 8)
    monkeypatch.setattr(cores, "MATRICES", 2)
    ticks = itertools.count(0.0, 0.5)
    found = measured_core(3, clock=lambda: next(ticks))
    assert found.flop_per_s == (2 * 512 * 2 * 64 / 0.5,) * 3
    assert found.bytes_per_s == (4 * 2 * 64 / 0.5,) * 3
    with pytest.raises(InputError, match="--repeats"):
        measured_core(0)


def test_what_lengthens_times_by_the_wall_is_told():
    assert cores.remarks_on(2, 2, 0.1) == []
    assert cores.remarks_on(1, 2, 1.2) == []
    assert "keeps 1.2 of 2 cores busy" in cores.remarks_on(2, 2, 1.2)[0]
    assert "3 ranks share 2 cores" in cores.remarks_on(3, 2, 0.0)[0]


def test_cores_are_busy_for_the_share_of_ticks_that_are_not_idle(monkeypatch):
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 4)
    seen = iter([(100.0, 200.0), (130.0, 300.0)])
    waited = []
    # Of 100 ticks of four cores 30 were idle.
    assert cores.busy_cores(lambda: next(seen), waited.append) == pytest.approx(2.8)
    assert len(waited) == 1
    assert cores.busy_cores(lambda: (0.0, 0.0), waited.append) == 0.0


def test_ticks_are_those_that_linux_counts(monkeypatch, tmp_path):
    path = tmp_path / "stat"
    path.write_text("cpu  10 1 5 70 4 0 2 8 3 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
    monkeypatch.setattr(cores, "STATISTICS", path)
    assert cores._ticks() == (74, 100)
    monkeypatch.setattr(cores, "STATISTICS", tmp_path / "none")
    assert cores._ticks() == (0.0, 0.0)


def test_this_machine_has_cores_and_memory():
    assert cores.cores_at_hand() >= 1
    assert cores.memory_at_hand_bytes() > 1e8
