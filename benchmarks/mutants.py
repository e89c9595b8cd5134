"""`python -m benchmarks.mutants [FOLDER …] [--each N] [--seed N]`: which small faults the tests of
a room notice.

mutmut puts the faults in: a comparison turned, a sign, a constant, an argument dropped. Here they
are sampled, so many from each module and always the same ones, and each meets only the tests of its
own room: those of the same folder below `tests/`. All that happens in a copy; the working tree is
not touched. Functions under a decorator (properties) and figures outside functions are left alone
by mutmut.
"""

import argparse
import ast
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cost", "pricing", "scoring", "solver/chain", "solver/dag")
NEEDED = ("planner", "tests", "topologies", "benchmarks")
UNTOUCHED = (r"^\s*raise ", "AssertionError")
"""Lines whose words no test needs to know."""
SURVIVED = 0
UNSEEN = (5, 33)
"""Exit codes of mutmut's runs: all tests passed; no test comes by."""
FATES = ("killed", "survived", "unseen")


class Mutant(NamedTuple):
    """One fault, and what became of it."""

    name: str
    path: Path
    exit_code: int

    @property
    def fate(self) -> str:
        if self.exit_code == SURVIVED:
            return "survived"
        return "unseen" if self.exit_code in UNSEEN else "killed"


def main(arguments: list[str] | None = None) -> None:
    """Sample, run, print."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.mutants", description="Which small faults the tests notice."
    )
    parser.add_argument(
        "folders", nargs="*", default=ROOMS, help="folders or modules below planner/"
    )
    parser.add_argument("--each", type=int, default=10, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--workers", type=int, default=2, help="mutants at the same time")
    options = parser.parse_args(arguments)
    heads = [f"{fate:>10}" for fate in FATES]
    print(f"{'module':<40}{''.join(heads)}{'share':>8}")
    for folder in options.folders:
        with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
            _room(Path(scratch), folder, options)


def _room(scratch: Path, folder: str, options: argparse.Namespace) -> None:
    """Mutate one room in a copy, and say what its tests noticed."""
    _copied(scratch, folder)
    # There is no such mutant: this makes them all, and tries none.
    _mutmut(scratch, "run", "none-yet")
    names = [name for path in _notes(scratch) for name in sampled(path, options.each, options.seed)]
    if not names:
        raise SystemExit(f"mutmut makes no mutants of planner/{folder}")
    _mutmut(scratch, "run", "--max-children", str(options.workers), *names)
    mutants = [mutant for mutant in _tried(scratch) if mutant.name in set(names)]
    for path in sorted({mutant.path for mutant in mutants}):
        _print_row(str(path), [mutant.fate for mutant in mutants if mutant.path == path])
    _print_row(f"all of {folder}", [mutant.fate for mutant in mutants])
    for mutant in mutants:
        if mutant.fate != "killed":
            print(described(scratch, mutant))
    print(flush=True)


def _copied(scratch: Path, folder: str) -> None:
    """What mutmut needs, set to one folder and to its mirror among the tests."""
    for name in NEEDED:
        shutil.copytree(ROOT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    is_module = folder.endswith(".py")
    parent, _, name = folder.rpartition("/")
    only = f"planner/{folder}" if is_module else f"planner/{folder}/*"
    tests = f"tests/{parent}/test_{name}" if is_module else f"tests/{folder}"
    settings = {
        "source_paths": ["planner"],
        "only_mutate": [only],
        "also_copy": list(NEEDED[2:]),
        "do_not_mutate_patterns": list(UNTOUCHED),
        "pytest_add_cli_args_test_selection": [tests],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (scratch / "pyproject.toml").write_text(
        "\n".join([project, "[tool.mutmut]", *lines, ""]), encoding="utf-8"
    )


def _mutmut(scratch: Path, *arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if "No module named mutmut" in done.stderr:
        raise SystemExit('mutmut is not installed: pip install -e ".[mutants]"')
    (scratch / "log.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    return done.stdout


def _notes(scratch: Path) -> list[Path]:
    """What mutmut wrote about each module."""
    return sorted((scratch / "mutants" / "planner").rglob("*.meta"))


def _codes(note: Path) -> dict[str, int | None]:
    """Exit codes by the name of the mutant; None before it was run."""
    codes: dict[str, int | None] = json.loads(note.read_text(encoding="utf-8"))["exit_code_by_key"]
    return codes


def sampled(note: Path, each: int, seed: int) -> list[str]:
    """Some of a module's mutants, the same ones for the same code and seed."""
    names = sorted(_codes(note))
    return random.Random(f"{note.name} {seed}").sample(names, min(each, len(names)))


def _tried(scratch: Path) -> Iterator[Mutant]:
    for note in _notes(scratch):
        path = note.relative_to(scratch / "mutants").with_suffix("")
        for name, code in _codes(note).items():
            if code is not None:
                yield Mutant(name, path, code)


def _print_row(title: str, fates: list[str]) -> None:
    counts = Counter(fates)
    cells = [f"{counts[fate]:>10}" for fate in FATES]
    share = counts["killed"] / len(fates)
    print(f"{title:<40}{''.join(cells)}{share:>8.0%}")


def described(scratch: Path, mutant: Mutant) -> str:
    """Where a mutant is, and what it changes."""
    changed = _mutmut(scratch, "show", mutant.name).splitlines()
    first = next(
        (
            int(line.split()[1].split(",")[0].lstrip("-"))
            for line in changed
            if line.startswith("@@")
        ),
        1,
    )
    body = [
        line for line in changed if line[:1] in ("-", "+", " ") and line[:3] not in ("---", "+++")
    ]
    before = next((number for number, line in enumerate(body) if line[0] != " "), 0)
    line = first_line(mutant) + first - 1 + before
    edits = [edit for edit in body if edit[0] != " "]
    return "\n".join([f"  {mutant.path}:{line}  {mutant.fate}", *(f"    {edit}" for edit in edits)])


def first_line(mutant: Mutant) -> int:
    """Where the function begins that was changed: `x_name__mutmut_1`, or
    `xǁClassǁname__mutmut_1`."""
    called = mutant.name.rpartition("__mutmut_")[0].rpartition(".")[2]
    names = called.split("ǁ")[1:] if "ǁ" in called else [called.removeprefix("x_")]
    node: ast.AST = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    for name in names:
        within = [
            child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name
        ]
        node = within[0] if within else node
    return getattr(node, "lineno", 1)


if __name__ == "__main__":
    main()
