"""`partition_cluster`: the best plan on pools of unlike chips, and what is proved about it."""

import math
import time
from collections.abc import Callable

from planner import allowance
from planner.answers.proof import proved
from planner.answers.question import Limits, as_priced, question_of
from planner.answers.results import ClusterResult
from planner.catalogue import AnyCluster, AnyModel, cluster_of, model_of
from planner.errors import NoPlanFoundError
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, alike_pools
from planner.machines.cluster import PooledPlan
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope
from planner.planning.ceilings import told
from planner.planning.engine_search import EngineClusterSearch
from planner.planning.refusals import refusal_of
from planner.planning.search import ClusterSearch, Progress
from planner.scoring.clusters import peaks_of, score_pooled_plan
from planner.scoring.score import Score
from planner.space.cluster_candidates import ClusterCandidates
from planner.units import PositiveBytes
from planner.workload import Workload

REFUSAL_S = 30.0
"""For finding out how much the best of all plans serves, where there is no limit to the time: to
prove it may take much longer than to prove that none serves what is asked for."""


@guarded
@allowance.allowing
def partition_cluster(
    graph: AnyModel,
    cluster: AnyCluster,
    workload: Workload,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    progress: Callable[[Progress], None] | None = None,
    space: Space = "engine",
) -> ClusterResult:
    """The plan on a cluster that makes one field of `Score` best, with a proof, as `partition`
    gives it on a topology.

    The space "any": pools in any order, each used for one run of consecutive layers or left out; inside a
    pool stages of consecutive layers on consecutive chips, a tensor and an expert parallel degree
    for each; any number of like replicas, each spread over all pools that are used, and of
    micro-batches. Of these "engine" has the plans that the software of the first stage's pool can be
    started with, see `partition`, on pools that have the same software: no two engines are piped
    into one another. InfeasibleError: proved that there is none; NoPlanFoundError: none was found in
    time.
    """
    graph, cluster = model_of(graph), cluster_of(cluster)
    asked_for = question_of(minimize, maximize, limits, power_scope, space=space)
    question = as_priced(asked_for, "a cluster")
    cluster = alike_pools(cluster, price_basis=price_basis, power_basis=power_basis)
    candidates = ClusterCandidates(graph, cluster, workload, question)
    return best_of(candidates, time_limit_s=time_limit_s, progress=progress)


def best_of(
    candidates: ClusterCandidates,
    *,
    time_limit_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    known: ClusterResult | None = None,
) -> ClusterResult:
    """The best of the candidates, with a proof; `known` is a result to improve on."""
    search = EngineClusterSearch(
        candidates, time_limit_s=time_limit_s, progress=progress, known=known
    )
    search.run()
    found = found_by(search)
    if found is not None:
        return found
    if search.bound == math.inf:
        raise refusal_of(candidates, deadline=_until(candidates.workload, search.left_s))
    raise NoPlanFoundError(
        f"no plan of {candidates.graph.name} on {candidates.cluster.name} was found in"
        f" {search.elapsed_s:.1f} s; nothing is proved: {allowance.remedy()}"
    )


def _until(workload: Workload, left_s: float | None) -> float:
    """When to have found out why there is no plan."""
    if left_s is not None:
        return time.monotonic() + max(0.0, left_s)
    return math.inf if workload.requests_per_s is None else time.monotonic() + REFUSAL_S


def found_by(search: ClusterSearch) -> ClusterResult | None:
    """What a search has found, once the score says the same as the solver; None where that is
    nothing."""
    plan = search.best.plan
    if plan is None:
        return None
    with allowance.freely():
        return _result_of(search, plan)


def told_on_pools(
    bound: float, candidates: ClusterCandidates, plan: PooledPlan, score: Score
) -> float:
    """A bound as it is, or what no plan on the cluster exceeds, where it is none."""
    field, workload = candidates.question.objective, candidates.workload
    return told(bound, score, field, workload, all_peaks=_all_peaks(candidates, plan))


def _all_peaks(candidates: ClusterCandidates, plan: PooledPlan) -> float:
    """The arithmetic of all chips of a cluster, over that of those that a plan holds."""
    graph, pools = candidates.graph, candidates.cluster.pools
    peaks = {pool.name: peaks_of(graph, pool.topology)[0] for pool in pools}
    held = [(stage.pool, group.count) for stage in plan.stages for group in stage.groups]
    whole = sum(peaks[pool.name] * pool.topology.chips for pool in pools)
    return whole / sum(peaks[name] * count for name, count in held)


def _result_of(search: ClusterSearch, plan: PooledPlan) -> ClusterResult:
    candidates = search.candidates
    question = candidates.question
    score = score_pooled_plan(
        plan,
        candidates.graph,
        candidates.cluster,
        candidates.workload,
        power_scope=question.power_scope,
    )
    proof = proved(
        question,
        objective=float(getattr(score, question.objective)),
        promised=candidates.field_value(question.objective, search.best.value),
        bound=told_on_pools(
            candidates.field_value(question.objective, search.bound), candidates, plan, score
        ),
        elapsed_s=search.elapsed_s,
        stopped_by=search.stopped_by,
    )
    return ClusterResult(
        plan=plan,
        score=score,
        graph=candidates.graph,
        cluster=candidates.cluster,
        workload=candidates.workload,
        **proof,
    )
