"""Tests of the mirror of saving: what a run's file says, and whose seconds."""

import json
import math

import pytest

from planner.errors import InputError
from planner.readers.run_file import SavedRun
from planner.running.comparing import compared
from planner.running.saving import clock_for, saved_run, stages_csv
from tests.readers.benchmarks.texts import RUN_MACHINE
from tests.running.models import config_of, cut_plan
from tests.running.test_comparing import asked, report  # noqa: F401  (a fixture)

PLAN = cut_plan((2, 2))


@pytest.fixture
def found(asked):  # noqa: F811
    return compared(PLAN, asked, [report(0, 0, 1.0, 5.0), report(1, 1, 2.0, 6.0)])


def test_the_clock_says_whose_seconds_are_kept(found, asked):  # noqa: F811
    kept = {
        clock: saved_run(found, PLAN, asked, RUN_MACHINE, seed=3, clock=clock)
        for clock in ("cpu", "wall")
    }
    # One pass of prompts through both stages; four rounds of later tokens, 0.25 and 0.5 s each.
    assert (kept["cpu"].ttft_s, kept["cpu"].tpot_s, kept["cpu"].request_s) == (3.0, 0.75, 6.0)
    # By the wall both stages wait for the slower one: four seconds for each phase.
    assert (kept["wall"].ttft_s, kept["wall"].tpot_s, kept["wall"].request_s) == (4.0, 1.0, 8.0)
    assert kept["cpu"].run["idle_request_s"]["measured"] == 6.0
    assert kept["cpu"].plan == PLAN
    assert SavedRun.from_json(kept["wall"].to_json()) == kept["wall"]


def test_the_machine_is_kept_with_the_stack_that_is_shipped(found, asked):  # noqa: F811
    machine = {**RUN_MACHINE, "software": "mine.toml"}
    kept = saved_run(found, PLAN, asked, machine, seed=0, clock="cpu")
    assert kept.machine == RUN_MACHINE


def test_where_no_token_comes_later_none_is_timed(asked):  # noqa: F811
    short = asked._replace(workload=asked.workload.replace(output_tokens=1))
    found = compared(PLAN, short, [report(0, 0, 1.0, 5.0), report(1, 1, 2.0, 6.0)])
    kept = saved_run(found, PLAN, short, RUN_MACHINE, seed=0, clock="cpu")
    assert (kept.ttft_s, kept.tpot_s, kept.request_s) == (3.0, None, 3.0)


def test_seconds_by_the_wall_need_a_core_for_each_rank():
    assert [clock_for(None, ranks, 2) for ranks in (1, 2, 3)] == ["wall", "wall", "cpu"]
    assert [clock_for("cpu", ranks, 2) for ranks in (2, 4)] == ["cpu", "cpu"]
    assert clock_for("wall", 2, 2) == "wall"
    with pytest.raises(InputError, match="4 ranks share 2 cores"):
        clock_for("wall", 4, 2)


def test_each_stage_is_a_row(found):
    header, first, _ = stages_csv(found).splitlines()
    assert header.startswith("stage,layers,ranks,predicted_prefill_cpu_s,measured_prefill_cpu_s")
    assert first.split(",")[4] == "1.0"


@pytest.mark.slow
def test_the_loop_closes_on_ranks_of_this_machine(run, tmp_path, monkeypatch):
    """Plan, export, run, calibrate, plan: the price of that very run moves to what it took."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    wide = {"hidden_size": 512, "intermediate_size": 1408, "head_dim": 64, "vocab_size": 2048}
    (tmp_path / "config.json").write_text(json.dumps(config_of(**wide)), encoding="utf-8")
    load = ("--batch", 4, "--prompt", 64, "--output", 8)
    question = ("config.json", "here.toml", *load, "--weights", "fp32", "--kv", "fp32")
    planned = (*question, "--arrivals", "together", "--minimize", "request_s")

    def done(*words):
        answer = run(*words)
        assert answer.status == 0, answer.err
        return answer

    done("machine", "cores", "--ranks", 2, "--out", "here.toml")
    done("plan", *planned, "--out", "plan.json")
    shape = ("config.json", "--machine", "here.toml", *load)
    # By CPU seconds: what else runs while tests do must not move them.
    done("run", *shape, "--plan", "plan.json", "--clock", "cpu", "--save", "run.json")
    done("calibrate", "run.json", "--out", "mine.toml")
    done("plan", *planned, "--software", "mine.toml", "--out", "next.json")

    took = json.loads((tmp_path / "run.json").read_text())
    off = []
    for stack in ("torch-gloo-cpu", "mine.toml"):
        arrivals = ("--arrivals", "together", "--format", "json")
        told = done("score", *question, *arrivals, "--plan", "plan.json", "--software", stack)
        score = told.fields["score"]
        errors = [abs(math.log(score[name] / took[name])) for name in ("ttft_s", "tpot_s")]
        off.append(sum(errors))
    assert off[1] < off[0]
