"""What a rate of requests brings about, against a server that is played through event by event."""

import math
import random

import numpy as np
import pytest

import planner as pl
from planner.pricing.deployment import Deployment
from planner.pricing.price_list import PriceList
from planner.pricing.loads import SCATTERED, Load
from planner.pricing.queueing import (
    batch_of,
    busy_sequences,
    load_of,
    most_requests_per_s,
)
from planner.pricing.schedule import scheduled
from planner.pricing.served import Served
from planner.pricing.timing import timing_of
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
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology

GRAPH = tiny_graph(4)
MACHINE = tiny_topology(
    4, chip=tiny_chip(1e10), software=tiny_software(most_sequences=400, prefill_chunk_tokens=4096)
)  # fmt: skip
FELT = [(2000, 20), (2000, 60), (1000, 50)]
"""Prompt and output tokens where a prompt takes long beside the later tokens of a request."""
SIZES = [(200, 100), (50, 400), (1000, 200), (4000, 400)]
"""Where it does not: both count, decode counts, prompts count, long ones count."""


def plan_and_prices(graph=GRAPH, machine=MACHINE, **degrees):
    return pl.uniform_plan(graph, machine, **degrees), PriceList(graph, machine)


def in_service(prices, plan, workload):
    served = Served(prices.graph, prices.topology, workload)
    return Deployment(plan, [served] * len(plan.stages))


def timed(plan, prices, workload, sequences):
    at = scheduled(
        workload, prices.topology.software, batch_size=sequences * plan.replicas, replicas=plan.replicas,
        micro_batches=plan.micro_batches,
    )  # fmt: skip
    return timing_of(prices, plan, at)


def played(
    requests_per_s: float,
    prompt_s: float,
    steps_s: list[float],
    later_tokens: int,
    requests: int,
    seed: int,
):
    """Times of requests at a server that takes prompts first, one by one, and else makes a token
    for everybody in flight."""
    dice = random.Random(seed)
    clock, waiting, running = 0.0, [], []
    coming = dice.expovariate(requests_per_s)
    done: list[tuple[float, float, float]] = []
    while len(done) < requests:
        while coming <= clock:
            waiting.append(coming)
            coming += dice.expovariate(requests_per_s)
        if waiting:
            clock += prompt_s
            running.append([waiting.pop(0), clock, later_tokens])
        elif running:
            clock += steps_s[len(running)]
            for one in running:
                one[2] -= 1
            done += [
                (first - came, (clock - first) / later_tokens, clock - came)
                for came, first, left in running
                if not left
            ]
            running = [one for one in running if one[2]]
        else:
            clock = coming
    return dict(zip(SCATTERED, np.array(done[requests // 10 :]).T, strict=True))


def compared(prompt: int, output: int, load: float, requests: int, seed: int = 1):
    """Predicted and played quantiles."""
    plan, prices = plan_and_prices()
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=prompt, output_tokens=output)
    rate = load * most_requests_per_s(in_service(prices, plan, work))
    work = work.replace(requests_per_s=rate)
    score = pl.score_plan(plan, GRAPH, MACHINE, work)
    steps = [0.0, *(timed(plan, prices, work, n).decode.pass_s for n in range(1, 401))]
    times = played(rate, timed(plan, prices, work, 1).prompt_s, steps, output - 1, requests, seed)
    return score, times


def errors(
    prompt: int, output: int, load: float, requests: int, fields=SCATTERED
) -> dict[tuple[str, float], float]:
    """Predicted over played, less one, for each field and probability."""
    score, times = compared(prompt, output, load, requests)
    return {
        (field, share): score.percentile(field, share) / float(np.quantile(times[field], share)) - 1
        for field in fields
        for share in (0.5, 0.99)
    }


@pytest.mark.parametrize("load", [0.2, 0.8])
@pytest.mark.parametrize(("prompt", "output"), SIZES[:2])
def test_percentiles_are_those_of_a_server_that_is_played_through(prompt, output, load):
    assert max(map(abs, errors(prompt, output, load, 3000).values())) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.7, 0.8, 0.89])
@pytest.mark.parametrize(("prompt", "output"), SIZES)
def test_percentiles_hold_over_loads_and_sizes(prompt, output, load):
    assert max(map(abs, errors(prompt, output, load, 6000).values())) < 0.25


@pytest.mark.parametrize(("prompt", "output"), FELT)
def test_first_tokens_are_known_where_prompts_are_felt_and_later_ones_are_refused(prompt, output):
    assert max(map(abs, errors(prompt, output, 0.6, 3000, ("ttft_s",)).values())) < 0.15
    with pytest.raises(pl.InputError, match="prompt_tokens makes it"):
        errors(prompt, output, 0.6, 100, ("tpot_s",))


@pytest.mark.parametrize("load", [0.2, 0.8])
def test_means_are_those_of_a_server_that_is_played_through(load):
    score, times = compared(200, 100, load, 3000)
    for field in SCATTERED:
        assert getattr(score, field) == pytest.approx(times[field].mean(), rel=0.15)


def test_the_batch_is_the_smallest_at_which_as_many_leave_as_come():
    for graph, degrees in (
        (GRAPH, {}), (GRAPH, {"pipeline_parallel": 2}), (GRAPH, {"data_parallel": 2, "tensor_parallel": 2}),
        (tiny_moe(4), {"data_parallel": 4, "expert_parallel": 4}),
    ):  # fmt: skip
        plan, prices = plan_and_prices(graph, **degrees)
        work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=50)
        for share in (0.001, 0.1, 0.5, 0.9):
            rate = share * most_requests_per_s(in_service(prices, plan, work))
            loaded, each = work.replace(requests_per_s=rate), rate / plan.replicas
            tried = range(plan.micro_batches, 1601, plan.micro_batches)
            keeps_up = (
                n for n in tried if n >= each * timed(plan, prices, loaded, n).cycle_s * (1 - 1e-12)
            )
            assert busy_sequences(in_service(prices, plan, loaded)) == next(keeps_up)
            assert batch_of(in_service(prices, plan, loaded)) == plan.replicas * busy_sequences(
                in_service(prices, plan, loaded)
            )


