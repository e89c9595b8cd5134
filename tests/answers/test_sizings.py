"""Rows of a sizing."""

import pytest

import planner as pl
from planner.answers.sizings import Headroom, Sizing
from tests.instances import ENGINES, tiny_chip, tiny_graph, tiny_software, tiny_topology

GRAPH = tiny_graph()
MACHINE = tiny_topology(4, software=tiny_software(engine=ENGINES["as many as stages"]))
RATE = pl.Workload(requests_per_s=400.0, prompt_tokens=100, output_tokens=20)


@pytest.fixture(scope="module")
def found() -> Sizing:
    machines = {"one": MACHINE, "small": MACHINE.replace(chip=tiny_chip(1e6))}
    return pl.fewest_chips(GRAPH, machines, RATE)


def test_a_row_has_the_figures_of_its_machine(found):
    row, refused = found.rows()
    one = found.of("one")
    score = one.result.score
    assert row["chips"] == one.chips == score.chips == 1
    assert (row["tpot_s"], row["ttft_s"]) == (score.tpot_s, score.ttft_s)
    assert row["usd_per_hour"] == one.usd_per_hour == found.cheapest.usd_per_hour == 1.0
    assert row["used_share"] == one.headroom.demand / one.headroom.capacity
    assert refused["status"] == "infeasible"
    assert refused["chips"] is None
    assert refused["usd_per_hour"] is None
    assert "does not fit" in refused["reason"]
    assert list(found.to_frame().machine) == ["one", "small"]


def test_a_machine_is_found_by_the_name_that_it_was_asked_for(found):
    assert found.of("small").result is None
    with pytest.raises(pl.UnknownNameError, match="no machine of this sizing called 'ones'"):
        found.of("ones")


def test_a_sizing_is_written_and_read(found):
    assert Sizing.from_json(found.to_json()) == found


def test_what_is_used_is_the_share_of_the_most():
    assert Headroom(field="requests_per_s", demand=30.0, capacity=40.0).used_share == 0.75
