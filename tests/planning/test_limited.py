"""What searches over plans of one machine do where their time is limited."""

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.planning.engine_search import EngineSearch
from planner.space.candidates import Candidates
from planner.workload import Workload
from tests.clock import ticking


def test_a_plan_that_is_found_early_has_a_large_batch_where_that_is_better():
    graph, topology = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100", chips=4)
    question = question_of(None, "tokens_per_s", None, None)
    candidates = Candidates(graph, topology, Workload(batch_size=None), question)
    whole = EngineSearch(candidates)
    assert whole.early().plan is None
    whole.run()
    with ticking(1e-3):
        found = EngineSearch(candidates, time_limit_s=2.0).early()
    assert whole.best.value <= found.value <= 1.5 * whole.best.value
    assert found.value == pytest.approx(candidates.allowed_value(found.plan), rel=1e-12)


def test_a_guess_between_two_batches_that_are_next_to_one_another_ends():
    """One keeps the limit and the other breaks it: there is none between them to look at."""
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    topology = pl.load_topology("hgx-h100", chips=8)
    work = pl.Workload(batch_size=None, prompt_tokens=8192, output_tokens=1024)
    asked = {"minimize": "usd_per_million_tokens", "limits": {"tpot_s": 0.03, "ttft_s": 5.0}}
    # The clock stands still: what would go on for a part of the time never ends.
    with ticking(0.0):
        result = pl.partition(graph, topology, work, time_limit_s=60.0, **asked)
    assert result.status == "optimal"
