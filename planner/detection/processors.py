"""A processor and its memory as a chip, or as the host of other chips: of the catalogue where it has
it, else by what its cores can do at its clock. What is not seen is guessed, and says so."""

from planner.detection.origins import Fields, figure
from planner.detection.products import chip_of, is_known
from planner.readers.machines.seen import SeenDevice
from planner.units import parse_quantity

OURS = "OURS"
"""Short for our own assumption, as in the catalogue."""
VECTOR_FLOP = (("avx512f", 64), ("avx2", 32), ("sve", 32), ("asimd", 16), ("neon", 16))
"""FP32 operations of a core in a cycle: two units that multiply and add, as wide as the vectors."""
LEAST_FLOP = 16
TILE_FLOP = 1024
"""Of AMX, in BF16; twice as many in INT8."""
USUAL_CYCLES_PER_S = 2.5e9
SERVER_WORDS = ("xeon", "epyc", "neoverse", "graviton", "ampere", "power")
SERVER_BYTES_PER_S = 200e9
"""Of one socket: eight channels of DDR4-3200, or six of DDR5-4800."""
DESKTOP_BYTES_PER_S = 60e9
SERVER_BYTES = 192 * 2.0**30
"""More than a desktop holds."""
SYSTEM_SHARE = 0.9
"""Of a host's memory, what the system leaves."""


def processor_chip(cpu: SeenDevice, source: str) -> Fields:
    """All sockets of a computer as one chip, in the words of a file."""
    if cpu.product and is_known(cpu.product):
        chip = chip_of(cpu, source=source).fields
        return _of_sockets(chip, cpu.sockets or 1)
    return {
        "name": cpu.product or "a processor",
        "peak": _peaks(cpu),
        "memory": [_memory(cpu, source, 1.0)],
    }


def _of_sockets(chip: Fields, sockets: int) -> Fields:
    """Two sockets reach twice as much: memory was counted whole."""
    if sockets == 1:
        return chip
    made = {**chip, "name": f"{sockets} × {chip['name']}"}
    made["peak"] = [_times(peak, sockets, "TFLOP/s", 1e12) for peak in chip["peak"]]
    memory = chip["memory"][0]
    memory = {**memory, "bandwidth": _times(memory["bandwidth"], sockets, "GB/s", 1e9)}
    made["memory"] = [memory, *chip["memory"][1:]]
    if "power" in chip:
        made["power"] = _times(chip["power"], sockets, "W", 1.0)
    return made


def _times(given: Fields, sockets: int, unit: str, scale: float) -> Fields:
    dimensions = {"TFLOP/s": "operations per second", "GB/s": "bytes per second", "W": "watts"}
    value = parse_quantity(given["value"], dimensions[unit], "figure") * sockets / scale
    return {**given, "value": f"{value:.6g} {unit}", "note": f"{sockets} sockets"}


def host_of(cpu: SeenDevice, gpus: int, port: Fields, source: str) -> Fields | None:
    """The share of one of so many GPUs in the computer that they stand in; None where its memory was
    not seen."""
    if cpu.memory_bytes is None:
        return None
    share = f"of {gpus} GPUs' computer: {cpu.product or 'processor not named'}"[:80]
    return {
        "name": share,
        "peak": _peaks(cpu, gpus),
        "link_bandwidth": port,
        "link_latency": figure("10 us", OURS, "guess", note="to start a copy and wait for its end"),
        "memory": [_memory(cpu, source, 1.0 / gpus)],
    }


def _peaks(cpu: SeenDevice, shares: int = 1) -> list[Fields]:
    """FP32, BF16 and INT8, each as cores × operations a cycle × clock."""
    cores = (cpu.cores or 4) / shares
    clock = cpu.cycles_per_s or USUAL_CYCLES_PER_S
    each = next((flop for name, flop in VECTOR_FLOP if name in cpu.features), LEAST_FLOP)
    tiles = "amx_bf16" in cpu.features
    wide = "avx512_bf16" in cpu.features
    half = TILE_FLOP if tiles else each * (2 if wide else 1)
    byte = 2 * TILE_FLOP if tiles else 4 * each
    made = []
    for dtype, flop in (("fp32", each), ("bf16", half), ("int8", byte)):
        note = f"{cores:.4g} cores × {flop} × {clock / 1e9:.3g} GHz"
        value = f"{cores * flop * clock / 1e12:.4g} TFLOP/s"
        made.append({"dtype": dtype, **figure(value, OURS, "guess", note=note, within=2)})
    return made


def _memory(cpu: SeenDevice, source: str, share: float) -> Fields:
    whole = cpu.memory_bytes
    if whole is None:
        capacity = figure("8 GiB", OURS, "guess", note="not seen", within=4)
    else:
        usable = whole * SYSTEM_SHARE * share
        note = f"0.9 of {whole / 2**30:.4g} GiB" + ("" if share == 1 else f" × {share:.3g}")
        capacity = figure(f"{usable / 2**30:.5g} GiB", source, "B", note=note)
    return {
        "name": "memory of the computer",
        "capacity": capacity,
        "bandwidth": _bandwidth(cpu, source, share),
    }


def _is_server(cpu: SeenDevice) -> bool:
    named = any(word in cpu.product.lower() for word in SERVER_WORDS)
    return named or (cpu.memory_bytes or 0.0) >= SERVER_BYTES


def _bandwidth(cpu: SeenDevice, source: str, share: float) -> Fields:
    if cpu.bandwidth_bytes_per_s is not None:
        value = cpu.bandwidth_bytes_per_s * share
        return figure(f"{value / 1e9:.5g} GB/s", source, "B", note="as firmware says")
    each = SERVER_BYTES_PER_S if _is_server(cpu) else DESKTOP_BYTES_PER_S
    value = each * (cpu.sockets or 1) * share
    note = "the memory channels were not seen; `planner machine measure` measures the bandwidth"
    return figure(f"{value / 1e9:.5g} GB/s", OURS, "guess", note=note, within=2.5)
