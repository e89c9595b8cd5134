"""`docs/machines.md`: its files are read, its table of links is that of the product, and it names every
description that is read."""

import re
import tomllib
from pathlib import Path

import pytest

import planner as pl
from planner import catalogue
from planner.detection.describing import Asked, described
from planner.detection.origins import table
from planner.detection.probing import PATIENCE_S
from planner.readers.machines.recognition import FORMATS, MOST_BYTES, seen_in
from tests.readers.machines.written import matrix_text, square_matrix

PAGE = (Path(__file__).parents[1] / "docs" / "machines.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
"""Without the ends of lines."""
MACHINE, CHIP, CLUSTER = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_machine_of_the_page_is_read_and_planned_on():
    topology = catalogue.described_topology(tomllib.loads(MACHINE))
    assert topology.chips == 4
    assert topology.limit_chips == 32
    assert topology.host.processor.memory[0].capacity_bytes == 88e9
    graph = pl.load_model("llama-3.1-8b")
    workload = pl.Workload(batch_size=1, prompt_tokens=64, output_tokens=16)
    assert pl.partition(graph, topology, workload, minimize="tpot_s").status == "optimal"


def test_the_cluster_of_the_page_is_read():
    cluster = catalogue.described_cluster(tomllib.loads(CLUSTER))
    assert [pool.free_chips for pool in cluster.pools] == [4, 1]


@pytest.mark.parametrize("above", ["", "[chip]\n"])
def test_the_chip_of_the_page_is_that_of_a_machine(above, tmp_path):
    path = tmp_path / "v100.toml"
    path.write_text(
        above + CHIP.replace("[[memory]]", "[[chip.memory]]" if above else "[[memory]]")
    )
    seen = seen_in(matrix_text(square_matrix(["NV2"])), path)
    topology = described(seen, Asked(chip=str(path))).read()
    assert topology.chip.name == "NVIDIA V100 32GB"
    assert topology.fabrics[0].bandwidth_bytes_per_s == 50e9


@pytest.mark.parametrize("form", FORMATS)
def test_every_description_that_is_read_has_a_row(form):
    assert f"| `{form}` |" in PAGE


def test_the_table_of_links_says_what_the_product_takes():
    wires = table("wires")
    for architecture in ("hopper", "blackwell", "geforce-30", "pascal"):
        assert wires["nvlink"][architecture]["bandwidth"]["value"] in PAGE
    for kind, way in wires["way"].items():
        (row,) = re.findall(rf"^\| {kind.upper()}.*$", PAGE, flags=re.MULTILINE)
        guess = ", a guess" if way["latency"]["confidence"] == "guess" else ""
        assert row.endswith(f"| {way['latency']['value']}{guess} |")
    assert wires["way"]["sys"]["bandwidth"]["value"] in PAGE
    assert f"{wires['port']['share']['value']} of the port" in PAGE
    assert wires["xgmi"]["bandwidth"]["value"] in PAGE


def test_bounds_are_those_of_the_readers():
    assert f"at most {MOST_BYTES // 2**20} MiB" in WORDS
    assert f"waited for {PATIENCE_S:.0f} seconds" in WORDS
