"""Uniform plans by the hundred thousand: every split, depth, batch and number of micro-batches at
once, priced as arrays.

The same price list as `score_plan`, and the same sums as `timing`, for plans that engines make from
degrees alone: equal runs of layers on equal groups, one replica (more of them change no time, and
neither joules nor dollars for a token). Embedding and head join the first and the last stage, or
stand on stages of their own where small memories ask for it. Requests arrive steadily; what does
not fit, or what the software's engine cannot be started with, has no price.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import energy
from planner.errors import InfeasibleError, InputError
from planner.machines.engine import Engine, Space
from planner.machines.software import Software
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.collectives import hop_s
from planner.pricing.price_list import (
    Holdings,
    PriceList,
    Reach,
    Split,
    host_s,
    shares_of,
    usable_bytes_of,
)
from planner.pricing.schedule import schedule_of
from planner.pricing.timing import crossing_bytes, interruptions_s, packing_of, waits_of
from planner.pricing.trailing import (
    Trail,
    behind_s,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.scoring.plans import chosen_power
from planner.space.forms import Batches
from planner.space.uniform_shapes import Ground, Shape, Stand, cuts_of, is_runnable, shapes_of
from planner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

TURNS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Micro-batches as shares of the stages; 0: one."""
FIXED_TURNS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Likewise as shares of those that an engine keeps in flight; fewer are of one sequence each."""
ANY_ENGINE = Engine()
"""One that takes every plan."""


@dataclass(frozen=True, slots=True)
class PlanGrid:
    """Uniform plans of one graph on one machine; what does not fit is infinitely slow and dear."""

    graph: ModelGraph
    topology: Topology
    ground: Ground
    """Where the stages of every shape stand."""
    workload: Workload
    """Whose lengths count; each plan has a batch of its own."""
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
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any."""

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

    def value(self, field: str) -> Floats:
        """One of the arrays by the name of its field of `Score`, chips too."""
        found = np.asarray(getattr(self, field))
        return (
            np.where(np.isinf(self.tpot_s), np.inf, found[:, None, None])
            if found.ndim == 1
            else found
        )

    def plan(self, place: tuple[int, int, int]) -> Plan:
        """The plan at one place of the arrays; `score_plan` gives it the same price."""
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
        return Plan(
            stages=stages,
            micro_batches=turns,
            batch_size=turns * int(self.micro_sequences[size]),
            space=self.space,
        )


def plan_grid(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    shapes: Sequence[Shape] | None = None,
    micro_sequences: Sequence[int] | None = None,
    turns: Sequence[float] | None = None,
    power_scope: PowerScope | None = None,
    ground: Ground | None = None,
    space: Space = "engine",
) -> PlanGrid:
    """All uniform plans of a graph on a machine, under every batch; of the workload the lengths
    count, its batch does not.

    `micro_sequences` are the sequences of a micro-batch, by default two sizes for each doubling up
    to what the software takes on all ranks that share them out, and eight where the engine settles
    the micro-batches; `turns` the micro-batches, as shares of the stages, or of those that the
    engine keeps in flight, where fewer have one sequence each; `ground` where stages stand on this
    machine, as another grid of it found out; `space` "any" takes plans too that the software's
    engine cannot be started with. InputError: requests that do not arrive steadily, one phase
    alone, a graph that is no chain.
    InfeasibleError: no shape has room for the weights.
    """
    if (
        workload.arrivals != "steady"
        or workload.phase != "both"
        or workload.requests_per_s is not None
    ):
        raise InputError("plan_grid() needs arrivals 'steady', phase 'both' and no requests_per_s")
    if workload.speculation is not None:
        raise InputError(
            "plan_grid() does not price drafted tokens; leave Workload.speculation out,"
            " or use partition()"
        )
    if graph.is_diffusion or not graph.is_chain:
        raise InputError(
            f"plan_grid() plans chains of layers, and {graph.name} is none; use partition()"
        )
    ground = Ground(topology) if ground is None else ground
    found = tuple(shapes_of(graph, ground, space) if shapes is None else shapes)
    if not found:
        capacity = topology.chips * usable_bytes_of(topology)
        message = (
            f"no uniform pipeline of {graph.name} fits into {topology.chips} × {topology.chip.name}"
        )
        raise InfeasibleError(
            message, resource="memory", demand=graph.weight_bytes, capacity=capacity
        )
    most = topology.software.most_sequences * max(shape.split.attention for shape in found)
    engine = ANY_ENGINE if space == "any" else topology.software.engine
    is_free = engine.micro_batches == "any"
    sizes = np.array(micro_sequences or (_sizes(most) if is_free else _fine_sizes(most)))
    in_flight = _in_flight(found, engine, topology.software, turns, most)
    may_run = _may_run(found, engine, in_flight, sizes)
    if space == "engine":
        started = np.array([is_runnable(shape, graph, topology.software) for shape in found])
        may_run &= started[:, None, None]
    pricer = _Pricer(graph, ground, workload, sizes)
    return replace(pricer.grid(found, in_flight, may_run, power_scope), space=space)


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


