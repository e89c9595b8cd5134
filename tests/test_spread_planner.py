"""The module beside the package: the same names, and whose the package is."""

import subprocess
import sys
from pathlib import Path

import pytest

import planner
import spread_planner

ROOT = Path(planner.__file__).resolve().parent.parent


def elsewhere(folder: Path) -> Path:
    """A package `planner` of somebody else in a folder."""
    (folder / "planner").mkdir()
    (folder / "planner" / "__init__.py").write_text("whose = 'theirs'\n", encoding="utf-8")
    record = folder / "other_planner-2.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: other-planner\nVersion: 2.0\n")
    (record / "RECORD").write_text("planner/__init__.py,,\n")
    return folder


def test_it_gives_what_the_package_gives():
    assert spread_planner.__all__ == planner.__all__
    assert dir(spread_planner) == sorted(planner.__all__)
    assert spread_planner.partition is planner.partition
    assert spread_planner.Plan is planner.Plan
    assert spread_planner.__version__ == planner.__version__


def test_rooms_are_there_as_in_the_package():
    from planner import studies

    assert spread_planner.studies is studies


@pytest.mark.parametrize("name", ["partitions", "__path__"])
def test_a_name_that_is_not_there_is_missed_as_usual(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(spread_planner, name)


@pytest.mark.slow
def test_a_checkout_is_nobody_elses():
    assert ROOT == spread_planner.HOME
    assert spread_planner.owner() == f"planner ({ROOT / 'planner'}) is spread-planner's"


@pytest.mark.slow
def test_another_package_that_comes_first_is_named_with_who_installed_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(elsewhere(tmp_path)), *sys.path])
    said = spread_planner.owner()
    assert said.startswith(f"planner is {tmp_path / 'planner'}, of other-planner 2.0, and not")
    assert "a virtual environment of its own" in said


def test_no_package_at_all_is_said(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert spread_planner.owner() == (
        f"no package planner can be imported; spread-planner works from {ROOT}"
    )


@pytest.mark.slow
def test_the_command_says_whose_the_package_is(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spread-planner", "--owner"])
    spread_planner.main()
    assert capsys.readouterr().out == f"{spread_planner.owner()}\n"


@pytest.mark.slow
def test_it_comes_before_another_package_and_refuses_to_come_after_it(tmp_path):
    places = (
        f"import sys; sys.path[:0] = [{str(elsewhere(tmp_path))!r}]; sys.path += [{str(ROOT)!r}]"
    )
    first = (
        f"{places}; import spread_planner, planner; print(planner.__file__, spread_planner.owner())"
    )
    late = f"{places}; import planner, spread_planner"
    answer, refusal = (
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
        )
        for script in (first, late)
    )
    assert answer.stdout.startswith(
        f"{ROOT / 'planner' / '__init__.py'} planner is {tmp_path / 'planner'}, of other-planner 2.0,"
    )
    assert f"from {tmp_path / 'planner'} that is not spread-planner's" in refusal.stderr
    assert "ImportError: planner was imported before" in refusal.stderr
