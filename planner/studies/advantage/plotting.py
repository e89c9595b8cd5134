"""An advantage map in plotly, for a closer look: the same fields, borders and marks as in print,
and every square says what each machine costs there."""

import textwrap
from typing import Any

import numpy as np

from planner.report.static import Box, beside
from planner.report.svg import LogAxis, plotly
from planner.studies.advantage import looks
from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.looks import Point
from planner.studies.advantage.records import AdvantageMap, Measured, Square, Switch
from planner.studies.plots import dress

WIDE = 710
TALL = 540
"""Of the frame, in pixels."""
LEFT = 80
RIGHT = 290
TOP = 120
BELOW = 62
"""From the frame to the caption."""
LETTERS = 125
"""Of a line under the plot."""
LINES = {
    looks.BORDER: {"color": "#000000", "width": 2.5},
    looks.DOUBT: {"color": "#000000", "width": 1.3, "dash": "dash"},
    looks.EDGE: {"color": "#444444", "width": 1.2, "dash": "dot"},
}


def map_figure(drawn: AdvantageMap) -> Any:
    """The map in plotly: every square says what each machine costs there, with which batch and
    chips."""
    figure = plotly().Figure()
    _add_fields(figure, drawn)
    _add_tips(figure, drawn)
    _add_lines(figure, drawn)
    _add_marks(figure, drawn)
    _add_names(figure, drawn)
    _add_notes(figure, drawn)
    caption = [part for line in caption_of(drawn) for part in textwrap.wrap(line, LETTERS)]
    bottom = BELOW + 16 * (len(caption) + 1)
    across = "parameters [10⁹]" + (", 8 experts active" if drawn.family == "moe" else "")
    dress(
        figure,
        title={
            "text": "<br>".join(textwrap.wrap(title_of(drawn), 85)),
            "y": 0.97,
            "yanchor": "top",
        },
        width=LEFT + WIDE + RIGHT,
        height=TOP + TALL + bottom,
        margin={"l": LEFT, "r": RIGHT, "t": TOP, "b": bottom},
        xaxis=_axis(across, looks.edges_of_squares(drawn.sizes) / 1e9),
        yaxis=_axis(
            "speed demanded for each user [tokens/s]", looks.edges_of_squares(drawn.speeds)
        ),
        legend={"x": 1.02, "y": 1, "yanchor": "top", "tracegroupgap": 6, "font": {"size": 12}},
    )
    _add_caption(figure, caption)
    return figure


def _axis(title: str, edges: Any) -> dict[str, Any]:
    """Logarithmic, with 1, 2 and 5 of each decade."""
    low, high = float(edges[0]), float(edges[-1])
    shown = list(LogAxis(low, high, 0.0, 1.0).ticks())
    return {
        "type": "log",
        "title": title,
        "range": (np.log10(low), np.log10(high)),
        "tickvals": shown,
        "ticktext": [f"{tick:,g}" for tick in shown],
        "showgrid": False,
        "automargin": False,
        "showline": True,
        "mirror": True,
        "linecolor": "#222222",
        "ticks": "outside",
    }


def _spread(lines: list[list[Point]]) -> dict[str, list[float | None]]:
    """Several lines as one trace, with gaps between them."""
    across: list[float | None] = []
    up: list[float | None] = []
    for line in lines:
        across += [*(x / 1e9 for x, _ in line), None]
        up += [*(y for _, y in line), None]
    return {"x": across, "y": up}


def _add_fields(figure: Any, drawn: AdvantageMap) -> None:
    """Each shade of each machine, and the zones in which none wins."""
    for kind, blocks in looks.blocks_of(drawn).items():
        colour, hatch = looks.fill_of(kind)
        machine, shade = divmod(kind, len(looks.SHADES))
        is_zone = kind in looks.ZONES
        group = "zones" if is_zone else f"machine {machine}"
        title = (
            None if is_zone else {"text": f"{looks.short(drawn.titles[machine])}: the next costs"}
        )
        pattern = {"shape": hatch[:1], "fgcolor": "rgba(0,0,0,0.6)", "size": 7, "solidity": 0.15}
        figure.add_scatter(
            name=looks.ZONES[kind] if is_zone else looks.SHADES[shade],
            legendgroup=group,
            legendgrouptitle=title,
            **_spread([block.corners for block in blocks]),
            mode="lines",
            line={"color": colour, "width": 0.5},
            fill="toself",
            fillcolor=colour,
            fillpattern=pattern | {"bgcolor": colour} if hatch else None,
            hoverinfo="skip",
        )


