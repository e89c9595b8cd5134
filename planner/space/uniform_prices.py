"""Prices of uniform plans, as arrays: what the stages of each shape take in steps of every size,
then what comes of that in all plans of many shapes at once.

The same price list as `score_plan`, and the same sums as `timing`. Of a shape's stages, and of the
links behind them, only those count that may be the slowest: whatever another exceeds in all that a
plan can ask of it is left out, which changes no price.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import energy
from planner.machines.topology import PowerScope
from planner.models.graph import ModelGraph
from planner.pricing.collectives import hop_s
from planner.pricing.drafts import serving_prices
from planner.pricing.price_list import Reach, Split, host_s, shares_of
from planner.pricing.schedule import others_in_flight, schedule_of
from planner.pricing.timing import Hop, crossing_bytes, interruptions_s, packing_of, waits_of
from planner.pricing.trailing import (
    Trail,
    behind_s,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.scoring.plans import chosen_power
from planner.space.uniform_shapes import Ground, Shape, Stand, cuts_of
from planner.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

PLANS_AT_ONCE = 2**15
"""As many as leave the arrays of a sum in a processor's caches."""


class Priced(NamedTuple):
    """Figures of plans, each of shape (plans,), or (shapes, sizes, turns)."""

    ttft_s: Floats
    tpot_s: Floats
    tokens_per_s: Floats
    energy_per_token_j: Floats
    usd_per_million_tokens: Floats
    power_w: Floats
    """Of all chips held, as loaded."""
    idle_w: Floats
    """Of the same where nothing runs."""

    @classmethod
    def without_plans(cls, shape: tuple[int, ...]) -> "Priced":
        """What has no price takes for ever, and serves nobody."""
        figures = {name: np.full(shape, np.inf) for name in cls._fields}
        figures["tokens_per_s"] = np.zeros(shape)
        return cls(**figures)


class Part(NamedTuple):
    """One of the stages of a pipeline that are alike."""

    decode_s: Floats
    """What its chips, and the link behind it, take for a step of each size, shape (2, sizes)."""
    quicker_s: Floats
    """For that step or for a pass of a prompt, whichever is shorter, shape (2, sizes)."""
    prompt_s: Floats
    """A pass of a prompt, shape (2,)."""
    more_s: Floats
    """What a prompt adds to a pass that takes others too, shape (2,)."""
    held_up_s: Floats
    """Each layer and the link behind them, for the step or for that pass, whichever takes longer,
    all together, shape (sizes,)."""
    held_bytes: Floats
    """On each chip, what does not grow with sequences, for each size, shape (sizes,)."""
    sequence_bytes: float
    """For each sequence of the chip's share."""
    filled_bytes: float
    """Of `held_bytes`, weights and caches."""


class Stages(NamedTuple):
    """What the stages of a shape take in steps of every size. Rows are the chips of a stage, or the
    link behind it, wherever these may be the slowest."""

    passing_s: Floats
    """All stages and links one after the other, shape (sizes,)."""
    held_up_s: Floats
    """The same behind a prompt, shape (sizes,)."""
    decode_s: Floats
    """Shape (rows, sizes), as `quicker_s`."""
    quicker_s: Floats
    prompt_s: Floats
    """Shape (rows,), as `more_s`."""
    more_s: Floats
    prompt_pass_s: float
    """Of a prompt, through all of them."""
    held_bytes: Floats
    """Shape (parts, sizes)."""
    sequence_bytes: Floats
    """Shape (parts,)."""
    chips: float
    """That count for power and price: all, or as many as weights fill."""
    sequence_chips: float
    """As many as the cache of a sequence fills; none where chips are held whole."""


class _Cut(NamedTuple):
    """How layers are shared out over so many stages."""

    counts: Floats
    """Layers of each kind, shape (stages, kinds)."""
    handed: list[float]
    """Bytes for each token that leave each stage."""
    labels: list[int]
    """The same for stages of the same layers that hand on the same, the last one apart."""


class _Kinds(NamedTuple):
    """What a layer of each kind takes on some group, each of shape (kinds, …)."""

    steps_s: Floats
    """For a step of each size: the step, whichever is shorter of it and of a prompt's pass, and
    whichever is longer, one after the other, shape (kinds, 3 · sizes)."""
    passes_s: Floats
    """A pass of a prompt, and one full of prompts, shape (kinds, 2)."""


