"""What every answer says of the search behind it: what was asked, found and proved, and what
ended the search."""

import math
from typing import Any, Literal

from planner.answers.question import Question
from planner.machines.engine import Space
from planner.models.graph import ModelGraph
from planner.records import Record
from planner.workload import Workload

TOLERANCE = 1e-9
"""Relative: between the solver's objective and the score of its plan, and between objective and
bound of an optimum."""

AS_GOOD = 1e-3
"""Relative: plans no further apart are as good, where one of them holds fewer chips."""

StoppedBy = Literal["proof", "time", "interrupt", "beam"]


class Ended(Record):
    """A search that has come to an end."""

    elapsed_s: float
    """That the search took, by the wall."""
    stopped_by: StoppedBy | None = None
    """Proof: everything is proved. Time: the clock ran out. Interrupt: Ctrl-C. Beam: the search
    kept as many partial plans as it may and could not decide the rest. None in files written
    before this was said."""


class Proof(Ended):
    """What was found, and how good the best can be at most."""

    status: Literal["optimal", "feasible"]
    """Optimal: nothing of the space is better, but for plans within 0.1 % that hold more chips,
    where the gap says so. Feasible: that is not proved; the bound says how much better it might
    be."""
    objective: float
    """What was found: the value of the field, in the unit of its name."""
    bound: float
    """Proved: nothing of the space is better than this."""
    gap: float
    """|objective - bound| / |objective|."""


class Answer(Proof):
    """What was asked of a model and its traffic, and what was found and proved."""

    field: str
    """The field of the score that was optimised."""
    direction: Literal["minimize", "maximize"]
    """Whether less of it is better, or more."""
    limits: tuple[tuple[str, float], ...]
    """Field and worst value allowed, in the unit of its name."""
    sure: float | None = None
    """With what probability each limit is to be kept by what would be measured; None: by the
    price."""
    graph: ModelGraph
    """The model that was planned."""
    workload: Workload
    """What was asked of it."""
    space: Space = "any"
    """Which plans there were to choose from: those that the software's engine can be started
    with, or any; files written before this was said are of any."""


def proved(
    question: Question,
    *,
    objective: float,
    promised: float,
    bound: float,
    elapsed_s: float,
    stopped_by: StoppedBy | None = None,
    fewer_chips: bool = False,
) -> dict[str, Any]:
    """The fields of an `Answer` that speak of proof, once the score says the same as the search.

    `objective` is the plan's score in the field asked, `promised` the value that the search gave
    it, `bound` what the search proved, all in the field's own unit. Where objective and bound agree
    within `TOLERANCE`, the answer is optimal; also where a plan within `AS_GOOD` was taken for its
    `fewer_chips`, and then the gap stays what it is.
    """
    if not math.isclose(objective, promised, rel_tol=TOLERANCE):
        raise AssertionError(
            f"the search promised {promised!r} for {question.objective}, its plan scores"
            f" {objective!r}"
        )
    sign = 1 if question.direction == "minimize" else -1
    optimal = sign * (promised - bound) <= TOLERANCE * abs(promised)
    if optimal:
        bound = objective
        stopped_by = "proof"
    as_good = fewer_chips and sign * (promised - bound) <= AS_GOOD * (1 + 1e-6) * abs(promised)
    return {
        "status": "optimal" if optimal or as_good else "feasible",
        "field": question.objective,
        "direction": question.direction,
        "objective": objective,
        "bound": bound,
        "gap": gap_between(objective, bound),
        "limits": question.limits,
        "sure": question.sure,
        "space": question.space,
        "elapsed_s": elapsed_s,
        "stopped_by": stopped_by,
    }


def proved_by_all(question: Question, objective: float, *, elapsed_s: float) -> dict[str, Any]:
    """The same where every plan of a space was scored: what the best of them reaches is the
    bound."""
    return proved(
        question, objective=objective, promised=objective, bound=objective, elapsed_s=elapsed_s
    )


def gap_between(objective: float, bound: float) -> float:
    """|objective - bound| / |objective|; 0 where the objective is 0. [1]"""
    if objective == 0.0:
        return 0.0
    return abs(objective - bound) / abs(objective)
