"""How the passes of a plan add up in time: one token's way round, and a request's."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import pipeline, queueing
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.collectives import Numbers, hop_s
from planner.pricing.holdings import (
    handovers_of,
    kind_counts_of,
    layers_of,
    offloaded_counts_of,
    split_of,
)
from planner.pricing.price_list import (
    CAUSES,
    OffloadedPrices,
    PriceList,
    Prices,
    Reach,
    Split,
    Step,
    host_s,
    made_on_rank,
    reach_of,
    shares_of,
    useful_steps,
)
from planner.pricing.schedule import Schedule
from planner.pricing.trailing import (
    Trail,
    behind_s,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)

Floats = NDArray[np.float64]

ALL_CAUSES = (*CAUSES, "hop", "bubble")
"""The last axis of a breakdown."""

ALIKE = 1 + 1e-12
"""Relative: within rounding."""

Hop = tuple[int | None, int]
"""The level that a transfer crosses, and over how many hops."""


@dataclass(frozen=True)
class Passes:
    """One pass through the stages of a replica."""

    seconds: Floats
    """That a token waits, by stage and cause, the hop behind the stage last, shape (stages, causes +
    1)."""
    flop: Floats
    """On each chip, shape (stages,)."""
    moved_bytes: Floats
    """Between each chip and its memory, shape (stages,)."""
    busy_s: Floats
    """How long each stage's chips, and the link behind it, are busy: two resources, shape
    (stages, 2)."""
    pieces_s: Floats
    """The same piece by piece: a stage's layers of each kind, the host's work, the link last,
    shape (stages, pieces)."""
    latent_s: Floats
    """Of a token's wait on each stage, that in which its chips are free for others, shape
    (stages,)."""

    @functools.cached_property
    def pass_s(self) -> float:
        """All stages and hops, one after the other."""
        return float(self.seconds.sum())

    @functools.cached_property
    def working_s(self) -> Floats:
        """By stage and cause, what keeps the chips and the links busy, shape (stages, causes +
        1)."""
        working = self.seconds.copy()
        working[:, CAUSES.index("overhead")] -= self.latent_s
        return working


class Prompts(NamedTuple):
    """What prompts take on each stage, on average."""

    working_s: Floats
    """By stage and cause, shape (stages, causes + 1)."""
    busy_s: Floats
    """Of its chips, and of the link behind it, shape (stages, 2)."""


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
    packed: Passes
    """One full of prompts."""
    joining: Prompts
    """What a prompt of others takes among decode passes, on average."""
    round_s: float
    """Of decode passes, without others' prompts."""
    prompt_s: float
    """Work of a prompt at the busiest stage, over the ranks that share out the sequences."""
    added_s: float
    """The same of a prompt that is added to a pass of others."""
    others_s: float
    """Prompts of all others in a cycle, at the stage where they take longest."""
    queue_s: float
    """Of `ttft_s`, the wait for the prompts of those who came before, where requests come at a
    rate."""
    queued_s: float
    """Of `ttft_s`, the wait for a place among those in flight, where there are more clients."""


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
    splits = [split_of(stage) for stage in plan.stages]

    @functools.cache
    def handed_s(over: Hop, split: Split, bytes_per_token: float, step: Step) -> float:
        level, hops = over
        sent = bytes_per_token * shares_of(split, step)[0]
        return float(hop_s(prices.topology, level, hops, sent))

    def hop(number: int, bytes_per_token: float, step: Step) -> float:
        # The stages of a long pipeline hand on the same by the same way.
        return handed_s(way[number][1], splits[number], bytes_per_token, step)

    lists = [prices] * len(plan.stages)
    reaches = [reach for reach, _ in way]
    steps = at.decode, at.prefill, at.packed
    return timing_from(plan, at, *passes_of(lists, plan, steps, reaches, hop))


class Waits(NamedTuple):
    """What a request waits; figures, or arrays of plans."""

    joined_s: Numbers
    """To the first token, but for the queue of those who came before."""
    tpot_s: Numbers
    round_s: Numbers
    """Of decode passes, without others' prompts."""
    waiting_s: Numbers
    """Of `joined_s`, until the prompt starts."""