def test_a_rate_that_nothing_keeps_up_with_is_refused_with_what_would_do():
    plan, prices = plan_and_prices()
    most = most_requests_per_s(in_service(prices, plan, pl.Workload(requests_per_s=1.0)))
    assert busy_sequences(in_service(prices, plan, pl.Workload(requests_per_s=1.01 * most))) == 0
    with pytest.raises(
        pl.InfeasibleError, match=r"^Workload\.requests_per_s = [^\n]+ requests a second"
    ) as caught:
        pl.score_plan(plan, GRAPH, MACHINE, pl.Workload(requests_per_s=2 * most))
    assert caught.value.capacity == pytest.approx(most)
    assert caught.value.demand == 2 * most


def test_the_workloads_batch_comes_before_the_plans_and_that_before_what_fits():
    plan, prices = plan_and_prices()
    plan = plan.replace(batch_size=3)
    assert batch_of(in_service(prices, plan, pl.Workload(batch_size=5))) == 5
    assert batch_of(in_service(prices, plan, pl.Workload(batch_size=None))) == 3
    assert (
        batch_of(in_service(prices, plan.replace(batch_size=None), pl.Workload(batch_size=None)))
        == 400
    )


def test_what_is_served_is_what_comes_and_what_is_held_is_paid_for():
    plan, _ = plan_and_prices()
    score = pl.score_plan(plan, GRAPH, MACHINE, pl.Workload(requests_per_s=7.0, output_tokens=50))
    assert score.tokens_per_s == 350.0
    assert score.energy_per_token_j == pytest.approx(score.power_w / 350.0)


def test_percentiles_grow_with_the_probability_and_with_the_rate():
    plan, prices = plan_and_prices()
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=100)
    most = most_requests_per_s(in_service(prices, plan, work))
    scores = [
        pl.score_plan(plan, GRAPH, MACHINE, work.replace(requests_per_s=share * most))
        for share in (0.01, 0.4, 0.8)
    ]
    for field in SCATTERED:
        table = np.array(
            [
                [score.percentile(field, share) for share in (0.1, 0.5, 0.9, 0.99)]
                for score in scores
            ]
        )
        assert (np.diff(table, axis=1) >= 0).all()
        assert (np.diff(table, axis=0) >= -1e-12).all()


def test_percentiles_end_where_the_load_comes_near_what_is_served():
    plan, prices = plan_and_prices()
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=100)
    near = work.replace(
        requests_per_s=(MOST_LOAD + 0.02) * most_requests_per_s(in_service(prices, plan, work))
    )
    with pytest.raises(pl.InputError, match=r"up to 90 % [^\n]+ lower the rate"):
        pl.score_plan(plan, GRAPH, MACHINE, near).percentile("ttft_s", 0.5)


