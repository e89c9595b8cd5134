"""Plans for engines, by a command of their own."""

import pytest

from tests.terminal import SMALL, refused


@pytest.mark.slow
def test_the_best_plan_is_what_plan_exports(run):
    asked = ("qwen3-8b", "hgx-h100", "--chips", "1", "--batch", "4")
    fields = run("export", "vllm", *asked, "--format", "json").fields
    beside = run("plan", *asked, "--export", "vllm", "--format", "json").fields
    assert fields["export"] == beside["export"]
    assert fields["plan"] == beside["plan"]


def test_files_are_written_where_they_are_asked_for(run, tmp_path):
    answer = run(
        "export", "vllm", "qwen3-8b", "hgx-h100", "--chips", "1", "--out", tmp_path / "out"
    )
    assert answer.status == 0
    assert (tmp_path / "out" / "plan.json").is_file()


@pytest.mark.slow
def test_ones_own_plan_is_exported(run, tmp_path):
    path = tmp_path / "plan.json"
    asked = ("qwen3-8b", "hgx-h100", "--batch", "4")
    run("plan", *asked, "--chips", "2", "--software", "vllm", "--out", path)
    fields = run("export", "vllm", *asked, "--plan", path, "--format", "json").fields
    assert fields["plan"]["stages"][0]["groups"] == [{"first": 0, "count": 2}]


def test_an_engine_that_is_none_is_refused_with_the_nearest(run):
    said = refused(run("export", "vlm", *SMALL), 2)
    assert "did you mean" in said
    assert "vllm" in said
