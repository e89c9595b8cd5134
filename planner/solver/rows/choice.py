"""OR-Tools CP-SAT chooses one of some rows and where its chain is cut.

The model counts, for every border between two stages, how many layers of each segment lie before
it; a stage's load is a sum over these counts. A boolean for each row lets the loads and the costs
of that row alone bind. Loads and costs become integers, rounded down, so that what CP-SAT proves
holds for the real figures.

Counts of segments of one layer are booleans, and OR-Tools 9.15 loses solutions where coefficients
of booleans add up to more than 2³¹ (issue 5293 of google/or-tools), so that no sum of them exceeds
2³⁰: a bound is good to a few parts in ten million.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from planner.solver.chain.cpsat import interruptible
from planner.solver.rows.costs import Cost, Way

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

GRID = 2.0**30
"""Units that a cost of use has at most, and the coefficients of a constraint together."""
ACCURACY = 1e-7
"""Relative: a proof beyond it would be of rounding errors."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows whose chains are cut into equally many stages."""

    stages: int
    sizes: Ints
    """Layers of each segment of the chain, shape (segments,)."""
    inner: NDArray[np.bool_]
    """Segments of which every stage must have a layer; all of them where any layer will do."""
    loads: Floats
    """Of one layer of each segment, shape (peaks, segments, rows)."""
    last: Floats
    """Beyond that on the last stage, shape (peaks, rows)."""
    floor: Floats
    """What each peak is in any case, shape (peaks, rows)."""
    most: Floats
    """That a stage may load, shape (peaks, rows)."""
    objective: Cost
    limits: tuple[tuple[Cost, float], ...]
    """Costs, and the most that each may be."""
    least: Floats
    """What the objective is at least, whatever the cut, shape (rows,)."""

    @property
    def tops(self) -> Floats:
        """Peaks of a stage with the whole chain, or what it may load, shape (peaks, rows)."""
        whole = np.einsum("g,pgr->pr", self.sizes, self.loads) + self.last
        return np.asarray(np.minimum(np.maximum(whole, self.floor), self.most))

    def peaks_of(self, row: int, counts: Ints) -> Floats:
        """Of a row whose borders lie behind so many layers of each segment, shape (stages + 1,
        segments)."""
        each = np.diff(counts, axis=0) @ self.loads[:, :, row].T
        each[-1] += self.last[:, row]
        return np.asarray(np.maximum(each.max(axis=0), self.floor[:, row]))


@dataclass(frozen=True, slots=True)
class Choice:
    """What CP-SAT chose and proved."""

    row: int | None
    """None where it found nothing below the goal."""
    counts: Ints
    """Layers of each segment before each border, shape (stages + 1, segments)."""
    value: float
    """Of the objective, rounded down."""
    bound: float
    """No row has a lower one; infinite where none is below the goal."""


