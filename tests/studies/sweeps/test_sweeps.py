"""Sweeps: the same table however it is made, and nothing lost on the way."""

import math
import sqlite3
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

import planner as pl
from benchmarks.sweeps import dask_cluster
from planner.errors import InputError, PlannerError, UnknownNameError
from planner.studies import Cell, Sweep, sweep
from planner.studies.sweeps import cells, meters, sweeps, workers

GRAPH = pl.load_model("llama-3.2-1b", weight_dtype="fp8")
MACHINE = pl.load_topology("rtx-4090")
LENGTHS = tuple(pl.Workload(prompt_tokens=tokens) for tokens in (100, 200, 300, 400, 500, 600))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "sweep.sqlite"


def swept(machine=MACHINE, workloads=LENGTHS, objectives="tpot_s", **options):
    told = []
    made = sweep(
        GRAPH, machine, workloads, objectives, **{"file": None, "progress": told.append} | options
    )
    return made, told[-1]


@pytest.fixture(scope="module")
def plain():
    return swept()[0]


def test_a_row_for_each_combination_in_the_order_of_what_was_asked():
    made, tally = swept(workloads=LENGTHS[1::-1], objectives=("ttft_s", "tpot_s"))
    assert [(row.prompt_tokens, row.objective) for row in made.rows] == [
        (100, "tpot_s"), (100, "ttft_s"), (200, "tpot_s"), (200, "ttft_s"),
    ]  # fmt: skip
    assert all(row.status == "optimal" for row in made.rows)
    assert (tally.cells, tally.planned, tally.done) == (4, 4, 4)


def test_cells_may_be_listed(plain):
    listed = [(GRAPH, "rtx-4090", workload) for workload in reversed(LENGTHS + LENGTHS[:2])]
    assert sweep(cells=listed, file=None, progress=False) == plain


@pytest.mark.slow
def test_every_executor_makes_the_same_table_byte_for_byte(plain, monkeypatch):
    with ThreadPoolExecutor(2) as threads:
        assert swept(executor=threads)[0].to_json() == plain.to_json()
    monkeypatch.setattr(workers, "PATIENCE_S", 0.0)
    monkeypatch.setattr(sweeps, "CHUNK_CELLS", 2)
    assert swept(processes=2)[0].to_json() == plain.to_json()


def test_a_chunk_that_is_long_is_cut(plain, monkeypatch):
    monkeypatch.setattr(cells, "CHUNK_S", 0.0)
    assert swept()[0] == plain


@pytest.mark.slow
def test_what_a_file_has_is_not_planned_again(plain, file):
    assert swept(workloads=LENGTHS[:4], file=file)[1].planned == 4
    made, tally = swept(file=file)
    assert (tally.reused, tally.planned) == (4, 2)
    assert made.to_json() == plain.to_json()
    assert swept(file=file, resume=False)[1].planned == 6


@pytest.mark.parametrize(
    "change",
    [
        "row = json_set(row, '$.value', 1e-9)",
        "row = json_set(row, '$.value', 1e-9), digest = NULL, key = key || 'x'",
        "row = 'no JSON', digest = NULL",
        "row = json_set(row, '$.key', 'another'), digest = NULL",
    ],
)
def test_a_row_that_is_not_what_its_key_says_is_planned_anew(plain, file, change):
    assert swept(file=file)[0] == plain
    with sqlite3.connect(file) as other:
        other.execute(f"UPDATE plans SET {change} WHERE key = (SELECT min(key) FROM plans)")
    other.close()
    made, tally = swept(file=file)
    assert made == plain
    assert tally.planned == 1
    assert len(tally.oldest) == len("2026-11-30")


@pytest.mark.slow
def test_a_changed_input_plans_only_what_depends_on_it(file):
    other = pl.load_topology("hgx-h100", chips=1)
    swept(machine=(MACHINE, other), file=file)
    made, tally = swept(
        machine=(pl.with_value(MACHINE, "chip.memory[0].bandwidth_bytes_per_s", 9e11), other),
        file=file,
    )
    assert (tally.reused, tally.planned) == (6, 6)
    before = {row.prompt_tokens: row.value for row in swept()[0].rows}
    assert all(
        row.value > before[row.prompt_tokens] for row in made.rows if row.topology == MACHINE.name
    )


@pytest.mark.slow
def test_cells_without_plan_and_with_errors_do_not_stop_the_rest(file):
    cells = [
        (GRAPH, MACHINE, LENGTHS[0]),
        ("llama-3.1-405b", MACHINE, LENGTHS[0]),
        (GRAPH, MACHINE, LENGTHS[0], "image_s"),
    ]
    for _ in range(2):
        told = []
        made = sweep(cells=cells, file=file, progress=told.append)
        assert sorted(row.status for row in made.rows) == ["error", "infeasible", "optimal"]
        assert (told[-1].infeasible, told[-1].failed) == (1, 1)
    assert told[-1].reused == 3


