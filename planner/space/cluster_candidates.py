"""Candidates on a cluster: the plans that `partition_cluster` chooses from, as arrays of
`solver.places` and back.

A plan takes pools in any order, each for one run of consecutive layers at most, and leaves out
those that it does not need. Inside a pool it is as on one topology: stages of consecutive layers on
consecutive chips, each with a tensor and an expert parallel degree. Replicas are like copies, so
every pool that is used holds a part of each.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.question import HELD, PER_TOKEN, PRICED, TOTALS, Question
from planner.cost.energy import SECONDS_PER_HOUR, Draw
from planner.errors import InfeasibleError, InputError, listed
from planner.machines.accounts import unlike_prices
from planner.machines.cluster import Cluster, Pool, PooledPlan, PooledStage, Way
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import ChipRange
from planner.pricing.crossing import crossing_s
from planner.pricing.engines import deepest, micro_batch_fault, split_fault
from planner.pricing.price_list import Split, Step
from planner.pricing.queueing import FULL, most_requests_per_s
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
from planner.scoring.score import Score
from planner.solver.chain.packing import Packing
from planner.solver.chain.placed import MOST_ANYWHERE, Ground, Link, Place, PlacedProblem, PlacedRun
from planner.solver.chain.problem import ChainProblem, Limit, Measure
from planner.space.arrangements import Arrangement, arranged
from planner.space.boxes import Box, best_batch
from planner.space.candidates import Candidates, Option, Room, ask_for_problem
from planner.space.forms import Batches
from planner.space.layout import packing_of, with_inner_layer
from planner.space.measures import (
    CLUSTER_RESOURCES,
    CLUSTER_SUMS,
    PEAKS,
    RESOURCES,
    SUMS,
    ClusterResource,
    ClusterSum,
    Peak,
    measure_of,
)
from planner.workload import Workload

Floats = NDArray[np.float64]

NOT_PLANNED = ("power_w",)


class ClusterBox(NamedTuple):
    """A set of plans: a box, and the pool of the first stage, whose software serves the
    requests."""

    box: Box
    head: int
    split: Split | None = None
    """Of every stage, where the software's engine splits all of them alike."""
    stages: int | None = None
    """How many, likewise."""
    even: bool = False
    """Whether its batches fill their micro-batches, as those do that a rate brings about."""

    @property
    def single(self) -> bool:
        """Whether it is of one batch."""
        return self.box.single

    def halves(self) -> Iterator["ClusterBox"]:
        """The box cut in two."""
        parts = self._between() if self._holds_uneven else self.box.halves()
        for part in parts:
            yield self._replace(box=part)

    @property
    def _holds_uneven(self) -> bool:
        """Whether it holds batches that fill their micro-batches only in part: of an engine that
        has a given number of them in flight, where the batch is open."""
        low, high = self.box.micro_batches
        is_open = self.split is not None and self.box.batch_size is None
        return is_open and not self.even and low == high > 1

    def _between(self) -> Iterator[Box]:
        """The same of such a box: it holds the batches of more sequences than its low end, as many
        as its high end at most."""
        low, high = self.box.micro_sequences
        if high > low + 1:
            middle = max(low + 1, math.isqrt(low * high))
            for part in ((low, middle), (middle, high)):
                yield self.box._replace(micro_sequences=part)
            return
        micro_batches = self.box.micro_batches[0]
        for sequences in range(micro_batches * low + 1, micro_batches * high):
            yield _settled(self.box, sequences, high)
        yield self.box._replace(micro_sequences=(high, high))


def _settled(box: Box, sequences: int, each: int) -> Box:
    """The one batch of so many sequences of a replica, so many of them in the largest
    micro-batch."""
    batch_size = box.replicas * sequences
    return box._replace(batch_size=batch_size, micro_sequences=(each, each), all_sequences=(0, 0))


@dataclass(frozen=True, slots=True)
class Stand:
    """A way of using a pool: how the replicas are arranged in it, and which bound on what its
    chips draw counts."""

    pool: int
    arrangement: Arrangement
    draw: Draw


