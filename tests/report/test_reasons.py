"""Reasons as text and HTML."""

import planner as pl
from tests.instances import tiny_graph
from tests.planning.test_reasons import WORK, two_nodes


def test_reasons_show_themselves_as_text_and_html_and_come_back_from_json():
    reasons = pl.partition(tiny_graph(2), two_nodes(), WORK, minimize="tpot_s").why()
    text = str(reasons)
    assert all(
        head in text
        for head in ("what binds", "what more would buy", "each other shape", "% worse", "% better")
    )
    assert "<table" in reasons._repr_mimebundle_()["text/html"]
    assert type(reasons).from_json(reasons.to_json()) == reasons
