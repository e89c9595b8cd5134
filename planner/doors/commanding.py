"""Commands that start engines, priced for programs: the text is all that is read of them."""

from planner import catalogue
from planner.answers.results import Result
from planner.doors.answers import Answered, CommandAnswer
from planner.doors.nouns import check_prices, not_given, priced
from planner.doors.progress import Herald
from planner.doors.questions import CommandQuestion
from planner.doors.telling import figures_told, with_defaults
from planner.launches.commands import read_command
from planner.launches.launch import Launch, Reading, Told
from planner.launches.models import Modelled, model_by_name, row_named
from planner.launches.scoring import CommandScore, score_command
from planner.report.plans import plan_line
from planner.workload import Workload

MOST_TOLD = 20
"""Options of a command, and what is assumed."""


def command_answer(question: CommandQuestion, handle: str) -> Answered:
    """The price of what a command starts. Models are looked up by name: whoever wrote the command
    does not choose what is read here. The best plans that were looked for are kept."""
    check_prices(question.prices, [question.machine])
    reading = read_command(question.command, alone=True)
    launch = _drafting_by_name(reading.launch)
    if question.model is None:
        modelled = model_by_name(launch)
    else:
        graph = catalogue.load_model(
            question.model, weight_dtype=launch.weight_format, kv_dtype=launch.cache_format
        )
        modelled = Modelled(graph)
    workload = Workload(
        batch_size=question.users,
        prompt_tokens=question.prompt_tokens,
        output_tokens=question.output_tokens,
    )
    found = score_command(
        reading.replace(launch=launch),
        question.machine,
        workload,
        model=modelled.graph,
        chips=question.chips,
        best=question.best,
        time_limit_s=question.time_limit_s,
        progress=Herald("request_s"),
        owned=lambda machine: priced(machine, question.machine, question),
    )
    found = found.replace(remarks=(*modelled.remarks, *found.remarks))
    best = {f"{handle}.1": found.best_on_same_chips, f"{handle}.2": found.best_on_machine}
    results = {name: one for name, one in best.items() if one is not None}
    taken = not_given(question, found.graph, question.users, None)
    return Answered(with_defaults(_told(found, handle, results), taken), results)


def _drafting_by_name(launch: Launch) -> Launch:
    """With the catalogue's name of the model that drafts."""
    drafting = launch.drafting
    if drafting is None or not drafting.model:
        return launch
    return launch.replace(drafting=drafting.replace(model=row_named(drafting.model)))


def _told(found: CommandScore, handle: str, results: dict[str, Result]) -> CommandAnswer:
    score = found.score
    reading = found.reading
    same, whole = f"{handle}.1" in results, f"{handle}.2" in results
    known = [f"{handle}.1 is the best plan on as many chips"] * same
    known += [f"{handle}.2 that on the whole machine"] * whole
    said = [f"handles for verify and explain: {', '.join(known)}"] if known else []
    return CommandAnswer(
        summary="\n".join([str(found), *said]),
        engine=reading.launch.engine,
        model=found.graph.name,
        machine=found.topology.name,
        chips=found.plan.chips,
        plan=plan_line(found.plan),
        read=_lines(reading, taken=True),
        passed_over=_lines(reading, taken=False),
        assumed=(*found.remarks, *reading.asked)[:MOST_TOLD],
        faults=found.faults,
        figures=() if score is None else figures_told(score),
        evidence="" if score is None else score.evidence,
        field=found.field,
        gain_on_same_chips_fraction=_gain(found, found.best_on_same_chips),
        gain_on_machine_fraction=_gain(found, found.best_on_machine),
        answer_on_same_chips=f"{handle}.1" if same else "",
        answer_on_machine=f"{handle}.2" if whole else "",
    )


def _lines(reading: Reading, *, taken: bool) -> tuple[str, ...]:
    """Options with what they say."""
    told: list[Told] = [one for one in reading.told if one.taken == taken]
    return tuple(f"{one.text}: {one.words}" for one in told[:MOST_TOLD])


def _gain(found: CommandScore, best: Result | None) -> float | None:
    return None if best is None else found.gain(best)
