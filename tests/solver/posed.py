"""The very problems that `partition` poses to the solvers, of random small cases."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from planner.answers.question import question_of
from planner.solver.chain.packing import Ints, Packing
from planner.solver.chain.problem import ChainProblem, Measure
from planner.space.candidates import Candidates
from planner.space.layout import crossings_of, packing_of
from tests.instances import fabric, random_graph, random_topology, random_workload, tiny_topology
from tests.oracle import HIGHER_IS_BETTER


def packed_in(packing: Packing, widths: Ints) -> dict[str, Any]:
    """The fields of a problem whose runs of such widths are packed so, with links that are as long
    wherever they cross a border."""
    return {"widths": widths, "packing": packing, "crossings": packing.crossings(widths)}


def on_grids(count: int) -> Iterator[ChainProblem]:
    """Runs of which few are allowed, so that stages of several widths must leave chips of a line
    free; links cost more than work, by the hop, and all alike."""
    for case in range(count):
        dice = np.random.default_rng(case)
        axes = [(4, 6), (3, 8), (2, 3, 4), (6, 4)][case % 4]
        topology = tiny_topology(24, fabric("mesh", 24, dimensions=axes))
        packing = packing_of(topology)
        items = 6
        widths = np.array([1, 2, 3, 4, 6])
        crossings = crossings_of(topology, packing, widths)
        link = 1.0 * crossings.hops + 3.0 * crossings.borders
        link_sums = np.zeros((items + 1, len(widths), len(link), 2))
        link_sums[1:-1, :, :, 0] = link
        allowed = np.triu(dice.random((len(widths), items + 1, items + 1)) < 0.25, 1)
        yield ChainProblem(
            prefix=dice.uniform(0.1, 1.0, (len(widths), items + 1, 1)).cumsum(axis=1),
            feasible=allowed,
            run_sums=np.array([[1.0], [0.0]]) * np.ones((len(widths), 1, 1)),
            run_sums_fixed=np.stack([np.zeros(len(widths)), widths], axis=1),
            run_peaks=np.ones((len(widths), 1, 1)),
            run_peaks_fixed=np.zeros((len(widths), 1)),
            link_sums=link_sums,
            link_peaks=(case % 2) * link_sums[..., :1] / 4,
            widths=widths,
            packing=packing,
            crossings=crossings,
            budget=24,
            objective=Measure(np.array([1.0, 0.02]), np.array([0.5])),
        )


def problems(shape: str, field: str, count: int) -> Iterator[ChainProblem]:
    """Problems of random cases that have solutions, for single boxes."""
    case = 0
    while count:
        dice, case = random.Random(f"solver {shape} {field} {case}"), case + 1
        graph, topology, workload = (
            random_graph(dice),
            random_topology(dice, shape),
            random_workload(dice),
        )
        direction = {"maximize": field} if field in HIGHER_IS_BETTER else {"minimize": field}
        question = question_of(direction.get("minimize"), direction.get("maximize"), None, None)
        candidates = Candidates(graph, topology, workload, question)
        for box in candidates.boxes():
            batches = range(1, box.sequences(0) + 1)
            single = box._replace(
                micro_batches=(1, 1), micro_sequences=(len(batches), len(batches))
            )
            problem = candidates.to_problem(single)
            if problem is not None and problem.feasible.any():
                yield problem
                count -= 1
                if not count:
                    return
