"""Files of lstopo, by numbers that were counted by hand."""

from collections import Counter
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.hwloc_xml import read_hwloc
from tests.readers.machines.written import hwloc_xml

HERE = Path("machine.xml")
V100 = "Tesla V100-SXM3-32GB-H"


def nvlinks(ends, rows):
    """The matrix, its values cut into lines as lstopo does."""
    values = [str(value) for row in rows for value in row]
    cut = [values[at : at + 10] for at in range(0, len(values), 10)]
    lines = "".join(f'<u64values length="9">{" ".join(part)} </u64values>' for part in cut)
    return (
        f'<distances2hetero nbobjs="{len(ends)}" kind="25" name="NVLinkBandwidth">'
        f'<indexes length="9">{" ".join(ends)} </indexes>{lines}</distances2hetero>'
    )


def half_a_dgx2():
    """As hwloc's own sample of a DGX-2H, eight of its GPUs and six of its switches: two GPUs behind
    each bridge, two bridges on each root, two roots; 25,000 MB/s to each switch."""
    gpus = [
        [(2 * at, f"nvml{2 * at}", V100), (2 * at + 1, f"nvml{2 * at + 1}", V100)]
        for at in range(4)
    ]
    ends = [f"OSDev:{800 + at}" for at in range(8)] + [f"PCIDev:{449 + at}" for at in range(6)]
    to_switches = [0] * 8 + [25000] * 6
    rows = [to_switches] * 8 + [[25000] * 8 + [0] * 6] * 6
    return hwloc_xml([(2, 810234351616, [gpus[:2], gpus[2:]])], nvlinks(ends, rows), version="3.0")


def power8():
    """As hwloc's sample of a POWER8 with four P100, two on each socket, whose NVLinks join pairs, and
    each to its processor."""
    product = "Tesla P100-SXM2-16GB"
    packages = [
        (
            4,
            68_000_000_000,
            [[[(2 * at, f"nvml{2 * at}", product)], [(2 * at + 1, f"nvml{2 * at + 1}", product)]]],
        )
        for at in range(2)
    ]
    ends = ["OSDev:800", "OSDev:801", "OSDev:802", "OSDev:803", "Package:100", "Package:108"]
    rows = [
        [0, 40000, 0, 0, 40000, 0],
        [40000, 0, 0, 0, 40000, 0],
        [0, 0, 0, 40000, 0, 40000],
        [0, 0, 40000, 0, 0, 40000],
        [40000, 40000, 0, 0, 0, 0],
        [0, 0, 40000, 40000, 0, 0],
    ]
    return hwloc_xml(packages, nvlinks(ends, rows))


HETEROGENEOUS = """
<memattr name="Capacity"><memattr_value target_obj_gp_index="101" value="9"/></memattr>
<memattr name="Bandwidth" flags="5">
<memattr_value target_obj_type="NUMANode" target_obj_gp_index="101" value="22500"/>
<memattr_value target_obj_type="NUMANode" target_obj_gp_index="101" value="20000"/>
<memattr_value target_obj_type="NUMANode" target_obj_gp_index="103" value="90000"/>
</memattr>
"""


def kinds(seen):
    return Counter(link.kind for link in seen.links)


def test_nvlinks_to_switches_are_added_up():
    seen = read_hwloc(half_a_dgx2(), HERE)
    assert seen.name == "one"
    assert len(seen.of_kind("gpu")) == 8
    assert seen.of_kind("gpu")[0].product == V100
    bonds = [link for link in seen.links if link.kind == "nvlink"]
    assert {link.bandwidth_bytes_per_s for link in bonds} == {6 * 25e9}
    # 4 pairs behind a bridge, 2 × 4 through a root, 16 between roots; 8 to the switches.
    assert kinds(seen) == {"nvlink": 8, "pix": 4, "phb": 8, "node": 16}
    (cpu,) = seen.of_kind("cpu")
    assert (cpu.cores, cpu.sockets, cpu.memory_bytes) == (2, 1, 810234351616)
    assert cpu.product == "Intel(R) Xeon(R) Platinum 8174 CPU @ 3.10GHz"


def test_nvlinks_to_a_processor_are_no_switch():
    seen = read_hwloc(power8(), HERE)
    bonds = {
        link.between: link.bandwidth_bytes_per_s for link in seen.links if link.kind == "nvlink"
    }
    assert {frozenset(pair) for pair in bonds} == {
        frozenset(pair)
        for pair in (("GPU0", "GPU1"), ("GPU2", "GPU3"), *((f"GPU{at}", "CPU") for at in range(4)))
    }
    assert set(bonds.values()) == {40e9}
    assert kinds(seen) == {"nvlink": 6, "sys": 4}
    assert [one.numa for one in seen.of_kind("gpu")] == [0, 0, 1, 1]


def test_memory_of_several_kinds_is_as_wide_as_all_together():
    text = hwloc_xml([(2, 2**30, []), (2, 2**31, [])], attributes=HETEROGENEOUS)
    (cpu,) = read_hwloc(text, HERE).devices
    assert cpu.bandwidth_bytes_per_s == (22500 + 90000) * 2**20
    assert cpu.memory_bytes == 3 * 2**30
    assert cpu.sockets == 2


def test_cards_of_a_network_are_no_gpus():
    text = hwloc_xml([(1, 2**30, [[[(0, "nvml0", V100)], [(1, "mlx5_0", "")]]])])
    seen = read_hwloc(text, HERE)
    assert [one.product for one in seen.of_kind("nic")] == ["mlx5_0"]
    assert kinds(seen) == {"phb": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<topology/>", "with an <object> in it"),
        (hwloc_xml([(1, 1, [])], version="1.0"), "hwloc 1"),
        (hwloc_xml([(1, 1, [])], nvlinks(["OSDev:1"], [[1, 2, 3]])), "3 values for 1 devices"),
    ],
)
def test_what_is_no_machine_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        read_hwloc(text, HERE)
