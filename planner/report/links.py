"""How busy a plan keeps the links of its machine: what each chip sends over each level of the
interconnect for one output token, as a share of what its links could carry in that time.

Bytes are the least that a collective needs: a reduce-scatter and an all-gather inside a unit, the
rest outside on what is left, as the price list has them; a kernel that sends whole copies, as small
messages are sent, sends more.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from planner.answers.results import Result
from planner.errors import InputError
from planner.machines.topology import Level, Topology
from planner.plan import Stage
from planner.pricing.holdings import kind_counts_of, split_of
from planner.pricing.price_list import Reach, reach_of, shares_of
from planner.pricing.schedule import Schedule
from planner.pricing.served import Served
from planner.pricing.timing import handed_on, hops_along
from planner.pricing.traffic import Volumes
from planner.report.static import (
    SMALL,
    Picture,
    look,
    new_figure,
    put_words,
    size_in,
    wrapped,
)
from planner.report.svg import stage_colour
from planner.report.text import numbers
from planner.units import spoken

MOST_ROWS = 16
"""Kinds of units that the picture shows."""
MOST_CHIPS = 32
"""Chips of a unit that it draws."""
LEVEL_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
LEVEL_HATCHES = ("", "//", "\\\\", "++")
WIDTH_IN = 9.0
PAD_IN = 0.15


class LinkLoad(NamedTuple):
    """Of the chips of one group of a stage on one level."""

    stage: int
    replica: int
    first_chip: int
    chips: int
    level: int
    fabric: str
    sent_bytes: float
    """By each chip, for one output token of every sequence."""
    share: float
    """Of what the chip's links on that level carry in the time of an output token."""


def link_loads(result: Result) -> list[LinkLoad]:
    """Each group of each stage on each level that it sends over."""
    score = result.score
    if score.tpot_s <= 0:
        raise InputError("link loads are those of an output token, and this plan makes none")
    topology = result.topology
    served = Served(result.graph, topology, result.workload)
    at = served.schedule(score.batch_size, result.plan.replicas, result.plan.micro_batches)
    handed = handed_on(result.plan, result.graph)
    found = []
    for number, stage in enumerate(result.plan.stages):
        for replica, group in enumerate(stage.groups):
            reach = reach_of(topology, split_of(stage), group.first)
            sent = _collected(served, at, stage, reach)
            if number + 1 < len(result.plan.stages):
                onwards = result.plan.stages[number + 1].groups[replica]
                ((crossed, _),) = hops_along(topology, [group, onwards])
                if crossed is not None and crossed >= 0:
                    tokens = at.micro_batches * shares_of(split_of(stage), at.decode)[0]
                    sent[crossed] += tokens * handed[number]
            for place, (level, ranks) in enumerate(zip(topology.levels, reach.tensor, strict=True)):
                if sent[place] > 0:
                    width = level.fabric.bandwidth_bytes_per_s * _links_of(level, ranks)
                    load = LinkLoad(
                        stage=number,
                        replica=replica,
                        first_chip=group.first,
                        chips=group.count,
                        level=place,
                        fabric=level.fabric.name,
                        sent_bytes=float(sent[place]),
                        share=float(sent[place] / (width * score.tpot_s)),
                    )
                    found.append(load)
    return found


def _collected(served: Served, at: Schedule, stage: Stage, reach: Reach) -> list[float]:
    """What each chip of a group sends in collectives for one token of every sequence, by level.
    [B]"""
    split, counts = split_of(stage), kind_counts_of(stage, served.graph)
    sent = []
    for level in range(len(served.topology.levels)):
        volumes = Volumes([level], in_two_halves=True)
        of_kinds = served.prices.crossing_bytes(split, [at.decode], reach, volumes)
        sent.append(at.micro_batches * float((of_kinds @ counts)[0]))
    return sent


