"""`replan`: after chips are lost, the best plan without them, and of the best ones the one that
moves the fewest bytes.

Weights that a surviving chip holds already need not be moved. A chip of a group of n holds the n-th
part of each layer of its stage that its place in the group says; of that part it keeps what lies in
the part that it held before.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner import allowance
from planner.answers.proof import TOLERANCE, gap_between
from planner.answers.question import Limits, Question, as_priced, question_of
from planner.answers.results import ClusterResult, Move, Replanning, Result
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InputError, NoPlanFoundError, TimeUpError, told
from planner.guards import guarded
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.planning.clusters import best_of
from planner.planning.cutting_off import cut_off
from planner.planning.partitioning import alone, check_left, result_alone, stages_alone
from planner.pricing.collectives import hop_s
from planner.pricing.drafts import serving_prices
from planner.pricing.holdings import layers_of, split_of
from planner.pricing.price_list import PriceList, Split
from planner.scoring.plans import score_plan
from planner.solver.chain import placed
from planner.solver.chain.placed import Place, PlacedProblem
from planner.solver.chain.problem import Limit, Measure
from planner.space.cluster_candidates import ClusterBox, ClusterCandidates, option_numbers
from planner.space.measures import ClusterSum
from planner.units import OrInfinity, PositiveBytes
from planner.workload import Workload

Floats = NDArray[np.float64]


@guarded
@allowance.allowing
def replan(
    result: Result,
    *,
    lost: Iterable[int],
    worse: OrInfinity = 0.0,
    limits: Limits | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
) -> Replanning:
    """The best plan without the lost chips; of plans that are equally good, the one that moves the
    fewest bytes.

    `worse` is the share by which the field may be worse than the best that is left, for the sake of
    fewer bytes: 0.05 allows 5 %, `math.inf` asks for the fewest bytes whatever the field says.
    `limits` replace those of the result and are kept in any case. A batch that the workload leaves
    open stays what it was, where that fits. On machines of up to 62 chips stages may stand
    anywhere; on larger ones they stand in order, as `partition` puts them.

    InputError: a chip that the machine lacks. InfeasibleError: proved that the chips that are left
    do not do. NoPlanFoundError: none was found in time.
    """
    gone = tuple(sorted(set(lost)))
    if not gone:
        raise InputError("lost: name at least one chip that is gone, such as lost=(3,)")
    if not worse >= 0:
        raise InputError(f"worse must be a share of at least 0, such as 0.05, not {told(worse)}")
    kept = dict(result.limits) if limits is None else limits
    exclude = tuple(sorted({*result.exclude, *gone}))
    cluster = alone(result.topology, exclude)
    check_left(
        result.topology, exclude, "lost, with what was excluded," if result.exclude else "lost"
    )
    direction = {result.direction: result.field}
    scope = None if result.score.power_scope == "unknown" else result.score.power_scope
    question = question_of(
        direction.get("minimize"), direction.get("maximize"), kept, scope, space=result.space
    )
    question = as_priced(question, "what is left of a machine")
    in_order = best_of(
        ClusterCandidates(result.graph, cluster, result.workload, question),
        time_limit_s=_share_s(3),
    )
    best = result_alone(_anywhere(in_order, question))
    workload = result.workload.replace(batch_size=best.score.batch_size)
    candidates = ClusterCandidates(result.graph, cluster, workload, question, anywhere=True)
    allowed = candidates.canonical(result.field, best.objective) * (1 + max(worse, TOLERANCE))
    search = _Moving(
        candidates, _Held.of(result.plan, result.graph, result.topology, gone), allowed
    )
    with allowance.freely():
        search.offer(best.plan)
    search.run()
    with allowance.freely():
        return _replanning(result, best, gone, search)


def _share_s(parts: int) -> float | None:
    """Of the time that is left, for one of so many things to do; None where there is no limit."""
    left_s = allowance.left_s()
    return None if left_s is None else left_s / parts


def _anywhere(in_order: ClusterResult, question: Question) -> ClusterResult:
    """The best plan whose stages may stand anywhere, from the best that stands in order, as far as
    there is time."""
    graph, cluster, workload = in_order.graph, in_order.cluster, in_order.workload
    with suppress(TimeUpError):
        free = ClusterCandidates(graph, cluster, workload, question, anywhere=True)
        if free.anywhere:
            return best_of(free, time_limit_s=_share_s(2), known=in_order)
    return in_order


@guarded
def moved_bytes(
    before: Plan,
    after: Plan,
    graph: AnyModel,
    topology: AnyMachine,
    lost: Iterable[int] = (),
    *,
    workload: Workload | None = None,
) -> float:
    """Bytes of weights that must be sent to chips to change from one plan to another; the draft
    model of a workload moves with the last layer. [B]"""
    graph, topology = model_of(graph), machine_of(topology)
    prices = serving_prices(graph, topology, workload or Workload())
    return sum(move.moved_bytes for move in moves_of(before, after, prices, tuple(lost)))


def moves_of(
    before: Plan, after: Plan, prices: PriceList, lost: tuple[int, ...]
) -> tuple[Move, ...]:
    """What each chip must be sent to go from one plan to another, chip by chip."""
    graph, found = prices.graph, []
    held = _Held.of(before, graph, prices.topology, lost)
    for stage in after.stages:
        needed = _needed(prices, stage, len(after.stages) == 1)
        layers = layers_of(stage, graph)
        for group in stage.groups:
            for position in range(group.count):
                chip = group.first + position
                sent = needed * held.missing(chip, *_part(stage, position))[layers]
                moving = [number for number in range(len(layers)) if sent[number] > 0]
                if moving:
                    sources = held.sources(layers[moving], chip)
                    names = tuple(stage.layers[number] for number in moving)
                    found.append(
                        Move(
                            layers=names, chip=chip, sources=sources, moved_bytes=float(sent.sum())
                        )
                    )
    return tuple(found)


def _needed(prices: PriceList, stage: Stage, whole: bool) -> Floats:
    """Bytes of weights of each layer of a stage on each chip, shape (layers,)."""
    return _weights(prices, split_of(stage), whole)[layers_of(stage, prices.graph)]


def _weights(prices: PriceList, split: Split, whole: bool) -> Floats:
    """Bytes of weights of each layer of the graph on a chip; of a whole model tied weights count
    once, shape (layers,)."""
    graph = prices.graph
    holdings = prices.holdings(split, Workload(), 1.0)
    weights = holdings.weight_bytes[graph.kind_of_layer].copy()
    for reader, _ in graph.tied_layers if whole else ():
        weights[reader] -= holdings.tied_bytes[graph.kind_of_layer[reader]]
    return weights


def _part(stage: Stage, position: int) -> tuple[int, int]:
    """Which part of how many of each layer the chip at a position of a group holds: sequence
    ranks hold the same."""
    tensor, together = stage.tensor_parallel, stage.tensor_parallel * stage.sequence_parallel
    return (
        position // together * tensor + position % tensor,
        stage.group_chips // stage.sequence_parallel,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """Which part of each layer each chip holds: from a share of it to another, shape (chips,
    layers)."""

    low: Floats
    high: Floats

    @classmethod
    def of(
        cls, plan: Plan, graph: ModelGraph, topology: Topology, lost: tuple[int, ...]
    ) -> "_Held":
        low, high = (
            np.zeros((topology.chips, len(graph.layers))),
            np.zeros((topology.chips, len(graph.layers))),
        )
        for stage in plan.stages:
            layers = layers_of(stage, graph)
            for group in stage.groups:
                for position in range(group.count):
                    if group.first + position not in lost:
                        part, parts = _part(stage, position)
                        low[group.first + position, layers] = part / parts
                        high[group.first + position, layers] = (part + 1) / parts
        return cls(low, high)

    def missing(self, chip: int, part: int, parts: int) -> Floats:
        """What a chip lacks of each layer to hold that part of so many, as a share of it, shape
        (layers,)."""
        first, last = part / parts, (part + 1) / parts
        common = np.minimum(self.high[chip], last) - np.maximum(self.low[chip], first)
        share = 1 - np.maximum(common, 0.0) * parts
        return np.where(share < 1e-9, 0.0, share)

    def sources(self, layers: NDArray[np.intp], chip: int) -> tuple[int, ...]:
        """Other chips that hold any of the layers."""
        holders = np.flatnonzero((self.high[:, layers] > 0).any(axis=1)).tolist()
        return tuple(holder for holder in holders if holder != chip)


class _Found(NamedTuple):
    plan: Plan
    moved: float


class _Moving:
    """The search for the plan that moves the fewest bytes and is good enough."""

    def __init__(self, candidates: ClusterCandidates, held: _Held, allowed: float) -> None:
        self.candidates, self.held, self.allowed = candidates, held, allowed
        self.prices = candidates.each[0].prices
        self.best: _Found | None = None
        self.bound = math.inf

    def offer(self, plan: Plan) -> None:
        """Take a plan as the best so far."""
        whole = len(plan.stages) == 1
        moved = sum(sent for stage in plan.stages for sent in self._sent(stage, whole))
        if self.best is None or moved < self.best.moved:
            self.best = _Found(plan, moved)

    def _sent(self, stage: Stage, whole: bool) -> Iterator[float]:
        """Bytes that each chip of a stage must be sent."""
        needed = _needed(self.prices, stage, whole)
        layers = layers_of(stage, self.prices.graph)
        for group in stage.groups:
            for position in range(group.count):
                missing = self.held.missing(group.first + position, *_part(stage, position))
                yield float((needed * missing[layers]).sum())

    def run(self) -> None:
        """Box by box, each until it is proved, the clock runs out, or Ctrl-C."""
        if cut_off(self._run, math.inf) is not None:
            # Of the boxes that are left nothing is known.
            self.bound = 0.0

    def _run(self) -> None:
        lower = math.inf
        for box in singles(self.candidates.boxes()):
            allowance.look()
            problem = self.candidates.to_problem(box)
            if problem is None or self.best is None:
                continue
            solution = placed.solve(self._lowered(problem, box), incumbent=self.best.moved)
            lower = min(lower, solution.bound)
            if solution.runs is not None:
                self.offer(self.candidates.to_plan(box, solution.runs))
        if self.best is not None:
            self.bound = max(0.0, min(lower, self.best.moved))

    def _lowered(self, problem: PlacedProblem, box: ClusterBox) -> PlacedProblem:
        """The problem of a box, with the bytes moved as its objective and the field as a limit."""
        chain = problem.chain
        options, sums = chain.run_sums_fixed.shape
        peaks = chain.run_peaks.shape[1]
        # What a layer moves depends on where its run stands. What it moves at least, wherever that
        # is, goes into the chain as one more resource, so that bounds know it; what a place adds to
        # that, `placed` says.
        table = self._table(problem, box)
        least = np.stack([self._least(problem, table, option) for option in range(options)])
        before = np.concatenate([np.zeros((options, 1)), np.cumsum(least, axis=1)], axis=1)
        run_sums = np.concatenate([chain.run_sums, np.zeros((options, sums, 1))], axis=2)
        run_sums[:, ClusterSum.MOVED, -1] = 1.0
        run_peaks = np.concatenate([chain.run_peaks, np.zeros((options, peaks, 1))], axis=2)
        only = np.zeros(sums)
        only[ClusterSum.MOVED] = 1.0
        excess = {
            (option, place): np.concatenate([[0.0], np.cumsum(moved - least[option])])
            for (option, place), moved in table.items()
        }
        limits, plus = chain.limits, problem.plus[1:]
        if math.isfinite(self.allowed):
            limits = (Limit(chain.objective, self.allowed), *chain.limits)
            plus = problem.plus
        return replace(
            problem,
            chain=replace(
                chain,
                prefix=np.concatenate([chain.prefix, before[:, :, None]], axis=2),
                run_sums=run_sums,
                run_peaks=run_peaks,
                objective=Measure(only, np.zeros(peaks)),
                limits=limits,
            ),
            plus=(np.zeros(sums), *plus),
            placed=lambda option, place: excess[option, place],
        )

    def _least(
        self, problem: PlacedProblem, table: dict[tuple[int, Place], Floats], option: int
    ) -> Floats:
        """Bytes that each layer moves at least under an option, shape (layers,)."""
        found = [table[option, place] for place in self._places(problem, option)]
        return np.asarray(np.min(found, axis=0)) if found else np.zeros(problem.chain.items)

    def _places(self, problem: PlacedProblem, option: int) -> Iterator[Place]:
        """Where a run under an option may stand."""
        number, width = int(problem.ground_of[option]), int(problem.chain.widths[option])
        ground = problem.grounds[number]
        for start in ground.packing.starts(width):
            if start + width <= ground.budget:
                yield Place(number, start, width)

    def _table(self, problem: PlacedProblem, box: ClusterBox) -> dict[tuple[int, Place], Floats]:
        """Bytes that each layer moves under each option at each place, shape (layers,)."""
        stands, pools = self.candidates.stands(box), self.candidates.each_of(box)
        each = pools[0]
        found = {}
        for option, (ground, number) in enumerate(option_numbers(pools, stands)):
            weights = _weights(
                self.prices,
                each.options[number],
                number >= len(each.splits) or len(each.graph.layers) == 1,
            )
            for place in self._places(problem, option):
                chips = [
                    (base + place.first + position, position)
                    for base in stands[ground].arrangement.bases
                    for position in range(place.width)
                ]
                found[option, place] = weights * np.sum(
                    [self.held.missing(chip, at, place.width) for chip, at in chips], axis=0
                )
        return found


def singles(boxes: Iterable[ClusterBox]) -> Iterator[ClusterBox]:
    """The single boxes that boxes hold."""
    for box in boxes:
        if box.single:
            yield box
        else:
            yield from singles(box.halves())


def _replanning(before: Result, best: Result, lost: tuple[int, ...], search: _Moving) -> Replanning:
    if search.best is None:
        raise NoPlanFoundError(
            "no plan without the lost chips was found in time; nothing is proved:"
            f" {allowance.remedy()}"
        )
    plan = stages_alone(search.best.plan)
    if before.workload.batch_size is None:
        plan = plan.replace(batch_size=best.score.batch_size)
    moves = moves_of(before.plan, plan, search.prices, lost)
    moved = sum(move.moved_bytes for move in moves)
    if not math.isclose(moved, search.best.moved, rel_tol=TOLERANCE, abs_tol=1.0):
        raise AssertionError(
            f"the solver promised to move {search.best.moved!r} bytes, its plan moves {moved!r}"
        )
    least = search.bound >= search.best.moved * (1 - TOLERANCE)
    return Replanning(
        result=_result_of(plan, before, best),
        best=best,
        lost=lost,
        moves=moves,
        moved_bytes=moved,
        moved_bound_bytes=moved if least else search.bound,
        status="optimal" if least else "feasible",
        moving_s=moving_s(moves, before.topology),
    )


def _result_of(plan: Plan, before: Result, best: Result) -> Result:
    """The result whose plan moves the fewest bytes: as good as the best one, or no worse than is
    allowed, and proved by the same bound."""
    scope = None if before.score.power_scope == "unknown" else before.score.power_scope
    score = score_plan(
        plan,
        before.graph,
        before.topology,
        before.workload,
        power_scope=scope,
        exclude=best.exclude,
    )
    objective = float(getattr(score, before.field))
    gap = gap_between(objective, best.bound)
    proved = best.status == "optimal" and gap <= TOLERANCE
    return best.replace(
        plan=plan,
        score=score,
        objective=objective,
        gap=0.0 if proved else gap,
        bound=objective if proved else best.bound,
        status="optimal" if proved else "feasible",
    )


def moving_s(moves: tuple[Move, ...], topology: Topology) -> float:
    """Until the last chip has what it needs: each receives over the nearest of its sources,
    shared with nobody; what no chip holds comes over the outermost fabric. [s]"""

    def received_s(move: Move) -> float:
        if not topology.levels:
            return 0.0
        level, hops = len(topology.levels) - 1, 1
        if move.sources:
            sources = np.array(move.sources)
            here = np.full_like(sources, move.chip)
            levels, each_hops = topology.ways((sources, sources), (here, here))
            level, hops = min(zip(levels.tolist(), each_hops.tolist(), strict=True))
        return float(hop_s(topology, level, hops, move.moved_bytes))

    totals: dict[int, float] = {}
    for move in moves:
        totals[move.chip] = totals.get(move.chip, 0.0) + received_s(move)
    return max(totals.values(), default=0.0)
