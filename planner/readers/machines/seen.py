"""`SeenMachine`: what a description of a machine says, in words that all formats share.

Devices, and what joins them, as they were seen: no figure is guessed here, and what a format does
not say stays None. Every device and link keeps the text that it comes from.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError, shortened
from planner.records import Record
from planner.units import Bytes, BytesPerS, Count, PositiveBytes, Seconds

DeviceKind = Literal["gpu", "cpu", "nic", "switch"]
LinkKind = Literal["nvlink", "xgmi", "pix", "pxb", "phb", "node", "sys", "network"]
"""NVLink and xGMI by their names. Then how far a way over PCIe leads, as `nvidia-smi` says it: over
one bridge, over several, through the CPU's own, between those of one NUMA node, between NUMA nodes.
A network: between hosts and the switches of a cluster."""
FARTHER: tuple[LinkKind, ...] = ("pix", "pxb", "phb", "node", "sys")
"""Ways over PCIe, the nearest first."""
MOST_DEVICES = 65_536
"""Of one description; more is something else."""


class SeenDevice(Record):
    """One thing that links end at: a GPU, a processor, a network card, a switch."""

    name: str
    """Of which the machine has one, such as "GPU0" or "node3/GPU0"."""
    kind: DeviceKind
    host: str = ""
    """The computer that it is in; "" where there is only one."""
    product: str = ""
    """As its driver calls it; "" where that is not said."""
    memory_bytes: PositiveBytes | None = None
    """All of it, as the driver counts."""
    kept_bytes: Bytes | None = None
    """Of that, what the driver keeps for itself."""
    bandwidth_bytes_per_s: BytesPerS | None = None
    """Of its memory."""
    port_bytes_per_s: BytesPerS | None = None
    """Of its own PCIe port, raw and per direction."""
    numa: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    cores: Count | None = None
    sockets: Count | None = None
    cycles_per_s: Annotated[float, Field(gt=0, le=1e12)] | None = None
    features: tuple[str, ...] = ()
    """Of a processor: sets of instructions, in its maker's words."""
    text: str = ""
    """What it was read from."""


class SeenLink(Record):
    """What joins two devices, both ways."""

    between: tuple[str, str]
    kind: LinkKind
    count: Count = 1
    """Links side by side, such as the 12 of NV12."""
    bandwidth_bytes_per_s: BytesPerS | None = None
    """Per direction, of all of them."""
    latency_s: Seconds | None = None
    text: str = ""
    """What it was read from."""


class SeenMachine(Record):
    """All that one description says."""

    format: str
    """Of the description, such as "nvidia-smi topo -m"."""
    name: str = ""
    devices: tuple[SeenDevice, ...] = ()
    links: tuple[SeenLink, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the description says that a plan does not take in."""

    @model_validator(mode="after")
    def check_names(self) -> Self:
        if len(self.devices) > MOST_DEVICES:
            raise InputError(
                f"SeenMachine.devices has {len(self.devices)} devices; at most {MOST_DEVICES} are"
                " read"
            )
        names = {device.name for device in self.devices}
        if len(names) < len(self.devices):
            raise InputError("SeenMachine.devices: two devices have the same name")
        for link in self.links:
            for end in link.between:
                if end not in names:
                    raise InputError(
                        f"SeenMachine.links: a link ends at {shortened(end)}, which is not one of"
                        " the devices"
                    )
        return self

    def of_kind(self, kind: DeviceKind, host: str | None = None) -> tuple[SeenDevice, ...]:
        """Devices of a kind, on one host or on all."""
        return tuple(
            device for device in self.devices if device.kind == kind and host in (None, device.host)
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Computers with a GPU or a processor, in the order of the description."""
        kinds = ("gpu", "cpu")
        found = [device.host for device in self.devices if device.kind in kinds]
        return tuple(dict.fromkeys(found))
