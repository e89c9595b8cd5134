"""Measurements as a tidy CSV: one figure a row, with everything that decides its prediction."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from planner.errors import InputError, listed
from planner.readers.files import read_text
from planner.records import Record
from planner.units import Count, Degree


class Measurement(Record):
    """One measured figure."""

    row_id: str
    family: str = "measured"
    """What it is reported with."""
    field: str
    """Of `Score`, such as tpot_s."""
    value: Annotated[float, Field(gt=0)]
    """In the field's SI unit."""
    model: str
    topology: str
    chips: Count
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
    tensor_parallel: Degree = 1
    pipeline_parallel: Degree = 1
    expert_parallel: Degree = 1
    data_parallel: Degree = 1
    sequence_parallel: Degree = 1
    power_scope: str = ""
    height: Count | None = None
    width: Count | None = None
    frames: Count | None = None
    steps: Count | None = None
    source: str = ""


PUBLISHED = Path(__file__).parent / "published.csv"
"""Published measurements, as the shipped constants were fitted on."""
NEEDED = ("row_id", "field", "value", "model", "topology", "chips")


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """The rows of a CSV whose header names fields of `Measurement`; an InputError names the row and the column."""
    reader = csv.DictReader(io.StringIO(read_text(path, "a table of measurements")))
    columns = reader.fieldnames or []
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(f"{path} has no column {listed(missing)}; a table of measurements needs {listed(NEEDED)}")
    unknown = [name for name in columns if name not in Measurement.model_fields]
    if unknown:
        raise InputError(f"{path}: {unknown[0]!r} is not a column of a table of measurements")
    return tuple(_measurement(path, number, row) for number, row in enumerate(reader, 2))


def _measurement(path: Path, line: int, row: dict[str, Any]) -> Measurement:
    given = {name: text for name, text in row.items() if text not in (None, "")}
    try:
        return Measurement.from_fields(given)
    except InputError as error:
        raise InputError(f"{path}, line {line}: {error}") from None
