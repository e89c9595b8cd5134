"""Questions answered: names become nouns, a verb is asked, and what it found is told in short."""

from typing import Any

from planner import catalogue
from planner.answers.question import ASKED, SAMPLE_FIELDS, USUAL_BATCH
from planner.answers.results import Result
from planner.doors.answers import Answer, Answered, CompareAnswer, PlanAnswer, ScoreAnswer
from planner.doors.nouns import (
    check_prices,
    graph_asked,
    machine_asked,
    not_given,
    priced,
    usual_users,
    workload_asked,
)
from planner.doors.progress import Herald
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
    with_defaults,
)
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.machines.accounts import alike, common_price_basis
from planner.machines.topology import described
from planner.models.graph import ModelGraph
from planner.planning.certificates import verify
from planner.planning.partitioning import partition
from planner.planning.sizing import extents_of, size_machines
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan


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

        return command_answer(question, handle)
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
    graph = graph_asked(question)
    told = picturing.front_answer(
        question, graph, machine_asked(question), workload_asked(question, None)
    )
    return with_defaults(told, not_given(question, graph, None, None))


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
    graph, goal, users = _aimed(question)
    result = partition(
        graph,
        machine_asked(question),
        workload_asked(question, users),
        **goal,
        progress=Herald(_field(goal)),
    )
    taken = not_given(question, graph, users, result.field)
    return Answered(with_defaults(plan_told(result, handle), taken), {handle: result})


def _aimed(
    question: PlanQuestion | CompareQuestion,
) -> tuple[ModelGraph, dict[str, Any], int | None]:
    """The model, what is to be best, and of how many users where nobody says."""
    graph = graph_asked(question)
    goal = _goal(question, graph)
    return graph, goal, usual_users([_field(goal), *question.limits])


def _field(goal: dict[str, Any]) -> str:
    return str(goal.get("minimize") or goal["maximize"])


def _size(question: SizeQuestion, handle: str) -> Answered:
    check_prices(question.prices, question.machines)
    graph = graph_asked(question)
    extents = [
        one._replace(topology=priced(one.topology, name, question))
        for name, one in zip(question.machines, extents_of(question.machines), strict=True)
    ]
    # Without a number of users the model just has to fit, and to keep the limits.
    sizing = size_machines(graph, extents, workload_asked(question, None), **_bounds(question))
    results: dict[str, Result] = {}
    handles: dict[str, str] = {}
    for number, one in enumerate(sizing.machines, start=1):
        if one.result is not None:
            handles[one.machine] = f"{handle}.{number}"
            results[handles[one.machine]] = one.result
    taken = not_given(question, graph, None, None)
    return Answered(with_defaults(sizing_told(sizing, handles), taken), results)


def _compare(question: CompareQuestion, handle: str) -> Answered:
    """Each machine has its share of the time."""
    graph, goal, users = _aimed(question)
    workload = workload_asked(question, users)
    goal["time_limit_s"] /= len(question.machines)
    check_prices(question.prices, question.machines)
    machines = alike(
        [priced(catalogue.load_topology(name), name, question) for name in question.machines],
        must=[_field(goal), *question.limits],
    )
    told: list[PlanAnswer] = []
    results: dict[str, Result] = {}
    refusals: list[tuple[str, str]] = []
    unproved: NoPlanFoundError | None = None
    for number, (name, machine) in enumerate(
        zip(question.machines, machines, strict=True), start=1
    ):
        try:
            herald = Herald(_field(goal), name)
            result = partition(graph, machine, workload, **goal, progress=herald)
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
    taken = not_given(question, graph, users, _field(goal))
    return Answered(with_defaults(_compared(told, refusals, results), taken), results)


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
    graph, topology = graph_asked(question), machine_asked(question)
    asked = (graph, topology, workload_asked(question, USUAL_BATCH))
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
    taken = not_given(question, graph, USUAL_BATCH, None)
    return with_defaults(score_told(plan, asked, score, faults), taken)


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
    field = question.objective or ("image_s" if graph.is_diffusion else "tpot_s")
    known = ASKED | SAMPLE_FIELDS
    if field not in known:
        raise UnknownNameError("field to make best", field, known)
    way = "minimize" if known[field].best == "least" else "maximize"
    return {way: field, **_bounds(question)}
