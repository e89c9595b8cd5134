"""Two small pools, and all plans on them that an engine can be started with, priced by
`score_pooled_plan` alone: an oracle that shares no code with the candidates or the solvers."""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from planner.answers.question import FIELDS
from planner.errors import InfeasibleError, InputError
from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage, PoolLink
from planner.machines.engine import Space
from planner.models.graph import ModelGraph
from planner.plan import ChipRange
from planner.scoring.clusters import check_pooled_plan, score_pooled_plan
from planner.scoring.score import Score
from planner.workload import Workload
from tests.engine_oracle import allows, engine_cuts, in_flight
from tests.instances import (
    CONSTANT,
    ENGINES,
    fabric,
    tiny_chip,
    tiny_graph,
    tiny_moe,
    tiny_software,
    tiny_topology,
)
from tests.oracle import HIGHER_IS_BETTER, Split, all_splits, kept, stood, width_of

PLANNED = [field for field in FIELDS if field != "power_w"]
ORDERS = ((0,), (1,), (0, 1), (1, 0))
"""Which of two pools a pipeline runs over."""


class OnPools(NamedTuple):
    """What is planned on which pools."""

    graph: ModelGraph
    cluster: Cluster
    workload: Workload


def random_pools(dice: random.Random, *, unlike: bool = False) -> OnPools:
    """A model of three or four layers that often fits two pools only together; `unlike`: the pools
    have software of two names."""
    make = dice.choice((tiny_graph, tiny_graph, tiny_moe))
    graph = make(dice.choice((3, 3, 4)), heads=4, kv_heads=2, vocabulary=dice.choice((1000, 20000)))
    software = tiny_software(
        most_sequences=4,
        engine=dice.choice(list(ENGINES.values())),
        prefill_chunk_tokens=dice.choice((64, 4096)),
        step_overhead_s=dice.choice((0.0, 1e-5)),
    )
    names = ("plain", "other") if unlike else ("plain", "plain")
    shares = (0.25, 0.35, 0.5, 1.5)
    pools = [_pool(dice, number, dice.choice(shares) * graph.weight_bytes) for number in range(2)]
    pools = tuple(
        pool.replace(topology=pool.topology.replace(software=software.replace(name=name)))
        for pool, name in zip(pools, names, strict=True)
    )
    link = PoolLink(
        between=("pool-0", "pool-1"),
        bandwidth_bytes_per_s=dice.choice((1e7, 1e9)),
        latency_s=dice.choice((1e-6, 1e-4)),
    )
    workload = Workload(
        batch_size=dice.choice((None, 1, 3, 5)),
        prompt_tokens=dice.choice((8, 500)),
        output_tokens=20,
        arrivals=dice.choice(("steady", "steady", "together")),
    )
    return OnPools(graph, Cluster(name="pools", pools=pools, links=(link,)), workload)


def _pool(dice: random.Random, number: int, memory_bytes: float) -> Pool:
    """Two or three chips, one of them out of use now and then."""
    chips = dice.choice((2, 3))
    chip = tiny_chip(memory_bytes)
    quick = chip.memory[0].replace(bandwidth_bytes_per_s=dice.choice((5e11, 1e12, 2e12)))
    wires = fabric(
        dice.choice(("switch", "chain")), chips, bandwidth_bytes_per_s=dice.choice((1e9, 50e9))
    )
    topology = tiny_topology(chips, wires, chip=chip.replace(memory=(quick,)))
    exclude = dice.choice(((), (), (), (0,), (chips - 1,)))
    return Pool(name=f"pool-{number}", topology=topology, exclude=exclude)


def at_a_rate(case: OnPools, rate: float) -> OnPools:
    """The same with requests that come at a rate, on chips that draw the same whatever they do: what
    follows the work is refused then."""
    pools = [
        pool.replace(topology=pool.topology.replace(power=CONSTANT)) for pool in case.cluster.pools
    ]
    open_batch = {"batch_size": None, "arrivals": "steady", "requests_per_s": rate}
    return case._replace(
        cluster=case.cluster.replace(pools=tuple(pools)),
        workload=case.workload.replace(**open_batch),
    )


def best_on_pools(
    case: OnPools, field: str, limits: dict[str, float], scored: list[tuple[PooledPlan, Score]]
) -> float | None:
    """The best value of plans that keep the limits and pass the check; None where there is none."""
    sign = -1 if field in HIGHER_IS_BETTER else 1
    able = [pair for pair in scored if kept(pair[1], limits)]
    able.sort(key=lambda pair: sign * float(getattr(pair[1], field)))
    for plan, score in able:
        if not broken(plan, case, "engine"):
            return float(getattr(score, field))
    return None


