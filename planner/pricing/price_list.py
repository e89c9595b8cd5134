"""The one price list: what a layer costs on a chip of a group, in a step. Solver and score both
read it here.

Prices come per kind of layer (equal layers cost the same) and per cause; who needs a stage adds up
its layers.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from planner.cost import energy, memory, roofline
from planner.machines.software import Software
from planner.machines.tiers import STREAMED_TOKENS, Tier, tier_of
from planner.machines.topology import Topology
from planner.models.demand import Demand, Numbers
from planner.models.dtypes import Zeros
from planner.models.graph import EMBEDDING, ModelGraph
from planner.models.operators import Attention, Experts
from planner.pricing.collectives import (
    EXCHANGES,
    Collectives,
    Copies,
    Spans,
    offers,
    spans_of,
    within,
)
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.operator_table import (
    OperatorFacts,
    OperatorTable,
    demand_of,
    operator_facts,
    rows_of_kinds,
    table_of,
    tuning_of,
)
from planner.workload import Workload

Floats = NDArray[np.float64]

ZEROS = get_args(Zeros)
CAUSES = ("compute", "memory", "collective", "overhead")
"""What a layer's time is made of, in the order of the first axis of `Prices.seconds`."""


@dataclass(frozen=True, slots=True)
class Split:
    """How a group of chips shares out a stage."""

    tensor: int = 1
    expert: int = 1
    sequence: int = 1
    attention: int = 1
    """Ways in which the group shares out its sequences."""

    @property
    def chips(self) -> int:
        return self.tensor * self.sequence * self.attention


class Reach(NamedTuple):
    """How far the messages of a group travel: the spans of those who split matmuls, sequences,
    experts."""

    tensor: Spans
    sequence: Spans
    expert: Spans


class Step(NamedTuple):
    """One pass of one group: figures of the whole group; context as each token sees it. A decode
    pass has one token for each sequence, or as many as are verified at once."""

    tokens: float
    sequences: float
    context_tokens: float
    decode: bool
    together: float = 1.0
    """Prompts that one rank takes whole in the pass, where ranks share out the sequences."""

    @property
    def rows(self) -> float:
        """Tokens that the head looks at: the last of each prompt, all of a decode pass."""
        return self.tokens if self.decode else self.sequences


@dataclass(frozen=True, slots=True)
class Prices:
    """What one step costs on the chip with the most to do."""

    seconds: Floats
    """That a layer keeps the chip busy, by cause and kind of layer, shape (causes, kinds). A token
    may wait longer: see `PriceList.latent_s`."""
    flop: Floats
    """Operations that the chip does, shape (kinds,)."""
    moved_bytes: Floats
    """Bytes between the chip and its memory, shape (kinds,)."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one chip of a group holds, by kind of layer, each of shape (kinds,)."""

    weight_bytes: Floats
    kv_bytes_per_sequence: Floats
    """KV cache and state, for each sequence of the chip's share."""
    kv_bytes_more: Floats
    """What the longest of them holds beyond that."""
    activation_bytes: float
    """Buffers as large as the largest layer of the graph needs, on every stage."""
    workspace_bytes: float
    """What the group's collectives keep for themselves."""
    tied_bytes: Floats
    """The part of the weights that another layer holds too, for a chip that has both."""

    @property
    def buffer_bytes(self) -> float:
        """What a chip of any stage holds besides weights and caches. [B]"""
        return self.activation_bytes + self.workspace_bytes


class Crossing(Protocol):
    """What a collective over a group takes, of whatever is counted: seconds (`Collectives`), or
    bytes over the links of a level (`traffic.Volumes`)."""

    def seconds(
        self, kind: str, spans: Spans, tensor_bytes: Numbers, copies: Copies | None = None
    ) -> Numbers:
        """Of one collective."""
        ...


class OperatorTime(NamedTuple):
    """What an operator takes, collectives left out."""

    kind: int
    """Of its layer."""
    name: str
    taken_s: float
    light_s: float
    """Its operations at the chip's peak or its bytes at the full bandwidth, whichever is longer,
    and no launch."""


class Worked(NamedTuple):
    """What the operators of a table do in some steps, each of shape (rows, steps)."""

    flop: Numbers
    moved_bytes: Numbers
    arithmetic_s: Numbers
    """How long the chip's arithmetic takes, widening of weights included."""
    traffic_s: Numbers
    """How long its memory does."""


class Shares(NamedTuple):
    """What falls to the chip with the most to do in each of some steps, each of shape (steps,)."""

    tokens: Floats
    sequences: Floats
    context_tokens: Floats
    """That a token sees on this chip."""
    rows: Floats
    """Tokens that the head looks at."""
    decode: bool | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recall:
    """What price lists of one graph on one topology have worked out, kept for others of them: of
    other numbers of drafted tokens, or of other ways to draft."""

    tables: dict[tuple[int, int], OperatorTable] = field(default_factory=dict)
    """Of operators, by degrees."""
    ways: dict[tuple[Split, Spans], dict[int, NDArray[np.intp]]] = field(default_factory=dict)
    copies: dict[tuple[int, Spans], list[tuple[NDArray[np.intp], Copies]]] = field(
        default_factory=dict
    )
    decoding_s: dict[tuple[object, ...], Floats] = field(default_factory=dict)
    """What decode steps take."""
    prices: dict[tuple[object, ...], list[Prices]] = field(default_factory=dict)
    """Of other steps."""


