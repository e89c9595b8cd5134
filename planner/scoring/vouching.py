"""Which plans no measured row vouches for, and how much wider their intervals are.

What a stack's residuals say holds for plans like those that were measured on it. No row of
`calibration/published.csv` has a serving engine with more than one stage under steady arrivals, or
layers off its chips' first memory; and those of a stack share out experts over so many chips and no
more, over most of them where prompts come from another pool (a test counts all this). Beyond, a
plan is as uncertain as a stack on which nothing was measured.
"""

from collections.abc import Iterator

from planner.machines.software import Residual, Software
from planner.plan import Plan
from planner.scoring.score import UNMEASURED, residuals_of
from planner.workload import Workload

MOST_EXPERT_PARALLEL = {"sglang": 8, "tensorrt-llm": 8, "vllm": 8}
"""Chips over which experts are shared out in the measured rows of a stack; in those of others they
are not."""
MOST_DECODING = {"sglang": 48, "tensorrt-llm": 32}
"""The same in decode pools, where those have the widest."""


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
    yield from _wide(plan, software.name, workload)
    away = sum(len(stage.offloaded) for stage in plan.stages)
    if away:
        yield (
            "no row of the tables has layers off the first memory of its chips, and this plan has"
            f" {away}"
        )


def _wide(plan: Plan, stack: str, workload: Workload) -> Iterator[str]:
    """That experts are shared out over more chips than in any row of the stack."""
    widest = max(stage.expert_parallel for stage in plan.stages)
    most = MOST_EXPERT_PARALLEL.get(stack, 1)
    kind = ""
    if workload.phase == "decode":
        most = MOST_DECODING.get(stack, most)
    elif stack in MOST_DECODING:
        kind = " that runs prompts"

    if widest > most:
        beyond = f" over more than {most} chips, and this plan over {widest}"
        if most == 1:
            beyond = f", and this plan does over {widest} chips"
        yield f"no measured row of {stack}{kind} shares out experts{beyond}"


def residuals_for(software: Software, doubts: tuple[str, ...]) -> tuple[Residual, ...]:
    """How uncertain the fields of a plan's score are; where no row vouches for it, at least as
    much as those of a stack on which nothing was measured."""
    measured = software.kept(residuals_of)
    if not doubts:
        return measured
    return tuple(one.replace(half_width=max(one.half_width, UNMEASURED)) for one in measured)
