"""`python -m benchmarks.exactness`: how much a proved plan buys over rules of thumb, on ten
realistic questions.

The rules are those of engines and guides: tensor parallel over a node and equal stages behind it,
one chip a stage with equal numbers of layers, layers in proportion to memory (as llama.cpp shares
them out), and filling chip after chip.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import planner as pl
from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage
from planner.plan import ChipRange

SLACK = 0.97
"""Of the memory of a stage, where it is filled: caches and buffers of the last layer are not
counted exactly."""


class Case(NamedTuple):
    """A question that people have."""

    model: str
    weights: str
    machine: str
    chips: int | None
    """None: a cluster of the catalogue."""
    batch_size: int
    field: str

    @property
    def name(self) -> str:
        machine = self.machine if self.chips is None else f"{self.chips} × {self.machine}"
        return f"{self.model} {self.weights} on {machine}, {self.batch_size} users: {self.field}"


CASES = (
    Case("llama-3.1-70b", "fp8", "hgx-h100", 8, 8, "tpot_s"),
    Case("llama-3.1-70b", "fp8", "hgx-h100", 8, 64, "usd_per_million_tokens"),
    Case("llama-3.1-405b", "fp8", "hgx-h100", 16, 8, "tpot_s"),
    Case("llama-3.1-405b", "fp8", "hgx-h100", 24, 64, "tokens_per_s"),
    Case("mixtral-8x22b", "bf16", "hgx-a100", 8, 32, "energy_per_token_j"),
    Case("deepseek-v3", "fp8", "hgx-h200", 16, 64, "tpot_s"),
    Case("llama-3.1-70b", "fp8", "groq-lpu-chain", 576, 1, "tpot_s"),
    Case("llama-3.1-70b", "bf16", "cerebras-cs3", 4, 4, "tokens_per_s"),
    Case("llama-3.1-70b", "fp8", "a100-l4-t4", None, 8, "tpot_s"),
    Case("llama-3.1-70b", "bf16", "three-macs", None, 1, "tpot_s"),
)


class Unit(NamedTuple):
    """Chips that one stage of a rule takes."""

    pool: Pool
    first: int
    chips: int

    @property
    def bytes(self) -> float:
        return self.chips * self.pool.topology.chip.memory[0].capacity_bytes


class Bought(NamedTuple):
    """What the exact plan reaches, and how many times worse each rule is; infinite where it
    gives no plan."""

    case: Case
    objective: float
    status: str
    took_s: float
    worse: dict[str, float]

    @property
    def best_rule(self) -> float:
        return min(self.worse.values())


def bought(case: Case, *, time_limit_s: float = 60.0) -> Bought:
    """Solve a case and price the rules on it."""
    graph = pl.load_model(case.model, weight_dtype=case.weights)
    if case.chips is None:
        cluster = pl.load_cluster(case.machine)
    else:
        topology = pl.load_topology(case.machine, chips=case.chips)
        cluster = Cluster(name=topology.name, pools=(Pool(name=topology.name, topology=topology),))
    workload = pl.Workload(batch_size=case.batch_size)
    direction = "maximize" if case.field == "tokens_per_s" else "minimize"
    started = time.perf_counter()
    result: pl.Result | pl.ClusterResult
    if case.chips is None:
        result = pl.partition_cluster(
            graph, cluster, workload, time_limit_s=time_limit_s, **{direction: case.field}
        )
    else:
        result = pl.partition(
            graph,
            cluster.pools[0].topology,
            workload,
            time_limit_s=time_limit_s,
            **{direction: case.field},
        )
    took_s = time.perf_counter() - started

    def worse(plan: PooledPlan | None) -> float:
        if plan is None or pl.check_pooled_plan(plan, graph, cluster, workload):
            return math.inf
        value = float(getattr(pl.score_pooled_plan(plan, graph, cluster, workload), case.field))
        return value / result.objective if direction == "minimize" else result.objective / value

    rules = {name: worse(plan) for name, plan in plans_by_rule(graph, cluster, workload)}
    return Bought(case, result.objective, result.status, took_s, rules)


def plans_by_rule(
    graph: pl.ModelGraph, cluster: Cluster, workload: pl.Workload
) -> Iterator[tuple[str, PooledPlan | None]]:
    """The plan of each rule; None where it has none."""
    nodes, single = list(_units(cluster, graph, most=None)), list(_units(cluster, graph, most=1))
    layers = len(graph.layers)
    yield (
        "a node a stage, equal layers",
        _plan(graph, nodes, _shared(layers, [1.0] * len(nodes)), workload),
    )
    yield (
        "a node a stage, by memory",
        _plan(graph, nodes, _shared(layers, [unit.bytes for unit in nodes]), workload),
    )
    yield (
        "a chip a stage, equal layers",
        _plan(graph, single, _shared(layers, [1.0] * len(single)), workload),
    )
    yield (
        "a chip a stage, by memory",
        _plan(graph, single, _shared(layers, [unit.bytes for unit in single]), workload),
    )
    yield (
        "filled one after the other",
        _plan(graph, single, _filled(graph, single, workload), workload),
    )


def _units(cluster: Cluster, graph: pl.ModelGraph, *, most: int | None) -> Iterator[Unit]:
    """Groups of chips: whole nodes as far as heads can be split over them, or so many chips."""
    heads = math.gcd(*graph.splits().get("heads", (1,)))
    for pool in cluster.pools:
        topology = pool.topology
        node = topology.levels[0].span_chips if topology.levels else topology.chips
        size = most or next(
            n
            for n in range(min(node, topology.chips), 0, -1)
            if heads % n == 0 and topology.chips % n == 0
        )
        for first in range(0, topology.chips, size):
            yield Unit(pool, first, size)


def _shared(layers: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers of layers in proportion to the shares."""
    ends = [round(layers * part / sum(shares)) for part in itertools.accumulate(shares)]
    return [end - start for start, end in itertools.pairwise([0, *ends])]


