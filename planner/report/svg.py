"""Small pictures in SVG, without any library: what a notebook shows of a record; and the way to
plotly for larger ones.

Colours are those of Okabe and Ito, safe for the colour-blind, and differ in lightness, so that they
survive greyscale.
"""

from collections.abc import Iterable, Sequence
from html import escape
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
    "free": "#EEEEEE",
}
FONT = "font-family='Helvetica,Arial,sans-serif' font-size='12'"


def plotly() -> Any:
    """`plotly.graph_objects`, or one sentence that says how to get it."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise InputError("plots need plotly: pip install 'spread-planner[viz]'") from None
    return go


class Bar(NamedTuple):
    """A row of parts, each with a colour."""

    title: str
    parts: Sequence[tuple[str, float, str]]
    """Name, value, colour."""
    note: str


def picture(width: float, height: float, body: Iterable[str], *, title: str) -> str:
    """A picture with a title for those who cannot see it."""
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' viewBox='0 0 {width:g} {height:g}'"
        f" role='img' {FONT}><title>{escape(title)}</title><rect width='100%' height='100%' fill='white'/>"
        + "".join(body)
        + "</svg>"
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
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}' font-size='{size}'>{escape(words)}</text>"


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
        f"<rect x='{x:.2f}' y='{y:.2f}' width='{max(0.0, width):.2f}' height='{height:.2f}' fill='{colour}'"
        f" stroke='{line}'>{tip_text}</rect>"
    )


def bars(
    rows: Sequence[Bar], *, title: str, unit: str, legend: dict[str, str], width: float = 720
) -> str:
    """Stacked horizontal bars on one scale."""
    left, right, top, pitch = 150.0, 130.0, 34.0, 24.0
    most = max((sum(value for _, value, _ in row.parts) for row in rows), default=0.0) or 1.0
    scale = (width - left - right) / most
    body = [text(8, 18, title, size=13)]
    for number, row in enumerate(rows):
        y, x = top + number * pitch, left
        body.append(text(left - 8, y + 13, row.title, anchor="end"))
        for name, value, colour in row.parts:
            body.append(
                rectangle(x, y, value * scale, 17, colour, tip=f"{name}: {value:.4g} {unit}")
            )
            x += value * scale
        body.append(text(x + 6, y + 13, row.note))
    y, x = top + len(rows) * pitch + 12, left
    for name, colour in legend.items():
        body.append(rectangle(x, y, 11, 11, colour, line="#999999"))
        body.append(text(x + 15, y + 10, name))
        x += 26 + 7 * len(name)
    return picture(width, y + 24, body, title=title)


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
    per_line = max(1, min(len(rows), int((width - 16) // (row_length * 9 + 10))))
    size = min(22.0, (width - 16 - 10 * per_line) / (per_line * row_length))
    body, top = [text(8, 18, title, size=13)], 30.0
    for number, row in enumerate(rows):
        x0 = 8 + (number % per_line) * (row_length * size + 10)
        y = top + (number // per_line) * (size + 6)
        body.append(
            rectangle(x0 - 2, y - 2, row_length * size + 4, size + 4, "none", line="#BBBBBB")
        )
        for place, owner in enumerate(row):
            chip = number * row_length + place
            colour = "#F4F4F4" if owner is None else stage_colour(owner)
            who = "unused" if owner is None else names[owner]
            body.append(
                rectangle(
                    x0 + place * size, y, size - 1, size - 1, colour, tip=f"chip {chip}: {who}"
                )
            )
            if size >= 16 and owner is not None:
                body.append(
                    text(
                        x0 + place * size + size / 2,
                        y + size * 0.7,
                        str(owner),
                        anchor="middle",
                        size=10,
                    )
                )
    lines = -(-len(rows) // per_line)
    return picture(width, top + lines * (size + 6) + 8, body, title=title)


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

    head = "".join(cell("th", content, number) for number, content in enumerate(header))
    body = "".join(
        "<tr>" + "".join(cell("td", content, n) for n, content in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
