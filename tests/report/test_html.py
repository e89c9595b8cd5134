"""HTML says what text says, and stays text where a name would be markup."""

import re
from xml.etree import ElementTree

import pytest

import planner as pl
from planner.report import text
from planner.report.words import FIELD_WORDS, field_text
from tests.instances import tiny_graph, tiny_topology
from tests.report.conftest import WORKLOAD

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


HOSTILE = "<i>&\"'</i>"


def words_of(html):
    """Everything in HTML that is read, and the tree."""
    root = ElementTree.fromstring(html.replace("<br>", "<br/>"))
    return " ".join(root.itertext()), root


def nouns(name):
    """One of everything that shows itself, with a name of our choice."""
    graph, topology = tiny_graph().replace(name=name), tiny_topology(name=name)
    found = pl.partition(graph, topology, WORKLOAD)
    return {
        "result": found,
        "score": found.score,
        "plan": found.plan,
        "graph": graph,
        "topology": topology,
    }


@pytest.mark.parametrize("what", ["result", "score", "plan", "graph", "topology"])
def test_a_notebook_gets_text_and_html(what):
    noun = nouns("tiny")[what]
    bundle = noun._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == str(noun)
    assert bundle["text/html"].startswith("<")


@pytest.mark.parametrize("what", ["result", "score", "plan", "graph", "topology"])
def test_a_hostile_name_stays_text(what):
    html = nouns(HOSTILE)[what]._repr_mimebundle_()["text/html"]
    words, root = words_of(f"<div>{html}</div>")
    assert list(root.iter("i")) == []
    assert (HOSTILE in words) == (what in ("result", "graph", "topology"))


def test_a_result_has_pictures_that_are_xml(result):
    html = result._repr_mimebundle_()["text/html"]
    titles = [ElementTree.fromstring(picture)[0].text for picture in SVG.findall(html)]
    assert titles == [
        f"One output token: {field_text('tpot_s', result.score.tpot_s)}",
        "Memory of one chip of each stage",
        "Stages on the chips of tiny",
    ]


def test_a_result_says_in_html_what_it_says_in_text(result):
    words, _ = words_of(result._repr_mimebundle_()["text/html"])
    lines = [
        *text.question_lines(result.graph, result.topology, result.workload),
        text.proof_line(result),
        *text.chosen_lines(result),
        text.plan_section(result.plan)[0],
    ]
    assert [line for line in lines if line not in words] == []
    assert all(field_text(name, getattr(result.score, name)) in words for name in FIELD_WORDS)


def test_a_machine_shows_its_figures_with_their_sources():
    machine = pl.load_topology("hgx-h100")
    words, root = words_of(f"<div>{machine._repr_mimebundle_()['text/html']}</div>")
    assert "8 × NVIDIA H100 SXM" in words
    assert len(list(root.iter("tr"))) == 1 + len(machine.figures)


def test_a_plan_shows_a_row_for_each_stage():
    plan = pl.uniform_plan(
        tiny_graph(layers=4), tiny_topology(4), pipeline_parallel=2, data_parallel=2
    )
    _, root = words_of(f"<div>{plan._repr_mimebundle_()['text/html']}</div>")
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    assert rows == [
        ["replicas", "TP", "PP", "EP", "attention DP", "micro-batches", "layers of each stage",
         "chips used"],
        ["2", "1", "2", "1", "1", "2", "3 + 3", "4 (2 in each replica)"],
        ["stage", "layers", "TP", "EP", "attention DP", "chips, replica by replica"],
        ["0", "3 (embedding…decoder.1)", "1", "1", "1", "0, 2"],
        ["1", "3 (decoder.2…head)", "1", "1", "1", "1, 3"],
    ]  # fmt: skip


def test_a_page_says_how_many_chips_are_used_of_how_many():
    found = pl.partition(tiny_graph(), tiny_topology(4), WORKLOAD, minimize="chips")
    words, _ = words_of(found._repr_mimebundle_()["text/html"])
    assert "1 of 4" in words
    assert "unused: 3 chips; " in words
