"""`planner run` and `planner machine cores` as people call them."""

import csv
import json

import pytest

import planner as pl
from planner.cli import running as module
from planner.running.cores import Core
from planner.running.jobs import PhaseReport, RankReport
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
    monkeypatch.setattr(module, "measured_core", lambda repeats: CORE)
    monkeypatch.setattr(module, "check_extra", lambda: None)
    monkeypatch.setattr(module, "cores_at_hand", lambda: 2)


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
    monkeypatch.setattr(module, "Ranks", NoRanks)


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
    assert told == json.loads(whole.read_text())
    assert told["tokens"] == [[1, 2]]


def test_more_ranks_than_cores_are_warned_of(run, ranks, model):
    done = run("run", model, "--pipeline", "4", "--batch", "4")
    assert done.status == 0
    assert "4 ranks share 2 cores" in done.err


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


def test_without_pytorch_one_sentence_says_what_to_install(run, model, monkeypatch):
    monkeypatch.setattr("planner.running.launching.NEEDED", ("there_is_no_such_package",))
    assert "install the extra 'run'" in refused(run("run", model), 2)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "[1]", '{"a": 1'])
def test_a_config_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(pl.InputError, match=r"config.json (is not valid JSON|must hold)"):
        module.config_of(str(path))
