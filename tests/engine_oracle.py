"""The oracle of both spaces: every plan that an engine can be started with, or every plan there is,
priced by `score_plan` alone.

It shares no code with the candidates or the solvers. What an engine can be started with is said
here anew, rule by rule, and `check_plan` is asked again of each plan that would be best.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from planner.errors import InfeasibleError, InputError
from planner.machines.engine import Engine, Space
from planner.machines.topology import Topology
from planner.models.graph import ENDS, ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.pricing import price_list
from planner.pricing.served import Served
from planner.pricing.timing import hops_along
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan, score_served
from planner.scoring.score import Score
from planner.workload import Workload
from tests.oracle import (
    HIGHER_IS_BETTER,
    Split,
    all_cuts,
    all_splits,
    kept,
    most_parts,
    stood,
    width_of,
)

MOST_DRAFTED = 8
"""Tokens where their number is left open."""

Groups = tuple[tuple[ChipRange, ...], ...]
"""Chips of each stage in each replica."""


class Case(NamedTuple):
    """What is planned on what; which plans there are follows from it and from the space."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    exclude: tuple[int, ...] = ()


class Priced(NamedTuple):
    """A plan that fits, with its price; the workload says how many tokens are drafted."""

    plan: Plan
    score: Score
    workload: Workload


def priced(case: Case, space: Space, *, anywhere: bool = False) -> list[Priced]:
    """All plans of a space that hold all sequences at once; where there is none, those that hold
    the most, and leave the others in a queue. `anywhere`: wherever stages may stand in order,
    across borders too."""
    found = held(case, space, anywhere=anywhere)
    batch = case.workload.batch_size
    # A part of a machine is a cluster where any plan is allowed; there nothing waits.
    is_cluster = case.exclude and (space == "any" or not case.topology.software.engine.is_known)
    if found or batch is None or case.workload.queued or is_cluster:
        return found
    for fewer in range(batch - 1, 0, -1):
        work = case.workload.replace(batch_size=fewer)
        if held(case._replace(workload=work), space, anywhere=anywhere):
            return queued(case, case.workload.seated(fewer), space, anywhere=anywhere)
    return []


def queued(case: Case, seats: Workload, space: Space, *, anywhere: bool = False) -> list[Priced]:
    """The plans that hold so many of a case's sequences, priced for all of them."""
    found = []
    for one in held(case._replace(workload=seats), space, anywhere=anywhere):
        asked = one.workload.replace(batch_size=case.workload.batch_size, queued=0)
        score = score_plan(one.plan, case.graph, case.topology, asked, exclude=case.exclude)
        found.append(Priced(one.plan, score, asked))
    return found


def held(case: Case, space: Space, *, anywhere: bool = False) -> list[Priced]:
    """All plans of a space that hold all sequences that are to be in flight."""
    found = []
    for workload in settled(case.workload):
        served = Served(case.graph, case.topology, workload)
        for plan in plans_of(case._replace(workload=workload), space, anywhere=anywhere):
            try:
                score = score_served(plan, served, exclude=case.exclude)
            except (InfeasibleError, InputError):
                continue
            found.append(Priced(plan, score, workload))
    return found


def best_of(
    case: Case, plans: Iterable[Priced], space: Space, field: str, limits: dict[str, float]
) -> Priced | None:
    """The best of some plans that keep the limits and that `check_plan` lets through."""
    sign = -1 if field in HIGHER_IS_BETTER else 1
    able = [one for one in plans if kept(one.score, limits)]
    able.sort(key=lambda one: sign * float(getattr(one.score, field)))
    return next((one for one in able if not faults(case, one, space)), None)


def faults(case: Case, one: Priced, space: Space) -> tuple[str, ...]:
    """What `check_plan` has against a plan."""
    broken = check_plan(
        one.plan, case.graph, case.topology, one.workload, exclude=case.exclude, space=space
    )
    return tuple(str(violation) for violation in broken)


def settled(workload: Workload) -> list[Workload]:
    """With each number of drafted tokens where that is open, and with none."""
    drafting = workload.speculation
    if drafting is None or drafting.tokens is not None:
        return [workload]
    numbers = range(1, MOST_DRAFTED + 1)
    drafted = [workload.replace(speculation=drafting.replace(tokens=number)) for number in numbers]
    return [workload.replace(speculation=None), *drafted]


