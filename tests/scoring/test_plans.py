"""`score_plan` as a whole: rates, power, price and the peers' known mistakes."""

import math

import pytest

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.accounts import with_price
from planner.machines.topology import Power, Price
from planner.scoring.plans import chosen_power
from tests.by_hand import (
    attention,
    chain,
    head,
    layer,
    matmul,
    plan_of,
    round_chip,
    round_machine,
    stage,
)
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


def test_requests_tokens_of_a_chip_and_dollars_an_hour_follow_from_what_is_served_and_held():
    machine = tiny_topology(4, chip=tiny_chip(1e10), price=Price(usd_per_chip_hour=2.5))
    score = scored(machine, degrees={"data_parallel": 3}, batch_size=6)
    assert score.requests_per_s == pytest.approx(score.tokens_per_s / 11)
    assert score.tokens_per_s_per_chip == pytest.approx(score.tokens_per_s / 3)
    assert score.usd_per_hour == 7.5
    per_million = score.usd_per_hour / 3600 / score.tokens_per_s * 1e6
    assert score.usd_per_million_tokens == pytest.approx(per_million)


def test_under_a_rate_as_many_requests_end_as_come_and_what_is_counted_has_no_width():
    score = scored(degrees={"data_parallel": 2}, batch_size=None, requests_per_s=3.0)
    assert score.requests_per_s == 3.0
    assert score.tokens_per_s_per_chip == pytest.approx(3.0 * 11 / 2)
    for name in ("requests_per_s", "tokens_per_s", "tokens_per_s_per_chip", "usd_per_hour"):
        assert score.interval(name) == (getattr(score, name), getattr(score, name)), name
    assert score.interval("tpot_s")[1] > score.tpot_s


def test_without_a_price_an_hour_has_none():
    machine = tiny_topology(4, chip=tiny_chip(1e10), price=Price())
    assert scored(machine).usd_per_hour is None


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


# ── On paper: 100 FLOP/s, 10 B/s, 1,000 B a chip ──────────────────────────────────────────────────

PAIR = chain(layer("a", matmul()), layer("b", attention()), layer("c", head(), kind="head"))
"""A decode pass of n sequences of c tokens: 100 + 30 n B, then 40 n c + 80 n B, then 100 + 30 n B;
three launches."""
WORK = pl.Workload(batch_size=2, prompt_tokens=4, output_tokens=3, arrivals="together")


def test_two_replicas_are_priced_as_a_hand_does_it():
    machine = round_machine(4, software={"step_overhead_s": 0.5})
    plan = plan_of(stage("a", "b", "c", replicas=2))
    score = pl.score_plan(plan, PAIR, machine, WORK)
    # One sequence each, of 5.5 tokens on average: 130, 300 and 130 B; half a second for the host, a
    # launch for each layer.
    assert score.tpot_s == 13 + 30 + 13 + 3 + 0.5
    # A prompt of 4 tokens: 100 + 120 B; 2 tokens of cache read, 4 × 80 B more; one row of the head.
    assert score.ttft_s == 22 + (80 + 320) / 10 + 13 + 3 + 0.5
    assert score.request_s == 78.5 + 2 * 59.5
    assert score.tokens_per_s == pytest.approx(2 * 3 / 197.5)
    assert score.tokens_per_s_per_user == pytest.approx(1 / 59.5)
    assert score.power_w == 2 * 150
    assert score.energy_per_token_j == pytest.approx(300 * 197.5 / 6)
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 2 * 3.6 / 3600 * 197.5 / 6)
    # Useful: 400 + 4 × 2 × 40 + 100 FLOP for the prompt, 200 + 5.5 × 40 for each of two tokens; 280
    # and 200 + 220 B.
    assert score.mfu_fraction == pytest.approx((820 + 2 * 420) / (197.5 * 100))
    assert score.mbu_fraction == pytest.approx((280 + 2 * 420) / (197.5 * 10))
    assert score.bubble_fraction == pytest.approx(1 - (78 + 2 * 59 + 3 * 0.5) / 197.5, abs=1e-12)
    assert (score.chips, score.batch_size) == (2, 2)
    # 7 tokens of 40 B beside 200 B of weights, buffers for 4 tokens of 40 B.
    assert score.memory_headroom_bytes == 1000 - 200 - 280 - 160
    (one,) = score.stages
    assert (one.decode_s, one.prefill_s, one.decode_flop, one.decode_moved_bytes) == (
        59.5,
        78.5,
        420.0,
        560.0,
    )
    (part,) = score.breakdown
    assert (part.memory_s, part.overhead_s, part.total_s) == (56.0, 3.5, 59.5)
    assert score.prefill_breakdown[0].total_s == 78.5


