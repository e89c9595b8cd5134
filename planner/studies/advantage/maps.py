"""`advantage_map`: which machine wins, for models of each size, at each speed demanded for a user;
and how sure that is.

The plans are uniform pipelines (`planner.space.uniform`) that the machine's software can be started
with, each as one replica; of each machine the one that costs least and is fast enough for the
square. What uniform plans miss against all plans of that space is measured on a sample of squares
(`checks`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.calibration.measurements import PUBLISHED, Measurement, read_measurements
from planner.catalogue import load_model
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.machines.accounts import PowerBasis, alike, alike_for, what_counts
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.pricing.price_list import usable_bytes_of
from planner.space.uniform import PlanGrid, plan_grid
from planner.space.uniform_shapes import Ground
from planner.studies.advantage.family import EXPERT_ANCHORS, Family, member
from planner.studies.advantage.records import (
    AdvantageMap,
    Check,
    Measured,
    Square,
    Switch,
    Uncertainty,
)
from planner.studies.advantage.uncertainty import (
    FigureEffect,
    combined,
    figure_effects,
    is_doubted,
    residual_of,
)
from planner.studies.study import machine_of
from planner.workload import Workload

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
One = TypeVar("One")

METRICS = ("energy_per_token_j", "usd_per_million_tokens", "chips")
SIZES = tuple(float(size) for size in np.geomspace(8e9, 2e12, 40))
SPEEDS = tuple(float(speed) for speed in np.geomspace(10, 3000, 40))
DRAWS = 400
"""Of the machines' unknown factors; always the same ones."""
FINE = 400
"""Speeds between which the winner of a real model is looked for."""
DENSE_MODELS = ("llama-3.1-8b", "qwen3-32b", "llama-3.1-70b", "llama-3.1-405b")
REAL_MODELS = {"dense": DENSE_MODELS, "moe": EXPERT_ANCHORS}
"""Those on a map, by family."""
VENDORS = {"groq-lpu-dragonfly": "groq-lpu-chain"}
"""Machines that are measured, and the like machine that stands for them on a map."""


@dataclass(frozen=True, slots=True)
class Stair:
    """The best value of one machine for one model at each speed: plans sorted by speed, the
    fastest first."""

    speeds: Floats
    values: Floats
    """The least of those as fast."""
    place: Places
    """Of that least, in the grid's arrays made flat."""

    def at(self, speeds: Floats) -> tuple[Floats, Places]:
        """Value and place for demanded speeds; infinite, -1 where no plan is as fast."""
        last = np.searchsorted(-self.speeds, -speeds, side="right") - 1
        there = last >= 0
        return np.where(there, self.values[last], np.inf), np.where(there, self.place[last], -1)


