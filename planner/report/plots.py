"""Interactive pictures with plotly: where the time goes, by cause and by operator, what the
chips hold, who holds which chip, and the roofline."""

from typing import TYPE_CHECKING, Literal

import numpy as np

from planner.answers.results import Result
from planner.cost import roofline
from planner.errors import UnknownNameError
from planner.pricing.formats import peak_flop_per_s
from planner.pricing.holdings import layers_of, split_of
from planner.pricing.served import Served
from planner.report import svg
from planner.report.pictures import memory_parts
from planner.report.svg import CAUSE_COLOURS, MEMORY_COLOURS, plotly, stage_colour
from planner.report.text import CAUSES, equal_runs, numbers
from planner.scoring.score import Score
from planner.units import spoken

if TYPE_CHECKING:
    import plotly.graph_objects as go

Kind = Literal["breakdown", "operators", "memory", "stages", "roofline"]

MOST_OPERATORS = 20

DOWNWARDS = {"autorange": "reversed"}
"""An axis on which the first row stands on top."""


def figure_of(result: Result, kind: str = "breakdown") -> "go.Figure":
    """One of the pictures of a planning result.

    "breakdown": one output token by stage and cause; "operators": each operator of a decode pass
    against the speed of light of its chip, with the source of what it reaches; "memory": the ledger
    of each stage; "stages": the stages on the chips; "roofline": each stage's decode pass under the
    roof of its chip. Needs plotly (`pip install spread-planner[viz]`).
    """
    pictures = {
        "breakdown": _breakdown,
        "operators": _operators,
        "memory": _memory,
        "stages": _stages,
        "roofline": _roofline,
    }
    if kind not in pictures:
        raise UnknownNameError("picture", kind, pictures)
    drawn = plotly().Figure()
    pictures[kind](drawn, result)
    drawn.update_layout(template="plotly_white", font={"size": 13}, legend_title_text="")
    return drawn


def _breakdown(drawn: "go.Figure", result: Result) -> None:
    score = result.score
    stages = [f"stage {number}" for number in range(len(score.breakdown))]
    for cause in CAUSES:
        seconds = [getattr(stage, f"{cause}_s") * 1e3 for stage in score.breakdown]
        if any(seconds):
            drawn.add_bar(
                y=stages,
                x=seconds,
                name=cause,
                orientation="h",
                marker_color=CAUSE_COLOURS[cause],
            )

    lasts = f"output token of {result.graph.name}: {spoken(score.tpot_s, 's')}"
    if score.step_s is not None:
        lasts = f"step of {result.graph.name}: {spoken(score.step_s, 's')}"
    drawn.update_layout(
        barmode="stack",
        title=f"One {lasts}",
        xaxis_title="time [ms]",
        yaxis=DOWNWARDS,
    )


def _operators(drawn: "go.Figure", result: Result) -> None:
    software = result.topology.software
    chip = result.topology.chip
    times = operator_times(result)[:MOST_OPERATORS]
    names = [name for name, _, _ in times]
    drawn.add_bar(
        y=names,
        x=[1e3 * least for _, _, least in times],
        name="at the full peak and bandwidth",
        orientation="h",
        marker_color=CAUSE_COLOURS["compute"],
    )
    drawn.add_bar(
        y=names,
        x=[1e3 * (taken - least) for _, taken, least in times],
        name="lost to efficiency and launches",
        orientation="h",
        text=[f"{least / taken:.0%}" for _, taken, least in times],
        textposition="outside",
        marker={"color": CAUSE_COLOURS["hop"], "pattern": {"shape": "/"}},
    )

    source = f"{software.name}: {_sources_of_efficiency(result) or 'as stated'}"
    drawn.update_layout(
        barmode="stack",
        xaxis_title="time in a decode pass, without collectives [ms]",
        yaxis=DOWNWARDS,
        title=f"Operators of {result.graph.name} on {chip.name}<br><sup>{source}</sup>",
    )


def _sources_of_efficiency(result: Result) -> str:
    """Where the shares of the speed of light come from that the operators reach."""
    said = []
    for figure in result.topology.figures:
        if figure.path in ("software.memory_efficiency", "software.compute_efficiency"):
            name = figure.path.removeprefix("software.")
            said.append(f"{name} {figure.value:.3g} ({figure.source}: {figure.note})")
    return "; ".join(said)


def operator_times(result: Result) -> list[tuple[str, float, float]]:
    """Name, time in a decode pass through all stages, and the least that its chips allow [s];
    the longest first."""
    plan = result.plan
    graph = result.graph
    served = Served(graph, result.topology, result.workload)
    at = served.schedule(result.score.batch_size, plan.replicas, plan.micro_batches)
    totals: dict[str, tuple[float, float]] = {}
    for stage in plan.stages:
        kinds = graph.kind_of_layer[layers_of(stage, graph)]
        often = np.bincount(kinds, minlength=len(graph.kinds))
        for one in served.prices.operator_times(split_of(stage), at.decode):
            taken, light = totals.get(one.name, (0.0, 0.0))
            taken += often[one.kind] * one.taken_s
            light += often[one.kind] * one.light_s
            totals[one.name] = (taken, light)
    rows = [(name, taken, light) for name, (taken, light) in totals.items() if taken > 0]
    return sorted(rows, key=lambda row: -row[1])


