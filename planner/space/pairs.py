"""The plans of a pair of machines: attention on one, feed-forward parts on the other.

Attention: every tensor parallel degree that the heads allow, and every number of replicas beside it.
Feed-forward parts: runs of consecutive layers, cut so that the fullest stage holds as few bytes as so
many stages can; each stage on as many chips, which share out whole experts (as few chips as hold so
many experts each) or, of a model without experts, its widths evenly. Tokens go straight to the chips
of their experts, or to their stage once, whose chips split every matmul. Up to `MOST_MICRO_BATCHES`
micro-batches; where the batch is open, all of them, on all replicas, as large as one another.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.models.graph import ModelGraph
from planner.models.operators import Experts, MatMul
from planner.plan import ChipRange, PairedPlan, Plan, Stage
from planner.pricing.degrees import tensor_degrees
from planner.pricing.holdings import StageHoldings
from planner.pricing.pairs import Form, Pair, forms_of
from planner.pricing.price_list import Holdings, Reach, Split
from planner.pricing.served import Served
from planner.scoring.checking import check_structure
from planner.scoring.pairs import check_experts

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_MICRO_BATCHES = 32
"""In flight."""
LIKELY_CUTS, LIKELY_WIDTHS = 6, 2
"""Cuts of the feed-forward half that are tried first, and how many widths of each."""
COARSE_SIZES = 40
"""Sizes of a pass among which one is looked for first."""
MOST_SEQUENCES = 8192
"""On a replica of the attention."""


class Way(NamedTuple):
    """How long passes take on one machine, of each number of sequences, each of shape (sizes,)."""

    pass_s: Floats
    busy_s: Floats
    """Its busiest chips."""


class AttentionOption(NamedTuple):
    """A split of the attention half, whatever the number of its replicas."""

    tensor: int
    weight_bytes: float
    kv_bytes: float
    """Of each sequence."""
    kv_bytes_more: float
    most_sequences: int
    """On a replica."""

    def plan(self, graph: ModelGraph, replicas: int, micro_batches: int = 1) -> Plan:
        """On the first chips of its machine."""
        groups = tuple(
            ChipRange(first=self.tensor * number, count=self.tensor) for number in range(replicas)
        )
        stage = Stage(layers=graph.names, groups=groups, tensor_parallel=self.tensor)
        return Plan(stages=(stage,), micro_batches=micro_batches)


class ExpertsOption(NamedTuple):
    """A layout of the feed-forward half."""

    plan: Plan
    chips: int
    forms: tuple[tuple[Form, int], ...]
    there_bytes: float
    """Of one token, all layers."""
    back_bytes: float
    held: tuple[tuple[Split, float], ...]
    """The fullest stage of each split: its weights. [B]"""


class Points(NamedTuple):
    """Ways to cut a batch: sizes of passes, and which of them each way has."""

    sequences: Floats
    """On a replica of the attention, shape (sizes,)."""
    together: Floats
    """On all of them, shape (sizes,)."""
    column: Places
    """Which size, shape (ways,)."""
    micro_batches: Floats
    batch: Floats
    seated: Floats
    """Sequences that the fullest replica holds, shape (ways,)."""


def attention_options(pair: Pair) -> list[AttentionOption]:
    """Those that hold at least one sequence."""
    served = pair.attention
    found = []
    for tensor in tensor_degrees(served.graph, served.software, served.topology.chips):
        option = AttentionOption(tensor, 0.0, 0.0, 0.0, 0)
        plan = option.plan(served.graph, 1)
        if check_structure(plan, served.graph, served.topology):
            continue
        holdings = StageHoldings(served, plan.stages[0])
        free = holdings.ledger(served.schedule(1)).headroom_bytes
        if free < 0:
            continue
        each = holdings.kv_bytes_per_sequence
        more = math.floor(free / each) if each else MOST_SEQUENCES
        most = min(1 + more, served.software.most_sequences, MOST_SEQUENCES)
        found.append(
            AttentionOption(tensor, holdings.weight_bytes, each, holdings.kv_bytes_more, most)
        )
    return found


def experts_options(pair: Pair) -> list[ExpertsOption]:
    """Those that hold their weights."""
    served = pair.experts
    found = []
    least = served.graph.weight_bytes / served.usable_bytes
    for cut in cuts_of(served.graph):
        allowance.look()
        stages = len(cut) - 1
        for chips in _chips_of_stages(served.graph, served.topology.chips // stages):
            if stages * chips < least * (1 - 1e-9):
                continue
            for straight in (False, True) if chips > 1 else (False,):
                plan = _experts_plan(served.graph, cut, chips, straight)
                if straight and plan == _experts_plan(served.graph, cut, chips, False):
                    continue  # no layer has experts
                option = _experts_option(pair, plan)
                if option is not None:
                    found.append(option)
    return found


def likely_experts(pair: Pair) -> Iterator[ExpertsOption]:
    """A few of them, the widest of the coarsest cuts first."""
    served = pair.experts
    for number, cut in enumerate(reversed(cuts_of(served.graph))):
        if number == LIKELY_CUTS:
            return
        stages = len(cut) - 1
        every = _chips_of_stages(served.graph, served.topology.chips // stages)
        for chips in every[-1 : -1 - LIKELY_WIDTHS : -1]:
            option = _experts_option(pair, _experts_plan(served.graph, cut, chips, False))
            if option is not None:
                yield option


def _experts_option(pair: Pair, plan: Plan) -> ExpertsOption | None:
    served = pair.experts
    held = _fullest(served, plan)
    room = served.usable_bytes - np.array([
        weights + served.buffer_bytes(split, served.schedule(1)) for split, weights in held
    ])  # fmt: skip
    if room.min() < 0 or any(True for _ in check_experts(plan, served)):
        return None
    there, back = pair.sent_bytes(plan)
    return ExpertsOption(plan, plan.chips, tuple(forms_of(plan, served)), there, back, held)


def _fullest(served: Served, plan: Plan) -> tuple[tuple[Split, float], ...]:
    """The weights on a chip of the fullest stage of each split. [B]"""
    most: dict[Split, float] = {}
    counted: dict[Split, Holdings] = {}
    for form, _ in forms_of(plan, served):
        held = counted.setdefault(form.split, served.holdings(form.split))
        weights = float(form.counts @ held.weight_bytes)
        most[form.split] = max(weights, most.get(form.split, 0.0))
    return tuple(most.items())


def cuts_of(graph: ModelGraph) -> list[list[int]]:
    """Where the stages begin, and the last one ends, for each number of stages for which the fullest
    can hold less than with fewer: filled from the first on."""
    each = [round(layer.weight_bytes) for layer in graph.layers]
    before = [0, *itertools.accumulate(each)]
    sums = sorted({
        before[last] - before[first] for first, last in itertools.combinations(range(len(before)), 2)
    })  # fmt: skip
    found: dict[int, list[int]] = {}
    for most in sums:
        allowance.look()
        if most >= max(each):
            cut = _filled(each, most)
            found.setdefault(len(cut), cut)
    return list(found.values())


def _filled(each: list[int], most: int) -> list[int]:
    cut, held = [0], 0
    for number, one in enumerate(each):
        if held + one > most:
            cut.append(number)
            held = 0
        held += one
    return [*cut, len(each)]


def _chips_of_stages(graph: ModelGraph, most: int) -> list[int]:
    """How many chips a stage may have."""
    experts = graph.splits().get("experts", ())
    if experts:
        ways = {math.ceil(experts[0] / each) for each in range(1, experts[0] + 1)}
    else:
        width = _common_width(graph)
        ways = {ways for ways in range(1, min(width, most) + 1) if width % ways == 0}
    return sorted(one for one in ways if one <= most)


def _common_width(graph: ModelGraph) -> int:
    """Along which all matmuls that are split can be cut alike."""
    widths = [
        operator.outputs if operator.split == "outputs" else operator.inputs
        for operator in graph.operators
        if isinstance(operator, MatMul) and operator.split != "none"
    ]
    return math.gcd(*widths)


def _experts_plan(graph: ModelGraph, cut: list[int], chips: int, straight: bool) -> Plan:
    stages = []
    for number, (first, last) in enumerate(itertools.pairwise(cut)):
        layers = graph.layers[first:last]
        routed = any(isinstance(each, Experts) for layer in layers for each in layer.operators)
        stages.append(
            Stage(
                layers=tuple(layer.name for layer in layers),
                groups=(ChipRange(first=number * chips, count=chips),),
                tensor_parallel=1 if straight and routed else chips,
                expert_parallel=chips if routed else 1,
            )
        )
    return Plan(stages=tuple(stages))


def points_of(pair: Pair, replicas: int, most_sequences: int, *, coarsely: bool = False) -> Points:
    """The ways to cut the batch, the given one or any; `coarsely`: of any some few."""
    given = pair.workload.batch_size
    if given is None:
        return _open_points(replicas, most_sequences, COARSE_SIZES if coarsely else None)
    passes = np.arange(1, min(MOST_MICRO_BATCHES, given) + 1)
    cut = [pair.passes_of(given, replicas, int(each)) for each in passes]
    mine, together = np.array(cut, dtype=float).T
    same = np.ones(len(passes))
    return Points(
        mine,
        together,
        np.arange(len(passes)),
        passes.astype(float),
        given * same,
        math.ceil(given / replicas) * same,
    )


def _open_points(replicas: int, most_sequences: int, count: int | None) -> Points:
    """Of all sizes of a pass, or of so many."""
    sizes = np.arange(1, most_sequences + 1)
    if count is not None and most_sequences > count:
        sizes = np.unique(np.geomspace(1, most_sequences, count).astype(np.intp))
    micro_batches = np.arange(1, MOST_MICRO_BATCHES + 1)
    passes, column = np.nonzero(micro_batches[:, None] * sizes <= most_sequences)
    cuts = micro_batches[passes].astype(float)
    seated = cuts * sizes[column].astype(float)
    return Points(
        sizes.astype(float),
        replicas * sizes.astype(float),
        column,
        cuts,
        replicas * seated,
        seated,
    )


def attention_way(pair: Pair, option: AttentionOption, replicas: int, sequences: Floats) -> Way:
    """Passes of so many sequences on each replica; the slowest of these sets the pace."""
    served = pair.attention
    plan = option.plan(served.graph, replicas)
    context = pair.workload.mean_context_tokens
    ways = []
    for form, _ in forms_of(plan, served):
        kinds = served.prices.decode_kinds_s(form.split, sequences, context, form.reach)
        busy = form.counts @ kinds + pair.gathered_s(form.reach, sequences) + pair.host_s(sequences)
        ways.append(busy)
    busy = np.max(ways, axis=0)
    waited = float(served.prices.latent_s(pair.step(1.0)) @ served.prices.counts)
    return Way(busy + waited, busy)


Known = dict[tuple[Split, Reach], Floats]
"""What layers take under a split, by kind, shape (kinds, sizes): layouts share most of it."""


def experts_way(
    pair: Pair, option: ExpertsOption, together: Floats, known: Known | None = None
) -> Way:
    """Passes of so many sequences through all stages; `known` holds what was found out about the
    same sizes."""
    prices = pair.experts.prices
    passed = np.zeros(len(together))
    busiest = np.zeros(len(together))
    kinds: Known = {} if known is None else known
    for form, times in option.forms:
        key = form.split, form.reach
        if key not in kinds:
            kinds[key] = prices.decode_kinds_s(form.split, together, 1.0, form.reach, whole=False)
        busy = form.counts @ kinds[key]
        passed += times * busy
        busiest = np.maximum(busiest, busy)
    waited = float(prices.latent_s(pair.step(1.0)) @ prices.counts)
    return Way(passed + waited, busiest)


def fits(
    pair: Pair, attention: AttentionOption, experts: ExpertsOption, points: Points
) -> NDArray[np.bool_]:
    """Whether each way to cut the batch fits on both machines, shape (ways,)."""
    served, workload = pair.attention, pair.workload
    split = Split(tensor=attention.tensor)
    buffers = served.prices.activation_bytes(split, workload, points.sequences)
    buffers = buffers + served.prices.logits_bytes(
        split, workload, points.sequences, points.sequences
    )
    fixed = (
        attention.weight_bytes
        + attention.kv_bytes_more
        + served.prices.workspace_bytes(split)
        + buffers
    )
    needed = fixed[points.column] + points.seated * attention.kv_bytes
    room = (needed <= served.usable_bytes) & (points.seated <= served.software.most_sequences)
    return np.asarray(room & _experts_fit(pair, experts, points.together)[points.column])


def _experts_fit(pair: Pair, option: ExpertsOption, together: Floats) -> NDArray[np.bool_]:
    served = pair.experts
    room = np.ones(len(together), dtype=np.bool_)
    for split, weights in option.held:
        prices = served.prices
        needed = weights + prices.activation_bytes(split, pair.workload, together)
        room &= needed + prices.workspace_bytes(split) <= served.usable_bytes
    return room


def paired_plan(
    pair: Pair,
    attention: AttentionOption,
    experts: ExpertsOption,
    replicas: int,
    micro_batches: int,
    batch_size: int,
) -> PairedPlan:
    """One of them."""
    return PairedPlan(
        attention=attention.plan(pair.attention.graph, replicas, micro_batches),
        experts=experts.plan.replace(micro_batches=micro_batches),
        batch_size=batch_size,
    )
