"""`score_pooled_plan`, `check_pooled_plan`: what a plan on a cluster costs, and which rules it
breaks.

The pool of the first stage serves the requests: how prompts are cut and interleaved, and what a
request adds, are its software's. All else is each pool's own: memory, kernels, collectives, power,
price.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import cast

from planner.catalogue import AnyCluster, AnyModel, cluster_of, model_of
from planner.cost import energy
from planner.errors import InputError, listed
from planner.guards import guarded
from planner.machines.accounts import (
    PowerBasis,
    alike_pools,
    common_power_basis,
    common_price_basis,
)
from planner.machines.cluster import Cluster, PooledPlan
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.pricing.collectives import hop_s
from planner.pricing.crossing import crossing_s
from planner.pricing.deployment import Deployment
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.holdings import kind_counts_of, split_of
from planner.pricing.price_list import PriceList, Step, reach_of, shares_of
from planner.pricing.queueing import batch_of, load_of, loop_of
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.pricing.timing import (
    Timing,
    active_kinds_s,
    bubble_fraction,
    hop_between,
    others_prompts_s,
    passes_of,
    slowest_timing,
    timing_from,
    useful_of_cycle,
)
from planner.pricing.traffic import token_traffic
from planner.scoring.checking import (
    Violation,
    check_chips,
    check_degrees,
    check_engine,
    check_excluded,
    check_layers,
    check_memory,
    check_micro_batches,
    check_order,
)
from planner.scoring.plans import (
    as_at_a_rate,
    breakdown_of,
    chosen_power,
    refuse_broken,
    stage_scores,
    traffic_rows,
)
from planner.scoring.score import Score
from planner.scoring.vouching import vouched
from planner.workload import Workload


def pools_of(plan: PooledPlan, cluster: Cluster) -> list[int]:
    """Number of each stage's pool."""
    return [cluster.number(stage.pool) for stage in plan.stages]


@guarded
def check_pooled_plan(
    plan: PooledPlan,
    graph: AnyModel,
    cluster: AnyCluster,
    workload: Workload,
    *,
    space: Space = "engine",
) -> tuple[Violation, ...]:
    """The rules that a plan on a cluster breaks, with figures; () when it is valid. `space` "any"
    leaves out what no engine can be started with.

    InputError: a diffusion model, or an open rate of requests, for which no cluster is planned. A
    plan that breaks a rule is an answer, and raises nothing.
    """
    graph, cluster = model_of(graph), cluster_of(cluster)
    refuse_unplanned(graph, workload)
    broken = tuple(_structure(plan, graph, cluster))
    if space == "engine":
        broken += tuple(_engines(plan, graph, cluster))
    if broken:
        return broken
    deployment = ClusterDeployment(plan, cluster, served_by(graph, cluster, workload))
    batch_size = deployment.batch_size
    if space == "engine":
        broken = tuple(check_micro_batches(deployment, batch_size))
    return broken + tuple(check_memory(deployment, batch_size))


def _engines(plan: PooledPlan, graph: ModelGraph, cluster: Cluster) -> Iterator[Violation]:
    """One engine serves all stages, and can be started with plans of this form."""
    pools = {stage.pool: cluster.pools[cluster.number(stage.pool)] for stage in plan.stages}
    softwares = {pool.topology.software.name: pool for pool in pools.values()}
    if len(softwares) > 1:
        names = listed(f"{pool.name} ({software})" for software, pool in sorted(softwares.items()))
        yield Violation(
            rule="engine",
            message=f"the stages run on pools with different software, {names}; one engine cannot"
            " pass layers on to another",
        )
        return
    first = cluster.pools[cluster.number(plan.stages[0].pool)].topology
    yield from check_engine(plan, graph, first)


def served_by(graph: ModelGraph, cluster: Cluster, workload: Workload) -> list[Served]:
    """What each pool of a cluster makes of a workload."""
    return [Served(graph, pool.topology, workload) for pool in cluster.pools]


