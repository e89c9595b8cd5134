"""The very problems that `partition` poses to the solvers, of random small cases."""

import random
from collections.abc import Iterator

from planner.answers.question import question_of
from planner.solver.chain.problem import ChainProblem
from planner.space.candidates import Candidates
from tests.instances import random_graph, random_topology, random_workload
from tests.oracle import HIGHER_IS_BETTER


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