def broken(plan: PooledPlan, case: OnPools, space: Space) -> tuple[object, ...]:
    """The rules of a space that a plan breaks."""
    return check_pooled_plan(plan, *case, space=space)


def scored_on_pools(case: OnPools) -> list[tuple[PooledPlan, Score]]:
    """All plans of the engine that fit, with their scores."""
    found = []
    for plan in engine_plans_on_pools(case):
        try:
            found.append((plan, score_pooled_plan(plan, *case)))
        except (InfeasibleError, InputError):
            continue
    return found


def engine_plans_on_pools(case: OnPools) -> Iterator[PooledPlan]:
    """Pools in order × one split × stages on each × replicas × places × cuts × batches."""
    for order in ORDERS:
        if max(order) >= len(case.cluster.pools):
            continue
        pools = [case.cluster.pools[number] for number in order]
        if len({pool.topology.software.name for pool in pools}) > 1:
            continue
        for split in _common_splits(case.graph, pools):
            for counts in _counts(pools, width_of(split)):
                if allows(pools[0].topology.software.engine, sum(counts), *split):
                    yield from _plans(case, pools, split, counts)


def _common_splits(graph: ModelGraph, pools: list[Pool]) -> list[Split]:
    """Splits of every one of some pools."""
    each = [all_splits(graph, pool.topology) for pool in pools]
    return [split for split in each[0] if all(split in others for others in each)]


def _counts(pools: list[Pool], width: int) -> Iterator[tuple[int, ...]]:
    """Stages on each pool."""
    yield from itertools.product(*(range(1, pool.topology.chips // width + 1) for pool in pools))


def _plans(
    case: OnPools, pools: list[Pool], split: Split, counts: tuple[int, ...]
) -> Iterator[PooledPlan]:
    """With so many stages on each pool."""
    width, engine = width_of(split), pools[0].topology.software.engine
    where = [pool.name for pool, count in zip(pools, counts, strict=True) for _ in range(count)]
    most = min(pool.topology.chips for pool in pools)
    for replicas in range(1, most + 1):
        places = [
            list(stood(pool.topology, set(pool.exclude), [width] * count, replicas))
            for pool, count in zip(pools, counts, strict=True)
        ]
        for picked in itertools.product(*places):
            groups = [group for chosen in picked for group in chosen]
            for cut in engine_cuts(case.graph, engine, sum(counts)):
                stages = _stages(case.graph, cut, where, groups, split)
                yield from _batches(case, stages, pools[0])


def _stages(
    graph: ModelGraph,
    cut: tuple[int, ...],
    where: list[str],
    groups: list[tuple[ChipRange, ...]],
    split: Split,
) -> tuple[PooledStage, ...]:
    return tuple(
        PooledStage(
            pool=name,
            layers=graph.names[a:b],
            groups=own,
            tensor_parallel=split[0],
            expert_parallel=split[1],
        )
        for (a, b), name, own in zip(itertools.pairwise(cut), where, groups, strict=True)
    )


def _batches(case: OnPools, stages: tuple[PooledStage, ...], first: Pool) -> Iterator[PooledPlan]:
    """In the micro-batches of the engine."""
    software, replicas = first.topology.software, len(stages[0].groups)
    if case.workload.batch_size is not None:
        sequences = math.ceil(case.workload.batch_size / replicas)
        parts = in_flight(software.engine, len(stages), sequences)
        yield PooledPlan(stages=stages, micro_batches=parts)
        return
    most = software.most_sequences * stages[0].attention_parallel
    if case.workload.requests_per_s is not None:
        # The batch is an outcome, and `broken` says whether it is one of so many micro-batches.
        every = range(1, most + 1)
        parts_of_each = {in_flight(software.engine, len(stages), one) for one in every}
        for parts in sorted(parts_of_each):
            yield PooledPlan(stages=stages, micro_batches=parts)
        return
    for sequences in range(1, most + 1):
        parts = in_flight(software.engine, len(stages), sequences)
        yield PooledPlan(stages=stages, micro_batches=parts, batch_size=sequences * replicas)


def random_limit(
    dice: random.Random,
    field: str,
    scored: list[tuple[PooledPlan, Score]],
    among: Sequence[str] = tuple(PLANNED),
) -> dict[str, float]:
    """On another of some fields, sometimes: what a part of the plans keep."""
    if dice.random() < 0.6 or not scored:
        return {}
    name = dice.choice([one for one in among if one != field])
    values = sorted(float(getattr(score, name)) for _, score in scored)
    if name in HIGHER_IS_BETTER:
        values.reverse()
    value = values[3 * len(values) // 10]
    if value <= 0:
        return {}
    return {name: value * (0.98 if name in HIGHER_IS_BETTER else 1.02)}
