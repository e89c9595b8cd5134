"""Interactive pictures with plotly: where the time goes, by cause and by operator, what the
chips hold, who holds which chip, and the roofline."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from planner.cost import roofline
from planner.errors import UnknownNameError
from planner.pricing.holdings import layers_of, split_of
from planner.pricing.served import Served
from planner.report.pictures import memory_parts
from planner.report.svg import CAUSE_COLOURS, MEMORY_COLOURS, plotly, stage_colour
from planner.report.text import CAUSES, equal_runs
from planner.units import spoken

if TYPE_CHECKING:
    import plotly.graph_objects as go

Kind = Literal["breakdown", "operators", "memory", "stages", "roofline"]

MOST_OPERATORS = 20


def figure_of(result: Any, kind: str = "breakdown") -> "go.Figure":
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
    go = plotly()
    drawn = pictures[kind](go, result)
    drawn.update_layout(template="plotly_white", font={"size": 13}, legend_title_text="")
    return drawn


def _breakdown(go: Any, result: Any) -> Any:
    score = result.score
    drawn = go.Figure()
    stages = [f"stage {number}" for number in range(len(score.breakdown))]
    for cause in CAUSES:
        seconds = [getattr(stage, f"{cause}_s") * 1e3 for stage in score.breakdown]
        if any(seconds):
            drawn.add_bar(
                y=stages, x=seconds, name=cause, orientation="h", marker_color=CAUSE_COLOURS[cause]
            )
    what, lasts_s = (
        ("output token", score.tpot_s) if score.step_s is None else ("step", score.step_s)
    )
    drawn.update_layout(
        barmode="stack", title=f"One {what} of {result.graph.name}: {spoken(lasts_s, 's')}",
        xaxis_title="time [ms]", yaxis={"autorange": "reversed"},
    )  # fmt: skip
    return drawn


def _operators(go: Any, result: Any) -> Any:
    software, chip = result.topology.software, result.topology.chip
    times = operator_times(result)[:MOST_OPERATORS]
    names = [name for name, _, _ in times]
    drawn = go.Figure()
    light = [1e3 * least for _, _, least in times]
    lost = [1e3 * (taken - least) for _, taken, least in times]
    shares = [f"{least / taken:.0%}" for _, taken, least in times]
    drawn.add_bar(
        y=names,
        x=light,
        name="at the speed of light",
        orientation="h",
        marker_color=CAUSE_COLOURS["compute"],
    )
    drawn.add_bar(
        y=names, x=lost, name="lost to efficiency and launches", orientation="h", text=shares, textposition="outside",
        marker={"color": CAUSE_COLOURS["hop"], "pattern": {"shape": "/"}},
    )  # fmt: skip
    paths = ("software.memory_efficiency", "software.compute_efficiency")
    reached = [one for one in result.topology.figures if one.path in paths]
    sources = "; ".join(
        f"{one.path.removeprefix('software.')} {one.value:.3g} ({one.source}: {one.note})"
        for one in reached
    )
    drawn.update_layout(
        barmode="stack", xaxis_title="time in a decode pass, without collectives [ms]", yaxis={"autorange": "reversed"},
        title=f"Operators of {result.graph.name} on {chip.name}<br><sup>{software.name}: {sources or 'as stated'}</sup>",
    )  # fmt: skip
    return drawn


def operator_times(result: Any) -> list[tuple[str, float, float]]:
    """Name, time in a decode pass through all stages, and the least that its chips allow [s];
    the longest first."""
    plan, graph = result.plan, result.graph
    served = Served(graph, result.topology, result.workload)
    at = served.schedule(result.score.batch_size, plan.replicas, plan.micro_batches)
    totals: dict[str, list[float]] = {}
    for stage in plan.stages:
        often = np.bincount(
            graph.kind_of_layer[layers_of(stage, graph)], minlength=len(graph.kinds)
        )
        for one in served.prices.operator_times(split_of(stage), at.decode):
            total = totals.setdefault(one.name, [0.0, 0.0])
            total[0] += often[one.kind] * one.taken_s
            total[1] += often[one.kind] * one.light_s
    rows = [(name, taken, light) for name, (taken, light) in totals.items() if taken > 0]
    return sorted(rows, key=lambda row: -row[1])


def _memory(go: Any, result: Any) -> Any:
    stages = result.score.stages
    runs = equal_runs(stages)
    names = [f"stage {run[0]}" if len(run) == 1 else f"stages {run[0]}-{run[-1]}" for run in runs]
    drawn = go.Figure()
    for place, (part, _) in enumerate(memory_parts(stages[0])):
        held = [memory_parts(stages[run[0]])[place][1] / 1e9 for run in runs]
        drawn.add_bar(
            y=names, x=held, name=part, orientation="h", marker_color=MEMORY_COLOURS[part]
        )
    drawn.update_layout(
        barmode="stack", title=f"Memory of one {result.topology.chip.name} of each stage",
        xaxis_title="memory [GB]", yaxis={"autorange": "reversed"},
    )  # fmt: skip
    return drawn


def _stages(go: Any, result: Any) -> Any:
    topology, plan = result.topology, result.plan
    row = topology.levels[0].span_chips if topology.levels else 1
    drawn = go.Figure()
    for number, stage in enumerate(plan.stages):
        chips = [chip for group in stage.groups for chip in range(group.first, group.last + 1)]
        drawn.add_scatter(
            x=[chip % row for chip in chips], y=[chip // row for chip in chips], mode="markers",
            marker={"symbol": "square", "size": 14, "color": stage_colour(number)},
            name=f"stage {number}: {stage.layers[0]}…{stage.layers[-1]}", text=[f"chip {chip}" for chip in chips],
            showlegend=number < 20,
        )  # fmt: skip
    drawn.update_layout(
        title=f"Stages on the chips of {topology.name}", xaxis_title="chip in its unit", yaxis_title="unit",
        yaxis={"autorange": "reversed"},
    )  # fmt: skip
    return drawn


def _roofline(go: Any, result: Any) -> Any:
    chip, score = result.topology.chip, result.score
    peak, bandwidth = (
        chip.peak_flop_per_s(result.graph.multiplied_in),
        chip.memory[0].bandwidth_bytes_per_s,
    )
    points = [
        (
            float(roofline.intensity_flop_per_byte(stage.decode_flop, stage.decode_moved_bytes)),
            stage.decode_flop / stage.decode_s,
            number,
        )
        for number, stage in enumerate(score.stages)
        if stage.decode_moved_bytes and stage.decode_s
    ]
    ridge = peak / bandwidth
    least = min([ridge / 30, *(intensity / 3 for intensity, _, _ in points)])
    axis = [least, ridge, max([ridge * 30, *(3 * intensity for intensity, _, _ in points)])]
    drawn = go.Figure()
    roof = [float(roofline.attainable_flop_per_s(intensity, peak, bandwidth)) for intensity in axis]
    drawn.add_scatter(
        x=axis, y=roof, mode="lines", name=f"roof of {chip.name}", line={"color": "#222222"}
    )
    drawn.add_scatter(
        x=[point[0] for point in points], y=[point[1] for point in points], mode="markers", name="decode pass of a stage",
        marker={"size": 9, "color": CAUSE_COLOURS["collective"]}, text=[f"stage {point[2]}" for point in points],
    )  # fmt: skip
    drawn.update_layout(
        title=f"Decode passes under the roof of {chip.name}", xaxis_title="intensity [FLOP/B]", yaxis_title="rate [FLOP/s]",
        xaxis_type="log", yaxis_type="log",
    )  # fmt: skip
    return drawn
