"""`advantage_map`: which machine wins, for models of each size, at each speed demanded for a user;
and how sure that is.

The plans are uniform pipelines (`planner.space.uniform`) that the machine's software can be started
with; of each machine the one that costs least and is fast enough for the square, under the terms
of the comparison (`terms.Terms`). Beside borders the solver's plans join them (`refining`); what
uniform plans miss elsewhere is measured on a sample of squares (`checks`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from planner.catalogue import load_model
from planner.errors import InputError, NoPlanFoundError, UnknownNameError
from planner.guards import guarded
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.pricing.price_list import usable_bytes_of
from planner.space.uniform_shapes import Ground
from planner.studies.advantage.family import EXPERT_ANCHORS, Family, member
from planner.studies.advantage.keeping import kept_for
from planner.studies.advantage.measured import explained, measured_systems
from planner.studies.advantage.records import (
    AdvantageMap,
    Check,
    Reason,
    Square,
    Switch,
    Uncertainty,
)
from planner.studies.advantage.refining import BORDER_SPEEDS, Provers, is_provable, refined
from planner.studies.advantage.stairs import (
    EMPTY,
    METRICS,
    Load,
    Plans,
    Proved,
    Stair,
    drafts_of,
    priced,
    shapes_on,
    stair_of,
)
from planner.studies.advantage.terms import (
    Terms,
    TermsAsked,
    data_date,
    sides_of,
    terms_of,
)
from planner.studies.advantage.uncertainty import (
    FigureEffect,
    combined,
    figure_effects,
    is_doubted,
    residual_of,
)
from planner.studies.study import uncounted_machine_of
from planner.units import Several
from planner.workload import Workload

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Checks = Annotated[int, Field(ge=0, le=10_000)]
One = TypeVar("One")

MACHINES = ("hgx-h100", "groq-lpu-chain", "cerebras-cs3")
SIZES = tuple(float(size) for size in np.geomspace(8e9, 2e12, 40))
SPEEDS = tuple(float(speed) for speed in np.geomspace(10, 3000, 40))
DRAWS = 400
"""Of the machines' unknown factors; always the same ones."""
FINE = 400
"""Speeds between which the winner of a real model is looked for."""
DENSE_MODELS = ("llama-3.1-8b", "qwen3-32b", "llama-3.1-70b", "llama-3.1-405b")
REAL_MODELS = {"dense": DENSE_MODELS, "moe": EXPERT_ANCHORS}
"""Those on a map, by family."""
NOBODY = dict.fromkeys(("winner", "advantage", "chips", "users", "tpot_s"))
"""What a square says that no machine wins."""


