"""What `planner calibrate` makes of files: rows of tables and of tools, a stack that suits them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from planner.cli.files import OutFile, check_outputs, write_all
from planner.cli.streams import answer, complain
from planner.errors import InputError, listed

if TYPE_CHECKING:
    from planner.calibration.converting import Ran
    from planner.calibration.fitting import Fit
    from planner.calibration.measurements import Measurement
    from planner.calibration.scaling import Scaled
    from planner.calibration.validation import Refused
    from planner.launches.launch import Launch

COMMAND_BESIDE = ".command"
"""Ends the name of a file beside a result, which holds the command that the engine was started
with."""
MOST_REMARKS = 5

OwnMeasured = Annotated[
    list[Path] | None,
    typer.Argument(
        help="CSVs of measurements, or what tools wrote: AIPerf, GuideLLM, vllm bench,"
        " sglang.bench_serving, llama-bench, nccl-tests, planner run."
    ),
]
CsvOut = Annotated[
    Path | None,
    typer.Option("--to-csv", help="Write the rows here, as a CSV of measurements."),
]
RanOn = Annotated[
    str | None,
    typer.Option("--machine", help="Machine that a tool measured on: a name, or a TOML file."),
]
Command = Annotated[
    str | None,
    typer.Option(
        "--command",
        help="Command that started the engine, or a file that holds it; default: FILE.command"
        " beside each result.",
    ),
]
RanModel = Annotated[
    str | None,
    typer.Option(
        "--model", help="Model that a tool measured; default: the one that it was asked for."
    ),
]
RanChips = Annotated[
    int | None, typer.Option("--chips", help="Chips of the engine; default: by its degrees.", min=1)
]
RanWeights = Annotated[
    str | None, typer.Option("--weights", help="Format of the weights; default: as named.")
]
RanKv = Annotated[str | None, typer.Option("--kv", help="Format of the KV cache.")]
RanBatch = Annotated[
    int | None, typer.Option("--batch", help="Requests in flight, of files that do not say.", min=1)
]
RanPrompt = Annotated[
    int | None, typer.Option("--prompt", help="Prompt tokens, of files that do not say.", min=1)
]
RanOutput = Annotated[
    int | None, typer.Option("--output", help="Output tokens, of files that do not say.", min=1)
]
RanTensor = Annotated[
    int | None, typer.Option("--tensor", help="Tensor parallel degree of the engine.", min=1)
]
RanPipeline = Annotated[
    int | None, typer.Option("--pipeline", help="Pipeline parallel degree.", min=1)
]
RanExpert = Annotated[int | None, typer.Option("--expert", help="Expert parallel degree.", min=1)]
RanData = Annotated[int | None, typer.Option("--data", help="Data parallel degree.", min=1)]


@dataclass(frozen=True, slots=True)
class Told:
    """What options say of the files; None: they do not."""

    machine: str | None = None
    command: str | None = None
    software: str | None = None
    model: str | None = None
    chips: int | None = None
    weights: str | None = None
    kv: str | None = None
    batch: int | None = None
    prompt: int | None = None
    output: int | None = None
    tensor: int | None = None
    pipeline: int | None = None
    expert: int | None = None
    data: int | None = None

    def of_results(self) -> str:
        """The first option that is given and that only results of tools need; "" if none is."""
        names = [name for name in self.__slots__ if name != "software"]
        given = [name for name in names if getattr(self, name) is not None]
        return f"--{given[0]}" if given else ""


class _Rows(NamedTuple):
    """What files hold."""

    rows: "list[Measurement]"
    remarks: list[str]


def calibrate_files(
    files: Sequence[Path], told: Told, out: Path | None, to_csv: Path | None, format: str
) -> None:
    """Write rows, a stack, or both."""
    check_outputs({"--out": out, "--to-csv": to_csv})
    found = _rows_in(files, told)
    rows = [row for row in found.rows if told.software in (None, row.software)]
    if len(rows) < len(found.rows):
        left = len(found.rows) - len(rows)
        found.remarks.append(f"left out, as of other software than {told.software}: {left} rows")
    if not rows:
        of_stack = f" of {told.software}" if told.software else ""
        raise InputError(f"{_named(files)} has no row{of_stack}")
    for remark in found.remarks[:MOST_REMARKS]:
        complain(remark)
    if len(found.remarks) > MOST_REMARKS:
        complain(f"and {len(found.remarks) - MOST_REMARKS} remarks more")
    table = [] if to_csv is None else [OutFile(to_csv, _table(rows), "--to-csv")]
    if out is not None:
        _calibrate(files, rows, out, table, format)
        return
    write_all(table)
    stated = [row.model_dump(mode="json", exclude_unset=True) for row in rows]
    answer(format, f"{len(rows)} rows in {to_csv}", stated)


def _table(rows: "Sequence[Measurement]") -> str:
    from planner.calibration.measurements import measurements_csv

    return measurements_csv(rows).rstrip("\n")


def _named(files: Sequence[Path]) -> str:
    return listed([str(path) for path in files])


def _rows_in(files: Sequence[Path], told: Told) -> _Rows:
    from planner.calibration.converting import launch_of, measurements_of
    from planner.calibration.measurements import is_measurements, read_measurements
    from planner.readers.benchmarks.recognition import read_benchmarks

    found = _Rows([], [])
    results = [path for path in files if not is_measurements(path)]
    if not results and told.of_results():
        raise InputError(
            f"{told.of_results()} is about results of tools; a CSV of measurements says all in its"
            " columns"
        )
    common = launch_of(told.command) if told.command and results else None
    for path in files:
        if path not in results:
            found.rows.extend(read_measurements(path))
            continue
        made = measurements_of(read_benchmarks(path), _ran(path, told, common), path)
        found.rows.extend(made.rows)
        found.remarks.extend(made.remarks)
    return found


def _ran(path: Path, told: Told, common: "Launch | None") -> "Ran":
    """What ran, by the options and by the command, which may lie beside the result."""
    from planner.calibration.converting import Ran, launch_of
    from planner.catalogue import counted_name

    beside = path.with_name(path.name + COMMAND_BESIDE)
    named = counted_name(told.machine or "", told.chips, "--chips")
    launch = common
    if launch is None and beside.is_file():
        launch = launch_of(str(beside))
    return Ran(
        machine=named.name,
        software=told.software or "",
        model=told.model or "",
        chips=named.chips,
        batch_size=told.batch,
        prompt_tokens=told.prompt,
        output_tokens=told.output,
        weight_format=told.weights or "",
        cache_format=told.kv or "",
        tensor_parallel=told.tensor,
        pipeline_parallel=told.pipeline,
        expert_parallel=told.expert,
        data_parallel=told.data,
        launch=launch,
    )


def _calibrate(
    files: Sequence[Path],
    rows: "Sequence[Measurement]",
    out: Path,
    table: list[OutFile],
    format: str,
) -> None:
    from planner.calibration.scaling import calibrated_toml, fit_or_scale
    from planner.calibration.validation import cases_of

    cases, refused = cases_of(rows)
    if not cases:
        raise InputError(f"{_named(files)} has no row that can be predicted: {refused[0].reason}")
    _complain_of(refused)
    fit, scaled = fit_or_scale(cases)
    write_all([*table, OutFile(out, calibrated_toml(fit, scaled).rstrip())])
    lines = _fitted(fit) if scaled is None else _scaled(scaled)
    fields = fit.model_dump(mode="json", exclude={"software"})
    if scaled is not None:
        fields["factors"] = [factor.model_dump(mode="json") for factor in scaled.factors]
    answer(format, "\n".join(lines), fields)


def _complain_of(refused: "Sequence[Refused]") -> None:
    if refused:
        first = refused[0]
        complain(
            f"not predicted: {len(refused)} of the rows, such as {first.measurement.row_id}:"
            f" {first.reason}"
        )


def _fitted(fit: "Fit") -> list[str]:
    from planner.calibration.fitting import MEASURE
    from planner.report.text import aligned

    header = ("constant", "before", "after", "effect")
    moved = [
        (one.name, f"{one.before:.4g}", f"{one.after:.4g}", f"{one.effect:.2f}")
        for one in fit.constants
    ]
    lines = [*aligned([header, *moved]), "", _errors(fit)]
    if fit.untouched:
        hint = MEASURE[fit.untouched[0]]
        lines.append(f"no row determines {listed(fit.untouched)}; next, measure {hint}")
    return lines


def _scaled(scaled: "Scaled") -> list[str]:
    from planner.report.text import aligned

    header = ("times of", "factor", "80 % interval")
    factors = [
        (one.part, f"{one.factor:.3g}", f"{one.low:.3g} to {one.high:.3g}")
        for one in scaled.factors
    ]
    told = "the stack is scaled as a whole: its rows are too few to tell its constants apart"
    return [*aligned([header, *factors]), "", told, _errors(scaled.fit)]


def _errors(fit: "Fit") -> str:
    before = f"{100 * fit.median_before:.1f} %"
    after = f"{100 * fit.median_after:.1f} %"
    rows = f"{fit.rows} row{'s' * (fit.rows != 1)}"
    return f"median error of {rows}: {before}, now {after}"
