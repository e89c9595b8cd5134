"""The oracle of streams: the greatest rate of every plan that an engine can be started with, found
by halving, and the best of them.

It shares no code with the search: what is promised is asked of the percentiles of `score_plan`.
"""

import math
from typing import NamedTuple

import planner as pl
from planner.plan import Plan, Stage
from planner.pricing.loads import PERCENTILES, Load
from planner.scoring.score import Score
from planner.workload import Workload
from tests.engine_oracle import Case, in_flight, plans_of

HALVINGS = 45


class Reached(NamedTuple):
    """The greatest rate of a plan."""

    plan: Plan
    requests_per_s: float


def score_at(case: Case, plan: Plan, rate: float) -> Score | None:
    """At so many requests a second; None where that is more than the plan serves."""
    work = case.workload.replace(requests_per_s=rate)
    try:
        return pl.score_plan(plan, case.graph, case.topology, work, exclude=case.exclude)
    except (pl.InfeasibleError, pl.InputError):
        return None


def keeps(score: Score | None, limits: dict[str, float]) -> bool:
    """Whether percentiles and means stay within their limits."""
    # What more comes than is served is refused before.
    if score is None or score.load is None or score.load.load_fraction >= 1 - 1e-9:
        return False
    for name, most in limits.items():
        if name in PERCENTILES:
            field, probability = PERCENTILES[name]
            if score.load.late_fraction(field, most) > 1 - probability + 1e-12:
                return False
        elif getattr(score, name) > most * (1 + 1e-12):
            return False
    return True


def greatest(case: Case, plan: Plan, limits: dict[str, float]) -> float:
    """Rate of the whole deployment up to which a plan keeps its limits; 0: none."""
    first = score_at(case, plan, 1e-6)
    if first is None or first.load is None:
        return 0.0
    low, high = 0.0, plan.replicas * first.load.most_requests_per_s
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if keeps(score_at(case, plan, middle), limits):
            low = middle
        else:
            high = middle
    return low


def stream_plans(case: Case) -> list[Plan]:
    """All plans of the engine's space, each with the micro-batches that it has where as many are in
    flight as fit; where it leaves their number free, all whose stages are split alike."""
    engine = case.topology.software.engine
    work = case.workload.replace(arrivals="poisson", requests_per_s=1.0)
    found = []
    for plan in plans_of(case._replace(workload=work), "engine"):
        idle = score_at(case._replace(workload=work), plan, 1e-6)
        if idle is None or not isinstance(idle.load, Load):
            continue
        if not engine.is_known:
            splits = {width_and_ways(stage) for stage in plan.stages}
            if len(splits) == 1 and plan.micro_batches <= idle.load.most:
                found.append(plan)
        elif plan.micro_batches == in_flight(engine, len(plan.stages), idle.load.most):
            found.append(plan)
    return found


def width_and_ways(stage: Stage) -> tuple[int, int, int]:
    """How a stage is split."""
    return stage.group_chips, stage.tensor_parallel, stage.expert_parallel


def all_reached(case: Case, limits: dict[str, float]) -> list[Reached]:
    """Of all plans."""
    found = [Reached(plan, greatest(case, plan, limits)) for plan in stream_plans(case)]
    return [one for one in found if not one.requests_per_s or not faults_at(case, one)]


def faults_at(case: Case, one: Reached) -> tuple[object, ...]:
    """What `check_plan` has against a plan at its rate."""
    work = case.workload.replace(requests_per_s=one.requests_per_s)
    return pl.check_plan(one.plan, case.graph, case.topology, work)


def open_stream(prompt: int, output: int, **fields: object) -> Workload:
    """Requests of one size, at whatever rate."""
    return Workload(arrivals="poisson", prompt_tokens=prompt, output_tokens=output, **fields)


def per_chip(one: Reached) -> float:
    """Chips for a request a second; infinite where none is served."""
    return one.plan.chips / one.requests_per_s if one.requests_per_s else math.inf
