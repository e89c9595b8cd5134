"""The package as people get it: cheap to import, complete as a wheel, the same when editable."""

import ast
import graphlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import planner as pl
from planner import records
from tests.lanes import spread

ROOT = Path(__file__).resolve().parent.parent
QUESTION = (
    "import json, planner as pl;"
    "r = pl.partition(pl.load_model('llama-3.1-8b'), pl.load_topology('hgx-h100'), pl.Workload(), minimize='tpot_s');"
    "print(json.dumps([pl.__file__, r.objective, len(pl.topology_names()), len(pl.model_names())]))"
)


PORTRAITS = """
import importlib, json, os, sys
import numpy, pydantic

def forms(module, name):
    record = getattr(importlib.import_module(module), name).model_construct()
    from planner import records
    return [form is not None for form in records._portrait_of(record)]

wrong = []
for module, wanted in json.load(sys.stdin).items():
    child = os.fork()
    if not child:
        status = 1
        try:
            status = int(any(forms(module, name) != told for name, told in wanted.items()))
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        wrong.append(module)
print(json.dumps(wrong))
"""
"""In a process that has imported nothing of ours, fork for each module of records, import it alone,
and ask in which forms each of its records shows itself; print those that are not as wanted."""


def run(*command: str, cwd: Path, given: str = "", **environment: str) -> str:
    answer = subprocess.run(
        command,
        cwd=cwd,
        input=given,
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


@pytest.mark.slow
def test_planning_a_chain_needs_no_import_of_ortools():
    command = QUESTION.replace("print(", "import sys; print('ortools' in sys.modules); print(")
    assert run(sys.executable, "-c", command, cwd=ROOT).startswith("False")


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_checkout_works_from_anywhere(tmp_path):
    origin, *_ = json.loads(run(sys.executable, "-c", QUESTION, cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert origin == str(ROOT / "planner" / "__init__.py")


@pytest.mark.slow
def test_the_module_runs_as_the_command_does():
    assert "llama-3.1-70b" in run(sys.executable, "-m", "planner", "models", cwd=ROOT)


def explicit_imports(path: Path, known: set[str]) -> set[str]:
    """The modules of ours that a module imports as it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    todo, found = list(tree.body), set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in inside}
        todo.extend(ast.iter_child_nodes(node))
    return found & known


@pytest.mark.slow
def test_any_module_can_be_imported_first():
    """No circle of imports: then each finds whole what it needs, whichever comes first."""
    paths = {module_of(path): path for path in (ROOT / "planner").rglob("*.py")}
    above = {name: explicit_imports(path, set(paths)) for name, path in paths.items()}
    assert sum(map(len, above.values())) > 300
    order = tuple(graphlib.TopologicalSorter(above).static_order())  # refuses a circle
    assert set(order) == set(paths)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@pytest.mark.slow
def test_records_show_themselves_alike_whatever_was_imported_first():
    for module in pkgutil.walk_packages(pl.__path__, "planner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = [kind for kind in records.portrait.registry if kind is not object]
    assert len(kinds) > 15
    asked: dict[str, dict[str, list[bool]]] = {}
    for kind in kinds:
        forms = records._portrait_of(kind.model_construct())
        told = asked.setdefault(kind.__module__, {})
        told[kind.__name__] = [form is not None for form in forms]
    few = dict(spread(asked.items(), min(8, len(asked))))
    wrong = run(sys.executable, "-c", PORTRAITS, cwd=ROOT, given=json.dumps(few))
    assert json.loads(wrong) == []


def test_a_model_is_printed_as_people_read_it_by_who_imports_the_catalogue_alone():
    command = "from planner.catalogue import load_model; print(load_model('llama-3.1-8b'))"
    assert run(sys.executable, "-c", command, cwd=ROOT) == f"{pl.load_model('llama-3.1-8b')}\n"
