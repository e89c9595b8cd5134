"""Cells: keys by content, and a row whatever happens."""

import ast
import shutil
from pathlib import Path

import pytest

import planner as pl
from planner.errors import InputError, UnknownNameError
from planner.studies.sweeps import cells
from planner.studies.sweeps.cells import (
    Cell,
    plan_chunk,
    price_list_version,
    pricing_sources,
    row_of,
    tasks_of,
)

HOME = Path(pl.__file__).parent
GRAPH = pl.load_model("llama-3.2-1b")
MACHINE = pl.load_topology("rtx-4090")
ONE = pl.Workload()


def task(*cell):
    return tasks_of([Cell(*cell)], time_limit_s=None, power_scope=None)[0]


def test_a_row_has_what_partition_finds():
    row, result = (
        row_of(task(GRAPH, MACHINE, ONE)),
        pl.partition(GRAPH, MACHINE, ONE, minimize="tpot_s"),
    )
    assert (row.status, row.value, row.bound) == (result.status, result.objective, result.bound)
    assert row.energy_per_token_j == result.score.energy_per_token_j
    assert (row.pipeline_parallel, row.replicas) == (1, 1)


def test_the_rate_that_was_asked_for_stands_beside_the_one_that_is_served():
    open_batch = row_of(task(GRAPH, MACHINE, ONE.replace(batch_size=None), "requests_per_s"))
    assert open_batch.asked_requests_per_s is None
    assert open_batch.value == open_batch.requests_per_s
    rate = 0.5 * open_batch.requests_per_s
    given = row_of(task(GRAPH, MACHINE, ONE.replace(batch_size=None, requests_per_s=rate), "chips"))
    assert given.asked_requests_per_s == given.requests_per_s == rate
    assert given.tokens_per_s_per_chip == pytest.approx(rate * ONE.output_tokens / given.chips)


def test_a_limit_with_a_unit_is_the_same_question():
    one, other = (
        task(GRAPH, MACHINE, ONE, "ttft_s", {"tpot_s": given}) for given in ("30 ms", 0.03)
    )
    assert one == other
    with pytest.raises(InputError, match=r"tpot_s.* is measured in seconds"):
        task(GRAPH, MACHINE, ONE, "ttft_s", {"tpot_s": "30 kg"})


def test_rates_are_made_most():
    assert row_of(task(GRAPH, MACHINE, ONE, "tokens_per_s")).value == pytest.approx(
        pl.partition(GRAPH, MACHINE, ONE, maximize="tokens_per_s").objective
    )


@pytest.mark.slow
def test_no_plan_is_a_result_with_its_sentence():
    row = row_of(task("llama-3.1-405b", MACHINE, ONE))
    assert row.status == "infeasible"
    assert "does not fit" in row.message
    assert row.value is None


def test_no_plan_in_time_is_told_apart():
    late = tasks_of([Cell(GRAPH, MACHINE, ONE)], time_limit_s=0.0, power_scope=None)[0]
    assert row_of(late).status == "no plan in time"


def test_a_wrong_question_and_our_own_faults_are_rows_too(monkeypatch):
    assert "diffusion" in row_of(task(GRAPH, MACHINE, ONE, "image_s")).message

    def broken(*_, **__):
        raise AssertionError("of ours")

    monkeypatch.setattr(cells, "partition", broken)
    row = row_of(task(GRAPH, MACHINE, ONE))
    assert (row.status, row.message) == ("error", "AssertionError: of ours")


def test_keys_follow_the_content_and_not_its_sources():
    key = task(GRAPH, MACHINE, ONE).key
    assert task("llama-3.2-1b", "rtx-4090", pl.Workload(batch_size=1)).key == key
    assert task(GRAPH.replace(source="elsewhere"), MACHINE.replace(title="another"), ONE).key == key
    others = (
        (GRAPH.replace(name="mine"), MACHINE, ONE),
        (GRAPH, pl.with_value(MACHINE, "power.chip_w", 400.0), ONE),
        (GRAPH, MACHINE, pl.Workload(batch_size=2)),
        (GRAPH, MACHINE, ONE, "ttft_s"),
        (GRAPH, MACHINE, ONE, "tpot_s", {"chips": 1}),
    )
    assert len({key, *(task(*other).key for other in others)}) == 6


def test_keys_follow_the_price_list(monkeypatch):
    key = task(GRAPH, MACHINE, ONE).key
    assert len(price_list_version()) == 32
    monkeypatch.setattr(cells, "price_list_version", lambda: "another")
    assert task(GRAPH, MACHINE, ONE).key != key


