"""The oracle: every plan of the space, priced by `score_plan` alone.

It shares no code with the candidates or the solvers: it lists degrees from their definitions and
places groups by trying every first chip. What it finds best is best.
"""

import itertools
import math
from collections.abc import Iterator

from planner.errors import InfeasibleError, InputError
from planner.machines.cluster import Cluster, PooledPlan, PooledStage
from planner.machines.software import Software
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.served import Served
from planner.scoring.clusters import score_pooled_plan
from planner.scoring.plans import score_plan, score_served
from planner.scoring.score import Score
from planner.workload import Workload

Split = tuple[int, ...]
"""Tensor and expert parallel degree, and maybe a sequence parallel degree."""


def parts_of(sequences: int, workload: Workload) -> list[int]:
    """Into how many micro-batches so many sequences are cut: any number where prompts of others
    come between the tokens of a request; else, of those whose largest is as large, the fewest."""
    meets = workload.arrivals == "steady" and workload.phase == "both"
    if meets and workload.output_tokens > 1:
        return list(range(1, sequences + 1))
    sizes = {math.ceil(sequences / parts) for parts in range(1, sequences + 1)}
    return sorted(math.ceil(sequences / size) for size in sizes)


def best_plan(
    graph: ModelGraph, topology: Topology, workload: Workload, field: str, *, most: bool, limits: dict[str, float],
    sequences: bool = False,
) -> tuple[Plan | None, float]:  # fmt: skip
    """The best plan and its value; (None, nan) where there is none. `sequences`: with sequence
    parallel degrees."""
    best, best_value = None, math.nan
    for plan, score in fitting(graph, topology, workload, sequences):
        if not kept(score, limits):
            continue
        value = float(getattr(score, field))
        if best is None or (value > best_value if most else value < best_value):
            best, best_value = plan, value
    return best, best_value


def fitting(
    graph: ModelGraph, topology: Topology, workload: Workload, sequences: bool = False
) -> list[tuple[Plan, Score]]:
    """All plans that hold all sequences at once; where there is none, those that hold the most, and
    leave the others in a queue."""
    found = holding(graph, topology, workload, sequences)
    if found or workload.batch_size is None or workload.queued:
        return found
    for batch in range(workload.batch_size - 1, 0, -1):
        if holding(graph, topology, workload.replace(batch_size=batch), sequences):
            held = holding(graph, topology, workload.seated(batch), sequences)
            return [(plan, score_plan(plan, graph, topology, workload)) for plan, _ in held]
    return []


def holding(
    graph: ModelGraph, topology: Topology, workload: Workload, sequences: bool
) -> list[tuple[Plan, Score]]:
    """All plans that hold all sequences that are to be in flight."""
    served = Served(graph, topology, workload)
    priced = (
        (plan, scored_as(plan, served)) for plan in all_plans(graph, topology, workload, sequences)
    )
    return [(plan, score) for plan, score in priced if score is not None]


def scored(plan: Plan, graph: ModelGraph, topology: Topology, workload: Workload) -> Score | None:
    """The price of a plan that holds all sequences at once; None of any other."""
    return scored_as(plan, Served(graph, topology, workload))


def scored_as(plan: Plan, served: Served) -> Score | None:
    """The same of one plan of many, which share what they are priced from."""
    try:
        return score_served(plan, served)
    except (InfeasibleError, InputError):
        return None


HIGHER_IS_BETTER = {
    "tokens_per_s",
    "requests_per_s",
    "tokens_per_s_per_chip",
    "tokens_per_s_per_user",
    "mfu_fraction",
    "mbu_fraction",
    "memory_headroom_bytes",
}


def kept(score: Score, limits: dict[str, float]) -> bool:
    """Whether a score keeps its limits."""
    for name, limit in limits.items():
        value = float(getattr(score, name))
        if value < limit * (1 - 1e-12) if name in HIGHER_IS_BETTER else value > limit * (1 + 1e-12):
            return False
    return True


def width_of(split: Split) -> int:
    return max(split[:2]) * math.prod(split[2:])


