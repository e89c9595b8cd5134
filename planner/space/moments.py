"""What replicas of one split do under many batches at once: steps priced as arrays, and what the
fields of `Score` make of them.

The same price list as `score_plan`, and the same composition of times (`pricing.timing.waits_of`),
for any number of batches: a batch is so many micro-batches of so many sequences.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.cost import pipeline, queueing
from planner.pricing.collectives import hop_s
from planner.pricing.price_list import (
    Holdings,
    Split,
    Step,
    host_s,
    made_on_rank,
    reach_of,
    shares_of,
    useful_steps,
)
from planner.pricing.schedule import Schedule, others_in_flight, schedule_of
from planner.pricing.timing import Hop, interruptions_s, packing_of, waits_of
from planner.pricing.trailing import (
    Trail,
    chunks_behind,
    first_share,
    fresh_share,
    met_share,
    synchronised,
)
from planner.space.candidates import Candidates

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
T = TypeVar("T")
Key = tuple[int, int, float, bool]
"""Sequences, micro-batches, sequences in each, and whether prompts may take fractions of passes."""


class Batch(NamedTuple):
    """Batches of a replica, as arrays of one shape."""

    sequences: Ints
    micro_batches: Ints
    micro_sequences: Ints | Floats
    """In the largest micro-batch."""


@dataclass(frozen=True, slots=True)
class Moments:
    """What the steps of some batches take under one split, by kind of layer, shape (kinds, *batch)
    or (*batch,)."""

    split: Split
    batch: Batch
    at: Schedule
    """One of them, for what all share."""
    decode: Floats
    """Of one layer of each kind. [s]"""
    prefill: Floats
    more: Floats
    """What a prompt adds to a pass that takes others too. [s]"""
    host_s: Floats
    """Of a decode pass, on the last stage."""
    prompt_host_s: float
    latent_s: float
    """What a decode pass waits in all layers while the chips are free for others."""
    prompt_latent_s: Floats
    """The same of a pass of a prompt."""
    decode_tokens: Floats
    """That a chip hands on in a pass."""
    prefill_tokens: Floats
    packed_tokens: Floats
    """In a pass full of prompts."""
    passes: Floats
    """Of a prompt."""
    others: Floats
    """Prompts of others that a request sees on a rank during its life."""
    lost: Floats
    """Prompts' passes that a decode round loses to others."""
    joined: Floats
    """And prompts that join such passes."""
    standing: Floats
    """Of the prompts of others that start together, those that take a pass of their own."""
    met: Floats
    """Share of the rounds that meet a prompt of others, see `pricing.trailing`."""
    behind: Floats
    """Chunks of a prompt behind the first one that a round meets."""
    beyond: Floats
    """Prompts that start with it."""
    own: Floats
    """Share of the rounds that meet a prompt of their own micro-batch."""
    held_sequences: Floats
    """Whose cache a rank holds."""
    buffers: Floats
    """On every stage. [B]"""
    logits: Floats
    """What the last stage needs beyond them to sample. [B]"""
    holdings: Holdings
    is_range: bool = False
    """Whether these are the least of several numbers of micro-batches, see `space.ranges`."""


class Peaks(NamedTuple):
    """The largest over the stages, and the links between them, of one or many plans."""

    decode_s: Floats
    """A decode pass."""
    prefill_s: Floats
    """A pass of a prompt."""
    others_s: Floats
    """The prompts of all others, where they start together."""
    turn_s: Floats
    """All micro-batches, and what they lose to others' prompts."""
    behind_s: Floats
    """What comes behind the first chunk of others' prompts that a round meets."""
    needed: Floats
    """Memory of a chip. [B]"""


class Sums(NamedTuple):
    """Over all stages and the links between them, with what is waited while chips are free for
    others."""

    decode_s: Floats
    prefill_s: Floats
    slower_s: Floats
    """Each layer, and each link, for the token or for the prompt, whichever takes longer."""


class Times(NamedTuple):
    """What requests wait."""

    ttft_s: Floats
    tpot_s: Floats
    request_s: Floats
    cycle_s: Floats
    trailing_s: Floats
    """A round in which prompts hold up whoever meets them."""
    waiting_share: Floats
    """Rounds of decode passes that a first token waits for."""


