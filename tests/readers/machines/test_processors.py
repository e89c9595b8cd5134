from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.processors import is_processor, read_processor

HERE = Path("lscpu.txt")
LSCPU = """Architecture:                    x86_64
CPU(s):                          224
Vendor ID:                       GenuineIntel
Model name:                      Intel(R) Xeon(R) Platinum 8480+
Thread(s) per core:              2
Core(s) per socket:              56
Socket(s):                       2
CPU max MHz:                     3800.0000
Flags:                           fpu avx2 avx512f avx512_bf16 amx_bf16 amx_int8
MemTotal:       2113395308 kB
"""
CPUINFO = """processor\t: 0
model name\t: Intel(R) Xeon(R) CPU @ 2.20GHz
physical id\t: 0
cpu cores\t: 4
flags\t\t: fpu avx2

processor\t: 1
model name\t: Intel(R) Xeon(R) CPU @ 2.20GHz
physical id\t: 1
cpu cores\t: 4
"""
MAC = """machdep.cpu.brand_string: Apple M3 Max
hw.memsize: 68719476736
hw.physicalcpu: 16
iogpu.wired_limit_mb: 0
Graphics/Displays:

    Apple M3 Max:

      Chipset Model: Apple M3 Max
      Total Number of Cores: 40
      Vendor: Apple (0x106b)
"""


def test_lscpu_says_cores_sockets_and_instructions():
    assert is_processor(LSCPU)
    (cpu,) = read_processor(LSCPU, HERE).devices
    assert cpu.product == "Intel(R) Xeon(R) Platinum 8480+"
    assert (cpu.cores, cpu.sockets) == (112, 2)
    assert cpu.cycles_per_s == 3.8e9
    assert cpu.features == ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
    assert cpu.memory_bytes == 2113395308 * 1024


def test_cpuinfo_says_it_too():
    (cpu,) = read_processor(CPUINFO, HERE).devices
    assert (cpu.cores, cpu.sockets) == (8, 2)
    assert cpu.cycles_per_s == 2.2e9
    assert cpu.features == ("avx2",)


def test_a_mac_is_one_chip_with_its_memory():
    (chip,) = read_processor(MAC, HERE).devices
    assert (chip.kind, chip.product, chip.cores) == ("gpu", "Apple M3 Max", 40)
    assert chip.memory_bytes == 64 * 2**30
    raised = MAC.replace("wired_limit_mb: 0", "wired_limit_mb: 57344")
    assert read_processor(raised, HERE).devices[0].memory_bytes == 56 * 2**30


def test_an_intel_mac_is_a_processor():
    text = (
        "machdep.cpu.brand_string: Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz\nhw.physicalcpu: 8\n"
    )
    (cpu,) = read_processor(text, HERE).devices
    assert (cpu.kind, cpu.cores, cpu.cycles_per_s) == ("cpu", 8, 2.4e9)


def test_what_names_no_processor_is_refused():
    assert not is_processor("nothing: here")
    with pytest.raises(InputError, match="names no processor"):
        read_processor("nothing: here", HERE)
