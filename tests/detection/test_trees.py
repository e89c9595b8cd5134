from itertools import combinations

import pytest

from planner.detection.trees import tree_of
from planner.detection.wires import port_of
from planner.machines.wiring import Wire, Wiring
from planner.readers.machines.seen import SeenDevice, SeenLink
from planner.units import parse_quantity


def wiring_of(kinds, numa=None):
    """The tree of some GPUs, from how far each is from those after it."""
    gpus = [
        SeenDevice(name=f"GPU{at}", kind="gpu", numa=numa and numa[at])
        for at in range(len(kinds) + 1)
    ]
    words = [word for row in kinds for word in row.split()]
    links = {}
    for pair, kind in zip(combinations(gpus, 2), words, strict=True):
        ends = tuple(gpu.name for gpu in pair)
        links[frozenset(ends)] = SeenLink(between=ends, kind=kind)
    made = tree_of(gpus, links, [port_of(gpu, "ada") for gpu in gpus])
    wires = [
        Wire(
            between=tuple(one["between"]),
            bandwidth_bytes_per_s=parse_quantity(
                one["bandwidth"]["value"], "bytes per second", "b"
            ),
            latency_s=parse_quantity(one["latency"]["value"], "seconds", "l"),
        )
        for one in made
    ]
    return Wiring(wires, len(gpus), 1e9, 1e-6)


PORT = 15.754e9 / 8 * 16 * 0.82


def test_two_islands_are_joined_by_one_narrow_link():
    wiring = wiring_of(["node sys sys", "sys sys", "node"])
    assert not wiring.apart
    (near,) = wiring.lanes(0, 1)
    assert near.bandwidth_bytes_per_s == pytest.approx(PORT, rel=1e-5)
    assert near.latency_s == pytest.approx(2.6e-6)
    (far,) = wiring.lanes(0, 2)
    assert far.bandwidth_bytes_per_s == 20e9
    # Half of 2.6 µs to the NUMA node, (3.2 - 2) / 2 up, and the same down.
    assert far.latency_s == pytest.approx((1.3 + 0.6) * 2e-6)


def test_a_switch_shares_one_port_with_what_lies_above():
    wiring = wiring_of(["pix phb phb", "phb phb", "pix"])
    # Both cards of one switch send to both of the other: each half of a port.
    lane = wiring._loaded([wiring.paths[0][0, 2], wiring.paths[0][1, 3]])
    assert lane.bandwidth_bytes_per_s == pytest.approx(PORT / 2, rel=1e-5)


def test_what_nvlink_hides_is_told_by_numa_nodes():
    wiring = wiring_of(["nvlink nvlink nvlink", "nvlink nvlink", "nvlink"], numa=[0, 0, 1, 1])
    assert wiring.lanes(0, 1)[0].latency_s < wiring.lanes(0, 2)[0].latency_s
    alone = wiring_of(["nvlink"])
    assert not alone.apart
