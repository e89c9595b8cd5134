"""Near misses: the next better plans, each of which breaks one limit by the least.

For each limit in turn the question is turned round: with all other limits kept, and the objective
better than the answer's by what is worth telling, how near can the limit's field come? Of the plans
that come as near, the best is the near miss. Both are optima of the same search. No plan that keeps
all limits is better than the bound of an answer, so that a plan which betters the bound breaks one.
"""

import math
import time
from dataclasses import replace
from typing import NamedTuple

from planner import allowance
from planner.answers.misses import NearMiss
from planner.answers.results import ClusterResult, Result
from planner.errors import InfeasibleError, NoPlanFoundError
from planner.machines.cluster import PooledPlan
from planner.plan import Plan
from planner.planning.cutting_off import cut_off
from planner.planning.reaching import AnySpace, Limits, best_is_least, keeps, reached
from planner.scoring.clusters import score_pooled_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from planner.space.diffusion import best_sampled

WORTH = 0.01
"""Relative: how much better than the answer a near miss must be to be worth telling."""
CLOSE = 1e-9
"""Relative: values closer than this are one."""

AnyResult = Result | ClusterResult


class _Found(NamedTuple):
    """The best plan of one field, None where there is none or none was found in time."""

    plan: Plan | None
    value: float
    proved: bool


def near_misses_of(result: AnyResult, *, time_limit_s: float | None = None) -> tuple[NearMiss, ...]:
    """The next better plans than that of a result, for each limit at most one that breaks it alone,
    the smallest breach first.

    `time_limit_s` is shared out evenly over the limits; of one that is not answered in time nothing
    is told. Plans are those of the question, with as many tokens drafted and sequences in flight as
    in the answer; with layers off the chips none is looked for.
    """
    with allowance.allowed_for(time_limit_s):
        return _near_misses(result)


def _near_misses(result: AnyResult) -> tuple[NearMiss, ...]:
    limits = [(name, value) for name, value in result.limits if name != result.field]
    found: list[NearMiss] = []
    for number, (name, value) in enumerate(limits):
        left_s = allowance.left_s()
        share_s = math.inf if left_s is None else left_s / (len(limits) - number)
        until = time.monotonic() + share_s

        def ask(name: str = name, value: float = value, until: float = until) -> None:
            miss = _miss_of(result, name, value, until)
            if miss is not None:
                found.append(miss)

        cut_off(ask, until)
    return tuple(sorted(found, key=lambda miss: miss.beyond_fraction))


def improvement(result: AnyResult, objective: float) -> float:
    """Relative, of another value of the field; negative where that is worse."""
    if objective == result.objective:
        return 0.0
    step = math.inf
    if result.objective:
        step = (objective - result.objective) / abs(result.objective)
    return step if result.direction == "maximize" else -step


def _miss_of(result: AnyResult, name: str, limit: float, deadline: float) -> NearMiss | None:
    """Of one limit; None where no better plan breaks it alone, or none was found in time."""
    if not _is_searched(result):
        return None
    others = tuple(pair for pair in result.limits if pair[0] not in (name, result.field))
    goal = (result.field, _worth_telling(result))
    nearest = _best_of(result, name, (*others, goal), deadline)
    if nearest.plan is None:
        return None
    as_near = (name, _slackened(name, nearest.value))
    best = _best_of(result, result.field, (*others, as_near), deadline)
    plan = best.plan or nearest.plan
    return _told(result, name, limit, plan, proved=nearest.proved and best.proved)


def _is_searched(result: AnyResult) -> bool:
    """Whether plans were chosen by a search, or all scored, that can be asked again."""
    if isinstance(result, ClusterResult):
        return True
    if any(stage.offloaded for stage in result.plan.stages):
        return False
    return not result.exclude or result.question.of_engine(result.topology.software)


def _worth_telling(result: AnyResult) -> float:
    """The worst objective that is worth telling of, and better than any plan's that keeps all
    limits."""
    step = -WORTH if result.direction == "minimize" else WORTH
    worth = result.objective + step * abs(result.objective)
    if result.direction == "minimize":
        return min(worth, result.bound - CLOSE * abs(result.bound))
    return max(worth, result.bound + CLOSE * abs(result.bound))


def _best_of(result: AnyResult, name: str, limits: Limits, deadline: float) -> _Found:
    """The best value of a field under limits, over the plans that the result was chosen from."""
    if isinstance(result, Result) and result.graph.is_diffusion:
        return _best_sampled(result, name, limits, deadline)
    found = reached([_space_of(result)], name, limits, deadline=deadline)
    plan = found.plan if isinstance(found.plan, Plan) else None
    return _Found(plan, found.value, found.proved)


def _space_of(result: AnyResult) -> AnySpace:
    """The plans that a result was chosen from."""
    if isinstance(result, ClusterResult):
        return ClusterCandidates(result.graph, result.cluster, result.workload, result.question)
    seated = result.workload
    if result.score.batch_size < (seated.batch_size or 0):
        seated = seated.seated(result.score.batch_size)
    return Candidates(
        result.graph, result.topology, seated, result.question, exclude=result.exclude
    )


def _best_sampled(result: Result, name: str, limits: Limits, deadline: float) -> _Found:
    """The same of a diffusion model, whose plans are all scored."""
    question = replace(result.question, objective=name, limits=limits)
    asked = result.graph, result.topology, result.workload, question
    try:
        found = best_sampled(*asked, deadline=deadline)
    except InfeasibleError:
        return _Found(None, math.nan, proved=True)
    except NoPlanFoundError:
        return _Found(None, math.nan, proved=False)
    value = float(getattr(found.score, name))
    return _Found(found.plan, value, proved=found.ended == "proof")


def _slackened(name: str, value: float) -> float:
    """A value as a limit that it keeps itself, whatever rounding does."""
    slack = CLOSE * abs(value)
    return value + slack if best_is_least(name) else value - slack


def _told(
    result: AnyResult, name: str, limit: float, plan: Plan, *, proved: bool
) -> NearMiss | None:
    """The record, once the score says that it is one."""
    score = _scored(result, plan)
    value = float(getattr(score, name))
    objective = float(getattr(score, result.field))
    effect = improvement(result, objective)
    if effect <= 0.0 or keeps(name, value, limit):
        return None
    return NearMiss(
        plan=plan,
        score=score,
        field=result.field,
        direction=result.direction,
        objective=objective,
        effect=effect,
        broken=name,
        allowed=limit,
        reached=value,
        beyond=abs(value - limit),
        beyond_fraction=abs(value - limit) / limit,
        proved=proved,
    )


def _scored(result: AnyResult, plan: Plan) -> Score:
    scope = result.question.power_scope
    with allowance.freely():
        if isinstance(result, ClusterResult):
            if not isinstance(plan, PooledPlan):
                raise AssertionError("a plan of a cluster does not say on which pools it is")
            return score_pooled_plan(
                plan, result.graph, result.cluster, result.workload, power_scope=scope
            )
        return score_plan(
            plan,
            result.graph,
            result.topology,
            result.workload,
            power_scope=scope,
            exclude=result.exclude,
        )
