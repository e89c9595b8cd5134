"""Single kernels beside their measurements."""

import math

import numpy as np
import pytest

import planner as pl
from planner.calibration.fitting import errors_of, median_factor
from planner.calibration.operators import KERNELS, KernelTime, kernel_cases, read_kernels
from planner.models.operators import MatMul

MATMUL = MatMul(
    name="matmul", inputs=4096, outputs=8192, weight_dtype="bf16", compute_dtype="bf16", split="none"
)  # fmt: skip
ROW = KernelTime(
    row_id="1", topology="hgx-h100", software="cuda-kernels", operator=MATMUL, tokens=1, sequences=1, decode=False, value=1e-5
)  # fmt: skip


def test_a_matmul_of_one_token_takes_its_launch_and_the_reading_of_its_weights():
    (case,) = kernel_cases([ROW])
    stack, chip = case.topology.software, case.topology.chip
    moved = 2 * (4096 * 8192 + 4096 + 8192)
    read = moved / (chip.memory[0].bandwidth_bytes_per_s * stack.memory_efficiency)
    assert case.predicted() == pytest.approx(stack.matmul_overhead_s + read)
    assert (case.field, case.measured) == ("matmul_s", 1e-5)


def test_a_long_matmul_takes_its_arithmetic():
    (case,) = kernel_cases([ROW.replace(tokens=100_000)])
    stack = case.topology.software
    work = (
        2
        * 100_000
        * 4096
        * 8192
        / (case.topology.chip.peak_flop_per_s("bf16") * stack.compute_efficiency)
    )
    assert case.predicted() == pytest.approx(stack.matmul_overhead_s + work)


def test_a_table_names_the_line_of_its_fault(tmp_path):
    head, row, *_ = KERNELS.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "kernels.csv"
    for wrong in (
        row.replace('""matmul""', '""multiply""'),
        row.replace('{""kind""', "{kind"),
        row.replace("e-06,", "x,"),
    ):
        assert wrong != row
        path.write_text(f"{head}\n{row}\n{wrong}\n", encoding="utf-8")
        with pytest.raises(pl.InputError, match="line 3") as caught:
            read_kernels(path)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_shipped_kernels_are_predicted_to_a_quarter_at_the_median():
    cases = kernel_cases(read_kernels())
    assert len(cases) > 1000
    errors = errors_of(cases, {})
    assert median_factor(errors) < 0.25
    assert abs(float(np.median(errors))) < math.log(1.1)
