"""What the plotly pictures of all studies share: their look, and how an axis is called."""

from typing import Any

from planner.report.words import FIELD_WORDS, SAMPLE_WORDS

LEGEND_BELOW = {"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"}
FIRST_ON_TOP = {"autorange": "reversed", "automargin": True}
"""The axis of lying bars: plotly counts from the bottom."""


def axis_title(field: str) -> str:
    """A field of `Score` as an axis is titled: 'time per output token [s]'."""
    word = (SAMPLE_WORDS | FIELD_WORDS)[field]
    return f"{word.title} [{word.unit}]".replace(" []", "")


def captioned(title: str, *lines: str) -> str:
    """A title, and under it smaller lines: what was done, and where the figures are from."""
    return f"{title}<br><sup>{'<br>'.join(lines)}</sup>"


def dress(drawn: Any, *, letters: int = 13, **layout: Any) -> None:
    """Give a figure the look of all: white ground, letters of that size, and its own layout."""
    drawn.update_layout(template="plotly_white", font={"size": letters}, **layout)
