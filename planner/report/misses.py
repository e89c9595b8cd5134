"""Near misses in words."""

from planner.answers.misses import NearMiss
from planner.answers.results import Result
from planner.report.plans import plan_line
from planner.report.words import field_text
from planner.units import trimmed

MOST_TOLD = 2
"""Of an answer."""
QUICK_S = 1.0
"""Answers that took no longer tell their near misses unasked, and take no longer for these."""


def near_miss_line(miss: NearMiss) -> str:
    """Such as "8.2 % cheaper (2.66 USD) with 2 × (TP4), but tpot_s 34 ms breaks 30 ms by 13 %"."""
    better = "cheaper" if miss.field.startswith("usd") else "better"
    better = "fewer chips" if miss.field == "chips" else better
    reached = field_text(miss.broken, miss.reached)
    limit = field_text(miss.broken, miss.allowed)
    by = f"{trimmed(100 * miss.beyond_fraction, 2)} %"
    if reached == limit:
        by += f" ({field_text(miss.broken, miss.beyond)})"
    plan = plan_line(miss.plan)
    if miss.plan.batch_size is not None:
        plan += f" and {miss.plan.batch_size:,} in flight"
    return (
        f"{trimmed(100 * miss.effect, 2)} % {better} ({field_text(miss.field, miss.objective)})"
        f" with {plan}, but {miss.broken} {reached} breaks {limit} by {by}"
    )


def near_miss_lines(result: Result) -> list[str]:
    """The nearest misses of an answer, where they are quickly found."""
    return [f"near miss: {near_miss_line(miss)}" for miss in result.kept(quick_misses)[:MOST_TOLD]]


def quick_misses(result: Result) -> tuple[NearMiss, ...]:
    """The near misses that can be found at once; () where the answer itself took longer."""
    if not result.limits or result.elapsed_s > QUICK_S:
        return ()
    return result.near_misses(time_limit_s=QUICK_S)
