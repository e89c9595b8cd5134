"""The problem of placing a graph of operators on devices: arrays, what an assignment costs, and
sound contraction.

Every node goes to exactly one device. Devices come in classes of equal ones; a class either pays
for moving a producer's output to or from host memory (an accelerator) or works in host memory and
pays nothing (a host).

*Load* of a device: the times of its nodes, and, where its class pays, for every producer whose
output crosses its border (made inside and used outside, or made outside and used inside) the
producer's transfer time, once. So a producer and its consumers are the pins of a net, and a device
pays for exactly those nets of which it holds some pins and not all.

A class may stand for groups of `copies` devices of another one that take samples in turn: each
holds all of what the group holds and does its share of the samples, so the load is that of one
device, divided by their number.

*Throughput* is the largest load. *Latency* is when the last node is done, if each paying device
runs its nodes as one piece that waits for all of its outside producers, and hosts run any number of
nodes side by side.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from planner.solver.chain.problem import Floats, Ints


@dataclass(frozen=True, slots=True)
class GraphProblem:
    """Arrays; see the module."""

    times: Floats
    """Time of each node on a device of each class, infinite where it cannot run, shape (classes,
    nodes)."""
    counts: Ints
    """Devices of each class, shape (classes,)."""
    capacity: Floats
    """Memory of a device of each class, shape (classes,)."""
    pays: NDArray[np.bool_]
    """Whether a device of the class pays for transfers, shape (classes,)."""
    transfer: Floats
    """Time to move each node's output to or from host memory, shape (nodes,)."""
    sizes: Floats
    """Memory that each node takes, shape (nodes,)."""
    colour: Ints
    """Nodes of one colour share a device; shape (nodes,)."""
    forward: NDArray[np.bool_]
    """Nodes whose edges bind the order of contiguous stages; backward nodes follow their colour.
    Shape (nodes,)."""
    edges: Ints
    """Producer and consumer, shape (edges, 2)."""
    copies: tuple[int, ...] = ()
    """Devices that one of each class stands for; (): one each."""
    family: tuple[int, ...] = ()
    """The class of these devices, which comes before the groups of them; (): itself."""

    @property
    def nodes(self) -> int:
        return int(self.sizes.size)

    @property
    def devices(self) -> Ints:
        """The class of every device, class by class."""
        return np.repeat(np.arange(self.counts.size), self.counts)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Of each class the number of its family among families, and its copies."""
        if not self.copies:
            return [(number, 1) for number in range(self.counts.size)]
        families = sorted(set(self.family))
        return [
            (families.index(family), copies)
            for family, copies in zip(self.family, self.copies, strict=True)
        ]

    @property
    def available(self) -> tuple[int, ...]:
        """Devices of each family."""
        return tuple(
            int(count)
            for count, (_, copies) in zip(self.counts, self.groups, strict=True)
            if copies == 1
        )

    def replicated(self, most_copies: int) -> "GraphProblem":
        """The same where up to so many devices of a class may take samples in turn."""
        made: list[tuple[int, int]] = []
        for number, count in enumerate(self.counts.tolist()):
            most = max(1, min(most_copies, count))
            made += [(number, copies) for copies in range(1, most + 1)]
        of = [number for number, _ in made]
        copies = [copies for _, copies in made]
        # Every family starts with its single device, to which groups of it point back.
        place_of = {number: made.index((number, 1)) for number in of}
        return replace(
            self,
            times=self.times[of],
            counts=self.counts[of] // np.array(copies, dtype=np.intp),
            capacity=self.capacity[of],
            pays=self.pays[of],
            copies=tuple(copies),
            family=tuple(place_of[number] for number in of),
        )


@dataclass(frozen=True, slots=True)
class Placement:
    """What was found, and what was proved about it."""

    device: tuple[int, ...] | None
    """Of each node; None where nothing was found."""
    objective: float
    bound: float
    """Proved: no assignment is below it. Infinite: proved that there is none."""


@dataclass(frozen=True, slots=True)
class Units:
    """Nodes that must share a device are one unit; nets join the units of a producer and of its
    consumers."""

    members: tuple[tuple[int, ...], ...]
    times: Floats
    """Shape (classes, units)."""
    sizes: Floats
    """Shape (units,)."""
    nets: tuple[tuple[int, ...], ...]
    """Pins: two units or more, ascending; no two nets alike."""
    costs: Floats
    """Shape (nets,)."""
    edges: tuple[tuple[int, int], ...]
    """Unit before unit, from forward edges alone; acyclic where units were made for contiguous
    stages."""

    @property
    def count(self) -> int:
        return len(self.members)

    def spread(self, device: Iterable[int]) -> tuple[int, ...]:
        """The device of every node from that of every unit."""
        of_node: dict[int, int] = {}
        for nodes, place in zip(self.members, device, strict=True):
            of_node |= dict.fromkeys(nodes, int(place))
        return tuple(of_node[node] for node in range(len(of_node)))

    def joined(self, label: Ints) -> "Units":
        """Units of one label as one unit; labels are 0, 1 and on without gaps. For free
        placements: edges are dropped."""
        count = int(label.max(initial=-1)) + 1
        costs: dict[tuple[int, ...], float] = defaultdict(float)
        for net, cost in zip(self.nets, self.costs.tolist(), strict=True):
            pins = tuple(sorted({int(label[pin]) for pin in net}))
            if len(pins) > 1:
                costs[pins] += cost
        times = np.zeros((self.times.shape[0], count))
        np.add.at(times.T, label, self.times.T)
        members: list[list[int]] = [[] for _ in range(count)]
        for number, nodes in zip(label.tolist(), self.members, strict=True):
            members[number].extend(nodes)
        return Units(
            members=tuple(tuple(sorted(nodes)) for nodes in members),
            times=times,
            sizes=np.bincount(label, self.sizes, count).astype(np.float64),
            nets=tuple(costs),
            costs=np.array(list(costs.values()), dtype=np.float64),
            edges=(),
        )


def contract(problem: GraphProblem, *, contiguous: bool) -> Units:
    """Merge what shares a device in every assignment that is allowed.

    Nodes of one colour do by definition. Where stages must be contiguous, the forward edges among
    merged nodes order the devices; two units on a cycle would each have to come no later than the
    other, so they share a device too, and strongly connected components are merged. Both hold for
    every objective; no assignment is lost.
    """
    unit_of_colour = _merged(problem, contiguous=contiguous)
    count = len(set(unit_of_colour.values()))
    unit = np.array([unit_of_colour[int(colour)] for colour in problem.colour], dtype=np.intp)
    members: list[list[int]] = [[] for _ in range(count)]
    for node, number in enumerate(unit):
        members[number].append(node)
    nets = _nets(problem, unit)
    times = np.zeros((problem.times.shape[0], count))
    np.add.at(times.T, unit, problem.times.T)
    edges = {(unit_of_colour[tail], unit_of_colour[head]) for tail, head in _ordered(problem)}
    return Units(
        members=tuple(tuple(nodes) for nodes in members),
        times=times,
        sizes=np.bincount(unit, problem.sizes, count).astype(np.float64),
        nets=tuple(nets),
        costs=np.array([nets[net] for net in nets]),
        edges=tuple(sorted((tail, head) for tail, head in edges if tail != head)),
    )


def _merged(problem: GraphProblem, *, contiguous: bool) -> dict[int, int]:
    """The unit of every colour; units are numbered in the order of their first nodes."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(np.unique(problem.colour).tolist())
    if contiguous:
        graph.add_edges_from(_ordered(problem))
    first: dict[int, int] = {}
    for node, colour in enumerate(problem.colour.tolist()):
        first.setdefault(colour, node)
    parts = sorted(
        nx.strongly_connected_components(graph),
        key=lambda part: min(first[colour] for colour in part),
    )
    unit_of_colour: dict[int, int] = {}
    for number, part in enumerate(parts):
        unit_of_colour |= dict.fromkeys(part, number)
    return unit_of_colour


