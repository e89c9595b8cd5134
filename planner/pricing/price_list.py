"""The one price list: what a layer costs on a chip of a group, in a step. Solver and score both
read it here.

Prices come per kind of layer (equal layers cost the same) and per cause; who needs a stage adds up
its layers.
"""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from planner.cost import energy, memory, roofline
from planner.machines.software import Software, Tuning
from planner.machines.topology import Topology
from planner.models.demand import Demand, Numbers, stacked
from planner.models.dtypes import Zeros, bytes_of
from planner.models.graph import ModelGraph
from planner.models.operators import Attention, Experts, LayerOperator, MatMul, Pointwise, Recurrent
from planner.pricing.collectives import Spans, group_collective_s, offers, spans_of
from planner.workload import Workload

Floats = NDArray[np.float64]

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

    @property
    def rows(self) -> float:
        """Tokens that the head looks at: the last of each prompt, all of a decode pass."""
        return self.tokens if self.decode else self.sequences


@dataclass(frozen=True, slots=True)
class Prices:
    """What one step costs on the chip with the most to do."""

    seconds: Floats
    """By cause and kind of layer, shape (causes, kinds)."""
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
    tied_bytes: Floats
    """The part of the weights that another layer holds too, for a chip that has both."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The operators of all kinds of layer, one row each."""

    rows: tuple[Demand, ...]
    demand: Demand
    """The rows as one, with a column for each coefficient."""
    achieved_flop_per_s: Floats
    """Of the peak for the operator's format what large operators of its kind reach, shape (rows,
    1)."""
    widening_flop_per_byte: Floats
    """What it takes to widen stored weights to the format that they are multiplied in, shape
    (rows, 1)."""
    peak_flop_per_s: Floats
    """That peak, shape (rows, 1)."""
    overhead_s: Floats
    """Launches, shape (rows, 1)."""
    first_row: NDArray[np.intp]
    """Of each kind."""
    tied_bytes: Floats
    in_steps: Floats
    """1 for each row that works in every pass; 0 for what runs once for a sample, in tiles as
    small as memory asks."""

    def by_kind(self, rows: Numbers) -> Floats:
        """Sums over the operators of each kind."""
        column = np.asarray(rows, dtype=float)
        if column.shape != self.overhead_s.shape:
            column = np.broadcast_to(column, self.overhead_s.shape)
        return np.add.reduceat(column[:, 0], self.first_row)

    def steps_by_kind(self, rows: Numbers) -> Floats:
        """The same for several steps at once, shape (kinds, steps)."""
        shape = np.broadcast_shapes(np.shape(rows), self.overhead_s.shape)
        return np.add.reduceat(
            np.broadcast_to(np.asarray(rows, dtype=float), shape), self.first_row
        )


class OperatorTime(NamedTuple):
    """What an operator takes, collectives left out."""

    kind: int
    """Of its layer."""
    name: str
    taken_s: float
    light_s: float
    """Its operations at the chip's peak or its bytes at the full bandwidth, whichever is longer,
    and no launch."""


