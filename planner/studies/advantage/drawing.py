"""The picture of an advantage map in matplotlib: fields, borders with their intervals, measured
systems, real models, and a key that names all of them.

The height follows from the texts, which are measured before anything is placed: names, key and
caption take the lines that they need, and none is cut.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planner.report.static import (
    SMALL,
    Box,
    Picture,
    beside,
    log_ticks,
    look,
    new_figure,
    put_words,
    size_in,
    width_in,
    wrapped,
)
from planner.studies.advantage import looks
from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.records import AdvantageMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

WIDTH_IN = 9.0
PAD_IN = 0.15
LEFT_IN = 0.95
RIGHT_IN = 0.3
PLOT_IN = 4.6
"""Height of the frame."""
LINE_IN = 0.19
"""Of a small text."""
TITLE: dict[str, Any] = {"fontsize": 13, "fontweight": "bold"}
SLACK = 0.95
"""Of the width that the caption may take: browsers set its letters wider than matplotlib does."""
TICKS_IN = 0.62
"""Figures and title of the axis under the frame."""
EDGE = "#111111"
NOTE: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": "none",
    "alpha": 0.82,
    "boxstyle": "square,pad=0.12",
}
"""The ground of words on a field."""


def map_svg(drawn: AdvantageMap) -> str:
    """The map as SVG."""
    return map_picture(drawn).svg()


def map_picture(drawn: AdvantageMap) -> Picture:
    """The map in matplotlib."""
    with look():
        figure = new_figure(WIDTH_IN, 8.0)
        frame_in = WIDTH_IN - LEFT_IN - RIGHT_IN
        title = wrapped(figure, title_of(drawn), WIDTH_IN - 2 * PAD_IN, **TITLE)
        names = _names_above(figure, drawn, frame_in)
        key = _Key(figure, drawn)
        caption = "\n".join(
            wrapped(figure, line, SLACK * (WIDTH_IN - 2 * PAD_IN), fontsize=SMALL)
            for line in caption_of(drawn)
        )
        title_in = size_in(figure, title, **TITLE)[1]
        caption_in = size_in(figure, caption, fontsize=SMALL, linespacing=1.35)[1]

        # From the bottom up, each above the one before it.
        key_at = PAD_IN + caption_in + PAD_IN
        plot_at = key_at + key.height_in + TICKS_IN
        names_at = plot_at + PLOT_IN
        height = names_at + names.height_in + PAD_IN + title_in + PAD_IN
        figure.set_size_inches(WIDTH_IN, height)

        def axes_in(left: float, bottom: float, width: float, tall: float) -> "Axes":
            place = (left / WIDTH_IN, bottom / height, width / WIDTH_IN, tall / height)
            return figure.add_axes(place)

        axes = axes_in(LEFT_IN, plot_at, frame_in, PLOT_IN)
        _set_axes(axes, drawn)
        _draw_fields(axes, drawn)
        _draw_lines(axes, drawn)
        _draw_names_above(axes, names)
        tips = _draw_marks(axes, drawn)
        _draw_notes(axes, drawn)
        key.draw(axes_in(PAD_IN, key_at, WIDTH_IN - 2 * PAD_IN, key.height_in))

        put_words(figure, title, caption, PAD_IN, **TITLE)
        return Picture(figure, title_of(drawn), tips)


# ── The frame ────────────────────────────────────────────────────────────────────────────────────


def _set_axes(axes: "Axes", drawn: AdvantageMap) -> None:
    across = looks.edges_of_squares(drawn.sizes)
    up = looks.edges_of_squares(drawn.speeds)
    axes.set(xscale="log", yscale="log", xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    log_ticks(axes.xaxis, lambda value: f"{value / 1e9:,g}")
    log_ticks(axes.yaxis)
    words = "parameters [10⁹]"
    if drawn.family == "moe":
        words += ", 8 experts active"
    axes.set_xlabel(words)
    axes.set_ylabel("speed demanded for each user [tokens/s]")


def _draw_fields(axes: "Axes", drawn: AdvantageMap) -> None:
    from matplotlib.patches import PathPatch

    for kind, blocks in looks.blocks_of(drawn).items():
        patch = PathPatch(_path([block.corners for block in blocks]), **_filled(kind))
        # In whole pixels: neighbours leave no seam.
        patch.set_antialiased(False)
        axes.add_patch(patch)


def _filled(kind: int) -> dict[str, Any]:
    """How a field and its patch in the key are drawn."""
    colour, hatch = looks.fill_of(kind)
    dark = (0, 0, 0, 0.6)
    return {"facecolor": colour, "hatch": hatch or None, "edgecolor": dark, "linewidth": 0}


def _path(lines: Sequence[Sequence[looks.Point]]) -> "Path":
    """Several lines as one path."""
    from matplotlib.path import Path

    points = [point for line in lines for point in line]
    codes = [code for line in lines for code in (Path.MOVETO, *(Path.LINETO,) * (len(line) - 1))]
    return Path(points, codes)


DRAWN_LINES: dict[str, dict[str, Any]] = {
    looks.BORDER: {"edgecolor": "#000000", "linewidth": 2.2, "capstyle": "projecting"},
    looks.DOUBT: {"edgecolor": "#000000", "linewidth": 1.2, "linestyle": (0, (3, 2))},
}
END: dict[str, Any] = {"color": "#444444", "linewidth": 1.2, "linestyle": (0, (1, 1.5))}
"""Where a machine ends."""


def _draw_lines(axes: "Axes", drawn: AdvantageMap) -> None:
    from matplotlib.patches import PathPatch

    both = {looks.DOUBT: looks.doubts_of(drawn), looks.BORDER: looks.borders_of(drawn)}
    for name, lines in both.items():
        if lines:
            axes.add_patch(PathPatch(_path(lines), fill=False, **DRAWN_LINES[name]))
    for end in looks.ends_of(drawn):
        axes.axvline(end.parameters, **END)


# ── Real models above the frame ──────────────────────────────────────────────────────────────────


class _Names(NamedTuple):
    """Names of real models above the frame, side by side, or upright where they are many; a line
    leads from each to its size."""

    words: tuple[str, ...]
    parameters: tuple[float, ...]
    middles_in: tuple[float, ...]
    """From the frame's left."""
    rotation: int
    height_in: float


