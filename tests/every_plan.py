"""Every plan of a small model on a small machine, listed from what README.md and docs/engines.md say of
the two spaces, and from nothing else.

It knows `Plan` and its parts, `score_plan` and `check_plan`. Of the space, the lowering to arrays,
the search and the other oracles it has no line: what all of those share may be wrong in all of them.
Nothing is left out because it cannot be of use. Wherever a group may stand is tried.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import planner as pl
from planner.errors import InfeasibleError, InputError
from planner.machines.engine import Engine, Space

MOST_DRAFTED = 8
"""Tokens where their number is left open."""
MOST = {
    "tokens_per_s", "requests_per_s", "tokens_per_s_per_user", "tokens_per_s_per_chip", "memory_headroom_bytes",
    "mfu_fraction", "mbu_fraction",
}  # fmt: skip
"""Fields of which more is better."""


class Asked(NamedTuple):
    """What is planned on what."""

    graph: pl.ModelGraph
    topology: pl.Topology
    workload: pl.Workload
    space: Space


class Degrees(NamedTuple):
    """How one stage shares its work out."""

    tensor: int
    expert: int
    attention: int
    """Ranks that have sequences of their own."""

    @property
    def chips(self) -> int:
        return self.tensor * self.attention


class Listed(NamedTuple):
    """A plan, what is asked of it, and its price."""

    plan: pl.Plan
    workload: pl.Workload
    score: pl.Score


# ── One stage ────────────────────────────────────────────────────────────────────────────────────


def degrees_of(asked: Asked) -> list[Degrees]:
    """As told: "Heads must divide, unless a stack says `pads_heads`. Key-value heads divide, or every rank has a
    copy"; ranks divide the experts, unless some may be held twice; whole experts are shared out over
    all ranks of a group, and sequences where experts go further than tensor ranks."""
    chips, software = asked.topology.chips, asked.topology.software
    ways = asked.graph.splits()
    found = []
    for tensor, attention in itertools.product(range(1, chips + 1), repeat=2):
        if tensor * attention > chips or tensor > software.most_tensor_parallel:
            continue
        if not all(software.pads_heads or heads % tensor == 0 for heads in ways.get("heads", ())):
            continue
        if software.pads_heads and any(tensor > heads for heads in ways.get("heads", ())):
            continue
        for heads in ways.get("kv_heads", ()):
            if not software.pads_heads and heads % tensor and tensor % heads:
                break
        else:
            found += _with_experts(tensor, attention, ways.get("experts", ()), software.engine)
    return found


def _with_experts(
    tensor: int, attention: int, counts: tuple[int, ...], engine: Engine
) -> Iterator[Degrees]:
    """Alone, where sequences are not shared out, any share of the tensor ranks may have whole
    experts; else all ranks together."""
    ways = [tensor * attention]
    if attention == 1:
        ways = [expert for expert in range(1, tensor + 1) if tensor % expert == 0]
    for expert in ways:
        if expert > 1 and not counts:
            continue
        if all(expert <= n if engine.redundant_experts else n % expert == 0 for n in counts):
            yield Degrees(tensor, expert, attention)


def runs(engine: Engine, degrees: Degrees, stages: int) -> bool:
    """Whether an engine takes them: columns of the table of stacks."""
    if not engine.like_stages:
        return True
    if stages > engine.most_stages:
        return False
    if stages > 1 and degrees.tensor > 1 and not engine.tensor_in_pipelines:
        return False
    for rule, ways in ((engine.experts, degrees.expert), (engine.attention, degrees.attention)):
        if rule == "none" and ways > 1:
            return False
        if rule == "all ranks" and ways not in (1, degrees.chips):
            return False
    return True


def kept_in_flight(engine: Engine, stages: int, sequences: int) -> int:
    """As told: "How many are in flight, where there are as many sequences; else each sequence is one. One stage
    alone takes all sequences at once"."""
    if stages == 1:
        return 1
    kept = {"one": 1, "stages": stages, "stages + 1": stages + 1, "sequences": sequences}
    return min(kept[engine.micro_batches], sequences)


# ── Where groups stand ───────────────────────────────────────────────────────────────────────────


