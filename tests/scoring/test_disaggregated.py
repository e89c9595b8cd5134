"""What two pools cost together, by hand."""

import pytest

import planner as pl
from planner.machines.topology import Power
from planner.scoring.disaggregated import Link, handover, score_disaggregated, transfer_bytes
from planner.scoring.plans import score_plan
from tests.by_hand import attention, chain, head, layer, matmul, plan_of, round_machine, stage
from tests.instances import FOLLOWING, tiny_chip, tiny_graph, tiny_topology

GRAPH = tiny_graph(4)
MACHINE = tiny_topology(2, chip=tiny_chip(1e10))
LINK = Link(bandwidth_bytes_per_s=1e9, latency_s=1e-3)
WORK = pl.Workload(batch_size=4, prompt_tokens=1000, output_tokens=11)
KV = 4 * 2 * 4 * 128 * 2
"""Bytes of a token: layers × keys and values × heads × width × bf16."""


def scored(workload=WORK, link=LINK, prefill=MACHINE, decode=MACHINE, tensor=(1, 2)):
    plans = [
        pl.uniform_plan(
            GRAPH, machine, tensor_parallel=degree, data_parallel=machine.chips // degree
        )
        for machine, degree in zip((prefill, decode), tensor, strict=True)
    ]
    return plans, score_disaggregated(
        *plans, GRAPH, workload, prefill=prefill, decode=decode, link=link
    )


def test_the_cache_of_a_prompt_goes_over_the_link_once():
    _, score = scored()
    assert score.transfer_bytes == transfer_bytes(GRAPH, 1000) == 1000 * KV
    assert score.transfer_s == pytest.approx(1e-3 + 1000 * KV / 1e9)
    assert score.link_requests_per_s == pytest.approx(1e9 / (1000 * KV))


def test_grouped_and_latent_attention_send_what_they_keep():
    llama, deepseek = pl.load_model("llama-3.1-70b"), pl.load_model("deepseek-v3")
    assert transfer_bytes(llama, 100) == 100 * 80 * 2 * 8 * 128 * 2
    assert transfer_bytes(deepseek, 100) == 100 * 61 * (512 + 64) * 2


def test_a_window_keeps_less_than_the_prompt():
    windowed = next(
        graph
        for graph in map(pl.load_model, pl.model_names())
        if 0 < transfer_bytes(graph, 100_000) < 99_000 * graph.kv_bytes_per_token
    )
    assert transfer_bytes(windowed, 100) == pytest.approx(
        100 * windowed.kv_bytes_per_token + windowed.state_bytes_per_sequence
    )


def test_times_are_those_of_the_pools_and_the_way_between_them():
    plans, score = scored()
    over = handover(GRAPH, WORK, LINK)
    first = score_plan(plans[0], GRAPH, MACHINE, over.prefill)
    alone = score_plan(plans[1], GRAPH, MACHINE, WORK.replace(phase="decode"))
    assert score.ttft_s == first.ttft_s
    assert score.request_s == pytest.approx(
        first.ttft_s + score.transfer_s + alone.ttft_s + 10 * alone.tpot_s
    )
    assert score.request_s == pytest.approx(score.ttft_s + 10 * score.tpot_s)
    assert score.tpot_s > alone.tpot_s


def test_breakdowns_sum_to_what_they_break_down():
    _, score = scored()
    assert sum(part.total_s for part in score.breakdown) == pytest.approx(score.tpot_s)
    assert sum(part.total_s for part in score.prefill_breakdown) == pytest.approx(score.ttft_s)
    assert score.breakdown[0].hop_s == pytest.approx(score.transfer_s / 10)


@pytest.mark.parametrize(
    ("changes", "link", "slowest"),
    [({"output_tokens": 1001}, LINK, "decode"), ({"output_tokens": 2, "batch_size": 64}, LINK, "link"),
     ({"output_tokens": 2, "batch_size": 64}, Link(bandwidth_bytes_per_s=1e12), "prefill"),
     ({"requests_per_s": 1.0, "batch_size": None}, LINK, "arrivals")],
)  # fmt: skip
def test_the_slowest_of_pools_and_link_sets_the_rate(changes, link, slowest):
    work = WORK.replace(**changes)
    _, score = scored(work, link)
    rates = (
        score.prefill.tokens_per_s,
        score.decode.tokens_per_s,
        score.link_requests_per_s * work.output_tokens,
    )
    assert score.slowest == slowest
    assert score.tokens_per_s == pytest.approx(
        (work.requests_per_s or 0) * work.output_tokens or min(rates)
    )


