"""`score_plan`: what any plan costs, whoever made it, and where its time goes."""

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from planner.catalogue import load_software
from planner.cost import energy
from planner.errors import InfeasibleError, InputError, UnknownNameError
from planner.machines.topology import CollectiveKind, PowerScope, Residual, Software, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.collectives import group_collective_s, spans_of
from planner.pricing.denoising import sample_active_chip_s, sample_utilisation, sampling_of
from planner.pricing.drafts import serving_prices
from planner.pricing.holdings import ledger_of
from planner.pricing.price_list import PriceList, utilisation
from planner.pricing.queueing import Load, batch_of, load_of
from planner.pricing.schedule import Schedule, scheduled
from planner.pricing.timing import (
    ALL_CAUSES,
    Timing,
    active_chip_s,
    bubble_fraction,
    timing_of,
    useful_of_cycle,
)
from planner.records import Record
from planner.scoring.checking import Violation, check_plan
from planner.workload import Workload

Floats = NDArray[np.float64]


class StageTime(Record):
    """Seconds of one stage, by cause."""

    compute_s: float = 0.0
    memory_s: float = 0.0
    collective_s: float = 0.0
    hop_s: float = 0.0
    overhead_s: float = 0.0
    bubble_s: float = 0.0
    """Waiting for the slowest stage, or for a turn."""

    @property
    def total_s(self) -> float:
        return self.compute_s + self.memory_s + self.collective_s + self.hop_s + self.overhead_s + self.bubble_s


class StageScore(Record):
    """One stage of a plan, as it runs."""

    first_layer: str
    last_layer: str
    layers: int
    chips: int
    """Of one replica."""
    first_chip: int
    tensor_parallel: int
    expert_parallel: int
    sequence_parallel: int
    attention_parallel: int
    weight_bytes: float
    """On each chip."""
    kv_bytes: float
    activation_bytes: float
    usable_bytes: float
    decode_s: float
    """Busy with one pass of one micro-batch, of a diffusion model with one step."""
    prefill_s: float
    """Busy with one pass of prompt tokens, of a diffusion model with what runs once."""
    decode_flop: float
    """Operations of a decode pass on one chip."""
    decode_moved_bytes: float
    """Between one chip and its memory in a decode pass."""

    @property
    def needed_bytes(self) -> float:
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


LIKE: dict[str, tuple[str, ...]] = {
    "tokens_per_s_per_user": ("tpot_s",),
    "usd_per_million_tokens": ("tokens_per_s", "request_s"),
    "tokens_per_s": ("request_s", "tpot_s"),
    "request_s": ("tpot_s", "tokens_per_s"),
    "energy_per_token_j": ("tokens_per_s", "request_s", "tpot_s"),
    "step_s": ("image_s",),
    "image_s": ("step_s",),
    "samples_per_s": ("image_s", "step_s"),
    "energy_per_sample_j": ("image_s", "step_s"),
    "mfu_fraction": ("request_s", "tokens_per_s", "tpot_s"),
    "mbu_fraction": ("request_s", "tokens_per_s", "tpot_s"),
}
"""A field that was never measured on a stack is taken to be as uncertain as the first of these that was."""
UNCERTAIN = ("ttft_s", "tpot_s", "power_w", *LIKE)
"""Fields with an interval; the others are counted and not predicted."""
UNMEASURED = 0.7
"""Half width of a field of a stack on which nothing was measured: a factor of two either way."""


