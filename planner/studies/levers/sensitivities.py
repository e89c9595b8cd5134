"""Which figures move the answer: one at a time (`sensitivity`), and all at once
(`global_sensitivity`).

Every evaluation plans anew, so that the plan moves along with the figures; the plans are a sweep.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.answers.question import question_of
from planner.errors import InputError
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.records import Record, show_as
from planner.report.svg import plotly
from planner.report.text import aligned
from planner.report.words import FIELD_WORDS, SAMPLE_WORDS, field_text
from planner.studies.levers.paths import Range, changed, figure_text, ranges_of
from planner.studies.study import Study
from planner.studies.sweeps.cells import Cell, SweepRow
from planner.studies.sweeps.meters import Tally
from planner.studies.sweeps.sweeps import rows_of
from planner.workload import Workload

BARS = 15
"""The most figures in a picture."""
LEGEND = {"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"}
LOW_COLOUR, HIGH_COLOUR = "#0072B2", "#E69F00"
RESAMPLES = 200
LEVEL = 0.8
"""Probability of an interval."""

Floats = NDArray[np.float64]
Figures = Iterable[str] | Mapping[str, tuple[float, float] | float]


class Swing(Record):
    """A figure at the ends of its range, and the best plan there; None where there is no plan."""

    path: str
    value: float
    low: float
    high: float
    confidence: str
    """Of the figure; empty where it was not told."""
    source: str
    low_objective: float | None
    high_objective: float | None
    low_effect: float | None
    """Relative change of the objective."""
    high_effect: float | None
    swing: float | None
    """|effect| between both ends; None where an end has no plan."""
    message: str = ""
    """Why an end has no plan."""


class Sensitivity(Study):
    """Figures one at a time, strongest first."""

    rows: tuple[Swing, ...]
    field: str
    objective: float
    """Of the best plan with all figures as they are."""
    title: str

    def plot(self) -> Any:
        """A tornado: the objective at both ends of each figure's range (needs plotly)."""
        go, shown = (
            plotly(),
            [row for row in self.rows if row.swing is None or row.swing > 0][:BARS],
        )
        names = [f"{row.path}<br>{_ends(row)}" for row in shown]
        drawn, widest = (
            go.Figure(),
            130
            * max(
                (abs(one or 0.0) for row in shown for one in (row.low_effect, row.high_effect)),
                default=1,
            ),
        )
        for end, colour in (("low", LOW_COLOUR), ("high", HIGH_COLOUR)):
            effects = [getattr(row, f"{end}_effect") for row in shown]
            drawn.add_bar(
                y=names, x=[None if one is None else 100 * one for one in effects], orientation="h", marker_color=colour,
                name=f"at the {end} end", text=["no plan" if one is None else f"{100 * one:+.2g} %" for one in effects],
                textposition="outside", cliponaxis=False, marker_pattern_shape="/" if end == "low" else "",
            )  # fmt: skip
        word = (SAMPLE_WORDS | FIELD_WORDS)[self.field].title
        drawn.update_layout(
            barmode="overlay", template="plotly_white", font={"size": 12}, height=200 + 42 * len(shown),
            margin={"l": 10, "r": 60},
            xaxis={"title": f"change of {word} [%], from {field_text(self.field, self.objective)}", "range": (-widest, widest)},
            yaxis={"autorange": "reversed", "automargin": True},
            legend=LEGEND,
            title=f"{self.title}<br><sup>each figure alone over its range, planned anew; grade of its source in brackets</sup>",
        )  # fmt: skip
        return drawn


class Index(Record):
    """What share of the objective's variance a figure is behind."""

    path: str
    low: float
    high: float
    confidence: str
    first_order_share: float
    """By itself."""
    first_order_margin_share: float
    """Half the width of its 80 % interval, by resampling."""
    total_share: float
    """With all that it does together with others."""
    total_margin_share: float


class GlobalSensitivity(Study):
    """Sobol indices, largest first, and where the objective lies when all figures vary at once."""

    rows: tuple[Index, ...]
    field: str
    samples: int
    """Of each of the Saltelli matrices; plans: samples × (figures + 2)."""
    seed: int
    median: float
    low: float
    """80 % of the samples lie between this and `high`."""
    high: float
    title: str

    def plot(self) -> Any:
        """Bars of the shares with their intervals (needs plotly)."""
        go, shown = plotly(), self.rows[:BARS]
        drawn, names = go.Figure(), [row.path for row in shown]
        for kind, colour, name in (
            ("first_order", LOW_COLOUR, "alone"),
            ("total", HIGH_COLOUR, "with others"),
        ):
            drawn.add_bar(
                y=names, x=[getattr(row, f"{kind}_share") for row in shown], orientation="h", marker_color=colour, name=name,
                error_x={"array": [getattr(row, f"{kind}_margin_share") for row in shown], "color": "#333333"},
                marker_pattern_shape="/" if kind == "first_order" else "",
            )  # fmt: skip
        between = " to ".join(field_text(self.field, value) for value in (self.low, self.high))
        caption = (
            f"80 % of {self.samples:,} samples; Sobol indices with 80 % intervals by resampling"
        )
        drawn.update_layout(
            barmode="group", template="plotly_white", font={"size": 12}, height=220 + 52 * len(shown), margin={"l": 10, "r": 40},
            xaxis_title="share of the variance", yaxis={"autorange": "reversed", "automargin": True},
            legend=LEGEND,
            title=f"{self.title}: {between}<br><sup>{caption}</sup>",
        )  # fmt: skip
        return drawn


