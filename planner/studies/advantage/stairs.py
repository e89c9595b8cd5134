"""`Stair`: what a speed costs at least on one machine for one model, from all uniform plans that
were priced there, under the terms of a comparison."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.errors import InfeasibleError
from planner.models.graph import ModelGraph
from planner.space.uniform import PlanGrid, plan_grid
from planner.space.uniform_shapes import Ground, Shape
from planner.studies.advantage.family import Family
from planner.studies.advantage.terms import NO_DRAFT, Terms
from planner.workload import Workload

METRICS = ("energy_per_token_j", "usd_per_million_tokens", "chips")
"""Of which a stair may be."""
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NEAR = 1.5
"""What plans of a pipeline may cost over the least of those as fast, all without drafts, for drafts
to be tried on it: they gain as much on pipelines that are alike."""
ABOUT = 1.5
"""Speeds so many times apart are about the same."""
WHOLE = 1e-9
"""Relative: copies of a plan that nearly suffice for a rate do."""


@dataclass(frozen=True, slots=True)
class Way:
    """Plans that draft in one way."""

    name: str
    """Of drafting; "none": nothing is drafted."""
    grid: PlanGrid
    prompts: PlanGrid | None = None
    """Prefill pools beside these decode pools; None: prompts and tokens share one."""

    def shapes_at(self, places: Ints) -> tuple[Shape, ...]:
        """Of the plans at some places of the grid made flat."""
        each = math.prod(self.grid.tpot_s.shape[1:])
        return tuple(self.grid.shapes[number] for number in np.unique(places // each))


@dataclass(frozen=True, slots=True)
class Plans:
    """All plans that were priced of one model on one machine."""

    graph: ModelGraph
    ways: tuple[Way, ...]

    @property
    def grid(self) -> PlanGrid:
        """Of the first way, which drafts nothing where that is left open."""
        return self.ways[0].grid


class Load(NamedTuple):
    """What a metric is taken of, and how much plans have to do."""

    metric: str
    most_users: int | None = None
    requests_per_s: float | None = None


class Proved(NamedTuple):
    """A plan that the solver proved to be the best at its speed, or bounded."""

    speed: float
    value: float
    chips: int
    users: int
    way: int


@dataclass(frozen=True, slots=True)
class Stair:
    """The best value of one machine for one model at each speed: plans sorted by speed, the
    fastest first."""

    speeds: Floats
    values: Floats
    """The least of those as fast."""
    chips: Ints
    """Of that least, as all that follow; of all its copies, and of both pools."""
    users: Ints
    ways: Ints
    """Number of the way in which it drafts."""
    place: Ints
    """In the grid of its way made flat; -1: a proved plan, which no grid has."""
    fastest: float
    """Speed of the fastest plan, whether its metric is known or not; 0: none fits."""

    def at(self, speeds: Floats) -> tuple[Floats, Ints]:
        """Value and step for demanded speeds; infinite, -1 where no plan is as fast."""
        if not len(self.speeds):
            return np.full(len(speeds), np.inf), np.full(len(speeds), -1)
        last = np.searchsorted(-self.speeds, -speeds, side="right") - 1
        there = last >= 0
        return np.where(there, self.values[last], np.inf), np.where(there, last, -1)

    def value_at(self, speed: float) -> float:
        """Of one speed; infinite where no plan is as fast."""
        return float(self.at(np.array([speed]))[0][0])


NOTHING = np.zeros(0, dtype=np.intp)
EMPTY = Stair(np.zeros(0), np.zeros(0), NOTHING, NOTHING, NOTHING, NOTHING, 0.0)


class Shapes(NamedTuple):
    """To which pipelines a way is held when it is priced again."""

    decode: tuple[Shape, ...]
    prompts: tuple[Shape, ...] | None


def priced(
    graph: ModelGraph,
    ground: Ground,
    terms: Terms,
    family: Family,
    only: Mapping[str, Shapes] | None = None,
) -> Plans | None:
    """All plans of a model on a machine, or of the ways and shapes that are given; None where
    nothing fits. Drafts are tried on pipelines that are NEAR the least without them."""
    found: list[Way] = []
    near: Shapes | None = None
    for name, speculation in terms.ways(ground.topology, graph, family).items():
        if only is not None and name not in only:
            continue
        work = terms.workload.replace(speculation=speculation)
        if only is not None:
            kept: Shapes | None = only[name]
        else:
            # The first way drafts nothing, and says for all others which shapes are near.
            if found and near is None:
                near = _worth_drafts(graph, found[0])
            kept = near
        try:
            found.append(_way(name, graph, ground, terms, work, kept))
        except InfeasibleError:
            continue
    return Plans(graph, tuple(found)) if found else None


def _worth_drafts(graph: ModelGraph, plain: Way) -> Shapes | None:
    """The pipelines that are near the least at the speed of one of their plans, in any metric that
    is known; None, all, where what there is drafts already."""
    if plain.name != NO_DRAFT:
        return None
    grid = plain.grid
    near = np.zeros(len(grid.shapes), dtype=bool)
    for metric in METRICS:
        load = Load(metric)
        columns = _columns(0, plain, load)
        stair = stair_of(Plans(graph, (plain,)), load)
        least, _ = stair.at(1.0 / columns.tpot_s)
        is_near = np.isfinite(columns.value) & (columns.value <= NEAR * least)
        near[columns.place[is_near] // math.prod(grid.tpot_s.shape[1:])] = True
    decode = tuple(grid.shapes[number] for number in np.flatnonzero(near))
    return Shapes(decode, None if plain.prompts is None else plain.prompts.shapes)


def _way(
    name: str, graph: ModelGraph, ground: Ground, terms: Terms, work: Workload, kept: Shapes | None
) -> Way:
    def grid(work: Workload, shapes: tuple[Shape, ...] | None) -> PlanGrid:
        made = plan_grid(
            graph,
            ground.topology,
            work,
            shapes=shapes,
            ground=ground,
            space=terms.space,
            power_scope=terms.power_scope,
        )
        return made if terms.utilisation is None else made.at_utilisation(terms.utilisation)

    if not terms.has_pools(ground.topology):
        return Way(name, grid(work, kept.decode if kept else None))
    decode = work.replace(phase="decode", transfer_s=terms.transfer_s(ground.topology, graph))
    prefill = work.replace(phase="prefill", batch_size=None)
    return Way(
        name,
        grid(decode, kept.decode if kept else None),
        grid(prefill, kept.prompts if kept else None),
    )


def stair_of(plans: Plans | None, load: Load, proved: Sequence[Proved] = ()) -> Stair:
    """The staircase of all plans of a model on a machine, proved ones among them."""
    if plans is None:
        return EMPTY
    columns = [_columns(number, way, load) for number, way in enumerate(plans.ways)]
    if proved:
        columns.append(_Columns(*map(np.array, zip(*_proved_columns(proved), strict=True))))
    joined = _Columns(*(np.concatenate(one) for one in zip(*columns, strict=True)))
    return _stair(joined)


class _Columns(NamedTuple):
    """Plans, one beside the other, all of one length."""

    tpot_s: Floats
    value: Floats
    chips: Floats
    users: Ints
    way: Ints
    place: Ints


def _proved_columns(proved: Sequence[Proved]) -> Iterator[tuple[float, ...]]:
    for one in proved:
        yield 1.0 / one.speed, one.value, one.chips, one.users, one.way, -1


def _columns(number: int, way: Way, load: Load) -> _Columns:
    """Of the plans of one way that have no more users than they may."""
    grid = way.grid
    users = np.broadcast_to(grid.batch_size, grid.tpot_s.shape)
    may = np.isfinite(grid.tpot_s) & (users <= (load.most_users or np.inf))
    place = np.flatnonzero(may)
    value, copies = (one[may] for one in under_load(grid, load))
    rate = grid.requests_per_s[may]
    held = np.broadcast_to(grid.chips[:, None, None], grid.tpot_s.shape)[may]
    chips = copies * held
    if way.prompts is not None:
        more = prefilled(way.prompts, load)
        # A pool of prompts serves as many decode pools as its rate asks for.
        chips = chips + (rate * more.chips if load.requests_per_s is None else more.chips)
        value = chips if load.metric == "chips" else value + more.value
    return _Columns(
        grid.tpot_s[may],
        value,
        chips,
        users[may] * copies.astype(np.intp),
        np.full(len(place), number),
        place,
    )


def under_load(grid: PlanGrid, load: Load) -> tuple[Floats, Floats]:
    """The metric of each plan where so many copies of it stand that all requests are served, and
    how many copies that is; without a rate, one that has all that it serves.

    A copy that has less to do than it could serves for a share of the time, and waits in the rest:
    watts as it serves and watts as it waits, by these shares, and dollars for all hours.
    """
    value = grid.value(load.metric)
    if load.requests_per_s is None:
        return value, np.ones(value.shape)
    serves = grid.requests_per_s
    with np.errstate(divide="ignore", invalid="ignore"):
        copies = np.maximum(1.0, np.ceil(load.requests_per_s / serves * (1.0 - WHOLE)))
        copies = np.where(np.isfinite(copies), copies, 1.0)
        share = np.minimum(1.0, load.requests_per_s / (serves * copies))
        if load.metric == "chips":
            carried = value * copies
        elif load.metric == "energy_per_token_j":
            watts = share * grid.power_w + (1.0 - share) * grid.idle_w
            carried = watts * copies / (load.requests_per_s * grid.workload.output_tokens)
        else:
            carried = value / share
    return np.where(np.isfinite(grid.tpot_s), carried, np.inf), copies


class Prefilled(NamedTuple):
    """The prefill pools of least cost."""

    value: float
    """For each token of the output."""
    chips: float
    """For each request a second; where a rate comes, all."""
    shape: int


def prefilled(prompts: PlanGrid, load: Load) -> Prefilled:
    """Each prompt is worth as many output tokens as its request makes, so that costs add up."""
    held = np.broadcast_to(prompts.chips[:, None, None], prompts.tpot_s.shape)
    value, copies = under_load(prompts, load)
    chips = copies * held
    if load.requests_per_s is None:
        with np.errstate(divide="ignore"):
            chips = held / prompts.requests_per_s
    by = chips if load.metric == "chips" else value
    by = np.where(np.isfinite(prompts.tpot_s), by, np.inf)
    best = int(np.argmin(by))
    shape = best // math.prod(by.shape[1:])
    return Prefilled(float(by.flat[best]), float(chips.flat[best]), shape)


def _stair(plans: _Columns) -> Stair:
    """From the fastest plan to the slowest a step begins wherever the least so far gets less."""
    fastest = 1.0 / float(plans.tpot_s.min(initial=math.inf))
    there = np.flatnonzero(np.isfinite(plans.value))
    if not len(there):
        return replace(EMPTY, fastest=fastest)
    order = there[np.lexsort((plans.value[there], plans.tpot_s[there]))]
    least = np.minimum.accumulate(plans.value[order])
    steps = np.flatnonzero(np.concatenate([[True], np.diff(least) < 0]))
    chosen = order[steps]
    return Stair(
        speeds=1.0 / plans.tpot_s[chosen],
        values=least[steps],
        chips=np.ceil(plans.chips[chosen] * (1.0 - WHOLE)).astype(np.intp),
        users=plans.users[chosen],
        ways=plans.way[chosen],
        place=plans.place[chosen],
        fastest=fastest,
    )


def shapes_on(plans: Plans, stair: Stair, load: Load, speed: float) -> dict[str, Shapes]:
    """The pipelines that a stair's plans stand on which are about as fast as that, by way: all that
    pricing it again there needs."""
    found = {}
    about = (stair.speeds > speed / ABOUT) & (stair.speeds < speed * ABOUT)
    # The plan that serves that speed may be much faster.
    about[int(stair.at(np.array([speed]))[1][0])] = True
    for number, way in enumerate(plans.ways):
        places = stair.place[about & (stair.ways == number) & (stair.place >= 0)]
        if not len(places):
            continue
        prompts = None
        if way.prompts is not None:
            prompts = (way.prompts.shapes[prefilled(way.prompts, load).shape],)
        found[way.name] = Shapes(way.shapes_at(places), prompts)
    return found


def drafts_of(plans: Plans, way: int) -> str | None:
    """In which way a step of a stair drafts; None: in none."""
    name = plans.ways[way].name
    return None if name == NO_DRAFT else name
