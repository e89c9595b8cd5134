"""`planned`: the plan that an engine makes of a launch on a machine, and the machine and the load as
the engine is told to take them."""

import itertools
import math
from typing import NamedTuple

from planner.errors import InputError, listed, shortened
from planner.launches.cuts import cut_by_shares, own_cut
from planner.launches.launch import Drafting, Launch
from planner.launches.models import Modelled, model_of
from planner.launches.ranks import by_attention_rank
from planner.launches.shares import told_share
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.engines import engine_faults, in_flight
from planner.pricing.stacks import machine_for
from planner.space.offloading import fitted_by_engine
from planner.workload import Speculation, Workload

MANY = 10_000_000


class Planned(NamedTuple):
    """What a launch comes to."""

    plan: Plan
    topology: Topology
    """With the limits that the engine is told."""
    workload: Workload
    remarks: tuple[str, ...]
    faults: tuple[str, ...]
    """Why the engine refuses requests, whatever the plan."""


class Settled(NamedTuple):
    """A launch with degrees that are known only beside a model and a machine."""

    launch: Launch
    remarks: tuple[str, ...]


def stack_of(launch: Launch) -> str:
    """The software stack of the catalogue that a launch runs on."""
    return "vllm-eager" if launch.engine == "vllm" and launch.eager else launch.engine


def planned(launch: Launch, graph: ModelGraph, topology: Topology, workload: Workload) -> Planned:
    """The engine's plan, its machine and its load. The machine has the engine's stack already."""
    launch, remarks = settled_launch(launch, graph, topology)
    if launch.chips > topology.chips:
        raise InputError(
            f"the command needs {launch.chips} chips, but {topology.name} has {topology.chips};"
            f" give --chips {launch.chips}, or another machine"
        )
    told = told_machine(launch, topology)
    load, more = told_load(launch, graph, workload)
    plan, placed = plan_of(launch, graph, told)
    plan = _in_flight(plan, told, load)
    share = told_share(launch, plan, graph, told, load)
    told = told if share is None else told.with_usable_memory(share)
    return Planned(plan, told, load, (*remarks, *more, *placed), context_faults(launch, workload))


def settled_launch(launch: Launch, graph: ModelGraph, topology: Topology) -> Settled:
    """Degrees that depend on the model's experts, and on how many chips the engine sees."""
    remarks: list[str] = []
    if launch.spread:
        degree = "pipeline_parallel" if launch.spread == "stages" else "tensor_parallel"
        shares = launch.stage_shares
        seen = len(shares) if shares else topology.chips
        if seen > topology.chips:
            raise InputError(
                f"--tensor-split has shares for {seen} cards, and {topology.name} has"
                f" {topology.chips}"
            )
        launch = launch.replace(**{degree: seen, "spread": ""})
    has_experts = bool(graph.splits().get("experts"))
    if not has_experts and launch.expert_parallel > 1:
        remarks.append(f"{graph.name} has no experts: expert parallelism has no effect")
        launch = launch.replace(expert_parallel=1)
    ranks = launch.attention_parallel
    if not has_experts and ranks > 1 and launch.engine == "vllm":
        launch = _as_replicas(launch)
        remarks.append(
            f"for a model without experts, data parallelism means {ranks} separate engines"
        )
    elif has_experts and ranks > 1 and launch.expert_parallel == 1:
        width = launch.tensor_parallel * ranks
        launch = launch.replace(expert_parallel=width)
        remarks.append(
            f"each expert is split over all {width} ranks of a stage; the price puts whole experts"
            " on each rank, which then holds and reads as many bytes"
        )
    return Settled(launch, tuple(remarks))


