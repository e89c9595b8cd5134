"""Placements for the largest load, proved by OR-Tools CP-SAT.

*Contiguous*: monotone booleans "the stage of a unit is at most j"; any device may serve any stage.
*Free*: one boolean for each unit and device; equal devices are told apart by the first unit that
they hold. In both, a boolean says of each net and device whether it pays; a net that costs more
than the best load cannot be paid, which joins its pins.

Times become integers on a grid, rounded down, so that the proved bound holds for the real figures;
all coefficients of a constraint together stay below 2³⁰ (OR-Tools 9.15 loses solutions beyond 2³¹,
issue 5293 of google/or-tools). A seed and a deterministic time limit give the same answer on every
machine.
"""

import math
import random
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

from planner import allowance
from planner.errors import TimeUpError
from planner.solver.chain.cpsat import interruptible
from planner.solver.chain.problem import Ints
from planner.solver.dag.problem import GraphProblem, Units, loads

MOST_TOTAL = 2.0**30
"""All coefficients of a constraint together."""


def prove(
    problem: GraphProblem,
    units: Units,
    best: float,
    hint: Sequence[int] | None,
    *,
    ordered: bool,
    time_limit_s: float = math.inf,
    deterministic_limit: float = math.inf,
    workers: int = 1,
    seed: int = 0,
    accuracy: float = 0.0,
    floor: float = 0.0,
    fixed: Collection[int] = (),
) -> tuple[tuple[int, ...] | None, float]:
    """The device of every unit with a largest load below `best`, None where none was found, and
    the bound proved; nothing is below `floor`, and `fixed` units stay where the hint has them."""
    try:
        model = _Model(problem, units, best, ordered=ordered, alike=not fixed)
    except TimeUpError:
        return None, floor
    # Each unit and each net may have lost up to one grid step by rounding down.
    rounded = math.floor(floor / model.unit) - units.count - len(units.nets)
    model.model.add(model.load >= min(model.top, rounded))
    if hint is not None:
        model.hint(hint, fixed)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    solver.parameters.linearization_level = 0 if ordered else 1
    solver.parameters.relative_gap_limit = accuracy
    if math.isfinite(time_limit_s):
        solver.parameters.max_time_in_seconds = max(0.0, time_limit_s)
    if math.isfinite(deterministic_limit):
        solver.parameters.max_deterministic_time = deterministic_limit
    try:
        status = interruptible(solver, model.model)
    except KeyboardInterrupt:
        allowance.end()
        return None, floor
    if status == cp_model.INFEASIBLE:
        return None, best
    if status == cp_model.MODEL_INVALID:
        raise AssertionError("CP-SAT refused the model")
    bound = min(best, solver.best_objective_bound * model.unit)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None, bound
    return model.devices(solver), bound