def _names_above(figure: "Figure", drawn: AdvantageMap, frame_in: float) -> _Names:
    models = looks.real_models(drawn)
    words = tuple(name for name, _ in models)
    parameters = tuple(size for _, size in models)
    if not models:
        return _Names((), (), (), 0, 0.0)

    across = np.log(looks.edges_of_squares(drawn.sizes))
    ticks = frame_in * (np.log(parameters) - across[0]) / (across[-1] - across[0])
    widths = [width_in(figure, one, fontsize=SMALL) for one in words]
    halves = [one / 2 + 0.06 for one in widths]
    ends = -LEFT_IN / 2, frame_in + RIGHT_IN - PAD_IN
    rotation, height = 0, LINE_IN
    if 2 * sum(halves) > ends[1] - ends[0]:
        halves = [0.6 * LINE_IN] * len(words)
        rotation, height = 90, max(widths) + 0.05
    middles = _spread(ticks.tolist(), halves, ends)
    return _Names(words, parameters, tuple(middles), rotation, LEAD_IN + height)


LEAD_IN = 0.16
"""Of the lines from sizes to names."""


def _spread(wanted: list[float], halves: list[float], ends: tuple[float, float]) -> list[float]:
    """Middles in the order of those wanted, and near them, so that none meets its neighbour."""
    found = list(wanted)
    found[0] = max(found[0], ends[0] + halves[0])
    for at in range(1, len(found)):
        found[at] = max(found[at], found[at - 1] + halves[at - 1] + halves[at])
    found[-1] = min(found[-1], ends[1] - halves[-1])
    for at in range(len(found) - 2, -1, -1):
        found[at] = min(found[at], found[at + 1] - halves[at + 1] - halves[at])
    return found


