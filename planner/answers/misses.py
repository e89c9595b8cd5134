"""Plans that an answer's limits stand in the way of: better than it, but for one limit."""

from typing import Literal

from planner.machines.cluster import PooledPlan
from planner.plan import Plan
from planner.records import Record
from planner.scoring.score import Score


class NearMiss(Record):
    """A plan that is better than an answer's and breaks one of its limits, all others kept."""

    plan: PooledPlan | Plan
    score: Score
    field: str
    """The objective of the question."""
    direction: Literal["minimize", "maximize"]
    objective: float
    """What the plan reaches."""
    effect: float
    """Relative improvement of the objective on the answer's; 0.08: 8 % better."""
    broken: str
    """The field whose limit the plan breaks."""
    allowed: float
    reached: float
    beyond: float
    """|reached - allowed|, in the field's own unit."""
    beyond_fraction: float
    """The same relative to what is allowed."""
    proved: bool
    """Whether no plan that is better than the answer by as much as is worth telling breaks this
    limit by less, and none that breaks it by no more has a better objective."""
