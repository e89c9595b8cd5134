"""`score_pairing`: what a plan costs whose attention runs on one machine and whose feed-forward parts
run on another."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.cost import energy
from planner.errors import InputError
from planner.guards import guarded
from planner.machines.accounts import (
    PowerBasis,
    alike_machines,
)
from planner.machines.prices import OfferBasis, PriceBasis
from planner.machines.topology import PowerScope
from planner.plan import PairedPlan, Plan
from planner.pricing.holdings import Ledger, StageHoldings, split_of
from planner.pricing.pairs import Pair, PairPass, pair_pass
from planner.pricing.price_list import CAUSES, unoffered
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.records import Record
from planner.scoring.checking import (
    Violation,
    check_chips,
    check_layers,
    check_order,
    check_structure,
)
from planner.scoring.disaggregated import Link, bill_of, common_scope
from planner.scoring.plans import chosen_power, refuse_broken
from planner.scoring.score import StageTime
from planner.units import spoken
from planner.workload import Workload


class HalfScore(Record):
    """One of the two machines, as it runs."""

    chips: int
    """Held."""
    weight_bytes: float
    """On the fullest chip, as what follows."""
    kv_bytes: float
    activation_bytes: float
    workspace_bytes: float
    usable_bytes: float
    busy_fraction: float
    """Of its time, on the busiest chips."""
    time: StageTime
    """Of a token's time what it spends here."""
    power_w: float | None

    @property
    def needed_bytes(self) -> float:
        return self.weight_bytes + self.kv_bytes + self.activation_bytes + self.workspace_bytes


class PairedScore(Record):
    """What a pair of machines costs while it decodes for one model; fields are named as in `Score`,
    and count both machines. Prompts are run elsewhere, and are not included."""

    tpot_s: float
    request_s: float
    """From the moment that a request's cache has come, or starts to (`Workload.transfer_s`), to its
    last token: half a round until its turn, then its later tokens."""
    tokens_per_s: float
    """Output tokens of all users, in the steady state."""
    tokens_per_s_per_user: float
    tokens_per_s_per_chip: float
    requests_per_s: float
    energy_per_token_j: float | None
    """None where the power of either machine is not known."""
    usd_per_million_tokens: float | None
    """None where the price of either machine is not known."""
    usd_per_hour: float | None
    power_w: float | None
    power_scope: PowerScope | Literal["unknown"]
    power_basis: PowerBasis | Literal["unknown"]
    price_basis: PriceBasis
    chips: int
    """Of both machines, those that the plan holds."""
    batch_size: int
    """Sequences in flight."""
    memory_headroom_bytes: float
    """Least over the chips of both."""
    attention: HalfScore
    experts: HalfScore
    transfer_s: float
    """Of a token's time, what it spends between the two machines, all layers, both ways."""
    waiting_s: float
    """Of it, what it waits for its turn at whatever is busiest."""
    sent_bytes_per_token: float
    """That cross the link there and back, all layers."""
    link_busy_fraction: float
    """Of its busier direction."""
    slowest: Literal["attention", "experts", "link", "its own way"]
    """What sets `tpot_s`; its own way: nothing is busy all the time, more micro-batches would
    fit."""

    @property
    def breakdown(self) -> tuple[StageTime, ...]:
        """One token: attention, feed-forward parts, the link and the wait; sums to `tpot_s`."""
        between = StageTime(hop_s=self.transfer_s, bubble_s=self.waiting_s)
        return self.attention.time, self.experts.time, between


@guarded
def score_pairing(
    plan: PairedPlan,
    graph: AnyModel,
    workload: Workload,
    *,
    attention: AnyMachine,
    experts: AnyMachine,
    link: Link,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
) -> PairedScore:
    """The price of a plan that puts attention and feed-forward parts on two machines, in decode.

    `link` is all that joins the two, of its bandwidth in each direction. An InputError says which
    rule the plan breaks; an InfeasibleError, what does not fit.
    """
    graph, attention = model_of(graph), machine_of(attention)
    experts = machine_of(experts)
    attention, experts = alike_machines((attention, experts), price_basis, power_basis)
    check_decodes(workload)
    pair = Pair(graph, workload, attention, experts)
    refuse_broken(tuple(check_pairing(plan, pair)))
    return _scored(pair, plan, link, power_scope)


