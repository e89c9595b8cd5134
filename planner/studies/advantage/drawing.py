"""The picture of an advantage map: SVG without any library, for notebooks and pages.

Machines differ in colour (Okabe and Ito), in lightness and in hatching; the stronger the colour,
the dearer the next machine.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.report import svg
from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.records import AdvantageMap, Measured, Square, Switch
from planner.studies.advantage.uncertainty import SURE

Point = tuple[float, float]
"""In the picture: across and down."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
HATCHES = ("", "M0 6L6 0", "M3 2.2v1.6M2.2 3h1.6", "M0 0L6 6", "M0 3H6", "M3 0V6")
"""Lines of a tile of six by six, one for each machine."""
STRONG = 4.0
"""Times that the next machine costs from which the colour is full."""
STRENGTHS = (0.35, 0.5, 0.65, 0.8, 0.95)
"""Of the colour, from where two machines cost the same to STRONG times."""
WIDTH = 760.0
HEIGHT = 514.0
LEFT = 66.0
RIGHT = 16.0
TOP = 66.0
BOTTOM = 118.0
"""Margins: names of real models above the frame, the legend under it."""
MARKS = (
    "M-4 -4H4V4H-4Z",
    "M0 -5L5 4H-5Z",
    "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0Z",
)
"""Of measured systems: square, triangle, circle."""
DIAMOND = "M0 -6L5 0L0 6L-5 0Z"
"""Where the winner changes for a real model."""
HALO = "paint-order='stroke' stroke='white' stroke-width='4' font-weight='bold' font-size='14'"


