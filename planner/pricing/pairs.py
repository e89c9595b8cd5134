"""A pair of machines that serve one model between them, attention on one and feed-forward parts on
the other: what its passes take, half by half.

Both halves are priced by the price list of their machine. A micro-batch goes through attention, over
the link, through the feed-forward part and back, layer by layer. Micro-batches follow one another, so
that each machine has some while the other has others (a ping-pong pipeline [1]): a token comes round
in the time of its own way, or in that of all micro-batches at whatever is busiest, whichever is
longer. Where all layers are alike that is reached once m micro-batches fill the way, m × the busiest
≥ the way: the condition of [1].

[1] R. Zhu et al., "MegaScale-Infer: serving mixture-of-experts at scale with disaggregated expert
    parallelism", SIGCOMM 2025.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.cost import pipeline
from planner.cost.collectives import send_s
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.dtypes import dispatched_bytes_of
from planner.models.graph import Layer, ModelGraph
from planner.models.halves import halves_of
from planner.models.operators import Experts
from planner.plan import PairedPlan, Plan, Stage
from planner.pricing.collectives import Collectives
from planner.pricing.holdings import kind_counts_of, split_of
from planner.pricing.price_list import CAUSES, Reach, Split, Step, host_s, reach_of
from planner.pricing.served import Served
from planner.workload import Workload

Floats = NDArray[np.float64]
Numbers = float | Floats


class Pair:
    """A model under a workload on two machines: made once for all plans of a question."""

    def __init__(
        self, graph: ModelGraph, workload: Workload, attention: Topology, experts: Topology
    ) -> None:
        halves = halves_of(graph)
        self.graph = graph
        self.workload = workload
        self.attention = Served(halves.attention, attention, workload)
        self.experts = Served(halves.feed_forward, experts, workload)
        layers = [kind[0] for kind in halves.feed_forward.kinds]
        self.back_bytes = np.array([layer.activation_bytes_per_token for layer in layers])
        """Of a token that comes back from a feed-forward part, by kind, shape (kinds,)."""
        self.there_bytes = np.array([_sent_bytes(layer, attention.software) for layer in layers])
        """Of one that goes there, likewise."""
        self.layer_counts = np.array(halves.feed_forward.kind_counts, dtype=float)

    def step(self, sequences: float) -> Step:
        """A decode pass of so many sequences."""
        return Step(sequences, sequences, self.workload.mean_context_tokens, True)

    def passes_of(self, batch_size: int, replicas: int, micro_batches: int) -> tuple[int, int]:
        """Sequences of a micro-batch on each replica of the attention, and in all of them: the
        largest of each."""
        together = -(-batch_size // micro_batches)
        return -(-together // replicas), together

    def gathered_s(self, reach: Reach, sequences: Numbers) -> Numbers:
        """What a tensor group takes to have all that comes back on each of its chips, each of
        which receives a part; all layers. [s]"""
        collectives = self.attention.topology.kept(Collectives)
        total: Numbers = 0.0 * sequences
        for count, each in zip(self.layer_counts, self.back_bytes, strict=True):
            total = total + count * collectives.seconds(
                "all_gather", reach.tensor, sequences * each
            )
        return total

    def host_s(self, sequences: Numbers) -> Numbers:
        """What the host of the attention does for a token of so many sequences of a replica: the
        other machine draws no tokens. [s]"""
        return host_s(self.attention.software, sequences)

    def sent_bytes(self, plan: Plan) -> tuple[float, float]:
        """What crosses the link for one token, there and back, in all layers. [B]"""
        there = back = 0.0
        for form, times in forms_of(plan, self.experts):
            copies = times * form.counts * self.copies(form.split)
            there += float(copies @ self.there_bytes)
            back += float(copies @ self.back_bytes)
        return there, back

    def copies(self, split: Split) -> Floats:
        """Chips of a stage to which a token goes on average, in layers of each kind: those that
        hold any of its experts, where tokens go straight to these; else one."""
        counts = np.ones(len(self.layer_counts))
        if split.expert <= split.tensor:
            return counts
        for number, operator in zip(
            self.experts.graph.kind_of_operator, self.experts.graph.operators, strict=True
        ):
            if isinstance(operator, Experts):
                counts[number] = operator.copies(split.expert, split.expert)
        return counts


class Form(NamedTuple):
    """What stages, or replicas of one, have in common whose passes take the same."""

    split: Split
    reach: Reach
    layer_counts: tuple[float, ...]
    """By kind."""

    @property
    def counts(self) -> Floats:
        return np.array(self.layer_counts)


def forms_of(plan: Plan, served: Served) -> list[tuple[Form, int]]:
    """Of a half, the forms of its stages and replicas, and how many have each."""
    found: Counter[Form] = Counter()
    for stage in plan.stages:
        split = split_of(stage)
        counts = tuple(kind_counts_of(stage, served.graph).tolist())
        for reach in _reaches(stage, split, served.topology):
            found[Form(split, reach, counts)] += 1
    return list(found.items())


def _reaches(stage: Stage, split: Split, topology: Topology) -> Iterator[Reach]:
    nowhere = (1,) * len(topology.levels)
    for group in stage.groups:
        # Experts are reached over the link: nothing is exchanged among their chips.
        yield reach_of(topology, split, group.first)._replace(expert=nowhere)


def _sent_bytes(layer: Layer, software: Software) -> float:
    """Of a token on its way to a feed-forward part: in the format that it is multiplied in, where
    the sender's software quantises what it dispatches. [B]"""
    dtype = getattr(layer.operators[0], "compute_dtype", None)
    if dtype is None or not software.quantised_dispatch or dtype in software.dispatched_wide:
        return layer.activation_bytes_per_token
    return layer.activation_width * dispatched_bytes_of(dtype)


