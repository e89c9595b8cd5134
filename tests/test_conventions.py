"""The rules of the house, enforced: mirror, names, numbers, sizes, sources."""

import ast
import functools
import inspect
import json
import os
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import planner as pl
from planner import catalogue
from planner.records import Record

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "planner"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
UNITS = (
    "_s", "_bytes", "_bytes_per_s", "_bytes_per_token", "_bytes_per_chip", "_flop_per_s", "_flop", "_w", "_j", "_usd", "_hour",
    "_years", "_fraction", "_streams", "_efficiency", "_share", "_tokens", "_parallel", "_chips",
    "_half_width", "_per_million_tokens", "_per_s_per_user", "_per_token_j", "_size", "_mm2", "_m2", "_parameters",
)  # fmt: skip
COUNTED = {
    "units", "chips", "count", "first", "layers", "experts", "heads", "matrices", "inputs", "outputs", "width", "vocabulary",
    "engine_objective", "offloaded_layers", "sure", "rounds", "handed_rounds",
    "wraps_from", "most_ranks", "most_chips", "most_sequences", "kv_heads", "experts_active", "hidden", "weights", "kernels",
    "uniform_gap",
    "gap", "bound", "objective", "demand", "capacity", "parameters", "parameters_active", "value", "micro_batches", "most_ways",
    "schema_version", "users", "first_chip", "boxes_done", "boxes_open", "params", "second", "window", "advantage", "batch_size",
    "hidden_size", "density", "acceptance_rate", "pue", "utilisation", "within",
    "tokens_factor", "half_width", "before", "after", "effect", "median_before", "median_after", "median", "p90", "bias",
    "slope", "most_stages", "weight_block",
    "covered", "left_out", "fitted", "strength", "scale", "compute_activity", "memory_activity", "tolerance", "checked_bound",
    "again_bound",
    "low", "high", "swing", "low_objective", "high_objective", "low_effect", "high_effect", "now", "target",
    "factor", "speed_up", "latency_exponent", "ends_at_parameters", "last", "years", "layer_occupancy",
    "handover_rounds", "allowed", "reached", "beyond", "cores", "rack_units", "claimed", "mean_sequences",
    "predicted", "measured",
}  # fmt: skip
"""Numbers without a unit: counts, and figures in the unit of another field."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """A module, parsed once for all rules."""
    return ast.parse(path.read_text(encoding="utf-8"))


def has_logic(path: Path) -> bool:
    tree = tree_of(path)
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_its_tests(path):
    if not has_logic(path):
        return
    inside = path.relative_to(PACKAGE)
    wanted = (
        inside.parent / f"test_{inside.name}"
        if inside.name != "__init__.py"
        else Path(f"test_{inside.parent.name}.py")
    )
    if inside == Path("__init__.py"):
        wanted = Path("test_package.py")
    assert (ROOT / "tests" / wanted).is_file(), f"tests/{wanted} is missing"


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=name_of)
def test_every_test_file_mirrors_a_module_or_a_rule(path):
    inside = path.relative_to(ROOT / "tests")
    module = PACKAGE / inside.parent / inside.name.removeprefix("test_")
    of_all = {
        "test_conventions.py",
        "test_commands_page.py",
        "test_engines_page.py",
        "test_first_hour.py",
        "test_export_page.py",
        "test_machines_of_2026.py",
        "test_machines_page.py",
        "test_loop_page.py",
        "test_measurements_page.py",
        "test_method.py",
        "test_models_page.py",
        "test_objections_page.py",
        "test_promises.py",
        "test_release.py",
        "test_round_trip.py",
        "test_running_page.py",
        "test_site.py",
        "test_engine_plans.py",
        "test_every_plan.py",
        "test_properties.py",
        "test_spread_planner.py",
        "test_startups.py",
        "test_package.py",
        "test_notebooks.py",
        "test_pages.py",
        "test_readers_agree.py",
        "test_readers_survive.py",
        "test_absurd.py",
        "test_bounds.py",
        "test_unlike_plans.py",
    }
    of_benchmarks = ROOT / "benchmarks" / inside.name.removeprefix("test_")
    assert (
        module.is_file()
        or module.with_suffix("").is_dir()
        or of_benchmarks.is_file()
        or inside.name in of_all
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_what_a_module_is_about(path):
    assert path.stem not in {"utils", "util", "common", "helpers", "misc", "base", "core"}
    tree = tree_of(path)
    assert ast.get_docstring(tree), "a module says in one line what it is"
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert path.stem not in public


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short_and_public_ones_explained(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.FunctionDef):
            continue
        length = (node.end_lineno or 0) - node.lineno + 1
        if path.stem != "cli":  # the options of a command are its arguments
            assert length <= 60, f"{node.name} has {length} lines"


def test_public_names_have_docstrings():
    for name in pl.__all__:
        assert inspect.getdoc(getattr(pl, name)), name


def test_ortools_is_imported_in_the_solver_only():
    for path in MODULES:
        if PACKAGE / "solver" not in path.parents:
            assert not re.search(
                r"^\s*(from|import) ortools", path.read_text(encoding="utf-8"), re.MULTILINE
            ), path.name


def test_the_solver_and_the_cost_core_know_nothing_of_ours_above_them():
    for folder in ("solver", "cost"):
        for path in (PACKAGE / folder).rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if re.match(r"from planner\.|import planner", line):
                    known = rf"from planner\.({folder}|errors)\b"
                    assert re.match(known, line), f"{path.name}: {line}"


def test_the_page_for_contributors_has_the_floors_of_the_contract():
    """Neither leads: what moves in one moves in the other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| floor |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    drawn = [set(re.findall(r"`(\w+)`", cell)) for cell in rows]
    assert drawn == [set(re.findall(r"\w+", floor)) for floor in floors]


