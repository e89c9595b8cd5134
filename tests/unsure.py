"""Software whose prices are less sure for some plans than for others, and how surely a score keeps
limits."""

import random

import planner as pl
from planner.machines.software import Covered, Residual, Software, Widening
from planner.pricing.loads import PERCENTILES
from planner.scoring.score import Score
from tests.oracle import HIGHER_IS_BETTER

FIELDS = ("ttft_s", "tpot_s", "request_s", "tokens_per_s", "power_w")
REASONS = (
    "split", "far split", "experts", "far experts", "stages", "nodes", "batch", "far batch",
)  # fmt: skip


def unsure(dice: random.Random, software: Software) -> Software:
    """The same with residuals, covers and widenings: how sure a figure is depends on degrees,
    stages and sequences in flight."""
    least = dice.choice((1, 1, 2, 3))
    covered = Covered(
        makers=("tiny",),
        architectures=("tiny",),
        chips=("tiny",),
        dense=(1.0, 1e12),
        experts=(1.0, 1e12),
        weight_dtypes=("bf16",),
        most_tensor_parallel=dice.choice((1, 2, 64)),
        most_expert_parallel=dice.choice((1, 2, 64)),
        most_stages=dice.choice((1, 2, 64)),
        across_nodes=dice.random() < 0.5,
        drafts=True,
        sequences=(float(least), float(least * dice.choice((1, 2, 3)))),
        context_tokens=(1.0, 1e6),
    )
    widths = {name: dice.choice((0.02, 0.1, 0.3)) for name in FIELDS}
    wider = {name: dice.choice((0.05, 0.2, 0.5)) for name in REASONS}
    return software.replace(
        residuals=tuple(Residual(field=name, half_width=one) for name, one in widths.items()),
        covers=(covered,),
        widenings=tuple(Widening(reason=name, half_width=one) for name, one in wider.items()),
    )


def keeps(score: Score, limits: dict[str, float], sure: float | None, slack: float) -> bool:
    """Whether a score keeps limits, by so much more than it has to."""
    for name, limit in limits.items():
        if name in PERCENTILES:
            kept = score.stays_within(name, limit * (1 - slack), sure)
        else:
            reached = getattr(score, name) if sure is None else score.sure(name, sure)
            sign = -1 if name in HIGHER_IS_BETTER else 1
            kept = sign * (reached - limit) <= -slack * abs(limit)
        if not kept:
            return False
    return True


def reached(score: Score, name: str, sure: float | None = None) -> float | None:
    """A field or a percentile as surely; None where it has none."""
    try:
        return float(getattr(score, name) if sure is None else score.sure(name, sure))
    except pl.InputError:
        return None
