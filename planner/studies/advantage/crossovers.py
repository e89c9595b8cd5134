"""Where one machine's advantage over another ends as models grow."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

from planner.answers.question import FIELDS, Limits
from planner.answers.results import Result
from planner.errors import InfeasibleError, InputError, UnknownNameError
from planner.machines.accounts import Counted, PowerBasis, alike_for, what_counts
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
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
from planner.studies.plots import dress
from planner.studies.study import SPACE_WORDS, Study, machine_of
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
    space: Space = "any"
    """Whether plans are those that each machine's software can be started with, or any;
    crossovers found before this was said are of any."""
    power_scope: str = "unknown"
    """What the watts of both machines count; so the next two, of watts and of prices."""
    power_basis: str = "unknown"
    price_basis: str = "unknown"

    @property
    def among(self) -> str:
        """Among which plans, and what the metric counts, in words."""
        counted = Counted(self.power_scope, self.power_basis, self.price_basis)
        return "; ".join(filter(None, (SPACE_WORDS[self.space], counted.words(self.metric))))

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
        figures = [one.half_width for one in self.sensitivities]
        return combined(self.residual_half_width / self.slope, *figures)

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
        low, high = self.around
        return (
            f"from {low / 1e9:.0f} B to {high / 1e9:.0f} B parameters what {ours.topology} pays"
            f" for {ours.cause} grows from {ours.before:.3g} to {ours.after:.3g}"
            f" (as parameters to the power {self._power(ours):.1f})"
            f" and overtakes what {theirs.topology} pays for {theirs.cause},"
            f" from {theirs.before:.3g} to {theirs.after:.3g}"
            f" (to the power {self._power(theirs):.1f})"
        )

    def _power(self, term: Term) -> float:
        """Of the parameters, with which a term grows around the root."""
        assert self.around is not None
        low, high = self.around
        return math.log(term.growth) / math.log(high / low) if term.before else math.inf

    def __str__(self) -> str:
        if self.params is None:
            return (
                f"{self.metric}: no crossover of {self.first} and {self.second};"
                f" {self.winner_below} wins throughout ({self.among})"
            )
        low, high = self.interval()
        return (
            f"{self.metric}: {self.first} and {self.second} are equal at"
            f" {self.params / 1e9:.0f} B parameters"
            f" (80 %: {low / 1e9:.0f} to {high / 1e9:.0f} B);"
            f" {self.winner_below} wins below, {self.winner_above} above"
            f" ({self.among}); {self.reason}"
        )

    def plot(self) -> Any:
        """The advantage over sizes, with the root and its interval (needs plotly)."""
        return advantage_plot(self)


def advantage_plot(made: Crossover) -> Any:
    """How many times better the first machine is, by size."""
    figure = plotly().Figure()
    there = [point for point in made.rows if point.advantage is not None]
    figure.add_scatter(
        name="advantage",
        x=[point.parameters / 1e9 for point in there],
        y=[point.advantage for point in there],
        line={"color": "#D55E00", "width": 3},
    )
    figure.add_hline(y=1, line={"color": "#222222", "width": 1})
    if made.params is not None:
        root = made.params / 1e9
        # An interval may have no end; the picture has.
        low, high = (max(1e-3, min(1e6, size / 1e9)) for size in made.interval())
        figure.add_vrect(x0=low, x1=high, fillcolor="#56B4E9", opacity=0.25, line_width=0)
        figure.add_scatter(
            name="crossover, 80 % in blue",
            x=[root],
            y=[1],
            text=[f"{root:.0f} B"],
            mode="markers+text",
            marker={"color": "#222222", "size": 10},
            textposition="top right",
        )
    ends = [math.log10(point.parameters / 1e9) for point in (made.rows[0], made.rows[-1])]
    dress(
        figure,
        title=f"{made.first} against {made.second}: {made.metric}, {made.among}",
        xaxis={
            "type": "log",
            "title": f"parameters of {made.family} models [10⁹]",
            "range": ends,
        },
        yaxis={"type": "log", "title": f"advantage of {made.first} [1]"},
    )
    return figure


def best_plan(
    parameters: float,
    topology: Topology,
    workload: Workload,
    metric: str,
    *,
    weight_dtype: Dtype = "bf16",
    limits: Limits | None = None,
    family: Family = "dense",
    space: Space = "engine",
) -> Result | None:
    """The best plan of the family's model of that size on as many chips of a machine as it
    likes: those that it has, or ROOM times those that the weights and the users' caches fill;
    None where it fits no number of them."""
    graph = member(family, parameters, weight_dtype)
    machine = with_room(graph, topology, workload)
    is_least = FIELDS[metric].best == "least"
    try:
        return partition(
            graph,
            machine,
            workload,
            minimize=metric if is_least else None,
            maximize=None if is_least else metric,
            limits=limits,
            space=space,
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
    power_scope: PowerScope | None = None,
    price_basis: OfferBasis | None = None,
    power_basis: PowerBasis | None = None,
    space: Space = "engine",
) -> Crossover:
    """The number of parameters at which two machines, each with its best plan, cost the same for
    one token.

    `first` and `second` are names of the catalogue or topologies; `workload` defaults to one
    request of 1,024 + 256 tokens; `family` is "dense" or "moe" (experts); `space` "any" takes plans
    too that a machine's software cannot be started with. Sizes from 8 B to 1.9 T are scanned for
    the first change of sign, where the root is then found; around it figures are moved one at a
    time, and both breakdowns are compared.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    if family not in get_args(Family):
        raise UnknownNameError("family of models", family, get_args(Family))
    given = [machine_of(first), machine_of(second)]
    machines = list(alike_for(metric, given, price_basis, power_basis, power_scope))
    race = _Race(machines, workload or ONE_REQUEST, metric, weight_dtype, family, space)
    bracket = _bracket(race.point)
    if bracket is None:
        return race.outcome(None, None)
    root = _bisected(race.point, *bracket)
    return race.outcome(root, bracket[1]).replace(**race.explained(root, bracket))


