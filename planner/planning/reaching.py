"""How near a limit can come: the best value of its field under the other limits, found and proved by
the same search that answers the question itself."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.errors import InputError, TimeUpError
from planner.machines.cluster import PooledPlan
from planner.plan import Plan
from planner.planning.engine_search import AnySearch, EngineClusterSearch, search_of
from planner.planning.search import CLOSE as CLOSED
from planner.planning.search import ClusterSearch, Search
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates

AnySpace = Candidates | ClusterCandidates
Limits = tuple[tuple[str, float], ...]
"""Fields, and the worst that each may be."""

ANY_VALUE = sys.float_info.max
"""A value that any plan betters: the first one ends a search."""
CLOSE = 1e-9
"""Relative: values that are no further beyond a limit keep it."""


class Reached(NamedTuple):
    """The best that was found of one field."""

    plan: Plan | PooledPlan | None
    """None where no plan was found."""
    value: float
    """In the field's own unit; not a number where there is no plan."""
    bound: float
    """Proved: no plan reaches better, in the same unit."""
    proved: bool
    """Whether nothing is better; without a plan: whether there is none."""
    space: AnySpace
    """That the plan is one of."""

    @property
    def is_impossible(self) -> bool:
        """Whether it is proved that there is no plan."""
        return self.plan is None and self.proved


def asked(space: AnySpace, objective: str, limits: Limits) -> AnySpace:
    """The same plans, asked another question."""
    sure = space.question.sure if limits else None
    question = replace(space.question, objective=objective, limits=limits, sure=sure)
    if isinstance(space, ClusterCandidates):
        return ClusterCandidates(
            space.graph, space.cluster, space.workload, question, anywhere=space.anywhere
        )
    return Candidates(space.graph, space.topology, space.asked, question, exclude=space.exclude)


def reached(
    spaces: Sequence[AnySpace],
    name: str,
    limits: Limits = (),
    *,
    deadline: float = math.inf,
    enough: float | None = None,
) -> Reached:
    """The best value of a field over the plans of some spaces that keep some limits.

    Of open drafts each number of tokens is a space. `enough` is a value of the field that need not
    be bettered; then the first plan that reaches it is taken, and `proved` says no more than that
    one was found.
    """
    every = [_reached_in(space, name, limits, deadline, enough) for space in spaces]
    sign = 1 if best_is_least(name) else -1
    found = [one for one in every if one.plan is not None]
    if not found:
        proved = all(one.proved for one in every)
        bound = sign * min(sign * one.bound for one in every)
        return Reached(None, math.nan, bound, proved, spaces[0])
    best = min(found, key=lambda one: sign * one.value)
    bound = sign * min(sign * one.bound for one in every)
    proved = sign * bound >= sign * best.value - CLOSE * abs(best.value)
    return best._replace(bound=best.value if proved else bound, proved=proved)


def keeps(name: str, value: float, limit: float) -> bool:
    """Whether a value of a field keeps a limit on it."""
    slack = CLOSE * abs(limit)
    return value <= limit + slack if best_is_least(name) else value >= limit - slack


def best_is_least(name: str) -> bool:
    """Whether less of a field is better, of a language model's or of a diffusion model's."""
    return (ASKED | SAMPLE_FIELDS)[name].best == "least"


def is_beyond(one: Reached, name: str, limit: float) -> bool:
    """Whether it is proved that no plan keeps a limit on the field."""
    return one.is_impossible or not keeps(name, one.bound, limit)


def _reached_in(
    space: AnySpace, name: str, limits: Limits, deadline: float, enough: float | None
) -> Reached:
    """Of one space; nothing where the field is one that can be limited and not made best."""
    try:
        other = asked(space, name, limits)
    except InputError:
        return Reached(None, math.nan, space.field_value(name, 0.0), False, space)
    return _reached(other, deadline, enough)


def _reached(space: AnySpace, deadline: float, enough: float | None) -> Reached:
    """Of one space."""
    name = space.question.objective
    if deadline != math.inf and time.monotonic() >= deadline:
        return Reached(None, math.nan, space.field_value(name, 0.0), False, space)
    search = _search(space, deadline)
    if enough is not None:
        search.enough = ANY_VALUE if math.isinf(enough) else space.canonical(name, enough)
    search.run()
    if search.interrupted:
        raise TimeUpError(interrupted=True)
    if search.best.plan is None:
        gone = search.bound == math.inf
        bound = 0.0 if gone else max(0.0, search.bound)
        return Reached(None, math.nan, space.field_value(name, bound), gone, space)
    value = search.best.value
    proved = search.bound >= value * CLOSED
    bound = value if proved else max(0.0, search.bound)
    return Reached(
        search.best.plan,
        space.field_value(name, value),
        space.field_value(name, bound),
        proved,
        space,
    )


def _search(space: AnySpace, deadline: float) -> "ClusterSearch | AnySearch":
    left_s = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
    if isinstance(space, ClusterCandidates):
        return EngineClusterSearch(space, time_limit_s=left_s)
    search = search_of(space, time_limit_s=left_s, nice=False)
    if isinstance(search, Search) and left_s is not None:
        # Bounds of what the clock has left are not worth the wait.
        search.bounds_rest = False
    return search
