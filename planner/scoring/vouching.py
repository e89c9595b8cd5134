"""Which plans no measured row vouches for, and how much wider their intervals are.

What a stack's residuals say holds for plans like those that were measured on it. No row of
`calibration/published.csv` has a serving engine with more than one stage under steady arrivals, and
none has experts shared out over more than eight chips (a test counts them) or layers off its chips'
first memory, so such a plan is as uncertain as a stack on which nothing was measured.
"""

from collections.abc import Iterator

from planner.machines.software import Residual, Software
from planner.plan import Plan
from planner.scoring.score import UNMEASURED, residuals_of
from planner.workload import Workload

MOST_EXPERT_PARALLEL = 8
"""Chips over which experts are shared out in any measured row."""


def unvouched(plan: Plan, software: Software, workload: Workload) -> tuple[str, ...]:
    """What of a plan no measured row vouches for, in words; () where rows do."""
    return tuple(_unvouched(plan, software, workload))


def _unvouched(plan: Plan, software: Software, workload: Workload) -> Iterator[str]:
    # Pipelines that are measured serve one batch at a time, or are no serving engine's, of which it
    # is known what it keeps in flight.
    serves = software.engine.micro_batches != "any"
    if serves and workload.arrivals == "steady" and len(plan.stages) > 1:
        yield (
            f"no measured row of {software.name} that serves requests as they come has more than"
            f" one stage, and this plan has {len(plan.stages)}"
        )
    widest = max(stage.expert_parallel for stage in plan.stages)
    if widest > MOST_EXPERT_PARALLEL:
        yield (
            f"no measured row shares out experts over more than {MOST_EXPERT_PARALLEL} chips, and"
            f" this plan over {widest}"
        )
    away = sum(len(stage.offloaded) for stage in plan.stages)
    if away:
        yield (
            "no row of the tables has layers off the first memory of its chips, and this plan has"
            f" {away}"
        )


def residuals_for(software: Software, doubts: tuple[str, ...]) -> tuple[Residual, ...]:
    """How uncertain the fields of a plan's score are; where no row vouches for it, at least as
    much as those of a stack on which nothing was measured."""
    measured = software.kept(residuals_of)
    if not doubts:
        return measured
    return tuple(one.replace(half_width=max(one.half_width, UNMEASURED)) for one in measured)
