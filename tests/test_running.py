"""Tests of the mirror of the benchmark of runs: its cases, its fit, its picks and how sure a stack
is."""

import json

import pytest

from benchmarks.running import (
    Bench,
    cases,
    fitted,
    kind_of,
    mixture_cases,
    picks,
    picks_table,
    summary,
    sureness,
)
from planner.calibration.runs import Shape, plan_of
from planner.detection.toml_writing import toml_text
from planner.running.comparing import predicted
from planner.running.cores import Core, machine_of_cores
from planner.running.jobs import PhaseReport, RankReport
from tests.running.models import config_of


@pytest.fixture
def bench(tmp_path):
    model, machine = tmp_path / "dense.json", tmp_path / "machine.toml"
    model.write_text(json.dumps(config_of()))
    fields = machine_of_cores(Core((1e11,), (1e10,)), "here", 4, 4e9, "a processor")
    machine.write_text(toml_text(fields))
    return Bench(model, machine, tmp_path / "rows.csv")


def ran(bench, case, topology, late=1.0):
    """Ranks that take what another stack's figures say, or so many times longer."""
    asked = bench.question(case, topology)
    plan = plan_of(case.shape)
    priced = predicted(plan, asked)
    moved = [total / plan.chips for total in priced.moved_bytes(plan, asked.graph)]
    reports = []
    for replica in range(plan.replicas):
        for number, stage in enumerate(plan.stages):
            held = priced.score.stages[number]
            phases = [
                PhaseReport(cpu_s=late * cpu_s, wall_s=late * cpu_s, moved_bytes=each)
                for cpu_s, each in zip(priced.cpu_s(number), moved, strict=True)
            ]
            for _ in range(stage.tensor_parallel):
                reports.append(
                    RankReport(
                        stage=number,
                        rank=len(reports),
                        replica=replica,
                        weight_bytes=held.weight_bytes,
                        cache_bytes=held.kv_bytes,
                        prefill=phases[0],
                        decode=phases[1],
                    )
                )
    return case._replace(reports=tuple(reports))


def test_cases_that_are_fitted_on_are_no_others(bench):
    bench.config["num_hidden_layers"] = 24
    every = list(cases(bench))
    fit = {case.question for case in every if case.sort == "fitted on"}
    held = [case for case in every if case.sort == "held out"]
    assert len(held) >= 24
    # One model on one rank, and on two, are the same plans; another batch makes them others.
    assert len({case.question for case in held} & fit) <= 2
    assert {plan_of(case.shape).chips for case in held} == {1, 2, 4}
    assert {kind_of(case.shape) for case in held} == {"TP 1", "TP 2", "PP 2", "PP 4", "2 × TP 1"}
    assert {kind_of(case.shape) for case in mixture_cases(bench)} >= {"EP 2", "PP 2"}


@pytest.mark.slow
def test_figures_of_another_stack_are_found_again(bench):
    software = bench.topology.software.replace(step_overhead_s=4e-3, kernel_overhead_s=60e-6)
    other = bench.topology.replace(software=software)
    rows = [ran(bench, case, other) for case in cases(bench) if case.sort == "fitted on"]
    found = fitted(bench, rows).by_work.software
    assert found.step_overhead_s == pytest.approx(4e-3, rel=0.1)
    assert found.kernel_overhead_s == pytest.approx(60e-6, rel=0.1)
    lines = summary([bench.compared(one, other) for one in rows])
    assert "Memory differs by 0.00% at most; bytes between ranks are equal in 9 of 9" in lines[-1]
    assert lines[-3].startswith("| all | 9 | 15 | 0.0% | 0.0% | 0.0% |")


def test_a_table_of_runs_is_read_back(bench):
    case = bench.case("picked", Shape((4,), tensor=2), 4, 8)
    kept = ran(bench, case, bench.topology)
    bench._keep(kept, 0)
    bench._keep(kept, 1)
    assert [one.question for one in bench.known()] == [case.question] * 2


@pytest.mark.slow
def test_a_pick_stands_beside_the_fastest_that_ran(bench):
    runs = []
    for case in cases(bench):
        if case.sort == "held out" and plan_of(case.shape).chips <= 2:
            late = 0.5 if kind_of(case.shape) == "PP 2" else 1.0
            runs += [ran(bench, case, bench.topology, late * turn) for turn in (1.0, 9.0, 1.0)]
    found = picks(bench, runs)
    assert len(found) == 12
    for pick in found:
        assert pick.seconds_s >= pick.best_s
        assert pick.slower == pytest.approx(pick.seconds_s / pick.best_s - 1)
    # Two stages that take half of what they are priced at win wherever they do not sit idle.
    assert any(kind_of(pick.best.shape) == "PP 2" for pick in found)
    assert len(picks_table(found)) == 14


@pytest.mark.slow
def test_how_sure_a_stack_is_follows_from_what_was_left_out(bench):
    runs = [
        ran(bench, case, bench.topology, 1.2)
        for case in cases(bench)
        if kind_of(case.shape) == "TP 1"
    ]
    lines = sureness(bench, runs, by_wall=False)
    widths = dict(line.split(" = ") for line in lines if line.startswith(("ttft", "tpot", "req")))
    # ln 1.2: all of them are off by as much.
    assert {float(width) for width in widths.values()} == {0.182}
    assert 'architectures = ["core of a processor"]' in lines
    assert "sequences = [1.0, 16.0]" in lines
