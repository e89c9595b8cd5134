"""Why there is no plan: which resource binds, by how much, and how many chips would do."""

from dataclasses import replace

from planner.answers.question import FIELDS
from planner.cost import memory
from planner.errors import InfeasibleError
from planner.machines.topology import Topology
from planner.plan import Plan
from planner.planning.search import Search
from planner.space.candidates import Candidates
from planner.units import spoken
from planner.workload import Workload

MOST_TRIED = 64
"""Numbers of chips tried above the lower bound before the packed plan's own number is taken."""


def refusal_of(candidates: Candidates) -> InfeasibleError:
    """The error that says why a question with no plan has none."""
    if candidates.limits and _fewest(candidates, candidates.topology) is not None:
        return _beyond_rate(candidates) or _beyond_limits(candidates)
    sequences = _too_many_sequences(candidates)
    return sequences if sequences is not None else _out_of_memory(candidates)


def smallest_chips(candidates: Candidates) -> int | None:
    """The fewest chips of the same machine that hold the model and its workload; None where no
    number does."""
    topology = candidates.topology
    largest = topology.replace(chips=topology.limit_chips)
    found = _fewest(candidates, largest)
    if found is None:
        return None
    fewest, packed = found
    for chips in range(fewest, min(packed, fewest + MOST_TRIED)):
        if _fewest(candidates, topology.replace(chips=chips)) is not None:
            return chips
    return packed


def _fewest(candidates: Candidates, topology: Topology) -> tuple[int, int] | None:
    """Chips of the plan with the fewest on a topology, and how many it takes when packed; None
    where there is none."""
    workload = candidates.workload
    if workload.batch_size is None:
        one = None if workload.phase == "prefill" else 1
        workload = workload.replace(batch_size=one, requests_per_s=None)
    plan = _best(candidates, topology, workload, "chips")[0]
    if plan is None:
        return None
    return plan.chips, 1 + max(group.last for stage in plan.stages for group in stage.groups)


def _best(
    candidates: Candidates, topology: Topology, workload: Workload, field: str
) -> tuple[Plan | None, float]:
    """The plan that makes one field best, and that field, without limits."""
    alone = Candidates(
        candidates.graph,
        topology,
        workload,
        replace(candidates.question, objective=field, limits=()),
    )
    search = Search(alone)
    search.run()
    if search.interrupted:
        raise KeyboardInterrupt
    return search.best.plan, alone.field_value(field, search.best.value)


def _out_of_memory(candidates: Candidates) -> InfeasibleError:
    graph, topology, workload = candidates.graph, candidates.topology, candidates.workload
    capacity_each = topology.chip.memory[0].capacity_bytes
    usable_each = candidates.prices.usable_bytes
    weights, chips = graph.weight_bytes, topology.chips
    each = workload.context_tokens * graph.kv_bytes_per_token + graph.state_bytes_per_sequence
    kv = (workload.batch_size or 1) * each
    least = memory.fewest_chips(weights, capacity_each)
    smallest = smallest_chips(candidates)
    model = f"{graph.name} in {graph.weight_dtype}"
    machine = f"{chips} × {topology.chip.name}"
    remedy = (
        f"the weights alone need at least {least} chip{'s' * (least > 1)} of {spoken(capacity_each, 'B')}, and "
        + (
            f"{smallest} would do"
            if smallest
            else f"no number of them up to {topology.limit_chips} would do"
        )
    )
    if weights > chips * capacity_each:
        demand, capacity, resource = weights, chips * capacity_each, "memory for weights"
        what = f"its weights are {spoken(demand, 'B')} and the memory is {spoken(capacity, 'B')}"
    else:
        demand, capacity, resource = (
            weights + kv,
            chips * usable_each,
            "memory for weights, KV cache and activations",
        )
        what = (
            f"its weights are {spoken(weights, 'B')}, the KV cache of {workload.batch_size or 1} × {workload.context_tokens}"
            f" tokens {spoken(kv, 'B')}, and {spoken(capacity, 'B')} may be filled"
        )
    gap = (
        f", {spoken(demand - capacity, 'B')} too little"
        if demand > capacity
        else ", but whole layers and buffers do not fit"
    )
    return InfeasibleError(
        f"{model} does not fit {machine}: {what}{gap}; {remedy}",
        resource=resource,
        demand=demand,
        capacity=capacity,
        smallest_chips=smallest,
    )


def _too_many_sequences(candidates: Candidates) -> InfeasibleError | None:
    batch, software = candidates.workload.batch_size, candidates.topology.software
    if batch is None or any(True for _ in candidates.boxes()):
        return None
    capacity = software.most_sequences * candidates.topology.chips
    return InfeasibleError(
        f"{batch} sequences are too many for {candidates.topology.chips} chips: {software.name} takes at most"
        f" {software.most_sequences} in one replica",
        resource="sequences",
        demand=batch,
        capacity=capacity,
    )


def _beyond_rate(candidates: Candidates) -> InfeasibleError | None:
    """That more requests come than any plan serves, and how many one serves that is good at it;
    None where one does."""
    topology, workload = candidates.topology, candidates.workload
    rate, any_field = workload.requests_per_s, "ttft_s" if workload.phase == "prefill" else "tpot_s"
    if rate is None or _best(candidates, topology, workload, any_field)[0] is not None:
        return None
    plan = _best(candidates, topology, workload.replace(requests_per_s=None), "tokens_per_s")[0]
    most = 0.0 if plan is None else candidates.most_requests_per_s(plan)
    return InfeasibleError(
        f"Workload.requests_per_s = {rate:.4g} is more than any plan on {topology.chips} × {topology.chip.name} serves; the"
        f" one for the highest throughput serves {most:.4g} requests a second",
        resource="rate of requests",
        demand=rate,
        capacity=most,
    )


def _beyond_limits(candidates: Candidates) -> InfeasibleError:
    """Which limit cannot be met even alone; else that they cannot be met together."""
    for name, value in candidates.question.limits:
        plan, best = _best(candidates, candidates.topology, candidates.workload, name)
        if plan is not None and candidates.canonical(name, best) > candidates.canonical(
            name, value
        ) * (1 + 1e-9):
            most = "at most" if FIELDS[name].best == "least" else "at least"
            return InfeasibleError(
                f"{name} of {most} {value:.4g} cannot be met: the best that any plan on {candidates.topology.chips} ×"
                f" {candidates.topology.chip.name} reaches is {best:.4g}",
                resource=f"limit on {name}",
                demand=value,
                capacity=best,
            )
    names = " and ".join(name for name, _ in candidates.question.limits)
    return InfeasibleError(
        f"the limits on {names} can be met one by one, but by no plan together on {candidates.topology.chips} ×"
        f" {candidates.topology.chip.name}",
        resource="limits together",
        demand=float(len(candidates.question.limits)),
        capacity=float(len(candidates.question.limits) - 1),
    )