def _ordered(problem: GraphProblem) -> set[tuple[int, int]]:
    """Colours joined by a forward edge."""
    both = problem.forward[problem.edges].all(axis=1)
    ends = problem.colour[problem.edges[both]]
    return {(int(tail), int(head)) for tail, head in ends}


def _nets(problem: GraphProblem, unit: Ints) -> dict[tuple[int, ...], float]:
    """Pins and cost, in order of their pins."""
    consumers: dict[int, set[int]] = defaultdict(set)
    for tail, head in problem.edges:
        consumers[int(tail)].add(int(unit[head]))
    costs: dict[tuple[int, ...], float] = defaultdict(float)
    for producer, used in consumers.items():
        pins = tuple(sorted(used | {int(unit[producer])}))
        if len(pins) > 1 and problem.transfer[producer] > 0:
            costs[pins] += float(problem.transfer[producer])
    return {pins: costs[pins] for pins in sorted(costs)}


def loads(problem: GraphProblem, device: Iterable[int]) -> Floats:
    """The load of every device, from the definition."""
    places = np.array(list(device), dtype=np.intp)
    classes = problem.devices
    took = problem.times[classes[places], np.arange(problem.nodes)]
    total = np.bincount(places, took, classes.size)
    # A producer is moved once out of its device, and once into each other one that uses it.
    crossing: set[tuple[int, int]] = set()
    for tail, head in problem.edges:
        if places[tail] != places[head]:
            crossing |= {(int(tail), int(places[tail])), (int(tail), int(places[head]))}
    for producer, place in sorted(crossing):
        if problem.pays[classes[place]]:
            total[place] += problem.transfer[producer]
    copies = np.array([copies for _, copies in problem.groups])
    return np.asarray(total / copies[classes], dtype=np.float64)


