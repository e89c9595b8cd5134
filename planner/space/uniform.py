"""Uniform plans by the hundred thousand: every split, depth, batch and number of micro-batches at
once, priced as arrays.

The same price list as `score_plan`, and the same sums as `timing`, for plans that engines make from
degrees alone: equal runs of layers on equal groups, one replica (more of them change no time, and
neither joules nor dollars for a token). Embedding and head join the first and the last stage, or
stand on stages of their own where small memories ask for it. Requests arrive steadily; what does
not fit, or what the software's engine cannot be started with, has no price.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost import energy
from planner.errors import InfeasibleError, InputError, check_word
from planner.guards import guarded
from planner.machines.engine import Engine, Space
from planner.machines.software import Software
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.holdings import held_weight_bytes
from planner.pricing.price_list import usable_bytes_of
from planner.space.forms import Batches
from planner.space.uniform_prices import Priced, Pricer
from planner.space.uniform_shapes import Ground, Shape, cuts_of, is_runnable, shapes_of
from planner.space.uniform_stages import layouts_of
from planner.workload import MOST_DRAFTED, Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

TURNS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Micro-batches as shares of the stages; 0: one."""
FIXED_TURNS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Likewise as shares of those that an engine keeps in flight; fewer are of one sequence each."""
ANY_ENGINE = Engine()
"""One that takes every plan."""
DRAFTED_FOR = ("tpot_s", "tokens_per_s", "energy_per_token_j", "usd_per_million_tokens")
"""Fields in which the number of drafted tokens may be the best one."""


@dataclass(frozen=True, slots=True)
class PlanGrid:
    """All uniform plans of one model on one machine, priced; a plan that does not fit has infinite
    times and costs."""

    graph: ModelGraph
    topology: Topology
    ground: Ground
    """Where the stages of every shape stand."""
    workload: Workload
    """Whose lengths count; each plan has a batch of its own, and drafts as `drafted` says."""
    shapes: tuple[Shape, ...]
    chips: Ints
    """Of each shape, shape (shapes,)."""
    micro_sequences: Ints
    """Sequences in a micro-batch, shape (sizes,)."""
    micro_batches: Ints
    """Shape (shapes, turns)."""
    ttft_s: Floats
    """Shape (shapes, sizes, turns), as all that follow."""
    tpot_s: Floats
    tokens_per_s: Floats
    energy_per_token_j: Floats
    """Infinite too where the power is not known."""
    usd_per_million_tokens: Floats
    power_w: Floats
    """Of the whole plan while it serves as planned; infinite where the power is not known."""
    idle_w: Floats
    """Of the same chips, hosts in the scope included, while nothing runs: what the machine's
    power gives where nothing is active."""
    drafted: Ints
    """Tokens of each sequence before each decode pass."""
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any."""
    utilisation: float = 1.0
    """Share of all hours in which plans serve: `energy_per_token_j` pays for the others too."""

    @property
    def batch_size(self) -> Ints:
        """Sequences in flight, shape (shapes, sizes, turns)."""
        return np.asarray(self.micro_sequences[None, :, None] * self.micro_batches[:, None, :])

    @property
    def requests_per_s(self) -> Floats:
        """That end, shape (shapes, sizes, turns)."""
        return self.tokens_per_s / self.workload.output_tokens

    @property
    def tokens_per_s_per_chip(self) -> Floats:
        """Over the chips held, shape (shapes, sizes, turns)."""
        return np.asarray(self.tokens_per_s / self.chips[:, None, None])

    @property
    def usd_per_hour(self) -> Floats:
        """What the chips held cost, shape (shapes, sizes, turns)."""
        rate = np.where(np.isinf(self.tpot_s), 1.0, self.tokens_per_s)
        return self.usd_per_million_tokens * rate * energy.SECONDS_PER_HOUR / 1e6

    @property
    def energy_per_request_j(self) -> Floats:
        """Of all that a request takes on these chips, in a prefill pool its prompt, shape (shapes,
        sizes, turns)."""
        return self.energy_per_token_j * self.workload.output_tokens

    @property
    def usd_per_request(self) -> Floats:
        """The same, shape (shapes, sizes, turns)."""
        return self.usd_per_million_tokens * self.workload.output_tokens / 1e6

    def of_shapes(self, numbers: Ints) -> "PlanGrid":
        """The plans of some of the shapes, in the order in which these are named; of the others
        nothing is held."""
        by_shape = {
            name: getattr(self, name)[numbers]
            for name in ("chips", "micro_batches", "drafted", *Priced._fields)
        }
        return replace(self, shapes=tuple(self.shapes[one] for one in numbers), **by_shape)

    def at_utilisation(self, share: float) -> "PlanGrid":
        """The same plans where they serve in that share of all hours, and wait in the others.

        A token then pays for the watts of (1 - share) / share idle hours too. Times, rates and
        `power_w` are those of hours that serve. Dollars stay: an hourly price is that of an hour
        that serves, which `Economics.utilisation` of the machine's price has divided already; give
        it the same share there. InputError: a share that is not above 0 and at most 1.
        """
        if not 0.0 < share <= 1.0:
            raise InputError(f"share must lie above 0 and be at most 1, not {share}")
        with np.errstate(divide="ignore", invalid="ignore"):
            joules = (self.power_w + (1.0 - share) / share * self.idle_w) / self.tokens_per_s
        joules = np.where(np.isinf(self.tpot_s), np.inf, joules)
        return replace(self, energy_per_token_j=joules, utilisation=share)

    def value(self, field: str) -> Floats:
        """One of the arrays by the name of its field of `Score`, chips too."""
        found = np.asarray(getattr(self, field))
        return (
            np.where(np.isinf(self.tpot_s), np.inf, found[:, None, None])
            if found.ndim == 1
            else found
        )

    def workload_at(self, place: tuple[int, int, int]) -> Workload:
        """The workload of one place of the arrays, with the number of tokens that are drafted
        there; as many are in flight as its plan says."""
        return drafting(self.workload, int(self.drafted[place])).replace(batch_size=None, queued=0)

    def plan(self, place: tuple[int, int, int]) -> Plan:
        """The plan at one place of the arrays; `score_plan` gives it the same price under the
        place's workload."""
        shape, size, turn = place
        names = [layer.name for layer in self.graph.layers]
        borders = zip(
            itertools.pairwise(cuts_of(self.graph, self.shapes[shape])),
            self.ground.stands(self.shapes[shape]),
            strict=True,
        )
        stages = tuple(
            Stage(
                layers=tuple(names[first:last]),
                groups=(ChipRange(first=stand.start, count=stand.split.chips),),
                tensor_parallel=stand.split.tensor,
                expert_parallel=stand.split.expert,
            )
            for (first, last), stand in borders
        )
        turns = int(self.micro_batches[shape, turn])
        is_pool = self.workload.phase == "prefill"
        return Plan(
            stages=stages,
            micro_batches=turns,
            batch_size=None if is_pool else turns * int(self.micro_sequences[size]),
            space=self.space,
        )


