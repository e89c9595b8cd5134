"""`advantage_map`: which machine wins, for models of each size, at each speed demanded for a user;
and how sure that is.

The plans are uniform pipelines (`planner.space.uniform`), each as one replica; of each machine the
one that costs least and is fast enough for the cell. What uniform plans miss against all plans is
measured on a sample of cells (`checks`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from planner.calibration.measurements import PUBLISHED, Measurement, read_measurements
from planner.catalogue import load_model, load_topology
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.pricing.price_list import usable_bytes_of
from planner.space.uniform import PlanGrid, plan_grid
from planner.space.uniform_shapes import Ground
from planner.studies.advantage.family import EXPERT_ANCHORS, Family, member
from planner.studies.advantage.records import (
    AdvantageMap,
    Cell,
    Check,
    Measured,
    Switch,
    Uncertainty,
)
from planner.studies.advantage.uncertainty import (
    TAKEN_AS_THEY_ARE,
    FigureEffect,
    combined,
    figure_effects,
    residual_of,
)
from planner.workload import Workload

Floats = NDArray[np.float64]

METRICS = ("energy_per_token_j", "usd_per_million_tokens", "chips")
SIZES = tuple(float(size) for size in np.geomspace(8e9, 2e12, 40))
SPEEDS = tuple(float(speed) for speed in np.geomspace(10, 3000, 40))
DRAWS = 400
"""Of the machines' unknown factors; always the same ones."""
DENSE_MODELS = ("llama-3.1-8b", "qwen3-32b", "llama-3.1-70b", "llama-3.1-405b")
VENDORS = {"groq-lpu-dragonfly": "groq-lpu-chain"}
"""Machines that are measured, and the like machine that stands for them on a map."""


@dataclass(frozen=True, slots=True)
class Stair:
    """The best value of one machine for one model at each speed: plans sorted by speed, the
    fastest first."""

    speeds: Floats
    values: Floats
    """The least of those as fast."""
    place: NDArray[np.intp]
    """Of that least, in the grid's arrays made flat."""

    def at(self, speeds: Floats) -> tuple[Floats, NDArray[np.intp]]:
        """Value and place for demanded speeds; infinite, -1 where no plan is as fast."""
        last = np.searchsorted(-self.speeds, -speeds, side="right") - 1
        there = last >= 0
        return np.where(there, self.values[last], np.inf), np.where(there, self.place[last], -1)


EMPTY = Stair(np.zeros(1), np.full(1, np.inf), np.full(1, -1))


