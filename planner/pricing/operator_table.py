"""The operators of a graph as arrays, one row each: what a chip of a group does of each, and what
the machine makes of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import roofline
from planner.machines.software import Software, Tuning
from planner.machines.topology import Topology
from planner.models.demand import Demand, Numbers
from planner.models.dtypes import bytes_of
from planner.models.graph import ModelGraph, Sort
from planner.models.operators import Attention, Experts, Indexer, LayerOperator, MatMul, Recurrent
from planner.pricing.formats import multiplied_in

Floats = NDArray[np.float64]

FLOATS = ("fp4", "nvfp4", "mxfp4", "fp6")
"""Formats of fewer than 8 bits that are floats."""
NARROW_BYTES = 0.75
"""The most that a weight of a "4-bit" format takes, scales included."""


class OperatorFacts(NamedTuple):
    """What a machine makes of each operator of a graph, however the work is split, each of shape
    (rows, 1)."""

    peak_flop_per_s: Floats
    """For the operator's format."""
    achieved_flop_per_s: Floats
    """Of that peak what large operators of its kind reach."""
    widened_bytes_per_byte: Floats
    """What a prompt's pass moves to have a byte of stored weights in memory as wide as they are
    multiplied in."""
    widening_flop_per_byte: Floats
    """What it takes to widen stored weights to the format that they are multiplied in."""
    launch_s: Floats
    """Launching the operator; NaN where each of its kernels counts instead."""
    decode_gain: Floats
    """How many times as fast it multiplies in decode: more than 1 where that is done in the
    cache's format."""


@dataclass(frozen=True, slots=True)
class OperatorTable:
    """The operators of all kinds of layer on one chip of a group."""

    demand: Demand
    """Its coefficients are columns, shape (rows, 1)."""
    facts: OperatorFacts
    overhead_s: Floats
    """Launches, shape (rows, 1)."""
    widens: bool
    """Whether any weights are widened."""
    widens_in_memory: bool
    """Whether any are written to memory for that."""
    pads_tiles: bool
    """Whether tokens fill tiles of experts in part."""
    gains_in_decode: bool
    """Whether any operator multiplies faster in decode."""
    first_row: NDArray[np.intp]
    """Of each kind."""
    tied_bytes: Floats
    """Of the weights of each kind, those that another layer holds too, shape (kinds,)."""
    cache_ranks: Floats | None
    """Over how many ranks an operator's caches are shared out by sequences, shape (rows, 1); None:
    nowhere over more than one."""
    widest_bytes_per_token: float
    """Held while the widest operator of a pass runs; what runs once for a sample does so in tiles as
    small as memory asks."""

    def of_rows(self, chosen: NDArray[np.intp]) -> "OperatorTable":
        """Some of the operators, for what is asked of each by itself."""
        return replace(
            self,
            demand=self.demand.of_rows(chosen),
            facts=OperatorFacts(*(column[chosen] for column in self.facts)),
            overhead_s=self.overhead_s[chosen],
            cache_ranks=None if self.cache_ranks is None else self.cache_ranks[chosen],
        )

    def cached_sequences(self, sequences: Numbers) -> Numbers:
        """Of the sequences of a step those whose caches a chip holds and reads: a share of them,
        but no less than one, shape (rows, steps)."""
        if self.cache_ranks is None:
            return sequences
        return np.maximum(sequences / self.cache_ranks, np.minimum(sequences, 1.0))

    def by_kind(self, rows: Numbers) -> Floats:
        """Sums over the operators of each kind, shape (kinds,)."""
        return self.steps_by_kind(rows)[:, 0]

    def steps_by_kind(self, rows: Numbers) -> Floats:
        """The same for several steps at once, shape (kinds, steps)."""
        columns = np.asarray(rows, dtype=float)
        if columns.ndim < 2 or len(columns) != len(self.overhead_s):
            columns = columns + np.zeros_like(self.overhead_s)
        return np.add.reduceat(columns, self.first_row)