def _add_tips(figure: Any, drawn: AdvantageMap) -> None:
    """Nothing to see; each square speaks."""
    tips = np.array([_tip(drawn, square) for square in drawn.rows])
    figure.add_heatmap(
        x=[size / 1e9 for size in drawn.sizes],
        y=drawn.speeds,
        z=np.zeros((len(drawn.speeds), len(drawn.sizes))),
        text=tips.reshape(len(drawn.sizes), len(drawn.speeds)).T,
        hoverinfo="text",
        opacity=0,
        showscale=False,
    )


def _tip(drawn: AdvantageMap, square: Square) -> str:
    head = f"{square.parameters / 1e9:.3g} B at {square.tokens_per_s_per_user:.3g} tokens/s"
    if square.winner is None:
        return f"{head}<br>no machine is as fast"
    costs = [
        f"{looks.short(title)}: " + ("too slow" if value is None else f"{value:.3g}")
        for title, value in zip(drawn.titles, square.values, strict=True)
    ]
    share = 100 * (square.likely_share or 0)
    plan = f"{square.chips} chips, {square.users} users in flight; wins in {share:.0f} % of draws"
    return "<br>".join([head, f"{drawn.metric}:", *costs, plan])


def _add_lines(figure: Any, drawn: AdvantageMap) -> None:
    up = looks.edges_of_squares(drawn.speeds)
    ends = looks.ends_of(drawn)
    lines = {
        looks.BORDER: looks.borders_of(drawn),
        looks.DOUBT: looks.doubts_of(drawn),
        looks.EDGE: [[(end.parameters, float(y)) for y in (up[0], up[-1])] for end in ends],
    }
    for name, drawn_lines in lines.items():
        if drawn_lines:
            figure.add_scatter(
                name=name,
                legendgroup="lines",
                **_spread(drawn_lines),
                mode="lines",
                line=LINES[name],
                hoverinfo="skip",
            )
    for end in ends:
        figure.add_annotation(
            text=end.words,
            x=np.log10(end.parameters / 1e9),
            y=1,
            yref="paper",
            yanchor="top",
            xanchor="left",
            textangle=90,
            showarrow=False,
            font={"size": 11},
        )


def _add_marks(figure: Any, drawn: AdvantageMap) -> None:
    switches = looks.switches_on(drawn)
    if switches:
        figure.add_scatter(
            name=looks.SWITCH,
            legendgroup="marks",
            x=[one.parameters / 1e9 for one in switches],
            y=[one.tokens_per_s_per_user for one in switches],
            hovertext=[looks.switch_words(one) for one in switches],
            hoverinfo="text",
            mode="markers",
            marker={
                "symbol": "diamond-wide",
                "size": 16,
                "color": "#FFFFFF",
                "line": {"width": 1.2, "color": "#000000"},
            },
        )
    for machine, name in enumerate(drawn.topologies):
        for is_drafted in (False, True):
            _add_measured(figure, drawn, machine, name, is_drafted)


def _add_measured(
    figure: Any, drawn: AdvantageMap, machine: int, name: str, is_drafted: bool
) -> None:
    points = [
        one
        for one in looks.measured_on(drawn)
        if one.topology == name and looks.has_drafts(one) == is_drafted
    ]
    if not points:
        return
    colour = looks.colour_of(machine)
    words = "measured with drafts" if is_drafted else "measured"
    figure.add_scatter(
        name=f"{looks.short(drawn.titles[machine])}, {words}",
        legendgroup="marks",
        x=[one.parameters / 1e9 for one in points],
        y=[one.tokens_per_s_per_user for one in points],
        hovertext=[looks.measured_words(one) for one in points],
        hoverinfo="text",
        mode="markers",
        marker={
            "size": 11,
            "symbol": looks.SYMBOLS[machine % len(looks.SYMBOLS)],
            "color": "#FFFFFF" if is_drafted else colour,
            "line": {"width": 2.4, "color": colour}
            if is_drafted
            else {"width": 1.3, "color": "#000000"},
        },
    )


