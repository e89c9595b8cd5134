"""Commands of many plans or measurements: `sweep`, `audit`, `validate`, `calibrate`."""

import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli import calibrating
from planner.cli.files import check_writable, write_whole
from planner.cli.options import Shape, TimeLimit
from planner.cli.progress import SweepMeter
from planner.cli.streams import answer, complain
from planner.cli.values import seconds
from planner.errors import InputError, UnknownNameError, shortened

if TYPE_CHECKING:
    from planner.calibration.intervals import Interval
    from planner.calibration.leaving_out import Outside
    from planner.calibration.powers import Drawn
    from planner.calibration.shipping import Recipe, Shipped
    from planner.studies.sweeps.workers import Processes

SpecFile = Annotated[
    Path,
    typer.Argument(help="A TOML file: models, topologies, [\\[workload]], objectives, limits."),
]
RowsFile = Annotated[
    Path, typer.Option("--file", help="SQLite file of rows; what is there is kept.")
]
ProcessCount = Annotated[
    int | None, typer.Option("--processes", help="Worker processes; default: one for each core.")
]
TableOut = Annotated[Path | None, typer.Option("--out", help="Write the table here, as CSV.")]
Measured = Annotated[
    Path | None, typer.Argument(help="A CSV of measurements; default: those that we ship.")
]
ClaimsFile = Annotated[
    Path | None,
    typer.Argument(help="A TOML file of [\\[claim]] tables; default: what the article says."),
]
StackOut = Annotated[
    Path | None,
    typer.Option("--out", help="Write the calibrated software stack here, as TOML."),
]
OnlyStack = Annotated[
    str | None,
    typer.Option("--software", help="Take only rows of this stack; of results of tools, what ran."),
]
IsShipped = Annotated[
    bool,
    typer.Option(
        "--shipped", help="Fit the constants that are shipped, on the tables that are shipped."
    ),
]
ReportOut = Annotated[
    Path | None, typer.Option("--report", help="With --shipped: write its report here.")
]


def sweep_spec(
    spec: SpecFile,
    file: RowsFile = Path("sweep.sqlite"),
    processes: ProcessCount = None,
    out: TableOut = None,
    format: Shape = "table",
) -> None:
    """Find the best plans of all combinations in a file; Ctrl-C keeps what is done."""
    from planner.studies.sweeps.specs import read_spec
    from planner.studies.sweeps.sweeps import sweep

    asked = read_spec(spec)
    check_writable(out)
    meter = SweepMeter()
    made = sweep(
        cells=asked.cells(),
        file=file,
        progress=meter,
        processes=processes,
        time_limit_s=asked.time_limit_s,
        power_scope=asked.power_scope,
        price_basis=asked.price_basis,
        power_basis=asked.power_basis,
        space=asked.space,
    )
    meter.end()
    if out is not None:
        write_whole(out, made.to_frame().to_csv(index=False).rstrip("\n"))
    answer(format, str(made), made.model_dump(mode="json"))
    if made.left:
        if out is not None:
            complain(
                f"{out} is not the whole table: {made.left:,} cells are left undone; the same"
                " command does them"
            )
        raise KeyboardInterrupt


def validate(measurements: Measured = None, format: Shape = "table") -> None:
    """Compare predictions with measurements, family by family."""
    from planner.calibration.measurements import PUBLISHED, read_measurements
    from planner.calibration.validation import accuracies_of, cases_of
    from planner.report.text import aligned

    cases, refused = cases_of(read_measurements(measurements or PUBLISHED))
    found = accuracies_of(cases, refused)
    header = ("family", "rows", "predicted", "median error", "p90", "bias", "within 80 % interval")
    rows = [
        (
            one.name,
            str(one.rows),
            str(one.predicted),
            f"{100 * one.median:.1f} %",
            f"{100 * one.p90:.0f} %",
            f"{100 * one.bias:+.1f} %",
            f"{100 * one.covered:.0f} %",
        )
        for one in found
    ]
    lines = aligned([header, *rows])
    if refused:
        # Figures left out, so that reasons of one kind are counted together.
        reasons = Counter(shortened(re.sub(r"[\d.,]+", "#", one.reason), 110) for one in refused)
        lines += ["", *(f"{count} × {reason}" for reason, count in reasons.most_common(5))]
    answer(format, "\n".join(lines), [one._asdict() for one in found])


def audit(claims: ClaimsFile = None, time_limit: TimeLimit = None, format: Shape = "table") -> None:
    """Hold claims against capacity, roofline, arithmetic, sources, each other, and the best
    plans."""
    from planner.studies.audits.audits import audit as audited

    found = audited(
        claims,
        time_limit_s=seconds(time_limit),
        progress=lambda row: typer.echo(f"{row.claim}: {row.text}", err=True),
    )
    answer(format, str(found), found.model_dump(mode="json"))


