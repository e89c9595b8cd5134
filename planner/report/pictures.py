"""Small pictures of a plan: where time and memory go, which chips stand where."""

from collections.abc import Sequence

from planner.machines.topology import Topology
from planner.plan import Plan
from planner.report import svg
from planner.report.text import CAUSES, MOST_STAGES, cause_s, equal_runs, numbers
from planner.scoring.score import Score, StageScore, StageTime
from planner.units import spoken


def breakdown_svg(score: Score) -> str:
    """Where the time of one output token goes, summed, and by stage where there are a few."""
    rows = [_time_bar("all stages", score.breakdown)]
    if 1 < len(score.breakdown) <= 12:
        rows += [
            _time_bar(f"stage {number}", [stage]) for number, stage in enumerate(score.breakdown)
        ]
    title = f"One output token: {spoken(score.tpot_s, 's')}"
    if score.step_s is not None:
        title = f"One step: {spoken(score.step_s, 's')}"
    return svg.bars(rows, title=title, unit="s", legend=svg.CAUSE_COLOURS)


def _time_bar(title: str, breakdown: Sequence[StageTime]) -> svg.Bar:
    parts = [(cause, cause_s(breakdown, cause), svg.CAUSE_COLOURS[cause]) for cause in CAUSES]
    return svg.Bar(title, parts, spoken(sum(value for _, value, _ in parts), "s"))


def memory_svg(score: Score) -> str:
    """What the chips of each stage hold; equal neighbours in one row."""
    runs = equal_runs(score.stages)
    rows = []
    for run in runs[:MOST_STAGES]:
        stage = score.stages[run[0]]
        title = f"stage{'s' * (len(run) > 1)} {numbers(run)}"
        coloured = [(name, value, svg.MEMORY_COLOURS[name]) for name, value in memory_parts(stage)]
        note = f"{spoken(stage.needed_bytes, 'B')} of {spoken(stage.usable_bytes, 'B')}"
        rows.append(svg.Bar(title, coloured, note))

    title = "Memory of one chip of each stage"
    if len(runs) > MOST_STAGES:
        title += f" (first {MOST_STAGES} of {len(runs)} kinds of stage)"
    return svg.bars(rows, title=title, unit="B", legend=svg.MEMORY_COLOURS)


def memory_parts(stage: StageScore) -> list[tuple[str, float]]:
    """What one chip of a stage holds, and what is free. [B]"""
    free = max(0.0, stage.usable_bytes - stage.needed_bytes)
    return [
        ("weights", stage.weight_bytes),
        ("KV cache", stage.kv_bytes),
        ("activations", stage.activation_bytes),
        ("collectives' buffers", stage.workspace_bytes),
        ("free", free),
    ]


def stage_map_svg(plan: Plan, topology: Topology) -> str:
    """Which stage holds which chip; a frame around each unit of the innermost level."""
    owners: list[int | None] = [None] * topology.chips
    names = []
    for number, stage in enumerate(plan.stages):
        names.append(f"stage {number}: {stage.layers[0]} to {stage.layers[-1]}")
        for group in stage.groups:
            owners[group.first : group.last + 1] = [number] * group.count

    # One large unit would be one long line.
    row = topology.levels[0].span_chips if topology.levels else 1
    if topology.levels and row == topology.chips and row > 16:
        row = 8
    shown = owners[:2048]
    more = f", first 2,048 of {topology.chips:,} chips" if len(owners) > 2048 else ""
    title = f"Stages on the chips of {topology.name}{more}"
    return svg.chip_map(shown, row, names, title=title)