class PriceList:
    """Prices of one graph on one topology; tables are made once for each way of splitting."""

    def __init__(self, graph: ModelGraph, topology: Topology) -> None:
        self.graph, self.topology = graph, topology
        self._tables: dict[tuple[int, int], _Table] = {}
        self._tuning = tuning_of(topology)
        software, chip = topology.software, topology.chip
        self._memory_efficiency = (
            software.memory_efficiency * chip.memory_efficiency * self._tuning.memory_efficiency
        )
        self._mixes_tokens = np.array(
            [_mixes(kind[0].operators) for kind in graph.kinds], dtype=float
        )

    def prices(self, split: Split, step: Step, reach: Reach, *, whole: bool = True) -> Prices:
        """What one step costs; `whole` False shares out sequences in fractions, for bounds."""
        table, software = self._table(split), self.topology.software
        tokens, sequences = shares_of(split, step, whole=whole)
        rows = tokens if step.decode else sequences
        flop, moved, arithmetic, traffic = self._worked(table, split, step, tokens, sequences)
        bound = arithmetic >= traffic
        seconds = np.stack(
            [
                table.by_kind(np.where(bound, arithmetic, 0.0)),
                table.by_kind(np.where(bound, 0.0, traffic)),
                self._collective_s(table, split, tokens, rows, reach)[:, 0],
                table.by_kind(table.overhead_s) + self._mixes_tokens * software.layer_overhead_s,
            ]
        )
        return Prices(seconds, table.by_kind(flop), table.by_kind(moved))

    def _worked(
        self, table: _Table, split: Split, step: Step, tokens: float, sequences: float
    ) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Operations and bytes of each operator, and how long its arithmetic and its traffic
        take, shape (rows, 1)."""
        rows, demand = tokens if step.decode else sequences, table.demand
        context = step.context_tokens / split.sequence if step.decode else step.context_tokens
        flop = demand.flop(tokens, context, rows, step.decode)
        widened = table.widening_flop_per_byte * demand.weights_read_bytes(tokens)
        moved = demand.read_bytes(tokens, context, sequences, rows) + demand.written_bytes(
            tokens, rows
        )
        arithmetic = roofline.compute_s(flop + widened, table.achieved_flop_per_s)
        bandwidth = self.topology.chip.memory[0].bandwidth_bytes_per_s
        return flop, moved, arithmetic, roofline.memory_s(moved, bandwidth, self._memory_efficiency)

    def operator_times(self, split: Split, step: Step) -> list[OperatorTime]:
        """Each operator of each kind of layer in one step, on the chip with the most to do."""
        table, bandwidth = self._table(split), self.topology.chip.memory[0].bandwidth_bytes_per_s
        flop, moved, arithmetic, traffic = self._worked(table, split, step, *shares_of(split, step))
        taken = np.maximum(arithmetic, traffic) + table.overhead_s
        least = np.maximum(flop / table.peak_flop_per_s, moved / bandwidth)
        named = [
            (number, one)
            for number, kind in enumerate(self.graph.kinds)
            for one in kind[0].operators
        ]
        return [
            OperatorTime(number, operator.name or operator.kind, float(seconds), float(light))
            for (number, operator), seconds, light in zip(
                named, taken[:, 0], least[:, 0], strict=True
            )
        ]

    def active_chip_s(self, step: Step, *, runs_per_sample: int | None = None) -> float:
        """What the power of a group follows in a step, in the layers that run so often (see
        `cost.energy`). [s]"""
        return float(
            self.active_kinds_s(step, runs_per_sample=runs_per_sample) @ self.graph.kind_counts
        )

    def active_kinds_s(self, step: Step, *, runs_per_sample: int | None = None) -> Floats:
        """The same of one layer of each kind, shape (kinds,). [s]"""
        power, chip, table = self.topology.power, self.topology.chip, self._table(Split())
        runs = np.array(
            [float(kind[0].runs_per_sample == runs_per_sample) for kind in self.graph.kinds]
        )
        if power.idle_share == 1:
            return 0.0 * runs
        demand, (tokens, sequences, context, decode), rows = table.demand, step, step.rows
        flop = demand.flop(tokens, context, rows, decode)
        moved = demand.read_bytes(tokens, context, sequences, rows) + demand.written_bytes(
            tokens, rows
        )
        active = energy.active_s(
            flop / table.peak_flop_per_s,
            moved / chip.memory[0].bandwidth_bytes_per_s,
            power.compute_activity,
            power.memory_activity,
        )
        return np.asarray(table.by_kind(active) * runs)

    def decode_steps_s(
        self, split: Split, sequences: Floats, context_tokens: Floats, reach: Reach
    ) -> Floats:
        """A whole decode step of one group, for every pair of sequences and of context [s],
        shape (sequences, contexts)."""
        table, software = self._table(split), self.topology.software
        each, context = (
            np.ceil(sequences / split.attention)[:, None],
            context_tokens[None, :] / split.sequence,
        )
        counts = np.array(self.graph.kind_counts, dtype=float)
        often = np.repeat(counts, np.diff([*table.first_row, len(table.rows)]))
        bandwidth = self.topology.chip.memory[0].bandwidth_bytes_per_s
        total = np.zeros((len(sequences), len(context_tokens)))
        for row, demand in enumerate(table.rows):
            flop = demand.flop(each, context, each, True)
            flop = flop + table.widening_flop_per_byte[row, 0] * demand.weights_read_bytes(each)
            arithmetic = roofline.compute_s(flop, table.achieved_flop_per_s[row, 0])
            moved = demand.read_bytes(each, context, each) + demand.written_bytes(each, each)
            traffic = roofline.memory_s(moved, bandwidth, self._memory_efficiency)
            total += often[row] * roofline.operator_s(arithmetic, traffic, table.overhead_s[row, 0])
        sent = counts @ self._collective_s(table, split, each[:, 0], each[:, 0], reach)
        layers = float(self._mixes_tokens @ counts) * software.layer_overhead_s
        return total + (sent + layers + host_s(software, sequences))[:, None]

    def decode_kinds_s(
        self, split: Split, sequences: Floats, context_tokens: float, reach: Reach
    ) -> Floats:
        """One layer of each kind in decode steps of so many sequences of a group [s], shape
        (kinds, steps)."""
        table, demand = self._table(split), self._table(split).demand
        each, context = np.ceil(sequences / split.attention), context_tokens / split.sequence
        flop = demand.flop(
            each, context, each, True
        ) + table.widening_flop_per_byte * demand.weights_read_bytes(each)
        moved = demand.read_bytes(each, context, each) + demand.written_bytes(each, each)
        traffic = roofline.memory_s(
            moved, self.topology.chip.memory[0].bandwidth_bytes_per_s, self._memory_efficiency
        )
        arithmetic = roofline.compute_s(flop, table.achieved_flop_per_s)
        busy = table.steps_by_kind(roofline.operator_s(arithmetic, traffic, table.overhead_s))
        layers = self._mixes_tokens[:, None] * self.topology.software.layer_overhead_s
        return busy + self._collective_s(table, split, each, each, reach) + layers

    def holdings(self, split: Split, workload: Workload, tokens: float, rows: float) -> Holdings:
        """What one chip holds in steps of `tokens` tokens of its group that make logits for `rows`
        of them, one sequence of full length; each sequence leaves a part of its last block of the
        cache empty [1].

        [1] W. Kwon et al., "Efficient memory management for large language model serving with PagedAttention", SOSP 2023.
        """
        table = self._table(split)
        demand = table.demand
        unfilled = workload.unfilled_tokens(self.topology.software.kv_block_tokens) * np.asarray(
            demand.kv_bytes_per_token
        )
        held_kv = unfilled + demand.held_kv_bytes(
            workload.held_context_tokens / split.sequence, 1.0
        )
        longest = unfilled + demand.held_kv_bytes(workload.context_tokens / split.sequence, 1.0)
        return Holdings(
            weight_bytes=table.by_kind(demand.held_weight_bytes),
            kv_bytes_per_sequence=table.by_kind(held_kv),
            kv_bytes_more=table.by_kind(longest - held_kv),
            activation_bytes=float(self.activation_bytes(split, workload, tokens, rows)[0]),
            tied_bytes=table.tied_bytes,
        )

    def token_bytes(self, split: Split) -> Floats:
        """What a token that may be taken back adds to the caches of a chip, and the state after
        it, shape (kinds,). [B]"""
        table = self._table(split)
        cached = np.asarray(table.demand.kv_bytes_per_token) / split.sequence
        return table.by_kind(cached + np.asarray(table.demand.state_bytes_per_sequence))

    def activation_bytes(
        self, split: Split, workload: Workload, tokens: Numbers, rows: Numbers
    ) -> Floats:
        """Buffers of a chip, as large as the largest layer needs, for one step or for several
        [B], shape (steps,)."""
        table = self._table(split)
        rank = np.maximum(
            1.0 / split.attention, 1.0 / np.maximum(1.0, tokens / workload.prompt_tokens)
        )
        activation = (
            tokens * rank / split.sequence * np.asarray(table.demand.activation_bytes_per_token)
        )
        logits = rows * np.asarray(table.demand.io_bytes_per_sequence)
        return np.asarray((table.in_steps * (activation + logits)).max(axis=0))

    @property
    def usable_bytes(self) -> float:
        """What a plan may fill of one chip's memory. [B]"""
        software, tier = self.topology.software, self.topology.chip.memory[0]
        return float(
            memory.usable_bytes(
                tier.capacity_bytes, software.usable_memory_fraction, software.reserved_bytes
            )
        )

    def _table(self, split: Split) -> _Table:
        key = (split.tensor, split.expert)
        if key not in self._tables:
            self._tables[key] = self._made_table(*key)
        return self._tables[key]

    def _made_table(self, tensor: int, expert: int) -> _Table:
        rows: list[Demand] = []
        achieved: list[list[float]] = []
        widened: list[list[float]] = []
        peaks: list[list[float]] = []
        overheads: list[list[float]] = []
        firsts: list[int] = []
        tied: list[float] = []
        in_steps: list[list[float]] = []
        for kind in self.graph.kinds:
            firsts.append(len(rows))
            tied.append(0.0)
            for operator in kind[0].operators:
                demand = _needed(
                    operator, operator.demand(tensor, expert), self.topology.chip.skips
                )
                if isinstance(operator, Pointwise):
                    demand = _fused(demand, self.topology.software.unfused_share)
                rows.append(demand)
                in_steps.append([0.0 if kind[0].runs_per_sample == 1 else 1.0])
                multiplied = getattr(operator, "compute_dtype", "fp32")
                peaks.append([self.topology.chip.peak_flop_per_s(multiplied)])
                peak = (
                    peaks[-1][0]
                    * self.topology.chip.compute_efficiency
                    * self._tuning.compute_efficiency
                )
                achieved.append([peak * efficiency_of(self.topology.software, operator)])
                widened.append([widening_flop_per_byte(self._tuning, operator)])
                overheads.append(
                    [launch_s(self.topology.software, operator, float(demand.kernels))]
                )
                if isinstance(operator, MatMul) and operator.tied_to:
                    tied[-1] += float(demand.weight_bytes)
        return _Table(
            tuple(rows),
            stacked(rows),
            np.array(achieved),
            np.array(widened),
            np.array(peaks),
            np.array(overheads),
            np.array(firsts),
            np.array(tied),
            np.array(in_steps),
        )

    def _collective_s(
        self, table: _Table, split: Split, tokens: Numbers, rows: Numbers, reach: Reach
    ) -> Floats:
        """Of one step or of several, shape (kinds, steps)."""
        demand, seconds = table.demand, np.zeros((len(self.graph.kinds), np.size(tokens)))
        if split.tensor > 1:
            reduced = tokens * np.asarray(demand.reduced_bytes_per_token)
            gathered = tokens * np.asarray(demand.gathered_bytes_per_token)
            gathered = gathered + rows * np.asarray(demand.gathered_bytes_per_sequence)
            seconds += table.steps_by_kind(self._sent_s("all_reduce", reach.tensor, reduced))
            seconds += table.steps_by_kind(self._sent_s("all_gather", reach.tensor, gathered))
        if split.sequence > 1:
            shuffled = tokens * np.asarray(demand.shuffled_bytes_per_token)
            seconds += table.steps_by_kind(self._sent_s("all_to_all", reach.sequence, shuffled))
        if split.expert > split.tensor:
            exchanged = tokens * np.asarray(demand.exchanged_bytes_per_token)
            seconds += 2 * table.steps_by_kind(self._sent_s("all_to_all", reach.expert, exchanged))
        return seconds

    def _sent_s(self, kind: str, spans: Spans, message_bytes: Floats) -> Floats:
        """Of each operator that has something to send."""
        some = message_bytes > 0
        if not some.any():
            return message_bytes
        return np.where(some, group_collective_s(self.topology, kind, spans, message_bytes), 0.0)