class _Question(NamedTuple):
    """What is asked at every point."""

    graph: ModelGraph
    topology: Topology
    workload: Workload
    objective: str
    limits: dict[str, float] | None
    options: dict[str, Any]
    """Of the sweep."""

    def rows_at(self, points: Iterable[Mapping[str, float]]) -> list[SweepRow]:
        """The best plan at each point."""
        nouns = [changed(self.topology, self.workload, point) for point in points]
        return rows_of(
            [Cell(self.graph, *pair, self.objective, self.limits) for pair in nouns], **self.options
        )

    @property
    def title(self) -> str:
        return f"{self.graph.name} on {self.topology.chips} × {self.topology.name}"


def sensitivity(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    figures: Figures | None = None,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    power_scope: PowerScope | None = None,
    time_limit_s: float | None = None,
    file: str | Path | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    progress: bool | Callable[[Tally], None] = True,
) -> Sensitivity:
    """How far each figure by itself moves the best plan's objective over its range, strongest
    first.

    `figures` are paths (ranges then follow the grade of their source, `doubts.SPREADS`), or paths
    with (low, high) or a relative spread; None: every figure of the machine whose source is told.
    `file`, `executor`, `processes` and `progress` are those of `sweep`. InputError where there is
    no plan with all figures as they are.
    """
    objective = question_of(
        minimize, maximize, limits, power_scope, diffusion=graph.is_diffusion
    ).objective
    options: dict[str, Any] = {
        "time_limit_s": time_limit_s, "file": file, "executor": executor, "processes": processes, "progress": progress,
        "power_scope": power_scope,
    }  # fmt: skip
    asked = _Question(graph, topology, workload, objective, limits, options)
    ranges = ranges_of(topology, workload, figures)
    first, *rows = asked.rows_at(
        [{}, *({one.path: end} for one in ranges for end in (one.low, one.high))]
    )
    if first.value is None:
        raise InputError(f"there is no plan with all figures as they are: {first.message}")
    swings = [
        _swing(*each, first.value) for each in zip(ranges, rows[::2], rows[1::2], strict=True)
    ]
    swings.sort(key=lambda row: (-math.inf if row.swing is None else -row.swing, row.path))
    return Sensitivity(
        rows=tuple(swings), field=objective, objective=first.value, title=asked.title
    )


def _swing(figure: Range, low: SweepRow, high: SweepRow, now: float) -> Swing:
    effects = [None if row.value is None else row.value / now - 1 for row in (low, high)]
    return Swing(
        **figure._asdict(), low_objective=low.value, high_objective=high.value, low_effect=effects[0], high_effect=effects[1],
        swing=None if effects[0] is None or effects[1] is None else abs(effects[1] - effects[0]),
        message=low.message or high.message,
    )  # fmt: skip


def global_sensitivity(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    figures: Figures | None = None,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: dict[str, float] | None = None,
    power_scope: PowerScope | None = None,
    samples: int = 64,
    most: int = 6,
    seed: int = 0,
    time_limit_s: float | None = None,
    file: str | Path | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    progress: bool | Callable[[Tally], None] = True,
) -> GlobalSensitivity:
    """Sobol indices [1]: what share of the objective's variance each figure is behind when all vary
    at once.

    Figures vary independently, log-uniformly over their ranges (see `sensitivity`); None: the
    `most` that move the objective most one at a time. `samples` is a power of 2; samples × (figures
    + 2) plans are made, each anew. The same seed gives the same indices. Needs scipy (`pip install
    spread-planner[sensitivity]`). Ctrl-C keeps what is done in `file`.

    [1] Saltelli et al., Variance based sensitivity analysis of model output, Comput. Phys. Commun. 181, 2010.
    """
    try:
        from scipy.stats import qmc, sobol_indices
    except ImportError:
        raise InputError(
            "Sobol indices need scipy: pip install 'spread-planner[sensitivity]'"
        ) from None
    if samples < 2 or samples & (samples - 1):
        raise InputError(f"samples must be a power of 2, not {samples}")
    objective = question_of(
        minimize, maximize, limits, power_scope, diffusion=graph.is_diffusion
    ).objective
    options: dict[str, Any] = {
        "time_limit_s": time_limit_s, "file": file, "executor": executor, "processes": processes, "progress": progress,
        "power_scope": power_scope,
    }  # fmt: skip
    asked = _Question(graph, topology, workload, objective, limits, options)
    if figures is None:
        alone = sensitivity(
            graph,
            topology,
            workload,
            minimize=minimize,
            maximize=maximize,
            limits=limits,
            **options,
        )
        figures = {row.path: (row.low, row.high) for row in alone.rows[:most]}
    ranges = ranges_of(topology, workload, figures)
    draws = qmc.Sobol(2 * len(ranges), seed=np.random.default_rng(seed)).random(samples)
    outputs = _outputs(asked, ranges, draws)
    indices = _indices(sobol_indices, outputs, np.random.default_rng(seed))
    return _global(asked, ranges, outputs, indices, seed)


