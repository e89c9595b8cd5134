"""`partition`: the best plan, and what is proved about it. `uniform_plan`: the plan that engines
make without asking."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.answers.proof import proved
from planner.answers.question import Question, question_of
from planner.answers.results import ClusterResult, Result
from planner.errors import InputError, NoPlanFoundError
from planner.machines.cluster import Cluster, Pool
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.planning.clusters import partition_cluster
from planner.planning.refusals import refusal_of
from planner.planning.search import Engine, Progress, Search
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.candidates import Candidates
from planner.space.diffusion import best_sampling
from planner.workload import Workload

if TYPE_CHECKING:
    pass

MOST_DRAFTED = 8
"""Tokens that are drafted at most, where that is left open."""


def partition(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
    progress: Callable[[Progress], None] | None = None,
    engine: Engine = "auto",
    seed: int = 0,
    exclude: Iterable[int] = (),
    sequence_parallel: bool = False,
) -> Result:
    """The plan that makes one field of `Score` best, with a proof.

    `limits` are the worst values allowed of other fields: at most for times, costs and chips, at
    least for rates. `engine` "cp-sat" leaves everything to OR-Tools CP-SAT; "auto" takes it for
    what the chain search cannot finish. Ctrl-C, or the end of `time_limit_s`, returns the best plan
    so far with its proved bound. InfeasibleError: proved that there is none; NoPlanFoundError: none
    was found in time. `exclude` names chips that have failed or are taken: a stage takes the first
    free chips behind the stage before it, and replicas stand in like blocks. `sequence_parallel`
    lets stages share out the tokens of a sequence too, as far as tensor × sequence divides the
    heads: it pays where prompts are long, mostly in ttft_s, and takes several times as long to
    prove on many chips. A diffusion model has it always, and has fields and a space of its own
    (`best_sampling` says which), all of which is scored whatever the clock says.
    """
    excluded = tuple(sorted(set(exclude)))
    if excluded:
        if engine == "cp-sat":
            raise InputError("engine 'cp-sat' knows no exclude=; leave the engine out")
        if sequence_parallel:
            raise InputError(
                "sequence_parallel is not searched with exclude=; leave one of them out"
            )
        found = partition_cluster(
            graph, alone(topology, excluded), workload, minimize=minimize, maximize=maximize, limits=limits,
            time_limit_s=time_limit_s, power_scope=power_scope, progress=progress,
        )  # fmt: skip
        return result_alone(found)
    if graph.is_diffusion:
        return _sampled(
            graph,
            topology,
            workload,
            question_of(minimize, maximize, limits, power_scope, diffusion=True),
        )
    question = replace(
        question_of(minimize, maximize, limits, power_scope), sequence_parallel=sequence_parallel
    )
    queued = sorted({"ttft_s", "request_s"} & set(question.fields))
    if engine == "cp-sat" and workload.requests_per_s is not None and queued:
        raise InputError(
            f"engine 'cp-sat' cannot weigh {queued[0]} under a rate of requests: a queue is not linear; leave it out"
        )
    started, every = (
        time.monotonic(),
        [Candidates(graph, topology, work, question) for work in _settled(workload)],
    )
    search, bound = _searched(every, time_limit_s, progress=progress, engine=engine, seed=seed)
    elapsed_s = time.monotonic() - started
    if search.best.plan is None:
        if bound == math.inf:
            raise refusal_of(search.candidates)
        raise NoPlanFoundError(
            f"no plan of {graph.name} on {topology.chips} × {topology.name} was found in {elapsed_s:.1f} s;"
            " nothing is proved: allow more time"
        )
    score = score_plan(
        search.best.plan, graph, topology, search.candidates.workload, power_scope=power_scope
    )
    return _result(search, bound, score, elapsed_s)


def _settled(workload: Workload) -> list[Workload]:
    """The workload with each number of drafted tokens that may be chosen, none of them first;
    itself where that is given."""
    speculation = workload.speculation
    if speculation is None or speculation.tokens is not None:
        return [workload]
    chosen = (speculation.replace(tokens=tokens) for tokens in range(1, MOST_DRAFTED + 1))
    return [workload.replace(speculation=one) for one in (None, *chosen)]


def _searched(
    every: list[Candidates], time_limit_s: float | None, **options: Any
) -> tuple[Search, float]:
    """The search that found the best plan of several spaces, each no longer than it may better
    those before it, and what is proved of all of them; Ctrl-C leaves what is left to bounds at
    the root."""
    best, bound, left_s = None, math.inf, time_limit_s
    for number, candidates in enumerate(every):
        share_s = None if left_s is None else left_s / (len(every) - number)
        known = math.inf if best is None else best.best.value
        search = Search(candidates, time_limit_s=share_s, hopeless=known, **options)
        search.run()
        bound = min(bound, search.bound)
        if best is None or search.best.value < known:
            best = search
        if search.interrupted or left_s is not None:
            left_s = 0.0 if search.interrupted else max(0.0, (left_s or 0.0) - search.elapsed_s)
    assert best is not None
    return best, bound


def alone(topology: Topology, exclude: tuple[int, ...]) -> Cluster:
    """A topology as a cluster of one pool, without some of its chips."""
    return Cluster(
        name=topology.name, pools=(Pool(name=topology.name, topology=topology, exclude=exclude),)
    )


def result_alone(found: ClusterResult) -> Result:
    """A result on a cluster of one pool, as one on its topology."""
    fields = {
        name: getattr(found, name)
        for name in ClusterResult.model_fields
        if name not in ("plan", "cluster")
    }
    pool = found.cluster.pools[0]
    return Result(
        plan=stages_alone(found.plan), topology=pool.topology, exclude=pool.exclude, **fields
    )


def stages_alone(plan: Plan) -> Plan:
    """A plan on a cluster of one pool, as one on its topology."""
    stages = tuple(
        Stage(**{name: getattr(stage, name) for name in Stage.model_fields})
        for stage in plan.stages
    )
    return Plan(stages=stages, micro_batches=plan.micro_batches, batch_size=plan.batch_size)


def _sampled(
    graph: ModelGraph, topology: Topology, workload: Workload, question: Question
) -> Result:
    """The best of all plans of a diffusion model: every one is scored, so the best is proved."""
    started = time.monotonic()
    plan, score = best_sampling(graph, topology, workload, question)
    objective = float(getattr(score, question.objective))
    proof = proved(
        question,
        objective=objective,
        promised=objective,
        bound=objective,
        elapsed_s=time.monotonic() - started,
    )
    return Result(
        plan=plan, score=score, graph=graph, topology=topology, workload=workload, **proof
    )


def _result(search: Search, bound: float, score: Score, elapsed_s: float) -> Result:
    """What was found, once the score says the same as the solver, whose bound is canonical."""
    candidates = search.candidates
    question = candidates.question
    assert search.best.plan is not None
    proof = proved(
        question,
        objective=float(getattr(score, question.objective)),
        promised=candidates.field_value(question.objective, search.best.value),
        bound=candidates.field_value(question.objective, bound),
        elapsed_s=elapsed_s,
        stopped_by=search.stopped_by,
    )
    return Result(
        plan=search.best.plan,
        score=score,
        graph=candidates.graph,
        topology=candidates.topology,
        workload=candidates.workload,
        sequence_parallel=question.sequence_parallel,
        **proof,
    )
