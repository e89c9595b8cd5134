"""What a shell completes is what the catalogue has, found without loading it."""

import os
import subprocess
import sys

import pytest

import planner as pl
from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.cli import completing
from planner.cli.completing import completion
from planner.export.exporting import ENGINES
from tests.terminal import refused


def test_names_are_those_of_the_catalogue():
    assert completing.model_names("") == sorted(pl.model_names())
    assert completing.machine_names("") == sorted(pl.topology_names())
    assert completing.cluster_names("") == sorted(pl.cluster_names())
    assert completing.software_names("") == sorted(pl.software_names())
    assert completing.engine_names("") == sorted(ENGINES)


def test_fields_are_those_that_can_be_asked_for():
    asked = ASKED | SAMPLE_FIELDS
    assert completing.field_names("") == sorted(asked)
    assert {name for name, one in asked.items() if one.best == "most"} == set(completing.MOST)
    assert completing.limit_names("tpot_p9") == ["tpot_p90_s=", "tpot_p95_s=", "tpot_p99_s="]


def test_a_beginning_is_gone_on_from_whatever_its_case():
    assert completing.machine_names("HGX-H1") == ["hgx-h100"]
    assert completing.entry_names("zzz") == []


def completed(line):
    """What a shell is told of a line, and which heavy modules that loaded."""
    words = line.split(" ")
    code = (
        "import sys; sys.argv = ['planner']\n"
        "from planner.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = 'planner.catalogue planner.models planner.planning numpy ortools yaml'\n"
        "print([name for name in heavy.split() if name in sys.modules], file=sys.stderr)"
    )
    asked = {
        "_PLANNER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | asked,
    )
    assert done.stderr.strip() == "[]"
    return done.stdout.split()


@pytest.mark.slow
def test_a_shell_is_told_names_and_nothing_heavy_is_loaded():
    assert completed("planner plan llama-3.1-8b hgx-b") == ["hgx-b200", "hgx-b300"]


def test_scripts_are_printed_for_shells(run):
    assert "_PLANNER_COMPLETE=complete_bash" in run("completion", "bash").out
    assert "complete --command planner" in run("completion", "fish").out
    assert "must be bash, zsh or fish" in refused(run("completion", "tcsh"), 2)


def test_a_script_is_for_the_command_that_prints_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/spread-planner", "completion", "fish"])
    completion("fish")
    script = capsys.readouterr().out
    assert "complete --command spread-planner" in script
    # The variable that both commands are asked by.
    assert "env _PLANNER_COMPLETE=" in script
