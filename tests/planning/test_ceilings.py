"""What no plan exceeds, where nothing better is known."""

import math

import pytest

import planner as pl
from planner.planning.ceilings import SLACK, ceiling, told

RATES = ("tokens_per_s", "requests_per_s", "tokens_per_s_per_chip", "tokens_per_s_per_user")


def best(field, chips=2, **work):
    graph = pl.load_model("llama-3.2-1b").cut(2)
    machine = pl.load_topology("hgx-h100", chips=chips)
    workload = pl.Workload(prompt_tokens=64, output_tokens=8, **work)
    return pl.partition(graph, machine, workload, maximize=field)


@pytest.mark.parametrize("field", RATES)
def test_no_best_plan_exceeds_what_any_other_plan_says(field):
    found = best(field, batch_size=None)
    slow = best("tokens_per_s_per_user", batch_size=1)
    share = found.topology.chips / slow.plan.chips
    assert found.objective <= ceiling(slow.score, field, found.workload, all_peaks=share)


def test_the_ceiling_is_the_rate_at_the_peak_of_all_chips():
    found = best("tokens_per_s", batch_size=4)
    most = ceiling(found.score, "tokens_per_s", found.workload, all_peaks=3.0)
    assert most == pytest.approx(SLACK * 3.0 * found.score.tokens_per_s / found.score.mfu_fraction)
    assert ceiling(found.score, "mfu_fraction", found.workload, all_peaks=3.0) == 1.0


def test_a_bound_that_is_known_stays():
    found = best("tokens_per_s", batch_size=4)
    at = found.score, "tokens_per_s", found.workload
    assert told(5.0, *at, all_peaks=1.0) == 5.0
    assert told(math.inf, *at, all_peaks=1.0) == ceiling(*at, all_peaks=1.0)
