"""What no plan exceeds, where nothing better is known: the arithmetic of a token at the peak of all
chips that there are."""

import math

from planner.answers.question import ASKED
from planner.errors import NoPlanFoundError
from planner.scoring.score import Score
from planner.workload import Workload

SLACK = 2.0
"""For what a plan may save of the arithmetic that is counted as useful, such as rounding."""


def ceiling(score: Score, field: str, workload: Workload, *, all_peaks: float) -> float:
    """What no plan is better than in a field of which more is better, from the score of one;
    `all_peaks`: the arithmetic of all chips that there are, over that of the chips of that plan.

    What is useful of the arithmetic of a token is the same in every plan, and none does it faster
    than at the peak. A NoPlanFoundError where a plan says nothing of that.
    """
    assert ASKED[field].best == "most"
    if field in ("mfu_fraction", "mbu_fraction"):
        return 1.0
    at_peak = score.tokens_per_s / score.mfu_fraction if score.mfu_fraction else math.inf
    tokens_per_s = SLACK * at_peak * all_peaks
    tokens = workload.prompt_tokens + workload.output_tokens
    most = {
        "tokens_per_s": tokens_per_s,
        "requests_per_s": tokens_per_s / workload.output_tokens,
        # On one chip no more is done for each than on all.
        "tokens_per_s_per_chip": tokens_per_s,
        # A user's own tokens take no more arithmetic each than one of the prompt, on average.
        "tokens_per_s_per_user": tokens_per_s * tokens / workload.output_tokens,
    }.get(field, math.inf)
    if not math.isfinite(most):
        raise NoPlanFoundError(
            f"time ran out before anything was proved of {field}; allow more time"
        )
    return most


def told(bound: float, score: Score, field: str, workload: Workload, *, all_peaks: float) -> float:
    """A bound as it is, or the ceiling, where it is none."""
    if math.isfinite(bound):
        return bound
    return ceiling(score, field, workload, all_peaks=all_peaks)
