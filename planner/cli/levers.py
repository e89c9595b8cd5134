"""Commands about what figures do: `what-if`, `required`, `scaling`."""

from dataclasses import replace
from typing import Annotated

import typer

from planner.cli.groups import Goal
from planner.cli.nouns import Asking
from planner.cli.options import (
    Excluded,
    RowsShape,
    SpaceName,
    TimeLimit,
)
from planner.cli.outputs import PictureOut, answer_rows, check_out, write_out
from planner.cli.progress import SweepMeter, at_work
from planner.cli.questions import Unsaid, question
from planner.cli.values import chips_of, seconds, space_of, whole
from planner.errors import InputError, UnknownNameError, shortened

NEVER = 3
"""Exit status of `required` where no value reaches the target."""
NO_NUMBERS = ("nan", "inf", "infinity")
"""Words that Python takes for numbers, and that are no machines."""

Changes = Annotated[
    list[str],
    typer.Option(
        "--set",
        help="A figure by its path, and its new value ('450 GB/s', 64), 'x2' or '+10 %':"
        " chip.memory\\[0].bandwidth_bytes_per_s=x2, workload.batch_size=32.",
    ),
]
FigurePath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A figure, such as chip.memory\\[0].capacity_bytes or fabrics\\[*].latency_s.",
    ),
]
Target = Annotated[
    str,
    typer.Option(
        "--target", help="What is to be reached: a figure ('10ms'), or a machine to be as good as."
    ),
]
Between = Annotated[
    str | None,
    typer.Option(
        "--between",
        help="Try the figure from here to there: '100 GB/s,10 TB/s'; default: from a thousandth of"
        " what it is to a thousand times.",
    ),
]
FreeChips = Annotated[
    bool, typer.Option("--free-chips", help="Machines may take as many chips as they like.")
]
ProcessCount = Annotated[
    int | None, typer.Option("--processes", help="Worker processes; default: one for each core.")
]
At = Annotated[str, typer.Option("--at", help="Numbers of chips to plan for, such as '1,2,4,8'.")]
PerChip = Annotated[
    float, typer.Option("--users-per-chip", help="Where no batch is given, users of each chip.")
]
BaseChips = Annotated[
    int | None,
    typer.Option(
        "--base-chips", help="What is compared with; default: the fewest that hold the model."
    ),
]


@question
def what_if_figures(
    changes: Changes,
    asking: Asking,
    *,
    context: typer.Context,
    exclude: Excluded = None,
    goal: Goal,
    space: SpaceName = "engine",
    out: PictureOut = None,
    format: RowsShape = "table",
) -> None:
    """The best plan before and after figures of the machine or the workload change."""
    from planner.answers.question import USUAL_BATCH
    from planner.cli.answers import result_fields
    from planner.studies import what_if

    check_out(out)
    if goal.sure is not None:
        raise InputError("--sure is for plan, not for what-if; leave it out")
    options = goal.options(asking.counts)
    options |= {"exclude": chips_of("--exclude", exclude), "space": space_of(space)}
    moved = _changes_of(changes)
    requests = asking.requests
    # A batch is a figure too: who changes it has one.
    if "workload.batch_size" in moved and not requests.is_counted:
        asking = replace(asking, requests=replace(requests, batch=str(USUAL_BATCH)))
    asked = asking.nouns(goal)
    with at_work("planning before and after"):
        made = what_if(*asked, moved, **options)
    rows = [row.model_dump(mode="json") for row in made.rows]
    fields = made.model_dump(mode="json", exclude={"before", "after"})
    for side in ("before", "after"):
        found = getattr(made, side)
        fields[side] = None if found is None else result_fields(found)
    write_out(out, made, fields, rows)
    told = Unsaid(context).add(str(made), fields, asking.requests, goal, asked.graph)
    answer_rows(format, *told, rows)


def _changes_of(entries: list[str]) -> dict[str, str]:
    """What --set says, by path."""
    found: dict[str, str] = {}
    for entry in entries:
        path, is_given, value = (part.strip() for part in entry.partition("="))
        if not is_given or not path or not value:
            raise InputError(
                "--set must look like chip.memory[0].bandwidth_bytes_per_s=x2, not"
                f" {shortened(entry)!r}"
            )
        found[path] = value
    return found