class PriceList:
    """Prices of one graph on one topology; tables are made once for each way of splitting.

    `tier` says in which memory weights and caches lie; None: in the first of the chips. With a
    `recall` what was worked out is kept there, and taken from there.
    """

    def __init__(
        self,
        graph: ModelGraph,
        topology: Topology,
        tier: Tier | None = None,
        *,
        recall: Recall | None = None,
    ) -> None:
        self.graph = graph
        self.topology = topology
        self.tier = tier
        self.counts = np.array(graph.kind_counts, dtype=float)
        """Layers of each kind, shape (kinds,)."""
        self._collectives: Crossing = topology.kept(Collectives)
        self._exposed_share = 1.0 - topology.software.hidden_exchange_share
        """Of exchanges with experts, what no arithmetic hides."""
        self.recall = recall
        kept = recall or Recall()
        self._tables, self._ways, self._copies = kept.tables, kept.ways, kept.copies
        software = topology.software
        chip = topology.chip
        self._bandwidth = chip.memory[0].bandwidth_bytes_per_s
        self._memory_efficiency = (
            software.memory_efficiency
            * chip.memory_efficiency
            * tuning_of(topology).memory_efficiency
        )
        self._cache_efficiency = software.cache_efficiency * tuning_of(topology).cache_efficiency

    @cached_property
    def _facts(self) -> OperatorFacts:
        return operator_facts(self.graph, self.topology)

    @cached_property
    def _whole_demand(self) -> Demand:
        """Of a chip that has its layers to itself."""
        return demand_of(self.graph, self.topology)

    @cached_property
    def _layer_latency_s(self) -> Floats:
        """A token's wait in a layer of each kind beside work and messages, shape (kinds,). [s]

        A dataflow machine lays a layer out over a region of its chips, which its messages cross
        step by step: the larger the layer, the longer its region's side.
        """
        software = self.topology.software
        capacity = self.topology.chip.memory[0].capacity_bytes
        across = software.layer_crossing_s * np.sqrt(self.graph.weight_bytes_of_kinds / capacity)
        return np.asarray(self.graph.mixes_tokens * (software.layer_overhead_s + across))

    @cached_property
    def _layer_overhead_s(self) -> Floats:
        """The part of it that keeps the chips busy, shape (kinds,). [s]"""
        return self._layer_latency_s * self.topology.software.layer_occupancy

    def latent_s(self, step: Step) -> Floats:
        """What a pass waits in a layer of each kind while the chips are free for others, however
        the layer is split, shape (kinds,). [s]"""
        return self._waited_s

    @cached_property
    def _waited_s(self) -> Floats:
        return self._layer_latency_s - self._layer_overhead_s

    def prices(self, split: Split, step: Step, reach: Reach, *, whole: bool = True) -> Prices:
        """What one step costs; `whole` False shares out sequences in fractions, for bounds."""
        return self.prices_of_steps(split, [step], reach, whole=whole)[0]

    def prices_of_steps(
        self, split: Split, steps: Sequence[Step], reach: Reach, *, whole: bool = True
    ) -> list[Prices]:
        """The same of several steps, worked out together."""
        if self.recall is None:
            return self._prices_of_steps(split, steps, reach, whole=whole)
        key = split, tuple(steps), reach, whole
        if key not in self.recall.prices:
            found = self._prices_of_steps(split, steps, reach, whole=whole)
            self.recall.prices[key] = found
        return self.recall.prices[key]

    def _prices_of_steps(
        self, split: Split, steps: Sequence[Step], reach: Reach, *, whole: bool
    ) -> list[Prices]:
        table = self._table(split)
        shares = _shares(split, steps, whole=whole)
        work = self._worked(table, shares)
        by_arithmetic = work.arithmetic_s >= work.traffic_s
        figures = np.empty((len(CAUSES) + 2, len(table.overhead_s), len(steps)))
        figures[0] = np.where(by_arithmetic, work.arithmetic_s, 0.0)
        figures[1] = np.where(by_arithmetic, 0.0, work.traffic_s)
        figures[2] = self._collective_s(table, split, shares.tokens, shares.rows, reach)
        figures[3] = table.overhead_s
        figures[4] = work.flop
        figures[5] = work.moved_bytes
        # All sums over the operators of each kind at once: shape (figures, steps, kinds).
        summed = np.add.reduceat(figures, table.first_row, axis=1).swapaxes(1, 2)
        seconds = summed[: len(CAUSES)]
        flop, moved = summed[len(CAUSES) :]
        seconds[CAUSES.index("overhead")] += self._layer_overhead_s
        return [
            Prices(seconds[:, number], flop[number], moved[number]) for number in range(len(steps))
        ]

    def _worked(self, table: OperatorTable, shares: Shares) -> Worked:
        """The one roofline pass: what a chip does of each operator, in one step or in many."""
        facts = table.facts
        flop, moved = self._asked(table, shares)
        widening: Numbers = 0.0
        if table.widens:
            widening = facts.widening_flop_per_byte * table.demand.weights_read_bytes(shares.tokens)
        achieved = facts.achieved_flop_per_s
        if table.gains_in_decode:
            achieved = achieved * np.where(shares.decode, facts.decode_gain, 1.0)
        arithmetic = roofline.compute_s(flop + widening, achieved)
        if table.pads_tiles:
            tile = self.topology.software.experts_tile_tokens
            arithmetic = arithmetic * table.demand.tiles_share(shares.tokens, tile)
        if table.widens_in_memory:
            arithmetic = arithmetic + self._widened_s(table, shares)
        slowly = self._slowly_read_bytes(table, shares)
        traffic = self._traffic_s(table, shares, moved + slowly)
        return Worked(flop, moved, arithmetic, traffic)

    def _slowly_read_bytes(self, table: OperatorTable, shares: Shares) -> Numbers:
        """What could be read besides in the time that reading the caches takes longer than other
        reads, shape (rows, steps). [B]"""
        if self._cache_efficiency == 1.0:
            return 0.0
        cached = table.cached_sequences(shares.sequences)
        read = table.demand.kv_read_bytes(shares.context_tokens, cached)
        return (1.0 / self._cache_efficiency - 1.0) * read

    def _widened_s(self, table: OperatorTable, shares: Shares) -> Numbers:
        """How long it takes to write weights to memory as wide as a prompt's matmuls read them,
        shape (rows, steps): before each of those, and so on top of its arithmetic. [s]"""
        stored = table.demand.weights_read_bytes(shares.tokens)
        moved = np.where(shares.decode, 0.0, table.facts.widened_bytes_per_byte * stored)
        return roofline.memory_s(moved, self._bandwidth, self._memory_efficiency)

    def _traffic_s(self, table: OperatorTable, shares: Shares, moved_bytes: Numbers) -> Numbers:
        """How long a chip's memory takes, shape (rows, steps), and the tier's after it. [s]"""
        if self.tier is None:
            return roofline.memory_s(moved_bytes, self._bandwidth, self._memory_efficiency)
        far = self._far_bytes(table, shares)
        near = roofline.memory_s(moved_bytes - far, self._bandwidth, self._memory_efficiency)
        tier = self.tier
        return near + roofline.memory_s(far, tier.bandwidth_bytes_per_s, tier.memory_efficiency)

    def _far_bytes(self, table: OperatorTable, shares: Shares) -> Numbers:
        """What is read in the tier, shape (rows, steps): weights, and caches where they lie there
        too. [B]"""
        far = table.demand.weights_read_bytes(shares.tokens)
        if self.tier is not None and self.tier.holds_caches:
            cached = table.cached_sequences(shares.sequences)
            far = far + table.demand.kv_read_bytes(shares.context_tokens, cached)
        return far

    @cached_property
    def offloaded(self) -> "OffloadedPrices":
        """Prices of layers that lie off the first memory; an InputError where none can."""
        return OffloadedPrices(self.graph, self.topology)

    def far_bytes(self, split: Split, steps: Sequence[Step]) -> Floats:
        """Of the bytes that a chip moves in a layer of each kind, those of the tier, shape (steps,
        kinds)."""
        table = self._table(split)
        far = self._far_bytes(table, _shares(split, steps))
        return np.add.reduceat(
            np.broadcast_to(far, (len(table.overhead_s), len(steps))), table.first_row, axis=0
        ).T

    def _asked(self, table: OperatorTable, shares: Shares) -> tuple[Numbers, Numbers]:
        """Operations and bytes of each operator, each of shape (rows, steps). [FLOP, B]"""
        tokens, sequences, context, rows, decode = shares
        flop = table.demand.flop(tokens, context, rows, decode)
        cached = table.cached_sequences(sequences)
        return flop, table.demand.moved_bytes(tokens, context, cached, rows)

    def operator_times(self, split: Split, step: Step) -> list[OperatorTime]:
        """Each operator of each kind of layer in one step, on the chip with the most to do."""
        table = self._table(split)
        work = self._worked(table, _shares(split, [step]))
        taken = roofline.operator_s(work.arithmetic_s, work.traffic_s, table.overhead_s)
        facts = table.facts
        peak = facts.peak_flop_per_s * np.where(step.decode, facts.decode_gain, 1.0)
        least = np.maximum(work.flop / peak, work.moved_bytes / self._bandwidth)
        kinds = rows_of_kinds(self.graph, range(len(self.graph.kinds)))
        return [
            OperatorTime(int(kind), operator.name or operator.kind, float(seconds), float(light))
            for (kind,), operator, (seconds,), (light,) in zip(
                kinds, self.graph.operators, np.asarray(taken), least, strict=True
            )
        ]

    def active_chip_s(self, step: Step, *, runs_per_sample: int | None = None) -> float:
        """What the power of a group follows in a step, in the layers that run so often (see
        `cost.energy`). [s]"""
        return float(
            self.active_kinds_s([step], runs_per_sample=runs_per_sample)[:, 0] @ self.counts
        )

    def active_kinds_s(
        self, steps: Sequence[Step], *, runs_per_sample: int | None = None
    ) -> Floats:
        """The same of one layer of each kind in each of several steps, shape (kinds, steps). [s]"""
        power = self.topology.power
        if power.idle_share == 1:
            return np.zeros((len(self.counts), len(steps)))
        tokens, sequences, context, rows, decode = _whole_group(steps)
        demand = self._whole_demand
        flop = demand.flop(tokens, context, rows, decode)
        moved = demand.moved_bytes(tokens, context, sequences, rows)
        active = energy.active_s(
            flop / self._facts.peak_flop_per_s,
            moved / self._bandwidth,
            power.compute_activity,
            power.memory_activity,
        )
        of_kinds = np.add.reduceat(active, self.graph.first_operators)
        return np.asarray(of_kinds * self.graph.runs_of_kinds(runs_per_sample)[:, None])

    def decode_steps_s(
        self, split: Split, sequences: Floats, context_tokens: Floats, reach: Reach
    ) -> Floats:
        """A whole decode step of one group, for every pair of sequences and of context [s],
        shape (sequences, contexts)."""
        table = self._table(split)
        each = np.ceil(sequences / split.attention)
        context = context_tokens / split.sequence
        often = rows_of_kinds(self.graph, self.counts.tolist())
        growing = table.demand.grows_with_context
        # Few operators look at the context: the others are worked out once for each batch.
        others = np.flatnonzero(~growing)
        same = self._busy_s(table.of_rows(others), Shares(each, each, np.zeros(1), each, True))
        sent = self.counts @ table.steps_by_kind(
            self._collective_s(table, split, each, each, reach)
        )
        layers = float(self._layer_latency_s @ self.counts)
        by_batch = (often[others] * same).sum(axis=0) + sent + layers
        by_batch = by_batch + host_s(self.topology.software, each)
        total = by_batch[:, None] + np.zeros(len(context))
        # Of these, one after the other: a million pairs fill the memory with a row for each.
        column = each[:, None]
        for row in np.flatnonzero(growing):
            one = table.of_rows(np.array([row]))
            total += often[row] * self._busy_s(one, Shares(column, column, context, column, True))
        return np.asarray(total)

    def decode_kinds_s(
        self,
        split: Split,
        sequences: Floats,
        context_tokens: Numbers,
        reach: Reach,
        *,
        verified: float = 1.0,
        whole: bool = True,
    ) -> Floats:
        """How long one layer of each kind keeps its chips busy in decode steps of so many
        sequences of a group, each with a context or all with one, and with so many tokens that are
        verified [s], shape (kinds, steps); `whole` as in `prices`."""
        context = np.asarray(context_tokens, dtype=float)
        asked = split, sequences, context, reach, verified, whole
        if self.recall is None:
            return self._decode_kinds_s(*asked)
        key = split, sequences.tobytes(), context.tobytes(), reach, verified, whole
        if key not in self.recall.decoding_s:
            self.recall.decoding_s[key] = self._decode_kinds_s(*asked)
        return self.recall.decoding_s[key]

    def _decode_kinds_s(
        self,
        split: Split,
        sequences: Floats,
        context_tokens: Floats,
        reach: Reach,
        verified: float,
        whole: bool,
    ) -> Floats:
        table = self._table(split)
        share = sequences / split.attention
        each = np.ceil(share) if whole else np.asarray(share, dtype=float)
        tokens = verified * each
        context = context_tokens / split.sequence
        busy = self._busy_s(table, Shares(tokens, each, context, tokens, True))
        sent = self._collective_s(table, split, tokens, tokens, reach)
        return table.steps_by_kind(busy + sent) + self._layer_overhead_s[:, None]

    def _busy_s(self, table: OperatorTable, shares: Shares) -> Floats:
        """What each operator keeps a chip busy, shape (rows, steps); of one operator the shape of
        its steps. [s]"""
        work = self._worked(table, shares)
        busy = roofline.operator_s(work.arithmetic_s, work.traffic_s, table.overhead_s)
        return np.asarray(busy)

    def holdings(self, split: Split, workload: Workload, tokens: float) -> Holdings:
        """What one chip holds in steps of `tokens` tokens of its group, one sequence of full
        length; each sequence leaves a part of its last block of the cache empty [1].

        [1] W. Kwon et al., "Efficient memory management for large language model serving with
        PagedAttention", SOSP 2023.
        """
        table = self._table(split)
        demand = table.demand
        software = self.topology.software
        unfilled = unfilled_tokens(workload, software) * np.asarray(demand.kv_bytes_per_token)
        tokens_held = held_tokens(workload, software)
        held = unfilled + demand.held_kv_bytes(tokens_held / split.sequence, 1.0)
        longest = unfilled + demand.held_kv_bytes(workload.context_tokens / split.sequence, 1.0)
        if table.cache_ranks is not None:
            # Sequences are shared out whole: a chip has up to almost one more than its share.
            held = held / table.cache_ranks
        columns = [np.asarray(demand.held_weight_bytes), held, longest - held]
        weights, each, more = table.steps_by_kind(np.concatenate(columns, axis=1)).T
        on_host = self.topology.embeds_on_host
        return Holdings(
            weight_bytes=np.where(self._is_embedding & on_host, 0.0, weights),
            kv_bytes_per_sequence=each,
            kv_bytes_more=more,
            activation_bytes=float(self.activation_bytes(split, workload, tokens)[0]),
            workspace_bytes=self.workspace_bytes(split),
            tied_bytes=np.zeros_like(weights) if on_host else table.tied_bytes,
        )

    @cached_property
    def _is_embedding(self) -> NDArray[np.bool_]:
        """Of each kind of layer, shape (kinds,)."""
        return np.array([kind[0].kind == EMBEDDING for kind in self.graph.kinds])

    def token_bytes(self, split: Split) -> Floats:
        """What a token that may be taken back adds to the caches of a chip, and the state after
        it, shape (kinds,). [B]"""
        table = self._table(split)
        cached = np.asarray(table.demand.kv_bytes_per_token) / split.sequence
        return table.by_kind(cached + np.asarray(table.demand.state_bytes_per_sequence))

    def activation_bytes(self, split: Split, workload: Workload, tokens: Numbers) -> Floats:
        """Buffers of a chip, as large as the largest layer needs, for one step or for several
        [B], shape (steps,)."""
        stream, widest = self._working_bytes(split, workload, tokens)
        return np.atleast_1d(self.topology.software.live_streams * stream + widest)

    def logits_bytes(
        self, split: Split, workload: Workload, tokens: Numbers, rows: Numbers
    ) -> Floats:
        """What the last stage needs beyond that to sample from `rows` tokens of each step, when
        the operators' buffers are free again [B], shape (steps,)."""
        software = self.topology.software
        if self.topology.divisible:
            # Of chips that are held in part just what stays counts.
            return np.zeros(np.size(tokens))
        # Every rank gathers the whole vocabulary.
        logits = rows / split.attention * self.graph.logits_width * software.logit_bytes
        stream, widest = self._working_bytes(split, workload, tokens)
        freed = (software.live_streams - software.sampling_streams) * stream + widest
        return np.atleast_1d(np.maximum(0.0, logits - freed))

    def _working_bytes(
        self, split: Split, workload: Workload, tokens: Numbers
    ) -> tuple[Numbers, Numbers]:
        """Of each step, one copy of the residual stream, and what the widest operator reads and
        writes. [B]"""
        rank: Numbers = 1.0
        if split.attention > 1:
            prompts = np.maximum(1.0, tokens / workload.new_prompt_tokens)
            rank = np.maximum(1.0 / split.attention, 1.0 / prompts)
        share = tokens * rank / split.sequence
        return share * self.graph.stream_bytes, share * self._table(split).widest_bytes_per_token

    def workspace_bytes(self, split: Split) -> float:
        """What the collectives of a group keep on each of its chips. [B]"""
        return self.topology.software.group_reserved_bytes if split.chips > 1 else 0.0

    @property
    def usable_bytes(self) -> float:
        """What a plan may fill of one chip's memory. [B]"""
        return usable_bytes_of(self.topology)

    def _table(self, split: Split) -> OperatorTable:
        key = (split.tensor, split.expert)
        if key not in self._tables:
            self._tables[key] = table_of(self.graph, self.topology, self._facts, *key)
        return self._tables[key]

    def _collective_s(
        self, table: OperatorTable, split: Split, tokens: Floats, rows: Floats, reach: Reach
    ) -> Floats:
        """What each operator sends in several steps, shape (rows, steps)."""
        demand = table.demand
        seconds = np.zeros((len(table.overhead_s), len(tokens)))
        if split.tensor > 1:
            reduced = tokens * np.asarray(demand.reduced_bytes_per_token)
            gathered = tokens * np.asarray(demand.gathered_bytes_per_token)
            gathered = gathered + rows * np.asarray(demand.gathered_bytes_per_sequence)
            seconds += self._sent_s("all_reduce", reach.tensor, reduced)
            seconds += self._sent_s("all_gather", reach.tensor, gathered)
            if table.cache_ranks is not None:
                asked = tokens * np.asarray(demand.shuffled_bytes_per_token)
                asked = np.where(table.cache_ranks > 1.0, asked, 0.0)
                seconds += self._sent_s("all_to_all", reach.tensor, asked)
        if split.sequence > 1:
            seconds += self._resequenced_s(table, split, tokens, reach.sequence)
        if split.expert > split.tensor:
            seconds += self._exchanged_s(table, split.expert, reach.expert, tokens)
        return seconds

    def crossing_bytes(
        self, split: Split, steps: Sequence[Step], reach: Reach, crossing: "Crossing"
    ) -> Floats:
        """What the chip with the most to do takes in over links in a layer of each kind, by the
        same messages whose seconds are priced; `crossing` says how many bytes a message brings.
        Shape (steps, kinds)."""
        if split.chips == 1 and split.expert == 1:
            return np.zeros((len(steps), len(self.counts)))
        counting = copy.copy(self)
        counting._collectives = crossing
        counting._exposed_share = 1.0
        table = self._table(split)
        shares = _shares(split, steps)
        taken = counting._collective_s(table, split, shares.tokens, shares.rows, reach)
        return np.add.reduceat(taken, table.first_row, axis=0).T

    def _resequenced_s(
        self, table: OperatorTable, split: Split, tokens: Floats, spans: Spans
    ) -> Floats:
        """What it takes that each token sees the whole of a sequence that chips share out, shape
        (rows, steps): they exchange tokens for heads [1], as far as whole heads go round, and
        beyond that pass keys and values on in a ring, one hop after the other [2, 3].

        [1] S. A. Jacobs et al., "DeepSpeed Ulysses", 2023.
        [2] H. Liu, M. Zaharia, P. Abbeel, "Ring attention with blockwise transformers for
            near-infinite context", 2023.
        [3] J. Fang, S. Zhao, "USP: a unified sequence parallelism approach for long context
            generative AI", 2024.
        """
        apart = 4 if self.topology.software.exchanges_apart else 1
        shuffled = tokens * np.asarray(table.demand.shuffled_bytes_per_token)
        seconds: Floats = np.zeros(np.shape(shuffled))
        for ways, rows in self._rows_of_ways(split, spans).items():
            sent = shuffled[rows]
            inner = within(spans, split.tensor * ways)
            exchanged = self._sent_s("all_to_all", inner, sent / apart)
            seconds[rows] = (apart if ways > 1 else 0) * exchanged

            hops = split.sequence // ways - 1
            if hops:
                passed = self._sent_s("send_recv", spans, sent * self._passed_share[rows])
                seconds[rows] += hops * passed
        return seconds

    def _rows_of_ways(self, split: Split, spans: Spans) -> dict[int, NDArray[np.intp]]:
        """The rows of operators by how many ways their heads are shared out over the chips of a
        sequence: all of them where the software passes nothing on, with some heads left empty."""
        if (split, spans) not in self._ways:
            rings = offers(self.topology, "send_recv", spans)
            rows: dict[int, list[int]] = {}
            for row, operator in enumerate(self.graph.operators):
                ways = split.sequence
                if rings and isinstance(operator, Attention):
                    ways = math.gcd(max(1, operator.heads // split.tensor), split.sequence)
                rows.setdefault(ways, []).append(row)
            self._ways[split, spans] = {ways: np.array(at) for ways, at in rows.items()}
        return self._ways[split, spans]

    @cached_property
    def _passed_share(self) -> Floats:
        """Keys and values, of all that changes hands around each operator, shape (rows, 1)."""
        shares = np.zeros((len(self.graph.operators), 1))
        for row, operator in enumerate(self.graph.operators):
            if isinstance(operator, Attention):
                keys = operator.kv_heads * operator.cached_width
                queries = operator.heads * (operator.key_width + operator.value_width)
                shares[row] = keys / (keys + queries)
        return shares

    def _exchanged_s(
        self, table: OperatorTable, ranks: int, spans: Spans, tokens: Floats
    ) -> Floats:
        """What tokens take to their experts and back, shape (rows, steps)."""
        back = np.asarray(table.demand.combined_bytes_per_token)
        there = np.where(self._dispatched_wide, back, table.demand.dispatched_bytes_per_token)
        seconds = np.zeros((len(back), len(tokens)))
        for rows, copies in self._routes(ranks, spans):
            for kind, each in (("dispatch", np.asarray(there)), ("combine", back)):
                sent = tokens * each[rows]
                seconds[rows] += self._collectives.seconds(kind, spans, sent, copies)
        return self._exposed_share * seconds

    @cached_property
    def _dispatched_wide(self) -> NDArray[np.bool_]:
        """Whether an operator's tokens go to their experts at 16 bit, shape (rows, 1)."""
        software = self.topology.software
        wide = [
            not software.quantised_dispatch
            or getattr(operator, "compute_dtype", None) in software.dispatched_wide
            for operator in self.graph.operators
        ]
        return np.array(wide)[:, None]

    def _routes(self, ranks: int, spans: Spans) -> list[tuple[NDArray[np.intp], Copies]]:
        """The rows of experts that send as many copies, and how many, where so many ranks share
        them out."""
        if (ranks, spans) not in self._copies:
            units = [min(ranks, math.prod(spans[level:])) for level in range(len(spans))]
            rows: dict[Copies, list[int]] = {}
            for row, operator in enumerate(self.graph.operators):
                if isinstance(operator, Experts):
                    reached = tuple(operator.copies(count, ranks) for count in units)
                    rows.setdefault(Copies(reached, ranks), []).append(row)
            self._copies[ranks, spans] = [(np.array(at), many) for many, at in rows.items()]
        return self._copies[ranks, spans]

    def _sent_s(self, kind: str, spans: Spans, message_bytes: Floats) -> Floats:
        """Of each operator that has something to send, shape (rows, steps)."""
        sends = message_bytes > 0
        if not sends.any():
            return np.zeros_like(message_bytes)
        return np.where(sends, self._collectives.seconds(kind, spans, message_bytes), 0.0)


class OffloadedPrices:
    """Prices of a graph's layers where they lie off the first memory of the chips: read there by
    the chip, or computed by its host (see `machines.tiers`)."""

    def __init__(self, graph: ModelGraph, topology: Topology) -> None:
        self.graph = graph
        self.tier = tier_of(topology)
        self._read = PriceList(graph, topology, self.tier)
        host = self.tier.host
        self._computed = None if host is None else PriceList(graph, host)

    def prices_of_steps(self, split: Split, steps: Sequence[Step], reach: Reach) -> list[Prices]:
        """What several steps cost; of what a host computes, nothing is done by the chip."""
        read = self._read.prices_of_steps(split, steps, reach)
        if self._computed is None:
            return read
        nowhere = Reach((), (), ())
        computed = self._computed.prices_of_steps(Split(), steps, nowhere)
        idle = np.zeros(len(self.graph.kinds))
        return [
            Prices(there.seconds, idle, idle) if self.computes(step) else here
            for step, here, there in zip(steps, read, computed, strict=True)
        ]

    def latent_s(self, step: Step) -> Floats:
        """What a pass waits in a layer of each kind while its chips, or their host, are free for
        others, shape (kinds,). [s]"""
        if self._computed is not None and self.computes(step):
            return self._computed.latent_s(step)
        return self._read.latent_s(step)

    def far_bytes(self, split: Split, steps: Sequence[Step]) -> Floats:
        """What is moved in the tier for a layer of each kind, shape (steps, kinds): all that a
        host's processor moves for what it computes."""
        far = self._read.far_bytes(split, steps)
        if self._computed is None:
            return far
        by_host = self._computed.prices_of_steps(Split(), steps, Reach((), (), ()))
        rows = zip(steps, far, by_host, strict=True)
        return np.array(
            [own.moved_bytes if self.computes(step) else read for step, read, own in rows]
        )

    def handed_bytes(self, step: Step, bytes_per_token: Sequence[float]) -> float:
        """Activations that change sides in a step. [B]"""
        return step.tokens * sum(bytes_per_token) if self.computes(step) else 0.0

    def computes(self, step: Step) -> bool:
        """Whether the host computes its layers in a step, rather than the chip."""
        return self._computed is not None and step.tokens < STREAMED_TOKENS

    def handed_s(self, step: Step, bytes_per_token: Sequence[float]) -> float:
        """What it takes to hand activations of so many bytes for each token, one after the other,
        from one side to the other. [s]"""
        if not self.computes(step):
            return 0.0
        sent = self.handed_bytes(step, bytes_per_token) / self.tier.bandwidth_bytes_per_s
        return len(bytes_per_token) * self.tier.latency_s + sent


def held_tokens(workload: Workload, software: Software) -> float:
    """Tokens of the cache that a sequence keeps from others: what it holds, on average over those
    in flight, and what it is sure to get of the rest. [1]"""
    held = workload.held_context_tokens
    return held + software.reserved_output_share * (workload.context_tokens - held)


def unfilled_tokens(workload: Workload, software: Software) -> float:
    """What the blocks of a sequence's cache leave empty beyond that. [1]"""
    if software.allots_whole_caches:
        return float(-workload.context_tokens % software.kv_block_tokens)
    return workload.unfilled_tokens(software.kv_block_tokens)


def usable_bytes_of(topology: Topology) -> float:
    """What a plan may fill of one chip's memory. [B]"""
    software = topology.software
    capacity = topology.chip.memory[0].capacity_bytes
    usable = memory.usable_bytes(capacity, software.usable_memory_fraction, software.reserved_bytes)
    return float(usable)


def host_s(software: Software, sequences: Numbers) -> Numbers:
    """What a host process does for a pass that makes a token for so many sequences: scheduling and
    sampling. [s]

    Ranks that share out the sequences of a stage have a process each, and these work side by side:
    the sequences are those of the rank with the most (see `made_on_rank`).
    """
    return software.step_overhead_s + software.sequence_overhead_s * sequences


def made_on_rank(split: Split, step: Step, *, whole: bool = True) -> float:
    """Sequences for which the busiest rank of the last stage makes a token in a step: none in one
    of prompts."""
    return shares_of(split, step, whole=whole)[1] if step.decode else 0.0


def utilisation(
    prices: PriceList, chip_seconds: float, work: tuple[float, float]
) -> dict[str, float]:
    """MFU and MBU: useful operations and bytes over what the chips could do in that time."""
    flop, moved = work
    chip = prices.topology.chip
    peak = peak_flop_per_s(prices.graph, prices.topology)
    return {
        "mfu_fraction": flop / (chip_seconds * peak),
        "mbu_fraction": moved / (chip_seconds * chip.memory[0].bandwidth_bytes_per_s),
    }


def reach_of(topology: Topology, split: Split, first: int) -> Reach:
    """Of a group that begins at chip `first`: tensor ranks stand together, then sequence ranks,
    then experts' ranks."""
    across = split.expert if split.expert > split.tensor else 1
    tensor = _farthest(topology, split, first, split.tensor)
    sequence = tensor
    if split.sequence > 1:
        sequence = _farthest(topology, split, first, split.tensor * split.sequence)
    return Reach(tensor, sequence, _farthest(topology, split, first, across))


def _farthest(topology: Topology, split: Split, first: int, count: int) -> Spans:
    """Of the subgroups of so many chips of a group, the spans of the one that reaches farthest."""
    if count == 1:
        return (1,) * len(topology.levels)
    starts = range(first, first + max(split.chips, count), count)
    spans = (spans_of(topology, start, count) for start in starts)
    return max(spans, key=lambda one: one[::-1])


def unoffered(topology: Topology, split: Split) -> str | None:
    """The first collective that a split needs and that the software stack does not have; None
    where it has all."""
    known = topology.kept(_lacks)
    if split not in known:
        known[split] = _lacking(topology, split)
    return known[split]


def _lacks(topology: Topology) -> dict[Split, str | None]:
    """What `unoffered` found out: the stages of plans are split in few ways."""
    return {}


def _lacking(topology: Topology, split: Split) -> str | None:
    reach = reach_of(topology, split, 0)
    needed = [("all_reduce", reach.tensor), ("all_gather", reach.tensor)]
    if split.sequence > 1:
        needed.append(("all_to_all", reach.sequence))
    needed += [("dispatch", reach.expert), ("combine", reach.expert)]
    for kind, spans in needed:
        if not offers(topology, kind, spans):
            return "all_to_all" if kind in EXCHANGES else kind
    return None


def shares_of(split: Split, step: Step, *, whole: bool = True) -> tuple[float, float]:
    """Tokens and sequences of the chip with the most to do: sequences are shared out whole, or
    in fractions."""
    if step.decode:
        share = step.sequences / split.attention
        most = float(math.ceil(share)) if whole else share
        return most * step.tokens / step.sequences, most
    share = max(1.0 / split.attention, step.together / max(1.0, step.sequences))
    return step.tokens * share / split.sequence, max(step.sequences * share, 1.0 / split.sequence)


def _shares(split: Split, steps: Sequence[Step], *, whole: bool = True) -> Shares:
    """What falls to the chip with the most to do; the chips that share out a sequence share out
    its cache too."""
    rows = []
    for step in steps:
        tokens, sequences = shares_of(split, step, whole=whole)
        seen = step.context_tokens / split.sequence if step.decode else step.context_tokens
        rows.append((tokens, sequences, seen, tokens if step.decode else sequences))
    tokens, sequences, context, made = np.array(rows, dtype=float).T
    return Shares(tokens, sequences, context, made, np.array([step.decode for step in steps]))


def _whole_group(steps: Sequence[Step]) -> Shares:
    """What a single chip would do that had the steps to itself."""
    rows = [(step.tokens, step.sequences, step.context_tokens, step.rows) for step in steps]
    tokens, sequences, context, made = np.array(rows, dtype=float).T
    return Shares(tokens, sequences, context, made, np.array([step.decode for step in steps]))


def useful_work(
    graph: ModelGraph, step: Step, *, runs_per_sample: int | None = None
) -> tuple[float, float]:
    """Operations and bytes that a step needs however it is split, none for zeros, in the layers
    that run so often: what MFU and MBU count as useful. [FLOP, B]"""
    flop, moved = useful_steps(graph, [step], runs_per_sample=runs_per_sample)
    return float(flop[0]), float(moved[0])


def useful_steps(
    graph: ModelGraph, steps: Sequence[Step], *, runs_per_sample: int | None = None
) -> tuple[Floats, Floats]:
    """The same of several steps, each of shape (steps,)."""
    counts = graph.kind_counts * graph.runs_of_kinds(runs_per_sample)
    often = counts[graph.kind_of_operator]
    demand = graph.demand(skipped=ZEROS)
    tokens, sequences, context, rows, decode = _whole_group(steps)
    flop = demand.flop(tokens, context, rows, decode)
    moved = demand.weights_read_bytes(tokens) + demand.kv_read_bytes(context, sequences)
    return often @ np.asarray(flop), often @ np.asarray(moved)
