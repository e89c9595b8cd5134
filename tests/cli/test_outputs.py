"""Answers in rows, in the form that is asked for or that a file's name says."""

import csv
import io
import json

import pytest

from planner.cli.outputs import csv_text
from tests.terminal import refused

ASKED = ("what-if", "qwen3-0.6b", "l4", "--chips", "1", "--set", "workload.batch_size=2")


def test_rows_are_csv_with_all_columns_of_all_rows():
    text = csv_text([{"a": 1, "b": [1, 2]}, {"a": "x,y", "c": None}])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["a", "b", "c"]
    assert json.loads(rows[0]["b"]) == [1, 2]
    assert rows[1] == {"a": "x,y", "b": "", "c": ""}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["html", "csv", "json"])
def test_a_file_is_what_its_name_says(run, tmp_path, ending):
    path = tmp_path / f"answer.{ending}"
    assert run(*ASKED, "--out", path).status == 0
    text = path.read_text(encoding="utf-8")
    begins = {"html": "<html>", "csv": "field,before,after,effect", "json": "{"}
    assert begins[ending] in text[:40]


def test_a_name_that_says_no_kind_is_refused_before_the_work(run, tmp_path, monkeypatch):
    def never(*given, **options):
        raise AssertionError("the work was begun")

    monkeypatch.setattr("planner.studies.levers.what_ifs.what_if", never)
    assert "must end in .html, .csv or .json" in refused(run(*ASKED, "--out", tmp_path / "a"), 2)
    assert "must end in" in refused(run(*ASKED, "--out", tmp_path / "a.svg"), 2)


def test_a_format_that_is_none_is_refused(run):
    assert "--format must be table, json or csv, not 'xml'" in refused(
        run(*ASKED, "--format", "xml"), 2
    )
