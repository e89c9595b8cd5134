"""Two machines under one agreement, priced at one size after another: the best uniform plans far from
the root, the best of all plans where these are proved in time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from planner.answers.question import FIELDS
from planner.errors import InfeasibleError, NoPlanFoundError
from planner.machines.topology import Topology
from planner.models.graph import ModelGraph
from planner.plan import Plan
from planner.report.text import CAUSES
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.studies.advantage.agreements import Agreement
from planner.studies.advantage.crossings import PROMPTS, Crossover, Point, RootProof, Term
from planner.studies.advantage.drafted_plans import best_of_ways, low
from planner.studies.advantage.terms import data_date, sides_of
from planner.studies.advantage.uncertainty import (
    FigureEffect,
    combined,
    figure_effects,
    residual_of,
)
from planner.studies.advantage.uniform_plans import Uniform, UniformPlans
from planner.workload import Workload

SAME = 1e-9
"""Relative: as near as two prices of one plan are."""


@dataclass(frozen=True, slots=True)
class Priced:
    """The best plan that was found of one size on one machine."""

    plan: Plan
    graph: ModelGraph
    topology: Topology
    workload: Workload
    """That it was priced under, its drafts settled."""
    score: Score
    value: float
    """The metric, so that less is better."""
    bound: float | None
    """No plan is below it; None where that is not known."""
    drafts: str | None = None
    """In which way it drafts."""
    uniform: Uniform | None = None
    """The same as grids know it; None: it is the solver's."""