def check_decodes(workload: Workload) -> None:
    """An InputError where a workload is none that a pair of machines is planned for."""
    if workload.phase != "decode":
        raise InputError(
            "Workload.phase: a pair of attention and feed-forward machines runs decode only; make it"
            f" 'decode', not {workload.phase!r}, and run prefill on another pool"
        )
    if workload.is_stream or workload.queued:
        raise InputError(
            "Workload: a pair of machines needs a batch_size (None: the best one is chosen); leave"
            " requests_per_s, 'poisson' and queued out"
        )
    if workload.speculation is not None:
        raise InputError(
            "Workload.speculation: drafts cannot be priced for a pair of machines; make it None"
        )


def check_pairing(plan: PairedPlan, pair: Pair) -> Iterator[Violation]:
    """The rules that a plan breaks; of memory once all else is right."""
    broken = list(check_structure(plan.attention, pair.attention.graph, pair.attention.topology))
    broken += check_experts(plan.experts, pair.experts)
    if plan.attention.stages[0].attention_parallel > 1:
        broken.append(
            Violation(
                rule="degrees",
                message="PairedPlan.attention: sequences are shared out over replicas; each has as"
                " many chips as tensor_parallel × sequence_parallel",
            )
        )
    if plan.batch_size < plan.micro_batches:
        broken.append(
            Violation(
                rule="sequences",
                message=f"{plan.batch_size} sequences cannot be cut into {plan.micro_batches}"
                " micro-batches",
                demand=plan.micro_batches,
                capacity=plan.batch_size,
            )
        )
    yield from broken or _check_room(plan, pair)


def check_experts(plan: Plan, served: Served) -> Iterator[Violation]:
    """Of the feed-forward half: whole layers on chips of their own, split as its pricing knows
    it."""
    for check in (check_layers, check_order, check_chips):
        yield from check(plan, served.graph, served.topology)
    most = served.graph.splits().get("experts", (1,))[0]
    for number, stage in enumerate(plan.stages):
        straight = stage.expert_parallel > stage.tensor_parallel
        ways = stage.expert_parallel if straight else stage.tensor_parallel
        fault = unoffered(served.topology, split_of(stage))
        if stage.group_chips != ways or (straight and stage.tensor_parallel > 1):
            yield Violation(
                rule="degrees",
                message=f"PairedPlan.experts, stage {number}: its chips are split by"
                " tensor_parallel, with expert_parallel no more than that, or by expert_parallel"
                " alone",
            )
        elif stage.expert_parallel > most:
            yield Violation(
                rule="degrees",
                message=f"PairedPlan.experts, stage {number}: expert_parallel is"
                f" {stage.expert_parallel}, and its layers have {most} experts",
                demand=stage.expert_parallel,
                capacity=most,
            )
        elif fault is not None:
            yield Violation(
                rule="degrees",
                message=f"PairedPlan.experts, stage {number}: {served.software.name} has no"
                f" {fault}, which its split needs",
            )


def _check_room(plan: PairedPlan, pair: Pair) -> Iterator[Violation]:
    """Weights, caches and buffers fit on each chip, and the software takes so many sequences."""
    for name, (at, ledgers) in _ledgers(pair, plan).items():
        most = pair.attention.software.most_sequences
        if name == "attention" and at.sequences > most:
            yield Violation(
                rule="sequences",
                message=f"{at.sequences} sequences on a replica of the attention are more than the"
                f" {most} that {pair.attention.software.name} takes",
                demand=at.sequences,
                capacity=most,
            )
        for ledger in ledgers:
            if ledger.headroom_bytes < 0:
                yield Violation(
                    rule="memory",
                    message=f"a chip of the {name} machine would hold"
                    f" {spoken(ledger.needed_bytes, 'B')} (weights"
                    f" {spoken(ledger.weight_bytes, 'B')}, KV cache"
                    f" {spoken(ledger.kv_bytes, 'B')}), and may hold"
                    f" {spoken(ledger.usable_bytes, 'B')}",
                    demand=ledger.needed_bytes,
                    capacity=ledger.usable_bytes,
                )
                break


