"""The command `score`, of a plan or of the command that an engine is started with."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli import plans
from planner.cli.answers import Meter, answer, result_fields
from planner.cli.arguments import (
    Arrivals,
    Chips,
    Counts,
    Degrees,
    Drafts,
    Formats,
    Maximize,
    Minimize,
    PlanFile,
    Requests,
    Shape,
    SpaceName,
    Stack,
    TimeLimit,
    Usable,
    grouped,
    seconds,
    speculation_of,
    workload_of,
)
from planner.errors import InputError
from planner.launches.commands import read_command
from planner.launches.launch import Reading
from planner.launches.scoring import CommandScore, score_command
from planner.workload import Workload

MaybeModel = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A name of the catalogue (see `planner models`), or a config.json; none with --from.",
    ),
]
MaybeTopology = Annotated[
    str | None,
    typer.Argument(
        metavar="TOPOLOGY",
        help="A name of the catalogue (see `planner topologies`), or a TOML file; with --from give"
        " --machine.",
    ),
]
FromCommand = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="A command that starts vLLM, SGLang, llama.cpp or TensorRT-LLM, or a file with one: a"
        " script, a manifest of Kubernetes or docker compose.",
    ),
]
MachineName = Annotated[
    str | None, typer.Option("--machine", help="What the command of --from runs on.")
]
StandIn = Annotated[
    str | None,
    typer.Option("--model", help="In place of the model that the command of --from names."),
]
WithBest = Annotated[
    bool,
    typer.Option(
        "--best/--no-best", help="With --from, also the best plan, and what it would gain."
    ),
]


@dataclass(frozen=True, slots=True)
class OfCommand:
    """What is asked of a command."""

    command: FromCommand = None
    machine: MachineName = None
    stand_in: StandIn = None
    best: WithBest = True
    minimize: Minimize = None
    maximize: Maximize = None
    time_limit: TimeLimit = None

    def refuse_alone(self) -> None:
        """Refuse what is asked of a command where there is none."""
        for one in fields(self):
            value = getattr(self, one.name)
            if value != one.default:
                name = "model" if one.name == "stand_in" else one.name.replace("_", "-")
                name = "no-best" if one.name == "best" else name
                raise InputError(
                    f"--{name} is asked of a command; give --from COMMAND, or leave it out"
                )


@grouped
def score(
    model: MaybeModel = None,
    topology: MaybeTopology = None,
    *,
    of: OfCommand,
    plan: PlanFile = None,
    degrees: Degrees,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    chips: Chips = None,
    software: Stack = None,
    usable_memory: Usable = None,
    drafts: Drafts,
    space: SpaceName = "engine",
    counts: Counts,
    format: Shape = "table",
) -> None:
    """Price a plan: one from a file, the uniform plan of given degrees, or what a command starts
    (--from); and say why the machine's software cannot be started with it, where that is so."""
    if of.command is not None:
        _refuse_with_command(model, topology, plan, degrees, usable_memory)
        workload = workload_of(requests, arrivals)
        if drafts != Drafts():
            workload = workload.replace(speculation=speculation_of(drafts, formats))
        found = _scored(of, formats, workload, counts, chips=chips, software=software)
        answer(format, str(found), command_fields(found))
        return
    if model is None or topology is None:
        raise InputError("score needs a MODEL and a TOPOLOGY, or --from COMMAND --machine NAME")
    of.refuse_alone()
    groups = (degrees, formats, requests, drafts, counts)
    flat = {name: value for group in groups for name, value in asdict(group).items()}
    plans.score(
        model=model,
        topology=topology,
        plan=plan,
        arrivals=arrivals,
        chips=chips,
        software=software,
        usable_memory=usable_memory,
        space=space,
        format=format,
        **flat,
    )


def _scored(
    of: OfCommand, formats: Formats, workload: Workload, counts: Counts, **machine: Any
) -> CommandScore:
    """The price of a command."""
    if of.command is None or of.machine is None:
        raise InputError("--from needs a machine; say which with --machine NAME")
    return score_command(
        _reading(of.command, formats),
        of.machine,
        workload,
        model=of.stand_in,
        best=of.best,
        minimize=of.minimize,
        maximize=of.maximize,
        time_limit_s=seconds(of.time_limit),
        progress=Meter(),
        owned=counts.owned,
        **machine,
        **counts.bases(),
    )


def _refuse_with_command(
    model: str | None,
    topology: str | None,
    plan: Path | None,
    degrees: Degrees,
    usable_memory: float | None,
) -> None:
    """A command has its own model, degrees and memory."""
    if model is not None or topology is not None:
        raise InputError(
            "--from names the model itself; give the machine with --machine, and another model with"
            " --model"
        )
    if plan is not None or degrees != Degrees():
        raise InputError("--from has its own degrees; leave --plan and degrees out")
    if usable_memory is not None:
        raise InputError("--from has its own share of the memory; leave --usable-memory out")


def _reading(command: str, formats: Formats) -> Reading:
    """With the formats that are asked for in place of the command's."""
    reading = read_command(command)
    launch = reading.launch
    if formats.dimension:
        raise InputError("--dimension is of an ONNX file, which no engine serves; leave it out")
    if formats.weights is not None:
        launch = launch.replace(weight_format=formats.weights)
    if formats.kv != Formats().kv:
        launch = launch.replace(cache_format=formats.kv)
    return reading.replace(launch=launch)


def command_fields(found: CommandScore) -> dict[str, Any]:
    """What there is to say, without the inputs, which the caller has."""
    told = found.model_dump(
        mode="json",
        include={"reading", "plan", "score", "faults", "remarks", "field", "unsearched"},
    )
    told["model"] = found.graph.name
    told["topology"] = {"name": found.topology.name, "chips": found.topology.chips}
    for name in ("best_on_same_chips", "best_on_machine"):
        best = getattr(found, name)
        told[name] = None
        if best is not None:
            told[name] = result_fields(best) | {"gain": found.gain(best)}
    return told
