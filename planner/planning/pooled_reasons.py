"""Why a plan on a cluster is the best: which pool, link or memory binds, what more of each would buy,
and what the best plan reaches without each of its pools.

As on one machine nothing is a derivative: the question is solved again, to a proof, on a cluster
with one figure changed, or with all chips of a pool out of use.
"""

import itertools
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

from planner import allowance
from planner.answers.proof import AS_GOOD, gap_between
from planner.answers.reasons import Alternative, Binding, Reasons, ShadowPrice
from planner.answers.results import ClusterResult
from planner.errors import TimeUpError
from planner.machines.cluster import Cluster, Pool, PooledPlan
from planner.planning.best import Best
from planner.planning.cutting_off import cut_off
from planner.planning.engine_search import EngineClusterSearch
from planner.planning.misses import improvement, near_misses_of
from planner.planning.reasons import (
    FULL,
    UNANSWERED,
    Shares,
    changed,
    figures_changed,
    lag,
    rank_of_price,
    reached_limits,
    spent_on,
)
from planner.planning.search import CLOSE
from planner.scoring.clusters import score_pooled_plan
from planner.scoring.score import Score
from planner.space.cluster_candidates import ClusterCandidates

OF_CHIPS = ("chip.memory[0]", "chip.peaks")
"""Figures of a pool's machine that are changed, by how their paths begin."""


class _Best(NamedTuple):
    """The best plan of another cluster."""

    plan: PooledPlan | None
    objective: float | None
    """None where none was found."""
    proved: bool
    """Whether none is better, or there is none."""


class _Without(NamedTuple):
    """The best plan without a pool."""

    words: str
    best: _Best


def reasons_on_pools(result: ClusterResult, *, time_limit_s: float | None = None) -> Reasons:
    """What binds, shadow prices, the best plans without each pool, near misses.

    `time_limit_s` is shared out evenly over the questions; those that are left when it has run out
    are not answered. Where a plan turns up that is better than that of a result that was only
    feasible, the better one is explained.
    """
    with allowance.allowed_for(time_limit_s):
        return _reasons(result, time_limit_s)


def _reasons(result: ClusterResult, time_limit_s: float | None) -> Reasons:
    started = time.monotonic()
    used = used_pools(result)
    changes = list(_changes(result.cluster, used))
    left_out = used if len(result.cluster.pools) > 1 else []
    questions = len(changes) + len(left_out) + bool(result.limits)
    shares = Shares(time_limit_s, started, questions)

    without = [
        _Without(
            f"without pool {name}", _best_on(result, _gone(result.cluster, name), shares.next_s())
        )
        for name in left_out
    ]
    explained, others = _best_known(result, without)
    prices = [_price(explained, *change, shares.next_s()) for change in changes]
    misses = near_misses_of(explained, time_limit_s=shares.next_s()) if result.limits else ()
    alternatives = [_alternative(explained, one) for one in others]
    return Reasons(
        field=result.question.objective,
        direction=result.question.direction,
        objective=explained.objective,
        shape=" then ".join(used_pools(explained)),
        pools=tuple(used_pools(explained)),
        binding=tuple(bindings_on_pools(explained)),
        prices=tuple(sorted(prices, key=rank_of_price)),
        alternatives=tuple(sorted(alternatives, key=_rank)),
        near_misses=misses,
        better=None if explained is result else explained.plan,
        proved=explained.status == "optimal",
        elapsed_s=time.monotonic() - started,
    )


def used_pools(result: ClusterResult) -> list[str]:
    """In the order of the layers."""
    return [name for name, _ in itertools.groupby(stage.pool for stage in result.plan.stages)]


def _rank(one: Alternative) -> tuple[bool, float]:
    """The best first, those without a plan last."""
    return one.plan is None, one.effect or 0.0


# ── What binds ────────────────────────────────────────────────────────────────────────────────────


def bindings_on_pools(result: ClusterResult) -> list[Binding]:
    """Where the time goes, by pool and link; pools that are full; limits that are reached."""
    found = spent_on(result, lambda cause, number: _resource(result, cause, number))
    return [*_full_pools(result), *reached_limits(result), *found]


def _resource(result: ClusterResult, cause: str, number: int) -> str:
    stages = result.plan.stages
    pool = stages[number].pool
    if cause == "hop":
        after = stages[min(number + 1, len(stages) - 1)].pool
        if after == pool:
            return f"hops between stages inside pool {pool}"
        return f"the link from pool {pool} to pool {after}"
    if cause == "bubble":
        waited = f"waiting for stage {number} on pool {pool}, the slowest"
        return waited if len(stages) > 1 else "waiting for its turn"
    topology = _pool(result.cluster, pool).topology
    return {
        "collective": f"collectives inside pool {pool}",
        "compute": f"arithmetic of pool {pool} ({topology.chip.name})",
        "memory": f"memory bandwidth of pool {pool} ({topology.chip.name})",
        "overhead": f"launches and host of pool {pool} ({topology.software.name})",
    }[cause]


def _full_pools(result: ClusterResult) -> Iterator[Binding]:
    fullest: dict[str, float] = {}
    for stage, score in zip(result.plan.stages, result.score.stages, strict=True):
        share = score.needed_bytes / score.usable_bytes
        fullest[stage.pool] = max(share, fullest.get(stage.pool, 0.0))
    for name, share in fullest.items():
        if share >= FULL:
            yield Binding(resource=f"memory of pool {name}", share_fraction=share, counts="memory")


