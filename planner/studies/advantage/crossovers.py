"""Where one machine's advantage over another ends as models grow.

Far from the root both machines have their best uniform plans, of which a grid prices all at once;
at the root the best of all plans is proved, and where proof takes too long the answer says how far
it is from it.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from planner.answers.question import FIELDS, Limits
from planner.answers.results import Result
from planner.errors import InfeasibleError, InputError, NoPlanFoundError, UnknownNameError
from planner.machines.accounts import Counted, PowerBasis, alike_for, what_counts
from planner.machines.engine import Space
from planner.machines.prices import OfferBasis
from planner.machines.topology import PowerScope, Topology
from planner.models.dtypes import Dtype
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.planning.partitioning import partition
from planner.records import Record
from planner.report.svg import plotly
from planner.report.text import CAUSES
from planner.report.words import WORDS
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.studies.advantage.family import Family, member
from planner.studies.advantage.rounding import digits_of, size_text
from planner.studies.advantage.uncertainty import (
    FigureEffect,
    at_probability,
    combined,
    figure_effects,
    residual_of,
)
from planner.studies.advantage.uniform_plans import UniformPlans
from planner.studies.plots import captioned, dress
from planner.studies.study import SPACE_WORDS, Study, machine_of
from planner.workload import Workload

ONE_REQUEST = Workload(batch_size=1, prompt_tokens=1024, output_tokens=256)
ROOM = 4
"""Where that is more than the machine has, the solver may take so many times the chips that
weights and caches fill."""
SIZES = tuple(8e9 * 10 ** (step / 8) for step in range(20))
"""Where the sign of the advantage is looked at first: 8 B to 1.9 T."""
STRIDE = 3
"""Of those sizes, one in so many is priced first."""
CLOSE = 1e-3
"""Relative: how narrow the root is bracketed."""
SAME = 1e-9
"""Relative: as near as two prices of one plan are."""
PROOF_S = 1.0
"""How long the proof of one plan at the root may take, unless asked otherwise."""
NO_ROOT = Literal["", "wins throughout", "never both fit"]


class Point(Record):
    """Two machines at one size."""

    parameters: float
    first: float | None
    """The metric on the first machine; None where the model does not fit it."""
    second: float | None
    proved: tuple[bool, bool] = (True, True)
    """Whether each is the proved best of all plans, or that of the best uniform plan."""

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


class RootProof(Record):
    """What is proved of one machine's plan at the root."""

    topology: str
    value: float
    """The metric, so that less is better."""
    bound: float | None
    """Proved: no plan is below it. None where nothing was proved in time."""
    status: Literal["optimal", "feasible", "uniform plans alone"]

    @property
    def gap(self) -> float | None:
        """By how much the best of all plans may be better: value / bound - 1."""
        return None if not self.bound else max(0.0, self.value / self.bound - 1)

    def __str__(self) -> str:
        if self.status == "optimal":
            return f"{self.topology}: proved best"
        if self.gap is None:
            return f"{self.topology}: best uniform plan, not proved best of all"
        return f"{self.topology}: within {100 * self.gap:.0f} % of the proved bound"


