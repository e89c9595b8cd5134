"""Small pictures in SVG, and the way to plotly for larger ones.

These are made by hand since a record shows itself in a notebook with no more than the package's
own dependencies: bars, chips and two axes, inside of HTML. Pictures for print are matplotlib's
(`report.static`).

Colours are those of Okabe and Ito, safe for the colour-blind, and differ in lightness, so that they
survive greyscale.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from planner.errors import InputError

CAUSE_COLOURS = {
    "compute": "#0072B2",
    "memory": "#56B4E9",
    "collective": "#D55E00",
    "hop": "#E69F00",
    "overhead": "#777777",
    "bubble": "#DDDDDD",
}
MEMORY_COLOURS = {
    "weights": "#0072B2",
    "KV cache": "#009E73",
    "activations": "#E69F00",
    "collectives' buffers": "#CC79A7",
    "free": "#EEEEEE",
}
FONT = "font-family='Helvetica,Arial,sans-serif' font-size='12'"


def plotly() -> ModuleType:
    """`plotly.graph_objects`, or one sentence that says how to get it."""
    try:
        return import_module("plotly.graph_objects")
    except ImportError:
        raise InputError("plots need plotly: pip install 'spread-planner[viz]'") from None


FINE_STEPS = (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
"""Times a power of ten: figures on a logarithmic axis of less than a decade."""


def log_axis(title: str, values: Iterable[float], unit: float = 1.0) -> dict[str, Any]:
    """A logarithmic axis of plotly around some values, with plain figures at 1, 2 and 5 of each
    decade, in units of so many of the values'."""
    low, high = _with_margin([value for value in values if value > 0] or [1.0])
    ticks = list(LogAxis(low, high, 0.0, 1.0).ticks())
    if len(ticks) < 3:
        powers = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.floor(math.log10(high))
        steps = sorted({step * power for step in FINE_STEPS for power in powers})
        ticks = [step for step in steps if low <= step <= high]
    return {
        "type": "log",
        "title": title,
        "range": (math.log10(low), math.log10(high)),
        "tickvals": ticks,
        "ticktext": [f"{tick / unit:,g}" for tick in ticks],
    }


class Bar(NamedTuple):
    """A row of parts, each with a colour."""

    title: str
    parts: Sequence[tuple[str, float, str]]
    """Name, value, colour."""
    note: str


def picture(width: float, height: float, body: Iterable[str], *, title: str) -> str:
    """A picture with a title for those who cannot see it."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}'"
        f" viewBox='0 0 {width:g} {height:g}' role='img' {FONT}>"
        f"<title>{escape(title)}</title>"
        "<rect width='100%' height='100%' fill='white'/>" + "".join(body) + "</svg>"
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = "#222222",
    size: int = 12,
) -> str:
    """A line of text."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'"
        f" font-size='{size}'>{escape(words)}</text>"
    )


def rectangle(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str,
    *,
    tip: str = "",
    line: str = "none",
) -> str:
    """A box, with a tool tip."""
    tip_text = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f"<rect x='{x:.2f}' y='{y:.2f}' width='{max(0.0, width):.2f}' height='{height:.2f}'"
        f" fill='{colour}' stroke='{line}'>{tip_text}</rect>"
    )


# ── Axes ─────────────────────────────────────────────────────────────────────────────────────────

Point = tuple[float, float]


class LogAxis(NamedTuple):
    """Positive values on a logarithmic scale, and the pixels on which the first and the last
    lie."""

    first: float
    last: float
    first_pixel: float
    last_pixel: float

    def at(self, value: float) -> float:
        """The pixel of a value; of one below the scale, that of its first."""
        above = max(value, self.first) / self.first
        share = math.log(above) / math.log(self.last / self.first)
        return self.first_pixel + (self.last_pixel - self.first_pixel) * share

    def ticks(self) -> Iterator[float]:
        """Round values on the scale: 1, 2 and 5 in each decade."""
        lowest = math.floor(math.log10(self.first))
        highest = math.ceil(math.log10(self.last))
        for power in range(lowest, highest + 1):
            for digit in (1, 2, 5):
                value = digit * 10.0**power
                if self.first <= value <= self.last:
                    yield value


class Frame(NamedTuple):
    """The part of a picture between two axes."""

    across: LogAxis
    up: LogAxis

    def at(self, point: Point) -> Point:
        """Pixels of a pair of values."""
        return self.across.at(point[0]), self.up.at(point[1])

    def path(self, points: Iterable[Point]) -> str:
        """Pixels of many, as `points` of a polygon or a line states them."""
        pixels = map(self.at, points)
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)


def framed(across: Sequence[float], up: Sequence[float], box: tuple[float, ...]) -> Frame:
    """A frame around some values, with a margin; the box is left, top, right and bottom in
    pixels."""
    left, top, right, bottom = box
    x0, x1 = _with_margin(across)
    y0, y1 = _with_margin(up)
    return Frame(LogAxis(x0, x1, left, right), LogAxis(y0, y1, bottom, top))


def _with_margin(values: Sequence[float]) -> tuple[float, float]:
    low = min(values)
    high = max(values)
    # A scale needs two ends even where all values are one.
    return low / 1.1, max(high * 1.1, low * 1.3)


