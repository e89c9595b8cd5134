"""How the passes of a plan add up in time: one token's way round, and a request's."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.cost import pipeline, queueing
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan
from planner.pricing.collectives import hop_s
from planner.pricing.holdings import layers_of, split_of
from planner.pricing.price_list import (
    CAUSES,
    PriceList,
    Prices,
    Reach,
    Split,
    Step,
    host_s,
    reach_of,
    shares_of,
    useful_work,
)
from planner.pricing.schedule import Schedule

Floats = NDArray[np.float64]

ALL_CAUSES = (*CAUSES, "hop", "bubble")
"""The last axis of a breakdown."""

Hop = tuple[int | None, int]
"""The level that a transfer crosses, and over how many hops."""


@dataclass(frozen=True, slots=True)
class Passes:
    """One pass through the stages of a replica."""

    seconds: Floats
    """By stage and cause, the hop behind the stage last, shape (stages, causes + 1)."""
    flop: Floats
    """On each chip, shape (stages,)."""
    moved_bytes: Floats
    """Between each chip and its memory, shape (stages,)."""
    busy_s: Floats
    """How long each stage's chips, and the link behind it, are busy: two resources, shape
    (stages, 2)."""

    @property
    def pass_s(self) -> float:
        """All stages and hops, one after the other."""
        return float(self.seconds.sum())


@dataclass(frozen=True, slots=True)
class Timing:
    """What a request waits, and for what."""

    ttft_s: float
    tpot_s: float
    request_s: float
    cycle_s: float
    """In which a replica serves as many requests as it has in flight."""
    token: Floats
    """One output token by stage and cause, shape (stages, causes + 2); sums to `tpot_s`."""
    first_token: Floats
    """The first token likewise; sums to `ttft_s`."""
    decode: Passes
    prefill: Passes
    round_s: float
    """Of decode passes, without others' prompts."""
    prompt_s: float
    """Work of a prompt at the busiest stage, over the ranks that share out the sequences."""
    queue_s: float
    """Of `ttft_s`, the wait for the prompts of those who came before, where requests come at a
    rate."""


def timing_of(prices: PriceList, plan: Plan, at: Schedule) -> Timing:
    """The timing of the slowest replica."""
    ways = set(_ways(prices.topology, plan))
    return slowest_timing(_timed(prices, plan, at, way) for way in ways)


def slowest_timing(timings: Iterable[Timing]) -> Timing:
    """Of several replicas, the one that sets the pace."""
    return max(timings, key=lambda timing: (timing.cycle_s, timing.tpot_s))


def _ways(topology: Topology, plan: Plan) -> Iterator[tuple[tuple[Reach, Hop], ...]]:
    """For each replica: for each of its stages how far messages travel, and the hop to the next."""
    splits = [split_of(stage) for stage in plan.stages]
    for replica in range(plan.replicas):
        groups = [stage.groups[replica] for stage in plan.stages]
        hops = [*hops_along(topology, groups), (None, 0)]
        yield tuple(
            (reach_of(topology, split, group.first), hop)
            for split, group, hop in zip(splits, groups, hops, strict=True)
        )


def hops_along(topology: Topology, groups: Sequence[ChipRange]) -> list[Hop]:
    """The nearest way from each of some groups to the next."""
    if len(groups) == 1:
        return []
    first = np.array([group.first for group in groups])
    last = np.array([group.last for group in groups])
    levels, hops = topology.ways((first[:-1], last[:-1]), (first[1:], last[1:]))
    return list(zip(levels.tolist(), hops.tolist(), strict=True))


def hop_between(topology: Topology, sender: ChipRange, receiver: ChipRange) -> Hop:
    """The nearest way from one group to another; none, (None, 0), where one chip is at an end of
    both."""
    if sender.last == receiver.first or sender.first == receiver.last:
        return None, 0
    return hops_along(topology, [sender, receiver])[0]


def _timed(
    prices: PriceList, plan: Plan, at: Schedule, way: tuple[tuple[Reach, Hop], ...]
) -> Timing:
    def hop(number: int, bytes_per_token: float, step: Step) -> float:
        level, hops = way[number][1]
        sent = bytes_per_token * shares_of(split_of(plan.stages[number]), step)[0]
        return float(hop_s(prices.topology, level, hops, sent))

    lists, reaches = [prices] * len(plan.stages), [reach for reach, _ in way]
    decode, prefill = (
        passes_of(lists, plan, step, reaches, hop) for step in (at.decode, at.prefill)
    )
    return timing_from(plan, at, decode, prefill)


