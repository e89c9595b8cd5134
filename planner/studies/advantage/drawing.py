"""Pictures of an advantage map: SVG without any library for notebooks and pages, plotly for a
closer look.

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
from planner.report.svg import plotly
from planner.studies.advantage.records import AdvantageMap, Cell
from planner.studies.advantage.uncertainty import SURE

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
HATCHES = ("", "M0 6L6 0", "M3 2.2v1.6M2.2 3h1.6", "M0 0L6 6", "M0 3H6", "M3 0V6")
"""Lines of a tile of six by six, one for each machine."""
STRONG = 4.0
"""Times that the next machine costs from which the colour is full."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760.0, 514.0, 66.0, 16.0, 66.0, 118.0
WORDS = {
    "energy_per_token_j": "energy for a token", "usd_per_million_tokens": "dollars for a token", "chips": "number of chips",
}  # fmt: skip
MARKS = (
    "M-4 -4H4V4H-4Z",
    "M0 -5L5 4H-5Z",
    "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0 -4.5 0Z",
    "M0 -6L5 0L0 6L-5 0Z",
)


class Frame:
    """Where sizes and speeds lie in the picture: logarithmic axes, half a cell beyond the
    outermost cells."""

    def __init__(self, drawn: AdvantageMap) -> None:
        self.x, self.y = (
            self._edges(np.log(np.array(axis))) for axis in (drawn.sizes, drawn.speeds)
        )

    @staticmethod
    def _edges(middles: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(middles) == 1:
            return np.array([middles[0] - 0.5, middles[0] + 0.5])
        inner = (middles[1:] + middles[:-1]) / 2
        return np.concatenate([[2 * middles[0] - inner[0]], inner, [2 * middles[-1] - inner[-1]]])

    def at(self, parameters: float, speed: float) -> tuple[float, float]:
        return self._across(math.log(parameters)), self._up(math.log(speed))

    def _across(self, place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * float((place - self.x[0]) / (self.x[-1] - self.x[0]))

    def _up(self, place: float) -> float:
        return (
            HEIGHT
            - BOTTOM
            - (HEIGHT - TOP - BOTTOM) * float((place - self.y[0]) / (self.y[-1] - self.y[0]))
        )

    def box(self, first: int, last: int, speed: int) -> tuple[float, float, float, float]:
        """Of the cells of some sizes at one speed, in whole pixels: x, y, width, height."""
        x0, x1 = round(self._across(self.x[first])), round(self._across(self.x[last + 1]))
        y0, y1 = round(self._up(self.y[speed + 1])), round(self._up(self.y[speed]))
        return x0, y0, x1 - x0, y1 - y0

    def edge(self, size: int, speed: int) -> tuple[float, float]:
        return self._across(self.x[size]), self._up(self.y[speed])

    def holds(self, parameters: float, speed: float) -> bool:
        return bool(
            self.x[0] <= math.log(parameters) <= self.x[-1]
            and self.y[0] <= math.log(speed) <= self.y[-1]
        )


def short(title: str) -> str:
    """'NVIDIA HGX H100' of 'NVIDIA HGX H100: eight GPUs behind …'."""
    return title.split(":", maxsplit=1)[0]


def title_of(drawn: AdvantageMap) -> str:
    """What the picture says, in one line."""
    kind = "dense models" if drawn.family == "dense" else "models with experts"
    users = (
        ""
        if drawn.most_users is None
        else f", at most {drawn.most_users} user{'s' * (drawn.most_users > 1)} in flight"
    )
    return (
        f"The machine with the least {WORDS[drawn.metric]}, {kind} in {drawn.weight_dtype}{users}"
    )


def map_svg(drawn: AdvantageMap) -> str:
    """The map as a picture."""
    frame, winners = Frame(drawn), drawn.winners()
    sure = np.array([(cell.likely_share or 0.0) >= SURE for cell in drawn.rows])
    sure = sure.reshape(len(drawn.sizes), len(drawn.speeds)).T
    body = [_patterns(len(drawn.topologies)), svg.text(8, 20, title_of(drawn), size=14)]
    body += ["<g shape-rendering='crispEdges'>", *_cells(drawn, frame, winners), "</g>"]
    body.append(
        f"<path d='{_borders(frame, np.where(winners < 0, 2, sure))}' stroke='#000' stroke-dasharray='3 3' fill='none'/>"
    )
    body.append(
        f"<path d='{_borders(frame, winners)}' stroke='#000' stroke-width='2.2' fill='none'/>"
    )
    body += [
        *_axes(drawn, frame),
        *_points(drawn, frame),
        *_names(drawn, frame, winners),
        *_legend(drawn),
    ]
    return svg.picture(WIDTH, HEIGHT, body, title=title_of(drawn))


def _patterns(count: int) -> str:
    tiles = (
        f"<pattern id='hatch{n}' width='6' height='6' patternUnits='userSpaceOnUse'><path d='{HATCHES[n % len(HATCHES)]}'"
        " stroke='#000' stroke-width='0.8' stroke-opacity='0.55'/></pattern>"
        for n in range(count)
        if HATCHES[n % len(HATCHES)]
    )
    return f"<defs>{''.join(tiles)}</defs>"


def _cells(drawn: AdvantageMap, frame: Frame, winners: NDArray[np.intp]) -> Iterator[str]:
    """Runs of like cells along each row."""
    columns = len(drawn.speeds)
    for speed in range(columns):
        row = [
            (int(winners[speed, size]), _strength(drawn.rows[size * columns + speed]))
            for size in range(len(drawn.sizes))
        ]
        at = 0
        for (winner, strength), group in itertools.groupby(row):
            count = len(list(group))
            x, y, width, height = frame.box(at, at + count - 1, speed)
            at += count
            place = f"x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}'"
            if winner < 0:
                yield f"<rect {place} fill='#ECECEC'/>"
                continue
            yield f"<rect {place} fill='{COLOURS[winner % len(COLOURS)]}' fill-opacity='{strength:.2g}'/>"
            if HATCHES[winner % len(HATCHES)]:
                yield f"<rect {place} fill='url(#hatch{winner})'/>"


def _strength(cell: Cell) -> float:
    """Of the colour, in five steps: full where nobody else comes near, or nobody else is fast
    enough."""
    if cell.advantage is None:
        return 0.95
    return 0.35 + 0.15 * min(4, math.floor(4 * math.log(cell.advantage) / math.log(STRONG)))


def _borders(frame: Frame, kinds: NDArray[Any]) -> str:
    """Edges between cells of unlike kinds, as one path."""
    found = []
    for speed, size in np.ndindex(*kinds.shape):
        if size + 1 < kinds.shape[1] and kinds[speed, size] != kinds[speed, size + 1]:
            (x, y0), (_, y1) = frame.edge(size + 1, speed), frame.edge(size + 1, speed + 1)
            found.append(f"M{x:.1f} {y0:.1f}V{y1:.1f}")
        if speed + 1 < kinds.shape[0] and kinds[speed, size] != kinds[speed + 1, size]:
            (x0, y), (x1, _) = frame.edge(size, speed + 1), frame.edge(size + 1, speed + 1)
            found.append(f"M{x0:.1f} {y:.1f}H{x1:.1f}")
    return "".join(found)


def _ticks(low: float, high: float) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (k * 10.0**power for k in (1, 2, 5) if low <= k * 10.0**power <= high)


def _axes(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    bottom, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    for value in _ticks(math.exp(frame.x[0]), math.exp(frame.x[-1])):
        x = frame.at(value, drawn.speeds[0])[0]
        yield f"<path d='M{x:.1f} {bottom}v5' stroke='#222'/>" + svg.text(
            x, bottom + 18, f"{value / 1e9:,g}", anchor="middle"
        )
    for value in _ticks(math.exp(frame.y[0]), math.exp(frame.y[-1])):
        y = frame.at(drawn.sizes[0], value)[1]
        yield f"<path d='M{LEFT} {y:.1f}h-5' stroke='#222'/>" + svg.text(
            LEFT - 8, y + 4, f"{value:,g}", anchor="end"
        )
    across = "parameters [10⁹]" + (", 8 experts active" if drawn.family == "moe" else "")
    yield svg.text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, across, anchor="middle")
    up = svg.text(16, middle, "speed demanded for each user [tokens/s]", anchor="middle")
    yield f"<g transform='rotate(-90 16 {middle})'>{up}</g>"
    yield f"<rect x='{LEFT}' y='{TOP}' width='{WIDTH - LEFT - RIGHT}' height='{bottom - TOP}' fill='none' stroke='#222'/>"


def _names(drawn: AdvantageMap, frame: Frame, winners: NDArray[np.intp]) -> Iterator[str]:
    """Of the machines, and of what nobody reaches, in the middle of their cells."""
    names = [*(short(title) for title in drawn.titles), "no machine is as fast"]
    for number, name in enumerate(names):
        speeds, sizes = np.nonzero(winners == (number if number < len(drawn.titles) else -1))
        if len(speeds) < 0.02 * winners.size:
            continue
        cells = [
            frame.at(drawn.sizes[size], drawn.speeds[speed])
            for speed, size in zip(speeds, sizes, strict=True)
        ]
        x, y = _clear_of(
            [frame.at(one.parameters, one.tokens_per_s_per_user) for one in drawn.measured],
            cells,
            len(name),
        )
        halo = (
            "paint-order='stroke' stroke='white' stroke-width='4' font-weight='bold' font-size='14'"
        )
        yield f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='middle' fill='#111' {halo}>{escape(name)}</text>"


def _clear_of(
    points: list[tuple[float, float]], cells: list[tuple[float, float]], letters: int
) -> tuple[float, float]:
    """The cell nearest to the middle of all where a name hides no point."""
    places, taken = np.array(cells), np.array(points or [(0.0, 0.0)])
    away = np.abs(places[:, None] - taken[None])
    hides = ((away[..., 0] < 5 * letters) & (away[..., 1] < 18)).any(axis=1)
    return cells[int(np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1) + 1e9 * hides))]


