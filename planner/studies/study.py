"""`Study`: what every answer of many plans is: rows, a table of them, a picture, a page."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.catalogue import counted_name, load_topology
from planner.errors import InputError, shortened
from planner.machines.engine import Space
from planner.machines.topology import Topology
from planner.records import Record, as_text
from planner.report.svg import table
from planner.report.tables import cut_to_width

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 40
"""Rows on a page; the table has them all."""
MOST_CELL = 40
"""Characters of a cell in a terminal."""
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

    @property
    def under(self) -> str:
        """Under what terms it was made, in one line; empty where it states none."""
        return ""

    def columns(self) -> list[str]:
        """Fields of the rows that a page shows."""
        return list(type(self.rows[0]).model_fields)

    def __str__(self) -> str:
        """As a terminal shows it: what was asked, and a table of the first rows, where a study has
        no words of its own."""
        shown = as_text(self)
        return study_text(self) if shown is None else shown

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
        terms = f"<p>{html.escape(self.under)}</p>" if self.under else ""
        return table(names, lines) + more + terms


def study_text(made: Study) -> str:
    """A line of what was asked, and a table of as many rows and columns as a terminal has room
    for."""
    asked = [
        f"{name} {_spoken(value)}"
        for name, value in made
        if name != "rows" and isinstance(value, str | int | float) and value != ""
    ]
    title = ", ".join([type(made).__name__, *asked])
    if not made.rows:
        return f"{title}: no rows"
    names = made.columns()
    lines = []
    for row in made.rows[:SHOWN]:
        fields = row.model_dump(mode="json")
        lines.append([_cut(_spoken(fields[name])) for name in names])
    cut = cut_to_width(names, lines)
    left = left_out(len(made.rows) - len(lines), cut.left_out)
    more = f"\n{left} in .to_frame()" if left else ""
    terms = f"\n{made.under}" if made.under else ""
    return f"{title}\n{cut.text}{more}{terms}"


def left_out(rows: int, columns: Sequence[str]) -> str:
    """What a table does not show, in words; "" where it shows all."""
    parts = []
    if rows > 0:
        parts.append(f"{rows:,} more row{'s' * (rows > 1)}")
    if columns:
        several = "s" * (len(columns) > 1)
        parts.append(f"{len(columns)} more column{several} ({', '.join(columns)})")
    return " and ".join(parts)


def _cut(words: str) -> str:
    return words if len(words) <= MOST_CELL else words[: MOST_CELL - 1] + "…"


def machine_of(given: str | Topology) -> Topology:
    """By its name in the catalogue or its file, or as it is."""
    return load_topology(given) if isinstance(given, str) else given


def uncounted_machine_of(given: str | Topology) -> Topology:
    """Likewise where as many chips are taken as are best: a count behind the name is refused."""
    named = counted_name(given) if isinstance(given, str) else None
    if named is not None and named.chips is not None:
        raise InputError(
            f"{shortened(given)!r} names a number of chips, and here each machine has as many as"
            f" are best; give {shortened(named.name)!r}"
        )
    return machine_of(given)


def _spoken(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_spoken(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_spoken(part) for part in value)
    return str(value)