def axes(frame: Frame, across: str, up: str) -> Iterator[str]:
    """Two axes with round figures, a grid of thin lines and titles."""
    left, right = frame.across.first_pixel, frame.across.last_pixel
    bottom, top = frame.up.first_pixel, frame.up.last_pixel
    for value in frame.across.ticks():
        x = frame.across.at(value)
        yield line((x, top), (x, bottom), "#E5E5E5")
        yield text(x, bottom + 16, f"{value:,g}", anchor="middle")
    for value in frame.up.ticks():
        y = frame.up.at(value)
        yield line((left, y), (right, y), "#E5E5E5")
        yield text(left - 6, y + 4, f"{value:,g}", anchor="end")

    yield text((left + right) / 2, bottom + 42, across, anchor="middle")
    middle = (top + bottom) / 2
    title = text(18, middle, up, anchor="middle")
    yield f"<g transform='rotate(-90 18 {middle:g})'>{title}</g>"


def line(start: Point, end: Point, colour: str) -> str:
    """A straight line."""
    (x1, y1), (x2, y2) = start, end
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}'/>"


# ── Bars and maps ────────────────────────────────────────────────────────────────────────────────


def bars(
    rows: Sequence[Bar], *, title: str, unit: str, legend: dict[str, str], width: float = 720
) -> str:
    """Stacked horizontal bars on one scale."""
    left, right, top, pitch = 150.0, 130.0, 34.0, 24.0
    longest = max((_length(row) for row in rows), default=0.0) or 1.0
    scale = (width - left - right) / longest

    body = [text(8, 18, title, size=13)]
    for number, row in enumerate(rows):
        y = top + number * pitch
        x = left
        body.append(text(left - 8, y + 13, row.title, anchor="end"))
        for name, value, colour in row.parts:
            tip = f"{name}: {value:.4g} {unit}"
            body.append(rectangle(x, y, value * scale, 17, colour, tip=tip))
            x += value * scale
        body.append(text(x + 6, y + 13, row.note))

    y = top + len(rows) * pitch + 12
    x = left
    for name, colour in legend.items():
        body.append(rectangle(x, y, 11, 11, colour, line="#999999"))
        body.append(text(x + 15, y + 10, name))
        x += 26 + 7 * len(name)
    return picture(width, y + 24, body, title=title)


def _length(row: Bar) -> float:
    return sum(value for _, value, _ in row.parts)


def chip_map(
    owners: Sequence[int | None],
    row_length: int,
    names: Sequence[str],
    *,
    title: str,
    width: float = 720,
) -> str:
    """Chips in rows of one unit each, coloured by the stage that holds them (None: nobody)."""
    rows = [owners[start : start + row_length] for start in range(0, len(owners), row_length)]
    # As many units beside each other as fit with chips of 9 pixels; then chips as large as fit.
    per_line = max(1, min(len(rows), int((width - 16) // (row_length * 9 + 10))))
    size = min(22.0, (width - 16 - 10 * per_line) / (per_line * row_length))

    top = 30.0
    body = [text(8, 18, title, size=13)]
    for number, row in enumerate(rows):
        x = 8 + (number % per_line) * (row_length * size + 10)
        y = top + (number // per_line) * (size + 6)
        around = row_length * size + 4
        body.append(rectangle(x - 2, y - 2, around, size + 4, "none", line="#BBBBBB"))
        for place, owner in enumerate(row):
            chip = number * row_length + place
            body += _chip(x + place * size, y, size, chip, owner, names)

    lines = -(-len(rows) // per_line)
    return picture(width, top + lines * (size + 6) + 8, body, title=title)


def _chip(
    x: float, y: float, size: float, chip: int, owner: int | None, names: Sequence[str]
) -> Iterator[str]:
    if owner is None:
        yield rectangle(x, y, size - 1, size - 1, "#F4F4F4", tip=f"chip {chip}: unused")
        return
    tip = f"chip {chip}: {names[owner]}"
    yield rectangle(x, y, size - 1, size - 1, stage_colour(owner), tip=tip)
    if size >= 16:
        yield text(x + size / 2, y + size * 0.7, str(owner), anchor="middle", size=10)


STAGE_COLOURS = (
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#F0E442",
    "#CC79A7",
    "#D55E00",
    "#7FB2D6",
    "#B8B8B8",
)


def stage_colour(stage: int) -> str:
    """Neighbouring stages differ."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[int] = (0,)
) -> str:
    """An HTML table; the columns of words stand to the left, figures to the right."""

    def cell(tag: str, content: str, number: int) -> str:
        side = "left" if number in words else "right"
        return f"<{tag} style='text-align:{side};padding:2px 10px'>{escape(content)}</{tag}>"

    def row_of(tag: str, contents: Sequence[str]) -> str:
        cells = "".join(cell(tag, content, number) for number, content in enumerate(contents))
        return f"<tr>{cells}</tr>"

    head = row_of("th", header)
    body = "".join(row_of("td", row) for row in rows)
    return (
        f"<table style='border-collapse:collapse'><thead>{head}</thead>"
        f"<tbody>{body}</tbody></table>"
    )