def improve(
    problem: GraphProblem,
    units: Units,
    start: tuple[int, ...],
    *,
    until: float,
    seed: int = 0,
    around: int = 60,
) -> tuple[int, ...]:
    """A better free assignment: again and again, units near one unit of the fullest device are
    placed anew and the others stay.

    Fewer units are free at a time where CP-SAT does not finish with them. Ends when nothing is
    found for long, or at `until`.
    """
    generator = random.Random(seed)
    near = _neighbours(units)
    best = start
    idle = 0
    while idle < 40 and time.monotonic() < until:
        load = loads(problem, units.spread(best))
        fullest = int(load.argmax())
        value = float(load[fullest])
        # Half of the loose units lie around the fullest device, half anywhere.
        crowded = generator.choice([unit for unit in range(units.count) if best[unit] == fullest])
        loose = _ball(near, crowded, around // 2)
        other = generator.choice(range(units.count))
        loose |= _ball(near, other, around - around // 2)
        found, _ = prove(
            problem,
            units,
            value * (1 - 1e-7),
            best,
            ordered=False,
            seed=seed,
            accuracy=1e-4,
            time_limit_s=max(0.1, min(5.0, until - time.monotonic())),
            deterministic_limit=1.0,
            fixed=set(range(units.count)) - loose,
        )
        idle += 1
        if found is not None and _reached(problem, units, found) < value * (1 - 1e-9):
            best = found
            idle = 0
    return best


def _reached(problem: GraphProblem, units: Units, device: Sequence[int]) -> float:
    return float(loads(problem, units.spread(device)).max())


def _neighbours(units: Units) -> list[set[int]]:
    """Of every unit those with which it shares a net, itself among them."""
    near: list[set[int]] = [set() for _ in range(units.count)]
    for net in units.nets:
        for pin in net:
            near[pin].update(net)
    return near


def _ball(near: list[set[int]], centre: int, count: int) -> set[int]:
    """A unit and the units nearest to it along nets."""
    found = {centre}
    edge = [centre]
    while edge and len(found) < count:
        edge = sorted({other for unit in edge for other in near[unit]} - found)
        found.update(edge[: count - len(found)])
    return found


def weighed(weights: Iterable[float], booleans: Sequence[Any]) -> Any:
    """The sum of whole weights of the booleans that are true."""
    return sum(int(weight) * here for weight, here in zip(weights, booleans, strict=True))


def uncut_unless(model: cp_model.CpModel, reasons: Sequence[Any], pins: Sequence[Any]) -> None:
    """All pins are on a device or none is, unless one of the reasons holds: each implies the
    next, round in a circle."""
    for first, second in zip(pins, (*pins[1:], pins[0]), strict=True):
        model.add_bool_or([*reasons, ~first, second])


class _Model:
    def __init__(
        self, problem: GraphProblem, units: Units, best: float, *, ordered: bool, alike: bool = True
    ) -> None:
        self.problem = problem
        self.units = units
        self.model = cp_model.CpModel()
        self.never = self.model.new_constant(0)
        self.always = self.model.new_constant(1)
        self.positions = sum(problem.available)
        self.most_copies = max(copies for _, copies in problem.groups)
        self.over = best * self.most_copies * (1 + 1e-9)
        self.payable = np.flatnonzero(units.costs <= self.over)
        least = units.times.min(axis=0)
        total = float(least.sum() + units.costs[self.payable].sum() + self.over)
        self.unit = total / MOST_TOTAL or 1.0
        self.least = np.floor(least / self.unit).astype(np.int64)
        self.costs = np.floor(units.costs / self.unit).astype(np.int64)
        self.top = math.floor(best / self.unit)
        if ordered:
            self._stages()
        else:
            self._devices()
            if alike:
                self._in_order()
        self.load = self.model.new_int_var(0, self.top, "load")
        self.model.add(self.load >= -(-int(self.least.sum()) // self.positions))
        for position in range(self.positions):
            allowance.look()
            self._loads(position)
        self.model.minimize(self.load)

    def _stages(self) -> None:
        """`at[unit][j]`: its stage is j, as the difference of "at most j" and "at most j - 1"."""
        model = self.model
        last = self.positions - 1
        earliest, latest = self._windows()
        upto: list[list[Any]] = []
        self.at: list[list[Any]] = []
        for low, high in zip(earliest.tolist(), latest.tolist(), strict=True):
            row = [self._at_most(j, low, high) for j in range(last + 1)]
            self.at.append([row[0], *(model.new_bool_var("") for _ in range(last))])
            for j in range(1, last + 1):
                model.add(self.at[-1][j] == row[j] - row[j - 1])
            upto.append(row)
        # What comes behind an edge is in no earlier stage.
        for tail, head in self.units.edges:
            allowance.look()
            for before, after in zip(upto[tail], upto[head], strict=True):
                model.add_implication(after, before)
        self._classes()

    def _at_most(self, stage: int, low: int, high: int) -> Any:
        """Whether a unit whose stage lies between two others is in this one or an earlier one."""
        if stage < low:
            return self.never
        if stage >= high:
            return self.always
        return self.model.new_bool_var("")

    def _classes(self) -> None:
        """Which class of devices serves each stage; no family gives more devices than it has."""
        model = self.model
        groups = self.problem.groups
        self.of_class = [[model.new_bool_var("") for _ in groups] for _ in range(self.positions)]
        for position, choice in enumerate(self.of_class):
            if self.most_copies == 1:
                model.add_exactly_one(choice)
                continue
            # Groups take several devices, so that stages may be left over: those hold nothing.
            model.add_at_most_one(choice)
            for row in self.at:
                model.add_bool_or([~row[position], *choice])
        for family, count in enumerate(self.problem.available):
            copies = [number if of == family else 0 for of, number in groups]
            taken = sum(weighed(copies, choice) for choice in self.of_class)
            model.add(taken == count if self.most_copies == 1 else taken <= count)

    def _windows(self) -> tuple[Ints, Ints]:
        """Earliest and latest stage of every unit: j stages on one device each do at most j
        times the best load."""
        if self.most_copies > 1:
            earliest = np.zeros(self.units.count, dtype=np.intp)
            return earliest, np.full(self.units.count, self.positions - 1)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(self.units.count))
        graph.add_edges_from(self.units.edges)
        sooner = np.zeros(self.units.count, dtype=np.intp)
        later = np.zeros(self.units.count, dtype=np.intp)
        for unit in range(self.units.count):
            allowance.look()
            above = int(self.least[[unit, *nx.ancestors(graph, unit)]].sum())
            below = int(self.least[[unit, *nx.descendants(graph, unit)]].sum())
            sooner[unit] = max(0, -(-above // max(1, self.top)) - 1)
            later[unit] = self.positions - max(1, -(-below // max(1, self.top)))
        return sooner, later

    def _devices(self) -> None:
        """`at[unit][device]`; of equal devices the one with the earlier first unit comes first."""
        model = self.model
        self.at = []
        for _ in range(self.units.count):
            allowance.look()
            self.at.append([model.new_bool_var("") for _ in range(self.positions)])
        for row in self.at:
            model.add_exactly_one(row)
        self.of_class = []
        for kind in self.problem.devices.tolist():
            choice = [self.never] * self.problem.counts.size
            choice[kind] = self.always
            self.of_class.append(choice)

    def _in_order(self) -> None:
        """Of equal devices, the one whose first unit comes earlier, heavy units first, is the
        earlier one."""
        model = self.model
        units = self.units
        classes = self.problem.devices.tolist()
        heavy = sorted(range(units.count), key=lambda unit: (-int(self.least[unit]), unit))
        for device in range(1, self.positions):
            if classes[device] != classes[device - 1]:
                continue
            opened: list[Any] = []
            for unit in heavy:
                if not opened:
                    model.add(self.at[unit][device] == 0)
                else:
                    model.add_bool_or([*opened[-1:], ~self.at[unit][device]])
                now = model.new_bool_var("")
                model.add_bool_or([~now, self.at[unit][device - 1], *opened[-1:]])
                opened.append(now)

    def _loads(self, position: int) -> None:
        """What a device holds takes no longer than the load, whatever its class."""
        model = self.model
        at = [row[position] for row in self.at]
        paid = self._paid(position, at)
        least = weighed(self.least, at) + sum(paid)
        model.add(least <= self.most_copies * self.load)
        for (_, copies), choice in zip(self.problem.groups, self.of_class[position], strict=True):
            if copies < self.most_copies:
                model.add(least <= copies * self.load).only_enforce_if(choice)
        for kind, choice in enumerate(self.of_class[position]):
            self._load_of(kind, choice, at, sum(paid) if self.problem.pays[kind] else 0)

    def _paid(self, position: int, at: list[Any]) -> list[Any]:
        """What a device pays for each net that it cuts."""
        model = self.model
        units = self.units
        paying = model.new_bool_var("")
        payers = np.flatnonzero(self.problem.pays)
        model.add(paying == sum(self.of_class[position][number] for number in payers))
        for number in np.flatnonzero(units.costs > self.over):
            allowance.look()
            uncut_unless(model, [~paying], [at[pin] for pin in units.nets[number]])
        paid = []
        for number in self.payable:
            allowance.look()
            pays = model.new_bool_var("")
            uncut_unless(model, [pays, ~paying], [at[pin] for pin in units.nets[number]])
            paid.append(int(self.costs[number]) * pays)
        return paid

    def _load_of(self, number: int, choice: Any, at: list[Any], paid: Any) -> None:
        """What the class of a device adds: longer times, and memory."""
        units = self.units
        model = self.model
        times = units.times[number]
        for unit in np.flatnonzero(times > self.over):
            model.add_implication(choice, ~at[unit])
        if (times > units.times.min(axis=0)).any():
            # Times of a slow class may be too large for the grid; they get a coarser one.
            able = np.where(times > self.over, 0.0, times)
            total = float(able.sum() + units.costs[self.payable].sum() + self.over)
            coarse = math.ceil(total / self.unit / MOST_TOTAL)
            copies = self.problem.groups[number][1]
            work = model.new_int_var(0, copies * self.top // coarse, "")
            parts = np.floor(able / self.unit / coarse).astype(np.int64)
            model.add(weighed(parts, at) <= work).only_enforce_if(choice)
            model.add(coarse * work + paid <= copies * self.load).only_enforce_if(choice)
        if units.sizes.sum() > self.problem.capacity[number]:
            grain = float(units.sizes.sum()) / MOST_TOTAL
            room = math.floor(self.problem.capacity[number] * (1 + 1e-9) / grain)
            held = weighed(np.floor(units.sizes / grain), at)
            model.add(held <= room).only_enforce_if(choice)

    def hint(self, device: Sequence[int], fixed: Collection[int]) -> None:
        """Where free units were; `fixed` ones stay there."""
        for unit, (row, place) in enumerate(zip(self.at, device, strict=True)):
            for position, here in enumerate(row):
                if unit in fixed:
                    self.model.add(here == int(position == place))
                else:
                    self.model.add_hint(here, position == place)

    def devices(self, solver: Any) -> tuple[int, ...]:
        """The device of every unit; stages take the devices of their class in order."""
        spare = [
            np.flatnonzero(self.problem.devices == number).tolist()
            for number in range(self.problem.counts.size)
        ]
        device: list[int] = []
        for choice in self.of_class:
            chosen = [kind for kind, here in enumerate(choice) if solver.boolean_value(here)]
            device.append(spare[chosen[0]].pop(0) if chosen else -1)
        places: list[int] = []
        for row in self.at:
            stage = next(j for j, here in enumerate(row) if solver.boolean_value(here))
            places.append(device[stage])
        return tuple(places)
