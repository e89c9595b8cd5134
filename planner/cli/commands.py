"""The command `score`, of a plan or of the command that an engine is started with."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import planner as pl
from planner.cli.groups import Counts, Degrees, Drafts, Formats, Hardware, Requests
from planner.cli.nouns import Asked, asked_of, speculation_of, workload_of
from planner.cli.options import (
    Arrivals,
    Excluded,
    Maximize,
    Minimize,
    PlanFile,
    Shape,
    SpaceName,
    TimeLimit,
)
from planner.cli.progress import Meter
from planner.cli.questions import Unsaid, question
from planner.cli.streams import answer
from planner.cli.values import chips_of, seconds, space_of
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.launches.launch import Reading
    from planner.launches.scoring import CommandScore
    from planner.machines.engine import Space
    from planner.machines.software import Software
    from planner.plan import Plan
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
                    f"--{name} is only for a command; give --from COMMAND, or leave it out"
                )


@question
def score(
    model: MaybeModel = None,
    topology: MaybeTopology = None,
    *,
    context: typer.Context,
    of: OfCommand,
    plan: PlanFile = None,
    degrees: Degrees,
    formats: Formats,
    requests: Requests,
    arrivals: Arrivals = "steady",
    hardware: Hardware,
    exclude: Excluded = None,
    drafts: Drafts,
    space: SpaceName = "engine",
    counts: Counts,
    format: Shape = "table",
) -> None:
    """Price a plan: one from a file, the uniform plan of given degrees, or what a command starts
    (--from); and say why the machine's software cannot run it, where that is so."""
    taken = Unsaid(context)
    if of.command is not None:
        own = hardware.usable_memory or exclude
        _refuse_with_command(model, topology, plan, degrees, own)
        workload = workload_of(requests, arrivals)
        if drafts != Drafts():
            workload = workload.replace(speculation=speculation_of(drafts, formats))
        found = _scored(of, formats, workload, counts, hardware)
        told = taken.add(str(found), command_fields(found), requests, None, found.graph)
        answer(format, *told)
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
        **hardware.given(),
        drafts=drafts,
        counts=counts,
    )
    gone = chips_of("--exclude", exclude)
    scored = _scored_plan(asked, plan, degrees)
    told = _priced(scored, asked, counts, space_of(space), gone)
    answer(format, *taken.add(*told, requests, None, asked.graph))


def _priced(
    plan: "Plan", asked: Asked, counts: Counts, space: "Space", exclude: tuple[int, ...]
) -> tuple[str, dict[str, Any]]:
    """What there is to say of a plan, as text and as fields."""
    from planner.report.text import (
        assumption_lines,
        plan_section,
        question_lines,
        score_lines,
        unvouched_lines,
    )
    from planner.report.words import seat_lines

    price = pl.score_plan(plan, *asked, **counts.bases(), exclude=exclude)
    software = asked.topology.software
    faults = []
    if space == "engine" and software.engine.is_known:
        faults = [broken.message for broken in pl.check_plan(plan, *asked, exclude=exclude)]
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


def _scored_plan(asked: Asked, plan: Path | None, degrees: Degrees) -> "Plan":
    """The plan of a file, or the uniform plan of degrees."""
    from planner.readers.plan_file import read_plan

    if plan is not None:
        if degrees != Degrees():
            raise InputError(
                "--plan and degrees are both given; a plan has its own degrees and micro-batches,"
                " so give one or the other"
            )
        return read_plan(plan)
    batch_size = asked.workload.batch_size
    return pl.uniform_plan(asked.graph, asked.topology, **degrees.given(), batch_size=batch_size)


def _startable_lines(software: "Software", faults: list[str], space: "Space") -> list[str]:
    """Whether the software can run a plan."""
    from planner.report.plans import space_line, versioned

    if space == "any":
        return []
    if not software.engine.is_known:
        return [space_line(space, [software])]
    named = versioned(software)
    if not faults:
        return [f"{named} can run this plan"]
    return [f"{named} cannot run this plan: {fault}" for fault in faults]


def _scored(
    of: OfCommand, formats: Formats, workload: "Workload", counts: Counts, hardware: Hardware
) -> "CommandScore":
    """The price of a command."""
    if of.command is None or of.machine is None:
        raise InputError("--from needs a machine; say which with --machine NAME")
    from planner.catalogue import counted_name

    counted_name(of.machine, hardware.chips, "--chips")
    return pl.score_command(
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
        chips=hardware.chips,
        software=hardware.software,
        **counts.bases(),
    )


def _refuse_with_command(
    model: str | None,
    topology: str | None,
    plan: Path | None,
    degrees: Degrees,
    of_machine: str | None,
) -> None:
    """A command has its own model, degrees and memory."""
    if model is not None or topology is not None:
        raise InputError(
            "--from names the model itself; give the machine with --machine, and another model with"
            " --model"
        )
    if plan is not None or degrees != Degrees():
        raise InputError("--from has its own degrees; leave --plan and degrees out")
    if of_machine is not None:
        raise InputError(
            "--from has its own share of the memory and its own chips; leave --usable-memory and"
            " --exclude out"
        )


def _reading(command: str, formats: Formats) -> "Reading":
    """With the formats that are asked for in place of the command's."""
    reading = pl.read_command(command)
    launch = reading.launch
    if formats.unserved():
        raise InputError(
            f"{formats.unserved()[0]} is of models that no engine of --from serves; leave it out"
        )
    if formats.weights is not None:
        launch = launch.replace(weight_format=formats.weights)
    if formats.kv != Formats().kv:
        launch = launch.replace(cache_format=formats.kv)
    return reading.replace(launch=launch)


def command_fields(found: "CommandScore") -> dict[str, Any]:
    """What there is to say, without the inputs, which the caller has."""
    from planner.cli.answers import result_fields

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
