"""What two pools cost together, by hand."""

import pytest

import planner as pl
from planner.scoring.disaggregated import Link, handover, score_disaggregated, transfer_bytes
from planner.scoring.plans import score_plan
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
        pl.InfeasibleError, match=r"^the link carries 1 GB/s, and 200 requests a second send "
    ) as refused:
        handover(GRAPH, WORK.replace(requests_per_s=200.0, batch_size=None), LINK)
    assert refused.value.resource == "link"


def test_pools_are_made_of_a_whole_workload_of_a_language_model():
    with pytest.raises(
        pl.InputError, match=r"^Workload\.phase: pools are made of a whole workload"
    ):
        handover(GRAPH, WORK.replace(phase="decode"), LINK)
    with pytest.raises(pl.InputError, match="is a diffusion model, which has no prefill"):
        handover(pl.load_model("flux.1-dev"), WORK, LINK)


def test_percentiles_are_those_of_the_pool_that_makes_the_tokens():
    _, score = scored(WORK.replace(requests_per_s=5.0, batch_size=None))
    assert score.prefill.percentile("ttft_s", 0.99) > score.prefill.percentile("ttft_s", 0.5)
    assert score.decode.percentile("tpot_s", 0.99) >= score.decode.percentile("tpot_s", 0.5)
    for pool, field in ((score.prefill, "tpot_s"), (score.decode, "ttft_s")):
        with pytest.raises(
            pl.InputError,
            match=f"^{field} has no percentiles where the other phase has a pool of its own",
        ):
            pool.percentile(field, 0.5)