class Score(Record):
    """What a plan costs. Times are means of the busiest replica; rates, power and price are of the whole deployment.

    Of a diffusion model a whole batch of samples stands in for a request and for each of its tokens: all their times are
    `image_s`, tokens are samples.
    """

    ttft_s: float
    """To the first token: of a whole batch that starts as one, or of one request that joins a loaded server."""
    tpot_s: float
    """Between later tokens of one request; the first is not counted."""
    request_s: float
    """To the last token."""
    tokens_per_s: float
    """Output tokens of all users, in the steady state."""
    tokens_per_s_per_user: float
    energy_per_token_j: float | None
    """For one output token, everything held; None where the power is not known."""
    usd_per_million_tokens: float | None
    """Of output; None where the price is not known."""
    power_w: float | None
    power_scope: Literal["chip", "system", "unknown"]
    """Chip: chips or cards alone. System: everything at the wall."""
    chips: int
    """Held."""
    batch_size: int
    """Sequences in flight in the whole deployment."""
    memory_headroom_bytes: float
    """Least over the chips."""
    bubble_fraction: float
    """Share of the stages' time, over a request, in which they wait."""
    mfu_fraction: float
    """Useful operations over those that the peak allows, prefill and decode."""
    mbu_fraction: float
    """Useful bytes (weights once a pass, KV cache once a token) over those that the bandwidth allows."""
    breakdown: tuple[StageTime, ...]
    """One output token, by stage; sums to `tpot_s`, of a diffusion model to `step_s`."""
    prefill_breakdown: tuple[StageTime, ...]
    """The first token, by stage; sums to `ttft_s`."""
    residuals: tuple[Residual, ...] = ()
    """How uncertain the fields are (see `interval`)."""
    stages: tuple[StageScore, ...]
    load: Load | None = None
    """Of one replica, where requests come at a rate (see `percentile`)."""
    step_s: float | None = None
    """One denoising step of a batch of samples; None for language models, as the next three are."""
    image_s: float | None = None
    """Until a batch of pictures or videos is ready, text encoding and decoding included."""
    samples_per_s: float | None = None
    """Of the whole deployment, one batch after the other."""
    energy_per_sample_j: float | None = None
    """For one picture or video, everything held; None too where the power is not known."""

    def percentile(self, field: str, probability: float) -> float:
        """What `ttft_s`, `tpot_s` or `request_s` of a request stays within with that probability, where requests come at a
        rate. [s]

        Prompts wait for one another as in a queue of equal services at one server; the time per token follows from how many
        happen to be in flight, as in generalised processor sharing. Both hold for a Poisson stream of requests of one size,
        up to 90 % of what the plan can serve, while memory has room for those that come; those of later tokens where a
        prompt takes at most 15 % of their time. An InputError says where that ends.
        """
        if self.load is None:
            raise InputError("percentiles need a rate of requests; give Workload(requests_per_s=…)")
        return self.load.percentile(field, probability)

    def interval(self, field: str, probability: float = 0.8) -> tuple[float, float]:
        """Where the measured figure would lie with that probability, in the field's unit.

        Errors are taken to follow a Laplace distribution on a logarithmic scale; its width comes from what was measured on
        the software stack. A field that is counted and not predicted has no width.
        """
        value = getattr(self, field, None) if field in type(self).model_fields else None
        if not isinstance(value, int | float):
            numbers = [name for name in type(self).model_fields if isinstance(getattr(self, name), int | float)]
            raise UnknownNameError("numeric field of this score", field, numbers)
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        width = next((one.half_width for one in self.residuals if one.field == field), 0.0)
        factor = math.exp(width * math.log(1 - probability) / math.log(0.2))
        return float(value) / factor, float(value) * factor


def score_plan(
    plan: Plan,
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    power_scope: PowerScope | None = None,
    exclude: Iterable[int] = (),
) -> Score:
    """The price of a plan; `exclude` names chips that it may not use.

    `power_scope` says what counts as power: "chip" or "system"; None takes the system's where it is known. An
    InfeasibleError says what does not fit; an InputError, which rule the plan breaks.
    """
    refuse_broken(check_plan(plan, graph, topology, workload, exclude=exclude))
    prices = serving_prices(graph, topology, workload)
    batch_size = batch_of(prices, plan, workload)
    at = scheduled(
        workload, topology.software, batch_size=batch_size, replicas=plan.replicas, micro_batches=plan.micro_batches,
        graph=graph,
    )  # fmt: skip
    if graph.is_diffusion:
        return _sample_score(prices, plan, at, batch_size, power_scope)
    timing = timing_of(prices, plan, at)
    served = batch_size / timing.cycle_s if workload.requests_per_s is None else workload.requests_per_s
    rate = served * workload.output_tokens
    stages = tuple(stage_score(prices, plan, number, at, timing) for number in range(len(plan.stages)))
    return Score(
        ttft_s=timing.ttft_s,
        tpot_s=timing.tpot_s,
        request_s=timing.request_s,
        tokens_per_s_per_user=1.0 / timing.tpot_s,
        batch_size=batch_size,
        bubble_fraction=bubble_fraction(timing, at),
        **_bill(plan, topology, stages, rate, power_scope, batch_size / served, active_chip_s(prices, at)),
        **_utilisation(prices, plan, at, batch_size / served),
        breakdown=breakdown_of(timing.token),
        prefill_breakdown=breakdown_of(timing.first_token),
        load=None if workload.requests_per_s is None else load_of(prices, plan, at, timing),
    )


