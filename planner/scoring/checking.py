"""`check_plan`: every rule of a plan, said again without a solver."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import listed, shortened
from planner.guards import guarded
from planner.machines.engine import Space
from planner.machines.software import Software
from planner.machines.tiers import offload_fault, second_tier, tier_of
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.degrees import expert_fault, nesting_fault, tensor_fault
from planner.pricing.deployment import Deployment
from planner.pricing.engines import engine_faults, in_flight, micro_batch_fault
from planner.pricing.holdings import Ledger, split_of
from planner.pricing.price_list import Split, unoffered
from planner.pricing.queueing import batch_of, most_requests_per_s
from planner.pricing.schedule import Schedule
from planner.pricing.seats import seated
from planner.pricing.served import Served, settled
from planner.pricing.stacks import machine_for
from planner.records import Record
from planner.units import spoken
from planner.workload import Workload


class Violation(Record):
    """A rule that a plan breaks."""

    rule: str
    message: str
    demand: float = 0.0
    capacity: float = 0.0

    def __str__(self) -> str:
        return self.message


@guarded
def check_plan(
    plan: Plan,
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    *,
    exclude: Iterable[int] = (),
    space: Space = "engine",
) -> tuple[Violation, ...]:
    """The rules that a plan breaks, with figures; () when it is valid. `exclude` names chips that
    it may not use; `space` "any" leaves out what the software's engine cannot be started with.

    Memory is checked once everything else is right, since a plan that makes no sense has no ledger;
    of sequences that do not fit beside others, some wait, which breaks no rule.

    A plan that breaks a rule is an answer, and raises nothing.
    """
    graph, topology = model_of(graph), machine_of(topology)
    topology = machine_for(graph, topology)
    broken = check_structure(plan, graph, topology, exclude=exclude)
    if space == "engine":
        broken += tuple(check_engine(plan, graph, topology))
    served = Served(graph, topology, settled(workload, plan))
    broken += tuple(check_drafts(plan, served))
    if broken:
        return broken
    deployment = seated(Deployment(plan, [served] * len(plan.stages)))
    batch_size = batch_of(deployment)
    if space == "engine":
        broken = tuple(check_micro_batches(deployment, batch_size))
    return broken + tuple(check_memory(deployment, batch_size))


def check_structure(
    plan: Plan, graph: ModelGraph, topology: Topology, *, exclude: Iterable[int] = ()
) -> tuple[Violation, ...]:
    """The rules that a plan breaks whatever the workload."""
    broken = tuple(violation for check in STRUCTURE for violation in check(plan, graph, topology))
    return broken + tuple(check_excluded(plan, exclude))


def check_layers(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Every layer runs on exactly one stage, and nothing else does."""
    if _in_order(plan, graph):
        return
    placed = Counter(itertools.chain.from_iterable(stage.layers for stage in plan.stages))
    for name in placed.keys() - set(graph.names):
        yield Violation(
            rule="layers", message=f"{graph.name} has no layer called {shortened(name)!r}"
        )
    missing = [name for name in graph.names if name not in placed]
    if missing:
        yield Violation(rule="layers", message=f"no stage runs {_some(missing)}")
    repeated = [name for name, count in placed.items() if count > 1]
    if repeated:
        yield Violation(rule="layers", message=f"more than one stage runs {_some(repeated)}")


