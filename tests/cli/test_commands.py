"""`planner score` of plans and of commands."""

import pytest

import planner as pl
from planner.launches.scoring import score_command
from tests.terminal import SMALL, refused

COMMAND = "vllm serve Qwen/Qwen3-0.6B -tp 2 --enable-dbo"
LOAD = ("--batch", "8", "--prompt", "512", "--output", "64")


@pytest.mark.slow
def test_a_command_is_priced_as_the_function_does(run):
    answer = run("score", "--from", COMMAND, "--machine", "hgx-h100", *LOAD)
    workload = pl.Workload(batch_size=8, prompt_tokens=512, output_tokens=64)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"{score_command(COMMAND, 'hgx-h100', workload)}\n\ndefaults used")
    assert "the best plan on " in answer.out
    assert "--enable-dbo  not priced" in answer.out


def test_json_has_what_was_read_and_what_could_be_gained(run):
    asked = ("--from", COMMAND, "--machine", "hgx-h100", *LOAD, "--format", "json")
    fields = run("score", *asked).fields
    assert fields["reading"]["launch"]["tensor_parallel"] == 2
    assert fields["score"]["chips"] == 2
    best = fields["best_on_machine"]
    assert best["gain"] == pytest.approx(fields["score"]["request_s"] / best["objective"] - 1)
    assert best["status"] == "optimal"
    assert run("score", *asked, "--no-best").fields["best_on_machine"] is None


def test_a_refused_command_is_an_answer_with_its_faults(run):
    answer = run("score", "--from", "vllm serve qwen3-8b -tp 3", "--machine", "hgx-h100")
    assert answer.status == 0
    assert "vllm refuses it" in answer.out


def test_a_file_and_another_model_and_formats_are_taken(run, tmp_path):
    script = tmp_path / "run.sh"
    script.write_text("vllm serve /nowhere/m -tp 2\n")
    asked = ("--from", script, "--machine", "hgx-h100", "--model", "qwen3-0.6b", "--weights", "fp8")
    answer = run("score", *asked, "--no-best")
    assert answer.out.startswith("qwen3-0.6b (0.596 B parameters: weights fp8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "or --from COMMAND"),
        (("--from", COMMAND), "--machine NAME"),
        (("--from", COMMAND, "hgx-h100"), "with --machine"),
        (("--from", COMMAND, "--machine", "hgx-h100", "--tensor", "2"), "its own degrees"),
        (("--from", COMMAND, "--machine", "hgx-h100", "--usable-memory", "0.9"), "memory"),
        (("--from", "ls", "--machine", "hgx-h100"), "does not start a known engine"),
        (("--from", "vllm serve a/b", "--machine", "hgx-h100"), "--model NAME"),
        ((*SMALL, "--machine", "hgx-h100"), "give --from"),
    ],
)
def test_what_does_not_go_together_is_refused(run, arguments, words):
    assert words in refused(run("score", *arguments), 2)


def test_a_plan_is_scored_as_ever(run):
    answer = run("score", *SMALL)
    assert answer.status == 0
    assert "plan: one chip" in answer.out
