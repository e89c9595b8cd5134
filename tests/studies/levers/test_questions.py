"""One question, put to many versions of a machine and a workload."""

import pytest

import planner as pl
from planner.errors import UnknownNameError
from planner.studies.levers.questions import SweepOptions, lever_question

GRAPH = pl.load_model("llama-3.2-1b")
MACHINE = pl.load_topology("rtx-4090")
ONE = pl.Workload(prompt_tokens=128, output_tokens=32)
QUIETLY: SweepOptions = {
    "space": "engine",
    "power_scope": None,
    "time_limit_s": None,
    "file": None,
    "executor": None,
    "processes": 1,
    "progress": False,
}


def asked(minimize=None, maximize=None, limits=None):
    return lever_question(GRAPH, MACHINE, ONE, minimize, maximize, limits, QUIETLY)


def test_rows_come_in_the_order_of_the_points():
    path = "chip.memory[0].bandwidth_bytes_per_s"
    as_it_is, slower = asked().rows_at([{}, {path: 1e11}])
    assert as_it_is.value < slower.value
    assert as_it_is.value == pl.partition(GRAPH, MACHINE, ONE).objective


def test_a_cell_has_the_field_and_the_limits_that_were_asked_for():
    cell = asked(maximize="tokens_per_s", limits={"tpot_s": 1.0}).cell(MACHINE, ONE)
    assert (cell.objective, cell.limits) == ("tokens_per_s", {"tpot_s": 1.0})


def test_a_wrong_field_is_refused_before_any_plan():
    with pytest.raises(UnknownNameError, match="tpot_s"):
        asked(minimize="tpot")


def test_the_title_names_model_and_machine():
    assert asked().title == f"llama-3.2-1b on 1 × {MACHINE.name}"


def test_the_space_goes_on_to_every_plan():
    free = lever_question(GRAPH, MACHINE, ONE, None, None, None, {**QUIETLY, "space": "any"})
    (row,) = free.rows_at([{}])
    (kept,) = asked().rows_at([{}])
    assert (row.space, kept.space) == ("any", "engine")
