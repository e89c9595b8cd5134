"""An advantage map in plotly, for a closer look: every square says what each machine costs
there."""

import math
from typing import Any

import numpy as np

from planner.report.svg import plotly
from planner.studies.advantage.captions import caption_of, title_of
from planner.studies.advantage.drawing import colour_of, short
from planner.studies.advantage.records import AdvantageMap, Square
from planner.studies.advantage.uncertainty import SURE
from planner.studies.plots import captioned, dress

SYMBOLS = ("square", "triangle-up", "circle", "diamond", "cross", "x")


def map_figure(drawn: AdvantageMap) -> Any:
    """The map in plotly: every square says what each machine costs there, with which batch and
    chips."""
    figure = plotly().Figure()
    _add_winners(figure, drawn)
    _add_border(figure, drawn)
    _add_measured(figure, drawn)
    dress(
        figure,
        title={"text": captioned(title_of(drawn), *caption_of(drawn))},
        margin={"t": 110},
        xaxis={"type": "log", "title": "parameters [10⁹]"},
        yaxis={"type": "log", "title": "speed demanded for each user [tokens/s]"},
        legend={"orientation": "h", "y": -0.18},
    )
    return figure


def _add_winners(figure: Any, drawn: AdvantageMap) -> None:
    count = len(drawn.topologies)
    winners = drawn.winners().astype(float)
    # Each machine's colour from the beginning of its step to the end: steps, and no blend.
    steps = []
    for machine in range(count):
        colour = colour_of(machine)
        steps += [(machine / count, colour), ((machine + 1) / count, colour)]
    figure.add_heatmap(
        x=[size / 1e9 for size in drawn.sizes],
        y=drawn.speeds,
        z=np.where(winners < 0, np.nan, winners),
        zmin=-0.5,
        zmax=count - 0.5,
        colorscale=steps,
        opacity=0.75,
        text=_over_map(drawn, [_tip(drawn, square) for square in drawn.rows]),
        hoverinfo="text",
        colorbar={
            "title": "winner",
            "tickvals": list(range(count)),
            "ticktext": [short(title) for title in drawn.titles],
        },
    )


def _add_border(figure: Any, drawn: AdvantageMap) -> None:
    likely = [
        math.nan if square.likely_share is None else square.likely_share for square in drawn.rows
    ]
    figure.add_contour(
        name="border, 80 %",
        x=[size / 1e9 for size in drawn.sizes],
        y=drawn.speeds,
        z=_over_map(drawn, likely),
        contours={"start": SURE, "end": SURE, "coloring": "none"},
        line={"color": "#000000", "dash": "dot"},
        showscale=False,
        showlegend=True,
        hoverinfo="skip",
    )


def _over_map(drawn: AdvantageMap, values: list[Any]) -> Any:
    """One value a square, shape (speeds, sizes)."""
    return np.array(values).reshape(len(drawn.sizes), len(drawn.speeds)).T


def _add_measured(figure: Any, drawn: AdvantageMap) -> None:
    for machine, name in enumerate(drawn.topologies):
        points = [one for one in drawn.measured if one.topology == name]
        if points:
            figure.add_scatter(
                name=f"{short(drawn.titles[machine])}, measured",
                x=[one.parameters / 1e9 for one in points],
                y=[one.tokens_per_s_per_user for one in points],
                text=[f"{one.model}: {one.source}" for one in points],
                mode="markers",
                marker={
                    "size": 10,
                    "symbol": SYMBOLS[machine % len(SYMBOLS)],
                    "color": colour_of(machine),
                    "line": {"width": 1.5, "color": "#000000"},
                },
            )


def _tip(drawn: AdvantageMap, square: Square) -> str:
    head = f"{square.parameters / 1e9:.3g} B at {square.tokens_per_s_per_user:.3g} tokens/s"
    if square.winner is None:
        return f"{head}<br>no machine is as fast"
    costs = [
        f"{short(title)}: " + ("too slow" if value is None else f"{value:.3g}")
        for title, value in zip(drawn.titles, square.values, strict=True)
    ]
    share = 100 * (square.likely_share or 0)
    plan = f"{square.chips} chips, {square.users} users in flight; wins in {share:.0f} % of draws"
    return "<br>".join([head, f"{drawn.metric}:", *costs, plan])
