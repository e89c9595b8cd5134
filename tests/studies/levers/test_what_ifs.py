"""Before and after."""

import pytest

import planner as pl
from planner.errors import UnknownNameError
from planner.studies import WhatIf, what_if

GRAPH = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
MACHINE = pl.load_topology("hgx-h100", chips=2)
ONE = pl.Workload()
BANDWIDTH = "chip.memory[0].bandwidth_bytes_per_s"


@pytest.fixture(scope="module")
def faster():
    return what_if(GRAPH, MACHINE, ONE, {BANDWIDTH: "x2"}, minimize="tpot_s")


def test_both_ends_are_planned(faster):
    machine = pl.with_value(MACHINE, BANDWIDTH, 2 * MACHINE.chip.memory[0].bandwidth_bytes_per_s)
    after = pl.partition(GRAPH, machine, ONE, minimize="tpot_s").objective
    row = next(row for row in faster.rows if row.field == "tpot_s")
    assert row.after == after
    assert row.effect == pytest.approx(after / row.before - 1)
    assert row.effect < 0
    assert not faster.is_other_plan


def test_the_plan_moves_where_another_is_best():
    slow = what_if(
        GRAPH, MACHINE, ONE, {"software.collectives[*].base_latency_s": "10 ms"}, minimize="tpot_s"
    )
    assert slow.is_other_plan
    assert slow.before.plan.stages[0].tensor_parallel == 2
    assert slow.after.plan.stages[0].tensor_parallel == 1
    assert "another plan is best" in str(slow)


def test_no_plan_after_is_an_answer():
    none = what_if(GRAPH, MACHINE, ONE, {"chip.memory[*].capacity_bytes": "1 GB"})
    assert none.after is None
    assert "does not fit" in none.refusals[1]
    assert "after: llama" in str(none)
    assert len(none.plot().data[0].x) == 1


def test_text_and_picture_name_the_change(faster):
    assert "3.35 TB/s → 6.7 TB/s" in str(faster)
    figure = faster.plot()
    assert sum(trace.x[0] for trace in figure.data) == pytest.approx(
        1e3 * faster.before.score.tpot_s
    )
    assert sum(trace.x[1] for trace in figure.data) == pytest.approx(
        1e3 * faster.after.score.tpot_s
    )
    assert "6.7 TB/s" in figure.layout.title.text


def test_a_workload_may_change_too():
    more = what_if(GRAPH, MACHINE, ONE, {"workload.batch_size": 16}, maximize="tokens_per_s")
    assert more.after.workload.batch_size == 16
    assert [(change.before, change.after) for change in more.changes] == [(1, 16)]
    with pytest.raises(UnknownNameError, match=r"workload\.batch_size"):
        what_if(GRAPH, MACHINE, ONE, {"batch_size": 16})


def test_json_gives_it_back(faster):
    assert WhatIf.from_json(faster.to_json()) == faster
    assert list(faster.to_frame().columns) == ["field", "before", "after", "effect"]


def test_both_plans_are_of_the_space_that_is_asked_for(faster):
    assert (faster.before.space, faster.after.space) == ("engine", "engine")
    free = what_if(GRAPH, MACHINE, ONE, {BANDWIDTH: "x2"}, minimize="tpot_s", space="any")
    assert (free.before.space, free.after.space) == ("any", "any")
