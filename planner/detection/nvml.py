"""What NVML says of the GPUs at hand (package `nvidia-ml-py`): names, memory with what the driver
keeps of it, slots, NVLinks, and how far it is from one to another."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planner.readers.machines.nvidia_products import TRANSFERS
from planner.readers.machines.seen import LinkKind, SeenDevice, SeenLink, SeenMachine

FORMAT = "NVML"
LEVELS: tuple[tuple[int, LinkKind], ...] = (
    (10, "pix"),
    (20, "pxb"),
    (30, "phb"),
    (40, "node"),
    (50, "sys"),
)
"""NVML's numbers of common ancestors."""
MOST_BONDS = 18
IS_UP = 1


def seen_by_nvml(nvml: Any) -> SeenMachine | None:
    """The GPUs; None where there is no driver, or none of them."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        count = nvml.nvmlDeviceGetCount()
        handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
        if not handles:
            return None
        return _machine(nvml, handles)
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _machine(nvml: Any, handles: Sequence[Any]) -> SeenMachine:
    devices = [_device(nvml, handle, number) for number, handle in enumerate(handles)]
    links = list(_links(nvml, handles))
    if any("NVSwitch" in link.between for link in links):
        devices.append(SeenDevice(name="NVSwitch", kind="switch", text="remote of NVLinks"))
    remarks = []
    modes = (_asked(nvml, nvml.nvmlDeviceGetMigMode, handle) for handle in handles)
    if any(mode and mode[0] for mode in modes):
        remarks.append("some GPUs are split into MIG instances, but they are planned as whole GPUs")
    return SeenMachine(
        format=FORMAT, devices=tuple(devices), links=tuple(links), remarks=tuple(remarks)
    )


def _asked(nvml: Any, query: Callable[..., Any], *given: Any) -> Any:
    """The answer; None where this GPU, or this driver, has none."""
    try:
        return query(*given)
    except nvml.NVMLError:
        return None


def _words(given: Any) -> str:
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)


def _device(nvml: Any, handle: Any, number: int) -> SeenDevice:
    # The second edition of the query says what the driver keeps.
    version = getattr(nvml, "nvmlMemory_v2", None)
    memory = None
    if version is not None:
        memory = _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle, version)
    memory = memory or _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    name = _words(nvml.nvmlDeviceGetName(handle))
    generation = _asked(nvml, nvml.nvmlDeviceGetMaxPcieLinkGeneration, handle)
    lanes = _asked(nvml, nvml.nvmlDeviceGetCurrPcieLinkWidth, handle)
    port = TRANSFERS[generation] / 8 * lanes if generation in TRANSFERS and lanes else None
    kept = getattr(memory, "reserved", None)
    return SeenDevice(
        name=f"GPU{number}",
        kind="gpu",
        product=name[:80],
        memory_bytes=float(memory.total) if memory else None,
        kept_bytes=None if kept is None else float(kept),
        port_bytes_per_s=port,
        text=f"{name[:80]}, NVML",
    )


def _links(nvml: Any, handles: Sequence[Any]) -> Iterator[SeenLink]:
    """Bonds of NVLinks, and ways over PCIe where there are none."""
    places = [_place(nvml.nvmlDeviceGetPciInfo(handle)) for handle in handles]
    bonds: Counter[tuple[int, int | str]] = Counter()
    for number, handle in enumerate(handles):
        for far in _remotes(nvml, handle):
            other = places.index(far) if far in places else "NVSwitch"
            if isinstance(other, str) or number < other:
                bonds[number, other] += 1
    for (number, other), count in bonds.items():
        end = f"GPU{other}" if isinstance(other, int) else other
        yield SeenLink(between=(f"GPU{number}", end), kind="nvlink", count=count, text=f"NV{count}")
    for one, here in enumerate(handles):
        for other, there in enumerate(handles[one + 1 :], one + 1):
            if (one, other) in bonds:
                continue
            level = _asked(nvml, nvml.nvmlDeviceGetTopologyCommonAncestor, here, there)
            kind = next(
                (name for most, name in LEVELS if level is not None and level <= most), "sys"
            )
            pair = (f"GPU{one}", f"GPU{other}")
            yield SeenLink.from_fields({"between": pair, "kind": kind, "text": f"level {level}"})


def _remotes(nvml: Any, handle: Any) -> Iterator[str]:
    """Where each NVLink that is up leads."""
    for number in range(getattr(nvml, "NVML_NVLINK_MAX_LINKS", MOST_BONDS)):
        if _asked(nvml, nvml.nvmlDeviceGetNvLinkState, handle, number) != IS_UP:
            continue
        far = _asked(nvml, nvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, number)
        yield "" if far is None else _place(far)


def _place(info: Any) -> str:
    """On the bus, however many zeros stand before it."""
    return _words(info.busId).lower().lstrip("0")
