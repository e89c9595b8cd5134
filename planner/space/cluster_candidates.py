"""Candidates on a cluster: the plans that `partition_cluster` chooses from, as arrays of
`solver.places` and back.

A plan takes pools in any order, each for one run of consecutive layers at most, and leaves out
those that it does not need. Inside a pool it is as on one topology: stages of consecutive layers on
consecutive chips, each with a tensor and an expert parallel degree. Replicas are like copies, so
every pool that is used holds a part of each.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.answers.question import Question
from planner.cost.energy import SECONDS_PER_HOUR, Draw
from planner.errors import InfeasibleError, InputError, listed
from planner.machines.cluster import Cluster, PooledPlan, PooledStage
from planner.models.graph import ModelGraph
from planner.plan import ChipRange
from planner.pricing.crossing import crossing_s
from planner.pricing.price_list import Split, Step
from planner.pricing.schedule import Schedule
from planner.pricing.timing import active_kinds_s, hop_between
from planner.scoring.clusters import (
    ClusterDeployment,
    common_price,
    common_scope,
    peaks_of,
    refuse_unplanned,
    score_pooled_served,
)
from planner.solver.chain.packing import Packing
from planner.solver.chain.placed import MOST_ANYWHERE, Ground, Link, Place, PlacedProblem, PlacedRun
from planner.solver.chain.problem import ChainProblem, Limit, Measure
from planner.space.arrangements import Arrangement, arranged
from planner.space.boxes import Box, best_batch
from planner.space.candidates import Candidates, Option
from planner.space.layout import packing_of
from planner.space.measures import NEEDED, PEAKS, RESOURCES, SUMS
from planner.workload import Workload

Floats = NDArray[np.float64]

# Sums beside those of `candidates`: what chips held cost in an hour, draw, could compute and could
# read; joules of what is active; bytes that are moved.
DOLLARS, WATTS, FLOPS, BANDWIDTH, ACTIVE, MOVED = range(SUMS, SUMS + 6)
POOLED_SUMS = SUMS + 6
NOT_PLANNED = ("power_w",)


class PooledBox(NamedTuple):
    """A set of plans: a box, and the pool of the first stage, whose software serves the
    requests."""

    box: Box
    head: int

    @property
    def single(self) -> bool:
        """Whether it is of one batch."""
        return self.box.single

    def halves(self) -> Iterator["PooledBox"]:
        """The box cut in two."""
        for half in self.box.halves():
            yield PooledBox(half, self.head)


@dataclass(frozen=True, slots=True)
class Stand:
    """A way of using a pool: how the replicas are arranged in it, and which bound on what its
    chips draw counts."""

    pool: int
    arrangement: Arrangement
    draw: Draw


class PooledCandidates:
    """The plans of one graph on one cluster for one workload."""

    def __init__(
        self,
        graph: ModelGraph,
        cluster: Cluster,
        workload: Workload,
        question: Question,
        *,
        anywhere: bool = False,
    ) -> None:
        refuse_unplanned(graph, workload)
        self.anywhere = anywhere and all(
            pool.topology.chips <= MOST_ANYWHERE for pool in cluster.pools
        )
        """Whether stages may stand anywhere in their pool, not only in order; on large pools
        they never may."""
        self.graph, self.cluster, self.workload, self.question = graph, cluster, workload, question
        self._check_known()
        own = replace(question, power_scope=common_scope(cluster, question.power_scope))
        self.each = [Candidates(graph, pool.topology, workload, own) for pool in cluster.pools]
        self.pools = [candidates.served for candidates in self.each]
        """What each pool makes of the workload."""
        self.packings: list[Packing] = [
            replace(packing_of(pool.topology), blocked=tuple(sorted(set(pool.exclude))))
            for pool in cluster.pools
        ]
        self.usable_bytes = max(candidates.prices.usable_bytes for candidates in self.each)

    def _check_known(self) -> None:
        """Refuse to optimise what a cluster is not planned for, or what a pool does not know."""
        cluster, names = self.cluster, self.question.fields
        for name in NOT_PLANNED:
            if name in names:
                raise InputError(
                    f"{name} is not planned for on a cluster or with exclude=; ask for energy_per_token_j"
                )
        if any(pool.topology.divisible for pool in cluster.pools):
            raise InputError(
                f"Cluster.pools of {cluster.name!r}: chips that are held in part are for one topology; hold them whole"
            )
        if (
            "energy_per_token_j" in names
            and common_scope(cluster, self.question.power_scope) is None
        ):
            raise InputError(
                f"energy_per_token_j needs the power of every pool of {cluster.name} in one scope, chip or system; give it in a"
                " file"
            )
        if "usd_per_million_tokens" in names and not common_price(cluster):
            unknown = [
                pool.name for pool in cluster.pools if pool.topology.price.usd_per_chip_hour is None
            ]
            raise InputError(
                f"usd_per_million_tokens needs a price of {listed(unknown)}, which is not known; give it in a file"
            )

    def boxes(self) -> Iterator[PooledBox]:
        """All plans, in boxes for each pool that they may begin on."""
        for head, pool in enumerate(self.cluster.pools):
            if self.cluster.twin_before[head] is not None or not pool.free_chips:
                continue
            candidates = self.each[head]
            found = candidates.boxes()
            if (
                self.workload.batch_size is None and not candidates.one_will_do
            ):  # pools hold together what none holds
                found = (candidates.open_box(replicas) for replicas in self._open_replicas(head))
            for box in found:
                yield PooledBox(box, head)

    def _open_replicas(self, head: int) -> list[int]:
        """Numbers of replicas worth trying where the batch is open: as many as there is room
        for, or as the limits allow."""
        most = self.cluster.pools[head].free_chips
        counted = any(
            name in ("chips", "usd_per_million_tokens", "energy_per_token_j")
            for name, _ in self.question.limits
        )
        if counted or any(pool.exclude for pool in self.cluster.pools):
            return list(range(most, 0, -1))
        found = {replicas for candidates in self.each for replicas in candidates.open_replicas()}
        return sorted((replicas for replicas in found if replicas <= most), reverse=True)

    def to_problem(self, box: PooledBox) -> PlacedProblem | None:
        """The solver's arrays for a box; None where there is no room for its replicas."""
        return _Lowering(self, box).problem()

    def stands(self, box: PooledBox) -> list[Stand]:
        """The ways of using each pool that has room for the replicas."""
        sequences, replicas, found = box.box.sequences(0), box.box.replicas, []
        drawn = "energy_per_token_j" in self.question.fields
        for number, candidates in enumerate(self.each):
            if sequences > candidates.topology.software.most_sequences:
                continue
            draws = candidates.draws if drawn else (Draw(0.0, 0.0),)
            for arrangement in arranged(self.packings[number], replicas):
                found += [Stand(number, arrangement, draw) for draw in draws]
        return found

    def to_plan(self, box: PooledBox, runs: tuple[PlacedRun, ...]) -> PooledPlan:
        """The plan that a solution of a box's problem stands for."""
        stands, replicas = self.stands(box), box.box.replicas
        numbers = option_numbers(self, stands)
        names = [layer.name for layer in self.graph.layers]
        stages = []
        for run in runs:
            stand = stands[run.place.ground]
            end = max(
                one.place.first + one.place.width
                for one in runs
                if one.place.ground == run.place.ground
            )
            bases = stand.arrangement.starts(end, replicas)
            split = self.each[stand.pool].options[numbers[run.option][1]]
            stages.append(
                PooledStage(
                    pool=self.cluster.pools[stand.pool].name,
                    layers=tuple(names[run.tail : run.head]),
                    groups=tuple(
                        ChipRange(first=base + run.place.first, count=split.chips) for base in bases
                    ),
                    tensor_parallel=split.tensor,
                    expert_parallel=split.expert,
                )
            )
        open_batch = self.workload.batch_size is None
        return PooledPlan(
            stages=tuple(stages),
            micro_batches=box.box.micro_batches[0],
            batch_size=replicas * box.box.sequences(0) if open_batch else None,
        )

    def realised(self, box: PooledBox, plan: PooledPlan) -> tuple[PooledPlan, float]:
        """The best plan of a box with the stages of a relaxed solution, and its canonical value
        (infinite: none fits)."""
        most = None
        if box.box.batch_size is None:
            most = ClusterDeployment(plan, self.cluster, self.pools).most_sequences
        return best_batch(box.box, plan, most, self._allowed_value, bool(self.question.limits))

    def _allowed_value(self, plan: PooledPlan) -> float:
        """Canonical value of a plan; infinite where it breaks a rule or a limit."""
        try:
            score = score_pooled_served(
                plan, self.cluster, self.pools, power_scope=self.question.power_scope
            )
        except (InfeasibleError, InputError):
            return math.inf
        for name, value in self.question.limits:
            if self.canonical(name, float(getattr(score, name))) > self.canonical(name, value) * (
                1 + 1e-12
            ):
                return math.inf
        return self.canonical(
            self.question.objective, float(getattr(score, self.question.objective))
        )

    def canonical(self, name: str, value: float) -> float:
        """A field's value as the solver minimises it."""
        return (
            self.usable_bytes - value
            if name == "memory_headroom_bytes"
            else self.each[0].canonical(name, value)
        )

    def field_value(self, name: str, canonical: float) -> float:
        """The inverse of `canonical`."""
        return (
            self.usable_bytes - canonical
            if name == "memory_headroom_bytes"
            else self.each[0].field_value(name, canonical)
        )


