"""Files that NCCL writes or reads, by numbers that were counted by hand."""

from collections import Counter
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.nccl_xml import read_nccl
from tests.readers.machines.written import nccl_xml

HERE = Path("system.xml")
SWITCH = "0x068000"
GPU = "0x030200"


def eight_h100():
    """As in aliyun/SimAI issue 128: 18 links of each GPU, 4, 5, 5 and 4 of them to four switches, a
    card beside each."""
    links = [("0000:08:00.0", 4, SWITCH), ("0000:06:00.0", 5, SWITCH), ("0000:07:00.0", 5, SWITCH),
             ("0000:05:00.0", 4, SWITCH)]  # fmt: skip
    cpus = []
    for numa in range(2):
        numbers = range(4 * numa, 4 * numa + 4)
        cpus.append(
            [
                [(f"0000:{at}9:00.0", "gpu", (at, links)), (f"0000:{at}a:00.0", "nic")]
                for at in numbers
            ]
        )
    return nccl_xml(cpus)


def quad_of_a_dgx1():
    """As in NVIDIA/nccl issue 671: GPUs 0 to 3 of a DGX-1 with V100, links to the others left out."""
    bonds = {
        0: {1: 1, 2: 1, 3: 2},
        1: {0: 1, 2: 2, 3: 1},
        2: {0: 1, 1: 2, 3: 2},
        3: {0: 2, 1: 1, 2: 2},
    }
    places = ["0000:06:00.0", "0000:07:00.0", "0000:0a:00.0", "0000:0b:00.0"]
    gpus = [
        (
            places[at],
            "gpu",
            (at, [(places[far], count, GPU) for far, count in far_ends.items()]),
            "0x1db5",
        )
        for at, far_ends in bonds.items()
    ]
    return nccl_xml([[gpus[:2], gpus[2:]]])


def cloud():
    """As aws/aws-ofi-nccl gives for p4d: four switches, two GPUs and a card behind each, no NVLink."""
    switches = [
        [
            (f"0000:{at}0:1c.0", "gpu", None, "0x20b0"),
            (f"0000:{at}0:1d.0", "gpu", None, "0x20b0"),
            (f"0000:{at}0:1b.0", "nic"),
        ]
        for at in range(4)
    ]
    return nccl_xml([switches[:2], switches[2:]], header="<!--\nof a cloud\n-->")


def kinds(seen):
    return Counter(link.kind for link in seen.links)


def test_links_to_switches_are_added_up():
    seen = read_nccl(eight_h100(), HERE)
    assert len(seen.of_kind("gpu")) == 8
    assert len(seen.of_kind("nic")) == 8
    assert {one.product for one in seen.of_kind("gpu")} == {"NVIDIA H100 80GB HBM3"}
    bonds = [link for link in seen.links if link.kind == "nvlink"]
    assert [link.count for link in bonds] == [18] * 8
    assert {link.between[1] for link in bonds} == {"NVSwitch"}
    # 28 pairs of GPUs and 64 with cards: 8 behind one switch, 12 + 24 others of a socket, 16 + 32.
    assert kinds(seen) == {"nvlink": 8, "pix": 8, "phb": 36, "sys": 48}
    assert seen.of_kind("gpu")[0].port_bytes_per_s == pytest.approx(16e9 * 16 * 128 / 130 / 8)
    assert [one.numa for one in seen.of_kind("gpu")] == [0] * 4 + [1] * 4


def test_links_from_gpu_to_gpu_count_once():
    seen = read_nccl(quad_of_a_dgx1(), HERE)
    counts = {frozenset(link.between): link.count for link in seen.links}
    assert len(counts) == 6
    assert sum(counts.values()) == 1 + 1 + 2 + 2 + 1 + 2
    assert counts[frozenset(("GPU1", "GPU2"))] == 2
    assert seen.devices[0].product == "Tesla V100-SXM2-32GB"


def test_a_cloud_does_not_say_how_gpus_reach_each_other():
    seen = read_nccl(cloud(), HERE)
    assert len(seen.of_kind("gpu")) == 8
    assert len(seen.of_kind("nic")) == 4
    # Each GPU with its own switch's card, with that of its socket's other switch, and with two more.
    assert kinds(seen) == {"pix": 8, "phb": 8, "sys": 16}
    assert "no NVLinks" in seen.remarks[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<graphs/>", "must begin with <system>"),
        (
            '<system version="1"><cpu numaid="0"><pci busid="0000:00:16.0"/></cpu></system>',
            "no GPU",
        ),
    ],
)
def test_what_has_no_gpu_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        read_nccl(text, HERE)
