"""A sizing as a person reads it."""

import re

import pytest

import planner as pl
from planner.records import as_html
from tests.instances import ENGINES, fabric, tiny_chip, tiny_graph, tiny_software, tiny_topology

GRAPH = tiny_graph()
NODES = tiny_topology(
    16,
    fabric("switch", 4),
    fabric("switch", 4),
    software=tiny_software(engine=ENGINES["as many as stages"]),
)
USERS = pl.Workload(batch_size=100, prompt_tokens=20, output_tokens=4)


@pytest.fixture(scope="module")
def found():
    machines = {
        "nodes": NODES,
        "unpriced": NODES.replace(price=pl.load_topology("article-h100").price),
        "<small>": NODES.replace(chip=tiny_chip(1e6)),
    }
    return pl.fewest_chips(GRAPH, machines, USERS, limits={"tpot_s": 0.5})


def cells(text: str, title: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"  {title}  "))
    return re.split(r"  +", line.strip())[1:]


def test_machines_stand_side_by_side_with_what_they_need_and_cost(found):
    text = str(found)
    assert "for 100 sequences of 20 + 4 tokens, a finished one replaced at once\n" in text
    assert "limit: tpot_s 500 ms\nthe fewest chips of each machine, the cheapest first\n" in text
    assert cells(text, "chips") == ["2", "2"]
    assert cells(text, "fewer") == ["do not, proved", "do not, proved"]
    assert cells(text, "nodes") == ["1 of 4", "1 of 4"]
    assert cells(text, "USD an hour") == ["2", "not known"]
    assert cells(text, "what binds") == ["places for users", "places for users"]
    assert cells(text, "at most") == ["128 users at once", "128 users at once"]
    assert cells(text, "of it used") == ["78 %", "78 %"]
    assert "no price is known of unpriced: behind all that have one\n" in text
    assert text.splitlines()[-1].startswith("<small>: tiny in bf16 does not fit")


def test_what_is_not_proved_says_how_few_are(found):
    one = found.of("nodes").replace(status="feasible", bound_chips=2)
    text = str(found.replace(machines=(one,), ranked=False, notes=()))
    assert cells(text, "fewer") == ["than 2 do not, proved"]
    assert "in no order of price" in text


def test_a_notebook_shows_the_same(found):
    page = as_html(found)
    assert "<td" in page
    assert "places for users" in page
    assert "&lt;small>: tiny in bf16" in page
    assert "<small>" not in page
