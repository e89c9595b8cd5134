"""The command `planner run`: a plan carried out on processes of this machine, beside its price."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from planner.cli.files import check_writable, write_whole
from planner.cli.groups import Degrees, grouped
from planner.cli.options import Output, PlanFile, Prompt, Seed, Shape, Stack
from planner.cli.streams import answer, complain
from planner.cli.values import one_of, whole
from planner.errors import InputError, shortened

if TYPE_CHECKING:
    from planner.machines.topology import Topology
    from planner.plan import Plan
    from planner.running.comparing import Pair, PlanRun
    from planner.workload import Workload

Machine = Annotated[
    Path | None,
    typer.Option(
        "--machine", help="This machine, as `planner machine cores` writes it; default: measured."
    ),
]
Config = Annotated[
    str, typer.Argument(metavar="MODEL", help="A config.json, or a run that --save wrote.")
]
Together = Annotated[int, typer.Option("--batch", help="Sequences of the one batch that is run.")]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        help="Write the run here: .json, which `planner calibrate` reads, or each stage as .csv.",
    ),
]
ClockOf = Annotated[
    str | None,
    typer.Option(
        "--clock",
        help="Of the times in that file: wall, for idle machines, or cpu (CPU seconds, put together"
        " as ranks with a core each would take them); default: wall where each has one.",
    ),
]
RanksOf = Annotated[
    int | None,
    typer.Option("--ranks", help="Processes that the machine is shared out to; default: cores."),
]
Repeats = Annotated[int, typer.Option("--repeats", help="Runs of each measurement.")]
MachineName = Annotated[str, typer.Option("--name", help="Name of the machine, in kebab-case.")]
MachineOut = Annotated[
    Path | None, typer.Option("--out", help="Write the machine here, as TOML; default: print it.")
]


@grouped
def run_here(
    model: Config,
    *,
    plan: PlanFile = None,
    degrees: Degrees,
    machine: Machine = None,
    prompt: Prompt = "128",
    output: Output = "16",
    batch: Together = 1,
    seed: Seed = 0,
    software: Stack = None,
    save: Save = None,
    clock: ClockOf = None,
    format: Shape = "table",
) -> None:
    """Carry a plan out on processes of this machine, with random weights, and show what it took
    beside what it was priced at."""
    from planner import catalogue
    from planner.readers.run_file import Clock
    from planner.running.comparing import Question, job_for, run_plan
    from planner.running.cores import busy_cores, cores_at_hand, remarks_on
    from planner.running.launching import Ranks, check_extra
    from planner.running.saving import clock_for, saved_run, stages_csv
    from planner.space.degrees import uniform_plan

    _check(save, clock)
    degrees.check()
    chosen = _chosen(plan, degrees)
    check_extra()
    config = config_of(model)
    graph = catalogue.load_model(model, weight_dtype="fp32", kv_dtype="fp32")
    wanted = degrees.tensor * degrees.pipeline if chosen is None else chosen.chips
    fields = _machine(machine, wanted)
    topology = _topology(fields, machine, software)
    if chosen is None:
        chosen = uniform_plan(graph, topology, **degrees.given())
    asked = Question(graph, config, topology, _load(batch, prompt, output))
    job = job_for(chosen, asked, seed=seed)
    counted = clock_for(cast(Clock | None, clock), job.ranks, cores_at_hand())
    for remark in remarks_on(job.ranks, cores_at_hand(), busy_cores()):
        complain(remark)
    with Ranks() as ranks:
        found = run_plan(chosen, asked, ranks, seed=seed)
    if save is not None:
        held = saved_run(found, chosen, asked, fields, seed=seed, clock=counted)
        text = held.to_json() if save.suffix == ".json" else stages_csv(found)
        write_whole(save, text, "--save")
    told = {"run": found.model_dump(mode="json"), "plan": chosen.model_dump(mode="json")}
    answer(format, "\n".join(run_lines(chosen, found)), told)


def _check(save: Path | None, clock: str | None) -> None:
    """Refuse before the work what cannot be written, or told."""
    check_writable(save, "--save")
    if save is not None and save.suffix not in (".csv", ".json"):
        raise InputError(f"--save {shortened(save)} must end in .csv or .json")
    if clock is not None:
        one_of("--clock", clock, "cpu", "wall")


def _load(batch: int, prompt: str, output: str) -> "Workload":
    """The one batch that is run."""
    from planner.workload import Workload

    return Workload.from_fields(
        {
            "batch_size": batch,
            "prompt_tokens": whole("--prompt", prompt, "tokens"),
            "output_tokens": whole("--output", output, "tokens"),
            "arrivals": "together",
        }
    )


def _chosen(plan: Path | None, degrees: Degrees) -> "Plan | None":
    """The plan of a file; None where degrees say it."""
    from planner.readers.plan_file import read_plan

    if plan is None:
        return None
    if degrees != Degrees():
        raise InputError("--plan and degrees are both given; a plan has its own, so give one")
    return read_plan(plan)


def config_of(model: str) -> dict[str, Any]:
    """The fields of a config.json, or of the one that a run holds; names of the catalogue have
    none."""
    from planner.readers.files import CONFIG_BYTES, read_json
    from planner.readers.run_file import is_run, run_in

    path = Path(model)
    path = path / "config.json" if path.is_dir() else path
    if path.suffix != ".json":
        raise InputError(
            f"{shortened(model)!r} is no config.json: transformers builds the layers of a run from"
            " one, so give its path"
        )
    fields = read_json(path, "a config", most_bytes=CONFIG_BYTES)
    return run_in(fields, path).config if is_run(fields) else fields


def _machine(machine: Path | None, ranks: int) -> dict[str, Any]:
    """The machine of a file, or this one, measured now; it has a chip for each rank."""
    from planner import catalogue
    from planner.running.cores import cores_at_hand

    if machine is not None:
        return catalogue.topology_fields(str(machine))
    complain("measuring a core of this machine; `planner machine cores --out` keeps it")
    return _here(7, "here", max(ranks, cores_at_hand()))


def _topology(fields: dict[str, Any], machine: Path | None, software: str | None) -> "Topology":
    """That machine, priced by its own stack or by one that was calibrated."""
    from planner import catalogue
    from planner.running.comparing import STACK, WORK_STACK

    topology = catalogue.described_topology(fields, software=software)
    if topology.software.name not in (STACK, WORK_STACK):
        given = f"--machine {shortened(machine)}" if software is None else f"--software {software}"
        raise InputError(
            f"{given} is of {topology.software.name}; the runner is priced as {STACK}, so give a"
            " file that `planner machine cores` wrote, or a stack that was calibrated on its runs"
        )
    return topology


def _here(repeats: int, name: str, ranks: int) -> dict[str, Any]:
    """This machine's file."""
    from planner.detection.probing import machine_here
    from planner.running.cores import machine_of_cores, measured_core, memory_at_hand_bytes

    named = (one.product for one in machine_here().devices if one.kind == "cpu")
    processor = next(named, "") or "this machine"
    return machine_of_cores(measured_core(repeats), name, ranks, memory_at_hand_bytes(), processor)