def _draw_names_above(axes: "Axes", names: _Names) -> None:
    lead = {"arrowstyle": "-", "linewidth": 0.8, "color": "#444444", "shrinkA": 0, "shrinkB": 0}
    across = axes.get_xaxis_transform()
    left, _ = axes.get_xlim()
    for words, parameters, middle in zip(
        names.words, names.parameters, names.middles_in, strict=True
    ):
        above: dict[str, Any] = {
            "xytext": (72 * middle, 72 * LEAD_IN),
            "textcoords": "offset points",
        }
        font: dict[str, Any] = {"fontsize": SMALL, "rotation": names.rotation, "parse_math": False}
        axes.annotate(words, (left, 1), xycoords=across, ha="center", va="bottom", **above, **font)
        # From the size on the frame's edge to the name's middle.
        axes.annotate(
            "",
            (parameters, 1),
            xycoords=across,
            xytext=(middle * 72 - 72 * _inches(axes, parameters), 72 * LEAD_IN),
            textcoords="offset points",
            arrowprops=lead,
        )


def _inches(axes: "Axes", parameters: float) -> float:
    """From the frame's left."""
    figure = axes.figure
    return (_pixel(axes, (parameters, 1.0))[0] - Box.of(axes).left) / figure.dpi


# ── Marks ────────────────────────────────────────────────────────────────────────────────────────

FLAT = ((-1, 0), (0, 0.3), (1, 0), (0, -0.3), (-1, 0))
"""The mark of a real model's border: wider than those of measured systems, so that neither hides
the other."""


def _mark_look(machine: int, *, drafted: bool) -> dict[str, Any]:
    """Of measured systems; one that drafts tokens is white inside."""
    colour = looks.colour_of(machine)
    return {
        "marker": looks.MARKS[machine % len(looks.MARKS)],
        "markersize": 9,
        "markerfacecolor": "white" if drafted else colour,
        "markeredgecolor": colour if drafted else "#000000",
        "markeredgewidth": 2.4 if drafted else 1.2,
        "linestyle": "none",
    }


def _draw_marks(axes: "Axes", drawn: AdvantageMap) -> dict[str, str]:
    """What each says on hovering, by its name in the picture."""
    tips = {}
    for number, switch in enumerate(looks.switches_on(drawn)):
        at = switch.parameters, switch.tokens_per_s_per_user
        _draw_flat(axes, *at, gid=f"switch-{number}")
        tips[f"switch-{number}"] = looks.switch_words(switch)
    for number, one in enumerate(looks.measured_on(drawn)):
        mark = _mark_look(drawn.topologies.index(one.topology), drafted=looks.has_drafts(one))
        at = one.parameters, one.tokens_per_s_per_user
        around = {**mark, "markersize": 12, "markerfacecolor": "white", "markeredgecolor": "white"}
        axes.plot(*at, **around, zorder=5)
        axes.plot(*at, **mark, zorder=6, gid=f"measured-{number}")
        tips[f"measured-{number}"] = looks.measured_words(one)
    return tips


def _draw_flat(axes: "Axes", x: float, y: float, **named: Any) -> None:
    from matplotlib.path import Path

    shape = Path(FLAT)
    style: dict[str, Any] = {"marker": shape, "linestyle": "none", "markersize": 22}
    axes.plot(x, y, **style, color="#000000", markerfacecolor="white", zorder=5.5, **named)


# ── Words on the fields ──────────────────────────────────────────────────────────────────────────