@guarded
def plan_grid(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    *,
    shapes: Sequence[Shape] | None = None,
    micro_sequences: Sequence[int] | None = None,
    turns: Sequence[float] | None = None,
    power_scope: PowerScope | None = None,
    ground: Ground | None = None,
    space: Space = "engine",
    drafted_for: str = "tpot_s",
) -> PlanGrid:
    """All uniform plans of a model on a machine, at every batch size; only the lengths of the
    workload are used, not its batch_size.

    `micro_sequences` are the sequences of a micro-batch, by default two sizes for each doubling up
    to what the software takes on all ranks that share them out, and eight where the engine settles
    the micro-batches; `turns` the micro-batches, as shares of the stages, or of those that the
    engine keeps in flight, where fewer have one sequence each; of default ones that come to as many
    the first has the price; `ground` where stages stand, as another grid of the machine found out;
    `space` "any" takes plans too that the software's engine cannot be started with. Where
    `Speculation.tokens` is None, each plan drafts as many as are best for its `drafted_for`, or
    nothing (see `PlanGrid.drafted`); a prefill pool then drafts nothing. Of a prefill pool, which
    has one prompt after the other, each shape is one plan, whatever sizes and turns are asked for.
    InputError: requests that do not arrive steadily, or at a rate; a graph that is no chain; drafts
    of what makes no tokens. InfeasibleError: no shape has room for the weights.
    """
    graph, topology = model_of(graph), machine_of(topology)
    _refuse_others(graph, workload)
    check_word(drafted_for, DRAFTED_FOR, "drafted_for")
    ground = Ground(topology) if ground is None else ground
    found = tuple(shapes_of(graph, ground, space) if shapes is None else shapes)
    if not found:
        raise _without_room(graph, topology)
    sizes, in_flight, may_run = _batches(
        found, topology.software, workload, space, micro_sequences, turns
    )
    if space == "engine" and shapes is not None:
        started = np.array([is_runnable(shape, graph, topology.software) for shape in found])
        may_run &= started[:, None, None]

    def priced(drafted: int) -> Priced:
        pricer = Pricer(layouts_of(graph, ground), drafting(workload, drafted), sizes)
        return pricer.priced(found, in_flight, may_run, power_scope)

    best, drafted = _best(priced, _numbers_drafted(workload), drafted_for)
    return PlanGrid(
        graph=graph,
        topology=topology,
        ground=ground,
        workload=workload,
        shapes=found,
        chips=np.array(_chips_of(found, ground)),
        micro_sequences=sizes,
        micro_batches=in_flight,
        drafted=drafted,
        space=space,
        **best._asdict(),
    )


