"""The best plan of a diffusion model: its space is small enough to score every plan."""

import math
from collections.abc import Iterator

from planner.answers.question import Question
from planner.errors import InfeasibleError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.degrees import sequence_degrees, tensor_degrees
from planner.pricing.deployment import Deployment
from planner.pricing.served import Served
from planner.scoring.checking import STRUCTURE
from planner.scoring.plans import score_served
from planner.scoring.score import Score
from planner.space.boxes import least_parts
from planner.space.layout import packing_of
from planner.space.scored import best_of_scored
from planner.workload import Workload


def best_sampling(
    graph: ModelGraph, topology: Topology, workload: Workload, question: Question
) -> tuple[Plan, Score]:
    """The best of all uniform plans in one stage: tensor × sequence × guidance × data parallel.

    Tensor × sequence divides the attention heads, so that every chip has whole heads; the passes of
    guidance run one after the other or on chips of their own (whose results, one latent each,
    change hands at no price); an open batch is 1, 2, 4, … samples in a replica, or as many as fit.
    Each plan is scored, so the best is proved for this space and no larger one: pipelines and
    uneven splits are not in it.
    """
    scored, tightest = _scored(graph, topology, workload, question)
    if tightest is not None and not scored:
        raise tightest
    best = best_of_scored(scored, question)
    if best is not None:
        return best
    named = ", ".join(f"{name} = {value:.4g}" for name, value in question.limits)
    raise InfeasibleError(
        f"no plan of {graph.name} on {topology.chips} × {topology.chip.name} keeps the limits"
        f" {named}",
        resource="limits",
        demand=math.nan,
        capacity=math.nan,
    )


def _scored(
    graph: ModelGraph, topology: Topology, workload: Workload, question: Question
) -> tuple[list[tuple[Plan, Score]], InfeasibleError | None]:
    """Every plan that fits with its score, and the refusal of the one that asks for least of
    those that do not."""
    scored: list[tuple[Plan, Score]] = []
    tightest: InfeasibleError | None = None
    served = Served(graph, topology, workload)
    for plan in sampling_plans(served):
        try:
            score = score_served(plan, served, power_scope=question.power_scope)
        except InfeasibleError as refused:
            if tightest is None or refused.demand < tightest.demand:
                tightest = refused
        else:
            scored.append((plan, score))
    return scored, tightest


def sampling_plans(served: Served) -> Iterator[Plan]:
    """All plans of the space that keep the rules of structure."""
    graph, topology, workload = served.graph, served.topology, served.workload
    packing = packing_of(topology)
    layers = tuple(layer.name for layer in graph.layers)
    for tensor, sequence, passes in _degrees(graph, topology):
        width = tensor * sequence * passes
        if packing.rule(width) is None:
            continue
        for replicas in _replicas(workload.batch_size, topology.chips // width):
            bases = packing.copies(width, replicas)
            if bases is None:
                continue
            stage = Stage(
                layers=layers,
                groups=tuple(ChipRange(first=base, count=width) for base in bases),
                tensor_parallel=tensor,
                sequence_parallel=sequence,
            )
            plan = Plan(stages=(stage,))
            if _well_built(plan, graph, topology):
                yield from _with_batches(served, plan)


def _degrees(graph: ModelGraph, topology: Topology) -> Iterator[tuple[int, int, int]]:
    """Tensor and sequence parallel degrees, and passes of guidance on chips of their own."""
    software, chips = topology.software, topology.chips
    for tensor in tensor_degrees(graph, software, chips):
        for sequence in sequence_degrees(graph, software, tensor, chips):
            for passes in range(1, graph.passes_per_step + 1):
                yield tensor, sequence, passes


def _well_built(plan: Plan, graph: ModelGraph, topology: Topology) -> bool:
    """Whether a plan keeps the rules of structure."""
    return not any(True for check in STRUCTURE for _ in check(plan, graph, topology))


def _replicas(batch_size: int | None, most: int) -> Iterator[int]:
    """Numbers of replicas: for a fixed batch those that make the largest share smaller."""
    if batch_size is None:
        return iter(range(1, most + 1))
    return least_parts(batch_size, most)


def _with_batches(served: Served, plan: Plan) -> Iterator[Plan]:
    if served.workload.batch_size is not None:
        yield plan
        return
    most = max(1, Deployment(plan, [served]).most_sequences)
    for samples in sorted({*(2**power for power in range(most.bit_length())), most}):
        yield plan.replace(batch_size=samples * plan.replicas)
