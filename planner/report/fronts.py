"""Fronts as text, HTML, SVG and interactive pictures."""

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from planner.answers.fronts import Front
from planner.answers.question import FIELDS
from planner.errors import UnknownNameError
from planner.report import svg
from planner.report.text import aligned, question_lines
from planner.report.words import FIELD_WORDS, field_text
from planner.scoring.score import Score

if TYPE_CHECKING:
    import plotly.graph_objects as go

ERROR = "rgba(120, 120, 120, 0.22)"


LINE, BAND, DOT = "#0072B2", "#B9D6E8", "#D55E00"


SCALES = {
    "s": (1e3, "ms"),
    "1/s": (1.0, "1/s"),
    "USD": (1.0, "USD"),
    "J": (1.0, "J"),
    "W": (1.0, "W"),
    "B": (1e-9, "GB"),
}


def _axes(front: Front, across: str | None, up: str | None) -> tuple[str, str]:
    chosen = (across or front.fields[0], up or front.fields[1])
    for name in chosen:
        if name not in front.fields:
            raise UnknownNameError("field of this front", name, front.fields)
    return chosen


def _shown(name: str, value: float) -> float:
    return value * SCALES.get(FIELD_WORDS[name].unit, (1.0, ""))[0]


def _axis_title(name: str) -> str:
    word = FIELD_WORDS[name]
    unit = SCALES.get(word.unit, (1.0, word.unit))[1]
    return f"{word.title} [{unit or '1'}]"


def staircase(front: Front, across: str, up: str, factor: float = 1.0) -> list[tuple[float, float]]:
    """Corners of the line beyond which none of the members lies in two fields; with a factor
    above 1, moved to where the tolerance puts the last plan that might be missing."""
    least = [FIELDS[name].best == "least" for name in (across, up)]
    points = [
        tuple(
            value / factor if low else value * factor
            for value, low in zip(pair, least, strict=True)
        )
        for pair in ((getattr(one.score, across), getattr(one.score, up)) for one in front.members)
    ]
    return _corners(points, least)


def error_lines(
    front: Front, across: str, up: str, probability: float = 0.8
) -> tuple[list[tuple[float, float]], ...]:
    """Corners of the line through the best plans if measurements came out well, and if they came
    out ill: at the ends of the intervals of both fields at once, since a stack that is slow in
    one is slow in the other."""
    least = [FIELDS[name].best == "least" for name in (across, up)]

    def pair(score: Score, well: bool) -> tuple[float, ...]:
        ends = [score.interval(name, probability) for name in (across, up)]
        return tuple(end[0 if low == well else 1] for end, low in zip(ends, least, strict=True))

    return tuple(
        _corners([pair(one.score, well) for one in front.members], least) for well in (True, False)
    )


def _corners(points: list[tuple[float, ...]], least: list[bool]) -> list[tuple[float, float]]:
    """Of the line through the best of some points in two fields."""
    points.sort(
        key=lambda point: (point[0] if least[0] else -point[0], point[1] if least[1] else -point[1])
    )
    kept: list[tuple[float, float]] = []
    for x, y in points:
        if not kept or (y < kept[-1][1] if least[1] else y > kept[-1][1]):
            kept.append((x, y))
    corners = [kept[0]]
    for before, after in itertools.pairwise(kept):
        corners += [(after[0], before[1]), after]
    return corners


def front_figure(front: Front, across: str | None = None, up: str | None = None) -> "go.Figure":
    """An interactive picture of two of the fields (needs plotly)."""
    return _figure(front, *_axes(front, across, up))


def _figure(front: Front, across: str, up: str) -> "go.Figure":
    go = svg.plotly()
    drawn = go.Figure()
    for number, corners in enumerate(error_lines(front, across, up)):
        xs, ys = zip(*corners, strict=True)
        drawn.add_scatter(
            x=[_shown(across, x) for x in xs], y=[_shown(up, y) for y in ys], mode="lines", line={"color": ERROR, "width": 0.5},
            name="where it would be measured (80 %)", showlegend=bool(number), fill="tonexty" if number else None,
            fillcolor=ERROR,
        )  # fmt: skip
    lines = [staircase(front, across, up, factor) for factor in (1 + front.tolerance, 1.0)]
    looks = ({"dash": "dash", "color": "#222222", "width": 1}, {"color": LINE, "width": 2})
    names = (f"no plan lies beyond (tolerance {100 * front.tolerance:g} %)", "best of the front")
    for number, (corners, look, name) in enumerate(zip(lines, looks, names, strict=True)):
        xs, ys = zip(*corners, strict=True)
        drawn.add_scatter(
            x=[_shown(across, x) for x in xs], y=[_shown(up, y) for y in ys], mode="lines", line=look, name=name,
            fill="tonexty" if number else None, fillcolor=BAND,
        )  # fmt: skip
    rows = front.rows()
    drawn.add_scatter(
        x=[_shown(across, row[across]) for row in rows], y=[_shown(up, row[up]) for row in rows], mode="markers",
        marker={"size": 7, "color": DOT, "line": {"color": "#222222", "width": 1}}, name="plans",
        text=[f"{row['shape']}, {row['chips']} chips, batch {row['batch_size']}" for row in rows],
    )  # fmt: skip
    drawn.update_layout(
        title=_title(front), template="plotly_white", font={"size": 13}, xaxis_title=_axis_title(across),
        yaxis_title=_axis_title(up), xaxis_type="log", yaxis_type="log",
    )  # fmt: skip
    return drawn