def test_chips_held_in_part_count_by_what_fills_them_in_every_replica():
    plan = plan_of(stage("a", "b", "c", replicas=3))
    whole = pl.score_plan(plan, PAIR, round_machine(4), WORK.replace(batch_size=3))
    part = pl.score_plan(plan, PAIR, round_machine(4, divisible=True), WORK.replace(batch_size=3))
    # 200 B of weights and 7 × 40 B of cache: 0.48 of each of three chips.
    assert (whole.power_w, part.power_w) == (450.0, pytest.approx(3 * 0.48 * 150))
    assert part.usd_per_million_tokens == pytest.approx(0.48 * whole.usd_per_million_tokens)
    assert part.usd_per_hour == pytest.approx(0.48 * whole.usd_per_hour)
    assert part.tokens_per_s_per_chip == whole.tokens_per_s_per_chip == whole.tokens_per_s / 3
    stages = plan_of(stage("a", "b", chips=2), stage("c", first=2))
    score = pl.score_plan(stages, PAIR, round_machine(4, divisible=True), WORK)
    # Two ranks of 100 + 280 B, one of 100 B.
    assert score.power_w == pytest.approx(150 * (2 * 0.38 + 0.1))
    assert score.chips == 3


def test_power_follows_what_all_replicas_do_in_a_cycle():
    # Idle chips draw 20 of 100 W, the rest follows their activity: twice the share of time at the
    # full bandwidth.
    power = Power(chip_w=100.0, idle_share=0.2, memory_activity=0.5)
    plan = plan_of(stage("a", "b", "c", replicas=2))
    score = pl.score_plan(plan, PAIR, round_machine(4, power=power), WORK)
    # 75 s of traffic for a prompt, 56 s for each of two tokens, in a cycle of 78 + 2 × 59 s.
    activity = 0.5 * (75 + 2 * 56) / (78 + 2 * 59)
    tangent = 1 - 1.5 * math.exp(-0.5) + activity * math.exp(-0.5)
    assert score.power_w == pytest.approx(2 * (20 + 80 * tangent))


@pytest.mark.parametrize(
    ("power", "scope", "idle_w", "busy_w"),
    [
        (Power(chip_w=100.0, system_w=150.0, idle_share=0.2), "chip", 20.0, 100.0),
        (Power(chip_w=100.0, system_w=150.0, idle_share=0.2), "system", 20.0 + 50, 100.0 + 50),
        (
            Power(chip_w=100.0, system_w=150.0, idle_share=0.2, host_share=0.5),
            "system",
            20.0 + 25,
            100.0 + 25,
        ),
        # A system that provides less than its chips could draw caps them.
        (Power(chip_w=100.0, system_w=80.0, idle_share=0.2), "system", 16.0, 80.0),
        (Power(system_w=80.0, idle_share=0.2), "system", 16.0, 80.0),
        (Power(chip_w=100.0, idle_share=0.2), "chip", 20.0, 100.0),
    ],
)
def test_a_chip_draws_no_more_than_its_own_watts_and_its_hosts(power, scope, idle_w, busy_w):
    draws, counted = chosen_power(round_machine(power=power), None if scope == "system" else scope)
    assert counted == scope
    assert min(draw.held_w for draw in draws) == pytest.approx(idle_w)  # the first tangent, at rest
    assert min(draw.held_w + 1e9 * draw.active_w for draw in draws) == pytest.approx(busy_w)


def test_watts_of_the_chips_stand_in_where_the_systems_are_not_known():
    chips = round_machine(power=Power(chip_w=100.0))
    assert chosen_power(chips, None)[1] == "chip"
    assert chosen_power(chips, "system") == ((), "unknown")


def test_a_batch_of_pictures_is_priced_as_a_hand_does_it():
    graph = chain(
        layer("text", matmul(), runs_per_sample=1),
        layer("denoiser", matmul()),
        steps=3,
        tokens_per_sample=4,
    )
    machine = round_machine(2, software={"step_overhead_s": 0.5, "prefill_chunk_tokens": 100})
    plan = plan_of(stage("text", "denoiser", replicas=2))
    score = pl.score_plan(plan, graph, machine, pl.Workload(batch_size=4))
    # Two samples of 4 tokens in each replica: 100 + 8 × 30 B, a launch, half a second of the host;
    # once, and in each step.
    assert score.step_s == 34 + 1 + 0.5
    assert score.image_s == score.ttft_s == score.tpot_s == score.request_s == 35.5 + 3 * 35.5
    assert score.samples_per_s == score.tokens_per_s == pytest.approx(4 / 142)
    assert score.tokens_per_s_per_user == pytest.approx(1 / 142)
    assert score.energy_per_sample_j == score.energy_per_token_j == pytest.approx(300 * 142 / 4)
    # 800 FLOP and 100 B of weights in each of four passes.
    assert score.mfu_fraction == pytest.approx(4 * 800 / (142 * 100))
    assert score.mbu_fraction == pytest.approx(4 * 100 / (142 * 10))
    assert (score.breakdown[0].memory_s, score.breakdown[0].overhead_s) == (34.0, 1.5)
    assert (score.prefill_breakdown[0].memory_s, score.prefill_breakdown[0].overhead_s) == (
        136.0,
        6.0,
    )
    (one,) = score.stages
    assert (one.decode_s, one.prefill_s, one.decode_flop, one.decode_moved_bytes) == (
        35.5,
        35.5,
        800.0,
        340.0,
    )
    assert score.bubble_fraction == 0.0


