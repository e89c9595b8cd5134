"""`pareto`: the plans worth having when several fields count, proved complete within a tolerance, with a picture."""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.answers.question import FIELDS, Question
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.machines.topology import PowerScope, Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.reasons import shape_name, ways_of
from planner.planning.refusals import refusal_of
from planner.pricing.holdings import most_sequences
from planner.records import PORTRAITS, Record
from planner.report import svg
from planner.report.text import aligned, question_lines
from planner.report.words import FIELD_WORDS, field_text
from planner.scoring.plans import Score, score_plan
from planner.solver.chain.labels import LAST_BEAM
from planner.solver.chain.problem import Cuts, Floats, Ints, Run
from planner.solver.chain.tradeoffs import Known, uncovered
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.families import FamilyBounds, Priced, even_cuts, families_of, mixed_cuts
from planner.workload import Workload

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

QUICK_BEAM = 256
"""Labels at one layer up to which a box of several batches is searched before it is cut in two."""


class Member(Record):
    """A plan of a front."""

    plan: Plan
    score: Score


class Front(Record):
    """Plans of which none is better than another in every field.

    Complete: every plan of the space (see `partition`) is, in every field, at most `tolerance` better than one of them.
    """

    fields: tuple[str, ...]
    tolerance: float
    """Relative."""
    status: Literal["complete", "partial"]
    """Partial: time ran out; the members are real, others may be missing."""
    members: tuple[Member, ...]
    """In the order of the first field, the best first."""
    elapsed_s: float
    graph: ModelGraph
    topology: Topology
    workload: Workload

    def rows(self) -> list[dict[str, Any]]:
        """A row for each member: its fields, its shape, chips, replicas, stages, micro-batches and sequences."""
        return [
            {name: getattr(one.score, name) for name in self.fields}
            | {
                "shape": shape_name(ways_of(one.plan)), "chips": one.score.chips, "replicas": one.plan.replicas,
                "stages": len(one.plan.stages), "micro_batches": one.plan.micro_batches, "batch_size": one.score.batch_size,
            }
            for one in self.members
        ]  # fmt: skip

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def plot(self, across: str | None = None, up: str | None = None) -> "go.Figure":
        """An interactive picture of two of the fields; between the two lines no plan is proved to be missing, beyond the
        dashed one there is none (needs plotly)."""
        return _figure(self, *_axes(self, across, up))


def pareto(
    graph: ModelGraph,
    topology: Topology,
    workload: Workload,
    *,
    fields: tuple[str, ...] = ("tpot_s", "tokens_per_s", "usd_per_million_tokens"),
    tolerance: float = 0.05,
    time_limit_s: float | None = None,
    power_scope: PowerScope | None = None,
) -> Front:
    """The plans worth having when several fields of `Score` count.

    Every plan of the space of `partition` is covered: in every field one of the members is at most `tolerance` (relative)
    worse. Where the workload leaves the batch open, the front spans all batches. InfeasibleError: proved that there is no
    plan at all.
    """
    question = _question(tuple(fields), power_scope)
    if not 1e-4 <= tolerance <= 1:
        raise InputError(f"tolerance must lie between 0.0001 and 1, not {tolerance!r}")
    if graph.is_diffusion:
        raise InputError(f"pareto() plans chains of layers, and {graph.name} is a diffusion model; use partition()")
    if workload.requests_per_s is not None:
        raise InputError("pareto() takes a batch or an open one; leave Workload.requests_per_s out")
    candidates = Candidates(graph, topology, workload, question)
    if candidates.averages:
        raise InputError(f"pareto() has no proof for power_w of {topology.name}, an average; take energy_per_token_j")
    search = FrontSearch(candidates, tolerance, time_limit_s=time_limit_s)
    search.run()
    if not search.members and search.complete:
        raise refusal_of(Candidates(graph, topology, workload, Question(question.objective, (), power_scope)))
    if not search.members:
        raise NoPlanFoundError(f"no plan of {graph.name} was found in {time_limit_s} s; allow more time")
    members = [search.members[vector.tobytes()] for vector in search.known.vectors]
    sign = 1 if FIELDS[fields[0]].best == "least" else -1
    return Front(
        fields=tuple(fields), tolerance=tolerance, status="complete" if search.complete else "partial",
        members=tuple(sorted(members, key=lambda one: (sign * getattr(one.score, fields[0]), one.score.chips))),
        elapsed_s=time.monotonic() - search.started, graph=graph, topology=topology, workload=workload,
    )  # fmt: skip


