"""Where one machine's advantage over another ends as models grow."""

import itertools
import math
from collections.abc import Callable
from typing import Any, get_args

from planner.answers.question import FIELDS
from planner.answers.results import Result
from planner.catalogue import load_topology
from planner.errors import InfeasibleError, InputError, UnknownNameError
from planner.machines.topology import Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.planning.partitioning import partition
from planner.records import Record
from planner.report.svg import plotly
from planner.report.text import CAUSES
from planner.scoring.plans import score_plan
from planner.studies.advantage.family import Family, member
from planner.studies.advantage.uncertainty import (
    FigureEffect,
    at_probability,
    combined,
    figure_effects,
    residual_of,
)
from planner.studies.study import Study
from planner.workload import Workload

ONE_REQUEST = Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
ROOM = 4
"""Where that is more than the machine has, the solver may take so many times the chips that
weights and caches fill."""
SIZES = tuple(8e9 * 10 ** (step / 8) for step in range(20))
"""Where the sign of the advantage is looked at first: 8 B to 1.9 T."""
CLOSE = 1e-3
"""Relative: how narrow the root is bracketed."""


class Point(Record):
    """Two machines at one size."""

    parameters: float
    first: float | None
    """The metric on the first machine; None where the model does not fit it."""
    second: float | None

    @property
    def advantage(self) -> float | None:
        """How many times better the first machine is; None where either has no plan."""
        return None if self.first is None or self.second is None else self.second / self.first


class Term(Record):
    """What one machine pays for one cause, on either side of the root, in the unit of the
    metric."""

    topology: str
    cause: str
    """Of a token's time: compute, memory, collective, hop, overhead or bubble."""
    before: float
    """At `Crossover.around`, the smaller size; so the next one."""
    after: float

    @property
    def growth(self) -> float:
        """How many times larger it becomes."""
        return self.after / self.before if self.before else math.inf


class Crossover(Study):
    """Where the first machine stops, or starts, being the better one; its rows are the sizes
    that were priced, ascending."""

    first: str
    second: str
    metric: str
    family: Family
    params: float | None
    """Parameters at which both are equal; None where one wins throughout."""
    winner_below: str | None
    winner_above: str | None
    rows: tuple[Point, ...]
    slope: float | None = None
    """Change of the advantage, in percent, for one percent of parameters, around the root."""
    residual_half_width: float = 0.0
    """Of the advantage, from the residuals of both software stacks, on a logarithmic scale (80
    %)."""
    sensitivities: tuple[FigureEffect, ...] = ()
    """What figures of both machines do to the root, those whose doubt moves it most first; paths
    begin with the machine."""
    around: tuple[float, float] | None = None
    """Sizes on either side of the root at which `terms` were taken."""
    terms: tuple[Term, ...] = ()
    """What each machine pays for, those that grow by most first."""

    @property
    def points(self) -> tuple[Point, ...]:
        """The rows."""
        return self.rows

    @property
    def half_width(self) -> float:
        """Of the root's 80 % interval, on a logarithmic scale: residuals and doubtful figures,
        in squares, over the slope."""
        if not self.slope:
            return math.inf
        return combined(
            self.residual_half_width / self.slope, *(one.half_width for one in self.sensitivities)
        )

    def interval(self, probability: float = 0.8) -> tuple[float, float]:
        """Where the root lies with that probability.

        Doubts about figures (`doubts.SPREADS`, by grade) and the residuals of both stacks are taken
        as independent log-normal factors; what they do to the advantage is carried over to the root
        by its slope. An InputError says so where there is no root.
        """
        if self.params is None:
            raise InputError(
                f"there is no crossover to be sure of: {self.winner_below} wins throughout"
            )
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        factor = math.exp(at_probability(self.half_width, probability))
        return self.params / factor, self.params * factor

    @property
    def reason(self) -> str:
        """Which term overtakes which, in one sentence."""
        if self.around is None:
            return f"{self.winner_below or 'neither'} wins at every size that both can hold"
        loser = self.first if self.winner_above == self.second else self.second
        ours = max(
            (term for term in self.terms if term.topology == loser),
            key=lambda term: term.after - term.before,
        )
        theirs = max(
            (term for term in self.terms if term.topology != loser), key=lambda term: term.after
        )
        span = math.log(self.around[1] / self.around[0])
        powers = [
            math.log(term.growth) / span if term.before else math.inf for term in (ours, theirs)
        ]
        low, high = (f"{size / 1e9:.0f} B" for size in self.around)
        return (
            f"from {low} to {high} parameters what {ours.topology} pays for {ours.cause} grows from {ours.before:.3g} to"
            f" {ours.after:.3g} (as parameters to the power {powers[0]:.1f}) and overtakes what {theirs.topology} pays for"
            f" {theirs.cause}, from {theirs.before:.3g} to {theirs.after:.3g} (to the power {powers[1]:.1f})"
        )

    def __str__(self) -> str:
        if self.params is None:
            return f"{self.metric}: no crossover of {self.first} and {self.second}; {self.winner_below} wins throughout"
        low, high = self.interval()
        return (
            f"{self.metric}: {self.first} and {self.second} are equal at {self.params / 1e9:.0f} B parameters (80 %:"
            f" {low / 1e9:.0f} to {high / 1e9:.0f} B); {self.winner_below} wins below, {self.winner_above} above; {self.reason}"
        )

    def plot(self) -> Any:
        """The advantage over sizes, with the root and its interval (needs plotly)."""
        go = plotly()
        there = [point for point in self.rows if point.advantage is not None]
        figure = go.Figure()
        figure.add_scatter(
            x=[point.parameters / 1e9 for point in there], y=[point.advantage for point in there], name="advantage",
            line={"color": "#D55E00", "width": 3},
        )  # fmt: skip
        figure.add_hline(y=1, line={"color": "#222222", "width": 1})
        if self.params is not None:
            low, high = (max(1e-3, min(1e6, size / 1e9)) for size in self.interval())
            figure.add_vrect(x0=low, x1=high, fillcolor="#56B4E9", opacity=0.25, line_width=0)
            figure.add_scatter(
                x=[self.params / 1e9], y=[1], mode="markers+text", text=[f"{self.params / 1e9:.0f} B"],
                textposition="top right", name="crossover, 80 % in blue", marker={"color": "#222222", "size": 10},
            )  # fmt: skip
        sizes = [math.log10(point.parameters / 1e9) for point in self.rows]
        figure.update_layout(
            template="plotly_white", font={"size": 13}, title=f"{self.first} against {self.second}: {self.metric}",
            xaxis={"type": "log", "title": f"parameters of {self.family} models [10⁹]", "range": [sizes[0], sizes[-1]]},
            yaxis={"type": "log", "title": f"advantage of {self.first} [1]"},
        )  # fmt: skip
        return figure


