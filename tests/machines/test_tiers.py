"""Which second memory a machine's layers may lie in, and at what rate it is read."""

import pytest

from planner.errors import InputError
from planner.machines.engine import Engine
from planner.machines.tiers import second_tier, tier_of
from planner.machines.topology import Host, MemoryTier
from tests.by_hand import round_chip, round_machine


def round_host(bandwidth: float = 4.0, **changes) -> Host:
    """A tenth of the chip's arithmetic, 5,000 B at 2 B/s, a link of 4 B/s that starts in 1 s."""
    numbers = {
        "name": "board",
        "processor": round_chip(
            name="board",
            peaks=({"dtype": "bf16", "flop_per_s": 10.0},),
            memory=(MemoryTier(name="DIMM", capacity_bytes=5000.0, bandwidth_bytes_per_s=2.0),),
        ),
        "bandwidth_bytes_per_s": bandwidth,
        "latency_s": 1.0,
    }
    return Host(**{**numbers, **changes})


def offloading(mode: str, **changes):
    """A machine of one chip whose software leaves so much behind."""
    software = {"engine": Engine(offload=mode), "memory_efficiency": 0.5}
    return round_machine(1, software=software, **changes)


def test_software_that_leaves_nothing_behind_has_no_second_memory():
    assert second_tier(offloading("none", host=round_host())) is None
    assert second_tier(offloading("layers")) is None


def test_a_host_is_read_at_the_slower_of_link_and_memory():
    slow_memory = second_tier(offloading("streams", host=round_host(bandwidth=4.0)))
    slow_link = second_tier(offloading("streams", host=round_host(bandwidth=1.0)))
    assert slow_memory.bandwidth_bytes_per_s == 2.0
    assert slow_link.bandwidth_bytes_per_s == 1.0
    assert slow_link.memory_efficiency == 1.0  # the figure is one that copies reach
    assert slow_link.capacity_bytes == 5000.0


@pytest.mark.parametrize(("mode", "whole"), [("streams", False), ("layers", True)])
def test_whole_layers_take_caches_along_and_are_computed_where_they_lie(mode, whole):
    tier = second_tier(offloading(mode, host=round_host()))
    assert tier.holds_caches == whole
    assert (tier.host is not None) == whole


def test_a_second_memory_of_the_chip_comes_before_the_host_and_computes_nothing():
    memory = (
        MemoryTier(name="SRAM", capacity_bytes=1000.0, bandwidth_bytes_per_s=10.0),
        MemoryTier(name="LPDDR", capacity_bytes=9000.0, bandwidth_bytes_per_s=3.0),
    )
    tier = second_tier(offloading("layers", chip=round_chip(memory=memory), host=round_host()))
    assert (tier.name, tier.capacity_bytes, tier.bandwidth_bytes_per_s) == ("LPDDR", 9000.0, 3.0)
    assert tier.memory_efficiency == 0.5  # the stack's own
    assert tier.host is None


def test_one_sentence_says_what_is_missing():
    with pytest.raises(InputError, match="round is not known to run layers whose weights lie off"):
        tier_of(offloading("none", host=round_host()))
    with pytest.raises(InputError, match="neither a second memory on its chips nor a host"):
        tier_of(offloading("layers"))
