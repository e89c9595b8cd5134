"""Fronts as text, HTML, SVG and interactive pictures."""

import itertools
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from planner.answers.fronts import Front
from planner.answers.question import FIELDS
from planner.errors import UnknownNameError
from planner.report import svg
from planner.report.plans import plan_line, space_line
from planner.report.svg import Point
from planner.report.text import aligned, question_lines
from planner.report.words import FIELD_WORDS, field_text
from planner.scoring.score import Score

if TYPE_CHECKING:
    import plotly.graph_objects as go

ERROR = "rgba(120, 120, 120, 0.22)"
LINE = "#0072B2"
BAND = "#B9D6E8"
DOT = "#D55E00"
EDGE = "#222222"

SCALES = {
    "s": (1e3, "ms"),
    "1/s": (1.0, "1/s"),
    "USD": (1.0, "USD"),
    "J": (1.0, "J"),
    "W": (1.0, "W"),
    "B": (1e-9, "GB"),
}
"""Of a field's unit the one on an axis, and how many of it are one."""


# ── Lines ────────────────────────────────────────────────────────────────────────────────────────


class Plane(NamedTuple):
    """Two fields of a front: one across, one up."""

    across: str
    up: str

    @property
    def lower_is_better(self) -> tuple[bool, bool]:
        return FIELDS[self.across].best == "least", FIELDS[self.up].best == "least"

    def pair(self, score: Score) -> Point:
        """Both fields of a score, in SI."""
        return float(getattr(score, self.across)), float(getattr(score, self.up))

    def shown(self, points: Iterable[Point]) -> list[Point]:
        """Points in the units of the axes."""
        x_scale = _scale_of(self.across)[0]
        y_scale = _scale_of(self.up)[0]
        return [(x * x_scale, y * y_scale) for x, y in points]

    @property
    def titles(self) -> tuple[str, str]:
        return _axis_title(self.across), _axis_title(self.up)


def _plane_of(front: Front, across: str | None, up: str | None) -> Plane:
    chosen = Plane(across or front.fields[0], up or front.fields[1])
    for name in chosen:
        if name not in front.fields:
            raise UnknownNameError("field of this front", name, front.fields)
    return chosen


def _scale_of(name: str) -> tuple[float, str]:
    unit = FIELD_WORDS[name].unit
    return SCALES.get(unit, (1.0, unit))


def _axis_title(name: str) -> str:
    return f"{FIELD_WORDS[name].title} [{_scale_of(name)[1] or '1'}]"


def staircase(front: Front, across: str, up: str, factor: float = 1.0) -> list[Point]:
    """Corners of the line beyond which none of the members lies in two fields; with a factor
    above 1, moved to where the tolerance puts the last plan that might be missing."""
    plane = Plane(across, up)
    low_x, low_y = plane.lower_is_better
    moved = []
    for one in front.members:
        x, y = plane.pair(one.score)
        moved.append((x / factor if low_x else x * factor, y / factor if low_y else y * factor))
    return _corners(moved, plane)


def error_lines(
    front: Front, across: str, up: str, probability: float = 0.8
) -> tuple[list[Point], list[Point]]:
    """Corners of the line through the best plans if measurements came out well, and if they came
    out ill: at the ends of the intervals of both fields at once, since a stack that is slow in
    one is slow in the other."""
    plane = Plane(across, up)
    low_x, low_y = plane.lower_is_better
    well = []
    ill = []
    for one in front.members:
        x = one.score.interval(across, probability)
        y = one.score.interval(up, probability)
        well.append((x[0] if low_x else x[1], y[0] if low_y else y[1]))
        ill.append((x[1] if low_x else x[0], y[1] if low_y else y[0]))
    return _corners(well, plane), _corners(ill, plane)


def _corners(points: list[Point], plane: Plane) -> list[Point]:
    """Of the line through the best of some points in two fields."""
    low_x, low_y = plane.lower_is_better

    def order(point: Point) -> Point:
        return point[0] if low_x else -point[0], point[1] if low_y else -point[1]

    # From the best across, only what is better up than all before it is on the line.
    kept: list[Point] = []
    for point in sorted(points, key=order):
        if not kept or order(point)[1] < order(kept[-1])[1]:
            kept.append(point)

    corners = [kept[0]]
    for before, after in itertools.pairwise(kept):
        corners += [(after[0], before[1]), after]
    return corners


def _title(front: Front) -> str:
    machine = f"{front.topology.chips} × {front.topology.chip.name}"
    proof = "time ran out, others may be missing"
    if front.status == "complete":
        proof = "every plan is covered"
    return (
        f"{len(front.members)} plans of {front.graph.name} on {machine}: {proof} within"
        f" {100 * front.tolerance:g} %"
    )


def _plan_names(front: Front) -> list[str]:
    return [
        f"{row['shape']}, {row['chips']} chips, batch {row['batch_size']}" for row in front.rows()
    ]


# ── Interactive ──────────────────────────────────────────────────────────────────────────────────


