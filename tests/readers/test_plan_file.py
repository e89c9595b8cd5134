"""Tests of the mirror of plan_file: plans by themselves, and those of runs."""

import json

import pytest

from planner.errors import InputError
from planner.plan import Plan
from planner.readers.plan_file import read_plan
from tests.readers.benchmarks.texts import planner_run


def test_a_plan_stands_by_itself_or_in_a_run(tmp_path):
    fields = planner_run()
    whole, alone = tmp_path / "run.json", tmp_path / "plan.json"
    whole.write_text(json.dumps(fields))
    alone.write_text(json.dumps(fields["plan"]))
    assert read_plan(whole) == read_plan(alone) == Plan.from_fields(fields["plan"])


@pytest.mark.parametrize("text", ["{", '{"stages": []}', '{"planner_run": 7}'])
def test_a_fault_names_the_file(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.json"):
        read_plan(path)
