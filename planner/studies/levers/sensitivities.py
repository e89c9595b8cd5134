"""Which figures move the answer: one at a time (`sensitivity`), and all at once
(`global_sensitivity`).

Every evaluation plans anew, so that the plan moves along with the figures; the plans are a sweep.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from planner.answers.question import Limits
from planner.catalogue import AnyMachine, AnyModel, machine_of, model_of
from planner.errors import InputError
from planner.guards import guarded
from planner.machines.engine import Space
from planner.machines.topology import PowerScope
from planner.records import Record, show_as
from planner.report.svg import plotly
from planner.report.text import aligned
from planner.report.words import FIELD_WORDS, SAMPLE_WORDS, field_text
from planner.studies.levers.paths import Figures, Range, figure_text, ranges_of
from planner.studies.levers.questions import LeverQuestion, SweepOptions, lever_question
from planner.studies.plots import FIRST_ON_TOP, LEGEND_BELOW, captioned, dress
from planner.studies.study import Study
from planner.studies.sweeps.cells import SweepRow
from planner.studies.sweeps.meters import Tally
from planner.units import Seed
from planner.workload import Workload

BARS = 15
"""The most figures in a picture."""
LOW_COLOUR = "#0072B2"
HIGH_COLOUR = "#E69F00"
RESAMPLES = 200
LEVEL = 0.8
"""Probability of an interval."""

Floats = NDArray[np.float64]
Samples = Annotated[int, Field(le=2**16)]
"""Beyond, plans are counted in millions."""


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
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any; answers given
    before this was said are of any."""

    def plot(self) -> Any:
        """A tornado: the objective at both ends of each figure's range (needs plotly)."""
        return tornado(self)


def tornado(made: Sensitivity) -> Any:
    """Bars to both sides of the objective as it is, the widest on top."""
    go = plotly()
    shown = [row for row in made.rows if row.swing != 0][:BARS]
    names = [f"{row.path}<br>{_ends(row)}" for row in shown]
    drawn = go.Figure()
    for end, colour in (("low", LOW_COLOUR), ("high", HIGH_COLOUR)):
        effects = [getattr(row, f"{end}_effect") for row in shown]
        drawn.add_bar(
            name=f"at the {end} end",
            y=names,
            x=[None if one is None else 100 * one for one in effects],
            text=[_effect_text(one, 2) for one in effects],
            orientation="h",
            marker_color=colour,
            marker_pattern_shape="/" if end == "low" else "",
            textposition="outside",
            cliponaxis=False,
        )
    word = (SAMPLE_WORDS | FIELD_WORDS)[made.field].title
    now = field_text(made.field, made.objective)
    # A third more than the longest bar, so that the figure beside it has room.
    widest = 130 * _largest_effect(shown)
    dress(
        drawn,
        letters=12,
        barmode="overlay",
        height=210 + 54 * len(shown),
        margin={"l": 10, "r": 60},
        xaxis={"title": f"change of {word} [%], from {now}", "range": (-widest, widest)},
        yaxis=FIRST_ON_TOP,
        legend=LEGEND_BELOW,
        title=captioned(
            made.title,
            "each figure alone over its range, planned anew; grade of its source in brackets",
        ),
    )
    return drawn


def _largest_effect(rows: Sequence[Swing]) -> float:
    """At either end of any figure; 1 where there are none."""
    lows = [abs(row.low_effect or 0.0) for row in rows]
    highs = [abs(row.high_effect or 0.0) for row in rows]
    return max([*lows, *highs], default=1.0)


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
    space: Space = "any"
    """Whether plans are those that the software's engine can be started with, or any; answers given
    before this was said are of any."""

    def plot(self) -> Any:
        """Bars of the shares with their intervals (needs plotly)."""
        return share_bars(self)


def share_bars(made: GlobalSensitivity) -> Any:
    """Two bars for each figure, the largest share on top."""
    go = plotly()
    shown = made.rows[:BARS]
    drawn = go.Figure()
    kinds = (("first_order", LOW_COLOUR, "alone"), ("total", HIGH_COLOUR, "with others"))
    for kind, colour, name in kinds:
        margins = [getattr(row, f"{kind}_margin_share") for row in shown]
        drawn.add_bar(
            name=name,
            y=[row.path for row in shown],
            x=[getattr(row, f"{kind}_share") for row in shown],
            error_x={"array": margins, "color": "#333333"},
            orientation="h",
            marker_color=colour,
            marker_pattern_shape="/" if kind == "first_order" else "",
        )
    between = " to ".join(field_text(made.field, value) for value in (made.low, made.high))
    dress(
        drawn,
        letters=12,
        barmode="group",
        height=220 + 52 * len(shown),
        margin={"l": 10, "r": 40},
        xaxis_title="share of the variance",
        yaxis=FIRST_ON_TOP,
        legend=LEGEND_BELOW,
        title=captioned(
            f"{made.title}: {between}",
            f"80 % of {made.samples:,} samples; Sobol indices with 80 % intervals by resampling",
        ),
    )
    return drawn