class Crossover(Study):
    """Where the first machine stops, or starts, being the better one; its rows are the sizes
    that were priced, ascending."""

    first: str
    second: str
    metric: str
    family: Family
    params: float | None
    """Parameters at which both are equal; None where there is no such size: see `no_root`."""
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
    proofs: tuple[RootProof, ...] = ()
    """Of both machines at the root; none in files written before plans that are not proved were
    allowed."""

    @property
    def no_root(self) -> NO_ROOT:
        """Why `params` is None."""
        if self.params is not None:
            return ""
        is_held = any(point.advantage is not None for point in self.rows)
        return "wins throughout" if is_held else "never both fit"

    @property
    def proved(self) -> bool:
        """Whether both plans at the root are the proved best."""
        return all(one.status == "optimal" for one in self.proofs)

    @property
    def among(self) -> str:
        """Among which plans, and what the metric counts, in words."""
        counted = Counted(self.power_scope, self.power_basis, self.price_basis)
        open_proofs = [str(one) for one in self.proofs if one.status != "optimal"]
        return "; ".join(
            filter(None, (SPACE_WORDS[self.space], *open_proofs, counted.words(self.metric)))
        )

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
            raise InputError(f"there is no crossover to be sure of: {self.verdict}")
        if not 0 < probability < 1:
            raise InputError(f"probability must lie between 0 and 1, not {probability!r}")
        factor = math.exp(at_probability(self.half_width, probability))
        return self.params / factor, self.params * factor

    @property
    def verdict(self) -> str:
        """Why there is no root, in one sentence without a stop; empty where there is one."""
        if self.params is not None:
            return ""
        both = [point.parameters for point in self.rows if point.advantage is not None]
        if not both:
            fits = {
                self.first: [point for point in self.rows if point.first is not None],
                self.second: [point for point in self.rows if point.second is not None],
            }
            never = [name for name, points in fits.items() if not points]
            if never:
                return f"no model that was tried fits {' or '.join(never)}"
            return f"no model that was tried fits both {self.first} and {self.second}"
        if len(both) == 1:
            return (
                f"{self.winner_below} wins at {size_text(both[0], 2)} parameters, the one size"
                " tried that both can hold, which says nothing of others"
            )
        return (
            f"{self.winner_below} wins throughout: at every size tried that both can hold,"
            f" {size_text(both[0], 2)} to {size_text(both[-1], 2)} parameters"
        )

    @property
    def digits(self) -> int:
        """Significant digits of the root that its 80 % interval allows; an InputError says so
        where there is no root."""
        low, high = self.interval()
        return digits_of(self.params or 0.0, low, high)

    @property
    def reason(self) -> str:
        """Which term overtakes which, in one sentence."""
        if self.around is None:
            return self.verdict
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
            f"from {size_text(low, 2)} to {size_text(high, 2)} parameters what {ours.topology} pays"
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
                f" {self.verdict} ({self.among})"
            )
        low, high = (size_text(size, self.digits) for size in self.interval())
        return (
            f"{self.metric}: {self.first} and {self.second} are equal at"
            f" {size_text(self.params, self.digits)} parameters"
            f" (80 %: {low} to {high});"
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
        name=f"{made.first} against {made.second}",
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
            text=[size_text(made.params, made.digits)],
            mode="markers+text",
            marker={"color": "#222222", "size": 10},
            textposition="top right",
        )
    ends = [math.log10(point.parameters / 1e9) for point in (made.rows[0], made.rows[-1])]
    dress(
        figure,
        title={
            "text": captioned(
                f"{made.first} against {made.second}: {_title(made.metric)}",
                f"Above 1 {made.first} is better, below 1 {made.second}"
                f"{'; ' + made.verdict if made.verdict else ''}.",
                f"{made.among}.",
            )
        },
        xaxis={
            "type": "log",
            "title": f"parameters of {made.family} models [10⁹]",
            "range": ends,
        },
        yaxis={
            "type": "log",
            "title": f"how many times {_better(made.metric)} on {made.first} [×]",
        },
        legend={"x": 0.01, "y": 0.01},
        margin={"t": 90},
    )
    return figure


def _better(metric: str) -> str:
    """'less energy per output token', 'more output tokens per second': what an advantage is of."""
    amount = "less" if FIELDS[metric].best == "least" else "more"
    return f"{amount} {_title(metric)}"


def _title(metric: str) -> str:
    return WORDS[metric].title if metric in WORDS else metric


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
    time_limit_s: float | None = None,
) -> Result | None:
    """The best plan of the family's model of that size on as many chips of a machine as it
    likes: those that it has, or ROOM times those that the weights and the users' caches fill;
    None where it fits no number of them; a NoPlanFoundError where time ends first."""
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
            time_limit_s=time_limit_s,
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
    proof_time_s: float | None = PROOF_S,
) -> Crossover:
    """The number of parameters at which two machines, each with its best plan, cost the same for
    one token.

    `first` and `second` are names of the catalogue or topologies; `workload` defaults to one
    request of 1,024 + 256 tokens; `family` is "dense" or "moe" (experts); `space` "any" takes plans
    too that a machine's software cannot be started with. Sizes from 8 B to 1.9 T are scanned, a
    little more than a doubling apart, for the first change of sign, where the root is then found;
    around it figures are moved one at a time, and both breakdowns are compared.

    Energy and price of a token are scanned among uniform plans, and the root is found again among
    the best of all plans of each machine whose plan at the root is proved in `proof_time_s`;
    `Crossover.proofs` says how far any other is from a proof. None: every plan is proved, however
    long that takes.
    """
    if metric not in FIELDS:
        raise UnknownNameError("field to compare", metric, FIELDS)
    if family not in get_args(Family):
        raise UnknownNameError("family of models", family, get_args(Family))
    given = [machine_of(first), machine_of(second)]
    machines = list(alike_for(metric, given, price_basis, power_basis, power_scope))
    work = workload or ONE_REQUEST
    race = _Race(machines, work, metric, weight_dtype, family, space, proof_time_s)
    bracket = _bracket(race.point)
    if bracket is None:
        return race.outcome(None, None)
    root = _bisected(race.point, *bracket)
    if race.prove(root):
        # The best of all plans may be better than the uniform ones that led here.
        bracket = _bracket_near(race.point, bracket)
        if bracket is None:
            return race.outcome(None, None)
        root = _bisected(race.point, *bracket)
    found = race.outcome(root, bracket[1])
    return found.replace(proofs=race.proofs(root), **race.explained(root, bracket))


