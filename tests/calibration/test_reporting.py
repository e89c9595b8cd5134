"""The report of a calibration."""

import pytest

from planner.calibration.intervals import intervals_from
from planner.calibration.leaving_out import Outside
from planner.calibration.powers import Drawn
from planner.calibration.reporting import calibration_report
from planner.calibration.shipping import Shipped
from planner.calibration.validation import Refused, cases_of
from planner.machines.topology import Power
from tests.measured import published


@pytest.mark.slow
def test_the_report_has_every_family_every_constant_and_the_worst_rows():
    rows = [row for row in published() if row.family == "edge-clusters"]
    cases, _ = cases_of(rows)
    refused = [Refused(rows[0].replace(family="other"), "too large")]
    left_out = [
        Outside(
            "R", "vllm", "f", "tpot_s", "model", "m", error, error / 2, ("served", ""), (), False
        )
        for error in [0.2] * 10
    ]
    made = intervals_from(left_out)
    shipped = [
        Shipped(
            stack="vllm",
            constants={"memory_efficiency": 0.7581, "burst_share": 0.1},
            rows=12,
            median=0.1,
        )
    ]
    draws = [
        Drawn("", Power(idle_share=0.25, compute_activity=7, memory_activity=1.5), 40, 0.09, 0.2)
    ]
    text = calibration_report(cases, refused, left_out, made, shipped, draws, 0.33)
    lines = text.splitlines()
    assert any(line.startswith(f"| edge-clusters | {len(rows)} | {len(rows)} |") for line in lines)
    assert any(line.startswith("| other | 1 | 0 |") for line in lines)
    # e^0.1 = 1.105, e^0.2 = 1.221: all ten at the end of their interval.
    whole = "| vllm, one model | 10 | 10.5% | 22.1% | 2.11 | +20.0% | 0% | 100% | 100% |"
    assert whole in lines
    assert "| measured | 10 | 10.5% | 22.1% | 2.11 | +20.0% | 0% | 100% | 100% |" in lines
    assert "| vllm | memory_efficiency | 0.758 | 12 | 10.0% |" in lines
    assert "| chips: all generations | compute_activity | 7 | 40 | 9.0% |" in lines
    assert "6 in all." in lines
    worst = max(
        cases, key=lambda case: max(case.figure / case.measured, case.measured / case.figure)
    )
    first = next(line for line in lines if worst.measurement.row_id in line)
    assert f"{worst.figure / worst.measured:.2f}" in first
    assert sum(line.startswith("| edge-clusters | ") for line in lines) == 1 + min(5, len(rows))