def front_figure(front: Front, across: str | None = None, up: str | None = None) -> "go.Figure":
    """An interactive picture of two of the fields (needs plotly)."""
    plane = _plane_of(front, across, up)
    drawn = svg.plotly().Figure()
    _add_error_band(drawn, front, plane)
    _add_tolerance_band(drawn, front, plane)

    plans = plane.shown(plane.pair(one.score) for one in front.members)
    drawn.add_scatter(
        x=[x for x, _ in plans],
        y=[y for _, y in plans],
        mode="markers",
        marker={"size": 7, "color": DOT, "line": {"color": EDGE, "width": 1}},
        name="plans",
        text=_plan_names(front),
    )
    x_title, y_title = plane.titles
    drawn.update_layout(
        title=_title(front),
        template="plotly_white",
        font={"size": 13},
        xaxis=svg.log_axis(x_title, _all_of(drawn, "x")),
        yaxis=svg.log_axis(y_title, _all_of(drawn, "y")),
    )
    return drawn


def _all_of(drawn: "go.Figure", axis: str) -> list[float]:
    return [value for trace in drawn.data for value in trace[axis]]


def _add_error_band(drawn: "go.Figure", front: Front, plane: Plane) -> None:
    # plotly fills from a line to the one before it: the second of the two has the fill.
    for number, corners in enumerate(error_lines(front, *plane)):
        shown = plane.shown(corners)
        drawn.add_scatter(
            x=[x for x, _ in shown],
            y=[y for _, y in shown],
            mode="lines",
            line={"color": ERROR, "width": 0.5},
            name="where it would be measured (80 %)",
            showlegend=bool(number),
            fill="tonexty" if number else None,
            fillcolor=ERROR,
        )


def _add_tolerance_band(drawn: "go.Figure", front: Front, plane: Plane) -> None:
    far = plane.shown(staircase(front, *plane, 1 + front.tolerance))
    drawn.add_scatter(
        x=[x for x, _ in far],
        y=[y for _, y in far],
        mode="lines",
        line={"dash": "dash", "color": EDGE, "width": 1},
        name=f"no plan lies beyond (tolerance {100 * front.tolerance:g} %)",
        fillcolor=BAND,
    )
    near = plane.shown(staircase(front, *plane))
    drawn.add_scatter(
        x=[x for x, _ in near],
        y=[y for _, y in near],
        mode="lines",
        line={"color": LINE, "width": 2},
        name="best of the front",
        fill="tonexty",
        fillcolor=BAND,
    )


# ── SVG ──────────────────────────────────────────────────────────────────────────────────────────

WIDTH = 720.0
HEIGHT = 420.0
BOX = (80.0, 50.0, 700.0, 360.0)
"""Left, top, right and bottom of the frame."""


def front_svg(front: Front) -> str:
    """The first two fields, both on logarithmic axes: plans, the line through the best of them,
    the band in which the tolerance may hide others, and in grey where 80 % of measurements would
    lie."""
    plane = Plane(*front.fields[:2])
    near = plane.shown(staircase(front, *plane))
    far = plane.shown(staircase(front, *plane, 1 + front.tolerance))
    well, ill = (plane.shown(corners) for corners in error_lines(front, *plane))
    plans = plane.shown(plane.pair(one.score) for one in front.members)

    # What is 0 has no place on a logarithmic scale, and is drawn at its edge.
    positive = [point for point in (*near, *far, *plans, *well, *ill) if min(point) > 0]
    frame = svg.framed([x for x, _ in positive], [y for _, y in positive], BOX)

    error = frame.path([*well, *reversed(ill)])
    band = frame.path([*near, *reversed(far)])
    body = [
        svg.text(8, 20, _title(front), size=13),
        *svg.axes(frame, *plane.titles),
        f"<polygon points='{error}' fill='{ERROR}'/>",
        f"<polygon points='{band}' fill='{BAND}'/>",
        f"<polyline points='{frame.path(far)}' fill='none' stroke='{EDGE}'"
        " stroke-dasharray='5 4'/>",
        f"<polyline points='{frame.path(near)}' fill='none' stroke='{LINE}' stroke-width='2'/>",
    ]
    for point, tip in zip(plans, _plan_names(front), strict=True):
        x, y = frame.at(point)
        body.append(
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{DOT}' stroke='{EDGE}'>"
            f"<title>{tip}</title></circle>"
        )
    legend = (
        f"● plans   — best of them   - - no plan lies beyond ({100 * front.tolerance:g} %)"
        "   grey: measured with 80 %"
    )
    body.append(svg.text(BOX[2], 38, legend, anchor="end"))
    return svg.picture(WIDTH, HEIGHT, body, title=_title(front))


# ── Text and HTML ────────────────────────────────────────────────────────────────────────────────


def _table(front: Front) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    header = (*front.fields, "plan", "chips", "micro-batches", "sequences")
    rows = []
    for row, member in zip(front.rows(), front.members, strict=True):
        figures = [field_text(name, row[name]) for name in front.fields]
        counts = [str(row[name]) for name in ("chips", "micro_batches", "batch_size")]
        rows.append((*figures, plan_line(member.plan), *counts))
    return header, rows


def _space(front: Front) -> str:
    return f"chosen from: {space_line(front.space, [front.topology.software])}"


def front_text(front: Front) -> str:
    """For a terminal."""
    header, rows = _table(front)
    asked = question_lines(front.graph, front.topology, front.workload)
    told = [_title(front), _space(front)]
    return "\n".join([*asked, "", *told, "", *aligned([header, *rows])])


def front_html(front: Front) -> str:
    """For a notebook."""
    header, rows = _table(front)
    table = svg.table(header, rows, words=(len(front.fields),))
    return f"<div>{front_svg(front)}<div>{escape(_space(front))}</div>{table}</div>"