def _question(fields: tuple[str, ...], power_scope: PowerScope | None) -> Question:
    """The fields as an objective and limits that nothing breaks; what counts chips first, so that all numbers of replicas
    are looked at."""
    if len(set(fields)) != len(fields) or len(fields) < 2:
        raise InputError(f"fields must name two or more different fields of Score, not {fields!r}")
    for name in fields:
        if name not in FIELDS:
            raise UnknownNameError("field to optimise", name, FIELDS)
    first = next((name for name in fields if name in ("chips", "power_w")), fields[0])
    worst = {name: 1e300 if FIELDS[name].best == "least" else 1e-300 for name in fields} | {
        "memory_headroom_bytes": -1e300
    }
    return Question(first, tuple((name, worst[name]) for name in fields if name != first), power_scope)


# ── Search ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class FrontSearch:
    """Boxes of batches, each with the families of plans that may still hold something new.

    A box loses the families whose bounds known plans cover; in a small one plans of the others are made and scored; what
    bounds cannot decide, labels do.
    """

    def __init__(self, candidates: Candidates, tolerance: float, *, time_limit_s: float | None = None) -> None:
        self.candidates, self.tolerance, self.started = candidates, tolerance, time.monotonic()
        self.deadline = math.inf if time_limit_s is None else self.started + time_limit_s
        self.known = Known(len(candidates.question.fields), tolerance)
        self.members: dict[bytes, Member] = {}
        self.complete = True
        self.tried: set[tuple[Cuts, Box]] = set()
        self.searched = 0
        """Boxes that labels had to decide."""

    def run(self) -> None:
        """Until every box is empty, or the clock runs out."""
        candidates = self.candidates
        budgets = {box: candidates.packing.widest(box.replicas) for box in candidates.boxes()}
        widths = np.array([split.chips for split in candidates.splits])
        self.families = families_of(widths, max(budgets.values(), default=0), len(candidates.graph.layers))
        self.bounds = FamilyBounds(candidates, self.families)
        todo = [(box, np.flatnonzero(self.families.least_chips <= budgets[box])) for box in reversed(budgets)]
        while todo:
            if time.monotonic() >= self.deadline:
                self.complete = False
                return
            box, rows = todo.pop()
            left = self._left(box, rows)
            if len(left) and not box.single:
                todo += [(half, left) for half in box.halves()]

    def _left(self, box: Box, rows: Ints) -> Ints:
        """The families that may still hold something new in a box."""
        if box.sequences(0) > self.candidates.topology.software.most_sequences:
            return rows[:0]
        priced = Priced(self.candidates, box)
        rows = rows[~self.known.covers(self.bounds.quick(priced, rows))]
        if not len(rows):
            return rows
        lower, turns = self.bounds.tight(priced, rows)
        rows = (
            rows[~self._covered(lower).all(axis=1)]
            if not self._small(box)
            else self._tried(box, priced, rows, lower, turns)
        )
        return self._searched(box, rows) if len(rows) and self._small(box) else rows

    def _covered(self, lower: Floats) -> NDArray[np.bool_]:
        return self.known.covers(lower.reshape(-1, lower.shape[2])).reshape(lower.shape[:2])

    def _small(self, box: Box) -> bool:
        (m0, m1), (u0, u1) = box.micro_batches, box.micro_sequences
        return box.single or (box.batch_size is None and m0 == m1 and u1 <= u0 * (1 + self.tolerance))

    def _tried(self, box: Box, priced: Priced, rows: Ints, lower: Floats, turns: Floats) -> Ints:
        """The families left after plans were made where bounds are lowest."""
        tried = np.zeros(lower.shape[:2], dtype=bool)
        while True:
            is_open = ~self._covered(lower)
            todo = np.argwhere(is_open & ~tried)
            if not len(todo):
                return rows[is_open.any(axis=1)]
            family, place = todo[np.log(lower[tuple(todo.T)]).sum(axis=1).argmin()]
            uniform = self.families.option[rows[family]] >= 0
            tried[family, slice(None) if uniform else place] = True
            for cuts in self._made(priced, int(rows[family]), float(turns[family, place])):
                self._offer(box, cuts)

    def _made(self, priced: Priced, family: int, turn_s: float) -> Iterator[Cuts]:
        """Plans of a family."""
        option, counts = int(self.families.option[family]), self.families.counts[family]
        if option >= 0:
            stages = int(counts[option])
            whole = len(self.candidates.splits) if self.candidates.tied and stages == 1 else 0
            yield even_cuts(priced.prefix[option], stages, option + whole)
        elif self.families.exact[family]:
            order = np.flatnonzero(counts).tolist()
            for ordered in (order, order[::-1]):
                cuts = mixed_cuts(priced, counts, min(turn_s, float(priced.prefix.max())), ordered)
                if cuts is not None:
                    yield cuts

    def _searched(self, box: Box, rows: Ints) -> Ints:
        """What labels leave of a box: nothing where they are done."""
        self.searched += 1
        problem = self.candidates.to_problem(box)
        if problem is None:
            return rows[:0]
        used = np.asarray((self.families.counts[rows] > 0).any(axis=0))
        used = np.concatenate([used, used]) if self.candidates.tied else used
        problem = replace(problem, feasible=problem.feasible & used[:, None, None])
        beam = LAST_BEAM if box.single else QUICK_BEAM
        found, proved = uncovered(problem, self.known, beam=beam, stop=lambda: time.monotonic() >= self.deadline)
        for one in found:
            self._offer(box, one.cuts)
        if box.single:
            self.complete &= proved
        done = proved and all(self.known.covers(one.vector[None]).all() for one in found)
        return rows[:0] if done or box.single else rows

    def _offer(self, box: Box, cuts: Cuts) -> None:
        """Score a plan with these cuts at the high end of a box, or with as many sequences as fit."""
        most, sequences = box.micro_batches[1], box.micro_sequences[1]
        single = box if box.single else box._replace(micro_batches=(most, most), micro_sequences=(sequences, sequences))
        runs = None if (cuts, single) in self.tried else self._placed(cuts, box.replicas)
        self.tried.add((cuts, single))
        if runs is None:
            return
        plan = self.candidates.to_plan(single, runs)
        score = self._score(plan)
        if score is None and not box.single:
            fitting = min(most_sequences(self.candidates.prices, plan, self.candidates.workload) // most, sequences)
            plan = plan.replace(batch_size=plan.replicas * most * max(1, fitting))
            score = self._score(plan) if fitting else None
        if score is not None:
            names = self.candidates.question.fields
            vector = np.array([self.candidates.canonical(name, float(getattr(score, name))) for name in names])
            if self.known.offer(vector):
                self.members[vector.tobytes()] = Member(plan=plan, score=score)

    def _placed(self, cuts: Cuts, replicas: int) -> tuple[Run, ...] | None:
        """Runs with their chips; None where they do not fit."""
        runs, offset, packing = [], 0, self.candidates.packing
        for tail, head, option in cuts:
            width = self.candidates.options[option].chips
            start = int(packing.start(np.array(offset), width))
            offset = start + width
            runs.append(Run(tail, head, option, start))
        return tuple(runs) if offset <= packing.widest(replicas) else None

    def _score(self, plan: Plan) -> Score | None:
        at = self.candidates
        try:
            return score_plan(plan, at.graph, at.topology, at.workload, power_scope=at.question.power_scope)
        except (InfeasibleError, InputError):
            return None


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ERROR = "rgba(120, 120, 120, 0.22)"
LINE, BAND, DOT = "#0072B2", "#B9D6E8", "#D55E00"
SCALES = {
    "s": (1e3, "ms"),
    "1/s": (1.0, "1/s"),
    "USD": (1.0, "USD"),
    "J": (1.0, "J"),
    "W": (1.0, "W"),
    "B": (1e-9, "GB"),
}


def _axes(front: Front, across: str | None, up: str | None) -> tuple[str, str]:
    chosen = (across or front.fields[0], up or front.fields[1])
    for name in chosen:
        if name not in front.fields:
            raise UnknownNameError("field of this front", name, front.fields)
    return chosen


def _shown(name: str, value: float) -> float:
    return value * SCALES.get(FIELD_WORDS[name].unit, (1.0, ""))[0]


def _axis_title(name: str) -> str:
    word = FIELD_WORDS[name]
    unit = SCALES.get(word.unit, (1.0, word.unit))[1]
    return f"{word.title} [{unit or '1'}]"


def staircase(front: Front, across: str, up: str, factor: float = 1.0) -> list[tuple[float, float]]:
    """Corners of the line beyond which none of the members lies in two fields; with a factor above 1, moved to where the
    tolerance puts the last plan that might be missing."""
    least = [FIELDS[name].best == "least" for name in (across, up)]
    points = [
        tuple(value / factor if low else value * factor for value, low in zip(pair, least, strict=True))
        for pair in ((getattr(one.score, across), getattr(one.score, up)) for one in front.members)
    ]
    return _corners(points, least)


def error_lines(front: Front, across: str, up: str, probability: float = 0.8) -> tuple[list[tuple[float, float]], ...]:
    """Corners of the line through the best plans if measurements came out well, and if they came out ill: at the ends of the
    intervals of both fields at once, since a stack that is slow in one is slow in the other."""
    least = [FIELDS[name].best == "least" for name in (across, up)]

    def pair(score: Score, well: bool) -> tuple[float, ...]:
        ends = [score.interval(name, probability) for name in (across, up)]
        return tuple(end[0 if low == well else 1] for end, low in zip(ends, least, strict=True))

    return tuple(_corners([pair(one.score, well) for one in front.members], least) for well in (True, False))


def _corners(points: list[tuple[float, ...]], least: list[bool]) -> list[tuple[float, float]]:
    """Of the line through the best of some points in two fields."""
    points.sort(key=lambda point: (point[0] if least[0] else -point[0], point[1] if least[1] else -point[1]))
    kept: list[tuple[float, float]] = []
    for x, y in points:
        if not kept or (y < kept[-1][1] if least[1] else y > kept[-1][1]):
            kept.append((x, y))
    corners = [kept[0]]
    for before, after in itertools.pairwise(kept):
        corners += [(after[0], before[1]), after]
    return corners


def _figure(front: Front, across: str, up: str) -> "go.Figure":
    go = svg.plotly()
    drawn = go.Figure()
    for number, corners in enumerate(error_lines(front, across, up)):
        xs, ys = zip(*corners, strict=True)
        drawn.add_scatter(
            x=[_shown(across, x) for x in xs], y=[_shown(up, y) for y in ys], mode="lines", line={"color": ERROR, "width": 0.5},
            name="where it would be measured (80 %)", showlegend=bool(number), fill="tonexty" if number else None,
            fillcolor=ERROR,
        )  # fmt: skip
    lines = [staircase(front, across, up, factor) for factor in (1 + front.tolerance, 1.0)]
    looks = ({"dash": "dash", "color": "#222222", "width": 1}, {"color": LINE, "width": 2})
    names = (f"no plan lies beyond (tolerance {100 * front.tolerance:g} %)", "best of the front")
    for number, (corners, look, name) in enumerate(zip(lines, looks, names, strict=True)):
        xs, ys = zip(*corners, strict=True)
        drawn.add_scatter(
            x=[_shown(across, x) for x in xs], y=[_shown(up, y) for y in ys], mode="lines", line=look, name=name,
            fill="tonexty" if number else None, fillcolor=BAND,
        )  # fmt: skip
    rows = front.rows()
    drawn.add_scatter(
        x=[_shown(across, row[across]) for row in rows], y=[_shown(up, row[up]) for row in rows], mode="markers",
        marker={"size": 7, "color": DOT, "line": {"color": "#222222", "width": 1}}, name="plans",
        text=[f"{row['shape']}, {row['chips']} chips, batch {row['batch_size']}" for row in rows],
    )  # fmt: skip
    drawn.update_layout(
        title=_title(front), template="plotly_white", font={"size": 13}, xaxis_title=_axis_title(across),
        yaxis_title=_axis_title(up), xaxis_type="log", yaxis_type="log",
    )  # fmt: skip
    return drawn


def _title(front: Front) -> str:
    count = f"{len(front.members)} plans of {front.graph.name} on {front.topology.chips} × {front.topology.chip.name}"
    proof = "every plan is covered" if front.status == "complete" else "time ran out, others may be missing"
    return f"{count}: {proof} within {100 * front.tolerance:g} %"


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720.0, 420.0, 80.0, 20.0, 50.0, 60.0


def front_svg(front: Front) -> str:
    """The first two fields, both on logarithmic axes: plans, the line through the best of them, the band in which the
    tolerance may hide others, and in grey where 80 % of measurements would lie."""
    across, up = front.fields[:2]
    near, far = staircase(front, across, up), staircase(front, across, up, 1 + front.tolerance)
    plans = [(float(getattr(one.score, across)), float(getattr(one.score, up))) for one in front.members]
    well, ill = error_lines(front, across, up)
    positive = [point for point in (*near, *far, *plans, *well, *ill) if min(point) > 0]
    ranges = [_range([_shown(name, p[axis]) for p in positive]) for axis, name in enumerate((across, up))]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        (x0, x1), (y0, y1) = ranges
        x, y = (
            max(_shown(name, value), low) for name, value, (low, _) in zip((across, up), point, ranges, strict=True)
        )
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * math.log(x / x0) / math.log(x1 / x0),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / y0) / math.log(y1 / y0),
        )

    def points(corners: list[tuple[float, float]]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, corners))

    body = [svg.text(8, 20, _title(front), size=13)]
    body += _ticks(ranges, place, (across, up))
    body.append(f"<polygon points='{points([*well, *reversed(ill)])}' fill='{ERROR}'/>")
    body.append(f"<polygon points='{points([*near, *reversed(far)])}' fill='{BAND}'/>")
    body.append(f"<polyline points='{points(far)}' fill='none' stroke='#222222' stroke-dasharray='5 4'/>")
    body.append(f"<polyline points='{points(near)}' fill='none' stroke='{LINE}' stroke-width='2'/>")
    for (x, y), row in zip(map(place, plans), front.rows(), strict=True):
        tip = f"{row['shape']}, {row['chips']} chips, batch {row['batch_size']}"
        body.append(
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{DOT}' stroke='#222222'><title>{tip}</title></circle>"
        )
    legend = (
        f"● plans   — best of them   - - no plan lies beyond ({100 * front.tolerance:g} %)   grey: measured with 80 %"
    )
    body.append(svg.text(WIDTH - RIGHT, 38, legend, anchor="end"))
    return svg.svg(WIDTH, HEIGHT, body, title=_title(front))


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return low / 1.1, max(high * 1.1, low * 1.3)


