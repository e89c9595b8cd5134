"""Fronts from the command line."""

import pytest

import planner as pl
from tests.terminal import refused

ASKED = ("pareto", "qwen3-0.6b", "l4", "--chips", "1", "--prompt", "64", "--output", "8")
FIELDS = ("--field", "tpot_s", "--field", "tokens_per_s", "--tolerance", "20 %")


@pytest.mark.slow
def test_a_front_is_that_of_the_library(run):
    answer = run(*ASKED, *FIELDS, "--format", "json")
    work = pl.Workload(batch_size=None, prompt_tokens=64, output_tokens=8)
    front = pl.pareto(
        "qwen3-0.6b",
        pl.load_topology("l4", chips=1),
        work,
        fields=("tpot_s", "tokens_per_s"),
        tolerance=0.2,
    )
    assert answer.fields["status"] == "complete"
    assert answer.fields["rows"] == front.rows()
    assert answer.fields["not_given"] == {
        "--batch": "max",
        "--arrivals": "steady",
        "--kv": "bf16",
    }
    assert len(run(*ASKED, *FIELDS, "--format", "csv").out.splitlines()) == 1 + len(front.rows())


def test_a_batch_that_is_given_is_kept(run):
    rows = run(*ASKED, *FIELDS, "--batch", "4", "--format", "json").fields["rows"]
    assert {row["batch_size"] for row in rows} == {4}


def test_one_field_is_no_front(run):
    assert "two or more different fields" in refused(run(*ASKED, "--field", "tpot_s"), 2)
    assert "called 'tpot'; the nearest" in refused(
        run(*ASKED, "--field", "tpot", "--field", "chips"), 2
    )
