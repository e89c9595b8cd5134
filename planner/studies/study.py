"""`Study`: what every answer of many plans is: rows, a table of them, a picture, a page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.catalogue import load_topology
from planner.errors import InputError
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.records import Record
from planner.report.svg import table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 40
"""Rows on a page; the table has them all."""
SPACE_WORDS: dict[Space, str] = {"engine": "plans that the engines run", "any": "any plan"}
"""Among which plans the best was looked for, as captions say it."""


class Study(Record):
    """Rows, and what was asked of them. JSON both ways like every record."""

    rows: tuple[Record, ...]

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table, one column a field."""
        import pandas as pd

        return pd.DataFrame([row.model_dump(mode="json") for row in self.rows])

    def plot(self) -> Any:
        """The picture as a plotly figure (`pip install spread-planner[viz]`)."""
        raise InputError(f"{type(self).__name__} has no picture")

    def columns(self) -> list[str]:
        """Fields of the rows that a page shows."""
        return list(type(self.rows[0]).model_fields)

    def _repr_html_(self) -> str:
        """The first rows, for a notebook."""
        if not self.rows:
            return "<p>no rows</p>"
        names = self.columns()
        lines = []
        for row in self.rows[:SHOWN]:
            fields = row.model_dump(mode="json")
            lines.append([_spoken(fields[name]) for name in names])
        left = len(self.rows) - len(lines)
        more = f"<p>{left} more rows in <code>.to_frame()</code></p>" if left > 0 else ""
        return table(names, lines) + more


def machine_of(given: str | Topology) -> Topology:
    """By its name in the catalogue or its file, or as it is."""
    return load_topology(given) if isinstance(given, str) else given


def _spoken(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_spoken(part) for part in value)
    return str(value)