def _fused(demand: Demand, unfused_share: float) -> Demand:
    """A pointwise operator of which so much of the traffic is left."""
    return replace(
        demand,
        read_bytes_per_token=unfused_share * demand.read_bytes_per_token,
        written_bytes_per_token=unfused_share * demand.written_bytes_per_token,
    )


def tuning_of(topology: Topology) -> Tuning:
    """How well the software suits the chip."""
    wanted = topology.chip.architecture
    return next(
        (one for one in topology.software.tunings if one.architecture == wanted),
        Tuning(architecture=wanted),
    )


def efficiency_of(software: Software, operator: LayerOperator) -> float:
    """Share of the peak for its format that an operator reaches when it is large. [1]"""
    bits = 8 * bytes_of(getattr(operator, "compute_dtype", "fp32"))
    matmuls = software.compute_efficiency
    if bits <= 6 and software.narrow_efficiency is not None:
        matmuls = software.narrow_efficiency
    elif bits <= 9 and software.quantised_efficiency is not None:
        matmuls = software.quantised_efficiency
    if isinstance(operator, Attention | Recurrent) and software.attention_efficiency is not None:
        return software.attention_efficiency
    if isinstance(operator, Experts) and software.experts_efficiency is not None:
        return matmuls * software.experts_efficiency
    return matmuls