class _Held(NamedTuple):
    """What a chip of a split holds."""

    of_kinds: Floats
    """Weights, caches for each sequence, and what the longest has more, shape (kinds, 3)."""
    tied_bytes: float
    """Of the weights, what a chip has once that has all layers."""
    buffer_bytes: Floats
    """Shape (sizes,)."""
    logits_bytes: Floats
    """What the last stage needs beyond them to sample, shape (sizes,)."""


class Pricer:
    """One graph on one machine, for steps of every size; of a prefill pool one size counts."""

    def __init__(self, graph: ModelGraph, ground: Ground, workload: Workload, sizes: Ints) -> None:
        self.graph, self.workload = graph, workload
        self.ground, self.topology = ground, ground.topology
        self.prices = serving_prices(graph, self.topology, workload)
        self.sequences = sizes.astype(float)
        self.verified = 1.0 + workload.drafted_tokens
        """Tokens of each sequence in a decode pass."""
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
        self._cuts: dict[tuple[int, bool], _Cut] = {}
        self._kinds: dict[tuple[Split, Reach], _Kinds] = {}
        self._held: dict[Split, _Held] = {}
        self._links: dict[tuple[Split, Hop, float], tuple[Floats, float, float]] = {}

    def priced(
        self,
        shapes: Sequence[Shape],
        micro_batches: Ints,
        may_run: Bools,
        power_scope: PowerScope | None,
    ) -> Priced:
        """Plans of so many micro-batches, shape (shapes, turns), where they may run, (shapes,
        sizes, turns)."""
        grid = Priced.without_plans(may_run.shape)
        bill = _Bill(self, power_scope)
        for chosen in _at_once(shapes, may_run):
            ranks = shapes[chosen[0]].split.attention
            stages = _Stacked.of([self._stages(shapes[number]) for number in chosen])
            owner, size, turn = np.nonzero(may_run[chosen])
            turns = micro_batches[np.array(chosen)[owner], turn].astype(np.float64)
            plans = _Plans(self, stages, owner, size, turns, ranks)
            fits = plans.fits
            place = np.array(chosen)[owner[fits]], size[fits], turn[fits]
            for field, values in zip(grid, bill.priced(plans.taken(fits)), strict=True):
                field[place] = values
        return grid

    def _stages(self, shape: Shape) -> Stages:
        cut, stands = self._cut_of(shape), self.ground.stands(shape)
        alike = list(zip(cut.labels, [stand.code for stand in stands], strict=True))
        # Of those that are alike the first one is named.
        first = dict(zip(reversed(alike), range(len(alike) - 1, -1, -1), strict=True))
        often = Counter(alike)
        last = len(stands) - 1
        parts = [
            self._part(cut.counts[one], stands[one], cut.handed[one], one == last, last == 0)
            for one in first.values()
        ]
        return self._summed(
            parts,
            np.array([often[key] for key in first], dtype=float),
            [stands[one].split.chips for one in first.values()],
        )

    def _cut_of(self, shape: Shape) -> _Cut:
        key = shape.stages, shape.ends is None
        if key not in self._cuts:
            cuts = np.array(cuts_of(self.graph, shape))
            counts = np.diff(self.kinds_before[cuts], axis=0)
            handed = self.crossing[cuts[1:] - 1].tolist()
            known: dict[tuple[bytes, float, bool], int] = {}
            labels = [
                known.setdefault((row.tobytes(), sent, number == len(handed) - 1), len(known))
                for number, (row, sent) in enumerate(zip(counts, handed, strict=True))
            ]
            self._cuts[key] = _Cut(counts, handed, labels)
        return self._cuts[key]

    def _summed(self, parts: Sequence[Part], often: Floats, chips: Sequence[int]) -> Stages:
        """So many of each part, one after the other."""
        decode = np.array([part.decode_s for part in parts])
        quicker = np.array([part.quicker_s for part in parts])
        prompts = np.array([(part.prompt_s, part.more_s) for part in parts]).swapaxes(1, 2)
        sizes = len(self.sequences)
        asked = np.concatenate([decode, quicker, prompts], axis=2).reshape(2 * len(parts), -1)
        rows = asked[unexceeded(asked)]
        held_up = np.array([part.held_up_s for part in parts])
        sequence_bytes = np.array([part.sequence_bytes for part in parts])
        whole = often * np.array(chips, dtype=float)
        filled, each = np.ones(len(parts)), np.zeros(len(parts))
        if self.topology.divisible:
            capacity = self.topology.chip.memory[0].capacity_bytes
            filled = np.array([part.filled_bytes for part in parts]) / capacity
            each = sequence_bytes / capacity
        return Stages(
            passing_s=often @ decode.sum(axis=1),
            held_up_s=often @ held_up,
            decode_s=rows[:, :sizes],
            quicker_s=rows[:, sizes : 2 * sizes],
            prompt_s=rows[:, -2],
            more_s=rows[:, -1],
            prompt_pass_s=float(often @ prompts[:, :, 0].sum(axis=1)) + self.prompt_latent_s,
            held_bytes=np.array([part.held_bytes for part in parts]),
            sequence_bytes=sequence_bytes,
            chips=float((whole * filled).sum()),
            sequence_chips=float(whole @ each),
        )

    def _part(self, counts: Floats, stand: Stand, handed: float, last: bool, alone: bool) -> Part:
        split, software = stand.split, self.topology.software
        kinds, held = self._kinds_of(split, stand.reach), self._held_of(split)
        step, quicker, slower = (counts @ kinds.steps_s).reshape(3, -1)
        prompt, full = (counts @ kinds.passes_s).tolist()
        link, prompt_link, full_link = self._link_of(split, stand.hop, handed)
        if last:
            host = host_s(software, np.ceil(self.sequences / split.attention))
            prompt_host = software.step_overhead_s
            step, prompt, full = step + host, prompt + prompt_host, full + prompt_host
            quicker = quicker + np.minimum(host, prompt_host)
            slower = slower + np.maximum(host, prompt_host)
        alone_s = np.array([prompt, prompt_link])
        weights, each, more = (counts @ held.of_kinds).tolist()
        if alone:
            weights -= held.tied_bytes
        return Part(
            decode_s=np.array([step, link]),
            quicker_s=np.array([quicker, np.minimum(link, prompt_link)]),
            prompt_s=alone_s,
            more_s=np.asarray(self.at.added(alone_s, np.array([full, full_link]))),
            held_up_s=slower + np.maximum(link, prompt_link),
            held_bytes=weights + more + held.buffer_bytes + (held.logits_bytes if last else 0.0),
            sequence_bytes=each,
            filled_bytes=weights + more,
        )

    def _kinds_of(self, split: Split, reach: Reach) -> _Kinds:
        if (split, reach) not in self._kinds:
            step = self.prices.decode_kinds_s(
                split,
                self.sequences,
                self.workload.mean_context_tokens,
                reach,
                verified=self.verified,
            )
            prompts = self.prices.prices_of_steps(split, [self.at.prefill, self.at.packed], reach)
            passes = np.stack([one.seconds.sum(axis=0) for one in prompts], axis=1)
            prompt = passes[:, :1]
            steps = [step, np.minimum(step, prompt), np.maximum(step, prompt)]
            self._kinds[split, reach] = _Kinds(np.concatenate(steps, axis=1), passes)
        return self._kinds[split, reach]

    def _link_of(self, split: Split, hop: Hop, handed: float) -> tuple[Floats, float, float]:
        """What is handed on takes for steps of every size, for a prompt, and for a pass full of
        prompts."""
        key = split, hop, handed
        if key not in self._links:
            tokens = self.verified * np.ceil(self.sequences / split.attention)
            prompts = (shares_of(split, step)[0] for step in (self.at.prefill, self.at.packed))
            sent = handed * np.array([*tokens, *prompts])
            *link, prompt, full = np.asarray(hop_s(self.topology, *hop, sent)).tolist()
            self._links[key] = np.array(link), prompt, full
        return self._links[key]

    def _held_of(self, split: Split) -> _Held:
        if split not in self._held:
            holdings = self.prices.holdings(split, self.workload, 1.0)
            rows = self.verified * self.sequences
            most = np.maximum(self.at.most_tokens, rows)
            buffers = self.prices.activation_bytes(split, self.workload, most)
            tied = (
                float(holdings.tied_bytes[self.graph.kind_of_layer[reader]])
                for reader, _ in self.graph.tied_layers
            )
            columns = (
                holdings.weight_bytes,
                holdings.kv_bytes_per_sequence,
                holdings.kv_bytes_more,
            )
            self._held[split] = _Held(
                of_kinds=np.stack(columns, axis=1),
                tied_bytes=sum(tied),
                buffer_bytes=buffers + self.prices.workspace_bytes(split),
                logits_bytes=self.prices.logits_bytes(split, self.workload, most, rows),
            )
        return self._held[split]


