"""What the machine at hand is asked, by canned answers; and programs of which only those that are
installed are started."""

import os
import stat
import sys

import pytest

from planner.detection.probing import Probe, machine_here, package_at_hand, printed_by, program
from planner.errors import InputError
from tests.readers.machines.test_amd_matrix import printed
from tests.readers.machines.test_processors import CPUINFO, LSCPU, MAC
from tests.readers.machines.written import matrix_text, square_matrix

CSV = "index, name, memory.total [MiB]\n0, NVIDIA L4, 23034 MiB\n1, NVIDIA L4, 23034 MiB\n"


def probe(runs=(), files=(), system="linux", processors=None):
    runs, files = dict(runs), dict(files)
    return Probe(
        run=lambda *words: runs.get(" ".join(words)),
        text=files.get,
        nvml=lambda: None,
        system=system,
        processors=processors,
    )


def test_without_nvml_nvidia_smi_is_asked():
    runs = {
        "nvidia-smi --query-gpu=index,name,memory.total --format=csv": CSV,
        "nvidia-smi topo -m": matrix_text(square_matrix(["NODE"])),
        "lscpu": LSCPU,
    }
    seen = machine_here(probe(runs))
    assert [one.product for one in seen.of_kind("gpu")] == ["NVIDIA L4"] * 2
    assert [link.kind for link in seen.links] == ["node"]
    assert seen.of_kind("cpu")[0].cores == 112
    assert seen.format == "nvidia-smi topo -m and lscpu, /proc or sysctl"


def test_a_driver_that_prints_no_matrix_still_names_gpus():
    seen = machine_here(probe({"nvidia-smi -L": "GPU 0: NVIDIA L4 (UUID: GPU-1)\n"}))
    assert [one.product for one in seen.devices] == ["NVIDIA L4"]


def test_amds_cards_are_asked_where_there_are_none_of_nvidia():
    runs = {"rocm-smi --showtopo": printed(lambda *_: "XGMI", 2)}
    seen = machine_here(probe(runs))
    assert len(seen.of_kind("gpu")) == 2


def test_a_processor_alone_is_told_by_the_kernel():
    files = {"/proc/cpuinfo": CPUINFO, "/proc/meminfo": "MemTotal:       16384000 kB\n",
             "/sys/fs/cgroup/memory.max": "8388608000\n"}  # fmt: skip
    seen = machine_here(probe(files=files, processors=2))
    (cpu,) = seen.devices
    assert cpu.memory_bytes == 8388608000
    assert cpu.cores == 2
    assert len(seen.remarks) == 2


def test_a_board_says_what_it_is():
    files = {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\x00",
             "/proc/meminfo": "MemTotal: 8257536 kB\n"}  # fmt: skip
    assert machine_here(probe(files=files)).devices[0].product == "Raspberry Pi 5 Model B Rev 1.0"


def test_a_mac_is_asked_by_its_own_programs():
    lines = MAC.splitlines()
    runs = {f"sysctl {line.partition(':')[0]}": line for line in lines[:4]}
    runs["system_profiler SPDisplaysDataType"] = "\n".join(lines[4:])
    (chip,) = machine_here(probe(runs, system="darwin")).devices
    assert (chip.product, chip.cores) == ("Apple M3 Max", 40)
    with pytest.raises(InputError, match="what this Mac is"):
        machine_here(probe(system="darwin"))


def test_where_nothing_answers_it_is_said_what_was_asked():
    with pytest.raises(InputError, match="nvidia-smi, rocm-smi, lscpu"):
        machine_here(probe())


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(os.name == "nt", reason="scripts of a shell")
def test_a_program_in_the_working_folder_is_never_started(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    script(here, "nvidia-smi", "echo ours")
    monkeypatch.chdir(here)
    for path in (".", "", str(here), f"here{os.pathsep}."):
        monkeypatch.setenv("PATH", path)
        assert program("nvidia-smi") is None
        assert printed_by("nvidia-smi") is None
    script(there, "nvidia-smi", "echo theirs")
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{there}")
    assert program("nvidia-smi") == str(there / "nvidia-smi")
    assert printed_by("nvidia-smi") == "theirs\n"


@pytest.mark.skipif(os.name == "nt", reason="scripts of a shell")
def test_a_program_that_fails_or_hangs_says_nothing(tmp_path, monkeypatch):
    script(tmp_path, "fails", "echo something; exit 3")
    script(tmp_path, "hangs", "exec sleep 30")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr("planner.detection.probing.PATIENCE_S", 0.2)
    assert printed_by("fails") is None
    assert printed_by("hangs") is None
    assert printed_by("is-nowhere") is None


def test_a_package_in_the_working_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "pynvml_of_nobody.py").write_text("raise SystemExit\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert package_at_hand("pynvml_of_nobody") is None
    assert package_at_hand("no_such_package_at_all") is None
    assert package_at_hand("json") is not None
