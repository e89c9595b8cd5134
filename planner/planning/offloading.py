"""The best plan with layers off the first memory of the chips, where no plan without fits.

Of every uniform plan (tensor × even pipeline × replicas, up to `MOST_STAGES` stages) as few layers
leave the chips as have to (see `space.offloading`), for the batch, or, where that is open, for one
sequence in each replica; the batch is then one of those that fit beside. All of them are scored, so
the best is proved of these plans, and of no larger space: cuts that are not even, or other layers,
are not in it. Of a diffusion model they are those of `best_sampling`.
"""

import math
import time
from collections.abc import Iterator

from planner import allowance
from planner.answers.proof import proved, proved_by_all
from planner.answers.question import ASKED, Question
from planner.answers.results import Result
from planner.errors import InfeasibleError, InputError, TimeUpError
from planner.machines.tiers import second_tier, tier_of
from planner.plan import Plan
from planner.planning.ceilings import ceiling
from planner.planning.cutting_off import cut_off
from planner.pricing.degrees import tensor_degrees
from planner.pricing.deployment import Deployment
from planner.pricing.engines import deepest, engine_faults, in_flight
from planner.pricing.served import Served
from planner.scoring.plans import score_served
from planner.scoring.score import Score
from planner.space.boxes import least_parts
from planner.space.degrees import uniform_plan
from planner.space.diffusion import bound_of_any, sampling_plans
from planner.space.offloading import can_offload, fewest_offloaded
from planner.space.scored import best_of_scored

MOST_STAGES = 16
MOST_BATCHES = 64
"""Sizes of an open batch up to which each is tried, and steps of a doubling above."""


def offloaded_result(served: Served, question: Question, refusal: InfeasibleError) -> Result:
    """The best of these plans; the refusal of all others, where memory is not why, or where none
    of these fits either."""
    graph, topology = served.graph, served.topology
    if not refusal.resource.startswith("memory") or topology.kept(second_tier) is None:
        raise refusal
    started = time.monotonic()
    scored: list[tuple[Plan, Score]] = []

    def score_all() -> None:
        for one in _scored(served, question):
            scored.append(one)

    late = cut_off(score_all, math.inf)
    if not scored and late is not None:
        raise TimeUpError(interrupted=late)
    if not scored:
        raise refusal.saying(
            f"{refusal}; it does not fit with layers in the memory of {tier_of(topology).name} either"
        )
    best = best_of_scored(scored, question)
    if best is None and late is not None:
        raise TimeUpError(interrupted=late)
    if best is None:
        raise _beyond_limits(served, question)
    plan, score = best
    objective = float(getattr(score, question.objective))
    elapsed_s = time.monotonic() - started
    proof = proved_by_all(question, objective, elapsed_s=elapsed_s)
    if late is not None:
        # Of plans that were not scored nothing is known.
        proof = proved(
            question,
            objective=objective,
            promised=objective,
            bound=_unbounded(question, served, score, plan.chips),
            elapsed_s=elapsed_s,
            stopped_by="interrupt" if late else "time",
        )
    return Result(
        plan=plan,
        score=score,
        graph=graph,
        topology=topology,
        workload=served.workload,
        sequence_parallel=question.sequence_parallel,
        **proof,
    )


def _unbounded(question: Question, served: Served, score: Score, chips: int) -> float:
    """What every plan is no better than, where nothing else is known."""
    name, topology = question.objective, served.topology
    if served.graph.is_diffusion:
        return bound_of_any(score, topology, name)
    if name == "memory_headroom_bytes":
        return topology.chip.memory[0].capacity_bytes
    if ASKED[name].best == "least":
        return 0.0
    return ceiling(score, name, served.workload, all_peaks=topology.chips / chips)


def _scored(served: Served, question: Question) -> Iterator[tuple[Plan, Score]]:
    """Every plan that fits, with its score."""
    for plan in _plans(served, question):
        allowance.look()
        try:
            yield plan, score_served(plan, served, power_scope=question.power_scope)
        except InfeasibleError:
            continue


def _plans(served: Served, question: Question) -> Iterator[Plan]:
    if served.graph.is_diffusion:
        for plan in sampling_plans(served):
            if can_offload(plan, served.topology):
                size = served.workload.batch_size or plan.batch_size or plan.replicas
                yield fewest_offloaded(plan, served, size)
        return
    for plan in _uniform_plans(served, question):
        size = served.workload.batch_size or plan.replicas
        away = fewest_offloaded(plan, served, size)
        yield from _with_batches(away, served)


def _uniform_plans(served: Served, question: Question) -> Iterator[Plan]:
    """Those that may leave layers behind, all layers on the chips as yet."""
    graph, topology = served.graph, served.topology
    software = topology.software
    for tensor in tensor_degrees(graph, software, topology.chips):
        most = min(deepest(graph, software), topology.chips // tensor, MOST_STAGES)
        for stages in range(1, most + 1):
            for replicas in _replicas(served, topology.chips // (tensor * stages)):
                allowance.look()
                plan = _uniform(served, tensor, stages, replicas)
                if plan is None or not can_offload(plan, topology):
                    continue
                if question.of_engine(software) and any(engine_faults(plan, graph, software)):
                    continue
                yield plan.replace(space=question.space)


def _replicas(served: Served, most: int) -> Iterator[int]:
    batch = served.workload.batch_size
    if batch is None:
        return iter(range(1, most + 1))
    return least_parts(batch, most)


def _uniform(served: Served, tensor: int, stages: int, replicas: int) -> Plan | None:
    """None where the model or the software has no such plan."""
    batch = served.workload.batch_size or replicas
    turns = in_flight(served.software.engine, stages, math.ceil(batch / replicas))
    try:
        return uniform_plan(
            served.graph,
            served.topology,
            tensor_parallel=tensor,
            pipeline_parallel=stages,
            data_parallel=replicas,
            micro_batches=turns or stages,
            offloaded_layers=0,
        )
    except InputError:
        return None


def _with_batches(plan: Plan, served: Served) -> Iterator[Plan]:
    """A plan with each of the batches that it may be made for."""
    if served.workload.batch_size is not None or served.workload.requests_per_s is not None:
        yield plan
        return
    most = Deployment(plan, [served] * len(plan.stages)).most_sequences
    for sequences in _sizes(most):
        turns = in_flight(served.software.engine, len(plan.stages), sequences)
        yield plan.replace(
            batch_size=sequences * plan.replicas, micro_batches=turns or len(plan.stages)
        )


def _sizes(most: int) -> Iterator[int]:
    """Every size up to `MOST_BATCHES`, then as many in every doubling, and the largest."""
    size = 1
    while size < most:
        yield size
        size += max(1, size // MOST_BATCHES)
    if most:
        yield most


def _beyond_limits(served: Served, question: Question) -> InfeasibleError:
    named = " and ".join(f"{name} = {value:.4g}" for name, value in question.limits)
    topology = served.topology
    return InfeasibleError(
        f"{served.graph.name} fits {topology.chips} × {topology.chip.name} only with layers in the"
        f" memory of {tier_of(topology).name}, and no such plan keeps the limits {named}",
        resource="limits",
        demand=math.nan,
        capacity=math.nan,
    )