def _memory(drawn: "go.Figure", result: Result) -> None:
    runs = equal_runs(result.score.stages)
    names = [f"stage{'s' * (len(run) > 1)} {numbers(run)}" for run in runs]
    # Stages of a run are alike, so that the first stands for them all.
    ledgers = [dict(memory_parts(result.score.stages[run[0]])) for run in runs]
    for part in ledgers[0]:
        drawn.add_bar(
            y=names,
            x=[held[part] / 1e9 for held in ledgers],
            name=part,
            orientation="h",
            marker_color=MEMORY_COLOURS[part],
        )
    drawn.update_layout(
        barmode="stack",
        title=f"Memory of one {result.topology.chip.name} of each stage",
        xaxis_title="memory [GB]",
        yaxis=DOWNWARDS,
        height=230 + 44 * len(names),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )


def _stages(drawn: "go.Figure", result: Result) -> None:
    topology = result.topology
    row = topology.levels[0].span_chips if topology.levels else 1
    units = -(-topology.chips // row)
    for number, stage in enumerate(result.plan.stages):
        chips = [chip for group in stage.groups for chip in range(group.first, group.last + 1)]
        drawn.add_scatter(
            x=[chip % row for chip in chips],
            y=[chip // row for chip in chips],
            mode="markers",
            marker={"symbol": "square", "size": 14, "color": stage_colour(number)},
            name=f"stage {number}: {stage.layers[0]}…{stage.layers[-1]}",
            text=[f"chip {chip}" for chip in chips],
            showlegend=number < 20,
        )
    drawn.update_layout(
        title=f"Stages on the chips of {topology.name}",
        xaxis={"title": "chip in its unit", "range": (-0.7, row - 0.3), **_whole(row)},
        yaxis={"title": "unit", "range": (units - 0.3, -0.7), **_whole(units)},
        height=220 + min(600, 34 * units),
    )


def _whole(count: int) -> dict[str, object]:
    """Ticks at whole numbers alone: none lies between two chips."""
    return {"dtick": 1} if count <= 24 else {}


def _roofline(drawn: "go.Figure", result: Result) -> None:
    chip = result.topology.chip
    peak = peak_flop_per_s(result.graph, result.topology)
    bandwidth = chip.memory[0].bandwidth_bytes_per_s
    points = _under_the_roof(result.score)

    # The ridge in the middle, and all points on the picture with some room beside them.
    ridge = peak / bandwidth
    intensities = [intensity for _, intensity, _ in points]
    least = min([ridge / 30, *(intensity / 3 for intensity in intensities)])
    most = max([ridge * 30, *(3 * intensity for intensity in intensities)])
    axis = [least, ridge, most]
    drawn.add_scatter(
        x=axis,
        y=[float(roofline.attainable_flop_per_s(each, peak, bandwidth)) for each in axis],
        mode="lines",
        name=f"roof of {chip.name}",
        line={"color": "#222222"},
    )
    drawn.add_scatter(
        x=intensities,
        y=[rate for _, _, rate in points],
        mode="markers+text",
        name="decode pass of a stage, and its share of the roof",
        marker={"size": 10, "color": CAUSE_COLOURS["collective"], "line": {"width": 1}},
        text=_roof_words(points, peak, bandwidth),
        textposition="middle right",
        hovertext=[f"stage {number}" for number, _, _ in points],
    )
    rates = [rate for _, _, rate in points]
    drawn.update_layout(
        title=f"Decode passes under the roof of {chip.name}",
        xaxis=svg.log_axis("intensity [FLOP/B]", axis),
        yaxis=svg.log_axis("rate of a chip [TFLOP/s]", [peak, *rates], 1e12),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )


def _roof_words(points: list[tuple[int, float, float]], peak: float, bandwidth: float) -> list[str]:
    """The share of the roof that each pass reaches, told once of stages that lie together."""
    words = []
    before: tuple[float, float] | None = None
    for number, intensity, rate in points:
        share = rate / float(roofline.attainable_flop_per_s(intensity, peak, bandwidth))
        place = round(intensity, 1), round(share, 3)
        words.append("" if place == before else f"stage {number}: {100 * share:.0f} %")
        before = place
    return words


def _under_the_roof(score: Score) -> list[tuple[int, float, float]]:
    """Number, intensity and rate of each stage that does anything in decode."""
    points = []
    for number, stage in enumerate(score.stages):
        if stage.decode_moved_bytes and stage.decode_s:
            moved = stage.decode_moved_bytes
            intensity = float(roofline.intensity_flop_per_byte(stage.decode_flop, moved))
            points.append((number, intensity, stage.decode_flop / stage.decode_s))
    return points
