"""The best plan of a diffusion model: its space is small enough to score every plan."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

from planner import allowance
from planner.answers.proof import StoppedBy
from planner.answers.question import Question
from planner.errors import InfeasibleError, NoPlanFoundError, TimeUpError
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


class Sampled(NamedTuple):
    """The best of the plans that were scored."""

    plan: Plan
    score: Score
    ended: StoppedBy
    """By what the scoring ended: proof, where all were."""


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
    found = best_sampled(graph, topology, workload, question)
    return found.plan, found.score


def best_sampled(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    question: Question,
    *,
    deadline: float = math.inf,
) -> Sampled:
    """The same, as far as it comes until a time on the monotonic clock [s] or Ctrl-C. An
    InfeasibleError where no plan fits or keeps the limits, a NoPlanFoundError where that is not
    known yet."""
    scored, tightest, ended = _scored(graph, topology, workload, question, deadline)
    if tightest is not None and not scored and ended == "proof":
        raise tightest
    best = best_of_scored(scored, question)
    if best is not None:
        return Sampled(*best, ended)
    if ended != "proof":
        raise NoPlanFoundError(
            f"no plan of {graph.name} on {topology.chips} × {topology.name} was found in time;"
            " nothing is proved: allow more time"
        )
    named = ", ".join(f"{name} = {value:.4g}" for name, value in question.limits)
    raise InfeasibleError(
        f"no plan of {graph.name} on {topology.chips} × {topology.chip.name} keeps the limits"
        f" {named}",
        resource="limits",
        demand=math.nan,
        capacity=math.nan,
    )


def bound_of_any(score: Score, topology: Topology, field: str) -> float:
    """What no plan of a diffusion model is better than, from the score of one: the arithmetic of a
    sample at the chips' peak, on as many chips as there are. Of what that says nothing of, 0 where
    less is better, which everything is at least."""
    # Chip-seconds at the peak that a sample takes: MFU is that, over those that it held.
    work_chip_s = score.mfu_fraction * score.chips / (score.samples_per_s or math.inf)
    if field in ("mfu_fraction", "mbu_fraction"):
        return 1.0
    if field == "memory_headroom_bytes":
        return topology.chip.memory[0].capacity_bytes
    if field == "samples_per_s":
        return topology.chips / work_chip_s
    if field == "image_s":
        return work_chip_s / topology.chips
    if field == "usd_per_sample" and score.usd_per_hour is not None:
        return score.usd_per_hour / 3600 / score.chips * work_chip_s
    return 1.0 if field == "chips" else 0.0


def _scored(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    question: Question,
    deadline: float,
) -> tuple[list[tuple[Plan, Score]], InfeasibleError | None, StoppedBy]:
    """Every plan that fits with its score, the refusal of the one that asks for least of those
    that do not, and what ended it."""
    scored: list[tuple[Plan, Score]] = []
    tightest: InfeasibleError | None = None
    served = Served(graph, topology, workload)
    try:
        for plan in sampling_plans(served):
            allowance.look()
            if time.monotonic() >= deadline:
                return scored, tightest, "time"
            try:
                score = score_served(plan, served, power_scope=question.power_scope)
            except InfeasibleError as refused:
                if tightest is None or refused.demand < tightest.demand:
                    tightest = refused
            else:
                scored.append((plan, score))
    except KeyboardInterrupt:
        allowance.end()
        return scored, tightest, "interrupt"
    except TimeUpError as up:
        return scored, tightest, "interrupt" if up.interrupted else "time"
    return scored, tightest, "proof"


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
