"""The solvers against each other: label setting, CP-SAT and the exhaustive one, on the very problems that `partition` poses."""

import math
import random

import pytest

from planner.candidates import FIELDS, Candidates, question_of
from planner.solver import chain, cpsat, exhaustive
from planner.solver.problem import evaluate
from tests.instances import SHAPES, random_graph, random_topology, random_workload
from tests.oracle import HIGHER_IS_BETTER


def problems(shape: str, field: str, count: int):
    """Problems of random cases that have solutions, for single boxes."""
    case = 0
    while count:
        dice, case = random.Random(f"solver {shape} {field} {case}"), case + 1
        graph, topology, workload = random_graph(dice), random_topology(dice, shape), random_workload(dice)
        direction = {"maximize": field} if field in HIGHER_IS_BETTER else {"minimize": field}
        question = question_of(direction.get("minimize"), direction.get("maximize"), None, None)
        candidates = Candidates(graph, topology, workload, question)
        for box in candidates.boxes():
            batches = range(1, box.sequences(0) + 1)
            single = box._replace(micro_batches=(1, 1), micro_sequences=(len(batches), len(batches)))
            problem = candidates.to_problem(single)
            if problem is not None and problem.feasible.any():
                yield problem
                count -= 1
                if not count:
                    return


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_label_setting_finds_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 3):
        best, found = exhaustive.solve(problem), chain.solve(problem)
        assert (best.runs is None) == (found.runs is None)
        assert found.objective == pytest.approx(best.objective, rel=1e-9)
        assert found.bound == pytest.approx(found.objective, rel=1e-9) or found.runs is None
        assert chain.root_bound(problem) <= best.objective * (1 + 1e-12)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_cp_sat_finds_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 2):
        if not cpsat.supports(problem):
            continue
        best, found = exhaustive.solve(problem), cpsat.solve(problem, deterministic_limit=20.0)
        assert (best.runs is None) == (found.runs is None)
        if best.runs is None:
            continue
        assert found.bound <= best.objective * (1 + 1e-9)
        assert found.objective >= best.objective * (1 - 1e-9)
        if math.isclose(found.bound, found.objective, rel_tol=1e-5):
            assert found.objective == pytest.approx(best.objective, rel=1e-5)


def test_the_objective_is_evaluated_from_the_definition():
    for problem in problems("switch", "tpot_s", 5):
        found = chain.solve(problem)
        if found.runs is not None:
            assert float(problem.objective.value(*evaluate(problem, found.runs))) == found.objective


def test_a_search_that_is_stopped_still_proves_a_bound():
    for problem in problems("switch", "tpot_s", 5):
        best = exhaustive.solve(problem)
        stopped = chain.solve(problem, stop=lambda: True)
        assert stopped.bound <= best.objective * (1 + 1e-12)