def test_percentiles_end_where_requests_wait_for_room_in_memory():
    narrow = MACHINE.replace(software=MACHINE.software.replace(most_sequences=8))
    plan, prices = plan_and_prices(machine=narrow)
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=100)
    most = most_requests_per_s(in_service(prices, plan, work))
    few, many = (
        pl.score_plan(plan, GRAPH, narrow, work.replace(requests_per_s=share * most))
        for share in (0.1, 0.8)
    )
    assert few.percentile("ttft_s", 0.99) > few.ttft_s
    with pytest.raises(pl.InputError, match=r"wait for room in memory, [^\n]+ % of the time"):
        many.percentile("ttft_s", 0.99)


@pytest.mark.parametrize(("field", "share"), [("chips", 0.5), ("ttft_s", 0.0), ("ttft_s", 1.0)])
def test_a_percentile_of_nothing_is_refused(field, share):
    plan, _ = plan_and_prices()
    with pytest.raises(pl.InputError):
        pl.score_plan(plan, GRAPH, MACHINE, pl.Workload(requests_per_s=1.0)).percentile(
            field, share
        )


def test_without_a_rate_there_are_no_percentiles():
    plan, _ = plan_and_prices()
    with pytest.raises(pl.InputError, match="requests_per_s"):
        pl.score_plan(plan, GRAPH, MACHINE, pl.Workload()).percentile("ttft_s", 0.5)


def test_a_diffusion_model_has_no_rate_of_requests():
    graph, machine = pl.load_model("sdxl"), pl.load_topology("hgx-h100", chips=1)
    with pytest.raises(pl.InputError, match="language models"):
        pl.score_plan(
            pl.uniform_plan(graph, machine), graph, machine, pl.Workload(requests_per_s=1.0)
        )


# ── On paper ──────────────────────────────────────────────────────────────────────────────────────


def loaded(**changes) -> Load:
    """One request every two seconds, each of which stays for two whoever else is there: 1 is in
    flight on average. Among n a token takes n seconds."""
    numbers = {
        "requests_per_s": 0.5,
        "most_requests_per_s": 1.0,
        "prompt_s": 1.0,
        "queue_s": 0.5,
        "round_s": 0.0,
        "unloaded_ttft_s": 10.0,
        "later_tokens": 100,
        "sequences": (1, 41),
        "tpots_s": (1.0, 41.0),
        "cycles_s": (2.0, 2.0),
    }
    return Load(**{**numbers, **changes})


@pytest.mark.parametrize(
    ("share", "among"), [(0.36, 1), (0.38, 2), (0.73, 2), (0.74, 3), (0.91, 3), (0.93, 4)]
)
def test_a_request_finds_as_many_others_as_poisson_says(share, among):
    # 0, 1, 2 others with probability 1/e, 1/e, 1/2e: sums of 0.368, 0.736, 0.920.
    assert loaded().percentile("tpot_s", share) == among


def test_half_of_all_find_nobody_before_them_and_one_in_a_hundred_waits_long():
    # The tail of equal services at a load of one half: 0.661 e^(-1.2564 t).
    assert loaded().percentile("ttft_s", 0.4) == pytest.approx(10.0, abs=1e-6)
    assert loaded().percentile("ttft_s", 0.99) == pytest.approx(
        10 + math.log(66.1) / 1.2564, rel=1e-3
    )


def test_a_request_comes_at_any_time_of_a_round():
    idle = loaded(requests_per_s=1e-9, round_s=8.0, queue_s=0.0)
    for share in (0.25, 0.5, 0.75):
        assert idle.percentile("ttft_s", share) == pytest.approx(10 + 8 * share, abs=8 / 32)
    # Alone, its hundred tokens take a hundred seconds more.
    assert idle.percentile("request_s", 0.5) == pytest.approx(110 + 4, abs=8 / 32)
    assert idle.percentile("tpot_s", 0.99) == 1.0


