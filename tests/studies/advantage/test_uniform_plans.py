"""The best uniform plans of a machine, beside the proved best of all plans."""

import math

import pytest

import planner as pl
from planner.studies.advantage.crossovers import best_plan, with_room
from planner.studies.advantage.family import member
from planner.studies.advantage.uniform_plans import UniformPlans

MANY = pl.Workload(batch_size=32, prompt_tokens=1024, output_tokens=256)


@pytest.fixture(scope="module")
def h100() -> UniformPlans:
    return UniformPlans(pl.load_topology("hgx-h100"), MANY, "energy_per_token_j", "engine")


@pytest.mark.parametrize("parameters", [3e10, 2e11])
def test_where_one_split_serves_all_stages_it_is_the_best_of_all(h100, parameters):
    graph = member("moe", parameters, "bf16")
    machine = with_room(graph, h100.topology, MANY)
    uniform = h100.best(graph, machine.chips)
    proved = best_plan(parameters, h100.topology, MANY, "energy_per_token_j", family="moe")
    assert uniform.score.energy_per_token_j == pytest.approx(proved.objective, rel=1e-9)
    assert uniform.score.batch_size == 32
    assert proved.status == "optimal"


def test_on_more_chips_none_is_dearer_and_on_too_few_there_is_none(h100):
    graph = member("moe", 2e11, "bf16")
    found = [h100.best(graph, chips) for chips in (4, 8, 16, 24)]
    # 400 GB of weights; four chips have 340.
    assert found[0] is None
    joules = [math.inf if one is None else one.score.energy_per_token_j for one in found]
    assert joules == sorted(joules, reverse=True)
    assert all(one.score.chips <= 24 for one in found if one is not None)


def test_lpus_have_micro_batches_that_divide_the_batch():
    plans = UniformPlans(pl.load_topology("groq-lpu-chain"), MANY, "energy_per_token_j", "engine")
    found = plans.best(member("moe", 3e10, "bf16"), 1188)
    assert found is not None
    assert found.plan.batch_size == 32
    assert 32 % found.plan.micro_batches == 0


@pytest.mark.parametrize(
    ("work", "metric", "applies"),
    [
        (MANY, "energy_per_token_j", True),
        (MANY, "usd_per_million_tokens", True),
        # More replicas with fewer sequences each are faster: grids have one.
        (MANY, "tpot_s", False),
        (MANY.replace(phase="decode"), "energy_per_token_j", False),
        (MANY.replace(arrivals="together"), "energy_per_token_j", False),
    ],
)
def test_questions_that_grids_do_not_know(h100, work, metric, applies):
    assert UniformPlans(h100.topology, work, metric, "engine").applies is applies