class Frame:
    """Where sizes and speeds lie in the picture: logarithmic axes, half a square beyond the
    outermost squares."""

    def __init__(self, drawn: AdvantageMap) -> None:
        self.x = self._edges(np.log(np.array(drawn.sizes)))
        self.y = self._edges(np.log(np.array(drawn.speeds)))

    @staticmethod
    def _edges(middles: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(middles) == 1:
            return np.array([middles[0] - 0.5, middles[0] + 0.5])
        inner = (middles[1:] + middles[:-1]) / 2
        return np.concatenate([[2 * middles[0] - inner[0]], inner, [2 * middles[-1] - inner[-1]]])

    def at(self, parameters: float, speed: float) -> Point:
        return self._across(math.log(parameters)), self._up(math.log(speed))

    def _across(self, place: float) -> float:
        share = float((place - self.x[0]) / (self.x[-1] - self.x[0]))
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def _up(self, place: float) -> float:
        share = float((place - self.y[0]) / (self.y[-1] - self.y[0]))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def box(self, first: int, last: int, speed: int) -> str:
        """Of the squares of some sizes at one speed, as attributes, in whole pixels: so
        neighbours leave no seam."""
        x0 = round(self._across(self.x[first]))
        x1 = round(self._across(self.x[last + 1]))
        y0 = round(self._up(self.y[speed + 1]))
        y1 = round(self._up(self.y[speed]))
        return f"x='{x0:g}' y='{y0:g}' width='{x1 - x0:g}' height='{y1 - y0:g}'"

    def edge(self, size: int, speed: int) -> Point:
        """The lower left corner of a square."""
        return self._across(self.x[size]), self._up(self.y[speed])

    def holds(self, parameters: float, speed: float) -> bool:
        is_across = self.x[0] <= math.log(parameters) <= self.x[-1]
        is_up = self.y[0] <= math.log(speed) <= self.y[-1]
        return bool(is_across and is_up)


def short(title: str) -> str:
    """'NVIDIA HGX H100' of 'NVIDIA HGX H100: eight GPUs behind …'."""
    return title.split(":", maxsplit=1)[0]


def colour_of(machine: int) -> str:
    return COLOURS[machine % len(COLOURS)]


def map_svg(drawn: AdvantageMap) -> str:
    """The map as a picture."""
    frame = Frame(drawn)
    winners = drawn.winners()
    sure = [(square.likely_share or 0.0) >= SURE for square in drawn.rows]
    is_sure = np.array(sure).reshape(len(drawn.sizes), len(drawn.speeds)).T
    # What no machine reaches is neither sure nor not, so that its edge is dashed as well.
    doubt = _edges_between(frame, np.where(winners < 0, 2, is_sure))
    border = _edges_between(frame, winners)
    body = [
        _patterns(len(drawn.topologies)),
        svg.text(8, 20, title_of(drawn), size=14),
        "<g shape-rendering='crispEdges'>",
        *_squares(drawn, frame, winners),
        "</g>",
        f"<path d='{doubt}' stroke='#000' stroke-dasharray='3 3' fill='none'/>",
        f"<path d='{border}' stroke='#000' stroke-width='2.2' fill='none'/>",
        *_axes(drawn, frame),
        *_real_models(drawn, frame),
        *_switches(drawn, frame),
        *_measured(drawn, frame),
        *_names(drawn, frame, winners),
        *_legend(drawn),
    ]
    return svg.picture(WIDTH, HEIGHT, body, title=title_of(drawn))


def _patterns(count: int) -> str:
    hatched = [n for n in range(count) if HATCHES[n % len(HATCHES)]]
    tiles = (
        f"<pattern id='hatch{n}' width='6' height='6' patternUnits='userSpaceOnUse'>"
        f"<path d='{HATCHES[n % len(HATCHES)]}'"
        " stroke='#000' stroke-width='0.8' stroke-opacity='0.55'/></pattern>"
        for n in hatched
    )
    return f"<defs>{''.join(tiles)}</defs>"


def _squares(drawn: AdvantageMap, frame: Frame, winners: NDArray[np.intp]) -> Iterator[str]:
    """Runs of like squares along each row, each as one rectangle: the picture stays small."""
    columns = len(drawn.speeds)
    for speed in range(columns):
        strengths = [_strength(square) for square in drawn.rows[speed::columns]]
        row = zip(winners[speed].tolist(), strengths, strict=True)
        first = 0
        for (winner, strength), run in itertools.groupby(row):
            last = first + len(list(run)) - 1
            place = frame.box(first, last, speed)
            first = last + 1
            if winner < 0:
                yield f"<rect {place} fill='#ECECEC'/>"
                continue
            yield f"<rect {place} fill='{colour_of(winner)}' fill-opacity='{strength:.2g}'/>"
            if HATCHES[winner % len(HATCHES)]:
                yield f"<rect {place} fill='url(#hatch{winner})'/>"


def _strength(square: Square) -> float:
    """Of the colour, in five steps: full where nobody else comes near, or nobody else is fast
    enough."""
    if square.advantage is None:
        return STRENGTHS[-1]
    step = math.floor(4 * math.log(square.advantage) / math.log(STRONG))
    return STRENGTHS[min(step, 4)]


def _edges_between(frame: Frame, kinds: NDArray[Any]) -> str:
    """Edges between squares of unlike kinds, as one path."""
    found = []
    for speed, size in np.ndindex(*kinds.shape):
        here = kinds[speed, size]
        if size + 1 < kinds.shape[1] and here != kinds[speed, size + 1]:
            x, y0 = frame.edge(size + 1, speed)
            _, y1 = frame.edge(size + 1, speed + 1)
            found.append(f"M{x:.1f} {y0:.1f}V{y1:.1f}")
        if speed + 1 < kinds.shape[0] and here != kinds[speed + 1, size]:
            x0, y = frame.edge(size, speed + 1)
            x1, _ = frame.edge(size + 1, speed + 1)
            found.append(f"M{x0:.1f} {y:.1f}H{x1:.1f}")
    return "".join(found)


def _ticks(low: float, high: float) -> Iterator[float]:
    """1, 2 and 5 times the powers of ten between two values."""
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (k * 10.0**power for k in (1, 2, 5) if low <= k * 10.0**power <= high)


def _axes(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    width = WIDTH - LEFT - RIGHT
    for value in _ticks(math.exp(frame.x[0]), math.exp(frame.x[-1])):
        x, _ = frame.at(value, drawn.speeds[0])
        yield f"<path d='M{x:.1f} {bottom}v5' stroke='#222'/>" + svg.text(
            x, bottom + 18, f"{value / 1e9:,g}", anchor="middle"
        )
    for value in _ticks(math.exp(frame.y[0]), math.exp(frame.y[-1])):
        _, y = frame.at(drawn.sizes[0], value)
        yield f"<path d='M{LEFT} {y:.1f}h-5' stroke='#222'/>" + svg.text(
            LEFT - 8, y + 4, f"{value:,g}", anchor="end"
        )

    across = "parameters [10⁹]"
    if drawn.family == "moe":
        across += ", 8 experts active"
    yield svg.text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, across, anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    up = svg.text(16, middle, "speed demanded for each user [tokens/s]", anchor="middle")
    yield f"<g transform='rotate(-90 16 {middle})'>{up}</g>"
    frame_of = f"x='{LEFT}' y='{TOP}' width='{width}' height='{bottom - TOP}'"
    yield f"<rect {frame_of} fill='none' stroke='#222'/>"


def _names(drawn: AdvantageMap, frame: Frame, winners: NDArray[np.intp]) -> Iterator[str]:
    """Of the machines, and of what nobody reaches, in the middle of their squares."""
    names = {number: short(title) for number, title in enumerate(drawn.titles)}
    names[-1] = "no machine is as fast"
    points = [frame.at(one.parameters, one.tokens_per_s_per_user) for one in drawn.measured]
    for number, name in names.items():
        speeds, sizes = np.nonzero(winners == number)
        if len(speeds) < 0.02 * winners.size:
            continue
        squares = [
            frame.at(drawn.sizes[size], drawn.speeds[speed])
            for speed, size in zip(speeds, sizes, strict=True)
        ]
        x, y = _clear_of(points, squares, len(name))
        place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='middle' fill='#111'"
        yield f"<text {place} {HALO}>{escape(name)}</text>"


def _clear_of(points: list[Point], squares: list[Point], letters: int) -> Point:
    """The square nearest to the middle of all where a name hides no point."""
    places = np.array(squares)
    taken = np.array(points or [(0.0, 0.0)])
    away = np.abs(places[:, None] - taken[None])
    hides = ((away[..., 0] < 5 * letters) & (away[..., 1] < 18)).any(axis=1)
    from_middle = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    # Where every square hides a point, the nearest of them all.
    return squares[int(np.argmin(from_middle + 1e9 * hides))]


def _real_models(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    """Real models along the top; a name that would run into the one before it is left out."""
    last = -math.inf
    for model, parameters in real_models(drawn):
        if not frame.holds(parameters, drawn.speeds[0]):
            continue
        x, _ = frame.at(parameters, drawn.speeds[0])
        yield f"<path d='M{x:.1f} {TOP}v-6' stroke='#222'/>"
        if x - last > 24:
            turned = f"translate({x + 3:.1f} {TOP - 8}) rotate(-16)"
            yield f"<g transform='{turned}'>{svg.text(0, 0, model, size=10)}</g>"
            last = x


def real_models(drawn: AdvantageMap) -> Sequence[tuple[str, float]]:
    """Those that were priced, by size."""
    priced = sorted({(switch.parameters, switch.model) for switch in drawn.switches})
    return [(model, parameters) for parameters, model in priced]


def _switches(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    """Where the winner changes for real models."""
    for switch in drawn.switches:
        place = (switch.parameters, switch.tokens_per_s_per_user)
        if switch.after is not None and frame.holds(*place):
            yield _mark(frame.at(*place), DIAMOND, "white", _switch_words(switch))


def _switch_words(switch: Switch) -> str:
    speed = f"{switch.tokens_per_s_per_user:.0f} tokens/s"
    return f"{switch.model}: {switch.before} below, {switch.after} above {speed}"


def _measured(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    """Measured systems, each with the mark of its machine."""
    for one in drawn.measured:
        place = (one.parameters, one.tokens_per_s_per_user)
        if frame.holds(*place):
            machine = drawn.topologies.index(one.topology)
            shape = MARKS[machine % len(MARKS)]
            yield _mark(frame.at(*place), shape, colour_of(machine), _measured_words(one))


def _measured_words(one: Measured) -> str:
    words = f"{one.model} on {one.topology}: {one.tokens_per_s_per_user:.0f} tokens/s"
    if one.energy_per_token_j is not None:
        words += f", {one.energy_per_token_j:.2g} J a token (chips alone)"
    return f"{words}; {one.source} ({one.row_id})"


def _mark(at: Point, shape: str, colour: str, tip: str = "") -> str:
    """A point that stands out from any ground."""
    x, y = at
    return (
        f"<g transform='translate({x:.1f} {y:.1f})'>"
        f"<path d='{shape}' stroke='white' stroke-width='4.5'/>"
        f"<path d='{shape}' fill='{colour}' stroke='#000' stroke-width='1.3'>"
        f"<title>{escape(tip)}</title></path></g>"
    )


def _legend(drawn: AdvantageMap) -> Iterator[str]:
    marks = [
        (MARKS[machine % len(MARKS)], colour_of(machine), f"{short(title)}, measured")
        for machine, title in enumerate(drawn.titles)
    ]
    if any(switch.after for switch in drawn.switches):
        marks.append((DIAMOND, "white", "border of a real model"))
    x = LEFT
    y = HEIGHT - BOTTOM + 50
    for mark, colour, words in marks:
        yield _mark((x + 6, y + 6), mark, colour) + svg.text(x + 16, y + 10, words, size=11)
        x += 34 + 6.2 * len(words)

    reading = (
        f"Strong colour: the next machine costs {STRONG:g} × or more."
        " Between dashed lines the border lies with 80 % (figures and fits in doubt)."
    )
    for number, line in enumerate((reading, *caption_of(drawn))):
        yield svg.text(LEFT, y + 26 + 13 * number, line, size=10, colour="#444444")