def _sample_score(
    prices: PriceList, plan: Plan, at: Schedule, batch_size: int, power_scope: PowerScope | None
) -> Score:
    """The price of a plan for a diffusion model."""
    topology, sampling = prices.topology, sampling_of(prices, plan, at)
    image_s, rate = sampling.image_s, batch_size / sampling.image_s
    passes = {
        "decode_s": sampling.step_s, "prefill_s": sampling.once_s, "decode_flop": sampling.step_flop,
        "decode_moved_bytes": sampling.step_moved_bytes,
    }  # fmt: skip
    stages = (_stage_score(prices, plan, 0, at, passes),)
    bill = _bill(plan, topology, stages, rate, power_scope, image_s, sample_active_chip_s(prices, at))
    whole = sampling.once + sampling.steps * sampling.step
    return Score(
        ttft_s=image_s,
        tpot_s=image_s,
        request_s=image_s,
        tokens_per_s_per_user=1.0 / image_s,
        batch_size=batch_size,
        bubble_fraction=0.0,
        **bill,
        **sample_utilisation(prices, plan, at, image_s),
        breakdown=breakdown_of(np.array([[*sampling.step, 0.0, 0.0]])),
        prefill_breakdown=breakdown_of(np.array([[*whole, 0.0, 0.0]])),
        step_s=sampling.step_s,
        image_s=image_s,
        samples_per_s=rate,
        energy_per_sample_j=bill["energy_per_token_j"],
    )


def _bill(
    plan: Plan,
    topology: Topology,
    stages: tuple[StageScore, ...],
    rate: float,
    power_scope: PowerScope | None,
    cycle_s: float,
    active_chip_s: float,
) -> dict[str, Any]:
    """What a plan holds, and what that costs at a rate of so many tokens, or samples, a second; a replica is active so many
    chip-seconds in a cycle."""
    draws, scope = chosen_power(topology, power_scope)
    price, held = topology.price.usd_per_chip_hour, _held_chips(plan, topology, stages)
    power = float(energy.energy_j(draws, held, plan.replicas * active_chip_s / cycle_s)) if draws else None
    return {
        "tokens_per_s": rate,
        "energy_per_token_j": None if power is None else power / rate,
        "usd_per_million_tokens": None if price is None else float(energy.usd_per_million_tokens(held, price, rate)),
        "power_w": power,
        "power_scope": scope,
        "chips": plan.chips,
        "memory_headroom_bytes": min(stage.usable_bytes - stage.needed_bytes for stage in stages),
        "residuals": residuals_of(topology.software),
        "stages": stages,
    }


def collective_s(
    topology: Topology,
    kind: str,
    ranks: int,
    message_bytes: float,
    *,
    software: str | None = None,
    ranks_per_node: int | None = None,
) -> float:
    """One collective among `ranks` chips of an otherwise idle machine. [s]

    `kind` is one of all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, send_recv; `message_bytes` is the
    payload of one rank, as `cost.collectives` counts it; `software` replaces the topology's stack; `ranks_per_node`
    spreads the ranks over nodes.
    """
    if software is not None:
        topology = topology.replace(software=load_software(software))
    if kind not in get_args(CollectiveKind):
        raise UnknownNameError("collective", kind, get_args(CollectiveKind))
    if not 1 <= ranks <= topology.chips:
        raise InputError(f"ranks must lie between 1 and the {topology.chips} chips of {topology.name}, not {ranks}")
    if not message_bytes >= 0:
        raise InputError(f"message_bytes must not be negative, not {message_bytes}")
    spans = spans_of(topology, 0, ranks)
    if ranks_per_node is not None and not 1 <= ranks_per_node <= ranks:
        raise InputError(f"ranks_per_node must lie between 1 and the {ranks} ranks, not {ranks_per_node}")
    if ranks_per_node and len(spans) > 1:
        spans = (ranks_per_node, math.ceil(ranks / ranks_per_node), *(1 for _ in spans[2:]))
    return float(group_collective_s(topology, kind, spans, message_bytes))


