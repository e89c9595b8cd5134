"""The greatest rate at which percentiles hold, against an oracle that halves the rate of every
plan."""

import random

import pytest

import planner as pl
from planner.report.text import question_lines
from tests.engine_questions import CONSTANT, random_case, random_machine
from tests.instances import tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.lanes import some, spread
from tests.stream_oracle import (
    all_reached,
    keeps,
    open_stream,
    per_chip,
    score_at,
    stream_plans,
)

MACHINES = some(6, 40)
MOST_PLANS = some(50, 150)
NAMES = ("ttft_p99_s", "tpot_p99_s", "ttft_p50_s", "tpot_p90_s", "request_p95_s")

H100 = pl.load_topology("hgx-h100", chips=8)
LLAMA = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
CHAT = open_stream(1024, 256)
PROMISE = {"ttft_p99_s": 2.0, "tpot_p99_s": 0.04}


def asked_of(number):
    """A small case and what is promised; None where the machine's engine is of no use here."""
    machine = random_machine(number)
    engine = machine.software.engine
    if not engine.is_known or engine.micro_batches == "sequences":
        return None
    dice = random.Random(f"stream {number}")
    case = random_case(dice, machine)
    work = case.workload
    if work.phase != "both" or work.speculation:
        return None
    case = case._replace(
        exclude=(),
        topology=case.topology.replace(power=CONSTANT),
        workload=open_stream(work.prompt_tokens, max(2, work.output_tokens)),
    )
    plans = stream_plans(case)
    if not 0 < len(plans) <= MOST_PLANS:
        return None
    one = dice.choice(plans)
    idle = score_at(case, one, 1e-6)
    if idle is None:
        return None
    rate = one.replicas * idle.load.most_requests_per_s * dice.choice((0.2, 0.5, 0.8))
    busy = score_at(case, one, rate)
    if busy is None:
        return None
    limits = {name: getattr(busy, name) * dice.choice((1.0, 1.3)) for name in dice.sample(NAMES, 2)}
    if dice.random() < 0.3:
        limits["tpot_s"] = busy.tpot_s * 1.05
    return case, limits


@pytest.mark.slow
@pytest.mark.parametrize("number", range(MACHINES))
def test_no_plan_keeps_its_promises_at_a_greater_rate(number):
    asked = asked_of(number)
    if asked is None:
        return
    case, limits = asked
    reached = all_reached(case, limits)
    best = max(one.requests_per_s for one in reached)
    chips = min(per_chip(one) for one in reached)
    fields = {"tokens_per_s": best * case.workload.output_tokens}
    if best:
        price = case.topology.price.usd_per_chip_hour
        per_token = chips * price / 3600 / case.workload.output_tokens * 1e6 if price else None
        fields |= {} if per_token is None else {"usd_per_million_tokens": per_token}
    for field, wanted in fields.items():
        direction = "maximize" if field == "tokens_per_s" else "minimize"
        try:
            result = pl.partition(*case[:3], limits=limits, **{direction: field})
        except pl.InfeasibleError:
            assert best == 0
            continue
        assert result.objective == pytest.approx(wanted, rel=1e-7)
        sign = 1 if direction == "maximize" else -1
        assert sign * result.bound >= sign * wanted * (1 - sign * 1e-7)
        assert keeps(result.score, limits)
        again = pl.score_plan(result.plan, *case[:3])
        assert getattr(again, field) == pytest.approx(result.objective, rel=1e-12)


@pytest.mark.slow
def test_a_greater_rate_breaks_a_promise():
    result = pl.partition(LLAMA, H100, CHAT, maximize="tokens_per_s", limits=PROMISE)
    assert result.status == "optimal"
    rate = result.plan.requests_per_s
    assert result.score.tokens_per_s == pytest.approx(256 * rate)
    assert result.score.tpot_p99_s <= 0.04
    more = pl.score_plan(result.plan, LLAMA, H100, CHAT.replace(requests_per_s=1.01 * rate))
    assert more.tpot_p99_s > 0.04
    assert check_verified(result)


def check_verified(result):
    return pl.verify(result.certificate()).confirmed


