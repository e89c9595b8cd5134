"""What programs may ask."""

from typing import Any

import jsonschema
import pytest

from planner.doors.questions import (
    PICTURED,
    QUESTION,
    QUESTIONS,
    CompareQuestion,
    PlanQuestion,
    SizeQuestion,
)
from planner.errors import InputError

PLAN = {"model": "llama-3.1-70b", "machine": "hgx-h100"}


def leaves(schema: Any) -> list[dict[str, Any]]:
    """All parts of a schema that say a type."""
    if isinstance(schema, list):
        return [leaf for one in schema for leaf in leaves(one)]
    if not isinstance(schema, dict):
        return []
    inside = [leaf for one in schema.values() for leaf in leaves(one)]
    return [*inside, schema] if isinstance(schema.get("type"), str) else inside


@pytest.mark.parametrize("name", QUESTIONS | PICTURED)
def test_all_that_is_asked_is_bounded_and_described(name):
    schema = (QUESTIONS | PICTURED)[name].json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    bounds = {"string": ("maxLength", "enum", "const"), "array": ("maxItems",)}
    bounds |= {"integer": ("maximum",)}
    for leaf in leaves(schema):
        wanted = bounds.get(leaf["type"], ())
        assert not wanted or set(wanted) & set(leaf), leaf
    for field, described in schema["properties"].items():
        assert described.get("description"), field


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../mine.toml",
        "a\\b",
        "mine.json",
        "Model.GGUF",
        "mine.safetensors",
        "mine.toml:8",
    ],
)
@pytest.mark.parametrize("field", ["model", "machine", "software", "weights"])
def test_no_name_is_a_file(field, name):
    with pytest.raises(InputError, match="names a file, and only names of the catalogue"):
        PlanQuestion.from_fields(PLAN | {field: name})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": ""}, "model"),
        ({"model": "a" * 101}, "model"),
        ({"users": 0}, "users"),
        ({"users": "many"}, "users"),
        ({"requests_per_s": -1.0}, "requests_per_s"),
        ({"prompt_tokens": 10**9}, "prompt_tokens"),
        ({"sure": 1.0}, "sure"),
        ({"time_limit_s": 0}, "time_limit_s"),
        ({"time_limit_s": 121}, "time_limit_s"),
        ({"space": "all"}, "space"),
        ({"limits": {f"field_{number}": 1 for number in range(17)}}, "limits"),
        ({"limits": {"tpot_s": "x" * 101}}, "limits"),
        ({"colour": "red"}, "colour"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_sentence_that_names_the_field(fields, named):
    with pytest.raises(InputError) as refusal:
        PlanQuestion.from_fields(PLAN | fields, whole=QUESTION)
    assert str(refusal.value).startswith(named)
    assert "\n" not in str(refusal.value)


def test_machines_are_counted():
    for kind, fewest in ((SizeQuestion, 1), (CompareQuestion, 2)):
        for machines in (["hgx-h100"] * (fewest - 1), ["hgx-h100"] * 9):
            with pytest.raises(InputError, match="machines"):
                kind.from_fields({"model": "llama-3.1-70b", "machines": machines})


def test_limits_are_figures_or_text_with_a_unit():
    asked = PlanQuestion.from_fields(PLAN | {"limits": {"tpot_s": 0.02, "ttft_p99_s": "2 s"}})
    assert asked.limits == {"tpot_s": 0.02, "ttft_p99_s": "2 s"}


@pytest.mark.parametrize("field", ["users", "requests_per_s", "chips", "time_limit_s", "sure"])
def test_true_is_no_number(field):
    with pytest.raises(
        InputError, match=f"{field} must be a (whole )?number( or .max.)?, not true"
    ):
        PlanQuestion.from_fields(PLAN | {field: True}, whole=QUESTION)
