"""The published schemas are those of the code, and records keep them."""

import json

import jsonschema
import pytest

import planner as pl
from planner.schemas import PUBLISHED, schema_path, schema_text
from tests.instances import tiny_graph, tiny_topology


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schema_is_that_of_the_code(name):
    assert schema_path(name).read_text(encoding="utf-8") == schema_text(name), "run `make schemas`"


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_record_keeps_its_published_schema(name):
    graph, topology = tiny_graph(2), tiny_topology(4)
    records = {
        "model-graph": graph,
        "topology": topology,
        "workload": pl.Workload(),
        "plan": pl.uniform_plan(graph, topology, tensor_parallel=2, pipeline_parallel=2),
    }
    schema = json.loads(schema_path(name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(records[name].to_json()), schema)


@pytest.mark.slow
def test_the_schema_refuses_what_the_record_refuses():
    schema = json.loads(schema_path("workload").read_text(encoding="utf-8"))
    for wrong in (
        {"batch_size": 0},
        {"prompt_tokens": -1},
        {"arrivals": "sometimes"},
        {"batches": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_field_says_what_it_means_or_is_plain_from_its_name(name):
    schema = json.loads(schema_path(name).read_text(encoding="utf-8"))
    assert schema["title"] == PUBLISHED[name].__name__
    assert schema["description"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_description_breaks_no_line_within_a_paragraph(name):
    def descriptions(part):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            if key == "description" and isinstance(value, str):
                yield value
            elif isinstance(value, dict | list):
                yield from descriptions(value)

    said = list(descriptions(json.loads(schema_text(name))))
    assert len(said) > 5
    assert not any("\n" in text.replace("\n\n", "") for text in said)
