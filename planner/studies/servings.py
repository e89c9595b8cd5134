"""The field's own chart: tokens/s a chip against tokens/s a user, for several machines.

Each machine is a line through its best plans, in a band in which 80 % of measurements would lie; a
service level shades what breaks it, and plans that keep the one of the two axes but not its time to
first token are hollow.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

from planner.answers.fronts import Front, Member
from planner.errors import InputError
from planner.guards import guarded
from planner.report.fronts import error_lines, staircase
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
    wrapped,
)
from planner.units import spoken

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "\\\\", "--", "||", "++")
"""Of bands: machines are told apart in greyscale too."""
ACROSS = "tokens_per_s_per_user"
UP = "tokens_per_s_per_chip"
WIDTH_IN = 9.0
PLOT_IN = 4.4
LEFT_IN = 0.95
PAD_IN = 0.15


class Promise(NamedTuple):
    """What every user is promised, as far as anything. [s]"""

    tpot_s: float | None
    ttft_s: float | None

    def is_kept(self, one: Member) -> bool:
        """Whether a plan keeps the time to first token: the other is an axis."""
        return self.ttft_s is None or one.score.ttft_s <= self.ttft_s


@guarded
def serving_fronts(
    fronts: Mapping[str, Front] | Sequence[Front],
    *,
    tpot_s: float | None = None,
    ttft_s: float | None = None,
) -> Picture:
    """Fronts of several machines for one model and one load, over tokens/s a user and tokens/s a
    chip, and what keeps a service level (needs matplotlib).

    `fronts` come from `pareto(…, fields=("tokens_per_s_per_user", "tokens_per_s_per_chip"))`, by
    the names to be shown, or with those of their machines. An InputError says what they lack, or
    in what they differ.
    """
    named = _named(fronts)
    _check(named)
    promise = Promise(tpot_s, ttft_s)
    with look():
        return _drawn(named, promise)


def _named(fronts: Mapping[str, Front] | Sequence[Front]) -> dict[str, Front]:
    if isinstance(fronts, Mapping):
        return dict(fronts)
    return {f"{one.topology.chips} × {one.topology.chip.name}": one for one in fronts}


def _check(named: dict[str, Front]) -> None:
    if not named:
        raise InputError("fronts must hold one front or more")
    asked = set()
    for name, front in named.items():
        for field in (ACROSS, UP):
            if field not in front.fields:
                raise InputError(
                    f"the front {name!r} has no field {field}: ask pareto() for"
                    f' fields=("{ACROSS}", "{UP}")'
                )
        asked.add((front.graph.name, front.workload))
    if len(asked) > 1:
        raise InputError("fronts in one picture must be of one model and one workload")


def _drawn(named: dict[str, Front], promise: Promise) -> Picture:
    figure = new_figure(WIDTH_IN, 8.0)
    first = next(iter(named.values()))
    work = first.workload
    room = WIDTH_IN - 2 * PAD_IN
    bold: dict[str, Any] = {"fontsize": 13, "fontweight": "bold"}
    load = f"{work.prompt_tokens:,} + {work.output_tokens:,} tokens"
    title = wrapped(figure, f"What {first.graph.name} gives each chip and each user", room, **bold)
    caption = wrapped(figure, f"{load}. {_terms(named)}", room, fontsize=SMALL)

    rows = -(-(len(named) + 5) // 3)
    key_in = 0.25 * rows + 0.1
    caption_in = size_in(figure, caption, fontsize=SMALL, linespacing=1.35)[1]
    title_in = size_in(figure, title, **bold)[1]
    key_at = PAD_IN + caption_in + 0.1
    plot_at = key_at + key_in + 0.6
    height = plot_at + PLOT_IN + 0.15 + title_in + PAD_IN
    figure.set_size_inches(WIDTH_IN, height)

    place = LEFT_IN / WIDTH_IN, plot_at / height
    axes = figure.add_axes((*place, (room - LEFT_IN) / WIDTH_IN, PLOT_IN / height))
    handles = _draw_machines(axes, named, promise)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("speed for each user [tokens/s]")
    axes.set_ylabel("output of each chip [tokens/s]")
    log_ticks(axes.xaxis)
    log_ticks(axes.yaxis)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    _make_room(axes)
    handles += _draw_promise(axes, promise, named)
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(PAD_IN / WIDTH_IN, key_at / height),
        ncols=3,
        fontsize=SMALL,
        borderaxespad=0,
        handlelength=2.6,
    )
    put_words(figure, title, caption, PAD_IN, **bold)
    return Picture(figure, title)


def _make_room(axes: Any) -> None:
    """As much on the left as the figures and the title of the axis take."""
    figure = axes.figure
    figure.draw_without_rendering()
    missing = PAD_IN - axes.yaxis.get_tightbbox().x0 / figure.dpi
    if missing > 0:
        left, bottom, width, height = axes.get_position().bounds
        more = missing / WIDTH_IN
        axes.set_position((left + more, bottom, width - more, height))


def _terms(named: dict[str, Front]) -> str:
    """How the lines were made, for the caption."""
    within = 100 * max(front.tolerance for front in named.values())
    are = "complete" if all(one.status == "complete" for one in named.values()) else "not complete"
    formats = sorted({front.graph.weight_dtype for front in named.values()})
    said = [
        f"Weights in {', '.join(formats)}; batch and plan free; fronts {are} within {within:g} %",
        "bands: where 80 % of measurements would lie, by the errors of each software stack",
    ]
    return "; ".join(said) + "."


def _draw_machines(axes: Any, named: dict[str, Front], promise: Promise) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    looks = zip(cycle(COLOURS), cycle(MARKS), cycle(LINES), cycle(HATCHES), strict=False)
    for (name, front), (colour, mark, line, hatch) in zip(named.items(), looks, strict=False):
        well, ill = error_lines(front, ACROSS, UP)
        ring = [*well, *reversed(ill)]
        axes.fill(*zip(*ring, strict=True), facecolor=colour, alpha=0.16, linewidth=0)
        if hatch:
            axes.fill(
                *zip(*ring, strict=True),
                facecolor="none",
                hatch=hatch,
                edgecolor=colour,
                alpha=0.35,
                linewidth=0,
            )
        axes.plot(
            *zip(*staircase(front, ACROSS, UP), strict=True), color=colour, ls=line, linewidth=1.8
        )
        for one in front.members:
            is_kept = promise.is_kept(one)
            axes.plot(
                one.score.tokens_per_s_per_user,
                one.score.tokens_per_s_per_chip,
                mark,
                markersize=5.5,
                markeredgecolor=colour if not is_kept else "#222222",
                markeredgewidth=1.3 if not is_kept else 0.7,
                markerfacecolor="white" if not is_kept else colour,
            )
        handles.append(
            Line2D([], [], color=colour, ls=line, marker=mark, mec="#222222", mew=0.7, label=name)
        )
    band = Patch(facecolor="#FFFFFF", hatch="//", edgecolor="#777777", label="80 % of measurements")
    if promise.ttft_s is not None:
        late = f"first token after more than {spoken(promise.ttft_s, 's')}"
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec="#222222", label=late))
    return [*handles, band]


def _draw_promise(axes: Any, promise: Promise, named: dict[str, Front]) -> list[Any]:
    """What is too slow lies in grey; the box that keeps the promise is named."""
    from matplotlib.patches import Patch

    if promise.tpot_s is None:
        return []
    least = 1 / promise.tpot_s
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, least / 1.3), max(high, least * 1.3))
    axes.set_ylim(axes.get_ylim())
    slow = {"facecolor": "#BBBBBB", "alpha": 0.45, "linewidth": 0}
    axes.axvspan(axes.get_xlim()[0], least, **slow, zorder=0.5)
    axes.axvline(least, color="#222222", linewidth=1.2)

    figure = axes.figure
    words = f"{least:.3g} tokens/s a user"
    wide, tall = (figure.dpi * one + 6 for one in size_in(figure, words, fontsize=SMALL))
    pixels = axes.transData.transform
    members = [one.score for front in named.values() for one in front.members]
    points = [pixels((one.tokens_per_s_per_user, one.tokens_per_s_per_chip)) for one in members]
    taken = [Box.around(float(x), float(y), 5, 5) for x, y in points]
    frame = Box.of(axes)
    at = float(pixels((least, 1.0))[0])
    spot = beside((at + 2, frame.top - tall), (wide, tall), taken, frame, gap=4)
    middle = (spot.left + spot.right) / 2, (spot.bottom + spot.top) / 2
    x, y = axes.transData.inverted().transform(middle)
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    axes.text(x, y, words, ha="center", va="center", fontsize=SMALL, bbox=ground)
    return [
        Patch(
            facecolor="#BBBBBB",
            alpha=0.6,
            label=f"slower than {spoken(promise.tpot_s, 's')} a token",
        )
    ]