def imported(path):
    """Files of the package that a module imports at its top."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
            for name in names:
                place = HOME.parent.joinpath(*name.split("."))
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file() and HOME in file.parents and file.parent != HOME.parent:
                        yield file


@pytest.mark.slow
def test_the_price_list_is_every_file_that_a_plan_depends_on():
    """Names and files are read before: what they make is in the key by its content. Plans on
    clusters share the refusals, and make no row; the package itself only lists names."""
    elsewhere = {"catalogue", "readers", "schemas", "report"}
    reached, waiting = set(), [HOME / "planning" / "partitioning.py"]
    while waiting:
        path = waiting.pop()
        if path not in reached and path.relative_to(HOME).parts[0] not in elsewhere:
            reached.add(path)
            waiting += imported(path)
    priced = set(pricing_sources(HOME))
    forgotten = {path.relative_to(HOME).as_posix() for path in reached - priced}
    assert forgotten <= {"planning/clusters.py", "__init__.py"}
    assert len(reached) > 40


def test_the_price_list_is_no_file_that_shows_names_reads_or_calibrates():
    rooms = {path.relative_to(HOME).parts[0] for path in pricing_sources(HOME)}
    assert not rooms & {"report", "cli", "readers", "catalogue", "schemas", "calibration"}
    of_studies = [path for path in pricing_sources(HOME) if "studies" in path.parts]
    assert of_studies == [HOME / "studies" / "sweeps" / "cells.py"]


@pytest.mark.parametrize(
    ("file", "is_priced"),
    [
        ("pricing/price_list.py", True),
        ("solver/chain/labels.py", True),
        ("machines/topology.py", True),
        ("workload.py", True),
        ("planning/search.py", True),
        ("report/words.py", False),
        ("studies/sweeps/meters.py", False),
    ],
)
def test_a_changed_file_makes_another_price_list_where_it_prices(
    tmp_path, monkeypatch, file, is_priced
):
    home = tmp_path / "planner"
    shutil.copytree(HOME, home, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    monkeypatch.setattr(pl, "__file__", str(home / "__init__.py"))
    before = price_list_version.__wrapped__()
    (home / file).write_text("another = 1\n", encoding="utf-8")
    assert (price_list_version.__wrapped__() != before) == is_priced


def test_a_cell_given_twice_is_the_same_task():
    one, other = tasks_of(
        [Cell(GRAPH, MACHINE, ONE), Cell("llama-3.2-1b", "rtx-4090", ONE)],
        time_limit_s=None,
        power_scope=None,
    )
    assert one.key == other.key


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (("llama-3.2-1c", MACHINE, ONE), "llama-3.2-1b"),
        ((GRAPH, "rtx-4091", ONE), "rtx-4090"),
        ((GRAPH, MACHINE, ONE, "tpot"), "tpot_s"),
    ],
)
def test_a_wrong_name_is_refused_before_any_work(cell, words):
    with pytest.raises(UnknownNameError, match=words):
        task(*cell)


def test_a_cell_of_the_wrong_kind_is_refused():
    with pytest.raises(InputError, match="the workload of cell 0 cannot be 8"):
        task(GRAPH, MACHINE, 8)
    with pytest.raises(InputError, match="cell 0 must be"):
        tasks_of([3], time_limit_s=None, power_scope=None)


def test_a_chunk_ends_with_its_time_and_has_one_row_at_least(monkeypatch):
    chunk = tuple(
        task(GRAPH, MACHINE, pl.Workload(prompt_tokens=tokens)) for tokens in (100, 200, 300)
    )
    monkeypatch.setattr(cells, "CHUNK_S", 60.0)
    assert [key for key, _ in plan_chunk(chunk)] == [one.key for one in chunk]
    monkeypatch.setattr(cells, "CHUNK_S", 0.0)
    assert len(plan_chunk(chunk)) == 1


def test_a_question_in_another_space_is_another_cell_and_its_row_says_so():
    machine = pl.load_topology("hgx-h100", chips=3, software="vllm")
    graph = pl.load_model("llama-3.1-8b", weight_dtype="fp8")
    cell = Cell(graph, machine, pl.Workload(batch_size=2), "tpot_s", {"chips": 2.0})
    asked = {"time_limit_s": None, "power_scope": None}
    engine, free = (tasks_of([cell], **asked, space=space)[0] for space in ("engine", "any"))
    assert engine.key != free.key
    assert tasks_of([cell], **asked)[0].key == engine.key
    rows = row_of(engine), row_of(free)
    assert [row.space for row in rows] == ["engine", "any"]
    assert rows[0].value >= rows[1].value * (1 - 1e-9)
