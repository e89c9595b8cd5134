"""A sweep for a terminal: how its cells ended, what they have in common, and a table of the
rest."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from planner.report.tables import cut_to_width
from planner.report.words import WORDS, field_text, limit_text
from planner.studies.study import SHOWN, left_out
from planner.studies.sweeps.cells import SweepRow


class Column(NamedTuple):
    """One column of the table."""

    head: str
    field: str
    """Of `SweepRow`."""
    text: Callable[[SweepRow], str]


def _plain(head: str, field: str) -> Column:
    return Column(head, field, lambda row: _said(getattr(row, field)))


def _figure(field: str) -> Column:
    return Column(field, field, lambda row: _figure_said(field, getattr(row, field)))


def _said(value: Any) -> str:
    return "" if value is None else str(value)


def _figure_said(field: str, value: float | None) -> str:
    return "" if value is None else field_text(field, value)


def _batch(row: SweepRow) -> str:
    return "open" if row.asked_batch_size is None else f"{row.asked_batch_size:,}"


def _limits(row: SweepRow) -> str:
    return ", ".join(limit_text(name, value) for name, value in row.limits)


def _value(row: SweepRow) -> str:
    return _figure_said(row.objective, row.value)


ASKED = (
    _plain("model", "model"),
    _plain("weights", "weight_dtype"),
    _plain("machine", "topology"),
    _plain("of chips", "machine_chips"),
    _plain("software", "software"),
    Column("batch asked", "asked_batch_size", _batch),
    _plain("prompt", "prompt_tokens"),
    _plain("output", "output_tokens"),
    _plain("requests/s asked", "asked_requests_per_s"),
    _plain("objective", "objective"),
    Column("limits", "limits", _limits),
    _plain("space", "space"),
)
FOUND = (
    _plain("status", "status"),
    Column("value", "value", _value),
    _plain("chips", "chips"),
    _plain("replicas", "replicas"),
    _plain("TP", "tensor_parallel"),
    _plain("PP", "pipeline_parallel"),
    _plain("EP", "expert_parallel"),
    _plain("batch", "batch_size"),
)
UNTOLD = {"key", "message", "bound", "power_scope", "power_basis", "price_basis"}
"""Fields that have no column in a terminal."""


def columns_of(rows: Sequence[SweepRow]) -> tuple[list[Column], list[Column]]:
    """What all rows have in common; and what is told row by row."""
    objectives = {row.objective for row in rows}
    known = {column.field for column in (*ASKED, *FOUND)} | UNTOLD
    if len(objectives) == 1:
        known |= objectives  # that figure is the value
    figures = [_figure(name) for name in WORDS if name in SweepRow.model_fields]
    rest = [column for column in figures if column.field not in known]

    asked = [column for column in ASKED if any(map(column.text, rows))]
    found = [column for column in FOUND if any(map(column.text, rows))]
    figured = [column for column in rest if any(map(column.text, rows))]
    alike = [column for column in asked if _is_alike(column, rows)]
    if len(rows) > 1:
        always = ("status", "value")
        alike += [one for one in found if one.field not in always and _is_alike(one, rows)]
    told = [column for column in (*asked, *found) if column not in alike]
    return alike, [*told, *figured]


def _is_alike(column: Column, rows: Sequence[SweepRow]) -> bool:
    return len(set(map(column.text, rows))) == 1


def table_text(rows: Sequence[SweepRow], undone: int = 0) -> str:
    """Cells and how they ended, a table no wider than a terminal, and in a sentence what it leaves
    out."""
    counts = Counter(row.status for row in rows) + Counter({"left undone": undone})
    ended = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
    lines = [f"{len(rows) + undone:,} cells: {ended}"]
    if rows:
        lines += _table_lines(rows)
    # Backwards, so that of each kind the first message stays.
    told = {row.status: row.message for row in reversed(rows) if row.message}
    lines += [f"{status}: {told[status]}" for status, _ in counts.most_common() if status in told]
    return "\n".join(lines)


def _table_lines(rows: Sequence[SweepRow]) -> list[str]:
    alike, columns = columns_of(rows)
    first = rows[0]
    lines = []
    if alike:
        said = ", ".join(f"{column.head} {column.text(first)}" for column in alike)
        lines.append(f"in all of them: {said}")

    shown = [[column.text(row) for column in columns] for row in rows[:SHOWN]]
    cut = cut_to_width([column.head for column in columns], shown)
    lines += ["", cut.text]
    left = left_out(len(rows) - len(shown), cut.left_out)
    if left:
        lines.append(f"not shown: {left}; --out FILE writes all as CSV, .to_frame() has them all")
    return [*lines, ""]