class PairPass(NamedTuple):
    """One pass of a micro-batch through both halves, all layers."""

    attention: Floats
    """Seconds by cause, shape (causes,), what is waited beside included; of the slowest replica."""
    experts: Floats
    """Likewise, all stages one after the other."""
    link_s: float
    """Both ways, latencies included."""
    busy_s: dict[str, float]
    """How long "attention", "experts" (the busiest stage) and "link" (its busier direction) are
    busy with it."""

    @property
    def pass_s(self) -> float:
        """A token's own way."""
        return float(self.attention.sum() + self.experts.sum()) + self.link_s

    @property
    def slowest(self) -> str:
        """What is busiest."""
        return max(self.busy_s, key=lambda name: self.busy_s[name])

    def round_s(self, micro_batches: int) -> float:
        """Between two tokens of a sequence. [1]"""
        turns = micro_batches * self.busy_s[self.slowest]
        return float(pipeline.cycle_s(self.pass_s, turns))


def pair_pass(
    pair: Pair, plan: PairedPlan, bandwidth_bytes_per_s: float, latency_s: float
) -> PairPass:
    """The largest micro-batch of a plan on its way, over a link of such a bandwidth and
    latency."""
    mine, together = pair.passes_of(plan.batch_size, plan.attention.replicas, plan.micro_batches)
    attention, attention_s = _attention(pair, plan.attention, mine)
    experts, experts_s = _experts(pair, plan.experts, together)
    ways = [
        send_s(together * sent, bandwidth_bytes_per_s, 0.0)
        for sent in pair.sent_bytes(plan.experts)
    ]
    visits = 2 * float(pair.layer_counts.sum())
    return PairPass(
        attention=attention,
        experts=experts,
        link_s=float(visits * latency_s + sum(ways)),
        busy_s={"attention": attention_s, "experts": experts_s, "link": float(max(ways))},
    )


def _attention(pair: Pair, plan: Plan, sequences: int) -> tuple[Floats, float]:
    """By cause, and busy, of the slowest replica."""
    found = []
    for form, _ in forms_of(plan, pair.attention):
        busy, waited = _priced(pair.attention, form, pair.step(sequences))
        busy[CAUSES.index("collective")] += pair.gathered_s(form.reach, float(sequences))
        busy[CAUSES.index("overhead")] += pair.host_s(float(sequences))
        found.append((busy, waited))
    busy, waited = max(found, key=lambda pass_: float(pass_[0].sum()))
    return _with_waits(busy, waited), float(busy.sum())


def _experts(pair: Pair, plan: Plan, sequences: int) -> tuple[Floats, float]:
    """By cause, of all stages; and how long the busiest is busy."""
    total = np.zeros(len(CAUSES))
    busiest = 0.0
    for form, times in forms_of(plan, pair.experts):
        busy, waited = _priced(pair.experts, form, pair.step(sequences))
        total += times * _with_waits(busy, waited)
        busiest = max(busiest, float(busy.sum()))
    return total, busiest


def _priced(served: Served, form: Form, step: Step) -> tuple[Floats, float]:
    """What the layers of a form take: busy by cause, and waited while their chips are free."""
    prices = served.prices.prices(form.split, step, form.reach, whole=False)
    waited = served.prices.latent_s(step) @ form.counts
    return np.asarray(prices.seconds @ form.counts), float(waited)


def _with_waits(busy: Floats, waited_s: float) -> Floats:
    total = busy.copy()
    total[CAUSES.index("overhead")] += waited_s
    return total
