"""Half widths from rows that were left out."""

import math

import numpy as np
import pytest

from planner.calibration.intervals import POOLED, coverages, intervals_from
from planner.calibration.leaving_out import Outside


def row(
    error, number=0, *, stack="mine", reasons=(), field="tpot_s", likes=("served", ""), by="model"
):
    return Outside(
        f"R-{number}", stack, "family", field, by, "key", error, error / 2, likes, reasons,
        any(reason.startswith("far") for reason in reasons),
    )  # fmt: skip


def even(most, count, **changes):
    """Errors 0 … most, evenly."""
    return [row(error, at, **changes) for at, error in enumerate(np.linspace(0, most, count))]


def test_four_of_five_rows_that_lie_within_stay_within():
    made = intervals_from(even(1.0, 201))
    assert made.known["mine", "tpot_s", ""] == pytest.approx(0.8)
    (found,) = coverages(even(1.0, 201), made, lambda one: one.stack)
    assert found.most == pytest.approx(0.8, abs=0.01)
    assert (found.rows, found.left_out) == (201, pytest.approx(math.expm1(0.5)))
    assert found.fitted == pytest.approx(math.expm1(0.25))


def test_few_rows_are_drawn_to_the_width_of_all_stacks():
    # 10 rows of 0.08 and a prior of 10 rows of what all have: half way between.
    many = even(1.0, 20_001)
    few = even(0.1, 10, stack="small")
    everything = float(np.quantile([abs(one.error) for one in (*many, *few)], 0.8))
    own = float(np.quantile([abs(one.error) for one in few], 0.8))
    made = intervals_from([*many, *few])
    assert made.known["small", "tpot_s", ""] == pytest.approx((everything + own) / 2)


def test_what_lies_beyond_adds_in_squares():
    # All within 0.3 but those of one reason, which are off by 0.5: they need 0.4 more.
    inside = [row(0.3 * sign, at) for at, sign in enumerate([1, -1] * 50)]
    beyond = [row(0.5, at, reasons=("size",)) for at in range(100)]
    made = intervals_from([*inside, *beyond])
    assert made.beyond[POOLED, "size"] == pytest.approx(0.4)
    assert made.width(beyond[0]) == pytest.approx(0.5)
    assert [one.reason for one in made.widenings("another")] == ["size"]


def test_further_away_is_no_surer():
    inside = [row(0.3, at) for at in range(50)]
    near = [row(0.5, at, reasons=("batch",)) for at in range(50)]
    far = [row(0.3, at, reasons=("far batch",)) for at in range(50)]
    made = intervals_from([*inside, *near, *far])
    assert made.beyond[POOLED, "far batch"] == made.beyond[POOLED, "batch"] > 0


def test_a_sort_of_rows_has_a_width_of_its_own_where_it_differs():
    alone = even(0.2, 101, likes=("alone", ""))
    served = even(1.0, 101)
    made = intervals_from([*alone, *served])
    widths = {one.like: one.half_width for one in made.residuals("mine")}
    assert set(widths) == {"", "alone", "served"}
    assert widths["alone"] < widths[""] < widths["served"]
    # Rows of one kind only say the same twice.
    assert {one.like for one in intervals_from(served).residuals("mine")} == {""}


def test_watts_of_a_stack_that_has_none_are_as_sure_as_those_of_others():
    rows = [*even(1.0, 101, field="power_w"), *even(1.0, 101, stack="other")]
    assert intervals_from(rows).known["other", "power_w", ""] == pytest.approx(0.8)