def waits_of(
    at: Schedule,
    *,
    pass_s: Numbers,
    turn_s: Numbers,
    interrupted_s: Numbers,
    trailing_s: Numbers,
    others_s: Numbers,
    prompt_pass_s: Numbers,
    prompt_slowest_s: Numbers,
    waiting_share: Numbers | None = None,
) -> Waits:
    """TTFT and TPOT composed, for one plan or for arrays of them that share a schedule's shares.

    `pass_s` is a decode pass through all stages; `turn_s` all micro-batches at the slowest stage,
    `interrupted_s` with what they lose to others' prompts; `trailing_s` a round in which those
    prompts hold up whoever meets them (`Trail.round_s`); `others_s` those prompts themselves in a
    cycle; `prompt_pass_s` a prefill pass through all stages, `prompt_slowest_s` at the slowest;
    `waiting_share` is of each plan, where they differ in it. The solver minimises the same sum: see
    `space.measures.Clock`.
    """
    tpot = np.maximum(pipeline.cycle_s(pass_s, interrupted_s), trailing_s) / at.tokens_per_pass
    round_s = pipeline.cycle_s(pass_s, turn_s)
    rounds = at.waiting_share if waiting_share is None else waiting_share
    waiting = rounds * round_s + at.burst_share * others_s
    joined = at.request_overhead_s + waiting
    if at.prefill_passes:
        joined = joined + pipeline.fill_and_drain_s(
            prompt_pass_s, prompt_slowest_s, np.maximum(1.0, at.prefill_passes)
        )
    return Waits(joined, tpot, round_s, waiting)


def interruptions_s(at: Schedule, others_s: Numbers) -> Numbers:
    """What the decode passes for one later token lose to the prompts of others in a cycle. [s]"""
    if not at.later_tokens:
        return 0.0 * others_s
    return at.software.interruption_share * others_s / at.rounds


def trail_of(at: Schedule, others: Floats, decode: Passes, prefill: Passes, more: Prompts) -> Trail:
    """Of a plan each of whose stages sees the prompts of so many others, shape (stages,)."""
    met = np.asarray(met_share(at, others))[:, None]
    slower = np.maximum(decode.pieces_s, prefill.pieces_s)
    return Trail(
        met_share=float(met.max()),
        passing_s=float(((1.0 - met) * decode.busy_s).sum() + (1.0 - met[:, 0]) @ decode.latent_s),
        quiet_s=float(((1.0 - met) * at.micro_batches * decode.busy_s).max()),
        held_up_s=float((met * slower).sum() + met[:, 0] @ decode.latent_s),
        behind_s=float(_behind(at, others, decode, prefill, more).max()),
    )


def _behind(at: Schedule, others: Floats, decode: Passes, prefill: Passes, more: Prompts) -> Floats:
    """Of each stage's chips, and of the link behind it, shape (stages, 2). [s]"""
    quicker = np.minimum(decode.pieces_s, prefill.pieces_s)
    quicker = np.stack([quicker[:, :-1].sum(axis=1), quicker[:, -1]], axis=1)
    return np.asarray(
        behind_s(
            at,
            others[:, None],
            at.micro_batches,
            chunk_s=prefill.busy_s,
            more_s=more.busy_s,
            quicker_s=quicker,
        )
    )


def more_of(at: Schedule, prefill: Passes, packed: Passes) -> Prompts:
    """What a prompt adds to a pass that takes others too: in proportion, up to a full one."""
    return Prompts(
        np.asarray(at.added(prefill.working_s, packed.working_s)),
        np.asarray(at.added(prefill.busy_s, packed.busy_s)),
    )


def blended(prefill: Passes, more: Prompts, share: Numbers) -> Prompts:
    """What a prompt takes on each stage on average, where so many of them, shape (stages,), have
    a pass of their own, and the rest are added to one."""
    own = np.asarray(share).reshape(-1, 1)
    busy_s = own * prefill.busy_s + (1.0 - own) * more.busy_s
    return Prompts(own * prefill.working_s + (1.0 - own) * more.working_s, busy_s)


