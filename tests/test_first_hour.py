"""`docs/first_hour.md`: its seven jobs are done as it says, from the command line and from Python."""

import re
import shlex
from pathlib import Path

import pytest

import planner as pl
from tests.pages import DOCS, FENCE

TEXT = (DOCS / "first_hour.md").read_text(encoding="utf-8")
JOBS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
MOST_COMMANDS = 5


def title_of(job: str) -> str:
    return job.partition("\n")[0]


def parts_of(job: str, kind: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(job) if found["kind"] == kind]


def lines_of(job: str) -> list[str]:
    """Its commands, each on one line."""
    return "".join(parts_of(job, "sh")).replace("\\\n", " ").splitlines()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where the page's files lie."""
    monkeypatch.chdir(tmp_path)
    for name, text in re.findall(
        r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE
    ):
        Path(name).write_text(text, encoding="utf-8")
    return tmp_path


def test_there_are_seven_jobs_each_done_twice():
    assert len(JOBS) == 7
    for job in JOBS:
        assert 1 <= len(lines_of(job)) <= MOST_COMMANDS
        assert len(parts_of(job, "python")) == 1
        assert f"#{re.sub(r'[^a-z0-9 -]', '', title_of(job).lower()).replace(' ', '-')})" in TEXT


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS, ids=title_of)
def test_a_job_is_done_from_the_command_line(job, folder, run):
    for line in lines_of(job):
        answer = run(*shlex.split(line)[1:])
        assert answer.status == 0, answer.err
        assert answer.out


@pytest.mark.slow
def test_the_jobs_are_done_from_python(folder, run, capsys):
    run("plan", "llama-3.1-8b", "hgx-h100", "--chips", "1", "--batch", "8", "--out", "plan.json")
    known: dict = {}
    for job in JOBS:
        (block,) = parts_of(job, "python")
        exec(compile(block, title_of(job), "exec"), known)


@pytest.mark.slow
def test_the_page_tells_the_plan_that_it_gets(folder):
    graph = pl.load_model("llama-3.1-70b", weight_dtype="q4_k_m")
    found = pl.partition_cluster(graph, "cards.toml", pl.Workload(batch_size=1), minimize="tpot_s")
    for stage in found.plan.stages:
        assert f"{len(stage.layers)} layers on the {stage.pool} card" in TEXT
    assert f"{1e3 * found.objective:.0f} ms a token" in TEXT