def units_of(topology: pl.Topology) -> list[int]:
    """Chips of a chip, of what the first fabric joins, of what the second joins, and so on; "pairs of
    cards and pairs of pairs where links are listed", as long as they come out even."""
    sizes = [1]
    for level in topology.fabrics:
        joined = level.units
        while level.shape == "links" and joined % 2 == 0 and joined > 2:
            sizes.append(sizes[-1] * 2)
            joined //= 2
        sizes.append(sizes[-1] * joined)
    return sizes


def stands_well(topology: pl.Topology, first: int, count: int) -> bool:
    """As told: "Never cross the border of a unit (node, rack) that could hold them; wider ones begin with a
    unit"."""
    for size in units_of(topology):
        if count <= size:
            return first // size == (first + count - 1) // size
        if first % size:
            return False
    return False


def firsts_of(topology: pl.Topology, widths: list[int]) -> Iterator[tuple[int, ...]]:
    """First chips of the stages of one replica, the first of them anywhere: "each stands on the first
    such chips behind the one before it"."""

    def further(at: int, left: list[int]) -> Iterator[tuple[int, ...]]:
        if not left:
            yield ()
            return
        allowed = range(at, topology.chips - sum(left) + 1)
        ways = [first for first in allowed if stands_well(topology, first, left[0])]
        for first in ways if len(left) == len(widths) else ways[:1]:
            yield from ((first, *rest) for rest in further(first + left[0], left[1:]))

    for firsts in further(0, widths):
        if stands_well(topology, firsts[0], firsts[-1] + widths[-1] - firsts[0]):
            yield firsts


