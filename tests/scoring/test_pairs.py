"""What a pair of machines costs, by hand; the rules of its plans; laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.machines.topology import Price
from planner.plan import PairedPlan
from planner.scoring.disaggregated import Link
from planner.scoring.pairs import score_pairing
from tests.by_hand import plan_of, round_chip, round_machine, stage
from tests.instances import FOLLOWING
from tests.pricing.test_pairs import ROUTED, WORK, paired, two_layers


def machine_of(capacity_bytes):
    memory = round_chip().memory[0].replace(capacity_bytes=capacity_bytes)
    return round_machine(4, chip=round_chip(memory=(memory,)))


MACHINE = machine_of(1e4)
LINK = Link(bandwidth_bytes_per_s=10.0, latency_s=2.0)


def scored(plan=None, work=WORK, link=LINK, graph=None, **changes):
    machines = {"attention": MACHINE, "experts": MACHINE} | changes
    return score_pairing(plan or paired(), graph or two_layers(), work, link=link, **machines)


def test_a_pair_by_hand():
    score = scored()
    # 149 s of attention, 34 of feed-forward parts and 24 on the link (see `test_pairs` of pricing).
    assert score.tpot_s == pytest.approx(207)
    assert (score.attention.time.total_s, score.experts.time.total_s) == pytest.approx((149, 34))
    assert (score.transfer_s, score.waiting_s) == pytest.approx((24, 0))
    assert score.slowest == "its own way"
    # One later token, and half a round until the turn.
    assert score.request_s == pytest.approx(1.5 * 207)
    assert score.requests_per_s == pytest.approx(2 / 310.5)
    assert score.tokens_per_s == pytest.approx(4 / 310.5)
    assert score.tokens_per_s_per_user == pytest.approx(1 / 207)
    assert score.chips == 3
    assert score.tokens_per_s_per_chip == pytest.approx(4 / 310.5 / 3)
    assert score.power_w == pytest.approx(450)
    assert (score.attention.power_w, score.experts.power_w) == pytest.approx((150, 300))
    assert score.energy_per_token_j == pytest.approx(450 * 310.5 / 4)
    assert score.usd_per_hour == pytest.approx(3 * 3.6)
    assert score.usd_per_million_tokens == pytest.approx(1e6 * 3 * 0.001 * 310.5 / 4)
    # Weights: two outputs and a head of 100 B; a feed-forward matmul of 100 B. Caches of 40 B for a
    # token in each of two layers: 4 tokens of each sequence on average, one more of the longest.
    assert score.attention.weight_bytes == 300
    assert score.attention.kv_bytes == 2 * 40 * (2 * 4 + 1)
    assert (score.experts.weight_bytes, score.experts.kv_bytes) == (100, 0)
    assert score.sent_bytes_per_token == 2 * 2 * 20


def test_more_micro_batches_wait_for_the_busiest():
    score = scored(paired(4, 2), WORK.replace(batch_size=4))
    assert score.tpot_s == pytest.approx(298)
    assert score.slowest == "attention"
    assert score.waiting_s == pytest.approx(298 - 207)
    assert score.attention.busy_fraction == pytest.approx(1)
    assert score.experts.busy_fraction == pytest.approx(2 * 17 / 298)
    assert score.link_busy_fraction == pytest.approx(2 * 8 / 298)


def test_the_causes_of_a_token_sum_to_its_time():
    for plan in (paired(), paired(2, 2), paired(2, tensor=2)):
        score = scored(plan)
        assert sum(each.total_s for each in score.breakdown) == pytest.approx(score.tpot_s)


def test_machines_of_other_kinds_are_counted_alike():
    bare = MACHINE.replace(power=MACHINE.power.replace(system_w=None))
    score = scored(experts=bare)
    assert (score.power_scope, score.power_w) == ("chip", pytest.approx(300))
    silent = MACHINE.replace(power=MACHINE.power.replace(system_w=None, chip_w=None))
    score = scored(experts=silent)
    assert (score.power_scope, score.energy_per_token_j) == ("unknown", None)
    unpriced = MACHINE.replace(price=Price())
    score = scored(attention=unpriced)
    assert (score.usd_per_hour, score.usd_per_million_tokens) == (None, None)
    assert score.price_basis == "unknown"


def test_watts_follow_what_each_machine_does():
    machine = MACHINE.replace(power=FOLLOWING)
    score = scored(attention=machine, experts=machine)
    assert score.power_w == pytest.approx(score.attention.power_w + score.experts.power_w)
    assert score.attention.power_w > score.experts.power_w / 2  # one busy chip, two that wait


@pytest.mark.parametrize(
    ("plan", "words"),
    [(paired(experts=(stage("a"),)), "no stage runs"),
     (paired(experts=(stage("b"), stage("a", first=1))), "stage 1 runs 'a'"),
     (paired(experts=(stage("a"), stage("b"))), "two groups use chip 0"),
     (paired(experts=(stage("a", "b", chips=2),)), "stage 0: its chips are split by"),
     (paired(experts=(stage("a", "b", chips=2, expert_parallel=2),)), "its layers have 1 experts"),
     (paired(1, 2), "1 sequences cannot be cut into 2 micro-batches"),
     (paired(replicas=5), "a stage uses chip 4, but round has chips 0 to 3"),
     (PairedPlan(attention=plan_of(stage("a", "b", "c", chips=2)), experts=paired().experts,
                 batch_size=2), "sequences are shared out over replicas")],
)  # fmt: skip
def test_a_plan_that_breaks_a_rule_is_told_which(plan, words):
    with pytest.raises(pl.PlannerError, match=words):
        scored(plan)


def test_what_does_not_fit_is_said_with_figures():
    with pytest.raises(
        pl.InfeasibleError, match="a chip of the attention machine would hold"
    ) as no:
        scored(paired(), attention=machine_of(400.0))
    assert no.value.demand > no.value.capacity == 400
    with pytest.raises(pl.InfeasibleError, match="a chip of the experts machine would hold"):
        scored(experts=machine_of(90.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"phase": "both"}, "Workload.phase: a pair of attention and feed-forward machines runs decode only"),
     ({"queued": 1}, "needs a batch_size"),
     ({"requests_per_s": 1.0, "batch_size": None}, "needs a batch_size"),
     ({"speculation": pl.Speculation()}, "drafts cannot be priced for a pair")],
)  # fmt: skip
def test_workloads_that_are_none_of_its_are_refused(changes, words):
    with pytest.raises(pl.InputError, match=words):
        scored(work=WORK.replace(**changes))


def test_halves_of_a_plan_belong_together():
    one, two = plan_of(stage("a")), plan_of(stage("a"), micro_batches=2)
    with pytest.raises(pl.InputError, match="the same micro_batches, not 1 and 2"):
        PairedPlan(attention=one, experts=two, batch_size=1)
    long = plan_of(stage("a"), stage("b", first=1))
    with pytest.raises(pl.InputError, match="attention runs in one stage"):
        PairedPlan(attention=long, experts=one, batch_size=1)
    twice = plan_of(stage("a", replicas=2))
    with pytest.raises(pl.InputError, match="held once, for all replicas"):
        PairedPlan(attention=one, experts=twice, batch_size=1)


def test_plans_and_scores_survive_json():
    plan, score = paired(2, 2), scored(paired(2, 2))
    assert PairedPlan.from_json(plan.to_json()) == plan
    assert pl.PairedScore.from_json(score.to_json()) == score


@pytest.mark.slow
@settings(max_examples=30)
@given(
    bandwidth=st.floats(0.1, 1e6),
    wider=st.floats(1.0, 1e3),
    latency=st.floats(0.0, 10.0),
    batch=st.integers(1, 3),
    micro=st.integers(1, 3),
    straight=st.booleans(),
)
def test_a_wider_and_nearer_link_is_never_slower(bandwidth, wider, latency, batch, micro, straight):
    ways = {"expert_parallel": 2} if straight else {"tensor_parallel": 2, "expert_parallel": 2}
    plan = paired(3 * batch, micro, experts=(stage("a", "b", chips=2, **ways),))
    work, graph = WORK.replace(batch_size=3 * batch), two_layers(ROUTED)
    roomy = machine_of(1e6)
    link = Link(bandwidth_bytes_per_s=bandwidth, latency_s=latency)
    better = Link(bandwidth_bytes_per_s=bandwidth * wider, latency_s=latency / wider)
    slow, fast = (
        scored(plan, work, each, graph, attention=roomy, experts=roomy) for each in (link, better)
    )
    assert fast.tpot_s <= slow.tpot_s
    assert fast.tokens_per_s >= slow.tokens_per_s
