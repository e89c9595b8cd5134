"""The best uniform plans of a machine, beside the proved best of all plans."""

import math

import pytest

import planner as pl
from planner.space.uniform_shapes import Ground
from planner.studies.advantage.agreements import agreement_of
from planner.studies.advantage.best_plans import best_plan, with_room
from planner.studies.advantage.crossovers import ONE_AT_A_TIME
from planner.studies.advantage.family import member
from planner.studies.advantage.stairs import Load, priced, stair_of
from planner.studies.advantage.uniform_plans import UniformPlans

MANY = pl.Workload(batch_size=32, prompt_tokens=1024, output_tokens=256)


def asked(workload=None, **fields):
    return agreement_of("energy_per_token_j", "dense", ONE_AT_A_TIME, None, fields, workload)


@pytest.fixture(scope="module")
def h100() -> UniformPlans:
    return UniformPlans(pl.load_topology("hgx-h100"), asked(workload=MANY))


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [3e10, 2e11])
def test_where_one_split_serves_all_stages_it_is_the_best_of_all(h100, parameters):
    graph = member("moe", parameters, "bf16")
    machine = with_room(graph, h100.topology, MANY)
    uniform = h100.best(graph, machine.chips)
    proved = best_plan(parameters, h100.topology, MANY, "energy_per_token_j", family="moe")
    assert uniform.score.energy_per_token_j == pytest.approx(proved.objective, rel=1e-9)
    assert uniform.score.batch_size == 32
    assert proved.status == "optimal"


@pytest.mark.slow
def test_on_more_chips_none_is_dearer_and_on_too_few_there_is_none(h100):
    graph = member("moe", 2e11, "bf16")
    found = [h100.best(graph, chips) for chips in (4, 8, 16, 24)]
    # 400 GB of weights; four chips have 340.
    assert found[0] is None
    joules = [math.inf if one is None else one.score.energy_per_token_j for one in found]
    assert joules == sorted(joules, reverse=True)
    assert all(one.score.chips <= 24 for one in found if one is not None)


@pytest.mark.slow
def test_lpus_have_micro_batches_that_divide_the_batch():
    plans = UniformPlans(pl.load_topology("groq-lpu-chain"), asked(workload=MANY))
    found = plans.best(member("moe", 3e10, "bf16"), 1188)
    assert found is not None
    assert found.plan.batch_size == 32
    assert 32 % found.plan.micro_batches == 0


@pytest.fixture(scope="module")
def small() -> pl.Topology:
    """Eight of them, so that a map's grid is small."""
    return pl.load_topology("hgx-h100", chips=8)


@pytest.mark.parametrize(
    "fields",
    [
        {"most_users": 8, "pools": True},
        {"most_users": 8, "drafts": "best"},
        {"most_users": 4, "requests_per_s": 30.0},
        {"most_users": 4, "utilisation": 0.3, "power_scope": "facility", "pue": 1.4},
    ],
)
def test_under_the_same_terms_the_least_is_that_of_a_map(small, fields):
    agreed = asked(**fields)
    (machine,) = agreed.machines([small])
    graph = agreed.graph(8e9, machine)
    found = UniformPlans(machine, agreed).best(graph, 8)
    ground = Ground(machine)
    plans = priced(graph, ground, agreed.terms, "dense")
    load = Load(agreed.metric, agreed.terms.most_users, agreed.terms.requests_per_s)
    least = stair_of(plans, load).values.min()
    # Maps draft as many tokens as are quickest, here as many as cost least.
    assert found.value == pytest.approx(least, rel=0.01 if "drafts" in fields else 1e-9)
    assert found.value < least or "drafts" not in fields


def test_a_pool_of_prompts_costs_as_much_as_its_prompts_are_long(small):
    found = []
    for length in (2048, 4096):
        agreed = asked(pools=True, prompt_tokens=length)
        found.append(UniformPlans(small, agreed).best(agreed.graph(8e9, small), 8))
    assert all(0 < one.prompts_value < one.value for one in found)
    # Compute-bound: twice the tokens, and a little more for attention among them.
    assert 1.9 < found[1].prompts_value / found[0].prompts_value < 2.4


@pytest.mark.slow
def test_a_plan_is_priced_again_on_the_pipelines_that_it_stands_on(small):
    agreed = asked(drafts="best", pools=True)
    plans = UniformPlans(small, agreed)
    graph = agreed.graph(8e9, small)
    found = plans.best(graph, 8)
    again = plans.best(graph, 8, found.shapes)
    assert len(found.shapes.decode) == len(found.shapes.prompts) == 1
    assert again.value == pytest.approx(found.value, rel=1e-9)
    assert (again.drafts, again.plan) == (found.drafts, found.plan)
