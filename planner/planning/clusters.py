"""`partition_cluster`: the best plan on pools of unlike chips, and what is proved about it."""

import math
import time
from collections.abc import Callable
from typing import Any, cast

from planner.answers.proof import TOLERANCE, StoppedBy, proved
from planner.answers.question import FIELDS, Question, question_of
from planner.answers.results import ClusterResult
from planner.errors import InfeasibleError, NoPlanFoundError
from planner.machines.cluster import Cluster, PooledPlan
from planner.machines.topology import PowerScope
from planner.models.graph import ModelGraph
from planner.planning.search import Progress, Search
from planner.scoring.clusters import score_pooled_plan
from planner.scoring.score import Score
from planner.solver.chain import labels, placed
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import PooledBox, PooledCandidates
from planner.units import spoken
from planner.workload import Workload


class PooledSearch(Search):
    """The search over boxes of plans on a cluster."""

    def __init__(
        self,
        candidates: PooledCandidates,
        *,
        time_limit_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        known: ClusterResult | None = None,
    ) -> None:
        super().__init__(cast(Candidates, candidates), time_limit_s=time_limit_s, progress=progress)
        if known is not None:
            self.best.plan, self.best.value = (
                known.plan,
                candidates.canonical(known.field, known.objective),
            )

    def _root_bound(self, box: Any, known: float) -> float:
        if known > -math.inf:
            return known
        problem = cast(PooledCandidates, self.candidates).to_problem(cast(PooledBox, box))
        return math.inf if problem is None else placed.root_bound(problem)

    def _solved(self, problem: Any, box: Any) -> Any:
        return placed.solve(
            problem,
            incumbent=self.best.value,
            last_beam=labels.LAST_BEAM if box.single else labels.FIRST_BEAM,
            stop=lambda: time.monotonic() >= self.deadline,
        )


def partition_cluster(
    graph: ModelGraph,
    cluster: Cluster,
    workload: Workload,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ClusterResult:
    """The plan on a cluster that makes one field of `Score` best, with a proof, as `partition`
    gives it on a topology.

    The space: pools in any order, each used for one run of consecutive layers or left out; inside a
    pool stages of consecutive layers on consecutive chips, a tensor and an expert parallel degree
    for each; any number of like replicas, each spread over all pools that are used, and of
    micro-batches. InfeasibleError: proved that there is none; NoPlanFoundError: none was found in
    time.
    """
    question = question_of(minimize, maximize, limits, power_scope)
    candidates = PooledCandidates(graph, cluster, workload, question)
    return best_of(candidates, time_limit_s=time_limit_s, progress=progress)


def best_of(
    candidates: PooledCandidates,
    *,
    time_limit_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
    known: ClusterResult | None = None,
) -> ClusterResult:
    """The best of the candidates, with a proof; `known` is a result to improve on."""
    graph, cluster, workload = candidates.graph, candidates.cluster, candidates.workload
    search = PooledSearch(candidates, time_limit_s=time_limit_s, progress=progress, known=known)
    search.run()
    if search.best.plan is None:
        if search.bound == math.inf:
            raise refusal_on(candidates)
        raise NoPlanFoundError(
            f"no plan of {graph.name} on {cluster.name} was found in {search.elapsed_s:.1f} s; nothing is proved: allow more"
            " time"
        )
    plan = cast(PooledPlan, search.best.plan)
    score = score_pooled_plan(
        plan, graph, cluster, workload, power_scope=candidates.question.power_scope
    )
    return pooled_result(
        candidates,
        plan,
        score,
        search.best.value,
        search.bound,
        search.elapsed_s,
        search.stopped_by,
    )


def pooled_result(
    candidates: PooledCandidates, plan: PooledPlan, score: Score, value: float, lower: float, elapsed_s: float,
    stopped_by: StoppedBy,
) -> ClusterResult:  # fmt: skip
    """What was found, once the score says the same as the solver, whose value and bound are
    canonical."""
    name = candidates.question.objective
    proof = proved(
        candidates.question,
        objective=float(getattr(score, name)),
        promised=candidates.field_value(name, value),
        bound=candidates.field_value(name, lower),
        elapsed_s=elapsed_s,
        stopped_by=stopped_by,
    )
    return ClusterResult(
        plan=plan,
        score=score,
        graph=candidates.graph,
        cluster=candidates.cluster,
        workload=candidates.workload,
        **proof,
    )


def refusal_on(candidates: PooledCandidates) -> InfeasibleError:
    """The error that says why a question about a cluster has no plan."""
    if candidates.question.limits:
        found = {name: _best(candidates, name) for name, _ in candidates.question.limits}
        if all(value < math.inf for value in found.values()):
            return _beyond_limits(candidates, found)
    return _out_of_memory(candidates)


def _best(candidates: PooledCandidates, name: str) -> float:
    """The best canonical value of one field without limits; infinite where there is no plan."""
    question = Question(name, (), candidates.question.power_scope)
    search = PooledSearch(
        PooledCandidates(candidates.graph, candidates.cluster, candidates.workload, question)
    )
    search.run()
    if search.interrupted:
        raise KeyboardInterrupt
    return search.best.value


def _beyond_limits(candidates: PooledCandidates, found: dict[str, float]) -> InfeasibleError:
    for name, value in candidates.question.limits:
        if found[name] > candidates.canonical(name, value) * (1 + TOLERANCE):
            most = "at most" if FIELDS[name].best == "least" else "at least"
            best = candidates.field_value(name, found[name])
            return InfeasibleError(
                f"{name} of {most} {value:.4g} cannot be met: the best that any plan on {candidates.cluster.name} reaches is"
                f" {best:.4g}",
                resource=f"limit on {name}",
                demand=value,
                capacity=best,
            )
    names = " and ".join(name for name, _ in candidates.question.limits)
    return InfeasibleError(
        f"the limits on {names} can be met one by one, but by no plan together on {candidates.cluster.name}",
        resource="limits together",
        demand=float(len(found)),
        capacity=float(len(found) - 1),
    )


def _out_of_memory(candidates: PooledCandidates) -> InfeasibleError:
    graph, workload, cluster = candidates.graph, candidates.workload, candidates.cluster
    sequences = workload.batch_size or 1
    kv = sequences * (
        workload.context_tokens * graph.kv_bytes_per_token + graph.state_bytes_per_sequence
    )
    demand = graph.weight_bytes + kv
    pairs = list(zip(cluster.pools, candidates.each, strict=True))
    capacity = sum(pool.free_chips * each.prices.usable_bytes for pool, each in pairs)
    chips = " + ".join(f"{pool.free_chips} × {pool.topology.chip.name}" for pool in cluster.pools)
    gap = demand - capacity
    why = (
        f"{spoken(gap, 'B')} too little"
        if gap > 0
        else "but whole layers, buffers, sequences or links do not allow it"
    )
    return InfeasibleError(
        f"{graph.name} in {graph.weight_dtype} does not fit {cluster.name} ({chips}): its weights are"
        f" {spoken(graph.weight_bytes, 'B')}, the KV cache of {sequences} × {workload.context_tokens} tokens"
        f" {spoken(kv, 'B')}, and {spoken(capacity, 'B')} may be filled, {why}; add a pool or take fewer bits for each weight",
        resource="memory for weights, KV cache and activations",
        demand=demand,
        capacity=capacity,
    )
