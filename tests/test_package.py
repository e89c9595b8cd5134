"""The package as people get it: cheap to import, complete as a wheel, the same when editable."""

import ast
import graphlib
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: {Requirement(line).name for line in lines}
    for name, lines in PROJECT["optional-dependencies"].items()
}
FOR_DEVELOPERS = {"dev", "oracles", "mutants"}
MODULES_OF = {
    "nvidia-ml-py": {"pynvml"},
    "pyyaml": {"yaml"},
    "ipykernel": {"IPython"},
}
"""Where a distribution is not called as what it brings is."""
COMES_ALONG = {"pandas": "ortools", "pydantic_core": "pydantic", "anyio": "mcp"}
"""With which other."""
TOLD_ALONE = {"pyarrow"}
"""For one function, whose refusal says how to install it."""


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


@pytest.mark.slow
def test_a_model_is_printed_as_people_read_it_by_who_imports_the_catalogue_alone():
    command = "from planner.catalogue import load_model; print(load_model('llama-3.1-8b'))"
    assert run(sys.executable, "-c", command, cwd=ROOT) == f"{pl.load_model('llama-3.1-8b')}\n"


def texts_of_ours() -> dict[Path, str]:
    paths = [*(ROOT / "planner").rglob("*.py"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_extras_that_texts_tell_to_install_are_there():
    told = [
        (path.name, name)
        for path, text in texts_of_ours().items()
        for names in re.findall(r"spread-\s*planner\[([\w, -]+)\]", text)
        for name in re.split(r"\s*,\s*", names)
    ]
    assert len(told) > 10
    assert [(place, name) for place, name in told if name not in EXTRAS] == []


def foreign_modules(path: Path) -> set[str]:
    """What a module of ours imports, or looks for, that is neither ours nor Python's."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "find_spec", "package_at_hand"):
                found.add(str(node.args[0].value))
    tops = {name.partition(".")[0] for name in found}
    return tops - {*sys.stdlib_module_names, "planner"}


def modules_of(distributions: set[str]) -> set[str]:
    return {
        module
        for name in distributions
        for module in MODULES_OF.get(name, {name.replace("-", "_")})
    }


@pytest.mark.slow
def test_what_code_imports_is_a_dependency_or_in_an_extra_and_the_other_way_round():
    imported = {
        module for path in (ROOT / "planner").rglob("*.py") for module in foreign_modules(path)
    }
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    users = {name: names for name, names in EXTRAS.items() if name not in FOR_DEVELOPERS}
    wanted = base.union(*users.values())
    known = modules_of(wanted) | TOLD_ALONE
    known |= {module for module, along in COMES_ALONG.items() if along in wanted}
    assert imported - known == set()
    for name in set(users) - {
        "app",
        "notebook",
        "dask",
        "docs",
    }:  # what people start, or hand to us
        assert modules_of(users[name]) - imported == set(), name


def test_the_extra_for_developers_brings_what_tests_of_all_but_two_need():
    apart = {"run", "machines", *FOR_DEVELOPERS}  # PyTorch, and drivers of GPUs
    for name in set(EXTRAS) - apart:
        assert EXTRAS[name] - EXTRAS["dev"] == set(), name


def test_nothing_is_in_an_extra_that_is_there_anyway():
    base = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert {name: names & base for name, names in EXTRAS.items() if names & base} == {}