def _draw_notes(axes: "Axes", drawn: AdvantageMap) -> None:
    """Dates of hosted systems, ends of machines and names of winners, none over another or over a
    mark."""
    inner = Box.of(axes)
    points = [(one.parameters, one.tokens_per_s_per_user) for one in looks.measured_on(drawn)]
    flats = [(one.parameters, one.tokens_per_s_per_user) for one in looks.switches_on(drawn)]
    taken = [Box.around(*_pixel(axes, at), 8, 8) for at in points]
    taken += [Box.around(*_pixel(axes, at), 16, 5) for at in flats]

    for one, at in zip(looks.measured_on(drawn), points, strict=True):
        date = looks.date_of(one)
        if date:
            taken.append(_note_beside(axes, date, _pixel(axes, at), taken, inner))
    for end in looks.ends_of(drawn):
        taken.append(_note_along(axes, end, taken, inner))
    winners = drawn.winners()
    names = dict(enumerate(map(looks.short, drawn.titles))) | looks.ZONES
    for number, name in names.items():
        if (winners == number).any():
            taken += _name_field(axes, drawn, winners == number, name, taken)


def _pixel(axes: "Axes", at: looks.Point) -> tuple[float, float]:
    x, y = axes.transData.transform(at)
    return float(x), float(y)


def _note(axes: "Axes", words: str, box: Box, **font: Any) -> Box:
    """Words in the middle of a box, on white."""
    middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
    x, y = axes.transData.inverted().transform(middle)
    axes.text(x, y, words, ha="center", va="center", bbox=NOTE, parse_math=False, zorder=7, **font)
    return box


def _pixels_of(axes: "Axes", words: str, **font: Any) -> tuple[float, float]:
    """Width and height of words with the white around them."""
    figure = axes.figure
    width, height = size_in(figure, words, **font)
    return width * figure.dpi + 6, height * figure.dpi + 6


def _note_beside(
    axes: "Axes", words: str, point: tuple[float, float], taken: list[Box], inner: Box
) -> Box:
    font: dict[str, Any] = {"fontsize": SMALL - 1}
    size = _pixels_of(axes, words, **font)
    return _note(axes, words, beside(point, size, taken, inner), **font)


def _note_along(axes: "Axes", end: looks.Edge, taken: list[Box], inner: Box) -> Box:
    """Upright, on the right of the line where a machine ends; on its left where there is no
    room."""
    font: dict[str, Any] = {"fontsize": SMALL - 1, "rotation": 90}
    figure = axes.figure
    words = wrapped(figure, end.words, PLOT_IN - 0.6, fontsize=SMALL - 1)
    width, height = _pixels_of(axes, words, **font)
    line = float(axes.transData.transform((end.parameters, 1.0))[0])
    sides = [line + width / 2 + 3, line - width / 2 - 3]
    steps = np.linspace(inner.top - height / 2 - 6, inner.bottom + height / 2 + 6, 24)
    places = [Box.around(x, float(y), width / 2, height / 2) for x in sides for y in steps]
    inside = [one for one in places if one.is_in(inner)]
    free = (one for one in inside if not any(one.meets(other) for other in taken))
    return _note(axes, words, next(free, (inside or places)[0]), **font)


def _name_field(
    axes: "Axes", drawn: AdvantageMap, is_won: np.ndarray, name: str, taken: list[Box]
) -> list[Box]:
    """A name where most of it lies on its own field, near the field's middle; none where the
    field is too small (the key names it)."""
    font: dict[str, Any] = {"fontsize": 12, "fontweight": "bold"}
    width, height = _pixels_of(axes, name, **font)
    across = axes.transData.transform([(x, 1.0) for x in looks.edges_of_squares(drawn.sizes)])[:, 0]
    up = axes.transData.transform([(1.0, y) for y in looks.edges_of_squares(drawn.speeds)])[:, 1]
    place = looks.place_of_name(is_won, across, up, (width, height), taken)
    return [] if place is None else [_note(axes, name, place, **font)]


# ── The key ──────────────────────────────────────────────────────────────────────────────────────

ROW_IN = 0.27
SWATCH_IN = (0.62, 0.17)