@dataclass(slots=True)
class MapGrids:
    """All plans of all machines for all sizes, from which maps are drawn without pricing again."""

    topologies: tuple[Topology, ...]
    family: Family
    weight_dtype: Dtype
    workload: Workload
    sizes: tuple[float, ...]
    grids: tuple[tuple[PlanGrid | None, ...], ...]
    """By machine, then by size; None where nothing fits."""
    models: dict[str, tuple[PlanGrid | None, ...]] = field(default_factory=dict)
    """The same of real models, by machine."""
    _known: dict[tuple[int, str, int | None], tuple[PlanGrid, Stair]] = field(default_factory=dict)
    _spread: dict[str, tuple[Uncertainty, ...]] = field(default_factory=dict)

    def stair(self, grid: PlanGrid | None, metric: str, most_users: int | None) -> Stair:
        """Of one grid, kept for the next time."""
        if grid is None:
            return EMPTY
        key = (id(grid), metric, most_users)
        if key not in self._known:
            self._known[key] = grid, stair_of(grid, metric, most_users)
        return self._known[key][1]

    def varying(self, topology: Topology) -> "MapGrids":
        """The same with another version of one of the machines, found by its name; only that one
        is priced again."""
        machine = whole(topology)
        place = [one.name for one in self.topologies].index(machine.name)
        ground = Ground(machine)
        column = tuple(
            priced(member(self.family, size, self.weight_dtype), ground, self.workload)
            for size in self.sizes
        )
        return replace(
            self, topologies=(*self.topologies[:place], machine, *self.topologies[place + 1 :]),
            grids=(*self.grids[:place], column, *self.grids[place + 1 :]), models={},
        )  # fmt: skip

    def only(self, *names: str) -> "MapGrids":
        """The same of some of the machines."""
        places = {one.name: place for place, one in enumerate(self.topologies)}
        for name in names:
            if name not in places:
                raise UnknownNameError("machine of this map", name, places)
        chosen = [places[name] for name in names]
        models = {
            model: tuple(column[place] for place in chosen) for model, column in self.models.items()
        }
        return replace(
            self, topologies=tuple(self.topologies[place] for place in chosen),
            grids=tuple(self.grids[place] for place in chosen), models=models,
            _spread={metric: tuple(known[place] for place in chosen) for metric, known in self._spread.items()},
        )  # fmt: skip

    def uncertainties(self, metric: str) -> tuple[Uncertainty, ...]:
        """Of each machine, at the middle of what it reaches."""
        if metric not in self._spread:
            self._spread[metric] = tuple(
                _uncertainty(topology, column, metric, self)
                for topology, column in zip(self.topologies, self.grids, strict=True)
            )
        return self._spread[metric]

    def map(
        self,
        metric: str = "energy_per_token_j",
        *,
        speeds: Sequence[float] = SPEEDS,
        most_users: int | None = None,
        draws: int = DRAWS,
    ) -> AdvantageMap:
        """The map of one metric, of plans with at most so many requests in flight."""
        if metric not in METRICS:
            raise UnknownNameError("metric of a map", metric, METRICS)
        demanded, names = (
            np.array([float(speed) for speed in speeds]),
            tuple(one.name for one in self.topologies),
        )
        stairs = [
            [self.stair(grid, metric, most_users) for grid in column] for column in self.grids
        ]
        found = [[stair.at(demanded) for stair in column] for column in stairs]
        values = np.array([[value for value, _ in column] for column in found])
        places = np.array([[place for _, place in column] for column in found])
        uncertainties = self.uncertainties(metric)
        likely = _likely(stairs, demanded, np.argmin(values, axis=0), uncertainties, draws)
        return AdvantageMap(
            topologies=names, titles=tuple(one.title or one.name for one in self.topologies), metric=metric,
            family=self.family, weight_dtype=self.weight_dtype, prompt_tokens=self.workload.prompt_tokens,
            output_tokens=self.workload.output_tokens, most_users=most_users, sizes=self.sizes, speeds=tuple(demanded.tolist()),
            rows=tuple(self._cells(values, places, likely, demanded)), uncertainties=uncertainties,
            measured=measured_systems(self.family, names), switches=tuple(self._switches(metric, demanded, most_users)),
        )  # fmt: skip

    def _cells(
        self, values: Floats, places: NDArray[np.intp], likely: Floats, speeds: Floats
    ) -> list[Cell]:
        cells = []
        best, ordered = np.argmin(values, axis=0), np.sort(values, axis=0)
        for size, speed in np.ndindex(*best.shape):
            here = values[:, size, speed]
            number = int(best[size, speed])
            grid = self.grids[number][size]
            if grid is None or math.isinf(here[number]):
                winner = plan = None
            else:
                winner = self.topologies[number].name
                plan = np.unravel_index(int(places[number, size, speed]), grid.tpot_s.shape)
            second = float(ordered[1, size, speed]) if len(values) > 1 else math.inf
            cells.append(
                Cell.model_construct(
                    parameters=self.sizes[size],
                    tokens_per_s_per_user=float(speeds[speed]),
                    winner=winner,
                    advantage=second / float(here[number])
                    if winner and math.isfinite(second)
                    else None,
                    likely_share=float(likely[size, speed]) if winner else None,
                    values=tuple(float(one) if math.isfinite(one) else None for one in here),
                    chips=int(grid.chips[plan[0]]) if grid and plan else None,
                    users=int(grid.batch_size[plan]) if grid and plan else None,
                    tpot_s=float(grid.tpot_s[plan]) if grid and plan else None,
                )
            )
        return cells

    def _switches(self, metric: str, speeds: Floats, most_users: int | None) -> list[Switch]:
        """Of the real models, on a fine scale of speeds."""
        fine, found = np.geomspace(speeds[0], speeds[-1], 400), []
        for model, column in self.models.items():
            values = np.array([self.stair(grid, metric, most_users).at(fine)[0] for grid in column])
            best = np.where(np.isfinite(values.min(axis=0)), np.argmin(values, axis=0), -1)
            graph = next(grid.graph for grid in column if grid is not None)
            for at in np.flatnonzero(np.diff(best)):
                if best[at] >= 0:
                    after = None if best[at + 1] < 0 else self.topologies[best[at + 1]].name
                    found.append(
                        Switch(
                            model=model, parameters=graph.parameters, tokens_per_s_per_user=float(fine[at + 1]),
                            before=self.topologies[best[at]].name, after=after,
                        )
                    )  # fmt: skip
        return found


