"""Placements for the largest load, proved by OR-Tools CP-SAT.

*Contiguous*: monotone booleans "the stage of a unit is at most j"; any device may serve any stage. *Free*: one boolean
for each unit and device; equal devices are told apart by the first unit that they hold. In both, a boolean says of each
net and device whether it pays; a net that costs more than the best load cannot be paid, which joins its pins.

Times become integers on a grid, rounded down, so that the proved bound holds for the real figures;
all coefficients of a constraint together stay below 2³⁰ (OR-Tools 9.15 loses solutions beyond 2³¹,
issue 5293 of google/or-tools). A seed and a deterministic time limit give the same answer on every
machine.
"""

import math
import random
import time
from collections.abc import Collection, Sequence
from typing import Any

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

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
    model = _Model(problem, units, best, ordered=ordered, alike=not fixed)
    model.model.add(
        model.load >= min(model.top, math.floor(floor / model.unit) - units.count - len(units.nets))
    )
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
    status = solver.solve(model.model)
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
    generator, best = random.Random(seed), start
    near: list[set[int]] = [set() for _ in range(units.count)]
    for net in units.nets:
        for pin in net:
            near[pin].update(net)
    idle = 0
    while idle < 40 and time.monotonic() < until:
        load = loads(problem, units.spread(best))
        fullest = int(load.argmax())
        value = float(load[fullest])
        loose = _ball(
            near,
            generator.choice([u for u in range(units.count) if best[u] == fullest]),
            around // 2,
        )
        other = generator.choice(range(units.count))
        loose |= _ball(near, other, around - around // 2)
        found, _ = prove(
            problem, units, value * (1 - 1e-7), best, ordered=False, seed=seed, accuracy=1e-4,
            time_limit_s=max(0.1, min(5.0, until - time.monotonic())), deterministic_limit=1.0,
            fixed=set(range(units.count)) - loose,
        )  # fmt: skip
        better = found is not None and float(loads(problem, units.spread(found)).max()) < value * (
            1 - 1e-9
        )
        idle = 0 if better else idle + 1
        best = found if found is not None and better else best
    return best


def _ball(near: list[set[int]], centre: int, count: int) -> set[int]:
    """A unit and the units nearest to it along nets."""
    found, edge = {centre}, [centre]
    while edge and len(found) < count:
        edge = sorted({other for unit in edge for other in near[unit]} - found)
        found.update(edge[: count - len(found)])
    return found


class _Model:
    def __init__(
        self, problem: GraphProblem, units: Units, best: float, *, ordered: bool, alike: bool = True
    ) -> None:
        self.problem, self.units, self.model = problem, units, cp_model.CpModel()
        self.never, self.always = self.model.new_constant(0), self.model.new_constant(1)
        self.positions = sum(problem.available)
        self.most_copies = max(copies for _, copies in problem.groups)
        self.over = best * self.most_copies * (1 + 1e-9)
        self.payable = np.flatnonzero(units.costs <= self.over)
        least = units.times.min(axis=0)
        self.unit = (
            float(least.sum() + units.costs[self.payable].sum() + self.over) / MOST_TOTAL or 1.0
        )
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
            self._loads(position)
        self.model.minimize(self.load)

    def _stages(self) -> None:
        """`at[unit][j]`: its stage is j, as the difference of "at most j" and "at most j - 1"."""
        model, units, last = self.model, self.units, self.positions - 1
        earliest, latest = self._windows()
        upto: list[list[Any]] = []
        self.at: list[list[Any]] = []
        for low, high in zip(earliest.tolist(), latest.tolist(), strict=True):
            row = [
                self.never if j < low else self.always if j >= high else model.new_bool_var("")
                for j in range(last + 1)
            ]
            self.at.append([row[0], *(model.new_bool_var("") for _ in range(last))])
            for j in range(1, last + 1):
                model.add(self.at[-1][j] == row[j] - row[j - 1])
            upto.append(row)
        for tail, head in units.edges:
            for before, after in zip(upto[tail], upto[head], strict=True):
                model.add_implication(after, before)
        groups = self.problem.groups
        self.of_class = [[model.new_bool_var("") for _ in groups] for _ in range(self.positions)]
        for position, choice in enumerate(self.of_class):
            if self.most_copies == 1:
                model.add_exactly_one(choice)
                continue
            model.add_at_most_one(choice)
            for row in self.at:
                model.add_bool_or([~row[position], *choice])
        for family, count in enumerate(self.problem.available):
            taken = sum(
                copies * chosen
                for choice in self.of_class
                for chosen, (of, copies) in zip(choice, groups, strict=True)
                if of == family
            )
            model.add(taken == count if self.most_copies == 1 else taken <= count)

    def _windows(self) -> tuple[Ints, Ints]:
        """Earliest and latest stage of every unit: j stages on one device each do at most j
        times the best load."""
        if self.most_copies > 1:
            return np.zeros(self.units.count, dtype=np.intp), np.full(
                self.units.count, self.positions - 1
            )
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(self.units.count))
        graph.add_edges_from(self.units.edges)
        sooner, later = (
            np.zeros(self.units.count, dtype=np.intp),
            np.zeros(self.units.count, dtype=np.intp),
        )
        for unit in range(self.units.count):
            above = int(self.least[[unit, *nx.ancestors(graph, unit)]].sum())
            below = int(self.least[[unit, *nx.descendants(graph, unit)]].sum())
            sooner[unit] = max(0, -(-above // max(1, self.top)) - 1)
            later[unit] = self.positions - max(1, -(-below // max(1, self.top)))
        return sooner, later

    def _devices(self) -> None:
        """`at[unit][device]`; of equal devices the one with the earlier first unit comes first."""
        model, units = self.model, self.units
        self.at = [
            [model.new_bool_var("") for _ in range(self.positions)] for _ in range(units.count)
        ]
        for row in self.at:
            model.add_exactly_one(row)
        classes = self.problem.devices.tolist()
        self.of_class = [
            [
                self.always if number == of else self.never
                for number in range(self.problem.counts.size)
            ]
            for of in classes
        ]

    def _in_order(self) -> None:
        """Of equal devices, the one whose first unit comes earlier, heavy units first, is the
        earlier one."""
        model, units, classes = self.model, self.units, self.problem.devices.tolist()
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
        units, model = self.units, self.model
        at = [row[position] for row in self.at]
        paying = model.new_bool_var("")
        model.add(
            paying
            == sum(self.of_class[position][number] for number in np.flatnonzero(self.problem.pays))
        )
        for number in np.flatnonzero(units.costs > self.over):
            pins = [at[pin] for pin in units.nets[number]]
            for first, second in zip(pins, (*pins[1:], pins[0]), strict=True):
                model.add_bool_or([~paying, ~first, second])
        paid = []
        for number in self.payable:
            pays = model.new_bool_var("")
            pins = [at[pin] for pin in units.nets[number]]
            for first, second in zip(pins, (*pins[1:], pins[0]), strict=True):
                model.add_bool_or([pays, ~paying, ~first, second])
            paid.append(int(self.costs[number]) * pays)
        least = sum(int(time) * here for time, here in zip(self.least, at, strict=True)) + sum(paid)
        model.add(least <= self.most_copies * self.load)
        for (_, copies), choice in zip(self.problem.groups, self.of_class[position], strict=True):
            if copies < self.most_copies:
                model.add(least <= copies * self.load).only_enforce_if(choice)
        for kind, choice in enumerate(self.of_class[position]):
            self._load_of(kind, choice, at, sum(paid) if self.problem.pays[kind] else 0)

    def _load_of(self, number: int, choice: Any, at: list[Any], paid: Any) -> None:
        """What the class of a device adds: longer times, and memory."""
        units, model, times = self.units, self.model, self.units.times[number]
        for unit in np.flatnonzero(times > self.over):
            model.add_implication(choice, ~at[unit])
        if (times > units.times.min(axis=0)).any():
            able = np.where(times > self.over, 0.0, times)
            coarse = math.ceil(
                float(able.sum() + units.costs[self.payable].sum() + self.over)
                / self.unit
                / MOST_TOTAL
            )
            copies = self.problem.groups[number][1]
            work = model.new_int_var(0, copies * self.top // coarse, "")
            parts = np.floor(able / self.unit / coarse).astype(np.int64)
            model.add(
                sum(int(part) * here for part, here in zip(parts, at, strict=True)) <= work
            ).only_enforce_if(choice)
            model.add(coarse * work + paid <= copies * self.load).only_enforce_if(choice)
        if units.sizes.sum() > self.problem.capacity[number]:
            grain = float(units.sizes.sum()) / MOST_TOTAL
            room = math.floor(self.problem.capacity[number] * (1 + 1e-9) / grain)
            held = sum(
                math.floor(size / grain) * here for size, here in zip(units.sizes, at, strict=True)
            )
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
        spare = {
            number: list(np.flatnonzero(self.problem.devices == number))
            for number in range(self.problem.counts.size)
        }
        chosen = [
            [n for n, c in enumerate(choice) if solver.boolean_value(c)] for choice in self.of_class
        ]
        device = [spare[numbers[0]].pop(0) if numbers else -1 for numbers in chosen]
        return tuple(
            int(device[next(j for j, here in enumerate(row) if solver.boolean_value(here))])
            for row in self.at
        )