class ClusterCandidates:
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
        kinds = {
            number: Candidates(graph, cluster.pools[number].topology, workload, own)
            for number in dict.fromkeys(cluster.kinds)
        }
        self.each = [kinds[number] for number in cluster.kinds]
        """Of pools of one kind the same."""
        self.pools = [candidates.served for candidates in self.each]
        """What each pool makes of the workload."""
        packings = {number: _packing_of(cluster.pools[number]) for number in kinds}
        self.packings: list[Packing] = [packings[number] for number in cluster.kinds]
        self.usable_bytes = max(candidates.prices.usable_bytes for candidates in kinds.values())
        self._each_of: dict[Split, list[Candidates]] = {}
        self.settled: set[int] = set()
        """Pools on whose plans all is known from elsewhere, and that are not joined to others."""

    def _check_known(self) -> None:
        """Refuse to optimise what a cluster is not planned for, or what a pool does not know."""
        cluster, names = self.cluster, self.question.fields
        for name in NOT_PLANNED:
            if name in names:
                raise InputError(
                    f"{name} cannot be optimised or limited on a cluster or with exclude=;"
                    " ask for energy_per_token_j"
                )
        if any(pool.topology.divisible for pool in cluster.pools):
            raise InputError(
                f"Cluster.pools of {cluster.name!r}: a cluster cannot use parts of chips; give pools"
                " of whole chips"
            )
        scope = common_scope(cluster, self.question.power_scope)
        if "energy_per_token_j" in names and scope is None:
            raise InputError(
                f"energy_per_token_j needs the power of every pool of {cluster.name} in the same"
                " scope, chip or system; write it into their files"
            )
        priced = next((name for name in names if name in PRICED), None)
        if priced and not common_price(cluster):
            unknown = _unpriced(cluster)
            if not unknown:
                raise InputError(unlike_prices(priced, _machines(cluster)))
            raise InputError(
                f"{priced} needs the price of {listed(unknown)}, which is not known;"
                " give price='2.10 USD/h' (--price), or write it into the file"
            )

    @property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """The worst values allowed; at a rate of requests, that so many are served too."""
        rate = self.workload.requests_per_s
        if rate is None:
            return self.question.limits
        return (*self.question.limits, ("tokens_per_s", rate * self.workload.output_tokens))

    @property
    def asked(self) -> Workload:
        """The workload as it was given."""
        return self.workload

    @property
    def place(self) -> str:
        """The cluster, in words."""
        return self.cluster.name

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The memory that there is, pool by pool."""
        pairs = zip(self.cluster.pools, self.each, strict=True)
        return tuple(
            Room(pool.topology, pool.free_chips, each.prices.usable_bytes) for pool, each in pairs
        )

    def of(self, space: Space) -> "ClusterCandidates":
        """The same question about the plans of another space."""
        question = replace(self.question, space=space)
        return ClusterCandidates(
            self.graph, self.cluster, self.workload, question, anywhere=self.anywhere
        )

    def asking(self, objective: str) -> "ClusterCandidates":
        """The same plans, asked for one field without limits."""
        return self.on(self.workload, objective)

    def on(self, workload: Workload, objective: str) -> "ClusterCandidates":
        """The same model and pools, asked for one field without limits."""
        question = replace(self.question, objective=objective, limits=())
        return ClusterCandidates(
            self.graph, self.cluster, workload, question, anywhere=self.anywhere
        )

    def boxes(self) -> Iterator[ClusterBox]:
        """All plans, in boxes for each pool that they may begin on."""
        for head, pool in enumerate(self.cluster.pools):
            if self.cluster.twin_before[head] is not None or not pool.free_chips:
                continue
            if head in self.settled:
                continue
            allowance.look()
            candidates = self.each[head]
            found = candidates.boxes()
            if self.workload.batch_size is None and not candidates.one_will_do:
                # A pool leaves out what it cannot hold alone, but pools hold together what none of
                # them does.
                found = (candidates.open_box(replicas) for replicas in self._open_replicas(head))
            for box in found:
                whole = ClusterBox(box, head)
                yield from self._of_engine(whole) if candidates.of_engine else (whole,)

    def _of_engine(self, whole: ClusterBox) -> Iterator[ClusterBox]:
        """The plans of a box that the engine of its first pool can be started with: one split for
        all stages, so many of them, and micro-batches as the engine keeps them."""
        head, box = self.each[whole.head], whole.box
        at_a_rate = self.workload.requests_per_s is not None
        is_open = box.batch_size is None and not at_a_rate
        if not self._counts_totals and is_open and box.replicas > 1:
            return  # of like replicas one is enough
        software, graph = head.topology.software, self.graph
        free = sum(self.cluster.pools[number].free_chips for number in self.like(whole.head))
        for split in head.splits:
            most = min(deepest(graph, software), free // (split.chips * box.replicas))
            for stages in range(1, most + 1):
                if split_fault(graph, software, split, stages) is None:
                    batches = Batches(software.engine, stages)
                    for part in _in_flight(box, batches, even=at_a_rate):
                        yield ClusterBox(part, whole.head, split, stages, at_a_rate)

    @property
    def _counts_totals(self) -> bool:
        """Whether anything that is asked about grows with the replicas."""
        return any(name in TOTALS for name in self.question.fields)

    def like(self, head: int) -> list[int]:
        """Pools whose engine is that of the first stage's: no two engines are piped into one
        another."""
        if not self.each[head].of_engine:
            return list(range(len(self.each)))
        software = self.each[head].topology.software
        like = {
            number
            for number in set(self.cluster.kinds)
            if (
                self.each[number].topology.software.name,
                self.each[number].topology.software.engine,
            )
            == (software.name, software.engine)
        }
        return [number for number, kind in enumerate(self.cluster.kinds) if kind in like]

    def each_of(self, box: ClusterBox) -> list[Candidates]:
        """Each pool's plans, under the split of a box where it has one."""
        split = box.split
        if split is None:
            return self.each
        if split not in self._each_of:
            kinds = self.cluster.kinds
            under = {number: self.each[number].under(split) for number in dict.fromkeys(kinds)}
            self._each_of[split] = [under[number] for number in kinds]
        return self._each_of[split]

    def _open_replicas(self, head: int, *, free_links: bool = False) -> list[int]:
        """Numbers of replicas worth trying where the batch is open: all, since replicas share the
        links between pools, so that more of them are not always better; where links take no time,
        as many as there is room for, or as the limits allow."""
        most = self.cluster.pools[head].free_chips
        shared = len(self.cluster.pools) > 1 and not free_links
        counted = any(name in (*HELD, *PER_TOKEN) for name, _ in self.question.limits)
        counted |= self.workload.requests_per_s is not None
        if shared or counted or any(pool.exclude for pool in self.cluster.pools):
            return list(range(most, 0, -1))
        kinds = [self.each[number] for number in dict.fromkeys(self.cluster.kinds)]
        found = {replicas for candidates in kinds for replicas in candidates.open_replicas()}
        return sorted((replicas for replicas in found if replicas <= most), reverse=True)

    def to_problem(self, box: ClusterBox) -> PlacedProblem | None:
        """The solver's arrays for a box; None where there is no room for its replicas."""
        return _Lowering(self, box).problem()

    def loose_boxes(self) -> Iterator[ClusterBox]:
        """All plans, in a few boxes: a pool of each kind stands for all of its kind."""
        for head in dict.fromkeys(self.cluster.kinds):
            candidates = self.each[head]
            if not self.cluster.pools[head].free_chips:
                continue
            found = candidates.boxes()
            if self.workload.batch_size is None and not candidates.one_will_do:
                numbers = self._open_replicas(head, free_links=True)
                found = (candidates.open_box(replicas) for replicas in numbers)
            for box in found:
                yield ClusterBox(box, head)

    def to_loose_problem(self, box: ClusterBox) -> ChainProblem | None:
        """A relaxation of a box, which is small however many pools there are: those of a kind are
        one, and no link takes any time; None where there is no room for its replicas."""
        pools = list(dict.fromkeys(self.cluster.kinds))
        return _Lowering(self, box, pools).loose_problem()

    def stands(self, box: ClusterBox, pools: Collection[int] | None = None) -> list[Stand]:
        """The ways of using each pool that has room for the replicas, or some of the pools."""
        drawn = "energy_per_token_j" in self.question.fields
        found: list[Stand] = []
        each = self.each_of(box)
        for number in self.like(box.head):
            if pools is not None and number not in pools:
                continue
            candidates = each[number]
            if not candidates.splits:
                continue
            allowance.look()
            if box.box.least_sequences > candidates.most_taken:
                continue
            # What a chip draws is the least of several bounds; a stand fixes which one counts, so
            # that watts add up over pools, and the cheapest stand finds the least.
            draws = candidates.draws if drawn else (Draw(0.0, 0.0),)
            for arrangement in arranged(self.packings[number], box.box.replicas):
                found += [Stand(number, arrangement, draw) for draw in draws]
        return found

    def to_plan(self, box: ClusterBox, runs: tuple[PlacedRun, ...]) -> PooledPlan:
        """The plan that a solution of a box's problem stands for."""
        stands = self.stands(box)
        each = self.each_of(box)
        numbers = option_numbers(each, stands)
        ends: dict[int, int] = {}
        for run in runs:
            ground, last = run.place.ground, run.place.first + run.place.width
            ends[ground] = max(ends.get(ground, 0), last)
        stages = []
        for run in runs:
            stand = stands[run.place.ground]
            split = each[stand.pool].options[numbers[run.option][1]]
            bases = stand.arrangement.starts(ends[run.place.ground], box.box.replicas)
            stages.append(self._stage(run, stand.pool, split, bases))
        open_batch = self.workload.batch_size is None and self.workload.requests_per_s is None
        return PooledPlan(
            stages=tuple(stages),
            micro_batches=box.box.micro_batches[0],
            batch_size=box.box.replicas * box.box.sequences(0) if open_batch else None,
            space="any" if box.split is None else "engine",
        )

    def _stage(self, run: PlacedRun, pool: int, split: Split, bases: list[int]) -> PooledStage:
        layers = self.graph.layers[run.tail : run.head]
        starts = (base + run.place.first for base in bases)
        return PooledStage(
            pool=self.cluster.pools[pool].name,
            layers=tuple(layer.name for layer in layers),
            groups=tuple(ChipRange(first=start, count=split.chips) for start in starts),
            tensor_parallel=split.tensor,
            expert_parallel=split.expert,
        )

    def realised(self, box: ClusterBox, plan: PooledPlan) -> tuple[PooledPlan, float]:
        """The best plan of a box with the stages of a relaxed solution, and its canonical value
        (infinite: none fits)."""
        most = None
        if box.box.batch_size is None and self.workload.requests_per_s is None:
            most = ClusterDeployment(plan, self.cluster, self.pools).most_sequences
        return best_batch(box.box, plan, most, self.allowed_value, bool(self.question.limits))

    def allowed_value(self, plan: PooledPlan) -> float:
        """Canonical value of a plan; infinite where it breaks a rule or a limit."""
        allowance.look()
        try:
            score = score_pooled_served(
                plan, self.cluster, self.pools, power_scope=self.question.power_scope
            )
        except (InfeasibleError, InputError):
            return math.inf
        if self.workload.requests_per_s is not None and not self._keeps_in_flight(plan, score):
            return math.inf
        for name, value in self.limits:
            reached = self.canonical(name, float(getattr(score, name)))
            if reached > self.canonical(name, value) * (1 + 1e-12):
                return math.inf
        objective = self.question.objective
        return self.canonical(objective, float(getattr(score, objective)))

    def most_requests_per_s(self, plan: PooledPlan) -> float:
        """That one of the plans can serve."""
        return most_requests_per_s(ClusterDeployment(plan, self.cluster, self.pools))

    def _keeps_in_flight(self, plan: PooledPlan, score: Score) -> bool:
        """Whether an engine cuts the batch that a rate brings about as the plan says."""
        first = self.each[self.cluster.number(plan.stages[0].pool)]
        if not first.of_engine:
            return True
        sequences = math.ceil(score.batch_size / plan.replicas)
        return micro_batch_fault(plan, first.topology.software, sequences) is None

    def canonical(self, name: str, value: float) -> float:
        """A field's value as the solver minimises it."""
        if name == "memory_headroom_bytes":
            return self.usable_bytes - value
        return self.each[0].canonical(name, value)

    def field_value(self, name: str, canonical: float) -> float:
        """The inverse of `canonical`."""
        if name == "memory_headroom_bytes":
            return self.usable_bytes - canonical
        return self.each[0].field_value(name, canonical)


