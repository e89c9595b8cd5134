"""Matrices of real machines, by numbers that were counted by hand."""

from collections import Counter
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.nvidia_matrix import is_matrix, read_matrix
from tests.readers.machines.written import matrix_text, named, real_matrices, square_matrix

HERE = Path("topo.txt")
REAL = real_matrices()


def kinds_of(seen):
    """Pairs of GPUs by kind, and NVLinks in all."""
    links = [one for one in seen.links if all(end.startswith("GPU") for end in one.between)]
    counted = Counter(one.kind for one in links)
    bonded = sum(one.count for one in links if one.kind == "nvlink")
    return counted + Counter({"links": bonded})


def test_many_real_machines_are_read():
    assert len(REAL) >= 10
    assert len({one["source"] for one in REAL}) == len(REAL)


@pytest.mark.parametrize("style", ["tabs", "spaces", "colours", "bare"])
@pytest.mark.parametrize("matrix", REAL, ids=lambda one: one["what"])
def test_a_real_machine_has_as_many_devices_and_links_as_were_counted(matrix, style):
    text = matrix_text(matrix, style)
    assert is_matrix(text)
    seen = read_matrix(text, HERE)
    cards = len(matrix.get("cards", ()))
    assert len(seen.of_kind("gpu")) == matrix["gpus"]
    assert len(seen.of_kind("nic")) == cards
    assert kinds_of(seen) == matrix["counts"]
    # Every pair once; of cards whose rows are left out those to GPUs alone.
    everyone = matrix["gpus"] + cards
    unsaid = cards * (cards - 1) // 2 if matrix.get("only_gpus") else 0
    assert len(seen.links) == everyone * (everyone - 1) // 2 - unsaid


def test_what_a_matrix_says_besides():
    matrix = next(one for one in REAL if "legend" in one)
    seen = read_matrix(matrix_text(matrix), HERE)
    assert [one.product for one in seen.of_kind("nic")] == ["mlx5_0", "mlx5_1"]
    assert [one.numa for one in seen.of_kind("gpu")] == [0, 0, 1, 1]
    unknown = next(one for one in REAL if one.get("numa", [""])[0] == "N/A")
    assert [one.numa for one in read_matrix(matrix_text(unknown), HERE).devices] == [None, 1]


def test_names_come_from_the_same_text():
    text = named("NVIDIA L4", "NVIDIA L4") + matrix_text(square_matrix(["PHB"])) + "more words\n"
    seen = read_matrix(text, HERE)
    assert [one.product for one in seen.devices] == ["NVIDIA L4", "NVIDIA L4"]
    assert seen.remarks == ()
    fewer = read_matrix(named("NVIDIA L4") + matrix_text(square_matrix(["PHB"])), HERE)
    assert fewer.remarks == ("the text lists 1 GPUs, but its matrix has 2",)


def test_instances_are_told():
    text = named("NVIDIA H200") + "  MIG 1g.18gb     Device  0: (UUID: MIG-1)\n"
    seen = read_matrix(text + "\tGPU0\tCPU Affinity\nGPU0\t X \t0-7\n", HERE)
    assert "MIG" in seen.remarks[0]
    assert len(seen.devices) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \tGPU0\tGPU1\n GPU0\tX\tOK\n GPU1\tOK\tX\n", "output of `nvidia-smi topo -p2p`"),
        ("\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \n", "1 entries for 2 columns"),
        ("\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV4\t0-7\n", "no row for GPU1"),
        ("\tGPU0\tGPU1\nGPU0\t X \tNV4\nGPU1\tSYS\t X \n", "one of the two rows is wrong"),
        ("\tGPU0\tGPU1\nGPU0\t X \tFOO\nGPU1\tFOO\t X \n", "link between GPU0 and GPU1 is FOO"),
        ("\tGPU0\tGPU1\nGPU0\t X \t X \nGPU1\t X \t X \n", "link between GPU0 and GPU1 is X"),
        ("nothing of the kind", "no matrix of GPUs"),
    ],
)
def test_what_is_no_matrix_is_refused_in_a_sentence(text, said):
    with pytest.raises(InputError, match=said):
        read_matrix(text, HERE)