class ClusterDeployment(Deployment):
    """A plan on a cluster in service."""

    def __init__(self, plan: PooledPlan, cluster: Cluster, pools: Sequence[Served]) -> None:
        self.cluster = cluster
        self.pools = pools
        self.numbers = pools_of(plan, cluster)
        """Of each stage's pool."""
        super().__init__(plan, [pools[number] for number in self.numbers])

    def cut_into(self, micro_batches: int) -> "ClusterDeployment":
        """The same with other micro-batches."""
        plan = self.plan.replace(micro_batches=micro_batches)
        return ClusterDeployment(cast(PooledPlan, plan), self.cluster, self.pools)

    @property
    def lists(self) -> list[PriceList]:
        """The price list of each stage."""
        return [served.prices for served in self.each]

    @property
    def batch_size(self) -> int:
        """Sequences in flight in the whole deployment, as on one topology (0: not even one)."""
        return batch_of(self)

    @property
    def stages_by_pool(self) -> dict[int, list[int]]:
        """Numbers of the stages on each pool that is used, in the cluster's order."""
        found: dict[int, list[int]] = {}
        for place in sorted(set(self.numbers)):
            found[place] = [number for number, home in enumerate(self.numbers) if home == place]
        return found

    def chips_of(self, stages: Sequence[int]) -> int:
        """That some of the stages hold, all replicas together."""
        groups = sum(self.plan.stages[number].group_chips for number in stages)
        return groups * self.plan.replicas

    def _timed(self, at: Schedule) -> Timing:
        replicas = range(self.plan.replicas)
        return slowest_timing(self._replica_timed(at, replica) for replica in replicas)

    def _replica_timed(self, at: Schedule, replica: int) -> Timing:
        plan = self.plan
        lists = self.lists
        groups = [stage.groups[replica] for stage in plan.stages]
        reaches = [
            reach_of(prices.topology, split_of(stage), group.first)
            for prices, stage, group in zip(lists, plan.stages, groups, strict=True)
        ]

        def hop(number: int, bytes_per_token: float, step: Step) -> float:
            here, there = self.numbers[number], self.numbers[number + 1]
            if here != there:
                # The replicas hand on at the same time, over the same links.
                crossing = bytes_per_token * step.tokens * plan.replicas
                return float(crossing_s(self.cluster, here, there, crossing))
            topology = lists[number].topology
            level, hops = hop_between(topology, groups[number], groups[number + 1])
            share = shares_of(split_of(plan.stages[number]), step)[0]
            return float(hop_s(topology, level, hops, bytes_per_token * share))

        steps = at.decode, at.prefill, at.packed
        return timing_from(plan, at, *passes_of(lists, plan, steps, reaches, hop))