def _chips_of(shapes: Sequence[Shape], ground: Ground) -> list[int]:
    """That each shape holds."""
    return [sum(stand.split.chips for stand in ground.stands(shape)) for shape in shapes]


def _without_room(graph: ModelGraph, topology: Topology) -> InfeasibleError:
    message = (
        f"no uniform pipeline of {graph.name} fits into {topology.chips} × {topology.chip.name}"
    )
    capacity = topology.chips * usable_bytes_of(topology)
    demand = held_weight_bytes(graph, topology)
    return InfeasibleError(message, resource="memory", demand=demand, capacity=capacity)


def _refuse_others(graph: ModelGraph, workload: Workload) -> None:
    """What comes at once or at a rate, and what is no chain of layers."""
    if workload.arrivals != "steady" or workload.requests_per_s is not None:
        raise InputError("plan_grid() needs arrivals 'steady' and no requests_per_s")
    if graph.is_diffusion or not graph.is_chain:
        raise InputError(
            f"plan_grid() plans chains of layers, and {graph.name} is none; use partition()"
        )


def drafting(workload: Workload, drafted: int) -> Workload:
    """The same with so many tokens drafted before each decode pass; 0: no drafts at all."""
    speculation = workload.speculation
    if speculation is None or speculation.tokens == drafted:
        return workload
    chosen = speculation.replace(tokens=drafted) if drafted else None
    return workload.replace(speculation=chosen)


def _numbers_drafted(workload: Workload) -> Sequence[int]:
    """That may be drafted: the number that is given, or any up to the most, none first."""
    speculation = workload.speculation
    if speculation is None:
        return (0,)
    if speculation.tokens is not None:
        return (speculation.tokens,)
    return (0,) if workload.phase == "prefill" else range(MOST_DRAFTED + 1)


def _best(
    priced: Callable[[int], Priced], numbers: Sequence[int], field: str
) -> tuple[Priced, Ints]:
    """Of each plan the number of drafted tokens that is best in a field, the first of those that
    are as good, and its price."""
    best = priced(numbers[0])
    drafted: Ints = np.full(best.tpot_s.shape, numbers[0], dtype=np.intp)
    for number in numbers[1:]:
        other = priced(number)
        old, new = getattr(best, field), getattr(other, field)
        gains = new > old if field == "tokens_per_s" else new < old
        best = Priced(*(np.where(gains, b, a) for a, b in zip(best, other, strict=True)))
        drafted = np.where(gains, number, drafted)
    return best, drafted


