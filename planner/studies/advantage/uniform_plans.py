"""The best uniform plan of one machine for models of every size: what is looked up while a root is
still far."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from planner.errors import InfeasibleError
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.uniform import plan_grid
from planner.space.uniform_shapes import Ground, Shape, shapes_of
from planner.workload import Workload

FIELDS = ("energy_per_token_j", "usd_per_million_tokens")
"""Of which one replica is as good as many, so that grids, which have one, know the best."""


class Uniform(NamedTuple):
    """A uniform plan, and its price."""

    plan: Plan
    graph: ModelGraph
    topology: Topology
    score: Score


@dataclass(frozen=True)
class UniformPlans:
    """Of one machine, with as many chips as it may have: where its stages stand is found out once
    for all sizes."""

    topology: Topology
    workload: Workload
    metric: str
    space: Space

    @cached_property
    def ground(self) -> Ground:
        """Of the largest version of the machine."""
        return Ground(self.topology.replace(chips=self.topology.limit_chips))

    @property
    def applies(self) -> bool:
        """Whether grids know this question: steady requests, both phases, no drafts, no rate."""
        work = self.workload
        is_plain = work.arrivals == "steady" and work.phase == "both"
        asks_more = work.speculation is not None or work.requests_per_s is not None
        return self.metric in FIELDS and is_plain and not asks_more

    def best(self, graph: ModelGraph, most_chips: int) -> Uniform | None:
        """On at most so many chips, with the workload's batch in one replica; None where no uniform
        plan holds it."""
        shapes = tuple(shapes_of(graph, self.ground, self.space, most_chips))
        if not shapes:
            return None
        batch = self.workload.batch_size
        grid = plan_grid(
            graph,
            self.ground.topology,
            self.workload,
            shapes=shapes,
            micro_sequences=None if batch is None else _divisors(batch),
            turns=self._turns(shapes),
            ground=self.ground,
            space=self.space,
        )
        values = grid.value(self.metric)
        if batch is not None:
            values = np.where(grid.batch_size == batch, values, np.inf)
        best = int(np.argmin(values))
        if not np.isfinite(values.flat[best]):
            return None
        shape, size, turn = np.unravel_index(best, values.shape)
        plan = grid.plan((int(shape), int(size), int(turn)))
        machine = self.topology.replace(chips=most_chips)
        try:
            score = score_plan(plan, graph, machine, self.workload)
        except InfeasibleError:
            return None
        return Uniform(plan, graph, machine, score)

    def _turns(self, shapes: tuple[Shape, ...]) -> tuple[float, ...] | None:
        """Micro-batches, as shares of the stages, that divide the batch; None where the engine or
        an open batch leaves them to the grid."""
        batch = self.workload.batch_size
        is_free = self.space == "any" or self.topology.software.engine.micro_batches == "any"
        if batch is None or not is_free:
            return None
        depths = {shape.stages for shape in shapes}
        return tuple(sorted({one / depth for one in _divisors(batch) for depth in depths}))


def _divisors(number: int) -> tuple[int, ...]:
    return tuple(one for one in range(1, number + 1) if number % one == 0)
