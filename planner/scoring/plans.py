"""`score_plan`: what any plan costs, whoever made it, and where its time goes."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost import energy
from planner.errors import InfeasibleError, InputError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, counted, power_basis_of
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.plan import Plan, Stage
from planner.pricing.denoising import sample_active_chip_s, sample_utilisation, sampling_of
from planner.pricing.deployment import Deployment
from planner.pricing.holdings import Ledger
from planner.pricing.price_list import PriceList, utilisation
from planner.pricing.queueing import batch_of, load_of, loop_of
from planner.pricing.schedule import Schedule
from planner.pricing.seats import seated
from planner.pricing.served import Served, settled
from planner.pricing.stacks import machine_for
from planner.pricing.timing import (
    ALL_CAUSES,
    Timing,
    active_chip_s,
    bubble_fraction,
    others_prompts_s,
    useful_of_cycle,
)
from planner.pricing.traffic import Moved, Place, sample_traffic, token_traffic
from planner.scoring.checking import (
    Violation,
    check_drafts,
    check_memory,
    check_structure,
)
from planner.scoring.score import COUNTED_AT_A_RATE, Score, StageScore, StageTime, Traffic
from planner.scoring.vouching import Vouched, vouched
from planner.workload import Workload

Floats = NDArray[np.float64]


@guarded
def score_plan(
    plan: Plan,
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    *,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    exclude: Iterable[int] = (),
) -> Score:
    """The price of a plan; `exclude` names chips that it may not use. More sequences than it holds
    wait in a queue (`Score.queued`), as long as each replica holds one.

    `power_scope` says what counts as power: "chip", "system" or "facility" (with what the site
    loses); None takes the system's where it is known. `power_basis` says whether that is what is
    "drawn", or what is "provisioned" whatever is drawn; `price_basis` what a price pays for:
    "chip", "node" or "rental". An InfeasibleError says what does not fit; an InputError, which rule
    the plan breaks.
    """
    graph, topology = model_of(graph), machine_of(topology)
    machine = counted(topology, price_basis=price_basis, power_basis=power_basis)
    served = Served(graph, machine_for(graph, machine), settled(workload, plan))
    return _score(seated(_deployed(plan, served, exclude)), power_scope)


def score_served(
    plan: Plan,
    served: Served,
    *,
    power_scope: PowerScope | None = None,
    exclude: Iterable[int] = (),
) -> Score:
    """The same of one plan of many for one question, whose price list they share; all sequences
    in flight have to fit."""
    return _score(_deployed(plan, served, exclude), power_scope)


def _deployed(plan: Plan, served: Served, exclude: Iterable[int]) -> Deployment:
    """A plan in service, once it makes sense."""
    refuse_broken(check_structure(plan, served.graph, served.topology, exclude=exclude))
    refuse_broken(tuple(check_drafts(plan, served)))
    return Deployment(plan, [served] * len(plan.stages))


def _score(deployment: Deployment, power_scope: PowerScope | None) -> Score:
    batch_size = batch_of(deployment)
    refuse_broken(tuple(check_memory(deployment, batch_size)))
    if deployment.served.graph.is_diffusion:
        return _sample_score(deployment, batch_size, power_scope)
    return _token_score(deployment, batch_size, power_scope)


def _token_score(deployment: Deployment, batch_size: int, power_scope: PowerScope | None) -> Score:
    """The price of a plan for a language model."""
    plan = deployment.plan
    served = deployment.served
    at = deployment.schedule(batch_size)
    timing = deployment.timing(at)
    requests_per_s = served.workload.requests_per_s
    ended = served.workload.taken_share * batch_size
    rate = requests_per_s or ended / timing.cycle_s
    period_s = ended / rate
    stages = stage_scores(deployment, at, timing)
    how_sure = vouched(plan, served.graph, served.topology, served.workload, batch_size)
    if requests_per_s is not None:
        how_sure = as_at_a_rate(how_sure)
    bill = _bill(
        plan,
        served.topology,
        how_sure,
        stages,
        rate * served.workload.output_tokens,
        power_scope,
        period_s,
        active_chip_s(served.prices, at),
        served.workload,
    )
    return Score(
        ttft_s=timing.ttft_s,
        tpot_s=timing.tpot_s,
        others_prompts_s=others_prompts_s(timing, at),
        request_s=timing.request_s,
        tokens_per_s_per_user=1.0 / timing.tpot_s,
        requests_per_s=rate,
        tokens_per_s_per_chip=bill["tokens_per_s"] / plan.chips,
        batch_size=batch_size,
        queued=served.workload.queued,
        queued_s=timing.queued_s,
        bubble_fraction=bubble_fraction(timing, at),
        **bill,
        **_utilisation(served.prices, plan, at, period_s),
        breakdown=breakdown_of(timing.token),
        prefill_breakdown=breakdown_of(timing.first_token),
        load=load_of(deployment) if requests_per_s else loop_of(at, timing),
        traffic=traffic_rows(
            token_traffic(deployment, at, timing),
            deployment,
            ended * served.workload.output_tokens,
        ),
    )


def traffic_rows(
    moved: Mapping[Place, Moved], deployment: Deployment, outputs: float
) -> tuple[Traffic, ...]:
    """What is moved for each of so many tokens, or samples, memories first."""
    held = deployment.plan.chips
    order = ("memory", "host", "fabric")
    ranked = sorted(moved, key=lambda place: order.index(place.kind))
    machines = {id(one.topology): one.topology for one in deployment.each}
    most = _most_moved(next(iter(machines.values())), held) if len(machines) == 1 else {}
    return tuple(
        Traffic(
            tier=place.tier,
            kind=place.kind,
            decode_bytes=moved[place].decode_bytes / outputs,
            prefill_bytes=moved[place].prefill_bytes / outputs,
            most_bytes_per_s=most.get(place),
        )
        for place in ranked
    )


def _most_moved(topology: Topology, chips: int) -> dict[Place, float]:
    """What so many chips can move, where each has one way there. [B/s]"""
    found = {
        Place(tier.name, "memory"): chips * tier.bandwidth_bytes_per_s
        for tier in topology.chip.memory
    }
    host = topology.host
    if host is not None:
        memory = host.processor.memory[0]
        found[Place(host.name or "host", "host")] = chips * memory.bandwidth_bytes_per_s
    for fabric in topology.fabrics:
        if fabric.shape == "switch" and fabric.detour_bandwidth_bytes_per_s is None:
            found[Place(fabric.name, "fabric")] = chips * fabric.bandwidth_bytes_per_s
    return found


def as_at_a_rate(how_sure: Vouched) -> Vouched:
    """Where requests come at a rate, without widths of what that rate decides."""
    kept = (one for one in how_sure.residuals if one.field not in COUNTED_AT_A_RATE)
    return how_sure._replace(residuals=tuple(kept))


def _sample_score(deployment: Deployment, batch_size: int, power_scope: PowerScope | None) -> Score:
    """The price of a plan for a diffusion model."""
    plan = deployment.plan
    served = deployment.served
    at = deployment.schedule(batch_size)
    sampling = sampling_of(served.prices, plan, at)
    image_s = sampling.image_s
    rate = batch_size / image_s
    (ledger,) = deployment.ledgers(at)
    stage = _stage_score(
        plan.stages[0],
        ledger,
        decode_s=sampling.step_s,
        prefill_s=sampling.once_s,
        decode_flop=sampling.step_flop,
        decode_moved_bytes=sampling.step_moved_bytes,
    )
    active_s = sample_active_chip_s(served.prices, at)
    how_sure = vouched(plan, served.graph, served.topology, served.workload, batch_size)
    bill = _bill(plan, served.topology, how_sure, (stage,), rate, power_scope, image_s, active_s)
    usd = bill["usd_per_million_tokens"]
    whole = sampling.once + sampling.steps * sampling.step
    return Score(
        ttft_s=image_s,
        tpot_s=image_s,
        request_s=image_s,
        tokens_per_s_per_user=1.0 / image_s,
        batch_size=batch_size,
        bubble_fraction=0.0,
        **bill,
        **sample_utilisation(served.prices, plan, at, image_s),
        breakdown=breakdown_of(np.array([[*sampling.step, 0.0, 0.0]])),
        prefill_breakdown=breakdown_of(np.array([[*whole, 0.0, 0.0]])),
        step_s=sampling.step_s,
        image_s=image_s,
        samples_per_s=rate,
        traffic=traffic_rows(sample_traffic(deployment, at, sampling), deployment, batch_size),
        energy_per_sample_j=bill["energy_per_token_j"],
        usd_per_sample=None if usd is None else usd / 1e6,
    )


def _bill(
    plan: Plan,
    topology: Topology,
    how_sure: Vouched,
    stages: tuple[StageScore, ...],
    rate: float,
    power_scope: PowerScope | None,
    cycle_s: float,
    active_chip_s: float,
    workload: Workload | None = None,
) -> dict[str, Any]:
    """What a plan holds, and what that costs at a rate of so many tokens, or samples, a second;
    a replica is active so many chip-seconds in a cycle. `workload` is that of requests for tokens,
    which may have a price of their own."""
    draws, scope = chosen_power(topology, power_scope)
    price = topology.price.usd_per_chip_hour
    held = _held_chips(plan, topology, stages)
    power: float | None = None
    joules: float | None = None
    dollars: float | None = None
    hourly: float | None = None
    if draws:
        power = float(energy.energy_j(draws, held, plan.replicas * active_chip_s / cycle_s))
        joules = power / rate
    if price is not None:
        dollars = float(energy.usd_per_million_tokens(held, price, rate))
        hourly = held * price
    elif workload is not None:
        dollars = _asked_usd(topology, workload)
        hourly = None if dollars is None else dollars * rate * energy.SECONDS_PER_HOUR / 1e6
    return {
        "tokens_per_s": rate,
        "energy_per_token_j": joules,
        "usd_per_million_tokens": dollars,
        "usd_per_hour": hourly,
        "power_w": power,
        "power_scope": scope,
        "power_basis": power_basis_of(topology) if draws else "unknown",
        "price_basis": topology.price.basis,
        "chips": plan.chips,
        "memory_headroom_bytes": min(stage.usable_bytes - stage.needed_bytes for stage in stages),
        **how_sure._asdict(),
        "stages": stages,
    }


def _asked_usd(topology: Topology, workload: Workload) -> float | None:
    """What users pay for a million output tokens and their prompts where a provider asks for
    tokens; None where nobody does."""
    offer = topology.price.offer(topology.price.basis)
    if offer is None:
        return None
    return offer.usd_per_million_tokens(workload.prompt_tokens, workload.output_tokens)


def refuse_broken(violations: tuple[Violation, ...]) -> None:
    """Raise what a broken plan deserves."""
    if not violations:
        return
    first = violations[0]
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    if first.rule in ("memory", "sequences", "rate"):
        raise InfeasibleError(
            first.message + more, resource=first.rule, demand=first.demand, capacity=first.capacity
        )
    raise InputError(first.message + more)


def chosen_power(
    topology: Topology, scope: PowerScope | None
) -> tuple[tuple[energy.Draw, ...], PowerScope | Literal["unknown"]]:
    """What each chip held draws, none where that is not known; and what it counts."""
    known = topology.kept(_draws)
    wanted: tuple[PowerScope, ...] = (scope,) if scope else ("system", "chip")
    for candidate in wanted:
        if candidate in known:
            return known[candidate], candidate
    return (), "unknown"


def _draws(topology: Topology) -> dict[PowerScope, tuple[energy.Draw, ...]]:
    """What each chip held draws in each scope in which that is known."""
    power = topology.power
    provisioned_w: dict[PowerScope, float | None] = {
        "system": power.system_w,
        "chip": power.chip_w,
        "facility": power.system_w,
    }
    found = {}
    for scope, provisioned in provisioned_w.items():
        if provisioned is None:
            continue
        chip_w = provisioned if power.chip_w is None else min(power.chip_w, provisioned)
        draws = energy.drawn_w(chip_w, power.idle_share, power.host_share * (provisioned - chip_w))
        lost = topology.price.economics.pue if scope == "facility" else 1.0
        found[scope] = tuple(draw.times(lost) for draw in draws)
    return found


def breakdown_of(parts: Floats) -> tuple[StageTime, ...]:
    """Seconds by stage and cause, as records."""
    names = [f"{cause}_s" for cause in ALL_CAUSES]
    return tuple(StageTime(**dict(zip(names, stage, strict=True))) for stage in parts.tolist())


def stage_scores(deployment: Deployment, at: Schedule, timing: Timing) -> tuple[StageScore, ...]:
    """The stages of a plan for a language model."""
    decode, prefill = timing.decode, timing.prefill
    ledgers = deployment.ledgers(at)
    return tuple(
        _stage_score(
            stage,
            ledgers[number],
            decode_s=float(decode.busy_s[number, 0]),
            prefill_s=float(prefill.busy_s[number, 0]),
            decode_flop=float(decode.flop[number]),
            decode_moved_bytes=float(decode.moved_bytes[number]),
        )
        for number, stage in enumerate(deployment.plan.stages)
    )


def _stage_score(stage: Stage, ledger: Ledger, **passes: float) -> StageScore:
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
        workspace_bytes=ledger.workspace_bytes,
        usable_bytes=ledger.usable_bytes,
        offloaded_layers=len(stage.offloaded),
        offloaded_bytes=ledger.offloaded_bytes,
        offload_bytes=ledger.offload_bytes,
        **passes,
    )


def _held_chips(plan: Plan, topology: Topology, stages: tuple[StageScore, ...]) -> float:
    """Chips that count for power and price: all of them whole, or the share that is filled where
    they are divisible."""
    if not topology.divisible:
        return float(plan.chips)
    capacity = topology.chip.memory[0].capacity_bytes
    return sum(
        stage.chips * plan.replicas * (stage.weight_bytes + stage.kv_bytes) / capacity
        for stage in stages
    )


def _utilisation(prices: PriceList, plan: Plan, at: Schedule, cycle_s: float) -> dict[str, float]:
    """MFU and MBU over a cycle: what the passes need however they are split, over what the chips
    could do."""
    return utilisation(
        prices, cycle_s * plan.chips / plan.replicas, useful_of_cycle(prices.graph, at)
    )