class Meter:
    """Prices batches of one question, whatever the split; what many ask for is kept."""

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self.graph = candidates.graph
        self.topology = candidates.topology
        self.software = candidates.topology.software
        self.workload = candidates.workload
        self.prices = candidates.prices
        self.counts = self.prices.counts
        self.handed = np.array([layer.activation_bytes_per_token for layer in self.graph.layers])
        """On from each layer, for each token. [B]"""
        self._schedules: dict[Key, Schedule] = {}
        self._seconds: dict[tuple[Split, bool], dict[Step, Floats]] = {}
        self._buffers: dict[tuple[Split, float, float], tuple[float, float]] = {}
        self._active: dict[Step, float] = {}
        self._useful: dict[Step, tuple[float, float]] = {}
        self._one_by_one = self.workload.arrivals != "together" or self.workload.phase == "prefill"
        """Whether prompts come one by one, whatever the batch."""

    # ── Steps ────────────────────────────────────────────────────────────────────────────────

    def moments(self, split: Split, batch: Batch, *, relaxed: bool = False) -> Moments:
        """What the steps of some batches take; `relaxed` shares out sequences in fractions, so
        that times for one sequence only shrink as more are in flight."""
        sizes = np.asarray(batch.micro_sequences)
        # Where each rank has whole sequences anyway, prices of both kinds are one.
        whole = not relaxed or (split.attention == 1 and bool((sizes == np.rint(sizes)).all()))
        shape = np.shape(batch.sequences)
        keys = self._keys(batch, relaxed)
        allowance.look()
        distinct = list(dict.fromkeys(keys))
        number = {key: place for place, key in enumerate(distinct)}
        index = np.array([number[key] for key in keys], dtype=np.intp).reshape(shape)
        schedules = [self._schedule(key) for key in distinct]
        first = schedules[0]
        decode = self._priced(split, [at.decode for at in schedules], whole)[:, index]
        prefill = self._priced(split, [at.prefill for at in schedules], whole)[:, index]
        passes = np.array([at.prefill_passes for at in schedules])[index]
        buffers, logits = np.array([self._buffer(split, at) for at in schedules])[index].T
        prefill = prefill * (passes > 0)
        packed = self._priced(split, [at.packed for at in schedules], whole)[:, index]
        held = np.ceil(batch.sequences / split.attention)
        share = held if whole else batch.sequences / split.attention
        others = np.maximum(0.0, others_in_flight(self.workload, share))
        turns = np.asarray(batch.micro_batches, dtype=float)
        met = synchronised(first, others, split.attention, turns)
        lost = np.asarray(interruptions_s(first, met * passes))
        fresh = np.asarray(fresh_share(first, others, turns))
        behind, beyond = chunks_behind(first, others, turns)
        if self.workload.phase == "prefill":
            held = np.full(shape, float(first.held_sequences(split.attention)))
        return Moments(
            split=split,
            batch=batch,
            at=first,
            decode=decode,
            prefill=prefill,
            more=np.asarray(first.added(prefill, packed * (passes > 0))),
            host_s=self._host(split, [at.decode for at in schedules], whole)[index],
            prompt_host_s=float(host_s(self.software, 0.0)) * bool(passes.any()),
            latent_s=self._latent_s(first.decode),
            prompt_latent_s=np.asarray((passes > 0) * self._latent_s(first.prefill)),
            decode_tokens=self._handed(split, [at.decode for at in schedules], whole)[index],
            prefill_tokens=self._handed(split, [at.prefill for at in schedules], whole)[index],
            packed_tokens=self._handed(split, [at.packed for at in schedules], whole)[index],
            passes=passes,
            others=others,
            lost=lost * fresh,
            joined=lost * (1.0 - fresh),
            standing=np.asarray(first_share(first, others)),
            met=np.asarray(met_share(first, others)),
            behind=np.asarray(behind),
            beyond=np.asarray(beyond),
            own=np.asarray(met_share(first, others / turns)),
            held_sequences=held,
            buffers=buffers,
            logits=logits,
            holdings=self.candidates.served.holdings(split),
        )

    def _keys(self, batch: Batch, relaxed: bool = False) -> list[Key]:
        """Of the schedules of some batches: where prompts come one by one, the size of the
        micro-batch says all."""
        sizes = np.ravel(batch.micro_sequences).tolist()
        if self._one_by_one:
            return [(math.ceil(size), 1, size, False) for size in sizes]
        every = np.ravel(batch.sequences).tolist(), np.ravel(batch.micro_batches).tolist(), sizes
        return [(*key, relaxed) for key in zip(*every, strict=True)]

    def _schedule(self, key: Key) -> Schedule:
        if key not in self._schedules:
            sequences, micro_batches, each, relaxed = key
            self._schedules[key] = schedule_of(
                self.workload,
                self.software,
                sequences,
                micro_batches,
                each,
                whole_passes=not relaxed,
            )
        return self._schedules[key]

    def _latent_s(self, step: Step) -> float:
        """What a pass waits in all layers while the chips are free for others. [s]"""
        return float(self.prices.latent_s(step) @ self.counts)

    def _host(self, split: Split, steps: list[Step], whole: bool) -> Floats:
        """Of decode passes. [s]"""
        made = np.array([made_on_rank(split, step, whole=whole) for step in steps])
        return np.asarray(host_s(self.software, made))

    @staticmethod
    def _handed(split: Split, steps: list[Step], whole: bool) -> Floats:
        return np.array([shares_of(split, step, whole=whole)[0] for step in steps])

    def _priced(self, split: Split, steps: list[Step], whole: bool) -> Floats:
        """Seconds of one layer of each kind in each step, shape (kinds, steps)."""
        known = self._seconds.setdefault((split, whole), {})
        new = [step for step in dict.fromkeys(steps) if step not in known]
        if new:
            reach = reach_of(self.topology, split, 0)
            priced = self.prices.prices_of_steps(split, new, reach, whole=whole)
            known.update(
                (step, one.seconds.sum(axis=0)) for step, one in zip(new, priced, strict=True)
            )
        return np.stack([known[step] for step in steps], axis=1)

    def _buffer(self, split: Split, at: Schedule) -> tuple[float, float]:
        """Of every stage, and what the last one needs beyond. [B]"""
        key = split, at.most_tokens, at.decode.rows
        if key not in self._buffers:
            served = self.candidates.served
            self._buffers[key] = served.buffer_bytes(split, at), served.logits_bytes(split, at)
        return self._buffers[key]

    # ── Links ────────────────────────────────────────────────────────────────────────────────

    def link_s(self, hop: Hop, handed: float | Floats, tokens: float | Floats) -> Floats:
        """A transfer from a stage to the next. [s]"""
        level, hops = hop
        return np.asarray(hop_s(self.topology, level, hops, handed * tokens))

    # ── Fields ───────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def trailing_s(moments: Moments, sums: Sums, peaks: Peaks) -> Floats:
        """A round of decode passes in which prompts hold up whoever meets them. [s]"""
        trail = Trail(
            met_share=moments.met,
            passing_s=(1.0 - moments.met) * sums.decode_s,
            quiet_s=(1.0 - moments.met) * moments.batch.micro_batches * peaks.decode_s,
            held_up_s=moments.met * sums.slower_s,
            behind_s=peaks.behind_s,
        )
        return np.asarray(trail.round_s)

    def times(
        self,
        moments: Moments,
        sums: Sums,
        peaks: Peaks,
        requests_per_s: float | Floats,
        *,
        trailing_s: Floats | None = None,
        waiting_share: Floats | None = None,
    ) -> Times:
        """What requests wait in replicas that are each sent so many; 0 where the batch is given.
        `trailing_s` and `waiting_share` as they are at another batch; None: at this one."""
        if trailing_s is None:
            trailing_s = self.trailing_s(moments, sums, peaks)
        others_s = peaks.others_s
        at = moments.at
        joined, tpot = np.zeros((2, *np.shape(others_s)))
        # Passes in fractions stand for any number up to theirs: of those only what the slowest stage
        # does is certain.
        whole_passes = (moments.passes == np.floor(moments.passes)) | (at.pool_prompts > 1)
        prompt_pass_s = np.where(whole_passes, sums.prefill_s, peaks.prefill_s)
        if waiting_share is None:
            waiting_share = self.waiting_share(moments)
        for passes in np.unique(moments.passes):
            # Schedules differ in how many passes a prompt takes, at most.
            waits = waits_of(
                replace(at, prefill_passes=float(passes)),
                pass_s=sums.decode_s,
                turn_s=moments.batch.micro_batches * peaks.decode_s,
                interrupted_s=peaks.turn_s,
                trailing_s=trailing_s,
                others_s=others_s,
                prompt_pass_s=prompt_pass_s,
                prompt_slowest_s=peaks.prefill_s,
                waiting_share=waiting_share,
            )
            alike = moments.passes == passes
            joined = np.where(alike, waits.joined_s, joined)
            tpot = np.where(alike, waits.tpot_s, tpot)
        prompt = self.prompt_s(moments, peaks)
        queue = np.asarray(queueing.queue_s(prompt, requests_per_s))
        whole = np.asarray(pipeline.request_s(joined, tpot, at.later_tokens + 1))
        cycle = self._cycle_s(at, prompt, whole, others_s)
        waited = queue + self.workload.cycles_waited * cycle
        return Times(joined + waited, tpot, whole + waited, cycle, trailing_s, waiting_share)

    def waiting_share(self, moments: Moments) -> Floats:
        """Rounds of decode passes that a first token waits for."""
        sequences = np.asarray(moments.batch.sequences, dtype=float)
        others = np.maximum(0.0, others_in_flight(self.workload, sequences))
        return np.asarray(moments.at.waiting_among(others))

    def prompt_s(self, moments: Moments, peaks: Peaks) -> Floats:
        """Work of a prompt at the busiest stage, over the ranks that share out the sequences."""
        return moments.passes * peaks.prefill_s / moments.split.attention

    def _cycle_s(self, at: Schedule, prompt: Floats, whole: Floats, others_s: Floats) -> Floats:
        if self.workload.phase == "prefill":
            return prompt
        return whole + at.late_share * others_s

    def active_s(self, moments: Moments) -> Floats:
        """What the power of a replica's chips follows, over a cycle. [s]"""
        each = self._mean_schedules(moments.batch)
        prefill = self._known(self._active, [at.prefill for at in each], self._activity)
        decode = self._known(self._active, [at.decode for at in each], self._activity)
        prefills, decodes = self._often(moments)
        shape = np.shape(prefills)
        one, full = self._packing(moments)
        packed = self._known(self._active, [at.packed for at in each], self._activity)
        prompts = one * prefill.reshape(shape) + full * packed.reshape(shape)
        whole = prefills * prompts + decodes * decode.reshape(shape)
        return np.asarray(whole)

    def useful(self, moments: Moments) -> tuple[Floats, Floats]:
        """Operations and bytes of a replica's cycle that count as useful. [FLOP, B]"""
        each = self._mean_schedules(moments.batch)
        prefill = self._known(self._useful, [at.prefill for at in each], self._usefulness)
        kept = [at.decode._replace(tokens=at.decode.sequences * at.tokens_per_pass) for at in each]
        decode = self._known(self._useful, kept, self._usefulness)
        prefills, decodes = self._often(moments)
        if moments.at.pool_prompts == 1:
            # Of passes in fractions, which bound what they take, whole ones have the work.
            prefills = prefills * np.ceil(moments.passes) / np.maximum(1e-300, moments.passes)
        shape = (*np.shape(prefills), 2)
        one, full = self._packing(moments)
        packed = self._known(self._useful, [at.packed for at in each], self._usefulness)
        prompts = one[..., None] * prefill.reshape(shape) + full[..., None] * packed.reshape(shape)
        totals = prefills[..., None] * prompts
        totals = totals + decodes[..., None] * decode.reshape(shape)
        return np.asarray(totals[..., 0]), np.asarray(totals[..., 1])

    @staticmethod
    def _packing(moments: Moments) -> tuple[Floats, Floats]:
        """Passes of one prompt, and full ones, for each prompt."""
        one, full = packing_of(moments.at, np.asarray(moments.batch.sequences, dtype=float))
        return np.asarray(one), np.asarray(full)

    def _often(self, moments: Moments) -> tuple[Floats, Floats]:
        """Prefill passes and decode passes of a replica in a cycle."""
        steady = self.workload.arrivals != "together"
        requests = moments.batch.sequences if steady else np.ones(np.shape(moments.passes))
        decodes = moments.at.rounds * np.asarray(moments.batch.micro_batches, dtype=float)
        return np.asarray(requests * moments.passes), np.asarray(decodes)

    def _mean_schedules(self, batch: Batch) -> list[Schedule]:
        """With micro-batches of the mean size, for what is done in all of them together."""
        mean = np.asarray(batch.sequences / batch.micro_batches)
        return [self._schedule(key) for key in self._keys(batch._replace(micro_sequences=mean))]

    @staticmethod
    def _known(
        known: dict[Step, T], steps: list[Step], worked_out: Callable[[list[Step]], list[T]]
    ) -> Floats:
        new = [step for step in dict.fromkeys(steps) if step not in known]
        if new:
            known.update(zip(new, worked_out(new), strict=True))
        return np.array([known[step] for step in steps])

    def _activity(self, steps: list[Step]) -> list[float]:
        active = self.prices.active_kinds_s(steps)
        return [float(one) for one in self.counts @ active]

    def _usefulness(self, steps: list[Step]) -> list[tuple[float, float]]:
        flop, moved = useful_steps(self.graph, steps)
        return list(zip(flop.tolist(), moved.tolist(), strict=True))
