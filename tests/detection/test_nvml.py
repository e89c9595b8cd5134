"""NVML by a stand-in for its Python package: four GPUs, two pairs of them bridged."""

from types import SimpleNamespace

import pytest

from planner.detection.nvml import seen_by_nvml


class NVMLError(Exception):
    pass


class Package:
    """What of the package is asked."""

    NVMLError = NVMLError
    NVML_NVLINK_MAX_LINKS = 6
    nvmlMemory_v2 = 2

    def __init__(self, count=4, bonds=None, **fails):
        self.count = count
        self.bonds = {0: [1] * 4, 1: [0] * 4, 2: [3] * 4, 3: [2] * 4} if bonds is None else bonds
        self.fails = fails
        self.shut = False

    def nvmlInit(self):
        if self.fails.get("driver"):
            raise NVMLError("no driver")

    def nvmlShutdown(self):
        self.shut = True

    def nvmlDeviceGetCount(self):
        return self.count

    def nvmlDeviceGetHandleByIndex(self, number):
        return number

    def nvmlDeviceGetName(self, handle):
        return b"NVIDIA GeForce RTX 3090"

    def nvmlDeviceGetMemoryInfo(self, handle, version=1):
        if version == 2 and self.fails.get("second"):
            raise NVMLError("too old")
        kept = {"reserved": 2**28} if version == 2 else {}
        return SimpleNamespace(total=24 * 2**30, free=0, used=0, **kept)

    def nvmlDeviceGetPciInfo(self, handle):
        return SimpleNamespace(busId=f"00000000:0{handle}:00.0".encode())

    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle):
        return 4

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle):
        return 16 if handle else 8

    def nvmlDeviceGetMigMode(self, handle):
        if not self.fails.get("mig"):
            raise NVMLError("not supported")
        return [1, 1]

    def nvmlDeviceGetNvLinkState(self, handle, link):
        if link >= len(self.bonds.get(handle, ())):
            raise NVMLError("no such link")
        return 1

    def nvmlDeviceGetNvLinkRemotePciInfo(self, handle, link):
        far = self.bonds[handle][link]
        return SimpleNamespace(busId=f"0000:0{far}:00.0")

    def nvmlDeviceGetTopologyCommonAncestor(self, one, other):
        return 20 if other - one == 1 else 50


def test_names_memory_slots_and_links_are_asked():
    package = Package()
    seen = seen_by_nvml(package)
    assert package.shut
    assert [one.product for one in seen.devices] == ["NVIDIA GeForce RTX 3090"] * 4
    assert seen.devices[0].memory_bytes == 24 * 2**30
    assert seen.devices[0].kept_bytes == 2**28
    assert seen.devices[1].port_bytes_per_s == 2 * seen.devices[0].port_bytes_per_s
    kinds = {link.between: (link.kind, link.count) for link in seen.links}
    assert kinds["GPU0", "GPU1"] == kinds["GPU2", "GPU3"] == ("nvlink", 4)
    assert kinds["GPU1", "GPU2"] == ("pxb", 1)
    assert kinds["GPU0", "GPU3"] == ("sys", 1)
    assert len(kinds) == 6


def test_links_that_lead_to_no_gpu_lead_to_switches():
    seen = seen_by_nvml(Package(2, {0: [9] * 6, 1: [9] * 6}))
    counts = {link.between: link.count for link in seen.links if link.kind == "nvlink"}
    assert counts == {("GPU0", "NVSwitch"): 6, ("GPU1", "NVSwitch"): 6}


def test_old_drivers_and_instances():
    assert seen_by_nvml(Package(1, second=True)).devices[0].kept_bytes is None
    assert "MIG" in seen_by_nvml(Package(1, mig=True)).remarks[0]


@pytest.mark.parametrize("package", [Package(driver=True), Package(0)])
def test_without_a_driver_or_a_gpu_there_is_nothing(package):
    assert seen_by_nvml(package) is None