def widening_flop_per_byte(tuning: Tuning, operator: LayerOperator) -> float:
    """Operations that widen a byte of weights stored in fewer bits than they are multiplied in.
    [FLOP/B]"""
    if not isinstance(operator, MatMul | Experts):
        return 0.0
    stored = bytes_of(operator.weight_dtype)
    return (
        tuning.widening_flop_per_weight / stored
        if stored < bytes_of(operator.compute_dtype)
        else 0.0
    )


def host_s(software: Software, sequences: Numbers) -> Numbers:
    """What the host does for a pass that makes a token for so many sequences: scheduling and
    sampling. [s]"""
    return software.step_overhead_s + software.sequence_overhead_s * sequences


def utilisation(
    prices: PriceList, chip_seconds: float, work: tuple[float, float]
) -> dict[str, float]:
    """MFU and MBU: useful operations and bytes over what the chips could do in that time."""
    chip, (flop, moved) = prices.topology.chip, work
    return {
        "mfu_fraction": flop / (chip_seconds * chip.peak_flop_per_s(multiplied_in(prices.graph))),
        "mbu_fraction": moved / (chip_seconds * chip.memory[0].bandwidth_bytes_per_s),
    }


def launch_s(software: Software, operator: LayerOperator, kernels: float) -> float:
    """Launches of an operator. [s]"""
    quantised = bytes_of(getattr(operator, "compute_dtype", "fp32")) < 1.5
    given = {
        "matmul": software.quantised_overhead_s if quantised else software.matmul_overhead_s,
        "attention": software.attention_overhead_s,
        "recurrent": software.attention_overhead_s,
        "experts": software.experts_overhead_s,
    }.get(operator.kind)
    if given is None:
        return kernels * software.kernel_overhead_s
    return given * min(1.0, kernels)


