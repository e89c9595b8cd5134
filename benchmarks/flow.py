"""Layers on a cluster of unlike nodes for the most tokens per second: stages of like runs found, a
bound from covers.

Every node holds a run of consecutive layers and passes no more tokens per second than it can for a
run so long; a link may be used where its receiver continues where its sender ends. The flow from
layer 0 to the last is maximised.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

from planner.solver.chain.problem import Floats

Run = tuple[int, int]
"""First layer, number of layers; (0, 0): none."""

MOST_STAGES = 20_000
"""Kinds of stage that are told apart at most."""


@dataclass(frozen=True, slots=True)
class FlowProblem:
    """Arrays; see the module."""

    layers: int
    rates: Floats
    """Tokens per second that a node passes with a run of so many layers, 0 where it cannot hold
    it, shape (nodes, most + 1)."""
    links: Floats
    """Tokens per second from node to node, shape (nodes, nodes)."""
    source: Floats
    """Tokens per second from the source to each node, shape (nodes,)."""
    sink: Floats
    """Tokens per second from each node to the sink, shape (nodes,)."""

    @property
    def nodes(self) -> int:
        return int(self.rates.shape[0])


def throughput(problem: FlowProblem, runs: Sequence[Run]) -> float:
    """The most tokens per second through a layout, from the definition."""
    graph: nx.DiGraph[Any] = nx.DiGraph()
    graph.add_nodes_from(("source", "sink"))
    for node, (first, count) in enumerate(runs):
        if not count:
            continue
        graph.add_edge((node, 0), (node, 1), capacity=float(problem.rates[node, count]))
        if first == 0:
            graph.add_edge("source", (node, 0), capacity=float(problem.source[node]))
        if first + count == problem.layers:
            graph.add_edge((node, 1), "sink", capacity=float(problem.sink[node]))
        for other, (begins, holds) in enumerate(runs):
            if holds and begins == first + count and other != node:
                graph.add_edge((node, 1), (other, 0), capacity=float(problem.links[node, other]))
    return float(nx.maximum_flow_value(graph, "source", "sink"))


@dataclass(frozen=True, slots=True)
class Layout:
    """What was found, and what was proved about it."""

    runs: tuple[Run, ...]
    """Of every node."""
    objective: float
    bound: float
    """Proved: no layout passes more."""


def solve(problem: FlowProblem, *, time_limit_s: float = 10.0, seed: int = 0) -> Layout:
    """A layout of stages, each of nodes that hold the same run, and a bound on all layouts.

    The rate aimed at is searched for by halves: at each, a knapsack over kinds of stage says
    whether all layers are covered. Where links bind, nodes change places while that helps, for the
    rest of the time.
    """
    began = time.monotonic()
    kinds = _kinds(problem)
    low, high = 0.0, _work_bound(problem, kinds)
    best = Layout(((0, 0),) * problem.nodes, 0.0, high)
    if not high:
        return best
    aim = high
    for _ in range(40):
        runs = _staged(problem, kinds, aim)
        if runs is not None:
            passed = throughput(problem, runs)
            if passed > best.objective:
                best = Layout(runs, passed, high)
            low = aim
        else:
            high = aim
        if time.monotonic() - began > time_limit_s / 2 or high - low <= 1e-6 * high:
            break
        aim = (low + high) / 2
    if low > best.objective * (1 + 1e-6):
        best = _exchanged(problem, best, began + 0.8 * time_limit_s, seed)
    bound = _cover_bound(problem, kinds, best.objective, _work_bound(problem, kinds))
    return Layout(best.runs, best.objective, max(bound, best.objective))


def _kinds(problem: FlowProblem) -> list[tuple[Floats, list[int]]]:
    """What each kind of node passes with so many layers, no more than all its links do, and the
    nodes of the kind."""
    most = np.minimum(
        np.maximum(problem.source, problem.links.sum(axis=0)),
        np.maximum(problem.sink, problem.links.sum(axis=1)),
    )
    rates = np.minimum(problem.rates, most[:, None])
    kinds: dict[bytes, tuple[Floats, list[int]]] = {}
    for node, row in enumerate(rates):
        kinds.setdefault(row.tobytes(), (row, []))[1].append(node)
    return list(kinds.values())


def _work_bound(problem: FlowProblem, kinds: list[tuple[Floats, list[int]]]) -> float:
    """A node with c layers does c × its flow of the layers × flow in all; at a rate F no node's
    flow exceeds F."""

    def covered(rate: float) -> float:
        return sum(
            len(nodes)
            * max(count * min(1.0, float(passed) / rate) for count, passed in enumerate(row))
            for row, nodes in kinds
        )

    if (
        sum(len(nodes) * int(np.flatnonzero(row).max(initial=0)) for row, nodes in kinds)
        < problem.layers
    ):
        return 0.0
    low, high = 0.0, sum(float(row.max()) * len(nodes) for row, nodes in kinds)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if middle > 0 and covered(middle) >= problem.layers else (low, middle)
        )
    return high


def _stages(
    kinds: list[tuple[Floats, list[int]]], rate: float
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Layers, and the fewest nodes of each kind that together pass a rate with so many."""
    longest = max(row.size for row, _ in kinds)
    for count in range(1, longest):
        passed = [float(row[count]) if count < row.size else 0.0 for row, _ in kinds]

        def grown(
            kind: int, left: float, passed: list[float] = passed
        ) -> Iterator[tuple[int, ...]]:
            if left <= rate * 1e-12:
                yield (0,) * (len(kinds) - kind)
            elif kind < len(kinds):
                need = math.ceil(left / passed[kind] - 1e-9) if passed[kind] else 0
                for used in range(min(need, len(kinds[kind][1])) + 1):
                    for rest in grown(kind + 1, left - used * passed[kind]):
                        yield (used, *rest)

        for used in grown(0, rate):
            spare = sum(number * each for number, each in zip(used, passed, strict=True)) - rate
            if all(
                not number or each > spare * (1 + 1e-9)
                for number, each in zip(used, passed, strict=True)
            ):
                yield count, used


