"""No code runs that happens to lie in the folder that somebody works in."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
import planner
from benchmarks.commands import Goal, measured
from benchmarks.isolated import isolated
from planner import cli

ROOT = Path(planner.__file__).parent.parent
STARTERS = {"subprocess", "multiprocessing", "pty"}
STARTS = {"system", "popen", "execv", "execve", "execvp", "spawnv", "spawnl", "posix_spawn"}


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A working folder with a file for each module that a command needs; what they write when they
    are run."""
    ran = tmp_path / "ran"
    for name in ("json", "numpy", "typer", "pydantic", "planner", "benchmarks", "sitecustomize"):
        text = f"open({str(ran)!r}, 'a').write({name!r})\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return ran


@pytest.mark.slow
def test_commands_that_are_measured_run_our_code_alone(hostile):
    text = f"import json, numpy, planner; assert planner.__file__.startswith({str(ROOT)!r})"
    measured(Goal("one", ("-c", text), 1.0), runs=1)
    assert not hostile.exists()


def test_modules_of_benchmarks_are_those_of_the_checkout(hostile):
    done = subprocess.run(
        isolated("-m", "benchmarks.scores", "--help"), capture_output=True, text=True, check=True
    )
    assert "--rounds" in done.stdout
    assert not hostile.exists()


def test_the_command_looks_last_into_the_working_folder(hostile, monkeypatch):
    seen = []
    monkeypatch.setattr(cli, "main", lambda: seen.append([*sys.path]))
    kept = [*sys.path]
    monkeypatch.setattr(sys, "path", ["", *kept])
    runpy.run_module("planner.__main__", run_name="__main__")
    assert seen == [[*kept, ""]]


def started_in(source: Path) -> bool:
    """Whether a module can start a process."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import) and STARTERS & {one.name for one in node.names}:
            return True
        if isinstance(node, ast.ImportFrom) and node.module in STARTERS:
            return True
        if isinstance(node, ast.Attribute) and node.attr in STARTS:
            return True
    return False


NO_PYTHON = "engine_guard.py"
"""What starts the programs of an engine alone."""


@pytest.mark.slow
def test_benchmarks_start_processes_isolated():
    """Each that starts one, with what makes it isolated."""
    sources = sorted(Path(benchmarks.__file__).parent.rglob("*.py"))
    starting = [source for source in sources if started_in(source) and source.name != NO_PYTHON]
    assert len(starting) >= 4
    for source in starting:
        text = source.read_text(encoding="utf-8")
        assert "isolated(" in text or '"-P"' in text, source.name
        assert "PYTHONPATH" not in text, source.name