def timing_from(
    plan: Plan, at: Schedule, decode: Passes, prefill: Passes, packed: Passes
) -> Timing:
    """What a request waits in a replica of which a decode pass, a prefill pass and one full of
    prompts are known."""
    ranks = [stage.attention_parallel for stage in plan.stages]
    others = np.array([at.others_prefills(rank) for rank in ranks])
    more = more_of(at, prefill, packed)
    joining = _joining(at, others, prefill, more)
    prompts = at.prefill_passes * prefill.busy_s
    standing_s = _standing_s(at, others, prefill, more)
    most_others = float((others[:, None] * at.prefill_passes * standing_s).max())
    turns = at.micro_batches * decode.busy_s
    met = _synchronised(at, others, ranks)
    joined_work = met[:, None] * at.prefill_passes * joining.busy_s
    interruptions = np.asarray(interruptions_s(at, joined_work))
    interrupted = turns + interruptions
    trail = trail_of(at, others, decode, prefill, more)
    waits = waits_of(
        at,
        pass_s=decode.pass_s,
        turn_s=float(turns.max()),
        interrupted_s=float(interrupted.max()),
        trailing_s=float(trail.round_s),
        others_s=most_others,
        prompt_pass_s=prefill.pass_s,
        prompt_slowest_s=float(prefill.busy_s.max()),
    )
    tpot = float(waits.tpot_s)
    joined = float(waits.joined_s)
    prompt = float((prompts / np.array(ranks)[:, None]).max())
    rate = (at.workload.requests_per_s or 0.0) / plan.replicas
    queue = float(queueing.queue_s(prompt, rate)) if rate else 0.0
    whole = float(pipeline.request_s(joined, tpot, at.later_tokens + 1))
    cycle = _cycle_s(at, prompt, whole, most_others)
    queued = at.workload.cycles_waited * cycle
    waiting = float(waits.waiting_s) + queue + queued
    # On a single stage both ways of counting come to the same, but for rounding.
    if trail.round_s > ALIKE * max(decode.pass_s, float(interrupted.max())):
        token = _trailing_breakdown(at, others, decode, prefill, more, trail)
    else:
        token = _token_breakdown(decode, joining, interrupted, interruptions)
    return Timing(
        ttft_s=joined + queue + queued,
        tpot_s=tpot,
        request_s=whole + queue + queued,
        cycle_s=cycle,
        token=token / at.tokens_per_pass,
        first_token=_first_token_breakdown(prefill, at, waiting),
        decode=decode,
        prefill=prefill,
        packed=packed,
        joining=joining,
        round_s=float(waits.round_s),
        prompt_s=prompt,
        added_s=float((at.prefill_passes * more.busy_s / np.array(ranks)[:, None]).max()),
        others_s=most_others,
        queue_s=queue,
        queued_s=queued,
    )


def _joining(at: Schedule, others: Floats, prefill: Passes, more: Prompts) -> Prompts:
    """What a prompt of others takes among decode passes, on average."""
    if at.packs == 1:  # each has a pass of its own
        return more
    return blended(prefill, more, fresh_share(at, others, at.micro_batches))


def _standing_s(at: Schedule, others: Floats, prefill: Passes, more: Prompts) -> Floats:
    """The same of prompts that stand in a queue together, shape (stages, 2). [s]"""
    if at.packs == 1:
        return more.busy_s
    first = np.asarray(first_share(at, others))[:, None]
    return first * prefill.busy_s + (1.0 - first) * more.busy_s


def _synchronised(at: Schedule, others: Floats, ranks: Sequence[int]) -> Floats:
    """Of so many prompts of others on each rank of each stage, how many hold up a request, shape
    (stages,)."""
    if max(ranks) == 1:
        return others
    stages = zip(others, ranks, strict=True)
    met = [float(synchronised(at, here, rank, at.micro_batches)) for here, rank in stages]
    return np.array(met)


def _cycle_s(at: Schedule, prompt_s: float, request_s: float, others_s: float) -> float:
    """In which a replica serves as many requests as it has in flight. [s]"""
    if at.workload.phase == "prefill":
        return prompt_s
    return request_s + at.late_share * others_s


