"""Why a plan is the best: what binds, what more of each resource would buy, and what the plans of
other shapes cost.

A shadow price is no derivative: the question is solved again, to a proof, on a machine with one
figure changed. The best plan of a shape is the optimum of the same search with fewer ways open to
it.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from planner import allowance
from planner.answers.proof import AS_GOOD, gap_between
from planner.answers.question import ASKED, Question
from planner.answers.reasons import Alternative, Binding, Reasons, ShadowPrice
from planner.answers.results import ClusterResult, Result
from planner.errors import InputError, TimeUpError
from planner.machines.topology import Topology, with_value
from planner.models.graph import ModelGraph
from planner.plan import WAYS, Plan, Way, shape_name, ways_of
from planner.planning.cutting_off import cut_off
from planner.planning.engine_search import AnySearch, EngineSearch, search_of
from planner.planning.misses import improvement, near_misses_of
from planner.planning.search import CLOSE, Search
from planner.pricing.loads import PERCENTILES
from planner.pricing.price_list import Split
from planner.pricing.timing import ALL_CAUSES
from planner.records import Record
from planner.scoring.plans import score_plan
from planner.scoring.score import StageTime
from planner.solver.chain.problem import ChainProblem
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.forms import forms_of
from planner.space.measures import Peak
from planner.units import spoken
from planner.workload import Workload

GIGABYTE = 1e9
FULL = 0.97
"""Share of the memory that may be filled from which on a chip counts as full."""
UNANSWERED = "not answered in time"
LAUNCHES = (
    "kernel_overhead_s",
    "matmul_overhead_s",
    "quantised_overhead_s",
    "attention_overhead_s",
    "experts_overhead_s",
    "layer_overhead_s",
)
STARTS = (
    "base_latency_s",
    "step_latency_s",
    "across_base_latency_s",
    "across_step_latency_s",
)
HOST = ("step_overhead_s", "sequence_overhead_s", "request_overhead_s")


def reasons_of(result: Result, *, time_limit_s: float | None = None) -> Reasons:
    """Why the plan of a result is the best: what binds, shadow prices and shapes.

    `time_limit_s` is shared out evenly over the questions solved for it; those that are left when
    it has run out are not answered. Where a plan turns up that is better than that of a result that
    was only feasible, the better one is explained.
    """
    _refuse_unexplained(result)
    with allowance.allowed_for(time_limit_s):
        return _reasons_of(result, time_limit_s)


def _reasons_of(result: Result, time_limit_s: float | None) -> Reasons:
    started = time.monotonic()
    changes = list(changes_of(result.topology))
    shapes = [ways for ways in _shapes(result) if ways != ways_of(result.plan)]
    questions = len(changes) + len(shapes) + bool(result.limits)
    shares = Shares(time_limit_s, started, questions)

    tried = [_of_shape(result, ways, shares.next_s()) for ways in shapes]
    told = [one for one in tried if one is not None]
    explained, others = _best_known(result, told)
    prices = [_shadow_price(explained, *change, shares.next_s()) for change in changes]
    prices.sort(key=rank_of_price)
    misses = near_misses_of(explained, time_limit_s=shares.next_s()) if result.limits else ()
    alternatives = [_alternative(explained, one) for one in others]
    alternatives.sort(key=lambda one: (one.plan is None, one.effect or 0.0))
    return Reasons(
        field=result.question.objective,
        direction=result.question.direction,
        objective=explained.objective,
        shape=shape_name(ways_of(explained.plan)),
        binding=tuple(bindings_of(explained)),
        prices=tuple(prices),
        alternatives=tuple(alternatives),
        near_misses=misses,
        better=None if explained is result else explained.plan,
        proved=explained.status == "optimal",
        elapsed_s=time.monotonic() - started,
    )


def _refuse_unexplained(result: Result) -> None:
    if result.graph.is_diffusion:
        raise InputError(
            f"why() cannot explain diffusion models such as {result.graph.name}; compare the scores"
            " of uniform_plan() instead"
        )
    if result.score.batch_size < (result.workload.batch_size or 0):
        raise InputError(
            f"why() needs plans in which all sequences are in flight, and of the"
            f" {result.workload.batch_size} asked for {result.score.batch_size} fit; plan with"
            f" Workload(batch_size={result.score.batch_size}, queued={result.score.queued})"
        )
    away = sum(len(stage.offloaded) for stage in result.plan.stages)
    if away:
        raise InputError(
            f"why() cannot explain plans with layers off the chips; here the chips' memory is too"
            f" small, and {away} of {len(result.graph.layers)} layers are kept elsewhere"
        )
    engine_known = result.question.of_engine(result.topology.software)
    if result.exclude and not engine_known:
        raise InputError(
            "why() explains a plan with exclude= only where the rules of the software's engine are"
            " known, and the space is 'engine'"
        )


class Shares:
    """A time limit, shared out evenly over the questions that are left."""

    def __init__(self, limit_s: float | None, started: float, questions: int) -> None:
        self.deadline = math.inf if limit_s is None else started + limit_s
        self.questions = questions

    def next_s(self) -> float | None:
        """For the next question: 0 where time has run out, None where there is no limit."""
        left = self.questions
        self.questions -= 1
        if self.deadline == math.inf:
            return None
        return max(0.0, self.deadline - time.monotonic()) / left


def rank_of_price(price: ShadowPrice) -> tuple[bool, float]:
    """The strongest first, those without an answer last."""
    return price.effect is None, -(price.effect or 0.0)


def lag(result: Result | ClusterResult, objective: float) -> float:
    """How much worse another value is: 1 where a time doubles or a rate halves."""
    if result.direction == "minimize" or not objective:
        return -improvement(result, objective)
    return result.objective / objective - 1.0


# ── What binds ────────────────────────────────────────────────────────────────────────────────────


def bindings_of(result: Result) -> list[Binding]:
    """Where the time of an output token (of the first one, where that is asked) goes, by
    resource; chips that are full; limits that are reached."""
    found = spent_on(result, lambda cause, number: _resource(result, cause, number))
    return [*_full_chips(result), *reached_limits(result), *found]


def spent_on(result: Result | ClusterResult, named: Callable[[str, int], str]) -> list[Binding]:
    """Where the time goes, the most first; `named` says what a cause in a stage is the time of."""
    score, first = result.score, result.question.objective == "ttft_s"
    breakdown = score.prefill_breakdown if first else score.breakdown
    total = sum(stage.total_s for stage in breakdown)
    found = [
        Binding(resource=resource, share_fraction=seconds / total, counts="time")
        for resource, seconds in _by_resource(breakdown, named, first=first).items()
        if seconds >= 0.01 * total
    ]
    return sorted(found, key=lambda one: -one.share_fraction)


def _by_resource(
    breakdown: tuple[StageTime, ...], named: Callable[[str, int], str], *, first: bool
) -> dict[str, float]:
    """Seconds by resource; stages are named where the plan has more than one and one of them is
    the slowest. `first`: of the first token, where waiting is no bubble."""
    seconds: dict[str, float] = {}
    for number, stage in enumerate(breakdown):
        for cause in ALL_CAUSES:
            spent = getattr(stage, f"{cause}_s")
            if spent:
                resource = named(cause, number)
                if cause == "bubble" and first:
                    resource = "waiting for the passes and prompts before it"
                seconds[resource] = seconds.get(resource, 0.0) + spent
    return seconds


def _resource(result: Result, cause: str, number: int) -> str:
    topology, stage = result.topology, result.plan.stages[number]
    chip, group = topology.chip.name, stage.groups[0]
    if cause == "collective":
        return f"collectives over {_fabric(topology, group.first, group.last)}"
    if cause == "hop":
        following = result.plan.stages[min(number + 1, len(result.plan.stages) - 1)].groups[0]
        return f"hops between stages over {_fabric(topology, group.last, following.first)}"
    if cause == "bubble":
        return (
            f"waiting for stage {number}, the slowest"
            if len(result.plan.stages) > 1
            else "waiting for its turn"
        )
    return {
        "compute": f"arithmetic of {chip}",
        "memory": f"memory bandwidth of {chip}",
        "overhead": f"launches and host ({topology.software.name})",
    }[cause]


def _fabric(topology: Topology, one: int, other: int) -> str:
    level = topology.level_between(one, other)
    return "nothing" if level is None else topology.levels[level].fabric.name


def _full_chips(result: Result) -> Iterator[Binding]:
    stages = result.score.stages
    number = max(
        range(len(stages)),
        key=lambda place: stages[place].needed_bytes / stages[place].usable_bytes,
    )
    share = stages[number].needed_bytes / stages[number].usable_bytes
    if share >= FULL:
        yield Binding(
            resource=f"memory of the {result.topology.chip.name} of stage {number}",
            share_fraction=share,
            counts="memory",
        )


def reached_limits(result: Result | ClusterResult) -> Iterator[Binding]:
    """Limits that the plan only just keeps."""
    for name, value in result.question.limits:
        reached = float(getattr(result.score, name))
        share = reached / value if ASKED[name].best == "least" else value / reached
        if share >= FULL:
            yield Binding(resource=f"limit on {name}", share_fraction=share, counts="limit")


# ── Shadow prices ─────────────────────────────────────────────────────────────────────────────────


def changes_of(topology: Topology) -> Iterator[tuple[str, Topology]]:
    """Better machines, one figure (or all figures of a kind) at a time, with the words for the
    change."""
    for words, values in figures_changed(topology):
        if values:
            yield words, changed(topology, values)


def figures_changed(topology: Topology) -> Iterator[tuple[str, dict[str, float]]]:
    """Each change in words, and the figures that it sets, by path; none where the machine has no
    such figure."""
    chip, tier = topology.chip, topology.chip.memory[0]
    more = {"chip.memory[0].capacity_bytes": tier.capacity_bytes + GIGABYTE}
    yield f"one more GB of {tier.name} on each chip", more
    faster = {"chip.memory[0].bandwidth_bytes_per_s": 2 * tier.bandwidth_bytes_per_s}
    yield f"doubling the bandwidth of {tier.name}", faster
    peaks = {
        f"chip.peaks[{n}].flop_per_s": 2 * peak.flop_per_s for n, peak in enumerate(chip.peaks)
    }
    yield "doubling the peaks of each chip", peaks
    used = len({level.fabric.name for level in topology.levels})
    for number, fabric in enumerate(topology.fabrics[:used]):
        path = f"fabrics[{number}]"
        wider = {f"{path}.bandwidth_bytes_per_s": 2 * fabric.bandwidth_bytes_per_s}
        yield f"doubling the bandwidth of {fabric.name}", wider
        nearer = _halved(path, fabric, ("latency_s",))
        yield f"halving the latency of {fabric.name}", nearer
    software = topology.software
    yield "halving the launches of operators", _halved("software", software, LAUNCHES)
    yield "halving the work of the host", _halved("software", software, HOST)
    starts: dict[str, float] = {}
    for number, kernel in enumerate(software.collectives):
        starts |= _halved(f"software.collectives[{number}]", kernel, STARTS)
    yield "halving the software latency of collectives", starts


def _halved(path: str, noun: Record, names: tuple[str, ...]) -> dict[str, float]:
    """Half of each figure that is not 0, by path."""
    figures = {name: getattr(noun, name) for name in names}
    return {f"{path}.{name}": figure / 2 for name, figure in figures.items() if figure}


def changed(topology: Topology, values: dict[str, float]) -> Topology:
    """The machine with other figures, by path."""
    for path, value in values.items():
        topology = with_value(topology, path, value)
    return topology


def _shadow_price(
    result: Result, words: str, machine: Topology, limit_s: float | None
) -> ShadowPrice:
    unanswered = ShadowPrice(change=words, objective=None, effect=None, proved=False)
    if limit_s == 0.0 or allowance.is_up():
        return unanswered
    found: list[ShadowPrice | None] = []
    cut_off(lambda: found.append(_price_of(result, words, machine, limit_s)), math.inf)
    return (found[0] if found else None) or unanswered


def _price_of(
    result: Result, words: str, machine: Topology, limit_s: float | None
) -> ShadowPrice | None:
    """None where it is not told in time."""
    question = result.question
    candidates = Candidates(
        result.graph, machine, result.workload, question, exclude=result.exclude
    )
    search = search_of(candidates, time_limit_s=limit_s)
    start = _rescored(result, machine)
    if start is not None:
        search.best.plan = result.plan
        search.best.value = candidates.canonical(question.objective, start)
    _run(search)
    proved = _is_proved(search)
    reached = candidates.field_value(question.objective, search.best.value)
    effect = improvement(result, reached)
    if search.best.plan is None or not (proved or effect > 0.0):
        return None
    # Plans within a thousandth are as good, so that a better machine may seem a trifle worse.
    return ShadowPrice(change=words, objective=reached, effect=max(0.0, effect), proved=proved)


def _rescored(result: Result, machine: Topology) -> float | None:
    """What the same plan reaches on another machine; None where it breaks a limit there."""
    score = score_plan(
        result.plan,
        result.graph,
        machine,
        result.workload,
        power_scope=result.question.power_scope,
        exclude=result.exclude,
    )
    for name, value in result.question.limits:
        reached = float(getattr(score, name))
        worst, best = (reached, value) if ASKED[name].best == "least" else (value, reached)
        if worst > best:
            return None
    return float(getattr(score, result.question.objective))


def _run(search: "AnySearch | Search") -> None:
    if isinstance(search, Search):
        # Of a question that time has cut off no bound is told, so none is waited for.
        search.bounds_rest = False
    search.run()
    if search.interrupted:
        raise TimeUpError(interrupted=True)


def _is_proved(search: "AnySearch | Search") -> bool:
    """Whether no plan is better than the one found; of an engine's plans, by more than what counts
    as good."""
    as_good = AS_GOOD if isinstance(search, EngineSearch) else 0.0
    return search.bound >= search.best.value * CLOSE * (1 - as_good)


# ── Shapes ────────────────────────────────────────────────────────────────────────────────────────


def _shapes(result: Result) -> list[frozenset[Way]]:
    """All that the machine and the model have room for, the simplest first."""
    closed = {
        "expert": "experts" not in result.graph.splits(),
        "sequence": not result.question.sequence_parallel,
    }
    open_ways = [way for way in WAYS if not closed.get(way)]
    if result.topology.chips == 1:
        open_ways = []
    return [
        frozenset(ways)
        for count in range(len(open_ways) + 1)
        for ways in itertools.combinations(open_ways, count)
    ]


class Shaped(Candidates):
    """The candidates that use more than one chip in just the ways given; of the stages of a
    pipeline none need be split."""

    def __init__(
        self,
        graph: ModelGraph,
        topology: Topology,
        workload: Workload,
        question: Question,
        ways: frozenset[Way],
        *,
        exclude: tuple[int, ...] = (),
    ) -> None:
        super().__init__(graph, topology, workload, question, exclude=exclude)
        self.ways = ways
        self.offer(tuple(split for split in self.splits if self._offers(split)))

    def _offers(self, split: Split) -> bool:
        used = {
            "tensor": split.tensor > 1,
            "sequence": split.sequence > 1,
            "expert": split.expert > split.tensor,
        }
        return all(
            uses == (way in self.ways) or ({way, "pipeline"} <= self.ways)
            for way, uses in used.items()
        )

    @property
    def by_forms(self) -> bool:
        """Whether stages are split alike: as engines do, and where percentiles are asked for."""
        return self.of_engine or self.question.scatters

    def boxes(self) -> Iterator[Box]:
        """Those with several replicas, or with one."""
        return (box for box in super().boxes() if ("replicas" in self.ways) == (box.replicas > 1))

    def to_problem(self, box: Box) -> ChainProblem | None:
        """The solver's arrays, with one run of all layers or without it."""
        problem = super().to_problem(box)
        if problem is None:
            return None
        one_stage = np.zeros_like(problem.feasible)
        one_stage[:, 0, -1] = True
        return replace(
            problem,
            feasible=problem.feasible & (~one_stage if "pipeline" in self.ways else one_stage),
        )

    def least_needed_bytes(self) -> float:
        """On each chip by the whole model in one stage, under the split that needs least;
        infinite where there is none."""
        field = self.question.objective
        # Memory alone: that of plans that keep no limits, some of which are no rows of a problem.
        plain = self.asking("ttft_s" if field in PERCENTILES else field)
        plain.offer(self.splits)
        problem = next((made for box in plain.boxes() if (made := plain.to_problem(box))), None)
        if problem is None or not self.options:
            return math.inf
        needed = (problem.prefix[:, -1] * problem.run_peaks[:, Peak.NEEDED]).sum(
            axis=1
        ) + problem.run_peaks_fixed[:, Peak.NEEDED]
        return float(needed.min())