def check_order(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """No edge goes back from a later stage to an earlier one."""
    if _in_order(plan, graph):
        return
    at = {name: number for number, stage in enumerate(plan.stages) for name in stage.layers}
    for sender, receiver in graph.edges:
        if at.get(sender, 0) > at.get(receiver, len(plan.stages)):
            yield Violation(
                rule="order",
                message=f"stage {at[sender]} runs {sender!r}, whose output {receiver!r} needs on"
                f" the earlier stage {at[receiver]}",
            )
            return


def _in_order(plan: Plan, graph: ModelGraph) -> bool:
    """Whether the stages run all layers, each once, in the order of the graph, which is one in
    which they can run."""
    run = itertools.chain.from_iterable(stage.layers for stage in plan.stages)
    return tuple(run) == graph.names


def check_chips(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Every group stands on chips that exist and that no other group uses."""
    ranges = sorted((group.first, group.last) for group in _groups(plan))
    highest = ranges[-1][1]
    if highest >= topology.chips:
        yield Violation(
            rule="chips",
            message=f"a stage uses chip {highest}, but {topology.name} has chips 0 to"
            f" {topology.chips - 1}",
            demand=highest + 1,
            capacity=topology.chips,
        )
    for (_, last), (first, _) in itertools.pairwise(ranges):
        if first <= last:
            yield Violation(rule="chips", message=f"two groups use chip {first}")
            return


def check_excluded(plan: Plan, exclude: Iterable[int]) -> Iterator[Violation]:
    """No group stands on a chip that has failed or is taken."""
    for chip in sorted(set(exclude)):
        if any(group.first <= chip <= group.last for group in _groups(plan)):
            yield Violation(
                rule="exclude", message=f"a stage uses chip {chip}, which is excluded", demand=chip
            )


def _groups(plan: Plan) -> Iterator[ChipRange]:
    """Of all stages and replicas."""
    return itertools.chain.from_iterable(stage.groups for stage in plan.stages)


def check_stages(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """A diffusion model runs in one stage: its steps follow one another, and each needs the
    whole sample."""
    if graph.is_diffusion and len(plan.stages) > 1:
        yield Violation(
            rule="stages",
            message=f"{graph.name} is a diffusion model, which is planned in one stage, not in"
            f" {len(plan.stages)}; split it by tensor_parallel, sequence_parallel or data_parallel",
            demand=len(plan.stages),
            capacity=1,
        )


def check_degrees(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Heads, experts and groups divide by the degrees, and the software can split so far."""
    found: dict[tuple[Split, bool], tuple[str, ...]] = {}
    for number, stage in enumerate(plan.stages):
        # Most stages of a long pipeline are split alike.
        key = split_of(stage), stage.groups[0].last < topology.chips
        if key not in found:
            found[key] = tuple(_degree_faults(stage, graph, topology))
        for message in found[key]:
            yield Violation(rule="degrees", message=f"stage {number}: {message}")


def check_offload(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Layers lie off their chips' first memory only where there is another one, of which the
    software knows; what a host computes, it computes whole."""
    away = [number for number, stage in enumerate(plan.stages) if stage.offloaded]
    if not away:
        return
    tier = topology.kept(second_tier)
    if tier is None:
        yield Violation(rule="offload", message=offload_fault(topology))
        return
    if tier.host is None:
        return
    for number in away:
        tensor = plan.stages[number].tensor_parallel
        if tensor > 1:
            yield Violation(
                rule="offload",
                message=f"stage {number}: {topology.software.name} computes layers on the host"
                f" whole; make tensor_parallel 1, not {tensor}",
                demand=tensor,
                capacity=1,
            )


def check_caches(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """A layer that reads the keys and values of another stands with it: no software hands caches
    from one stage to the next."""
    if not graph.lent_caches or len(plan.stages) == 1:
        return
    at = {name: number for number, stage in enumerate(plan.stages) for name in stage.layers}
    for borrower, lender in graph.lent_caches:
        reader, keeper = graph.names[borrower], graph.names[lender]
        if at.get(reader) != at.get(keeper):
            yield Violation(
                rule="caches",
                message=f"{reader!r} reads the cache of {keeper!r}, which is on another stage;"
                " put them, and the layers between them, on one",
            )
            return


def check_drafts(plan: Plan, served: Served) -> Iterator[Violation]:
    """A draft model stands beside the last layer, in the chips' first memory."""
    drafting = served.workload.speculation
    if drafting is None or drafting.draft is None:
        return
    last = served.graph.names[-1]
    if any(last in stage.offloaded for stage in plan.stages):
        yield Violation(
            rule="offload",
            message=f"Stage.offloaded: beside the last layer, {last!r}, stands the draft model;"
            " leave that layer on the chips",
        )


def check_engine(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """The software's engine can be started with plans of this form."""
    for message in engine_faults(plan, graph, topology.software):
        yield Violation(rule="engine", message=message)


def check_micro_batches(deployment: Deployment, batch_size: int) -> Iterator[Violation]:
    """The engine keeps as many micro-batches in flight; pools of prompts have none."""
    served = deployment.served
    if not batch_size or served.workload.phase == "prefill" or served.graph.is_diffusion:
        return
    plan = deployment.plan
    sequences = deployment.schedule(batch_size).sequences
    message = micro_batch_fault(plan, served.software, sequences)
    if message is not None:
        yield Violation(
            rule="engine",
            message=message,
            demand=plan.micro_batches,
            capacity=in_flight(served.software.engine, len(plan.stages), sequences) or 0,
        )


def check_memory(deployment: Deployment, batch_size: int) -> Iterator[Violation]:
    """On every chip weights, KV cache and activations fit into what may be filled, while
    requests leave as fast as they come; with so many sequences in flight, 0: not even one fits, or
    the plan cannot keep up with the rate."""
    rate = deployment.served.workload.requests_per_s
    if not batch_size and rate is not None:
        most = most_requests_per_s(deployment)
        if most:
            yield _beyond_rate(rate, most)
            return
    at = deployment.schedule(batch_size or deployment.plan.replicas)
    yield from sequence_violations(deployment, at)
    yield from memory_violations(deployment, at)


def _beyond_rate(rate: float, most: float) -> Violation:
    return Violation(
        rule="rate",
        message=f"Workload.requests_per_s = {rate:.4g} is more than the plan can serve: {most:.4g}"
        " requests a second with the largest batch that fits",
        demand=rate,
        capacity=most,
    )


def sequence_violations(deployment: Deployment, at: Schedule) -> Iterator[Violation]:
    """No rank has more sequences than its software takes; of stages that share them out alike on
    one software one is named."""
    if at.sequences <= deployment.most_taken:
        return
    stages = zip(deployment.each, deployment.plan.stages, strict=True)
    shares = dict.fromkeys((served.software, one.attention_parallel) for served, one in stages)
    for software, ranks in shares:
        capacity = ranks * software.most_sequences
        if at.sequences > capacity:
            yield Violation(
                rule="sequences",
                message=_beyond_sequences(at.sequences, software, ranks),
                demand=at.sequences,
                capacity=capacity,
            )


def _beyond_sequences(sequences: int, software: Software, ranks: int) -> str:
    takes = f"{software.name} takes at most {software.most_sequences}"
    if ranks == 1:
        return f"a replica has {sequences} sequences, {takes}"
    share = math.ceil(sequences / ranks)
    return (
        f"a replica has {sequences} sequences, {share} on the busiest of {ranks} ranks; {takes} on"
        " each"
    )


def memory_violations(deployment: Deployment, at: Schedule) -> Iterator[Violation]:
    """What the busiest chip of each stage holds fits into what may be filled."""
    ledgers = zip(deployment.each, deployment.ledgers(at), strict=True)
    for number, (served, ledger) in enumerate(ledgers):
        if ledger.headroom_bytes < 0:
            yield _beyond_memory(number, served.topology, ledger)


def _beyond_memory(number: int, topology: Topology, ledger: Ledger) -> Violation:
    if ledger.offloaded_bytes > ledger.offload_bytes:
        return _beyond_tier(number, topology, ledger)
    needed = spoken(ledger.needed_bytes, "B")
    usable = spoken(ledger.usable_bytes, "B")
    weights = spoken(ledger.weight_bytes, "B")
    cache = spoken(ledger.kv_bytes, "B")
    buffers = spoken(ledger.activation_bytes, "B")
    if ledger.workspace_bytes:
        buffers += f", collectives' buffers {spoken(ledger.workspace_bytes, 'B')}"
    return Violation(
        rule="memory",
        message=f"stage {number} needs {needed} on each chip (weights {weights}, KV cache {cache},"
        f" activations {buffers}) but {topology.chip.name} has {usable} to fill",
        demand=ledger.needed_bytes,
        capacity=ledger.usable_bytes,
    )


def _beyond_tier(number: int, topology: Topology, ledger: Ledger) -> Violation:
    name = tier_of(topology).name
    return Violation(
        rule="memory",
        message=f"stage {number} leaves {spoken(ledger.offloaded_bytes, 'B')} of each chip to"
        f" {name}, which has {spoken(ledger.offload_bytes, 'B')} to fill",
        demand=ledger.offloaded_bytes,
        capacity=ledger.offload_bytes,
    )


STRUCTURE: tuple[Callable[[Plan, ModelGraph, Topology], Iterator[Violation]], ...] = (
    check_layers,
    check_order,
    check_chips,
    check_stages,
    check_degrees,
    check_caches,
    check_offload,
)


def _degree_faults(stage: Stage, graph: ModelGraph, topology: Topology) -> Iterator[str]:
    tensor = stage.tensor_parallel
    expert = stage.expert_parallel
    each = (
        tensor_fault(graph, topology.software, tensor),
        expert_fault(graph, topology.software, expert),
    )
    yield from (fault for fault in each if fault is not None)
    unequal = _group_fault(stage)
    if unequal is not None:
        yield unequal
    elif stage.groups[0].last < topology.chips:  # else it has no place to send from
        missing = unoffered(topology, split_of(stage))
        if missing is not None:
            yield (
                f"{topology.software.name} has no {missing} over so many chips of {topology.name};"
                " split the stage less far"
            )


def _group_fault(stage: Stage) -> str | None:
    """How tensor and expert groups do not fit into each other, or into the stage; None where they
    do."""
    tensor = stage.tensor_parallel
    expert = stage.expert_parallel
    mixed = nesting_fault(tensor, expert)
    if mixed is not None:
        return mixed
    if stage.attention_parallel % max(1, expert // tensor):
        return (
            f"{stage.group_chips} chips do not hold whole groups of expert_parallel = {expert}"
            " chips; the group must be a multiple of it"
        )
    return None


def _some(names: list[str]) -> str:
    """The first three, and that there are others."""
    shown = [repr(shortened(name)) for name in names[:3]]
    if len(names) > 3:
        shown.append("others")
    return listed(shown)
