"""A sizing as a person reads it."""

import itertools
import re

import pytest

import planner as pl
from planner.answers.sizings import Told
from planner.records import as_html
from planner.units import spoken
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


def column(text: str, title: str) -> list[str]:
    """What stands below a title, in the table that has it."""
    lines = text.splitlines()
    head = next(n for n, line in enumerate(lines) if title in re.split(r"  +", line.strip()))
    place = re.split(r"  +", lines[head].strip()).index(title)
    below = itertools.takewhile(bool, lines[head + 1 :])
    return [re.split(r"  +", line.strip())[place] for line in below]


def test_machines_stand_below_one_another_with_what_they_need_and_cost(found):
    text = str(found)
    assert "for 100 sequences at once, each 20 prompt + 4 output tokens; a new one starts" in text
    limit = "limit: tpot_s at most 500 ms\n"
    assert f"{limit}the fewest chips of each machine, the cheapest first\n" in text
    assert column(text, "chips") == ["2", "2"]
    assert column(text, "proved") == ["fewest", "fewest"]
    assert column(text, "nodes") == ["1 × 4", "1 × 4"]
    assert column(text, "plan") == ["2 × (one chip)", "2 × (one chip)"]
    assert column(text, "USD/h") == ["2", "unknown"]
    assert column(text, "what binds") == ["places for users", "places for users"]
    assert column(text, "headroom") == ["+28 %: 128 users", "+28 %: 128 users"]
    assert (
        "no price is known for unpriced, which comes last; --price '2.10 USD/h' gives one\n" in text
    )
    assert "nodes and unpriced: chosen from" not in text
    assert text.splitlines()[-1].startswith("<small>: tiny in bf16 does not fit")


def test_what_is_not_proved_says_how_few_are(found):
    one = found.of("nodes").replace(status="feasible", bound_chips=2)
    text = str(found.replace(machines=(one,), ranked=False, notes=()))
    assert column(text, "proved") == ["2 or more"]
    assert "not ordered by price" in text


def test_percentiles_stand_with_what_they_are_surely_kept_to():
    limits = {"ttft_p99_s": 0.5, "tpot_p90_s": 0.5}
    found = pl.fewest_chips(GRAPH, NODES, USERS, limits=limits, sure=0.9)
    text = str(found)
    first, later = found.machines[0].times
    assert "each limit is kept with a probability of 0.9" in text
    assert column(text, "TTFT p99") == [spoken(first.value_s, "s")]
    assert column(text, "TPOT p90") == [spoken(later.value_s, "s")]
    assert column(text, "90 % sure") == [f"≤ {spoken(first.sure_s, 's')}"]


def test_intervals_say_their_unit_once_and_a_time_without_end_says_so(found):
    one = found.of("nodes")
    told = [
        Told(field="ttft_s", value_s=0.2, low_s=0.1, high_s=0.4),
        Told(field="tpot_p99_s", value_s=0.2, low_s=0.1, high_s=2.0),
        Told(field="request_s", low_s=0.1),
    ]
    text = str(found.replace(machines=(one.replace(times=told),)))
    (line,) = [line for line in text.splitlines() if "without end" in line]
    assert "200 ms  100 to 400 ms  200 ms    100 ms to 2 s" in line
    assert "without end  100 ms or more" in line


def test_whole_nodes_that_are_paid_are_told(found):
    one = found.of("nodes")
    node = one.bill.replace(basis="node", nodes=1, paid_chips=4)
    text = str(found.replace(machines=(one.replace(bill=node),)))
    assert "nodes: whole nodes are paid: 2 of 4 chips are paid and not used" in text
    both = one.replace(bill=node, paid_result=one.result)
    text = str(found.replace(machines=(both,)))
    assert (
        "whole nodes are paid, and 1 node is enough for the plan 2 × (one chip) on 2 chips" in text
    )


def test_lines_are_no_wider_than_a_terminal(found):
    tables = [line for line in str(found).splitlines() if line.startswith("  ")]
    assert max(map(len, tables)) <= 100


def test_a_notebook_shows_the_same(found):
    page = as_html(found)
    assert "<td" in page
    assert "places for users" in page
    assert "&lt;small>: tiny in bf16" in page
    assert "<small>" not in page
