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

from planner.errors import TimeUpError
from planner.solver.chain.cpsat import interruptible
from planner.solver.dag.placing import MOST_TOTAL, uncut_unless, weighed
from planner.solver.dag.problem import GraphProblem, Units, finishes, latency

CLOSE = 1 - 1e-6
"""Relative: latencies closer than this are one."""

Chain = tuple[int, ...]
"""Nodes, each of which waits for the one before it, by an edge or because they share a piece."""


class Paths:
    """Longest paths by the least times of nodes."""

    def __init__(self, problem: GraphProblem) -> None:
        self.problem = problem
        self.least = problem.times.min(axis=0)
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
        done = finishes(self.problem, device)
        node = int(np.argmax(done))
        chain: list[int] = []  # from the sink back
        while True:
            latest = self._latest_entries(device, done, node)
            if not latest:
                start = self.longest(None, node) or ()
                return tuple(reversed(chain[:-1] + list(start)[::-1]))
            last = node if chain else None
            # Of the ways in through which the piece waits, the longest says most about it.
            ways: list[tuple[int, Chain, int]] = []
            for mate, before in latest:
                way = self.longest(mate, last)
                if way:
                    ways.append((len(way), way, before))
            mate, before = min(latest)
            _, way, before = max(ways, default=(0, (mate, node), before))
            chain = [*chain[:-1], *way[::-1], before]
            node = before

    def _latest_entries(
        self, device: Sequence[int], done: Sequence[float], node: int
    ) -> list[tuple[int, int]]:
        """What a node's piece waits for longest: pairs of a node of the piece and one outside that
        it needs; () where the piece waits for nothing."""
        place = device[node]
        pays = bool(self.problem.pays[self.problem.devices[place]])
        piece = [node]
        if pays:
            piece = [mate for mate, other in enumerate(device) if other == place]
        entries: list[tuple[int, int]] = []
        for mate in piece:
            outside = [one for one in self.behind[mate] if device[one] != place or not pays]
            entries += [(mate, one) for one in outside]
        latest = max((done[before] for _, before in entries), default=0.0)
        return [(mate, before) for mate, before in entries if done[before] == latest]


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
    began = time.monotonic()
    paths = Paths(problem)
    best: tuple[int, ...] | None = None
    value = _most(problem, units)
    chains = [paths.longest() or ()]
    if start is not None:
        best = tuple(start)
        value = latency(problem, best)
        chains = list(dict.fromkeys([*chains, paths.binding(best)]))
    bound = 0.0
    while bound < value * CLOSE:
        left_s = time_limit_s - (time.monotonic() - began)
        if left_s <= 0:
            break
        try:
            model = _Model(problem, units, value, paths, chains)
        except TimeUpError:
            break
        found, lower = _found(model, value, left_s, seed)
        none_exists = best is None and math.isinf(lower)
        bound = max(bound, lower if none_exists else min(lower, value))
        # The model knew only some chains; those that its answers really wait for are added.
        fresh = [chain for chain in map(paths.binding, found) if chain not in chains]
        for device in found:
            reached = latency(problem, device)
            if reached < value:
                best = device
                value = reached
        if not fresh:
            break
        chains += dict.fromkeys(fresh)
    if best is None:
        return None, bound
    return best, min(bound, value)


