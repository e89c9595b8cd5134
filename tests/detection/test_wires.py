import pytest

from planner.detection.wires import (
    bonded,
    half_latency,
    network,
    nvlink_count,
    port_of,
    uplink,
    way,
)
from planner.readers.machines.seen import SeenDevice, SeenLink


def link(kind, count=1, **more):
    return SeenLink(between=("a", "b"), kind=kind, count=count, **more)


@pytest.mark.parametrize(
    ("architecture", "count", "gigabytes"),
    [
        ("hopper", 18, 450),
        ("ampere", 12, 300),
        ("geforce-30", 4, 56.25),
        ("blackwell", 18, 900),
        ("volta", 2, 50),
    ],
)
def test_a_bond_is_as_wide_as_its_links_together(architecture, count, gigabytes):
    wire = bonded(link("nvlink", count), architecture)
    assert wire.bandwidth_bytes_per_s == gigabytes * 1e9
    assert wire.latency_s == pytest.approx(0.6e-6)


def test_what_was_seen_counts_before_the_table():
    wire = bonded(link("nvlink", bandwidth_bytes_per_s=150e9, text="150000 MB/s"), "volta")
    assert wire.bandwidth_bytes_per_s == 150e9
    assert "150000 MB/s" in wire.bandwidth["source"]
    assert bonded(link("xgmi"), "cdna").bandwidth_bytes_per_s == 64e9


def test_chips_have_so_many_links():
    assert [nvlink_count(name) for name in ("hopper", "ampere", "nothing")] == [18, 12, 18]


def test_ports_are_as_their_slots_are():
    whole = port_of(SeenDevice(name="a", kind="gpu"), "ada")
    # PCIe 4 with 16 lanes: 15.754 Gb/s each, 0.82 of it reached.
    assert whole.bandwidth_bytes_per_s == pytest.approx(15.754e9 / 8 * 16 * 0.82)
    slow = port_of(SeenDevice(name="a", kind="gpu", port_bytes_per_s=8e9), "ada")
    assert slow.bandwidth_bytes_per_s == pytest.approx(6.56e9)
    assert "8 GB/s" in slow.figure["note"]


def test_farther_ways_take_longer_and_between_sockets_are_narrower():
    port = port_of(SeenDevice(name="a", kind="gpu"), "hopper")
    kinds = ("pix", "pxb", "phb", "node", "sys")
    took = [way(kind, port).latency_s for kind in kinds]
    assert took == sorted(took)
    assert way("node", port).bandwidth_bytes_per_s == pytest.approx(
        port.bandwidth_bytes_per_s, rel=1e-5
    )
    assert way("sys", port).bandwidth_bytes_per_s == 20e9
    narrow = port_of(SeenDevice(name="a", kind="gpu", port_bytes_per_s=8e9), "hopper")
    assert way("sys", narrow).bandwidth_bytes_per_s == pytest.approx(6.56e9)


def test_two_halves_and_what_lies_between_make_a_way():
    port = port_of(SeenDevice(name="a", kind="gpu"), "hopper")
    half = half_latency("pix", way("pix", port).latency)
    assert half["value"] == "1 us"
    # 1 µs to the switch, (3.2 - 2) / 2 on, and the same back.
    assert uplink("sys", port).latency_s == pytest.approx(0.6e-6)
    assert network().bandwidth_bytes_per_s == 12.5e9