def plans_of(case: Case, space: Space, *, anywhere: bool = False) -> Iterator[Plan]:
    """All plans of a space, whether they fit or not; a software without rules runs any. Of an open
    batch those of any form have like micro-batches, or are ones that the engine can be started
    with."""
    is_known = case.topology.software.engine.is_known
    if is_known:
        yield from engine_plans(case, anywhere=anywhere)
    if space == "any" or not is_known:
        yield from free_plans(case)


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def engine_plans(case: Case, *, anywhere: bool = False) -> Iterator[Plan]:
    """Replicas × stages × one split for all × cuts × places × what is in flight."""
    chips = case.topology.chips
    engine = case.topology.software.engine
    splits = all_splits(case.graph, case.topology)
    counts = itertools.product(range(1, chips + 1), repeat=2)
    for (replicas, stages), split in itertools.product(counts, splits):
        if replicas * stages * width_of(split) > chips or not allows(engine, stages, *split):
            continue
        for groups in places(case, split, stages, replicas, anywhere=anywhere):
            for cut in engine_cuts(case.graph, engine, stages):
                yield from batches(case, stages_of(case.graph, cut, [split] * stages, groups))


def allows(engine: Engine, stages: int, tensor: int, expert: int) -> bool:
    """Whether an engine can be started with so many stages of one split."""
    attention = expert // tensor if expert > tensor else 1
    ranks = tensor * attention
    if stages > engine.most_stages:
        return False
    if tensor > 1 and stages > 1 and not engine.tensor_in_pipelines:
        return False
    return shares(engine.experts, expert, ranks) and shares(engine.attention, attention, ranks)


def shares(rule: str, ways: int, ranks: int) -> bool:
    """Whether something may be shared out over so many of the ranks."""
    return {"any": True, "none": ways == 1, "all ranks": ways in (1, ranks)}[rule]


def engine_cuts(graph: ModelGraph, engine: Engine, stages: int) -> Iterator[tuple[int, ...]]:
    """Where so many stages may begin and end: each with a decoder layer, where engines need it."""
    inner = [layer.kind not in ENDS for layer in graph.layers]
    for cut in all_cuts(len(inner)):
        if len(cut) != stages + 1:
            continue
        bare = not all(any(inner[a:b]) for a, b in itertools.pairwise(cut))
        if not (bare and engine.decoder_on_each_stage and stages > 1):
            yield cut


def in_flight(engine: Engine, stages: int, sequences: int) -> int:
    """Micro-batches of a replica with so many sequences."""
    if stages == 1 or engine.micro_batches == "one":
        return 1
    most = {"stages": stages, "stages + 1": stages + 1, "sequences": sequences}
    return min(sequences, most[engine.micro_batches])


def batches(case: Case, stages: tuple[Stage, ...]) -> Iterator[Plan]:
    """A plan with each batch that its workload leaves open, in the micro-batches of its engine."""
    workload, software = case.workload, case.topology.software
    replicas, engine = len(stages[0].groups), software.engine
    # Of a rank or of a replica: `score_plan` says which.
    most = software.most_sequences * stages[0].attention_parallel
    if workload.phase == "prefill":
        yield Plan(stages=stages)
    elif workload.batch_size:
        sequences = math.ceil(workload.batch_size / replicas)
        yield Plan(stages=stages, micro_batches=in_flight(engine, len(stages), sequences))
    elif workload.requests_per_s:
        # The batch is an outcome, and `best_of` asks whether it is one of so many micro-batches.
        every = {in_flight(engine, len(stages), sequences) for sequences in range(1, most + 1)}
        yield from (Plan(stages=stages, micro_batches=parts) for parts in sorted(every))
    else:
        for sequences in range(1, most + 1):
            parts = in_flight(engine, len(stages), sequences)
            yield Plan(stages=stages, micro_batches=parts, batch_size=sequences * replicas)


# ── Where stages stand ───────────────────────────────────────────────────────────────────────────


