"""What programs are answered."""

import jsonschema
import pytest

from planner.doors.answers import ANSWERS, PICTURED_ANSWERS, PlanAnswer, Told
from planner.doors.questions import PICTURED, QUESTIONS


def test_every_question_has_its_answer():
    assert set(ANSWERS) == set(QUESTIONS)
    assert set(PICTURED_ANSWERS) == set(PICTURED)


@pytest.mark.parametrize("name", ANSWERS | PICTURED_ANSWERS)
def test_answers_are_described_by_a_schema(name):
    schema = (ANSWERS | PICTURED_ANSWERS)[name].json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["summary"]["type"] == "string"


def test_a_plan_carries_proof_interval_doubts_and_units():
    carried = {"status", "bound", "gap", "proof", "space", "evidence", "doubts"}
    assert carried <= set(PlanAnswer.model_fields)
    assert {"value", "unit", "low", "high"} <= set(Told.model_fields)
