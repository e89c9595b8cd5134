"""Sweeps, audits and calibrations from the command line."""

import json
import shutil

import pytest

from planner import catalogue
from tests.terminal import refused


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


@pytest.mark.slow
def test_shipped_constants_are_fitted_again_and_reported(run, catalogue_copy):
    stack = catalogue_copy / "software" / "distributed-llama.toml"
    before = stack.read_text(encoding="utf-8")
    stack.write_text(before.replace('"12 rows"', '"9 rows"'), encoding="utf-8")
    answer = run("calibrate", "--shipped", "--software", "distributed-llama", "--format", "json")
    assert answer.status == 0
    after = stack.read_text(encoding="utf-8")
    assert '"9 rows"' not in after
    assert after.count('"12 rows"') == before.count('"12 rows"') == 2
    # One stack alone leaves its intervals as they are: they depend on the rows of all.
    assert after.partition("[residual]")[2] == before.partition("[residual]")[2]
    (fitted,) = answer.fields
    assert fitted["stack"] == "distributed-llama"
    assert "median error" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a CSV of measurements or results of tools, and --out FILE or --to-csv FILE, or"),
        (("mine.csv",), "and --out FILE or --to-csv FILE"),
        (("mine.csv", "--shipped"), "--shipped alone"),
        (("--shipped", "--software", "nobody"), "no recipe called 'nobody'"),
    ],
)
def test_a_calibration_of_nothing_is_refused(run, arguments, words):
    assert words in refused(run("calibrate", *arguments), 2)


@pytest.mark.slow
def test_a_sweep_is_read_from_a_file_kept_and_gone_on_with(run, tmp_path):
    spec, kept, out = (tmp_path / name for name in ("spec.toml", "kept.sqlite", "table.csv"))
    spec.write_text(
        'models = ["llama-3.2-1b"]\ntopologies = ["rtx-4090"]\n[[workload]]\nbatch_size = [1, 2]\n'
    )
    for found in ("", "2 found in the file (the oldest of 20"):
        status, printed, said = run("sweep", spec, "--file", kept, "--out", out)
        assert status == 0
        assert found in said
        assert bool(said) == bool(found)
        lines = printed.splitlines()
        assert lines[0] == "2 cells: 2 optimal"
        assert lines[1].startswith("in all of them: model llama-3.2-1b, weights bf16, machine rtx-")
        assert lines[3].split()[:4] == ["batch", "asked", "status", "value"]
        assert [line.split()[:2] for line in lines[5:7]] == [["1", "optimal"], ["2", "optimal"]]
        assert lines[7].startswith("not shown: ")
        assert "--out FILE writes all as CSV" in lines[7]
        assert max(map(len, lines[3:7])) <= 120
    assert out.read_text().count("llama-3.2-1b") == 2
    status, printed, _ = run("sweep", spec, "--file", kept, "--format", "json")
    assert [row["asked_batch_size"] for row in json.loads(printed)["rows"]] == [1, 2]


def test_claims_of_a_file_are_audited(run, tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text('[[claim]]\nname = "watts"\ntopology = "hgx-h100"\npower_w = 350\n')
    answer = run("audit", path)
    assert answer.status == 0
    assert [word in answer.out for word in ("what it says", "watts", "2×")] == [True] * 3
    assert run("audit", path, "--format", "json").fields["rows"][0]["factor"] == 2