def option_numbers(candidates: PooledCandidates, stands: list[Stand]) -> list[tuple[int, int]]:
    """Of each option of a problem: its stand, and its number among the options of that stand's
    pool."""
    return [
        (ground, number)
        for ground, stand in enumerate(stands)
        for number in range(len(candidates.each[stand.pool].options))
    ]


class _Lowering:
    """Makes the arrays of one box."""

    def __init__(self, candidates: PooledCandidates, box: PooledBox) -> None:
        self.candidates, self.box = candidates, box
        self.head = candidates.each[box.head]
        self.ends = tuple(self.head.schedule(box.box, end) for end in (0, 1))
        self.stands = candidates.stands(box)
        self.numbers = option_numbers(candidates, self.stands)
        self.links: dict[tuple[int, ...], Link | None] = {}
        self.fixed = box.box.batch_size is not None

    def problem(self) -> PlacedProblem | None:
        candidates, box = self.candidates, self.box
        if not any(stand.pool == box.head for stand in self.stands):
            return None
        lowered = {
            pool: candidates.each[pool].lowered(self.ends, box.box.least_sequences)
            for pool in {stand.pool for stand in self.stands}
        }
        options = [
            self._option(lowered[self.stands[ground].pool].of(number), ground, number)
            for ground, number in self.numbers
        ]
        splits = [self._split(option) for option in range(len(options))]
        least = [self._least(option) for option in range(len(options))]
        grounds = tuple(self._ground(stand) for stand in self.stands)
        slots = {ground.owner: 0 for ground in grounds}
        for ground in grounds:
            slots[ground.owner] = max(slots[ground.owner], ground.budget)
        budget = sum(slots.values())
        question = candidates.question
        chain = ChainProblem(
            prefix=np.stack([option.prefix for option in options]),
            feasible=np.stack([option.feasible for option in options]),
            run_sums=np.stack([option.run_sums for option in options]),
            run_sums_fixed=np.stack([option.run_sums_fixed for option in options]),
            run_peaks=np.stack([option.run_peaks for option in options]),
            run_peaks_fixed=np.stack([option.run_peaks_fixed for option in options]),
            link_sums=np.stack([link.sums for link in least], axis=1)[:, :, None],
            link_peaks=np.stack([link.peaks for link in least], axis=1)[:, :, None],
            widths=np.array([split.chips for split in splits]),
            packing=Packing(budget, (budget,)),
            budget=budget,
            objective=self.measure_of(question.objective),
            limits=tuple(
                Limit(self.measure_of(name), candidates.canonical(name, value))
                for name, value in question.limits
            ),
        )
        classes: dict[tuple[int, int], int] = {}
        for option, split in enumerate(splits):
            classes.setdefault((self._pool(option), split.attention), len(classes))
        return PlacedProblem(
            chain=chain,
            grounds=grounds,
            ground_of=np.array([ground for ground, _ in self.numbers]),
            link_class=np.array(
                [
                    classes[self._pool(option), split.attention]
                    for option, split in enumerate(splits)
                ]
            ),
            link=self._link,
            plus=tuple(self._plus(name) for name in question.fields),
            anywhere=candidates.anywhere,
        )

    def _pool(self, option: int) -> int:
        return self.stands[self.numbers[option][0]].pool

    def _split(self, option: int) -> Split:
        return self.candidates.each[self._pool(option)].options[self.numbers[option][1]]

    def _ground(self, stand: Stand) -> Ground:
        levels = self.candidates.cluster.pools[stand.pool].topology.levels
        shapes = {level.fabric.shape for level in levels}
        gapless = not stand.arrangement.packing.blocked and shapes <= {"chain", "ring"}
        uniform = len(levels) <= 1 and (shapes <= {"switch", "full-mesh", "dragonfly"} or gapless)
        after = self.candidates.cluster.twin_before[stand.pool]
        return Ground(
            stand.arrangement.packing, stand.arrangement.budget, stand.pool, after, uniform
        )

    def _option(self, lowered: Option, ground: int, number: int) -> Option:
        """The arrays of a pool's option, with what only clusters count."""
        stand = self.stands[ground]
        candidates, split = (
            self.candidates.each[stand.pool],
            self.candidates.each[stand.pool].options[number],
        )
        items, topology = len(self.candidates.graph.layers), candidates.topology
        joules = np.zeros(items)
        if stand.draw.active_w:
            at = self.ends[1]  # the end that `Candidates.measure` draws at
            joules = (
                stand.draw.active_w
                * active_kinds_s(candidates.prices, at)[self.candidates.graph.kind_of_layer]
            )
        prefix = np.concatenate(
            [lowered.prefix, np.concatenate([[0.0], np.cumsum(joules)])[:, None]], axis=1
        )
        run_sums, run_sums_fixed = np.zeros((POOLED_SUMS, RESOURCES + 1)), np.zeros(POOLED_SUMS)
        run_sums[:SUMS, :RESOURCES], run_sums_fixed[:SUMS] = (
            lowered.run_sums,
            lowered.run_sums_fixed,
        )
        run_sums[ACTIVE, RESOURCES] = 1.0
        flops, bandwidth = peaks_of(self.candidates.graph, topology)
        each = {
            DOLLARS: topology.price.usd_per_chip_hour or 0.0,
            WATTS: stand.draw.held_w,
            FLOPS: flops,
            BANDWIDTH: bandwidth,
        }
        for column, value in each.items():
            run_sums_fixed[column] = value * split.chips
        run_peaks = np.concatenate([lowered.run_peaks, np.zeros((PEAKS, 1))], axis=1)
        run_peaks_fixed = lowered.run_peaks_fixed.copy()
        run_peaks_fixed[NEEDED] += self.candidates.usable_bytes - candidates.prices.usable_bytes
        feasible = lowered.feasible.copy()
        feasible[0] &= stand.pool == self.box.head
        return Option(prefix, feasible, run_sums, run_sums_fixed, run_peaks, run_peaks_fixed)

    def _link(self, option: int, place: Place, after: Place) -> Link | None:
        pool, split = self._pool(option), self._split(option)
        stand = self.stands[place.ground]
        if place.ground != after.ground:
            return self._known(pool, split, self.stands[after.ground].pool)
        base = stand.arrangement.bases[0] if stand.arrangement.bases else 0
        groups = [ChipRange(first=base + one.first, count=one.width) for one in (place, after)]
        level, hops = hop_between(self.candidates.cluster.pools[pool].topology, *groups)
        if level is None:
            raise AssertionError("two stages stand on one chip")
        return self._known(pool, split, -1, level, hops)

    def _known(
        self, pool: int, split: Split, other: int, level: int = 0, hops: int = 0
    ) -> Link | None:
        """A link inside a pool, or (`other` not below 0) to another; None where no path leads
        there."""
        key = (pool, split.attention, other, level, hops)
        if key not in self.links:
            each = self.candidates.each[pool]
            if other < 0:
                self.links[key] = _widened(each.hop([split], self.ends, level, hops))
            elif self.candidates.cluster.ways[pool][other]:
                self.links[key] = _widened(
                    each.link([split], self.ends, self._crossing(pool, other))
                )
            else:
                self.links[key] = None
        return self.links[key]

    def _crossing(self, pool: int, other: int) -> Callable[[Floats, Step, Schedule], Floats]:
        """How long a transfer to another pool takes."""
        cluster, replicas = self.candidates.cluster, self.box.box.replicas
        return lambda bytes_per_token, step, at: crossing_s(
            cluster, pool, other, bytes_per_token * step.tokens * replicas
        )

    def _least(self, option: int) -> Link:
        """What any link behind an option adds at least."""
        pool, split = self._pool(option), self._split(option)
        levels = self.candidates.cluster.pools[pool].topology.levels
        inside = [
            self._known(pool, split, -1, number, 3 if level.fabric.shape == "dragonfly" else 1)
            for number, level in enumerate(levels)
        ]
        outside = [
            self._known(pool, split, stand.pool) for stand in self.stands if stand.pool != pool
        ]
        known = [link for link in (*inside, *outside) if link is not None]
        if not known:
            items = len(self.candidates.graph.layers)
            return Link(np.zeros((items + 1, POOLED_SUMS)), np.zeros((items + 1, PEAKS)))
        return Link(
            np.minimum.reduce([link.sums for link in known]),
            np.minimum.reduce([link.peaks for link in known]),
        )

    def measure_of(self, name: str) -> Measure:
        """A field of `Score` as a measure, at the end of the box where it is best."""
        head, box = self.head, self.box.box
        measure = head.measure("tokens_per_s" if name in _PRICED else name, box, self.ends)
        flops, bandwidth = peaks_of(self.candidates.graph, head.topology)
        if name == "usd_per_million_tokens":
            measure = replace(
                measure, held=DOLLARS, scale=measure.scale * box.replicas * 1e6 / SECONDS_PER_HOUR
            )
        elif name == "energy_per_token_j":
            measure = replace(measure, held=WATTS, scale=measure.scale * box.replicas)
        elif name == "mfu_fraction":
            measure = replace(measure, held=FLOPS, scale=measure.scale / flops)
        elif name == "mbu_fraction":
            measure = replace(measure, held=BANDWIDTH, scale=measure.scale / bandwidth)
        return replace(measure, sums=np.concatenate([measure.sums, np.zeros(POOLED_SUMS - SUMS)]))

    def _plus(self, name: str) -> Floats:
        """Weights of the sums that a field adds: joules of what is active."""
        weights = np.zeros(POOLED_SUMS)
        if name == "energy_per_token_j":
            scale = self.head.measure("tokens_per_s", self.box.box, self.ends).scale
            weights[ACTIVE] = scale * self.box.box.replicas
        return weights


_PRICED = ("usd_per_million_tokens", "energy_per_token_j")


def _widened(link: tuple[Floats, Floats]) -> Link:
    sums, peaks = (array[:, 0] for array in link)
    return Link(np.concatenate([sums, np.zeros((len(sums), POOLED_SUMS - SUMS))], axis=1), peaks)
