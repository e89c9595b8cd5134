"""The best of all plans, in whichever way they draft, beside the best uniform one."""

import pytest

import planner as pl
from planner.studies.advantage.agreements import agreement_of
from planner.studies.advantage.crossovers import ONE_AT_A_TIME
from planner.studies.advantage.drafted_plans import best_of_ways, low
from planner.studies.advantage.uniform_plans import UniformPlans


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "fields", "drafts"),
    [
        ("energy_per_token_j", {}, None),
        ("energy_per_token_j", {"drafts": "best"}, "eagle3"),
        ("energy_per_token_j", {"power_scope": "facility", "pue": 1.5}, None),
        ("usd_per_million_tokens", {"utilisation": 0.5, "pue": 1.5}, None),
    ],
)
def test_one_user_of_a_small_model_has_no_better_plan_than_a_uniform_one(metric, fields, drafts):
    agreed = agreement_of(metric, "dense", ONE_AT_A_TIME, None, fields, None)
    (machine,) = agreed.machines([pl.load_topology("hgx-h100")])
    graph = agreed.graph(8e9, machine)
    proved = best_of_ways(graph, machine, agreed)
    uniform = UniformPlans(machine, agreed).best(graph, 8)
    assert proved.is_optimal
    assert (proved.drafts, uniform.drafts) == (drafts, drafts)
    assert proved.result.objective == pytest.approx(uniform.value, rel=1e-9)
    assert proved.bound <= proved.result.objective * (1 + 1e-9)


@pytest.mark.slow
def test_of_times_too_the_best_way_is_taken():
    found = {}
    for drafts in ("none", "best"):
        agreed = agreement_of("tpot_s", "dense", ONE_AT_A_TIME, None, {"drafts": drafts}, None)
        machine = pl.load_topology("hgx-h100")
        found[drafts] = best_of_ways(agreed.graph(8e9, machine), machine, agreed)
    assert found["none"].drafts is None
    assert found["best"].drafts == "eagle3"
    assert found["best"].result.objective < found["none"].result.objective / 1.5


@pytest.mark.slow
def test_a_machine_without_room_has_no_plan():
    agreed = agreement_of(
        "energy_per_token_j", "dense", ONE_AT_A_TIME, None, {"drafts": "best"}, None
    )
    machine = pl.load_topology("apple-m3-ultra")
    # Four of them have 4 × 512 × 2^30 B = 2.199 TB, and weights in 16 bit take 2.4.
    assert best_of_ways(agreed.graph(1.2e12, machine), machine, agreed) is None


def test_more_is_turned_into_less():
    assert (low("minimize", 4.0), low("maximize", 4.0)) == (4.0, 0.25)
