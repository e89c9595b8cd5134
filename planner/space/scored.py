"""The best of plans that are all scored."""

from collections.abc import Sequence

from planner.answers.question import FIELDS, SAMPLE_FIELDS, Question
from planner.errors import InputError
from planner.plan import Plan
from planner.scoring.score import Score


def best_of_scored(
    scored: Sequence[tuple[Plan, Score]], question: Question
) -> tuple[Plan, Score] | None:
    """Of those that keep the limits the best, and of plans as good the one on the fewest chips;
    None where none keeps them. An InputError where the objective is not known of one of them."""
    ranks = [(_value(score, question.objective), plan.chips) for plan, score in scored]
    kept = [number for number, (_, score) in enumerate(scored) if _keeps(score, question)]
    return scored[min(kept, key=lambda number: ranks[number])] if kept else None


def _value(score: Score, field: str) -> float:
    """A field, so that lower is better; a refusal where it is not known."""
    value = getattr(score, field)
    if value is None:
        raise InputError(
            f"{field} needs a figure of the machine that is not published; write it into its file"
        )
    return _canonical(field, float(value))


def _keeps(score: Score, question: Question) -> bool:
    """Whether a score keeps all limits, as surely as is asked."""
    sure = question.sure
    for name, limit in question.limits:
        reached = _value(score, name)
        if sure is not None:
            reached = _canonical(name, score.sure(name, sure))
        if reached > _canonical(name, limit) + 1e-12 * abs(limit):
            return False
    return True


def _canonical(field: str, value: float) -> float:
    return -value if (FIELDS | SAMPLE_FIELDS)[field].best == "most" else value
