"""Where a machine's layers lie that do not fit into the first memory of its chips: a second memory
of the chip, or the computer that it stands in.

What may lie there, and who computes it, is the software's to say (`Engine.offload`):

- "streams": the weights alone. The chip reads them there, in every pass, and overlaps that with its
  arithmetic as it does with its own memory.
- "layers": weights and caches. Of a second memory of the chip it reads both, as above. Of a host's
  memory the host's processor reads them and computes the layer, and activations change sides; but
  a pass of `STREAMED_TOKENS` or more has its weights copied to the chip, which computes it [1].

[1] llama.cpp, `ggml_backend_cuda_device_offload_op`: operators whose batch is at least 32 run on
    the GPU although their weights lie in host memory.
"""

from dataclasses import dataclass

from planner.errors import InputError
from planner.machines.topology import Topology

STREAMED_TOKENS = 32
"""Tokens of a pass from which weights are copied to the chip, where the host's processor computes
smaller ones."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The memory in which the layers of a chip lie that its first memory has no room for."""

    name: str
    capacity_bytes: float
    """That may be filled, for each chip."""
    bandwidth_bytes_per_s: float
    """At which the chip reads it, links included."""
    memory_efficiency: float
    """Share of that bandwidth that the software reaches; 1 where the figure is one that was
    reached."""
    latency_s: float
    """Of handing something from one side to the other."""
    holds_caches: bool
    """Whether the caches of its layers lie there too."""
    host: Topology | None = None
    """The processor that computes its layers in small passes, as a machine of one chip; None: the
    chip computes them all."""


def second_tier(topology: Topology) -> Tier | None:
    """Where layers of a chip may lie besides its first memory; None: nowhere, as the machine has
    no other memory, or its software none that can be in it."""
    mode = topology.software.engine.offload
    if mode == "none":
        return None
    if len(topology.chip.memory) > 1:
        own = topology.chip.memory[1]
        software = topology.software
        return Tier(
            name=own.name,
            capacity_bytes=own.capacity_bytes,
            bandwidth_bytes_per_s=own.bandwidth_bytes_per_s,
            memory_efficiency=software.memory_efficiency * topology.chip.memory_efficiency,
            latency_s=0.0,
            holds_caches=mode == "layers",
        )
    return _host_tier(topology, computes=mode == "layers")


def _host_tier(topology: Topology, *, computes: bool) -> Tier | None:
    host = topology.host
    if host is None:
        return None
    memory = host.processor.memory[0]
    processor = Topology(
        name=host.name or "host", chip=host.processor, chips=1, software=topology.software
    )
    return Tier(
        name=host.name or "host",
        capacity_bytes=memory.capacity_bytes,
        bandwidth_bytes_per_s=min(host.bandwidth_bytes_per_s, memory.bandwidth_bytes_per_s),
        memory_efficiency=1.0,
        latency_s=host.latency_s,
        holds_caches=computes,
        host=processor if computes else None,
    )


def tier_of(topology: Topology) -> Tier:
    """The same; an InputError where there is none."""
    tier = topology.kept(second_tier)
    if tier is not None:
        return tier
    raise InputError(offload_fault(topology))


def offload_fault(topology: Topology) -> str:
    """Why a machine can have no layers off the first memory of its chips, in one sentence."""
    software = topology.software
    if software.engine.offload == "none":
        return (
            f"Stage.offloaded: {software.name} is not known to run layers whose weights lie off"
            " the chip; leave it empty, or take software whose engine has offload"
        )
    return (
        f"Stage.offloaded: {topology.name} has neither a second memory on its chips nor a host;"
        " leave it empty, or describe one under [host]"
    )