def best_plan(
    parameters: float,
    topology: Topology,
    workload: Workload,
    metric: str,
    *,
    weight_dtype: Dtype = "bf16",
    limits: dict[str, float] | None = None,
    family: Family = "dense",
) -> Result | None:
    """The best plan of the family's model of that size on as many chips of a machine as it
    likes: those that it has, or ROOM times those that the weights and the users' caches fill;
    None where it fits no number of them."""
    graph = member(family, parameters, weight_dtype)
    machine = with_room(graph, topology, workload)
    least = FIELDS[metric].best == "least"
    try:
        return partition(
            graph,
            machine,
            workload,
            minimize=metric if least else None,
            maximize=None if least else metric,
            limits=limits,
        )
    except InfeasibleError:
        return None


def with_room(graph: ModelGraph, topology: Topology, workload: Workload) -> Topology:
    """The machine with as many chips as the model and its users may want of it."""
    caches = (workload.batch_size or 1) * workload.context_tokens * graph.kv_bytes_per_token
    least = math.ceil((graph.weight_bytes + caches) / topology.chip.memory[0].capacity_bytes)
    return topology.replace(chips=min(topology.limit_chips, max(topology.chips, ROOM * least)))


def crossover(
    first: str | Topology,
    second: str | Topology,
    *,
    metric: str = "energy_per_token_j",
    workload: Workload | None = None,
    weight_dtype: Dtype = "bf16",
    family: Family = "dense",
) -> Crossover:
    """The number of parameters at which two machines, each with its best plan, cost the same for
    one token.

    `first` and `second` are names of the catalogue or topologies; `workload` defaults to one
    request of 1,024 + 256 tokens; `family` is "dense" or "moe" (experts). Sizes from 8 B to 1.9 T
    are scanned for the first change of sign, where the root is then found; around it figures are
    moved one at a time, and both breakdowns are compared.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    if family not in get_args(Family):
        raise UnknownNameError("family of models", family, get_args(Family))
    machines = [load_topology(one) if isinstance(one, str) else one for one in (first, second)]
    race = _Race(machines, workload or ONE_REQUEST, metric, weight_dtype, family)
    bracket = _bracket(race.point)
    root = None if bracket is None else _bisected(race.point, *bracket)
    ordered = tuple(race.known[size] for size in sorted(race.known))
    there = [point for point in ordered if point.advantage is not None] or [ordered[0]]
    above = there[-1] if bracket is None else race.point(bracket[1])
    found = Crossover(
        first=machines[0].name, second=machines[1].name, metric=metric, params=root, family=family,
        winner_below=_winner(there[0], machines), winner_above=_winner(above, machines), rows=ordered,
    )  # fmt: skip
    return (
        found if root is None or bracket is None else found.replace(**race.explained(root, bracket))
    )


class _Race:
    """Two machines under one question."""

    def __init__(
        self,
        machines: list[Topology],
        workload: Workload,
        metric: str,
        weight_dtype: Dtype,
        family: Family,
    ) -> None:
        self.machines, self.workload, self.metric = machines, workload, metric
        self.weight_dtype, self.family = weight_dtype, family
        self.known: dict[float, Point] = {}

    def best(self, parameters: float, machine: Topology) -> Result | None:
        return best_plan(
            parameters,
            machine,
            self.workload,
            self.metric,
            weight_dtype=self.weight_dtype,
            family=self.family,
        )

    def point(self, parameters: float) -> Point:
        if parameters not in self.known:
            values = [_better_low(self.best(parameters, machine)) for machine in self.machines]
            self.known[parameters] = Point(parameters=parameters, first=values[0], second=values[1])
        return self.known[parameters]

    def explained(self, root: float, bracket: tuple[float, float]) -> dict[str, Any]:
        """What `Crossover` says of a root."""
        low, high = (self.point(size).advantage or 1.0 for size in bracket)
        slope = math.log(high / low) / math.log(bracket[1] / bracket[0])
        effects = [
            effect.replace(
                path=f"{machine.name}: {effect.path}", slope=sign * effect.slope / slope,
                half_width=effect.half_width / abs(slope),
            )
            for machine, sign in zip(self.machines, (1, -1), strict=True)
            for effect in self._effects(root, machine)
        ]  # fmt: skip
        widths = [residual_of(machine, self.metric) for machine in self.machines]
        return {
            "slope": slope,
            "residual_half_width": combined(*widths),
            "sensitivities": tuple(
                sorted(effects, key=lambda one: (-one.half_width, -abs(one.slope), one.path))
            ),
            "around": bracket,
            "terms": tuple(self._terms(bracket)),
        }

    def _effects(self, root: float, machine: Topology) -> tuple[FigureEffect, ...]:
        """Of a machine's figures on its metric, with the plan that is best at the root; chosen
        again where it breaks."""
        result = self.best(root, machine)
        assert result is not None

        def value_on(moved: Topology) -> float | None:
            try:
                score = score_plan(
                    result.plan,
                    result.graph,
                    moved.replace(chips=result.topology.chips),
                    self.workload,
                )
            except InfeasibleError:
                return _better_low(self.best(root, moved))
            value = float(getattr(score, self.metric))
            return value if result.direction == "minimize" else 1.0 / value

        return figure_effects(machine, value_on)

    def _terms(self, sizes: tuple[float, float]) -> list[Term]:
        """The metric of both machines at both sizes, shared out as a token's time is."""
        found = []
        for machine in self.machines:
            shares = [_by_cause(self.best(size, machine)) for size in sizes]
            found += [
                Term(topology=machine.name, cause=cause, before=before, after=after)
                for (cause, before), after in zip(
                    shares[0].items(), shares[1].values(), strict=True
                )
                if before or after
            ]
        return sorted(found, key=lambda term: term.before - term.after)


