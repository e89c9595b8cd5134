"""One door to the engines that place a graph on devices.

Contiguous: a DP along many linear orders finds, CP-SAT proves. Free: contiguous stages are the
start, annealing and then CP-SAT on neighbourhoods improve it, prices of units bound, and CP-SAT
tries for the proof. Latency: a DP along linear orders finds, CP-SAT with cuts along paths improves
and proves. An answer is the best of all, evaluated from the definition.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from planner import allowance
from planner.errors import TimeUpError
from planner.solver.chain.problem import Floats, Ints
from planner.solver.dag.orders import Stages, one_after_another, search, start_orders
from planner.solver.dag.problem import (
    GraphProblem,
    Placement,
    Units,
    contract,
    faults,
    latency,
    loads,
)

T = TypeVar("T")

ACCURACY = 5e-6
"""Relative: of the grid on which CP-SAT proves."""
WORKERS = 2
"""Of CP-SAT where nothing less would do."""
SEARCH_SHARE = 0.5
"""Of the time, that it may take."""
MOST_CELLS = 3e8
"""Table cells that the search over linear orders fills at most: a few seconds."""


def contiguous(
    problem: GraphProblem, *, time_limit_s: float = math.inf, seed: int = 0
) -> Placement:
    """Stages for the least largest load."""
    started = time.monotonic()
    units = contract(problem, contiguous=True)
    states = math.prod(count + 1 for count in problem.available)
    classes_each = len(problem.groups) / len(problem.available)
    cells = (units.count + 1) ** 2 * states * classes_each
    rounds = int(min(100, MOST_CELLS / cells))
    try:
        with allowance.until(started + SEARCH_SHARE * time_limit_s):
            stages = search(problem, units, rounds=rounds, seed=seed)
        start = None if stages is None else _devices(problem, stages)
    except TimeUpError:
        start = _by_a_rule(problem, units)
    best = _value(problem, units, start)
    floor = _work_bound(problem, units)
    if floor >= best * (1 - 1e-12):
        return _placement(problem, units, start, best)
    from planner.solver.dag.placing import prove

    left = time_limit_s - (time.monotonic() - started)
    found, bound = prove(problem, units, best, None, ordered=True, time_limit_s=left, seed=seed)
    if found is None and start is None:
        return Placement(None, math.inf, math.inf if bound >= best else max(bound, floor))
    return _best_of(problem, units, (start, found), max(bound, floor))


def _if_not_stopped(work: Callable[[], T], otherwise: T) -> T:
    """What some work gives, or what is known without it, where Ctrl-C stops it or the time does."""
    try:
        return work()
    except TimeUpError:
        return otherwise
    except KeyboardInterrupt:
        allowance.end()
        return otherwise


def _by_a_rule(problem: GraphProblem, units: Units) -> tuple[int, ...] | None:
    """The device of every unit by the best of the simple rules whose stages are allowed; None where
    those of none are."""
    found: list[tuple[int, ...]] = []
    with allowance.beyond(), suppress(TimeUpError):
        for device in by_rules(problem).values():
            if not faults(problem, device, contiguous=True):
                found.append(tuple(device[nodes[0]] for nodes in units.members))
    return min(found, key=lambda device: _value(problem, units, device), default=None)


def free(problem: GraphProblem, *, time_limit_s: float = math.inf, seed: int = 0) -> Placement:
    """Any devices for the least largest load."""
    started = time.monotonic()
    ordered = contiguous(problem, time_limit_s=time_limit_s / 4, seed=seed)
    units = contract(problem, contiguous=False)
    start = None
    if ordered.device is not None:
        start = tuple(ordered.device[nodes[0]] for nodes in units.members)
    from planner.solver.dag.annealing import anneal
    from planner.solver.dag.placing import improve, prove
    from planner.solver.dag.shares import refuted_below

    floor = _work_bound(problem, units)
    if start is not None:
        known = start
        until = started + 0.6 * time_limit_s
        patience = 10 + units.count // 4
        start = known = _if_not_stopped(
            lambda: anneal(
                problem, units, known, until=until, floor=floor, seed=seed, patience=patience
            ),
            known,
        )
        until = started + 0.7 * time_limit_s
        start = _if_not_stopped(
            lambda: improve(problem, units, known, until=until, seed=seed), known
        )
    best = _value(problem, units, start)
    if start is not None:
        until = started + 0.8 * time_limit_s
        low = min(floor, best)
        floor = _if_not_stopped(lambda: refuted_below(problem, units, low, best, until=until), low)
    left = time_limit_s - (time.monotonic() - started)
    found, bound = prove(
        problem,
        units,
        best,
        start,
        ordered=False,
        floor=floor,
        time_limit_s=left,
        workers=WORKERS,
        seed=seed,
        accuracy=ACCURACY / 2,
    )
    bound = max(bound, floor)
    if start is None and found is None:
        return Placement(None, math.inf, math.inf if bound >= best else bound)
    return _best_of(problem, units, (start, found), bound)


def soonest(problem: GraphProblem, *, time_limit_s: float = math.inf, seed: int = 0) -> Placement:
    """Pieces on paying devices and nodes on hosts for the least latency."""
    started = time.monotonic()
    units = contract(problem, contiguous=True)
    starts: list[tuple[int, ...]] = []
    with suppress(TimeUpError), allowance.until(started + SEARCH_SHARE * time_limit_s):
        for order in start_orders(units):
            tried = one_after_another(problem, units, order)
            if tried is not None:
                starts.append(units.spread(tried[1]))
    start = min(starts, key=lambda device: latency(problem, device), default=None)
    from planner.solver.dag import pieces

    left = time_limit_s - (time.monotonic() - started)
    device, bound = _if_not_stopped(
        lambda: pieces.soonest(
            problem, contract(problem, contiguous=False), start, time_limit_s=left, seed=seed
        ),
        (start, 0.0),
    )
    if device is None:
        return Placement(None, math.inf, bound)
    objective = latency(problem, device)
    return Placement(device, objective, min(bound, objective))


def by_rules(problem: GraphProblem) -> dict[str, tuple[int, ...]]:
    """What simple rules make of the devices that pay for transfers (where none does, of all),
    along one order of the graph: the same number of units each, the same bytes, the same time; and greedy, which fills
    a device until one more unit would exceed an even share."""
    units = contract(problem, contiguous=True)
    order = list(start_orders(units)[0])
    places = np.flatnonzero(problem.pays[problem.devices])
    if not places.size:
        places = np.arange(problem.devices.size)
    times = units.times[problem.devices[places]].min(axis=0, initial=math.inf)[order]
    # What none of these devices can run takes no time of theirs; wherever a rule puts it, the plan
    # breaks a limit, and that is what is told of the rule.
    times = np.where(np.isfinite(times), times, 0.0)
    weights = {
        "equal operators": np.ones(units.count),
        "equal bytes": units.sizes[order],
        "equal times": times,
    }
    found = {"greedy": _filled(times, places.size)}
    for name, weight in weights.items():
        # A unit goes to the device in whose share its middle lies.
        shares = (np.cumsum(weight) - weight / 2) / (float(weight.sum()) or 1.0)
        found[name] = np.minimum((shares * places.size).astype(int), places.size - 1)
    spread: dict[str, tuple[int, ...]] = {}
    for name in (*weights, "greedy"):
        spread[name] = units.spread(places[found[name][np.argsort(order)]].tolist())
    return spread


def _filled(times: Floats, devices: int) -> Ints:
    """The stage of every unit of an order: a stage ends where one more unit would exceed an even
    share; the last takes the rest."""
    share = float(times.sum()) / max(1, devices)
    stages: list[int] = []
    stage = 0
    filled = 0.0
    for took in times.tolist():
        if filled and filled + took > share and stage < devices - 1:
            stage += 1
            filled = 0.0
        filled += took
        stages.append(stage)
    return np.array(stages)


def _devices(problem: GraphProblem, stages: Stages) -> tuple[int, ...]:
    """The device of every unit: stages take the devices of their class in order."""
    spare = [
        np.flatnonzero(problem.devices == number).tolist() for number in range(problem.counts.size)
    ]
    device = [spare[number].pop(0) for number in stages.classes]
    return tuple(device[number] for number in stages.stage)


def _value(problem: GraphProblem, units: Units, device: Sequence[int] | None) -> float:
    """The largest load; without an assignment one that none exceeds."""
    if device is None:
        finite = np.where(np.isfinite(units.times), units.times, 0.0)
        return float(finite.max(axis=0).sum() + units.costs.sum()) + 1.0
    return float(loads(problem, units.spread(device)).max(initial=0.0))


def _work_bound(problem: GraphProblem, units: Units) -> float:
    """The work of the quickest class, shared evenly, and the longest unit on as many devices as
    may take it in turn."""
    least = units.times[problem.counts > 0].min(axis=0)
    most_copies = max(copies for _, copies in problem.groups)
    shared = float(least.sum()) / sum(problem.available)
    longest = float(least.max(initial=0.0)) / most_copies
    return max(shared, longest)


def _best_of(
    problem: GraphProblem,
    units: Units,
    choices: Sequence[tuple[int, ...] | None],
    bound: float,
) -> Placement:
    """The best of some assignments, of which one is there."""
    found = [device for device in choices if device is not None]
    best = min(found, key=lambda device: _value(problem, units, device))
    return _placement(problem, units, best, bound)


def _placement(
    problem: GraphProblem, units: Units, device: Sequence[int] | None, bound: float
) -> Placement:
    if device is None:
        return Placement(None, math.inf, bound)
    objective = _value(problem, units, device)
    return Placement(units.spread(device), objective, min(bound, objective))