def places_of(
    topology: pl.Topology, widths: list[int], replicas: int
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """First chips of all stages of so many replicas: each with its stages as far apart as the first,
    each behind the one before it."""
    every = list(firsts_of(topology, widths))
    span = {firsts: firsts[-1] + widths[-1] for firsts in every}
    for chosen in itertools.combinations(every, replicas):
        apart = {tuple(first - firsts[0] for first in firsts) for firsts in chosen}
        behind = all(span[one] <= other[0] for one, other in itertools.pairwise(chosen))
        if len(apart) == 1 and behind:
            yield chosen


# ── Plans ────────────────────────────────────────────────────────────────────────────────────────


def cuts_of(
    graph: pl.ModelGraph, stages: int, engine: Engine, space: Space
) -> Iterator[list[tuple[str, ...]]]:
    """Layers of so many stages: consecutive; "the embedding stands with the first decoder layer, the
    head with the last" where an engine says so."""
    names = graph.names
    ends = {"embedding", "head"}
    decoders = {layer.name for layer in graph.layers if layer.kind not in ends}
    for inner in itertools.combinations(range(1, len(names)), stages - 1):
        cut = [names[a:b] for a, b in itertools.pairwise((0, *inner, len(names)))]
        needs = space == "engine" and engine.decoder_on_each_stage
        if needs and stages > 1 and not all(decoders & set(layers) for layers in cut):
            continue
        yield cut


def forms_of(asked: Asked) -> Iterator[tuple[Degrees, ...]]:
    """Degrees of each stage: alike in the engine's space, any of any plan."""
    engine, chips = asked.topology.software.engine, asked.topology.chips
    every = degrees_of(asked)
    alike = asked.space == "engine" and engine.like_stages
    for stages in range(1, min(chips, len(asked.graph.layers)) + 1):
        if alike:
            yield from (
                (one,) * stages
                for one in every
                if one.chips * stages <= chips and runs(engine, one, stages)
            )
            continue
        for chosen in itertools.product(every, repeat=stages):
            if sum(one.chips for one in chosen) <= chips:
                yield chosen


def bare_plans(asked: Asked) -> Iterator[pl.Plan]:
    """All of them, whatever is in flight."""
    topology = asked.topology
    for form in forms_of(asked):
        widths = [one.chips for one in form]
        cuts = list(cuts_of(asked.graph, len(form), topology.software.engine, asked.space))
        for replicas in range(1, topology.chips // sum(widths) + 1):
            for places in places_of(topology, widths, replicas):
                for cut in cuts:
                    yield pl.Plan(stages=tuple(_stages(cut, form, places)))


def _stages(
    cut: list[tuple[str, ...]], form: tuple[Degrees, ...], places: tuple[tuple[int, ...], ...]
) -> Iterator[pl.Stage]:
    for number, (layers, own) in enumerate(zip(cut, form, strict=True)):
        groups = tuple(pl.ChipRange(first=firsts[number], count=own.chips) for firsts in places)
        yield pl.Stage(
            layers=layers, groups=groups, tensor_parallel=own.tensor, expert_parallel=own.expert
        )


def filled(asked: Asked, plan: pl.Plan) -> Iterator[pl.Plan]:
    """A plan with each number of micro-batches that it may have, and of sequences where these are left
    open. Of any plan a fixed batch has any number of micro-batches; an open one has like ones, and at
    most as many as there are layers."""
    workload, software = asked.workload, asked.topology.software
    stages, replicas = len(plan.stages), plan.replicas
    ruled = asked.space == "engine" and software.engine.like_stages
    if workload.phase == "prefill":
        yield plan
    elif workload.batch_size is not None:
        most = math.ceil(workload.batch_size / replicas)
        yield from (plan.replace(micro_batches=parts) for parts in range(1, most + 1))
    else:
        ranks = min(stage.attention_parallel for stage in plan.stages)
        for sequences in range(1, software.most_sequences * ranks + 1):
            kept = kept_in_flight(software.engine, stages, sequences) if ruled else 0
            for parts in range(1, sequences + 1):
                like = sequences % parts == 0 and parts <= len(asked.graph.layers)
                if parts == kept if ruled else like:
                    yield plan.replace(micro_batches=parts, batch_size=sequences * replicas)


def is_kept(asked: Asked, plan: pl.Plan, score: pl.Score) -> bool:
    """Whether an engine keeps as many micro-batches of a fixed batch in flight, of which some may
    wait."""
    engine, workload = asked.topology.software.engine, asked.workload
    if asked.space == "any" or not engine.like_stages or workload.batch_size is None:
        return True
    if workload.phase == "prefill":
        return True
    sequences = math.ceil((workload.batch_size - score.queued) / plan.replicas)
    return plan.micro_batches == kept_in_flight(engine, len(plan.stages), sequences)


def leaves_blocks(asked: Asked, plan: pl.Plan, workload: pl.Workload) -> bool:
    """Whether an engine that keeps blocks of weights whole can be started with a plan: here alone
    `check_plan` is taken at its word."""
    if asked.space == "any" or not asked.topology.software.engine.whole_blocks:
        return True
    broken = pl.check_plan(plan, asked.graph, asked.topology, workload)
    return all(one.rule != "engine" for one in broken)


def drafted(workload: pl.Workload) -> list[pl.Workload]:
    """With each number of drafted tokens where that is left open, and with none."""
    drafting = workload.speculation
    if drafting is None or drafting.tokens is not None:
        return [workload]
    return [
        workload.replace(speculation=drafting.replace(tokens=tokens) if tokens else None)
        for tokens in range(MOST_DRAFTED + 1)
    ]


def every_plan(asked: Asked) -> list[Listed]:
    """All plans that hold the most of the sequences, with their prices."""
    found = []
    both = asked.graph, asked.topology
    for bare in bare_plans(asked):
        for plan, workload in itertools.product(filled(asked, bare), drafted(asked.workload)):
            try:
                score = pl.score_plan(plan, *both, workload)
            except (InfeasibleError, InputError):
                continue
            if is_kept(asked, plan, score) and leaves_blocks(asked, plan, workload):
                found.append(Listed(plan, workload, score))
    fewest = min((one.score.queued for one in found), default=0)
    return [one for one in found if one.score.queued == fewest]


def best_of(found: list[Listed], field: str, limits: dict[str, float]) -> Listed | None:
    """The best of plans that keep the limits."""
    able = [one for one in found if all(_keeps(one.score, *limit) for limit in limits.items())]
    choose = max if field in MOST else min
    return choose(able, key=lambda one: float(getattr(one.score, field)), default=None)


def _keeps(score: pl.Score, field: str, limit: float) -> bool:
    value = float(getattr(score, field))
    return value >= limit * (1 - 1e-12) if field in MOST else value <= limit * (1 + 1e-12)
