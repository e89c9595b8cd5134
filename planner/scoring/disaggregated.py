"""Prefill and decode on pools of their own: what two plans cost together, the transfer of the KV
cache included."""

from dataclasses import dataclass
from typing import Literal

from planner.cost import energy, queueing
from planner.errors import InfeasibleError, InputError
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.drafts import serving_prices
from planner.pricing.queueing import FULL
from planner.pricing.schedule import scheduled
from planner.pricing.timing import active_chip_s
from planner.records import Record
from planner.scoring.plans import chosen_power, score_plan
from planner.scoring.score import Score, StageTime
from planner.units import BytesPerS, Seconds, spoken
from planner.workload import Workload


class Link(Record):
    """What joins the prefill pool to the decode pool; caches cross it one after the other."""

    bandwidth_bytes_per_s: BytesPerS
    """That is reached, from the first pool to the second."""
    latency_s: Seconds = 0.0
    """Until the first byte is there."""


class DisaggregatedScore(Record):
    """What a prefill pool and a decode pool cost together; fields are named as in `Score`, and
    count both pools."""

    ttft_s: float
    """Queue and prefill; the first token comes from the prefill pool."""
    tpot_s: float
    """Between later tokens of one request, on average: the transfer of its cache and the wait
    for its turn are part of it."""
    request_s: float
    """`ttft_s` + (output tokens - 1) × `tpot_s`."""
    requests_per_s: float
    """That come; where that is left open, as many as the slowest of the pools and the link
    serve."""
    tokens_per_s: float
    tokens_per_s_per_user: float
    energy_per_token_j: float | None
    """None where the power of either pool is not known."""
    usd_per_million_tokens: float | None
    """None where the price of either pool is not known."""
    power_w: float | None
    power_scope: Literal["chip", "system", "unknown"]
    chips: int
    """Of both pools, whether their plans use them or not."""
    batch_size: int
    """Sequences in flight in the decode pool."""
    memory_headroom_bytes: float
    breakdown: tuple[StageTime, ...]
    """One later token: its share of the way to the decode pool, then the decode stages; sums to
    `tpot_s`."""
    prefill_breakdown: tuple[StageTime, ...]
    """The first token, by prefill stage; sums to `ttft_s`."""
    transfer_bytes: float
    """KV cache and state of a prompt."""
    transfer_s: float
    """Until they are in the decode pool, the queue at the link included; part of `request_s`."""
    link_requests_per_s: float
    """That the link can carry."""
    slowest: Literal["prefill", "decode", "link", "arrivals"]
    """What sets `requests_per_s`."""
    prefill: Score
    """Of the prefill pool alone; its rates are those that it could serve."""
    decode: Score


@dataclass(frozen=True, slots=True)
class Handover:
    """A workload as each pool sees it, and what goes from one to the other."""

    workload: Workload
    transfer_bytes: float
    transfer_s: float
    link_requests_per_s: float

    @property
    def prefill(self) -> Workload:
        return self.workload.replace(phase="prefill", batch_size=None)

    @property
    def decode(self) -> Workload:
        return self.workload.replace(phase="decode", transfer_s=self.transfer_s)


def handover(graph: ModelGraph, workload: Workload, link: Link) -> Handover:
    """What the prefill pool sends for each request, and how long that takes; InfeasibleError:
    more than the link carries."""
    if workload.phase != "both":
        raise InputError(
            f"Workload.phase: pools are made of a whole workload; make it 'both', not {workload.phase!r}"
        )
    if graph.is_diffusion:
        raise InputError(
            f"{graph.name} is a diffusion model, which has no prefill; disaggregate a language model"
        )
    drafts = (
        ()
        if workload.speculation is None or workload.speculation.draft is None
        else (workload.speculation.draft,)
    )
    sent = sum(transfer_bytes(one, workload.prompt_tokens) for one in (graph, *drafts))
    each_s, rate = sent / link.bandwidth_bytes_per_s, workload.requests_per_s or 0.0
    if rate * each_s > FULL:
        raise InfeasibleError(
            f"the link carries {spoken(link.bandwidth_bytes_per_s, 'B/s')}, and {rate:.4g} requests a second send"
            f" {spoken(sent, 'B')} each, {spoken(rate * sent, 'B/s')}; lower the rate or widen the link",
            resource="link",
            demand=rate * sent,
            capacity=link.bandwidth_bytes_per_s,
        )
    queue = float(queueing.queue_s(each_s, rate)) if rate else 0.0
    return Handover(
        workload, sent, link.latency_s + each_s + queue, 1.0 / each_s if each_s else 1e300
    )


