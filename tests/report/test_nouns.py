"""Nouns as text."""

import json

import pytest

import planner as pl
from tests.instances import tiny_graph, tiny_topology
from tests.report.test_html import words_of


def test_a_model_with_recurrences_shows_its_state():
    assert "of state a sequence" in str(pl.load_model("nemotron-nano-9b-v2"))
    assert "of state" not in str(tiny_graph())


def test_a_model_shows_its_kinds_of_layer():
    graph = pl.load_model("deepseek-v3")
    words, root = words_of(f"<div>{graph._repr_mimebundle_()['text/html']}</div>")
    assert len(list(root.iter("tr"))) == 1 + len(graph.kinds)
    assert "58 × decoder" in words


@pytest.mark.parametrize(
    "load", [lambda: pl.load_model("llama-3.1-70b"), lambda: pl.load_topology("hgx-h100")]
)
def test_a_printed_noun_fits_a_screen(load):
    assert len(str(load())) < 5000


def test_a_verdict_says_of_which_plans_it_speaks_and_an_old_certificate_of_any():
    workload = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=16)
    certificate = pl.partition(tiny_graph(), tiny_topology(2), workload).certificate()
    assert str(pl.verify(certificate)).splitlines()[3] == (
        "chosen from: plans that the machine's software can run, as far as its rules are known"
    )
    fields = json.loads(certificate.to_json())
    del fields["space"]
    old = pl.Certificate.from_json(json.dumps(fields))
    assert str(pl.verify(old)).splitlines()[3] == "chosen from: any plan"