def _as_replicas(launch: Launch) -> Launch:
    """Ranks that share nothing are engines of their own."""
    ranks = launch.attention_parallel
    most = launch.most_sequences
    devices = launch.devices
    if devices is not None:
        width = launch.replica_chips // ranks
        seen = [chip for chips in devices for chip in by_attention_rank(launch, chips)]
        devices = tuple(tuple(seen[at : at + width]) for at in range(0, len(seen), width))
    return launch.replace(
        attention_parallel=1,
        replicas=launch.replicas * ranks,
        devices=devices,
        most_sequences=None if most is None else max(1, most // ranks),
    )


def told_machine(launch: Launch, topology: Topology) -> Topology:
    """The machine whose engine is started with the launch's limits, but for its share of memory,
    which some engines count so that only the plan tells it."""
    return topology.replace(software=_told_software(launch, topology.software))


def _told_software(launch: Launch, software: Software) -> Software:
    if launch.chunk_tokens is not None:
        software = software.replace(prefill_chunk_tokens=launch.chunk_tokens)
    if launch.most_sequences is not None:
        each = math.ceil(launch.most_sequences / launch.attention_parallel)
        software = software.replace(most_sequences=each)
    return software


def told_load(
    launch: Launch, graph: ModelGraph, workload: Workload
) -> tuple[Workload, tuple[str, ...]]:
    """The load with the launch's drafts, and the passes that it serves."""
    remarks: tuple[str, ...] = ()
    if launch.role != "both" and workload.phase == "both":
        open_batch = {"batch_size": None} if launch.role == "prefill" else {}
        workload = workload.replace(phase=launch.role, **open_batch)
        remarks = (f"it serves only {launch.role}, as one of two pools",)
    if launch.drafting is None or workload.speculation is not None:
        return workload, remarks
    speculation, more = _speculation(launch, launch.drafting, graph)
    return workload.replace(speculation=speculation), (*remarks, *more)


def _speculation(
    launch: Launch, drafting: Drafting, graph: ModelGraph
) -> tuple[Speculation, tuple[str, ...]]:
    draft = None
    remarks: tuple[str, ...] = ()
    if drafting.kind == "draft-model":
        draft, remarks = _draft_model(launch, drafting)
    elif drafting.kind != "ngram":
        draft = graph.cut(1)
    made = Speculation.from_fields(
        {"draft": draft, "tokens": drafting.tokens, "kind": drafting.kind, "acceptance_rate": None}
    )
    return made, remarks


def _draft_model(launch: Launch, drafting: Drafting) -> Modelled:
    try:
        return model_of(launch.replace(model=drafting.model, weight_format=None))
    except InputError:
        raise InputError(
            f"{shortened(drafting.model) or 'the draft model'} drafts, but it is not in the"
            " catalogue, not in the local cache of the hub and not a file; name the draft model"
            f" with --draft NAME --speculative-tokens {drafting.tokens}"
        ) from None


def context_faults(launch: Launch, workload: Workload) -> tuple[str, ...]:
    """Requests that are longer than the engine takes."""
    most = launch.context_tokens
    needed = workload.prompt_tokens + workload.output_tokens
    if most is None or needed <= most:
        return ()
    return (f"it accepts requests of at most {most:,} tokens, but these have {needed:,}",)


def plan_of(launch: Launch, graph: ModelGraph, topology: Topology) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a launch whose degrees are settled, and what could not be said exactly."""
    topology = machine_for(graph, topology)
    counts = layers_of(launch, graph)
    bases, remarks = _placed(launch)
    runs = _runs(graph, counts)
    width = launch.stage_ranks
    stages = []
    for number, names in enumerate(runs):
        groups = [ChipRange(first=base + number * width, count=width) for base in bases]
        stages.append(
            Stage(
                layers=names,
                groups=tuple(groups),
                tensor_parallel=launch.tensor_parallel,
                expert_parallel=launch.expert_parallel,
                sequence_parallel=launch.sequence_parallel,
            )
        )
    plan = Plan(stages=tuple(stages), micro_batches=len(stages))
    plan, away = _with_layers_away(plan, launch, graph, topology)
    kept = in_flight(topology.software.engine, len(stages), MANY)
    plan = plan.replace(micro_batches=min(kept or len(stages), MANY))
    if topology.software.engine.is_known and not any(engine_faults(plan, graph, topology.software)):
        plan = plan.replace(space="engine")
    return plan, (*remarks, *away)


def layers_of(launch: Launch, graph: ModelGraph) -> tuple[int, ...]:
    """Decoder layers of each stage: as stated, or as the engine cuts by itself."""
    layers = len(graph.inner_positions)
    stages = launch.pipeline_parallel
    if launch.layers is not None:
        if sum(launch.layers) != layers:
            raise InputError(
                f"the command cuts {listed(launch.layers)} layers, {sum(launch.layers)} in all, and"
                f" {graph.name} has {layers}; {launch.engine} refuses that"
            )
        return launch.layers
    if launch.engine == "llama.cpp" and stages > 1:
        counts = cut_by_shares(launch.stage_shares or (1.0,) * stages, layers, launch.kept_layers)
        if min(counts) < 1:
            told = "--tensor-split" if launch.kept_layers is None else "--gpu-layers"
            raise InputError(
                f"{told} leaves a card without a layer of the {layers}; leave that card out with"
                " CUDA_VISIBLE_DEVICES or --device"
            )
        return counts
    return own_cut(launch.engine, layers, stages)


def _runs(graph: ModelGraph, counts: tuple[int, ...]) -> list[tuple[str, ...]]:
    """Names of the layers of each stage: the embedding with the first, the head with the last."""
    names = graph.names
    inner = graph.inner_positions
    borders = [0]
    taken = 0
    for count in counts[:-1]:
        taken += count
        borders.append(inner[taken])
    borders.append(len(names))
    return [names[a:b] for a, b in itertools.pairwise(borders)]


def _placed(launch: Launch) -> tuple[list[int], tuple[str, ...]]:
    """The first chip of each replica."""
    size = launch.replica_chips
    plain = [number * size for number in range(launch.replicas)]
    if launch.devices is None:
        return plain, _strided(launch)
    for chips in launch.devices:
        if list(chips) != list(range(chips[0], chips[0] + size)):
            words = (
                f"chips {listed(chips)} are not neighbours in order: the price takes the machine's"
                " first chips"
            )
            return plain, (f"{words}, which is the same where a fabric joins all chips alike",)
    return [chips[0] for chips in launch.devices], ()


def _strided(launch: Launch) -> tuple[str, ...]:
    if launch.pipeline_parallel == 1 or launch.attention_parallel == 1 or launch.engine != "vllm":
        return ()
    return (
        "vLLM takes the chips of one data parallel rank together, all its stages; the chips of one"
        " stage are priced as neighbours",
    )


def _with_layers_away(
    plan: Plan, launch: Launch, graph: ModelGraph, topology: Topology
) -> tuple[Plan, tuple[str, ...]]:
    """With the layers that the command, or the engine, leaves off the cards."""
    layers = len(graph.inner_positions)
    away = launch.offloaded_layers
    if away is None and launch.kept_layers is not None:
        away = min(layers, max(0, layers + 1 - launch.kept_layers))
    if away is None:
        return fitted_by_engine(plan, graph, topology), ()
    if not away:
        return plan, ()
    first = plan.stages[0]
    # The embedding is never on a card where anything is off them.
    ends = len(first.layers) - sum(name in _inner_names(graph) for name in first.layers)
    left = first.replace(offloaded=first.layers[: min(len(first.layers), away + min(1, ends))])
    return plan.replace(stages=(left, *plan.stages[1:])), (f"{away} layers are not on the cards",)


def _inner_names(graph: ModelGraph) -> frozenset[str]:
    return frozenset(graph.names[position] for position in graph.inner_positions)


def _in_flight(plan: Plan, topology: Topology, workload: Workload) -> Plan:
    """Where an engine keeps as many micro-batches as sequences, only the load says how many."""
    batch = workload.batch_size
    if batch is None or len(plan.stages) == 1:
        return plan
    most = topology.software.most_sequences * plan.stages[0].attention_parallel
    sequences = min(-(-batch // plan.replicas), most)
    kept = in_flight(topology.software.engine, len(plan.stages), sequences)
    return plan if kept is None else plan.replace(micro_batches=kept)
