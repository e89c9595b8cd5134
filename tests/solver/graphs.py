"""Small graphs of operators, and an oracle that tries every assignment and shares no code with
the solvers."""

import itertools
import math
import random

import numpy as np

from planner.solver.dag.problem import GraphProblem


def graph_problem(
    times,
    edges,
    *,
    counts=(2,),
    pays=(True,),
    capacity=None,
    transfer=None,
    sizes=None,
    colour=None,
    forward=None,
):
    """A problem from plain lists; what is left out costs nothing and limits nothing."""
    nodes = len(times[0])
    return GraphProblem(
        times=np.array(times, dtype=float),
        counts=np.array(counts, dtype=np.intp),
        capacity=np.array([math.inf] * len(counts) if capacity is None else capacity, dtype=float),
        pays=np.array(pays),
        transfer=np.array([0.0] * nodes if transfer is None else transfer, dtype=float),
        sizes=np.array([0.0] * nodes if sizes is None else sizes, dtype=float),
        colour=np.arange(nodes)
        if colour is None
        else np.unique(colour, return_inverse=True)[1].astype(np.intp),
        forward=np.array([True] * nodes if forward is None else forward),
        edges=np.array(edges, dtype=np.intp).reshape(-1, 2),
    )


def random_problem(seed, *, nodes=6, training=False, unlike=False):
    """Some accelerators and one host; colours, memory limits and operators that only one class
    can run."""
    generator = random.Random(seed)
    edges = [
        (tail, head)
        for tail, head in itertools.combinations(range(nodes), 2)
        if generator.random() < 0.4
    ]
    forward = [not training or node < (nodes + 1) // 2 for node in range(nodes)]
    colour = [
        generator.randrange(nodes) if generator.random() < 0.4 else nodes + node
        for node in range(nodes)
    ]
    quick = [float(generator.randint(0, 9)) for _ in range(nodes)]
    slow = [time * generator.choice((1.0, 2.0, 5.0)) for time in quick]
    rows = [[math.inf if generator.random() < 0.1 else time for time in quick], slow]
    sizes = [float(generator.randint(0, 5)) for _ in range(nodes)]
    room = generator.choice((math.inf, 0.6 * sum(sizes), 0.4 * sum(sizes)))
    counts, pays, capacity = [2, 1], [True, False], [room, math.inf]
    if unlike:
        rows.insert(1, [generator.choice((0.5, 1.5)) * time for time in quick])
        counts, pays, capacity = [1, 1, 1], [True, True, False], [room, 0.7 * room, math.inf]
    return graph_problem(
        rows, edges, counts=counts, pays=pays, capacity=capacity, sizes=sizes, colour=colour, forward=forward,
        transfer=[float(generator.choice((0, 1, 2, 8))) for _ in range(nodes)],
    )  # fmt: skip


def classes_of(problem):
    return [number for number, count in enumerate(problem.counts) for _ in range(count)]


def load_of(problem, device, place):
    """From the definition, in sets."""
    kind = classes_of(problem)[place]
    inside = {node for node, other in enumerate(device) if other == place}
    total = sum(problem.times[kind, node] for node in inside)
    if problem.pays[kind]:
        for producer in range(problem.nodes):
            used = {int(head) for tail, head in problem.edges if tail == producer}
            leaves, arrives = (
                producer in inside and used - inside,
                producer not in inside and used & inside,
            )
            total += problem.transfer[producer] if leaves or arrives else 0.0
    return total / (problem.copies[kind] if problem.copies else 1)


def latency_of(problem, device):
    """By waiting: whatever can start starts, until nothing can; infinite where something never
    can."""
    classes, done = classes_of(problem), {}
    piece = [
        ("piece", place) if problem.pays[classes[place]] else ("node", node)
        for node, place in enumerate(device)
    ]
    while len(done) < problem.nodes:
        ready = False
        for part in dict.fromkeys(piece):
            nodes = {node for node in range(problem.nodes) if piece[node] == part}
            producers = {int(tail) for tail, head in problem.edges if int(head) in nodes} - nodes
            if nodes <= done.keys() or not producers <= done.keys():
                continue
            place = device[min(nodes)]
            kind = classes[place]
            took = (
                load_of(problem, device, place)
                if part[0] == "piece"
                else problem.times[kind, min(nodes)]
            )
            finish = max((done[node] for node in producers), default=0.0) + took
            done |= dict.fromkeys(nodes, finish)
            ready = True
        if not ready:
            return math.inf
    return max(done.values())


def allowed(problem, device, *, contiguous):
    classes = classes_of(problem)
    for node, place in enumerate(device):
        if math.isinf(problem.times[classes[place], node]):
            return False
        if any(
            problem.colour[node] == problem.colour[other] and place != device[other]
            for other in range(node)
        ):
            return False
    for place, kind in enumerate(classes):
        filled = sum(problem.sizes[node] for node, other in enumerate(device) if other == place)
        if filled > problem.capacity[kind] * (1 + 1e-9):
            return False
    bound = [
        (device[t], device[h])
        for t, h in problem.edges
        if problem.forward[t] and problem.forward[h]
    ]
    used = sorted(set(device))
    for family in set(problem.family):
        held = sum(
            problem.copies[classes[place]]
            for place in used
            if problem.family[classes[place]] == family
        )
        if held > problem.counts[family]:
            return False
    return not contiguous or any(
        all(order.index(tail) <= order.index(head) for tail, head in bound)
        for order in itertools.permutations(used)
    )


def oracle(problem, mode):
    """The best value over all assignments; infinite where none is allowed."""
    every = itertools.product(range(len(classes_of(problem))), repeat=problem.nodes)
    best = math.inf
    for device in every:
        if allowed(problem, device, contiguous=mode == "contiguous"):
            if mode == "latency":
                value = latency_of(problem, device)
            else:
                value = max(load_of(problem, device, place) for place in set(device))
            best = min(best, value)
    return best
