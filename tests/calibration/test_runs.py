"""Tests of the mirror of runs: plans by their shape, tables read back, and what they hold."""

import pytest

from planner.calibration.runs import (
    KeptRun,
    Shape,
    asked_by,
    beside_price,
    median_run,
    plan_of,
    read_runs,
    repeats_of,
    runs_csv,
    shape_of,
)
from planner.running.jobs import PhaseReport, RankReport
from tests.running.models import cut_plan

RUNS = read_runs()


def kept(seconds, rank=0):
    phase = PhaseReport(cpu_s=seconds, wall_s=2 * seconds, passes=5, moved_bytes=100.0)
    report = RankReport(
        stage=0, rank=rank, weight_bytes=1e5, cache_bytes=1e4, prefill=phase, decode=phase
    )
    return KeptRun("dense", "machine", "held out", Shape((24,)), 4, 32, 6, (report,))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Shape((1, 3), 2, 2, 1, 3), "TP 2 EP 2, 1+3, 3 micro-batches"),
        (Shape((4,), replicas=2), "2 × TP 1, 4"),
        (Shape((2, 2), 2, replicas=2), "2 × TP 2, 2+2"),
    ],
)
def test_a_shape_is_a_plan_and_back(shape, words):
    plan = plan_of(shape)
    assert plan == cut_plan(*shape[:3], micro_batches=shape[4], replicas=shape[3])
    assert shape_of(plan) == shape
    assert str(shape) == words


def test_a_table_is_read_back(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(runs_csv([kept(1.0), kept(2.0)]))
    with path.open("a") as stream:
        stream.write(runs_csv([kept(3.0)], first=2))
    assert read_runs(path) == (kept(1.0), kept(2.0), kept(3.0))


def test_of_repeats_the_middle_is_taken():
    runs = [kept(1.0), kept(9.0), kept(2.0), kept(5.0)._replace(batch_size=8)]
    (alike, other) = repeats_of(runs)
    assert [len(alike), len(other)] == [3, 1]
    (report,) = median_run(alike).reports
    assert (report.prefill.cpu_s, report.decode.wall_s) == (2.0, 4.0)
    assert (report.decode.passes, report.decode.moved_bytes) == (5, 100.0)


def test_the_kept_runs_are_many_and_their_sorts_apart():
    sorts = {}
    for run in RUNS:
        sorts.setdefault(run.sort, set()).add(run.question)
    assert len(sorts["held out"]) >= 46
    assert not sorts["held out"] & sorts["fitted on"]
    assert {run.model for run in RUNS} == {"dense", "mixture"}
    for name in ("dense", "mixture"):
        run = next(run for run in RUNS if run.model == name)
        assert asked_by(run).graph.parameters > 3e8


@pytest.mark.parametrize("model", ["dense", "mixture"])
def test_bytes_of_kept_runs_are_those_of_their_prices(model):
    runs = [alike[0] for alike in repeats_of(RUNS) if alike[0].model == model]
    for run in runs[:: max(1, len(runs) // 12)]:
        found = beside_price(run)
        for pair in (found.prefill_moved_bytes, found.decode_moved_bytes):
            assert pair.predicted == pytest.approx(pair.measured, abs=0.5)
        for stage in found.stages:
            assert stage.held_bytes.ratio == pytest.approx(1.0, abs=0.001)


def test_another_stack_prices_the_same_run():
    run = RUNS[0]
    mine, other = beside_price(run), beside_price(run, "pytorch")
    assert mine.request_s.measured == other.request_s.measured
    assert mine.request_s.predicted != other.request_s.predicted
