"""Results in short."""

import math

import pytest

import planner as pl
from planner.doors import telling

WORK = pl.Workload(batch_size=4, prompt_tokens=128, output_tokens=16)


@pytest.fixture(scope="module")
def result():
    graph = pl.load_model("qwen3-0.6b")
    topology = pl.load_topology("hgx-h100", chips=1)
    return pl.partition(graph, topology, WORK, minimize="tpot_s", limits={"ttft_s": "1 s"})


@pytest.mark.slow
def test_a_plan_is_told_with_what_was_proved_of_it(result):
    told = telling.plan_told(result, "a1")
    assert (told.answer, told.status, told.direction) == ("a1", "optimal", "minimize")
    assert told.objective.value == told.bound == result.objective
    assert (told.objective.unit, told.gap) == ("s", 0.0)
    assert (told.objective.low, told.objective.high) == result.score.interval("tpot_s", 0.8)
    assert told.limits[0].startswith("ttft_s at most 1 s; reached ")
    assert "it is proved that no plan has a lower one" in told.proof
    assert "4 of 5 measurements" in told.summary
    assert told.evidence in told.summary


@pytest.mark.slow
def test_figures_have_units_and_counts_have_no_interval(result):
    figures = {one.field: one for one in telling.plan_told(result, "a1").figures}
    assert (figures["chips"].value, figures["chips"].unit) == (1.0, "count")
    assert figures["chips"].low is None
    assert figures["batch_size"].title == "sequences in flight"
    assert figures["memory_headroom_bytes"].unit == "bytes"
    assert figures["power_w"].unit == "W"
    assert figures["ttft_s"].value == result.score.ttft_s


def test_what_is_without_end_has_no_number_in_json():
    assert telling._finite(math.inf) is None
    assert telling._finite(None) is None
    assert telling._finite(2) == 2.0


def test_of_many_lines_the_first_are_told_and_the_others_counted():
    assert telling._few([str(number) for number in range(8)]) == tuple("01234567")
    assert telling._few([str(number) for number in range(11)])[-1] == "and 3 more"


def test_fields_are_listed_with_units_and_which_way_is_better():
    fields = dict(telling.field_names())
    assert fields["tpot_s"] == "time per output token [s], the least is best"
    assert fields["tokens_per_s"].endswith("[1/s], the most is best")
    assert fields["mfu_fraction"].endswith("[fraction], the most is best")
    assert "image_s" in fields
    assert "ttft_p99_s" in fields
