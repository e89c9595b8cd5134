from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.nvidia_products import is_products, products_in, read_products
from tests.readers.machines.written import named

MIB = 2**20


def test_a_query_says_names_memory_and_slots():
    text = (
        "index, name, memory.total [MiB], memory.reserved [MiB], pcie.link.gen.max,"
        " pcie.link.width.current\n"
        "0, NVIDIA H100 80GB HBM3, 81559 MiB, 551 MiB, 5, 16\n"
        "1, NVIDIA H100 80GB HBM3, 81559 MiB, 551 MiB, 5, 8\n"
    )
    seen = read_products(text, Path("gpus.csv"))
    one, other = seen.devices
    assert one.product == "NVIDIA H100 80GB HBM3"
    assert one.memory_bytes == 81559 * MIB
    assert one.kept_bytes == 551 * MIB
    # Sixteen lanes of 31.508 Gb/s, and eight of them.
    assert one.port_bytes_per_s == pytest.approx(63.016e9)
    assert other.port_bytes_per_s == pytest.approx(31.508e9)
    assert seen.links == ()


def test_a_list_and_a_report_name_gpus():
    assert products_in(named("NVIDIA L4"))[0].name == "NVIDIA L4"
    report = "GPU models and configuration: \nGPU 0,1,3: NVIDIA H20\n"
    assert set(products_in(report)) == {0, 1, 3}
    marked = "- **GPU 0:** NVIDIA GeForce RTX 3090 | 24576 MiB | driver 595\n"
    assert products_in(marked)[0].name == "NVIDIA GeForce RTX 3090"
    assert not is_products("GPU 0: 14.062 GB/s\nLink 0: <inactive>\n")


def test_the_usual_table_is_read_with_the_line_below():
    table = (
        "|   0  NVIDIA A100-SXM4-80GB          On  |   00000000:07:00.0 Off |                    0 |\n"
        "| N/A   31C    P0              61W / 400W |      4MiB / 81920MiB |      0%      Default |\n"
        "|   1  NVIDIA GeForce RTX 4...        Off |   00000000:08:00.0 Off |                    0 |\n"
        "| N/A   31C    P0              61W / 400W |      4MiB / 24564MiB |      0%      Default |\n"
    )
    found = products_in(table)
    assert list(found) == [0]  # a name that was cut says too little
    assert found[0].memory_bytes == 81920 * MIB


def test_rows_of_figures_that_are_none_are_left_open():
    text = "index, name, memory.total [MiB]\n0, NVIDIA GB10, [N/A]\nx, y\n"
    (device,) = read_products(text, Path("x")).devices
    assert device.memory_bytes is None
    with pytest.raises(InputError, match="names no GPU"):
        read_products("", Path("x"))
