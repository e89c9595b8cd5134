"""`uniform_plan`: the plan that engines make from degrees alone."""

import itertools

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InputError
from planner.guards import guarded
from planner.machines.engine import Engine, Space
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import engine_faults, in_flight
from planner.pricing.stacks import machine_for
from planner.scoring.checking import STRUCTURE
from planner.scoring.plans import refuse_broken
from planner.space.layout import even_cut, packing_of, starts_of
from planner.space.offloading import fitted_by_engine, with_first_layers

MANY = 10_000_000
"""Sequences: more than any engine keeps micro-batches."""


@guarded
def uniform_plan(
    graph: AnyModel,
    topology: AnyMachine,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    data_parallel: int = 1,
    sequence_parallel: int = 1,
    micro_batches: int | None = None,
    batch_size: int | None = None,
    offloaded_layers: int | None = None,
) -> Plan:
    """The plan that engines make from degrees alone: equal stages, the same split on each.

    tensor × pipeline × data × sequence is the number of chips; experts are placed inside tensor ×
    data. `micro_batches` None: as many as the machine's software keeps in flight where there are
    sequences enough; as many as stages where its rules are not known, or where each sequence is
    one. `batch_size`, of the whole deployment, says how many there are. `offloaded_layers` are the
    first of each stage, off its chips' first memory (see `machines.tiers`); None: none, but where
    the weights do not fit and the software leaves layers behind, as few as can be.

    InputError: degrees that do not divide the heads, the experts or the chips.
    """
    graph, topology = model_of(graph), machine_of(topology)
    counted = {"micro_batches": micro_batches, "batch_size": batch_size}
    check_whole(**{name: count for name, count in counted.items() if count is not None})
    check_whole(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        expert_parallel=expert_parallel,
        data_parallel=data_parallel,
        sequence_parallel=sequence_parallel,
    )
    attention = _attention_ranks(tensor_parallel, expert_parallel, data_parallel)
    width = tensor_parallel * sequence_parallel * attention
    groups = _groups(topology, width, pipeline_parallel, data_parallel // attention)
    runs = _even_layers(graph, pipeline_parallel)
    stages = tuple(
        Stage(
            layers=layers,
            groups=stage_groups,
            tensor_parallel=tensor_parallel,
            expert_parallel=expert_parallel,
            sequence_parallel=sequence_parallel,
        )
        for layers, stage_groups in zip(runs, groups, strict=True)
    )
    topology = machine_for(graph, topology)
    kept = _kept_in_flight(topology.software.engine, stages, batch_size)
    plan = Plan(stages=stages, micro_batches=micro_batches or kept or pipeline_parallel)
    if offloaded_layers is not None:
        plan = with_first_layers(plan, offloaded_layers)
    broken = (violation for check in STRUCTURE for violation in check(plan, graph, topology))
    refuse_broken(tuple(broken))
    if offloaded_layers is None:
        plan = fitted_by_engine(plan, graph, topology)
    if kept is not None and plan.micro_batches != kept:
        return plan
    return plan.replace(space=_space_of(plan, graph, topology.software))


def _kept_in_flight(
    engine: Engine, stages: tuple[Stage, ...], batch_size: int | None
) -> int | None:
    """Micro-batches of an engine that has so many sequences, None: enough of them; None where
    micro-batches are free, or as many as sequences that nobody counts."""
    if batch_size is not None:
        replicas = len(stages[0].groups)
        return in_flight(engine, len(stages), -(-batch_size // replicas))
    if engine.micro_batches == "sequences" and len(stages) > 1:
        return None
    return in_flight(engine, len(stages), MANY)


def _space_of(plan: Plan, graph: ModelGraph, software: Software) -> Space:
    """Whether the software can be started with a plan, as far as its rules are known."""
    if not software.engine.is_known or any(engine_faults(plan, graph, software)):
        return "any"
    return "engine"


def check_whole(**degrees: int) -> None:
    """Refuse a degree that is no whole number of at least 1."""
    for name, degree in degrees.items():
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {degree!r}")


def _attention_ranks(tensor: int, expert: int, data: int) -> int:
    """How many groups of tensor ranks share out the sequences of a group that shares its
    experts."""
    attention = max(1, expert // tensor)
    uneven = expert > tensor and expert % tensor
    if data % attention or uneven:
        raise InputError(
            f"expert_parallel = {expert} must divide, or be a multiple of,"
            f" tensor_parallel = {tensor}, and fit into"
            f" tensor_parallel × data_parallel = {tensor * data}"
        )
    return attention


def _groups(
    topology: Topology, width: int, stages: int, replicas: int
) -> list[tuple[ChipRange, ...]]:
    """The chips of each stage in each replica: packed inside the borders where that fits, else
    one after the other."""
    needed = width * stages * replicas
    if needed > topology.chips:
        raise InputError(
            f"tensor × pipeline × data × sequence parallel need {needed} chips;"
            f" {topology.name} has {topology.chips}"
        )
    packing = packing_of(topology)
    starts, offset = starts_of(packing, [width] * stages)
    bases = packing.copies(offset, replicas)
    if bases is None:
        starts = [width * stage for stage in range(stages)]
        bases = [width * stages * replica for replica in range(replicas)]
    return [tuple(ChipRange(first=base + start, count=width) for base in bases) for start in starts]


def _even_layers(graph: ModelGraph, stages: int) -> list[tuple[str, ...]]:
    """Runs of layers with equally many decoder layers, as vLLM cuts them: what is left over goes
    to the stages before the last. The embedding joins the first stage, the head the last."""
    names = [layer.name for layer in graph.layers]
    layers = len(graph.inner_positions)
    if stages > layers:
        raise InputError(
            f"pipeline_parallel = {stages} is more than the {layers} layers of {graph.name}"
        )
    return [tuple(names[a:b]) for a, b in itertools.pairwise(even_cut(graph, stages))]