@guarded
def sensitivity(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    figures: Figures | None = None,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    power_scope: PowerScope | None = None,
    time_limit_s: float | None = None,
    file: str | Path | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    space: Space = "engine",
    progress: bool | Callable[[Tally], None] = True,
) -> Sensitivity:
    """How far each figure by itself moves the best plan's objective over its range, strongest
    first.

    `figures` are paths (ranges then follow the grade of their source, `doubts.SPREADS`), or paths
    with (low, high) or a relative spread; None: every figure of the machine whose source is told.
    `file`, `executor`, `processes`, `space` and `progress` are those of `sweep`. InputError where there is
    no plan with all figures as they are.
    """
    graph, topology = model_of(graph), machine_of(topology)
    options = SweepOptions(
        power_scope=power_scope,
        space=space,
        time_limit_s=time_limit_s,
        file=file,
        executor=executor,
        processes=processes,
        progress=progress,
    )
    asked = lever_question(graph, topology, workload, minimize, maximize, limits, options)
    ranges = ranges_of(topology, workload, figures)
    points: list[dict[str, float]] = [{}]
    for one in ranges:
        points += [{one.path: one.low}, {one.path: one.high}]
    now, *ends = asked.rows_at(points)
    if now.value is None:
        raise InputError(f"there is no plan with the figures as they are: {now.message}")

    lows, highs = ends[::2], ends[1::2]
    swings = [
        _swing(one, low, high, now.value)
        for one, low, high in zip(ranges, lows, highs, strict=True)
    ]
    swings.sort(key=_by_swing)
    return Sensitivity(
        rows=tuple(swings),
        field=asked.objective,
        objective=now.value,
        title=asked.title,
        space=space,
    )


def _by_swing(row: Swing) -> tuple[float, str]:
    """The strongest first; before all of them those that leave no plan at an end."""
    return (-math.inf if row.swing is None else -row.swing), row.path


def _swing(figure: Range, low: SweepRow, high: SweepRow, now: float) -> Swing:
    low_effect = _effect(low, now)
    high_effect = _effect(high, now)
    swing = None
    if low_effect is not None and high_effect is not None:
        swing = abs(high_effect - low_effect)
    return Swing(
        **figure._asdict(),
        low_objective=low.value,
        high_objective=high.value,
        low_effect=low_effect,
        high_effect=high_effect,
        swing=swing,
        message=low.message or high.message,
    )


def _effect(row: SweepRow, now: float) -> float | None:
    return None if row.value is None else row.value / now - 1


@guarded
def global_sensitivity(
    graph: AnyModel,
    topology: AnyMachine,
    workload: Workload,
    figures: Figures | None = None,
    *,
    minimize: str | None = None,
    maximize: str | None = None,
    limits: Limits | None = None,
    power_scope: PowerScope | None = None,
    samples: Samples = 64,
    most: int = 6,
    seed: Seed = 0,
    time_limit_s: float | None = None,
    file: str | Path | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    space: Space = "engine",
    progress: bool | Callable[[Tally], None] = True,
) -> GlobalSensitivity:
    """Sobol indices [1]: the share of the objective's variance that each figure causes when all vary
    at once.

    Figures vary independently, log-uniformly over their ranges (see `sensitivity`); None: the
    `most` that move the objective most one at a time. `samples` is a power of 2; samples × (figures
    + 2) plans are made, each anew. The same seed gives the same indices. Needs scipy (`pip install
    spread-planner[sensitivity]`). Ctrl-C keeps what is done in `file`. InputError: samples that are
    no power of 2, ranges that leave no plan.

    [1] Saltelli et al., Variance based sensitivity analysis of model output, Comput. Phys. Commun.
    181, 2010."""
    graph, topology, stats = model_of(graph), machine_of(topology), _scipy_stats()
    if samples < 2 or samples & (samples - 1):
        raise InputError(f"samples must be a power of 2, not {samples}")
    options = SweepOptions(
        power_scope=power_scope,
        space=space,
        time_limit_s=time_limit_s,
        file=file,
        executor=executor,
        processes=processes,
        progress=progress,
    )
    asked = lever_question(graph, topology, workload, minimize, maximize, limits, options)
    if figures is None:
        alone = sensitivity(
            *(graph, topology, workload),
            minimize=minimize,
            maximize=maximize,
            limits=limits,
            **options,
        )
        figures = {row.path: (row.low, row.high) for row in alone.rows[:most]}
    ranges = ranges_of(topology, workload, figures)
    # One generator for the points and another, of the same seed, for the resampling: so the
    # points do not change with the number of resamples.
    draws = stats.qmc.Sobol(2 * len(ranges), seed=np.random.default_rng(seed)).random(samples)
    outputs = _outputs(asked, ranges, draws)
    indices = _indices(stats.sobol_indices, outputs, np.random.default_rng(seed))
    return _global(asked, ranges, outputs, indices, seed)