def _by_cause(result: Result | None) -> dict[str, float]:
    """The metric, so that less is better, in proportion to a token's time by cause."""
    assert result is not None
    value, whole = _better_low(result) or 0.0, result.score.tpot_s
    return {
        cause: value * sum(getattr(stage, f"{cause}_s") for stage in result.score.breakdown) / whole
        for cause in CAUSES
    }


def _better_low(result: Result | None) -> float | None:
    """The objective so that less is better."""
    if result is None:
        return None
    return result.objective if result.direction == "minimize" else 1.0 / result.objective


def _bracket(point: Callable[[float], Point]) -> tuple[float, float] | None:
    """The first two neighbouring sizes between which the advantage changes sides; beyond, every
    third size is priced, for the picture."""
    for number, (before, after) in enumerate(itertools.pairwise(SIZES)):
        if None not in (point(before).advantage, point(after).advantage) and _wins(
            point(before)
        ) != _wins(point(after)):
            for size in SIZES[number + 4 :: 3]:
                point(size)
            return before, after
    return None


def _bisected(point: Callable[[float], Point], low: float, high: float) -> float:
    """A root to within CLOSE: on both sides of where a straight line on logarithmic axes has it,
    then in the middle."""
    side = _wins(point(low))
    while high / low > 1 + CLOSE:
        ends = [math.log(point(size).advantage or 1.0) for size in (low, high)]
        guess = low * (high / low) ** (ends[0] / (ends[0] - ends[1]))
        for probe in (guess * (1 - CLOSE / 2.1), guess * (1 + CLOSE / 2.1), math.sqrt(low * high)):
            if low < probe < high and high / low > 1 + CLOSE:
                low, high = (probe, high) if _wins(point(probe)) == side else (low, probe)
    return math.sqrt(low * high)


def _wins(point: Point) -> bool:
    return point.advantage is not None and point.advantage > 1


def _winner(point: Point, machines: list[Topology]) -> str | None:
    if point.first is None or point.second is None:
        return None
    return machines[0].name if point.first < point.second else machines[1].name
