"""Questions answered: names become nouns, a verb is asked, and what it found is told in short."""

from typing import Any, NamedTuple

from planner import catalogue
from planner.answers.question import ASKED, SAMPLE_FIELDS
from planner.answers.results import Result
from planner.doors.answers import Answer, CompareAnswer, PlanAnswer, ScoreAnswer
from planner.doors.questions import (
    AuditQuestion,
    CommandQuestion,
    CompareQuestion,
    ExplainQuestion,
    ExportQuestion,
    Limited,
    MapQuestion,
    NamesQuestion,
    ParetoQuestion,
    PlanQuestion,
    Question,
    ReportQuestion,
    ScoreQuestion,
    Served,
    SizeQuestion,
    VerifyQuestion,
)
from planner.doors.telling import (
    comparison_told,
    field_names,
    names_told,
    plan_told,
    reasons_told,
    score_told,
    sizing_told,
    verdict_told,
)
from planner.errors import (
    InfeasibleError,
    InputError,
    NoPlanFoundError,
    UnknownNameError,
    shortened,
)
from planner.machines.accounts import alike, common_price_basis
from planner.machines.topology import Topology, described
from planner.models.graph import ModelGraph
from planner.planning.certificates import verify
from planner.planning.partitioning import partition
from planner.planning.sizing import fewest_chips
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
from planner.workload import Workload


class Answered(NamedTuple):
    """An answer, and the results in it by their handles."""

    answer: Answer
    results: dict[str, Result]


def answered(question: Question, handle: str, earlier: Result | None = None) -> Answered:
    """The answer to a question; `earlier` is the result that it speaks of, if of any.

    PlannerErrors say in one sentence what is wrong with the question, that there is provably no
    plan, or that none was found in time.
    """
    if isinstance(question, PlanQuestion):
        return _plan(question, handle)
    if isinstance(question, SizeQuestion):
        return _size(question, handle)
    if isinstance(question, CompareQuestion):
        return _compare(question, handle)
    if isinstance(question, ScoreQuestion):
        return Answered(_score(question), {})
    if isinstance(question, CommandQuestion):
        from planner.doors.commanding import command_answer

        return Answered(command_answer(question), {})
    if isinstance(question, NamesQuestion):
        return Answered(names_told(names_of(question.kind)), {})
    if isinstance(question, ParetoQuestion | MapQuestion | AuditQuestion):
        return Answered(_drawn(question), {})
    if earlier is None:
        raise InputError(
            f"there is no answer {question.answer!r} here; ask again, and take the handle of the"
            " new answer"
        )
    return Answered(_of_earlier(question, earlier), {})


def _drawn(question: ParetoQuestion | MapQuestion | AuditQuestion) -> Answer:
    """What is answered with a picture or a long table."""
    # Studies and their pictures load only where they are asked for.
    from planner.doors import picturing

    if isinstance(question, MapQuestion):
        return picturing.map_answer(question)
    if isinstance(question, AuditQuestion):
        return picturing.audit_answer(question)
    topology = catalogue.load_topology(
        question.machine, chips=question.chips, software=question.software
    )
    return picturing.front_answer(
        question, graph_asked(question), topology, workload_asked(question)
    )


def _of_earlier(
    question: VerifyQuestion | ExplainQuestion | ReportQuestion | ExportQuestion, earlier: Result
) -> Answer:
    """What is asked of an earlier answer."""
    from planner.doors import picturing

    if isinstance(question, ReportQuestion):
        return picturing.report_answer(earlier)
    if isinstance(question, ExportQuestion):
        return picturing.export_answer(question, earlier)
    if isinstance(question, VerifyQuestion):
        verdict = verify(
            earlier.certificate(), time_limit_s=question.time_limit_s, again=question.again
        )
        return verdict_told(verdict)
    return reasons_told(_why(question, earlier))


def names_of(kind: str) -> list[tuple[str, str]]:
    """Names of the catalogue of one kind, each with a few words."""
    if kind == "models":
        return [_described(catalogue.load_model(name)) for name in catalogue.model_names()]
    if kind == "machines":
        machines = [catalogue.load_topology(name) for name in catalogue.topology_names()]
        return [(one.name, f"{one.chips} chips: {described(one)}") for one in machines]
    if kind == "software":
        return [(name, "") for name in catalogue.software_names()]
    return field_names()


def _described(graph: ModelGraph) -> tuple[str, str]:
    """A model's name and size."""
    size = f"{graph.parameters / 1e9:.4g} B parameters"
    if graph.parameters_active != graph.parameters:
        size += f", {graph.parameters_active / 1e9:.4g} B of them active"
    return graph.name, f"{size}, published in {graph.weight_dtype}"


def _why(question: ExplainQuestion, earlier: Result) -> Any:
    return earlier.why(time_limit_s=question.time_limit_s)


def _plan(question: PlanQuestion, handle: str) -> Answered:
    graph = graph_asked(question)
    topology = catalogue.load_topology(
        question.machine, chips=question.chips, software=question.software
    )
    result = partition(graph, topology, workload_asked(question), **_goal(question, graph))
    return Answered(plan_told(result, handle), {handle: result})