def _batches(
    shapes: Sequence[Shape],
    software: Software,
    workload: Workload,
    space: Space,
    micro_sequences: Sequence[int] | None,
    turns: Sequence[float] | None,
) -> tuple[Ints, Ints, Bools]:
    """Sequences in a micro-batch, shape (sizes,), micro-batches, (shapes, turns), and where the
    engine keeps these, (shapes, sizes, turns)."""
    if workload.phase == "prefill":
        one = np.ones((len(shapes), 1), dtype=np.intp)
        return one[0], one, np.ones((len(shapes), 1, 1), dtype=bool)
    most = software.most_sequences * max(shape.split.attention for shape in shapes)
    engine = ANY_ENGINE if space == "any" else software.engine
    is_free = engine.micro_batches == "any"
    sizes = np.array(micro_sequences or (_sizes(most) if is_free else _fine_sizes(most)))
    in_flight = _in_flight(shapes, engine, software, turns, most)
    may_run = _may_run(shapes, engine, in_flight, sizes)
    if turns is None:
        may_run &= _is_new(in_flight)[:, None, :]
    return sizes, in_flight, may_run


def _sizes(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, …"""
    return sorted({one for n in range(24) for one in (2**n, 3 * 2**n) if one <= most})


def _fine_sizes(most: int) -> list[int]:
    """1 to 16, then 18, 20, … 32, 36, …"""
    graded = {eighths << n for n in range(24) for eighths in range(8, 17)}
    return sorted(one for one in {*range(1, 8), *graded} if one <= most)


def _in_flight(
    shapes: Sequence[Shape],
    engine: Engine,
    software: Software,
    turns: Sequence[float] | None,
    most: int,
) -> Ints:
    """Micro-batches of each shape, (shapes, turns)."""
    if engine.micro_batches == "any":
        chosen = _free_turns(software) if turns is None else turns
        kept = [shape.stages for shape in shapes]
    else:
        chosen = _fixed_turns(engine, most) if turns is None else turns
        # Where each sequence is a micro-batch, there are as many as there are sequences.
        kept = [Batches(engine, shape.depth).most_in_flight or most for shape in shapes]
    return np.array([[max(1, round(turn * one)) for turn in chosen] for one in kept])


def _is_new(in_flight: Ints) -> Bools:
    """Where a shape has so many micro-batches for the first time, shape (shapes, turns)."""
    alike = in_flight[:, :, None] == in_flight[:, None, :]
    return np.asarray(alike.argmax(axis=2) == np.arange(in_flight.shape[1]))


def _free_turns(software: Software) -> Sequence[float]:
    """As shares of the stages: where these are free while a token waits, so many more that all of
    its wait can be filled (see `candidates.most_in_flight`)."""
    most = 1.0 / max(software.layer_occupancy, 1e-2) if software.waits_in_layers else 1.0
    more = [one for n in range(1, 8) for one in (2.0**n, 1.5 * 2.0**n) if 2.0 < one <= most]
    return (*TURNS, *more, most) if most > TURNS[-1] else TURNS


def _fixed_turns(engine: Engine, most: int) -> Sequence[float]:
    if engine.micro_batches == "sequences":
        return [size / most for size in _fine_sizes(most)]
    return FIXED_TURNS


def _may_run(shapes: Sequence[Shape], engine: Engine, in_flight: Ints, sizes: Ints) -> Bools:
    """Where the engine keeps so many micro-batches of so many sequences in flight, shape (shapes,
    sizes, turns)."""
    whole = np.ones((len(shapes), len(sizes), in_flight.shape[1]), dtype=bool)
    if engine.micro_batches == "any":
        return whole
    most = np.array([Batches(engine, shape.depth).most_in_flight or 0 for shape in shapes])
    is_full = in_flight == most[:, None]
    is_short = (in_flight < most[:, None]) | (most[:, None] == 0)
    alone = (sizes == 1)[None, :, None]
    return np.asarray(is_full[:, None, :] | (is_short[:, None, :] & alone))
