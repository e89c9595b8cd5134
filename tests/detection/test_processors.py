import pytest

from planner.detection.processors import host_of, processor_chip
from planner.readers.machines.seen import SeenDevice
from planner.units import parse_quantity

GIB = 2**30


def cpu(**more):
    fields = {"product": "Intel(R) Xeon(R) Gold 6338", "cores": 64, "sockets": 2, "cycles_per_s": 2e9,
              "memory_bytes": 512 * GIB, "features": ("avx2", "avx512f")}  # fmt: skip
    return SeenDevice(name="CPU", kind="cpu", **(fields | more))


def peaks(fields):
    return {
        one["dtype"]: parse_quantity(one["value"], "operations per second", "peak")
        for one in fields["peak"]
    }


def test_a_processor_is_its_cores_times_what_they_do_in_a_cycle():
    found = processor_chip(cpu(), "seen")
    assert peaks(found)["fp32"] == pytest.approx(64 * 64 * 2e9, rel=1e-3)
    assert peaks(found)["int8"] == pytest.approx(4 * 64 * 64 * 2e9, rel=1e-3)
    assert found["memory"][0]["capacity"]["value"] == "460.8 GiB"
    assert found["memory"][0]["bandwidth"]["value"] == "400 GB/s"
    assert found["memory"][0]["bandwidth"]["confidence"] == "guess"


def test_tiles_multiply_sixteen_bits_faster():
    found = processor_chip(cpu(features=("avx512f", "amx_bf16")), "seen")
    assert peaks(found)["bf16"] == pytest.approx(64 * 1024 * 2e9, rel=1e-3)


def test_one_that_the_catalogue_has_is_taken_from_there():
    found = processor_chip(cpu(product="Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz"), "seen")
    assert found["name"] == "2 × Intel Xeon Platinum 8380"
    assert found["memory"][0]["bandwidth"]["value"] == "409.6 GB/s"
    one = processor_chip(cpu(product="Intel Xeon Platinum 8380", sockets=1), "seen")
    assert one["memory"][0]["bandwidth"]["value"] == "204.8 GB/s"


def test_what_firmware_says_of_memory_counts():
    found = processor_chip(cpu(bandwidth_bytes_per_s=300e9), "seen")
    assert found["memory"][0]["bandwidth"] == {
        "value": "300 GB/s", "source": "seen", "confidence": "B", "note": "as firmware says",
    }  # fmt: skip


def test_a_host_is_shared_out():
    port = {"value": "50 GB/s"}
    host = host_of(cpu(), 4, port, "seen")
    assert host["link_bandwidth"] == port
    assert host["memory"][0]["capacity"]["value"] == "115.2 GiB"
    assert host["memory"][0]["bandwidth"]["value"] == "100 GB/s"
    assert peaks(host)["fp32"] == pytest.approx(16 * 64 * 2e9, rel=1e-3)
    assert host_of(cpu(memory_bytes=None), 4, port, "seen") is None


def test_a_desktop_has_narrower_memory():
    found = processor_chip(cpu(product="AMD Ryzen 9", sockets=1, memory_bytes=64 * GIB), "seen")
    assert found["memory"][0]["bandwidth"]["value"] == "60 GB/s"
