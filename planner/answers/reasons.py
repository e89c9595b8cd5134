"""Why a plan is the best: what binds, what more would buy, what other shapes reach."""

from typing import Literal

from planner.answers.misses import NearMiss
from planner.machines.cluster import PooledPlan
from planner.plan import Plan
from planner.records import Record


class Binding(Record):
    """A resource that holds the plan back."""

    resource: str
    """Such as "memory bandwidth of the H100s of stage 0"."""
    share_fraction: float
    """Of the time of an output token that goes there, of what may be filled, or of what a limit
    allows."""
    counts: Literal["time", "memory", "limit"]


class ShadowPrice(Record):
    """What more of one resource would buy."""

    change: str
    """Such as "one more GB of memory on each chip"."""
    objective: float | None
    """Of the best plan on the changed machine; None where that was not answered in time."""
    effect: float | None
    """Relative improvement of the objective; 0.04: 4 % better."""
    proved: bool
    """Whether the changed question was solved to the end; else the effect is at least this, or was
    not found in time."""


class Alternative(Record):
    """The best plan of another shape."""

    shape: str
    """Such as "tensor × pipeline": the ways in which it uses more than one chip."""
    plan: PooledPlan | Plan | None
    """None where there is none, or none was found in time; `refused` says why."""
    objective: float | None
    effect: float | None
    """Relative to the best plan of all; 0.3: 30 % worse, 0: as good (within 0.1 %)."""
    proved: bool
    """Whether it is proved that no plan of the shape is better, or that there is none."""
    refused: str = ""


class Reasons(Record):
    """Why the best plan is the best."""

    field: str
    direction: Literal["minimize", "maximize"]
    objective: float
    shape: str
    """Of the plan itself; on a cluster its pools."""
    pools: tuple[str, ...] = ()
    """On a cluster, those that the plan uses, in the order of the layers; the alternatives are then
    the best plans without one of them."""
    binding: tuple[Binding, ...]
    """What holds it back, the strongest first."""
    prices: tuple[ShadowPrice, ...]
    """The strongest first, those without effect last."""
    alternatives: tuple[Alternative, ...]
    """The best first, then the shapes of which there is no plan."""
    near_misses: tuple[NearMiss, ...] = ()
    """Better plans, each of which breaks one limit by the least; the smallest breach first."""
    better: PooledPlan | Plan | None = None
    """Where a better plan than the result's was found on the way: that one, which all this then
    explains. The result's own is among the alternatives."""
    proved: bool = True
    """Whether it is proved that no plan is better than the one explained."""
    elapsed_s: float