def test_both_pools_are_paid_for_and_powered():
    _, score = scored()
    assert score.chips == 4
    assert score.power_w == 4 * 150.0
    assert score.energy_per_token_j == pytest.approx(600.0 / score.tokens_per_s)
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 4 * 1.0 / 3600 / score.tokens_per_s)
    unpriced = MACHINE.replace(price=MACHINE.price.replace(usd_per_chip_hour=None))
    assert scored(decode=unpriced)[1].usd_per_million_tokens is None


def test_under_a_rate_the_power_is_that_of_both_scores():
    machine = MACHINE.replace(power=FOLLOWING)
    _, score = scored(
        WORK.replace(requests_per_s=2.0, batch_size=None), prefill=machine, decode=machine
    )
    assert score.power_w == pytest.approx(score.prefill.power_w + score.decode.power_w)
    _, spare = scored(prefill=machine, decode=machine)
    assert spare.power_w < spare.prefill.power_w + spare.decode.power_w  # the faster pool waits


def test_power_counts_the_same_of_both_pools():
    bare = MACHINE.replace(power=MACHINE.power.replace(system_w=None))
    _, score = scored(decode=bare)
    assert (score.power_scope, score.power_w) == ("chip", 4 * 100.0)
    unknown = MACHINE.replace(power=MACHINE.power.replace(system_w=None, chip_w=None))
    _, score = scored(decode=unknown)
    assert (score.power_scope, score.power_w, score.energy_per_token_j) == ("unknown", None, None)


def test_under_a_rate_caches_wait_for_one_another():
    _, slow = scored(WORK.replace(requests_per_s=1.0, batch_size=None))
    _, fast = scored(WORK.replace(requests_per_s=100.0, batch_size=None))
    each = 1000 * KV / 1e9
    load = 100.0 * each
    assert fast.transfer_s == pytest.approx(1e-3 + each + load * each / (2 * (1 - load)))
    assert slow.transfer_s < fast.transfer_s


def test_a_link_that_carries_less_than_comes_is_refused():
    with pytest.raises(
        pl.InfeasibleError,
        match=r"^the link is too slow: it carries 1 GB/s, and 200 requests a second send ",
    ) as refused:
        handover(GRAPH, WORK.replace(requests_per_s=200.0, batch_size=None), LINK)
    assert refused.value.resource == "link"


def test_pools_are_made_of_a_whole_workload_of_a_language_model():
    with pytest.raises(pl.InputError, match=r"^Workload\.phase must be 'both', since"):
        handover(GRAPH, WORK.replace(phase="decode"), LINK)
    with pytest.raises(pl.InputError, match="is a diffusion model, which has no prefill"):
        handover(pl.load_model("flux.1-dev"), WORK, LINK)


def test_percentiles_are_those_of_the_pool_that_makes_the_tokens():
    _, score = scored(WORK.replace(requests_per_s=5.0, batch_size=None))
    assert score.prefill.percentile("ttft_s", 0.999) > score.prefill.percentile("ttft_s", 0.5)
    assert score.decode.percentile("tpot_s", 0.99) >= score.decode.percentile("tpot_s", 0.5)
    for pool, field in ((score.prefill, "tpot_s"), (score.decode, "ttft_s")):
        with pytest.raises(
            pl.InputError,
            match=f"^{field} has no percentiles in a pool of one phase only",
        ):
            pool.percentile(field, 0.5)


# ── On paper: 10 B/s over the link, 1 s until the first byte ──────────────────────────────────────

PAIR = chain(layer("a", matmul()), layer("b", attention()), layer("c", head(), kind="head"))
SHORT = pl.Workload(batch_size=1, prompt_tokens=4, output_tokens=3)
ALL = plan_of(stage("a", "b", "c"))


def by_hand(prefill=None, decode=None, workload=SHORT, **options):
    link = Link(bandwidth_bytes_per_s=10.0, latency_s=1.0)
    machines = {"prefill": prefill or round_machine(2), "decode": decode or round_machine(2)}
    return score_disaggregated(ALL, ALL, PAIR, workload, link=link, **machines, **options)


