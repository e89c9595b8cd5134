"""A bound for free placements from prices of units: what devices can hold at most, by OR-Tools.

If units have prices, and no device can hold more than a worth w of its class below a load, then a
placement below that load needs a total price of at most the sum of w over the devices. Prices that
break this refute the load. The best prices are the duals of a linear program over the sets that
devices may hold; sets are found by CP-SAT, one device at a time, so that equal devices need no
telling apart. What it knows and sums of work do not: large units do not fill a device evenly.
"""

import math
import time
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from planner.solver.chain.problem import Floats
from planner.solver.dag.placing import MOST_TOTAL, uncut_unless, weighed
from planner.solver.dag.problem import GraphProblem, Units

SEARCH_S = 3.0
"""For the richest set of one device; a search that takes longer ends the whole."""
STEPS = 12


def refuted_below(
    problem: GraphProblem,
    units: Units,
    low: float,
    high: float,
    *,
    until: float,
    accuracy: float = 1e-3,
) -> float:
    """A load between `low` and `high` that every placement reaches: the largest refuted, by
    halves."""
    for _ in range(STEPS):
        middle = (low + high) / 2
        if high - low <= accuracy * high or time.monotonic() >= until:
            break
        if _refuted(problem, units, middle, until):
            low = middle
        else:
            high = middle
    return low


def _refuted(problem: GraphProblem, units: Units, load: float, until: float) -> bool:
    """Whether prices show that no placement stays below a load: column generation, in which the
    program proposes prices and each class answers with the richest set that a device can hold."""
    classes = [number for number, count in enumerate(problem.counts) if count]
    program = _Prices(problem, units, classes)
    while time.monotonic() < until:
        if not program.solve():
            return False
        price = program.price
        most = 0.0
        fresh = False
        for number in classes:
            found, bound = _richest(problem, units, number, price, load, until)
            if not math.isfinite(bound):
                return False
            most += int(problem.counts[number]) * bound
            fresh |= program.cut(number, found)
        if float(price.sum()) > most * (1 + 1e-9):
            return True
        if not fresh:
            return False
    return False


class _Prices:
    """The linear program: prices of units, of the greatest sum, that no set known so far breaks."""

    def __init__(self, problem: GraphProblem, units: Units, classes: list[int]) -> None:
        self.program = pywraplp.Solver.CreateSolver("GLOP")
        self.prices = [self.program.NumVar(0.0, 1.0, "") for _ in range(units.count)]
        self.worth = {number: self.program.NumVar(0.0, 1.0, "") for number in classes}
        shared = sum(int(problem.counts[number]) * self.worth[number] for number in classes)
        self.program.Add(shared <= 1.0)
        self.program.Maximize(sum(self.prices))
        self.held_to: dict[int, float] = {}

    def solve(self) -> bool:
        """Whether the prices add up to more than all devices are worth, so that they may refute."""
        optimal = self.program.Solve() == pywraplp.Solver.OPTIMAL
        if not optimal or self.program.Objective().Value() <= 1.0 + 1e-9:
            return False
        # Read before the program changes: a cut ends what the last solution says.
        self.price = np.maximum(0.0, [variable.solution_value() for variable in self.prices])
        self.held_to = {number: one.solution_value() for number, one in self.worth.items()}
        return True

    def cut(self, number: int, found: list[int]) -> bool:
        """Ask that a device of a class is worth what it can hold; whether that is news."""
        if float(self.price[found].sum()) <= self.held_to[number] + 1e-9:
            return False
        self.program.Add(sum(self.prices[unit] for unit in found) <= self.worth[number])
        return True


def _richest(
    problem: GraphProblem, units: Units, number: int, price: Floats, load: float, until: float
) -> tuple[list[int], float]:
    """The units of most worth that one device of a class can hold within a load, and a bound on
    that worth."""
    model = cp_model.CpModel()
    held = [model.new_bool_var("") for _ in range(units.count)]
    _within_load(model, held, problem, units, number, load)
    if units.sizes.sum() > problem.capacity[number]:
        grain = float(units.sizes.sum()) / MOST_TOTAL
        room = math.floor(problem.capacity[number] * (1 + 1e-9) / grain)
        model.add(weighed(np.floor(units.sizes / grain), held) <= room)
    # Prices are rounded up, so that the bound on their sum holds for the real ones.
    scale = MOST_TOTAL / (float(price.sum()) + units.count) / 2
    model.maximize(weighed(np.ceil(price * scale), held))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = SEARCH_S
    solver.parameters.max_time_in_seconds = max(0.0, until - time.monotonic())
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return [], math.inf
    found = [unit for unit, here in enumerate(held) if solver.boolean_value(here)]
    return found, solver.best_objective_bound / scale


def _within_load(
    model: cp_model.CpModel,
    held: list[Any],
    problem: GraphProblem,
    units: Units,
    number: int,
    load: float,
) -> None:
    """What a device of a class holds takes no longer than a load; times are rounded down, so that
    no set that is allowed is lost."""
    times = units.times[number]
    able = np.where(times <= load, times, 0.0)
    payable = np.flatnonzero(units.costs <= load)
    unit = (float(able.sum()) + float(units.costs[payable].sum()) + load) / MOST_TOTAL or 1.0
    spent = [weighed(np.floor(able / unit), held)]
    for one in np.flatnonzero(times > load):
        model.add(held[one] == 0)
    if problem.pays[number]:
        for net, cost in zip(units.nets, units.costs.tolist(), strict=True):
            # A net that costs more than the load cannot be cut: all of its pins, or none.
            paid = [model.new_bool_var("")] if cost <= load else []
            uncut_unless(model, paid, [held[pin] for pin in net])
            spent += [math.floor(cost / unit) * here for here in paid]
    model.add(sum(spent) <= math.floor(load / unit))
