"""One door to the engines that place a graph on devices.

Contiguous: a DP along many linear orders finds, CP-SAT proves. Free: contiguous stages are the start, CP-SAT improves pairs
of devices, then all of them, and proves. An answer is the better of all, evaluated from the definition.
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from planner.solver.dag import GraphProblem, Placement, Units, contract, loads
from planner.solver.orders import Stages, search

ACCURACY = 5e-6
"""Relative: of the grid on which CP-SAT proves."""
MOST_CELLS = 3e8
"""Table cells that the search over linear orders fills at most: a few seconds."""


def contiguous(problem: GraphProblem, *, time_limit_s: float = math.inf, seed: int = 0) -> Placement:
    """Stages for the least largest load."""
    started = time.monotonic()
    units = contract(problem, contiguous=True)
    cells = (units.count + 1) ** 2 * math.prod(int(count) + 1 for count in problem.counts)
    stages = search(problem, units, rounds=int(min(100, MOST_CELLS / cells)), seed=seed)
    start = None if stages is None else _devices(problem, stages)
    best = _value(problem, units, start)
    floor = _work_bound(problem, units)
    if floor >= best * (1 - 1e-12):
        return _placement(problem, units, start, best)
    from planner.solver.placing import prove

    left = time_limit_s - (time.monotonic() - started)
    found, bound = prove(problem, units, best, None, ordered=True, time_limit_s=left, seed=seed)
    if found is None and start is None:
        return Placement(None, math.inf, math.inf if bound >= best else max(bound, floor))
    choices = [device for device in (start, found) if device is not None]
    return _placement(problem, units, min(choices, key=lambda device: _value(problem, units, device)), max(bound, floor))


def _devices(problem: GraphProblem, stages: Stages) -> tuple[int, ...]:
    """The device of every unit: stages take the devices of their class in order."""
    spare = {number: np.flatnonzero(problem.devices == number).tolist() for number in range(problem.counts.size)}
    device = [spare[number].pop(0) for number in stages.classes]
    return tuple(device[number] for number in stages.stage)


def _value(problem: GraphProblem, units: Units, device: Sequence[int] | None) -> float:
    """The largest load; without an assignment one that none exceeds."""
    if device is None:
        finite = np.where(np.isfinite(units.times), units.times, 0.0)
        return float(finite.max(axis=0).sum() + units.costs.sum()) + 1.0
    return float(loads(problem, units.spread(device)).max(initial=0.0))


def _work_bound(problem: GraphProblem, units: Units) -> float:
    """The work of the quickest class, shared evenly, and the longest unit."""
    least = units.times[problem.counts > 0].min(axis=0)
    return max(float(least.sum()) / float(problem.counts.sum()), float(least.max(initial=0.0)))


def _placement(problem: GraphProblem, units: Units, device: Sequence[int] | None, bound: float) -> Placement:
    if device is None:
        return Placement(None, math.inf, bound)
    objective = _value(problem, units, device)
    return Placement(units.spread(device), objective, min(bound, objective))
