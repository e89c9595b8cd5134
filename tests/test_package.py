"""The package as people get it: cheap to import, complete as a wheel, the same when editable."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import planner as pl

ROOT = Path(__file__).resolve().parent.parent
QUESTION = (
    "import json, planner as pl;"
    "r = pl.partition(pl.load_model('llama-3.1-8b'), pl.load_topology('hgx-h100'), pl.Workload(), minimize='tpot_s');"
    "print(json.dumps([pl.__file__, r.objective, len(pl.topology_names()), len(pl.model_names())]))"
)


def run(*command: str, cwd: Path, **environment: str) -> str:
    answer = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_everything_promised_is_there():
    assert all(getattr(pl, name) is not None for name in pl.__all__)
    assert set(pl.__all__) <= set(dir(pl))


def test_a_name_that_is_not_there_is_missed_as_usual():
    with pytest.raises(AttributeError, match="no attribute 'partitions'"):
        _ = pl.partitions


@pytest.mark.parametrize(
    "package", ["ortools", "networkx", "pandas", "plotly", "matplotlib", "rich", "typer"]
)
def test_importing_is_cheap(package):
    loaded = run(
        sys.executable, "-c", "import sys, planner; print(' '.join(sys.modules))", cwd=ROOT
    )
    assert package not in loaded.split()


def test_planning_a_chain_needs_no_import_of_ortools():
    command = QUESTION.replace("print(", "import sys; print('ortools' in sys.modules); print(")
    assert run(sys.executable, "-c", command, cwd=ROOT).startswith("False")


def test_the_wheel_holds_the_catalogue_and_works_in_an_empty_directory(tmp_path):
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(ROOT),
        cwd=tmp_path,
    )
    (wheel,) = (tmp_path / "dist").glob("spread_planner-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "planner/topologies/hgx-h100.toml" in names
    assert "planner/catalogue/models.toml" in names
    assert "planner/schemas/plan.schema.json" in names
    assert "planner/py.typed" in names
    assert not any(name.startswith("tests") for name in names)
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    origin, objective, topologies, models = json.loads(
        run(sys.executable, "-c", QUESTION, cwd=empty, PYTHONPATH=str(site))
    )
    assert origin == str(site / "planner" / "__init__.py")
    graph, topology = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100")
    assert objective == pl.partition(graph, topology, pl.Workload(), minimize="tpot_s").objective
    assert (topologies, models) == (len(pl.topology_names()), len(pl.model_names()))


def test_a_checkout_works_from_anywhere(tmp_path):
    origin, *_ = json.loads(run(sys.executable, "-c", QUESTION, cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert origin == str(ROOT / "planner" / "__init__.py")


def test_the_module_runs_as_the_command_does():
    assert "llama-3.1-70b" in run(sys.executable, "-m", "planner", "models", cwd=ROOT)
