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
    """Such as "usd_per_hour would be 8.2 % lower (2.66 USD/h) with 2 × (TP4), but tpot_s would be
    34 ms, 13 % beyond its limit of 30 ms"."""
    lower = "lower" if miss.direction == "minimize" else "higher"
    reached = field_text(miss.broken, miss.reached)
    limit = field_text(miss.broken, miss.allowed)
    by = f"{trimmed(100 * miss.beyond_fraction, 2)} %"
    if reached == limit:
        by += f" ({field_text(miss.broken, miss.beyond)})"
    plan = plan_line(miss.plan)
    if miss.plan.batch_size is not None:
        plan += f" and {miss.plan.batch_size:,} sequences in flight"
    return (
        f"{miss.field} would be {trimmed(100 * miss.effect, 2)} % {lower}"
        f" ({field_text(miss.field, miss.objective)}) with {plan}, but {miss.broken} would be"
        f" {reached}, {by} beyond its limit of {limit}"
    )


def near_miss_lines(result: Result) -> list[str]:
    """The nearest misses of an answer, where they are quickly found."""
    return [f"near miss: {near_miss_line(miss)}" for miss in result.kept(quick_misses)[:MOST_TOLD]]


def quick_misses(result: Result) -> tuple[NearMiss, ...]:
    """The near misses that can be found at once; () where the answer itself took longer."""
    if not result.limits or result.elapsed_s > QUICK_S:
        return ()
    return result.near_misses(time_limit_s=QUICK_S)