def _filled(graph: pl.ModelGraph, units: Sequence[Unit], workload: pl.Workload) -> list[int]:
    """As many layers as fit, unit after unit."""
    caches = (
        (workload.batch_size or 1)
        * workload.context_tokens
        * graph.kv_bytes_per_token
        / len(graph.layers)
    )
    sizes = [layer.weight_bytes + caches for layer in graph.layers]
    counts, at = [], 0
    for unit in units:
        room, start = SLACK * unit.bytes, at
        while at < len(sizes) and (room := room - sizes[at]) >= 0:
            at += 1
        counts.append(at - start)
    counts[-1] += len(sizes) - at
    return counts


def _plan(
    graph: pl.ModelGraph, units: Sequence[Unit], counts: Sequence[int], workload: pl.Workload
) -> PooledPlan | None:
    names = [layer.name for layer in graph.layers]
    moe = bool(graph.splits().get("experts"))
    stages = []
    at = 0
    for unit, count in zip(units, counts, strict=True):
        if count:
            stage = PooledStage(
                pool=unit.pool.name,
                layers=tuple(names[at : at + count]),
                groups=(ChipRange(first=unit.first, count=unit.chips),),
                tensor_parallel=unit.chips,
                expert_parallel=unit.chips if moe else 1,
            )
            stages.append(stage)
        at += count
    micro_batches = min(len(stages), workload.batch_size or 1)
    return PooledPlan(stages=tuple(stages), micro_batches=micro_batches) if stages else None


def main(solve: Callable[[Case], Bought] = bought) -> None:
    """All cases, as a table."""
    found = []
    for case in CASES:
        found.append(solve(case))
        one = found[-1]
        print(f"\n{case.name}\n  exact: {one.objective:.4g} ({one.status}, {one.took_s:.1f} s)")
        for rule, worse in one.worse.items():
            print(f"  {rule:<32}{'no plan' if math.isinf(worse) else f'× {worse:.2f}'}")
    finite = [one.best_rule for one in found if math.isfinite(one.best_rule)]
    mean = math.exp(sum(math.log(worse) for worse in finite) / len(finite))
    none = len(found) - len(finite)
    print(
        f"\nthe best of the rules is × {mean:.2f} worse on average, and has no plan in {none} cases"
    )


if __name__ == "__main__":
    main()