def passes_of(
    lists: Sequence[PriceList],
    plan: Plan,
    steps: Sequence[Step],
    reaches: Sequence[Reach],
    hop: Callable[[int, float, Step], float],
) -> list[Passes]:
    """One pass for each step, from the price list and the reach of each stage, and from what it
    takes to hand so many bytes for each token on from a stage."""
    graph = lists[0].graph
    stages = plan.stages
    sums = _Sums.of(len(steps), len(stages), len(graph.kinds))
    seconds, work, pieces, latent = sums
    counts = np.array([kind_counts_of(stage, graph) for stage in stages])
    alike: dict[tuple[int, Split, Reach], list[int]] = {}
    for number, (prices, stage, reach) in enumerate(zip(lists, stages, reaches, strict=True)):
        alike.setdefault((id(prices), split_of(stage), reach), []).append(number)
        if stage.offloaded:
            counts[number] -= offloaded_counts_of(stage, graph)
            _add_offloaded(sums, number, stage, prices.offloaded, steps, reach)
    # Stages whose layers cost the same are priced together: pipelines have hundreds of them.
    for (_, split, reach), numbers in alike.items():
        prices = lists[numbers[0]]
        latents = [prices.latent_s(step) for step in steps]
        here = slice(None) if len(alike) == 1 else numbers
        sums.add(here, prices.prices_of_steps(split, steps, reach), latents, counts[here])
    if len(stages) > 1:
        handed = handed_on(plan, graph)
        for place, step in enumerate(steps):
            seconds[place, :-1, -1] = [
                hop(number, float(sent), step) for number, sent in enumerate(handed[:-1])
            ]
    software = lists[-1].topology.software
    last = split_of(stages[-1])
    for place, step in enumerate(steps):
        host = float(host_s(software, made_on_rank(last, step)))
        seconds[place, -1, CAUSES.index("overhead")] += host
        pieces[place, -1, -2] += host
    pieces[..., -1] = seconds[..., -1]
    busy = np.stack([seconds[..., :-1].sum(axis=-1), seconds[..., -1]], axis=-1)
    # A token waits for it too, but keeps nobody else waiting.
    seconds[..., CAUSES.index("overhead")] += latent
    return [
        Passes(
            seconds=seconds[place],
            flop=work[place, :, 0],
            moved_bytes=work[place, :, 1],
            busy_s=busy[place],
            pieces_s=pieces[place],
            latent_s=latent[place],
        )
        for place in range(len(steps))
    ]


class _Sums(NamedTuple):
    """What passes take: busy seconds by step, stage and cause; operations and bytes; the pieces
    of each stage; and what is waited beside (see `Passes`)."""

    seconds: Floats
    work: Floats
    pieces: Floats
    latent: Floats

    @classmethod
    def of(cls, steps: int, stages: int, kinds: int) -> "_Sums":
        """Nothing yet."""
        return cls(
            np.zeros((steps, stages, len(CAUSES) + 1)),
            np.zeros((steps, stages, 2)),
            np.zeros((steps, stages, kinds + 2)),
            np.zeros((steps, stages)),
        )

    def add(
        self,
        stages: list[int] | slice,
        priced: Sequence[Prices],
        latents: Sequence[Floats],
        counts: Floats,
    ) -> None:
        """So many layers of each kind, shape (stages, kinds), on some stages, at the prices of each
        step."""
        layers = counts.T
        seconds = np.array([prices.seconds for prices in priced])
        work = np.array([(prices.flop, prices.moved_bytes) for prices in priced])
        self.seconds[:, stages, :-1] += (seconds @ layers).swapaxes(1, 2)
        self.work[:, stages] += (work @ layers).swapaxes(1, 2)
        self.pieces[:, stages, :-2] += seconds.sum(axis=1)[:, None] * counts
        self.latent[:, stages] += np.array(latents) @ layers


