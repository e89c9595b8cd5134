"""The command `score`, of a plan or of the command that an engine is started with."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.answers import Meter, answer, result_fields
from planner.cli.arguments import (
    Arrivals,
    Asked,
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
    asked_of,
    grouped,
    seconds,
    space_of,
    speculation_of,
    workload_of,
)
from planner.errors import InputError
from planner.launches.commands import read_command
from planner.launches.launch import Reading
from planner.launches.scoring import CommandScore, score_command
from planner.machines.engine import Space
from planner.machines.software import Software
from planner.plan import Plan
from planner.pricing.engines import in_flight
from planner.readers.plan_file import read_plan
from planner.report.plans import space_line, versioned
from planner.report.text import (
    assumption_lines,
    plan_section,
    question_lines,
    score_lines,
    unvouched_lines,
)
from planner.report.words import seat_lines
from planner.scoring.checking import check_plan
from planner.scoring.plans import score_plan
from planner.space.degrees import uniform_plan
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
    asked = asked_of(
        model,
        topology,
        formats,
        requests,
        arrivals=arrivals,
        chips=chips,
        software=software,
        usable_memory=usable_memory,
        drafts=drafts,
        counts=counts,
    )
    scored = _scored_plan(asked, plan, degrees)
    answer(format, *_priced(scored, asked, counts, space_of(space)))


def _priced(plan: Plan, asked: Asked, counts: Counts, space: Space) -> tuple[str, dict[str, Any]]:
    """What there is to say of a plan, as text and as fields."""
    price = score_plan(plan, *asked, **counts.bases())
    software = asked.topology.software
    faults = []
    if space == "engine" and software.engine.is_known:
        faults = [broken.message for broken in check_plan(plan, *asked)]
    lines = [*question_lines(*asked), *seat_lines(price), "", *plan_section(plan)]
    lines += _startable_lines(software, faults, space)
    lines += ["", *score_lines(price), "", "assumptions"]
    notes = [*assumption_lines(*asked), *unvouched_lines(price)]
    lines += [f"  {line}" for line in notes]
    fields = {
        "score": price.model_dump(mode="json"),
        "plan": plan.model_dump(mode="json"),
        "engine_faults": faults,
    }
    return "\n".join(lines), fields


def _scored_plan(asked: Asked, plan: Path | None, degrees: Degrees) -> Plan:
    """The plan of a file, or the uniform plan of degrees."""
    if plan is not None:
        if degrees != Degrees():
            raise InputError(
                "--plan and degrees are both given; a plan has its own degrees and micro-batches,"
                " so give one or the other"
            )
        return read_plan(plan)
    made = uniform_plan(asked.graph, asked.topology, **degrees.given())
    batch = asked.workload.batch_size
    if degrees.micro_batches is None and batch is not None:
        # Where an engine keeps each sequence by itself, only now is it known how many there are.
        sequences = -(-batch // made.replicas)
        kept = in_flight(asked.topology.software.engine, len(made.stages), sequences)
        return made.replace(micro_batches=kept or made.micro_batches)
    return made


def _startable_lines(software: Software, faults: list[str], space: Space) -> list[str]:
    """Whether the software can be started with a plan."""
    if space == "any":
        return []
    if not software.engine.is_known:
        return [space_line(space, [software])]
    named = versioned(software)
    if not faults:
        return [f"{named} can be started with it"]
    return [f"{named} cannot be started with it: {fault}" for fault in faults]


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
