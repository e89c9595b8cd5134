"""Answers and nouns as HTML, for notebooks."""

from collections.abc import Sequence

from planner.answers.results import Result
from planner.machines.topology import Topology, described
from planner.models.graph import Layer, ModelGraph
from planner.plan import Plan
from planner.report import svg
from planner.report.misses import near_miss_lines
from planner.report.nouns import reading_lines
from planner.report.pictures import breakdown_svg, memory_svg, stage_map_svg
from planner.report.plans import (
    has_stage_rows,
    plan_header,
    plan_line,
    plan_row,
    stages_header,
    stages_rows,
)
from planner.report.text import (
    assumption_lines,
    chosen_lines,
    doubt_lines,
    interval_lines,
    question_lines,
    seated_proof_line,
    stage_header,
    stage_rows,
    traffic_header,
    traffic_rows,
)
from planner.report.unused import idle_lines
from planner.report.words import HEADLINE_HEADER, headline, seat_lines
from planner.scoring.doubts import WORDS
from planner.scoring.score import Score
from planner.units import spoken


def result_html(result: Result) -> str:
    """A planning result for a notebook."""
    asked = question_lines(result.graph, result.topology, result.workload)
    parts = ["<br>".join(_escaped([*asked, *seat_lines(result.score)]))]
    parts.append(f"<b>{_escaped([seated_proof_line(result)])[0]}</b>")
    parts += _escaped([*chosen_lines(result), *interval_lines(result), *near_miss_lines(result)])
    parts.append(_plan_html(result.plan, result.topology.chips))
    parts += _escaped(idle_lines(result))
    parts.append(score_html(result.score))
    parts.append(stage_map_svg(result.plan, result.topology))
    doubts = doubt_lines(result)
    notes = [*assumption_lines(result.graph, result.topology, result.workload), *doubts]
    parts.append(
        "<details><summary>assumptions</summary>" + "<br>".join(_escaped(notes)) + "</details>"
    )
    return "<div>" + "".join(f"<div style='margin:6px 0'>{part}</div>" for part in parts) + "</div>"


def score_html(score: Score) -> str:
    """A score for a notebook."""
    figures = svg.table(HEADLINE_HEADER, headline(score))
    stages = svg.table(stage_header(score), stage_rows(score), words=(0, 1))
    moved = ""
    if score.traffic:
        moved = svg.table(traffic_header(score), traffic_rows(score), words=(0,))
    return figures + breakdown_svg(score) + memory_svg(score) + moved + stages


def topology_html(topology: Topology) -> str:
    """A machine for a notebook: its figures with their sources."""
    rows = [
        (f.path, f"{f.value:.6g}", WORDS[f.confidence], f.source, f.note) for f in topology.figures
    ]
    return f"<b>{_escaped([topology.name + ': ' + described(topology)])[0]}</b>" + svg.table(
        ("figure", "value", "confidence", "source", "note"), rows, words=(0, 2, 3, 4)
    )


def graph_html(graph: ModelGraph) -> str:
    """A model for a notebook: its kinds of layer."""
    header = ("layers", "parameters", "weights", "KV cache of a token", "operators")
    rows = [_kind_row(kind[0], len(kind)) for kind in graph.kinds]
    title = (
        f"{graph.name}: {graph.parameters:,.0f} parameters,"
        f" {spoken(graph.weight_bytes, 'B')} in {graph.weight_dtype}"
    )
    read = "<br>".join(_escaped(reading_lines(graph)))
    return f"<b>{_escaped([title])[0]}</b>" + svg.table(header, rows, words=(0, 4)) + read


def _kind_row(layer: Layer, count: int) -> tuple[str, ...]:
    return (
        f"{count} × {layer.kind}",
        f"{layer.parameters:,.0f}",
        spoken(layer.weight_bytes, "B"),
        spoken(layer.kv_bytes_per_token, "B"),
        ", ".join(operator.name for operator in layer.operators),
    )


def plan_html(plan: Plan) -> str:
    """A plan for a notebook: in one line, in all its stages, and stage by stage."""
    return _plan_html(plan)


def _plan_html(plan: Plan, there: int | None = None) -> str:
    """The same on a machine of so many chips."""
    whole_header, header = plan_header(plan), stages_header(plan)
    cut, chips = len(whole_header) - 2, len(whole_header) - 1
    whole = svg.table(whole_header, [plan_row(plan, there)], words=(cut, chips))
    stages = ""
    if has_stage_rows(plan):
        stages = svg.table(header, stages_rows(plan), words=(1, len(header) - 1))
    return f"<b>plan: {_escaped([plan_line(plan)])[0]}</b>{whole}{stages}"


def _escaped(lines: Sequence[str]) -> list[str]:
    return [line.replace("&", "&amp;").replace("<", "&lt;") for line in lines]
