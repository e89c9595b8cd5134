"""The best uniform plan of one machine for models of every size, under agreed terms: what is looked
up while a root is still far, and what stands where no proof can."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.errors import InfeasibleError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.uniform import PlanGrid, drafting, plan_grid
from planner.space.uniform_shapes import Ground, Shape, shapes_of
from planner.studies.advantage.agreements import Agreement
from planner.studies.advantage.stairs import (
    NEAR,
    Load,
    Prefilled,
    Shapes,
    prefilled,
    under_load,
)
from planner.workload import Workload

Floats = NDArray[np.float64]
NO_PROMPTS = Prefilled(0.0, 0.0, 0)


class Uniform(NamedTuple):
    """A uniform plan, and its price."""

    plan: Plan
    """Of the decode pool, where prompts have one of their own."""
    graph: ModelGraph
    topology: Topology
    workload: Workload
    """That it was priced under, its drafts settled."""
    score: Score
    """Of one copy that serves all the time."""
    value: float
    """The metric under the terms: of all copies, of both pools, hours that wait included."""
    prompts_value: float
    """Of that, what a pool of prompts costs."""
    energy_per_token_j: float
    """Likewise under the terms; infinite where the power is not known."""
    drafts: str | None
    """In which way it drafts; None: in none."""
    shapes: Shapes
    """On which it stands."""


class _Way(NamedTuple):
    """Plans that draft in one way."""

    name: str
    grid: PlanGrid
    prompts: PlanGrid | None
    values: Floats
    """Of the metric under the terms; infinite of those that are not asked for."""


@dataclass(frozen=True)
class UniformPlans:
    """Of one machine, with as many chips as it may have: where its stages stand is found out once
    for all sizes."""

    topology: Topology
    asked: Agreement

    @cached_property
    def ground(self) -> Ground:
        """Of the largest version of the machine."""
        return Ground(self.topology.replace(chips=self.topology.limit_chips))

    def best(
        self, graph: ModelGraph, most_chips: int, only: Shapes | None = None
    ) -> Uniform | None:
        """On at most so many chips, with the workload's batch in one replica, or of one that it
        leaves open up to `most_users`; None where no uniform plan holds it. Drafts are tried on
        pipelines that are NEAR the least without them, as on maps; `only` names some."""
        kept = only or self._all(graph, most_chips)
        if not kept.decode:
            return None
        ways: list[_Way] = []
        for name, work in self.asked.works(self.topology, graph).items():
            held = _worth(ways[0], kept) if ways and only is None else kept
            try:
                ways.append(self._way(name, graph, work, held))
            except InfeasibleError:
                continue
        found = [one for one in ways if np.isfinite(one.values).any()]
        if not found:
            return None
        return self._priced(min(found, key=lambda one: one.values.min()), graph, most_chips)

    def _all(self, graph: ModelGraph, most_chips: int) -> Shapes:
        shapes = tuple(shapes_of(graph, self.ground, self.asked.terms.space, most_chips))
        return Shapes(shapes, shapes)

    def _way(self, name: str, graph: ModelGraph, work: Workload, kept: Shapes) -> _Way:
        terms = self.asked.terms
        prompts = None
        if terms.has_pools(self.topology):
            alone = work.replace(phase="prefill", batch_size=None)
            prompts = self._grid(graph, alone, kept.prompts or kept.decode)
            sent_s = terms.transfer_s(self.topology, graph)
            work = work.replace(phase="decode", transfer_s=sent_s)
        grid = self._grid(graph, work, kept.decode)
        values = under_load(grid, self.load)[0]
        if prompts is not None:
            values = values + prefilled(prompts, self.load).value
        users = np.broadcast_to(grid.batch_size, values.shape)
        batch, most = self.asked.workload.batch_size, self.load.most_users
        is_asked = users <= (most or math.inf) if batch is None else users == batch
        return _Way(name, grid, prompts, np.where(is_asked, values, np.inf))

    @property
    def load(self) -> Load:
        """What the metric is taken of."""
        terms = self.asked.terms
        return Load(self.asked.metric, terms.most_users, terms.requests_per_s)

    def _grid(self, graph: ModelGraph, work: Workload, shapes: tuple[Shape, ...]) -> PlanGrid:
        terms = self.asked.terms
        batch = work.batch_size
        grid = plan_grid(
            graph,
            self.ground.topology,
            work,
            shapes=shapes,
            micro_sequences=None if batch is None else _divisors(batch),
            turns=self._turns(shapes, batch),
            ground=self.ground,
            space=terms.space,
            power_scope=terms.power_scope,
            drafted_for=self.asked.metric,
        )
        return grid if terms.utilisation is None else grid.at_utilisation(terms.utilisation)

    def _turns(self, shapes: tuple[Shape, ...], batch: int | None) -> tuple[float, ...] | None:
        """Micro-batches, as shares of the stages, that divide the batch; None where the engine or
        an open batch leaves them to the grid."""
        engine = self.topology.software.engine
        is_free = self.asked.terms.space == "any" or engine.micro_batches == "any"
        if batch is None or not is_free:
            return None
        depths = {shape.stages for shape in shapes}
        return tuple(sorted({one / depth for one in _divisors(batch) for depth in depths}))

    def _priced(self, way: _Way, graph: ModelGraph, most_chips: int) -> Uniform | None:
        """The best plan of a way, with its score."""
        grid = way.grid
        shape, size, turn = map(int, np.unravel_index(np.argmin(way.values), way.values.shape))
        place = shape, size, turn
        plan = grid.plan(place)
        work = drafting(grid.workload, int(grid.drafted[place]))
        machine = self.topology.replace(chips=most_chips)
        scope = self.asked.terms.power_scope
        try:
            score = score_plan(plan, graph, machine, work, power_scope=scope)
        except InfeasibleError:
            return None
        prompts, pool = NO_PROMPTS, None
        if way.prompts is not None:
            prompts = prefilled(way.prompts, self.load)
            pool = (way.prompts.shapes[prompts.shape],)
        return Uniform(
            plan,
            graph,
            machine,
            work,
            score,
            value=float(way.values[place]),
            prompts_value=prompts.value,
            energy_per_token_j=float(grid.energy_per_token_j[place]),
            drafts=None if work.speculation is None else way.name,
            shapes=Shapes((grid.shapes[shape],), pool),
        )


def _worth(plain: _Way, kept: Shapes) -> Shapes:
    """The pipelines whose best plan is NEAR the least of all."""
    least = plain.values.min(axis=(1, 2))
    near = np.isfinite(least) & (least <= NEAR * least.min())
    decode = tuple(plain.grid.shapes[number] for number in np.flatnonzero(near))
    return Shapes(decode or kept.decode, kept.prompts)


def _divisors(number: int) -> tuple[int, ...]:
    return tuple(one for one in range(1, number + 1) if number % one == 0)
