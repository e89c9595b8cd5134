"""Half widths of intervals from rows that were left out, and how well they cover such rows.

Of rows that lie within what was left, a stack's fields have a width, all together and by the sort
of rows, those of few rows drawn towards the width of all. Of rows that lie beyond for one reason,
what their errors need more than that, added in squares, is what the reason widens by; where a stack
has few such rows, as all stacks together need.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from planner.calibration.fitting import LEAST_ROWS, LEAST_WIDTH
from planner.calibration.leaving_out import Outside
from planner.machines.software import Residual, Widening
from planner.scoring.score import ALL, QUOTIENTS, Widths, spread_within

WITHIN = 0.8
PRIOR_ROWS = 10
"""The width of all counts as much as so many rows of one sort."""
PRIOR_BEYOND = 40
"""What all stacks need beyond counts as much as so many rows of one stack."""
WORTH_SAYING = 0.1
"""Relative: sorts of rows whose width is nearer to that of all get none of their own."""
POOLED = "*"
"""Of all stacks."""
Known = dict[tuple[str, str, str], float]
"""Half widths by stack, field and sort of rows."""
Beyond = dict[tuple[str, str], float]
"""Half widths by stack and reason."""


@dataclass(slots=True)
class Interval:
    """What left-out rows say of all stacks."""

    known: Known
    beyond: Beyond
    made: dict[str, Widths] = field(default_factory=dict)
    """By stack, those that were asked for."""

    def residuals(self, stack: str) -> tuple[Residual, ...]:
        """Of one stack, those of all of its rows first."""
        own = [(like, figure) for name, figure, like in self.known if name == stack]
        return tuple(
            Residual(field=figure, half_width=_rounded(self.known[stack, figure, like]), like=like)
            for like, figure in sorted(own)
        )

    def widenings(self, stack: str) -> tuple[Widening, ...]:
        """Of one stack, as of all where it has no rows that tell."""
        reasons = sorted({reason for _, reason in self.beyond})
        return tuple(
            Widening(reason=reason, half_width=_rounded(self._widening(stack, reason)))
            for reason in reasons
        )

    def _widening(self, stack: str, reason: str) -> float:
        return self.beyond.get((stack, reason), self.beyond[POOLED, reason])

    def width(self, row: Outside) -> float:
        """Half width of the 80 % interval of a row when it was left out, as a score would have
        it."""
        if row.stack not in self.made:
            widths = Widths(self.residuals(row.stack), self.widenings(row.stack))
            self.made[row.stack] = widths
        found = self.made[row.stack].residuals(row.likes, row.reasons)
        return next(one.half_width for one in found if one.field == row.field)


def _rounded(width: float) -> float:
    return float(f"{width:.3g}")


def intervals_from(rows: Sequence[Outside]) -> Interval:
    """The widths that rows left out ask for."""
    known = _known([row for row in rows if not row.reasons], rows)
    beyond: Beyond = {}
    made = Interval(known, beyond)
    # Rows beyond for one reason alone tell it best; those for several, what is left of the last.
    for most in (1, 2, 3):
        found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            unknown = [reason for reason in row.reasons if (POOLED, reason) not in beyond]
            if len(unknown) == 1 and len(row.reasons) <= most:
                base = made.width(row._replace(reasons=_without(row.reasons, unknown)))
                left = math.sqrt(max(0.0, row.error**2 - base**2))
                found[unknown[0]][row.stack].append(left)
        for reason, by_stack in found.items():
            beyond |= _widened(reason, by_stack)
        _order(beyond)
        made.made.clear()
    return made


def _without(reasons: tuple[str, ...], unknown: Sequence[str]) -> tuple[str, ...]:
    return tuple(reason for reason in reasons if reason not in unknown)


def _widened(reason: str, by_stack: dict[str, list[float]]) -> Beyond:
    everything = [left for found in by_stack.values() for left in found]
    if len(everything) < LEAST_ROWS:
        return {}
    # Each stack counts as much as another, however many rows it has.
    pooled = float(np.mean([_quantile(found) for found in by_stack.values()]))
    made = {(POOLED, reason): pooled}
    for stack, found in by_stack.items():
        made[stack, reason] = _drawn_to(pooled, PRIOR_BEYOND, found)
    return made


def _order(beyond: Beyond) -> None:
    """Further away is no surer."""
    for stack, reason in list(beyond):
        near = beyond.get((stack, reason.removeprefix("far ")))
        if reason.startswith("far ") and near is not None:
            beyond[stack, reason] = max(near, beyond[stack, reason])


def _quantile(sizes: Iterable[float]) -> float:
    return float(np.quantile(np.array(list(sizes)), WITHIN))


def _drawn_to(middle: float, strength: float, sizes: Sequence[float]) -> float:
    return (strength * middle + len(sizes) * _quantile(sizes)) / (strength + len(sizes))


def _known(inside: Sequence[Outside], rows: Sequence[Outside]) -> Known:
    by_field: dict[str, list[float]] = defaultdict(list)
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    told = {(row.stack, row.field) for row in inside}
    for row in inside:
        by_field[row.field].append(abs(row.error))
    # Where every row that was left out lay beyond, those of the fit have to do.
    fitted = {(row.row_id, row.field): row for row in rows if (row.stack, row.field) not in told}
    alone = [row._replace(error=row.fitted) for row in fitted.values()]
    for row in (*inside, *alone):
        # Joules have the width of watts over a rate.
        for like in () if row.field in QUOTIENTS else dict.fromkeys((*row.likes, ALL)):
            cells[row.stack, row.field, like].append(abs(row.error))

    known: Known = {}
    for (stack, figure, like), sizes in sorted(cells.items(), key=lambda one: len(one[0][2])):
        parent = _parent(known, stack, figure, like)
        if like == ALL:
            middle = _quantile(by_field[figure] or sizes)
            known[stack, figure, like] = max(LEAST_WIDTH, _drawn_to(middle, PRIOR_ROWS, sizes))
        elif parent is not None and len(sizes) >= LEAST_ROWS:
            width = max(LEAST_WIDTH, _drawn_to(parent, PRIOR_ROWS, sizes))
            if abs(math.log(width / parent)) > WORTH_SAYING:
                known[stack, figure, like] = width
    # Watts are of chips: those of a stack under which nobody measured any are as sure as others'.
    for stack in {row.stack for row in rows}:
        if by_field["power_w"]:
            known.setdefault((stack, "power_w", ALL), _quantile(by_field["power_w"]))
    return known


def _parent(known: Known, stack: str, field: str, like: str) -> float | None:
    """Of "served hopper" "served", of that all."""
    for above in (like.rpartition(" ")[0], ALL):
        if above != like and (stack, field, above) in known:
            return known[stack, field, above]
    return None


class Coverage(NamedTuple):
    """How many of like rows lie within their intervals when they are left out."""

    name: str
    rows: int
    """Rows times the ways in which they were left out."""
    fitted: float
    """Median error of the rows when they take part, as a factor - 1."""
    left_out: float
    bias: float
    """Median of ln(predicted / measured) when left out."""
    half: float
    """Share within the interval of 50 %; so of 80 and 95."""
    most: float
    nearly_all: float


def coverages(
    rows: Sequence[Outside], made: Interval, name_of: Callable[[Outside], str]
) -> list[Coverage]:
    """By what the rows have in common."""
    groups: dict[str, list[tuple[Outside, float]]] = defaultdict(list)
    for row in rows:
        groups[name_of(row)].append((row, made.width(row)))
    return [_coverage(name, found) for name, found in sorted(groups.items())]


def _coverage(name: str, found: Sequence[tuple[Outside, float]]) -> Coverage:
    errors = np.array([row.error for row, _ in found])
    widths = np.array([width for _, width in found])
    fitted = np.array([row.fitted for row, _ in found])
    shares = [
        float(np.mean(np.abs(errors) <= widths * spread_within(probability)))
        for probability in (0.5, 0.8, 0.95)
    ]
    return Coverage(
        name,
        len(found),
        float(np.expm1(np.median(np.abs(fitted)))),
        float(np.expm1(np.median(np.abs(errors)))),
        float(np.median(errors)),
        *shares,
    )