def calibrate(
    measurements: calibrating.OwnMeasured = None,
    out: StackOut = None,
    to_csv: calibrating.CsvOut = None,
    software: OnlyStack = None,
    machine: calibrating.RanOn = None,
    command: calibrating.Command = None,
    model: calibrating.RanModel = None,
    chips: calibrating.RanChips = None,
    tensor: calibrating.RanTensor = None,
    pipeline: calibrating.RanPipeline = None,
    expert: calibrating.RanExpert = None,
    data: calibrating.RanData = None,
    weights: calibrating.RanWeights = None,
    kv: calibrating.RanKv = None,
    batch: calibrating.RanBatch = None,
    prompt: calibrating.RanPrompt = None,
    output: calibrating.RanOutput = None,
    shipped: IsShipped = False,
    report: ReportOut = None,
    format: Shape = "table",
) -> None:
    """Fit a software stack's constants to your own measurements, or scale it to a few; use the
    result as --software FILE."""
    given = measurements or []
    told = calibrating.Told(
        machine=machine,
        command=command,
        software=software,
        model=model,
        chips=chips,
        weights=weights,
        kv=kv,
        batch=batch,
        prompt=prompt,
        output=output,
        tensor=tensor,
        pipeline=pipeline,
        expert=expert,
        data=data,
    )
    if shipped and not given and not told.of_results() and to_csv is None:
        if report is not None:
            check_writable(report)
        _ship(software, report, format)
    elif given and not shipped and not (out is None and to_csv is None):
        calibrating.calibrate_files(given, told, out, to_csv, format)
    else:
        raise InputError(
            "give a CSV of measurements or results of tools, and --out FILE or --to-csv FILE, or"
            " --shipped alone"
        )


def _ship(stack: str | None, report: Path | None, format: str) -> None:
    """All stacks, what chips draw, and all intervals, since how sure a stack is depends on what
    the others' rows say; or the constants of the one stack alone. The report counts chips too."""
    from planner import catalogue
    from planner.calibration.shipping import fit_recipes, ship

    wanted = _recipes_of(stack)
    folder = catalogue.topologies_folder()
    fitted: list[Shipped] = []
    # Kernels and collectives first, which the stacks are made of.
    tables = [recipe for recipe in wanted if recipe.table != "published"]
    stacks = [recipe for recipe in wanted if recipe.table == "published"]
    for group in (*([table] for table in tables), stacks):
        with _fresh_processes() as processes:
            found = fit_recipes(group, processes)
        for recipe, one in zip(group, found, strict=True):
            ship(recipe, one, folder)
            fitted.append(one)
            done = f"{one.rows} rows, median error {one.median:.1%}"
            print(f"{recipe.stack}: {done}", file=sys.stderr)

    if stack is None or report is not None:
        _ship_rest(stack, wanted, fitted, report, folder)
    fields = [one.model_dump() for one in fitted]
    answer(format, "\n".join(_constants(fitted)), fields)


def _fresh_processes() -> "Processes":
    """That have not read the catalogue yet, one a core."""
    from planner.studies.sweeps.workers import Processes

    return Processes(os.cpu_count() or 1)


def _ship_rest(
    stack: str | None,
    wanted: "Sequence[Recipe]",
    fitted: "Sequence[Shipped]",
    report: Path | None,
    folder: Path,
) -> None:
    """What follows from the constants: of all stacks it is written beside them, of one alone it
    is only reported."""
    from planner.calibration.intervals import intervals_from
    from planner.calibration.shipping import (
        fit_draws,
        left_out_stacks,
        ship_draws,
        ship_intervals,
        write_left_out,
    )

    draws, host_share = fit_draws()
    if stack is None:
        ship_draws(draws, host_share, folder)
    with _fresh_processes() as processes:
        stacks = left_out_stacks(wanted, processes)
    rows = [row for one in stacks for row in one.rows]
    made = intervals_from(rows)
    if stack is None:
        ship_intervals(stacks, made, folder)
        write_left_out(rows, made)
    if report is not None:
        text = _report(rows, made, fitted, draws, host_share)
        write_whole(report, text.rstrip())


def _recipes_of(stack: str | None) -> "list[Recipe]":
    from planner.calibration.shipping import recipes

    by_stack = {recipe.stack: recipe for recipe in recipes()}
    if stack is None:
        return list(by_stack.values())
    if stack not in by_stack:
        raise UnknownNameError("recipe", stack, by_stack)
    return [by_stack[stack]]


def _constants(fitted: "Sequence[Shipped]") -> list[str]:
    from planner.report.text import aligned

    rows = [("stack", "constant", "value")]
    for one in fitted:
        rows += [(one.stack, name, f"{value:.3g}") for name, value in one.constants.items()]
    return aligned(rows)


def _report(
    left_out: "Sequence[Outside]",
    made: "Interval",
    fitted: "Sequence[Shipped]",
    draws: "Sequence[Drawn]",
    host_share: float,
) -> str:
    from planner.calibration.measurements import COLLECTIVES, PUBLISHED, read_measurements
    from planner.calibration.reporting import calibration_report
    from planner.calibration.validation import cases_of

    rows = [*read_measurements(PUBLISHED), *read_measurements(COLLECTIVES)]
    return calibration_report(*cases_of(rows), left_out, made, fitted, draws, host_share)