def _size(question: SizeQuestion, handle: str) -> Answered:
    sizing = fewest_chips(
        graph_asked(question), question.machines, workload_asked(question), **_bounds(question)
    )
    results: dict[str, Result] = {}
    handles: dict[str, str] = {}
    for number, one in enumerate(sizing.machines, start=1):
        if one.result is not None:
            handles[one.machine] = f"{handle}.{number}"
            results[handles[one.machine]] = one.result
    return Answered(sizing_told(sizing, handles), results)


def _compare(question: CompareQuestion, handle: str) -> Answered:
    """Each machine has its share of the time."""
    graph, workload = graph_asked(question), workload_asked(question)
    goal = _goal(question, graph)
    goal["time_limit_s"] /= len(question.machines)
    fields = [goal.get("minimize") or goal["maximize"], *question.limits]
    machines = alike([_machine(name) for name in question.machines], must=fields)
    told: list[PlanAnswer] = []
    results: dict[str, Result] = {}
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    for number, (name, machine) in enumerate(
        zip(question.machines, machines, strict=True), start=1
    ):
        try:
            result = partition(graph, machine, workload, **goal)
        except InfeasibleError as error:
            refusals.append((name, f"infeasible, proved: {error}"))
        except NoPlanFoundError as error:
            unproved = error
            refusals.append((name, f"nothing is proved: {error}"))
        else:
            results[f"{handle}.{number}"] = result
            told.append(plan_told(result, f"{handle}.{number}"))
    if not told:
        raise unproved or InfeasibleError(
            "; ".join(f"{name}: {reason}" for name, reason in refusals),
            resource="every machine",
            demand=1,
            capacity=0,
        )
    return Answered(_compared(told, refusals, results), results)


def _compared(
    told: list[PlanAnswer], refusals: list[tuple[str, str]], results: dict[str, Result]
) -> CompareAnswer:
    notes = []
    if len({one.score.power_scope for one in results.values()}) > 1:
        notes.append("energy is not comparable here: power counts different things")
    if common_price_basis([one.topology for one in results.values()]) is None:
        notes.append("prices are not comparable here, or not known of all machines")
    return comparison_told(told, refusals, notes)


def _score(question: ScoreQuestion) -> ScoreAnswer:
    graph = graph_asked(question)
    topology = catalogue.load_topology(
        question.machine, chips=question.chips, software=question.software
    )
    asked = (graph, topology, workload_asked(question))
    plan = uniform_plan(
        graph,
        topology,
        tensor_parallel=question.tensor_parallel,
        pipeline_parallel=question.pipeline_parallel,
        expert_parallel=question.expert_parallel,
        data_parallel=question.data_parallel,
        batch_size=asked[2].batch_size,
    )
    score = score_plan(plan, *asked)
    faults: tuple[str, ...] = ()
    if topology.software.engine.is_known:
        faults = tuple(broken.message for broken in check_plan(plan, *asked))
    return score_told(plan, asked, score, faults)


def graph_asked(question: Served) -> ModelGraph:
    """The model of a question."""
    return catalogue.load_model(
        question.model, weight_dtype=question.weights, kv_dtype=question.kv_cache
    )


def _machine(entry: str) -> Topology:
    """Of "NAME" or "NAME:CHIPS"."""
    name, _, count = entry.partition(":")
    if count and not (count.isascii() and count.isdigit() and len(count) < 7):
        raise InputError(
            f"machines: {shortened(entry)!r} must be NAME or NAME:CHIPS, such as hgx-h100:16"
        )
    return catalogue.load_topology(name, chips=int(count) if count else None)


def workload_asked(question: Served) -> Workload:
    """The traffic of a question."""
    if question.users is not None and question.requests_per_s is not None:
        raise InputError(
            "users and requests_per_s are both given; under a rate users are an outcome, so give"
            " one or the other"
        )
    given: dict[str, Any] = {
        "batch_size": question.users,
        "prompt_tokens": question.prompt_tokens,
        "output_tokens": question.output_tokens,
    }
    if question.requests_per_s is not None:
        given["requests_per_s"] = question.requests_per_s
    return Workload.from_fields(given)


def _bounds(question: Limited) -> dict[str, Any]:
    sure = {} if question.sure is None else {"sure": question.sure}
    return {
        "limits": question.limits,
        **sure,
        "space": question.space,
        "time_limit_s": question.time_limit_s,
    }


def _goal(question: PlanQuestion | CompareQuestion, graph: ModelGraph) -> dict[str, Any]:
    """What is to be best, and which way."""
    usual = "tpot_s"
    if graph.is_diffusion:
        usual = "image_s"
    elif question.users is None and question.requests_per_s is None:
        usual = "tokens_per_s"
    field = question.objective or usual
    known = ASKED | SAMPLE_FIELDS
    if field not in known:
        raise UnknownNameError("field to make best", field, known)
    way = "minimize" if known[field].best == "least" else "maximize"
    return {way: field, **_bounds(question)}