NOBODY = dict.fromkeys(("winner", "advantage", "likely_share", "chips", "users", "tpot_s"))
"""What a square says that no machine reaches."""
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
    space: Space = "engine"
    """Whether plans are those that each machine's software can be started with, or any."""
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
        graphs = [member(self.family, size, self.weight_dtype) for size in self.sizes]
        machines = list(self.topologies)
        machines[place] = machine
        grids = list(self.grids)
        grids[place] = _priced_all(graphs, Ground(machine), self.workload, self.space)
        return replace(self, topologies=tuple(machines), grids=tuple(grids), models={})

    def only(self, *names: str) -> "MapGrids":
        """The same of some of the machines."""
        places = {one.name: place for place, one in enumerate(self.topologies)}
        for name in names:
            if name not in places:
                raise UnknownNameError("machine of this map", name, places)
        chosen = [places[name] for name in names]

        def of_those(column: tuple[One, ...]) -> tuple[One, ...]:
            return tuple(column[place] for place in chosen)

        return replace(
            self,
            topologies=of_those(self.topologies),
            grids=of_those(self.grids),
            models={name: of_those(column) for name, column in self.models.items()},
            _spread={metric: of_those(column) for metric, column in self._spread.items()},
        )

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
        """The map of one metric, of plans with at most so many requests in flight. Everything is
        looked up in the stairs of the grids: nothing is priced again."""
        if metric not in METRICS:
            raise UnknownNameError("metric of a map", metric, METRICS)
        self._check_alike(metric)
        demanded = np.array([float(speed) for speed in speeds])
        names = tuple(one.name for one in self.topologies)
        stairs = [
            [self.stair(grid, metric, most_users) for grid in column] for column in self.grids
        ]
        values, places = _looked_up(stairs, demanded)
        uncertainties = self.uncertainties(metric)
        likely = _likely(stairs, demanded, np.argmin(values, axis=0), uncertainties, draws)
        return AdvantageMap(
            topologies=names,
            titles=tuple(map(_title, self.topologies)),
            metric=metric,
            family=self.family,
            weight_dtype=self.weight_dtype,
            prompt_tokens=self.workload.prompt_tokens,
            output_tokens=self.workload.output_tokens,
            most_users=most_users,
            sizes=self.sizes,
            speeds=tuple(demanded.tolist()),
            rows=tuple(self._squares(values, places, likely, demanded)),
            uncertainties=uncertainties,
            measured=measured_systems(self.family, names),
            switches=tuple(self._switches(metric, demanded, most_users)),
            space=self.space,
            **what_counts(self.topologies)._asdict(),
        )

    def _check_alike(self, metric: str) -> None:
        """Refuse to rank machines whose watts or dollars count different things, or of which they
        are not known."""
        if alike(self.topologies, must=(metric,)) != self.topologies:
            raise InputError(
                "the machines of this map count power or price on unlike bases; give all of them to"
                " map_grids() anew"
            )

    def _squares(
        self, values: Floats, places: Places, likely: Floats, speeds: Floats
    ) -> Iterator[Square]:
        """By size, then by speed. `values` and `places` are of shape (machines, sizes, speeds)."""
        best = np.argmin(values, axis=0)
        for size, speed in np.ndindex(*best.shape):
            here = values[:, size, speed]
            winner = int(best[size, speed])
            square: dict[str, Any] = {
                "parameters": self.sizes[size],
                "tokens_per_s_per_user": float(speeds[speed]),
                "values": tuple(float(one) if math.isfinite(one) else None for one in here),
            }
            place = int(places[winner, size, speed])
            if place < 0:
                square |= NOBODY
            else:
                square |= self._won(winner, size, here, place)
                square["likely_share"] = float(likely[size, speed])
            # Not validated: there are thousands, and all of it was made just now.
            yield Square.model_construct(**square)

    def _won(self, winner: int, size: int, here: Floats, place: int) -> dict[str, Any]:
        """What a square says of the plan that wins it, at that place of the machine's grid."""
        grid = self.grids[winner][size]
        assert grid is not None
        plan = np.unravel_index(place, grid.tpot_s.shape)
        others = np.delete(here, winner)
        second = float(others.min(initial=math.inf))
        return {
            "winner": self.topologies[winner].name,
            "advantage": second / float(here[winner]) if math.isfinite(second) else None,
            "chips": int(grid.chips[plan[0]]),
            "users": int(grid.batch_size[plan]),
            "tpot_s": float(grid.tpot_s[plan]),
        }

    def _switches(self, metric: str, speeds: Floats, most_users: int | None) -> Iterator[Switch]:
        """Of the real models, on a fine scale of speeds."""
        fine = np.geomspace(speeds[0], speeds[-1], FINE)
        for model, column in self.models.items():
            values = np.array([self.stair(grid, metric, most_users).at(fine)[0] for grid in column])
            best = np.where(np.isfinite(values.min(axis=0)), np.argmin(values, axis=0), -1)
            graph = next(grid.graph for grid in column if grid is not None)
            for at in np.flatnonzero(np.diff(best)):
                before, after = best[at], best[at + 1]
                if before >= 0:
                    yield Switch(
                        model=model,
                        parameters=graph.parameters,
                        tokens_per_s_per_user=float(fine[at + 1]),
                        before=self.topologies[before].name,
                        after=None if after < 0 else self.topologies[after].name,
                    )


def _title(topology: Topology) -> str:
    return topology.title or topology.name


def _looked_up(stairs: list[list[Stair]], speeds: Floats) -> tuple[Floats, Places]:
    """Values and places of all machines and sizes, each of shape (machines, sizes, speeds)."""
    found = [[stair.at(speeds) for stair in column] for column in stairs]
    values = np.array([[value for value, _ in column] for column in found])
    places = np.array([[place for _, place in column] for column in found])
    return values, places


def stair_of(grid: PlanGrid, metric: str, most_users: int | None = None) -> Stair:
    """The staircase of one grid."""
    users = np.broadcast_to(grid.batch_size, grid.tpot_s.shape).ravel()
    values = grid.value(metric).ravel()
    tpot_s = grid.tpot_s.ravel()
    there = np.flatnonzero(np.isfinite(values) & (users <= (most_users or np.inf)))
    if not len(there):
        return EMPTY

    # From the fastest plan to the slowest a step begins wherever the least so far gets less.
    order = there[np.lexsort((values[there], tpot_s[there]))]
    least = np.minimum.accumulate(values[order])
    steps = np.flatnonzero(np.concatenate([[True], np.diff(least) < 0]))
    return Stair(1.0 / tpot_s[order[steps]], least[steps], order[steps])


