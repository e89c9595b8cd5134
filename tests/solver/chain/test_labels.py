"""Labels alone, with no thresholds before them, against the exhaustive solver."""

import math

import pytest

from planner.answers.question import FIELDS
from planner.solver.chain import exhaustive
from planner.solver.chain.bounds import relaxed
from planner.solver.chain.labels import FIRST_BEAM, LAST_BEAM, labelled
from planner.solver.chain.problem import Incumbent
from tests.solver.posed import problems


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", ["switch", "chain", "torus"])
def test_labels_alone_find_what_the_exhaustive_search_finds(shape, field):
    for problem in problems(shape, field, 2):
        best, found = exhaustive.solve(problem), Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, LAST_BEAM, lambda: False)
        assert found.value == pytest.approx(best.objective, rel=1e-9)
        assert proved >= found.goal


def test_labels_that_are_stopped_prove_what_the_relaxations_do():
    for problem in problems("switch", "request_s", 4):
        found = Incumbent(problem)
        proved = labelled(problem, relaxed(problem), found, FIRST_BEAM, lambda: True)
        assert proved <= exhaustive.solve(problem).objective * (1 + 1e-12)
        assert math.isinf(found.value)
