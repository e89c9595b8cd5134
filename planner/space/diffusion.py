"""The best plan of a diffusion model: its space is small enough to score every plan."""

import math
from collections.abc import Iterator

from planner.answers.question import SAMPLE_FIELDS, Question
from planner.errors import InfeasibleError, InputError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.deployment import Deployment
from planner.pricing.served import Served
from planner.scoring.checking import STRUCTURE
from planner.scoring.plans import score_served
from planner.scoring.score import Score
from planner.space.boxes import least_parts
from planner.space.candidates import divisors
from planner.space.layout import packing_of
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
    best: tuple[float, int, Plan, Score] | None = None
    tightest: InfeasibleError | None = None
    fitting = False
    served = Served(graph, topology, workload)
    for plan in sampling_plans(served):
        try:
            score = score_served(plan, served, power_scope=question.power_scope)
        except InfeasibleError as refused:
            if tightest is None or refused.demand < tightest.demand:
                tightest = refused
            continue
        fitting = True
        value = _value(score, question.objective)
        if _keeps(score, question) and (best is None or (value, plan.chips) < best[:2]):
            best = (value, plan.chips, plan, score)
    if best is not None:
        return best[2], best[3]
    if tightest is not None and not fitting:
        raise tightest
    named = ", ".join(f"{name} = {value:.4g}" for name, value in question.limits)
    raise InfeasibleError(
        f"no plan of {graph.name} on {topology.chips} × {topology.chip.name} keeps the limits {named}",
        resource="limits", demand=math.nan, capacity=math.nan,
    )  # fmt: skip


def sampling_plans(served: Served) -> Iterator[Plan]:
    """All plans of the space that keep the rules of structure."""
    graph, topology, workload = served.graph, served.topology, served.workload
    packing, heads = packing_of(topology), math.gcd(*graph.splits()["heads"])
    layers = tuple(layer.name for layer in graph.layers)
    most = min(topology.chips, topology.software.most_tensor_parallel)
    degrees = [
        (tensor, sequence, passes)
        for tensor in divisors(heads) if tensor <= most
        for sequence in divisors(heads // tensor)
        for passes in range(1, graph.passes_per_step + 1)
    ]  # fmt: skip
    for tensor, sequence, passes in degrees:
        width = tensor * sequence * passes
        if packing.rule(width) is None:
            continue
        for replicas in _replicas(workload.batch_size, topology.chips // width):
            bases = packing.copies(width, replicas)
            if bases is None:
                continue
            groups = tuple(ChipRange(first=base, count=width) for base in bases)
            stage = Stage(
                layers=layers, groups=groups, tensor_parallel=tensor, sequence_parallel=sequence
            )
            plan = Plan(stages=(stage,))
            if not any(True for check in STRUCTURE for _ in check(plan, graph, topology)):
                yield from _with_batches(served, plan)


def _replicas(batch_size: int | None, most: int) -> Iterator[int]:
    """Numbers of replicas: for a fixed batch those that make the largest share smaller."""
    return iter(range(1, most + 1)) if batch_size is None else least_parts(batch_size, most)


def _with_batches(served: Served, plan: Plan) -> Iterator[Plan]:
    if served.workload.batch_size is not None:
        yield plan
        return
    most = max(1, Deployment(plan, [served]).most_sequences)
    for samples in sorted({*(2**power for power in range(most.bit_length())), most}):
        yield plan.replace(batch_size=samples * plan.replicas)


def _value(score: Score, field: str) -> float:
    """A field, so that lower is better; a refusal where it is not known."""
    value = getattr(score, field)
    if value is None:
        raise InputError(
            f"{field} needs a figure of the topology that is not published; give it in a file"
        )
    return -float(value) if SAMPLE_FIELDS[field].best == "most" else float(value)


def _keeps(score: Score, question: Question) -> bool:
    signs = (
        (name, -1 if SAMPLE_FIELDS[name].best == "most" else 1, value)
        for name, value in question.limits
    )
    return all(
        _value(score, name) <= sign * value + 1e-12 * abs(value) for name, sign, value in signs
    )
