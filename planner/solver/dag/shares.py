"""A bound for free placements from prices of units: what devices can hold at most, by OR-Tools.

If units have prices, and no device can hold more than a worth w of its class below a load, then a
placement below that load needs a total price of at most the sum of w over the devices. Prices that
break this refute the load. The best prices are the duals of a linear program over the sets that
devices may hold; sets are found by CP-SAT, one device at a time, so that equal devices need no
telling apart. What it knows and sums of work do not: large units do not fill a device evenly.
"""

import math
import time

import numpy as np
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from planner.solver.chain.problem import Floats
from planner.solver.dag.placing import MOST_TOTAL
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
    classes = [number for number, count in enumerate(problem.counts) if count]
    program = pywraplp.Solver.CreateSolver("GLOP")
    prices = [program.NumVar(0.0, 1.0, "") for _ in range(units.count)]
    worth = {number: program.NumVar(0.0, 1.0, "") for number in classes}
    program.Add(sum(int(problem.counts[number]) * worth[number] for number in classes) <= 1.0)
    program.Maximize(sum(prices))
    while time.monotonic() < until:
        if program.Solve() != pywraplp.Solver.OPTIMAL or program.Objective().Value() <= 1.0 + 1e-9:
            return False
        price = np.maximum(0.0, [variable.solution_value() for variable in prices])
        held_to = {number: variable.solution_value() for number, variable in worth.items()}
        most, fresh = 0.0, False
        for number in classes:
            found, bound = _richest(problem, units, number, price, load, until)
            if not math.isfinite(bound):
                return False
            most += int(problem.counts[number]) * bound
            if float(price[found].sum()) > held_to[number] + 1e-9:
                program.Add(sum(prices[unit] for unit in found) <= worth[number])
                fresh = True
        if float(price.sum()) > most * (1 + 1e-9):
            return True
        if not fresh:
            return False
    return False


def _richest(
    problem: GraphProblem, units: Units, number: int, price: Floats, load: float, until: float
) -> tuple[list[int], float]:
    """The units of most worth that one device of a class can hold within a load, and a bound on
    that worth."""
    model, times, pays = cp_model.CpModel(), units.times[number], bool(problem.pays[number])
    held = [model.new_bool_var("") for _ in range(units.count)]
    able = np.where(times <= load, times, 0.0)
    payable = np.flatnonzero(units.costs <= load)
    unit = (float(able.sum()) + float(units.costs[payable].sum()) + load) / MOST_TOTAL or 1.0
    spent = [math.floor(took / unit) * here for took, here in zip(able.tolist(), held, strict=True)]
    for one in np.flatnonzero(times > load):
        model.add(held[one] == 0)
    for net, cost in zip(units.nets, units.costs.tolist(), strict=True) if pays else ():
        paid = [model.new_bool_var("")] if cost <= load else []
        pins = [held[pin] for pin in net]
        for first, second in zip(pins, (*pins[1:], pins[0]), strict=True):
            model.add_bool_or([*paid, ~first, second])
        spent += [math.floor(cost / unit) * here for here in paid]
    model.add(sum(spent) <= math.floor(load / unit))
    if units.sizes.sum() > problem.capacity[number]:
        grain = float(units.sizes.sum()) / MOST_TOTAL
        filled = sum(
            math.floor(size / grain) * here
            for size, here in zip(units.sizes.tolist(), held, strict=True)
        )
        model.add(filled <= math.floor(problem.capacity[number] * (1 + 1e-9) / grain))
    scale = MOST_TOTAL / (float(price.sum()) + units.count) / 2
    model.maximize(
        sum(math.ceil(each * scale) * here for each, here in zip(price.tolist(), held, strict=True))
    )
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = SEARCH_S
    solver.parameters.max_time_in_seconds = max(0.0, until - time.monotonic())
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return [], math.inf
    return [
        one for one in range(units.count) if solver.boolean_value(held[one])
    ], solver.best_objective_bound / scale