def _scipy_stats() -> Any:
    try:
        import scipy.stats
    except ImportError:
        raise InputError(
            "Sobol indices need scipy: pip install 'spread-planner[sensitivity]'"
        ) from None
    return scipy.stats


def _outputs(asked: LeverQuestion, ranges: list[Range], draws: Floats) -> Floats:
    """The objective at Saltelli's points, (figures + 2, samples): A, B, then A with one figure
    of B each."""
    width = len(ranges)
    a = draws[:, :width]
    b = draws[:, width:]
    mixed = [np.where(np.arange(width) == number, b, a) for number in range(width)]
    shares = np.concatenate([a, b, *mixed])

    low = np.log([one.low for one in ranges])
    high = np.log([one.high for one in ranges])
    values = np.exp(low + shares * (high - low))
    paths = [one.path for one in ranges]
    rows = asked.rows_at(dict(zip(paths, point, strict=True)) for point in values.tolist())
    for row in rows:
        if row.value is None:
            raise InputError(
                "some of the ranges leave no plan, so that shares of the variance have no meaning;"
                f" make the ranges narrower ({row.message})"
            )
    return np.array([row.value for row in rows]).reshape(width + 2, -1)


def _indices(
    sobol_indices: Any, outputs: Floats, chance: np.random.Generator
) -> tuple[Floats, Floats]:
    """First-order and total shares, (2, figures), and half the width of their intervals."""
    samples = outputs.shape[1]

    def shares(chosen: Any) -> Floats:
        parts = {
            "f_A": outputs[None, 0, chosen],
            "f_B": outputs[None, 1, chosen],
            "f_AB": outputs[2:, None, chosen],
        }
        found = sobol_indices(func=parts, n=len(chosen))
        return np.array([found.first_order, found.total_order]).reshape(2, -1)

    if np.ptp(outputs) <= 1e-9 * np.abs(outputs).max():
        raise InputError("none of the figures moves the objective; choose others, or wider ranges")
    again = np.array([shares(chance.integers(0, samples, samples)) for _ in range(RESAMPLES)])
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return shares(np.arange(samples)), (high - low) / 2


def _global(
    asked: LeverQuestion,
    ranges: list[Range],
    outputs: Floats,
    indices: tuple[Floats, Floats],
    seed: int,
) -> GlobalSensitivity:
    (first, total), (first_half, total_half) = indices
    rows = [
        Index(
            path=one.path,
            low=one.low,
            high=one.high,
            confidence=one.confidence,
            first_order_share=float(first[n]),
            first_order_margin_share=float(first_half[n]),
            total_share=float(total[n]),
            total_margin_share=float(total_half[n]),
        )
        for n, one in enumerate(ranges)
    ]
    rows.sort(key=lambda row: -row.total_share)
    # A and B alone are plain draws of all figures; the mixed points are not.
    low, median, high = np.quantile(outputs[:2], [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return GlobalSensitivity(
        rows=tuple(rows),
        field=asked.objective,
        samples=outputs.shape[1],
        seed=seed,
        median=float(median),
        low=float(low),
        high=float(high),
        title=asked.title,
        space=asked.options["space"],
    )


def _ends(row: Swing) -> str:
    grade = f" ({row.confidence})" if row.confidence else ""
    return f"{figure_text(row.path, row.low)} to {figure_text(row.path, row.high)}{grade}"


def sensitivity_text(made: Sensitivity) -> str:
    """For a terminal."""
    header = ("figure", "range", "at the low end", "at the high end")
    rows = [
        (row.path, _ends(row), _effect_text(row.low_effect), _effect_text(row.high_effect))
        for row in made.rows[:BARS]
    ]
    head = f"{made.title}: {made.field} = {field_text(made.field, made.objective)}"
    return "\n".join([head, *aligned([header, *rows])])


def _effect_text(effect: float | None, digits: int = 3) -> str:
    return "no plan" if effect is None else f"{100 * effect:+.{digits}g} %"


def global_text(made: GlobalSensitivity) -> str:
    """For a terminal."""
    low, median, high = (
        field_text(made.field, value) for value in (made.low, made.median, made.high)
    )
    header = ("share of the variance", "alone", "with others")
    rows = [
        (
            row.path,
            f"{row.first_order_share:.2f} ± {row.first_order_margin_share:.2f}",
            f"{row.total_share:.2f} ± {row.total_margin_share:.2f}",
        )
        for row in made.rows
    ]
    head = f"{made.title}: {made.field} = {median}, 80 % from {low} to {high}"
    return "\n".join([head, *aligned([header, *rows])])


show_as(Sensitivity, text=sensitivity_text)
show_as(GlobalSensitivity, text=global_text)