class _Found(NamedTuple):
    """What was found of the plans of a shape."""

    ways: frozenset[Way]
    plan: Plan | None
    objective: float | None
    proved: bool
    refused: str = ""


def _of_shape(result: Result, ways: frozenset[Way], limit_s: float | None) -> _Found | None:
    """The best plan of a shape, of those that the result was chosen from; None where there is
    nothing to try, or a simpler pipeline is as good and told instead."""
    unanswered = _Found(ways, None, None, proved=False, refused=UNANSWERED)
    if limit_s == 0.0 or allowance.is_up():
        return unanswered
    found: list[_Found | None] = []
    cut_off(lambda: found.append(_found_of_shape(result, ways, limit_s, unanswered)), math.inf)
    return found[0] if found else unanswered


def _found_of_shape(
    result: Result, ways: frozenset[Way], limit_s: float | None, unanswered: _Found
) -> _Found | None:
    candidates = Shaped(
        result.graph,
        result.topology,
        result.workload,
        result.question,
        ways,
        exclude=result.exclude,
    )
    if not _is_open(candidates):
        return None
    search: EngineSearch | Search
    if candidates.by_forms:
        search = EngineSearch(candidates, time_limit_s=limit_s, ways=ways)
    else:
        search = Search(candidates, time_limit_s=limit_s)
    _run(search)
    plan, proved = search.best.plan, _is_proved(search)
    if plan is None:
        return _refused(candidates) if search.bound == math.inf else unanswered
    if ways_of(plan) != ways:
        return None if proved else unanswered
    reached = candidates.field_value(result.question.objective, search.best.value)
    return _Found(ways, plan, reached, proved)


