import pytest

import planner as pl
from planner import catalogue
from planner.detection.origins import table
from planner.detection.products import chip_of, is_known, known_chip, with_capacity
from planner.errors import InputError
from planner.readers.machines.seen import SeenDevice
from planner.units import parse_quantity

MIB = 2**20


def gpu(product, memory=None, **more):
    size = None if memory is None else memory * MIB
    return SeenDevice(name="GPU0", kind="gpu", product=product, memory_bytes=size, **more)


def capacity_of(fields):
    return parse_quantity(fields["memory"][0]["capacity"]["value"], "bytes", "capacity")


@pytest.mark.parametrize(
    ("product", "chip"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA H200 NVL", "h200-nvl"),
        ("NVIDIA H20", "h20-sxm"),
        ("NVIDIA-A100-SXM4-80GB", "a100-sxm"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie"),
        ("NVIDIA A100-PCIE-40GB", "a100-pcie"),
        ("NVIDIA B200", "b200-sxm"),
        ("NVIDIA GB200", "gb200"),
        ("NVIDIA GH200 480GB", "gh200"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("GeForce RTX 3090", "rtx-3090"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx-pro-6000"),
        ("AMD Instinct MI300X", "mi300x"),
        ("AMD Instinct MI325X OAM", "mi325x"),
        ("Apple M2 Ultra", "apple-m2-ultra"),
        ("Apple M4", "apple-m4"),
        ("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz", "xeon-8380"),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "ryzen-ai-max-395"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
    ],
)
def test_what_drivers_say_is_a_chip_of_the_catalogue(product, chip):
    assert chip_of(gpu(product), source="x").name == chip
    assert is_known(product)


@pytest.mark.parametrize(
    "product", ["Tesla K80", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA A10G", "Apple M9 Max"]
)
def test_what_is_not_known_gets_the_nearest_names_and_the_remedy(product):
    with pytest.raises(InputError) as refused:
        chip_of(gpu(product), source="x")
    for said in (product[:8], "the nearest are", "--chip", "docs/machines.md"):
        assert said in str(refused.value)


def test_a_device_without_a_name_must_be_named():
    with pytest.raises(InputError, match="the chip of GPU0 is not known"):
        chip_of(gpu(""), source="x")
    assert chip_of(gpu(""), source="x", chip="H100 SXM").name == "h100-sxm"


def test_every_chip_of_the_table_is_in_the_catalogue():
    for row in table("products")["product"]:
        assert catalogue.find_chip(row["chip"])


def test_memory_is_what_the_driver_has_less_what_it_keeps():
    kept = chip_of(gpu("NVIDIA H100 80GB HBM3", 81559, kept_bytes=551 * MIB), source="seen").fields
    assert capacity_of(kept) == (81559 - 551) * MIB
    assert kept["memory"][0]["capacity"]["source"] == "seen"
    # Of the same memory the catalogue knows what engines are granted.
    same = chip_of(gpu("NVIDIA H100 80GB HBM3", 81559), source="seen").fields
    assert capacity_of(same) == pytest.approx(79.19 * 2**30)
    assert "81559 MiB" in same["memory"][0]["capacity"]["note"]
    # A card with twice the memory has it.
    more = chip_of(gpu("NVIDIA GeForce RTX 4090", 49140), source="seen").fields
    assert capacity_of(more) == 49140 * MIB
    unsaid = chip_of(gpu("NVIDIA H100 80GB HBM3"), source="seen").fields
    assert unsaid["memory"][0]["capacity"]["source"] == "DRIVER"


def test_editions_have_their_own_figures():
    small = chip_of(gpu("NVIDIA A100-SXM4-40GB", 40960), source="x").fields
    assert small["name"] == "NVIDIA A100 SXM 40GB"
    assert capacity_of(small) == pytest.approx(39.39 * 2**30)
    assert small["memory"][0]["bandwidth"]["value"] == "1.555 TB/s"


@pytest.mark.parametrize(
    ("product", "cores", "bandwidth", "tera"),
    [
        ("Apple M3 Max", 40, "400 GB/s", 14.2),
        ("Apple M3 Max", 30, "300 GB/s", 14.2 * 30 / 40),
        ("Apple M4 Pro", 20, "273 GB/s", 18.4 * 20 / 40),
        ("Apple M2", None, "100 GB/s", 13.6 * 10 / 38),
        ("Apple M1 Ultra", 48, "800 GB/s", 21.2 * 48 / 64),
    ],
)
def test_a_mac_is_as_fast_as_its_cores_are_many(product, cores, bandwidth, tera):
    fields = chip_of(gpu(product, 36 * 1024, cores=cores), source="x").fields
    assert fields["memory"][0]["bandwidth"]["value"] == bandwidth
    peak = parse_quantity(fields["peak"][0]["value"], "operations per second", "peak")
    assert peak == pytest.approx(tera * 1e12, rel=1e-3)
    assert capacity_of(fields) == 36 * 2**30


def test_a_chip_may_come_from_a_file(tmp_path):
    path = tmp_path / "v100.toml"
    path.write_text('name = "Tesla V100"\npeak = []\nmemory = []\n', encoding="utf-8")
    assert known_chip(str(path)).fields["name"] == "Tesla V100"
    with pytest.raises(pl.InputError, match="cannot be read"):
        known_chip(str(tmp_path / "none.toml"))


def test_capacity_of_a_bare_text_is_read_too():
    chip = {"memory": [{"capacity": "32 GiB"}]}
    assert capacity_of(with_capacity(chip, gpu("x", 32768), "seen")) == 32 * 2**30
