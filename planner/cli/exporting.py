"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli import completing
from planner.cli.exports import DraftPath, Handing, Manifest, ModelPath, PerNode, Version
from planner.cli.groups import Goal
from planner.cli.nouns import Asking
from planner.cli.options import Excluded, PlanFile, Shape
from planner.cli.questions import Unsaid, question
from planner.cli.replans import result_of
from planner.cli.streams import answer
from planner.cli.values import chips_of

Engine = Annotated[
    str,
    typer.Argument(
        help="vllm, sglang, tensorrt-llm, llama.cpp or huggingface.",
        autocompletion=completing.engine_names,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--export-to", "--out", help="Write the files there; default: show the script."),
]


@question
def export_plan(
    engine: Engine,
    plan: PlanFile = None,
    export_version: Version = None,
    export_to: Folder = None,
    *,
    model_path: ModelPath = None,
    draft_path: DraftPath = None,
    chips_per_node: PerNode = None,
    manifest: Manifest = None,
    asking: Asking,
    context: typer.Context,
    exclude: Excluded = None,
    goal: Goal,
    format: Shape = "table",
) -> None:
    """How an engine is started with the best plan, or with yours.

    The plan is the best of the question, or that of --plan.
    """
    from planner.readers.plan_file import read_plan
    from planner.report.plans import plan_line

    handing = Handing(
        engine, export_version, export_to, model_path, draft_path, chips_per_node, manifest
    )
    handing.check()
    running = None if plan is None else read_plan(plan)
    asked = asking.nouns(goal, handing.software)
    handing.check_machine(asked.graph, asked.topology)
    options = goal.options(asking.counts)
    options |= {"exclude": chips_of("--exclude", exclude), "space": "engine"}
    result = result_of(asked, options, running)
    made = handing.made(result)
    assert made is not None
    handing.write(made)
    fields = {"export": made.model_dump(mode="json"), "plan": result.plan.model_dump(mode="json")}
    text = f"# {plan_line(result.plan)}\n{handing.text(made)}"
    answer(format, *Unsaid(context).add(text, fields, asking.requests, goal, asked.graph))