def refuse_unplanned(graph: ModelGraph, workload: Workload) -> None:
    """What clusters are not planned for."""
    if graph.is_diffusion:
        raise InputError(
            f"{graph.name} is a diffusion model, which needs a plan on one machine; leave clusters"
            " and exclude= out"
        )
    if workload.is_open_stream:
        raise InputError(
            "Workload.requests_per_s is open, and the greatest rate that keeps the limits is only"
            " looked for on one machine; on clusters, and with exclude=, give the rate"
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
        violations = itertools.chain(
            check_chips(part, graph, pool.topology),
            check_degrees(part, graph, pool.topology),
            check_excluded(part, pool.exclude),
        )
        for violation in violations:
            yield violation.replace(message=f"pool {pool.name}: {violation.message}")
    numbers = pools_of(plan, cluster)
    for one, other in itertools.pairwise(numbers):
        if one != other and not cluster.ways(one, other):
            sender, receiver = cluster.pools[one].name, cluster.pools[other].name
            yield Violation(
                rule="links", message=f"no path of links goes from {sender!r} to {receiver!r}"
            )


@guarded
def score_pooled_plan(
    plan: PooledPlan,
    graph: AnyModel,
    cluster: AnyCluster,
    workload: Workload,
    *,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
) -> Score:
    """The price of a plan on a cluster, as `score_plan` gives it for a plan on a topology.

    InputError: which rule the plan breaks. InfeasibleError: what does not fit.
    """
    graph, cluster = model_of(graph), cluster_of(cluster)
    refuse_unplanned(graph, workload)
    cluster = alike_pools(cluster, price_basis=price_basis, power_basis=power_basis)
    pools = served_by(graph, cluster, workload)
    return score_pooled_served(plan, cluster, pools, power_scope=power_scope)


def score_pooled_served(
    plan: PooledPlan,
    cluster: Cluster,
    pools: Sequence[Served],
    *,
    power_scope: PowerScope | None = None,
) -> Score:
    """The same of one plan of many for one question, whose price lists, one for each pool of the
    cluster, they share."""
    graph, workload = pools[0].graph, pools[0].workload
    refuse_broken(tuple(_structure(plan, graph, cluster)))
    deployment = ClusterDeployment(plan, cluster, pools)
    batch_size = deployment.batch_size
    refuse_broken(tuple(check_memory(deployment, batch_size)))
    at = deployment.schedule(batch_size)
    timing = deployment.timing(at)
    ended = workload.taken_share * batch_size
    rate = workload.requests_per_s or ended / timing.cycle_s
    period_s = ended / rate
    tokens_per_s = rate * workload.output_tokens
    stages = stage_scores(deployment, at, timing)
    how_sure = vouched(plan, graph, deployment.served.topology, workload, batch_size)
    if workload.requests_per_s is not None:
        how_sure = as_at_a_rate(how_sure)
    return Score(
        ttft_s=timing.ttft_s,
        tpot_s=timing.tpot_s,
        others_prompts_s=others_prompts_s(timing, at),
        request_s=timing.request_s,
        tokens_per_s=tokens_per_s,
        tokens_per_s_per_user=1.0 / timing.tpot_s,
        requests_per_s=rate,
        tokens_per_s_per_chip=tokens_per_s / plan.chips,
        **_bill(deployment, at, period_s, tokens_per_s, power_scope),
        chips=plan.chips,
        batch_size=batch_size,
        queued=workload.queued,
        queued_s=timing.queued_s,
        memory_headroom_bytes=min(stage.usable_bytes - stage.needed_bytes for stage in stages),
        bubble_fraction=bubble_fraction(timing, at),
        **_utilisation(deployment, at, period_s),
        breakdown=breakdown_of(timing.token),
        prefill_breakdown=breakdown_of(timing.first_token),
        **how_sure._asdict(),
        stages=stages,
        load=load_of(deployment) if workload.requests_per_s else loop_of(at, timing),
        traffic=traffic_rows(
            token_traffic(deployment, at, timing), deployment, ended * workload.output_tokens
        ),
    )


def common_scope(cluster: Cluster, wanted: PowerScope | None) -> PowerScope | None:
    """What power counts, for all pools alike: the system's where every pool's is known, else the
    chips'; None: neither is."""
    scopes: tuple[PowerScope, ...] = (wanted,) if wanted else ("system", "chip")
    for scope in scopes:
        if all(chosen_power(pool.topology, scope)[0] for pool in cluster.pools):
            return scope
    return None


def common_price(cluster: Cluster) -> bool:
    """Whether the price of every pool is known, and all count the same."""
    machines = [pool.topology for pool in cluster.pools]
    is_known = all(one.price.usd_per_chip_hour is not None for one in machines)
    return is_known and common_price_basis(machines) is not None


def _bill(
    deployment: ClusterDeployment,
    at: Schedule,
    cycle_s: float,
    rate: float,
    power_scope: PowerScope | None,
) -> dict[str, object]:
    """What a plan holds of each pool, and what that costs at a rate of so many tokens a second."""
    cluster = deployment.cluster
    scope = common_scope(cluster, power_scope)
    power: float | None = None
    if scope is not None:
        power = _power_w(deployment, at, cycle_s, scope)
    hourly: float | None = None
    dollars: float | None = None
    if common_price(cluster):
        hourly = sum(
            deployment.chips_of(mine) * (cluster.pools[place].topology.price.usd_per_chip_hour or 0)
            for place, mine in deployment.stages_by_pool.items()
        )
        dollars = float(energy.usd_per_million_tokens(1.0, hourly, rate))
    return {
        "power_w": power,
        "power_scope": scope or "unknown",
        "power_basis": common_power_basis([pool.topology for pool in cluster.pools]),
        "price_basis": "unknown" if dollars is None else cluster.pools[0].topology.price.basis,
        "energy_per_token_j": None if power is None else power / rate,
        "usd_per_million_tokens": dollars,
        "usd_per_hour": hourly,
    }


def _power_w(
    deployment: ClusterDeployment, at: Schedule, cycle_s: float, scope: PowerScope
) -> float:
    """Of all that is held, over a cycle. [W]"""
    power = 0.0
    for place, mine in deployment.stages_by_pool.items():
        draws = chosen_power(deployment.cluster.pools[place].topology, scope)[0]
        active_s = deployment.plan.replicas * _active_s(deployment, at, mine)
        held = float(deployment.chips_of(mine))
        power += float(energy.energy_j(draws, held, active_s / cycle_s))
    return power


def _active_s(deployment: ClusterDeployment, at: Schedule, mine: Sequence[int]) -> float:
    """What the power of one pool's chips follows in a cycle of a replica, in these stages. [s]"""
    prices = deployment.each[mine[0]].prices
    kinds = active_kinds_s(prices, at)
    stages = (deployment.plan.stages[number] for number in mine)
    return sum(float(kinds @ kind_counts_of(stage, prices.graph)) for stage in stages)


def _utilisation(deployment: ClusterDeployment, at: Schedule, cycle_s: float) -> dict[str, float]:
    """Useful operations and bytes of a replica over what its chips could do in a cycle."""
    graph = deployment.served.graph
    flop, moved = useful_of_cycle(graph, at)
    most_flop, most_bytes = 0.0, 0.0
    for served, stage in zip(deployment.each, deployment.plan.stages, strict=True):
        peak_flop, peak_bytes = peaks_of(graph, served.topology)
        most_flop += stage.group_chips * peak_flop
        most_bytes += stage.group_chips * peak_bytes
    return {
        "mfu_fraction": flop / (cycle_s * most_flop),
        "mbu_fraction": moved / (cycle_s * most_bytes),
    }


def peaks_of(graph: ModelGraph, topology: Topology) -> tuple[float, float]:
    """What a chip could do. [FLOP/s, B/s]"""
    chip = topology.chip
    peak = peak_flop_per_s(graph, topology)
    return peak, chip.memory[0].bandwidth_bytes_per_s
