"""Contiguous stages along a linear order: loads of all intervals at once, an exact DP over them,
and a search over orders.

Any contiguous partition is one of intervals of some topological order, so the DP is exact for its
order, and searching over orders finds good partitions of the graph. A solution is never lost: an
order that keeps its stages together is tried next.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from planner import allowance
from planner.errors import TimeUpError
from planner.solver.chain.problem import Floats, Ints
from planner.solver.dag.problem import GraphProblem, Units

Order = Sequence[int]


TABLES = 4
"""Of the loads of all intervals, that are there at once besides those of each class."""


class Stages(NamedTuple):
    """Contiguous stages."""

    objective: float
    stage: tuple[int, ...]
    """Of every unit; later stages come later."""
    classes: tuple[int, ...]
    """The device class of every stage."""


def interval_loads(units: Units, order: Order, *, pays: bool, times: Floats) -> Floats:
    """Load of a device of a class that holds units a to b - 1 of an order, shape (units + 1,
    units + 1); b < a: infinite."""
    count = units.count
    total = _interval_sums(times[list(order)])
    total[np.tril_indices(count + 1, -1)] = math.inf
    if not pays:
        return total
    return total + _crossing(units, order)


def _interval_sums(times: Floats) -> Floats:
    """Sums over intervals, infinite where a unit cannot run."""
    able = np.isfinite(times)
    before = np.concatenate(([0.0], np.cumsum(np.where(able, times, 0.0))))
    sums = before[None, :] - before[:, None]
    if able.all():
        return sums
    never = np.concatenate(([0], np.cumsum(~able)))
    return np.where(never[None, :] > never[:, None], math.inf, sums)


def _crossing(units: Units, order: Order) -> Floats:
    """Cost of the nets of which an interval a to b - 1 holds some pins and not all, by
    differences over rectangles."""
    count = units.count
    place = np.empty(count, dtype=np.intp)
    place[list(order)] = np.arange(count)
    rows: list[int] = []
    columns: list[int] = []
    steps: list[float] = []

    def add(low: int, high: int, left: int, right: int, cost: float) -> None:
        """Over the rectangle low to high - 1, left to right - 1."""
        rows.extend((low, low, high, high))
        columns.extend((left, right, left, right))
        steps.extend((cost, -cost, -cost, cost))

    for net, cost in zip(units.nets, units.costs.tolist(), strict=True):
        pins = sorted(int(place[pin]) for pin in net)
        for left, right in itertools.pairwise((-1, *pins, count)):
            add(left + 1, right + 1, 0, right + 1, cost)
        add(0, pins[0] + 1, pins[-1] + 1, count + 1, cost)
    saved = np.zeros((count + 2, count + 2))
    np.add.at(saved, (rows, columns), steps)
    return np.asarray(units.costs.sum() - saved.cumsum(axis=0).cumsum(axis=1)[:-1, :-1])


def _fits(units: Units, order: Order, capacity: float) -> Floats:
    """Zero where an interval fits a memory, else infinite."""
    before = np.concatenate(([0.0], np.cumsum(units.sizes[list(order)])))
    return np.where(before[None, :] - before[:, None] <= capacity * (1 + 1e-9), 0.0, math.inf)


def along(problem: GraphProblem, units: Units, order: Order) -> Stages | None:
    """The best contiguous stages whose units are intervals of an order; None where nothing fits."""
    allowance.ask_for_bytes(
        8.0 * (len(units.times) + TABLES) * (units.count + 1) ** 2,
        f"stages of {units.count:,} operators",
        "give operators that belong together one colour",
    )
    tables = [_table(problem, units, order, number) for number in range(len(units.times))]
    # `least[used][end]`: the least largest load of the first `end` units on so many devices of
    # each family; `came` says which class took the last stage, and where it began.
    none = (0,) * len(problem.available)
    least = {none: np.where(np.arange(units.count + 1) == 0, 0.0, math.inf)}
    came: dict[tuple[int, ...], list[tuple[int, Floats]]] = {}
    for used in itertools.product(*(range(count + 1) for count in problem.available)):
        allowance.look()
        choices = []
        for number, (table, (family, copies)) in enumerate(
            zip(tables, problem.groups, strict=True)
        ):
            if used[family] >= copies:
                reached = np.maximum(least[_less(used, family, copies)][:, None], table)
                choices.append((number, reached.argmin(axis=0)))
                best = reached.min(axis=0)
                least[used] = best if used not in least else np.minimum(least[used], best)
        came[used] = choices
    return _traced(problem, units, order, tables, least, came)


def _table(problem: GraphProblem, units: Units, order: Order, number: int) -> Floats:
    """Load of one stage on a class for every interval; infinite where it does not fit."""
    pays = bool(problem.pays[number])
    _, copies = problem.groups[number]
    table = interval_loads(units, order, pays=pays, times=units.times[number]) / copies
    if math.isfinite(problem.capacity[number]):
        table += _fits(units, order, float(problem.capacity[number]))
    return table


def _less(used: tuple[int, ...], family: int, copies: int) -> tuple[int, ...]:
    return (*used[:family], used[family] - copies, *used[family + 1 :])


def _traced(
    problem: GraphProblem,
    units: Units,
    order: Order,
    tables: list[Floats],
    least: dict[tuple[int, ...], Floats],
    came: dict[tuple[int, ...], list[tuple[int, Floats]]],
) -> Stages | None:
    """The stages behind the value of all units and all devices."""
    used = problem.available
    end = units.count
    objective = float(least[used][end])
    if not math.isfinite(objective):
        return None
    cuts = []
    while any(used):
        for number, starts in came[used]:
            start = int(starts[end])
            before = _less(used, *problem.groups[number])
            value = max(float(least[before][start]), float(tables[number][start, end]))
            if value == least[used][end]:
                cuts.append((start, end, number))
                used = before
                end = start
                break
        else:
            raise AssertionError("the table of stages lost its way")
    stage = [0] * units.count
    for number, (start, end_of_stage, _) in enumerate(reversed(cuts)):
        for unit in order[start:end_of_stage]:
            stage[unit] = number
    return Stages(objective, tuple(stage), tuple(number for _, _, number in reversed(cuts)))


def start_orders(units: Units) -> list[Order]:
    """Topological orders worth a try: breadth first, depth first from either end, and least open
    traffic first."""
    ahead = _ahead(units.count, units.edges)
    behind = _ahead(units.count, [(head, tail) for tail, head in units.edges])
    found = [
        _sorted(ahead, lambda unit, step: unit),
        _sorted(ahead, lambda unit, step: -step),
        _sorted(behind, lambda unit, step: -unit)[::-1],
        _sorted(behind, lambda unit, step: -step)[::-1],
        _closing(units, ahead),
    ]
    return [_settled(units, ahead, order) for order in found]


def _settled(units: Units, ahead: list[list[int]], order: list[int], sweeps: int = 30) -> list[int]:
    """The order with units that no edge binds moved amid those with which they share nets."""
    bound = set(itertools.chain.from_iterable(units.edges))
    free = [unit for unit in range(units.count) if unit not in bound]
    place = {unit: float(number) for number, unit in enumerate(order) if unit in bound}
    if place:
        near = _shared_nets(units, free)
        for _ in range(sweeps):
            allowance.look()
            for unit in free:
                _settle(unit, near[unit], place)
    return _sorted(ahead, lambda unit, step: place.get(unit, math.inf))


def _shared_nets(units: Units, free: list[int]) -> dict[int, list[tuple[float, int]]]:
    """Of each free unit the others on its nets, each with what it costs to part from it."""
    near: dict[int, list[tuple[float, int]]] = {unit: [] for unit in free}
    for net, cost in zip(units.nets, units.costs.tolist(), strict=True):
        for unit in near.keys() & set(net):
            near[unit] += [(cost / (len(net) - 1), other) for other in net if other != unit]
    return near


def _settle(unit: int, near: list[tuple[float, int]], place: dict[int, float]) -> None:
    """Move a unit to the mean place of those near it that have one, weighed by cost."""
    known = [(cost, place[other]) for cost, other in near if other in place]
    if known:
        total = sum(cost for cost, _ in known)
        place[unit] = sum(cost * where for cost, where in known) / total


def _ahead(count: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    following: list[list[int]] = [[] for _ in range(count)]
    for tail, head in edges:
        following[tail].append(head)
    return following


def _by(values: list[float]) -> Callable[[int, int], float]:
    """The key that sorts units by these values."""
    return lambda unit, _: values[unit]


def _sorted(ahead: list[list[int]], key: Callable[[int, int], float]) -> list[int]:
    """A topological order: of what is ready, the least key of (unit, step at which it became
    ready) first."""
    waiting = _waiting(ahead)
    ready = [(key(unit, 0), unit) for unit, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        _, unit = heapq.heappop(ready)
        order.append(unit)
        for head in ahead[unit]:
            waiting[head] -= 1
            if not waiting[head]:
                heapq.heappush(ready, (key(head, len(order)), head))
    return order


def _waiting(ahead: list[list[int]]) -> list[int]:
    """How many units each one waits for."""
    waiting = [0] * len(ahead)
    for heads in ahead:
        for head in heads:
            waiting[head] += 1
    return waiting


def _closing(units: Units, ahead: list[list[int]]) -> list[int]:
    """Of what is ready, that first which leaves the least traffic open behind it."""
    of_unit: list[list[int]] = [[] for _ in range(units.count)]
    for number, net in enumerate(units.nets):
        for pin in net:
            of_unit[pin].append(number)
    left = [len(net) for net in units.nets]
    waiting = _waiting(ahead)
    ready = {unit for unit, count in enumerate(waiting) if not count}

    def opened(unit: int) -> tuple[float, int]:
        change = 0.0
        for number in of_unit[unit]:
            fresh = left[number] == len(units.nets[number])
            last = left[number] == 1
            change += float(units.costs[number]) * (fresh - last)
        return change, unit

    order = []
    while ready:
        allowance.look()
        unit = min(ready, key=opened)
        ready.remove(unit)
        order.append(unit)
        for number in of_unit[unit]:
            left[number] -= 1
        for head in ahead[unit]:
            waiting[head] -= 1
            if not waiting[head]:
                ready.add(head)
    return order


def search(
    problem: GraphProblem, units: Units, *, rounds: int, seed: int = 0, patience: int = 40
) -> Stages | None:
    """The best stages found along many orders: the start orders, then orders that shuffle units
    within stages of the best.

    Deterministic; `patience` rounds without a better solution end it.
    """
    generator = random.Random(seed)
    best: Stages | None = None
    try:
        for order in start_orders(units):
            stages = along(problem, units, order)
            if stages is not None and (best is None or stages < best):
                best = stages
        if best is not None:
            best = _shuffled(problem, units, best, rounds, generator, patience)
    except TimeUpError:
        if best is None:
            raise
    return best


def _shuffled(
    problem: GraphProblem,
    units: Units,
    best: Stages,
    rounds: int,
    generator: random.Random,
    patience: int,
) -> Stages:
    """The best that so many orders find, or those until the time is up."""
    ahead = _ahead(units.count, units.edges)
    idle = 0
    for _ in range(rounds):
        if allowance.is_up():
            break
        # Units keep their stages and are shuffled within them; with more blur, across them too.
        noise = [generator.random() for _ in range(units.count)]
        blur = generator.choice((0.0, 0.5, 1.0, 2.0))
        spots = [stage + (1 + blur) * one for stage, one in zip(best.stage, noise, strict=True)]
        found = along(problem, units, _sorted(ahead, _by(spots)))
        idle += 1
        if found is not None and found.objective < best.objective:
            idle = 0
        if found is not None and found.objective <= best.objective:
            best = found
        if idle >= patience:
            break
    return best


def one_after_another(
    problem: GraphProblem, units: Units, order: Order
) -> tuple[float, tuple[int, ...]] | None:
    """Pieces of an order on paying devices and single units on hosts, for the least sum of all
    times: (sum, the device of every unit). Where the graph is nearly a chain, the sum is nearly
    its latency."""
    hosts = np.flatnonzero(~problem.pays & (problem.counts > 0))
    kinds = [int(kind) for kind in problem.devices if problem.pays[kind]]
    least, came = _sums(problem, units, order, hosts, kinds)
    if not math.isfinite(least[-1, -1]):
        return None
    first = {kind: int(np.flatnonzero(problem.devices == kind)[0]) for kind in hosts.tolist()}
    paying = np.flatnonzero(problem.pays[problem.devices])
    device = [0] * units.count
    row = len(kinds)
    end = units.count
    while end:
        start = int(came[row, end])
        if start < 0:
            end -= 1
            quickest = hosts[int(units.times[hosts][:, order[end]].argmin())]
            device[order[end]] = first[int(quickest)]
            continue
        for unit in order[start:end]:
            device[unit] = int(paying[row - 1])
        row -= 1
        end = start
    return float(least[-1, -1]), tuple(device)


def _sums(
    problem: GraphProblem, units: Units, order: Order, hosts: Ints, kinds: list[int]
) -> tuple[Floats, Ints]:
    """The least sum of times of the first units of an order on so many paying devices, and where
    the piece behind it began (-1: the last unit is on a host), shape (devices + 1, units + 1)."""
    count = units.count
    host = np.full(count, math.inf)
    if hosts.size:
        host = units.times[hosts].min(axis=0)[list(order)]
    tables = {}
    for kind in sorted(set(kinds)):
        loads = interval_loads(units, order, pays=True, times=units.times[kind])
        tables[kind] = loads + _fits(units, order, float(problem.capacity[kind]))
    least = np.full((len(kinds) + 1, count + 1), math.inf)
    came = np.full((len(kinds) + 1, count + 1), -1)
    least[0, 0] = 0.0
    for row in range(len(kinds) + 1):
        if row:
            reached = least[row - 1][:, None] + tables[kinds[row - 1]]
            came[row] = reached.argmin(axis=0)
            least[row] = reached.min(axis=0)
        for end in range(count):
            alone = least[row, end] + host[end]
            if alone < least[row, end + 1]:
                least[row, end + 1] = alone
                came[row, end + 1] = -1
    return least, came