def stair_of(grid: PlanGrid, metric: str, most_users: int | None = None) -> Stair:
    """The staircase of one grid."""
    users = np.broadcast_to(grid.batch_size, grid.tpot_s.shape).ravel()
    values, tpot = grid.value(metric).ravel(), grid.tpot_s.ravel()
    there = np.flatnonzero(np.isfinite(values) & (users <= (most_users or np.inf)))
    if not len(there):
        return EMPTY
    order = there[np.lexsort((values[there], tpot[there]))]
    least = np.minimum.accumulate(values[order])
    steps = np.flatnonzero(np.concatenate([[True], np.diff(least) < 0]))
    return Stair(1.0 / tpot[order[steps]], least[steps], order[steps])


def _likely(
    stairs: list[list[Stair]],
    speeds: Floats,
    best: NDArray[np.intp],
    spreads: Sequence[Uncertainty],
    draws: int,
) -> Floats:
    """Share of draws in which the machine that wins as predicted wins: each machine's time is
    off by one log-normal factor and its metric by another, the same in all cells; the part of
    the metric's that the software is to blame for goes with time."""
    dice = np.random.default_rng(0).standard_normal((len(stairs), 2, draws)) / 1.2816
    wins = np.zeros(best.shape)
    for size in range(best.shape[0]):
        values = []
        for column, spread, (own, inputs) in zip(stairs, spreads, dice, strict=True):
            needed = speeds[:, None] * np.exp(spread.speed_half_width * own)
            factor = np.exp(spread.metric_half_width * own + spread.inputs_half_width * inputs)
            values.append(column[size].at(needed)[0] * factor)
        drawn = np.array(values)
        wins[size] = (
            (np.argmin(drawn, axis=0) == best[size][:, None]) & np.isfinite(drawn.min(axis=0))
        ).mean(axis=1)
    return wins


