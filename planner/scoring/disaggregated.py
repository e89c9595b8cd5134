"""Prefill and decode on pools of their own: what two plans cost together, the transfer of the KV
cache included."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost import energy, queueing
from planner.errors import InfeasibleError, InputError
from planner.guards import guarded
from planner.machines.accounts import (
    PowerBasis,
    alike_machines,
    common_power_basis,
    common_price_basis,
)
from planner.machines.prices import OfferBasis, PriceBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.queueing import FULL
from planner.pricing.served import Served
from planner.pricing.timing import active_chip_s
from planner.records import Record
from planner.scoring.plans import chosen_power, score_served
from planner.scoring.score import Score, StageTime
from planner.units import BytesPerS, Seconds, spoken
from planner.workload import Workload


class Link(Record):
    """The link from the prefill pool to the decode pool; caches cross it one after the other."""

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
    tokens_per_s_per_chip: float | None = None
    """Over the chips of both pools; None in files written before this was said."""
    energy_per_token_j: float | None
    """None where the power of either pool is not known."""
    usd_per_million_tokens: float | None
    """None where the price of either pool is not known."""
    usd_per_hour: float | None = None
    """What the chips of both pools cost; None likewise, and in files written before this was
    said."""
    power_w: float | None
    power_scope: PowerScope | Literal["unknown"]
    power_basis: PowerBasis | Literal["unknown"] = "unknown"
    price_basis: PriceBasis = "unknown"
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
            "Workload.phase must be 'both', since the planner itself makes the prefill pool and the"
            f" decode pool, not {workload.phase!r}"
        )
    if graph.is_diffusion:
        raise InputError(
            f"{graph.name} is a diffusion model, which has no prefill; disaggregate a language"
            " model"
        )
    drafting = workload.speculation
    sent = transfer_bytes(graph, workload.prompt_tokens)
    if drafting is not None and drafting.draft is not None:
        sent += transfer_bytes(drafting.draft, workload.prompt_tokens)
    each_s = sent / link.bandwidth_bytes_per_s
    rate = workload.requests_per_s or 0.0
    if rate * each_s > FULL:
        raise InfeasibleError(
            f"the link is too slow: it carries {spoken(link.bandwidth_bytes_per_s, 'B/s')}, and"
            f" {rate:.4g} requests a second send {spoken(sent, 'B')} each, in all"
            f" {spoken(rate * sent, 'B/s')}; lower the rate or give a faster link",
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


@guarded
def score_disaggregated(
    prefill_plan: Plan,
    decode_plan: Plan,
    graph: AnyModel,
    workload: Workload,
    *,
    prefill: AnyMachine,
    decode: AnyMachine,
    link: Link,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
) -> DisaggregatedScore:
    """The price of two plans of one model, on a pool for prompts and a pool for later tokens.

    All chips of both topologies are held. Errors are those of `score_plan`; an InfeasibleError too
    where the link carries less than comes.
    """
    graph = model_of(graph)
    prefill, decode = machine_of(prefill), machine_of(decode)
    prefill, decode = alike_machines((prefill, decode), price_basis, power_basis)
    over = handover(graph, workload, link)
    prompts = Served(graph, prefill, over.prefill)
    tokens = Served(graph, decode, over.decode)
    first = score_served(prefill_plan, prompts, power_scope=power_scope)
    later = score_served(decode_plan, tokens, power_scope=power_scope)
    served = {
        "arrivals": workload.requests_per_s or float("inf"),
        "prefill": first.tokens_per_s / workload.output_tokens,
        "decode": later.tokens_per_s / workload.output_tokens,
        "link": over.link_requests_per_s,
    }
    slowest = min(served, key=lambda name: served[name])
    later_tokens = workload.output_tokens - 1
    tpot = later.request_s / later_tokens
    bill = _bill(
        served[slowest] * workload.output_tokens,
        power_scope,
        _InService(prefill_plan, first, prompts),
        _InService(decode_plan, later, tokens),
    )
    return DisaggregatedScore(
        ttft_s=first.ttft_s,
        tpot_s=tpot,
        request_s=first.ttft_s + later.request_s,
        tokens_per_s_per_user=1.0 / tpot,
        requests_per_s=served[slowest],
        **bill,
        chips=prefill.chips + decode.chips,
        batch_size=later.batch_size,
        memory_headroom_bytes=min(first.memory_headroom_bytes, later.memory_headroom_bytes),
        breakdown=(_until_placed(over, later, later_tokens), *later.breakdown),
        prefill_breakdown=first.prefill_breakdown,
        transfer_bytes=over.transfer_bytes,
        transfer_s=over.transfer_s,
        link_requests_per_s=over.link_requests_per_s,
        slowest=slowest,
        prefill=first,
        decode=later,
    )


def _until_placed(over: Handover, later: Score, tokens: int) -> StageTime:
    """What a request waits between the pools, shared out among its later tokens."""
    waiting = later.ttft_s - over.transfer_s
    return StageTime(hop_s=over.transfer_s / tokens, bubble_s=waiting / tokens)


class _InService(NamedTuple):
    """One of the two pools."""

    plan: Plan
    score: Score
    served: Served


def _bill(tokens_per_s: float, scope: PowerScope | None, *pools: _InService) -> dict[str, Any]:
    """What the pools hold, and what that costs at a rate that one of them may serve with time to
    spare."""
    machines = [pool.served.topology for pool in pools]
    held = [machine.chips for machine in machines]
    counted = common_scope(machines, scope)
    power: float | None = None
    if counted is not None:
        power = sum(_power_w(pool, counted, tokens_per_s) for pool in pools)
    return {
        "tokens_per_s": tokens_per_s,
        "tokens_per_s_per_chip": tokens_per_s / sum(held),
        **bill_of(machines, held, power, counted, tokens_per_s),
    }


def bill_of(
    machines: Sequence[Topology],
    chips: Sequence[int],
    power_w: float | None,
    scope: PowerScope | None,
    tokens_per_s: float,
) -> dict[str, Any]:
    """What machines that serve together cost at a rate, so many chips of each held, in the words of
    a score."""
    hourly = hourly_usd(machines, chips)
    dollars: float | None = None
    if hourly is not None:
        dollars = float(energy.usd_per_million_tokens(1.0, hourly, tokens_per_s))
    return {
        "power_w": power_w,
        "power_scope": scope or "unknown",
        "power_basis": common_power_basis(machines),
        "price_basis": "unknown" if hourly is None else machines[0].price.basis,
        "energy_per_token_j": None if power_w is None else power_w / tokens_per_s,
        "usd_per_million_tokens": dollars,
        "usd_per_hour": hourly,
    }


def hourly_usd(machines: Sequence[Topology], chips: Sequence[int]) -> float | None:
    """What so many chips of each machine cost in an hour; None where that is not known on one
    basis. [USD/h]"""
    if common_price_basis(machines) is None:
        return None
    hourly = 0.0
    for machine, count in zip(machines, chips, strict=True):
        price = machine.price.usd_per_chip_hour
        if price is None:
            return None
        hourly += count * price
    return hourly


def common_scope(topologies: Sequence[Topology], wanted: PowerScope | None) -> PowerScope | None:
    """What power counts, for both pools alike: what each takes where that is the same, else the
    chips; None where it is not known of both."""
    scopes = {chosen_power(topology, wanted)[1] for topology in topologies}
    if "unknown" in scopes:
        return None
    counted: PowerScope = "chip" if "chip" in scopes else wanted or "system"
    if all(chosen_power(topology, counted)[0] for topology in topologies):
        return counted
    return None


def _power_w(pool: _InService, scope: PowerScope, tokens_per_s: float) -> float:
    """Of all chips of a pool, which is as active as what goes through it asks."""
    plan, score, served = pool
    draws = chosen_power(served.topology, scope)[0]
    at = served.schedule(score.batch_size, plan.replicas, plan.micro_batches)
    each_s = plan.replicas * active_chip_s(served.prices, at) / score.batch_size
    active_s = each_s * tokens_per_s / served.workload.output_tokens
    return float(energy.energy_j(draws, served.topology.chips, active_s))
