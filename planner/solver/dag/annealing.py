"""Better free placements by simulated annealing: many walkers at once, on units and on clusters of
units.

A walker moves one unit at a time to another device, or lets two units of like times change places.
The loads of two devices change, by the times of the unit and by the nets that become or cease to be
cut, so a move costs no more than the nets of its unit, and numpy makes one move of every walker in
the time of a few array operations. What is made small is the sum over devices of what exceeds a
load just below the best known, which crosses the plateaus of the largest load. Each round joins
units that share a device into clusters of another size, so that whole branches move at once;
walkers start from the best placement, each at its own temperature.
"""

import time
from collections.abc import Sequence

import numpy as np

from planner.solver.chain.problem import Floats, Ints
from planner.solver.dag.problem import GraphProblem, Units, loads

WALKERS = 64
MOST_CELLS = 2e7
"""Walkers times nets times devices: tables of pins, 4 bytes each."""
BLOCK = 64
"""Moves for which random numbers are drawn together."""
MOVES_PER_UNIT = 25
FRACTIONS = (1.0, 1.0, 0.7, 0.5, 0.3, 0.15)
"""Clusters over units."""
TARGETS = (0.05, 0.2, 0.5)
"""Where between the best load and its bound the load lies of which the excess is made small."""
HOTTEST = (0.01, 0.05)
"""First temperature of the hottest walker, over the best load."""
COOLEST, COOLING = 0.0003, 1 / 20
"""First temperature of the coolest walker, and what becomes of each in a round."""
NEAR = 12
"""Units that change places are at most so far apart in the order of their times."""
LOAD_WEIGHT = 0.02
"""Of a load that does not exceed the target."""


def anneal(
    problem: GraphProblem,
    units: Units,
    start: Sequence[int],
    *,
    until: float,
    floor: float = 0.0,
    patience: int = 60,
    seed: int = 0,
) -> tuple[int, ...]:
    """The device of every unit, from an allowed start and never worse: ends after `patience`
    rounds without a better one, at a load of `floor`, or at `until` (`time.monotonic`). Only the
    last makes it depend on the machine."""
    generator = np.random.default_rng(seed)
    best, value = (
        np.array(start, dtype=np.intp),
        float(loads(problem, units.spread(start)).max(initial=0.0)),
    )
    idle = 0 if units.count and problem.counts.sum() > 1 else patience
    while idle < patience and value > floor * (1 + 1e-12) and time.monotonic() < until:
        label = _clusters(units, best, value, float(generator.choice(FRACTIONS)), generator)
        coarse, first = units.joined(label), np.unique(label, return_index=True)[1]
        target = value - float(generator.choice(TARGETS)) * (value - floor)
        found = _Walkers(problem, coarse, best[first], target).walk(
            value, MOVES_PER_UNIT * units.count, until, generator
        )
        reached = float(loads(problem, units.spread(found[label])).max())
        idle = 0 if reached < value * (1 - 1e-9) else idle + 1
        if reached <= value:
            best, value = found[label], reached
    return tuple(int(place) for place in best)


def _clusters(
    units: Units, place: Ints, value: float, fraction: float, generator: np.random.Generator
) -> Ints:
    """The cluster of every unit: nets within a device are joined, costly ones first, but for
    chance, and all that cost more than the best load."""
    parent, weight, left = list(range(units.count)), units.times.min(axis=0), units.count

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = unit = parent[parent[unit]]
        return unit

    chance = (
        generator.exponential(size=len(units.nets)) / np.sqrt(units.costs)
        if units.nets
        else np.zeros(0)
    )
    for number in np.lexsort((chance, units.costs <= value)):
        tied = units.costs[number] > value
        if left <= fraction * units.count and not tied:
            break
        for pin in units.nets[number]:
            one, other = root(units.nets[number][0]), root(pin)
            light = weight[one] + weight[other] <= value / 2
            if one != other and place[one] == place[other] and (light or tied):
                parent[other], left = one, left - 1
                weight[one] += weight[other]
    return np.unique([root(unit) for unit in range(units.count)], return_inverse=True)[1].astype(
        np.intp
    )