@dataclass(slots=True)
class MapGrids:
    """All plans of all machines for all sizes, from which maps are drawn without pricing again."""

    topologies: tuple[Topology, ...]
    family: Family
    terms: Terms
    sizes: tuple[float, ...]
    grounds: tuple[Ground, ...]
    """Where stages stand on each machine."""
    grids: tuple[tuple[Plans | None, ...], ...]
    """By machine, then by size; None where nothing fits."""
    models: dict[str, tuple[Plans | None, ...]] = field(default_factory=dict)
    """The same of real models, by machine."""
    loads: tuple[Load, ...] | None = None
    """Of which alone maps may be drawn, since only plans that these need are kept; None: any."""
    proved: dict[tuple[str, float, Load], list[Proved]] = field(default_factory=dict)
    """Plans of the solver that join the others, by machine and size."""
    _between: dict[tuple[str, float], Plans | None] = field(default_factory=dict)
    """Of sizes between those of the map, by machine."""
    _known: dict[tuple[int, Load, int], tuple[Plans, Stair]] = field(default_factory=dict)
    _spread: dict[str, tuple[Uncertainty, ...]] = field(default_factory=dict)

    @property
    def workload(self) -> Workload:
        """What each machine is asked."""
        return self.terms.workload

    @property
    def space(self) -> Space:
        """Whether plans are those that each machine's software can be started with, or any."""
        return self.terms.space

    def plans_at(self, machine: int, size: float) -> Plans | None:
        """Of one machine for one size, priced now where that was not done before."""
        if size in self.sizes:
            return self.grids[machine][self.sizes.index(size)]
        topology = self.topologies[machine]
        key = topology.name, size
        if key not in self._between:
            graph = member(self.family, size, self.terms.dtype_on(topology))
            plans = priced(graph, self.grounds[machine], self.terms, self.family)
            self._between[key] = kept_for(plans, self.loads)
        return self._between[key]

    def stair_at(self, machine: int, size: float, load: Load) -> Stair:
        """Of one machine for one size, with what the solver has found."""
        proved = self.proved.get((self.topologies[machine].name, size, load), [])
        return self.stair(self.plans_at(machine, size), load, proved)

    def stair(self, plans: Plans | None, load: Load, proved: Sequence[Proved] = ()) -> Stair:
        """Of one machine's plans for one model, kept for the next time."""
        if plans is None:
            return EMPTY
        if self.loads is not None and load not in self.loads:
            raise InputError(f"loads: plans for {load} were not kept; give it to map_grids() too")
        key = id(plans), load, len(proved)
        if key not in self._known:
            self._known[key] = plans, stair_of(plans, load, proved)
        return self._known[key][1]

    def load(self, metric: str, most_users: int | None, requests_per_s: float | None) -> Load:
        """What a map is drawn of; None: as the terms have it."""
        changed: dict[str, Any] = {"most_users": most_users, "requests_per_s": requests_per_s}
        given = {name: value for name, value in changed.items() if value is not None}
        terms = self.terms.replace(**given)
        return Load(metric, terms.most_users, terms.requests_per_s)

    def varying(self, topology: Topology) -> "MapGrids":
        """The same with another version of one of the machines, found by its name; only that one
        is priced again."""
        machine = whole(topology)
        place = [one.name for one in self.topologies].index(machine.name)
        machines = list(self.topologies)
        machines[place] = machine
        grounds = list(self.grounds)
        grounds[place] = Ground(machine)
        grids = list(self.grids)
        grids[place] = _priced_all(self.family, self.sizes, grounds[place], self.terms, self.loads)
        return replace(
            self,
            topologies=tuple(machines),
            grounds=tuple(grounds),
            grids=tuple(grids),
            models={},
            proved={},
            _between={},
            _spread={},
        )

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
            grounds=of_those(self.grounds),
            grids=of_those(self.grids),
            models={name: of_those(column) for name, column in self.models.items()},
            _spread={metric: of_those(column) for metric, column in self._spread.items()},
        )

    def uncertainties(self, metric: str) -> tuple[Uncertainty, ...]:
        """Of each machine, at the middle of what it reaches, with as much to do as the terms
        say."""
        if metric not in self._spread:
            load = self.load(metric, None, None)
            self._spread[metric] = tuple(
                self._uncertainty(machine, load) for machine in range(len(self.topologies))
            )
        return self._spread[metric]

    def _uncertainty(self, machine: int, load: Load) -> Uncertainty:
        """At the middle size of those that fit, and half of the highest speed there."""
        topology = self.topologies[machine]
        there = [one for one in self.grids[machine] if self.stair(one, load).fastest]
        figures: tuple[FigureEffect, ...] = ()
        if there:
            figures = self._effects(machine, there[len(there) // 2], load)
        return Uncertainty(
            topology=topology.name,
            speed_half_width=residual_of(topology, "tpot_s"),
            metric_half_width=residual_of(topology, load.metric),
            inputs_half_width=combined(0.0, *(one.half_width for one in figures)),
            figures=figures[:5],
        )

    def _effects(self, machine: int, plans: Plans | None, load: Load) -> tuple[FigureEffect, ...]:
        """What a machine's doubtful figures do to the metric at half of the highest speed."""
        topology = self.topologies[machine]
        stair = self.stair(plans, load)
        if plans is None or not len(stair.speeds):
            return ()
        speed = 0.5 * float(stair.speeds[0])
        usable = usable_bytes_of(topology)
        kept = shapes_on(plans, stair, load, speed)

        def value_on(moved: Topology) -> float | None:
            # Only the shapes of the stair are priced again, unless a figure of memory has moved:
            # then others may fit, or these no longer.
            only = kept if usable_bytes_of(moved) == usable else None
            again = priced(plans.graph, Ground(moved), self.terms, self.family, only)
            value = stair_of(again, load).value_at(speed)
            return value if math.isfinite(value) else None

        doubted = [one for one in topology.figures if is_doubted(one)]
        return figure_effects(topology.replace(figures=tuple(doubted)), value_on)

    def map(
        self,
        metric: str = "energy_per_token_j",
        *,
        speeds: Sequence[float] = SPEEDS,
        most_users: int | None = None,
        requests_per_s: float | None = None,
        draws: int = DRAWS,
    ) -> AdvantageMap:
        """The map of one metric, of plans with at most so many requests in flight, or of as many
        copies of each as serve so many requests a second; None: as the terms say. Everything is
        looked up in the stairs of the grids: nothing is priced again."""
        if metric not in METRICS:
            raise UnknownNameError("metric of a map", metric, METRICS)
        unknown = self.terms.unknown_of(self.topologies, metric)
        load = self.load(metric, most_users, requests_per_s)
        demanded = np.array([float(speed) for speed in speeds])
        names = tuple(one.name for one in self.topologies)
        stairs = [
            [self.stair_at(machine, size, load) for size in self.sizes]
            for machine in range(len(names))
        ]
        values, steps = _looked_up(stairs, demanded)
        uncertainties = self.uncertainties(metric)
        best = np.argmin(values, axis=0)
        likely = _likely(
            stairs, demanded, best, np.isfinite(values.min(axis=0)), uncertainties, draws
        )
        terms = self.terms.replace(most_users=load.most_users, requests_per_s=load.requests_per_s)
        return AdvantageMap(
            topologies=names,
            titles=tuple(map(_title, self.topologies)),
            metric=metric,
            family=self.family,
            weight_dtype=terms.dtype_words,
            prompt_tokens=terms.prompt_tokens,
            output_tokens=terms.output_tokens,
            most_users=load.most_users,
            sizes=self.sizes,
            speeds=tuple(demanded.tolist()),
            rows=tuple(self._squares(stairs, values, steps, likely, demanded)),
            uncertainties=uncertainties,
            measured=measured_systems(self.family, names),
            switches=tuple(self._switches(load, demanded)),
            terms=terms,
            sides=sides_of(terms, self.topologies, self.family),
            unknown=unknown,
            data_date=data_date(),
            space=self.space,
            **terms.counted(self.topologies)._asdict(),
        )

    def square_at(self, size: float, speed: float, load: Load) -> Square:
        """One size, on the map or between its sizes, at one speed, without draws."""
        stairs = [[self.stair_at(one, size, load)] for one in range(len(self.topologies))]
        demanded = np.array([speed])
        values, steps = _looked_up(stairs, demanded)
        at = self.replaced(sizes=(size,))
        return next(at._squares(stairs, values, steps, np.full((1, 1), np.nan), demanded))

    def replaced(self, *, sizes: tuple[float, ...]) -> "MapGrids":
        """The same machines at other sizes, of which nothing is priced yet."""
        if not sizes:
            raise InputError("sizes must name one size or more, in parameters")
        grids = tuple(
            tuple(self.plans_at(machine, size) for size in sizes)
            for machine in range(len(self.topologies))
        )
        return replace(self, sizes=sizes, grids=grids)

    def _squares(
        self,
        stairs: list[list[Stair]],
        values: Floats,
        steps: Places,
        likely: Floats,
        speeds: Floats,
    ) -> Iterator[Square]:
        """By size, then by speed. `values` and `steps` are of shape (machines, sizes, speeds)."""
        best = np.argmin(values, axis=0)
        fastest = np.array([[stair.fastest for stair in column] for column in stairs])
        for size, speed in np.ndindex(*best.shape):
            here = values[:, size, speed]
            winner = int(best[size, speed])
            reasons = [
                _reason(value, quickest, float(speeds[speed]))
                for value, quickest in zip(here, fastest[:, size], strict=True)
            ]
            unknown = tuple(
                topology.name
                for topology, why in zip(self.topologies, reasons, strict=True)
                if why == "unknown"
            )
            share = float(likely[size, speed])
            square: dict[str, Any] = {
                "parameters": self.sizes[size],
                "tokens_per_s_per_user": float(speeds[speed]),
                "values": tuple(float(one) if math.isfinite(one) else None for one in here),
                "reasons": tuple(reasons),
                "unknown": unknown,
                "likely_share": None if unknown or math.isnan(share) else share,
                "drafts": None,
            }
            step = int(steps[winner, size, speed])
            if unknown or step < 0:
                square |= NOBODY
            else:
                square |= self._won(winner, size, here, stairs[winner][size], step)
            # Not validated: there are thousands, and all of it was made just now.
            yield Square.model_construct(**square)

    def _won(self, winner: int, size: int, here: Floats, stair: Stair, step: int) -> dict[str, Any]:
        """What a square says of the plan that wins it."""
        plans = self.grids[winner][size]
        assert plans is not None
        second = float(np.delete(here, winner).min(initial=math.inf))
        return {
            "winner": self.topologies[winner].name,
            "advantage": second / float(here[winner]) if math.isfinite(second) else None,
            "chips": int(stair.chips[step]),
            "users": int(stair.users[step]),
            "tpot_s": float(1.0 / stair.speeds[step]),
            "drafts": drafts_of(plans, int(stair.ways[step])),
        }

    def _switches(self, load: Load, speeds: Floats) -> Iterator[Switch]:
        """Of the real models, on a fine scale of speeds."""
        fine = np.geomspace(speeds[0], speeds[-1], FINE)
        for model, column in self.models.items():
            stairs = [self.stair(plans, load) for plans in column]
            values = np.array([stair.at(fine)[0] for stair in stairs])
            best = np.where(np.isfinite(values.min(axis=0)), np.argmin(values, axis=0), -1)
            # Where a machine is fast enough whose metric is not known, nobody knows who wins.
            fast = np.array([fine <= stair.fastest for stair in stairs])
            best = np.where((fast & ~np.isfinite(values)).any(axis=0), -2, best)
            graphs = [plans.graph for plans in column if plans is not None]
            for at in np.flatnonzero(np.diff(best)):
                before, after = best[at], best[at + 1]
                if before >= 0 and after >= -1:
                    yield Switch(
                        model=model,
                        parameters=graphs[0].parameters,
                        tokens_per_s_per_user=float(fine[at + 1]),
                        before=self.topologies[before].name,
                        after=None if after < 0 else self.topologies[after].name,
                    )


def _reason(value: float, fastest: float, speed: float) -> Reason | None:
    """Why a machine has no value at a speed."""
    if math.isfinite(value):
        return None
    if fastest <= 0:
        return "does not fit"
    return "too slow" if fastest < speed else "unknown"


def _title(topology: Topology) -> str:
    return topology.title or topology.name


def _looked_up(stairs: list[list[Stair]], speeds: Floats) -> tuple[Floats, Places]:
    """Values and steps of all machines and sizes, each of shape (machines, sizes, speeds)."""
    found = [[stair.at(speeds) for stair in column] for column in stairs]
    values = np.array([[value for value, _ in column] for column in found])
    steps = np.array([[step for _, step in column] for column in found])
    return values, steps


def _likely(
    stairs: list[list[Stair]],
    speeds: Floats,
    best: NDArray[np.intp],
    reached: NDArray[np.bool_],
    spreads: Sequence[Uncertainty],
    draws: int,
) -> Floats:
    """Share of draws in which the machine that wins as predicted wins, or none is fast enough where
    none is as predicted: each machine's time is off by one log-normal factor and its metric by
    another, the same in all squares; the part of the metric's that the software is to blame for
    goes with time."""
    # Half widths are of 80 %: 1.2816 standard deviations of a normal distribution.
    dice = np.random.default_rng(0).standard_normal((len(stairs), 2, draws)) / 1.2816
    shares = np.zeros(best.shape)
    for size in range(best.shape[0]):
        values = []
        for column, spread, (own, inputs) in zip(stairs, spreads, dice, strict=True):
            needed = speeds[:, None] * np.exp(spread.speed_half_width * own)
            factor = np.exp(spread.metric_half_width * own + spread.inputs_half_width * inputs)
            values.append(column[size].at(needed.ravel())[0].reshape(needed.shape) * factor)
        drawn = np.array(values)
        is_reached = np.isfinite(drawn.min(axis=0))
        is_same = (np.argmin(drawn, axis=0) == best[size][:, None]) & is_reached
        shares[size] = np.where(reached[size][:, None], is_same, ~is_reached).mean(axis=1)
    return shares


@guarded
def map_grids(
    topologies: Sequence[str | Topology] = MACHINES,
    *,
    family: Family = "dense",
    sizes: Several = SIZES,
    models: Sequence[str] | None = None,
    terms: Terms | None = None,
    loads: Sequence[Load] | None = None,
    **asked: Unpack[TermsAsked],
) -> MapGrids:
    """Prices all uniform plans of a family's models on machines, each as large as its fabrics join,
    and those of some real models (None: of the family), under the terms of a comparison; `asked`
    are fields of `Terms`, in place of those that are given. `loads` are what maps will be drawn of:
    then only plans that these need are kept, which takes a small part of the memory; the intervals
    of a map need the load that the terms state of its metric, too.

    Power and price of all count the same, where that is known of all (`machines.accounts.alike`).

    InputError: no sizes, a machine twice, or terms that do not go together. UnknownNameError: no
    such machine or family.
    """
    agreed = terms_of(terms, asked)
    given = tuple(whole(one) for one in topologies)
    _check_once(given)
    if not len(sizes):
        raise InputError("sizes must name one size or more, in parameters")
    if loads is not None and not len(loads):
        raise InputError("loads must name one load or more; None keeps the plans of all")
    machines = agreed.machines(given)
    grounds = tuple(Ground(machine) for machine in machines)
    named = REAL_MODELS[_known_family(family)] if models is None else models
    chosen = None if loads is None else tuple(loads)
    columns = {
        name: tuple(
            kept_for(priced(_real(name, one.topology, agreed), one, agreed, family), chosen)
            for one in grounds
        )
        for name in named
    }
    held = tuple(float(size) for size in sizes)
    return MapGrids(
        topologies=machines,
        family=family,
        terms=agreed,
        sizes=held,
        grounds=grounds,
        grids=tuple(_priced_all(family, held, ground, agreed, chosen) for ground in grounds),
        models=columns,
        loads=chosen,
    )


def _known_family(family: Family) -> Family:
    if family not in REAL_MODELS:
        raise UnknownNameError("family of models", family, REAL_MODELS)
    return family


def _real(name: str, topology: Topology, terms: Terms) -> ModelGraph:
    return load_model(name, weight_dtype=terms.dtype_on(topology))


def _check_once(machines: Sequence[Topology]) -> None:
    if not machines or len({one.name for one in machines}) < len(machines):
        raise InputError("topologies must name one machine or more, each once")


def _priced_all(
    family: Family,
    sizes: Sequence[float],
    ground: Ground,
    terms: Terms,
    loads: tuple[Load, ...] | None,
) -> tuple[Plans | None, ...]:
    dtype = terms.dtype_on(ground.topology)
    graphs = (member(family, size, dtype) for size in sizes)
    return tuple(kept_for(priced(graph, ground, terms, family), loads) for graph in graphs)


def whole(topology: str | Topology) -> Topology:
    """A machine as large as its fabrics join."""
    found = uncounted_machine_of(topology)
    return found.replace(chips=found.limit_chips)


@guarded
def advantage_map(
    topologies: Sequence[str | Topology] = MACHINES,
    metric: str = "energy_per_token_j",
    *,
    family: Family = "dense",
    sizes: Several = SIZES,
    speeds: Several = SPEEDS,
    models: Sequence[str] | None = None,
    checks: Checks = 0,
    borders_at: Sequence[float] | Literal["all"] = BORDER_SPEEDS,
    proved: Provers = "engines",
    terms: Terms | None = None,
    **asked: Unpack[TermsAsked],
) -> AdvantageMap:
    """Which machine has the least `metric` ("energy_per_token_j", "usd_per_million_tokens" or
    "chips") for models of each size, where every user is to get so many tokens a second.

    On each machine batch, requests in flight, split, depth and chips are chosen for each square
    among all uniform plans that its software can be started with (`space` "any": among all), under
    the terms of the comparison; `asked` are fields of `Terms`, in place of those of `terms`.
    `speeds` are in tokens/s for one user. At the speeds nearest to `borders_at` borders are looked
    for between the sizes of the map, and, `proved`, between plans of the solver: of machines whose
    software has known rules ("engines"), of all ("all", which takes seconds each) or of none.
    `checks` compares so many squares with what the solver proves. The draws behind `likely_share`
    take each machine's figures and its software's residual as unknown (see `Uncertainty`).

    InputError: terms that do not go together, or a machine whose watts or price are not known.
    UnknownNameError: no such metric, machine or family.
    """
    agreed = terms_of(terms, asked)
    grids = map_grids(topologies, family=family, sizes=sizes, models=models, terms=agreed)
    drawn = grids.map(metric, speeds=speeds)
    drawn = refined(drawn, grids, borders_at=borders_at, proved=proved)
    drawn = drawn.replace(measured=explained(drawn))
    if not checks:
        return drawn
    return drawn.replace(checks=(*drawn.checks, *checked(drawn, grids, checks)))


def checked(
    drawn: AdvantageMap, grids: MapGrids, count: int, *, time_limit_s: float = 3.0
) -> tuple[Check, ...]:
    """So many squares, spread evenly over those that a machine wins, beside the solver's bound for
    plans with as many users in flight on up to twice the chips; of plain terms alone."""
    reached = [square for square in drawn.rows if square.winner is not None]
    chosen = np.linspace(0, len(reached) - 1, min(count, len(reached))).round().astype(int)
    found = []
    for at in chosen:
        square = reached[at]
        if not is_provable(drawn, grids.topologies[drawn.topologies.index(square.winner or "")]):
            continue
        try:
            found.append(_check(drawn, grids, square, time_limit_s))
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
    plans = grids.plans_at(place, square.parameters)
    assert plans is not None
    way = next(one for one in plans.ways if one.name == (square.drafts or plans.ways[0].name))
    result = partition(
        plans.graph,
        topology.replace(chips=min(topology.limit_chips, 2 * square.chips)),
        grids.workload.replace(batch_size=square.users, speculation=way.grid.workload.speculation),
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
