"""`partition`: the best plan, and what is proved about it. `uniform_plan`: the plan that engines make without asking."""

import itertools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from planner.answers.question import FIELDS, SAMPLE_FIELDS, Question, question_of
from planner.errors import InputError, NoPlanFoundError
from planner.machines.cluster import Cluster, Pool
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ENDS, ModelGraph
from planner.plan import ChipRange, Plan, Stage
from planner.planning.certificates import Certificate
from planner.planning.clusters import ClusterResult, partition_cluster
from planner.planning.reasons import Answered, Reasons, reasons_of
from planner.planning.refusals import refusal_of
from planner.planning.search import Engine, Progress, Search
from planner.records import Record
from planner.report.plots import Kind, figure_of
from planner.scoring.checking import STRUCTURE
from planner.scoring.plans import Score, refuse_broken, score_plan
from planner.space.candidates import Candidates
from planner.space.diffusion import best_sampling
from planner.space.layout import even_borders, packing_of, starts_of
from planner.workload import Workload

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_DRAFTED = 8
"""Tokens that are drafted at most, where that is left open."""
TOLERANCE = 1e-9
"""Relative: between the solver's objective and the score of its plan, and between objective and bound of an optimum."""


class Result(Record):
    """A plan, its score, and what was proved."""

    plan: Plan
    score: Score
    status: Literal["optimal", "feasible"]
    """Optimal: no plan of the space is better (see `space`). Feasible: time ran out; the bound says how far it may be."""
    field: str
    """The field of `Score` that was optimised."""
    direction: Literal["minimize", "maximize"]
    objective: float
    bound: float
    """Proved: no plan of the space is better than this."""
    gap: float
    """|objective - bound| / |objective|."""
    limits: tuple[tuple[str, float], ...]
    elapsed_s: float
    graph: ModelGraph
    topology: Topology
    workload: Workload
    exclude: tuple[int, ...] = ()
    """Chips that no plan was allowed to use."""
    sequence_parallel: bool = False
    """Whether stages were allowed to share out the tokens of a sequence."""

    def plot(self, kind: Kind = "breakdown") -> "go.Figure":
        """An interactive picture: "breakdown", "operators", "memory", "stages" or "roofline" (needs plotly)."""
        return figure_of(self, kind)

    @property
    def question(self) -> Question:
        """What was asked."""
        scope = None if self.score.power_scope == "unknown" else self.score.power_scope
        return Question(self.field, self.limits, scope, self.sequence_parallel)

    def certificate(self) -> Certificate:
        """The result with all that `verify` needs to check it without the solver."""
        shared = {name: getattr(self, name) for name in Certificate.model_fields if name in type(self).model_fields}
        return Certificate(**shared, power_scope=self.question.power_scope)

    def why(self, *, time_limit_s: float | None = None) -> Reasons:
        """What binds; what one more GB, or twice the bandwidth, of each resource would buy (each solved again, to a proof); the
        best plan of every other shape. `time_limit_s` is shared out over some twenty questions."""
        answered = Answered(self.graph, self.topology, self.workload, self.question, self.plan, self.score)
        return reasons_of(answered, time_limit_s=time_limit_s)