def _uncertainty(
    topology: Topology, column: tuple[PlanGrid | None, ...], metric: str, grids: MapGrids
) -> Uncertainty:
    """At the middle size of those that fit, and half of the highest speed there."""
    there = [grid for grid in column if grid is not None and np.isfinite(grid.tpot_s).any()]
    figures: tuple[FigureEffect, ...] = ()
    if there:
        middle = there[len(there) // 2]
        stair = stair_of(middle, metric)
        speed = np.array([0.5 * stair.speeds[0]])
        usable = usable_bytes_of(topology)
        shapes = [
            middle.shapes[n] for n in np.unique(stair.place // math.prod(middle.tpot_s.shape[1:]))
        ]

        def value_on(machine: Topology) -> float | None:
            same = usable_bytes_of(machine) == usable
            grid = plan_grid(middle.graph, machine, grids.workload, shapes=shapes if same else None)
            value = float(stair_of(grid, metric).at(speed)[0][0])
            return value if math.isfinite(value) else None

        doubted = topology.replace(
            figures=tuple(
                one for one in topology.figures if one.confidence not in TAKEN_AS_THEY_ARE
            )
        )
        figures = figure_effects(doubted, value_on)
    return Uncertainty(
        topology=topology.name,
        speed_half_width=residual_of(topology, "tpot_s"),
        metric_half_width=residual_of(topology, metric),
        inputs_half_width=combined(0.0, *(one.half_width for one in figures)),
        figures=figures[:5],
    )


def map_grids(
    topologies: Sequence[str | Topology] = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3"),
    *,
    family: Family = "dense",
    sizes: Sequence[float] = SIZES,
    prompt_tokens: int = 1024,
    output_tokens: int = 256,
    weight_dtype: Dtype = "fp8",
    models: Sequence[str] | None = None,
) -> MapGrids:
    """Prices all uniform plans of a family's models on machines, each as large as its fabrics
    join, and those of some real models (None: of the family)."""
    machines = tuple(whole(one) for one in topologies)
    if not machines or len({one.name for one in machines}) < len(machines):
        raise InputError("topologies must name one machine or more, each once")
    work = Workload(batch_size=None, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    grounds = [Ground(machine) for machine in machines]
    graphs = [member(family, size, weight_dtype) for size in sizes]
    named = (DENSE_MODELS if family == "dense" else EXPERT_ANCHORS) if models is None else models
    real = {name: load_model(name, weight_dtype=weight_dtype) for name in named}
    return MapGrids(
        machines, family, weight_dtype, work, tuple(float(size) for size in sizes),
        tuple(tuple(priced(graph, ground, work) for graph in graphs) for ground in grounds),
        {name: tuple(priced(graph, ground, work) for ground in grounds) for name, graph in real.items()},
    )  # fmt: skip


def whole(topology: str | Topology) -> Topology:
    """A machine as large as its fabrics join."""
    found = load_topology(topology) if isinstance(topology, str) else topology
    return found.replace(chips=found.limit_chips)


def priced(graph: ModelGraph, ground: Ground, workload: Workload) -> PlanGrid | None:
    """The grid, or None where nothing fits."""
    try:
        return plan_grid(graph, ground.topology, workload, ground=ground)
    except InfeasibleError:
        return None


def advantage_map(
    topologies: Sequence[str | Topology] = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3"),
    metric: str = "energy_per_token_j",
    *,
    family: Family = "dense",
    sizes: Sequence[float] = SIZES,
    speeds: Sequence[float] = SPEEDS,
    prompt_tokens: int = 1024,
    output_tokens: int = 256,
    weight_dtype: Dtype = "fp8",
    most_users: int | None = None,
    checks: int = 0,
) -> AdvantageMap:
    """Which machine has the least `metric` ("energy_per_token_j", "usd_per_million_tokens" or
    "chips") for models of each size, where every user is to get so many tokens a second.

    On each machine batch, requests in flight, split, depth and chips are chosen for each cell among
    all uniform plans; `checks` compares so many cells with what the solver proves of all plans.
    `speeds` are in tokens/s for one user. The draws behind `likely_share` take each machine's
    figures and its software's residual as unknown (see `Uncertainty`).
    """
    grids = map_grids(
        topologies, family=family, sizes=sizes, prompt_tokens=prompt_tokens, output_tokens=output_tokens,
        weight_dtype=weight_dtype,
    )  # fmt: skip
    drawn = grids.map(metric, speeds=speeds, most_users=most_users)
    return drawn.replace(checks=checked(drawn, grids, checks)) if checks else drawn


def checked(
    drawn: AdvantageMap, grids: MapGrids, count: int, *, time_limit_s: float = 3.0
) -> tuple[Check, ...]:
    """So many cells, spread evenly over those that a machine wins, beside the solver's bound for
    plans with as many users in flight on up to twice the chips."""
    reached = [cell for cell in drawn.rows if cell.winner is not None and cell.users is not None]
    found = []
    for at in np.linspace(0, len(reached) - 1, min(count, len(reached))).round().astype(int):
        cell = reached[at]
        place = drawn.topologies.index(cell.winner or "")
        topology, value = grids.topologies[place], cell.values[place]
        assert value is not None
        assert cell.chips is not None
        chips = min(topology.limit_chips, 2 * cell.chips)
        try:
            result = partition(
                member(drawn.family, cell.parameters, grids.weight_dtype), topology.replace(chips=chips),
                grids.workload.replace(batch_size=cell.users), minimize=drawn.metric,
                limits={"tpot_s": 1 / cell.tokens_per_s_per_user}, time_limit_s=time_limit_s,
            )  # fmt: skip
        except NoPlanFoundError:
            continue
        bound = result.bound
        found.append(
            Check(
                parameters=cell.parameters, tokens_per_s_per_user=cell.tokens_per_s_per_user, topology=topology.name,
                users=cell.users or 0, value=value, bound=bound, gap=value / bound - 1, status=result.status,
            )
        )  # fmt: skip
    return tuple(found)


def measured_systems(family: Family, topologies: Sequence[str]) -> tuple[Measured, ...]:
    """The quickest published row of each model of the family on each machine of the map (or one
    that is like it)."""
    rows = [row for row in _published() if VENDORS.get(row.topology, row.topology) in topologies]
    joules = {_run(row): row.value for row in rows if row.field == "energy_per_token_j"}
    best: dict[tuple[str, str], Measured] = {}
    graphs = {
        name: load_model(name) for name in {row.model for row in rows if row.field == "tpot_s"}
    }
    for row in rows:
        graph = graphs.get(row.model) if row.field == "tpot_s" else None
        if graph is None or ("experts" in graph.splits()) != (family == "moe"):
            continue
        one = Measured(
            topology=VENDORS.get(row.topology, row.topology), model=row.model, parameters=graph.parameters,
            tokens_per_s_per_user=1 / row.value, energy_per_token_j=joules.get(_run(row)), row_id=row.row_id,
            source=row.source,
        )  # fmt: skip
        key = (one.topology, one.model)
        if key not in best or best[key].tokens_per_s_per_user < one.tokens_per_s_per_user:
            best[key] = one
    return tuple(best[key] for key in sorted(best))


@cache
def _published() -> tuple[Measurement, ...]:
    return tuple(
        row for row in read_measurements(PUBLISHED) if row.field in ("tpot_s", "energy_per_token_j")
    )


def _run(row: Measurement) -> tuple[object, ...]:
    """What the rows of one run share."""
    return (
        row.source,
        row.topology,
        row.chips,
        row.model,
        row.weight_dtype,
        row.batch_size,
        row.tensor_parallel,
    )
