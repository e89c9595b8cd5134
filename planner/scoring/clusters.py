"""`score_pooled_plan`, `check_pooled_plan`: what a plan on a cluster costs, and which rules it
breaks.

The pool of the first stage serves the requests: how prompts are cut and interleaved, and what a
request adds, are its software's. All else is each pool's own: memory, kernels, collectives, power,
price.
"""

import itertools
from collections.abc import Iterator

from planner.cost import energy
from planner.errors import InputError
from planner.machines.cluster import Cluster, PooledPlan
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.collectives import hop_s
from planner.pricing.crossing import crossing_s
from planner.pricing.drafts import serving_prices
from planner.pricing.holdings import largest, layers_of, ledger_of, split_of
from planner.pricing.price_list import PriceList, Step, multiplied_in, reach_of, shares_of
from planner.pricing.schedule import Schedule, scheduled
from planner.pricing.timing import (
    Timing,
    active_kinds_s,
    bubble_fraction,
    hop_between,
    passes_of,
    slowest_timing,
    timing_from,
    useful_of_cycle,
)
from planner.scoring.checking import (
    Violation,
    check_chips,
    check_degrees,
    check_excluded,
    check_layers,
    check_ledger,
    check_order,
)
from planner.scoring.plans import breakdown_of, chosen_power, refuse_broken, stage_score
from planner.scoring.score import Score, residuals_of
from planner.workload import Workload


def pools_of(plan: PooledPlan, cluster: Cluster) -> list[int]:
    """Number of each stage's pool."""
    return [cluster.number(stage.pool) for stage in plan.stages]


def check_pooled_plan(
    plan: PooledPlan, graph: ModelGraph, cluster: Cluster, workload: Workload
) -> tuple[Violation, ...]:
    """The rules that a plan on a cluster breaks, with figures; () when it is valid."""
    refuse_unplanned(graph, workload)
    broken = tuple(_structure(plan, graph, cluster))
    return broken or tuple(_memory(plan, graph, cluster, workload))


def refuse_unplanned(graph: ModelGraph, workload: Workload) -> None:
    """What clusters are not planned for."""
    if graph.is_diffusion:
        raise InputError(
            f"{graph.name} is a diffusion model, which is planned on one topology; leave clusters and exclude= out"
        )
    if workload.requests_per_s is not None:
        raise InputError(
            "Workload.requests_per_s: clusters and exclude= are planned for a number of sequences; give a batch_size"
        )


def _structure(plan: PooledPlan, graph: ModelGraph, cluster: Cluster) -> Iterator[Violation]:
    first = cluster.pools[0].topology
    yield from check_layers(plan, graph, first)
    yield from check_order(plan, graph, first)
    for pool in cluster.pools:
        stages = tuple(stage for stage in plan.stages if stage.pool == pool.name)
        if not stages:
            continue
        part = Plan(stages=stages)
        checks = check_chips(part, graph, pool.topology), check_degrees(part, graph, pool.topology)
        for violation in (*itertools.chain(*checks), *check_excluded(part, pool.exclude)):
            yield violation.replace(message=f"pool {pool.name}: {violation.message}")
    numbers = pools_of(plan, cluster)
    for one, other in itertools.pairwise(numbers):
        if one != other and not cluster.ways[one][other]:
            yield Violation(
                rule="links",
                message=f"no path of links goes from {cluster.pools[one].name!r} to {cluster.pools[other].name!r}",
            )


def _memory(
    plan: PooledPlan, graph: ModelGraph, cluster: Cluster, workload: Workload
) -> Iterator[Violation]:
    lists = price_lists(plan, graph, cluster, workload)
    at = _scheduled(plan, lists, workload, max(_batch(plan, lists, workload), plan.replicas))
    for software in {
        prices.topology.software.name: prices.topology.software for prices in lists
    }.values():
        if at.sequences > software.most_sequences:
            message = f"a replica has {at.sequences} sequences, {software.name} takes at most {software.most_sequences}"
            yield Violation(
                rule="sequences",
                message=message,
                demand=at.sequences,
                capacity=software.most_sequences,
            )
    for number, (prices, stage) in enumerate(zip(lists, plan.stages, strict=True)):
        yield from check_ledger(prices, number, stage, at)


def price_lists(
    plan: PooledPlan, graph: ModelGraph, cluster: Cluster, workload: Workload
) -> list[PriceList]:
    """The price list of each stage."""
    return [
        serving_prices(graph, cluster.pools[number].topology, workload)
        for number in pools_of(plan, cluster)
    ]


def _scheduled(
    plan: PooledPlan, lists: list[PriceList], workload: Workload, batch_size: int
) -> Schedule:
    return scheduled(
        workload, lists[0].topology.software, batch_size=batch_size, replicas=plan.replicas,
        micro_batches=plan.micro_batches,
    )  # fmt: skip


def _batch(plan: PooledPlan, lists: list[PriceList], workload: Workload) -> int:
    """Sequences in flight in the whole deployment: the workload's, else the plan's, else as many
    as fit (0: not even one)."""
    return (
        workload.batch_size or plan.batch_size or plan.replicas * most_held(plan, lists, workload)
    )


def most_held(plan: PooledPlan, lists: list[PriceList], workload: Workload) -> int:
    """The most sequences in one replica that every stage can hold; 0 where not even one fits."""

    def fits(sequences: int) -> bool:
        at = _scheduled(plan, lists, workload, sequences * plan.replicas)
        pairs = zip(lists, plan.stages, strict=True)
        return all(ledger_of(prices, stage, at).headroom_bytes >= 0 for prices, stage in pairs)

    return largest(fits, min(prices.topology.software.most_sequences for prices in lists))


