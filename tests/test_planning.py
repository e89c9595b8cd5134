"""`partition` against the oracle, and what must hold of every result."""

import random

import pytest

import planner as pl
from planner.candidates import FIELDS
from planner.planning import Result
from planner.scoring import score_plan
from tests.instances import SHAPES, random_graph, random_topology, random_workload
from tests.oracle import HIGHER_IS_BETTER, best_plan

CASES = 4
"""That have a plan, for every shape of fabric and every field: 7 × 12 × 4 = 336; infeasible ones are compared besides."""
OPEN_CASES = 3
"""The same where the batch is open: 252."""


def solved(graph, topology, workload, field, limits=None, **options) -> Result | None:
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        return pl.partition(graph, topology, workload, limits=limits, **{direction: field}, **options)
    except pl.InfeasibleError:
        return None


def agrees_with_the_oracle(graph, topology, workload, field, limits) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    plan, value = best_plan(graph, topology, workload, field, most=field in HIGHER_IS_BETTER, limits=limits)
    result = solved(graph, topology, workload, field, limits)
    assert (plan is None) == (result is None)
    if result is None:
        return False
    assert result.status == "optimal"
    assert result.objective == pytest.approx(value, rel=1e-9)
    score = score_plan(result.plan, graph, topology, workload)
    assert getattr(score, field) == pytest.approx(result.objective, rel=1e-9)
    assert score == result.score
    return True


def limited(graph, topology, workload, field, dice) -> dict[str, float]:
    """A limit on another field, sometimes: a little worse than what the best plan for it reaches."""
    if dice.random() < 0.6:
        return {}
    name = dice.choice([name for name in FIELDS if name != field])
    result = solved(graph, topology, workload, name)
    if result is None:
        return {}
    slack = dice.choice((1.02, 1.3, 3.0))
    return {name: result.objective / slack if name in HIGHER_IS_BETTER else result.objective * slack}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_plan_is_as_good_as_the_exhaustive_oracles(shape, field):
    feasible = case = 0
    while feasible < CASES:
        dice, case = random.Random(f"{shape} {field} {case}"), case + 1
        graph, topology, workload = random_graph(dice), random_topology(dice, shape), random_workload(dice)
        limits = limited(graph, topology, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_with_an_open_batch_the_plan_is_as_good_as_the_exhaustive_oracles(shape, field):
    feasible = case = 0
    while feasible < OPEN_CASES:
        dice, case = random.Random(f"open {shape} {field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, shape)
        topology = topology.replace(software=topology.software.replace(most_sequences=6))
        workload = random_workload(dice).replace(batch_size=None)
        limits = limited(graph, topology, workload, field, dice)
        feasible += agrees_with_the_oracle(graph, topology, workload, field, limits)


@pytest.mark.parametrize(
    ("field", "limited_field"),
    [("chips", "tokens_per_s"), ("power_w", "tokens_per_s"), ("tokens_per_s", "chips"), ("energy_per_token_j", "power_w"),
     ("chips", "usd_per_million_tokens")],
)  # fmt: skip
def test_with_an_open_batch_no_more_replicas_are_held_than_the_question_wants(field, limited_field):
    feasible = case = 0
    while feasible < 2 * OPEN_CASES:
        dice, case = random.Random(f"replicas {field} {limited_field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        topology = topology.replace(software=topology.software.replace(most_sequences=6))
        workload = random_workload(dice).replace(batch_size=None)
        best = solved(graph, topology, workload, limited_field)
        if best is not None:
            factor = dice.choice((1.0, 2.0, 3.0))
            worst = best.objective / factor if limited_field in HIGHER_IS_BETTER else best.objective * factor
            feasible += agrees_with_the_oracle(graph, topology, workload, field, {limited_field: worst})


def test_the_bound_is_never_better_than_the_objective():
    for case in range(60):
        dice = random.Random(f"bound {case}")
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        field = dice.choice(list(FIELDS))
        try:
            result = solved(graph, topology, random_workload(dice), field, time_limit_s=0.02 if case % 2 else None)
        except pl.NoPlanFoundError:
            continue
        if result is not None:
            sign = 1 if result.direction == "minimize" else -1
            assert sign * result.bound <= sign * result.objective * (1 + sign * 1e-12)
