"""Which limits no plan keeps, and how near to each of them plans come.

A limit that no plan keeps even without the others is told with the best value of its field. Limits
that only fail together are told with the best value of each while the others are kept. All of these
are optima of the same search, or, where time is short, what was found and what was proved.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from planner.errors import InfeasibleError, listed
from planner.machines.cluster import PooledPlan
from planner.planning.reaching import (
    CLOSE,
    AnySpace,
    Limits,
    Reached,
    best_is_least,
    is_beyond,
    keeps,
    reached,
)
from planner.planning.remedies import what_reaches, what_serves
from planner.report.plans import plan_line
from planner.report.words import WORDS, field_text
from planner.space.cluster_candidates import ClusterCandidates
from planner.units import spoken

NEXT_RATE = 1 + 1e-3
"""How near a rate that is served and one that is not are looked for, relative."""
FIRST_SHARE = 0.5
"""Of the time, that is kept for rates that are looked at after the first."""
NEARLY = (1 - 1e-9, 0.99, 0.95, 0.9, 0.8)
"""Shares of what a plan serves with as many in flight as fit, at which it is looked whether it does:
its micro-batches may not be all alike then."""
LEAST_SERVED = 1e-9
"""Share of the rate that was asked for below which none is looked for."""


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────


class _Alone(NamedTuple):
    """A limit that no plan keeps, whatever the others are."""

    name: str
    value: float
    best: Reached
    """Of all plans."""
    kept: Reached | None
    """Of those that keep the other limits; None where no such plan was found."""


def beyond_limits(spaces: Sequence[AnySpace], deadline: float = math.inf) -> InfeasibleError:
    """Which limit cannot be kept even alone, and what is nearest to it; else which limits cannot be
    kept together, and what is nearest to each with the others kept."""
    limits = spaces[0].question.limits
    one_by_one = True
    # The fewest chips take long to find, and where another limit is out of reach, they tell less.
    for name, value in sorted(limits, key=lambda limit: limit[0] == "chips"):
        best = reached(spaces, name, deadline=deadline, enough=value)
        if best.plan is not None and is_beyond(best, name, value):
            others = without(limits, name)
            kept = reached(spaces, name, others, deadline=deadline) if others else best
            one = _Alone(name, value, best, None if kept.plan is None else kept)
            return _beyond_one(spaces, one, deadline)
        one_by_one &= best.plan is not None and keeps(name, best.value, value)
    return _beyond_several(spaces, deadline, one_by_one=one_by_one)


def without(limits: Limits, *names: str) -> Limits:
    """The limits on other fields."""
    return tuple(pair for pair in limits if pair[0] not in names)


def _beyond_one(spaces: Sequence[AnySpace], one: _Alone, deadline: float) -> InfeasibleError:
    space, name, best = spaces[0], one.name, one.best
    others = without(space.question.limits, name)
    over = "under" if best_is_least(name) else "over"
    limit, bound = _told_apart(name, one.value, best.bound)
    said = f"{name} cannot be {over} {bound} on {space.place} (limit {limit}): {_nearest(one)}"
    if one.kept is not None and not _as_near(one.kept, best):
        said += f", and where {_kept_words(others)} {_is_kept(others)}, {_reaches(name, one.kept)}"
    return InfeasibleError(
        said,
        resource=f"limit on {name}",
        demand=one.value,
        capacity=(one.kept or best).value,
        more=what_reaches(spaces, name, one.value, others, deadline),
    )


def _nearest(one: _Alone) -> str:
    best = "least" if best_is_least(one.name) else "most"
    plan = _plan_words(one.best)
    if one.best.proved:
        return f"the {best} is {field_text(one.name, one.best.value)} with {plan}"
    return (
        f"the {best} that was found in time is {field_text(one.name, one.best.value)} with {plan}"
    )


def _as_near(one: Reached, other: Reached) -> bool:
    return math.isclose(one.value, other.value, rel_tol=1e-6)


def _beyond_several(
    spaces: Sequence[AnySpace], deadline: float, *, one_by_one: bool
) -> InfeasibleError:
    """`one_by_one`: plans were found that keep each of them alone."""
    space = spaces[0]
    limits = space.question.limits
    conflict = _least_conflict(spaces, deadline)
    near = [
        (name, others, found)
        for name, _ in conflict
        for others, found in [_with_others_kept(spaces, name, conflict, deadline)]
        if found.plan is not None
    ]
    names = listed(name for name, _ in conflict)
    if len(conflict) < len(limits):
        # Which others are asked for has no part in it.
        names = listed(_limit_words(name, value) for name, value in conflict)
    said = f"no plan on {space.place} keeps {_kept_words(limits)}"
    if one_by_one and len(limits) > 1:
        said = f"each of the limits on {names} can be kept by itself, but no plan on {space.place}"
        said += " keeps them together"
    if near:
        parts = [
            f"where {_kept_words(others)} {_is_kept(others)}, {_reaches(name, found)}"
            for name, others, found in near
        ]
        said += f": {', and '.join(parts)}"
    name, value = conflict[0]
    return InfeasibleError(
        said,
        resource="limits together",
        demand=float(len(limits)),
        capacity=float(len(limits) - 1),
        more=what_reaches(spaces, name, value, without(limits, name), deadline),
    )


def _least_conflict(spaces: Sequence[AnySpace], deadline: float) -> Limits:
    """Limits that cannot be kept together, while any of them left out the rest can: of all that are
    asked for, one after the other is left out where the rest still cannot."""
    conflict = spaces[0].question.limits
    for name, _ in conflict:
        rest = without(conflict, name)
        if len(rest) < 2:
            break
        first, _ = rest[0]
        found = reached(spaces, first, rest, deadline=deadline, enough=math.inf)
        if found.is_impossible:
            conflict = rest
    return conflict


def _with_others_kept(
    spaces: Sequence[AnySpace], name: str, conflict: Limits, deadline: float
) -> tuple[Limits, Reached]:
    """The best value of a field with all other limits kept; where no plan keeps those, with the
    others of the conflict."""
    others = without(spaces[0].question.limits, name)
    found = reached(spaces, name, others, deadline=deadline)
    if found.is_impossible and len(conflict) <= len(others):
        others = without(conflict, name)
        found = reached(spaces, name, others, deadline=deadline)
    return others, found


# ── Rates ────────────────────────────────────────────────────────────────────────────────────────


def beyond_rate(spaces: Sequence[AnySpace], deadline: float = math.inf) -> InfeasibleError | None:
    """That more requests come than any plan serves, and how many the best one does; None where one
    serves them."""
    space = spaces[0]
    rate = space.asked.requests_per_s
    if rate is None:
        return None
    if space.question.limits and not _served(spaces, rate, deadline).is_impossible:
        return None
    most = _most_served(spaces, rate, deadline)
    said = f"Workload.requests_per_s = {rate:.4g} is more than any plan on {space.place} can serve"
    if most.best.plan is not None:
        best = "the best plan" if most.is_proved else "the best plan that was found in time"
        served = f"{best}, {_plan_words(most.best)}, serves {most.served:.4g}"
        said += f": {served} requests a second, and no plan serves {most.bound:.4g}"
    return InfeasibleError(
        said,
        resource="rate of requests",
        demand=rate,
        capacity=most.served,
        more=what_serves(spaces, deadline),
    )


def _served(spaces: Sequence[AnySpace], rate: float | None, deadline: float) -> Reached:
    """A plan that serves so many requests, whatever else it does; None: the plan of the highest
    throughput, with as many in flight as it likes."""
    any_field = "ttft_s" if spaces[0].workload.phase == "prefill" else "tpot_s"
    field = "tokens_per_s" if rate is None else any_field
    at_rate = [_asked_at(space, rate, field) for space in spaces]
    enough = None if rate is None else math.inf
    return reached(at_rate, field, deadline=deadline, enough=enough)


def _asked_at(space: AnySpace, rate: float | None, field: str) -> AnySpace:
    """The same plans at another rate, asked for one field without limits."""
    workload = space.asked.replace(**_at_rate(rate))
    if isinstance(space, ClusterCandidates):
        return space.on(workload, field)
    return space.on(space.topology, workload, field)


def _at_rate(rate: float | None) -> dict[str, Any]:
    """What makes a workload come at a rate; None: with as many in flight as fit."""
    return {"requests_per_s": rate, "arrivals": "steady" if rate is None else "poisson"}


def _rate_of(found: Reached) -> float:
    """Requests a second that a plan serves."""
    if found.plan is None:
        return 0.0
    if isinstance(found.space, ClusterCandidates):
        return found.space.most_requests_per_s(cast(PooledPlan, found.plan))
    return found.space.most_requests_per_s(found.plan)


def _keeps_up(found: Reached, rate: float) -> bool:
    """Whether a plan serves so many, as its engine keeps them in flight."""
    assert found.plan is not None
    space = _asked_at(found.space, rate, "chips")
    plan = found.plan.replace(batch_size=None)
    if isinstance(space, ClusterCandidates):
        return space.allowed_value(cast(PooledPlan, plan)) < math.inf
    return space.keeps_limits(plan, rate, ())


class _Most(NamedTuple):
    """How many requests a second are served."""

    best: Reached
    """The plan that serves the most that was found."""
    served: float
    bound: float
    """So many no plan serves."""

    @property
    def is_proved(self) -> bool:
        """Whether the two are as near as they are looked for."""
        return self.bound <= self.served * NEXT_RATE * (1 + CLOSE)


def _most_served(spaces: Sequence[AnySpace], rate: float, deadline: float) -> _Most:
    """Between a rate that some plan serves and one that none does, by halves, until they are as
    near as `NEXT_RATE`.

    What a plan serves with as many in flight as fit is tried first, since it is often the most; but
    an engine that keeps other micro-batches in flight by then does not serve it.
    """
    left_s = deadline - time.monotonic()
    fast = _served(spaces, None, deadline - FIRST_SHARE * left_s if left_s < math.inf else deadline)
    most = _Most(fast._replace(plan=None), 0.0, rate)
    guess = _rate_of(fast)
    kept = [share * guess for share in NEARLY if guess and share * guess < rate]
    first = next((one for one in kept if _keeps_up(fast, one)), None)
    if first is not None:
        most = _Most(fast, first, rate)
        guess = max(guess * (1 - CLOSE), first * NEXT_RATE)
    while not most.is_proved and time.monotonic() < deadline:
        tried = guess
        if not most.served < guess < most.bound:
            tried = math.sqrt(most.served * most.bound) or most.bound / 2
        found = _served(spaces, tried, deadline)
        if found.plan is not None:
            most = _Most(found, tried, most.bound)
            guess = max(_rate_of(found) * (1 - CLOSE), tried * NEXT_RATE)
        elif found.proved:
            most = most._replace(bound=tried)
        else:
            break
        if most.bound < rate * LEAST_SERVED:
            break
    return most


# ── Words ────────────────────────────────────────────────────────────────────────────────────────


def _limit_words(name: str, value: float) -> str:
    most = "at most" if best_is_least(name) else "at least"
    return f"{name} {most} {field_text(name, value)}"


def _kept_words(limits: Limits) -> str:
    return listed(_limit_words(name, value) for name, value in limits)


def _is_kept(limits: Limits) -> str:
    return "is kept" if len(limits) == 1 else "are kept"


def _reaches(name: str, found: Reached) -> str:
    best = "least" if best_is_least(name) else "most"
    if not found.proved:
        best = f"{best} found in time"
    value = field_text(name, found.value)
    return f"the {best} for {name} is {value} with {_plan_words(found)}"


def _plan_words(found: Reached) -> str:
    assert found.plan is not None
    return plan_line(found.plan)


def _told_apart(name: str, one: float, other: float) -> tuple[str, str]:
    """Two values in words, with as many digits as it takes to tell them apart."""
    texts = field_text(name, one), field_text(name, other)
    unit = WORDS[name].unit
    digits = 4
    while texts[0] == texts[1] and digits < 12:
        texts = spoken(one, unit, digits), spoken(other, unit, digits)
        digits += 1
    return texts