@question
def required_figure(
    path: FigurePath,
    target: Target,
    between: Between = None,
    *,
    free_chips: FreeChips = False,
    asking: Asking,
    context: typer.Context,
    processes: ProcessCount = None,
    goal: Goal,
    space: SpaceName = "engine",
    out: PictureOut = None,
    format: RowsShape = "table",
) -> None:
    """What a figure must be for the best plan to reach a target, or what another machine does.

    Status 0: found, or every value that was tried will do; 3: none of them does.
    """
    from planner.studies import required

    check_out(out)
    options = goal.options(asking.counts)
    for name in ("sure", "memory_limit_bytes", "price_basis", "power_basis"):
        if options.pop(name, None) is not None:
            option = name.removesuffix("_bytes").replace("_", "-")
            raise InputError(f"--{option} is not asked of required; leave it out")
    asked = asking.nouns(goal)
    meter = SweepMeter()
    made = required(
        path,
        *asked,
        target=_target_of(target, goal.field(asked.graph)),
        between=_between_of(between, path),
        free_chips=free_chips,
        processes=processes,
        space=space_of(space),
        progress=meter,
        **options,
    )
    meter.end()
    rows = [row.model_dump(mode="json") for row in made.rows]
    fields = made.model_dump(mode="json") | {"verdict": made.verdict}
    write_out(out, made, fields, rows)
    told = Unsaid(context).add(str(made), fields, asking.requests, goal, asked.graph)
    answer_rows(format, *told, rows)
    if made.outcome == "never":
        raise typer.Exit(NEVER)


def _target_of(given: str, field: str) -> float | str:
    """A figure of the field, or the name of a machine."""
    from planner.catalogue import load_topology
    from planner.units import parse_figure

    try:
        return parse_figure(given, field, "--target")
    except InputError as error:
        if given[:1].isdigit() or given[:1] in "+-." or given in NO_NUMBERS:
            raise error from None
    try:
        load_topology(given)
    except UnknownNameError as error:
        raise InputError(
            f"--target must be a figure of {field} or a machine to be as good as: {error}"
        ) from None
    return given


def _between_of(given: str | None, path: str) -> tuple[float, float] | None:
    """Two values of a figure, the lower first."""
    if given is None:
        return None
    from planner.studies.levers.paths import new_value

    parts = [part.strip() for part in given.split(",")]
    if len(parts) != 2 or not all(parts):
        raise InputError(f"--between must be two values, '1 GB/s,1 TB/s', not {shortened(given)!r}")
    low, high = (new_value(path, None, part) for part in parts)
    return low, high


@question
def scaling_course(
    at: At = "1,2,4,8,16,32,64",
    users_per_chip: PerChip = 8.0,
    base_chips: BaseChips = None,
    *,
    asking: Asking,
    time_limit: TimeLimit = "20",
    space: SpaceName = "engine",
    out: PictureOut = None,
    format: RowsShape = "table",
) -> None:
    """The best plans on more and more chips, and where the time of those goes.

    With --batch it stays the same on all of them; without it grows with the chips.
    """
    from planner.studies import scaling

    check_out(out)
    counts = tuple(whole("--at", part.strip(), "chips") for part in at.split(","))
    if asking.hardware.chips is not None:
        raise InputError("--chips is for one size of a machine; scaling has --at '1,2,4'")
    for name, value in asking.counts.bases().items():
        if value is not None:
            raise InputError(f"--{name.replace('_', '-')} is not asked of scaling; leave it out")
    asked = replace(asking, requests=asking.requests.or_open()).nouns()
    with at_work("planning on more and more chips"):
        made = scaling(
            asked.graph,
            asked.topology,
            chips=counts,
            workload=asked.workload,
            users_per_chip=users_per_chip,
            base_chips=base_chips,
            time_limit_s=seconds(time_limit),
            space=space_of(space),
        )
    rows = [row.model_dump(mode="json") for row in made.rows]
    fields = made.model_dump(mode="json")
    write_out(out, made, fields, rows)
    answer_rows(format, str(made), fields, rows)