def _points(drawn: AdvantageMap, frame: Frame) -> Iterator[str]:
    """Real models along the top and where the winner changes for them; measured systems."""
    last = -math.inf
    for model, parameters in real_models(drawn):
        if not frame.holds(parameters, drawn.speeds[0]):
            continue
        x = frame.at(parameters, drawn.speeds[0])[0]
        yield f"<path d='M{x:.1f} {TOP}v-6' stroke='#222'/>"
        if x - last > 24:
            yield f"<g transform='translate({x + 3:.1f} {TOP - 8}) rotate(-16)'>{svg.text(0, 0, model, size=10)}</g>"
            last = x
    for switch in drawn.switches:
        if switch.after is not None and frame.holds(
            switch.parameters, switch.tokens_per_s_per_user
        ):
            tip = f"{switch.model}: {switch.before} below, {switch.after} above {switch.tokens_per_s_per_user:.0f} tokens/s"
            yield _mark(
                frame.at(switch.parameters, switch.tokens_per_s_per_user), MARKS[3], "white", tip
            )
    for one in drawn.measured:
        if frame.holds(one.parameters, one.tokens_per_s_per_user):
            number = drawn.topologies.index(one.topology)
            joules = (
                ""
                if one.energy_per_token_j is None
                else f", {one.energy_per_token_j:.2g} J a token (chips alone)"
            )
            tip = f"{one.model} on {one.topology}: {one.tokens_per_s_per_user:.0f} tokens/s{joules}; {one.source} ({one.row_id})"
            at = frame.at(one.parameters, one.tokens_per_s_per_user)
            yield _mark(at, MARKS[number % 3], COLOURS[number % len(COLOURS)], tip)


