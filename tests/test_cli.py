"""The command: answers on standard output, one sentence on standard error, and an exit status that keeps its promise."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from typing import NamedTuple

import pytest

import planner as pl
from planner import catalogue, cli
from planner.search import Progress

SMALL = ("qwen3-0.6b", "hgx-h100", "--chips", "1")
TOO_SMALL = ("llama-3.1-70b", "hgx-h100", "--chips", "1")
TOO_LONG = ("llama-3.1-405b", "hgx-h100", "--chips", "64", "--time-limit", "0")


class Answer(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def fields(self):
        return json.loads(self.out)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *(str(argument) for argument in arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        return Answer(status, *capsys.readouterr())

    return call


def refused(answer, status):
    """The sentence of a refusal: one line on standard error, and nothing on standard output."""
    assert (answer.status, answer.out) == (status, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("planner: ")
    assert "Traceback" not in answer.err
    return answer.err.removeprefix("planner: ").strip()


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_printed_with_its_proof_and_nothing_on_standard_error(run):
    answer = run("plan", *SMALL)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("qwen3-0.6b (0.596 B parameters")
    assert "optimal: tpot_s = " in answer.out
    assert "it is proved that no plan has a lower one" in answer.out


def test_json_is_all_that_stands_on_standard_output(run):
    answer = run("plan", *SMALL, "--format", "json")
    assert (answer.status, answer.err) == (0, "")
    assert {"plan", "score", "status", "field", "objective", "bound", "gap", "model", "topology"} <= set(answer.fields)
    assert answer.fields["objective"] == answer.fields["score"]["tpot_s"]
    assert (answer.fields["model"], answer.fields["topology"]) == ("qwen3-0.6b", {"name": "hgx-h100", "chips": 1})


def test_the_command_answers_as_the_function_does(run):
    options = (
        "--batch",
        4,
        "--prompt",
        100,
        "--output",
        20,
        "--weights",
        "fp8",
        "--kv",
        "fp8",
        "--arrivals",
        "together",
    )
    answer = run("plan", *SMALL, *options, "--software", "vllm", "--minimize", "ttft_s", "--format", "json")
    expected = pl.partition(
        pl.load_model("qwen3-0.6b", weight_dtype="fp8", kv_dtype="fp8"),
        pl.load_topology("hgx-h100", chips=1, software="vllm"),
        pl.Workload(batch_size=4, prompt_tokens=100, output_tokens=20, arrivals="together"),
        minimize="ttft_s",
    )
    assert answer.fields["score"] == json.loads(expected.score.to_json())


def test_why_follows_the_plan_in_text_and_in_json(run):
    text = run("plan", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--why").out
    assert text.index("optimal:") < text.index("what binds") < text.index("what more would buy") < text.index("worse")
    fields = run("plan", *SMALL, "--why", "--format", "json").fields
    assert fields["why"]["objective"] == fields["objective"]


def test_a_certificate_is_written_and_verified_and_a_changed_one_refused(run, tmp_path):
    path = tmp_path / "certificate.json"
    assert run("plan", *SMALL, "--certificate", path).status == 0
    answer = run("verify", path)
    assert (answer.status, answer.err) == (0, "")
    assert "proved again without the solver" in answer.out
    assert run("verify", path, "--format", "json").fields["confirmed"]
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(fields | {"bound": 0.9 * fields["bound"]}), encoding="utf-8")
    assert "Certificate.status" in refused(run("verify", path), 2)
    path.write_text("{}", encoding="utf-8")
    assert "Certificate" in refused(run("verify", path), 2)
    assert "missing.json" in refused(run("verify", tmp_path / "missing.json"), 2)
    assert "--certificate" in refused(run("plan", *SMALL, "--certificate", tmp_path), 2)


def test_the_batch_may_be_as_many_as_fit(run):
    answer = run("plan", *SMALL, "--batch", "max", "--maximize", "tokens_per_s", "--format", "json")
    assert answer.fields["workload"]["batch_size"] is None
    assert answer.fields["score"]["batch_size"] > 8


def test_a_rate_takes_the_place_of_a_batch_and_shows_percentiles(run):
    answer = run("plan", *SMALL, "--rate", "3", "--prompt", "64", "--output", "64")
    assert answer.status == 0
    assert "for 3 requests a second of 64 + 64 tokens" in answer.out
    assert re.search(r"time to first token, p50 and p99 +[\d.]+ ms and [\d.]+ ms", answer.out)


def test_a_rate_and_a_batch_are_not_both_taken(run):
    assert "--batch and --rate" in refused(run("plan", *SMALL, "--rate", "3", "--batch", "4"), 2)


def test_a_rate_that_is_too_high_is_infeasible(run):
    assert "requests a second" in refused(run("plan", *SMALL, "--rate", "1e6"), 3)


def test_a_limit_is_kept_and_shown(run):
    answer = run("plan", "qwen3-8b", "hgx-h100", "--minimize", "chips", "--limit", "tpot_s=0.005")
    assert answer.status == 0
    assert re.search(r"limit: tpot_s = [\d.]+ ms, allowed 5 ms", answer.out)


def test_the_power_scope_is_the_one_asked_for(run):
    answer = run("plan", *SMALL, "--power-scope", "chip", "--format", "json")
    assert answer.fields["score"]["power_scope"] == "chip"
    assert 700 * 0.22 < answer.fields["score"]["power_w"] < 700  # an idle H100, and its limit


# ── Refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "lama-3.1-70b", "hgx-h100"), "there is no model called 'lama-3.1-70b'; the nearest names are llama-3.1-70b"),
        (("plan", "qwen3-0.6b", "hgx-h10"), "there is no topology called 'hgx-h10'; the nearest names are hgx-h100"),
        (("plan", "qwen3-0.6b"), "Missing argument 'topology'"),
        (("plan",), "Missing argument 'model'"),
        (("plan", "nowhere/config.json", "hgx-h100"), "nowhere/config.json cannot be read: No such file"),
        (("plan", "qwen3-0.6b", "nowhere.toml"), "nowhere.toml cannot be read: No such file"),
        (("plan", *SMALL, "--batch", "0"), "batch_size should be greater than or equal to 1, not 0"),
        (("plan", *SMALL, "--batch", "many"), "--batch must be a whole number, not 'many'"),
        (("plan", *SMALL, "--prompt", "-5"), "prompt_tokens should be greater than or equal to 1, not -5"),
        (("plan", *SMALL, "--prompt", "x"), "--prompt"),
        (("plan", *SMALL, "--output", "0"), "output_tokens should be greater than or equal to 1, not 0"),
        (("plan", *SMALL, "--weights", "fp9"), "weight_dtype should be 'fp32', 'bf16'"),
        (("plan", *SMALL, "--kv", "fp9"), "kv_dtype should be 'fp32', 'bf16'"),
        (("plan", *SMALL, "--arrivals", "never"), "arrivals should be 'together' or 'steady', not 'never'"),
        (("plan", *SMALL, "--limit", "tpot_s"), "--limit must look like tpot_s=0.02, not 'tpot_s'"),
        (("plan", *SMALL, "--limit", "tpot=0.02"), "called 'tpot'; the nearest names are tpot_s"),
        (("plan", *SMALL, "--limit", "tpot_s=-1"), "limits['tpot_s'] must be a positive number, not -1.0"),
        (("plan", *SMALL, "--limit", "tpot_s=nan"), "limits['tpot_s'] must be a positive number, not nan"),
        (("plan", *SMALL, "--minimize", "tpot"), "called 'tpot'; the nearest names are tpot_s, ttft_s"),
        (("plan", *SMALL, "--minimize", "tokens_per_s"), "tokens_per_s is better when it is higher; use maximize="),
        (("plan", *SMALL, "--minimize", "tpot_s", "--maximize", "tokens_per_s"), "not both"),
        (("plan", *SMALL, "--engine", "gurobi"), "--engine must be auto or cp-sat, not 'gurobi'"),
        (("plan", *SMALL, "--power-scope", "rack"), "--power-scope must be chip or system, not 'rack'"),
        (("plan", *SMALL, "--software", "vlm"), "there is no software called 'vlm'; the nearest names are vllm"),
        (("plan", *SMALL, "--chips", "2000"), "at most 1024 chips, not 2000"),
        (("plan", *SMALL, "--frobnicate", "1"), "No such option: --frobnicate"),
        (("plan", *SMALL, "--format", "xml"), "--format must be table or json, not 'xml'"),
        (("plan", "qwen3-0.6b", "tpu-v4", "--minimize", "power_w"), "needs the power of tpu-v4, which is not published"),
        (("score", *SMALL, "--tensor", "2"), "need 2 chips; hgx-h100 has 1"),
        (("score", "qwen3-0.6b", "hgx-h100", "--tensor", "3"), "tensor_parallel = 3 does not divide the 16 heads"),
        (("score", "qwen3-0.6b", "hgx-h100", "--tensor", "0"), "tensor_parallel must be a whole number of at least 1, not 0"),
        (("score", "qwen3-0.6b", "hgx-h100", "--expert", "2"), "expert_parallel = 2"),
        (("score", *SMALL, "--plan", "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (("compare", "qwen3-0.6b"), "Missing argument 'topologies'"),
        (("compare", "qwen3-0.6b", "hgx-h100:two"), "chips must be a whole number, not 'two'"),
        (("compare", "qwen3-0.6b", "hgx-h10"), "there is no topology called 'hgx-h10'"),
        (("plann",), "No such command 'plann'"),
    ],
    ids=lambda given: " ".join(given[-2:]) if isinstance(given, tuple) else "",
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence_with_status_2(run, arguments, said):
    assert said in refused(run(*arguments), 2)


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", b"\xff", '{"stages": [{"layers": ["x"], "groups": [{"first": 0, "count": 1}]}]}']
)
def test_a_broken_plan_is_refused_with_status_2(run, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(run("score", *SMALL, "--plan", path), 2)


@pytest.mark.parametrize("seconds", ["-1", "nan"])
def test_a_time_limit_that_is_none_is_refused(run, seconds):
    assert "time" in refused(run("plan", *SMALL, "--time-limit", seconds), 2)


def test_70_b_on_one_chip_is_infeasible_and_says_how_many_would_do(run):
    sentence = refused(run("plan", *TOO_SMALL), 3)
    assert "weights are 141 GB and the memory is 80 GB" in sentence
    promised = int(re.search(r"(\d+) would do", sentence)[1])
    assert run("plan", *TOO_SMALL[:-1], promised).status == 0
    assert run("plan", *TOO_SMALL[:-1], promised - 1).status == 3


def test_a_limit_that_nobody_can_keep_is_infeasible(run):
    assert "tpot_s of at most 1e-06 cannot be met" in refused(run("plan", *SMALL, "--limit", "tpot_s=1e-6"), 3)


def test_a_plan_that_does_not_fit_is_infeasible(run):
    assert "stage 0 needs 1" in refused(run("score", *TOO_SMALL), 3)


def test_no_plan_in_time_is_not_called_infeasible(run):
    assert "nothing is proved" in refused(run("plan", *TOO_LONG), 4)


def test_an_infeasible_question_in_json_says_demand_capacity_and_gap(run):
    answer = run("plan", *TOO_SMALL, "--format", "json")
    assert answer.status == 3
    assert answer.fields["error"] == "infeasible"
    assert answer.fields["gap"] == answer.fields["demand"] - answer.fields["capacity"] > 0
    assert answer.fields["smallest_chips"] == 2
    assert answer.err == f"planner: {answer.fields['message']}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "kind"),
    [
        (("plan", *TOO_LONG), 4, "no plan found"),
        (("plan", "nope", "hgx-h100"), 2, "input"),
        (("plan", "nope"), 2, "usage"),
    ],
)
def test_a_refusal_in_json_says_its_kind(run, arguments, status, kind):
    answer = run(*arguments, "--format", "json")
    assert (answer.status, answer.fields["error"]) == (status, kind)
    assert answer.fields["message"]


def test_a_refusal_is_json_however_json_is_asked_for(run):
    assert run("plan", "nope", "hgx-h100", "--format=json").fields["error"] == "input"


def test_ctrl_c_stops_without_a_traceback(run, monkeypatch):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "partition", interrupted)
    assert run("plan", *SMALL) == Answer(130, "", "stopped\n")


def test_a_fault_of_our_own_is_not_dressed_up_as_the_users(run, monkeypatch):
    def broken(*given, **options):
        raise AssertionError("our bug")

    monkeypatch.setattr(cli, "partition", broken)
    with pytest.raises(AssertionError, match="our bug"):
        run("plan", *SMALL)


def test_help_names_the_commands(run):
    answer = run("--help")
    assert answer.status == 0
    assert all(command in answer.out for command in ("plan", "score", "compare", "models", "topologies"))


def test_without_arguments_there_is_help_and_no_empty_sentence(run):
    answer = run()
    assert "Usage" in answer.out + answer.err
    assert "planner: \n" not in answer.err


# ── cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cluster_is_planned_as_the_function_does(run):
    answer = run("cluster", "llama-3.1-8b", "three-macs", "--batch", 1, "--format", "json")
    expected = pl.partition_cluster(
        pl.load_model("llama-3.1-8b"), pl.load_cluster("three-macs"), pl.Workload(batch_size=1)
    )
    assert answer.fields["objective"] == expected.objective
    assert [pool["name"] for pool in answer.fields["pools"]] == [pool.name for pool in expected.cluster.pools]


def test_unlike_deployments_are_shown_with_their_pools_and_their_proof(run):
    arguments = ("cluster", "llama-3.2-1b", "three-macs", "--unlike", "--limit", "tpot_s=0.1")
    text, fields = run(*arguments).out, run(*arguments, "--format", "json").fields
    assert "sharing out of the pools" in text
    assert fields["objective"] == pytest.approx(sum(one["score"]["tokens_per_s"] for one in fields["deployments"]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cluster", "llama-3.1-8b", "three-mac"), "three-macs"),
        (("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--minimize", "tpot_s"), "leave --minimize"),
        (("cluster", "llama-3.1-8b", "three-macs", "--unlike", "--batch", "8"), "must be None for a fleet"),
    ],
)
def test_a_cluster_question_that_is_wrong_gets_a_sentence(run, arguments, said):
    assert said in refused(run(*arguments), 2)


def test_clusters_are_listed(run):
    assert {row["cluster"] for row in run("clusters", "--format", "json").fields} == set(pl.cluster_names())


# ── score and files ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_written_plan_scores_as_it_was_planned(run, tmp_path):
    path = tmp_path / "plan.json"
    planned = run("plan", "qwen3-8b", "hgx-h100", "--chips", "4", "--out", path, "--format", "json")
    scored = run("score", "qwen3-8b", "hgx-h100", "--chips", "4", "--plan", path, "--format", "json")
    assert (planned.status, scored.status) == (0, 0)
    assert scored.fields["score"]["tpot_s"] == planned.fields["score"]["tpot_s"]
    assert scored.fields == {"score": planned.fields["score"], "plan": planned.fields["plan"]}
    assert list(tmp_path.iterdir()) == [path]


def test_degrees_make_a_uniform_plan(run):
    degrees = ("--tensor", 2, "--pipeline", 2, "--data", 2)
    answer = run("score", "qwen3-8b", "hgx-h100", *degrees, "--format", "json")
    graph, machine = pl.load_model("qwen3-8b"), pl.load_topology("hgx-h100")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=2, pipeline_parallel=2, data_parallel=2)
    assert answer.fields["plan"] == json.loads(plan.to_json())
    score = pl.score_plan(plan, graph, machine, pl.Workload(batch_size=8))
    assert answer.fields["score"]["tpot_s"] == score.tpot_s


def test_a_score_is_printed_with_stages_and_assumptions(run):
    answer = run("score", "qwen3-8b", "hgx-h100", "--pipeline", 2)
    assert (answer.status, answer.err) == (0, "")
    assert "time per output token" in answer.out
    assert len(re.findall(r"^  [01] +\d+ \(", answer.out, re.MULTILINE)) == 2
    assert "assumptions" in answer.out


@pytest.mark.parametrize("arguments", [TOO_SMALL, TOO_LONG, ("nope", "hgx-h100")])
def test_a_refusal_leaves_an_older_plan_as_it_was(run, tmp_path, arguments):
    path = tmp_path / "plan.json"
    path.write_text("older", encoding="utf-8")
    assert run("plan", *arguments, "--out", path).status > 0
    assert path.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, monkeypatch):
    def never(*given, **options):
        raise AssertionError("worked before looking")

    monkeypatch.setattr(cli, "partition", never)
    path = tmp_path / "nowhere" / "plan.json"
    assert f"--out {path} cannot be written" in refused(run("plan", *SMALL, "--out", path), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_output_is_refused_for_what_it_is(run, tmp_path):
    assert f"{tmp_path.parent} is not a folder" not in refused(run("plan", *SMALL, "--out", tmp_path), 2)


def failing_replace(monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)


def test_an_output_that_fails_on_the_way_is_refused(run, tmp_path, monkeypatch):
    failing_replace(monkeypatch)
    sentence = refused(run("plan", *SMALL, "--out", tmp_path / "plan.json"), 2)
    assert "cannot be written: No space left on device" in sentence


def test_an_output_that_fails_on_the_way_leaves_nothing_behind(run, tmp_path, monkeypatch):
    failing_replace(monkeypatch)
    run("plan", *SMALL, "--out", tmp_path / "plan.json")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_may_be_read_by_whom_other_files_may(run, tmp_path):
    path, other = tmp_path / "plan.json", tmp_path / "other"
    other.touch()
    run("plan", *SMALL, "--out", path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_a_plan_written_through_a_link_lands_where_the_link_points(run, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    run("plan", *SMALL, "--out", link)
    assert link.is_symlink()
    assert pl.Plan.from_json(target.read_text(encoding="utf-8"))


def test_a_pipe_as_output_stays_a_pipe(run, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("plan", *SMALL, "--out", pipe)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


# ── compare and lists ────────────────────────────────────────────────────────────────────────────────────────────────

POWER = "energy is not comparable here"
PRICES = "prices are not comparable here"


def test_machines_stand_side_by_side(run):
    answer = run("compare", "qwen3-8b", "hgx-h100:2", "hgx-a100:4")
    assert (answer.status, answer.err) == (0, "")
    header = next(line for line in answer.out.splitlines() if "hgx-h100" in line)
    assert header.split() == ["hgx-h100:2", "hgx-a100:4"]
    assert re.search(r"^  chips +2 +4$", answer.out, re.MULTILINE)
    assert re.search(r"^  tpot_s +[\d.]+ ms +[\d.]+ ms$", answer.out, re.MULTILINE)


def test_diffusion_models_are_compared_by_their_samples(run):
    answer = run("compare", "dit-xl-2", "hgx-h100:2", "hgx-a100:4")
    assert (answer.status, answer.err) == (0, "")
    assert re.search(r"^  image_s +[\d.]+ m?s +[\d.]+ m?s$", answer.out, re.MULTILINE)
    assert "tpot_s" not in answer.out


def test_like_machines_are_compared_without_a_warning(run):
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "hgx-a100:1")
    assert POWER not in answer.out
    assert PRICES not in answer.out


def test_machines_whose_power_counts_different_things_are_compared_with_a_warning(run):
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "article-h100")
    assert re.search(r"^  power counts +at the wall +chips alone$", answer.out, re.MULTILINE)
    assert POWER in answer.out


def test_with_one_power_scope_for_all_there_is_no_warning(run):
    assert POWER not in run("compare", "qwen3-0.6b", "hgx-h100:1", "article-h100", "--power-scope", "chip").out


def test_machines_rented_and_bought_are_compared_with_a_warning(run):
    answer = run("compare", "qwen3-0.6b", "hgx-h100:1", "tpu-v4:1")
    assert re.search(r"^  price is by +purchase +rental$", answer.out, re.MULTILINE)
    assert PRICES in answer.out


def test_a_machine_without_a_price_is_not_called_rented(run):
    assert PRICES not in run("compare", "qwen3-0.6b", "hgx-h100:1", "article-h100").out


def test_a_machine_that_is_too_small_is_told_beneath_the_others(run):
    answer = run("compare", "llama-3.1-70b", "hgx-h100", "hgx-h100:1", "--format", "json")
    assert answer.status == 0
    assert [result["topology"]["chips"] for result in answer.fields["results"]] == [8]
    assert "does not fit 1 × NVIDIA H100 SXM" in answer.fields["refused"]["hgx-h100:1"]


def test_a_comparison_of_machines_that_are_all_too_small_is_infeasible(run):
    sentence = refused(run("compare", "llama-3.1-70b", "hgx-h100:1", "hgx-a100:1"), 3)
    assert "NVIDIA H100" in sentence
    assert "NVIDIA A100" in sentence


def test_a_comparison_without_a_plan_in_time_is_not_called_infeasible(run):
    assert "nothing is proved" in refused(run("compare", "llama-3.1-405b", "hgx-h100:64", "--time-limit", "0"), 4)


@pytest.mark.parametrize(
    ("command", "column", "names"),
    [("models", "model", pl.model_names()), ("topologies", "topology", pl.topology_names())],
)
def test_the_catalogue_is_listed(run, command, column, names):
    listed, table = run(command, "--format", "json"), run(command)
    assert (listed.status, listed.err, table.status, table.err) == (0, "", 0, "")
    assert tuple(row[column] for row in listed.fields) == names
    lines = table.out.splitlines()
    assert tuple(line.split()[0] for line in lines) == (column, *names)


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def progress(elapsed_s):
    return Progress(elapsed_s=elapsed_s, boxes_done=1, boxes_open=2, objective=0.02, bound=0.01)


def test_progress_is_shown_to_somebody_who_watches(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    meter = cli._Meter()
    for elapsed_s in (0.5, 1.5, 1.6, 2.5):
        meter(progress(elapsed_s))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("best 0.02, bound 0.01  (1 done, 2 open; Ctrl-C stops)") == 2


def test_progress_is_kept_from_a_file(capsys):
    cli._Meter()(progress(10.0))
    assert capsys.readouterr() == ("", "")


# ── calibrate ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def catalogue_copy(tmp_path, monkeypatch):
    """The catalogue's folder, to write into."""
    folder = tmp_path / "topologies"
    shutil.copytree(catalogue.topologies_folder(), folder)
    monkeypatch.setattr(catalogue, "topologies_folder", lambda: folder)
    catalogue.reread()
    yield folder
    monkeypatch.undo()
    catalogue.reread()