class _Key:
    """A row for each machine, with a patch for each shade and the marks of measured systems;
    under them lines, zones and other marks."""

    def __init__(self, figure: "Figure", drawn: AdvantageMap) -> None:
        self.drawn = drawn
        font: dict[str, Any] = {"fontsize": SMALL}
        self.names = [wrapped(figure, looks.short(title), 2.2, **font) for title in drawn.titles]
        self.rows_in = [max(ROW_IN, size_in(figure, name, **font)[1] + 0.08) for name in self.names]
        self.name_in = 0.25 + max(
            size_in(figure, words, **font)[0] for words in (*self.names, self.HEAD)
        )
        self.heads = [*looks.SHADES, "measured"]
        self.is_drafted = any(map(looks.has_drafts, looks.measured_on(drawn)))
        if self.is_drafted:
            self.heads.append("with drafts")
        self.columns_in = [
            0.28 + max(SWATCH_IN[0], width_in(figure, one, **font)) for one in self.heads
        ]
        self.others = self._others()
        self.places: list[tuple[float, int]] = []
        x, row = 0.0, 0
        for words, _ in self.others:
            wide = 0.75 + width_in(figure, words, **font)
            if x and x + wide > WIDTH_IN - 2 * PAD_IN:
                x, row = 0.0, row + 1
            self.places.append((x, row))
            x += wide
        lines = 1 + (1 + row if self.others else 0)
        self.height_in = lines * ROW_IN + sum(self.rows_in) + 0.05

    HEAD = "the next machine costs:"

    def _others(self) -> list[tuple[str, Any]]:
        """Words, and what draws the sign before them."""
        drawn = self.drawn
        found: list[tuple[str, Any]] = []
        if looks.borders_of(drawn):
            found.append((looks.BORDER, DRAWN_LINES[looks.BORDER]))
        if looks.doubts_of(drawn):
            found.append((looks.DOUBT, DRAWN_LINES[looks.DOUBT]))
        if looks.switches_on(drawn):
            found.append((looks.SWITCH, "flat"))
        if looks.ends_of(drawn):
            found.append((looks.EDGE, END))
        winners = drawn.winners()
        found += [(words, zone) for zone, words in looks.ZONES.items() if (winners == zone).any()]
        return found

    def draw(self, axes: "Axes") -> None:
        from matplotlib.patches import Rectangle

        axes.set(xlim=(0, WIDTH_IN - 2 * PAD_IN), ylim=(0, self.height_in))
        axes.axis("off")
        font: dict[str, Any] = {"fontsize": SMALL, "va": "center", "parse_math": False}

        def swatch(x: float, y: float, kind: int) -> None:
            corner = x, y - SWATCH_IN[1] / 2
            axes.add_patch(Rectangle(corner, *SWATCH_IN, **_filled(kind)))
            axes.add_patch(Rectangle(corner, *SWATCH_IN, fill=False, edgecolor=EDGE, linewidth=0.6))

        y = self.height_in - ROW_IN / 2
        starts = self.name_in + np.cumsum([0, *self.columns_in])
        axes.text(0, y, self.HEAD, **font)
        for x, words in zip(starts, self.heads, strict=False):
            axes.text(x, y, words, **font)

        top = self.height_in - ROW_IN
        for machine, (name, row_in) in enumerate(zip(self.names, self.rows_in, strict=True)):
            y = top - row_in / 2
            top -= row_in
            axes.text(0, y, name, **font)
            for shade in range(len(looks.SHADES)):
                swatch(starts[shade], y, machine * len(looks.SHADES) + shade)
            axes.plot(starts[4] + 0.2, y, **_mark_look(machine, drafted=False))
            if self.is_drafted:
                axes.plot(starts[5] + 0.2, y, **_mark_look(machine, drafted=True))

        for (words, sign), (x, row) in zip(self.others, self.places, strict=True):
            here = top - ROW_IN * (0.5 + row)
            if isinstance(sign, int):
                swatch(x, here, sign)
                axes.text(x + SWATCH_IN[0] + 0.08, here, words, **font)
                continue
            if sign == "flat":
                _draw_flat(axes, x + 0.2, here)
            else:
                line = {name.replace("edgecolor", "color"): value for name, value in sign.items()}
                line.pop("capstyle", None)
                axes.plot([x, x + 0.4], [here, here], **line)
            axes.text(x + 0.5, here, words, **font)