def places(
    case: Case, split: Split, stages: int, replicas: int, *, anywhere: bool
) -> Iterator[Groups]:
    """Chips of like stages: packed in order inside the borders, replicas in like blocks; or
    `anywhere` in order, of places with like ways only one."""
    width = width_of(split)
    if not anywhere:
        for groups in stood(case.topology, set(case.exclude), [width] * stages, replicas):
            yield tuple(groups)
        return
    seen = set()
    for firsts in all_firsts(case, width, stages * replicas):
        groups = tuple(
            tuple(ChipRange(first=first, count=width) for first in firsts[stage::stages])
            for stage in range(stages)
        )
        ways = ways_of(case.topology, split, groups)
        if ways not in seen:
            seen.add(ways)
            yield groups


def all_firsts(case: Case, width: int, count: int) -> Iterator[tuple[int, ...]]:
    """First chips of so many groups that do not overlap, ascending."""
    closed = set(case.exclude)
    able = [
        first
        for first in range(case.topology.chips - width + 1)
        if not closed & set(range(first, first + width))
    ]
    for firsts in itertools.combinations(able, count):
        if all(b - a >= width for a, b in itertools.pairwise(firsts)):
            yield firsts


def ways_of(topology: Topology, split: Split, groups: Groups) -> frozenset[object]:
    """How far messages travel in each replica: all that a place has to do with a price."""
    tensor, expert = split[:2]
    shared = price_list.Split(tensor, expert, 1, width_of(split) // tensor)
    ways = set()
    for replica in range(len(groups[0])):
        own = [stage[replica] for stage in groups]
        reaches = tuple(price_list.reach_of(topology, shared, group.first) for group in own)
        ways.add((reaches, tuple(hops_along(topology, own))))
    return frozenset(ways)


def stages_of(
    graph: ModelGraph, cut: tuple[int, ...], splits: list[Split], groups: Groups
) -> tuple[Stage, ...]:
    """Stages of a cut, each with its split and its chips."""
    names = graph.names
    return tuple(
        Stage(layers=names[a:b], groups=own, tensor_parallel=split[0], expert_parallel=split[1])
        for (a, b), split, own in zip(itertools.pairwise(cut), splits, groups, strict=True)
    )


# ── Plans of any kind ────────────────────────────────────────────────────────────────────────────


def free_plans(case: Case) -> Iterator[Plan]:
    """Replicas × cuts × a split for each stage × places × micro-batches."""
    topology = case.topology
    splits = all_splits(case.graph, topology)
    for cut in all_cuts(len(case.graph.layers)):
        for chosen in chains(splits, len(cut) - 1, topology.chips):
            widths = [width_of(split) for split in chosen]
            for replicas in range(1, topology.chips // sum(widths) + 1):
                for groups in stood(topology, set(case.exclude), widths, replicas):
                    stages = stages_of(case.graph, cut, chosen, tuple(groups))
                    yield from free_batches(case, stages)


def chains(splits: list[Split], stages: int, chips: int) -> Iterator[list[Split]]:
    """A split for each of so many stages, on so many chips together."""
    if not stages:
        yield []
        return
    for split in splits:
        left = chips - width_of(split)
        if left >= stages - 1:
            yield from ([split, *rest] for rest in chains(splits, stages - 1, left))


def free_batches(case: Case, stages: tuple[Stage, ...]) -> Iterator[Plan]:
    """A plan with every number of micro-batches: of a fixed batch up to the sequences, of an open
    one as many as are of use, all of one size."""
    workload, replicas = case.workload, len(stages[0].groups)
    most_cut = most_parts(len(case.graph.layers), case.topology.software)
    # Of a rank or of a replica: `score_plan` says which.
    most = case.topology.software.most_sequences * max(one.attention_parallel for one in stages)
    if workload.phase == "prefill":
        yield Plan(stages=stages)
        return
    if workload.batch_size:
        most_cut = math.ceil(workload.batch_size / replicas)
    if workload.batch_size or workload.requests_per_s:
        yield from (Plan(stages=stages, micro_batches=parts) for parts in range(1, most_cut + 1))
        return
    for parts in range(1, most_cut + 1):
        for sequences in range(parts, most + 1, parts):
            yield Plan(stages=stages, micro_batches=parts, batch_size=sequences * replicas)


def is_small(case: Case, space: Space, most: int) -> bool:
    """Whether a space has at most so many plans, whether they fit or not."""
    plans = plans_of(case, space)
    return len(settled(case.workload)) * sum(1 for _ in itertools.islice(plans, most + 1)) <= most
