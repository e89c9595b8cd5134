"""What is left out is predicted by what is left."""

import numpy as np
import pytest

from planner.calibration.fitting import errors_of, fit_constants
from planner.calibration.leaving_out import Whole, left_out
from planner.calibration.shipping import _weights, cases_for, recipes

BY_STACK = {recipe.stack: recipe for recipe in recipes()}


def whole_of(stack: str) -> Whole:
    recipe = BY_STACK[stack]
    cases = cases_for(recipe)
    weights = _weights(cases)
    constants = fit_constants(
        cases, recipe.start, strength=recipe.strength, weights=weights, scale=recipe.scale
    )
    hold = recipe.strength * len(cases) / 100
    return Whole(cases, cases, recipe.start, constants, weights, recipe.scale, hold, ())


@pytest.mark.slow
def test_what_the_slopes_say_is_what_a_fit_without_the_rows_finds():
    whole = whole_of("megatron-lm")
    rows = left_out(whole)
    for key in {row.key for row in rows if row.by == "model"}:
        kept = [case for case in whole.cases if case.measurement.model != key]
        out = [case for case in whole.cases if case.measurement.model == key]
        again = fit_constants(
            kept,
            whole.start,
            strength=BY_STACK["megatron-lm"].strength,
            weights=_weights(kept),
            scale=whole.scale,
        )
        by_id = {row.row_id: row.error for row in rows if (row.by, row.key) == ("model", key)}
        found = [by_id[case.measurement.row_id] for case in out]
        assert found == pytest.approx(errors_of(out, again).tolist(), abs=0.02)


@pytest.mark.slow
def test_every_row_is_left_out_once_in_each_respect_and_is_predicted_worse():
    rows = left_out(whole_of("neuronx"))
    by_model = [row for row in rows if row.by == "model"]
    assert len({row.row_id for row in by_model}) == len(by_model) > 80
    worse = np.median([abs(row.error) for row in by_model])
    assert worse > np.median([abs(row.fitted) for row in by_model])


@pytest.mark.slow
def test_a_stack_of_one_model_machine_and_source_has_each_row_left_out():
    rows = left_out(whole_of("lmdeploy"))
    assert {row.by for row in rows} == {"row"}
    assert {row.evidence for row in rows} <= {"measured", "near measured"}