@dataclass(frozen=True, slots=True)
class _Priced:
    """The best plan that was found of one size on one machine."""

    plan: Plan
    graph: ModelGraph
    topology: Topology
    score: Score
    value: float
    """The metric, so that less is better."""
    bound: float | None
    """No plan is below it; None where that is not known."""


@dataclass(slots=True)
class _Race:
    """Two machines under one question."""

    machines: list[Topology]
    workload: Workload
    metric: str
    weight_dtype: Dtype
    family: Family
    space: Space
    proof_time_s: float | None
    known: dict[float, Point] = field(default_factory=dict)
    """What was priced already."""
    uniform: dict[str, UniformPlans] = field(default_factory=dict)
    """Of machines whose best uniform plan stands for the best of all."""
    bounds: dict[str, float] = field(default_factory=dict)
    """What was proved at the root of those."""
    best_known: dict[tuple[float, str], _Priced | None] = field(default_factory=dict)
    graphs: dict[float, ModelGraph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.proof_time_s is None:
            return
        for machine in self.machines:
            plans = UniformPlans(machine, self.workload, self.metric, self.space)
            if plans.applies:
                self.uniform[machine.name] = plans

    def best(self, parameters: float, machine: Topology) -> _Priced | None:
        key = (parameters, machine.name)
        if key not in self.best_known:
            if machine.name in self.uniform:
                self.best_known[key] = self._best_uniform(parameters, machine)
            else:
                self.best_known[key] = self._best_of_all(parameters, machine)
        return self.best_known[key]

    def _best_uniform(self, parameters: float, machine: Topology) -> _Priced | None:
        if parameters not in self.graphs:
            self.graphs[parameters] = member(self.family, parameters, self.weight_dtype)
        graph = self.graphs[parameters]
        most_chips = with_room(graph, machine, self.workload).chips
        found = self.uniform[machine.name].best(graph, most_chips)
        if found is None:
            return None
        value = getattr(found.score, self.metric)
        return None if value is None else _Priced(*found, value=value, bound=None)

    def _best_of_all(
        self, parameters: float, machine: Topology, time_limit_s: float | None = None
    ) -> _Priced | None:
        result = best_plan(
            parameters,
            machine,
            self.workload,
            self.metric,
            weight_dtype=self.weight_dtype,
            family=self.family,
            space=self.space,
            time_limit_s=time_limit_s,
        )
        if result is None:
            return None
        value = _better_low(result.direction, result.objective)
        bound = _better_low(result.direction, result.bound) if result.bound else 0.0
        if result.status == "optimal":
            bound = value
        place = (result.plan, result.graph, result.topology, result.score)
        return _Priced(*place, value=value, bound=bound)

    def prove(self, root: float) -> bool:
        """Takes the best of all plans of each machine whose plan at the root is proved in time,
        from here on; whether any is other than the uniform plan."""
        changed = False
        for machine in [one for one in self.machines if one.name in self.uniform]:
            uniform = self.best(root, machine)
            try:
                found = self._best_of_all(root, machine, self.proof_time_s)
            except NoPlanFoundError:
                continue
            if found is None or found.bound != found.value:
                if found is not None and found.bound:
                    self.bounds[machine.name] = found.bound
                continue
            del self.uniform[machine.name]
            self.best_known[root, machine.name] = found
            is_same = uniform is not None and math.isclose(uniform.value, found.value, rel_tol=SAME)
            if is_same:
                # All that was priced near the root stays as it is.
                continue
            changed = True
            self.best_known = {
                key: one for key, one in self.best_known.items() if key[1] != machine.name
            }
            self.best_known[root, machine.name] = found
        if changed:
            self.known.clear()
        return changed

    def proofs(self, root: float) -> tuple[RootProof, ...]:
        """Of both plans at the root."""
        return tuple(self._proof(root, machine) for machine in self.machines)

    def _proof(self, root: float, machine: Topology) -> RootProof:
        found = self.best(root, machine)
        assert found is not None
        bound = self.bounds.get(machine.name) if machine.name in self.uniform else found.bound
        is_proved = bound is not None and found.value <= bound * (1 + SAME)
        return RootProof(
            topology=machine.name,
            value=found.value,
            bound=bound,
            status="optimal" if is_proved else "feasible" if bound else "uniform plans alone",
        )

    def point(self, parameters: float) -> Point:
        if parameters not in self.known:
            found = [self.best(parameters, machine) for machine in self.machines]
            first, second = (None if one is None else one.value for one in found)
            proved = [one is not None and one.bound is not None for one in found]
            self.known[parameters] = Point(
                parameters=parameters, first=first, second=second, proved=(proved[0], proved[1])
            )
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
        found = self.best(root, machine)
        assert found is not None
        is_least = FIELDS[self.metric].best == "least"

        def value_on(moved: Topology) -> float | None:
            as_large = moved.replace(chips=found.topology.chips)
            try:
                score = score_plan(found.plan, found.graph, as_large, self.workload)
            except InfeasibleError:
                again = self._again(root, moved)
                return None if again is None else again.value
            value = getattr(score, self.metric)
            return None if value is None else value if is_least else 1.0 / value

        return figure_effects(machine, value_on)

    def _again(self, root: float, moved: Topology) -> _Priced | None:
        """The best plan on another version of a machine, looked for as on the machine itself."""
        if moved.name not in self.uniform:
            return self._best_of_all(root, moved)
        uniform = {moved.name: UniformPlans(moved, self.workload, self.metric, self.space)}
        return replace(self, uniform=uniform, best_known={}, known={}).best(root, moved)

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


def _by_cause(found: _Priced | None) -> dict[str, float]:
    """The metric, so that less is better, in proportion to a token's time by cause."""
    assert found is not None
    score = found.score
    return {
        cause: found.value
        * sum(getattr(stage, f"{cause}_s") for stage in score.breakdown)
        / score.tpot_s
        for cause in CAUSES
    }


def _better_low(direction: str, value: float) -> float:
    """A value so that less is better."""
    return value if direction == "minimize" else 1.0 / value


def _bracket(point: Callable[[float], Point]) -> tuple[float, float] | None:
    """The first two neighbouring sizes between which the advantage changes sides, looked for STRIDE
    sizes at a time; all of the strides are priced, for the picture."""
    there = _held_by_both(lambda place: point(SIZES[place]).advantage is not None)
    for before, after in itertools.pairwise(there):
        low, high = before, after
        if _wins(point(SIZES[low])) == _wins(point(SIZES[high])):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if _wins(point(SIZES[middle])) == _wins(point(SIZES[low])):
                low = middle
            else:
                high = middle
        return SIZES[low], SIZES[high]
    return None


def _held_by_both(is_held: Callable[[int], bool]) -> list[int]:
    """Places in SIZES that both machines hold, ascending, STRIDE apart, and next to where a machine
    begins or ends to hold them one by one; none of them is held beyond the first that is not."""
    last = len(SIZES) - 1
    there: list[int] = []
    for place in sorted({*range(0, last, STRIDE), last}):
        if is_held(place):
            there.append(place)
        elif there:
            break
    # What both hold may lie between two strides.
    there = there or [place for place in range(last) if is_held(place)]
    while there and there[0] > 0 and is_held(there[0] - 1):
        there.insert(0, there[0] - 1)
    while there and there[-1] < last and is_held(there[-1] + 1):
        there.append(there[-1] + 1)
    return there


def _bracket_near(
    point: Callable[[float], Point], bracket: tuple[float, float]
) -> tuple[float, float] | None:
    """Neighbouring sizes as near as can be to a bracket between which the advantage changes
    sides."""
    places = range(len(SIZES) - 1)
    nearest = SIZES.index(bracket[0])
    for place in sorted(places, key=lambda one: abs(one - nearest)):
        low, high = (point(SIZES[one]) for one in (place, place + 1))
        if None not in (low.advantage, high.advantage) and _wins(low) != _wins(high):
            return low.parameters, high.parameters
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
