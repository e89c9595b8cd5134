"""Commands priced for programs, of whose files nothing is read."""

import pytest

import planner as pl
from planner.doors.asking import answered
from planner.doors.questions import CommandQuestion
from planner.errors import InputError

SERVE = "vllm serve Qwen/Qwen3-0.6B --tensor-parallel-size 2 --max-num-seqs 16"


def ask(command=SERVE, **fields):
    given = {"command": command, "machine": "hgx-h100", "best": False, **fields}
    return answered(CommandQuestion.from_fields(given), "a1").answer


def test_a_command_is_priced_as_the_library_does():
    answer = ask(users=4, prompt_tokens=128, output_tokens=16)
    work = pl.Workload(batch_size=4, prompt_tokens=128, output_tokens=16)
    found = pl.score_command(SERVE, "hgx-h100", work, best=False)
    figures = {one.field: one.value for one in answer.figures}
    assert figures["tpot_s"] == found.score.tpot_s
    assert (answer.engine, answer.model, answer.chips) == ("vllm", "qwen3-0.6b", 2)
    assert any(one.startswith("--tensor-parallel-size 2") for one in answer.read)
    assert answer.faults == ()


def test_a_format_in_a_name_counts():
    assert any("fp8" in one for one in ask("vllm serve Qwen/Qwen3-8B-FP8").assumed)


def test_a_model_of_the_catalogue_stands_in():
    assert ask("vllm serve somebody/secret", model="qwen3-0.6b").model == "qwen3-0.6b"


def test_the_gain_of_the_best_plan_is_told():
    answer = ask(best=True, users=4, prompt_tokens=128, output_tokens=16)
    assert answer.gain_on_same_chips_fraction >= 0.0
    assert "the same 2 chips" in answer.summary


def test_files_of_options_are_refused_and_models_on_the_disk_are_not_looked_at(
    tmp_path, monkeypatch
):
    (tmp_path / "options.yaml").write_text("tensor-parallel-size: 4\n", encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "start").write_text(SERVE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="write its options into the command"):
        ask(f"{SERVE} --config options.yaml")
    with pytest.raises(InputError, match="is the name of no model of the catalogue"):
        ask(f"vllm serve {tmp_path}")
    with pytest.raises(InputError, match="does not start a known engine"):
        ask("start")


def test_a_draft_model_is_looked_up_by_name():
    drafts = """--speculative-config '{"model": "/etc/config.json", "num_speculative_tokens": 2}'"""
    with pytest.raises(InputError, match="is the name of no model of the catalogue"):
        ask(f"vllm serve Qwen/Qwen3-8B {drafts}")
