"""Reasons as text and HTML."""

import json

import pytest

import planner as pl
from planner.answers.reasons import Alternative, Binding, Reasons, ShadowPrice
from tests.instances import tiny_graph
from tests.planning.test_reasons import WORK, two_nodes


@pytest.mark.slow
def test_reasons_show_themselves_as_text_and_html_and_come_back_from_json():
    reasons = pl.partition(tiny_graph(2), two_nodes(), WORK, minimize="tpot_s").why()
    text = str(reasons)
    assert all(
        head in text
        for head in (
            "what limits the plan",
            "would bring",
            "each other shape",
            "% worse",
            "% better",
        )
    )
    assert "<table" in reasons._repr_mimebundle_()["text/html"]
    assert type(reasons).from_json(reasons.to_json()) == reasons


def told(**changes):
    """Reasons of which some are known, some nothing, and some not answered."""
    plan = pl.uniform_plan(tiny_graph(2), two_nodes(), tensor_parallel=2)
    fields = {
        "field": "tpot_s",
        "direction": "minimize",
        "objective": 0.02,
        "shape": "tensor only",
        "binding": (
            Binding(resource="memory bandwidth of tiny", share_fraction=0.7, counts="time"),
        ),
        "prices": (
            ShadowPrice(change="doubling the bus", objective=0.015, effect=0.25, proved=True),
            ShadowPrice(change="doubling the peaks", objective=0.018, effect=0.1, proved=False),
            ShadowPrice(change="one more GB", objective=0.02, effect=0.0, proved=True),
            ShadowPrice(change="doubling the HBM", objective=None, effect=None, proved=False),
        ),
        "alternatives": (
            Alternative(shape="replicas only", plan=plan, objective=0.02, effect=0.0, proved=True),
            Alternative(
                shape="tensor × replicas", plan=plan, objective=0.03, effect=0.5, proved=False
            ),
            Alternative(
                shape="one chip", plan=None, objective=None, effect=None, proved=True,
                refused="no plan of this shape fits",
            ),
            Alternative(
                shape="pipeline only", plan=None, objective=None, effect=None, proved=False,
                refused="not answered in time",
            ),
        ),
        "elapsed_s": 1.0,
    }  # fmt: skip
    return Reasons(**fields | changes), plan


def test_what_was_not_answered_in_time_is_said_and_is_not_called_nothing():
    reasons, _ = told()
    assert str(reasons).splitlines() == [
        "why tpot_s = 20 ms (plan: tensor only)",
        "",
        "what limits the plan",
        "  memory bandwidth of tiny  70 %  of the time",
        "",
        "what better hardware or software would bring",
        "  doubling the bus    25 % better           15 ms",
        "  doubling the peaks  10 % better           18 ms (the best found; time ran out)",
        "  one more GB         nothing",
        "  doubling the HBM    not answered in time",
        "",
        "the best plan of each other shape",
        "  replicas only      as good               20 ms",
        "  tensor × replicas  50 % worse            30 ms (the best found; time ran out)",
        "  one chip           none                  no plan of this shape fits",
        "  pipeline only      not answered in time",
    ]
    assert reasons._repr_mimebundle_()["text/html"].count("not answered in time") == 2


def test_a_plan_that_is_not_the_results_or_not_proved_is_said_to_be_so():
    reasons, plan = told(proved=False)
    reasons = reasons.replace(better=plan)
    said = [
        "a better plan than the result's was found on the way, and is explained here: TP2",
        "it is not proved that this plan is the best: some of the improvements below may be possible"
        " without better hardware or software",
    ]
    assert str(reasons).splitlines()[1:3] == said
    html = reasons._repr_mimebundle_()["text/html"]
    assert all(line.replace("'", "&#x27;") in html for line in said)


def test_reasons_written_before_that_was_said_are_read():
    reasons, _ = told()
    fields = json.loads(reasons.to_json())
    del fields["better"], fields["proved"]
    assert Reasons.from_json(json.dumps(fields)) == reasons
