"""The command `replan`, and results of plans that somebody runs already."""

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

import planner as pl
from planner.cli.files import check_writable, write_whole
from planner.cli.groups import Goal
from planner.cli.nouns import Asked, Asking
from planner.cli.options import (
    Excluded,
    PlanFile,
    PlanOut,
    Shape,
    SpaceName,
)
from planner.cli.progress import Meter, at_work
from planner.cli.questions import Unsaid, question
from planner.cli.streams import answer
from planner.cli.values import chips_of, figure, space_of
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.answers.results import Result

Lost = Annotated[str, typer.Option("--lost", help="Chips that are gone: '3', '0,4-7'.")]
Worse = Annotated[
    str,
    typer.Option(
        "--worse",
        help="How much worse than the best a plan may be that moves fewer bytes: '5 %', or 'any'.",
    ),
]


@question
def replan_without(
    lost: Lost,
    worse: Worse = "0",
    plan: PlanFile = None,
    *,
    asking: Asking,
    context: typer.Context,
    exclude: Excluded = None,
    goal: Goal,
    space: SpaceName = "engine",
    out: PlanOut = None,
    format: Shape = "table",
) -> None:
    """The best plan after chips are lost that moves the fewest bytes.

    What runs so far is the best plan of the question, or that of --plan.
    """
    from planner.cli.answers import result_fields

    check_writable(out)
    gone = chips_of("--lost", lost)
    share = math.inf if worse == "any" else figure("--worse", worse, "fraction") or 0.0
    if goal.sure is not None:
        raise InputError("--sure is for plan, not for replan; leave it out")
    from planner.readers.plan_file import read_plan

    running = None if plan is None else read_plan(plan)
    asked = asking.nouns(goal)
    options = goal.options(asking.counts)
    options |= {"exclude": chips_of("--exclude", exclude), "space": space_of(space)}
    before = result_of(asked, options, running)
    bounds = {name: options[name] for name in ("time_limit_s", "memory_limit_bytes")}
    with at_work("planning without the lost chips"):
        made = pl.replan(before, lost=gone, worse=share, **bounds)
    if out is not None:
        write_whole(out, made.result.plan.to_json())
    fields = made.model_dump(mode="json", exclude={"result", "best"})
    fields |= {"result": result_fields(made.result), "best": result_fields(made.best)}
    fields["before"] = result_fields(before)
    answer(format, *Unsaid(context).add(str(made), fields, asking.requests, goal, asked.graph))


def result_of(asked: Asked, options: dict[str, Any], plan: "pl.Plan | None") -> "Result":
    """The best plan of a question, or a given one beside what is proved for the best."""
    best = pl.partition(*asked, **options, progress=Meter())
    if plan is None:
        return best
    bases = {name: options[name] for name in ("power_scope", "price_basis", "power_basis")}
    score = pl.score_plan(
        plan, best.graph, best.topology, asked.workload, **bases, exclude=options["exclude"]
    )
    objective = float(getattr(score, best.field))
    gap = abs(objective - best.bound) / abs(objective) if objective else 0.0
    status = best.status if objective == best.objective else "feasible"
    return best.replace(plan=plan, score=score, objective=objective, gap=gap, status=status)
