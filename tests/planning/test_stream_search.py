"""How searches over plans under a stream of requests end, and what they have proved by then."""

import pytest

import planner as pl
from planner.answers.question import Question
from planner.planning.engine_search import search_of
from planner.planning.promise_search import PromiseSearch
from planner.planning.range_search import RangeSearch
from planner.planning.rate_search import RateSearch
from planner.space.candidates import Candidates
from tests.clock import ticking

LIMITS = (("tpot_p99_s", 0.05), ("ttft_p99_s", 2.0))
CASES = [
    (RateSearch, "llama-3.1-70b", "hgx-h100", 8, None, "tokens_per_s", LIMITS),
    (RangeSearch, "llama-3.1-8b", "groq-lpu-dragonfly", 64, None, "tokens_per_s", LIMITS),
    (PromiseSearch, "llama-3.1-70b", "hgx-h100", 8, 4.0, "ttft_p99_s", LIMITS[:1]),
]
KINDS = [kind for kind, *_ in CASES]


def search(case, **options):
    kind, model, machine, chips, rate, field, limits = case
    candidates = Candidates(
        pl.load_model(model, weight_dtype="fp8"),
        pl.load_topology(machine, chips=chips),
        pl.Workload(prompt_tokens=1024, output_tokens=256, arrivals="poisson", requests_per_s=rate),
        Question(field, limits, space="engine" if kind is not RangeSearch else "any"),
    )
    made = search_of(candidates, **options)
    assert type(made) is kind
    return made


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_a_search_that_is_stopped_says_by_what_and_keeps_its_best_plan(case):
    whole = search(case)
    whole.run()
    assert whole.best.plan is not None

    def stop(told):
        if told.objective is not None:
            raise KeyboardInterrupt

    stopped = search(case, progress=stop)
    stopped.run()
    assert (stopped.interrupted, stopped.stopped_by) == (True, "interrupt")
    assert stopped.best.plan is not None
    assert 0 < stopped.bound <= whole.best.value * (1 + 1e-9) <= stopped.best.value * (1 + 2e-9)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_without_time_there_is_a_plan_and_nothing_is_proved(case):
    with ticking(0.0):
        late = search(case, time_limit_s=0.0)
        late.run()
        assert late.best.plan is not None
        assert (late.stopped_by, late.bound) == ("time", 0.0)


@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_before_all_forms_are_open_nothing_is_proved(case):
    search_ = search(case)
    assert (search_.bound, search_.spread) == (0.0, False)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_what_is_good_enough_or_hopeless_ends_a_search(case):
    whole = search(case)
    whole.run()
    hopeless = search(case, hopeless=whole.best.value * 0.5)
    hopeless.run()
    assert (hopeless.best.plan, hopeless.stopped_by) == (None, "proof")
    enough = search(case, enough=whole.best.value * 2)
    enough.run()
    assert whole.best.value * (1 - 1e-9) <= enough.best.value <= whole.best.value * 2
    assert enough.done <= whole.done


@pytest.mark.parametrize("case", CASES, ids=KINDS)
def test_an_option_that_no_search_has_is_refused(case):
    with pytest.raises(TypeError, match="beam"):
        search(case, beam=3)
