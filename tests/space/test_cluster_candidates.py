"""Plans on clusters as arrays, and back."""

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.solver.chain import placed
from planner.space.cluster_candidates import ClusterCandidates
from tests.instances import tiny_graph
from tests.machines.test_cluster import line


def candidates(field: str = "tpot_s", **changes) -> ClusterCandidates:
    return ClusterCandidates(
        tiny_graph(2),
        line("a", "b", "c"),
        pl.Workload(batch_size=4),
        question_of(field, None, None, None),
    )


def test_plans_begin_on_one_of_several_like_pools_only():
    assert {box.head for box in candidates().boxes()} == {0, 1}


@pytest.mark.parametrize(
    "field", ["tpot_s", "energy_per_token_j", "usd_per_million_tokens", "ttft_s"]
)
def test_what_a_solution_promises_is_what_its_plan_scores(field):
    chosen, solved = candidates(field), 0
    for box in chosen.boxes():
        for single in [box] if box.single else box.halves():
            problem = chosen.to_problem(single) if single.single else None
            solution = None if problem is None else placed.solve(problem)
            if solution is not None and solution.runs is not None:
                solved += 1
                plan = chosen.to_plan(single, solution.runs)
                score = pl.score_pooled_plan(plan, chosen.graph, chosen.cluster, chosen.workload)
                assert chosen.field_value(field, solution.objective) == pytest.approx(
                    getattr(score, field), rel=1e-9
                )
    assert solved > 1


@pytest.mark.parametrize(("field", "word"), [("power_w", "ask for energy_per_token_j")])
def test_what_clusters_are_not_planned_for_is_said(field, word):
    with pytest.raises(pl.InputError, match=word):
        candidates(field)


def test_a_price_that_a_pool_lacks_is_asked_for_by_name():
    cluster = pl.load_cluster("three-macs")
    with pytest.raises(pl.InputError, match="needs a price of m3-max"):
        ClusterCandidates(
            tiny_graph(2),
            cluster,
            pl.Workload(),
            question_of("usd_per_million_tokens", None, None, None),
        )
