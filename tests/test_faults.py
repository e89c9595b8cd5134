"""Refusals of records: one sentence of ours, whatever pydantic finds."""

import importlib
import json
import pkgutil
import re
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field, ValidationError
from pydantic_core import InitErrorDetails
from pydantic_core._pydantic_core import list_all_errors

import planner
from planner.errors import InputError
from planner.faults import NOUNS, sentence_of
from planner.records import Record

RAISED = {
    "model": {"model_type", "recursion_loop"},
    "model-fields": {"missing", "extra_forbidden", "model_type"},
    "int": {
        "int_type", "int_parsing", "int_parsing_size", "int_from_float", "finite_number",
        "greater_than", "greater_than_equal", "less_than", "less_than_equal",
    },
    "float": {
        "float_type", "float_parsing", "finite_number",
        "greater_than", "greater_than_equal", "less_than", "less_than_equal",
    },
    "str": {"string_type", "string_unicode", "string_too_short", "string_too_long"},
    "bool": {"bool_type", "bool_parsing"},
    "literal": {"literal_error"},
    "tuple": {"tuple_type", "missing", "too_short", "too_long"},
    "dict": {"dict_type", "too_short", "too_long"},
    "tagged-union": {"union_tag_invalid", "union_tag_not_found"},
    "function-before": {"value_error"},
    "function-after": {"value_error"},
} | {name: set() for name in ("any", "default", "nullable", "union", "definitions", "definition-ref")}  # fmt: skip
"""What pydantic may find, by what it calls a part of a schema; of JSON that it is none besides."""
FOREIGN = re.compile(r"[Ii]nput|should|[Ss]tring|[Tt]uple|[Dd]ictionary|instance|integer|parse|\\")
"""Pydantic's own words."""