def latency(problem: GraphProblem, device: Iterable[int]) -> float:
    """When the last node is done; infinite where pieces wait for each other."""
    return max(finishes(problem, device), default=0.0)


def finishes(problem: GraphProblem, device: Iterable[int]) -> list[float]:
    """When each node is done: on a paying device with its whole piece, on a host by itself.
    Infinite: never."""
    places = list(device)
    load = loads(problem, places)
    devices = int(problem.counts.sum())
    piece: list[int] = []
    took: dict[int, float] = {}
    for node, place in enumerate(places):
        kind = problem.devices[place]
        # A node on a host is a piece of its own, numbered behind the devices.
        part = int(place) if problem.pays[kind] else devices + node
        piece.append(part)
        took[part] = float(load[place] if problem.pays[kind] else problem.times[kind, node])
    waits: nx.DiGraph[int] = nx.DiGraph()
    waits.add_nodes_from(piece)
    for tail, head in problem.edges:
        if piece[tail] != piece[head]:
            waits.add_edge(piece[tail], piece[head])
    if not nx.is_directed_acyclic_graph(waits):
        return [math.inf] * problem.nodes
    done: dict[int, float] = {}
    for part in nx.topological_sort(waits):
        start = max((done[before] for before in waits.predecessors(part)), default=0.0)
        done[part] = start + took[part]
    return [done[part] for part in piece]


def faults(problem: GraphProblem, device: Iterable[int], *, contiguous: bool) -> tuple[str, ...]:
    """Which rules an assignment breaks; empty where it is allowed. `contiguous`: forward edges
    order the devices."""
    places = np.array(list(device), dtype=np.intp)
    classes = problem.devices
    colours = problem.colour.tolist()
    took = problem.times[classes[places], np.arange(problem.nodes)]
    filled = np.bincount(places, problem.sizes, classes.size)
    broken = {
        "a node is on a device that cannot run it": not np.isfinite(took).all(),
        "nodes of one colour are on several devices": (
            len(set(zip(colours, places.tolist(), strict=True))) > len(set(colours))
        ),
        "a device holds more than its memory": (
            (filled > problem.capacity[classes] * (1 + 1e-9)).any()
        ),
        "more devices are held than there are": _holds_too_many(problem, places),
        "forward edges go back and forth between devices": (
            contiguous and not _is_ordered(problem, places)
        ),
    }
    return tuple(rule for rule, is_broken in broken.items() if is_broken)


def _holds_too_many(problem: GraphProblem, places: Ints) -> bool:
    """Whether some family has fewer devices than are used, groups counted whole."""
    taken = [0] * len(problem.available)
    for place in set(places.tolist()):
        family, copies = problem.groups[problem.devices[place]]
        taken[family] += copies
    return any(count > most for count, most in zip(taken, problem.available, strict=True))


def _is_ordered(problem: GraphProblem, places: Ints) -> bool:
    """Whether forward edges order the devices."""
    both = problem.forward[problem.edges].all(axis=1)
    ends = places[problem.edges[both]]
    order = nx.DiGraph((int(tail), int(head)) for tail, head in ends if tail != head)
    return bool(nx.is_directed_acyclic_graph(order))
