"""Polished plans are no worse than what they were made of, and no small change is better."""

import math

import pytest

import planner as pl
from planner.answers.question import Question
from planner.planning.engine_search import uniform_start
from planner.planning.polishing import _moved, polished
from planner.space.candidates import Candidates
from tests.instances import tiny_chip, tiny_graph, tiny_topology


def asked(limits=()) -> Candidates:
    """A model of which the head is heavy, on chips that each hold a part of it."""
    graph = tiny_graph(6, vocabulary=50_000)
    topology = tiny_topology(4, chip=tiny_chip(170e6))
    workload = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
    return Candidates(graph, topology, workload, Question("usd_per_million_tokens", limits))


def halved(candidates: Candidates, first: int) -> pl.Plan:
    """Two stages on two chips each, so many layers in the first."""
    names = [layer.name for layer in candidates.graph.layers]
    parts = ((names[:first], 0), (names[first:], 2))
    stages = tuple(
        pl.Stage(
            layers=tuple(part),
            groups=(pl.ChipRange(first=start, count=2),),
            tensor_parallel=2,
        )
        for part, start in parts
    )
    return pl.Plan(stages=stages, micro_batches=1, batch_size=1)


@pytest.mark.slow
def test_a_plan_gets_its_best_batch_and_border():
    candidates = asked((("tpot_s", 1e-3),))
    plan = halved(candidates, 2)
    best = polished(candidates, plan, lambda: False)
    assert best.value == candidates.allowed_value(best.plan) < candidates.allowed_value(plan)
    for other in _moved(best.plan):
        assert candidates.allowed_value(other) >= best.value


def test_a_border_leaves_both_stages_a_layer():
    candidates = asked()
    sizes = {
        tuple(len(stage.layers) for stage in plan.stages) for plan in _moved(halved(candidates, 2))
    }
    assert sizes == {(6, 2), (1, 7), (3, 5)}


def test_a_plan_that_keeps_no_limit_has_no_value():
    candidates = asked((("tpot_s", 1e-9),))
    assert polished(candidates, halved(candidates, 2), lambda: True).value == math.inf


def test_a_search_of_any_plans_starts_from_the_best_uniform_one():
    candidates = asked()
    start = uniform_start(candidates, "any")
    assert polished(candidates, start.plan, lambda: False).value <= start.value
