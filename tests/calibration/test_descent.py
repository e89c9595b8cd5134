"""The search for constants: least squares that outliers do not pull, held where rows say
nothing."""

import numpy as np
import pytest

from planner.calibration.descent import descended

TRUTH = np.array([0.4, -1.2])
ROWS = np.random.default_rng(0).uniform(-1, 1, size=(40, 2))


def found(errors_at, start=(0.0, 0.0), **changes):
    options = {
        "hold": 1e-9, "most": np.full(2, np.inf), "scale": 0.25, "counted": np.ones(40), "step": 0.05, "rounds": 60,
        "tolerance": 1e-12,
    }  # fmt: skip
    return descended(errors_at, np.array(start), **(options | changes))


def linear(at):
    return ROWS @ (at - TRUTH)


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
    assert one_sided[1] == 0.7
    bounded = found(linear, most=np.array([0.1, np.inf]))
    assert bounded[0] == pytest.approx(0.1)


def test_a_firm_hold_keeps_the_start():
    assert np.abs(found(linear, hold=1e9)).max() < 1e-6
