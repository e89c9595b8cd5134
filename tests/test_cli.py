"""The command: answers on standard output, one sentence on standard error, and an exit status
that keeps its promise."""

import importlib
import json
import re
import subprocess
import sys

import pytest

import planner as pl
from planner import cli
from tests.terminal import SMALL, TOO_LONG, TOO_SMALL, Answer, refused


@pytest.mark.slow
def test_70_b_on_one_chip_is_infeasible_and_says_how_many_would_do(run):
    sentence = refused(run("plan", *TOO_SMALL), 3)
    # 79.19 GiB of an "80 GB" H100 are 79.19 × 1.0737 = 85.03 GB.
    assert "weights are 141 GB and the memory is 85 GB" in sentence
    promised = int(re.search(r"(\d+) chips are enough", sentence)[1])
    assert run("plan", *TOO_SMALL[:-1], promised).status == 0
    assert run("plan", *TOO_SMALL[:-1], promised - 1).status == 3


@pytest.mark.slow
def test_a_limit_that_nobody_can_keep_is_infeasible(run):
    assert "tpot_s cannot be under" in refused(run("plan", *SMALL, "--limit", "tpot_s=1e-6"), 3)


@pytest.mark.slow
def test_what_better_plans_would_break_is_told_in_both_formats(run):
    limit = ("--minimize", "usd_per_million_tokens", "--limit", "tpot_s=0.004")
    asked = ("plan", "llama-3.1-8b", "hgx-h100", "--batch", "8", *limit)
    text = run(*asked).out
    (miss, *_) = run(*asked, "--format", "json").fields["near_misses"]
    assert miss["broken"] == "tpot_s"
    assert miss["reached"] > miss["allowed"] == 0.004
    assert "near miss: " in text
    assert " % lower (" in text


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

    monkeypatch.setattr(pl, "partition", interrupted)
    assert run("plan", *SMALL) == Answer(130, "", "planner: stopped\n")


def test_a_fault_of_our_own_is_not_dressed_up_as_the_users(run, monkeypatch):
    def broken(*given, **options):
        raise AssertionError("our bug")

    monkeypatch.setattr(pl, "partition", broken)
    with pytest.raises(AssertionError, match="our bug"):
        run("plan", *SMALL)


def test_help_names_the_commands(run):
    answer = run("--help")
    assert answer.status == 0
    assert all(
        command in answer.out for command in ("plan", "score", "compare", "models", "topologies")
    )


def test_without_arguments_there_is_help_and_no_empty_sentence(run):
    answer = run()
    assert "Usage" in answer.out + answer.err
    assert "planner: \n" not in answer.err


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "status"), [(SMALL, 0), (TOO_SMALL, 3)])
def test_the_process_ends_with_the_status(arguments, status):
    command = [sys.executable, "-m", "planner", "plan", *arguments, "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == status
    assert ("error" in json.loads(ended.stdout)) == (status > 0)
    assert ended.stderr.count("\n") == (status > 0)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_list_says_of_a_command_what_it_says_itself(name):
    entry = cli.COMMANDS[name]
    found = getattr(importlib.import_module(f"planner.cli.{entry.module}"), entry.function)
    said = found.info.help if name == "machine" else found.__doc__
    assert " ".join(said.split("\n\n")[0].split()) == entry.help


@pytest.mark.slow
def test_the_list_of_commands_loads_none_of_them():
    code = (
        "import sys; sys.argv = ['planner', '--help']\n"
        "from planner.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = 'planner.catalogue planner.export planner.launches planner.detection numpy yaml torch'\n"
        "print([name for name in heavy.split() if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "disaggregate" in done.stdout


QUICK = (
    "plan",
    "compare",
    "size",
    "score",
    "cluster",
    "pareto",
    "what-if",
    "map",
    "replan",
    "export",
    "sweep",
    "audit",
    "validate",
    "calibrate",
    "machine",
    "run",
    "mcp",
)


@pytest.mark.slow
def test_the_help_of_a_command_loads_options_alone():
    """What takes long is loaded for a question, not for the words of one."""
    code = (
        "import sys\n"
        "from planner.cli import main\n"
        f"for name in {QUICK}:\n"
        "    sys.argv = ['planner', name, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "heavy = 'planner.catalogue planner.records planner.units planner.models.graph'\n"
        "heavy += ' planner.planning.partitioning planner.studies.study numpy ortools pandas'\n"
        "print([name for name in heavy.split() if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("Examples:") == len(QUICK)


def test_the_version_is_told(run):
    assert run("--version") == Answer(0, f"planner {pl.__version__}\n", "")