def _ticks(ranges: list[tuple[float, float]], place: Any, names: tuple[str, str]) -> Iterator[str]:
    """Axes with round figures."""
    scales = [SCALES.get(FIELD_WORDS[name].unit, (1.0, ""))[0] for name in names]
    for axis, (low, high) in enumerate(ranges):
        found = [
            k * 10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for k in (1, 2, 5)
        ]
        for value in (tick for tick in found if low <= tick <= high):
            corner = [ranges[0][0] / scales[0], ranges[1][0] / scales[1]]
            corner[axis] = value / scales[axis]
            x, y = place(tuple(corner))
            if axis == 0:
                yield f"<line x1='{x:.1f}' y1='{TOP}' x2='{x:.1f}' y2='{y:.1f}' stroke='#E5E5E5'/>"
                yield svg.text(x, y + 16, f"{value:,g}", anchor="middle")
            else:
                yield f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{WIDTH - RIGHT}' y2='{y:.1f}' stroke='#E5E5E5'/>"
                yield svg.text(x - 6, y + 4, f"{value:,g}", anchor="end")
    yield svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, _axis_title(names[0]), anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield f"<g transform='rotate(-90 18 {middle})'>{svg.text(18, middle, _axis_title(names[1]), anchor='middle')}</g>"


def _table(front: Front) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    header = (*front.fields, "shape", "chips", "replicas", "stages", "sequences")
    rows = [
        (
            *(field_text(name, row[name]) for name in front.fields), row["shape"], str(row["chips"]), str(row["replicas"]),
            str(row["stages"]), str(row["batch_size"]),
        )
        for row in front.rows()
    ]  # fmt: skip
    return header, rows


def front_text(front: Front) -> str:
    """For a terminal."""
    header, rows = _table(front)
    asked = question_lines(front.graph, front.topology, front.workload)
    return "\n".join([*asked, "", _title(front), "", *aligned([header, *rows])])


def front_html(front: Front) -> str:
    """For a notebook."""
    header, rows = _table(front)
    return f"<div>{front_svg(front)}{svg.table(header, rows, words=(len(front.fields),))}</div>"


PORTRAITS["text"]["Front"], PORTRAITS["html"]["Front"] = front_text, front_html
