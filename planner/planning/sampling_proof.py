"""The best plan of a diffusion model, found once more by trying every one.

Nothing is shared with the search but the price of a plan, the rules that it must keep and where a
layout puts groups of chips: degrees, replicas and batches are counted up here, and limits are
looked at anew.
"""

import time
from collections.abc import Iterator

from planner.answers.certificates import Certificate
from planner.answers.question import SAMPLE_FIELDS
from planner.errors import InfeasibleError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.solver.chain.packing import Packing
from planner.space.layout import packing_of

ROUNDING = 1e-9
"""Relative: by so much a limit may be missed."""


def best_sample_value(certificate: Certificate, deadline: float) -> float | None:
    """The best that any uniform plan in one stage reaches in the certificate's field while it keeps
    the limits; None where time ran out, or none keeps them. `deadline` is on the monotonic
    clock. [s]"""
    best: float | None = None
    is_least = certificate.direction == "minimize"
    for plan in _plans(certificate):
        if time.monotonic() >= deadline:
            return None
        score = _score(plan, certificate)
        if score is None or not _keeps(score, certificate):
            continue
        value = getattr(score, certificate.field)
        if value is None:
            continue
        if best is None or (value < best) == is_least:
            best = float(value)
    return best


def _plans(certificate: Certificate) -> Iterator[Plan]:
    """Tensor × sequence × guidance × replicas, each counted up to the chips that are there."""
    graph, topology = certificate.graph, certificate.topology
    batch = certificate.workload.batch_size
    packing = packing_of(topology)
    for tensor, sequence, passes in _degrees(graph, topology):
        width = tensor * sequence * passes
        for replicas in range(1, topology.chips // width + 1):
            if batch is not None and not _shortens(batch, replicas):
                continue
            plan = _plan(graph, packing, tensor, sequence, passes, replicas)
            if plan is None:
                continue
            if batch is not None:
                yield plan
                continue
            for samples in _samples(plan, certificate):
                yield plan.replace(batch_size=samples * replicas)


def _shortens(batch: int, replicas: int) -> bool:
    """Whether the busiest of so many replicas has less to do than one of one fewer has."""
    return replicas == 1 or -(-batch // replicas) < -(-batch // (replicas - 1))


def _degrees(graph: ModelGraph, topology: Topology) -> Iterator[tuple[int, int, int]]:
    """Those at which every chip has whole heads."""
    heads = graph.splits().get("heads", ())
    for tensor in range(1, topology.chips + 1):
        for sequence in range(1, topology.chips // tensor + 1):
            if any(count % (tensor * sequence) for count in heads):
                continue
            for passes in range(1, graph.passes_per_step + 1):
                if tensor * sequence * passes <= topology.chips:
                    yield tensor, sequence, passes


def _plan(
    graph: ModelGraph, packing: Packing, tensor: int, sequence: int, passes: int, replicas: int
) -> Plan | None:
    """On chips as a layout puts so many groups; None where it has no place for them."""
    width = tensor * sequence * passes
    if packing.rule(width) is None:
        return None
    bases = packing.copies(width, replicas)
    if bases is None:
        return None
    stage = Stage(
        layers=graph.names,
        groups=tuple(ChipRange(first=base, count=width) for base in bases),
        tensor_parallel=tensor,
        sequence_parallel=sequence,
    )
    return Plan(stages=(stage,))


def _samples(plan: Plan, certificate: Certificate) -> Iterator[int]:
    """1, 2, 4, … in a replica, and as many as fit: doubled until no more do, then halved out."""
    fits = 0
    samples = 1
    while _score(plan.replace(batch_size=samples * plan.replicas), certificate) is not None:
        fits = samples
        yield samples
        samples *= 2
    if not fits:
        return
    low, high = fits, samples
    while high - low > 1:
        middle = (low + high) // 2
        tried = plan.replace(batch_size=middle * plan.replicas)
        low, high = (low, middle) if _score(tried, certificate) is None else (middle, high)
    if low > fits:
        yield low


def _score(plan: Plan, certificate: Certificate) -> Score | None:
    """None where the plan breaks a rule or does not fit."""
    graph, topology, workload = certificate.graph, certificate.topology, certificate.workload
    if check_plan(plan, graph, topology, workload):
        return None
    try:
        return score_plan(plan, graph, topology, workload, power_scope=certificate.power_scope)
    except InfeasibleError:
        return None


def _keeps(score: Score, certificate: Certificate) -> bool:
    """Whether it keeps all limits, as surely as was asked."""
    for name, limit in certificate.limits:
        sure = certificate.sure
        reached = getattr(score, name) if sure is None else score.sure(name, sure)
        if reached is None:
            return False
        over = reached - limit if SAMPLE_FIELDS[name].best == "least" else limit - reached
        if over > ROUNDING * abs(limit):
            return False
    return True