@pytest.mark.slow
def test_what_is_promised_more_surely_is_promised_to_fewer():
    rates = []
    for sure in spread([None, 0.8, 0.95], 2):
        result = pl.partition(LLAMA, H100, CHAT, maximize="tokens_per_s", limits=PROMISE, sure=sure)
        rates.append(result.plan.requests_per_s)
        if sure is not None:
            assert result.score.sure("tpot_p99_s", sure) <= 0.04 * (1 + 1e-9)
            assert result.score.sure("ttft_p99_s", sure) <= 2.0 * (1 + 1e-9)
            assert check_verified(result)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]


@pytest.mark.slow
def test_the_fewest_chips_that_keep_a_promise_at_a_rate():
    work = CHAT.replace(requests_per_s=10.0)
    result = pl.partition(LLAMA, H100, work, minimize="chips", limits=PROMISE)
    assert result.score.tpot_p99_s <= 0.04
    assert check_verified(result)
    fewer = result.score.chips - 1
    smaller = pl.load_topology("hgx-h100", chips=fewer)
    with pytest.raises(pl.InfeasibleError):
        pl.partition(LLAMA, smaller, work, minimize="chips", limits=PROMISE)


@pytest.mark.slow
def test_a_forged_rate_is_found_out():
    certificate = pl.partition(
        LLAMA, H100, CHAT, maximize="tokens_per_s", limits=PROMISE
    ).certificate()
    modest = certificate.replace(
        plan=certificate.plan.replace(requests_per_s=0.9 * certificate.plan.requests_per_s),
        objective=0.9 * certificate.objective,
        bound=0.9 * certificate.bound,
    )
    assert not pl.verify(modest).confirmed
    greedy = certificate.replace(
        plan=certificate.plan.replace(requests_per_s=1.1 * certificate.plan.requests_per_s),
        objective=1.1 * certificate.objective,
        bound=1.1 * certificate.bound,
    )
    with pytest.raises(pl.InputError, match="misses its limit: tpot_p99_s"):
        pl.verify(greedy)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"minimize": "tpot_s"},
            "Workload.requests_per_s is open, and tpot_s does not say which rate",
        ),
        ({"maximize": "tokens_per_s", "space": "any"}, "needs space 'engine'"),
        ({"maximize": "tokens_per_s", "sure": 0.4}, "above 0.5"),
        ({"maximize": "tokens_per_s", "limits": {"ttft_p98_s": 1.0}}, "ttft_p9[59]_s"),
        ({"maximize": "tokens_per_s", "limits": {"mfu_fraction": 0.1}}, "is fixed by the rate"),
    ],
)
def test_wrong_questions_get_one_sentence(wrong, says):
    with pytest.raises(pl.InputError, match=says) as caught:
        pl.partition(LLAMA, H100, CHAT, **{"limits": PROMISE, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_promise_that_nobody_can_keep_says_what_can_be():
    with pytest.raises(pl.InfeasibleError, match="ttft_p99_s"):
        pl.partition(LLAMA, H100, CHAT, maximize="tokens_per_s", limits={"ttft_p99_s": 0.001})


def test_the_question_says_that_the_rate_is_open():
    assert any("the most requests a second" in line for line in question_lines(LLAMA, H100, CHAT))


def test_an_open_rate_needs_somebody_to_state_it():
    plan = pl.uniform_plan(LLAMA, H100, tensor_parallel=8)
    with pytest.raises(pl.InputError, match="arrivals 'poisson' needs a rate"):
        pl.score_plan(plan, LLAMA, H100, CHAT)
    score = pl.score_plan(plan.replace(requests_per_s=2.0), LLAMA, H100, CHAT)
    assert score == pl.score_plan(plan, LLAMA, H100, CHAT.replace(requests_per_s=2.0))


def test_no_time_is_no_proof():
    software = tiny_software(most_sequences=8)
    machine = tiny_topology(2, chip=tiny_chip(1e9), software=software)
    with pytest.raises(pl.NoPlanFoundError):
        pl.partition(
            tiny_graph(3), machine, open_stream(16, 8), maximize="tokens_per_s",
            limits={"ttft_p99_s": 10.0}, time_limit_s=0.0,
        )  # fmt: skip