def uniform_plan(
    graph: ModelGraph,
    topology: Topology,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    expert_parallel: int = 1,
    data_parallel: int = 1,
    sequence_parallel: int = 1,
    micro_batches: int | None = None,
) -> Plan:
    """The plan that engines make from degrees alone: equal stages, the same split on each.

    tensor × pipeline × data × sequence is the number of chips; experts are placed inside tensor × data. `micro_batches`
    None: as many as stages.
    """
    degrees = {
        "tensor_parallel": tensor_parallel, "pipeline_parallel": pipeline_parallel, "expert_parallel": expert_parallel,
        "data_parallel": data_parallel, "sequence_parallel": sequence_parallel,
    }  # fmt: skip
    for name, degree in degrees.items():
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {degree!r}")
    attention = max(1, expert_parallel // tensor_parallel)
    if data_parallel % attention or (expert_parallel > tensor_parallel and expert_parallel % tensor_parallel):
        raise InputError(
            f"expert_parallel = {expert_parallel} must divide, or be a multiple of, tensor_parallel = {tensor_parallel},"
            f" and fit into tensor_parallel × data_parallel = {tensor_parallel * data_parallel}"
        )
    width = tensor_parallel * sequence_parallel * attention
    groups = _groups(topology, width, pipeline_parallel, data_parallel // attention)
    plan = Plan(
        stages=tuple(
            Stage(
                layers=layers,
                groups=stage_groups,
                tensor_parallel=tensor_parallel,
                expert_parallel=expert_parallel,
                sequence_parallel=sequence_parallel,
            )
            for layers, stage_groups in zip(_even_layers(graph, pipeline_parallel), groups, strict=True)
        ),
        micro_batches=micro_batches or pipeline_parallel,
    )
    refuse_broken(tuple(violation for check in STRUCTURE for violation in check(plan, graph, topology)))
    return plan


def _groups(topology: Topology, width: int, stages: int, replicas: int) -> list[tuple[ChipRange, ...]]:
    """The chips of each stage in each replica: packed inside the borders where that fits, else one after the other."""
    needed = width * stages * replicas
    if needed > topology.chips:
        raise InputError(
            f"tensor × pipeline × data × sequence parallel need {needed} chips; {topology.name} has {topology.chips}"
        )
    packing = packing_of(topology)
    starts, offset = starts_of(packing, [width] * stages)
    bases = packing.copies(offset, replicas)
    if bases is None:
        starts = [width * stage for stage in range(stages)]
        bases = [width * stages * replica for replica in range(replicas)]
    return [tuple(ChipRange(first=base + start, count=width) for base in bases) for start in starts]


def _even_layers(graph: ModelGraph, stages: int) -> list[tuple[str, ...]]:
    """Runs of layers with equally many decoder layers, as vLLM cuts them: what is left over goes to the stages before the
    last. The embedding joins the first stage, the head the last."""
    names = [layer.name for layer in graph.layers]
    inner = [number for number, layer in enumerate(graph.layers) if layer.kind not in ENDS]
    if stages > len(inner):
        raise InputError(f"pipeline_parallel = {stages} is more than the {len(inner)} layers of {graph.name}")
    borders = even_borders(len(inner), stages)
    cuts = [0, *(inner[border] for border in borders), len(names)]
    return [tuple(names[a:b]) for a, b in itertools.pairwise(cuts)]


def partition(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
    progress: Callable[[Progress], None] | None = None,
    engine: Engine = "auto",
    seed: int = 0,
    exclude: Iterable[int] = (),
    sequence_parallel: bool = False,
) -> Result:
    """The plan that makes one field of `Score` best, with a proof.

    `limits` are the worst values allowed of other fields: at most for times, costs and chips, at least for rates.
    `engine` "cp-sat" leaves everything to OR-Tools CP-SAT; "auto" takes it for what the chain search cannot finish.
    Ctrl-C, or the end of `time_limit_s`, returns the best plan so far with its proved bound. InfeasibleError: proved that
    there is none; NoPlanFoundError: none was found in time. `exclude` names chips that have failed or are taken: a stage
    takes the first free chips behind the stage before it, and replicas stand in like blocks. `sequence_parallel` lets stages
    share out the tokens of a sequence too, as far as tensor × sequence divides the heads: it pays where prompts are long,
    mostly in ttft_s, and takes several times as long to prove on many chips. A diffusion model has it always, and has fields
    and a space of its own (`best_sampling` says which), all of which is scored whatever the clock says.
    """
    excluded = tuple(sorted(set(exclude)))
    if excluded:
        if engine == "cp-sat":
            raise InputError("engine 'cp-sat' knows no exclude=; leave the engine out")
        if sequence_parallel:
            raise InputError("sequence_parallel is not searched with exclude=; leave one of them out")
        found = partition_cluster(
            graph, alone(topology, excluded), workload, minimize=minimize, maximize=maximize, limits=limits,
            time_limit_s=time_limit_s, power_scope=power_scope, progress=progress,
        )  # fmt: skip
        return result_alone(found)
    if graph.is_diffusion:
        return _sampled(graph, topology, workload, question_of(minimize, maximize, limits, power_scope, diffusion=True))
    question = replace(question_of(minimize, maximize, limits, power_scope), sequence_parallel=sequence_parallel)
    queued = sorted({"ttft_s", "request_s"} & set(question.fields))
    if engine == "cp-sat" and workload.requests_per_s is not None and queued:
        raise InputError(
            f"engine 'cp-sat' cannot weigh {queued[0]} under a rate of requests: a queue is not linear; leave it out"
        )
    started, every = time.monotonic(), [Candidates(graph, topology, work, question) for work in _settled(workload)]
    search, bound = _searched(every, time_limit_s, progress=progress, engine=engine, seed=seed)
    elapsed_s = time.monotonic() - started
    if search.best.plan is None:
        if bound == math.inf:
            raise refusal_of(search.candidates)
        raise NoPlanFoundError(
            f"no plan of {graph.name} on {topology.chips} × {topology.name} was found in {elapsed_s:.1f} s;"
            " nothing is proved: allow more time"
        )
    score = score_plan(search.best.plan, graph, topology, search.candidates.workload, power_scope=power_scope)
    return _result(search, bound, score, elapsed_s)


def _settled(workload: Workload) -> list[Workload]:
    """The workload with each number of drafted tokens that may be chosen, none of them first; itself where that is given."""
    speculation = workload.speculation
    if speculation is None or speculation.tokens is not None:
        return [workload]
    chosen = (speculation.replace(tokens=tokens) for tokens in range(1, MOST_DRAFTED + 1))
    return [workload.replace(speculation=one) for one in (None, *chosen)]


def _searched(every: list[Candidates], time_limit_s: float | None, **options: Any) -> tuple[Search, float]:
    """The search that found the best plan of several spaces, each no longer than it may better those before it, and what is
    proved of all of them; Ctrl-C leaves what is left to bounds at the root."""
    best, bound, left_s = None, math.inf, time_limit_s
    for number, candidates in enumerate(every):
        share_s = None if left_s is None else left_s / (len(every) - number)
        known = math.inf if best is None else best.best.value
        search = Search(candidates, time_limit_s=share_s, hopeless=known, **options)
        search.run()
        bound = min(bound, search.bound)
        if best is None or search.best.value < known:
            best = search
        if search.interrupted or left_s is not None:
            left_s = 0.0 if search.interrupted else max(0.0, (left_s or 0.0) - search.elapsed_s)
    assert best is not None
    return best, bound


def alone(topology: Topology, exclude: tuple[int, ...]) -> Cluster:
    """A topology as a cluster of one pool, without some of its chips."""
    return Cluster(name=topology.name, pools=(Pool(name=topology.name, topology=topology, exclude=exclude),))


def result_alone(found: ClusterResult) -> Result:
    """A result on a cluster of one pool, as one on its topology."""
    fields = {name: getattr(found, name) for name in ClusterResult.model_fields if name not in ("plan", "cluster")}
    pool = found.cluster.pools[0]
    return Result(plan=stages_alone(found.plan), topology=pool.topology, exclude=pool.exclude, **fields)


def stages_alone(plan: Plan) -> Plan:
    """A plan on a cluster of one pool, as one on its topology."""
    stages = tuple(Stage(**{name: getattr(stage, name) for name in Stage.model_fields}) for stage in plan.stages)
    return Plan(stages=stages, micro_batches=plan.micro_batches, batch_size=plan.batch_size)


def _sampled(graph: ModelGraph, topology: Topology, workload: Workload, question: Question) -> Result:
    started = time.monotonic()
    plan, score = best_sampling(graph, topology, workload, question)
    objective = float(getattr(score, question.objective))
    return Result(
        plan=plan,
        score=score,
        status="optimal",
        field=question.objective,
        direction="minimize" if SAMPLE_FIELDS[question.objective].best == "least" else "maximize",
        objective=objective,
        bound=objective,
        gap=0.0,
        limits=question.limits,
        elapsed_s=time.monotonic() - started,
        graph=graph,
        topology=topology,
        workload=workload,
    )


def _result(search: Search, bound: float, score: Score, elapsed_s: float) -> Result:
    candidates, question = search.candidates, search.candidates.question
    objective = float(getattr(score, question.objective))
    promised = candidates.field_value(question.objective, search.best.value)
    if not math.isclose(objective, promised, rel_tol=TOLERANCE):
        raise AssertionError(
            f"the solver promised {promised!r} for {question.objective}, its plan scores {objective!r}"
        )
    proved = bound >= search.best.value * (1 - TOLERANCE)
    bound = objective if proved else candidates.field_value(question.objective, bound)
    assert search.best.plan is not None
    return Result(
        plan=search.best.plan,
        score=score,
        status="optimal" if proved else "feasible",
        field=question.objective,
        direction="minimize" if FIELDS[question.objective].best == "least" else "maximize",
        objective=objective,
        bound=bound,
        gap=abs(objective - bound) / abs(objective) if objective else 0.0,
        limits=question.limits,
        sequence_parallel=question.sequence_parallel,
        elapsed_s=elapsed_s,
        graph=candidates.graph,
        topology=candidates.topology,
        workload=candidates.workload,
    )
