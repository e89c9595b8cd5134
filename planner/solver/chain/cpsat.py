"""The same problem for OR-Tools CP-SAT: one boolean for every feasible run, a flow along the chain,
integer slots.

Sums and peaks become integers, rounded down, so that the bound that CP-SAT proves holds for the
real figures; the objective of what it finds is evaluated from the definition again. One worker, a
seed and a deterministic time limit give the same answer on every machine.

OR-Tools 9.15 loses solutions where the coefficients of a constraint's booleans add up to more than
2³¹ (issue 5293 of google/or-tools: 32-bit sums of 64-bit coefficients), so all of them together
stay below 2³⁰: the bound is good to a few parts in a million, and the gap says so.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from planner import allowance
from planner.solver.chain.problem import (
    ChainProblem,
    Cuts,
    Floats,
    Larger,
    Measure,
    Solution,
    Way,
    evaluate,
    packed,
)

Run = tuple[int, int, int]
"""Tail, head, option."""

MOST_MEGABYTES = 1_000_000
MOST_TOTAL = 2.0**30
"""All coefficients of a constraint's booleans together."""
ACCURACY = 2e-6
"""Relative: of the grid; a proof beyond it would be of rounding errors."""
MOST_CASES = 1024
"""Slots up to which a product by them is told case by case."""
OFTEN = 1000
"""Runs between two looks at the clock."""
HELD_GRID = 2.0**20
"""The same for a sum by which a measure is multiplied, where it is not a number of slots."""


def solve(
    problem: ChainProblem,
    *,
    hint: Cuts | None = None,
    time_limit_s: float = math.inf,
    deterministic_limit: float = math.inf,
    seed: int = 0,
    runs: int | None = None,
) -> Solution:
    """The best solution that CP-SAT finds, of so many runs where that is given, and the bound that
    it proves; the problem must be one that it `supports`."""
    model = _Model(problem)
    if runs is not None:
        model.model.add(sum(model.runs.values()) == runs)
    if hint is not None:
        model.hint(hint)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.relative_gap_limit = ACCURACY
    solver.parameters.binary_search_num_conflicts = (
        10  # else a product may improve by one grid step a solution, for hours
    )
    # To make the model took a part of the time.
    left_s = allowance.left_s()
    most_s = time_limit_s if left_s is None else min(time_limit_s, left_s)
    if math.isfinite(most_s):
        solver.parameters.max_time_in_seconds = max(0.0, most_s)
    if math.isfinite(deterministic_limit):
        solver.parameters.max_deterministic_time = deterministic_limit
    status = interruptible(solver, model.model)
    if status == cp_model.INFEASIBLE:
        return Solution(None, math.inf, math.inf)
    bound = float(problem.objective.lined(np.array(solver.best_objective_bound * model.unit)))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Solution(None, math.inf, max(0.0, bound))
    cuts = tuple(sorted(run for run, chosen in model.runs.items() if solver.boolean_value(chosen)))
    placed = packed(problem, cuts)
    if placed is None:
        raise AssertionError("CP-SAT packed runs that do not fit in order")
    sums, peaks = evaluate(problem, placed)
    value = float(problem.objective.value(sums, peaks))
    return Solution(placed, value, min(bound, value))


def interruptible(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    watch: cp_model.CpSolverSolutionCallback | None = None,
) -> Any:
    """Solve beside the main thread, so that Ctrl-C stops the solver and is not lost."""
    solver.parameters.catch_sigint_signal = False
    # What it takes beyond, it gives up by itself, with what it has.
    megabytes = min(allowance.memory_limit_bytes() / 1e6, MOST_MEGABYTES)
    solver.parameters.max_memory_in_mb = max(1, int(megabytes))
    with ThreadPoolExecutor(max_workers=1) as executor:
        solving = executor.submit(solver.solve, model, watch)
        try:
            while not solving.done():
                wait([solving], timeout=0.1)
                if allowance.is_up():
                    # It looks at a clock of its own, now and then.
                    solver.stop_search()
        except KeyboardInterrupt:
            solver.stop_search()
            raise
    return solving.result()


def supports(problem: ChainProblem) -> bool:
    """Whether a link across a higher border never costs less, and is as long wherever it crosses
    that, for only then is packing in order the best packing, as the model takes for granted; and
    whether all is linear and no average is asked about, which the model cannot state."""
    if not problem.crossings.is_even:
        return False
    if any(measure.averaged or measure.curves for measure in problem.measures):
        return False
    return bool(
        (np.diff(problem.link_sums, axis=2) >= 0).all()
        and (np.diff(problem.link_peaks, axis=2) >= 0).all()
    )


