"""A fit finds the constants that made its rows, and refuses what rows cannot tell."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.calibration.fitting import fit_software, profile_toml, residuals_of, thinned
from planner.calibration.measurements import Measurement
from planner.calibration.validation import cases_of

TRUTH = {"memory_efficiency": 0.5, "step_overhead_s": 4e-3, "compute_efficiency": 0.4}


def rows(count: int = 12) -> list[Measurement]:
    """What a machine would measure whose software has the true constants."""
    machine = pl.load_topology("hgx-h100", chips=1)
    machine = machine.replace(software=machine.software.replace(**TRUTH))
    graph, made = pl.load_model("llama-3.1-8b"), []
    for number in range(count):
        field = ("tpot_s", "ttft_s")[number % 2]
        batch, prompt = 1 + 3 * (number // 2), 256 * (1 + number % 5)
        work = pl.Workload(
            batch_size=batch, prompt_tokens=prompt, output_tokens=64, arrivals="together"
        )
        score = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, work)
        made.append(
            Measurement(
                row_id=str(number), field=field, value=getattr(score, field), model="llama-3.1-8b", topology="hgx-h100",
                chips=1, batch_size=batch, prompt_tokens=prompt, output_tokens=64, arrivals="together",
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def fit():
    return fit_software(cases_of(rows())[0], strength=1e-4, rounds=12)


@pytest.mark.slow
def test_the_constants_that_made_the_rows_are_found(fit):
    assert fit.median_before > 0.2
    assert fit.median_after < 0.01
    found = {constant.name: constant.after for constant in fit.constants}
    assert found["memory_efficiency"] == pytest.approx(TRUTH["memory_efficiency"], rel=0.05)
    assert found["compute_efficiency"] == pytest.approx(TRUTH["compute_efficiency"], rel=0.1)


@pytest.mark.slow
def test_constants_that_no_row_touches_stay_as_they_are(fit):
    shipped = pl.load_topology("hgx-h100").software
    assert {"experts_overhead_s", "quantised_efficiency"} <= set(fit.untouched)
    assert fit.software.experts_overhead_s == shipped.experts_overhead_s


@pytest.mark.slow
def test_a_firm_hand_keeps_what_is_shipped():
    firm = fit_software(cases_of(rows())[0], strength=1e6, rounds=2)
    assert all(
        constant.after == pytest.approx(constant.before, rel=1e-3) for constant in firm.constants
    )


@pytest.mark.slow
def test_too_few_rows_are_refused_with_what_to_measure_next():
    with pytest.raises(pl.InputError, match=r"2 rows are not enough .* measure more, such as"):
        fit_software(cases_of(rows(2))[0])


def test_rows_of_two_stacks_are_refused():
    mixed = [*rows(4), *(row.replace(software="vllm") for row in rows(4))]
    with pytest.raises(pl.InputError, match="one software stack"):
        fit_software(cases_of(mixed)[0])


@pytest.mark.slow
def test_the_profile_is_a_stack_that_a_topology_takes(fit, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(profile_toml(fit), encoding="utf-8")
    assert pl.load_topology("hgx-h100", software=str(path)).software == fit.software


class Row(NamedTuple):
    """As much of a case as thinning looks at."""

    family: str
    number: int


def rows_of(**sizes: int) -> list[Row]:
    """Rows of families, by turns as long as there are any of each."""
    made = [Row(family, number) for family, size in sizes.items() for number in range(size)]
    return sorted(made, key=lambda row: row.number)


def test_small_families_are_kept_whole_and_large_ones_share_the_rest():
    cases = rows_of(small=4, medium=30, large=500)
    kept = thinned(cases, 50)
    # A third of 50 is 16, so all 4 stay; half of the other 46 are 23 each.
    assert Counter(row.family for row in kept) == {"small": 4, "medium": 23, "large": 23}
    assert kept == sorted(kept, key=cases.index)  # in their order
    assert thinned(cases, 50) == kept  # drawn alike each time
    # With room for 64 all 30 of the second stay too: 64 - 4 - 30 of the third.
    kept = thinned(cases, 64)
    assert Counter(row.family for row in kept) == {"small": 4, "medium": 30, "large": 30}


def test_what_is_few_enough_is_left_alone():
    cases = rows_of(a=3, b=7)
    assert thinned(cases, 10) is cases
    assert len(thinned(cases, 9)) == 9


@pytest.mark.slow
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(1, 100))
def test_there_are_never_more_than_asked_and_no_row_twice(sizes, most):
    cases = rows_of(**{f"f{number}": size for number, size in enumerate(sizes)})
    kept = thinned(cases, most)
    assert len(kept) == len(set(kept)) == min(most, len(cases))
    assert set(kept) <= set(cases)
    left = Counter(row.family for row in kept)
    # What is not whole has at least as many rows as any other, but for the last to be shared out.
    cut = [left[f"f{number}"] for number, size in enumerate(sizes) if left[f"f{number}"] < size]
    assert all(count >= max(left.values()) - 1 for count in cut)


def test_four_of_five_rows_stay_within_a_residual():
    errors = np.array([0.1, -0.1, 0.1, 0.1, -0.1, 0.1, 0.1, -0.1, 0.2, -0.8])
    (alike,) = residuals_of(["tpot_s"] * 10, errors)
    assert alike.half_width == pytest.approx(0.12)  # the eighth of nine steps, a fifth of the way