def _title(front: Front) -> str:
    count = f"{len(front.members)} plans of {front.graph.name} on {front.topology.chips} × {front.topology.chip.name}"
    proof = (
        "every plan is covered"
        if front.status == "complete"
        else "time ran out, others may be missing"
    )
    return f"{count}: {proof} within {100 * front.tolerance:g} %"


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720.0, 420.0, 80.0, 20.0, 50.0, 60.0


def front_svg(front: Front) -> str:
    """The first two fields, both on logarithmic axes: plans, the line through the best of them,
    the band in which the tolerance may hide others, and in grey where 80 % of measurements would
    lie."""
    across, up = front.fields[:2]
    near, far = staircase(front, across, up), staircase(front, across, up, 1 + front.tolerance)
    plans = [
        (float(getattr(one.score, across)), float(getattr(one.score, up))) for one in front.members
    ]
    well, ill = error_lines(front, across, up)
    positive = [point for point in (*near, *far, *plans, *well, *ill) if min(point) > 0]
    ranges = [
        _range([_shown(name, p[axis]) for p in positive]) for axis, name in enumerate((across, up))
    ]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        (x0, x1), (y0, y1) = ranges
        x, y = (
            max(_shown(name, value), low)
            for name, value, (low, _) in zip((across, up), point, ranges, strict=True)
        )
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / x0) / math.log(x1 / x0),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / y0) / math.log(y1 / y0),
        )

    def points(corners: list[tuple[float, float]]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, corners))

    body = [svg.text(8, 20, _title(front), size=13)]
    body += _ticks(ranges, place, (across, up))
    body.append(f"<polygon points='{points([*well, *reversed(ill)])}' fill='{ERROR}'/>")
    body.append(f"<polygon points='{points([*near, *reversed(far)])}' fill='{BAND}'/>")
    body.append(
        f"<polyline points='{points(far)}' fill='none' stroke='#222222' stroke-dasharray='5 4'/>"
    )
    body.append(f"<polyline points='{points(near)}' fill='none' stroke='{LINE}' stroke-width='2'/>")
    for (x, y), row in zip(map(place, plans), front.rows(), strict=True):
        tip = f"{row['shape']}, {row['chips']} chips, batch {row['batch_size']}"
        body.append(
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{DOT}' stroke='#222222'><title>{tip}</title></circle>"
        )
    legend = f"● plans   — best of them   - - no plan lies beyond ({100 * front.tolerance:g} %)   grey: measured with 80 %"
    body.append(svg.text(WIDTH - RIGHT, 38, legend, anchor="end"))
    return svg.picture(WIDTH, HEIGHT, body, title=_title(front))


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low / 1.1, max(high * 1.1, low * 1.3)


def _ticks(ranges: list[tuple[float, float]], place: Any, names: tuple[str, str]) -> Iterator[str]:
    """Axes with round figures."""
    scales = [SCALES.get(FIELD_WORDS[name].unit, (1.0, ""))[0] for name in names]
    for axis, (low, high) in enumerate(ranges):
        found = [
            k * 10.0**n
            for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for k in (1, 2, 5)
        ]
        for value in (tick for tick in found if low <= tick <= high):
            corner = [ranges[0][0] / scales[0], ranges[1][0] / scales[1]]
            corner[axis] = value / scales[axis]
            x, y = place(tuple(corner))
            if axis == 0:
                yield f"<line x1='{x:.1f}' y1='{TOP}' x2='{x:.1f}' y2='{y:.1f}' stroke='#E5E5E5'/>"
                yield svg.text(x, y + 16, f"{value:,g}", anchor="middle")
            else:
                yield f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{WIDTH - RIGHT}' y2='{y:.1f}' stroke='#E5E5E5'/>"
                yield svg.text(x - 6, y + 4, f"{value:,g}", anchor="end")
    yield svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, _axis_title(names[0]), anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f"<g transform='rotate(-90 18 {middle})'>{svg.text(18, middle, _axis_title(names[1]), anchor='middle')}</g>"


def _table(front: Front) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    header = (*front.fields, "shape", "chips", "replicas", "stages", "sequences")
    rows = [
        (
            *(field_text(name, row[name]) for name in front.fields), row["shape"], str(row["chips"]), str(row["replicas"]),
            str(row["stages"]), str(row["batch_size"]),
        )
        for row in front.rows()
    ]  # fmt: skip
    return header, rows


def front_text(front: Front) -> str:
    """For a terminal."""
    header, rows = _table(front)
    asked = question_lines(front.graph, front.topology, front.workload)
    return "\n".join([*asked, "", _title(front), "", *aligned([header, *rows])])


def front_html(front: Front) -> str:
    """For a notebook."""
    header, rows = _table(front)
    return f"<div>{front_svg(front)}{svg.table(header, rows, words=(len(front.fields),))}</div>"