def _staged(
    problem: FlowProblem, kinds: list[tuple[Floats, list[int]]], rate: float
) -> tuple[Run, ...] | None:
    """Stages that cover all layers at a rate, one after another; None where there are none."""
    stages = []
    for stage in _stages(kinds, rate):
        stages.append(stage)
        if len(stages) >= MOST_STAGES:
            break
    model = cp_model.CpModel()
    chosen = [model.new_int_var(0, problem.layers // count, "") for count, _ in stages]
    for kind, (_, nodes) in enumerate(kinds):
        model.add(
            sum(used[kind] * number for (_, used), number in zip(stages, chosen, strict=True))
            <= len(nodes)
        )
    model.add(
        sum(count * number for (count, _), number in zip(stages, chosen, strict=True))
        == problem.layers
    )
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = 1.0
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    runs = [(0, 0)] * problem.nodes
    spare = [list(nodes) for _, nodes in kinds]
    first = 0
    for (count, used), number in zip(stages, chosen, strict=True):
        for _ in range(solver.value(number)):
            taken = [spare[kind].pop(0) for kind, many in enumerate(used) for _ in range(many)]
            for node in taken:
                runs[node] = (first, count)
            first += count
    return tuple(runs)


def _exchanged(problem: FlowProblem, start: Layout, until: float, seed: int) -> Layout:
    """Two nodes change runs while that passes more, or as much."""
    generator = random.Random(seed)
    runs = list(start.runs)
    passed = start.objective
    while time.monotonic() < until:
        one, other = generator.sample(range(problem.nodes), 2)
        if runs[one] == runs[other]:
            continue
        runs[one], runs[other] = runs[other], runs[one]
        able = all(_holds(problem, node, runs[node][1]) for node in (one, other))
        after = throughput(problem, runs) if able else -1.0
        if after >= passed:
            passed = after
        else:
            runs[one], runs[other] = runs[other], runs[one]
    return Layout(tuple(runs), passed, start.bound)


def _holds(problem: FlowProblem, node: int, layers: int) -> bool:
    """Whether a node passes anything with so many layers on it."""
    if not layers:
        return True
    return layers < problem.rates.shape[1] and bool(problem.rates[node, layers] > 0)


def _cover_bound(
    problem: FlowProblem, kinds: list[tuple[Floats, list[int]]], low: float, high: float
) -> float:
    """The least rate above `low` that is refuted, by halves."""
    if low and _refuted(problem, kinds, low * (1 + 1e-9)):
        return low
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if _refuted(problem, kinds, middle) else (middle, high)
    return high


def _refuted(problem: FlowProblem, kinds: list[tuple[Floats, list[int]]], rate: float) -> bool:
    """Whether prices of nodes prove that no layout passes a rate.

    The nodes that hold a layer pass the rate together. A node of price w with c layers gives each
    of them w / c; so if the cheapest set that passes the rate costs q, layers × q is at most the
    price of all nodes. Prices follow the sets that come out cheapest, by multiplicative weights.
    """
    owned = np.array([len(nodes) for _, nodes in kinds], dtype=float)
    prices = np.zeros(len(kinds))
    items = []
    for kind, (row, _) in enumerate(kinds):
        shares = np.minimum(1.0, row / rate)
        prices[kind] = (np.arange(len(row)) * shares).max()
        held = np.flatnonzero(row[1:] > 0) + 1
        items += [(kind, int(count), float(shares[count])) for count in held]
    if not items:
        return True
    for turn in range(200):
        cheapest, used = _cheapest(items, prices, owned.size)
        if problem.layers * cheapest > float(prices @ owned) * (1 + 1e-9):
            return True
        pull = used * problem.layers - owned
        widest = max(1.0, float(np.abs(pull).max()))
        prices = prices * np.exp(0.3 / math.sqrt(1 + turn) * pull / widest)
    return False


def _cheapest(
    items: list[tuple[int, int, float]], prices: Floats, kinds: int
) -> tuple[float, Floats]:
    """The least price of items (kind, layers, share of the rate) that make up the rate, and the
    nodes that one layer takes of each kind; by branch and bound on the price of a share."""
    ranked = []
    for kind, count, share in items:
        price = float(prices[kind]) / count
        ranked.append((price / share, price, share, kind, count))
    ranked.sort()
    best, best_path = math.inf, tuple[tuple[int, int], ...]()

    def descend(start: int, left: float, cost: float, path: tuple[tuple[int, int], ...]) -> None:
        nonlocal best, best_path
        if left <= 1e-12:
            if cost < best * (1 - 1e-12):
                best, best_path = cost, path
            return
        for number in range(start, len(ranked)):
            ratio, price, share, kind, count = ranked[number]
            if cost + left * ratio >= best * (1 - 1e-12):
                return
            descend(number, left - share, cost + price, (*path, (kind, count)))

    descend(0, 1.0, 0.0, ())
    used = np.zeros(kinds)
    for kind, count in best_path:
        used[kind] += 1.0 / count
    return best, used
