"""Reasons as text and HTML."""

from html import escape

from planner.answers.reasons import Reasons
from planner.report import svg
from planner.report.text import aligned
from planner.report.words import field_text

WORTH = 1e-4
"""Relative: shadow prices below this are told as none."""

COUNTED_AS = {
    "time": "of the time",
    "memory": "of what may be filled",
    "limit": "of what is allowed",
}

HEADS = ("what binds", "what more would buy", "the best plan of each other shape")


def _binding_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    return [
        (one.resource, f"{100 * one.share_fraction:.0f} %", COUNTED_AS[one.counts])
        for one in reasons.binding
    ]


def _price_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    worth = []
    idle = []
    for one in reasons.prices:
        if one.effect < WORTH:
            idle.append((one.change, "nothing", ""))
            continue
        then = field_text(reasons.field, one.objective) + _doubt(one.proved)
        worth.append((one.change, f"{100 * one.effect:.2g} % better", then))
    return [*worth, *idle]


def _alternative_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in reasons.alternatives:
        if one.objective is None or one.effect is None:
            rows.append((one.shape, "none", one.refused))
            continue
        then = field_text(reasons.field, one.objective) + _doubt(one.proved)
        rows.append((one.shape, f"{100 * one.effect:.3g} % worse", then))
    return rows


def _doubt(proved: bool) -> str:
    return "" if proved else " (the best found; time ran out)"


def _title(reasons: Reasons) -> str:
    return (
        f"why {reasons.field} = {field_text(reasons.field, reasons.objective)} by {reasons.shape}"
    )


def reasons_text(reasons: Reasons) -> str:
    """For a terminal."""
    lines = [_title(reasons)]
    parts = (_binding_rows(reasons), _price_rows(reasons), _alternative_rows(reasons))
    for head, rows in zip(HEADS, parts, strict=True):
        if rows:
            lines += ["", head, *aligned(rows)]
    return "\n".join(lines)


def reasons_html(reasons: Reasons) -> str:
    """For a notebook."""
    parts = (_binding_rows(reasons), _price_rows(reasons), _alternative_rows(reasons))
    tables = (
        svg.table((head, "", ""), rows, words=(0, 2))
        for head, rows in zip(HEADS, parts, strict=True)
        if rows
    )
    return f"<div><b>{escape(_title(reasons))}</b>" + "".join(tables) + "</div>"
