"""Least latency of one sample, proved by OR-Tools CP-SAT and cuts along paths.

Each paying device runs one piece, and hosts run nodes side by side. Pieces have an order in which
every edge goes forward (else they would wait for each other), so a node has a level: before, in or
after each piece. Two booleans for each node and piece, "in it or later" and "later", both monotone
along edges, say all of that.

Times are left out of the model. The latency is the largest, over all chains of nodes that wait for
each other, of the loads of the pieces that a chain meets and the times of its nodes on hosts. The
model holds some of these chains, so its optimum is a bound; the chain that binds in its solution
joins it, until the bound meets the best solution. A chain that leaves a piece by another branch
than that by which it came waits only where both nodes share a piece, and binds where they do.
"""

import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

from planner.solver.dag.placing import MOST_TOTAL
from planner.solver.dag.problem import GraphProblem, Units, finishes, latency

Chain = tuple[int, ...]
"""Nodes, each of which waits for the one before it, by an edge or because they share a piece."""


class Paths:
    """Longest paths by the least times of nodes."""

    def __init__(self, problem: GraphProblem) -> None:
        self.problem, self.least = problem, problem.times.min(axis=0)
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(problem.nodes))
        graph.add_edges_from(problem.edges.tolist())
        self.order = list(nx.lexicographical_topological_sort(graph))
        self.behind = [sorted(graph.predecessors(node)) for node in range(problem.nodes)]
        self.ahead = [sorted(graph.successors(node)) for node in range(problem.nodes)]

    def longest(self, first: int | None = None, last: int | None = None) -> Chain | None:
        """From a node to a node, both included; None: from any, to any. None where no path joins
        them."""
        best = np.full(self.problem.nodes, -math.inf)
        came = [-1] * self.problem.nodes
        for node in self.order:
            reached = [(best[before], -before) for before in self.behind[node]]
            value, before = max(reached, default=(-math.inf, 1))
            if first is None:
                value = max(value, 0.0)
            if node == first:
                value = 0.0
            elif value > -math.inf and reached and best[-before] == value:
                came[node] = -before
            best[node] = value + self.least[node]
        end = int(best.argmax()) if last is None else last
        if best[end] == -math.inf:
            return None
        path = [end]
        while came[path[-1]] >= 0:
            path.append(came[path[-1]])
        return tuple(reversed(path))

    def binding(self, device: Sequence[int]) -> Chain:
        """The chain that makes the latency of an assignment that finishes, from a source to a
        sink."""
        problem, done = self.problem, finishes(self.problem, device)
        pays = problem.pays[problem.devices]
        mates: dict[int, list[int]] = {}
        for node, place in enumerate(device):
            mates.setdefault(place, []).append(node)
        node, chain = int(np.argmax(done)), list[int]()
        while True:
            entries = [
                (done[before], mate, before)
                for mate in (mates[device[node]] if pays[device[node]] else [node])
                for before in self.behind[mate]
                if device[before] != device[node] or not pays[device[node]]
            ]
            last = node if chain else None
            if not entries:
                return tuple(reversed(chain[:-1] + list(self.longest(None, node) or ())[::-1]))
            latest = max(entry[0] for entry in entries)
            entries = [entry for entry in entries if entry[0] == latest]
            ways = [
                (len(way), way, before)
                for _, mate, before in entries
                if (way := self.longest(mate, last))
            ]
            _, way, before = max(ways, default=(0, (min(entries)[1], node), min(entries)[2]))
            chain = [*chain[:-1], *way[::-1], before]
            node = before


def soonest(
    problem: GraphProblem,
    units: Units,
    start: Sequence[int] | None,
    *,
    time_limit_s: float = math.inf,
    seed: int = 0,
) -> tuple[tuple[int, ...] | None, float]:
    """The device of every node, and the bound: from units that only colours merge, and a first
    assignment."""
    began, paths = time.monotonic(), Paths(problem)
    best = None if start is None else tuple(start)
    value = _most(problem, units) if best is None else latency(problem, best)
    chains = [paths.longest() or ()]
    if best is not None:
        chains += [chain for chain in [paths.binding(best)] if chain not in chains]
    bound = 0.0
    while bound < value * (1 - 1e-6):
        left = time_limit_s - (time.monotonic() - began)
        if left <= 0:
            break
        model = _Model(problem, units, value, paths, chains)
        found, lower = model.solve(0.35 * left, seed, proving=False)
        if lower < min((latency(problem, device) for device in found), default=value) * (1 - 1e-6):
            more, higher = model.solve(
                0.9 * (time_limit_s - (time.monotonic() - began)), seed, proving=True
            )
            found, lower = [*found, *more], max(lower, higher)
        bound = max(bound, lower if best is None and math.isinf(lower) else min(lower, value))
        fresh = [
            chain
            for chain in dict.fromkeys(paths.binding(device) for device in found)
            if chain not in chains
        ]
        for device in found:
            if latency(problem, device) < value:
                best, value = device, latency(problem, device)
        if not fresh:
            break
        chains += fresh
    return best, min(bound, value) if best is not None else bound