def timing_from(plan: Plan, at: Schedule, decode: Passes, prefill: Passes) -> Timing:
    """What a request waits in a replica of which a decode pass and a prefill pass are known."""
    turns = at.micro_batches * decode.busy_s
    others = np.array([[at.others_prefills(stage.attention_parallel)] for stage in plan.stages])
    other_work = others * at.prefill_passes * prefill.busy_s
    lost = at.software.interruption_share * other_work
    interruptions = lost / at.rounds if at.later_tokens else 0.0 * lost
    tpot = (
        float(pipeline.cycle_s(decode.pass_s, (turns + interruptions).max())) / at.tokens_per_pass
    )
    round_s = float(pipeline.cycle_s(decode.pass_s, turns.max()))
    ranks = np.array([[stage.attention_parallel] for stage in plan.stages])
    prompt = float((at.prefill_passes / ranks * prefill.busy_s).max())
    rate = (at.workload.requests_per_s or 0.0) / plan.replicas
    queue = float(queueing.queue_s(prompt, rate)) if rate else 0.0
    waiting = at.waiting_share * round_s + at.burst_share * float(other_work.max())
    overhead = at.request_overhead_s
    joined = overhead + waiting
    if at.prefill_passes:
        joined += float(
            pipeline.fill_and_drain_s(prefill.pass_s, prefill.busy_s.max(), at.prefill_passes)
        )
    cycle = float(pipeline.request_s(joined, tpot, at.later_tokens + 1))
    return Timing(
        ttft_s=joined + queue,
        tpot_s=tpot,
        request_s=cycle + queue,
        cycle_s=prompt
        if at.workload.phase == "prefill"
        else cycle
        if at.later_tokens
        else cycle + float(other_work.max()),
        token=_token_breakdown(decode, prefill, turns, interruptions) / at.tokens_per_pass,
        first_token=_first_token_breakdown(prefill, at, waiting + queue),
        decode=decode,
        prefill=prefill,
        round_s=round_s,
        prompt_s=prompt,
        queue_s=queue,
    )


def passes_of(
    lists: Sequence[PriceList],
    plan: Plan,
    step: Step,
    reaches: Sequence[Reach],
    hop: Callable[[int, float, Step], float],
) -> Passes:
    """One pass, from the price list and the reach of each stage, and from what it takes to hand
    so many bytes for each token on from a stage."""
    graph = lists[0].graph
    seconds = np.zeros((len(plan.stages), len(CAUSES) + 1))
    flop, moved = np.zeros(len(plan.stages)), np.zeros(len(plan.stages))
    handed, known = _handed_on(plan, graph), dict[tuple[int, Split, Reach], Prices]()
    for number, (prices, stage, reach) in enumerate(zip(lists, plan.stages, reaches, strict=True)):
        key = id(prices), split_of(stage), reach
        priced = known.get(key) or known.setdefault(
            key, prices.prices(split_of(stage), step, reach)
        )
        kinds = graph.kind_of_layer[layers_of(stage, graph)]
        seconds[number, :-1] = priced.seconds[:, kinds].sum(axis=1)
        flop[number], moved[number] = priced.flop[kinds].sum(), priced.moved_bytes[kinds].sum()
        seconds[number, -1] = (
            hop(number, handed[number], step) if number + 1 < len(plan.stages) else 0.0
        )
    seconds[-1, CAUSES.index("overhead")] += host_s(
        lists[-1].topology.software, step.sequences * step.decode
    )
    return Passes(
        seconds, flop, moved, np.stack([seconds[:, :-1].sum(axis=1), seconds[:, -1]], axis=1)
    )


def _handed_on(plan: Plan, graph: ModelGraph) -> list[float]:
    """Bytes for one token that cross from each stage to the next: each producer that a later
    stage needs, once."""
    if len(plan.stages) == 1:
        return [0.0]
    stage_of = {name: number for number, stage in enumerate(plan.stages) for name in stage.layers}
    farthest: dict[str, int] = {}
    for sender, receiver in graph.edges:
        farthest[sender] = max(farthest.get(sender, 0), stage_of[receiver])
    width = {layer.name: layer.activation_bytes_per_token for layer in graph.layers}
    crossing = [0.0] * len(plan.stages)
    for sender, last in farthest.items():
        for number in range(stage_of[sender], last):
            crossing[number] += width[sender]
    return crossing