def test_a_load_says_where_its_percentiles_end():
    assert loaded().load_fraction == 0.5
    assert loaded(later_tokens=8).prompt_share == 0.125
    assert loaded(later_tokens=7).percentile("tpot_s", 0.5) == 2.0  # a prompt takes a seventh
    with pytest.raises(pl.InputError, match="makes it 17 %"):
        loaded(later_tokens=6).percentile("tpot_s", 0.5)
    assert loaded(later_tokens=6).percentile("ttft_s", 0.4) == pytest.approx(10.0)
    assert loaded(most_requests_per_s=0.5 / 0.9).load_fraction <= MOST_LOAD
    with pytest.raises(pl.InputError, match=r"92\.6 % of it"):
        loaded(most_requests_per_s=0.54).percentile("ttft_s", 0.5)
    with pytest.raises(pl.InputError, match="ask for ttft_s"):
        loaded(later_tokens=0).percentile("request_s", 0.5)
    with pytest.raises(pl.InputError, match="ask for tpot_s"):
        loaded(prompt_s=0.0).percentile("ttft_s", 0.5)
    # 1 in flight on average: five places are full 0.3 % of the time, 0.6 % with those that wait;
    # six places a tenth of it.
    with pytest.raises(pl.InputError, match=r"full 0.6 % of the time"):
        loaded(sequences=(1, 5), tpots_s=(1.0, 5.0)).percentile("tpot_s", 0.5)
    assert loaded(sequences=(1, 6), tpots_s=(1.0, 6.0)).percentile("tpot_s", 0.5) == 2.0


SMALL = chain(layer("a", matmul()), layer("b", attention()), layer("c", head(), kind="head"))
"""A decode pass of n sequences of 5.5 tokens: 26 + 6 n s, then 22 n + 8 n s, three launches; a
prompt of 4 takes 78 s."""


def test_what_is_served_is_bound_by_rounds_and_by_prompts():
    large = round_chip().memory[0].replace(capacity_bytes=1e5)
    machine = round_machine(
        2,
        chip=round_chip(memory=(large,)),
        software={"most_sequences": 4, "interruption_share": 0.5},
    )
    prices = PriceList(SMALL, machine)
    work = pl.Workload(requests_per_s=1e-3, prompt_tokens=4, output_tokens=3)
    plan = plan_of(stage("a", "b", "c", replicas=2))

    def stays_s(n: int) -> float:
        """Half a round, its prompt, and two tokens, which wait for half of the prompts of n
        others."""
        round_s = 20 + 36 * n + 3
        return round_s / 2 + 78 + 2 * round_s + n * 78 / 2

    four = timed(plan, prices, work, 4)
    assert four.cycle_s == pytest.approx(stays_s(4))
    assert most_requests_per_s(in_service(prices, plan, work)) == pytest.approx(2 * 4 / stays_s(4))
    at = scheduled(work, machine.software, batch_size=2, replicas=2, micro_batches=1)
    load = load_of(in_service(prices, plan, work), at, timed(plan, prices, work, 1))
    assert (load.requests_per_s, load.prompt_s, load.later_tokens) == (5e-4, 78.0, 2)
    assert load.most_requests_per_s == pytest.approx(4 / stays_s(4))
    assert load.round_s == 59.0
    assert load.unloaded_ttft_s == pytest.approx(78.0)
    assert load.queue_s == pytest.approx(5e-4 * 78 * 78 / (2 * (1 - 5e-4 * 78)))
    assert load.sequences == (1, 2, 4)
    assert load.cycles_s == pytest.approx([stays_s(n) for n in (1, 2, 4)])
    assert load.tpots_s == pytest.approx([20 + 36 * n + 3 + n * 39 / 2 for n in (1, 2, 4)])
    # The fewest that leave as fast as they come: with one in flight stays_s(1) × rate must be at
    # most one.
    for count in (1, 2, 3, 4):
        just = work.replace(requests_per_s=2 * count / stays_s(count) * 0.999)
        assert busy_sequences(in_service(prices, plan, just)) == count
        assert batch_of(in_service(prices, plan, just)) == 2 * count
    assert (
        busy_sequences(
            in_service(prices, plan, work.replace(requests_per_s=2 * 4 / stays_s(4) * 1.001))
        )
        == 0
    )


def test_a_prefill_pool_serves_a_prompt_after_the_other():
    machine = round_machine(2)
    prices, plan = PriceList(SMALL, machine), plan_of(stage("a", "b", "c", replicas=2))
    work = pl.Workload(phase="prefill", prompt_tokens=4, output_tokens=3)
    assert batch_of(in_service(prices, plan, work)) == 2
    rated = work.replace(requests_per_s=1e-3)
    assert most_requests_per_s(in_service(prices, plan, rated)) == pytest.approx(2 / 78)
    assert busy_sequences(in_service(prices, plan, rated)) == 1
    assert busy_sequences(in_service(prices, plan, work.replace(requests_per_s=2.01 / 78))) == 0
