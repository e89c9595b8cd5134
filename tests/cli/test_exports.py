"""A plan is handed on as files, all of them or none."""

import os

import pytest

import planner as pl
from planner.plan import Plan
from tests.exported import options_of
from tests.terminal import SMALL, refused


@pytest.mark.slow
def test_scripts_are_shown_below_the_answer(run):
    text = run("plan", *SMALL, "--export", "vllm").out
    assert "chosen from: plans that vllm 0.32 can run" in text
    assert "vllm serve Qwen/Qwen3-0.6B" in text
    assert "vllm bench serve" in text


@pytest.mark.slow
def test_files_are_written_and_the_plan_is_priced_again_from_its_own(run, tmp_path):
    folder = tmp_path / "out"
    made = run("plan", *SMALL, "--export", "sglang", "--export-to", folder, "--format", "json")
    export = made.fields["export"]
    assert {one.name for one in folder.iterdir()} == {one["name"] for one in export["files"]}
    assert os.access(folder / "start.sh", os.X_OK)
    plan = Plan.from_json((folder / "plan.json").read_text(encoding="utf-8"))
    assert plan.model_dump(mode="json") == made.fields["plan"]
    again = run(
        "score", *SMALL, "--software", "sglang", "--plan", folder / "plan.json", "--format", "json"
    )
    assert again.fields["score"]["tpot_s"] == made.fields["objective"]
    assert options_of(export["commands"][0])["--tp-size"] == "1"


def test_where_one_file_cannot_be_written_none_is(run, tmp_path):
    (tmp_path / "benchmark.sh").mkdir()
    answer = run("plan", *SMALL, "--export", "vllm", "--export-to", tmp_path)
    assert "benchmark.sh is a folder" in refused(answer, 2)
    assert [one.name for one in tmp_path.iterdir()] == ["benchmark.sh"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--export", "vlm"), "engine must be vllm"),
        (("--export", "vllm", "--export-version", "0.1"), "older than 0.12"),
        (("--export-to", "."), "give --export too"),
        (
            ("--export", "vllm", "--export-to", "/nowhere/at/all"),
            "--export-to /nowhere/at/all cannot",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_the_work(run, monkeypatch, arguments, words):
    def never(*given, **options):
        raise AssertionError("worked before looking")

    monkeypatch.setattr(pl, "partition", never)
    assert words in refused(run("plan", *SMALL, *arguments), 2)


def test_pools_are_handed_on_too(run):
    asked = ("disaggregate", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--link", "50 GB/s")
    text = run(*asked, "--rate", "1", "--minimize", "tpot_s", "--export", "sglang").out
    assert "--disaggregation-mode prefill" in text
    assert "--pd-disaggregation" in text


def test_where_an_export_is_refused_nothing_is_written_beside_it(run, tmp_path):
    plan, folder = tmp_path / "plan.json", tmp_path / "out"
    asked = ("plan", "qwen3-0.6b", "hgx-h100", "--chips", "1", "--batch", "1", "--out", plan)
    sentence = refused(run(*asked, "--export", "llama.cpp", "--export-to", folder), 2)
    assert "llama.cpp needs to know where" in sentence
    assert list(tmp_path.iterdir()) == []


def test_a_plan_for_chips_that_the_engine_does_not_run_on_is_refused(run, tmp_path):
    asked = ("plan", "qwen3-0.6b", "tpu-v5e", "--chips", "1")
    answer = run(*asked, "--export", "vllm", "--export-to", tmp_path / "out")
    assert "vllm does not run on" in refused(answer, 2)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_does_not_run_on_the_chips_is_refused_before_the_work(run, monkeypatch):
    def never(*given, **options):
        raise AssertionError("worked before looking")

    monkeypatch.setattr("planner.partition", never)
    asked = ("plan", "llama-3.1-8b", "groq-lpu-chain", "--export", "vllm")
    assert "vllm does not run on Groq LPU v1" in refused(run(*asked), 2)