def test_under_a_rate_as_much_is_served_as_comes():
    plan = plan_of(stage("a", "b", "c"))
    work = pl.Workload(requests_per_s=0.001, prompt_tokens=4, output_tokens=3)
    score = pl.score_plan(plan, PAIR, round_machine(1), work)
    assert score.batch_size == 1
    assert score.tokens_per_s == 0.003
    assert score.load.requests_per_s == 0.001
    assert score.mfu_fraction == pytest.approx(
        (820 + 2 * 420) * 0.001 / 100
    )  # of all time, 1,000 s for each request


def test_a_chip_too_small_is_refused_with_what_is_wanted_and_how_many_rules_break_besides():
    small = round_chip(memory=(round_chip().memory[0].replace(capacity_bytes=150.0),))
    plan = plan_of(stage("a", "b"), stage("c", first=1))
    with pytest.raises(pl.InfeasibleError) as caught:
        pl.score_plan(plan, PAIR, round_machine(2, chip=small), WORK)
    # Two sequences of 7 tokens and buffers for 8 tokens of 40 B beside 100 B of weights.
    assert (caught.value.demand, caught.value.capacity) == (100 + 2 * 280 + 320, 150)
    assert str(caught.value).endswith("(and 1 more)")


# ── What is counted ──────────────────────────────────────────────────────────────────────────────


def test_dollars_of_an_h100_by_hand_on_each_basis():
    graph, machine, work = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100", chips=1), WORK
    plan = pl.uniform_plan(graph, machine)
    site = pl.Economics(pue=1.3, utilisation=0.5)
    owned = pl.load_topology("hgx-h100", chips=1, economics=site)
    # 35,040 hours are four years; the GPU draws 0.7 kW, with its share of the node 1.275 kW; 0.10
    # USD/kWh, 1.3 times that at the site; half of the hours are paid for nothing.
    hourly = {
        "chip": 2 * (27_000 / 35_040 + 1.3 * 0.0700),
        "node": 2 * (33_750 / 35_040 + 1.3 * 0.1275),
        "rental": 2 * 3.00,
    }
    for basis, usd in hourly.items():
        score = pl.score_plan(plan, graph, owned, work, price_basis=basis)
        assert score.price_basis == basis
        assert score.usd_per_million_tokens == pytest.approx(1e6 * usd / 3600 / score.tokens_per_s)


def test_watts_are_drawn_or_provisioned_and_count_the_site_where_that_is_asked():
    graph, machine, work = pl.load_model("qwen3-0.6b"), pl.load_topology("hgx-h100", chips=1), WORK
    plan = pl.uniform_plan(graph, machine)
    drawn = pl.score_plan(plan, graph, machine, work)
    always = pl.score_plan(plan, graph, machine, work, power_basis="provisioned")
    assert (drawn.power_basis, always.power_basis) == ("drawn", "provisioned")
    assert drawn.power_w < always.power_w == pytest.approx(1275)
    site = pl.score_plan(plan, graph, machine, work, power_scope="facility")
    assert (site.power_scope, site.power_w) == ("facility", pytest.approx(1.2 * drawn.power_w))
    alone = pl.score_plan(plan, graph, machine, work, power_scope="chip", power_basis="provisioned")
    assert alone.power_w == pytest.approx(700)


@pytest.mark.parametrize("basis", ["chip", "node", "rental"])
def test_the_price_that_is_found_is_that_of_the_plan(basis):
    machine = pl.load_topology("hgx-h100", chips=2)
    graph, work = pl.load_model("qwen3-0.6b"), pl.Workload(batch_size=8)
    asked = {"minimize": "usd_per_million_tokens", "price_basis": basis}
    result = pl.partition(graph, machine, work, **asked)
    score = pl.score_plan(result.plan, graph, machine, work, price_basis=basis)
    assert result.objective == pytest.approx(score.usd_per_million_tokens)
    assert result.bound <= result.objective * (1 + 1e-9)


def test_a_sample_has_its_price():
    graph, machine = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=1, price="3.6 USD/h")
    score = pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, pl.Workload())
    # A tenth of a cent a second.
    assert score.usd_per_sample == pytest.approx(1e-3 / score.samples_per_s)
    assert score.price_basis == "given"


def test_tokens_at_a_list_price_cost_what_is_asked_whatever_is_held():
    asked = with_price(tiny_topology(4, chip=tiny_chip(1e10)), "0.5/0.8 USD/Mtok")
    score = scored(asked)
    # 100 tokens in for 11 out.
    assert score.usd_per_million_tokens == pytest.approx(0.8 + 0.5 * 100 / 11)
    hourly = score.usd_per_million_tokens * score.tokens_per_s * 3600 / 1e6
    assert score.usd_per_hour == pytest.approx(hourly)
    assert score.price_basis == "token"
    assert scored(asked, degrees={"data_parallel": 2}).usd_per_million_tokens == pytest.approx(
        score.usd_per_million_tokens
    )
    with pytest.raises(pl.InputError, match="the same for every plan"):
        pl.partition(GRAPH, asked, pl.Workload(batch_size=1), minimize="usd_per_million_tokens")