def refuse_broken(violations: tuple[Violation, ...]) -> None:
    """Raise what a broken plan deserves."""
    if not violations:
        return
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    if first.rule in ("memory", "sequences", "rate"):
        raise InfeasibleError(first.message + more, resource=first.rule, demand=first.demand, capacity=first.capacity)
    raise InputError(first.message + more)


def residuals_of(software: Software) -> tuple[Residual, ...]:
    """How uncertain the fields of a score are: as measured on the stack, or as much as what they depend on."""
    for last, residuals in _RECENT:
        if last is software:
            return residuals
    known = {residual.field: residual.half_width for residual in software.residuals}

    def half_width(field: str) -> float:
        return next((known[name] for name in (field, *LIKE.get(field, ())) if name in known), UNMEASURED)

    _RECENT.append((software, tuple(Residual(field=field, half_width=half_width(field)) for field in UNCERTAIN)))
    return _RECENT[-1][1]


_RECENT: deque[tuple[Software, tuple[Residual, ...]]] = deque(maxlen=4)


def chosen_power(
    topology: Topology, scope: PowerScope | None
) -> tuple[tuple[energy.Draw, ...], Literal["chip", "system", "unknown"]]:
    """What each chip held draws, none where that is not known; and what it counts."""
    power = topology.power
    known = {"system": power.system_w, "chip": power.chip_w}
    wanted: tuple[PowerScope, ...] = (scope,) if scope else ("system", "chip")
    for candidate in wanted:
        provisioned = known[candidate]
        if provisioned is not None:
            chip_w = provisioned if power.chip_w is None else min(power.chip_w, provisioned)
            return energy.drawn_w(chip_w, power.idle_share, power.host_share * (provisioned - chip_w)), candidate
    return (), "unknown"


def breakdown_of(parts: Floats) -> tuple[StageTime, ...]:
    """Seconds by stage and cause, as records."""
    return tuple(
        StageTime(**{f"{cause}_s": float(seconds) for cause, seconds in zip(ALL_CAUSES, stage, strict=True)})
        for stage in parts
    )


def stage_score(prices: PriceList, plan: Plan, number: int, at: Schedule, timing: Timing) -> StageScore:
    """A stage of a plan for a language model, under the price list of its chips."""
    decode = timing.decode
    passes = {
        "decode_s": float(decode.seconds[number, :-1].sum()),
        "prefill_s": float(timing.prefill.seconds[number, :-1].sum()),
        "decode_flop": float(decode.flop[number]),
        "decode_moved_bytes": float(decode.moved_bytes[number]),
    }
    return _stage_score(prices, plan, number, at, passes)


def _stage_score(prices: PriceList, plan: Plan, number: int, at: Schedule, passes: dict[str, float]) -> StageScore:
    stage = plan.stages[number]
    ledger = ledger_of(prices, stage, at)
    return StageScore(
        first_layer=stage.layers[0],
        last_layer=stage.layers[-1],
        layers=len(stage.layers),
        chips=stage.group_chips,
        first_chip=stage.groups[0].first,
        tensor_parallel=stage.tensor_parallel,
        expert_parallel=stage.expert_parallel,
        sequence_parallel=stage.sequence_parallel,
        attention_parallel=stage.attention_parallel,
        weight_bytes=ledger.weight_bytes,
        kv_bytes=ledger.kv_bytes,
        activation_bytes=ledger.activation_bytes,
        usable_bytes=ledger.usable_bytes,
        **passes,
    )


def _held_chips(plan: Plan, topology: Topology, stages: tuple[StageScore, ...]) -> float:
    """Chips that count for power and price: all of them whole, or the share that is filled where they are divisible."""
    if not topology.divisible:
        return float(plan.chips)
    capacity = topology.chip.memory[0].capacity_bytes
    return sum(stage.chips * plan.replicas * (stage.weight_bytes + stage.kv_bytes) / capacity for stage in stages)


def _utilisation(prices: PriceList, plan: Plan, at: Schedule, cycle_s: float) -> dict[str, float]:
    """MFU and MBU over a cycle: what the passes need however they are split, over what the chips could do."""
    return utilisation(prices, cycle_s * plan.chips / plan.replicas, useful_of_cycle(prices.graph, at))
