"""Percentiles on machines whose software leaves the number of micro-batches free, against an oracle
of every number."""

import random

import pytest

import planner as pl
from tests.engine_oracle import Case, priced
from tests.engine_questions import ENGINES, random_machine, random_model
from tests.instances import CONSTANT, tiny_chip
from tests.lanes import mostly_slow, some
from tests.stream_oracle import (
    all_reached,
    keeps,
    open_stream,
    score_at,
    stream_plans,
    width_and_ways,
)

MACHINES = range(len(ENGINES) - 1, len(ENGINES) * some(2, 60), len(ENGINES))
"""Those whose software has no rules."""
MOST_PLANS = 30
NAMES = ("ttft_p99_s", "tpot_p99_s", "ttft_p50_s", "tpot_p90_s", "request_p95_s")


def asked_of(number):
    """A small case and what is promised; None where there are no plans, or too many."""
    dice = random.Random(f"ranges {number}")
    graph = random_model(dice, dice.choice((1, 2, 3, 3)))
    machine = random_machine(number)
    share = graph.weight_bytes / dice.choice((1, 2, machine.chips))
    chip = tiny_chip(share * dice.choice((1.6, 2.5, 6.0)))
    topology = machine.replace(chip=chip, power=CONSTANT)
    work = open_stream(dice.choice((8, 40, 200)), dice.choice((2, 6, 30)))
    case = Case(graph, topology, work)
    plans = stream_plans(case)
    if not 0 < len(plans) <= MOST_PLANS:
        return None
    one = dice.choice(plans)
    idle = score_at(case, one, 1e-6)
    rate = one.replicas * idle.load.most_requests_per_s * dice.choice((0.2, 0.5, 0.8))
    busy = score_at(case, one, rate)
    if busy is None:
        return None
    limits = {name: getattr(busy, name) * dice.choice((1.0, 1.3)) for name in dice.sample(NAMES, 2)}
    if dice.random() < 0.3:
        limits["tpot_s"] = busy.tpot_s * 1.05
    return case, limits


@pytest.mark.slow
@pytest.mark.parametrize("number", MACHINES)
def test_no_plan_keeps_its_promises_at_a_greater_rate(number):
    asked = asked_of(number)
    if asked is None:
        return
    case, limits = asked
    reached = all_reached(case, limits)
    best = max((one.requests_per_s for one in reached), default=0.0)
    wanted = best * case.workload.output_tokens
    try:
        result = pl.partition(*case[:3], limits=limits, maximize="tokens_per_s")
    except pl.InfeasibleError:
        assert best == 0
        return
    assert result.objective <= wanted * (1 + 1e-7)
    assert result.bound >= wanted * (1 - 1e-7)
    assert keeps(result.score, limits)
    if result.status == "optimal":
        assert result.objective == pytest.approx(wanted, rel=1e-7)
    check_fewest_chips(case, limits, reached)


def check_fewest_chips(case, limits, reached):
    """At a rate that is given, of the same plans."""
    best = max(one.requests_per_s for one in reached)
    for share in (0.2, 0.9):
        rate = share * best
        work = case.workload.replace(requests_per_s=rate)
        wanted = min(
            one.plan.chips
            for one in reached
            if one.requests_per_s >= rate and keeps(score_at(case, one.plan, rate), limits)
        )
        result = pl.partition(*case[:2], work, limits=limits, minimize="chips")
        assert result.bound <= wanted
        assert result.objective >= wanted
        assert keeps(result.score, limits)
        if result.status == "optimal":
            assert result.objective == wanted


def closed_cases(number):
    """Clients each of whom sends the next request when the last is done, on one small machine, and
    every plan for them whose stages are split alike."""
    dice = random.Random(f"closed {number}")
    graph = random_model(dice, dice.choice((2, 3, 3)))
    machine = random_machine(number)
    share = graph.weight_bytes / dice.choice((1, 2, machine.chips))
    chip = tiny_chip(share * dice.choice((1.6, 2.5, 6.0)))
    topology = machine.replace(chip=chip, power=CONSTANT)
    for arrivals in ("steady", "together"):
        work = pl.Workload(
            batch_size=dice.choice((3, 5, 6)),
            prompt_tokens=dice.choice((8, 40, 200)),
            output_tokens=dice.choice((2, 6, 30)),
            arrivals=arrivals,
        )
        case = Case(graph, topology, work)
        alike = [
            one
            for one in priced(case, "engine")
            if len({width_and_ways(stage) for stage in one.plan.stages}) == 1
        ]
        yield dice, case, [one.score for one in alike]


@pytest.mark.parametrize("number", mostly_slow(MACHINES, but=MACHINES[:2]))
def test_no_plan_for_a_number_of_clients_is_better(number):
    for dice, case, scores in closed_cases(number):
        if not scores or scores[0].queued:
            continue
        for field in ("ttft_p99_s", "tpot_s", "request_s", "chips"):
            other = dice.choice(("ttft_p90_s", "tpot_p99_s"))
            most = getattr(dice.choice(scores), other)
            kept = [one for one in scores if getattr(one, other) <= most * (1 + 1e-12)]
            wanted = min(getattr(one, field) for one in kept)
            result = pl.partition(*case[:3], minimize=field, limits={other: most})
            assert result.bound <= wanted * (1 + 1e-9)
            assert result.objective >= wanted * (1 - 1e-9)
            if result.status == "optimal":
                assert result.objective <= wanted * (1 + 1.1e-3)