def all_plans(
    graph: ModelGraph, topology: Topology, workload: Workload, sequences: bool = False
) -> Iterator[Plan]:
    """Every pipeline in chain order on consecutive chips, every split, every number of replicas
    and micro-batches."""
    names = [layer.name for layer in graph.layers]
    splits = all_splits(graph, topology) + (
        all_sequence_splits(graph, topology) if sequences else []
    )
    for cuts in all_cuts(len(names)):
        for chosen in itertools.product(splits, repeat=len(cuts) - 1):
            widths = [width_of(split) for split in chosen]
            starts = packed(topology, widths)
            if starts is None:
                continue
            end = starts[-1] + widths[-1]
            for replicas in range(1, topology.chips // end + 1):
                bases = copies(topology, end, replicas)
                if bases is None:
                    break
                yield from batched(names, cuts, chosen, starts, bases, workload, topology.software)


def batched(
    names: list[str],
    cuts: tuple[int, ...],
    chosen: tuple[Split, ...],
    starts: list[int],
    bases: list[int],
    workload: Workload,
    software: Software,
) -> Iterator[Plan]:
    stages = tuple(
        Stage(
            layers=tuple(names[a:b]),
            groups=tuple(ChipRange(first=base + start, count=width_of(split)) for base in bases),
            tensor_parallel=split[0],
            expert_parallel=split[1],
            sequence_parallel=math.prod(split[2:]),
        )
        for a, b, split, start in zip(cuts, cuts[1:], chosen, starts, strict=False)
    )  # fmt: skip
    ranks = min(stage.attention_parallel for stage in stages)  # each takes so many
    if workload.phase == "prefill":  # one prompt after the other
        yield Plan(stages=stages)
        return
    if workload.requests_per_s:  # the batch is an outcome
        yield from (
            Plan(stages=stages, micro_batches=micro_batches)
            for micro_batches in range(1, most_parts(len(names), software) + 1)
        )
        return
    if workload.batch_size:
        for micro_batches in parts_of(math.ceil(workload.batch_size / len(bases)), workload):
            yield Plan(stages=stages, micro_batches=micro_batches)
        return
    most = software.most_sequences * ranks
    # An open batch: micro-batches of one size.
    for micro_batches in range(1, most_parts(len(names), software) + 1):
        for sequences in range(micro_batches, most + 1, micro_batches):
            yield Plan(
                stages=stages, micro_batches=micro_batches, batch_size=sequences * len(bases)
            )


def most_parts(layers: int, software: Software) -> int:
    """Micro-batches of open batches: as many as layers; where tokens wait in layers that are free
    for others, more, until all of the wait is filled, and one sequence each at the most."""
    if not software.layer_overhead_s + software.layer_crossing_s:
        return layers
    if not software.layer_occupancy:
        return software.most_sequences
    return math.ceil(layers / software.layer_occupancy)


def all_cuts(layers: int) -> Iterator[tuple[int, ...]]:
    for count in range(layers):
        for inner in itertools.combinations(range(1, layers), count):
            yield (0, *inner, layers)


def all_splits(graph: ModelGraph, topology: Topology) -> list[Split]:
    ways = graph.splits()
    found = []
    for tensor, expert in itertools.product(range(1, topology.chips + 1), repeat=2):
        if tensor > topology.software.most_tensor_parallel:
            continue
        pads = topology.software.pads_heads
        if any(tensor > heads if pads else heads % tensor for heads in ways.get("heads", ())):
            continue
        if any(
            heads % tensor and tensor % heads and not pads for heads in ways.get("kv_heads", ())
        ):
            continue
        twice = topology.software.engine.redundant_experts
        if any(expert > count if twice else count % expert for count in ways.get("experts", ())):
            continue
        if expert > 1 and "experts" not in ways:
            continue
        if expert % tensor and tensor % expert:
            continue
        if max(tensor, expert) <= topology.chips:
            found.append((tensor, expert))
    return found


def all_sequence_splits(graph: ModelGraph, topology: Topology) -> list[Split]:
    """Those that share out sequences: as far as all heads go round, and experts are split with
    the rest."""
    return [
        (tensor, 1, sequence)
        for tensor, expert in all_splits(graph, topology)
        for sequence in range(2, topology.chips + 1)
        if expert == 1
        and all(heads % (tensor * sequence) == 0 for heads in graph.splits().get("heads", ()))
        if tensor * sequence <= topology.chips
    ]


def units(topology: Topology) -> list[tuple[int, int]]:
    """Chips in a unit and in the next larger one: lines of a grid, planes, nodes, racks."""
    sizes = [1]
    for level in topology.levels:
        for length in reversed(level.axes):
            if length > 1:
                sizes.append(sizes[-1] * length)
    return list(itertools.pairwise(sizes)) or [(1, 1)]


def may_begin(topology: Topology, first: int, width: int) -> bool:
    """Whether a group may stand there: inside one unit of the smallest size that holds it, at a
    unit of the size below."""
    for unit, larger in units(topology):
        if width <= larger:
            return first % unit == 0 and first // larger == (first + width - 1) // larger
    return False


def packed(topology: Topology, widths: list[int]) -> list[int] | None:
    starts, free = [], 0
    for width in widths:
        first = next(
            (n for n in range(free, topology.chips - width + 1) if may_begin(topology, n, width)),
            None,
        )
        if first is None:
            return None
        starts.append(first)
        free = first + width
    return starts


def copies(topology: Topology, end: int, count: int) -> list[int] | None:
    """First chips of `count` replicas that see the borders as the first one does: whole units
    for each."""
    size = next((-(-end // unit) * unit for unit, larger in units(topology) if end <= larger), None)
    bases, free = [0], size
    for _ in range(count - 1):
        base = next(
            (n for n in range(free, topology.chips - end + 1) if may_begin(topology, n, size)), None
        )
        if base is None:
            return None
        bases.append(base)
        free = base + size
    return bases


# ── Pools of unlike chips, and chips that are out of use ─────────────────────────────────────────────────────────────


def best_pooled_plan(
    graph: ModelGraph,
    cluster: Cluster,
    workload: Workload,
    field: str,
    *,
    most: bool,
    limits: dict[str, float],
) -> tuple[PooledPlan | None, float]:
    """The best plan on a cluster and its value; (None, nan) where there is none."""
    best, best_value = None, math.nan
    for plan in all_pooled_plans(graph, cluster, workload):
        try:
            score = score_pooled_plan(plan, graph, cluster, workload)
        except (InfeasibleError, InputError):
            continue
        value = float(getattr(score, field))
        if kept(score, limits) and (
            best is None or (value > best_value if most else value < best_value)
        ):
            best, best_value = plan, value
    return best, best_value


def all_pooled_plans(
    graph: ModelGraph, cluster: Cluster, workload: Workload
) -> Iterator[PooledPlan]:
    """Every way of giving runs of layers to pools, each pool once, and every pipeline inside
    each of them."""
    names = [layer.name for layer in graph.layers]
    splits = [all_splits(graph, pool.topology) for pool in cluster.pools]
    for cuts in all_cuts(len(names)):
        count = len(cuts) - 1
        for chosen in itertools.product(range(len(cluster.pools)), repeat=count):
            visits = [number for number, _ in itertools.groupby(chosen)]
            if len(set(visits)) < len(visits):
                continue
            for degrees in itertools.product(*(splits[number] for number in chosen)):
                for replicas in range(
                    1, min(cluster.pools[number].topology.chips for number in visits) + 1
                ):
                    for groups in all_groups(
                        cluster, chosen, [max(split) for split in degrees], replicas
                    ):
                        yield from pooled(names, cuts, cluster, chosen, degrees, groups, workload)


def pooled(names, cuts, cluster, chosen, degrees, groups, workload) -> Iterator[PooledPlan]:
    stages = tuple(
        PooledStage(
            pool=cluster.pools[number].name,
            layers=tuple(names[a:b]),
            groups=group,
            tensor_parallel=t,
            expert_parallel=e,
        )
        for a, b, number, (t, e), group in zip(
            cuts, cuts[1:], chosen, degrees, groups, strict=False
        )
    )
    most = len(names)  # at a rate, where the batch is an outcome
    if workload.batch_size is not None:
        most = math.ceil(workload.batch_size / len(groups[0]))
    for micro_batches in range(1, most + 1):
        yield PooledPlan(stages=stages, micro_batches=micro_batches)


def all_groups(
    cluster: Cluster, chosen: tuple[int, ...], widths: list[int], replicas: int
) -> Iterator[list[tuple[ChipRange, ...]]]:
    """Chips of every stage in every replica: for each pool all choices of where the replicas
    stand."""
    visits = [(number, len(list(run))) for number, run in itertools.groupby(chosen)]
    choices, at = [], 0
    for number, count in visits:
        pool = cluster.pools[number]
        choices.append(
            list(stood(pool.topology, set(pool.exclude), widths[at : at + count], replicas))
        )
        at += count
    for picked in itertools.product(*choices):
        yield [group for groups in picked for group in groups]


def stood(
    topology: Topology, excluded: set[int], widths: list[int], replicas: int
) -> Iterator[list[tuple[ChipRange, ...]]]:
    """Chips of the stages on one pool: packed in order clear of what is out of use, in like
    blocks for the replicas."""
    for bases, missing, end in blocks(topology, excluded, widths, replicas):
        starts, free = [], 0
        for width in widths:
            open_ = (n for n in range(free, end - width + 1) if may_begin(topology, n, width))
            first = next((n for n in open_ if not missing & set(range(n, n + width))), None)
            if first is None:
                break
            starts.append(first)
            free = first + width
        else:
            yield [
                tuple(ChipRange(first=base + start, count=width) for base in bases)
                for start, width in zip(starts, widths, strict=True)
            ]


def blocks(
    topology: Topology, excluded: set[int], widths: list[int], replicas: int
) -> Iterator[tuple[tuple[int, ...], set[int], int]]:
    """Where the replicas' blocks begin, what is missing in any of them, and how long they are."""
    if not excluded:
        starts = packed(topology, widths)
        end = topology.chips if starts is None else starts[-1] + widths[-1]
        bases = None if starts is None else copies(topology, end, replicas)
        if bases is not None:
            yield tuple(bases), set(), end
        return
    if replicas == 1:
        yield (0,), excluded, topology.chips
        return
    sizes = {
        next((-(-end // unit) * unit for unit, larger in units(topology) if end <= larger), 0)
        for end in range(1, topology.chips + 1)
    }
    for size in sizes - {0}:
        bases, free = [], 0
        while free < topology.chips:
            base = next(
                (n for n in range(free, free + 4 * size) if may_begin(topology, n, size)), None
            )
            if base is None or base >= topology.chips:
                break
            bases.append(base)
            free = base + size
        for some in itertools.combinations(bases, replicas):
            missing = {
                n
                for base in some
                for n in range(size)
                if base + n in excluded or base + n >= topology.chips
            }
            yield some, missing, size
