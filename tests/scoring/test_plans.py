"""`score_plan` as a whole: rates, power, price and the peers' known mistakes."""

import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.topology import Power, Price
from tests.instances import FOLLOWING, tiny_chip, tiny_graph, tiny_moe, tiny_topology

GRAPH = tiny_graph(4)


def scored(topology=None, graph=GRAPH, scope=None, degrees=None, **work):
    machine = topology or tiny_topology(4, chip=tiny_chip(1e10))
    workload = pl.Workload(**{"batch_size": 4, "prompt_tokens": 100, "output_tokens": 11, **work})
    plan = pl.uniform_plan(graph, machine, **(degrees or {}))
    return pl.score_plan(plan, graph, machine, workload, power_scope=scope)


def test_the_rate_counts_the_output_tokens_of_all_users():
    score = scored(arrivals="together")
    assert score.tokens_per_s == pytest.approx(4 * 11 / score.request_s)
    assert score.tokens_per_s_per_user == pytest.approx(1 / score.tpot_s)


def test_two_replicas_serve_twice_as_much_and_hold_twice_the_power():
    one, two = (
        scored(degrees={"data_parallel": 1}, batch_size=2),
        scored(degrees={"data_parallel": 2}, batch_size=4),
    )
    assert two.tokens_per_s == pytest.approx(2 * one.tokens_per_s)
    assert two.power_w == 2 * one.power_w
    assert two.energy_per_token_j == pytest.approx(one.energy_per_token_j)


def test_energy_is_everything_held_over_the_tokens_of_all():
    score = scored(degrees={"tensor_parallel": 4})
    assert score.power_w == 4 * 150.0
    assert score.energy_per_token_j == pytest.approx(600 / score.tokens_per_s)


def test_power_that_follows_the_plan_lies_between_idle_and_what_is_provisioned_and_rises_with_the_batch():
    machine = tiny_topology(4, chip=tiny_chip(1e10), power=FOLLOWING)
    powers = [
        scored(machine, batch_size=batch).power_w for batch in (1, 8, 64)
    ]  # the last at its limit
    assert 0.2 * 100 + 0.5 * 50 < powers[0] < powers[1] < powers[2] == 100 + 0.5 * 50
    score = scored(machine, degrees={"tensor_parallel": 4})
    assert score.energy_per_token_j == pytest.approx(score.power_w / score.tokens_per_s)
    assert scored(machine, scope="chip").power_w == pytest.approx(
        scored(machine).power_w - 0.5 * 50
    )


def test_price_is_everything_held_over_the_tokens_of_all():
    score = scored(degrees={"tensor_parallel": 4})
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 4 * 1.0 / 3600 / score.tokens_per_s)


def test_the_power_scope_is_chosen_and_said():
    assert (scored(scope="chip").power_w, scored(scope="chip").power_scope) == (100.0, "chip")
    assert (scored().power_w, scored().power_scope) == (150.0, "system")


def test_what_nobody_published_is_not_known_and_not_zero():
    score = scored(tiny_topology(1, chip=tiny_chip(1e10), power=Power(), price=Price()))
    assert (score.power_w, score.power_scope, score.energy_per_token_j) == (None, "unknown", None)
    assert score.usd_per_million_tokens is None


def test_mbu_of_one_sequence_is_the_weights_over_the_time():
    score = scored(
        tiny_topology(1, chip=tiny_chip(1e10)),
        batch_size=1,
        prompt_tokens=1,
        output_tokens=2,
        arrivals="together",
    )
    embedding = GRAPH.layers[0].weight_bytes
    passes = 2 * (GRAPH.weight_bytes - embedding)
    assert score.mbu_fraction == pytest.approx(passes / score.request_s / 1e12, rel=0.01)
    assert 0 < score.mfu_fraction < score.mbu_fraction < 0.8


def test_utilisation_never_exceeds_what_the_software_reaches():
    for batch in (1, 16, 64):
        score = scored(batch_size=batch, output_tokens=50)
        assert score.mfu_fraction <= 0.5
        assert score.mbu_fraction <= 0.8


def test_the_least_headroom_is_that_of_the_fullest_chip():
    score = scored(degrees={"pipeline_parallel": 2})
    assert score.memory_headroom_bytes == min(
        stage.usable_bytes - stage.needed_bytes for stage in score.stages
    )


def test_70b_on_one_80_gb_gpu_is_refused():
    graph, topology = (
        pl.load_model("llama-3.1-70b", weight_dtype="bf16"),
        pl.load_topology("hgx-h100", chips=1),
    )
    with pytest.raises(pl.InfeasibleError, match="141 GB") as caught:
        pl.score_plan(pl.uniform_plan(graph, topology), graph, topology, pl.Workload())
    assert caught.value.gap == pytest.approx(caught.value.demand - caught.value.capacity)


def test_sixteen_gpus_over_two_nodes_are_slower_than_eight_in_one():
    graph, work = pl.load_model("llama-3.1-70b", weight_dtype="fp8"), pl.Workload(batch_size=8)
    tpot = {}
    for chips in (8, 16):
        topology = pl.load_topology("hgx-h100", chips=chips)
        plan = pl.uniform_plan(graph, topology, tensor_parallel=chips)
        tpot[chips] = pl.score_plan(plan, graph, topology, work).tpot_s
    assert tpot[16] > tpot[8]


def test_experts_can_be_spread_with_or_without_the_attention():
    graph, topology = tiny_moe(), tiny_topology(4, chip=tiny_chip(1e10))
    tensor = scored(topology, graph, degrees={"tensor_parallel": 4})
    experts = scored(topology, graph, degrees={"data_parallel": 4, "expert_parallel": 4})
    assert experts.stages[0].attention_parallel == 4
    assert tensor.stages[0].attention_parallel == 1
    assert (
        tensor.stages[0].weight_bytes < experts.stages[0].weight_bytes
    )  # attention is copied, not split


def test_every_field_that_can_be_asked_for_is_a_number_of_the_score():
    score = scored()
    assert all(isinstance(getattr(score, name), int | float) for name in FIELDS)