def test_two_pools_are_priced_as_a_hand_does_it():
    score = by_hand()
    # A prompt of 4 tokens: 220 + 400 + 130 B and three launches. Its cache: 4 × 40 B in 16 s, and 1
    # s.
    assert (score.ttft_s, score.transfer_bytes, score.transfer_s) == (78.0, 160.0, 17.0)
    # In the decode pool half a round of 59 s, then two tokens.
    assert score.request_s == 78 + 17 + 29.5 + 2 * 59
    assert score.tpot_s == (17 + 29.5 + 2 * 59) / 2
    assert score.tokens_per_s_per_user == pytest.approx(1 / score.tpot_s)
    assert [part.total_s for part in score.breakdown] == [8.5 + 14.75, 59.0]
    assert (score.breakdown[0].hop_s, score.breakdown[0].bubble_s) == (8.5, 14.75)
    # Of one request in 78 s, one in 164.5 s and one in 16 s, the second is the least.
    assert (score.slowest, score.link_requests_per_s) == ("decode", 1 / 16)
    assert score.requests_per_s == pytest.approx(1 / 164.5)
    assert score.tokens_per_s == pytest.approx(3 / 164.5)
    # All four chips are held.
    assert (score.chips, score.power_w, score.batch_size) == (4, 600.0, 1)
    assert score.energy_per_token_j == pytest.approx(600 * 164.5 / 3)
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 4 * 3.6 / 3600 * 164.5 / 3)


def test_the_fuller_pool_says_what_is_left():
    score = by_hand()
    # Prefill: 300 - 100 B of weights, two prompts of 4 × 40 B, buffers of 4 × 40 B. Decode: 5.5 +
    # 1.5 tokens, buffers of 40 B.
    assert score.prefill.memory_headroom_bytes == 1000 - 200 - 320 - 160
    assert score.decode.memory_headroom_bytes == 1000 - 200 - 280 - 40
    assert score.memory_headroom_bytes == 320


def test_each_pool_is_as_active_as_what_goes_through_both():
    following = Power(chip_w=100.0, idle_share=0.2, memory_activity=0.5)
    pools = {
        "prefill": round_machine(1, power=following),
        "decode": round_machine(2, power=following),
    }
    score = by_hand(**pools)
    # A request in 164.5 s: 75 s of traffic for its prompt, 2 × 56 s for its tokens, on one chip and
    # on one of two.
    activities = 0.5 * 75 / 164.5, 0.5 * 112 / 164.5 / 2
    assert max(activities) < 0.229  # up to where the second tangent begins
    assert score.power_w == pytest.approx(20 + 80 * activities[0] + 2 * (20 + 80 * activities[1]))
    assert score.power_scope == "chip"
    rated = by_hand(**pools, workload=SHORT.replace(batch_size=None, requests_per_s=0.001))
    assert rated.slowest == "arrivals"
    assert rated.power_w == pytest.approx(3 * 20 + 80 * 0.5 * 0.001 * (75 + 112))


@pytest.mark.parametrize(
    ("prefill", "decode", "wanted", "scope", "watts"),
    [
        ({"chip_w": 1.0, "system_w": 2.0}, {"chip_w": 3.0, "system_w": 4.0}, None, "system", 6.0),
        ({"chip_w": 1.0, "system_w": 2.0}, {"chip_w": 3.0}, None, "chip", 4.0),
        ({"chip_w": 1.0}, {"chip_w": 3.0, "system_w": 4.0}, None, "chip", 4.0),
        ({"system_w": 2.0}, {"chip_w": 3.0}, None, "unknown", None),
        ({"chip_w": 1.0, "system_w": 2.0}, {"chip_w": 3.0, "system_w": 4.0}, "chip", "chip", 4.0),
        ({"chip_w": 1.0}, {"chip_w": 3.0, "system_w": 4.0}, "system", "unknown", None),
        ({}, {"chip_w": 3.0, "system_w": 4.0}, None, "unknown", None),
    ],
)
def test_watts_are_those_that_are_known_of_both_pools(prefill, decode, wanted, scope, watts):
    machines = [round_machine(1, power=Power(**one)) for one in (prefill, decode)]
    score = by_hand(*machines, power_scope=wanted)
    assert (score.power_scope, score.power_w) == (scope, watts)


def test_a_draft_sends_its_cache_too():
    drafted = SHORT.replace(speculation=pl.Speculation(draft=PAIR, tokens=1))
    link = Link(bandwidth_bytes_per_s=10.0, latency_s=1.0)
    assert handover(PAIR, drafted, link).transfer_bytes == 2 * 160
    assert (
        handover(PAIR, SHORT.replace(speculation=pl.Speculation(tokens=1)), link).transfer_bytes
        == 160
    )
    rated = handover(PAIR, SHORT.replace(batch_size=None, requests_per_s=1 / 32), link)
    assert rated.transfer_s == 17 + 0.5 * 16 / (2 * 0.5)
    stateless = chain(layer("a", matmul()), layer("c", head(), kind="head"))
    assert handover(stateless, SHORT, link).link_requests_per_s == 1e300
