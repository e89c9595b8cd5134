"""What is released: wheel and source distribution, installed where nothing else is, and beside
another distribution that writes into the folder `planner`."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import planner as pl

ROOT = Path(__file__).resolve().parent.parent
PLAN = ("plan", "llama-3.1-8b", "hgx-h100", "--weights", "fp8", "--batch", "8", "--format", "json")
THEIRS = {
    # Of its files, those that llm-d-planner 0.3.3 installs over ours, and its command.
    "planner/__init__.py": "whose = 'theirs'\n",
    "planner/errors.py": "",
    "planner/cli/__init__.py": "",
    "planner/cli/planner_cli.py": "def main():\n    print('theirs')\n",
}
USED = """
import json, pickle, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import spread_planner as sp

def file_of(plan):
    import planner
    assert isinstance(plan, planner.Plan)
    return planner.__file__

if __name__ == "__main__":
    import planner
    from planner.studies.sweeps.workers import Processes

    graph, machine = sp.load_model("llama-3.1-8b"), sp.load_topology("hgx-h100")
    plan = sp.uniform_plan(graph, machine, tensor_parallel=8)
    assert pickle.loads(pickle.dumps(plan)) == plan
    with ProcessPoolExecutor(1, get_context("spawn")) as spawned:
        files = [planner.__file__, spawned.submit(file_of, plan).result()]
    with Processes(1) as workers:
        files.append(str(workers.submit(eval, "__import__('planner').__file__").result()))
    print(json.dumps([files, sp.score_plan(plan, graph, machine, sp.Workload()).tpot_s]))
"""
"""A script of somebody who has both: what is pickled, spawned and swept is ours."""


class Environment:
    """A virtual environment that has what we depend on, and nothing else."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / "bin"
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
        for entry in sorted(entries_of(needed("spread-planner"))):
            (self.site / entry.name).symlink_to(entry)

    def pip(self, *words: str | Path) -> None:
        """Install or remove, as people do, without a network."""
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
        self.answer(*pip, "--python", self.bin / "python", *words, "--quiet")

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-deps", "--no-index", "--no-compile", "--force-reinstall", wheel)

    def answer(self, *command: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """What a command of the environment says, started in an empty folder."""
        empty = self.bin.parent / "empty"
        empty.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
            env=kept,
        )
        assert done.returncode == status, done.stderr
        return done


def needed(name: str) -> set[str]:
    """The distributions that one of that name brings along, extras left out."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for line in metadata.requires(todo.pop()) or ():
            wanted = Requirement(line)
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            if applies and wanted.name.lower() not in found:
                found.add(wanted.name.lower())
                todo.append(wanted.name)
    return found


def entries_of(distributions: set[str]) -> set[Path]:
    """Their files and folders at the top of where they are installed."""
    found = set()
    for name in distributions:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        found |= {Path(str(distribution.locate_file(top))) for top in tops}
    return found


def built(folder: Path, *words: str) -> None:
    """Wheels and source distributions of this checkout, in that folder."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, *words, ROOT],
        check=True,
        capture_output=True,
    )


def written(folder: Path) -> Path:
    """The wheel of a distribution that has a package and a command of our names."""
    info = "llm_d_planner-9.9.dist-info"
    files = {
        **THEIRS,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: llm-d-planner\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nplanner = planner.cli.planner_cli:main\n",
    }
    rows = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"])
    wheel = folder / "llm_d_planner-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built(folder, "--wheel")
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("environment"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_twice_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        package = {name for name in names if name.startswith("planner/")}
        assert names == package | {f"spread_planner_files/{name}" for name in package} | {
            "spread_planner.py"
        }
        for name in package:
            assert archive.read(name) == archive.read(f"spread_planner_files/{name}")
    assert {
        "planner/topologies/hgx-h100.toml",
        "planner/catalogue/models.toml",
        "planner/schemas/plan.schema.json",
        "planner/py.typed",
    } <= package
    assert wheel.name == f"spread_planner-{pl.__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    built(tmp_path)  # the wheel is then built from the source distribution
    assert {path.suffix for path in tmp_path.iterdir()} == {".whl", ".gz"}
    (again,) = tmp_path.glob("*.whl")
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_it_works_where_nothing_but_its_dependencies_is_installed(wheel, environment):
    environment.install(wheel)
    assert "│ plan " in environment.answer("planner", "--help").stdout
    found = json.loads(environment.answer("planner", *PLAN).stdout)
    graph, machine = pl.load_model("llama-3.1-8b", weight_dtype="fp8"), pl.load_topology("hgx-h100")
    assert (
        found["objective"]
        == pl.partition(graph, machine, pl.Workload(batch_size=8), minimize="tpot_s").objective
    )
    refusal = environment.answer("planner", "run", "llama-3.1-8b", "--tensor", "2", status=2).stderr
    assert "pip install 'spread-planner[run]'" in refusal
    refusal = environment.answer("planner", "mcp", status=2).stderr
    assert "pip install 'spread-planner[mcp]'" in refusal
    counts = "import planner as pl; print(len(pl.topology_names()), len(pl.model_names()))"
    told = environment.answer("python", "-c", counts).stdout
    assert told == f"{len(pl.topology_names())} {len(pl.model_names())}\n"


@pytest.mark.slow
def test_beside_a_package_of_the_same_name_ours_answers_whichever_came_last(
    wheel, environment, tmp_path
):
    theirs = written(tmp_path)
    environment.install(theirs)
    environment.install(wheel)
    folder = environment.site / "planner"
    said = environment.answer("spread-planner", "--owner").stdout
    assert said.startswith(f"planner ({folder}) is spread-planner's, and llm-d-planner 9.9")
    assert "whichever of them is installed or removed next breaks the other" in said

    environment.install(theirs)
    assert environment.answer("planner").stdout == "theirs\n"
    answer = environment.answer("spread-planner", *PLAN)
    assert json.loads(answer.stdout)["status"] == "optimal"
    assert answer.stderr.startswith(
        f"planner ({folder}) is no longer spread-planner's: llm-d-planner 9.9 wrote over or removed"
        " 3 of its files (planner/__init__.py, planner/cli/__init__.py and planner/errors.py);"
    )
    assert "a virtual environment of its own" in answer.stderr

    environment.pip("uninstall", "--yes", "llm-d-planner")
    said = environment.answer("spread-planner", "--owner").stdout
    assert "somebody wrote over or removed 3 of its files" in said
    assert "pip install --force-reinstall --no-deps spread-planner" in said


@pytest.mark.slow
def test_what_is_pickled_spawned_and_swept_beside_another_package_is_ours(
    wheel, environment, tmp_path
):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.site)
    for name, text in THEIRS.items():
        (environment.site / name).write_text(text, encoding="utf-8")
    script = tmp_path / "used.py"
    script.write_text(USED, encoding="utf-8")
    files, tpot_s = json.loads(environment.answer("python", script).stdout)
    assert set(files) == {str(environment.site / "spread_planner_files/planner/__init__.py")}
    graph, machine = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=8)
    assert tpot_s == pl.score_plan(plan, graph, machine, pl.Workload()).tpot_s
    late = environment.answer("python", "-c", "import planner, spread_planner", status=1).stderr
    assert "ImportError: planner was imported before" in late


def test_the_changelog_has_the_version_with_its_date_below_what_is_to_come():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, second, *_ = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert first == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(pl.__version__)}\] - 20\d\d-\d\d-\d\d", second)
