"""`fewest_chips`: how few chips of each of several machines will do, side by side.

Of one size of a machine `partition` proves the fewest chips that a plan holds. A machine may be of
any size, though, and the fewest of all sizes are wanted. Where chips that are joined by switches,
meshes of all with all, chains or dragonflies become more, nothing changes for those that were
there: a plan on a smaller machine is one on a larger machine, at the same price. So more chips
never need more. The other way round, a plan that holds few chips finds room on a machine that is
not much larger (`Extent.room_for`), so that a machine of that size settles all larger ones. Of a
list of links, a ring, a torus or a mesh that is not there in whole, every size is wired in its own
way, and is asked by itself.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from planner import allowance
from planner.answers.question import PER_TOKEN, TOTALS, Limits, question_of
from planner.answers.results import Result
from planner.answers.sizings import Bill, Headroom, SizedMachine, Sizing, Told
from planner.catalogue import AnyModel, counted_name, load_topology, model_of
from planner.cost import memory
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    TimeUpError,
    listed,
    shortened,
    told,
)
from planner.guards import guarded
from planner.machines.accounts import (
    PowerBasis,
    alike,
    common_price_basis,
    unlike_prices,
)
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.planning.disaggregation import CUTTABLE
from planner.planning.headroom import headroom_of
from planner.planning.partitioning import partition
from planner.planning.seating import waits
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.holdings import held_weight_bytes
from planner.pricing.loads import PERCENTILES, SCATTERED
from planner.pricing.stacks import machine_for
from planner.scoring.plans import score_plan
from planner.units import PositiveBytes
from planner.workload import Workload

Machines = Annotated[
    str | Topology | Sequence[str | Topology] | Mapping[str, str | Topology],
    "names of the catalogue, such as 'hgx-h100' or 'hgx-h100:16', or topologies",
]

MOST_CHIPS = 4096
"""A machine whose size nobody says has at most so many."""
MOST_SIZES = 64
"""Sizes of one machine that are asked one by one, where each is wired in its own way."""
MOST_BETWEEN = 16
"""Sizes that are asked between two of them, where they are too many to ask all."""
GROWTH = 4
"""Where there is no plan on so many chips, so many times as many are asked next."""
OVER_ARITHMETIC = 4
"""Chips that are thought to do, over those that the arithmetic alone would keep busy."""
OVER_MEMORY = 2
"""The same over those that weights and caches would fill."""
OURS = ("minimize", "maximize", "exclude", "offload")
"""Options of `partition` that are settled here."""


class Extent(NamedTuple):
    """A machine as large as it may become."""

    name: str
    """As it was asked for."""
    topology: Topology
    node_chips: int | None
    """Chips that are bought together; None: it is not described in nodes."""

    @property
    def even_from(self) -> int:
        """The size from which on more chips change nothing for those that are there."""
        inside: int = 1
        size: int = 1
        for fabric in self.topology.fabrics:
            inside *= fabric.units
            if fabric.shape not in CUTTABLE:
                size = inside
        return size

    def room_for(self, chips: int, *, alike: bool = True) -> int:
        """The size on which every plan has a place that holds at most so many chips on any.

        Inside the innermost unit nothing is left empty. Beyond it a stage keeps clear of a border
        that the next unit need not have: two neighbouring units hold more than one together, so
        that less than half of them is empty; so also between replicas. With each level more, both
        come on top; where stages are of unlike widths, a large one may leave a unit nearly empty.
        """
        levels = self.topology.levels
        if not levels or chips <= levels[0].span_chips:
            return min(chips, self.topology.chips)
        first = 2 if alike else 5
        factor = first
        for _ in levels[2:]:
            factor *= 2 * first
        return min(factor * chips, self.topology.chips)

    def whole(self, size: int) -> int:
        """So many chips or more, in whole units of the innermost fabric that is joined."""
        levels = self.topology.levels
        unit = levels[0].span_chips if len(levels) > 1 else 1
        return unit * math.ceil(size / unit)

    def settles(self, size: int, *, alike: bool = True) -> int:
        """The most chips of which a machine of that size says all that there is to say."""
        low, high = 0, self.topology.chips
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (
                (middle, high) if self.room_for(middle, alike=alike) <= size else (low, middle - 1)
            )
        return low


@guarded
@allowance.allowing
def fewest_chips(
    graph: AnyModel,
    machines: Machines,
    workload: Workload | None = None,
    *,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    **options: Any,
) -> Sizing:
    """The fewest chips of each machine that serve a workload within limits, with a proof, and what
    they cost; the cheapest machine first.

    `machines` are names of the catalogue ("hgx-h100": as many chips as it takes, up to 4,096;
    "hgx-h100:16": at most so many), topologies (at most the chips that they have), or a mapping of
    names to either. The workload says what must be served: `requests_per_s`, or `batch_size` users
    at once, none of whom waits for a place; with an open batch, `limits={"tokens_per_s": …}` at
    least; where requests come at an open rate, that or "requests_per_s"; with none of these the
    model has to fit. None is an open batch. `limits` and `options`, `sure=` among them, are those
    of `partition`, and every machine keeps them.

    Each row has the plan on the fewest chips, the bill, what binds, and how much of what those
    chips can serve is used. Chips are paid in whole nodes where the price counts a share of a node
    and the machine is described in nodes; a plan that needs fewer of those is told beside it. A
    machine that cannot do it has a row that says why. `time_limit_s` is for all machines together.
    InputError: something given is wrong, or a limit needs a price or a power that is not known;
    InfeasibleError: proved that no machine can do it; NoPlanFoundError: no plan was found in time.
    """
    graph = model_of(graph)
    return size_machines(
        graph,
        extents_of(machines),
        workload,
        limits=limits,
        time_limit_s=time_limit_s,
        power_scope=power_scope,
        price_basis=price_basis,
        power_basis=power_basis,
        **options,
    )


def size_machines(
    graph: ModelGraph,
    extents: Sequence[Extent],
    workload: Workload | None = None,
    *,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    **options: Any,
) -> Sizing:
    """The same of machines as large as they may become."""
    started = time.monotonic()
    workload = Workload(batch_size=None) if workload is None else workload
    _check(graph, options)
    workload, kept = _demanded(workload, _read(limits, options))
    extents, notes, ranked = _alike(
        extents, kept, power_scope, price_basis=price_basis, power_basis=power_basis
    )
    asking = _Asking(graph, workload, kept, {"power_scope": power_scope, **options})
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    sized: list[tuple[Extent, _Fewest]] = []
    for number, extent in enumerate(extents):
        now = time.monotonic()
        deadline = now if asking.stopped else deadline
        # Each machine has its share of the time that those before it have left.
        asking.deadline = now + max(0.0, deadline - now) / (len(extents) - number)
        sized.append((extent, _in_time(asking, extent)))
    rows = [_row(asking, extent, found) for extent, found in sized]
    _refuse_none([found for _, found in sized])
    results = [row.result for row in rows if row.result is not None]
    return Sizing(
        machines=tuple(_in_order(rows, ranked)),
        ranked=ranked,
        notes=tuple(notes),
        limits=results[0].limits,
        sure=results[0].sure,
        graph=graph,
        workload=workload,
        elapsed_s=time.monotonic() - started,
    )


def _in_time(asking: "_Asking", extent: Extent) -> "_Fewest":
    """The fewest chips of a machine, as far as that gets in its share of the time."""
    try:
        return _fewest_of(asking, extent)
    except TimeUpError as up:
        asking.stopped |= up.interrupted
        return _Fewest(error=up)


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def extents_of(machines: Machines) -> tuple[Extent, ...]:
    """The machines that are asked for, each as large as it may become.

    An InputError says so where there is none, or one is there twice.
    """
    if isinstance(machines, str | Topology):
        machines = [machines]
    if isinstance(machines, Mapping):
        named = [(str(name), machine) for name, machine in machines.items()]
    else:
        named = [(str(getattr(one, "name", one)), one) for one in machines]
    if not named:
        raise InputError("machines must name at least one machine, such as 'hgx-h100'")

    extents: list[Extent] = []
    for name, machine in named:
        one = _extent(name, machine)
        for other in extents:
            if name == other.name or (isinstance(machine, str) and one[1:] == other[1:]):
                raise InputError(
                    f"{shortened(name)} is given twice"
                    f"{'' if name == other.name else f', the first time as {other.name}'}; leave"
                    " one out, or give a mapping of names to machines"
                )
        extents.append(one)
    return tuple(extents)


def _extent(name: str, machine: str | Topology) -> Extent:
    """A machine as large as it may become."""
    if isinstance(machine, Topology):
        return Extent(name, machine, _node_chips(machine, machine.chips))
    if not isinstance(machine, str):
        raise InputError(
            "machines must be names of the catalogue, such as 'hgx-h100' or 'hgx-h100:16', or"
            f" topologies, not {told(machine, 60)}"
        )
    known = counted_name(machine)
    described = load_topology(known.name)
    largest = min(described.limit_chips, max(MOST_CHIPS, described.chips))
    asked = described.replace(chips=known.chips or largest)
    return Extent(name, asked, _node_chips(asked, described.chips))


def _node_chips(topology: Topology, described: int) -> int | None:
    """Chips of a node, where a machine is described in whole ones: cards that may be bought one by
    one are described as one."""
    if len(topology.fabrics) < 2:
        return None
    inside = topology.fabrics[0].units
    return inside if described % inside == 0 else None


def _check(graph: ModelGraph, options: Mapping[str, Any]) -> None:
    """Refuse what is not asked here."""
    if graph.is_diffusion:
        raise InputError(
            f"fewest_chips() is for language models, and {graph.name} makes pictures or videos; use"
            " partition(…, minimize='chips') on one machine"
        )
    for name in OURS:
        if name in options:
            raise InputError(
                f"{name} is not an option of fewest_chips(), which plans on whole machines with all"
                " layers on the chips; leave it out"
            )


def _read(limits: Limits | None, options: Mapping[str, Any]) -> dict[str, float]:
    """Limits as SI figures; an InputError says what is wrong with one, or with `sure`."""
    asked = question_of("chips", None, limits, None, sure=options.get("sure"))
    return dict(asked.limits)


def _demanded(workload: Workload, limits: dict[str, float]) -> tuple[Workload, dict[str, float]]:
    """Where requests come at an open rate: the workload with that which limits ask for at least,
    and the other limits. Plans that keep limits at a rate keep them at every lower one."""
    if not workload.is_open_stream:
        return workload, limits
    tokens = limits.get("tokens_per_s", 0.0) / workload.output_tokens
    rate = max(limits.get("requests_per_s", 0.0), tokens)
    if not rate > 0:
        raise InputError(
            "the fewest chips depend on the rate of requests, which is open; give"
            " Workload.requests_per_s, or a limit on requests_per_s, such as 30"
        )
    for name in PER_TOKEN:
        if name in limits:
            raise InputError(
                f"{name} depends on the rate of requests, which is open; give Workload.requests_per_s"
            )
    rest = {name: value for name, value in limits.items() if name not in TOTALS}
    return workload.replace(requests_per_s=rate), rest


def _alike(
    extents: Sequence[Extent],
    limits: Mapping[str, Any],
    power_scope: PowerScope | None,
    *,
    price_basis: OfferBasis | None,
    power_basis: PowerBasis | None,
) -> tuple[list[Extent], list[str], bool]:
    """The machines on one basis as far as there is one, what is not comparable, and whether the
    prices of all that have one are."""
    machines = alike(
        [one.topology for one in extents],
        must=tuple(limits),
        price_basis=price_basis,
        power_basis=power_basis,
        power_scope=power_scope,
    )
    silent = [
        one.name
        for one, machine in zip(extents, machines, strict=True)
        if machine.price.basis == "unknown"
    ]
    priced = [machine for machine in machines if machine.price.basis != "unknown"]
    ranked = bool(priced) and common_price_basis(priced) is not None
    notes = []
    if silent:
        notes.append(
            f"no price is known for {listed(silent)}, which come{'s' * (len(silent) == 1)} last;"
            " --price '2.10 USD/h' gives one"
        )
    if priced and not ranked:
        notes.append(f"not ranked by price: {unlike_prices('usd_per_hour', priced)}")
    counted = [
        one._replace(topology=machine) for one, machine in zip(extents, machines, strict=True)
    ]
    return counted, notes, ranked


# ── The fewest of all sizes ──────────────────────────────────────────────────────────────────────


class _Tried(NamedTuple):
    """What one size of a machine says."""

    result: Result | None
    bound: float
    """Proved of this size: fewer chips do not do; infinite where none do."""
    error: InfeasibleError | NoPlanFoundError | None = None


@dataclass
class _Asking:
    """What is asked of every size of every machine."""

    graph: ModelGraph
    workload: Workload
    limits: dict[str, float]
    options: dict[str, Any]
    deadline: float = math.inf
    stopped: bool = False
    """Whether Ctrl-C came."""

    def alike(self, extent: Extent) -> bool:
        """Whether all stages of a plan are split alike, as engines do of which rules are known."""
        software = machine_for(self.graph, extent.topology).software
        return self.options.get("space", "engine") == "engine" and software.engine.is_known

    @property
    def left_s(self) -> float | None:
        """Of the time of this machine."""
        return None if self.deadline == math.inf else max(0.0, self.deadline - time.monotonic())

    def at(self, topology: Topology, most: int | None = None, *, explain: bool = False) -> _Tried:
        """The plan on the fewest chips of a machine of one size, `most` at most; `explain`: or why
        there is none, which takes long to find out."""
        limits = dict(self.limits)
        if most is not None:
            limits["chips"] = min(limits.get("chips", most), most)
        try:
            found = partition(
                self.graph,
                topology,
                self.workload,
                minimize="chips",
                limits=limits,
                time_limit_s=self.left_s,
                offload=False,
                explain=explain,
                **self.options,
            )
        except InfeasibleError as error:
            return _Tried(None, math.inf, error)
        except NoPlanFoundError as error:
            # Where there is no time limit, only Ctrl-C ends a search.
            self.stopped |= self.deadline == math.inf or allowance.is_interrupted()
            return _Tried(None, 1.0, error)
        self.stopped |= found.stopped_by == "interrupt"
        if waits(found):
            return _Tried(None, math.inf, _too_many(found))
        if most is not None:
            found = found.replace(limits=self._asked_limits(found))
        return _Tried(found, found.bound)

    def _asked_limits(self, found: Result) -> tuple[tuple[str, float], ...]:
        """Those of a result without ours on the chips."""
        return tuple((name, self.limits[name]) for name, _ in found.limits if name in self.limits)


def _too_many(found: Result) -> InfeasibleError:
    """That some users find no place, on a machine on which as many as can be have one."""
    score = found.score
    users = score.batch_size + score.queued
    place = f"{found.topology.chips} × {found.topology.chip.name}"
    return InfeasibleError(
        f"{place} have room for {score.batch_size:,} users at once, and {users:,} are asked for;"
        " the others would wait",
        resource="places for users",
        demand=users,
        capacity=score.batch_size,
    )


class _Fewest(NamedTuple):
    """The fewest chips of a machine, of all sizes that were asked."""

    result: Result | None = None
    bound: int = 1
    """Proved of all sizes: fewer do not do."""
    error: InfeasibleError | NoPlanFoundError | None = None

    @property
    def chips(self) -> float:
        return math.inf if self.result is None else self.result.score.chips

    def fewer(self, other: "_Fewest") -> "_Fewest":
        """Of sizes that were asked apart, the better plan, and what holds of both."""
        best = self if self.chips <= other.chips else other
        bound = min(self.bound, other.bound)
        unproved = self.error if isinstance(self.error, NoPlanFoundError) else other.error
        return _Fewest(best.result, bound, unproved)


def _fewest_of(asking: _Asking, extent: Extent) -> _Fewest:
    """The fewest chips of a machine that do, of all its sizes."""
    even_from = extent.even_from
    if even_from == 1:
        return _in_fewest_nodes(asking, extent, _of_even_sizes(asking, extent))
    below = _of_every_size(asking, extent, min(even_from - 1, extent.topology.chips))
    if even_from > extent.topology.chips:
        return below
    return below.fewer(_of_even_sizes(asking, extent))


def _of_even_sizes(asking: _Asking, extent: Extent) -> _Fewest:
    """Of sizes on which a plan costs the same whatever comes on top: so many chips as are thought
    to do, then more.

    They are asked on a size that has room for every plan on so few, and only for such plans: where
    there is one, no larger size has one on fewer; where not, no size has one on so few. To leave
    the others out is what makes a large machine quick.
    """
    largest = extent.topology.chips
    alike = asking.alike(extent)
    chips = _first_chips(asking, extent)
    bound = 1
    while True:
        size = min(
            largest, max(extent.even_from, extent.whole(extent.room_for(chips, alike=alike)))
        )
        most = extent.settles(size, alike=alike)
        if size == largest:
            # Of the largest size all is settled; most of it is left out where that is much.
            most = chips if 2 * chips <= largest else largest
        is_last = most == largest
        sized = extent.topology.replace(chips=size)
        tried = asking.at(sized, None if is_last else most, explain=is_last)
        is_refused = tried.bound == math.inf
        bound = max(bound, math.ceil(min(tried.bound, most) * (1 - 1e-9)) + is_refused)
        if is_last or not is_refused:
            return _Fewest(tried.result, bound, tried.error)
        chips = min(largest, GROWTH * chips)


def _of_every_size(asking: _Asking, extent: Extent, last: int) -> _Fewest:
    """Of sizes each of which is wired in its own way."""
    chip = extent.topology.chip
    held = held_weight_bytes(asking.graph, extent.topology)
    least = memory.fewest_chips(held, chip.memory[0].capacity_bytes)
    if last - least >= MOST_SIZES:
        return _of_some_sizes(asking, extent, (least, last))
    best = _Fewest(None, extent.topology.chips + 1)
    for size in range(least, last + 1):
        best = best.fewer(_of_one_size(asking, extent, size))
    return best


def _of_one_size(asking: _Asking, extent: Extent, size: int) -> _Fewest:
    """What a size says of itself."""
    is_last = size == extent.topology.chips
    tried = asking.at(extent.topology.replace(chips=size), explain=is_last)
    bound = min(float(extent.topology.chips + 1), tried.bound * (1 - 1e-9))
    return _Fewest(tried.result, math.ceil(bound), tried.error)


def _of_some_sizes(asking: _Asking, extent: Extent, ends: tuple[int, int]) -> _Fewest:
    """Of very many sizes only some are asked, and of the others nothing is proved but that the
    weights must fit."""
    least, last = ends
    best = _Fewest()
    refused = least - 1
    for size in _graded(least, last):
        best = _of_one_size(asking, extent, size)
        if best.result is not None:
            break
        refused = size
    # Between a size that does not do and one that does, smaller ones may do too.
    for size in range(refused + 1, min(refused + MOST_BETWEEN, last)):
        if size >= best.chips:
            break
        best = best.fewer(_of_one_size(asking, extent, size))
    error = best.error
    if best.result is None and isinstance(error, InfeasibleError):
        error = NoPlanFoundError(
            f"none of the sizes of {extent.name} that were tried is enough; the others are wired in"
            f" another way, and nothing is proved of them. On the largest, {error}"
        )
    return best._replace(bound=least, error=error)


def _graded(first: int, last: int) -> Iterator[int]:
    """Numbers no factor of 1.5 apart, powers of two and half as much again among them."""
    graded = {one for n in range(24) for one in (2**n, 3 * 2**n)}
    yield from sorted({first, last} | {one for one in graded if first < one < last})


def _first_chips(asking: _Asking, extent: Extent) -> int:
    """As many as are thought to do: nothing rests on it but how soon a plan is found."""
    graph, workload, topology = asking.graph, asking.workload, extent.topology
    each = workload.context_tokens * graph.kv_bytes_per_token + graph.state_bytes_per_sequence
    held = graph.weight_bytes + (workload.batch_size or 1) * each
    chips = OVER_MEMORY * held / topology.chip.memory[0].capacity_bytes

    rate = max(
        workload.requests_per_s or 0.0,
        asking.limits.get("requests_per_s", 0.0),
        asking.limits.get("tokens_per_s", 0.0) / workload.output_tokens,
    )
    tokens = workload.new_prompt_tokens + workload.output_tokens
    busy = rate * tokens * 2 * graph.parameters_active / peak_flop_per_s(graph, topology)
    return math.ceil(min(max(1.0, chips, OVER_ARITHMETIC * busy), topology.chips))


def _in_fewest_nodes(asking: _Asking, extent: Extent, found: _Fewest) -> _Fewest:
    """The plan on a machine no larger than it needs; one that needs fewer nodes for as many chips,
    where there is one."""
    if found.result is None:
        return found
    topology = extent.topology
    unit = extent.node_chips or 1
    fewest = unit * math.ceil(found.result.score.chips / unit)
    needed = unit * math.ceil(_reached(found.result) / unit)
    if fewest < needed:
        tried = asking.at(topology.replace(chips=min(fewest, topology.chips)))
        if tried.result is not None and tried.result.score.chips == found.chips:
            found = found._replace(result=tried.result)
            needed = fewest
    assert found.result is not None
    return found._replace(result=_cut_to(found.result, min(needed, topology.chips)))


def _reached(result: Result) -> int:
    """Chips from the first to the last that a plan uses."""
    return 1 + max(group.last for stage in result.plan.stages for group in stage.groups)


def _cut_to(result: Result, chips: int) -> Result:
    """The same plan on the first chips of its machine."""
    if chips == result.topology.chips:
        return result
    cut = result.topology.replace(chips=chips)
    scope = result.question.power_scope
    with allowance.freely():
        score = score_plan(result.plan, result.graph, cut, result.workload, power_scope=scope)
    return result.replace(topology=cut, score=score)


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


def _row(asking: _Asking, extent: Extent, found: _Fewest) -> SizedMachine:
    """What is told of a machine."""
    most = extent.topology.chips
    result = found.result
    if result is None:
        is_proved = isinstance(found.error, InfeasibleError) and found.bound > most
        return SizedMachine(
            machine=extent.name,
            status="infeasible" if is_proved else "no plan found",
            most_chips=most,
            bound_chips=found.bound,
            reason=str(found.error),
        )
    score = result.score
    binds, headroom, paid = _more_of(asking, extent, found)
    return SizedMachine(
        machine=extent.name,
        status="optimal" if score.chips <= found.bound else "feasible",
        most_chips=most,
        bound_chips=min(score.chips, found.bound),
        result=result,
        paid_result=paid,
        bill=_bill(extent, result, paid or result),
        tokens_per_s_per_chip=score.tokens_per_s_per_chip,
        binds=binds,
        headroom=headroom,
        times=_times(result),
    )


def _more_of(
    asking: _Asking, extent: Extent, found: _Fewest
) -> tuple[str, Headroom | None, Result | None]:
    """What binds, how much more the plan could serve, and the plan on the fewest nodes, as far as
    there is time to find out."""
    assert found.result is not None
    binds = ""
    headroom: Headroom | None = None
    paid: Result | None = None
    with suppress(TimeUpError):
        paid = _on_fewest_nodes(asking, extent, found)
        binds, headroom = headroom_of(found.result)
    return binds, headroom, paid


def _times(result: Result) -> tuple[Told, ...]:
    """Those that a row tells."""
    limited = [name for name, _ in result.limits]
    told = []
    for field in SCATTERED:
        asked = [name for name in limited if name in PERCENTILES and PERCENTILES[name][0] == field]
        if asked:
            told.append(_told(result, max(asked, key=lambda name: PERCENTILES[name].probability)))
        elif field != "request_s" or field in limited:
            told.append(_told(result, field))
    return tuple(told)


def _told(result: Result, name: str) -> Told:
    """One of them."""
    score = result.score
    asked = PERCENTILES.get(name)
    interval = score.interval(name) if asked is None else score.percentile_interval(*asked)
    sure_s = None if result.sure is None else score.sure(name, result.sure)
    figures = (getattr(score, name), *interval, sure_s)
    value_s, low_s, high_s, kept_s = (
        one if one is not None and one < math.inf else None for one in figures
    )
    return Told(field=name, value_s=value_s, low_s=low_s, high_s=high_s, sure_s=kept_s)


def _on_fewest_nodes(asking: _Asking, extent: Extent, found: _Fewest) -> Result | None:
    """Where whole nodes are paid, the plan on the fewest of them; None where the one on the fewest
    chips is that. It may hold more chips, and leave fewer between its stages empty."""
    result, node = found.result, extent.node_chips
    assert result is not None
    if node is None or result.topology.price.basis != "node":
        return None
    # Fewer chips than are proved to be needed are not asked about.
    for nodes in range(math.ceil(found.bound / node), _nodes(result, node)):
        tried = asking.at(extent.topology.replace(chips=nodes * node))
        if tried.result is not None:
            return tried.result
    return None


def _nodes(result: Result, node: int) -> int:
    """That a plan needs, of so many chips."""
    return math.ceil(_reached(result) / node)


def _bill(extent: Extent, result: Result, paid_result: Result) -> Bill:
    """What the chips cost, held and paid."""
    price = result.topology.price
    node = extent.node_chips
    chips = result.score.chips
    nodes = None if node is None else _nodes(paid_result, node)
    paid = chips
    if price.basis == "node" and node is not None and nodes is not None:
        paid = nodes * node
    bill = Bill(basis=price.basis, node_chips=node, nodes=nodes, paid_chips=paid)
    hourly = price.usd_per_chip_hour
    if hourly is None:
        return bill
    held = result.score.usd_per_hour
    usd = paid * hourly
    if paid == chips and held is not None:
        # Of chips that are held in part, that part is paid.
        usd = held
    tokens_per_s = paid_result.score.tokens_per_s
    return bill.replace(
        held_usd_per_hour=held,
        usd_per_hour=usd,
        usd_per_million_tokens=usd / 3600 / tokens_per_s * 1e6,
    )


def _in_order(rows: Sequence[SizedMachine], ranked: bool) -> list[SizedMachine]:
    """Those with a plan first, the cheapest of them where prices count the same."""

    def place(row: SizedMachine) -> tuple[bool, bool, float]:
        usd = row.usd_per_hour
        if not ranked:
            return row.result is None, False, 0.0
        return row.result is None, usd is None, usd or 0.0

    return sorted(rows, key=place)


def _refuse_none(found: Sequence[_Fewest]) -> None:
    """Where no machine has a plan, the error that says why: proved only where all of them are."""
    errors = [one.error for one in found if one.error is not None]
    if any(one.result is not None for one in found):
        return
    reason = "; ".join(str(error) for error in errors)
    if all(isinstance(error, InfeasibleError) for error in errors):
        raise InfeasibleError(reason, resource="every machine", demand=1, capacity=0)
    raise NoPlanFoundError(reason)
