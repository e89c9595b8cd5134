"""What a rate of requests brings about, against a server that is played through event by event."""

import random

import numpy as np
import pytest

import planner as pl
from planner.pricing.price_list import price_list_of
from planner.pricing.queueing import (
    MOST_LOAD,
    SCATTERED,
    batch_of,
    busy_sequences,
    most_requests_per_s,
)
from planner.pricing.schedule import scheduled
from planner.pricing.timing import timing_of
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
    return pl.uniform_plan(graph, machine, **degrees), price_list_of(graph, machine)


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
    rate = load * most_requests_per_s(prices, plan, work)
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
            rate = share * most_requests_per_s(prices, plan, work)
            loaded, each = work.replace(requests_per_s=rate), rate / plan.replicas
            tried = range(plan.micro_batches, 401, plan.micro_batches)
            keeps_up = (
                n for n in tried if n >= each * timed(plan, prices, loaded, n).cycle_s * (1 - 1e-12)
            )
            assert busy_sequences(prices, plan, loaded) == next(keeps_up)
            assert batch_of(prices, plan, loaded) == plan.replicas * busy_sequences(
                prices, plan, loaded
            )


def test_a_rate_that_nothing_keeps_up_with_is_refused_with_what_would_do():
    plan, prices = plan_and_prices()
    most = most_requests_per_s(prices, plan, pl.Workload(requests_per_s=1.0))
    assert busy_sequences(prices, plan, pl.Workload(requests_per_s=1.01 * most)) == 0
    with pytest.raises(
        pl.InfeasibleError, match=r"^Workload\.requests_per_s = [^\n]+ requests a second"
    ) as caught:
        pl.score_plan(plan, GRAPH, MACHINE, pl.Workload(requests_per_s=2 * most))
    assert caught.value.capacity == pytest.approx(most)
    assert caught.value.demand == 2 * most


def test_the_workloads_batch_comes_before_the_plans_and_that_before_what_fits():
    plan, prices = plan_and_prices()
    plan = plan.replace(batch_size=3)
    assert batch_of(prices, plan, pl.Workload(batch_size=5)) == 5
    assert batch_of(prices, plan, pl.Workload(batch_size=None)) == 3
    assert batch_of(prices, plan.replace(batch_size=None), pl.Workload(batch_size=None)) == 400


def test_what_is_served_is_what_comes_and_what_is_held_is_paid_for():
    plan, _ = plan_and_prices()
    score = pl.score_plan(plan, GRAPH, MACHINE, pl.Workload(requests_per_s=7.0, output_tokens=50))
    assert score.tokens_per_s == 350.0
    assert score.energy_per_token_j == pytest.approx(score.power_w / 350.0)


def test_percentiles_grow_with_the_probability_and_with_the_rate():
    plan, prices = plan_and_prices()
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=100)
    most = most_requests_per_s(prices, plan, work)
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
    near = work.replace(requests_per_s=(MOST_LOAD + 0.02) * most_requests_per_s(prices, plan, work))
    with pytest.raises(pl.InputError, match=r"up to 90 % [^\n]+ lower the rate"):
        pl.score_plan(plan, GRAPH, MACHINE, near).percentile("ttft_s", 0.5)


def test_percentiles_end_where_requests_wait_for_room_in_memory():
    narrow = MACHINE.replace(software=MACHINE.software.replace(most_sequences=8))
    plan, prices = plan_and_prices(machine=narrow)
    work = pl.Workload(requests_per_s=1.0, prompt_tokens=200, output_tokens=100)
    most = most_requests_per_s(prices, plan, work)
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
