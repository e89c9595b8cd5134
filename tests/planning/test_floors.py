"""Bounds of all plans, soon told: never above what a search proves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import question_of
from planner.planning.engine_search import search_of
from planner.planning.floors import floor_of
from planner.space.candidates import Candidates
from planner.workload import Workload
from tests.engine_questions import random_machine
from tests.instances import tiny_graph

STREAM = {"batch_size": None, "arrivals": "poisson"}
WORKLOADS = (
    {"batch_size": None},
    {"batch_size": 3},
    {"batch_size": 4, "arrivals": "together"},
    {"batch_size": None, "phase": "prefill"},
    {"batch_size": None, "phase": "decode"},
    {**STREAM, "requests_per_s": 0.5},
)
FIELDS = (
    ("minimize", "tpot_s"),
    ("minimize", "ttft_s"),
    ("minimize", "request_s"),
    ("maximize", "tokens_per_s"),
    ("maximize", "tokens_per_s_per_chip"),
    ("minimize", "usd_per_million_tokens"),
    ("minimize", "energy_per_token_j"),
    ("minimize", "chips"),
    ("minimize", "ttft_p50_s"),
    ("minimize", "request_p90_s"),
)


@settings(max_examples=25)
@given(
    number=st.integers(0, 39),
    work=st.sampled_from(WORKLOADS),
    asked=st.sampled_from(FIELDS),
    space=st.sampled_from(["engine", "any"]),
    excludes=st.booleans(),
)
def test_no_plan_is_below_a_floor(number, work, asked, space, excludes):
    topology = random_machine(number)
    graph = tiny_graph(random.Random(number).choice([2, 3, 4]))
    known = topology.software.engine.is_known
    space = "engine" if asked[1].endswith(("p50_s", "p90_s")) or not known else space
    out = (1,) if excludes and space == "engine" and known and topology.chips > 2 else ()
    workload = Workload(prompt_tokens=8, output_tokens=3, **work)
    question = question_of(*_both(asked), None, None, space=space)
    try:
        candidates = Candidates(graph, topology, workload, question, exclude=out)
        search = search_of(candidates)
    except pl.InputError:
        return  # a field that there is not, of such a pool or at a rate
    floor = floor_of(candidates)
    search.run()
    assert 0.0 <= floor <= search.best.value * (1 + 1e-9)


def _both(asked):
    way, field = asked
    return (field, None) if way == "minimize" else (None, field)


@pytest.mark.parametrize(
    ("field", "factor"), [("tpot_s", 1.2), ("tokens_per_s", 3.0), ("usd_per_million_tokens", 3.0)]
)
def test_a_floor_is_not_far_below_the_best_plan(field, factor):
    graph, topology = pl.load_model("llama-3.1-8b"), pl.load_topology("hgx-h100", chips=4)
    question = question_of(
        *_both(("maximize" if field == "tokens_per_s" else "minimize", field)), None, None
    )
    candidates = Candidates(graph, topology, Workload(batch_size=None), question)
    search = search_of(candidates)
    search.run()
    assert search.best.value / factor <= floor_of(candidates) < search.best.value