def test_shipped_constants_are_fitted_again_and_reported(run, catalogue_copy):
    stack = catalogue_copy / "software" / "distributed-llama.toml"
    before = stack.read_text(encoding="utf-8")
    stack.write_text(before.replace('"12 rows"', '"9 rows"'), encoding="utf-8")
    answer = run("calibrate", "--shipped", "--software", "distributed-llama", "--format", "json")
    assert answer.status == 0
    assert stack.read_text(encoding="utf-8") == before
    (fitted,) = answer.fields
    assert fitted["stack"] == "distributed-llama"
    assert "median error" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a CSV of measurements and --out FILE, or --shipped alone"),
        (("mine.csv",), "give a CSV of measurements and --out FILE"),
        (("mine.csv", "--shipped"), "--shipped alone"),
        (("--shipped", "--software", "nobody"), "no recipe called 'nobody'"),
    ],
)
def test_a_calibration_of_nothing_is_refused(run, arguments, words):
    assert words in refused(run("calibrate", *arguments), 2)


# ── The process ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("arguments", "status"), [(SMALL, 0), (TOO_SMALL, 3)])
def test_the_process_ends_with_the_status(arguments, status):
    command = [sys.executable, "-m", "planner", "plan", *arguments, "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == status
    assert ("error" in json.loads(ended.stdout)) == (status > 0)
    assert ended.stderr.count("\n") == (status > 0)


def test_two_pools_are_planned_and_shown(run):
    asked = ("disaggregate", "qwen3-0.6b", "hgx-h100", "--chips", "2", "--link", "50 GB/s", "--link-latency", "10 us")
    text = run(*asked)
    assert text.status == 0
    assert "it is proved that no pair of plans has a lower one" in text.out
    assert "over the link in" in text.out
    fields = run(*asked, "--format", "json").fields
    assert (fields["prefill_topology"]["chips"], fields["decode_topology"]["chips"]) == (1, 1)
    assert fields["score"]["chips"] == 2


def test_two_pools_need_a_link_and_chips_of_their_own(run):
    assert run("disaggregate", "qwen3-0.6b", "hgx-h100").err.startswith("planner: --link needs a number and a unit")
    lonely = run("disaggregate", "qwen3-0.6b", "hgx-h100", "--link", "1 GB/s", "--decode-chips", "2")
    assert (lonely.status, "--decode-chips needs a second machine" in lonely.err) == (2, True)