def _links_of(level: Level, ranks: int) -> int:
    """Links over which a chip sends at once: one port of a switch, of a full mesh one to each of
    the others, on a ring or a grid both directions of each axis; of other fabrics one."""
    shape = level.fabric.shape
    if shape == "full-mesh":
        return max(1, ranks - 1)
    if shape in ("ring", "torus", "mesh", "chain"):
        return max(1, sum(2 if length > 2 else 1 for length in level.axes if length > 1))
    return 1


# ── Picture ──────────────────────────────────────────────────────────────────────────────────────


class _Row(NamedTuple):
    """A unit of the innermost level, and those beside it that are alike."""

    units: tuple[int, ...]
    owners: tuple[int | None, ...]
    loads: tuple[float, ...]
    """The busiest link of any of its chips, by level."""


def links_picture(result: Result) -> Picture:
    """The chips of a plan by the stage that holds them, and beside each unit how busy its busiest
    links are, by level (needs matplotlib)."""
    loads = link_loads(result)
    rows = _rows(result, loads)
    with look():
        return _drawn(result, rows)


def _rows(result: Result, loads: Sequence[LinkLoad]) -> list[_Row]:
    topology = result.topology
    levels = len(topology.levels)
    row = topology.levels[0].span_chips if levels else 1
    units = -(-topology.chips // row)
    owners: list[int | None] = [None] * (units * row)
    busiest = np.zeros((units, levels))
    for number, stage in enumerate(result.plan.stages):
        for group in stage.groups:
            owners[group.first : group.last + 1] = [number] * group.count
    for load in loads:
        last = (load.first_chip + load.chips - 1) // row
        for unit in range(load.first_chip // row, last + 1):
            busiest[unit, load.level] = max(busiest[unit, load.level], load.share)

    def shown(unit: int) -> tuple[tuple[int | None, ...], tuple[float, ...]]:
        chips = tuple(owners[unit * row : (unit + 1) * row])
        return chips, tuple(round(one, 6) for one in busiest[unit].tolist())

    return [_Row(tuple(alike), *key) for key, alike in _grouped(range(units), shown)]


def _grouped(units: range, key: Any) -> Iterator[tuple[Any, list[int]]]:
    for found, alike in groupby(units, key):
        yield found, list(alike)


def _drawn(result: Result, rows: list[_Row]) -> Picture:
    topology = result.topology
    shown = rows[:MOST_ROWS]
    figure = new_figure(WIDTH_IN, 4.0)
    bold: dict[str, Any] = {"fontsize": 13, "fontweight": "bold"}
    small: dict[str, Any] = {"fontsize": SMALL}
    room = WIDTH_IN - 2 * PAD_IN
    title = f"How busy {result.graph.name} keeps the links of {(topology.title or topology.name).split(':')[0]}"
    title = wrapped(figure, title, room, **bold)
    caption = wrapped(figure, _terms(result, len(rows) - len(shown)), room, **small)
    names = [_unit_words(row, topology) for row in shown]
    name_in = max(size_in(figure, name, **small)[0] for name in names) + 0.1

    chips = min(MOST_CHIPS, max(len(row.owners) for row in shown))
    levels = [level.fabric.name for level in topology.levels]
    pitch = 0.3 + 0.16 * (len(levels) - 1)
    plot_in = pitch * len(shown)
    caption_in = size_in(figure, caption, linespacing=1.35, **small)[1]
    key_at = PAD_IN + caption_in + 0.1
    plot_at = key_at + 0.25 * len(levels) + 0.1 + 0.55
    height = plot_at + plot_in + 0.15 + size_in(figure, title, **bold)[1] + PAD_IN
    figure.set_size_inches(WIDTH_IN, height)

    left = PAD_IN + name_in
    chips_in = min(4.0, 0.26 * chips + 0.1)
    bars_at = left + chips_in + 0.25
    place = left / WIDTH_IN, plot_at / height, chips_in / WIDTH_IN, plot_in / height
    grid = figure.add_axes(place)
    grid.set(xlim=(0, chips), ylim=(len(shown), 0))
    grid.axis("off")
    bars_in = WIDTH_IN - 2 * PAD_IN - bars_at
    axes = figure.add_axes(
        (bars_at / WIDTH_IN, plot_at / height, bars_in / WIDTH_IN, plot_in / height)
    )
    for at, (row, name) in enumerate(zip(shown, names, strict=True)):
        centre = 1 - (at + 0.5) / len(shown)
        y = (plot_at + plot_in * centre) / height
        figure.text(PAD_IN / WIDTH_IN, y, name, va="center", parse_math=False, **small)
        _draw_chips(grid, at, row.owners[:chips], numbered=chips_in / chips > 0.2)
        _draw_bars(axes, at, row)

    most = max((load for row in shown for load in row.loads), default=0.0)
    axes.set(xlim=(0, 100 * max(1.3 * most, 1e-5)), ylim=(len(shown), 0), yticks=[])
    axes.set_xlabel("busiest link, share of its bandwidth [%]")
    axes.grid(axis="x", color="#E5E5E5")
    axes.set_axisbelow(True)
    _add_key(figure, levels, key_at / height)
    put_words(figure, title, caption, PAD_IN, **bold)
    return Picture(figure, title)


def _draw_chips(grid: Any, at: int, owners: tuple[int | None, ...], *, numbered: bool) -> None:
    """One row of chips, each in the colour of its stage."""
    from matplotlib.patches import Rectangle

    for chip, owner in enumerate(owners):
        face = "#F4F4F4" if owner is None else stage_colour(owner)
        grid.add_patch(
            Rectangle((chip + 0.06, at + 0.2), 0.88, 0.6, facecolor=face, edgecolor="#888888")
        )
        if owner is not None and numbered:
            grid.text(chip + 0.5, at + 0.5, str(owner), ha="center", va="center", fontsize=8)


def _add_key(figure: Any, levels: list[str], up: float) -> None:
    """Which hatch is which level, under the plot."""
    from matplotlib.patches import Patch

    looks = zip(levels, LEVEL_COLOURS, LEVEL_HATCHES, strict=False)
    handles = [
        Patch(facecolor=colour, hatch=hatch or None, edgecolor="#222222", label=words)
        for words, colour, hatch in looks
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(PAD_IN / WIDTH_IN, up),
        fontsize=SMALL,
        borderaxespad=0,
    )


def _draw_bars(axes: Any, at: int, row: _Row) -> None:
    """One for each level, with its figure beside it."""
    thick = 0.8 / max(1, len(row.loads))
    for level, load in enumerate(row.loads):
        y = at + 0.1 + thick * (level + 0.5)
        axes.barh(
            y,
            100 * load,
            0.85 * thick,
            color=LEVEL_COLOURS[level % len(LEVEL_COLOURS)],
            hatch=LEVEL_HATCHES[level % len(LEVEL_HATCHES)] or None,
            edgecolor="#222222",
            linewidth=0.5,
        )
        words = f"{100 * load:.2g} %" if load else "nothing"
        axes.annotate(
            words, (100 * load, y), (4, 0), textcoords="offset points", va="center", fontsize=8
        )


def _unit_words(row: _Row, topology: Topology) -> str:
    what = "units" if len(row.units) > 1 else "unit"
    words = f"{what} {numbers(row.units)}"
    return f"{words}, {len(row.units)} alike" if len(row.units) > 1 else words


def _terms(result: Result, left_out: int) -> str:
    score = result.score
    work = result.workload
    said = [
        f"{score.batch_size:,} users, {work.prompt_tokens:,} + {work.output_tokens:,} tokens;"
        f" an output token takes {spoken(score.tpot_s, 's')}",
        "the number on a chip is its stage",
        "bytes: the least that the collectives and hops of an output token need, prompts left out",
    ]
    if left_out:
        said.append(f"{left_out} more kinds of units are not shown")
    if len(result.topology.levels) and result.topology.levels[0].span_chips > MOST_CHIPS:
        said.append(f"of each unit the first {MOST_CHIPS} chips")
    return "; ".join(said) + "."