@dataclass(frozen=True, slots=True)
class _Race:
    """Two machines under one question."""

    machines: list[Topology]
    workload: Workload
    metric: str
    weight_dtype: Dtype
    family: Family
    space: Space
    known: dict[float, Point] = field(default_factory=dict)
    """What was priced already."""

    def best(self, parameters: float, machine: Topology) -> Result | None:
        return best_plan(
            parameters,
            machine,
            self.workload,
            self.metric,
            weight_dtype=self.weight_dtype,
            family=self.family,
            space=self.space,
        )

    def point(self, parameters: float) -> Point:
        if parameters not in self.known:
            first, second = (
                _better_low(self.best(parameters, machine)) for machine in self.machines
            )
            self.known[parameters] = Point(parameters=parameters, first=first, second=second)
        return self.known[parameters]

    def outcome(self, root: float | None, beyond: float | None) -> Crossover:
        """Of all that was priced; `beyond` is the size on the other side of the root."""
        ordered = tuple(self.known[size] for size in sorted(self.known))
        there = [point for point in ordered if point.advantage is not None] or [ordered[0]]
        first, second = self.machines
        return Crossover(
            first=first.name,
            second=second.name,
            metric=self.metric,
            family=self.family,
            params=root,
            winner_below=_winner(there[0], self.machines),
            winner_above=_winner(
                there[-1] if beyond is None else self.point(beyond), self.machines
            ),
            rows=ordered,
            space=self.space,
            **what_counts(self.machines)._asdict(),
        )

    def explained(self, root: float, bracket: tuple[float, float]) -> dict[str, Any]:
        """What `Crossover` says of a root."""
        low, high = (self.point(size).advantage or 1.0 for size in bracket)
        slope = math.log(high / low) / math.log(bracket[1] / bracket[0])
        effects: list[FigureEffect] = []
        # What makes the second machine dearer is to the advantage of the first.
        for machine, sign in zip(self.machines, (1, -1), strict=True):
            for effect in self._effects(root, machine):
                moved = effect.replace(
                    path=f"{machine.name}: {effect.path}",
                    slope=sign * effect.slope / slope,
                    half_width=effect.half_width / abs(slope),
                )
                effects.append(moved)
        effects.sort(key=lambda one: (-one.half_width, -abs(one.slope), one.path))
        widths = [residual_of(machine, self.metric) for machine in self.machines]
        return {
            "slope": slope,
            "residual_half_width": combined(*widths),
            "sensitivities": tuple(effects),
            "around": bracket,
            "terms": tuple(self._terms(bracket)),
        }

    def _effects(self, root: float, machine: Topology) -> tuple[FigureEffect, ...]:
        """Of a machine's figures on its metric, with the plan that is best at the root; chosen
        again where it breaks."""
        result = self.best(root, machine)
        assert result is not None

        def value_on(moved: Topology) -> float | None:
            as_large = moved.replace(chips=result.topology.chips)
            try:
                score = score_plan(result.plan, result.graph, as_large, self.workload)
            except InfeasibleError:
                return _better_low(self.best(root, moved))
            value = float(getattr(score, self.metric))
            return value if result.direction == "minimize" else 1.0 / value

        return figure_effects(machine, value_on)

    def _terms(self, sizes: tuple[float, float]) -> list[Term]:
        """The metric of both machines at both sizes, shared out as a token's time is."""
        found: list[Term] = []
        for machine in self.machines:
            before, after = (_by_cause(self.best(size, machine)) for size in sizes)
            found += [
                Term(
                    topology=machine.name,
                    cause=cause,
                    before=before[cause],
                    after=after[cause],
                )
                for cause in CAUSES
                if before[cause] or after[cause]
            ]
        return sorted(found, key=lambda term: term.before - term.after)


def _by_cause(result: Result | None) -> dict[str, float]:
    """The metric, so that less is better, in proportion to a token's time by cause."""
    assert result is not None
    score = result.score
    value = _better_low(result) or 0.0
    return {
        cause: value * sum(getattr(stage, f"{cause}_s") for stage in score.breakdown) / score.tpot_s
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
        left = point(before)
        right = point(after)
        if None in (left.advantage, right.advantage) or _wins(left) == _wins(right):
            continue
        for size in SIZES[number + 4 :: 3]:
            point(size)
        return before, after
    return None


def _bisected(point: Callable[[float], Point], low: float, high: float) -> float:
    """A root to within CLOSE: on both sides of where a straight line on logarithmic axes has it,
    then in the middle."""
    side = _wins(point(low))
    while high / low > 1 + CLOSE:
        left, right = (math.log(point(size).advantage or 1.0) for size in (low, high))
        guess = low * (high / low) ** (left / (left - right))
        middle = math.sqrt(low * high)
        for probe in (guess * (1 - CLOSE / 2.1), guess * (1 + CLOSE / 2.1), middle):
            if not low < probe < high or high / low <= 1 + CLOSE:
                continue
            if _wins(point(probe)) == side:
                low = probe
            else:
                high = probe
    return math.sqrt(low * high)


def _wins(point: Point) -> bool:
    return point.advantage is not None and point.advantage > 1


def _winner(point: Point, machines: list[Topology]) -> str | None:
    if point.first is None or point.second is None:
        return None
    return machines[0].name if point.first < point.second else machines[1].name