def unexceeded(rows: Floats) -> Bools:
    """Which rows no other is at least as large as in every column, shape (rows,); of equal rows
    the first."""
    exceeds = (rows >= rows[:, None]).all(axis=2)
    number = np.arange(len(rows))
    earlier = number < number[:, None]
    return np.asarray(~(exceeds & (~exceeds.T | earlier)).any(axis=1))


def _at_once(shapes: Sequence[Shape], may_run: Bools) -> Iterator[list[int]]:
    """Shapes whose plans are priced together: their groups share out sequences alike."""
    plans = may_run.sum(axis=(1, 2)).tolist()
    by_ranks: dict[int, list[int]] = {}
    for number, shape in enumerate(shapes):
        if plans[number]:
            by_ranks.setdefault(shape.split.attention, []).append(number)
    for numbers in by_ranks.values():
        counted = itertools.accumulate(plans[number] for number in numbers)
        begun = zip(counted, numbers, strict=True)
        for _, chosen in itertools.groupby(begun, key=lambda pair: pair[0] // PLANS_AT_ONCE):
            yield [number for _, number in chosen]


class _Stacked(NamedTuple):
    """`Stages` of several shapes: each field with an axis of shapes before that of sizes; rows and
    parts that a shape has fewer of are zeros, the slowest of nothing."""

    passing_s: Floats
    held_up_s: Floats
    decode_s: Floats
    quicker_s: Floats
    prompt_s: Floats
    more_s: Floats
    prompt_pass_s: Floats
    held_bytes: Floats
    sequence_bytes: Floats
    chips: Floats
    sequence_chips: Floats

    @classmethod
    def of(cls, each: Sequence[Stages]) -> "_Stacked":
        """Of shapes in this order."""
        by_rows = ("decode_s", "quicker_s", "prompt_s", "more_s", "held_bytes", "sequence_bytes")
        fields = {}
        for name, values in zip(Stages._fields, zip(*each, strict=True), strict=True):
            if name not in by_rows:
                fields[name] = np.array(values)
                continue
            most = max(len(one) for one in values)
            fields[name] = np.zeros((most, len(each), *values[0].shape[1:]))
            for number, one in enumerate(values):
                fields[name][: len(one), number] = one
        return cls(**fields)


class _Plans:
    """Some plans, each of a shape, a size and a number of micro-batches; all figures of shape
    (plans,)."""

    def __init__(
        self,
        pricer: Pricer,
        stages: _Stacked,
        owner: Ints,
        size: Ints,
        turns: Floats,
        ranks: int,
    ) -> None:
        self.pricer, self.at, self.stages = pricer, pricer.at, stages
        self.owner, self.size, self.turns, self.ranks = owner, size, turns, ranks
        self.batch = pricer.sequences[size] * turns
        self.in_flight = np.ceil(self.batch / ranks)
        is_pool = pricer.workload.phase == "prefill"
        # Of a prefill pool, as many as its engine holds at once (see `Schedule`).
        self.held = 0.0 * turns + self.at.held_sequences(ranks) if is_pool else self.in_flight

    def taken(self, chosen: Bools) -> "_Plans":
        """Some of them."""
        owner, size, turns = self.owner[chosen], self.size[chosen], self.turns[chosen]
        return _Plans(self.pricer, self.stages, owner, size, turns, self.ranks)

    @property
    def fits(self) -> Bools:
        """Which of them the machine has room for, and its software takes."""
        stages = self.stages
        needed = stages.held_bytes[:, self.owner, self.size]
        needed = needed + stages.sequence_bytes[:, self.owner] * self.held
        room = needed.max(axis=0) <= self.pricer.prices.usable_bytes
        taken = self.in_flight <= self.pricer.topology.software.most_sequences
        return np.asarray(room & taken)

    @property
    def chips(self) -> Floats:
        """That count for power and price."""
        stages, owner = self.stages, self.owner
        return np.asarray(stages.chips[owner] + stages.sequence_chips[owner] * self.held)

    def times(self) -> tuple[Floats, Floats, Floats]:
        """To a first token, between later ones, and of a cycle in which as many requests are
        served as are in flight. [s]"""
        at, stages, owner, size = self.at, self.stages, self.owner, self.size
        # Of the others in flight, each has its prompt between the tokens of a request.
        others = np.maximum(0.0, others_in_flight(at.workload, self.in_flight))
        decode = stages.decode_s[:, owner, size]
        prompt, more = stages.prompt_s[:, owner], stages.more_s[:, owner]
        turn = self.turns * decode.max(axis=0)

        met = at.prefill_passes * synchronised(at, others, self.ranks, self.turns)
        fresh = fresh_share(at, others, self.turns)
        lost = interruptions_s(at, met * (fresh * prompt + (1.0 - fresh) * more))
        first = first_share(at, others)
        queued = at.prefill_passes * others * (first * prompt + (1.0 - first) * more)
        others_s = np.asarray(queued).max(axis=0)
        slowest = prompt.max(axis=0)
        passing = stages.passing_s[owner, size] + self.pricer.latent_s

        waits = waits_of(
            at,
            pass_s=passing,
            turn_s=turn,
            interrupted_s=(self.turns * decode + lost).max(axis=0),
            trailing_s=self._trail(others, passing, turn, prompt, more).round_s,
            others_s=others_s,
            prompt_pass_s=stages.prompt_pass_s[owner],
            prompt_slowest_s=slowest,
            waiting_share=at.waiting_among(others_in_flight(at.workload, self.batch)),
        )
        joined, tpot = (np.asarray(one) for one in (waits.joined_s, waits.tpot_s))
        if at.workload.phase == "prefill":
            return joined, tpot, at.prefill_passes * slowest / self.ranks
        return joined, tpot, joined + at.later_tokens * tpot + at.late_share * others_s

    def _trail(
        self, others: Floats, passing: Floats, turn: Floats, prompt: Floats, more: Floats
    ) -> Trail:
        at, stages = self.at, self.stages
        met = np.asarray(met_share(at, others))
        held_up = stages.held_up_s[self.owner, self.size] + self.pricer.latent_s
        behind = behind_s(
            at,
            others,
            self.turns,
            chunk_s=prompt,
            more_s=more,
            quicker_s=stages.quicker_s[:, self.owner, self.size],
        )
        return Trail(
            met_share=met,
            passing_s=(1.0 - met) * passing,
            quiet_s=(1.0 - met) * turn,
            held_up_s=met * held_up,
            behind_s=np.asarray(behind).max(axis=0),
        )


class _Bill:
    """What plans are charged: watts and dollars, of all that is held."""

    def __init__(self, pricer: Pricer, power_scope: PowerScope | None) -> None:
        self.at, self.prices = pricer.at, pricer.prices
        self.draws, _ = chosen_power(pricer.topology, power_scope)
        self.price = pricer.topology.price.usd_per_chip_hour
        self.output_tokens = pricer.workload.output_tokens
        tokens = pricer.verified * pricer.sequences
        steps = [
            self.at.decode._replace(tokens=verified, sequences=sequences)
            for verified, sequences in zip(tokens, pricer.sequences, strict=True)
        ]
        counts = self.prices.counts
        self.decode_s = counts @ self.prices.active_kinds_s(steps)
        """What the power of a step of each size follows, shape (sizes,)."""
        passes = self.prices.active_kinds_s([self.at.prefill, self.at.packed])
        self.one_s, self.full_s = (counts @ passes).tolist()

    def priced(self, plans: _Plans) -> Priced:
        """Times, rates and costs of some plans."""
        joined, tpot, cycle = plans.times()
        rate = plans.batch / cycle * self.output_tokens
        power = idle = joules = dollars = np.full(len(rate), math.inf)
        if self.draws:
            power = np.asarray(energy.energy_j(self.draws, plans.chips, self._active(plans, cycle)))
            idle = np.asarray(energy.energy_j(self.draws, plans.chips, 0.0))
            joules = power / rate
        if self.price is not None:
            dollars = np.asarray(energy.usd_per_million_tokens(plans.chips, self.price, rate))
        return Priced(joined, tpot, rate, joules, dollars, power, idle)

    def _active(self, plans: _Plans, cycle: Floats) -> Floats:
        """What the power of their chips follows, in a second of a cycle. [1]"""
        one, full = packing_of(self.at, plans.batch)
        prompts = self.at.prefill_passes * (one * self.one_s + full * self.full_s)
        decodes = self.at.rounds * plans.turns * self.decode_s[plans.size]
        return np.asarray((plans.batch * prompts + decodes) / cycle)
