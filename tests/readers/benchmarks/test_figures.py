"""Figures are numbers, or refused by their name."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.figures import (
    count_of,
    first_count,
    first_name,
    first_rate,
    number_of,
    part_of,
    positive_of,
    stored_as,
    word_of,
)

HERE = Path("result.json")


@pytest.mark.parametrize("given", [-1, float("nan"), float("inf"), True, [1], "many", 1e16])
def test_what_is_no_figure_is_refused_by_its_name(given):
    with pytest.raises(InputError, match=r"result\.json: mean_ttft_ms must be a number"):
        number_of({"mean_ttft_ms": given}, "mean_ttft_ms", HERE)


def test_figures_may_be_missing_written_with_commas_or_nothing():
    assert number_of({}, "x", HERE) is None
    assert number_of({"x": ""}, "x", HERE) is None
    assert number_of({"x": "1,234.5"}, "x", HERE) == 1234.5
    assert number_of({"x": 0}, "x", HERE) == 0.0
    assert positive_of({"x": 0}, "x", HERE) is None
    assert count_of({"x": 7.6}, "x", HERE) == 8


def test_settings_are_found_wherever_they_stand_but_not_those_of_a_warm_up():
    asked = {
        "phases": [{"name": "warmup", "concurrency": 2}, {"load": {"concurrency": [16]}}],
        "warmup": {"request_rate": 9.0, "model": "other"},
        "later": {"request_rate": 3.0},
        "endpoint": {"model_names": ["a/b", "c"]},
    }
    assert first_count(asked, "concurrency") == 16
    assert first_rate(asked, "request_rate") == 3.0
    assert first_name(asked, "model_names", "model") == "a/b"
    assert first_count(asked, "nothing") is None
    deep: dict = {"concurrency": 1}
    for _ in range(20):
        deep = {"in": deep}
    assert first_count(deep, "concurrency") is None


def test_words_are_whole_and_parts_are_tables():
    assert word_of({"x": "a" * 5000}, "x") == "a" * 1000
    assert word_of({"x": "half \ud800"}, "x") == "half ?"
    assert word_of({"x": 3}, "x") == ""
    assert part_of({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert part_of({"a": [1]}, "a", "b") == {}


@pytest.mark.parametrize(
    ("model", "format"),
    [
        ("Qwen/Qwen3-30B-A3B-FP8", "fp8"),
        ("x-AWQ", "int4"),
        ("nvidia/DeepSeek-R1-NVFP4", "nvfp4"),
        ("meta-llama/Llama-3.1-8B", ""),
        ("fp8ish", ""),
    ],
)
def test_a_models_name_may_say_how_its_weights_are_stored(model, format):
    assert stored_as(model) == format
