"""Reasons as text and HTML."""

from html import escape

from planner.answers.reasons import Reasons
from planner.report import svg
from planner.report.misses import near_miss_line
from planner.report.plans import plan_line
from planner.report.text import aligned
from planner.report.words import field_text

WORTH = 1e-4
"""Relative: shadow prices below this are told as none."""
LEAST = 5e-6
"""Relative: plans no further apart are told to be as good."""

COUNTED_AS = {
    "time": "of the time",
    "memory": "of what may be filled",
    "limit": "of what is allowed",
}

UNANSWERED = "not answered in time"

HEADS = (
    "what limits the plan",
    "what better hardware or software would bring",
    "the best plan of each other shape",
    "better plans, each of which breaks one limit",
)

WITHOUT_POOLS = "the best plan without each pool that is used"
"""The third head on a cluster."""


def _heads(reasons: Reasons) -> tuple[str, ...]:
    """Of the parts."""
    return (*HEADS[:2], WITHOUT_POOLS, HEADS[3]) if reasons.pools else HEADS


def _binding_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    return [
        (one.resource, f"{100 * one.share_fraction:.0f} %", COUNTED_AS[one.counts])
        for one in reasons.binding
    ]


def _price_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    worth = []
    idle = []
    unanswered = []
    for one in reasons.prices:
        if one.effect is None or one.objective is None:
            unanswered.append((one.change, UNANSWERED, ""))
            continue
        if one.effect < WORTH:
            idle.append((one.change, "nothing", ""))
            continue
        then = field_text(reasons.field, one.objective) + _doubt(one.proved)
        worth.append((one.change, f"{100 * one.effect:.2g} % better", then))
    return [*worth, *idle, *unanswered]


def _alternative_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in reasons.alternatives:
        if one.objective is None or one.effect is None:
            rows.append(
                (one.shape, "none", one.refused) if one.proved else (one.shape, UNANSWERED, "")
            )
            continue
        then = field_text(reasons.field, one.objective) + _doubt(one.proved)
        worse = f"{100 * one.effect:.3g} % worse" if one.effect >= LEAST else "as good"
        rows.append((one.shape, worse, then))
    return rows


def _miss_rows(reasons: Reasons) -> list[tuple[str, ...]]:
    return [(near_miss_line(one) + _doubt(one.proved), "", "") for one in reasons.near_misses]


def _parts(reasons: Reasons) -> tuple[list[tuple[str, ...]], ...]:
    """Rows below each of the heads."""
    return (
        _binding_rows(reasons),
        _price_rows(reasons),
        _alternative_rows(reasons),
        _miss_rows(reasons),
    )


def _doubt(proved: bool) -> str:
    return "" if proved else " (the best found; time ran out)"


def _title(reasons: Reasons) -> str:
    called = "pools" if reasons.pools else "plan"
    return (
        f"why {reasons.field} = {field_text(reasons.field, reasons.objective)} ({called}:"
        f" {reasons.shape})"
    )


def _caveats(reasons: Reasons) -> list[str]:
    """What is not the best, or not proved to be."""
    lines = []
    if reasons.better is not None:
        lines.append(
            "a better plan than the result's was found on the way, and is explained here:"
            f" {plan_line(reasons.better)}"
        )
    if not reasons.proved:
        lines.append(
            "it is not proved that this plan is the best: some of the improvements below may be"
            " possible without better hardware or software"
        )
    return lines


def reasons_text(reasons: Reasons) -> str:
    """For a terminal."""
    lines = [_title(reasons), *_caveats(reasons)]
    parts = _parts(reasons)
    for head, rows in zip(_heads(reasons), parts, strict=True):
        if rows:
            lines += ["", head, *aligned(rows)]
    return "\n".join(lines)


def reasons_html(reasons: Reasons) -> str:
    """For a notebook."""
    parts = _parts(reasons)
    tables = (
        svg.table((head, "", ""), rows, words=(0, 2))
        for head, rows in zip(_heads(reasons), parts, strict=True)
        if rows
    )
    told = "".join(f"<div>{escape(line)}</div>" for line in _caveats(reasons))
    return f"<div><b>{escape(_title(reasons))}</b>{told}" + "".join(tables) + "</div>"
