"""How much more a plan could serve within its limits, and what then stands in the way."""

import math
from collections.abc import Callable
from typing import Any

from planner import allowance
from planner.answers.question import FIELDS
from planner.answers.results import Result
from planner.answers.sizings import Headroom
from planner.errors import InfeasibleError, InputError, NoPlanFoundError
from planner.planning.partitioning import partition
from planner.pricing.loads import PERCENTILES
from planner.scoring.plans import score_plan
from planner.scoring.score import Score

CLOSE = 1 + 1e-9
"""Values that are no further above a limit keep it."""
MOST_TIMES = 2.0**20
"""A demand that may be so many times as large is not looked at any further."""
TOLERANCE = 1e-4
"""Relative: how near the most that a plan serves is told."""


def headroom_of(result: Result) -> tuple[str, Headroom | None]:
    """What binds a plan: a limit, or a resource ('' where nothing does), and how much more of the
    demand it could serve; None where no demand is given."""
    workload = result.workload
    if workload.requests_per_s is not None:
        return _of_rate(result, workload.requests_per_s)
    if workload.batch_size is not None:
        return _of_users(result, workload.batch_size)
    return _fewer_chips(result), _of_tokens(result)


def _of_rate(result: Result, asked: float) -> tuple[str, Headroom | None]:
    """The most requests a second that the plan serves."""

    def broken(rate: float) -> str:
        return broken_by(result, requests_per_s=rate)

    low, high = asked, 2 * asked
    while not broken(high):
        if high > MOST_TIMES * asked:
            return "", None
        low, high = high, 2 * high
    while high > low * (1 + TOLERANCE):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if broken(middle) else (middle, high)
    return broken(high), Headroom(field="requests_per_s", demand=asked, capacity=low)


def _of_users(result: Result, asked: int) -> tuple[str, Headroom | None]:
    """The most users that the plan serves at once."""
    most = _largest(lambda users: not broken_by(result, batch_size=users), asked)
    if most is None:
        return "", None
    binds = broken_by(result, batch_size=most + 1)
    return binds, Headroom(field="batch_size", demand=asked, capacity=most)


def _largest(holds: Callable[[int], bool], known: int) -> int | None:
    """The largest number that holds, from one that does; None: there is no end to it."""
    low, high = known, 2 * known
    while holds(high):
        if high > MOST_TIMES * known:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _of_tokens(result: Result) -> Headroom | None:
    """The most tokens a second that as many chips of the machine serve within the other limits, or
    requests where those are asked for; None where neither is."""
    limits = dict(result.limits)
    tokens = limits.pop("tokens_per_s", 0.0)
    requests = limits.pop("requests_per_s", 0.0)
    each = result.workload.output_tokens
    demand = max(tokens, requests * each)
    if not demand:
        return None
    try:
        best = _planned(result, result.topology.chips, limits | {"chips": result.score.chips})
    except (InfeasibleError, NoPlanFoundError):
        return None
    most = best.objective if result.sure is None else best.score.sure(best.field, result.sure)
    most = max(most, demand)
    if tokens >= requests * each:
        return Headroom(field="tokens_per_s", demand=tokens, capacity=most)
    return Headroom(field="requests_per_s", demand=requests, capacity=most / each)


def _fewer_chips(result: Result) -> str:
    """What a machine of one chip less lacks."""
    if result.score.chips == 1:
        return ""
    try:
        _planned(result, result.score.chips - 1, dict(result.limits))
    except InfeasibleError as error:
        return error.resource.removeprefix("limit on ")
    except NoPlanFoundError:
        return ""
    return ""


def _planned(result: Result, chips: int, limits: dict[str, float]) -> Result:
    """The plan of most tokens a second on so many chips."""
    return partition(
        result.graph,
        result.topology.replace(chips=chips),
        result.workload,
        maximize="tokens_per_s",
        limits=limits,
        sure=result.sure if limits else None,
        power_scope=result.question.power_scope,
        space=result.space,
        sequence_parallel=result.sequence_parallel,
        micro_batches=result.micro_batches,
        offload=False,
    )


def broken_by(result: Result, **demand: Any) -> str:
    """The limit that a plan breaks under another demand, as surely as was asked for, or the resource
    that is short; '' where it keeps all of them."""
    allowance.look()
    workload = result.workload.replace(**demand)
    scope = result.question.power_scope
    try:
        score = score_plan(result.plan, result.graph, result.topology, workload, power_scope=scope)
    except InfeasibleError as error:
        return error.resource
    except InputError:
        return "what the software takes"
    if score.queued > workload.queued:
        return "places for users"
    broken = (
        name for name, value in result.limits if _breaks(score, name, value, sure=result.sure)
    )
    return next(broken, "")


def _breaks(score: Score, name: str, value: float, *, sure: float | None) -> bool:
    """Whether a score breaks a limit; of a field that a score does not have, nothing is said."""
    if name in PERCENTILES:
        return not score.stays_within(name, value, sure)
    reached = getattr(score, name, None)
    if reached is None or name not in FIELDS:
        return False
    if sure is not None:
        reached = score.sure(name, sure)
    if FIELDS[name].best == "least":
        return bool(reached > value * CLOSE)
    return bool(reached * CLOSE < value)
