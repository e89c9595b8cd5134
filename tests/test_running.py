"""Tests of the mirror of the benchmark of runs: its cases, its fit and what an idle machine would
take."""

import json

import pytest

from benchmarks.running import (
    Bench,
    Case,
    Ran,
    alone_s,
    cases,
    fitted,
    named,
    stages_of,
    table,
)
from planner.catalogue import described_topology
from planner.running.comparing import PlanRun, compared, predicted
from planner.running.cores import Core, machine_of_cores
from planner.running.jobs import PhaseReport, RankReport
from tests.running.models import config_of


@pytest.fixture
def bench(tmp_path):
    model = tmp_path / "config.json"
    model.write_text(json.dumps(config_of()))
    machine = machine_of_cores(Core((1e11,), (1e10,)), "here", 4, 4e9, "a processor")
    return Bench(model, described_topology(machine), tmp_path / "rows.jsonl")


def ran(bench, case, topology):
    """Ranks that take what another stack's figures say."""
    asked = bench.question(case, topology)
    priced = predicted(case.plan, asked)
    reports = []
    for number, stage in enumerate(case.plan.stages):
        prompts, later = priced.cpu_s(number)
        held = priced.score.stages[number]
        for _ in range(stage.tensor_parallel):
            reports.append(
                RankReport(
                    stage=number,
                    rank=len(reports),
                    weight_bytes=held.weight_bytes,
                    cache_bytes=held.kv_bytes,
                    prefill=PhaseReport(cpu_s=prompts),
                    decode=PhaseReport(cpu_s=later),
                )
            )
    return Ran(case, tuple(reports))


def test_cases_that_are_fitted_on_are_no_others():
    every = list(cases(24))
    fit = {case.key for case in every if case.sort == "fitted on"}
    held = [case for case in every if case.sort == "held out"]
    assert len(held) >= 24
    together = {case.key for case in held} & fit
    # One model on one rank, and on two, are the same plans; another batch makes them others.
    assert len(together) <= 2
    assert {case.plan.chips for case in held} == {1, 2, 4}


@pytest.mark.slow
def test_figures_of_another_stack_are_found_again(bench):
    software = bench.topology.software.replace(step_overhead_s=4e-3, kernel_overhead_s=60e-6)
    other = bench.topology.replace(software=software)
    rows = [ran(bench, case, other) for case in cases(4) if case.sort == "fitted on"]
    found = fitted(bench, rows).software
    assert found.step_overhead_s == pytest.approx(4e-3, rel=0.1)
    assert found.kernel_overhead_s == pytest.approx(60e-6, rel=0.1)
    lines = table(bench, other, rows)
    assert "memory by 0.00% at most" in lines[-1]
    assert "CPU seconds differ by 0.0%" in lines[-1]


def test_on_an_idle_machine_parts_overlap_as_passes_do(bench):
    case = Case("held out", stages_of((2, 2), micro_batches=2), 4, 8)
    phase = {"prefill": PhaseReport(cpu_s=6.0), "decode": PhaseReport(cpu_s=10.0)}
    reports = [
        RankReport(stage=number, rank=number, weight_bytes=1, cache_bytes=1, **phase)
        for number in range(2)
    ]
    found = compared(case.plan, bench.question(case), reports)
    assert isinstance(found, PlanRun)
    # Two passes of prompts, three seconds each on both stages; five rounds of two parts, one
    # second each on both.
    assert alone_s(found, case, prompt_passes=2) == pytest.approx(3 + 3 + 3 + 5 * 2)
    assert named(case.plan) == "TP 1, 2+2, 2 micro-batches"


def test_a_file_of_runs_is_read_back(bench):
    case = Case("picked", stages_of((4,), tensor=2), 4, 8)
    row = {**case._asdict(), "plan": case.plan.model_dump(mode="json"), "reports": []}
    bench.rows.write_text(json.dumps(row) + "\n")
    assert [one.case for one in bench.known()] == [case]
