"""A result is known by what it holds, whatever its name."""

import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks import recognition
from planner.readers.benchmarks.recognition import FORMATS, measured_in, read_benchmarks
from tests.readers.benchmarks.texts import LLAMA_BENCH, benchmark_texts, sglang, vllm_serve

HERE = Path("result")
TEXTS = benchmark_texts()


@pytest.mark.parametrize("form", TEXTS)
def test_every_format_is_told_by_its_content(form):
    found = measured_in(TEXTS[form], HERE)
    tools = {one.tool for one in (*found.benchmarks, *found.collectives)}
    assert [form.startswith(tool) for tool in tools] == [True]


def test_files_of_lines_hold_a_run_each():
    lines = "\n".join(json.dumps(one) for one in (sglang(), vllm_serve(), vllm_serve()))
    assert len(measured_in(lines, HERE).benchmarks) == 3
    assert measured_in(json.dumps([vllm_serve()] * 2), HERE).benchmarks[1].clients == 16
    assert len(measured_in(json.dumps(LLAMA_BENCH, indent=2), HERE).benchmarks) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", "[3]", "hello", '{"a": {"b": 1}}', "a,b\n1,2\n"])
def test_what_is_none_of_them_is_told_what_is(text):
    with pytest.raises(
        InputError, match="is not a known result of a benchmark; give AIPerf JSON"
    ) as told:
        measured_in(text, HERE)
    assert all(form in str(told.value) for form in FORMATS)


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "large.json"
    path.write_text(json.dumps(vllm_serve(itls=[[0.01] * 50] * 50)))
    assert read_benchmarks(path).benchmarks
    monkeypatch.setattr(recognition, "MOST_VALUES", 1000)
    with pytest.raises(InputError, match="at most 1000 are read"):
        read_benchmarks(path)
    monkeypatch.setattr(recognition, "MOST_LINES", 2)
    with pytest.raises(InputError, match="at most 2 are read"):
        measured_in("{}\n{}\n{}\n", HERE)