def _most(problem: GraphProblem, units: Units) -> float:
    finite = np.where(np.isfinite(units.times), units.times, 0.0)
    return float(finite.max(axis=0).sum() + 2 * units.costs.sum()) + 1.0


class _Model:
    def __init__(
        self,
        problem: GraphProblem,
        units: Units,
        most: float,
        paths: Paths,
        chains: Sequence[Chain],
    ) -> None:
        self.problem, self.units, self.paths, self.model = problem, units, paths, cp_model.CpModel()
        self.most = most * (1 + 1e-9)
        self.kinds = [
            number for number, count in enumerate(problem.counts) if count and problem.pays[number]
        ]
        hosts = [
            number
            for number, count in enumerate(problem.counts)
            if count and not problem.pays[number]
        ]
        self.pieces = int(problem.counts[self.kinds].sum())
        none = np.full(problem.nodes, math.inf)
        self.host = problem.times[hosts].min(axis=0) if hosts else none
        self.able = np.where(self.host > self.most, 0.0, self.host)
        self.least = (
            units.times[self.kinds].min(axis=0) if self.kinds else np.full(units.count, math.inf)
        )
        self.payable = np.flatnonzero(units.costs <= self.most)
        total = float(self.able.sum() + np.where(np.isfinite(self.least), self.least, 0.0).sum())
        self.unit = (
            total + float(units.costs[self.payable].sum()) + most * (self.pieces + 1)
        ) / MOST_TOTAL or 1.0
        self.top = math.floor(most / self.unit)
        self.hostable = [
            all(self.host[node] <= self.most for node in nodes) for nodes in units.members
        ]
        self.unit_of = {
            node: number for number, nodes in enumerate(units.members) for node in nodes
        }
        self._levels()
        self.loads = [self._load(piece) for piece in range(self.pieces)]
        self.latency = self.model.new_int_var(0, self.top, "latency")
        for chain in chains:
            self._wait_along(chain)
        self.model.minimize(self.latency)

    def _levels(self) -> None:
        """`held[unit][piece]`, `hosted[unit]`; nodes in front of, in and behind pieces."""
        problem, units, model = self.problem, self.units, self.model
        self.held = [
            [model.new_bool_var("") for _ in range(self.pieces)] for _ in range(units.count)
        ]
        self.hosted = [model.new_bool_var("") for _ in range(units.count)]
        self.into = [
            [model.new_bool_var("") for _ in range(self.pieces)] for _ in range(problem.nodes)
        ]
        self.past = [
            [model.new_bool_var("") for _ in range(self.pieces)] for _ in range(problem.nodes)
        ]
        for number, nodes in enumerate(units.members):
            model.add_exactly_one([*self.held[number], self.hosted[number]])
            if not self.hostable[number]:
                model.add(self.hosted[number] == 0)
            for node in nodes:
                for piece in range(self.pieces):
                    into, past = self.into[node][piece], self.past[node][piece]
                    model.add(self.held[number][piece] == into - past)
                    if piece:
                        model.add_implication(into, self.past[node][piece - 1])
        for tail, head in dict.fromkeys(map(tuple, problem.edges.tolist())):
            for piece in range(self.pieces):
                model.add_implication(self.into[tail][piece], self.into[head][piece])
                model.add_implication(self.past[tail][piece], self.past[head][piece])
        self._in_order()

    def _in_order(self) -> None:
        """Empty pieces come last, where all devices are alike."""
        if len(self.kinds) > 1:
            return
        used = [self.model.new_bool_var("") for _ in range(self.pieces)]
        for piece, here in enumerate(used):
            self.model.add_bool_or([~here, *(row[piece] for row in self.held)])
            for row in self.held:
                self.model.add_implication(row[piece], here)
            if piece:
                self.model.add_implication(here, used[piece - 1])

    def _load(self, piece: int) -> Any:
        units, model, problem = self.units, self.model, self.problem
        held = [row[piece] for row in self.held]
        load = model.new_int_var(0, self.top, "")
        paid = []
        for number, net in enumerate(units.nets):
            pins = [held[pin] for pin in net]
            pays = [model.new_bool_var("")] if units.costs[number] <= self.most else []
            for first, second in zip(pins, (*pins[1:], pins[0]), strict=True):
                model.add_bool_or([*pays, ~first, second])
            paid += [math.floor(units.costs[number] / self.unit) * pay for pay in pays]
        choices = [model.new_bool_var("") for _ in self.kinds]
        model.add_exactly_one(choices)
        self.of_kind = [*getattr(self, "of_kind", []), choices]
        for kind, choice in zip(self.kinds, choices, strict=True):
            for unit in np.flatnonzero(units.times[kind] > self.most):
                model.add_implication(choice, ~held[unit])
            able = np.where(units.times[kind] > self.most, 0.0, units.times[kind])
            work = sum(
                math.floor(time / self.unit) * here
                for time, here in zip(able.tolist(), held, strict=True)
            )
            bound = model.add(work + sum(paid) <= load)
            grain = float(units.sizes.sum()) / MOST_TOTAL or 1.0
            filled = sum(
                math.floor(size / grain) * here
                for size, here in zip(units.sizes.tolist(), held, strict=True)
            )
            room = min(MOST_TOTAL, problem.capacity[kind] * (1 + 1e-9) / grain)
            fits = model.add(filled <= math.floor(room))
            if len(self.kinds) > 1:
                bound.only_enforce_if(choice)
                fits.only_enforce_if(choice)
        if piece == self.pieces - 1 and len(self.kinds) > 1:
            for kind, of_all in zip(self.kinds, zip(*self.of_kind, strict=True), strict=True):
                model.add(sum(of_all) == int(problem.counts[kind]))
        return load

    def _wait_along(self, chain: Chain) -> None:
        """The latency is no less than what the chain waits for: the work of its units, more
        where a host does it, and what else is in the pieces that it meets."""
        model = self.model
        units = sorted({self.unit_of[node] for node in chain})
        work = {
            unit: math.floor(min(float(self.least[unit]), self.most) / self.unit) for unit in units
        }
        on_host = dict.fromkeys(units, 0)
        for node in chain:
            on_host[self.unit_of[node]] += math.floor(float(self.able[node]) / self.unit)
        more = [
            (on_host[unit] - work[unit]) * self.hosted[unit]
            for unit in units
            if self.hostable[unit]
        ]
        together: list[Any] = []
        for first, second in itertools.pairwise(chain):
            if second in self.paths.ahead[first]:
                continue
            if self.unit_of[first] == self.unit_of[second]:
                together.append(~self.hosted[self.unit_of[first]])
            else:
                both = model.new_bool_var("")
                for one, other in zip(
                    self.held[self.unit_of[first]], self.held[self.unit_of[second]], strict=True
                ):
                    model.add_bool_or([~one, ~other, both])
                together.append(both)
        for piece in range(self.pieces):
            meets = model.new_bool_var("")
            beside = model.new_int_var(0, self.top, "")
            for unit in units:
                model.add_implication(self.held[unit][piece], meets)
            done = sum(work[unit] * self.held[unit][piece] for unit in units)
            model.add(beside + done >= self.loads[piece]).only_enforce_if(meets)
            more.append(beside)
        least = model.add(self.latency >= sum(work.values()) + sum(more))
        if together:
            least.only_enforce_if(together)

    def solve(
        self, time_limit_s: float, seed: int, *, proving: bool
    ) -> tuple[list[tuple[int, ...]], float]:
        """The last assignments of nodes that it finds, and the bound; `proving` raises the bound
        first."""
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.linearization_level = 2
        solver.parameters.optimize_with_lb_tree_search = proving
        solver.parameters.random_seed = seed
        solver.parameters.max_time_in_seconds = time_limit_s
        found: list[tuple[int, ...]] = []
        watch = _Watch(self, found)
        status = solver.solve(self.model, watch)
        if status == cp_model.MODEL_INVALID:
            raise AssertionError("CP-SAT refused the model")
        if status == cp_model.INFEASIBLE:
            return [], math.inf
        return found[-3:], max(0.0, solver.best_objective_bound * self.unit)

    def devices(self, chosen: Any) -> tuple[int, ...]:
        """The device of every node: pieces in order, those on hosts on the quickest of them."""
        problem = self.problem
        spare = {kind: np.flatnonzero(problem.devices == kind).tolist() for kind in self.kinds}
        place = [spare[next(kind for kind, choice in zip(self.kinds, choices, strict=True) if chosen(choice))].pop(0)
                 for choices in self.of_kind]  # fmt: skip
        device = [-1] * problem.nodes
        for nodes, row in zip(self.units.members, self.held, strict=True):
            piece = next((number for number, here in enumerate(row) if chosen(here)), None)
            for node in nodes:
                device[node] = self.quickest_host(node) if piece is None else place[piece]
        return tuple(device)

    def quickest_host(self, node: int) -> int:
        """The first device of the class that runs the node soonest."""
        problem = self.problem
        kinds = [
            kind for kind, count in enumerate(problem.counts) if count and not problem.pays[kind]
        ]
        best = min(kinds, key=lambda kind: (float(problem.times[kind, node]), kind))
        return int(np.flatnonzero(problem.devices == best)[0])


class _Watch(cp_model.CpSolverSolutionCallback):
    """Collects assignments as they come."""

    def __init__(self, model: _Model, found: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.of, self.found = model, found

    def on_solution_callback(self) -> None:
        self.found.append(self.of.devices(self.boolean_value))
