"""`partition`: the best plan of a space, and what is proved about it.

The space "engine" holds the plans that the machine's software can be started with, as the rules of
its stack say (`machines.engine.Engine`, `docs/engines.md`): one split for all stages, any cut of the
layers that leaves each stage one between the embedding and the head, micro-batches as the engine
keeps them in flight, any number of like replicas, any number of sequences. "any" lifts the rules:
each stage has a split of its own, and any number of like micro-batches is in flight. It takes far
longer, and the answer says what the engine's rules cost. Software whose rules are not known can
have any plan.

More sequences than any plan holds wait in a queue: of the plans that hold the most, the best is
found, and its times count the wait (`planning.seating`).

In both, stages stand on consecutive chips in the order of the layers and never straddle the border
of a unit that could hold them; what is wider than a unit begins with one, replicas too; each
stands on the first such chips behind the one before it.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from planner import allowance
from planner.answers.proof import proved
from planner.answers.question import Limits, Question, question_of
from planner.answers.results import ClusterResult, Result
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    TimeUpError,
    UnknownNameError,
)
from planner.guards import guarded
from planner.machines.accounts import PowerBasis, counted
from planner.machines.cluster import Cluster, Pool
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan, Stage
from planner.planning.ceilings import told
from planner.planning.clusters import best_of
from planner.planning.engine_search import AnySearch, FreeSearch, search_of
from planner.planning.floors import floor_of
from planner.planning.offloading import offloaded_result
from planner.planning.refusals import refusal_of
from planner.planning.search import ENGINES, Engine, Progress
from planner.planning.seating import seated_spaces
from planner.pricing.loads import PERCENTILES
from planner.pricing.served import Served
from planner.pricing.stacks import machine_for
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.candidates import Candidates
from planner.space.cluster_candidates import ClusterCandidates
from planner.space.diffusion import best_sampled, bound_of_any
from planner.units import Count, PositiveBytes, Seed
from planner.workload import MOST_DRAFTED, Workload

FLOOR_SHARE = 0.3
"""Of the time, that a bound may take for all numbers of drafted tokens at once."""


@guarded
@allowance.allowing
def partition(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    sure: float | None = None,
    time_limit_s: float | None = None,
    memory_limit_bytes: PositiveBytes | None = None,
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    progress: Callable[[Progress], None] | None = None,
    solver: Engine | None = None,
    engine: Engine | None = None,
    seed: Seed = 0,
    exclude: Iterable[int] = (),
    sequence_parallel: bool = False,
    micro_batches: Count | None = None,
    space: Space = "engine",
    offload: bool = True,
    explain: bool = True,
) -> Result:
    """The plan that makes one field of `Score` best, with a proof.

    `minimize` or `maximize` names the field (None: `tpot_s`, of diffusion models `image_s`).
    `limits` are the worst values allowed of other fields, percentiles such as "ttft_p99_s" too:
    0.03 or "30 ms"; kept with a probability `sure`, or as priced. `space` "engine" holds the plans
    that the machine's software can be started with, "any" all of them (`docs/proof.md`). Of plans
    as good (within 0.1 % where one holds fewer chips, else exactly), the one with the fewest chips,
    then the best other fields, then the engine's own cut, then the fewest settings.

    `exclude` names chips that have failed or are taken. `sequence_parallel` lets stages share out
    tokens too; a diffusion model has it always. `micro_batches` fixes their number, in space "any".
    `offload=False` keeps layers out of a second memory where memory is short. `solver` "cp-sat"
    (once `engine`) states it all for OR-Tools CP-SAT, and proves it to a millionth. `explain=False`
    says less, sooner, of why there is no plan. `memory_limit_bytes` (default: half of this
    computer's) is for the solve. Ctrl-C or `time_limit_s` leave the best plan and a proved bound.

    InfeasibleError: proved that there is none. NoPlanFoundError: none was found in time.
    TooLargeError: it would take more memory."""
    graph, topology = model_of(graph), machine_of(topology)
    engine = _solver_of(graph, solver, engine)
    how: dict[str, Any] = {"diffusion": graph.is_diffusion, "space": space, "sure": sure}
    asked = question_of(minimize, maximize, limits, power_scope, **how)
    question = replace(asked, sequence_parallel=sequence_parallel, micro_batches=micro_batches)
    counts = counted(topology, price_basis=price_basis, power_basis=power_basis)
    topology = machine_for(graph, counts)
    _refuse_micro_batches(graph, topology, workload, question)
    excluded = _excluded(topology, exclude)
    if excluded and (graph.is_diffusion or not question.of_engine(topology.software)):
        _refuse_with_exclude(engine, question, workload)
        left = ClusterCandidates(graph, alone(topology, excluded), workload, question)
        return result_alone(best_of(left, time_limit_s=time_limit_s, progress=progress))
    keeps = _is_by_rows(engine, question, topology, workload) or not offload or bool(excluded)
    told = {"progress": progress, "explain": explain, "engine": engine, "seed": seed}
    every = (graph, topology, workload, question)
    return _on_or_off_chips(every, excluded, time_limit_s, keeps_on_chips=keeps, **told)


def _is_by_rows(engine: Engine, question: Question, topology: Topology, workload: Workload) -> bool:
    """Whether OR-Tools is asked about plans that an engine can be started with; an InputError says
    what a solver does not know."""
    by_rows = engine == "cp-sat" and question.of_engine(topology.software)
    _refuse_queues("auto" if by_rows else engine, question, workload)
    _refuse_promises(engine, question, workload)
    return by_rows


def _on_or_off_chips(
    asked: tuple[ModelGraph, Topology, Workload, Question],
    excluded: tuple[int, ...],
    time_limit_s: float | None,
    *,
    keeps_on_chips: bool,
    **told: Any,
) -> Result:
    """The best plan with all layers on the chips; where there is none, with as few off them as have
    to, if they need not be kept there."""
    try:
        return _found(asked, excluded, time_limit_s, **told)
    except InfeasibleError as refusal:
        kept = keeps_on_chips or asked[3].scatters or asked[3].micro_batches is not None
        if kept or asked[2].is_open_stream:
            raise
        return _offloaded(*asked, refusal)


def _found(
    asked: tuple[ModelGraph, Topology, Workload, Question],
    excluded: tuple[int, ...],
    time_limit_s: float | None,
    *,
    explain: bool,
    **options: Any,
) -> Result:
    """The best plan whose layers all lie on the chips."""
    graph, topology, workload, question = asked
    if graph.is_diffusion:
        return _sampled(graph, topology, workload, question, time_limit_s)
    started = time.monotonic()
    every = [
        Candidates(graph, topology, work, question, exclude=excluded) for work in _settled(workload)
    ]
    found = _searched_with_queue(every, started, time_limit_s, **options)
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    deadline = deadline if explain else started
    return _answered(found, workload, time.monotonic() - started, deadline)


def _offloaded(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    question: Question,
    refusal: InfeasibleError,
) -> Result:
    """The best plan with layers off the chips' first memory, the fewest that have to; of open
    drafts without any."""
    return offloaded_result(Served(graph, topology, _settled(workload)[0]), question, refusal)


def _answered(found: "_Searched", asked: Workload, elapsed_s: float, deadline: float) -> Result:
    """The result of a search, or the error that says why there is none."""
    if found.search.best.plan is not None:
        with allowance.freely():
            return _result(found, asked, elapsed_s)
    if found.is_refused:
        raise refusal_of(*found.spaces, deadline=deadline)
    graph, topology = found.search.candidates.graph, found.search.candidates.topology
    raise NoPlanFoundError(
        f"no plan of {graph.name} on {topology.chips} × {topology.name} was found in"
        f" {elapsed_s:.1f} s; nothing is proved: {allowance.remedy()}"
    )


def _excluded(topology: Topology, exclude: Iterable[int]) -> tuple[int, ...]:
    """Chips that no plan may use, ascending; an InputError where one is not the machine's."""
    excluded = alone(topology, tuple(sorted(set(exclude)))).pools[0].exclude
    check_left(topology, excluded, "exclude")
    return excluded


def check_left(topology: Topology, gone: Sequence[int], named: str) -> None:
    """An InfeasibleError where no chip is left."""
    if len(gone) >= topology.chips:
        raise InfeasibleError(
            f"{named} names all {topology.chips} chips of {topology.name}, and a plan needs one",
            resource="chips",
            demand=1,
            capacity=0,
        )


def _solver_of(graph: ModelGraph, solver: Engine | None, engine: Engine | None) -> Engine:
    """Which solver is asked, under either name."""
    if solver is not None and engine is not None and solver != engine:
        raise InputError(
            f"give solver ({solver!r}) or its older name engine ({engine!r}), not both"
        )
    chosen = solver or engine or "auto"
    if chosen not in ENGINES:
        raise UnknownNameError("solver", str(chosen), ENGINES)
    if graph.is_diffusion and chosen == "cp-sat":
        raise InputError(
            "a diffusion model needs no solver, since all its plans are scored; leave solver out"
        )
    return chosen


def _refuse_micro_batches(
    graph: ModelGraph, topology: Topology, workload: Workload, question: Question
) -> None:
    """Where plans have no number of micro-batches that can be asked for."""
    asked = f"micro_batches={question.micro_batches}"
    if question.micro_batches is None:
        return
    if graph.is_diffusion or workload.phase == "prefill":
        whose = "a diffusion model" if graph.is_diffusion else "a prefill pool"
        raise InputError(f"{asked}: {whose} has no micro-batches; leave it out")
    if question.of_engine(topology.software):
        raise InputError(
            f"{asked}: {topology.software.name} chooses its own number of micro-batches; give space"
            " 'any' (--space any), or leave it out"
        )
    if question.scatters or workload.is_open_stream:
        raise InputError(
            f"{asked} cannot be combined with percentiles, sure= or an open rate of requests; leave"
            " one of them out"
        )
    if (workload.batch_size or question.micro_batches) < question.micro_batches:
        raise InputError(
            f"{asked} is more than there are sequences (Workload.batch_size ="
            f" {workload.batch_size}); give as many or fewer"
        )


def _refuse_with_exclude(engine: Engine, question: Question, workload: Workload) -> None:
    """What is not searched on a part of a machine whose engine has no rules."""
    if engine == "cp-sat":
        raise InputError("solver 'cp-sat' cannot exclude chips; leave solver out, or exclude")
    if question.sequence_parallel or question.micro_batches is not None:
        name = "sequence_parallel" if question.sequence_parallel else "micro_batches"
        raise InputError(f"{name} cannot be combined with exclude=; leave one of them out")
    asked = "sure=" if question.sure is not None else None
    asked = next((name for name in question.fields if name in PERCENTILES), asked)
    asked = "arrivals 'poisson' with an open rate" if workload.is_open_stream else asked
    if asked:
        raise InputError(
            f"{asked} cannot be combined with exclude= on this machine, since the rules of its"
            " software's engine are not known; leave one of them out"
        )


def _refuse_promises(engine: Engine, question: Question, workload: Workload) -> None:
    """Percentiles and margins are searched over plans of one split, and not by OR-Tools."""
    asked = "arrivals 'poisson' with an open rate" if workload.is_open_stream else None
    asked = "sure=" if question.sure is not None else asked
    names = [name for name in question.fields if name in PERCENTILES]
    asked = names[0] if names else asked
    if asked and question.space == "any":
        raise InputError(f"{asked} needs space 'engine'; leave space 'any' out")
    if asked and engine == "cp-sat":
        raise InputError(f"solver 'cp-sat' cannot search with {asked}; leave solver out")


def _refuse_queues(engine: Engine, question: Question, workload: Workload) -> None:
    """What a linear model cannot state; of diffusion models, no field is queued for."""
    queued = sorted({"ttft_s", "request_s"} & set(question.fields))
    if engine == "cp-sat" and workload.requests_per_s is not None and queued:
        raise InputError(
            f"solver 'cp-sat' cannot use {queued[0]} with a rate of requests, since a queue is not"
            " linear; leave solver out"
        )


def _settled(workload: Workload) -> list[Workload]:
    """The workload with each number of drafted tokens that may be chosen, none of them first;
    itself where that is given."""
    speculation = workload.speculation
    if speculation is None or speculation.tokens is not None:
        return [workload]
    chosen = (speculation.replace(tokens=tokens) for tokens in range(1, MOST_DRAFTED + 1))
    return [workload.replace(speculation=one) for one in (None, *chosen)]


@dataclass(frozen=True, slots=True)
class _Searched:
    """What was found in several spaces together."""

    spaces: list[Candidates]
    search: AnySearch
    """That found the best plan."""
    bound: float
    """Proved of all of them."""
    engine: float | None
    """Canonical value of the best plan that the engine can be started with, where any plan was
    allowed and that one is proved."""

    @property
    def is_refused(self) -> bool:
        """Whether it is proved that there is no plan."""
        return self.search.best.plan is None and self.bound == math.inf


def _searched_with_queue(
    every: list[Candidates], started: float, time_limit_s: float | None, **options: Any
) -> _Searched:
    """The same; where no plan holds all sequences that are asked for, with as many in flight as any
    holds and the others queued."""
    found = _searched(every, time_limit_s, **options)
    if not found.is_refused:
        return found
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    fewer = seated_spaces(every, deadline, options["engine"])
    if fewer is None:
        return found
    left_s = None if time_limit_s is None else max(0.0, deadline - time.monotonic())
    return _searched(fewer, left_s, **options)


def _searched(every: list[Candidates], time_limit_s: float | None, **options: Any) -> _Searched:
    """The search that found the best plan of several spaces, each no longer than it may better
    those before it; Ctrl-C leaves what is left to bounds at the root."""
    best: AnySearch | None = None
    bound = math.inf
    engine = math.inf
    left_s = time_limit_s
    undrafted = 0.0
    if len(every) > 1 and left_s is not None:
        started = time.monotonic()
        undrafted = _undrafted_floor(every)
        left_s = max(0.0, left_s - (time.monotonic() - started))
    for number, candidates in enumerate(every):
        share_s = None if left_s is None else left_s / (len(every) - number)
        known = math.inf if best is None else best.best.value
        search = search_of(candidates, time_limit_s=share_s, hopeless=known, **options)
        search.floor = undrafted / _tokens_per_pass(candidates)
        search.run()
        engine = min(engine, search.engine_value)
        bound = min(bound, search.bound)
        if best is None or search.best.value < known:
            best = search
        if search.interrupted:
            left_s = 0.0
        elif left_s is not None:
            left_s = max(0.0, left_s - search.elapsed_s)
    assert best is not None
    return _Searched(every, best, bound, engine if math.isfinite(engine) else None)


def _undrafted_floor(every: list[Candidates]) -> float:
    """Canonical value that no plan without drafts is below, as far as a part of the time goes."""
    with suppress(TimeUpError), allowance.in_part(math.inf, FLOOR_SHARE):
        return floor_of(next(one for one in every if one.workload.speculation is None))
    return 0.0


def _tokens_per_pass(candidates: Candidates) -> float:
    """Of each sequence: passes with drafts take no less than those without, and yield so many times
    as much."""
    drafted = candidates.workload.speculation
    return 1.0 if drafted is None else drafted.tokens_per_pass


def alone(topology: Topology, exclude: tuple[int, ...]) -> Cluster:
    """A topology as a cluster of one pool, without some of its chips."""
    return Cluster(
        name=topology.name, pools=(Pool(name=topology.name, topology=topology, exclude=exclude),)
    )


def result_alone(found: ClusterResult) -> Result:
    """A result on a cluster of one pool, as one on its topology."""
    fields = {
        name: getattr(found, name)
        for name in ClusterResult.model_fields
        if name not in ("plan", "cluster")
    }
    pool = found.cluster.pools[0]
    return Result(
        plan=stages_alone(found.plan), topology=pool.topology, exclude=pool.exclude, **fields
    )


def stages_alone(plan: Plan) -> Plan:
    """A plan on a cluster of one pool, as one on its topology."""
    stages = tuple(
        Stage(**{name: getattr(stage, name) for name in Stage.model_fields})
        for stage in plan.stages
    )
    fields = {name: getattr(plan, name) for name in Plan.model_fields if name != "stages"}
    return Plan(stages=stages, **fields)


def _sampled(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    question: Question,
    time_limit_s: float | None,
) -> Result:
    """The best of all plans of a diffusion model: where every one was scored, the best is
    proved."""
    started = time.monotonic()
    deadline = math.inf if time_limit_s is None else started + time_limit_s
    found = best_sampled(graph, topology, workload, question, deadline=deadline)
    field, score = question.objective, found.score
    objective = float(getattr(score, field))
    bound = objective if found.ended == "proof" else bound_of_any(score, topology, field)
    proof = proved(
        question,
        objective=objective,
        promised=objective,
        bound=bound,
        elapsed_s=time.monotonic() - started,
        stopped_by=found.ended,
    )
    return Result(
        plan=found.plan, score=score, graph=graph, topology=topology, workload=workload, **proof
    )


def _scored(candidates: Candidates, plan: Plan, workload: Workload) -> Score:
    """The price of a plan that was searched out; that it breaks a rule is a fault of the search,
    and proves nothing."""
    try:
        score = score_plan(
            plan,
            candidates.graph,
            candidates.topology,
            workload,
            power_scope=candidates.question.power_scope,
            exclude=candidates.exclude,
        )
    except InfeasibleError as error:
        raise AssertionError(f"the search promised a plan that does not fit: {error}") from error
    if score.queued != candidates.workload.queued:
        raise AssertionError(
            f"the search promised {candidates.workload.queued} sequences in the queue, its plan"
            f" leaves {score.queued}"
        )
    return score


def _result(found: _Searched, asked: Workload, elapsed_s: float) -> Result:
    """What was found, once the score says the same as the solver, whose bound is canonical."""
    search = found.search
    candidates, plan = search.candidates, search.best.plan
    assert plan is not None
    question = candidates.question
    # How many are in flight was the search's to say, and how many tokens are drafted.
    seats = {name: getattr(asked, name) for name in ("batch_size", "queued", "requests_per_s")}
    workload = candidates.workload.replace(**seats)
    score = _scored(candidates, plan, workload)
    proof = proved(
        question,
        objective=float(getattr(score, question.objective)),
        promised=candidates.field_value(question.objective, search.best.value),
        bound=told(
            candidates.field_value(question.objective, found.bound),
            score,
            question.objective,
            workload,
            all_peaks=candidates.topology.chips / plan.chips,
        ),
        elapsed_s=elapsed_s,
        stopped_by=search.stopped_by,
        fewer_chips=not isinstance(search, FreeSearch) and search.stopped_by == "proof",
    )
    engine = found.engine
    if engine is not None:
        engine = candidates.field_value(question.objective, engine)
    return Result(
        plan=plan,
        score=score,
        graph=candidates.graph,
        topology=candidates.topology,
        workload=workload,
        sequence_parallel=question.sequence_parallel,
        micro_batches=question.micro_batches,
        exclude=candidates.exclude,
        engine_objective=engine,
        **proof,
    )