def records() -> list[type[Record]]:
    for path in MODULES:
        if path.stem != "__main__":
            import_module(name_of(path))
    found, todo = [], [Record]
    while todo:
        for child in todo.pop().__subclasses__():
            found.append(child)
            todo.append(child)
    return sorted(
        (record for record in found if record.__module__.startswith("planner")),
        key=lambda one: one.__name__,
    )


def test_numbers_carry_their_unit_in_their_name():
    for record in records():
        for name, field in record.model_fields.items():
            if (
                "float" in str(field.annotation)
                and "tuple" not in str(field.annotation)
                and "dict" not in str(field.annotation)
            ):
                known = (
                    name in COUNTED or any(name.endswith(unit) for unit in UNITS) or "_per_" in name
                )
                assert known, f"{record.__name__}.{name} has no unit"


def test_records_are_frozen_and_hold_no_lists():
    for record in records():
        assert record.model_config["frozen"], record.__name__
        assert record.model_config["extra"] == "forbid", record.__name__
        for name, field in record.model_fields.items():
            assert not str(field.annotation).startswith("list"), f"{record.__name__}.{name}"


def test_cost_functions_end_in_their_unit_and_cite():
    endings = (
        "_s",
        "_bytes",
        "_j",
        "_w",
        "_usd",
        "_fraction",
        "_chips",
        "_sequences",
        "_flop_per_s",
        "_flop_per_byte",
        "_tokens",
    )
    for path in (PACKAGE / "cost").glob("*.py"):
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith(("_", "steps_of")):
                assert node.name.endswith(endings), node.name
                docstring = ast.get_docstring(node) or ""
                assert re.search(r"\[[A-Za-z0-9/]+\]\s*$", docstring), f"{node.name} says no unit"


@pytest.mark.slow
def test_every_figure_of_the_catalogue_has_a_source_that_is_explained():
    known = catalogue.sources()
    for name in catalogue.topology_names():
        topology = catalogue.load_topology(name)
        assert topology.figures
        for figure in topology.figures:
            assert figure.source in known, f"{name}: {figure.path} cites {figure.source}"
            assert figure.confidence


@pytest.mark.slow
def test_every_model_of_the_catalogue_has_a_source():
    for name in catalogue.model_names():
        graph = catalogue.load_model(name)
        assert graph.source
        assert graph.confidence


def test_nothing_speaks_of_a_machine_or_a_person():
    forbidden = re.compile(r"/(home|root|work|tmp)/|localhost|https?://\d")
    # It is the name by which a server knows that it is asked from the machine that it runs on.
    allowed = {PACKAGE / "doors" / "web" / "gate.py": 'LOOPBACK_NAMES = ("localhost",)'}
    for path in [
        *MODULES,
        *ROOT.glob("*.md"),
        ROOT / "pyproject.toml",
        ROOT / "Makefile",
        *(ROOT / "topologies").rglob("*.toml"),
    ]:
        text = path.read_text(encoding="utf-8").replace(allowed.get(path, "\0"), "")
        assert not forbidden.search(text), path.name


CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "now"}
"""Functions of `time` and `datetime` that tell the wall's time."""
WALL_FIGURES = {"elapsed_s", "wall_s", "took_s"}
ORDER = ast.Lt | ast.LtE | ast.Gt | ast.GtE


def sources_of_tests() -> list[tuple[str, str]]:
    """Every test file and every notebook, as Python."""
    found = [(name_of(path), path.read_text(encoding="utf-8")) for path in TESTS]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found.append((path.name, "\n".join(code)))
    return found


def tells_wall_time(node: ast.AST, timed: set[str]) -> bool:
    """Whether an expression asks a clock, or has a name in it that does."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in timed:
            return True
        if not isinstance(part, ast.Call):
            continue
        asked = part.func
        if isinstance(asked, ast.Attribute) and asked.attr in CLOCKS:
            return getattr(asked.value, "id", "") in {"time", "datetime"}
        if isinstance(asked, ast.Name) and asked.id in CLOCKS - {"time", "now"}:
            return True
    return False


def names_of_wall_times(tree: ast.AST) -> set[str]:
    """Names that are assigned a time of the wall's clock, directly or through one another."""
    timed: set[str] = set()
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    while True:
        before = len(timed)
        for node in assignments:
            if tells_wall_time(node.value, timed):
                timed |= {
                    part.id
                    for target in node.targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name)
                }
        if len(timed) == before:
            return timed


def names_a_wall_figure(node: ast.AST) -> bool:
    return any(getattr(part, "attr", "") in WALL_FIGURES for part in ast.walk(node))


def wall_comparisons(source: str) -> list[int]:
    """The lines that compare what a clock on the wall says."""
    tree = ast.parse(source)
    timed = names_of_wall_times(tree)
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        figures = [names_a_wall_figure(side) for side in sides]
        is_measured = any(isinstance(one, ORDER) for one in node.ops) and any(figures)
        if any(tells_wall_time(side, timed) for side in sides) or is_measured:
            lines.append(node.lineno)
    return lines


@pytest.mark.slow
def test_no_test_and_no_notebook_measures_by_the_clock_on_the_wall():
    """How long something takes depends on what else the machine does: bound CPU seconds
    (`time.process_time`) or count work, and leave wall times to `benchmarks/`."""
    for name, source in sources_of_tests():
        if any(word in source for word in CLOCKS | WALL_FIGURES):
            assert not wall_comparisons(source), f"{name}, lines {wall_comparisons(source)}"


@pytest.mark.parametrize(
    "source",
    [
        "begin = time.monotonic()\nassert time.monotonic() - begin < 3",
        "begin = time.perf_counter()\ntook = time.perf_counter() - begin\nassert took < 3",
        "until = time.time() + 9\nwhile time.time() < until: pass",
        "begin = perf_counter()\nassert 3 > perf_counter() - begin",
        "assert result.elapsed_s < 3",
        "assert 0 < 2 * result.elapsed_s",
    ],
)
def test_measuring_by_the_wall_is_seen(source):
    assert wall_comparisons(source)


@pytest.mark.parametrize(
    "source",
    [
        "begin = time.process_time()\nassert time.process_time() - begin < 3",
        "assert result.elapsed_s == read.elapsed_s",
        "assert score.tpot_s < 3",
    ],
)
def test_counting_work_is_not_taken_for_it(source):
    assert not wall_comparisons(source)


@pytest.mark.slow
def test_examples_are_drawn_as_the_profile_says():
    """The profiles in `conftest.py` draw alike every time, and let an example take its time; a test
    may say how many it wants."""
    ours = {"deadline", "derandomize", "database", "print_blob", "phases"}
    for path in TESTS:
        if path.name == "conftest.py" or "settings(" not in path.read_text(encoding="utf-8"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "settings":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert not ours & given.keys(), f"{name_of(path)}, line {node.lineno}"
                checks = given.get("suppress_health_check", "too_slow")
                assert "too_slow" in checks, f"{name_of(path)}, line {node.lineno}"


def test_the_same_commit_draws_the_same_examples():
    if os.environ.get("HYPOTHESIS_PROFILE") == "explore":
        pytest.skip("explores")
    assert settings.default.derandomize
    assert settings.default.database is None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
    numbers = {name_of(path) for path in MODULES if path.stem != "__main__"} - set(sys.modules)
    assert not numbers, "Hypothesis draws from modules: all must be there from the first test on"