class _Walkers:
    def __init__(self, problem: GraphProblem, units: Units, start: Ints, target: float) -> None:
        self.units, self.start, self.target = units, start, target
        classes, self.devices, self.padding = (
            problem.devices,
            int(problem.counts.sum()),
            len(units.nets),
        )
        self.count = int(min(WALKERS, max(4, MOST_CELLS // ((self.padding + 1) * self.devices))))
        never = 10 * (float(np.where(np.isfinite(units.times), units.times, 0.0).sum()) + target)
        self.times = np.where(np.isfinite(units.times), units.times, never)[classes].T
        self.pays, self.room = (
            problem.pays[classes].astype(np.float64),
            problem.capacity[classes] * (1 + 1e-9),
        )
        of_unit: list[list[int]] = [[] for _ in range(units.count)]
        for number, net in enumerate(units.nets):
            for pin in net:
                of_unit[pin].append(number)
        self.nets = np.full((units.count, max(map(len, of_unit))), self.padding)
        for unit, numbers in enumerate(of_unit):
            self.nets[unit, : len(numbers)] = numbers
        self.pins, self.costs = np.array([*map(len, units.nets), 2]), np.append(units.costs, 0.0)
        held = np.zeros((self.padding + 1, self.devices), dtype=np.int32)
        for number, net in enumerate(units.nets):
            np.add.at(held[number], start[list(net)], 1)
        paid = self.costs @ ((held > 0) & (held < self.pins[:, None])) * self.pays
        work = np.bincount(start, self.times[np.arange(units.count), start], self.devices)
        self.held, self.load = (
            np.tile(held.ravel(), self.count),
            np.tile(work + paid, (self.count, 1)),
        )
        self.filled = np.tile(
            np.bincount(start, units.sizes, self.devices).astype(np.float64), (self.count, 1)
        )
        self.place = np.tile(start, (self.count, 1))
        self.by_time = np.lexsort((np.arange(units.count), units.times.min(axis=0)))
        self.rank = np.argsort(self.by_time)

    def walk(self, value: float, moves: int, until: float, generator: np.random.Generator) -> Ints:
        """Moves of every walker while it cools; the best placement that any of them met."""
        hottest = np.geomspace(COOLEST, float(generator.choice(HOTTEST)), self.count) * value
        rows = np.arange(self.count)
        lowest, best = self.load.max(axis=1), self.place.copy()
        for move in range(moves):
            if move % BLOCK == 0:
                if time.monotonic() >= until:
                    break
                chosen = generator.integers(self.units.count, size=(BLOCK, self.count))
                turns = generator.integers(1, self.devices, size=(BLOCK, self.count))
                nearer = generator.integers(-NEAR, NEAR + 1, size=(BLOCK, self.count))
                chances = generator.exponential(size=(BLOCK, self.count))
            unit, turn = chosen[move % BLOCK], turns[move % BLOCK]
            allowance = hottest * COOLING ** (move / moves) * chances[move % BLOCK]
            source = self.place[rows, unit]
            if move % 3 == 2:
                other = self.by_time[(self.rank[unit] + nearer[move % BLOCK]) % self.units.count]
                sink = self.place[rows, other]
                moved = self._step(((unit, source, sink), (other, sink, source)), allowance)
            else:
                moved = self._step(((unit, source, (source + turn) % self.devices),), allowance)
            reached = self.load[moved].max(axis=1)
            better = moved[reached < lowest[moved] * (1 - 1e-12)]
            lowest[better], best[better] = self.load[better].max(axis=1), self.place[better]
        return np.asarray(best[lowest.argmin()])

    def _step(self, shifts: Sequence[tuple[Ints, Ints, Ints]], allowance: Floats) -> Ints:
        """Of each walker a unit goes from a source to a sink, or two change places, where that
        raises the sum by no more than is allowed; which walkers moved. Units of one net do not
        change places, so that the changes add up."""
        rows, load, filled = np.arange(self.count), self.load, self.filled
        (unit, source, sink), *back = shifts
        added, size = np.zeros((2, self.count)), self.units.sizes[unit]
        valid, pinned = source != sink, []
        for (moving, start, end), (out, into) in zip(shifts, ((0, 1), (1, 0)), strict=False):
            nets = self.nets[moving]
            costs, pins = self.costs[nets], self.pins[nets]
            base = (rows[:, None] * (self.padding + 1) + nets) * self.devices
            leaves, enters = base + start[:, None], base + end[:, None]
            held, there = self.held[leaves], self.held[enters]
            less = (costs * ((held > 1) * 1.0 - (held < pins))).sum(axis=1)
            more = (costs * ((there + 1 < pins) * 1.0 - (there > 0))).sum(axis=1)
            added[out] += less * self.pays[start] - self.times[moving, start]
            added[into] += more * self.pays[end] + self.times[moving, end]
            pinned.append((leaves, enters))
        for other, _, _ in back:
            size = size - self.units.sizes[other]
            one, two = self.nets[unit], self.nets[other]
            valid &= ~((one[:, :, None] == two[:, None, :]) & (one < self.padding)[:, :, None]).any(
                axis=(1, 2)
            )
        fits = (filled[rows, sink] + size <= self.room[sink]) & (
            filled[rows, source] - size <= self.room[source]
        )
        change = LOAD_WEIGHT * added.sum(axis=0)
        for place, gained in zip((source, sink), added, strict=True):
            change = (
                change
                + np.maximum(load[rows, place] + gained, self.target)
                - np.maximum(load[rows, place], self.target)
            )
        moved = np.flatnonzero(valid & fits & (change <= allowance))
        for place, gained, sign in ((source, added[0], -1), (sink, added[1], 1)):
            load[moved, place[moved]] += gained[moved]
            filled[moved, place[moved]] += sign * size[moved]
        for (moving, _, end), (leaves, enters) in zip(shifts, pinned, strict=True):
            self.held[leaves[moved]] -= 1
            self.held[enters[moved]] += 1
            self.place[moved, moving[moved]] = end[moved]
        return moved