def _mark(at: tuple[float, float], shape: str, colour: str, tip: str = "") -> str:
    """A point that stands out from any ground."""
    return (
        f"<g transform='translate({at[0]:.1f} {at[1]:.1f})'><path d='{shape}' stroke='white' stroke-width='4.5'/>"
        f"<path d='{shape}' fill='{colour}' stroke='#000' stroke-width='1.3'><title>{escape(tip)}</title></path></g>"
    )


def real_models(drawn: AdvantageMap) -> Sequence[tuple[str, float]]:
    """Those that were priced, by size."""
    priced = sorted({(switch.parameters, switch.model) for switch in drawn.switches})
    return [(model, parameters) for parameters, model in priced]


def caption_of(drawn: AdvantageMap) -> tuple[str, ...]:
    """Where it all comes from, in three lines."""
    asked = f"{drawn.prompt_tokens} + {drawn.output_tokens} tokens; batch, users in flight, split, depth and chips free"
    source = "prices: this package's catalogue and fits; points: the quickest row of each model in its published.csv"
    return tuple(f"{line[0].upper()}{line[1:]}." for line in (asked, drawn.proved, source))


def _legend(drawn: AdvantageMap) -> Iterator[str]:
    x, y = LEFT, HEIGHT - BOTTOM + 50
    marks = [
        (MARKS[n % 3], COLOURS[n % len(COLOURS)], f"{short(title)}, measured")
        for n, title in enumerate(drawn.titles)
    ]
    if any(switch.after for switch in drawn.switches):
        marks.append((MARKS[3], "white", "border of a real model"))
    for mark, colour, words in marks:
        yield _mark((x + 6, y + 6), mark, colour) + svg.text(x + 16, y + 10, words, size=11)
        x += 34 + 6.2 * len(words)
    dashed = "Between dashed lines the border lies with 80 % (figures and fits in doubt)."
    lines = (
        f"Strong colour: the next machine costs {STRONG:g} × or more. {dashed}",
        *caption_of(drawn),
    )
    for number, line in enumerate(lines):
        yield svg.text(LEFT, y + 26 + 13 * number, line, size=10, colour="#444444")