def transfer_bytes(graph: ModelGraph, prompt_tokens: int) -> float:
    """KV cache and state of a prompt, each head once however the pools split them. [B]"""
    return sum(
        count * float(operator.demand().held_kv_bytes(float(prompt_tokens), 1.0))
        for kind, count in zip(graph.kinds, graph.kind_counts, strict=True)
        for operator in kind[0].operators
    )


def score_disaggregated(
    prefill_plan: Plan,
    decode_plan: Plan,
    graph: ModelGraph,
    workload: Workload,
    *,
    prefill: Topology,
    decode: Topology,
    link: Link,
    power_scope: PowerScope | None = None,
) -> DisaggregatedScore:
    """The price of two plans of one model, on a pool for prompts and a pool for later tokens.

    All chips of both topologies are held. Errors are those of `score_plan`; an InfeasibleError too
    where the link carries less than comes.
    """
    over = handover(graph, workload, link)
    first = score_plan(prefill_plan, graph, prefill, over.prefill, power_scope=power_scope)
    later = score_plan(decode_plan, graph, decode, over.decode, power_scope=power_scope)
    served = {
        "arrivals": workload.requests_per_s or float("inf"),
        "prefill": first.tokens_per_s / workload.output_tokens,
        "decode": later.tokens_per_s / workload.output_tokens,
        "link": over.link_requests_per_s,
    }
    slowest = min(served, key=lambda name: served[name])
    tokens = workload.output_tokens - 1
    tpot, moving, waiting = (
        later.request_s / tokens,
        over.transfer_s / tokens,
        (later.ttft_s - over.transfer_s) / tokens,
    )
    return DisaggregatedScore(
        ttft_s=first.ttft_s,
        tpot_s=tpot,
        request_s=first.ttft_s + later.request_s,
        tokens_per_s_per_user=1.0 / tpot,
        requests_per_s=served[slowest],
        **_bill(
            served[slowest] * workload.output_tokens, power_scope,
            (prefill_plan, first, graph, prefill, over.prefill), (decode_plan, later, graph, decode, over.decode),
        ),
        chips=prefill.chips + decode.chips,
        batch_size=later.batch_size,
        memory_headroom_bytes=min(first.memory_headroom_bytes, later.memory_headroom_bytes),
        breakdown=(StageTime(hop_s=moving, bubble_s=waiting), *later.breakdown),
        prefill_breakdown=first.prefill_breakdown,
        transfer_bytes=over.transfer_bytes,
        transfer_s=over.transfer_s,
        link_requests_per_s=over.link_requests_per_s,
        slowest=slowest,
        prefill=first,
        decode=later,
    )  # fmt: skip


Pool = tuple[Plan, Score, ModelGraph, Topology, Workload]


def _bill(tokens_per_s: float, scope: PowerScope | None, *pools: Pool) -> dict[str, object]:
    """What the pools hold, and what that costs at a rate that one of them may serve with time to
    spare."""
    topologies = [topology for _, _, _, topology, _ in pools]
    scopes = [chosen_power(topology, scope)[1] for topology in topologies]
    common = scopes[0] if len(set(scopes)) == 1 else "unknown" if "unknown" in scopes else "chip"
    known = (
        [chosen_power(topology, common)[0] for topology in topologies]
        if common != "unknown"
        else []
    )
    power = (
        sum(_power_w(draws, pool, tokens_per_s) for draws, pool in zip(known, pools, strict=True))
        if all(known) and known
        else None
    )
    prices = [topology.price.usd_per_chip_hour for topology in topologies]
    hourly = sum(
        price * topology.chips
        for price, topology in zip(prices, topologies, strict=True)
        if price is not None
    )
    return {
        "tokens_per_s": tokens_per_s,
        "power_w": power,
        "power_scope": common if power is not None else "unknown",
        "energy_per_token_j": None if power is None else power / tokens_per_s,
        "usd_per_million_tokens": (
            None
            if None in prices
            else float(energy.usd_per_million_tokens(1.0, hourly, tokens_per_s))
        ),
    }


def _power_w(draws: tuple[energy.Draw, ...], pool: Pool, tokens_per_s: float) -> float:
    """Of all chips of a pool, which is as active as what goes through it asks."""
    plan, score, graph, topology, workload = pool
    at = scheduled(
        workload, topology.software, batch_size=score.batch_size, replicas=plan.replicas, micro_batches=plan.micro_batches,
    )  # fmt: skip
    each_s = (
        plan.replicas
        * active_chip_s(serving_prices(graph, topology, workload), at)
        / score.batch_size
    )
    return float(
        energy.energy_j(draws, topology.chips, each_s * tokens_per_s / workload.output_tokens)
    )