@dataclass(slots=True)
class Race:
    """Two machines under one question."""

    machines: list[Topology]
    asked: Agreement
    proof_time_s: float | None
    known: dict[float, Point] = field(default_factory=dict)
    """What was priced already."""
    uniform: dict[str, UniformPlans] = field(default_factory=dict)
    """Of machines whose best uniform plan stands for the best of all."""
    bounds: dict[str, float] = field(default_factory=dict)
    """What was proved at the root of those."""
    best_known: dict[tuple[float, str], Priced | None] = field(default_factory=dict)
    graphs: dict[tuple[float, str], ModelGraph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_proved_throughout = self.proof_time_s is None and self.asked.is_provable
        if is_proved_throughout or not self.asked.is_on_grids:
            return
        for machine in self.machines:
            self.uniform[machine.name] = UniformPlans(machine, self.asked)

    def best(self, parameters: float, machine: Topology) -> Priced | None:
        """The best plan of one size on one machine; None where none fits."""
        key = (parameters, machine.name)
        if key not in self.best_known:
            if machine.name in self.uniform:
                self.best_known[key] = self._best_uniform(parameters, machine)
            else:
                self.best_known[key] = self._best_of_all(parameters, machine)
        return self.best_known[key]

    def _graph(self, parameters: float, machine: Topology) -> ModelGraph:
        key = parameters, self.asked.terms.dtype_on(machine)
        if key not in self.graphs:
            self.graphs[key] = self.asked.graph(parameters, machine)
        return self.graphs[key]

    def _best_uniform(self, parameters: float, machine: Topology) -> Priced | None:
        graph = self._graph(parameters, machine)
        most_chips = self.asked.roomy(graph, machine).chips
        found = self.uniform[machine.name].best(graph, most_chips)
        return None if found is None else _as_grids_know(found)

    def _best_of_all(
        self, parameters: float, machine: Topology, time_limit_s: float | None = None
    ) -> Priced | None:
        graph = self._graph(parameters, machine)
        found = best_of_ways(graph, machine, self.asked, time_limit_s)
        if found is None:
            return None
        result = found.result
        value = low(result.direction, result.objective)
        return Priced(
            result.plan,
            result.graph,
            result.topology,
            result.workload,
            result.score,
            value=value,
            bound=value if found.is_optimal else found.bound or 0.0,
            drafts=found.drafts,
        )

    def prove(self, root: float) -> bool:
        """Takes the best of all plans of each machine whose plan at the root is proved in time,
        from here on; whether any is other than the uniform plan."""
        if not self.asked.is_provable:
            return False
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
            users=found.score.batch_size,
            drafts=found.drafts,
        )

    def point(self, parameters: float) -> Point:
        """Both machines at one size."""
        if parameters not in self.known:
            found = [self.best(parameters, machine) for machine in self.machines]
            first, second = (None if one is None else one.value for one in found)
            proved = [one is not None and one.bound is not None for one in found]
            self.known[parameters] = Point(
                parameters=parameters, first=first, second=second, proved=(proved[0], proved[1])
            )
        return self.known[parameters]

    def advantage(self, parameters: float) -> float | None:
        """Of the first machine at one size."""
        return self.point(parameters).advantage

    def outcome(self, root: float | None, beyond: float | None) -> Crossover:
        """Of all that was priced; `beyond` is the size on the other side of the root."""
        ordered = tuple(self.known[size] for size in sorted(self.known))
        there = [point for point in ordered if point.advantage is not None] or [ordered[0]]
        first, second = self.machines
        return Crossover(
            first=first.name,
            second=second.name,
            metric=self.asked.metric,
            family=self.asked.family,
            params=root,
            winner_below=_winner(there[0], self.machines),
            winner_above=_winner(
                there[-1] if beyond is None else self.point(beyond), self.machines
            ),
            rows=ordered,
            space=self.asked.terms.space,
            compared_under=self.asked.terms,
            workload=self.asked.workload,
            sides=sides_of(self.asked.terms, self.machines, self.asked.family),
            data_date=data_date(),
            **self.asked.counted(self.machines)._asdict(),
        )

    def explained(self, root: float, bracket: tuple[float, float]) -> dict[str, Any]:
        """What `Crossover` says of a root."""
        before, after = (self.advantage(size) or 1.0 for size in bracket)
        slope = math.log(after / before) / math.log(bracket[1] / bracket[0])
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
        widths = [residual_of(machine, self.asked.metric) for machine in self.machines]
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
        priced_on = self._repriced(found)

        def value_on(moved: Topology) -> float | None:
            value = priced_on(moved.replace(chips=found.topology.chips))
            if value is not None:
                return value
            again = self._again(root, moved)
            return None if again is None else again.value

        return figure_effects(machine, value_on)

    def _repriced(self, found: Priced) -> Callable[[Topology], float | None]:
        """What a plan costs on other versions of its machine; None where it breaks there."""
        metric = self.asked.metric
        scope = self.asked.terms.power_scope

        def by_score(moved: Topology) -> float | None:
            try:
                score = score_plan(
                    found.plan, found.graph, moved, found.workload, power_scope=scope
                )
            except InfeasibleError:
                return None
            value = getattr(score, metric)
            return None if value is None else low(_direction(metric), value)

        def by_grids(moved: Topology) -> float | None:
            assert found.uniform is not None
            plans = UniformPlans(moved, self.asked)
            again = plans.best(found.graph, moved.chips, found.uniform.shapes)
            return None if again is None else again.value

        return by_grids if self.asked.is_beyond_plans else by_score

    def _again(self, root: float, moved: Topology) -> Priced | None:
        """The best plan on another version of a machine, looked for as on the machine itself."""
        if moved.name not in self.uniform:
            return self._best_of_all(root, moved)
        uniform = {moved.name: UniformPlans(moved, self.asked)}
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
                for cause in before
                if before[cause] or after[cause]
            ]
        return sorted(found, key=lambda term: term.before - term.after)


def _as_grids_know(found: Uniform) -> Priced:
    return Priced(
        found.plan,
        found.graph,
        found.topology,
        found.workload,
        found.score,
        value=found.value,
        bound=None,
        drafts=found.drafts,
        uniform=found,
    )


def _by_cause(found: Priced | None) -> dict[str, float]:
    """The metric, so that less is better, in proportion to a token's time by cause; what a pool of
    prompts costs beside that."""
    assert found is not None
    score = found.score
    apart = 0.0 if found.uniform is None else found.uniform.prompts_value
    shared = {
        cause: (found.value - apart)
        * sum(getattr(stage, f"{cause}_s") for stage in score.breakdown)
        / score.tpot_s
        for cause in CAUSES
    }
    return shared | {PROMPTS: apart}


def _direction(metric: str) -> str:
    return "minimize" if FIELDS[metric].best == "least" else "maximize"


def _winner(point: Point, machines: list[Topology]) -> str | None:
    if point.first is None or point.second is None:
        return None
    return machines[0].name if point.first < point.second else machines[1].name