def _packing_of(pool: Pool) -> Packing:
    return replace(packing_of(pool.topology), blocked=tuple(sorted(set(pool.exclude))))


def _unpriced(cluster: Cluster) -> list[str]:
    """Pools whose price is not known."""
    return [pool.name for pool in cluster.pools if pool.topology.price.usd_per_chip_hour is None]


def _machines(cluster: Cluster) -> list[Topology]:
    return [pool.topology for pool in cluster.pools]


def _in_flight(box: Box, batches: Batches, *, even: bool) -> Iterator[Box]:
    """The batches of a box that an engine has: micro-batches as it keeps them, or fewer
    sequences, each by itself; `even`: only those that fill all of their micro-batches."""
    if box.batch_size is not None:
        micro_batches, each = batches.holding(box.sequences(0))
        cut = (micro_batches, micro_batches)
        yield box._replace(micro_batches=cut, micro_sequences=(each, each))
        return
    most = box.micro_sequences[1]
    full = batches.most_in_flight or most + 1
    few = min(full - 1, most)
    if few:
        ones = (1, 1) if box.single else (1, few)
        yield box._replace(micro_batches=ones, micro_sequences=(1, 1))
    if full == 1:
        yield box._replace(micro_batches=(1, 1), micro_sequences=(1, most))
        return
    if full > most or box.single:
        return
    filled = box._replace(micro_batches=(full, full), all_sequences=(0, 0))
    whole = most // full
    if even:
        yield filled._replace(micro_sequences=(1, whole))
        return
    yield filled._replace(micro_sequences=(1, 1))
    if whole > 1:
        yield filled._replace(micro_sequences=(1, whole))
    for sequences in range(full * whole + 1, most + 1):
        yield _settled(filled, sequences, whole + 1)


