"""The commands `planner machine detect` and `planner machine measure`: the machine at hand, or one
that somebody described, as a file that plans are made on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.examples import EXAMPLES, epilog
from planner.cli.files import check_writable, write_whole
from planner.cli.options import Shape
from planner.cli.running import cores
from planner.cli.streams import answer

if TYPE_CHECKING:
    from planner.detection.describing import Described
    from planner.detection.measuring import Measurement

commands = typer.Typer(
    no_args_is_help=True,
    help="The machine at hand, or one that somebody described, as a file for `plan`.",
)
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        help="A description in place of this machine: nvidia-smi topo -m (and -L), rocm-smi"
        " --showtopo, kubectl get nodes -o json, lstopo's or NCCL's XML, Slurm's topology.conf or"
        " .yaml, topograph's or networkx's JSON, lscpu, sysctl. More than one of the same machine"
        " go together.",
    ),
]
ChipName = Annotated[
    str | None,
    typer.Option("--chip", help="What the GPUs are: of the catalogue's chips, or a TOML file."),
]
NodeName = Annotated[
    str | None,
    typer.Option("--node", help="What machine each host is, where a description has only hosts."),
]
StackName = Annotated[
    str | None,
    typer.Option("--software", help="Software stack; default: as is usual for the chip."),
]
MachineName = Annotated[str, typer.Option("--name", help="Name of the machine, in kebab-case.")]
MachineOut = Annotated[
    Path | None, typer.Option("--out", help="Write the machine here, as TOML; default: print it.")
]
Repeats = Annotated[int, typer.Option("--repeats", help="Runs of each measurement.")]


@commands.command(epilog=epilog(EXAMPLES["machine detect"]))
def detect(
    *,
    described_in: From = None,
    chip: ChipName = None,
    node: NodeName = None,
    software: StackName = None,
    name: MachineName = "my-machine",
    out: MachineOut = None,
    format: Shape = "table",
) -> None:
    """Say what the machine at hand is, or one that was described."""
    from planner.detection.describing import Asked, described
    from planner.detection.probing import machine_here
    from planner.readers.machines.recognition import merged, read_machine

    check_writable(out)
    seen = merged([read_machine(path) for path in described_in]) if described_in else machine_here()
    found = described(seen, Asked(name, chip, node, software))
    _tell(found, out, format, [])


@commands.command(epilog=epilog(EXAMPLES["machine measure"]))
def measure(
    *,
    repeats: Repeats = 7,
    chip: ChipName = None,
    software: StackName = None,
    name: MachineName = "my-machine",
    out: MachineOut = None,
    format: Shape = "table",
) -> None:
    """Measure what the memory and the arithmetic of the machine at hand reach."""
    from planner.detection.describing import Asked, described
    from planner.detection.measuring import Bench, measured_here, with_measurements
    from planner.detection.probing import machine_here

    check_writable(out)
    found = described(machine_here(), Asked(name, chip, None, software))
    measured = measured_here(Bench(repeats=repeats))
    if found.kind == "topology":
        found = found._replace(fields=with_measurements(found.fields, measured))
    else:
        remark = "chips are of several kinds: what was measured is told, and not in the file"
        found = found._replace(remarks=(*found.remarks, remark))
    _tell(found, out, format, measured)


def _tell(
    found: "Described",
    out: Path | None,
    format: str,
    measured: "list[Measurement] | tuple[Measurement, ...]",
) -> None:
    """The file, and what is to be known of it."""
    from planner.report.text import aligned

    read = found.read()
    if out is not None:
        write_whole(out, found.text.rstrip("\n"))
    rows = [(one.what, one.device, one.said) for one in measured]
    if out is None:
        text = found.text.rstrip("\n")
    else:
        verb = "cluster MODEL" if found.kind == "cluster" else "plan MODEL"
        told = found.title if found.kind == "cluster" else str(read)
        lines = [told, "", *found.remarks, f"Written to {out}: planner {verb} {out}"]
        text = "\n".join([*aligned(rows), "", *lines] if rows else lines)
    fields: dict[str, Any] = {"kind": found.kind, "machine": found.fields}
    fields |= {"remarks": list(found.remarks)}
    fields["measured"] = [
        {"what": one.what, "of": one.of, "device": one.device, "rates": list(one.rates)}
        for one in measured
    ]
    answer(format, text, fields)


commands.command(epilog=epilog(EXAMPLES["machine cores"]))(cores)
