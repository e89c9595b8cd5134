"""Plans on clusters as arrays, and back."""

import random

import pytest

import planner as pl
from planner.answers.question import question_of
from planner.solver.chain import placed
from planner.space.cluster_candidates import ClusterCandidates
from tests.engine_pools import random_pools, scored_on_pools
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
    with pytest.raises(pl.InputError, match="needs the price of m3-max"):
        ClusterCandidates(
            tiny_graph(2),
            cluster,
            pl.Workload(),
            question_of("usd_per_million_tokens", None, None, None),
        )


# ── Plans that an engine can be started with ─────────────────────────────────────────────────────


def singles(box):
    if box.single:
        yield box
        return
    for half in box.halves():
        yield from singles(half)


def all_singles(chosen: ClusterCandidates):
    return [single for box in chosen.boxes() for single in singles(box)]


@pytest.mark.parametrize("number", range(6))
def test_every_solution_of_a_box_of_the_engine_is_a_plan_of_it(number):
    case = random_pools(random.Random(f"boxes {number}"))
    question = question_of("tpot_s", None, None, None, space="engine")
    chosen = ClusterCandidates(*case, question)
    for box in all_singles(chosen):
        assert box.split is not None
        problem = chosen.to_problem(box)
        solution = None if problem is None else placed.solve(problem)
        if solution is None or solution.runs is None:
            continue
        plan = chosen.to_plan(box, solution.runs)
        assert len(plan.stages) == box.stages == len(solution.runs)
        assert pl.check_pooled_plan(plan, *case, space="engine") == ()
        score = pl.score_pooled_plan(plan, *case)
        assert score.tpot_s == pytest.approx(solution.objective, rel=1e-9)


def test_of_a_given_batch_the_boxes_hold_every_split_and_number_of_stages():
    case = random_pools(random.Random("boxes 1"))
    case = case._replace(workload=case.workload.replace(batch_size=1))
    question = question_of("tpot_s", None, None, None, space="engine")
    forms = {(box.split.tensor, box.split.expert, box.stages) for box in all_singles(
        ClusterCandidates(*case, question)
    )}  # fmt: skip
    wanted = {
        (plan.stages[0].tensor_parallel, plan.stages[0].expert_parallel, len(plan.stages))
        for plan, _ in scored_on_pools(case)
    }
    assert wanted
    assert wanted <= forms


def test_pools_of_unlike_software_are_no_part_of_one_plan():
    case = random_pools(random.Random("boxes 1"), unlike=True)
    question = question_of("tpot_s", None, None, None, space="engine")
    chosen = ClusterCandidates(*case, question)
    assert [chosen.like(head) for head in (0, 1)] == [[0], [1]]
    alike = random_pools(random.Random("boxes 1"))
    assert ClusterCandidates(*alike, question).like(1) == [0, 1]