def _found(
    model: "_Model", value: float, left_s: float, seed: int
) -> tuple[list[tuple[int, ...]], float]:
    """Assignments and a bound: a third of the time for finding; where that leaves a gap, most of
    the rest for proving."""
    began = time.monotonic()
    found, lower = model.solve(0.35 * left_s, seed, proving=False)
    reached = min((latency(model.problem, device) for device in found), default=value)
    if lower >= reached * CLOSE:
        return found, lower
    left_s -= time.monotonic() - began
    more, higher = model.solve(0.9 * left_s, seed, proving=True)
    return [*found, *more], max(lower, higher)


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
        self.problem = problem
        self.units = units
        self.paths = paths
        self.model = cp_model.CpModel()
        self.most = most * (1 + 1e-9)
        self.kinds = np.flatnonzero((problem.counts > 0) & problem.pays).tolist()
        self.pieces = int(problem.counts[self.kinds].sum())
        hosts = np.flatnonzero((problem.counts > 0) & ~problem.pays)
        # Infinite where no class of the kind is there.
        self.host = problem.times[hosts].min(axis=0, initial=math.inf)
        self.least = units.times[self.kinds].min(axis=0, initial=math.inf)
        self.able = np.where(self.host > self.most, 0.0, self.host)
        self.payable = np.flatnonzero(units.costs <= self.most)
        total = float(self.able.sum() + np.where(np.isfinite(self.least), self.least, 0.0).sum())
        total += float(units.costs[self.payable].sum()) + most * (self.pieces + 1)
        self.unit = total / MOST_TOTAL or 1.0
        self.top = math.floor(most / self.unit)
        self.hostable = [bool((self.host[list(n)] <= self.most).all()) for n in units.members]
        self.unit_of: dict[int, int] = {}
        for number, nodes in enumerate(units.members):
            self.unit_of |= dict.fromkeys(nodes, number)
        self.of_kind: list[list[Any]] = []
        self._levels()
        self.loads = [self._load(piece) for piece in range(self.pieces)]
        self.latency = self.model.new_int_var(0, self.top, "latency")
        for chain in chains:
            self._wait_along(chain)
        self.model.minimize(self.latency)

    def _levels(self) -> None:
        """`held[unit][piece]`, `hosted[unit]`; nodes in front of, in and behind pieces."""
        problem = self.problem
        model = self.model
        self.held = self._table(self.units.count)
        self.hosted = [model.new_bool_var("") for _ in range(self.units.count)]
        self.into = self._table(problem.nodes)
        self.past = self._table(problem.nodes)
        for number, nodes in enumerate(self.units.members):
            model.add_exactly_one([*self.held[number], self.hosted[number]])
            if not self.hostable[number]:
                model.add(self.hosted[number] == 0)
            for node in nodes:
                self._level(number, node)
        for tail, head in dict.fromkeys(map(tuple, problem.edges.tolist())):
            for piece in range(self.pieces):
                model.add_implication(self.into[tail][piece], self.into[head][piece])
                model.add_implication(self.past[tail][piece], self.past[head][piece])
        self._in_order()

    def _table(self, rows: int) -> list[list[Any]]:
        """A boolean for each row and piece."""
        return [[self.model.new_bool_var("") for _ in range(self.pieces)] for _ in range(rows)]

    def _level(self, number: int, node: int) -> None:
        """A node of a unit is in a piece where it is in it or later, and not later."""
        for piece, held in enumerate(self.held[number]):
            into = self.into[node][piece]
            past = self.past[node][piece]
            self.model.add(held == into - past)
            if piece:
                self.model.add_implication(into, self.past[node][piece - 1])

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
        """How long a piece takes, whichever class of devices runs it."""
        units = self.units
        model = self.model
        held = [row[piece] for row in self.held]
        load = model.new_int_var(0, self.top, "")
        paid = []
        for net, cost in zip(units.nets, units.costs.tolist(), strict=True):
            # A net that costs more than the best latency cannot be cut.
            pays = [model.new_bool_var("")] if cost <= self.most else []
            uncut_unless(model, pays, [held[pin] for pin in net])
            paid += [math.floor(cost / self.unit) * pay for pay in pays]
        choices = [model.new_bool_var("") for _ in self.kinds]
        model.add_exactly_one(choices)
        self.of_kind.append(choices)
        for kind, choice in zip(self.kinds, choices, strict=True):
            self._load_of(kind, choice, held, sum(paid), load)
        if piece == self.pieces - 1 and len(self.kinds) > 1:
            for kind, of_all in zip(self.kinds, zip(*self.of_kind, strict=True), strict=True):
                model.add(sum(of_all) == int(self.problem.counts[kind]))
        return load

    def _load_of(self, kind: int, choice: Any, held: list[Any], paid: Any, load: Any) -> None:
        """What a piece takes, and that it fits, on a device of a class."""
        units = self.units
        model = self.model
        times = units.times[kind]
        for unit in np.flatnonzero(times > self.most):
            model.add_implication(choice, ~held[unit])
        able = np.where(times > self.most, 0.0, times)
        bound = model.add(weighed(np.floor(able / self.unit), held) + paid <= load)
        grain = float(units.sizes.sum()) / MOST_TOTAL or 1.0
        room = min(MOST_TOTAL, self.problem.capacity[kind] * (1 + 1e-9) / grain)
        fits = model.add(weighed(np.floor(units.sizes / grain), held) <= math.floor(room))
        if len(self.kinds) > 1:
            bound.only_enforce_if(choice)
            fits.only_enforce_if(choice)

    def _wait_along(self, chain: Chain) -> None:
        """The latency is no less than what the chain waits for: the work of its units, more
        where a host does it, and what else is in the pieces that it meets."""
        model = self.model
        units = sorted({self.unit_of[node] for node in chain})
        work: dict[int, int] = {}
        for unit in units:
            work[unit] = math.floor(min(float(self.least[unit]), self.most) / self.unit)
        on_host = dict.fromkeys(units, 0)
        for node in chain:
            on_host[self.unit_of[node]] += math.floor(float(self.able[node]) / self.unit)
        able = [unit for unit in units if self.hostable[unit]]
        more = [(on_host[unit] - work[unit]) * self.hosted[unit] for unit in able]
        together: list[Any] = []
        for first, second in itertools.pairwise(chain):
            if second not in self.paths.ahead[first]:
                together.append(self._share_a_piece(self.unit_of[first], self.unit_of[second]))
        for piece in range(self.pieces):
            meets = model.new_bool_var("")
            beside = model.new_int_var(0, self.top, "")
            for unit in units:
                model.add_implication(self.held[unit][piece], meets)
            done = sum(work[unit] * self.held[unit][piece] for unit in units)
            model.add(beside + done >= self.loads[piece]).only_enforce_if(meets)
            more.append(beside)
        # Where no edge joins two nodes of the chain, one waits for the other in a common piece only.
        least = model.add(self.latency >= sum(work.values()) + sum(more))
        if together:
            least.only_enforce_if(together)

    def _share_a_piece(self, first: int, second: int) -> Any:
        """A boolean that holds where two units are in one piece."""
        if first == second:
            return ~self.hosted[first]
        both = self.model.new_bool_var("")
        for one, other in zip(self.held[first], self.held[second], strict=True):
            self.model.add_bool_or([~one, ~other, both])
        return both

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
        status = interruptible(solver, self.model, watch)
        if status == cp_model.MODEL_INVALID:
            raise AssertionError("CP-SAT refused the model")
        if status == cp_model.INFEASIBLE:
            return [], math.inf
        return found[-3:], max(0.0, solver.best_objective_bound * self.unit)

    def devices(self, chosen: Any) -> tuple[int, ...]:
        """The device of every node: pieces in order, those on hosts on the quickest of them."""
        problem = self.problem
        spare = {kind: np.flatnonzero(problem.devices == kind).tolist() for kind in self.kinds}
        place: list[int] = []
        for choices in self.of_kind:
            number = next(number for number, choice in enumerate(choices) if chosen(choice))
            place.append(spare[self.kinds[number]].pop(0))
        device = [-1] * problem.nodes
        for nodes, row in zip(self.units.members, self.held, strict=True):
            piece = next((number for number, here in enumerate(row) if chosen(here)), None)
            for node in nodes:
                device[node] = self.quickest_host(node) if piece is None else place[piece]
        return tuple(device)

    def quickest_host(self, node: int) -> int:
        """The first device of the class that runs the node soonest."""
        problem = self.problem
        kinds = np.flatnonzero((problem.counts > 0) & ~problem.pays).tolist()
        best = min(kinds, key=lambda kind: (float(problem.times[kind, node]), kind))
        return int(np.flatnonzero(problem.devices == best)[0])


class _Watch(cp_model.CpSolverSolutionCallback):
    """Collects assignments as they come."""

    def __init__(self, model: _Model, found: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.of = model
        self.found = found

    def on_solution_callback(self) -> None:
        self.found.append(self.of.devices(self.boolean_value))
