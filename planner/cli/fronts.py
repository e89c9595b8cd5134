"""The command `pareto`."""

from dataclasses import replace
from typing import Annotated, Any

import typer

import planner as pl
from planner.cli import completing
from planner.cli.nouns import Asking
from planner.cli.options import (
    MemoryLimit,
    RowsShape,
    SpaceName,
    TimeLimit,
)
from planner.cli.outputs import PictureOut, answer_rows, check_out, write_out
from planner.cli.progress import at_work
from planner.cli.questions import Unsaid, question
from planner.cli.values import figure, memory_bytes, seconds, space_of

USUAL = ("tpot_s", "tokens_per_s", "usd_per_million_tokens")

FrontFields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        help=f"A field that counts; once for each. Default: {', '.join(USUAL)}.",
        autocompletion=completing.field_names,
    ),
]
Tolerance = Annotated[
    str,
    typer.Option(
        "--tolerance", help="How close two plans must be to count as equal: '0.05', '5 %'."
    ),
]


@question
def pareto_front(
    field: FrontFields = None,
    tolerance: Tolerance = "0.05",
    *,
    asking: Asking,
    context: typer.Context,
    time_limit: TimeLimit = None,
    memory_limit: MemoryLimit = None,
    space: SpaceName = "engine",
    out: PictureOut = None,
    format: RowsShape = "table",
) -> None:
    """The plans worth having when several fields count: none is better than another in all."""
    check_out(out)
    asking = replace(asking, requests=asking.requests.or_open())
    asked = asking.nouns()
    options: dict[str, Any] = {
        "fields": tuple(field or USUAL),
        "tolerance": figure("--tolerance", tolerance, "fraction"),
        "time_limit_s": seconds(time_limit),
        "memory_limit_bytes": memory_bytes(memory_limit),
        "space": space_of(space),
        **asking.counts.bases(),
    }
    with at_work("looking for plans worth having"):
        front = pl.pareto(*asked, **options)
    rows = front.rows()
    fields = front.model_dump(mode="json", exclude={"graph", "topology", "workload"})
    fields |= {"model": front.graph.name, "rows": rows}
    fields["topology"] = {"name": front.topology.name, "chips": front.topology.chips}
    write_out(out, front, fields, rows)
    told = Unsaid(context).add(str(front), fields, asking.requests, None, asked.graph)
    answer_rows(format, *told, rows)