def _add_offloaded(
    sums: _Sums,
    number: int,
    stage: Stage,
    offloaded: OffloadedPrices,
    steps: Sequence[Step],
    reach: Reach,
) -> None:
    """Layers of a stage that lie off its chips' first memory, and what is handed over between them
    and the others."""
    graph = offloaded.graph
    counts = offloaded_counts_of(stage, graph)
    handovers = handovers_of(stage, graph)
    each = offloaded.prices_of_steps(split_of(stage), steps, reach)
    latents = [offloaded.latent_s(step) for step in steps]
    sums.add([number], each, latents, counts[None])
    for place, step in enumerate(steps):
        handed_s = offloaded.handed_s(step, handovers)
        sums.seconds[place, number, CAUSES.index("memory")] += handed_s
        sums.pieces[place, number, -2] += handed_s


def handed_on(plan: Plan, graph: ModelGraph) -> Floats:
    """Bytes for one token that cross from each stage to the next, shape (stages,)."""
    stages = np.zeros(len(graph.layers), dtype=np.intp)
    for number, stage in enumerate(plan.stages):
        stages[layers_of(stage, graph)] = number
    return crossing_bytes(graph, stages.tolist())


def crossing_bytes(graph: ModelGraph, places: Sequence[int]) -> Floats:
    """Bytes for one token that cross from each place to the next, where the layers of the graph
    stand at these places: each producer that is needed further on, once; shape (places,)."""
    here = np.array(places, dtype=np.intp)
    farthest = here.copy()
    senders, receivers = graph.ends_of_edges
    np.maximum.at(farthest, senders, here[receivers])
    crossing = np.zeros(int(here.max()) + 1)
    # Of hundreds of layers only those at the end of a stage hand anything on.
    for position in np.flatnonzero(farthest > here).tolist():
        sent = graph.layers[position].activation_bytes_per_token
        crossing[here[position] : farthest[position]] += sent
    return crossing


def _token_breakdown(
    decode: Passes, prefill: Prompts, interrupted: Floats, interruptions: Floats
) -> Floats:
    """A token's own way; then, where it waits for the slowest stage, other requests' prompts
    there, then its turn."""
    parts = np.zeros((len(interrupted), len(ALL_CAUSES)))
    parts[:, :-1] = decode.seconds
    slowest, resource = _slowest(interrupted)
    waits = float(interrupted[slowest, resource]) - decode.pass_s
    if waits > 0:
        for_prompts = min(waits, float(interruptions[slowest, resource]))
        parts[slowest, :-1] += for_prompts * _mix(prefill, slowest, resource)
        parts[slowest, -1] += waits - for_prompts
    return parts


def _trailing_breakdown(
    at: Schedule, others: Floats, decode: Passes, prefill: Passes, more: Prompts, trail: Trail
) -> Floats:
    """A token's own way; then the prompts that it trails, stage by stage, and what is
    behind those at one of them; then its turn, in rounds that meet no prompt."""
    met = np.asarray(met_share(at, others))[:, None]
    longer = met * np.maximum(prefill.pieces_s - decode.pieces_s, 0.0)
    parts = np.zeros((len(others), len(ALL_CAUSES)))
    parts[:, :-1] = decode.seconds
    for stage, pieces in enumerate(longer):
        parts[stage, :-1] += float(pieces[:-1].sum()) * _mix(prefill, stage, 0)
        parts[stage, :-1] += float(pieces[-1]) * _mix(prefill, stage, 1)
    stage, resource = _slowest(_behind(at, others, decode, prefill, more))
    parts[stage, :-1] += float(trail.behind_s) * _mix(prefill, stage, resource)
    stage, _ = _slowest((1.0 - met) * decode.busy_s)
    parts[stage, -1] += max(0.0, float(trail.quiet_s) - float(trail.passing_s))
    return parts


def _first_token_breakdown(prefill: Passes, at: Schedule, waiting_s: float) -> Floats:
    """One pass through all stages, then the other passes at the slowest of them; nothing where
    there are none."""
    passes = max(1.0, at.prefill_passes) if at.pool_prompts > 1 else at.prefill_passes
    once = min(1.0, passes)
    parts = np.zeros((len(prefill.flop), len(ALL_CAUSES)))
    parts[:, :-1] = once * prefill.seconds
    if passes > once:
        slowest, resource = _slowest(prefill.busy_s)
        later_s = (passes - once) * float(prefill.busy_s[slowest, resource])
        parts[slowest, :-1] += later_s * _mix(prefill, slowest, resource)
    parts[0, -1] += waiting_s
    cause = "hop" if at.workload.phase == "decode" else "overhead"
    parts[0, ALL_CAUSES.index(cause)] += at.request_overhead_s
    return parts


