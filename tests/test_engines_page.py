"""`docs/engines.md` says of every stack what its file says."""

import re
import tomllib
from pathlib import Path

import pytest

import planner as pl
from planner.catalogue import load_software
from planner.machines.engine import Engine
from planner.readers.topology_file import software_from

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = (DOCS / "engines.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `")
]
TABLE = {name: row for row in ROWS for name in re.findall(r"`([^`]+)`", row[0])}
RANKS = {"any": "any", "none": "one rank", "all ranks": "one rank or all"}


def row_of(engine: Engine) -> list[str]:
    """As it should stand in the table, without its name."""
    one = engine.most_stages == 1
    stages = "one" if one else "alike"
    if engine.decoder_on_each_stage:
        stages += ", a decoder layer on each"
    if not engine.tensor_in_pipelines:
        stages += "; tensor ranks in one stage only"
    cut = {"sequences": "one for each sequence"}.get(engine.micro_batches, engine.micro_batches)
    twice = "; some twice" if engine.redundant_experts else ""
    return [
        engine.version,
        stages,
        "" if one else cut,
        RANKS[engine.experts] + twice,
        RANKS[engine.attention],
        "whole" if engine.whole_blocks else "",
    ]


@pytest.mark.parametrize("name", pl.software_names())
def test_the_page_says_of_every_stack_what_its_file_says(name):
    engine = load_software(name).engine
    assert f"`{name}`" in TEXT
    if engine.is_known:
        assert TABLE[name][1:] == row_of(engine)
    else:
        assert name not in TABLE


def test_the_table_that_the_page_shows_can_be_read():
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    software = {
        "name": "own",
        "kernel_overhead": "1 us",
        "compute_efficiency": 0.5,
        "memory_efficiency": 0.8,
        "usable_memory": 0.9,
        "prefill_chunk_tokens": 256,
        **tomllib.loads(shown),
    }
    engine = software_from(software, dict).engine
    assert engine.is_known
    assert set(tomllib.loads(shown)["engine"]) | {"confidence", "note"} == set(Engine.model_fields)


def test_what_the_page_points_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert all((DOCS / link).exists() for link in links)