class SortFigures:
    """What a machine makes of each sort of operator: `topology.kept(SortFigures)`."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.software = topology.software
        self.chip = topology.chip
        self.tuning = tuning_of(topology)
        self._known: dict[Sort, tuple[float, ...]] = {}
        self._facts: dict[tuple[Sort, ...], OperatorFacts] = {}

    def facts(self, graph: ModelGraph) -> OperatorFacts:
        """Of all operators of a graph, none of which skips zeros."""
        key = graph.sort_of_rows
        if key not in self._facts:
            sorts, sort_of_operator = graph.sorts
            figures = np.array([self.figures(sort, operator) for sort, operator in sorts.items()])
            self._facts[key] = OperatorFacts(*figures[sort_of_operator].T[:, :, None])
        return self._facts[key]

    def figures(self, sort: Sort, operator: LayerOperator) -> tuple[float, ...]:
        """The fields of `OperatorFacts`, of operators like this one."""
        if sort not in self._known:
            # A chip without the format multiplies in another, as its kernels for that one do.
            dtype = self.chip.multiplies_in(multiplied_in(operator, self.topology))
            peak = self.chip.peak_flop_per_s(dtype)
            whole = self.chip.compute_efficiency * self.tuning.compute_efficiency
            reached = whole * efficiency_of(self.software, operator, dtype)
            reached *= widened_share(self.topology, operator, dtype)
            self._known[sort] = (
                peak,
                peak * float(roofline.fed_fraction(reached, self.chip.arithmetic_share)),
                widened_bytes_per_byte(self.topology, operator, dtype),
                widening_flop_per_byte(self.tuning, operator, dtype),
                launch_s(self.software, operator, dtype),
                decode_gain(self.topology, operator),
            )
        return self._known[sort]


def operator_facts(graph: ModelGraph, topology: Topology) -> OperatorFacts:
    """What a machine makes of the operators of a graph."""
    facts = topology.kept(SortFigures).facts(graph)
    if topology.software.skipping_efficiency is None:
        return facts
    shares = [skipping_share(operator, topology) for operator in graph.operators]
    achieved = facts.achieved_flop_per_s * np.array(shares)[:, None]
    return facts._replace(achieved_flop_per_s=achieved)


def table_of(
    graph: ModelGraph, topology: Topology, facts: OperatorFacts, tensor: int, expert: int
) -> OperatorTable:
    """The operators of a graph on a chip of a group that splits matmuls and experts so far."""
    software = topology.software
    demand = demand_of(graph, topology, tensor, expert)
    kernels = np.asarray(demand.kernels)
    launched = facts.launch_s * np.minimum(1.0, kernels)
    each_kernel = kernels * software.kernel_overhead_s
    return OperatorTable(
        demand=demand,
        facts=facts,
        overhead_s=np.where(np.isnan(facts.launch_s), each_kernel, launched),
        widens=bool(facts.widening_flop_per_byte.any()),
        widens_in_memory=bool(facts.widened_bytes_per_byte.any()),
        pads_tiles=software.experts_tile_tokens > 0.0
        and any(isinstance(operator, Experts) for operator in graph.operators),
        gains_in_decode=bool((facts.decode_gain > 1.0).any()),
        first_row=graph.first_operators,
        tied_bytes=_tied_bytes(graph, demand),
        cache_ranks=_cache_ranks(graph, software, tensor),
        widest_bytes_per_token=float(
            (graph.runs_in_steps * demand.activation_bytes_per_token).max()
        ),
    )


def demand_of(graph: ModelGraph, topology: Topology, tensor: int = 1, expert: int = 1) -> Demand:
    """What operators ask of a chip of a group that splits matmuls and experts so far: without the
    zeros that it skips, and with weights as its software stores them."""
    software = topology.software
    demand = graph.demand(
        tensor, expert, skipped=topology.chip.skips, unfused_share=software.unfused_share
    )
    if software.stores_kept_in is None:
        return demand
    stored = _stored_share(graph, software.stores_kept_in)
    return replace(demand, weight_bytes=stored * demand.weight_bytes)


def _stored_share(graph: ModelGraph, dtype: str) -> Floats:
    """Of the bytes of each operator's weights, what is left where those that a 4-bit checkpoint
    keeps in 16 bit are stored in so many, shape (rows, 1)."""
    if bytes_of(graph.weight_dtype) > NARROW_BYTES:
        return np.ones((len(graph.operators), 1))
    kept = [
        bytes_of(dtype) / bytes_of(operator.weight_dtype)
        if isinstance(operator, MatMul) and bytes_of(operator.weight_dtype) == 2.0
        else 1.0
        for operator in graph.operators
    ]
    return np.array(kept)[:, None]


def _cache_ranks(graph: ModelGraph, software: Software, tensor: int) -> Floats | None:
    """Over how many of the tensor ranks each operator's caches are shared out by sequences, where
    there are more ranks than key-value heads, shape (rows, 1) [1].

    [1] R. Pope et al., "Efficiently scaling transformer inference", MLSys 2023, section 3.3.
    """
    if not software.shares_out_caches:
        return None
    ranks = [
        max(1.0, tensor / operator.kv_heads) if isinstance(operator, Attention) else 1.0
        for operator in graph.operators
    ]
    return np.array(ranks)[:, None] if max(ranks) > 1.0 else None


def _tied_bytes(graph: ModelGraph, demand: Demand) -> Floats:
    """Of the weights of each kind of layer, those that another layer holds too, shape (kinds,).
    [B]"""
    if not graph.tied_layers:
        return np.zeros(len(graph.kinds))
    tied = [
        [isinstance(operator, MatMul) and bool(operator.tied_to)] for operator in graph.operators
    ]
    return np.add.reduceat(tied * np.asarray(demand.weight_bytes), graph.first_operators)[:, 0]


def rows_of_kinds(graph: ModelGraph, figures: Sequence[float]) -> Floats:
    """A figure of each kind of layer, for each of its operators, shape (rows, 1)."""
    return np.array(figures, dtype=float)[graph.kind_of_operator, None]


def tuning_of(topology: Topology) -> Tuning:
    """How well the software suits the chip."""
    wanted = topology.chip.architecture
    for tuning in topology.software.tunings:
        if tuning.architecture == wanted:
            return tuning
    return Tuning(architecture=wanted)


def decode_gain(topology: Topology, operator: LayerOperator) -> float:
    """How many times as fast an operator multiplies in decode as in a prompt: attention over a
    cache in 8 bit takes the cache's format, where the software has such kernels for the chip. [1]
    """
    if not isinstance(operator, Attention) or bytes_of(operator.kv_dtype) != 1:
        return 1.0
    if topology.chip.architecture not in topology.software.attends_in_cache_dtype:
        return 1.0
    chip = topology.chip
    stored = chip.peak_flop_per_s(operator.kv_dtype)
    return max(1.0, stored / chip.peak_flop_per_s(operator.compute_dtype))


def efficiency_of(software: Software, operator: LayerOperator, dtype: str) -> float:
    """Share of the peak for its format that an operator reaches when it is large. [1]"""
    if (
        isinstance(operator, Attention | Indexer | Recurrent)
        and software.attention_efficiency is not None
    ):
        return software.attention_efficiency
    matmuls = _matmul_efficiency(software, dtype)
    if isinstance(operator, Experts) and software.experts_efficiency is not None:
        return matmuls * software.experts_efficiency
    return matmuls


def widened_share(topology: Topology, operator: LayerOperator, dtype: str) -> float:
    """Share of what a matmul would reach that is left where its kernel widens weights that are
    stored in fewer bits, in each tile of tokens anew. Tensor cores that multiply floats of 4 bits
    take them beside floats of 8 as they are. [1]"""
    share = topology.software.widened_efficiency
    if share is None or not isinstance(operator, MatMul | Experts):
        return 1.0
    mixed = dtype == "fp8" and any(peak.dtype == "fp4" for peak in topology.chip.peaks)
    as_stored = mixed and operator.weight_dtype in FLOATS
    narrow = bytes_of(operator.weight_dtype) < bytes_of(dtype)
    return share if narrow and not as_stored else 1.0


def skipping_share(operator: LayerOperator, topology: Topology) -> float:
    """Share of what a dense matmul would reach that one reaches which skips zeros anywhere. [1]

    Kernels that look for zeros lose more the fewer there are: where dense ones are faster, zeros
    and all, a stack takes those, so that the share is never below that of the values left.
    """
    share = topology.software.skipping_efficiency
    if share is None or not isinstance(operator, MatMul | Experts):
        return 1.0
    if operator.pattern != "unstructured" or operator.pattern not in topology.chip.skips:
        return 1.0
    return max(share, operator.density)


def _matmul_efficiency(software: Software, dtype: str) -> float:
    """Of a large matmul multiplied in a format: narrower formats may reach less of their
    peak. [1]"""
    bits = 8 * bytes_of(dtype)
    if bits <= 6 and software.narrow_efficiency is not None:
        return software.narrow_efficiency
    if bits <= 9 and software.quantised_efficiency is not None:
        return software.quantised_efficiency
    return software.compute_efficiency


def widening_flop_per_byte(tuning: Tuning, operator: LayerOperator, dtype: str) -> float:
    """Operations that widen a byte of weights stored in fewer bits than they are multiplied in.
    [FLOP/B]"""
    if not isinstance(operator, MatMul | Experts):
        return 0.0
    stored = bytes_of(operator.weight_dtype)
    if stored >= bytes_of(dtype):
        return 0.0
    return tuning.widening_flop_per_weight / stored


def widened_bytes_per_byte(topology: Topology, operator: LayerOperator, dtype: str) -> float:
    """Bytes that a kernel of its own reads and writes to widen a byte of stored weights, before the
    matmul that reads what it wrote. [1]"""
    if topology.chip.architecture not in topology.software.widens_in_memory:
        return 0.0
    if not isinstance(operator, MatMul | Experts):
        return 0.0
    stored, wide = bytes_of(operator.weight_dtype), bytes_of(dtype)
    return 1.0 + wide / stored if stored < wide else 0.0


def launch_s(software: Software, operator: LayerOperator, dtype: str) -> float:
    """Launching an operator; NaN where the software counts each of its kernels instead. [s]"""
    quantised = bytes_of(dtype) < 1.5
    matmul_s = software.quantised_overhead_s if quantised else software.matmul_overhead_s
    given = {
        "matmul": matmul_s,
        "contraction": matmul_s,
        "attention": software.attention_overhead_s,
        "indexer": software.attention_overhead_s,
        "recurrent": software.attention_overhead_s,
        "experts": software.experts_overhead_s,
    }.get(operator.kind)
    return float("nan") if given is None else given
