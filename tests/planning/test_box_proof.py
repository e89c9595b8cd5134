"""What one plain recursion proves of a box is no more than the exhaustive search finds."""

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.planning.box_proof import BoxProof
from planner.solver.chain import exhaustive
from planner.space.candidates import Candidates
from tests.instances import LISTED, tiny_graph, tiny_topology
from tests.lanes import mostly_slow
from tests.solver.posed import on_grids, problems

WORK = pl.Workload(batch_size=8, prompt_tokens=64, output_tokens=16)


@pytest.mark.slow
def test_the_bound_of_a_box_on_a_grid_counts_links_as_they_are():
    near = 0
    for problem in on_grids(16):
        best = exhaustive.solve(problem).objective
        bound = BoxProof(problem, 2 * best).least(200)
        assert bound <= best * (1 + 1e-9)
        near += bound >= 0.99 * best
    assert near > 8


@pytest.mark.parametrize("shape", mostly_slow(LISTED, but=("switch", "dragonfly")))
def test_the_check_never_proves_more_than_the_exhaustive_search_finds(shape):
    for field in ("tpot_s", "usd_per_million_tokens", "ttft_s"):
        for problem in problems(shape, field, 2):
            best = exhaustive.solve(problem).objective
            for claim in (best, 1.5 * best):
                assert BoxProof(problem, claim).least(40) <= best * (1 + 1e-6)


def test_a_box_without_a_plan_is_proved_empty():
    candidates = Candidates(
        tiny_graph(3), tiny_topology(1), WORK, question_of("tpot_s", None, {"tpot_s": 1e-9}, None)
    )
    problem = candidates.to_problem(next(iter(candidates.boxes())))
    assert problem is not None
    assert BoxProof(problem, 1.0).least(10) == float("inf")