def _is_open(candidates: Shaped) -> bool:
    """Whether there is anything to try."""
    if candidates.by_forms:
        return any(forms_of(candidates, candidates.ways))
    return bool(candidates.options) and any(True for _ in candidates.boxes())


def _refused(candidates: Shaped) -> _Found:
    """Why there is no plan of a shape."""
    ways = candidates.ways
    needed = math.inf if "pipeline" in ways else candidates.least_needed_bytes()
    usable = candidates.prices.usable_bytes
    refused = "no plan of this shape fits"
    if usable < needed < math.inf:
        chip = candidates.topology.chip.name
        refused = (
            f"needs {spoken(needed, 'B')} on each chip at least;"
            f" {chip} has {spoken(usable, 'B')} to fill"
        )
    elif candidates.question.limits:
        refused = "no plan of this shape fits and keeps the limits"
    return _Found(ways, None, None, proved=True, refused=refused)


def _best_known(result: Result, found: list[_Found]) -> tuple[Result, list[_Found]]:
    """The result and the other shapes; where a plan of one of those is better, that one as a
    result, and the result's own plan among the others."""
    best = max(found, key=lambda one: _gain(result, one), default=None)
    if best is None or best.plan is None or best.objective is None:
        return result, found
    if _gain(result, best) <= AS_GOOD:
        return result, found
    with allowance.freely():
        score = score_plan(
            best.plan,
            result.graph,
            result.topology,
            result.workload,
            power_scope=result.question.power_scope,
            exclude=result.exclude,
        )
    better = result.replace(
        plan=best.plan,
        score=score,
        objective=best.objective,
        status="feasible",
        gap=gap_between(best.objective, result.bound),
    )
    own = _Found(ways_of(result.plan), result.plan, result.objective, proved=False)
    return better, [own, *(one for one in found if one is not best)]


def _gain(result: Result, one: _Found) -> float:
    """How much better a plan is than the result's; negative where it is worse, or there is none."""
    return -math.inf if one.objective is None else improvement(result, one.objective)


def _alternative(result: Result, one: _Found) -> Alternative:
    effect = None if one.objective is None else max(0.0, lag(result, one.objective))
    return Alternative(
        shape=shape_name(one.ways),
        plan=one.plan,
        objective=one.objective,
        effect=effect,
        proved=one.proved,
        refused=one.refused,
    )