@dataclass(frozen=True, slots=True)
class _Scaled:
    """An integer expression that stands for a real figure: figure ≥ expression × unit."""

    expression: Any
    unit: float


def _each(runs: Collection[Run]) -> Iterator[Run]:
    """Runs, with a look at the clock now and then: a model of many takes seconds to make."""
    for number, run in enumerate(runs):
        if number % OFTEN == 0:
            allowance.look()
        yield run


class _Model:
    def __init__(self, problem: ChainProblem) -> None:
        self.problem, self.model = problem, cp_model.CpModel()
        self.runs: dict[Run, Any] = {
            (int(tail), int(head), int(option)): self.model.new_bool_var(
                f"run {tail} {head} {option}"
            )
            for option, tail, head in _each(list(zip(*np.nonzero(problem.feasible), strict=True)))
        }
        self.into: dict[int, list[Run]] = defaultdict(list)
        self.out_of: dict[int, list[Run]] = defaultdict(list)
        for run in _each(self.runs):
            self.out_of[run[0]].append(run)
            self.into[run[1]].append(run)
        self._flow()
        self.crossed = self._slots()
        objective = self._measure(problem.objective)
        self.unit = objective.unit
        for limit in problem.limits:
            limited = self._measure(limit.measure)
            if math.isfinite(limit.most):
                most = limit.measure.unlined(limit.most * (1 + 1e-12))
                self.model.add(limited.expression <= math.floor(most / limited.unit))
        self.model.minimize(objective.expression)

    def hint(self, cuts: Cuts) -> None:
        chosen = set(cuts)
        for run in _each(self.runs):
            self.model.add_hint(self.runs[run], run in chosen)

    def _flow(self) -> None:
        items = self.problem.items
        self.model.add_exactly_one(self.runs[run] for run in self.out_of[0])
        self.model.add_exactly_one(self.runs[run] for run in self.into[items])
        for item in range(1, items):
            allowance.look()
            arriving = sum(self.runs[run] for run in self.into[item])
            leaving = sum(self.runs[run] for run in self.out_of[item])
            self.model.add(arriving == leaving)
            self.model.add(arriving <= 1)

    def _slots(self) -> dict[tuple[int, int], Any]:
        """Places for the runs; for each item and kind of border whether the link in front of the
        item crosses it."""
        problem, model = self.problem, self.model
        rules = {int(width): problem.packing.rule(int(width)) for width in problem.widths}
        borders = problem.packing.borders
        taken = sum(int(problem.widths[run[2]]) * variable for run, variable in self.runs.items())
        model.add(taken <= problem.budget)
        # Where runs may stand anywhere, their widths say all.
        loose = [
            rule and rule.grain == 1 and rule.fence >= problem.budget for rule in rules.values()
        ]
        if not borders and all(loose):
            return {}
        items = range(problem.items + 1)
        ends = [model.new_int_var(0, problem.budget, f"end {item}") for item in items]
        starts = [model.new_int_var(0, problem.budget, f"start {item}") for item in items]
        model.add(ends[0] == 0)
        for tail, head, option in _each(self.runs):
            width = int(problem.widths[option])
            variable = self.runs[tail, head, option]
            model.add(ends[head] == starts[tail] + width).only_enforce_if(variable)
        for item in range(problem.items):
            model.add(starts[item] >= ends[item])
            self._align(item, starts[item], rules)
        return self._borders(starts, ends, borders)

    def _align(self, item: int, start: Any, rules: dict[int, Any]) -> None:
        problem, model = self.problem, self.model
        by_width: dict[int, list[Any]] = defaultdict(list)
        for run in self.out_of[item]:
            by_width[int(problem.widths[run[2]])].append(self.runs[run])
        for width, variables in by_width.items():
            rule = rules[width]
            chosen = model.new_bool_var(f"width {item} {width}")
            model.add(sum(variables) == chosen)
            if rule.grain > 1:
                steps = model.new_int_var(0, problem.budget // rule.grain, "")
                model.add(start == rule.grain * steps).only_enforce_if(chosen)
            unit = model.new_int_var(0, problem.budget // rule.fence, "")
            model.add(start >= rule.fence * unit).only_enforce_if(chosen)
            model.add(start + width <= rule.fence * (unit + 1)).only_enforce_if(chosen)

    def _borders(
        self, starts: list[Any], ends: list[Any], borders: tuple[int, ...]
    ) -> dict[tuple[int, int], Any]:
        problem, model = self.problem, self.model
        crossed = {}
        for item in range(1, problem.items):
            used = model.new_bool_var(f"cut {item}")
            model.add(sum(self.runs[run] for run in self.into[item]) == used)
            for kind, span in enumerate(borders, 1):
                most = problem.budget // span + 1
                before, after = model.new_int_var(0, most, ""), model.new_int_var(0, most, "")
                model.add(ends[item] - 1 >= span * before).only_enforce_if(used)
                model.add(ends[item] <= span * (before + 1))
                model.add(span * after <= starts[item])
                model.add(starts[item] < span * (after + 1))
                cross = crossed[item, kind] = model.new_bool_var(f"crosses {item} {kind}")
                model.add(after - before <= most * cross + most * (1 - used))
        return crossed

    def _measure(self, measure: Measure) -> _Scaled:
        """A measure on its own grid: every cost of a run is weighed before it is rounded down,
        so that nothing is ever scaled again."""
        sums = self._weighted(measure.sums)
        peaks = [
            (float(weight), number) for number, weight in enumerate(measure.peaks) if weight > 0
        ]
        total_cost = sums.total + sum(weight * self._all_loads(number) for weight, number in peaks)
        for pair in measure.larger:
            total_cost += pair.weight * max(
                self._unit_costs(pair.sum).total, *map(self._most_of, pair.beside_sum)
            )
        unit = total_cost / MOST_TOTAL if total_cost > 0 else 1.0
        total = self._summed(sums, unit)
        for weight, number in peaks:
            total += self._above(number, weight / unit, 0)
        for pair in measure.larger:
            if pair.weight > 0:
                total += self._largest(pair, unit)
        if measure.held is None:
            return _Scaled(total, unit * measure.scale)
        return self._product(total, unit * measure.scale, measure.held)

    def _most_of(self, way: Way) -> float:
        """No less than a way of adding up can be."""
        costs = 0.0 if way.sum is None else self._unit_costs(way.sum).total
        return costs + sum(self._all_loads(peak) for peak in way.peaks)

    def _largest(self, pair: Larger, unit: float) -> Any:
        """A variable that is no less than any way of a pair."""
        own = self._summed(self._unit_costs(pair.sum), unit, pair.weight)
        above = self._above(pair.peak, pair.weight / unit, own)
        for way in pair.more:
            total = 0
            if way.sum is not None:
                total += self._summed(self._unit_costs(way.sum), unit, pair.weight)
            for peak in way.peaks:
                total += self._above(peak, pair.weight / unit, 0)
            self.model.add(above >= total)
        return above

    def _weighted(self, weights: Floats) -> "_Costs":
        """What each run, with the cheapest link behind it, and each border crossed add to a
        weighted sum."""
        problem = self.problem
        runs = {}
        for tail, head, option in _each(self.runs):
            used = problem.prefix[option, head] - problem.prefix[option, tail]
            cost = float(
                weights @ (problem.run_sums[option] @ used + problem.run_sums_fixed[option])
            )
            runs[tail, head, option] = cost + float(
                problem.link_sums[head, option, 0] @ weights
            ) * (head < problem.items)
        return _Costs(runs, self._extras(problem.link_sums @ weights))

    def _unit_costs(self, number: int) -> "_Costs":
        weights = np.zeros(self.problem.run_sums.shape[1])
        weights[number] = 1.0
        return self._weighted(weights)

    def _extras(self, links: Floats) -> list[tuple[int, int, float, tuple[Run, ...]]]:
        """For every border that a link may cross: item, kind, what it adds beyond the border
        below, and behind which runs."""
        found = []
        for item, kind in self.crossed:
            allowance.look()
            by_cost: dict[float, list[Run]] = defaultdict(list)
            for run in self.into[item]:
                by_cost[float(links[item, run[2], kind] - links[item, run[2], kind - 1])].append(
                    run
                )
            found += [
                (item, kind, extra, tuple(runs)) for extra, runs in by_cost.items() if extra > 0
            ]
        return found

    def _summed(self, costs: "_Costs", unit: float, weight: float = 1.0) -> Any:
        terms = [
            math.floor(weight * costs.runs[run] / unit) * self.runs[run]
            for run in _each(costs.runs)
        ]
        for item, kind, extra, runs in costs.extras:
            allowance.look()
            both = self.model.new_bool_var("")
            self.model.add(
                both >= self.crossed[item, kind] + sum(self.runs[run] for run in runs) - 1
            )
            terms.append(math.floor(weight * extra / unit) * both)
        return sum(terms)

    def _longest(self, costs: "_Costs") -> float:
        """The largest that a sum can be."""
        most = np.zeros(self.problem.items + 1)
        for tail in range(self.problem.items - 1, -1, -1):
            most[tail] = max(
                (costs.runs[run] + most[run[1]] for run in self.out_of[tail]), default=0.0
            )
        return float(most[0]) + sum(extra for _, _, extra, _ in costs.extras)

    def _all_loads(self, number: int) -> float:
        """The loads of all runs and links on a peak, together."""
        links = self.problem.link_peaks[..., number]
        behind = sum(float(links[run[1], run[2]].max(initial=0.0)) for run in _each(self.runs))
        return behind + sum(self._load(run, number) for run in _each(self.runs))

    def _load(self, run: Run, number: int) -> float:
        problem = self.problem
        tail, head, option = run
        used = problem.prefix[option, head] - problem.prefix[option, tail]
        return float(
            problem.run_peaks[option, number] @ used + problem.run_peaks_fixed[option, number]
        )

    def _above(self, number: int, weight: float, total: Any) -> Any:
        """A variable that is no less than a weighted peak, nor than `total`."""
        links = self.problem.link_peaks[..., number]
        above = self.model.new_int_var(0, int(MOST_TOTAL), "")
        self.model.add(above >= total)
        for item in range(self.problem.items):
            allowance.look()
            loads = (
                math.floor(weight * self._load(run, number)) * self.runs[run]
                for run in self.out_of[item]
            )
            self.model.add(above >= sum(loads))
        for item in range(1, self.problem.items):
            allowance.look()
            base = (
                math.floor(weight * float(links[item, run[2], 0])) * self.runs[run]
                for run in self.into[item]
            )
            self.model.add(above >= sum(base))
            for kind in range(1, links.shape[2]):
                for run in self.into[item] if (item, kind) in self.crossed else ():
                    load = math.floor(weight * float(links[item, run[2], kind]))
                    self.model.add(above >= load).only_enforce_if(
                        self.crossed[item, kind], self.runs[run]
                    )
        return above

    def _product(self, total: Any, unit: float, held: int) -> _Scaled:
        """The measure times one sum: case by case where that counts slots, else as a product of
        two coarse integers."""
        costs, model = self._unit_costs(held), self.model
        factor = model.new_int_var(0, int(MOST_TOTAL), "")
        model.add(factor >= total)
        whole = all(cost == int(cost) for cost in costs.runs.values()) and not costs.extras
        if whole and self.problem.budget <= MOST_CASES:
            return _Scaled(self._case_by_case(factor, self._summed(costs, 1.0)), unit)
        step = 1.0 if whole else (costs.total / HELD_GRID or 1.0)
        most = math.ceil(self._longest(costs) / step)
        count = model.new_int_var(0, most, "")
        model.add(count >= self._summed(costs, step))
        product = model.new_int_var(0, int(MOST_TOTAL) * most, "")
        model.add_multiplication_equality(product, [factor, count])
        return _Scaled(product, unit * step)

    def _case_by_case(self, factor: Any, slots: Any) -> Any:
        model, budget = self.model, self.problem.budget
        product = model.new_int_var(0, int(MOST_TOTAL) * budget, "")
        cases = [model.new_bool_var(f"slots {number}") for number in range(budget + 1)]
        model.add_exactly_one(cases)
        model.add(sum(number * case for number, case in enumerate(cases)) == slots)
        for number, case in enumerate(cases):
            model.add(product >= number * factor).only_enforce_if(case)
        return product


class _Costs(NamedTuple):
    """Parts of a sum."""

    runs: dict[Run, float]
    extras: list[tuple[int, int, float, tuple[Run, ...]]]

    @property
    def total(self) -> float:
        return sum(self.runs.values()) + sum(extra for _, _, extra, _ in self.extras)
