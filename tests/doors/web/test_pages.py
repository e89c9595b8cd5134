"""The page before and after a question, without scripts."""

import pytest

from planner.doors.answers import SoFar
from planner.doors.keeping import Job
from planner.doors.web.openapi import ASKED as ASKED_OF
from planner.doors.web.pages import (
    FIELDS,
    FORMS,
    docs_page,
    first_of,
    outcome_html,
    page_html,
    question_of,
    refusal_html,
    report_html,
)
from planner.errors import InputError

ASKED = {
    "model": "qwen3-0.6b",
    "users": " 8 ",
    "chips": "",
    "limit.tpot_s": "50 ms",
    "plain": "plan",
}


def test_a_form_is_a_question_and_what_is_empty_is_not_asked():
    assert question_of(ASKED) == {
        "model": "qwen3-0.6b",
        "users": "8",
        "limits": {"tpot_s": "50 ms"},
    }
    assert question_of(ASKED, "pareto") == {"model": "qwen3-0.6b"}
    assert question_of({"machines": "a, b,", "model": "m", "sure": "0.8"}, "compare") == {
        "machines": ["a", "b"],
        "model": "m",
        "sure": "0.8",
    }
    priced = {"model": "m", "machine": "a", "price": "2 USD/h", "draft": "lookup"}
    assert question_of(priced) == {
        "model": "m",
        "machine": "a",
        "prices": {"a": "2 USD/h"},
        "drafts": {"model": "lookup"},
    }


def test_the_form_is_filled_as_asked_and_nothing_gets_out_of_its_field():
    page = page_html({"model": "<script>'\"&", "objective": "ttft_s"})
    assert "<script>'" not in page
    assert 'value="&lt;script&gt;&#x27;&quot;&amp;"' in page
    assert "<option value='ttft_s' selected>" in page
    assert "$" not in page
    for name in FIELDS:
        assert f'name="{name}"' in page


def test_what_is_asked_is_not_folded_away():
    for asked, folds in (({}, 0), ({"machines": "a, b"}, 1), ({"command": "x", "claims": "y"}, 2)):
        assert page_html(asked).count('class="other" open') == folds


def test_forms_ask_what_questions_have():
    for kind, names in FORMS.items():
        asked = dict.fromkeys(names, "1") | {"machine": "a", "machines": "a, b"}
        assert set(question_of(asked, kind)) <= set(ASKED_OF[kind].model_fields)


def test_pages_load_nothing_from_elsewhere():
    for page in (page_html({}), docs_page("")):
        assert "http://" not in page
        assert "https://" not in page
        assert "//" not in page.replace("<!doctype", "")


def job(**fields):
    return Job(**({"id": "a1", "kind": "plan", "question": {}, "time_limit_s": 20.0} | fields))


def test_answers_are_told_as_they_are():
    late = outcome_html(job(status="running", elapsed_s=3.0), "/?job=a1&x=<")
    assert "Still at work: 3 of 20 s" in late
    assert "/?job=a1&amp;x=&lt;" in late
    so_far = SoFar(field="tpot_s", text="gap <1 %")
    assert "gap &lt;1 %." in outcome_html(job(status="running", so_far=so_far), "/")
    refused = outcome_html(job(status="refused", error="no <b>"), "/")
    assert "no &lt;b&gt;" in refused
    figure = {"title": "time <", "text": "1 s", "range_text": "1 s to 2 s"}
    done = outcome_html(
        job(status="done", answer={"summary": "a < b", "svg": "<svg/>", "figures": [figure]}), "/"
    )
    assert "a &lt; b" in done
    assert "time &lt;" in done
    assert "<svg/>" in done
    assert "/api/answers/a1/certificate" in report_html("a1", "<b>x</b>")
    assert refusal_html("<") == "<p class='refusal' role='alert'>&lt;</p>"


def test_a_field_that_stands_twice_is_refused():
    assert first_of([("a", "1"), ("b", "2")]) == {"a": "1", "b": "2"}
    with pytest.raises(InputError, match="'a' stands twice"):
        first_of([("a", "1"), ("a", "2")])