_RECENT: deque[PriceList] = deque(maxlen=8)


def price_list_of(graph: ModelGraph, topology: Topology) -> PriceList:
    """The price list of these very objects: one of the last few where it has been made before."""
    for prices in _RECENT:
        if prices.graph is graph and prices.topology is topology:
            return prices
    prices = PriceList(graph, topology)
    _RECENT.append(prices)
    return prices


def reach_of(topology: Topology, split: Split, first: int) -> Reach:
    """Of a group that begins at chip `first`: tensor ranks stand together, then sequence ranks,
    then experts' ranks."""

    def farthest(count: int) -> Spans:
        subgroups = range(first, first + max(split.chips, count), count)
        return max(
            (spans_of(topology, start, count) for start in subgroups), key=lambda spans: spans[::-1]
        )

    across = split.expert if split.expert > split.tensor else 1
    return Reach(farthest(split.tensor), farthest(split.tensor * split.sequence), farthest(across))


def unoffered(topology: Topology, split: Split) -> str | None:
    """The first collective that a split needs and that the software stack does not have; None
    where it has all."""
    reach = reach_of(topology, split, 0)
    needed = [
        ("all_reduce", reach.tensor),
        ("all_gather", reach.tensor),
        ("all_to_all", reach.sequence),
    ]
    needed = [*needed[: 2 if split.sequence == 1 else 3], ("all_to_all", reach.expert)]
    return next((kind for kind, spans in needed if not offers(topology, kind, spans)), None)