@pytest.mark.slow
def test_text_says_how_cells_ended():
    made = sweep(("llama-3.1-405b", GRAPH), MACHINE, LENGTHS[:2], file=None, progress=False)
    lines = str(made).splitlines()
    assert lines[0] == "4 cells: 2 infeasible, 2 optimal"
    assert lines[-1] == f"infeasible: {made.rows[0].message}"
    assert str(made.replace(left=3)).startswith("7 cells: 3 left undone, 2 infeasible, 2 optimal\n")


def test_ctrl_c_gives_what_is_done_and_the_next_call_the_rest(plain, file, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE_S", math.inf)  # cell by cell, however slow the machine
    monkeypatch.setattr(cells, "CHUNK_S", 0.0)
    monkeypatch.setattr(meters, "EVERY_S", 0.0)

    presses = iter((KeyboardInterrupt,))

    def pressed_once(tally):
        if tally.done == 2:
            for press in presses:
                raise press

    made = sweep(GRAPH, MACHINE, LENGTHS, file=file, progress=pressed_once)
    assert (len(made.rows), made.left) == (2, 4)
    assert set(made.rows) < set(plain.rows)
    again, tally = swept(file=file)
    assert (tally.reused, tally.planned) == (2, 4)
    assert again == plain


class Losing(Executor):
    """Loses every chunk that holds the shortest prompt."""

    def submit(self, work, chunk):
        future = Future()
        if any(task.workload == LENGTHS[0] for task in chunk):
            future.set_exception(workers.LostError("its process ended with status -9"))
        else:
            future.set_result(work(chunk))
        return future


def test_a_cell_that_kills_its_process_is_told_and_tried_again(plain, file):
    made, tally = swept(executor=Losing(), file=file)
    assert [row.status for row in made.rows] == ["lost", *["optimal"] * 5]
    assert made.rows[0].message == "LostError: its process ended with status -9"
    assert tally.failed == 1
    again, tally = swept(file=file)
    assert (tally.reused, tally.planned) == (5, 1)
    assert again == plain


def test_an_executor_that_broke_is_told_with_what_is_done(file):
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    with pytest.raises(PlannerError, match="stopped taking work after 0 cells"):
        swept(executor=threads, file=file)


def test_no_more_is_under_way_than_asked():
    class Counting(Executor):
        most = under_way = 0

        def submit(self, work, chunk):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            future = Future()
            future.add_done_callback(lambda _: setattr(self, "under_way", self.under_way - 1))
            future.set_result(work(chunk))
            return future

    engine = Counting()
    swept(executor=engine, in_flight=1)
    assert engine.most == 1


def test_the_table_is_open_to_others(plain, file):
    swept(file=file)
    with sqlite3.connect(file) as other:
        found = other.execute("SELECT tpot_s FROM sweep ORDER BY prompt_tokens").fetchall()
    other.close()
    assert [value for (value,) in found] == [row.value for row in plain.rows]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workloads": ()}, "at least one model"),
        ({"processes": 0}, "processes must be 1 to 4,096"),
        ({"processes": 10**6}, "processes must be 1 to 4,096, not 1000000"),
        ({"in_flight": 0}, "in_flight must be 1 to 4,096"),
        ({"processes": 2, "executor": Losing()}, "leave it out"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        swept(**options)


def test_a_table_goes_to_parquet_where_pyarrow_is(plain, tmp_path):
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install pyarrow"):
            plain.to_parquet(tmp_path / "t.parquet")
    else:
        plain.to_parquet(tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").stat().st_size > 0


def test_a_page_leaves_out_what_no_row_has(plain):
    page = plain._repr_html_()
    assert "tpot_s" in page
    assert not any(name in page for name in ("image_s", "message", plain.rows[0].key))


def test_a_picture_has_machines_and_models_apart(plain):
    figure = plain.plot("ttft_s", "energy_per_token_j")
    assert [trace.name for trace in figure.data] == ["llama-3.2-1b on rtx-4090"]
    assert list(figure.data[0].x) == [row.ttft_s for row in plain.rows]
    assert "[s]" in figure.layout.xaxis.title.text
    with pytest.raises(UnknownNameError, match="tpot_s"):
        plain.plot("tpot")


def test_json_gives_it_back(plain):
    assert Sweep.from_json(plain.to_json()) == plain


@pytest.mark.slow
def test_a_cluster_in_threads_makes_the_same_table(plain):
    distributed = pytest.importorskip("distributed")
    with (
        dask_cluster(n_workers=1, processes=False) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert swept(executor=client.get_executor())[0].to_json() == plain.to_json()


def test_a_cell_is_a_tuple_with_names():
    assert Cell(GRAPH, MACHINE, LENGTHS[0]).objective == "tpot_s"
