"""Static pictures with matplotlib, for pages, papers and places where notebooks are only read.

All are drawn without pyplot, so that no window, backend or setting of the user's is touched, and
come out the same to the byte: one font that matplotlib brings along, texts as text, one salt for
the names of patterns, no date.
"""

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from planner.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

LOOK: dict[str, Any] = {
    "font.family": "sans-serif",
    # The first comes with matplotlib; where a page lacks it, the next are as wide or narrower.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 11,
    "axes.unicode_minus": False,
    "axes.edgecolor": "#222222",
    "figure.dpi": 100,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "spread-planner",
}
SMALL = 9.5
"""Points: of captions, and of what stands beside marks."""
NO_DATE: dict[str, Any] = {"Date": None, "Creator": None}


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib with this package's settings and none of the user's; InputError where it is not
    installed."""
    try:
        style = import_module("matplotlib.style")
    except ImportError:
        raise InputError(
            "static pictures need matplotlib: pip install 'spread-planner[viz]'"
        ) from None
    with style.context(["default", LOOK]):
        yield


def new_figure(width_in: float, height_in: float) -> "Figure":
    """An empty figure; its height may change once its texts are measured."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), facecolor="white")


class Picture(NamedTuple):
    """A matplotlib figure that shows itself, in a notebook as PNG (which every page that shows
    notebooks can)."""

    figure: "Figure"
    title: str
    """For those who cannot see it."""
    tips: Mapping[str, str] = {}
    """What artists say on hovering, by their `gid`."""

    def svg(self) -> str:
        """As SVG, its texts as text."""
        with look():
            sheet = io.StringIO()
            self.figure.savefig(sheet, format="svg", metadata=NO_DATE)
        return _with_words(sheet.getvalue(), self.title, self.tips)

    def png(self, dpi: float = 100) -> bytes:
        """As PNG, of so many pixels an inch."""
        with look():
            sheet = io.BytesIO()
            self.figure.savefig(sheet, format="png", dpi=dpi, metadata={"Software": None})
        return sheet.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def _with_words(picture: str, title: str, tips: Mapping[str, str]) -> str:
    """An SVG as it stands in a page: no prolog, a title for all of it and for some of its parts."""
    body = picture[picture.index("<svg") :].rstrip()
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, count=1, flags=re.DOTALL)
    # A hundredth of a point is finer than any screen.
    body = re.sub(r'(?<= d=")[^"]*', lambda found: _hundredths(found[0]), body)
    head, rest = body.split(">", maxsplit=1)
    for gid, words in tips.items():
        rest = rest.replace(f'<g id="{gid}">', f"<g><title>{escape(words)}</title>", 1)
    return f'{head} role="img"><title>{escape(title)}</title>{rest}'


def _hundredths(path: str) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", path)


# ── Texts that fit ───────────────────────────────────────────────────────────────────────────────


def width_in(figure: "Figure | SubFigure", words: str, **font: Any) -> float:
    """Of a line of text as it would be drawn. [inch]"""
    return size_in(figure, words, **font)[0]


def size_in(figure: "Figure | SubFigure", words: str, **font: Any) -> tuple[float, float]:
    """Width and height of a text as it would be drawn. [inch]"""
    probe = figure.text(0, 0, words, parse_math=False, **font)
    box = probe.get_window_extent()
    probe.remove()
    return box.width / figure.dpi, box.height / figure.dpi


def wrapped(figure: "Figure | SubFigure", words: str, most_in: float, **font: Any) -> str:
    """A text in as many lines as keep it within that width."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_in(figure, longer, **font) <= most_in:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def put_words(figure: "Figure", title: str, caption: str, pad_in: float, **bold: Any) -> None:
    """A title at the top of a figure whose height is settled, and a caption at its bottom, both so
    far from its edges."""
    width, height = figure.get_size_inches()
    left = pad_in / width
    figure.text(left, 1 - pad_in / height, title, va="top", parse_math=False, **bold)
    figure.text(
        left,
        pad_in / height,
        caption,
        va="bottom",
        fontsize=SMALL,
        color="#444444",
        linespacing=1.35,
        parse_math=False,
    )


class Box(NamedTuple):
    """A part of a picture: left, bottom, right, top in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box", margin: float = 0.0) -> bool:
        """Whether both cover a point, or come as near as the margin."""
        is_beside = self.right + margin <= other.left or other.right + margin <= self.left
        is_above = self.top + margin <= other.bottom or other.top + margin <= self.bottom
        return not (is_beside or is_above)

    def is_in(self, other: "Box") -> bool:
        """Whether no part of it lies outside of another."""
        is_across = other.left <= self.left and self.right <= other.right
        return is_across and other.bottom <= self.bottom and self.top <= other.top

    @classmethod
    def around(cls, x: float, y: float, half_width: float, half_height: float) -> "Box":
        """About a middle."""
        return cls(x - half_width, y - half_height, x + half_width, y + half_height)

    @classmethod
    def of(cls, artist: Any) -> "Box":
        """What an artist covers."""
        box = artist.get_window_extent()
        return cls(*(float(one) for one in (box.x0, box.y0, box.x1, box.y1)))


def beside(
    point: tuple[float, float],
    size: tuple[float, float],
    taken: Iterable[Box],
    frame: Box,
    gap: float = 9.0,
) -> Box:
    """Where a label of that size [pixels] stands near a point: the nearest place inside of the
    frame that covers nothing; where there is none, the first that lies inside."""
    boxes = list(taken)
    x, y = point
    half_width, half_height = size[0] / 2, size[1] / 2
    inside = []
    for away in (gap, gap + 7, gap + 16, gap + 28, gap + 44, gap + 64):
        right, up = away + half_width, away + half_height
        sides = ((right, 0), (-right, 0), (0, up), (0, -up))
        corners = itertools.product((right - 4, 4 - right), (up - 4, 4 - up))
        for across, upwards in (*sides, *corners):
            place = Box.around(x + across, y + upwards, half_width, half_height)
            if not place.is_in(frame):
                continue
            if not any(place.meets(other, 1.0) for other in boxes):
                return place
            inside.append(place)
    return inside[0] if inside else Box.around(x, y, half_width, half_height)


def log_ticks(axis: Any, say: Callable[[float], str] = "{:,g}".format) -> None:
    """1, 2 and 5 of each decade as plain figures on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: say(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
