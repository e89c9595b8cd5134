"""How sure a comparison is: what the doubt about each figure, and the fit's residual, do to one
number of one machine.

Each figure is taken to lie within `doubts.spread_of` of its value with a probability of 80 %, by
its grade of confidence or as it says itself; figures that were fitted are in the residual of their
software. A figure's effect is the change of the number when the figure is moved (and the plan
chosen again), on logarithmic scales; effects of different figures, and the residual, add in
squares.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

from planner.errors import PlannerError
from planner.machines.topology import Figure, Topology, with_value
from planner.records import Record
from planner.scoring.doubts import STEP, WORDS, spread_of
from planner.scoring.score import residuals_of

TAKEN_AS_THEY_ARE = ("A", "stated", "fit")
"""Grades whose doubt does not count here, unless a figure states its own: what was read or stated,
and what was fitted, whose error is in the residual of the rows that it was fitted on."""
SURE = 0.9
"""Share of draws from which a winner is taken as sure: then its border lies within an 80 %
interval."""


class FigureEffect(Record):
    """What one figure does to a number."""

    path: str
    value: float
    source: str
    confidence: str
    slope: float
    """Change of the number, in percent, for a change of the figure by one percent."""
    half_width: float
    """What the doubt about the figure does to the number, on a logarithmic scale (80 %)."""

    def __str__(self) -> str:
        grade = WORDS.get(self.confidence, self.confidence)
        return f"{self.path} ({grade}): {self.slope:+.2f} % for 1 %"


def is_doubted(figure: Figure) -> bool:
    """Whether its doubt counts beside the residual."""
    return figure.within is not None or figure.confidence not in TAKEN_AS_THEY_ARE


def residual_of(topology: Topology, field: str) -> float:
    """Half width of the 80 % interval that the software's residual gives a field (see
    `Score.interval`)."""
    return next(
        (one.half_width for one in topology.software.kept(residuals_of) if one.field == field), 0.0
    )


def figure_effects(
    topology: Topology, value_on: Callable[[Topology], float | None]
) -> tuple[FigureEffect, ...]:
    """The figures that move a number of a machine, those whose doubt moves it most first.

    `value_on` gives the number on another version of the machine; None, or an error of the planner,
    where there is none.
    """
    base = value_on(topology)
    if not base:
        return ()
    found = []
    for figure in topology.figures:
        slope = _slope(topology, figure, base, value_on)
        if abs(slope) > 1e-3:
            spread = spread_of(figure) if is_doubted(figure) else 0.0
            effect = FigureEffect(
                path=figure.path,
                value=figure.value,
                source=figure.source,
                confidence=figure.confidence,
                slope=slope,
                half_width=abs(slope) * spread,
            )
            found.append(effect)
    return tuple(sorted(found, key=lambda one: (-one.half_width, -abs(one.slope), one.path)))


def _slope(
    topology: Topology, figure: Figure, base: float, value_on: Callable[[Topology], float | None]
) -> float:
    """Of the number's logarithm over the figure's, for a step up, or down where it cannot grow."""
    whole = figure.path.endswith(("_tokens", "_sequences", "_parallel", "wraps_from"))
    if not figure.value or figure.path.startswith("software.residuals"):
        return 0.0
    for step in (STEP, -STEP):
        moved = figure.value * (1 + step)
        moved = max(1, round(moved)) if whole else moved
        try:
            value = value_on(with_value(topology, figure.path, moved))
        except PlannerError:
            continue
        if value and moved != figure.value:
            return math.log(value / base) / math.log(moved / figure.value)
    return 0.0


def combined(*half_widths: float) -> float:
    """Of independent parts: the root of the sum of squares."""
    return math.hypot(*half_widths)


def at_probability(half_width: float, probability: float) -> float:
    """An 80 % half width as that of another probability, for a normal distribution of
    logarithms."""
    normal = NormalDist()
    return half_width * normal.inv_cdf(0.5 + probability / 2) / normal.inv_cdf(0.9)