def all_records():
    """Every class of records that there is."""
    for module in pkgutil.walk_packages(planner.__path__, "planner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, seen = [Record], []
    while found:
        seen.append(found.pop())
        found += seen[-1].__subclasses__()
    return [one for one in seen if one.__module__.startswith("planner.")]


def parts_of(schema):
    """What a schema is made of, and whatever of it a pattern stands in."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from parts_of(one)
    elif isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for name, one in schema.items():
            if name not in ("serialization", "metadata", "config"):
                yield from parts_of(one)


FIELDS = ("model-field", "no-info", "with-info")


def test_all_that_records_can_raise_is_known():
    seen = {}
    for record in all_records():
        for part in parts_of(record.__pydantic_core_schema__):
            seen.setdefault(part["type"], record.__name__)
            # A pattern would be told as pydantic writes it; a validator says it in words.
            assert "pattern" not in part or part["type"] != "str", record.__name__
    assert len(seen) > 10
    assert {sort: name for sort, name in seen.items() if sort not in (*RAISED, *FIELDS)} == {}


ALL = {one["type"]: one for one in list_all_errors()}
TOLD = sorted(set().union(*RAISED.values()) | {"json_invalid"})


class Shelf(Record):
    """Something to be wrong."""

    width: int = 1


@pytest.mark.parametrize("sort", TOLD)
def test_every_fault_is_a_sentence_of_ours(sort):
    context = ALL[sort].get("example_context") or {}
    if sort == "value_error":
        context = {"error": ValueError("it wobbles")}
    fault = InitErrorDetails(type=sort, loc=("width",), input="x", ctx=context)
    error = ValidationError.from_exception_data("Shelf", [fault])
    for whole, named in ((None, "Shelf.width"), ("the shelf", "width")):
        sentence = sentence_of(error, Shelf, whole)
        assert sentence.startswith(named)
        assert not FOREIGN.search(sentence), sentence
        assert "\n" not in sentence


def test_every_kind_that_is_named_is_one_of_pydantic():
    assert set(NOUNS) <= set(ALL)


class Board(Record):
    """One kind of part."""

    kind: Literal["board"] = "board"
    width_m: Annotated[float, Field(gt=0, le=10)]


class Screw(Record):
    """Another."""

    kind: Literal["screw"] = "screw"
    turns: Annotated[int, Field(ge=1)]


Key = Annotated[str, Field(max_length=5)]


class Desk(Record):
    """Parts of several kinds, and figures in several ways."""

    parts: Annotated[tuple[Annotated[Board | Screw, Field(discriminator="kind")], ...], Field(max_length=3)] = ()  # fmt: skip
    limits: dict[Key, float | Annotated[str, Field(max_length=8)]] = Field(default={})
    ends: tuple[int | str, int | str] = (0, 1)
    finish: Literal["oil", "wax"] | Literal["none"] = "oil"
    drawers: int | None = None
    height_m: float = 0.7


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"drawer": 2}, "drawer is not a field of the desk; did you mean drawers, ends or parts?"),
        ({"drawers": True}, "drawers must be a whole number, not true"),
        ({"height_m": False}, "height_m must be a number, not false"),
        ({"drawers": 2.5}, "drawers must be a whole number, not 2.5"),
        ({"drawers": "some"}, "drawers must be a whole number, not 'some'"),
        ({"height_m": None}, "height_m must be a number, not null"),
        ({"finish": "tar"}, "finish must be 'oil', 'wax' or 'none', not 'tar'"),
        ({"limits": {"a": True}}, "limits.a must be a number or text, not true"),
        ({"limits": {"a": "x" * 9}}, "limits.a must have at most 8 letters"),
        ({"limits": {"a" * 6: 1}}, "a name in limits must have at most 5 letters"),
        ({"limits": [1]}, "limits must be a table of names and values, not [1]"),
        ({"ends": [1, True]}, "ends[1] must be a whole number or text, not true"),
        ({"ends": [1]}, "ends[1] is missing"),
        ({"parts": [{"kind": "screw", "turns": 0}]}, "parts[0].turns must be at least 1, not 0"),
        ({"parts": [{"kind": "board", "width_m": 11}]}, "parts[0].width_m must be at most 10, not 11"),
        (
            {"parts": [{"kind": "screw", "turn": 1, "turns": 1}]},
            "parts[0].turn is not a field of the desk; did you mean turns or kind?",
        ),
        ({"parts": [{"kind": "nail"}]}, "parts[0] must be of a kind that there is: board or screw, not {'kind': 'nail'}"),
        ({"parts": [{}]}, "parts[0] must say in kind of which kind it is, not {}"),
        ({"parts": [{"kind": "screw", "turns": 1}] * 4}, "parts must have at most 3 entries, not 4"),
        ({"drawers": "x", "height_m": "y"}, "drawers must be a whole number, not 'x' (and 1 more such fault)"),
        (5, "the desk must be a table of fields, not 5"),
    ],
    ids=str,
)  # fmt: skip
def test_fields_are_named_as_they_were_written(fields, sentence):
    for read in (
        lambda: Desk.from_fields(fields, whole="the desk"),
        lambda: Desk.from_json(json.dumps(fields), whole="the desk"),
    ):
        with pytest.raises(InputError) as refusal:
            read()
        assert str(refusal.value) == sentence


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize("field", ["drawers", "height_m"])
def test_a_truth_value_is_no_number(field, truth):
    with pytest.raises(InputError, match=rf"^Desk\.{field} must be a (whole )?number, not "):
        Desk(**{field: truth})


def test_a_truth_value_of_numpy_is_no_count():
    with pytest.raises(InputError, match=r"^Desk\.drawers must be a whole number, not True$"):
        Desk(drawers=np.True_)


def test_numbers_may_be_whole_floats_texts_and_those_of_numpy():
    for two in (2, 2.0, "2", np.int64(2), np.float32(2)):
        desk = Desk(drawers=two, height_m=two)
        assert (desk.drawers, desk.height_m) == (2, 2.0)
        assert (type(desk.drawers), isinstance(desk.height_m, float)) == (int, True)
    assert Desk.json_schema()["properties"]["height_m"]["type"] == "number"


@pytest.mark.parametrize("text", ['{"drawers": 1, "drawers": 2}', b'{"limits": {"drawers": 1, "drawers": 1}}'])  # fmt: skip
def test_a_name_that_json_gives_twice_is_refused(text):
    with pytest.raises(InputError, match=r"^Desk: drawers is given twice; give it once$"):
        Desk.from_json(text)
