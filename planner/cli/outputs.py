"""Answers in rows, and files of them: a table, JSON, CSV, or a picture, by how a name ends."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.cli.files import check_writable, write_whole
from planner.cli.streams import answer, as_json, say
from planner.errors import InputError, listed, shortened

Rows = Sequence[Mapping[str, Any]]
PICTURES = (".html", ".csv", ".json")
DRAWN = (".svg", *PICTURES)
"""Of what has a static picture too."""

PictureOut = Annotated[
    Path | None,
    typer.Option("--out", help="Write it here too: a picture (.html), or .csv or .json."),
]
MapOut = Annotated[
    Path | None,
    typer.Option("--out", help="Write it here too: a picture (.svg or .html), or .csv or .json."),
]


def check_out(path: Path | None, endings: Sequence[str] = PICTURES) -> None:
    """Refuse before the work a file that cannot be written, or whose name says no kind."""
    check_writable(path)
    if path is not None and path.suffix.lower() not in endings:
        raise InputError(f"--out {shortened(path)} must end in {listed(endings, 'or')}")
    if path is not None and path.suffix.lower() == ".html":
        from planner.report.svg import plotly

        plotly()


def csv_text(rows: Rows) -> str:
    """Rows as CSV: what is a list or a table stands there as JSON."""
    stream = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    return as_json(value).replace("\n", "") if isinstance(value, dict | list | tuple) else value


def answer_rows(format: str, text: str, fields: Any, rows: Rows) -> None:
    """The answer on standard output, as a table, as JSON or as CSV."""
    if format == "csv":
        say(csv_text(rows))
    else:
        answer(format, text, fields)


def write_out(path: Path | None, made: Any, fields: Any, rows: Rows) -> None:
    """The answer in a file of the kind that its name says; pictures are those of `made`."""
    if path is None:
        return
    kind = path.suffix.lower()
    if kind == ".csv":
        text = csv_text(rows)
    elif kind == ".json":
        text = as_json(fields)
    elif kind == ".svg":
        text = made.svg()
    else:
        text = made.plot().to_html(include_plotlyjs=True)
    write_whole(path, text)