def shares_of(split: Split, step: Step, *, whole: bool = True) -> tuple[float, float]:
    """Tokens and sequences of the chip with the most to do: sequences are shared out whole, or
    in fractions."""
    if step.decode:
        share = step.sequences / split.attention
        most = float(math.ceil(share)) if whole else share
        return most * step.tokens / step.sequences, most
    share = max(1.0 / split.attention, 1.0 / max(1.0, step.sequences))
    return step.tokens * share / split.sequence, max(step.sequences * share, 1.0 / split.sequence)


def useful_work(
    graph: ModelGraph, step: Step, *, runs_per_sample: int | None = None
) -> tuple[float, float]:
    """Operations and bytes that a step needs however it is split, none for zeros, in the layers
    that run so often: what MFU and MBU count as useful. [FLOP, B]"""
    demand, counts = _useful_rows(graph, runs_per_sample)
    flop = demand.flop(step.tokens, step.context_tokens, step.rows, step.decode)
    moved = demand.weights_read_bytes(step.tokens) + demand.kv_read_bytes(
        step.context_tokens, step.sequences
    )
    return float(np.sum(counts * flop)), float(np.sum(counts * moved))


def _useful_rows(graph: ModelGraph, runs_per_sample: int | None) -> tuple[Demand, Floats]:
    """The operators of the layers that run so often, as one, and how often each is there, shape
    (rows, 1)."""
    for known in _RECENT_ROWS:
        if known[0] is graph and known[1] == runs_per_sample:
            return known[2:]
    some = [
        (_needed(operator, operator.demand(), get_args(Zeros)), float(count))
        for kind, count in zip(graph.kinds, graph.kind_counts, strict=True)
        if kind[0].runs_per_sample == runs_per_sample
        for operator in kind[0].operators
    ]
    counts = np.array([[count] for _, count in some])
    _RECENT_ROWS.append((graph, runs_per_sample, stacked([demand for demand, _ in some]), counts))
    return _RECENT_ROWS[-1][2:]


_RECENT_ROWS: deque[tuple[ModelGraph, int | None, Demand, Floats]] = deque(maxlen=8)


def _mixes(operators: tuple[LayerOperator, ...]) -> bool:
    """Whether tokens of a sequence meet: once in a usual layer, not where a feed-forward part is
    a layer of its own."""
    return any(isinstance(operator, Attention | Recurrent) for operator in operators)


def _needed(operator: LayerOperator, demand: Demand, skipped: Collection[str]) -> Demand:
    """What is left of an operator's arithmetic on a chip that skips such zeros."""
    if isinstance(operator, MatMul | Experts) and operator.pattern in skipped:
        return demand.skipping(operator.density)
    return demand


def multiplied_in(graph: ModelGraph) -> str:
    """The format whose peak MFU is measured against: what the most weights are multiplied in."""
    totals: dict[str, float] = {}
    for kind, count in zip(graph.kinds, graph.kind_counts, strict=True):
        for operator in kind[0].operators:
            if isinstance(operator, MatMul | Experts) and kind[0].runs_per_sample != 1:
                weights = count * operator.parameters
                totals[operator.compute_dtype] = totals.get(operator.compute_dtype, 0.0) + weights
    return max(totals, key=lambda dtype: (totals[dtype], dtype), default="bf16")
