"""What may be asked over HTTP, described."""

import json

import jsonschema
import pytest

from planner.doors.answers import ANSWERS, PICTURED_ANSWERS
from planner.doors.questions import PICTURED, QUESTIONS
from planner.doors.web.openapi import docs_html, document


@pytest.mark.slow
def test_every_question_has_a_path_and_every_reference_a_record():
    described = document()
    assert {f"/api/{kind}" for kind in QUESTIONS | PICTURED} <= set(described["paths"])
    schemas = described["components"]["schemas"]
    text = json.dumps(described)
    for piece in text.split('"$ref": "#/components/schemas/')[1:]:
        assert piece.partition('"')[0] in schemas
    assert {one.__name__ for one in (ANSWERS | PICTURED_ANSWERS).values()} <= set(schemas)


@pytest.mark.slow
def test_an_answer_is_held_by_its_schema():
    schemas = document()["components"]["schemas"]
    validator = jsonschema.Draft202012Validator(
        schemas["ScoreQuestion"] | {"components": {"schemas": schemas}}
    )
    well = {"model": "qwen3-0.6b", "machine": "hgx-h100"}
    assert validator.is_valid(well)
    assert not validator.is_valid(well | {"tensor_parallel": 0})


@pytest.mark.slow
def test_the_page_of_it_needs_no_network_and_leads_to_each_record():
    described = document()
    page = docs_html(described)
    assert "http://" not in page
    assert "https://" not in page
    for name in described["components"]["schemas"]:
        assert f"id='{name}'" in page
    assert "<a href='#PlanQuestion'>" in page
