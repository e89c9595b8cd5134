"""Why there is no plan, on a machine or on a cluster: which resource binds, by how much, and how
many chips would do."""

import math

from planner.cost import memory
from planner.errors import InfeasibleError, TimeUpError
from planner.machines.topology import Topology
from planner.plan import Plan
from planner.planning.conflicts import beyond_limits, beyond_rate
from planner.planning.engine_search import AnySearch, EngineClusterSearch, search_of
from planner.planning.search import ClusterSearch
from planner.pricing.holdings import held_weight_bytes
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from planner.units import spoken
from planner.workload import Workload

AnySpace = Candidates | ClusterCandidates

MOST_TRIED = 64
"""Numbers of chips tried above the lower bound before the packed plan's own number is taken."""


def refusal_of(space: AnySpace, *others: AnySpace, deadline: float = math.inf) -> InfeasibleError:
    """The error that says why a question with no plan has none.

    `others` are further spaces of the same question, as with other numbers of drafted tokens. Until
    `deadline`, a value of `time.monotonic`, it is found out how near to its limits plans come.
    """
    try:
        error = _why_refused((space, *others), deadline)
    except TimeUpError:
        error = _without_why(space)
    said = error.brief
    if space.workload.queued:
        said += (
            f"; {space.workload.batch_size} of the {space.workload.offered} sequences are in flight"
            " at once, and the others wait"
        )
    if isinstance(space, Candidates) and space.of_engine:
        said += (
            f"; only plans that {space.topology.software.name} can run were searched (space 'any'"
            " searches all)"
        )
    return error.saying(said)


def _why_refused(every: tuple[AnySpace, ...], deadline: float) -> InfeasibleError:
    space = every[0]
    if space.limits and _fits(space):
        return beyond_rate(every, deadline) or beyond_limits(every, deadline)
    return _too_many_sequences(space) or _out_of_memory(space)


def _without_why(space: AnySpace) -> InfeasibleError:
    """Where no time is left to find out why."""
    kept = "keeps all limits" if space.limits else "fits"
    return InfeasibleError(
        f"no plan of {space.graph.name} on {_machine(space)} {kept}, which is proved; to find out why,"
        " allow more time",
        resource="not told in time",
        demand=math.nan,
        capacity=math.nan,
    )


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


# ── Whether there is a plan at all ───────────────────────────────────────────────────────────────


def _fits(space: AnySpace) -> bool:
    """Whether there is a plan without limits."""
    if isinstance(space, ClusterCandidates):
        return _best(space.on(_one_of(space.workload), "chips"))[0] is not None
    return _fewest(space, space.topology) is not None


def _one_of(workload: Workload) -> Workload:
    """The workload itself where it says how many sequences there are, else a single one."""
    if workload.batch_size is not None:
        return workload
    one = None if workload.phase == "prefill" else 1
    return workload.replace(batch_size=one, requests_per_s=None, arrivals="steady")


def _fewest(candidates: Candidates, topology: Topology) -> tuple[int, int] | None:
    """Chips of the plan with the fewest on a topology, and how many it takes when packed; None
    where there is none."""
    plan, _ = _best(candidates.on(topology, _one_of(candidates.workload), "chips"))
    if plan is None:
        return None
    return plan.chips, 1 + max(group.last for stage in plan.stages for group in stage.groups)


def _best(space: AnySpace, *, enough: float = -math.inf) -> tuple[Plan | None, float]:
    """The best plan of a space, or the first that is good enough, and its canonical value;
    infinite where there is none."""
    search: ClusterSearch | AnySearch = (
        EngineClusterSearch(space)
        if isinstance(space, ClusterCandidates)
        else search_of(space, enough=enough)
    )
    search.run()
    if search.interrupted:
        raise TimeUpError(interrupted=True)
    return search.best.plan, search.best.value


# ── What binds ───────────────────────────────────────────────────────────────────────────────────


def _out_of_memory(space: AnySpace) -> InfeasibleError:
    graph, workload, rooms = space.graph, space.workload, space.rooms
    sequences = workload.batch_size or 1
    each = workload.context_tokens * graph.kv_bytes_per_token + graph.state_bytes_per_sequence
    kv = sequences * each
    weights = min(held_weight_bytes(graph, room.topology) for room in rooms)
    demand = weights
    capacity = sum(room.chips * room.topology.chip.memory[0].capacity_bytes for room in rooms)
    resource = "memory for weights"
    what = f"its weights are {spoken(demand, 'B')} and the memory is {spoken(capacity, 'B')}"
    if demand <= capacity:
        demand = weights + kv
        capacity = sum(room.chips * room.usable_bytes for room in rooms)
        resource = "memory for weights, KV cache and activations"
        what = (
            f"its weights are {spoken(weights, 'B')}, the KV cache of"
            f" {sequences} × {workload.context_tokens} tokens {spoken(kv, 'B')},"
            f" and {spoken(capacity, 'B')} may be filled"
        )
    gap = "which would be enough, but the model is split by whole layers, and buffers need room too"
    if demand > capacity:
        gap = f"{spoken(demand - capacity, 'B')} too little"
    remedy, smallest = _remedy(space)
    return InfeasibleError(
        f"{graph.name} in {graph.weight_dtype} does not fit {_machine(space)}:"
        f" {what}, {gap}; {remedy}",
        resource=resource,
        demand=demand,
        capacity=capacity,
        smallest_chips=smallest,
    )


def _machine(space: AnySpace) -> str:
    """The chips that there are, under the name that they have together."""
    if isinstance(space, Candidates):
        return space.place
    chips = " + ".join(f"{room.chips} × {room.topology.chip.name}" for room in space.rooms)
    return f"{space.place} ({chips})"


def _remedy(space: AnySpace) -> tuple[str, int | None]:
    """What would do, in words; and of a machine how many chips, where any number does."""
    if isinstance(space, ClusterCandidates):
        fewer = any(pool.exclude for pool in space.cluster.pools)
        first = "exclude fewer chips, add" if fewer else "add"
        return f"{first} a pool, or store the weights in fewer bits", None
    topology = space.topology
    capacity_each = topology.chip.memory[0].capacity_bytes
    least = memory.fewest_chips(held_weight_bytes(space.graph, topology), capacity_each)
    counted = "chip" if least == 1 else "chips"
    smallest = smallest_chips(space)
    enough = "1 chip is enough" if smallest == 1 else f"{smallest} chips are enough"
    if smallest is None:
        enough = f"even {topology.limit_chips} chips, the most of this machine, are not enough"
    needed = f"at least {least} {counted} of {spoken(capacity_each, 'B')}"
    return f"the weights alone need {needed}; with everything else {enough}", smallest


def _too_many_sequences(space: AnySpace) -> InfeasibleError | None:
    """That the software takes no replicas so large, on a machine; None where it does."""
    if isinstance(space, ClusterCandidates):
        return None
    batch, software = space.workload.batch_size, space.topology.software
    if batch is None or any(True for _ in space.boxes()):
        return None
    capacity = software.most_sequences * space.topology.chips
    return InfeasibleError(
        f"{batch} sequences are too many for {space.topology.chips} chips:"
        f" {software.name} runs at most {software.most_sequences} on each chip",
        resource="sequences",
        demand=batch,
        capacity=capacity,
    )