def map_figure(drawn: AdvantageMap) -> Any:
    """The map in plotly: every cell says what each machine costs there, with which batch and
    chips."""
    go = plotly()
    shape = (len(drawn.sizes), len(drawn.speeds))
    winners = drawn.winners().astype(float)
    count = len(drawn.topologies)
    steps = [
        (place / count, COLOURS[number % len(COLOURS)])
        for number in range(count)
        for place in (number, number + 1)
    ]
    figure = go.Figure()
    sizes = [size / 1e9 for size in drawn.sizes]
    tips = np.array([_tip(drawn, cell) for cell in drawn.rows]).reshape(shape).T
    figure.add_heatmap(
        x=sizes, y=drawn.speeds, z=np.where(winners < 0, np.nan, winners), zmin=-0.5, zmax=count - 0.5, colorscale=steps,
        opacity=0.75, text=tips, hoverinfo="text",
        colorbar={"tickvals": list(range(count)), "ticktext": [short(title) for title in drawn.titles], "title": "winner"},
    )  # fmt: skip
    likely = np.array(
        [math.nan if cell.likely_share is None else cell.likely_share for cell in drawn.rows]
    )
    figure.add_contour(
        x=sizes, y=drawn.speeds, z=likely.reshape(shape).T, contours={"start": SURE, "end": SURE, "coloring": "none"},
        line={"color": "#000000", "dash": "dot"}, showscale=False, name="border, 80 %", hoverinfo="skip", showlegend=True,
    )  # fmt: skip
    symbols = ("square", "triangle-up", "circle", "diamond", "cross", "x")
    for number, name in enumerate(drawn.topologies):
        points = [one for one in drawn.measured if one.topology == name]
        if points:
            figure.add_scatter(
                x=[one.parameters / 1e9 for one in points], y=[one.tokens_per_s_per_user for one in points], mode="markers",
                name=f"{short(drawn.titles[number])}, measured", text=[f"{one.model}: {one.source}" for one in points],
                marker={
                    "size": 10, "symbol": symbols[number % 6], "color": COLOURS[number % 6],
                    "line": {"width": 1.5, "color": "#000000"},
                },
            )  # fmt: skip
    title = f"{title_of(drawn)}<br><sup>{'<br>'.join(caption_of(drawn))}</sup>"
    figure.update_layout(
        template="plotly_white", font={"size": 13}, title={"text": title}, margin={"t": 110},
        xaxis={"type": "log", "title": "parameters [10⁹]"},
        yaxis={"type": "log", "title": "speed demanded for each user [tokens/s]"}, legend={"orientation": "h", "y": -0.18},
    )  # fmt: skip
    return figure


def _tip(drawn: AdvantageMap, cell: Cell) -> str:
    head = f"{cell.parameters / 1e9:.3g} B at {cell.tokens_per_s_per_user:.3g} tokens/s"
    if cell.winner is None:
        return f"{head}<br>no machine is as fast"
    costs = [
        f"{short(title)}: " + ("too slow" if value is None else f"{value:.3g}")
        for title, value in zip(drawn.titles, cell.values, strict=True)
    ]
    plan = f"{cell.chips} chips, {cell.users} users in flight; wins in {100 * (cell.likely_share or 0):.0f} % of draws"
    return "<br>".join([head, f"{drawn.metric}:", *costs, plan])