def score_pooled_plan(
    plan: PooledPlan,
    graph: ModelGraph,
    cluster: Cluster,
    workload: Workload,
    *,
    power_scope: PowerScope | None = None,
) -> Score:
    """The price of a plan on a cluster, as `score_plan` gives it for a plan on a topology."""
    refuse_broken(check_pooled_plan(plan, graph, cluster, workload))
    lists = price_lists(plan, graph, cluster, workload)
    batch_size = _batch(plan, lists, workload)
    at = _scheduled(plan, lists, workload, batch_size)
    timing = _timing(plan, cluster, lists, at)
    rate = batch_size / timing.cycle_s * workload.output_tokens
    stages = tuple(
        stage_score(prices, plan, number, at, timing) for number, prices in enumerate(lists)
    )
    return Score(
        ttft_s=timing.ttft_s,
        tpot_s=timing.tpot_s,
        request_s=timing.request_s,
        tokens_per_s=rate,
        tokens_per_s_per_user=1.0 / timing.tpot_s,
        **_bill(plan, cluster, lists, at, timing.cycle_s, rate, power_scope),
        chips=plan.chips,
        batch_size=batch_size,
        memory_headroom_bytes=min(stage.usable_bytes - stage.needed_bytes for stage in stages),
        bubble_fraction=bubble_fraction(timing, at),
        **_utilisation(plan, lists, at, timing.cycle_s),
        breakdown=breakdown_of(timing.token),
        prefill_breakdown=breakdown_of(timing.first_token),
        residuals=residuals_of(lists[0].topology.software),
        stages=stages,
    )


def _timing(plan: PooledPlan, cluster: Cluster, lists: list[PriceList], at: Schedule) -> Timing:
    numbers = pools_of(plan, cluster)

    def timed(replica: int) -> Timing:
        groups = [stage.groups[replica] for stage in plan.stages]
        reaches = [
            reach_of(prices.topology, split_of(stage), group.first)
            for prices, stage, group in zip(lists, plan.stages, groups, strict=True)
        ]

        def hop(number: int, bytes_per_token: float, step: Step) -> float:
            here, there = numbers[number], numbers[number + 1]
            if here != there:
                return float(
                    crossing_s(cluster, here, there, bytes_per_token * step.tokens * plan.replicas)
                )
            topology = lists[number].topology
            level, hops = hop_between(topology, groups[number], groups[number + 1])
            share = shares_of(split_of(plan.stages[number]), step)[0]
            return float(hop_s(topology, level, hops, bytes_per_token * share))

        decode, prefill = (
            passes_of(lists, plan, step, reaches, hop) for step in (at.decode, at.prefill)
        )
        return timing_from(plan, at, decode, prefill)

    return slowest_timing(timed(replica) for replica in range(plan.replicas))


def common_scope(cluster: Cluster, wanted: PowerScope | None) -> PowerScope | None:
    """What power counts, for all pools alike: the system's where every pool's is known, else the
    chips'; None: neither is."""
    scopes: tuple[PowerScope, ...] = (wanted,) if wanted else ("system", "chip")
    return next(
        (
            scope
            for scope in scopes
            if all(chosen_power(pool.topology, scope)[0] for pool in cluster.pools)
        ),
        None,
    )


def common_price(cluster: Cluster) -> bool:
    """Whether the price of every pool is known."""
    return all(pool.topology.price.usd_per_chip_hour is not None for pool in cluster.pools)


def _bill(
    plan: PooledPlan, cluster: Cluster, lists: list[PriceList], at: Schedule, cycle_s: float, rate: float,
    power_scope: PowerScope | None,
) -> dict[str, object]:  # fmt: skip
    """What a plan holds of each pool, and what that costs at a rate of so many tokens a second."""
    scope, power, hourly = common_scope(cluster, power_scope), 0.0, 0.0
    for pool in cluster.pools:
        mine = [number for number, stage in enumerate(plan.stages) if stage.pool == pool.name]
        if not mine:
            continue
        prices = lists[mine[0]]
        chips = sum(plan.stages[number].group_chips for number in mine) * plan.replicas
        hourly += chips * (pool.topology.price.usd_per_chip_hour or 0.0)
        if scope is not None:
            kinds = active_kinds_s(prices, at)[prices.graph.kind_of_layer]
            active = sum(
                float(kinds[layers_of(plan.stages[number], prices.graph)].sum()) for number in mine
            )
            draws = chosen_power(pool.topology, scope)[0]
            power += float(energy.energy_j(draws, float(chips), plan.replicas * active / cycle_s))
    usd = float(energy.usd_per_million_tokens(1.0, hourly, rate)) if common_price(cluster) else None
    return {
        "power_w": power if scope else None,
        "power_scope": scope or "unknown",
        "energy_per_token_j": power / rate if scope else None,
        "usd_per_million_tokens": usd,
    }


def _utilisation(
    plan: PooledPlan, lists: list[PriceList], at: Schedule, cycle_s: float
) -> dict[str, float]:
    """Useful operations and bytes of a replica over what its chips could do in a cycle."""
    flop, moved = useful_of_cycle(lists[0].graph, at)
    most_flop, most_bytes = (
        sum(
            stage.group_chips * peaks_of(prices.graph, prices.topology)[number]
            for prices, stage in zip(lists, plan.stages, strict=True)
        )
        for number in (0, 1)
    )
    return {
        "mfu_fraction": flop / (cycle_s * most_flop),
        "mbu_fraction": moved / (cycle_s * most_bytes),
    }


def peaks_of(graph: ModelGraph, topology: Topology) -> tuple[float, float]:
    """What a chip could do. [FLOP/s, B/s]"""
    return topology.chip.peak_flop_per_s(multiplied_in(graph)), topology.chip.memory[
        0
    ].bandwidth_bytes_per_s