def _slowest(loads: Floats) -> tuple[int, int]:
    """The stage with the highest load, and whether that is on its chips (0) or on the link
    behind it (1)."""
    stage, resource = divmod(int(np.argmax(loads)), loads.shape[1])
    return stage, resource


def _mix(passes: Passes | Prompts, stage: int, resource: int) -> Floats:
    """What keeps a stage's chips, or its link, busy, as shares by cause."""
    work = np.zeros(passes.working_s.shape[1])
    if resource:
        work[-1] = 1.0
    elif (total := float(passes.working_s[stage, :-1].sum())) > 0:
        work[:-1] = passes.working_s[stage, :-1] / total
    return work


def steps_of_cycle(at: Schedule) -> tuple[float, float]:
    """Prefill passes, had each prompt its own, and decode passes of one replica in a cycle."""
    requests = at.sequences if at.workload.arrivals != "together" else 1
    return float(requests * at.prefill_passes), float(at.rounds * at.micro_batches)


def packing_of(at: Schedule, sequences: Numbers) -> tuple[Numbers, Numbers]:
    """How many passes of one prompt, and how many full ones, stand for each prompt among so many
    sequences, on average, however these are cut: see `trailing.fresh_share`. [1]"""
    if at.packs == 1:
        return 1.0 + 0.0 * sequences, 0.0 * sequences
    fresh = fresh_share(at, np.maximum(0.0, sequences - 1.0), 1.0)
    added = (1.0 - fresh) / (at.packs - 1)
    return fresh - added, added


def useful_of_cycle(graph: ModelGraph, at: Schedule) -> tuple[float, float]:
    """Operations and bytes that a replica's passes of a cycle need however they are split:
    tokens that are drafted in vain, and the draft model, count for nothing. [FLOP, B]"""
    flop, moved = useful_steps(graph, (at.prefill, at.packed, at.useful_decode))
    often = np.array(passes_of_cycle(at))
    return float(often @ flop), float(often @ moved)


def passes_of_cycle(at: Schedule) -> tuple[float, float, float]:
    """Passes of one prompt, full ones, and decode passes of one replica in a cycle."""
    prefills, decodes = steps_of_cycle(at)
    return *_packed(at, prefills), decodes


def _packed(at: Schedule, prefills: float) -> tuple[float, float]:
    one, full = packing_of(at, float(at.sequences))
    return prefills * float(one), prefills * float(full)


def active_chip_s(prices: PriceList, at: Schedule) -> float:
    """What the power of a replica's chips follows, over a cycle, however the work is split. [s]"""
    return float(active_kinds_s(prices, at) @ prices.counts)


def active_kinds_s(prices: PriceList, at: Schedule) -> Floats:
    """The same of one layer of each kind, shape (kinds,)."""
    prefills, decodes = steps_of_cycle(at)
    decode = at.mean_decode
    if at.relaxed:  # no number of passes takes fewer
        decodes = at.rounds * at.sequences / at.decode.sequences
        decode = at.decode
    active = prices.active_kinds_s((at.prefill, at.packed, decode))
    return np.asarray(active @ np.array([*_packed(at, prefills), decodes]))


def others_prompts_s(timing: Timing, at: Schedule) -> float:
    """Of the time of a later token, what the prompts of other requests take: all that is neither
    its own way nor waiting for its turn. [s]"""
    own_s = float(timing.decode.seconds.sum()) / at.tokens_per_pass
    return max(0.0, float(timing.token[:, :-1].sum()) - own_s)


def bubble_fraction(timing: Timing, at: Schedule) -> float:
    """Share of the stages' time, over a cycle, in which they wait. [1]"""
    prefills, decodes = steps_of_cycle(at)
    busy = (
        prefills * timing.joining.working_s[:, :-1].sum()
        + decodes * timing.decode.working_s[:, :-1].sum()
    )
    return float(pipeline.bubble_fraction(float(busy), len(timing.decode.flop), timing.cycle_s))
