"""`docs/measurements.md`: its example runs and answers as it says, and every format has a row."""

import re
from pathlib import Path

import pytest

from planner.calibration.scaling import COMMON_SHARE
from planner.readers.benchmarks.recognition import FORMATS

PAGE = (Path(__file__).parents[1] / "docs" / "measurements.md").read_text(encoding="utf-8")


def block(kind):
    """What stands in the page's one block of that kind."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    return found


@pytest.mark.slow
def test_the_example_answers_as_the_page_says(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.json").write_text(block("json"), encoding="utf-8")
    calibrating, scoring = block("sh").splitlines()
    answer = run(*calibrating.split()[1:])
    assert answer.status == 0
    assert answer.out == block("text")
    assert block("toml").strip() in Path("mine.toml").read_text(encoding="utf-8")
    assert Path("rows.csv").read_text(encoding="utf-8").count("\n") == 3
    assert "software vllm" in run(*scoring.split()[1:]).out


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_that_is_read_has_a_row(form):
    assert f"| `{form}` " in PAGE


def test_the_share_that_installations_have_in_common_is_that_of_the_product():
    assert f"variance {COMMON_SHARE:.0%} is common".replace("%", " %") in PAGE