def _may_run(
    shapes: Sequence[Shape], engine: Engine, in_flight: Ints, sizes: Ints
) -> NDArray[np.bool_]:
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


class Part(NamedTuple):
    """Stages of a pipeline that are alike."""

    often: int
    decode: Floats
    """What its chips, and the link behind it, take for a step of each size, shape (2, sizes)."""
    prefill: Floats
    """The same for a pass of a prompt, shape (2,)."""
    more: Floats
    """What a prompt adds to a pass that takes others too, shape (2,)."""
    slower: Floats
    """Each layer and the link behind them, for the step or for that pass, whichever takes longer,
    all together, shape (sizes,)."""
    quicker: Floats
    """Whichever is shorter, of the chips and of the link, shape (2, sizes)."""
    held_bytes: Floats
    """On each chip: weights and what does not grow with sequences, for each size, shape
    (sizes,)."""
    weight_bytes: float
    kv_bytes: float
    """For each sequence of the chip's share."""
    kv_bytes_more: float
    split: Split


class _Pricer:
    """One graph on one machine, for steps of every size."""

    def __init__(self, graph: ModelGraph, ground: Ground, workload: Workload, sizes: Ints) -> None:
        self.graph, self.workload, self.sizes = graph, workload, sizes
        self.ground, self.topology = ground, ground.topology
        self.prices = PriceList(graph, self.topology)
        self.steps = sizes.astype(float)
        self.at = schedule_of(workload, self.topology.software, 1, 1, 1)
        # What a token waits in all layers while the chips are free for others, and a prompt.
        steps = self.at.decode, self.at.prefill
        self.latent_s, self.prompt_latent_s = (
            float(self.prices.latent_s(step) @ self.prices.counts) for step in steps
        )
        kinds = np.eye(len(graph.kinds))[graph.kind_of_layer]
        self.kinds_before = np.concatenate(
            [np.zeros((1, len(graph.kinds))), np.cumsum(kinds, axis=0)]
        )
        self.crossing = crossing_bytes(graph, range(len(graph.layers)))
        self._busy: dict[tuple[Split, Reach], tuple[Floats, Floats, Floats]] = {}
        self._held: dict[Split, tuple[Holdings, Floats, Floats]] = {}
        self._parts: dict[tuple[bytes, int, float, bool], Part] = {}

    def grid(
        self,
        shapes: tuple[Shape, ...],
        micro: Ints,
        may_run: NDArray[np.bool_],
        power_scope: PowerScope | None,
    ) -> PlanGrid:
        """Of so many micro-batches, shape (shapes, turns), where they may run, (shapes, sizes,
        turns)."""
        priced = [
            self._shape(shape, row.astype(float)) for shape, row in zip(shapes, micro, strict=True)
        ]
        joined, tpot, late, held = (np.stack(arrays) for arrays in zip(*priced, strict=True))
        joined, tpot = (np.where(may_run, one, np.inf) for one in (joined, tpot))
        batch = np.asarray(self.steps[None, :, None] * micro[:, None, :], dtype=float)
        # What does not fit takes for ever, also where no later token is made.
        later_s = self.at.later_tokens * np.where(np.isfinite(tpot), tpot, 0.0)
        cycle = joined + later_s + late
        rate = batch / cycle * self.workload.output_tokens
        chips = [sum(stand.split.chips for stand in self.ground.stands(shape)) for shape in shapes]
        price = self.topology.price.usd_per_chip_hour
        with np.errstate(divide="ignore", invalid="ignore"):
            joules = self._watts(batch, cycle, held, micro, power_scope) / rate
            dollars = np.inf if price is None else energy.usd_per_million_tokens(held, price, rate)
        joules, dollars = (np.where(np.isinf(tpot), np.inf, one) for one in (joules, dollars))
        return PlanGrid(
            self.graph,
            self.topology,
            self.ground,
            self.workload,
            shapes,
            np.array(chips),
            self.sizes,
            micro,
            joined,
            tpot,
            rate,
            joules,
            dollars,
        )

    def _shape(self, shape: Shape, turns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Time to a first token, between later ones, what a cycle has besides, and chips that
        count, shape (sizes, turns); infinite times where it does not fit."""
        parts = self._parts_of(shape)
        in_flight = np.ceil(self.steps[:, None] * turns / shape.split.attention)
        # Of the others in flight, each has its prompt between the tokens of a request.
        others = (in_flight - 1.0) * self.at.prefill_passes
        met = synchronised(self.at, in_flight - 1.0, shape.split.attention, turns)
        met = met * self.at.prefill_passes
        fresh = fresh_share(self.at, in_flight - 1.0, turns)
        first = first_share(self.at, in_flight - 1.0)
        passes = [part.often * part.decode.sum(axis=0) for part in parts]
        turn_s, interrupted_s, others_s = np.zeros((3, *in_flight.shape))
        for part, resource in itertools.product(parts, (0, 1)):
            turn = turns * part.decode[resource][:, None]
            own, more = part.prefill[resource], part.more[resource]
            lost = interruptions_s(self.at, met * (fresh * own + (1.0 - fresh) * more))
            queued = others * (first * own + (1.0 - first) * more)
            others_s = np.maximum(others_s, queued)
            turn_s = np.maximum(turn_s, turn)
            interrupted_s = np.maximum(interrupted_s, turn + lost)
        slowest = max(float(part.prefill.max()) for part in parts)
        waits = waits_of(
            self.at,
            pass_s=np.sum(passes, axis=0)[:, None] + self.latent_s,
            turn_s=turn_s,
            interrupted_s=interrupted_s,
            trailing_s=self._trail(parts, in_flight, turns).round_s,
            others_s=others_s,
            prompt_pass_s=sum(part.often * float(part.prefill.sum()) for part in parts)
            + self.prompt_latent_s,
            prompt_slowest_s=slowest,
            waiting_share=self.at.waiting_among(self.steps[:, None] * turns - 1.0),
        )
        taken = in_flight <= self.topology.software.most_sequences
        fits = self._fits(parts, in_flight) & taken
        return (
            np.where(fits, waits.joined_s, np.inf),
            np.where(fits, waits.tpot_s, np.inf),
            self.at.late_share * others_s,
            self._chips(parts, in_flight),
        )

    def _trail(self, parts: list[Part], in_flight: Floats, turns: Floats) -> Trail:
        """Of all sizes and turns, each figure of shape (sizes, turns)."""
        met = np.asarray(met_share(self.at, in_flight - 1.0))
        passing = [part.often * part.decode.sum(axis=0) for part in parts]
        quiet = [part.decode.max(axis=0) for part in parts]
        held_up = [part.often * part.slower for part in parts]
        behind = np.zeros_like(in_flight)
        for part, resource in itertools.product(parts, (0, 1)):
            added = behind_s(
                self.at,
                in_flight - 1.0,
                turns,
                chunk_s=part.prefill[resource],
                more_s=part.more[resource],
                quicker_s=part.quicker[resource][:, None],
            )
            behind = np.maximum(behind, added)
        return Trail(
            met_share=met,
            passing_s=(1.0 - met) * (np.sum(passing, axis=0)[:, None] + self.latent_s),
            quiet_s=(1.0 - met) * turns * np.max(quiet, axis=0)[:, None],
            held_up_s=met * (np.sum(held_up, axis=0)[:, None] + self.latent_s),
            behind_s=behind,
        )

    def _fits(self, parts: list[Part], in_flight: Floats) -> NDArray[np.bool_]:
        usable = self.prices.usable_bytes
        needed = [part.held_bytes[:, None] + part.kv_bytes * in_flight for part in parts]
        return np.asarray(np.max(needed, axis=0) <= usable)

    def _chips(self, parts: list[Part], in_flight: Floats) -> Floats:
        """That count for power and price: whole, or the filled share where they are divisible."""
        if not self.topology.divisible:
            return np.full_like(in_flight, sum(part.often * part.split.chips for part in parts))
        filled = [
            part.often
            * part.split.chips
            * (part.weight_bytes + part.kv_bytes_more + part.kv_bytes * in_flight)
            for part in parts
        ]
        return np.asarray(np.sum(filled, axis=0) / self.topology.chip.memory[0].capacity_bytes)

    def _watts(
        self,
        batch: Floats,
        cycle: Floats,
        held: Floats,
        micro: Ints,
        power_scope: PowerScope | None,
    ) -> Floats | float:
        """Of all that is held, over a cycle."""
        draws, _ = chosen_power(self.topology, power_scope)
        if not draws:
            return math.inf
        steps = [self.at.decode._replace(tokens=size, sequences=size) for size in self.steps]
        decode = self.prices.counts @ self.prices.active_kinds_s(steps)
        one, full = packing_of(self.at, batch)
        prompts = one * self.prices.active_chip_s(self.at.prefill)
        prompts = prompts + full * self.prices.active_chip_s(self.at.packed)
        prompts = batch * self.at.prefill_passes * prompts
        active = prompts + self.at.later_tokens * micro[:, None, :] * decode[None, :, None]
        return np.asarray(energy.energy_j(draws, held, active / cycle))

    def _parts_of(self, shape: Shape) -> list[Part]:
        cuts, stands = np.array(cuts_of(self.graph, shape)), self.ground.stands(shape)
        counts, handed = np.diff(self.kinds_before[cuts], axis=0), self.crossing[cuts[1:] - 1]
        often: dict[tuple[bytes, int, float, bool], int] = {}
        last = len(stands) - 1
        for number, stand in enumerate(stands):
            key = (counts[number].tobytes(), stand.code, float(handed[number]), number == last)
            if key not in self._parts:
                self._parts[key] = self._part(
                    counts[number], stand, float(handed[number]), number == last, last == 0
                )
            often[key] = often.get(key, 0) + 1
        return [self._parts[key]._replace(often=count) for key, count in often.items()]

    def _part(self, counts: Floats, stand: Stand, handed: float, last: bool, alone: bool) -> Part:
        split, (level, hops), software = stand.split, stand.hop, self.topology.software
        busy, prompt, full = self._busy_of(split, stand.reach)
        tokens = np.ceil(self.steps / split.attention)
        host = (host_s(software, tokens), software.step_overhead_s) if last else (0.0, 0.0)
        link = 0.0 * tokens + hop_s(self.topology, level, hops, handed * tokens)
        prompt_link, full_link = (
            float(hop_s(self.topology, level, hops, handed * shares_of(split, step)[0]))
            for step in (self.at.prefill, self.at.packed)
        )
        prefill = np.array([float(counts @ prompt) + host[1], prompt_link])
        packed = np.array([float(counts @ full) + host[1], full_link])
        holdings, buffers, logits = self._holdings(split)
        weights, more = (
            float(counts @ holdings.weight_bytes),
            float(counts @ holdings.kv_bytes_more),
        )
        if alone:
            weights -= sum(
                float(holdings.tied_bytes[self.graph.kind_of_layer[a]])
                for a, _ in self.graph.tied_layers
            )
        slower = counts @ np.maximum(busy, prompt[:, None])
        slower = slower + np.maximum(host[0], host[1]) + np.maximum(link, prompt_link)
        quicker = counts @ np.minimum(busy, prompt[:, None]) + np.minimum(host[0], host[1])
        return Part(
            often=1,
            decode=np.stack([counts @ busy + host[0], link]),
            prefill=prefill,
            more=np.asarray(self.at.added(prefill, packed)),
            slower=slower,
            quicker=np.stack([quicker, np.minimum(link, prompt_link)]),
            held_bytes=weights + more + buffers + (logits if last else 0.0),
            weight_bytes=weights,
            kv_bytes=float(counts @ holdings.kv_bytes_per_sequence),
            kv_bytes_more=more,
            split=split,
        )

    def _busy_of(self, split: Split, reach: Reach) -> tuple[Floats, Floats, Floats]:
        """A layer of each kind in decode steps of every size, shape (kinds, sizes), in a pass of a
        prompt, and in one full of prompts, (kinds,)."""
        if (split, reach) not in self._busy:
            decode = self.prices.decode_kinds_s(
                split, self.steps, self.workload.mean_context_tokens, reach
            )
            prompts = self.prices.prices_of_steps(split, [self.at.prefill, self.at.packed], reach)
            self._busy[split, reach] = decode, *(one.seconds.sum(axis=0) for one in prompts)
        return self._busy[split, reach]

    def _holdings(self, split: Split) -> tuple[Holdings, Floats, Floats]:
        """What a chip holds, its buffers for steps of every size, and what the last stage needs
        beyond them to sample."""
        if split not in self._held:
            most = np.maximum(self.at.most_tokens, self.steps)
            buffers = self.prices.activation_bytes(split, self.workload, most)
            self._held[split] = (
                self.prices.holdings(split, self.workload, 1.0),
                buffers + self.prices.workspace_bytes(split),
                self.prices.logits_bytes(split, self.workload, most, self.steps),
            )
        return self._held[split]