def _outputs(asked: _Question, ranges: list[Range], draws: Floats) -> Floats:
    """The objective at Saltelli's points, (figures + 2, samples): A, B, then A with one figure
    of B each."""
    width = len(ranges)
    a, b = draws[:, :width], draws[:, width:]
    mixed = [np.where(np.arange(width) == number, b, a) for number in range(width)]
    low, high = (np.log([getattr(one, end) for one in ranges]) for end in ("low", "high"))
    values = np.exp(low + np.concatenate([a, b, *mixed]) * (high - low))
    rows = asked.rows_at(
        dict(zip([one.path for one in ranges], map(float, point), strict=True)) for point in values
    )
    for row in rows:
        if row.value is None:
            raise InputError(
                f"some of the ranges leave no plan, so that shares mean nothing; make them narrower ({row.message})"
            )
    return np.array([row.value for row in rows]).reshape(width + 2, -1)


def _indices(
    sobol_indices: Any, outputs: Floats, chance: np.random.Generator
) -> tuple[Floats, Floats]:
    """First-order and total shares, (2, figures), and half the width of their intervals."""
    samples = outputs.shape[1]

    def shares(chosen: Any) -> Floats:
        a, b, mixed = outputs[None, 0, chosen], outputs[None, 1, chosen], outputs[2:, None, chosen]
        found = sobol_indices(func={"f_A": a, "f_B": b, "f_AB": mixed}, n=len(chosen))
        return np.array([found.first_order, found.total_order]).reshape(2, -1)

    if np.ptp(outputs) <= 1e-9 * np.abs(outputs).max():
        raise InputError("none of the figures moves the objective; choose others, or wider ranges")
    again = np.array([shares(chance.integers(0, samples, samples)) for _ in range(RESAMPLES)])
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return shares(np.arange(samples)), (high - low) / 2


def _global(
    asked: _Question,
    ranges: list[Range],
    outputs: Floats,
    indices: tuple[Floats, Floats],
    seed: int,
) -> GlobalSensitivity:
    (first, total), (first_half, total_half) = indices
    rows = [
        Index(
            path=one.path, low=one.low, high=one.high, confidence=one.confidence,
            first_order_share=float(first[n]), first_order_margin_share=float(first_half[n]),
            total_share=float(total[n]), total_margin_share=float(total_half[n]),
        )
        for n, one in enumerate(ranges)
    ]  # fmt: skip
    low, median, high = np.quantile(outputs[:2], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return GlobalSensitivity(
        rows=tuple(sorted(rows, key=lambda row: -row.total_share)), field=asked.objective, samples=outputs.shape[1], seed=seed,
        median=float(median), low=float(low), high=float(high), title=asked.title,
    )  # fmt: skip


def _ends(row: Swing) -> str:
    grade = f" ({row.confidence})" if row.confidence else ""
    return f"{figure_text(row.path, row.low)} to {figure_text(row.path, row.high)}{grade}"


def sensitivity_text(made: Sensitivity) -> str:
    """For a terminal."""
    rows = [
        (
            row.path,
            _ends(row),
            *(
                "no plan" if one is None else f"{100 * one:+.3g} %"
                for one in (row.low_effect, row.high_effect)
            ),
        )
        for row in made.rows[:BARS]
    ]
    head = f"{made.title}: {made.field} = {field_text(made.field, made.objective)}"
    return "\n".join(
        [head, *aligned([("figure", "range", "at the low end", "at the high end"), *rows])]
    )


def global_text(made: GlobalSensitivity) -> str:
    """For a terminal."""
    low, median, high = (
        field_text(made.field, value) for value in (made.low, made.median, made.high)
    )
    rows = [
        (row.path, *(f"{share:.2f} ± {margin:.2f}" for share, margin in (
            (row.first_order_share, row.first_order_margin_share), (row.total_share, row.total_margin_share)
        )))
        for row in made.rows
    ]  # fmt: skip
    head = f"{made.title}: {made.field} = {median}, 80 % from {low} to {high}"
    return "\n".join([head, *aligned([("share of the variance", "alone", "with others"), *rows])])


show_as(Sensitivity, text=sensitivity_text)
show_as(GlobalSensitivity, text=global_text)
