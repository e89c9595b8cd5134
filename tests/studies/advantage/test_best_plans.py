"""The best of all plans of a member of a family."""

import pytest

import planner as pl
from planner.studies.advantage.best_plans import best_plan


@pytest.mark.slow
def test_plans_are_those_that_engines_run_unless_any_is_asked_for():
    work = pl.Workload(batch_size=4)
    found = {}
    for space in ("engine", "any"):
        result = best_plan(7e10, pl.load_topology("hgx-h100"), work, "tokens_per_s", space=space)
        assert result.space == space
        found[space] = result.objective
    assert found["engine"] <= found["any"] * (1 + 1e-9)