def option_numbers(each: list[Candidates], stands: list[Stand]) -> list[tuple[int, int]]:
    """Of each option of a problem: its stand, and its number among the options of that stand's
    pool."""
    return [
        (ground, number)
        for ground, stand in enumerate(stands)
        for number in range(len(each[stand.pool].options))
    ]


class _Lowering:
    """Makes the arrays of one box."""

    def __init__(
        self,
        candidates: ClusterCandidates,
        box: ClusterBox,
        pools: Collection[int] | None = None,
    ) -> None:
        """`pools`: only plans on these."""
        self.candidates = candidates
        self.box = box
        self.each = candidates.each_of(box)
        """What each pool can do, under the split of the box where it has one."""
        self.head = self.each[box.head]
        self.ends = tuple(self.head.schedule(box.box, end) for end in (0, 1))
        self.stands = candidates.stands(box, pools)
        self.numbers = option_numbers(self.each, self.stands)
        self.splits = [self._split(option) for option in range(len(self.numbers))]
        self.links: dict[tuple[int, int, int | tuple[Way, ...], int], Link] = {}

    def problem(self) -> PlacedProblem | None:
        """The arrays; None where there is no room in the pool of the first stage."""
        candidates = self.candidates
        if not any(stand.pool == self.box.head for stand in self.stands):
            return None
        ask_for_problem(len(self.numbers), len(candidates.graph.layers), 1)
        grounds = tuple(self._ground(stand) for stand in self.stands)
        chain = self._linked(grounds)
        return PlacedProblem(
            chain=chain,
            grounds=grounds,
            ground_of=np.array([ground for ground, _ in self.numbers]),
            link_class=self._link_classes(),
            link=self._link,
            plus=self._plus_of_each(len(chain.limits)),
            anywhere=candidates.anywhere,
            runs=self.box.stages,
        )

    def loose_problem(self) -> ChainProblem | None:
        """The same without places and links, where each of the pools is as many as there are of its
        kind."""
        if not any(stand.pool == self.box.head for stand in self.stands):
            return None
        ask_for_problem(len(self.numbers), len(self.candidates.graph.layers), 1)
        budgets = {
            stand.pool: stand.arrangement.budget * self.candidates.cluster.kinds.count(stand.pool)
            for stand in sorted(self.stands, key=lambda one: one.arrangement.budget)
        }
        return self._chain(sum(budgets.values()), [self._free] * len(self.numbers))

    def _linked(self, grounds: tuple[Ground, ...]) -> ChainProblem:
        """The problem without places: every chip of every pool in one row, and behind each option
        the cheapest of the links that may follow it, so that its solutions bound all others."""
        least = [self._least(option) for option in range(len(self.numbers))]
        # Stands of one pool take the same chips: of an owner the roomiest ground counts.
        slots: dict[int, int] = {}
        for ground in grounds:
            slots[ground.owner] = max(slots.get(ground.owner, 0), ground.budget)
        return self._chain(sum(slots.values()), least)

    def _chain(self, budget: int, least: list[Link]) -> ChainProblem:
        """All chips in one row, and behind each option a link."""
        candidates = self.candidates
        options = self._options()
        packing = Packing(budget, (budget,))
        widths = np.array([split.chips for split in self.splits])
        return ChainProblem(
            **options._asdict(),
            link_sums=np.stack([link.sums for link in least], axis=1)[:, :, None],
            link_peaks=np.stack([link.peaks for link in least], axis=1)[:, :, None],
            widths=widths,
            packing=packing,
            crossings=packing.crossings(widths),
            budget=budget,
            objective=self.measure_of(candidates.question.objective),
            limits=tuple(self._limits()),
        )

    def _limits(self) -> Iterator[Limit]:
        """The fields that are limited, and at a rate the prompts that are served."""
        candidates = self.candidates
        for name, value in candidates.limits:
            yield Limit(self.measure_of(name), candidates.canonical(name, value))
        rate = candidates.workload.requests_per_s
        if rate is not None:
            # A queue that all the time served would not empty has no end.
            work = _with_more_sums(measure_of(peaks={Peak.QUEUE: 1.0}))
            yield Limit(work, FULL * self.box.box.replicas / rate)

    def _options(self) -> Option:
        """The arrays of all options, stacked: those of each stand's pool, stand by stand."""
        sequences = self.box.box.least_sequences
        lowered = {
            pool: self.each[pool].lowered(self.ends, sequences)
            for pool in {stand.pool for stand in self.stands}
        }
        each = []
        for ground, number in self.numbers:
            own = lowered[self.stands[ground].pool].of(number)
            each.append(self._option(own, ground, number))
        return Option(*(np.stack(arrays) for arrays in zip(*each, strict=True)))

    def _link_classes(self) -> NDArray[np.intp]:
        """Options whose links are the same: those of one pool that share out a sequence's
        activations alike."""
        classes: dict[tuple[int, int], int] = {}
        keys = [(self._pool(option), split.attention) for option, split in enumerate(self.splits)]
        return np.array([classes.setdefault(key, len(classes)) for key in keys], dtype=np.intp)

    def _pool(self, option: int) -> int:
        return self.stands[self.numbers[option][0]].pool

    def _split(self, option: int) -> Split:
        return self.each[self._pool(option)].options[self.numbers[option][1]]

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
        graph, pool = self.candidates.graph, self.each[stand.pool]
        allowance.look()
        joules = np.zeros(len(graph.layers))
        if stand.draw.active_w:
            at = self.ends[1]  # the end at which `objectives` draws
            active_s = active_kinds_s(pool.prices, at)[graph.kind_of_layer]
            joules = stand.draw.active_w * active_s
        joules_before = np.concatenate([[0.0], np.cumsum(joules)])
        prefix = np.concatenate([lowered.prefix, joules_before[:, None]], axis=1)

        run_sums = np.zeros((CLUSTER_SUMS, CLUSTER_RESOURCES))
        run_sums[:SUMS, :RESOURCES] = lowered.run_sums
        run_sums[ClusterSum.ACTIVE, ClusterResource.ACTIVE] = 1.0

        chips = pool.options[number].chips
        flop_per_s, bytes_per_s = peaks_of(graph, pool.topology)
        run_sums_fixed = np.zeros(CLUSTER_SUMS)
        run_sums_fixed[:SUMS] = lowered.run_sums_fixed
        run_sums_fixed[ClusterSum.DOLLARS] = pool.basis.hourly_usd * chips
        run_sums_fixed[ClusterSum.WATTS] = stand.draw.held_w * chips
        run_sums_fixed[ClusterSum.FLOPS] = flop_per_s * chips
        run_sums_fixed[ClusterSum.BANDWIDTH] = bytes_per_s * chips

        run_peaks = np.concatenate([lowered.run_peaks, np.zeros((PEAKS, 1))], axis=1)
        # Headroom is counted from the roomiest chip of the cluster: others need so much more.
        run_peaks_fixed = lowered.run_peaks_fixed.copy()
        run_peaks_fixed[Peak.NEEDED] += self.candidates.usable_bytes - pool.prices.usable_bytes

        feasible = lowered.feasible.copy()
        feasible[0] &= stand.pool == self.box.head
        if self.box.split is not None and self.head.topology.software.engine.decoder_on_each_stage:
            feasible &= self._has_inner
        return Option(prefix, feasible, run_sums, run_sums_fixed, run_peaks, run_peaks_fixed)

    @cached_property
    def _has_inner(self) -> NDArray[np.bool_]:
        """Which layers may be a stage of such an engine."""
        return with_inner_layer(self.candidates.graph)

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
        cluster = self.candidates.cluster
        ways = () if other < 0 else cluster.ways(pool, other)
        if other >= 0 and not ways:
            return None
        # Links of like pools over like paths are one.
        key = cluster.kinds[pool], split.attention, ways or level, hops
        if key not in self.links:
            each = self.each[pool]
            if other < 0:
                self.links[key] = _widened(each.hop([split], self.ends, level, hops))
            else:
                crossing = self._crossing(pool, other)
                self.links[key] = _widened(each.link([split], self.ends, crossing))
        return self.links[key]

    def _crossing(self, pool: int, other: int) -> Callable[[Floats, Step, Schedule], Floats]:
        """How long a transfer to another pool takes."""
        cluster, replicas = self.candidates.cluster, self.box.box.replicas
        return lambda bytes_per_token, step, at: crossing_s(
            cluster, pool, other, bytes_per_token * step.tokens * replicas
        )

    def _least(self, option: int) -> Link:
        """What any link behind an option adds at least."""
        allowance.look()
        pool, split = self._pool(option), self._split(option)
        levels = self.candidates.cluster.pools[pool].topology.levels
        inside = [
            self._known(pool, split, -1, number, level.nearest_hops)
            for number, level in enumerate(levels)
        ]
        outside = [
            self._known(pool, split, stand.pool) for stand in self.stands if stand.pool != pool
        ]
        known = [link for link in (*inside, *outside) if link is not None]
        if not known:
            return self._free
        return Link(
            np.minimum.reduce([link.sums for link in known]),
            np.minimum.reduce([link.peaks for link in known]),
        )

    @cached_property
    def _free(self) -> Link:
        """A link that takes nothing."""
        items = len(self.candidates.graph.layers)
        return Link(np.zeros((items + 1, CLUSTER_SUMS)), np.zeros((items + 1, PEAKS)))

    def measure_of(self, name: str) -> Measure:
        """A field of `Score` as a measure, at the end of the box where it is best.

        What chips cost, draw and could do differs from pool to pool, so what one machine has as a
        factor is here a sum by which the whole is multiplied.
        """
        head, box = self.head, self.box.box
        if name == "usd_per_hour":
            return self._counted(ClusterSum.DOLLARS, 1.0)
        rate = self.candidates.workload.requests_per_s
        if rate is not None and name in ("usd_per_million_tokens", "energy_per_token_j"):
            tokens_per_s = rate * self.candidates.workload.output_tokens
            if name == "energy_per_token_j":
                return self._counted(ClusterSum.WATTS, 1.0 / tokens_per_s)
            return self._counted(ClusterSum.DOLLARS, 1e6 / SECONDS_PER_HOUR / tokens_per_s)
        asked = "tokens_per_s" if name in ("usd_per_million_tokens", "energy_per_token_j") else name
        measure = head.measure(asked, box, self.ends)
        flop_per_s, bytes_per_s = peaks_of(self.candidates.graph, head.topology)
        if name == "usd_per_million_tokens":
            scale = measure.scale * box.replicas * 1e6 / SECONDS_PER_HOUR
            measure = replace(measure, held=ClusterSum.DOLLARS, scale=scale)
        elif name == "energy_per_token_j":
            scale = measure.scale * box.replicas
            measure = replace(measure, held=ClusterSum.WATTS, scale=scale)
        elif name == "mfu_fraction":
            scale = measure.scale / flop_per_s
            measure = replace(measure, held=ClusterSum.FLOPS, scale=scale)
        elif name == "mbu_fraction":
            scale = measure.scale / bytes_per_s
            measure = replace(measure, held=ClusterSum.BANDWIDTH, scale=scale)
        return _with_more_sums(measure)

    def _counted(self, total: ClusterSum, each: float) -> Measure:
        """A field that follows from what is held alone."""
        measure = _with_more_sums(measure_of(scale=each * self.box.box.replicas))
        return replace(measure, sums=np.eye(CLUSTER_SUMS)[total])

    def _plus_of_each(self, limits: int) -> tuple[Floats, ...]:
        """Of the objective and of so many limits: the fields, and what is no field."""
        found = [self._plus(name) for name in self.candidates.question.fields]
        return *found, *[np.zeros(CLUSTER_SUMS)] * (1 + limits - len(found))

    def _plus(self, name: str) -> Floats:
        """Weights of the sums that a field adds: joules of what is active; at a rate only draws
        are asked about that know no activity."""
        weights = np.zeros(CLUSTER_SUMS)
        if name == "energy_per_token_j" and self.candidates.workload.requests_per_s is None:
            scale = self.head.measure("tokens_per_s", self.box.box, self.ends).scale
            weights[ClusterSum.ACTIVE] = scale * self.box.box.replicas
        return weights


def _with_more_sums(measure: Measure) -> Measure:
    """A measure of one machine, of the sums that only clusters count too."""
    more = np.zeros(CLUSTER_SUMS - SUMS)
    return replace(measure, sums=np.concatenate([measure.sums, more]))


def _widened(link: tuple[Floats, Floats]) -> Link:
    """A link of one option, with the sums that only clusters count."""
    sums, peaks = (array[:, 0] for array in link)
    more = np.zeros((len(sums), CLUSTER_SUMS - SUMS))
    return Link(np.concatenate([sums, more], axis=1), peaks)
