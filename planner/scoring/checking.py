"""`check_plan`: every rule of a plan, said again without a solver."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from planner.errors import listed, shortened
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.pricing.degrees import expert_fault, nesting_fault, tensor_fault
from planner.pricing.drafts import serving_prices
from planner.pricing.holdings import ledger_of, split_of
from planner.pricing.price_list import PriceList, unoffered
from planner.pricing.queueing import batch_of, most_requests_per_s
from planner.pricing.schedule import Schedule, scheduled
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


def check_plan(
    plan: Plan,
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    exclude: Iterable[int] = (),
) -> tuple[Violation, ...]:
    """The rules that a plan breaks, with figures; () when it is valid. `exclude` names chips that
    it may not use.

    Memory is checked once everything else is right, since a plan that makes no sense has no ledger.
    """
    broken = tuple(violation for check in STRUCTURE for violation in check(plan, graph, topology))
    broken += tuple(check_excluded(plan, exclude))
    return broken or tuple(check_memory(plan, graph, topology, workload))


def check_layers(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Every layer runs on exactly one stage, and nothing else does."""
    if _in_order(plan, graph):
        return
    placed = Counter(name for stage in plan.stages for name in stage.layers)
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
                message=f"stage {at[sender]} runs {sender!r}, whose output {receiver!r} needs on the earlier stage"
                f" {at[receiver]}",
            )
            return


def _in_order(plan: Plan, graph: ModelGraph) -> bool:
    """Whether the stages run all layers, each once, in the order of the graph, which is one in
    which they can run."""
    return (
        tuple(itertools.chain.from_iterable(stage.layers for stage in plan.stages)) == graph.names
    )


def check_chips(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Every group stands on chips that exist and that no other group uses."""
    ranges = sorted((group.first, group.last) for stage in plan.stages for group in stage.groups)
    if ranges[-1][1] >= topology.chips:
        message = f"a stage uses chip {ranges[-1][1]}, but {topology.name} has chips 0 to {topology.chips - 1}"
        yield Violation(
            rule="chips", message=message, demand=ranges[-1][1] + 1, capacity=topology.chips
        )
    for (_, last), (first, _) in itertools.pairwise(ranges):
        if first <= last:
            yield Violation(rule="chips", message=f"two groups use chip {first}")
            return


def check_excluded(plan: Plan, exclude: Iterable[int]) -> Iterator[Violation]:
    """No group stands on a chip that has failed or is taken."""
    for chip in sorted(set(exclude)):
        if any(
            group.first <= chip <= group.last for stage in plan.stages for group in stage.groups
        ):
            yield Violation(
                rule="exclude", message=f"a stage uses chip {chip}, which is excluded", demand=chip
            )


def check_stages(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """A diffusion model runs in one stage: its steps follow one another, and each needs the
    whole sample."""
    if graph.is_diffusion and len(plan.stages) > 1:
        yield Violation(
            rule="stages",
            message=f"{graph.name} is a diffusion model, which is planned in one stage, not in {len(plan.stages)}; split it"
            " by tensor_parallel, sequence_parallel or data_parallel",
            demand=len(plan.stages),
            capacity=1,
        )


def check_degrees(plan: Plan, graph: ModelGraph, topology: Topology) -> Iterator[Violation]:
    """Heads, experts and groups divide by the degrees, and the software can split so far."""
    for number, stage in enumerate(plan.stages):
        for message in _degree_faults(stage, graph, topology):
            yield Violation(rule="degrees", message=f"stage {number}: {message}")


def check_memory(
    plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload
) -> Iterator[Violation]:
    """On every chip weights, KV cache and activations fit into what may be filled, while
    requests leave as fast as they come."""
    prices, software = serving_prices(graph, topology, workload), topology.software
    batch_size = batch_of(prices, plan, workload)
    rate = workload.requests_per_s
    if (
        rate is not None
        and not batch_size
        and (most := most_requests_per_s(prices, plan, workload))
    ):
        message = (
            f"Workload.requests_per_s = {rate:.4g} is more than the plan serves: {most:.4g} requests a second, with as many"
            " sequences in flight as fit"
        )
        yield Violation(rule="rate", message=message, demand=rate, capacity=most)
        return
    batch_size = batch_size or plan.replicas
    at = scheduled(
        workload,
        software,
        batch_size=batch_size,
        replicas=plan.replicas,
        micro_batches=plan.micro_batches,
        graph=graph,
    )
    if at.sequences > software.most_sequences:
        message = f"a replica has {at.sequences} sequences, {software.name} takes at most {software.most_sequences}"
        yield Violation(
            rule="sequences", message=message, demand=at.sequences, capacity=software.most_sequences
        )
    for number, stage in enumerate(plan.stages):
        yield from check_ledger(prices, number, stage, at)


def check_ledger(prices: PriceList, number: int, stage: Stage, at: Schedule) -> Iterator[Violation]:
    """What the busiest chip of a stage holds fits into what may be filled."""
    ledger = ledger_of(prices, stage, at)
    if ledger.headroom_bytes < 0:
        yield Violation(
            rule="memory",
            message=f"stage {number} needs {spoken(ledger.needed_bytes, 'B')} on each chip (weights"
            f" {spoken(ledger.weight_bytes, 'B')}, KV cache {spoken(ledger.kv_bytes, 'B')}, activations"
            f" {spoken(ledger.activation_bytes, 'B')}) but {prices.topology.chip.name} has"
            f" {spoken(ledger.usable_bytes, 'B')} to fill",
            demand=ledger.needed_bytes,
            capacity=ledger.usable_bytes,
        )


STRUCTURE: tuple[Callable[[Plan, ModelGraph, Topology], Iterator[Violation]], ...] = (
    check_layers,
    check_order,
    check_chips,
    check_stages,
    check_degrees,
)


def _degree_faults(stage: Stage, graph: ModelGraph, topology: Topology) -> Iterator[str]:
    tensor, expert, software = stage.tensor_parallel, stage.expert_parallel, topology.software
    each = (
        tensor_fault(graph, software, tensor),
        expert_fault(graph, expert),
    )
    yield from (fault for fault in each if fault is not None)
    mixed = nesting_fault(tensor, expert)
    if mixed is not None:
        yield mixed
    elif stage.attention_parallel % max(1, expert // tensor):
        yield (
            f"{stage.group_chips} chips do not hold whole groups of expert_parallel = {expert} chips;"
            f" the group must be a multiple of it"
        )
    elif (
        stage.groups[0].last < topology.chips
        and (kind := unoffered(topology, split_of(stage))) is not None
    ):
        yield f"{software.name} has no {kind} over so many chips of {topology.name}; split the stage less far"


def _some(names: list[str]) -> str:
    return listed(
        [*(repr(shortened(name)) for name in names[:3]), *(["others"] if len(names) > 3 else [])]
    )
