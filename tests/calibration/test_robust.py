"""The search for constants: least squares that outliers do not pull, held where rows say
nothing."""

import sys

import numpy as np
import pytest

import planner as pl
from planner.calibration.robust import robust_minimum

TRUTH = np.array([0.4, -1.2])
ROWS = np.random.default_rng(0).uniform(-1, 1, size=(40, 2))


def found(errors_at, start=(0.0, 0.0), **changes):
    options = {
        "hold": 1e-9, "most": np.full(2, np.inf), "scale": 0.25, "counted": np.ones(40), "step": 0.05, "rounds": 60,
        "tolerance": 1e-12,
    }  # fmt: skip
    return robust_minimum(errors_at, np.array(start), **(options | changes))


def linear(at):
    return ROWS @ (at - TRUTH)


@pytest.mark.slow
def test_the_constants_that_made_the_rows_are_found():
    assert found(linear) == pytest.approx(TRUTH, abs=1e-6)


def test_one_wild_row_hardly_moves_them():
    wild = np.where(np.arange(40) == 7, 50.0, 0.0)
    least_squares = np.linalg.lstsq(ROWS, ROWS @ TRUTH - wild, rcond=None)[0]
    robust = found(lambda at: linear(at) + wild)
    assert np.abs(robust - TRUTH).max() < 0.05 < np.abs(least_squares - TRUTH).max()


def test_a_row_that_does_not_count_does_not_move_them():
    wild = np.where(np.arange(40) < 20, 50.0, 0.0)
    counted = np.where(np.arange(40) < 20, 0.0, 1.0)
    assert found(lambda at: linear(at) + wild, counted=counted) == pytest.approx(TRUTH, abs=1e-6)


def test_what_no_row_touches_stays_and_nothing_passes_its_most():
    one_sided = found(lambda at: ROWS[:, 0] * (at[0] - 0.4), start=(0.0, 0.7), hold=1e-3)
    assert one_sided[1] == pytest.approx(0.7, abs=1e-9)
    bounded = found(linear, most=np.array([0.1, np.inf]))
    assert bounded[0] == pytest.approx(0.1)


def test_a_firm_hold_keeps_the_start():
    assert np.abs(found(linear, hold=1e9)).max() < 1e-6


def test_only_the_errors_of_rows_count_less_and_less():
    # One row, one constant: 2 s² (√(1 + (e/s)²) - 1) + h x² with e = x - 10, s = 1, h = 0.1 is
    # least where (10 - x) / √(1 + (10 - x)²) = 0.1 x: at x = 8.43 both are 0.843. Were the way from
    # the start to count less and less too, the right side would be 0.099 and x = 9.90.
    one = robust_minimum(
        lambda at: at - 10, np.zeros(1), hold=0.1, most=np.full(1, np.inf), scale=1.0,
        counted=np.ones(1), step=0.05, rounds=200, tolerance=1e-14,
    )  # fmt: skip
    assert float(one[0]) == pytest.approx(8.43, abs=0.005)


def test_a_missing_scipy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(pl.InputError, match=r"calibration needs scipy: pip install"):
        found(linear)
