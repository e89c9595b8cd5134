"""Labels with several objectives cover every solution that the exhaustive search finds."""

from dataclasses import replace

import numpy as np
import pytest

from planner.solver.chain import exhaustive
from planner.solver.chain.exhaustive import all_cuts
from planner.solver.chain.problem import Limit, evaluate, packed
from planner.solver.chain.tradeoffs import Known, uncovered
from tests.solver.posed import problems


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("shape", ["switch", "ring", "chain"])
def test_every_solution_is_covered(shape, tolerance):
    others = problems(shape, "chips", 4)
    for problem, other in zip(problems(shape, "tpot_s", 4), others, strict=True):
        problem = replace(problem, limits=(Limit(other.objective, 1e300),))  # noqa: PLW2901
        known = Known(2, tolerance)
        found, proved = uncovered(problem, known)
        assert proved
        for one in found:
            known.offer(one.vector)
        for cuts in all_cuts(problem):
            runs = packed(problem, cuts)
            if runs is not None:
                totals = evaluate(problem, runs)
                vector = np.array([float(measure.value(*totals)) for measure in problem.measures])
                assert known.covers(vector[None] * (1 + 1e-9))[0]
        again, proved = uncovered(problem, known)
        assert proved
        assert all(known.covers(one.vector[None])[0] for one in again)


def test_a_search_that_is_stopped_proves_nothing():
    solvable = [
        one for one in problems("switch", "tpot_s", 6) if exhaustive.solve(one).runs is not None
    ]
    assert solvable
    for problem in solvable:
        known = Known(1 + len(problem.limits), 0.0)
        assert uncovered(problem, known, stop=lambda: True) == ([], False)


def test_what_is_beaten_is_forgotten_and_what_is_no_better_refused():
    known = Known(2, 0.1)
    assert known.offer(np.array([1.0, 2.0]))
    assert not known.offer(np.array([1.0, 2.0]))
    assert known.offer(np.array([0.9, 2.0]))
    assert known.vectors.tolist() == [[0.9, 2.0]]
    assert known.covers(np.array([[0.85, 2.0], [0.8, 2.0], [np.inf, 1.0]])).tolist() == [
        True,
        False,
        True,
    ]