def _add_names(figure: Any, drawn: AdvantageMap) -> None:
    """Real models above the frame, by turns in one of three rows."""
    for number, (words, parameters) in enumerate(looks.real_models(drawn)):
        figure.add_annotation(
            text=words,
            x=np.log10(parameters / 1e9),
            y=1,
            yref="paper",
            ax=0,
            ay=-14 - 16 * (number % 3),
            arrowwidth=0.8,
            arrowhead=0,
            font={"size": 11},
        )


def _add_notes(figure: Any, drawn: AdvantageMap) -> None:
    """Dates of measured systems and names of winners, none over another."""
    pixels = _Pixels(drawn)
    frame = Box(0.0, 0.0, pixels.wide, pixels.tall)
    marked: list[Measured | Switch] = [*looks.measured_on(drawn), *looks.switches_on(drawn)]
    points = [pixels.at(one.parameters, one.tokens_per_s_per_user) for one in marked]
    taken = [Box.around(*point, 11, 7) for point in points]
    taken += [
        Box.around(pixels.at(end.parameters, 1.0)[0] + 8, pixels.tall - 110, 10, 110)
        for end in looks.ends_of(drawn)
    ]
    for one, point in zip(looks.measured_on(drawn), points, strict=False):
        date = looks.date_of(one)
        if date:
            place = beside(point, (7.0 * len(date), 14.0), taken, frame)
            taken.append(place)
            _add_note(figure, pixels, date, place, size=10)

    winners = drawn.winners()
    names = dict(enumerate(map(looks.short, drawn.titles))) | looks.ZONES
    for number, name in names.items():
        is_won = winners == number
        if is_won.any():
            size = 9.0 * len(name), 20.0
            found = looks.place_of_name(is_won, pixels.across, pixels.up, size, taken)
            if found is not None:
                taken.append(found)
                _add_note(figure, pixels, f"<b>{name}</b>", found, size=14)


class _Pixels:
    """Where things lie in the frame, from its lower left corner: its size is fixed."""

    def __init__(self, drawn: AdvantageMap) -> None:
        self.wide = float(WIDE)
        self.tall = float(TALL)
        self._across = np.log(looks.edges_of_squares(drawn.sizes))
        self._up = np.log(looks.edges_of_squares(drawn.speeds))

    @property
    def across(self) -> Any:
        return self.wide * _shares(self._across, self._across)

    @property
    def up(self) -> Any:
        return self.tall * _shares(self._up, self._up)

    def at(self, parameters: float, speed: float) -> Point:
        across = self.wide * float(_shares(np.log(parameters), self._across))
        return across, self.tall * float(_shares(np.log(speed), self._up))


def _shares(values: Any, edges: Any) -> Any:
    return (values - edges[0]) / (edges[-1] - edges[0])


def _add_note(figure: Any, pixels: _Pixels, words: str, place: Box, *, size: int) -> None:
    figure.add_annotation(
        text=words,
        x=(place.left + place.right) / 2 / pixels.wide,
        y=(place.bottom + place.top) / 2 / pixels.tall,
        xref="paper",
        yref="paper",
        xanchor="center",
        yanchor="middle",
        showarrow=False,
        font={"size": size, "color": "#111111"},
        bgcolor="rgba(255,255,255,0.8)",
        borderpad=1,
    )


def _add_caption(figure: Any, lines: list[str]) -> None:
    """Under the plot and the title of its axis."""
    figure.add_annotation(
        text="<br>".join(lines),
        x=0,
        xref="paper",
        y=0,
        yref="paper",
        yshift=-BELOW,
        xanchor="left",
        yanchor="top",
        align="left",
        showarrow=False,
        font={"size": 11, "color": "#444444"},
    )