def _likely(
    stairs: list[list[Stair]],
    speeds: Floats,
    best: NDArray[np.intp],
    spreads: Sequence[Uncertainty],
    draws: int,
) -> Floats:
    """Share of draws in which the machine that wins as predicted wins: each machine's time is
    off by one log-normal factor and its metric by another, the same in all squares; the part of
    the metric's that the software is to blame for goes with time."""
    # Half widths are of 80 %: 1.2816 standard deviations of a normal distribution.
    dice = np.random.default_rng(0).standard_normal((len(stairs), 2, draws)) / 1.2816
    wins = np.zeros(best.shape)
    for size in range(best.shape[0]):
        values = []
        for column, spread, (own, inputs) in zip(stairs, spreads, dice, strict=True):
            needed = speeds[:, None] * np.exp(spread.speed_half_width * own)
            factor = np.exp(spread.metric_half_width * own + spread.inputs_half_width * inputs)
            values.append(column[size].at(needed)[0] * factor)
        drawn = np.array(values)
        is_same = np.argmin(drawn, axis=0) == best[size][:, None]
        wins[size] = (is_same & np.isfinite(drawn.min(axis=0))).mean(axis=1)
    return wins


def _uncertainty(
    topology: Topology, column: tuple[PlanGrid | None, ...], metric: str, grids: MapGrids
) -> Uncertainty:
    """At the middle size of those that fit, and half of the highest speed there."""
    there = [grid for grid in column if grid is not None and np.isfinite(grid.tpot_s).any()]
    figures: tuple[FigureEffect, ...] = ()
    if there:
        figures = _effects(topology, there[len(there) // 2], metric, grids.workload)
    return Uncertainty(
        topology=topology.name,
        speed_half_width=residual_of(topology, "tpot_s"),
        metric_half_width=residual_of(topology, metric),
        inputs_half_width=combined(0.0, *(one.half_width for one in figures)),
        figures=figures[:5],
    )


def _effects(
    topology: Topology, grid: PlanGrid, metric: str, workload: Workload
) -> tuple[FigureEffect, ...]:
    """What a machine's doubtful figures do to the metric at half of the highest speed."""
    stair = stair_of(grid, metric)
    speed = np.array([0.5 * stair.speeds[0]])
    usable = usable_bytes_of(topology)
    a_shape = math.prod(grid.tpot_s.shape[1:])
    shapes = [grid.shapes[number] for number in np.unique(stair.place // a_shape)]

    def value_on(machine: Topology) -> float | None:
        # Only the shapes of the stair are priced again, unless a figure of memory has moved:
        # then others may fit, or these no longer.
        is_as_large = usable_bytes_of(machine) == usable
        again = plan_grid(
            grid.graph,
            machine,
            workload,
            shapes=shapes if is_as_large else None,
            space=grid.space,
        )
        value = float(stair_of(again, metric).at(speed)[0][0])
        return value if math.isfinite(value) else None

    doubted = [one for one in topology.figures if is_doubted(one)]
    return figure_effects(topology.replace(figures=tuple(doubted)), value_on)


def map_grids(
    topologies: Sequence[str | Topology] = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3"),
    *,
    family: Family = "dense",
    sizes: Sequence[float] = SIZES,
    prompt_tokens: int = 1024,
    output_tokens: int = 256,
    weight_dtype: Dtype = "fp8",
    models: Sequence[str] | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> MapGrids:
    """Prices all uniform plans of a family's models on machines, each as large as its fabrics
    join, and those of some real models (None: of the family); plans that each machine's software
    can be started with, or any.

    Power and price of all count the same, where that is known of all (`machines.accounts.alike`)."""
    given = tuple(whole(one) for one in topologies)
    _check_once(given)
    machines = alike_for("", given, price_basis, power_basis, power_scope)
    work = Workload(batch_size=None, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
    grounds = [Ground(machine) for machine in machines]
    graphs = [member(family, size, weight_dtype) for size in sizes]
    named = REAL_MODELS[family] if models is None else models
    columns = {}
    for name in named:
        graph = load_model(name, weight_dtype=weight_dtype)
        columns[name] = tuple(priced(graph, ground, work, space) for ground in grounds)
    return MapGrids(
        topologies=machines,
        family=family,
        weight_dtype=weight_dtype,
        workload=work,
        sizes=tuple(float(size) for size in sizes),
        grids=tuple(_priced_all(graphs, ground, work, space) for ground in grounds),
        models=columns,
        space=space,
    )


def _check_once(machines: Sequence[Topology]) -> None:
    if not machines or len({one.name for one in machines}) < len(machines):
        raise InputError("topologies must name one machine or more, each once")


def _priced_all(
    graphs: Sequence[ModelGraph], ground: Ground, workload: Workload, space: Space
) -> tuple[PlanGrid | None, ...]:
    return tuple(priced(graph, ground, workload, space) for graph in graphs)


def whole(topology: str | Topology) -> Topology:
    """A machine as large as its fabrics join."""
    found = machine_of(topology)
    return found.replace(chips=found.limit_chips)


def priced(
    graph: ModelGraph, ground: Ground, workload: Workload, space: Space = "engine"
) -> PlanGrid | None:
    """The grid, or None where nothing fits."""
    try:
        return plan_grid(graph, ground.topology, workload, ground=ground, space=space)
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
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> AdvantageMap:
    """Which machine has the least `metric` ("energy_per_token_j", "usd_per_million_tokens" or
    "chips") for models of each size, where every user is to get so many tokens a second.

    On each machine batch, requests in flight, split, depth and chips are chosen for each square
    among all uniform plans that its software can be started with (`space` "any": among all);
    `checks` compares so many with what the solver proves of all plans of that space.
    `speeds` are in tokens/s for one user. The draws behind `likely_share` take each machine's
    figures and its software's residual as unknown (see `Uncertainty`).
    """
    grids = map_grids(
        topologies,
        family=family,
        sizes=sizes,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        weight_dtype=weight_dtype,
        power_scope=power_scope,
        price_basis=price_basis,
        power_basis=power_basis,
        space=space,
    )
    drawn = grids.map(metric, speeds=speeds, most_users=most_users)
    return drawn.replace(checks=checked(drawn, grids, checks)) if checks else drawn


def checked(
    drawn: AdvantageMap, grids: MapGrids, count: int, *, time_limit_s: float = 3.0
) -> tuple[Check, ...]:
    """So many squares, spread evenly over those that a machine wins, beside the solver's bound for
    plans with as many users in flight on up to twice the chips."""
    reached = [square for square in drawn.rows if square.winner is not None]
    chosen = np.linspace(0, len(reached) - 1, min(count, len(reached))).round().astype(int)
    found = []
    for at in chosen:
        try:
            found.append(_check(drawn, grids, reached[at], time_limit_s))
        except NoPlanFoundError:
            continue
    return tuple(found)


def _check(drawn: AdvantageMap, grids: MapGrids, square: Square, time_limit_s: float) -> Check:
    place = drawn.topologies.index(square.winner or "")
    topology = grids.topologies[place]
    value = square.values[place]
    assert value is not None
    assert square.chips is not None
    assert square.users is not None
    result = partition(
        member(drawn.family, square.parameters, grids.weight_dtype),
        topology.replace(chips=min(topology.limit_chips, 2 * square.chips)),
        grids.workload.replace(batch_size=square.users),
        minimize=drawn.metric,
        limits={"tpot_s": 1 / square.tokens_per_s_per_user},
        time_limit_s=time_limit_s,
        space=drawn.space,
    )
    return Check(
        parameters=square.parameters,
        tokens_per_s_per_user=square.tokens_per_s_per_user,
        topology=topology.name,
        users=square.users,
        value=value,
        bound=result.bound,
        gap=value / result.bound - 1,
        status=result.status,
    )


def measured_systems(family: Family, topologies: Sequence[str]) -> tuple[Measured, ...]:
    """The quickest published row of each model of the family on each machine of the map (or one
    that is like it)."""
    rows = [row for row in _published() if _on_map(row) in topologies]
    joules = {_run(row): row.value for row in rows if row.field == "energy_per_token_j"}
    timed = [row for row in rows if row.field == "tpot_s"]
    graphs = _graphs_of(timed)
    best: dict[tuple[str, str], Measured] = {}
    # The quickest first: it stays.
    for row in sorted(timed, key=lambda row: row.value):
        graph = graphs[row.model]
        if _family_of(graph) == family:
            one = _measured(row, graph, joules.get(_run(row)))
            best.setdefault((one.topology, one.model), one)
    return tuple(best[key] for key in sorted(best))


def _graphs_of(rows: Sequence[Measurement]) -> dict[str, ModelGraph]:
    return {name: load_model(name) for name in {row.model for row in rows}}


def _family_of(graph: ModelGraph) -> Family:
    return "moe" if "experts" in graph.splits() else "dense"


def _measured(row: Measurement, graph: ModelGraph, joules: float | None) -> Measured:
    return Measured(
        topology=_on_map(row),
        model=row.model,
        parameters=graph.parameters,
        tokens_per_s_per_user=1 / row.value,
        energy_per_token_j=joules,
        row_id=row.row_id,
        source=row.source,
    )


@cache
def _published() -> tuple[Measurement, ...]:
    wanted = ("tpot_s", "energy_per_token_j")
    return tuple(row for row in read_measurements(PUBLISHED) if row.field in wanted)


def _on_map(row: Measurement) -> str:
    """The machine of a map that a measured one stands on."""
    return VENDORS.get(row.topology, row.topology)


def _run(row: Measurement) -> tuple[object, ...]:
    """What the rows of one run share."""
    machine = (row.topology, row.chips, row.tensor_parallel)
    return (row.source, *machine, row.model, row.weight_dtype, row.batch_size)
