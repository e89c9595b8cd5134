"""Drafted tokens: what they cost, against plain passes and the oracle, and what they must never
bring."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import FIELDS
from planner.machines.topology import Power, with_value
from planner.pricing.drafts import DraftingPriceList, serving_prices
from planner.pricing.holdings import StageHoldings
from planner.pricing.price_list import PriceList, Split, Step, reach_of
from planner.pricing.schedule import scheduled
from planner.pricing.served import Served
from planner.workload import Speculation
from tests.by_hand import ALONE, attention, chain, head, layer, matmul, round_machine
from tests.instances import (
    CONSTANT,
    SHAPES,
    fabric,
    random_cluster,
    random_graph,
    random_topology,
    random_workload,
    tiny_chip,
    tiny_graph,
    tiny_moe,
    tiny_topology,
)
from tests.lanes import mostly_slow, paired
from tests.oracle import HIGHER_IS_BETTER, best_plan, best_pooled_plan

DRAFT = tiny_graph(1, hidden=256, ffn=512, heads=2, kv_heads=1)
FOUR = tiny_graph(1, ffn=0, experts=4, experts_active=2, expert_ffn=1024)
WORK = pl.Workload(batch_size=3, prompt_tokens=64, output_tokens=16, arrivals="together")
SPECULATION = Speculation(draft=DRAFT, tokens=3, acceptance_rate=0.5)
PASS = 1 + 0.5 + 0.25 + 0.125


def drafted(dice: random.Random) -> Speculation:
    draft = dice.choice(
        (None, DRAFT, tiny_graph(2, hidden=256, ffn=512, heads=3, kv_heads=3, tied_embedding=True))
    )
    return Speculation(
        draft=draft,
        tokens=dice.choice((1, 2, 5)),
        acceptance_rate=dice.choice((0.0, 0.4, 0.8, 1.0)),
    )


def random_plan(dice: random.Random, graph, machine, workload):
    """Any plan of one stage that fits; None where none does."""
    for tensor in dice.sample((1, 2), 2):
        try:
            plan = pl.uniform_plan(graph, machine, tensor_parallel=tensor)
            pl.score_plan(plan, graph, machine, workload)
        except (pl.InputError, pl.InfeasibleError):
            continue
        return plan
    return None


@pytest.mark.parametrize("split", [Split(), Split(tensor=2), Split(tensor=2, attention=2)])
def test_a_decode_pass_verifies_all_drafted_tokens_after_as_many_passes_of_the_draft(split):
    graph, machine = tiny_graph(2), tiny_topology(4)
    workload, reach = WORK.replace(speculation=SPECULATION), reach_of(machine, split, 0)
    step = scheduled(workload, machine.software, batch_size=4, replicas=1, micro_batches=1).decode
    assert step == Step(16.0, 4.0, 72.0, True)
    counts, narrow = np_counts(graph), Split(min(split.tensor, 2), 1, 1, split.attention)
    verified = PriceList(graph, machine).prices(split, step, reach).seconds @ counts
    draft = PriceList(DRAFT, machine).prices(
        narrow, Step(4.0, 4.0, 72.0, True), reach
    ).seconds @ np_counts(DRAFT)
    whole = serving_prices(graph, machine, workload).prices(split, step, reach).seconds @ counts
    assert whole == pytest.approx(verified + 3 * draft)


def test_each_drafted_token_takes_what_it_takes_besides_the_passes():
    graph, step = tiny_graph(2), Step(16.0, 4.0, 72.0, True)
    prompt = Step(64.0, 1.0, 32.0, False)
    plain = tiny_topology(1)
    slow = with_value(plain, "software.draft_overhead_s", 3e-4)
    workload = WORK.replace(speculation=SPECULATION)
    for steps, more in ((step, 3 * 3e-4), (prompt, 0.0)):
        seconds = [
            serving_prices(graph, machine, workload)
            .prices(Split(), steps, reach_of(machine, Split(), 0))
            .seconds
            @ np_counts(graph)
            for machine in (plain, slow)
        ]
        assert (seconds[1] - seconds[0]).tolist() == pytest.approx([0, 0, 0, more], abs=1e-12)
    # Tokens that are looked up in the prompt come at no cost.
    free = WORK.replace(speculation=SPECULATION.replace(draft=None))
    found = [
        pl.score_plan(pl.uniform_plan(graph, machine), graph, machine, free).tpot_s
        for machine in (plain, slow)
    ]
    assert found[0] == found[1]


def gains(graph, machine, plan, loads) -> list[float]:
    """By how much three drafted tokens quicken a plan under each load."""
    speculation = Speculation(draft=graph.cut(1), tokens=3, acceptance_rate=0.7)
    workloads = [pl.Workload(batch_size=load, output_tokens=1024) for load in loads]
    found = []
    for workload in workloads:
        plain = pl.score_plan(plan, graph, machine, workload)
        drafted = pl.score_plan(plan, graph, machine, workload.replace(speculation=speculation))
        found.append(plain.tpot_s / drafted.tpot_s)
    return found


def test_drafts_gain_less_the_more_are_in_flight():
    machine = pl.load_topology("hgx-b200", software="tensorrt-llm")
    graph = pl.load_model("llama-3.1-70b", weight_dtype="fp8")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=1)
    found = gains(graph, machine, plan, [1, 2, 4, 8, 16, 32, 64])
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.2 * found[-1]


def test_with_experts_the_gain_dips_where_verifying_touches_more_of_them():
    # Of 256 experts, 8 for a token, eight sequences touch 1 - (1 - 1/32)^8 = 22 %, and the 32
    # tokens that are verified 64 %: 2.8 times as much to read. 128 sequences touch 98 % either
    # way, so drafts gain more again before arithmetic and messages take it: "under medium batch
    # sizes, MoE surprisingly benefits more" (MoESD, arXiv 2505.19645).
    machine = pl.load_topology("hgx-b200", software="tensorrt-llm")
    graph = pl.load_model("deepseek-v3", weight_dtype="fp8", kv_dtype="fp8")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=8)
    found = gains(graph, machine, plan, [1, 2, 4, 8, 128, 256, 512])
    assert found[:4] == sorted(found[:4], reverse=True)
    assert found[4:] == sorted(found[4:], reverse=True)
    assert max(found) == found[0]
    assert found[3] < found[4]


def test_a_drafted_token_costs_what_was_measured():
    # TensorRT-LLM, DeepSeek-R1 in NVFP4 on eight B200, one user (LEV-00531 to 00536): a pass takes
    # 9.0 ms without drafts and 12.6 with five, 0.72 ms for each.
    machine = pl.load_topology("hgx-b200", software="tensorrt-llm")
    graph = pl.load_model("deepseek-r1", weight_dtype="nvfp4")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=8)
    workload = pl.Workload(batch_size=1, output_tokens=2048)
    passes = [pl.score_plan(plan, graph, machine, workload).tpot_s]
    for tokens in (1, 5):
        speculation = Speculation(draft=graph.cut(1), tokens=tokens, acceptance_rate=0.5)
        drafted = workload.replace(speculation=speculation)
        taken_s = pl.score_plan(plan, graph, machine, drafted).tpot_s
        passes.append(taken_s * speculation.tokens_per_pass)
    assert (passes[2] - passes[0]) / 5 == pytest.approx(0.72e-3, rel=0.15)
    assert passes[1] - passes[0] == pytest.approx(0.7e-3, rel=0.15)


def np_counts(graph) -> list[float]:
    return [float(count) for count in graph.kind_counts]


def test_verifying_reads_weights_and_caches_once_and_works_on_every_token():
    graph, machine = tiny_graph(2), tiny_topology(1, fabric("switch", 2))
    prices, reach = PriceList(graph, machine), reach_of(machine, Split(), 0)
    one, four = (
        prices.prices(Split(), Step(tokens, 2.0, 1e6, True), reach) for tokens in (2.0, 8.0)
    )
    assert four.flop == pytest.approx(4 * one.flop)
    cache = 2 * 1e6 * graph.kv_bytes_per_token
    assert one.moved_bytes @ np_counts(graph) > cache
    assert four.moved_bytes @ np_counts(graph) < 1.01 * cache + graph.weight_bytes
    batch = prices.prices(Split(), Step(8.0, 8.0, 1e6, True), reach)
    assert batch.flop == pytest.approx(four.flop)
    assert batch.moved_bytes @ np_counts(graph) > 3.9 * cache


def test_verifying_touches_more_experts():
    graph, machine = tiny_moe(2), tiny_topology(1, fabric("switch", 2))
    plan = pl.uniform_plan(graph, machine)
    plain, more = (
        pl.score_plan(
            plan, graph, machine, WORK.replace(batch_size=1, speculation=speculation)
        ).stages[0]
        for speculation in (None, Speculation(tokens=7))
    )
    experts = sum(
        operator.weight_bytes
        for layer in graph.layers
        for operator in layer.operators
        if operator.kind == "experts"
    )
    touched = (1 - (1 - 2 / 8) ** 8) - 2 / 8
    assert more.decode_moved_bytes - plain.decode_moved_bytes == pytest.approx(
        touched * experts, rel=0.1
    )


def test_a_token_takes_its_share_of_a_round_and_the_breakdown_sums_to_it():
    graph, machine = tiny_graph(2), tiny_topology(4)
    plan = pl.uniform_plan(graph, machine, tensor_parallel=2, pipeline_parallel=2)
    score = pl.score_plan(plan, graph, machine, WORK.replace(speculation=SPECULATION))
    turn = max(stage.decode_s for stage in score.stages)
    assert turn == score.stages[1].decode_s
    assert score.tpot_s == pytest.approx(2 * turn / PASS)
    assert sum(part.total_s for part in score.breakdown) == pytest.approx(score.tpot_s)
    assert score.request_s == pytest.approx(score.ttft_s + 15 * score.tpot_s)


def test_the_last_stage_holds_the_draft_its_caches_and_room_for_what_is_drafted():
    graph, machine = tiny_graph(2), tiny_topology(4)
    plan = pl.uniform_plan(graph, machine, pipeline_parallel=2)
    plain, ahead, whole = (
        [
            StageHoldings(Served(graph, machine, work), stage).ledger(at)
            for stage in plan.stages
            for at in [scheduled(work, machine.software, batch_size=3, replicas=1, micro_batches=2)]
        ]
        for work in (WORK.replace(speculation=one) for one in (None, SPECULATION.replace(draft=None), SPECULATION))
    )  # fmt: skip
    layer = graph.kv_bytes_per_token / 2
    for number in (0, 1):
        assert ahead[number].weight_bytes == plain[number].weight_bytes
        assert ahead[number].kv_bytes == pytest.approx(plain[number].kv_bytes + 3 * 3 * layer)
    assert whole[0].weight_bytes == plain[0].weight_bytes
    assert whole[1].weight_bytes == pytest.approx(plain[1].weight_bytes + DRAFT.weight_bytes)
    assert whole[1].kv_bytes == pytest.approx(
        ahead[1].kv_bytes + 3 * (80 + 3) * DRAFT.kv_bytes_per_token, rel=0.05
    )


@pytest.mark.parametrize(
    ("draft", "split", "expert"),
    [
        (tiny_moe(1), Split(expert=4, attention=4), 4),
        (tiny_moe(1), Split(tensor=2, expert=8, attention=4), 8),
        (FOUR, Split(expert=8, attention=8), 4),  # it has no more
        (DRAFT, Split(expert=4, attention=4), 1),  # it has none
        # One of the target's two tensor ranks has the narrow draft's heads: experts go as far as
        # those that share out sequences.
        (tiny_moe(1, heads=1, kv_heads=1), Split(tensor=2, expert=4, attention=2), 2),
    ],
)
def test_a_drafts_experts_are_shared_out_like_the_targets(draft, split, expert):
    speculation = Speculation(draft=draft, tokens=1, acceptance_rate=0.5)
    prices = DraftingPriceList(tiny_moe(), tiny_topology(8), speculation)
    narrow = prices.draft_split(split)
    assert narrow.expert == expert
    step = Step(tokens=8.0, sequences=8.0, context_tokens=10.0, decode=True)
    (priced,) = prices.prices_of_steps(split, [step], reach_of(tiny_topology(8), split, 0))
    assert priced.seconds.min() >= 0.0


def test_the_head_of_deepseek_leaves_room_beside_its_experts():
    # 256 experts of 3 × 7168 × 2048 weights in 8 bit are 11.3 GB in a layer. Among 16 ranks each
    # holds 0.70 GB of the draft's, where all of them held 11.3 before.
    graph = pl.load_model("deepseek-v3")
    machine = pl.load_topology("superpod-h100", chips=16)
    work = pl.Workload(batch_size=16, prompt_tokens=100, output_tokens=100)
    head_of = Speculation(draft=graph.cut(1), tokens=1, acceptance_rate=0.8)
    split = Split(expert=16, attention=16)
    held = DraftingPriceList(graph, machine, head_of).holdings(split, work, 16.0)
    alone = PriceList(graph, machine).holdings(split, work, 16.0)
    more = float((held.weight_bytes - alone.weight_bytes).max())
    routed = 256 * 3 * 7168 * 2048 / 16
    beside = 129280 * 7168 * 4  # embedding and head, both at 16 bit as in its checkpoint
    # Beside these 4.41 GB, attention and the shared expert of one layer.
    assert routed + beside < more < routed + beside + 0.6e9


def test_a_draft_that_does_not_fit_leaves_no_plan():
    graph = tiny_graph(2)
    machine = tiny_topology(1, fabric("switch", 2), chip=tiny_chip(1.3 * graph.weight_bytes))
    pl.partition(graph, machine, WORK.replace(speculation=Speculation()))
    with pytest.raises(pl.InfeasibleError):
        pl.partition(graph, machine, WORK.replace(speculation=Speculation(draft=tiny_graph(1))))


def test_a_narrow_draft_takes_the_largest_degree_that_its_heads_allow():
    draft = tiny_graph(1, hidden=256, heads=6, kv_heads=2, head_dim=64)
    prices = DraftingPriceList(tiny_graph(2), tiny_topology(8), Speculation(draft=draft))
    assert [prices.draft_split(Split(tensor=tensor)).tensor for tensor in (1, 2, 4, 8, 6)] == [
        1,
        2,
        2,
        2,
        6,
    ]


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_nothing_kept_is_never_better_than_no_drafts_and_all_kept_is_a_pass_for_all(seed):
    dice = random.Random(f"kept {seed}")
    graph, machine, workload = (
        random_graph(dice),
        random_topology(dice, dice.choice(SHAPES)),
        random_workload(dice),
    )
    speculation = drafted(dice)
    plan = random_plan(dice, graph, machine, workload.replace(speculation=speculation))
    if plan is None:
        return
    plain, none, some, all_ = (
        pl.score_plan(plan, graph, machine, workload.replace(speculation=one))
        for one in (None, *(speculation.replace(acceptance_rate=rate) for rate in (0.0, 0.6, 1.0)))
    )
    for field in ("ttft_s", "tpot_s", "request_s", "energy_per_token_j", "usd_per_million_tokens"):
        assert getattr(none, field) >= getattr(plain, field) * (1 - 1e-12)
        if field != "ttft_s":
            assert (
                getattr(all_, field) <= getattr(some, field) <= getattr(none, field) * (1 + 1e-12)
            )
    if workload.arrivals == "together":
        assert all_.tpot_s == pytest.approx(none.tpot_s / (speculation.tokens + 1))
    for score in (none, some, all_):
        assert 0 < score.mfu_fraction <= 1
        assert score.mfu_fraction / score.tokens_per_s == pytest.approx(
            plain.mfu_fraction / plain.tokens_per_s
        )
        assert sum(part.total_s for part in score.breakdown) == pytest.approx(score.tpot_s)
        assert sum(part.total_s for part in score.prefill_breakdown) == pytest.approx(score.ttft_s)


def agrees(graph, topology, workload, field) -> bool:
    """Whether there is a plan at all; fails where solver and oracle disagree."""
    _, value = best_plan(
        graph, topology, workload, field, most=field in HIGHER_IS_BETTER, limits={}
    )
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    try:
        result = pl.partition(graph, topology, workload, **{direction: field})
    except pl.InfeasibleError:
        assert value != value
        return False
    assert result.status == "optimal"
    assert result.objective == pytest.approx(value, rel=1e-9)
    assert getattr(pl.score_plan(result.plan, graph, topology, workload), field) == result.objective
    return True


WAYS = paired(tuple(FIELDS), (False, True))
"""What is asked, and whether the batch is open."""


@pytest.mark.parametrize("way", mostly_slow(WAYS, but=WAYS[:2]), ids=str)
def test_a_plan_with_drafts_is_as_good_as_the_exhaustive_oracles(way):
    field, is_open = way
    feasible = case = 0
    while feasible < 1:
        dice, case = random.Random(f"drafts {field} {is_open} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        workload = random_workload(dice).replace(speculation=drafted(dice))
        if is_open:
            topology = topology.replace(software=topology.software.replace(most_sequences=4))
            workload = workload.replace(batch_size=None)
        feasible += agrees(graph, topology, workload, field)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "chips"])
def test_under_a_rate_drafts_are_planned_as_well_as_by_the_exhaustive_oracle(field):
    feasible = case = 0
    while feasible < 1:
        dice, case = random.Random(f"rate {field} {case}"), case + 1
        graph, topology = random_graph(dice), random_topology(dice, dice.choice(SHAPES))
        software = topology.software.replace(most_sequences=3)
        topology = topology.replace(power=CONSTANT, software=software, chips=2)
        workload = random_workload(dice).replace(
            batch_size=None, arrivals="steady", speculation=drafted(dice)
        )
        try:
            most = pl.partition(graph, topology, workload, maximize="tokens_per_s").objective
        except pl.InfeasibleError:
            continue
        rate = most / workload.output_tokens * dice.choice((0.1, 0.5, 0.9))
        feasible += agrees(graph, topology, workload.replace(requests_per_s=rate), field)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "energy_per_token_j"])
def test_on_a_cluster_drafts_are_planned_as_well_as_by_the_exhaustive_oracle(field):
    feasible = case = 0
    while feasible < 1:
        dice, case = random.Random(f"cluster {field} {case}"), case + 1
        graph, cluster = random_graph(dice), random_cluster(dice)
        workload = random_workload(dice).replace(speculation=drafted(dice))
        most = field in HIGHER_IS_BETTER
        _, value = best_pooled_plan(graph, cluster, workload, field, most=most, limits={})
        try:
            found = pl.partition_cluster(
                graph, cluster, workload, **{"maximize" if most else "minimize": field}
            )
        except pl.InfeasibleError:
            assert value != value
            continue
        feasible += 1
        assert found.status == "optimal"
        assert found.objective == pytest.approx(value, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["tpot_s", "tokens_per_s"])
def test_certificates_and_reasons_know_the_draft(field):
    graph, machine = tiny_graph(3), tiny_topology(4)
    direction = "maximize" if field in HIGHER_IS_BETTER else "minimize"
    result = pl.partition(
        graph, machine, WORK.replace(speculation=SPECULATION), **{direction: field}
    )
    certificate = pl.Certificate.from_json(result.certificate().to_json())
    assert certificate.workload.speculation == SPECULATION
    assert pl.verify(certificate).confirmed
    assert result.why().binding


@pytest.mark.slow
def test_a_lost_chip_is_planned_around_with_drafts():
    graph, machine = tiny_graph(3), tiny_topology(4)
    result = pl.partition(graph, machine, WORK.replace(speculation=SPECULATION))
    found = pl.replan(result, lost=(result.plan.stages[0].groups[0].first,))
    after = found.result
    assert after.workload.speculation is result.workload.speculation
    assert after.score == pl.score_plan(after.plan, graph, machine, after.workload)
    moved = [
        pl.moved_bytes(result.plan, after.plan, graph, machine, found.lost, workload=work)
        for work in (None, after.workload)
    ]
    assert found.moved_bytes == pytest.approx(moved[1])
    assert moved[0] < moved[1] <= moved[0] + DRAFT.weight_bytes


def test_what_makes_no_tokens_is_not_drafted_for():
    workload = WORK.replace(speculation=Speculation())
    picture, encoder = pl.load_model("sd3.5-medium"), pl.load_model("bert-base")
    for graph in (picture, encoder):
        with pytest.raises(pl.InputError, match="does not generate tokens one by one"):
            pl.partition(graph, pl.load_topology("hgx-h100"), workload)
        with pytest.raises(pl.InputError, match="makes no tokens"):
            Speculation(draft=graph)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "rate"), [("tpot_s", 0.0), ("tpot_s", 0.5), ("energy_per_token_j", 0.9)]
)
def test_an_open_number_of_drafted_tokens_is_the_best_of_all(field, rate):
    graph, machine = tiny_graph(2), tiny_topology(4)
    asked = SPECULATION.replace(acceptance_rate=rate)
    every = [None, *(asked.replace(tokens=tokens) for tokens in range(1, 9))]
    each = [
        pl.partition(graph, machine, WORK.replace(speculation=one), minimize=field) for one in every
    ]
    found = pl.partition(
        graph, machine, WORK.replace(speculation=asked.replace(tokens=None)), minimize=field
    )
    assert found.status == "optimal"
    assert found.objective == min(one.objective for one in each)
    assert (
        found.workload.speculation
        == min(zip(each, every, strict=True), key=lambda pair: pair[0].objective)[1]
    )
    assert found.score == pl.score_plan(found.plan, graph, machine, found.workload)
    assert pl.verify(found.certificate()).confirmed


@pytest.mark.slow
def test_without_time_an_open_number_of_drafted_tokens_is_still_bounded():
    graph, machine, open_ = (
        tiny_graph(2),
        tiny_topology(4),
        SPECULATION.replace(tokens=None, acceptance_rate=0.9),
    )
    workload = pl.Workload(batch_size=None, speculation=open_)
    best = pl.partition(graph, machine, workload, maximize="tokens_per_s")
    seen = []
    stopped = pl.partition(
        graph, machine, workload, maximize="tokens_per_s", progress=lambda at: stop(seen, at)
    )
    assert (best.status, stopped.status) == ("optimal", "feasible")
    assert stopped.bound >= best.objective * (1 - 1e-9) > stopped.objective


def stop(seen, at) -> None:
    """Ctrl-C after the third box."""
    seen.append(at)
    if len(seen) == 3:
        raise KeyboardInterrupt


def test_only_partition_chooses_how_many_tokens_are_drafted():
    graph, machine = tiny_graph(2), tiny_topology(4)
    workload = WORK.replace(speculation=SPECULATION.replace(tokens=None))
    plan = pl.uniform_plan(graph, machine)
    for ask in (lambda: pl.score_plan(plan, graph, machine, workload), lambda: pl.pareto(graph, machine, workload),
                lambda: pl.partition(graph, machine, workload, exclude=(0,))):  # fmt: skip
        with pytest.raises(pl.InputError, match="only partition"):
            ask()


# ── On paper: 100 FLOP/s, 10 B/s ──────────────────────────────────────────────────────────────────

TARGET = chain(layer("a", matmul(), attention()), layer("c", head(), kind="head"))
SMALL = chain(
    layer("d", matmul(inputs=1), attention(heads=1, kv_heads=1)),
    layer("e", head(inputs=1), kind="head"),
)
"""A fifth of the matmuls and half of the heads."""
DRAFTED = Speculation(draft=SMALL, tokens=3, acceptance_rate=0.5)


def test_the_draft_runs_as_often_as_it_drafts_and_reads_each_prompt_once():
    machine = round_machine(1)
    plain, drafting = PriceList(TARGET, machine), DraftingPriceList(TARGET, machine, DRAFTED)
    verify = Step(tokens=8.0, sequences=2.0, context_tokens=3.0, decode=True)
    own, whole = (prices.prices(Split(), verify, ALONE) for prices in (plain, drafting))
    # Two sequences: 20 + 2 × 22 B of the matmul, 2 × (3 × 20 + 10 + 10 + 20) B of attention, 20 + 2
    # × 22 B of the head.
    drafted = 64 + 200 + 64
    assert (whole.moved_bytes - own.moved_bytes).tolist() == [0.0, 3 * drafted]
    assert (whole.flop - own.flop).tolist() == [0.0, 3 * (40 + 2 * 3 * 20 + 40.0)]
    assert (whole.seconds - own.seconds).T.tolist() == [
        [0.0] * 4,
        pytest.approx([0.0, 3 * 32.8, 0.0, 3 * 3.0]),
    ]
    prompt = Step(tokens=8.0, sequences=1.0, context_tokens=4.0, decode=False)
    own, whole = (prices.prices(Split(), prompt, ALONE) for prices in (plain, drafting))
    assert (whole.moved_bytes - own.moved_bytes)[-1] == (20 + 8 * 22) + (4 * 20 + 8 * 40) + (
        20 + 22
    )
    free = DraftingPriceList(TARGET, machine, DRAFTED.replace(draft=None)).prices(
        Split(), verify, ALONE
    )
    assert free.moved_bytes.tolist() == plain.prices(Split(), verify, ALONE).moved_bytes.tolist()


@pytest.mark.parametrize("draft", [None, DRAFT, FOUR], ids=["none", "dense", "experts"])
@pytest.mark.parametrize(
    "split", [Split(), Split(tensor=4), Split(tensor=2, attention=2, expert=4)], ids=str
)
def test_many_steps_at_once_are_each_step_by_itself(draft, split):
    graph, machine = tiny_moe(2), with_value(tiny_topology(4), "software.draft_overhead_s", 3e-4)
    workload = WORK.replace(speculation=SPECULATION.replace(draft=draft))
    prices, reach = serving_prices(graph, machine, workload), reach_of(machine, split, 0)
    batches = [1.0, 3.0, 8.0]
    steps = [Step(4 * batch, batch, 72.0, True) for batch in batches]
    each = [one.seconds.sum(axis=0) for one in prices.prices_of_steps(split, steps, reach)]
    found = prices.decode_kinds_s(split, np.array(batches), 72.0, reach, verified=4.0)
    assert pytest.approx(np.array(each), rel=1e-12) == found.T


def test_power_follows_the_draft_too():
    machine = round_machine(
        1, power=Power(chip_w=1.0, idle_share=0.5, compute_activity=1.0, memory_activity=2.0)
    )
    verify = Step(tokens=8.0, sequences=2.0, context_tokens=3.0, decode=True)
    own, whole = (
        prices.active_kinds_s([verify])[:, 0]
        for prices in (PriceList(TARGET, machine), DraftingPriceList(TARGET, machine, DRAFTED))
    )
    assert (whole - own).tolist() == pytest.approx(
        [0.0, 3 * (2.0 + 2 * 32.8)]
    )  # 200 FLOP and 328 B, three times


def test_the_draft_is_held_beside_the_last_layer_with_room_for_what_it_drafts():
    machine, work = (
        round_machine(1),
        pl.Workload(prompt_tokens=6, output_tokens=4, speculation=DRAFTED),
    )
    plain, drafting = PriceList(TARGET, machine), DraftingPriceList(TARGET, machine, DRAFTED)
    own, whole = (prices.holdings(Split(), work, 6.0) for prices in (plain, drafting))
    assert (whole.weight_bytes - own.weight_bytes).tolist() == [0.0, 20 + 20]
    # Three tokens more of 40 B; the draft's 8 + 3 of 20 B, of the longest two more.
    assert (whole.kv_bytes_per_sequence - own.kv_bytes_per_sequence).tolist() == [3 * 40, 11 * 20]
    assert (whole.kv_bytes_more - own.kv_bytes_more).tolist() == [0.0, 2 * 20]
    assert whole.activation_bytes == own.activation_bytes == 6 * 40
    wide = DRAFTED.replace(
        draft=chain(layer("d", matmul(inputs=90)), layer("e", head(inputs=1), kind="head"))
    )
    assert (
        DraftingPriceList(TARGET, machine, wide).holdings(Split(), work, 6.0).activation_bytes
        == 6 * 200
    )


def test_weights_that_a_draft_ties_are_held_once():
    tied = chain(layer("d", matmul(inputs=1)), layer("e", head(inputs=1, tied_to="d"), kind="head"))
    machine, work = round_machine(1), pl.Workload(speculation=DRAFTED.replace(draft=tied))
    own, whole = (
        prices.holdings(Split(), work, 6.0).weight_bytes
        for prices in (
            PriceList(TARGET, machine),
            DraftingPriceList(TARGET, machine, work.speculation),
        )
    )
    assert (whole - own).tolist() == [0.0, 20.0]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "tensors", "degrees"),
    [
        (6, 6, (1, 2, 3, 4, 6, 12), [1, 2, 3, 2, 6, 6]),
        (12, 2, (4, 6, 12), [4, 6, 12]),  # copies of two key-value heads
        (12, 3, (2, 4, 6, 12), [1, 1, 6, 12]),  # 2 neither divides 3 nor is a multiple of it
    ],
)
def test_a_draft_is_split_as_its_heads_allow(heads, kv_heads, tensors, degrees):
    draft = chain(
        layer("d", attention(heads=heads, kv_heads=kv_heads)), layer("e", head(), kind="head")
    )
    prices = DraftingPriceList(TARGET, round_machine(12), DRAFTED.replace(draft=draft))
    split = [
        prices.draft_split(Split(tensor=tensor, expert=tensor, sequence=2, attention=5))
        for tensor in tensors
    ]
    assert split == [Split(degree, 1, 2, 5) for degree in degrees]