def _pool(cluster: Cluster, name: str) -> Pool:
    return cluster.pools[cluster.number(name)]


# ── Other clusters ────────────────────────────────────────────────────────────────────────────────


def _changes(cluster: Cluster, used: list[str]) -> Iterator[tuple[str, Cluster]]:
    """Better clusters, one figure at a time, with the words for the change: chips of the pools that
    are used, and all links."""
    for name in used:
        pool = _pool(cluster, name)
        for words, values in figures_changed(pool.topology):
            if values and all(path.startswith(OF_CHIPS) for path in values):
                better = pool.replace(topology=changed(pool.topology, values))
                yield f"{words} in pool {name}", _with_pool(cluster, better)
    for number, link in enumerate(cluster.links):
        between = " and ".join(link.between)
        wider = link.replace(bandwidth_bytes_per_s=2 * link.bandwidth_bytes_per_s)
        nearer = link.replace(latency_s=link.latency_s / 2)
        for words, better_link in (
            ("doubling the bandwidth", wider),
            ("halving the latency", nearer),
        ):
            links = (*cluster.links[:number], better_link, *cluster.links[number + 1 :])
            yield f"{words} of the link between {between}", cluster.replace(links=links)


def _gone(cluster: Cluster, name: str) -> Cluster:
    """The cluster with no chip of a pool in use; its links are there still."""
    pool = _pool(cluster, name)
    return _with_pool(cluster, pool.replace(exclude=tuple(range(pool.topology.chips))))


def _with_pool(cluster: Cluster, pool: Pool) -> Cluster:
    return cluster.replace(
        pools=tuple(pool if one.name == pool.name else one for one in cluster.pools)
    )


def _best_on(
    result: ClusterResult, cluster: Cluster, limit_s: float | None, *, start: bool = False
) -> _Best:
    """The best plan of the same question on another cluster; `start`: from the result's own."""
    unanswered = _Best(None, None, proved=False)
    if limit_s == 0.0 or allowance.is_up():
        return unanswered
    found: list[_Best] = []
    cut_off(lambda: found.append(_searched(result, cluster, limit_s, start)), math.inf)
    return found[0] if found else unanswered


def _searched(result: ClusterResult, cluster: Cluster, limit_s: float | None, start: bool) -> _Best:
    field = result.question.objective
    candidates = ClusterCandidates(result.graph, cluster, result.workload, result.question)
    search = EngineClusterSearch(candidates, time_limit_s=limit_s)
    if start:
        search.best = Best(result.plan, candidates.allowed_value(result.plan))
    search.run()
    if search.interrupted:
        raise TimeUpError(interrupted=True)
    proved = search.bound >= search.best.value * CLOSE
    if search.best.plan is None or search.best.value == math.inf:
        return _Best(None, None, proved=search.bound == math.inf)
    return _Best(search.best.plan, candidates.field_value(field, search.best.value), proved)


def _price(
    result: ClusterResult, words: str, cluster: Cluster, limit_s: float | None
) -> ShadowPrice:
    best = _best_on(result, cluster, limit_s, start=True)
    effect = None if best.objective is None else improvement(result, best.objective)
    if effect is None or not (best.proved or effect > 0.0):
        return ShadowPrice(change=words, objective=None, effect=None, proved=False)
    return ShadowPrice(
        change=words, objective=best.objective, effect=max(0.0, effect), proved=best.proved
    )


def _best_known(
    result: ClusterResult, found: list[_Without]
) -> tuple[ClusterResult, list[_Without]]:
    """The result and the best plans without pools; where one of these is better, that one as a
    result, and the result's own plan among the others."""
    able = [one for one in found if one.best.objective is not None]
    best = max(able, key=lambda one: improvement(result, one.best.objective or 0.0), default=None)
    if best is None or best.best.plan is None or best.best.objective is None:
        return result, found
    if improvement(result, best.best.objective) <= AS_GOOD:
        return result, found
    better = result.replace(
        plan=best.best.plan,
        score=_scored(result, best.best.plan),
        objective=best.best.objective,
        status="feasible",
        gap=gap_between(best.best.objective, result.bound),
    )
    own = _Without(
        "on " + " then ".join(used_pools(result)),
        _Best(result.plan, result.objective, proved=False),
    )
    return better, [own, *(one for one in found if one is not best)]


def _scored(result: ClusterResult, plan: PooledPlan) -> Score:
    with allowance.freely():
        return score_pooled_plan(
            plan,
            result.graph,
            result.cluster,
            result.workload,
            power_scope=result.question.power_scope,
        )


def _alternative(result: ClusterResult, one: _Without) -> Alternative:
    best = one.best
    effect = None if best.objective is None else max(0.0, lag(result, best.objective))
    refused = ""
    if best.plan is None:
        kept = "fits and keeps the limits" if result.limits else "fits"
        refused = f"no plan {kept}" if best.proved else UNANSWERED
    return Alternative(
        shape=one.words,
        plan=best.plan,
        objective=best.objective,
        effect=effect,
        proved=best.proved,
        refused=refused,
    )
