from pathlib import Path

import pytest

from planner.detection.fabrics import joined, neighbours
from planner.readers.machines.nvidia_matrix import read_matrix
from planner.readers.machines.seen import SeenDevice, SeenLink, SeenMachine
from tests.readers.machines.written import matrix_text, real_matrices, square_matrix

REAL = {one["what"]: one for one in real_matrices()}


def seen_of(matrix):
    return read_matrix(matrix_text(matrix), Path("x"))


def fabric_of(matrix, architecture):
    seen = seen_of(matrix)
    return joined(seen, seen.of_kind("gpu"), architecture)


def width(figure):
    return float(figure["value"].split()[0])


@pytest.mark.parametrize(
    ("what", "architecture", "shape", "gigabytes"),
    [
        ("HGX H100, rows of its cards left out", "hopper", "switch", 450),
        ("four H100, each joined to each", "hopper", "full-mesh", 150),
        ("four A100, each joined to each", "ampere", "full-mesh", 100),
        ("eight RTX 4090", "geforce-40", "switch", 20),
        ("two RTX 5090, with the matrix of peer access below", "geforce-50", "switch", 51.6731),
    ],
)
def test_even_machines_have_the_ordinary_fabric(what, architecture, shape, gigabytes):
    found = fabric_of(REAL[what], architecture)
    assert found.fabric["shape"] == shape
    assert found.fabric["units"] == REAL[what]["gpus"]
    assert width(found.fabric["bandwidth"]) == gigabytes
    assert found.order == tuple(range(REAL[what]["gpus"]))


def test_bridged_pairs_are_a_list_of_links():
    found = fabric_of(square_matrix(["NV4 SYS SYS", "SYS SYS", "NV4"]), "geforce-30")
    links = {tuple(one["between"]): width(one["bandwidth"]) for one in found.fabric["link"]}
    assert found.fabric["shape"] == "links"
    assert links[0, 1] == links[2, 3] == 56.25
    assert (0, 2) not in links


def test_a_dgx1_keeps_links_of_one_and_of_two():
    found = fabric_of(REAL["DGX-1, V100"], "volta")
    bonds = [
        one
        for one in found.fabric["link"]
        if not any(isinstance(end, str) for end in one["between"])
    ]
    assert sorted(width(one["bandwidth"]) for one in bonds) == [25.0] * 8 + [50.0] * 8
    numbers = list(found.order)
    assert "CUDA_VISIBLE_DEVICES=" + ",".join(map(str, numbers)) in found.remarks[0]
    # Neighbours have two links.
    assert {tuple(one["between"]): width(one["bandwidth"]) for one in bonds}[0, 1] == 50.0


def test_a_gpu_with_fewer_links_to_the_switches_is_told():
    rows = ["NV18 NV18 NV17", "NV18 NV17", "NV17"]
    found = fabric_of(square_matrix(rows), "hopper")
    hub = {
        one["between"][0]: width(one["bandwidth"])
        for one in found.fabric["link"]
        if one["between"][1] == "NVSwitch"
    }
    assert hub == {0: 450, 1: 450, 2: 450, 3: 425}
    assert found.remarks == ("GPU3 has 17 NVLinks, where others have 18",)


def test_a_gpu_that_fell_off_the_switches_has_pcie():
    found = fabric_of(square_matrix(["NV18 NV18 SYS", "NV18 SYS", "SYS"]), "hopper")
    assert "GPU3 reaches no NVSwitch, only PCIe" in found.remarks
    hub = [one["between"][0] for one in found.fabric["link"] if one["between"][1] == "NVSwitch"]
    assert sorted(hub) == [0, 1, 2]


def test_a_slot_with_fewer_lanes_makes_a_list_of_links():
    gpus = [
        SeenDevice(name=f"GPU{at}", kind="gpu", port_bytes_per_s=size)
        for at, size in enumerate((32e9, 8e9))
    ]
    link = SeenLink(between=("GPU0", "GPU1"), kind="phb")
    found = joined(SeenMachine(format="x", devices=tuple(gpus), links=(link,)), gpus, "ada")
    assert found.fabric["shape"] == "links"
    assert sorted(width(one["bandwidth"]) for one in found.fabric["link"]) == [6.56, 26.24]


def test_gpus_are_called_by_the_drivers_numbers():
    seen = seen_of(square_matrix(["PHB PHB PHB PHB", "SYS NV4 SYS", "SYS NV4", "SYS"]))
    found = joined(seen, seen.of_kind("gpu")[1:], "geforce-30")
    assert found.order == (0, 2, 1, 3)
    assert "CUDA_VISIBLE_DEVICES=1,3,2,4" in found.remarks[0]


def test_one_gpu_needs_no_fabric():
    gpu = SeenDevice(name="GPU0", kind="gpu")
    assert joined(SeenMachine(format="x", devices=(gpu,)), [gpu], "ada").fabric is None


def test_neighbours_are_those_whose_links_are_the_widest():
    assert neighbours([[0, 1e9], [1e9, 0]]) == (0, 1)
    square = [[0, 1e9, 9e9, 1e9], [1e9, 0, 1e9, 9e9], [9e9, 1e9, 0, 1e9], [1e9, 9e9, 1e9, 0]]
    assert neighbours(square) == (0, 2, 1, 3)
    even = [[0 if one == other else 5e9 for other in range(8)] for one in range(8)]
    assert neighbours(even) == tuple(range(8))
    odd = [[0] * 3] * 3
    assert neighbours(odd) == (0, 1, 2)