class ChoiceModel:
    """The integer model of some rows."""

    def __init__(self, rows: Rows, goal: float) -> None:
        """`goal`: only values up to this one are of use; infinite: all are."""
        self.rows = rows
        self.model = cp_model.CpModel()
        number = len(rows.least)
        self.chosen = [self.model.new_bool_var(f"row {row}") for row in range(number)]
        self.model.add_exactly_one(self.chosen)
        self.counts = self._borders()
        self.tops = rows.tops
        if goal == math.inf:
            goal = max(_largest(rows.objective, self.tops[:, row], row) for row in range(number))
        self.unit = max(self._unit(rows.objective, row, goal) for row in range(number))
        self.objective = self.model.new_int_var(0, math.floor(goal / self.unit), "objective")
        for row in range(number):
            self._state(row)
        self.model.minimize(self.objective)

    def forbid(self, row: int, counts: Ints) -> None:
        """Leave out one cut of a row."""
        free = [variable for border in self.counts[1:-1] for variable in border]
        taken = counts[1:-1].ravel().tolist()
        if not free:
            self.model.add(self.chosen[row] == 0)
            return
        self.model.add_forbidden_assignments([self.chosen[row], *free], [(1, *taken)])

    def solve(self, time_limit_s: float, seed: int) -> Choice:
        """The least that there is; KeyboardInterrupt stops it."""
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.relative_gap_limit = ACCURACY
        if math.isfinite(time_limit_s):
            solver.parameters.max_time_in_seconds = max(0.0, time_limit_s)
        status = interruptible(solver, self.model)
        nothing = np.zeros((0, len(self.rows.sizes)), dtype=np.intp)
        if status == cp_model.INFEASIBLE:
            return Choice(None, nothing, math.inf, math.inf)
        if status == cp_model.MODEL_INVALID:
            raise AssertionError(f"CP-SAT was given no model: {self.model.validate()}")
        bound = max(0.0, solver.best_objective_bound) * self.unit
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Choice(None, nothing, math.inf, bound)
        row = next(number for number, one in enumerate(self.chosen) if solver.boolean_value(one))
        counts = [[solver.value(one) for one in border] for border in self.counts]
        value = solver.objective_value * self.unit
        return Choice(row, np.array(counts, dtype=np.intp), value, min(bound, value))

    # ── The cut ──────────────────────────────────────────────────────────────────────────────

    def _borders(self) -> list[list[Any]]:
        """Layers of each segment before each border; the first and the last border are known."""
        sizes = self.rows.sizes.tolist()
        between = [self._border(number) for number in range(1, self.rows.stages)]
        borders = [[0] * len(sizes), *between, sizes]
        for before, behind in itertools.pairwise(borders):
            for one, other in zip(before, behind, strict=True):
                if not (isinstance(one, int) and isinstance(other, int)):
                    self.model.add(one <= other)
            needed = [
                other - one
                for one, other, inner in zip(before, behind, self.rows.inner, strict=True)
                if inner
            ]
            if not all(isinstance(one, int) for one in needed):
                self.model.add(sum(needed) >= 1)
        return borders

    def _border(self, number: int) -> list[Any]:
        """One border: what lies behind it begins only where what lies before is complete."""
        sizes = self.rows.sizes.tolist()
        counts = [
            self.model.new_int_var(0, size, f"before {number} of {segment}")
            for segment, size in enumerate(sizes)
        ]
        for segment, (one, other) in enumerate(itertools.pairwise(counts)):
            full = self.model.new_bool_var(f"border {number} behind {segment}")
            self.model.add(one >= sizes[segment] * full)
            self.model.add(other <= sizes[segment + 1] * full)
        return counts

    # ── The costs ────────────────────────────────────────────────────────────────────────────

    def _state(self, row: int) -> None:
        """What a row costs and what it may load, where it is chosen."""
        rows = self.rows
        chosen = self.chosen[row]
        for peak in np.flatnonzero(np.isfinite(rows.most[:, row])).tolist():
            self._below(row, peak)
        total = self._total(rows.objective, row, self.unit)
        self.model.add(self.objective >= total).only_enforce_if(chosen)
        least = math.floor(float(rows.least[row]) * (1 - 1e-9) / self.unit)
        self.model.add(self.objective >= least).only_enforce_if(chosen)
        for cost, allowed in rows.limits:
            unit = self._unit(cost, row, allowed)
            total = self._total(cost, row, unit)
            self.model.add(total <= math.floor(allowed / unit)).only_enforce_if(chosen)

    def _unit(self, cost: Cost, row: int, most: float) -> float:
        """So fine that what is of use fits the grid, and the coefficients of each constraint too."""
        each = self.rows.loads[:, :, row].sum(axis=1)
        heaviest = max(
            (
                often * float(weight[row] * each[peak])
                for often, way in _weighted(cost, row)
                for peak, weight in way.weights.items()
            ),
            default=0.0,
        )
        return max(most, 2.0 * heaviest, 1e-300) / GRID

    def _below(self, row: int, peak: int) -> None:
        """No stage loads more than it may."""
        most = float(self.rows.most[peak, row])
        loads = self.rows.loads[peak, :, row]
        whole = float(self.rows.sizes @ loads + self.rows.last[peak, row])
        if whole <= most:
            return
        if most < 0:
            self.model.add(self.chosen[row] == 0)
            return
        unit = max(most, 2.0 * float(loads.sum())) / GRID
        for load in self._stage_loads(row, peak, 1.0 / unit):
            self.model.add(load <= math.floor(most / unit)).only_enforce_if(self.chosen[row])

    def _stage_loads(self, row: int, peak: int, factor: float) -> list[Any]:
        """Of every stage on a peak, so many times, rounded down."""
        loads = [math.floor(factor * one) for one in self.rows.loads[peak, :, row].tolist()]
        found = []
        for before, behind in itertools.pairwise(self.counts):
            terms = [
                load * (other - one)
                for load, one, other in zip(loads, before, behind, strict=True)
                if load
            ]
            found.append(sum(terms))
        found[-1] += math.floor(factor * float(self.rows.last[peak, row]))
        return found

    def _total(self, cost: Cost, row: int, unit: float) -> Any:
        """A cost of a row in units, rounded down."""
        total = self._way(cost.base, row, 1.0 / unit)
        for weight, ways in cost.longest:
            factor = float(weight[row]) / unit
            if factor <= 0:
                continue
            top = math.ceil(factor * _most_of(ways, self.tops[:, row], row)) + 1
            longest = self.model.new_int_var(0, max(0, top), "longest")
            for way in ways:
                one = self._way(way, row, factor)
                self.model.add(longest >= one).only_enforce_if(self.chosen[row])
            total += longest
        return total

    def _way(self, way: Way, row: int, factor: float) -> Any:
        total: Any = math.floor(factor * float(way.fixed[row]))
        for peak, weight in way.weights.items():
            if weight[row] > 0:
                total += self._above(row, peak, factor * float(weight[row]))
        return total

    def _above(self, row: int, peak: int, factor: float) -> Any:
        """A variable no less than a peak of a row, so many times."""
        low = math.floor(factor * float(self.rows.floor[peak, row]))
        high = max(low, math.ceil(factor * float(self.tops[peak, row])))
        above = self.model.new_int_var(low, high, f"peak {peak} of {row}")
        for load in self._stage_loads(row, peak, factor):
            self.model.add(above >= load).only_enforce_if(self.chosen[row])
        return above


def _weighted(cost: Cost, row: int) -> Iterator[tuple[float, Way]]:
    """All ways of a cost, and how often each counts in one row."""
    yield 1.0, cost.base
    for weight, ways in cost.longest:
        for way in ways:
            yield float(weight[row]), way


def _largest(cost: Cost, top: Floats, row: int) -> float:
    """What a cost of a row adds up to where all its parts count, at such peaks, shape (peaks,)."""
    total = abs(float(cost.base.fixed[row])) + _on_peaks(cost.base, top, row)
    for weight, ways in cost.longest:
        total += float(weight[row]) * _most_of(ways, top, row)
    return total


def _most_of(ways: Sequence[Way], top: Floats, row: int) -> float:
    """The longest that any of some ways can be, parts below nothing left out."""
    return max(max(0.0, float(way.fixed[row])) + _on_peaks(way, top, row) for way in ways)


def _on_peaks(way: Way, top: Floats, row: int) -> float:
    return sum(float(weight[row] * top[peak]) for peak, weight in way.weights.items())
