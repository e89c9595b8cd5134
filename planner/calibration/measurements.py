"""Measurements as a tidy CSV: one figure a row, with everything that decides its prediction."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from planner.errors import InputError, listed, told
from planner.machines.software import CollectiveKind
from planner.readers.files import opened, read_rows
from planner.readers.naming import with_names
from planner.records import Record
from planner.units import Bytes, Count, Degree


class Measurement(Record):
    """One measured figure."""

    row_id: str
    family: str = "measured"
    """What it is reported with."""
    field: str
    """Of `Score`, such as tpot_s; collective_s: one collective by itself."""
    value: Annotated[float, Field(gt=0)]
    """In the field's SI unit."""
    model: str = ""
    topology: str
    chips: Count | None = None
    """Empty: the fewest that hold the model."""
    software: str = ""
    """Stack; empty: the topology's own."""
    weight_dtype: str = "bf16"
    activation_dtype: str = ""
    kv_dtype: str = "bf16"
    batch_size: Count | None = None
    """Empty: as many as fit."""
    prompt_tokens: Count = 1024
    output_tokens: Count = 256
    arrivals: Literal["together", "steady"] = "steady"
    phase: Literal["both", "decode"] = "both"
    """Decode: of a pool that makes the later tokens alone."""
    draft_tokens: Annotated[int, Field(ge=0, le=64)] = 0
    """Before each pass that verifies them, by a head of one layer of the model itself."""
    acceptance_rate: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Of a drafted token; where a source is silent, what is assumed of it."""
    plan: Literal["uniform", "best"] = "uniform"
    """Best: the one that suits the field best (watts and joules: the one that is fastest), in
    place of the degrees that follow."""
    tensor_parallel: Degree = 1
    pipeline_parallel: Degree = 1
    expert_parallel: Degree = 1
    data_parallel: Degree = 1
    sequence_parallel: Degree = 1
    plan_file: str = ""
    """That holds the plan, in place of the degrees."""
    power_scope: str = ""
    height: Count | None = None
    width: Count | None = None
    frames: Count | None = None
    steps: Count | None = None
    collective: CollectiveKind | None = None
    ranks: Count | None = None
    ranks_per_node: Count | None = None
    message_bytes: Bytes | None = None
    """As in `cost.collectives`."""
    source: str = ""

    @model_validator(mode="after")
    def check_what_is_measured(self) -> Self:
        if self.field == "collective_s":
            if None in (self.collective, self.message_bytes, self.ranks, self.chips):
                raise InputError(
                    "a row of collective_s needs collective, message_bytes, ranks and chips"
                )
        elif not self.model:
            raise InputError("Measurement.model is missing; only rows of collective_s have none")
        return self


PUBLISHED = Path(__file__).parent / "published.csv"
"""Published measurements, as the shipped constants were fitted on."""
COLLECTIVES = Path(__file__).parent / "collectives.csv"
"""The same of collectives by themselves."""
NEEDED = ("row_id", "field", "value", "topology")


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """The rows of a CSV whose header names fields of `Measurement`; an InputError names the row
    and the column."""
    columns, rows = read_rows(path, "a table of measurements")
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(
            f"{path} has no column {listed(missing)};"
            f" a table of measurements needs {listed(NEEDED)}"
        )
    unknown = [name for name in columns if name not in Measurement.model_fields]
    if unknown:
        raise InputError(f"{path}: {told(unknown[0])} is not a column of a table of measurements")
    return tuple(_measurement(path, number, row) for number, row in enumerate(rows, 2))


def measurements_csv(rows: Sequence[Measurement]) -> str:
    """Rows as a table that is read again; columns of which no row says anything stay out."""
    stated = [row.model_dump(exclude_unset=True, exclude_none=True) for row in rows]
    columns = [
        name
        for name in Measurement.model_fields
        if name in NEEDED or any(name in one for one in stated)
    ]
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for one in stated:
        table.writerow({name: one.get(name, "") for name in columns})
    return text.getvalue()


def is_measurements(path: Path) -> bool:
    """Whether a file is such a table, by its first line."""
    with opened(path, "a table of measurements or a result of a benchmark") as (stream, _):
        head = stream.readline(2**16)
    return b"row_id" in head and b"{" not in head


def _measurement(path: Path, line: int, row: dict[str, Any]) -> Measurement:
    given = {name: text for name, text in row.items() if text not in (None, "")}
    try:
        return Measurement.from_fields(with_names(given, path.parent))
    except InputError as error:
        raise InputError(f"{path}, line {line}: {error}") from None