def cores(
    *,
    ranks: RanksOf = None,
    repeats: Repeats = 7,
    name: MachineName = "here",
    out: MachineOut = None,
    format: Shape = "table",
) -> None:
    """Measure one core as ranks of `planner run` use it, and describe this machine by its cores."""
    from planner.detection.toml_writing import toml_text
    from planner.running.cores import cores_at_hand

    check_writable(out)
    fields = _here(repeats, name, ranks or cores_at_hand())
    text = toml_text(fields).rstrip("\n")
    if out is not None:
        write_whole(out, text)
        text = f"Written to {out}: planner run MODEL --machine {out}"
    answer(format, text, {"machine": fields})


def run_lines(plan: "Plan", found: "PlanRun") -> list[str]:
    """What a person reads: predicted beside measured."""
    from planner.report.plans import plan_line
    from planner.report.text import aligned

    rows = [("", "predicted", "measured", "predicted / measured")]
    for stage in found.stages:
        named = f"stage {stage.stage}" + (f", each of {stage.ranks}" if stage.ranks > 1 else "")
        rows += [
            _row(f"{named}: CPU seconds, prompts", stage.prefill_cpu_s, 1.0),
            _row(f"{named}: CPU seconds, later tokens", stage.decode_cpu_s, 1.0),
            _row(f"{named}: weights, MB", stage.weight_bytes, 1e6),
            _row(f"{named}: cache, MB", stage.cache_bytes, 1e6),
        ]
    rows += [
        _row("between ranks: prompts, MB", found.prefill_moved_bytes, 1e6),
        _row("between ranks: later tokens, MB", found.decode_moved_bytes, 1e6),
        _row("by the wall: first token, s", found.ttft_s, 1.0),
        _row("by the wall: last token, s", found.request_s, 1.0),
    ]
    return [plan_line(plan), "", *aligned(rows)]


def _row(name: str, pair: "Pair", scale: float) -> tuple[str, str, str, str]:
    ratio = "" if pair.ratio is None else f"{pair.ratio:.2f}"
    return name, f"{pair.predicted / scale:.4g}", f"{pair.measured / scale:.4g}", ratio