def _token_breakdown(
    decode: Passes, prefill: Passes, turns: Floats, interruptions: Floats
) -> Floats:
    """A token's own way; then, where it waits for the slowest stage, other requests' prompts
    there, then its turn."""
    parts = np.concatenate([decode.seconds, np.zeros((len(turns), 1))], axis=1)
    slowest, resource = _slowest(turns + interruptions)
    waits = float((turns + interruptions)[slowest, resource]) - decode.pass_s
    if waits > 0:
        for_prompts = min(waits, float(interruptions[slowest, resource]))
        parts[slowest, :-1] += for_prompts * _mix(prefill, slowest, resource)
        parts[slowest, -1] += waits - for_prompts
    return parts


def _first_token_breakdown(prefill: Passes, at: Schedule, waiting_s: float) -> Floats:
    """One pass through all stages, then the other passes at the slowest of them; nothing where
    there are none."""
    passes, once = at.prefill_passes, min(1.0, at.prefill_passes)
    parts = np.concatenate([once * prefill.seconds, np.zeros((len(prefill.flop), 1))], axis=1)
    slowest, resource = _slowest(prefill.busy_s)
    parts[slowest, :-1] += (
        (passes - once)
        * float(prefill.busy_s[slowest, resource])
        * _mix(prefill, slowest, resource)
    )
    parts[0, -1] += waiting_s
    parts[0, ALL_CAUSES.index("hop" if at.workload.phase == "decode" else "overhead")] += (
        at.request_overhead_s
    )
    return parts


def _slowest(loads: Floats) -> tuple[int, int]:
    """The stage with the highest load, and whether that is on its chips (0) or on the link
    behind it (1)."""
    stage, resource = np.unravel_index(int(np.argmax(loads)), loads.shape)
    return int(stage), int(resource)


def _mix(passes: Passes, stage: int, resource: int) -> Floats:
    """What keeps a stage's chips, or its link, busy, as shares by cause."""
    work = np.zeros(passes.seconds.shape[1])
    if resource:
        work[-1] = 1.0
    elif (total := float(passes.seconds[stage, :-1].sum())) > 0:
        work[:-1] = passes.seconds[stage, :-1] / total
    return work


def steps_of_cycle(at: Schedule) -> tuple[float, float]:
    """Prefill passes and decode passes of one replica in a cycle."""
    requests = at.sequences if at.workload.arrivals == "steady" else 1
    return float(requests * at.prefill_passes), float(at.rounds * at.micro_batches)


def useful_of_cycle(graph: ModelGraph, at: Schedule) -> tuple[float, float]:
    """Operations and bytes that a replica's passes of a cycle need however they are split:
    tokens that are drafted in vain, and the draft model, count for nothing. [FLOP, B]"""
    prefills, decodes = steps_of_cycle(at)
    (flop, moved), (decode_flop, decode_moved) = (
        useful_work(graph, step) for step in (at.prefill, at.useful_decode)
    )
    return prefills * flop + decodes * decode_flop, prefills * moved + decodes * decode_moved


def active_chip_s(prices: PriceList, at: Schedule) -> float:
    """What the power of a replica's chips follows, over a cycle, however the work is split. [s]"""
    return float(active_kinds_s(prices, at) @ prices.graph.kind_counts)


def active_kinds_s(prices: PriceList, at: Schedule) -> Floats:
    """The same of one layer of each kind, shape (kinds,)."""
    prefills, decodes = steps_of_cycle(at)
    if at.relaxed:  # no number of passes takes fewer
        decodes = at.rounds * at.sequences / at.decode.sequences
    return prefills * prices.active_kinds_s(at.prefill) + decodes * prices.active_kinds_s(at.decode)


def bubble_fraction(timing: Timing, at: Schedule) -> float:
    """Share of the stages' time, over a cycle, in which they wait. [1]"""
    prefills, decodes = steps_of_cycle(at)
    busy = (
        prefills * timing.prefill.seconds[:, :-1].sum()
        + decodes * timing.decode.seconds[:, :-1].sum()
    )
    return float(pipeline.bubble_fraction(float(busy), len(timing.decode.flop), timing.cycle_s))