def _ledgers(pair: Pair, plan: PairedPlan) -> dict[str, tuple[Schedule, list[Ledger]]]:
    """Of each machine the schedule of its busiest replica, and what its stages' chips hold."""
    found = {}
    for name, half, served in (
        ("attention", plan.attention, pair.attention),
        ("experts", plan.experts, pair.experts),
    ):
        at = served.schedule(plan.batch_size, half.replicas, plan.micro_batches)
        found[name] = at, [StageHoldings(served, stage).ledger(at) for stage in half.stages]
    return found


class Account(NamedTuple):
    """What a plan holds on each machine, and how active that is in one round of all
    micro-batches."""

    chips: tuple[int, int]
    active_s: tuple[float, float]


def account_of(pair: Pair, plan: PairedPlan) -> Account:
    """Of a plan."""
    passes = plan.micro_batches
    replicas = plan.attention.replicas
    each = pair.step(plan.batch_size / passes / replicas)
    together = pair.step(plan.batch_size / passes)
    return Account(
        (plan.attention.chips, plan.experts.chips),
        (
            passes * replicas * pair.attention.prices.active_chip_s(each),
            passes * pair.experts.prices.active_chip_s(together),
        ),
    )


def _scored(
    pair: Pair, plan: PairedPlan, link: Link, power_scope: PowerScope | None
) -> PairedScore:
    way = pair_pass(pair, plan, link.bandwidth_bytes_per_s, link.latency_s)
    tpot = way.round_s(plan.micro_batches)
    held = _ledgers(pair, plan)
    at = held["attention"][0]
    request = at.request_overhead_s + (at.later_tokens + float(at.waiting_share)) * tpot
    rate = plan.batch_size / request
    tokens = rate * pair.workload.output_tokens
    account = account_of(pair, plan)
    rounds_per_s = at.later_tokens / request
    bill, watts = _bill(pair, account, rounds_per_s, tokens, power_scope)
    busy = {name: plan.micro_batches * each / tpot for name, each in way.busy_s.items()}
    halves = {
        name: HalfScore(
            chips=account.chips[number],
            busy_fraction=busy[name],
            time=_stage_time(way, name),
            power_w=watts[number],
            **_fullest(held[name][1]),
        )
        for number, name in enumerate(("attention", "experts"))
    }
    waiting = max(0.0, tpot - way.pass_s)
    return PairedScore(
        tpot_s=tpot,
        request_s=request,
        tokens_per_s=tokens,
        tokens_per_s_per_user=1.0 / tpot,
        tokens_per_s_per_chip=tokens / plan.chips,
        requests_per_s=rate,
        **bill,
        chips=plan.chips,
        batch_size=plan.batch_size,
        memory_headroom_bytes=min(
            ledger.headroom_bytes for _, ledgers in held.values() for ledger in ledgers
        ),
        **halves,
        transfer_s=way.link_s,
        waiting_s=waiting,
        sent_bytes_per_token=sum(pair.sent_bytes(plan.experts)),
        link_busy_fraction=busy["link"],
        slowest=way.slowest if waiting > 0 else "its own way",
    )


def _stage_time(way: PairPass, name: str) -> StageTime:
    causes = way.attention if name == "attention" else way.experts
    return StageTime(
        **{f"{cause}_s": float(each) for cause, each in zip(CAUSES, causes, strict=True)}
    )


def _fullest(ledgers: list[Ledger]) -> dict[str, float]:
    fullest = min(ledgers, key=lambda ledger: ledger.headroom_bytes)
    return {
        name: getattr(fullest, name)
        for name in (
            "weight_bytes", "kv_bytes", "activation_bytes", "workspace_bytes", "usable_bytes",
        )
    }  # fmt: skip


def _bill(
    pair: Pair,
    account: Account,
    rounds_per_s: float,
    tokens_per_s: float,
    scope: PowerScope | None,
) -> tuple[dict[str, Any], tuple[float | None, float | None]]:
    """What both machines draw and cost, and the watts of each."""
    machines = [pair.attention.topology, pair.experts.topology]
    counted = common_scope(machines, scope)
    watts: list[float | None] = [None, None]
    power: float | None = None
    if counted is not None:
        drawn = [
            float(energy.energy_j(chosen_power(machine, counted)[0], chips, active * rounds_per_s))
            for machine, chips, active in zip(
                machines, account.chips, account.active_s, strict=True
            )
        ]
        watts, power = [*drawn], sum(drawn)
    bill = bill_of(machines, account.chips, power, counted, tokens_per_s)
    return bill, (watts[0], watts[1])
