"""`planner run` and `planner machine cores` as people call them."""

import csv
import json

import pytest

import planner as pl
from planner.cli import running as module
from planner.readers.run_file import read_run
from planner.running.cores import Core
from planner.running.jobs import PhaseReport, RankReport
from planner.running.launching import RunError
from tests.running.models import config_of, cut_plan
from tests.terminal import refused

CORE = Core((1e11,) * 3, (1e10,) * 3)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config_of()), encoding="utf-8")
    return str(path)


@pytest.fixture
def measured(monkeypatch):
    """A core without PyTorch."""
    monkeypatch.setattr("planner.running.cores.measured_core", lambda repeats: CORE)
    monkeypatch.setattr("planner.running.launching.check_extra", lambda: None)
    monkeypatch.setattr("planner.running.cores.cores_at_hand", lambda: 2)
    monkeypatch.setattr("planner.running.cores.busy_cores", lambda: 0.0)


class NoRanks:
    """Ranks that tell what a test says they do."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, job):
        phase = PhaseReport(cpu_s=1.0, wall_s=2.0, passes=1, moved_bytes=100.0)
        return [
            RankReport(
                stage=number,
                rank=number,
                weight_bytes=1e5,
                cache_bytes=1e4,
                prefill=phase,
                decode=phase,
                tokens=((1, 2),),
            )
            for number in range(len(job.stages))
        ]


@pytest.fixture
def ranks(monkeypatch, measured):
    monkeypatch.setattr("planner.running.launching.Ranks", NoRanks)


def test_a_core_becomes_a_machine(run, measured, tmp_path):
    out = tmp_path / "here.toml"
    done = run("machine", "cores", "--ranks", "4", "--out", str(out))
    assert done.status == 0, done.err
    assert pl.load_topology(out).chips == 4
    told = json.loads(run("machine", "cores", "--format", "json").out)
    assert told["machine"]["chips"] == 2


def test_what_a_run_took_stands_beside_its_price(run, ranks, model, tmp_path):
    saved = tmp_path / "rows.csv"
    done = run("run", model, "--pipeline", "2", "--batch", "2", "--save", str(saved))
    assert done.status == 0, done.err
    assert "PP2" in done.out
    assert "stage 1: CPU seconds, later tokens" in done.out
    rows = list(csv.DictReader(saved.read_text().splitlines()))
    assert [row["measured_decode_cpu_s"] for row in rows] == ["1.0", "1.0"]
    whole = tmp_path / "rows.json"
    done = run("run", model, "--batch", "2", "--save", str(whole), "--format", "json")
    told = json.loads(done.out)["run"]
    assert told["tokens"] == [[1, 2]]
    kept = read_run(whole)
    assert {**kept.run, "tokens": told["tokens"]} == told
    assert (kept.clock, kept.workload.batch_size, kept.request_s) == ("wall", 2, 4.0)


def test_a_run_that_was_kept_is_run_again_from_its_file(run, ranks, model, tmp_path):
    kept, again = tmp_path / "run.json", tmp_path / "again.json"
    machine = tmp_path / "here.toml"
    run("machine", "cores", "--ranks", "2", "--out", str(machine))
    shape = ("--batch", "2", "--output", "5")
    given = ("--pipeline", "2", "--machine", str(machine), *shape)
    assert run("run", model, *given, "--clock", "wall", "--save", str(kept)).status == 0
    assert read_run(kept).ttft_s == 2.0
    same = ("--plan", str(kept), "--machine", str(kept), *shape)
    done = run("run", str(kept), *same, "--clock", "wall", "--save", str(again))
    assert done.status == 0, done.err
    assert read_run(again).replace(run={}) == read_run(kept).replace(run={})


@pytest.mark.slow
def test_a_stack_that_was_calibrated_on_a_run_prices_the_next(run, ranks, model, tmp_path):
    kept, mine = tmp_path / "run.json", tmp_path / "mine.toml"
    run("run", model, "--batch", "2", "--output", "5", "--save", str(kept))
    done = run("calibrate", kept, "--software", "torch-gloo", "--out", mine)
    assert done.status == 0, done.err
    asked = ("run", str(kept), "--machine", str(kept), "--batch", "2", "--output", "5")
    before = json.loads(run(*asked, "--format", "json").out)["run"]["request_s"]
    done = run(*asked, "--software", str(mine), "--format", "json")
    after = json.loads(done.out)["run"]["request_s"]
    assert before["measured"] == after["measured"]
    # Made up ranks take seconds for what a core does in milliseconds.
    assert before["predicted"] < after["predicted"] < after["measured"]


class DeadRanks(NoRanks):
    def run(self, job):
        raise RunError("the run was ended, since rank 1 died")


def test_where_a_rank_dies_nothing_is_written(run, ranks, model, tmp_path, monkeypatch):
    monkeypatch.setattr("planner.running.launching.Ranks", DeadRanks)
    kept = tmp_path / "run.json"
    done = run("run", model, "--batch", "2", "--save", str(kept))
    assert "since rank 1 died" in done.err.splitlines()[-1]
    assert (done.status, done.out, "Traceback" in done.err) == (2, "", False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_more_ranks_than_cores_are_warned_of(run, ranks, model):
    done = run("run", model, "--pipeline", "4", "--batch", "4")
    assert done.status == 0
    assert "4 ranks share 2 cores" in done.err


def test_other_work_on_the_machine_is_warned_of(run, ranks, model, monkeypatch):
    assert "other work" not in run("run", model, "--batch", "2").err
    monkeypatch.setattr("planner.running.cores.busy_cores", lambda: 1.8)
    assert "other work keeps 1.8 of 2 cores busy" in run("run", model, "--batch", "2").err


def test_a_plan_of_a_file_is_run(run, ranks, model, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(cut_plan((1, 3)).to_json(), encoding="utf-8")
    done = run("run", model, "--plan", str(path))
    assert done.status == 0, done.err
    assert "2+4" in done.out
    both = run("run", model, "--plan", str(path), "--tensor", "2")
    assert "--plan and degrees" in refused(both, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("llama-3.1-8b",), "is no config.json"),
        (("MODEL", "--save", "rows.txt"), "must end in .csv or .json"),
        (("MODEL", "--machine", "hgx-h100"), "is of tensorrt-llm"),
        (("MODEL", "--data", "2", "--batch", "3"), "do not divide into 2 replicas"),
        (("MODEL", "--tensor", "3"), "does not divide"),
        (("MODEL", "--software", "vllm"), "--software vllm is of vllm; the runner is priced as"),
        (("MODEL", "--clock", "sun"), "--clock must be cpu or wall"),
        (
            ("MODEL", "--pipeline", "4", "--clock", "wall"),
            "4 ranks share 2 cores, so wall-clock times are wrong",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(run, ranks, model, given, words):
    done = run("run", *[model if word == "MODEL" else word for word in given])
    assert (done.status, done.out) == (2, "")
    assert words in done.err.splitlines()[-1]  # before it may stand that a core is measured


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_config_that_is_none_is_refused(run, ranks, tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    assert "broken.json" in refused(run("run", str(path)), 2)


def test_a_plan_for_other_chips_is_refused(run, ranks, model, tmp_path):
    path, kept = tmp_path / "plan.json", tmp_path / "run.json"
    machine = tmp_path / "here.toml"
    run("machine", "cores", "--ranks", "2", "--out", str(machine))
    path.write_text(cut_plan((1, 1, 1, 1)).to_json(), encoding="utf-8")
    given = ("--plan", str(path), "--machine", str(machine), "--save", str(kept))
    assert "uses chip 3, but here has chips 0 to 1" in refused(run("run", model, *given), 2)
    other = tmp_path / "other.json"
    other.write_text(cut_plan((2, 3)).to_json(), encoding="utf-8")
    given = ("--plan", str(other), "--machine", str(machine), "--save", str(kept))
    assert "decoder.4" in refused(run("run", model, *given), 2)
    assert not kept.exists()


def test_without_pytorch_one_sentence_says_what_to_install(run, model, monkeypatch, tmp_path):
    monkeypatch.setattr("planner.running.launching.NEEDED", ("there_is_no_such_package",))
    kept = tmp_path / "run.json"
    assert "install the extra 'run'" in refused(run("run", model, "--save", kept), 2)
    assert not kept.exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "[1]", '{"a": 1'])
def test_a_config_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(pl.InputError, match=r"config.json (is not valid JSON|must hold)"):
        module.config_of(str(path))
