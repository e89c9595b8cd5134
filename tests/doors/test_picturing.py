"""Answers with pictures and files."""

import pytest

from planner.doors.asking import answered
from planner.doors.questions import (
    AuditQuestion,
    ExportQuestion,
    MapQuestion,
    ParetoQuestion,
    PlanQuestion,
    ReportQuestion,
)
from planner.errors import InputError, UnknownNameError

SMALL = {"model": "qwen3-0.6b", "machine": "hgx-h100", "chips": 1, "output_tokens": 16}


@pytest.fixture(scope="module")
def result():
    return answered(PlanQuestion(**SMALL, users=4), "a1").results["a1"]


@pytest.mark.slow
def test_a_front_has_its_figures_and_its_picture():
    answer = answered(ParetoQuestion(**SMALL, tolerance=0.5), "a1").answer
    assert answer.status == "complete"
    times = [row.figures[0].value for row in answer.rows]
    assert times == sorted(times)
    assert [one.field for one in answer.rows[0].figures] == ["tpot_s", "tokens_per_s"]
    assert answer.svg.startswith("<svg")


@pytest.mark.slow
def test_a_report_and_an_export_speak_of_the_earlier_plan(result):
    report = answered(ReportQuestion(answer="a1"), "a2", result).answer
    assert "time per output token" in report.html
    assert "<script" not in report.html
    export = answered(ExportQuestion(answer="a1", engine="vllm"), "a3", result).answer
    assert "vllm serve" in export.commands[0]
    assert {name for name, _ in export.files} >= {"start.sh", "plan.json"}


def test_no_claim_is_read_from_a_file_and_a_wrong_name_has_neighbours():
    with pytest.raises(UnknownNameError, match="nearest names"):
        answered(AuditQuestion(claims=("nope",)), "a1")
    with pytest.raises(InputError, match="names a file"):
        AuditQuestion(claims=("../claims.toml",))


@pytest.mark.slow
def test_a_claim_has_its_verdict():
    from planner.studies.audits.claims import article_claims

    name = article_claims()[0].name
    answer = answered(AuditQuestion(claims=(name,)), "a1").answer
    assert [one.claim for one in answer.verdicts] == [name]
    assert answer.complete


@pytest.mark.slow
def test_a_map_is_drawn_for_the_machines_that_are_named(monkeypatch):
    from planner.studies.advantage import maps

    asked = {}
    of_few = maps.advantage_map

    def few(*given, **options):
        asked.update(options)
        return of_few(*given, **options, sizes=(8e9, 7e10), speeds=(20.0, 100.0))

    monkeypatch.setattr(maps, "advantage_map", few)
    answer = answered(MapQuestion(machines=("hgx-h100", "hgx-h200")), "a1").answer
    assert asked["prompt_tokens"] == 1024
    assert [name for name, _ in answer.shares] == ["hgx-h100", "hgx-h200"]
    assert "<svg" in answer.svg
