"""How passes add up in time."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import load_model, load_topology, partition, score_plan, uniform_plan
from planner.machines.engine import Engine
from planner.machines.topology import MemoryTier, Peak, Power
from planner.plan import ChipRange, Plan, Stage
from planner.pricing.price_list import CAUSES, PriceList, Step
from planner.pricing.schedule import Schedule, schedule_of, scheduled
from planner.pricing.served import Served
from planner.pricing.timing import (
    ALL_CAUSES,
    Passes,
    Timing,
    active_chip_s,
    bubble_fraction,
    crossing_bytes,
    hop_between,
    interruptions_s,
    more_of,
    others_prompts_s,
    passes_of,
    slowest_timing,
    steps_of_cycle,
    timing_from,
    timing_of,
    trail_of,
    useful_of_cycle,
    waits_of,
)
from planner.workload import Speculation, Workload
from tests.by_hand import (
    ALONE,
    attention,
    chain,
    head,
    layer,
    matmul,
    plan_of,
    round_chip,
    round_machine,
    round_software,
    stage,
)
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_software, tiny_topology
from tests.machines.test_tiers import round_host

GRAPH = tiny_graph(4)
NAMES = tuple(layer.name for layer in GRAPH.layers)


def pipeline(stages: int, **changes) -> Plan:
    borders = [0, *(1 + 4 * n // stages for n in range(1, stages)), len(NAMES)]
    return Plan(
        stages=tuple(
            Stage(layers=NAMES[a:b], groups=(ChipRange(first=n, count=1),))
            for n, (a, b) in enumerate(itertools.pairwise(borders))
        ),
        **changes,
    )


def timed(plan: Plan, topology=None, **work):
    topology = topology or tiny_topology(4, chip=tiny_chip(1e10))
    workload = Workload(**{"batch_size": 1, "prompt_tokens": 100, "output_tokens": 11, **work})
    at = scheduled(
        workload, topology.software, batch_size=workload.batch_size or 1, replicas=plan.replicas, micro_batches=plan.micro_batches
    )  # fmt: skip
    return timing_of(PriceList(GRAPH, topology), plan, at), at


def test_one_request_crosses_all_stages_and_hops_for_every_token():
    timing, _ = timed(pipeline(2))
    assert timing.tpot_s == pytest.approx(float(timing.decode.seconds.sum()))
    hop = 1e-6 + 1e-6 + 1024 * 2 / 50e9  # fabric, software, bytes
    assert timing.decode.seconds[0, -1] == pytest.approx(hop)
    assert timing.decode.seconds[1, -1] == 0.0


def test_a_request_is_its_first_token_and_then_the_others():
    timing, _ = timed(pipeline(2))
    assert timing.request_s == pytest.approx(timing.ttft_s + 10 * timing.tpot_s)


def test_a_full_pipeline_is_as_fast_as_its_slowest_stage():
    timing, at = timed(pipeline(4, micro_batches=8), batch_size=8, arrivals="together")
    turns = at.micro_batches * timing.decode.busy_s.max()
    assert turns > timing.decode.pass_s
    assert timing.tpot_s == pytest.approx(turns)


def test_micro_batches_let_the_stages_work_at_the_same_time():
    one, _ = timed(pipeline(4), batch_size=8, arrivals="together", output_tokens=100)
    four, _ = timed(
        pipeline(4, micro_batches=4), batch_size=8, arrivals="together", output_tokens=100
    )
    free, at = timed(
        pipeline(4, micro_batches=4), batch_size=4, arrivals="together", output_tokens=100
    )
    assert four.cycle_s / 8 < one.cycle_s / 4  # more sequences in no more time
    assert bubble_fraction(four, scheduled(Workload(batch_size=8, prompt_tokens=100, output_tokens=100, arrivals="together"),
                           tiny_topology().software, batch_size=8, replicas=1, micro_batches=4)) < 0.6  # fmt: skip
    assert free.tpot_s <= four.tpot_s
    assert at.micro_batches == 4


def test_in_the_steady_state_the_prompts_of_others_stretch_every_token():
    alone, _ = timed(pipeline(1), batch_size=8, arrivals="together")
    loaded, _ = timed(pipeline(1), batch_size=8, arrivals="steady")
    prompts = 7 * loaded.prefill.busy_s.max() / 10
    assert loaded.tpot_s == pytest.approx(alone.tpot_s + prompts)


def test_a_prompt_in_chunks_fills_the_pipeline_once():
    topology = tiny_topology(4, chip=tiny_chip(1e10))
    timing, at = timed(pipeline(2), topology, prompt_tokens=1024, arrivals="together")
    assert at.prefill_passes == 4
    assert timing.ttft_s == pytest.approx(timing.prefill.pass_s + 3 * timing.prefill.busy_s.max())


def test_the_first_token_waits_half_a_round_on_a_loaded_server():
    timing, _ = timed(pipeline(1), batch_size=1)
    assert timing.ttft_s == pytest.approx(0.5 * timing.decode.pass_s + timing.prefill.pass_s)


def test_breakdowns_have_a_row_per_stage_and_a_column_per_cause():
    timing, _ = timed(pipeline(4))
    assert timing.token.shape == timing.first_token.shape == (4, len(ALL_CAUSES))


def test_a_cycle_counts_every_sequences_prompt_and_tokens():
    _, at = timed(pipeline(1, micro_batches=2), batch_size=4)
    assert steps_of_cycle(at) == (4.0, 20.0)  # 4 prompts; 10 tokens in 2 micro-batches


def test_a_hop_takes_the_nearest_ends_and_the_level_between_them():
    topology = tiny_topology(8, fabric("chain", 4), fabric("switch", 2))
    near, far = ChipRange(first=0, count=2), ChipRange(first=6, count=2)
    assert hop_between(topology, near, ChipRange(first=2, count=1)) == (0, 1)
    assert hop_between(topology, near, ChipRange(first=3, count=1)) == (0, 2)
    assert hop_between(topology, near, far)[0] == 1


def test_the_slowest_replica_tells_the_time():
    topology = tiny_topology(6, fabric("chain", 6, latency_s=1e-3), chip=tiny_chip(1e10))
    near = Stage(
        layers=NAMES[:3], groups=(ChipRange(first=0, count=1), ChipRange(first=2, count=1))
    )
    far = Stage(layers=NAMES[3:], groups=(ChipRange(first=1, count=1), ChipRange(first=5, count=1)))
    timing, _ = timed(Plan(stages=(near, far)), topology, batch_size=2)
    assert timing.decode.seconds[0, -1] == pytest.approx(3e-3, rel=0.01)
    assert np.isfinite(timing.cycle_s)


def test_a_prefill_pool_serves_a_prompt_in_the_time_of_its_busiest_stage():
    timing, _ = timed(pipeline(2), batch_size=None, phase="prefill", prompt_tokens=1000)
    passes = 4  # chunks of 256
    busiest = float(timing.prefill.busy_s.max())
    assert timing.cycle_s == timing.prompt_s == pytest.approx(passes * busiest)
    assert timing.ttft_s == pytest.approx(timing.prefill.pass_s + (passes - 1) * busiest)
    assert timing.first_token.sum() == pytest.approx(timing.ttft_s)


def test_a_decode_pool_is_interrupted_by_nothing():
    both, _ = timed(pipeline(2), batch_size=8)
    alone, _ = timed(pipeline(2), batch_size=8, phase="decode")
    assert alone.tpot_s < both.tpot_s
    assert alone.tpot_s == pytest.approx(both.round_s)
    assert (
        alone.ttft_s
        == pytest.approx(0.5 * alone.round_s)
        == pytest.approx(float(alone.first_token.sum()))
    )
    assert alone.request_s == pytest.approx(alone.ttft_s + 10 * alone.tpot_s)


def test_a_request_keeps_its_place_in_a_decode_pool_while_its_cache_comes():
    at_once, _ = timed(pipeline(2), batch_size=8, phase="decode")
    later, _ = timed(pipeline(2), batch_size=8, phase="decode", transfer_s=0.5)
    for name in ("ttft_s", "request_s", "cycle_s"):
        assert getattr(later, name) == pytest.approx(getattr(at_once, name) + 0.5)
    assert later.first_token[0, ALL_CAUSES.index("hop")] == 0.5


# ── On paper: two stages of which a pass is known ─────────────────────────────────────────────────

# Seconds of compute, memory, collective and overhead, then of the hop behind the stage.
DECODE_S = ((1.0, 2.0, 0.0, 1.0, 1.0), (1.0, 1.0, 1.0, 0.0, 0.0))
"""Stages are busy for 4 s and 3 s, the link for 1 s; a pass takes 8 s."""
PREFILL_S = ((6.0, 0.0, 2.0, 0.0, 2.0), (4.0, 1.0, 0.0, 0.0, 0.0))
"""Stages are busy for 8 s and 5 s, the link for 2 s; a pass takes 15 s."""


def passes(*stages: tuple[float, ...]) -> Passes:
    """Of stages that are one layer, and links that are another."""
    seconds = np.array(stages)
    busy = np.stack([seconds[:, :-1].sum(axis=1), seconds[:, -1]], axis=1)
    nothing = np.zeros(len(stages))
    return Passes(seconds, nothing, nothing, busy, busy, latent_s=nothing)


def served(
    sequences: int, micro_batches: int, *, software: dict[str, float] | None = None, **changes
) -> Schedule:
    """Prompts of 20 tokens in two chunks of 10, then 10 later tokens."""
    work = Workload(
        **{"batch_size": sequences, "prompt_tokens": 20, "output_tokens": 11, **changes}
    )
    shares = {"interruption_share": 0.5, **(software or {})}
    return schedule_of(
        work, round_software(**shares), sequences, micro_batches, sequences // micro_batches
    )


def by_hand(at: Schedule, *stages, decode=DECODE_S, prefill=PREFILL_S, packed=None) -> Timing:
    plan = plan_of(*(stages or (stage("a"), stage("b", first=1))))
    return timing_from(plan, at, passes(*decode), passes(*prefill), passes(*(packed or prefill)))


def test_prompts_that_share_a_pass_launch_it_once():
    # One prompt takes 6 s on the only stage, five together 14 s: each adds 2 s, and a pass 4 s. Of
    # three others all start in 4 rounds: 0.75 a round, which 1 - exp(-0.75) of the rounds meet. So
    # a token takes 1 s, 0.75 × 2 s and 0.5276 × 4 s.
    work = Workload(batch_size=4, prompt_tokens=2, output_tokens=5)
    stack = round_software(interruption_share=1.0, burst_share=0.0, packs_prompts=True)
    at = schedule_of(work, stack, 4, 1, 4)
    one = ((1.0, 0.0, 0.0, 0.0, 0.0),)
    alone = ((6.0, 0.0, 0.0, 0.0, 0.0),)
    full = ((14.0, 0.0, 0.0, 0.0, 0.0),)
    timing = by_hand(at, stage("a"), decode=one, prefill=alone, packed=full)
    passes_met = 1 - math.exp(-0.75)
    assert timing.tpot_s == pytest.approx(1.0 + 0.75 * 2.0 + passes_met * 4.0)
    assert timing.token.sum() == pytest.approx(timing.tpot_s)


def test_a_token_waits_for_its_turn_and_for_others_prompts_and_both_are_told_apart():
    # Four turns of the first stage take 16 s. Three other prompts of two passes keep it busy for 48
    # s, half of which is lost over the 10 later tokens: 2.4 s a token. So a token takes 18.4 s,
    # 10.4 s more than its own way.
    at = served(4, 4)
    timing = by_hand(at)
    assert timing.tpot_s == pytest.approx(18.4)
    assert others_prompts_s(timing, at) == pytest.approx(2.4)
    assert timing.round_s == 16.0
    # The 2.4 s are three quarters compute and one quarter collective; 8 s it waits for its turn.
    own = np.array([[1, 2, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0]])
    more = np.array([[1.8, 0, 0.6, 0, 0, 8.0], [0] * 6])
    assert timing.token == pytest.approx(own + more)


def waiting(*stages: tuple[float, ...], latent: tuple[float, ...]) -> Passes:
    """The same, where tokens wait so long besides while the stages are free for others."""
    worked = passes(*stages)
    longer = worked.seconds.copy()
    longer[:, CAUSES.index("overhead")] += latent
    return replace(worked, seconds=longer, latent_s=np.array(latent))


def test_who_waits_for_messages_keeps_no_stage_busy():
    # A pass takes 8 s of work and 12 + 8 s of waiting. Four turns of the busiest stage take 16 s,
    # and what they lose to others' prompts 2.4 s: less than the pass, which is what a token takes.
    at = served(4, 4)
    decode = waiting(*DECODE_S, latent=(12.0, 8.0))
    prefill = waiting(*PREFILL_S, latent=(12.0, 8.0))
    plan = plan_of(stage("a"), stage("b", first=1))
    timing = timing_from(plan, at, decode, prefill, prefill)
    assert decode.pass_s == timing.round_s == 28.0
    # Three others' prompts start anywhere in 10 rounds, half of their work interrupts: a round
    # meets one with 1 - exp(-0.15), and one of its own micro-batch with a quarter of that exponent.
    # It then trails the first chunk, 8 + 2 + 5 s and the same waits, and the second behind it, and
    # a prompt of its own micro-batch besides the pass. The first stage adds most.
    met, own = 1 - math.exp(-0.15), 1 - math.exp(-0.15 / 4)
    behind = met * 8.0 + 2 * (0.15 - met) / 4 * 8.0 + own * 4.0
    trailing = (1 - met) * 28.0 + met * (15.0 + 20.0) + behind
    assert timing.tpot_s == pytest.approx(trailing)
    assert timing.token.sum() == pytest.approx(trailing)
    # To the first token a prompt of two chunks takes a pass and a turn of the busiest stage.
    assert timing.ttft_s - timing.first_token[0, -1] == pytest.approx(15.0 + 20.0 + 8.0)
    # Twelve micro-batches fill the pass, for none waits where another works: 12 × 4 s > 28 s.
    crowded = timing_from(plan, served(12, 12), decode, prefill, prefill)
    assert crowded.round_s == 48.0


def test_a_bubble_is_where_a_stage_works_for_nobody():
    # Two turns of 4 s and of 3 s in a round of 28 s that meets no prompt: 14 of 56 s are used.
    at = served(2, 2, phase="decode", output_tokens=2)
    decode = waiting(*DECODE_S, latent=(12.0, 8.0))
    timing = timing_from(plan_of(stage("a"), stage("b", first=1)), at, decode, decode, decode)
    rounds = steps_of_cycle(at)[1] / 2
    used = rounds * 14.0 / (2 * timing.cycle_s)
    assert bubble_fraction(timing, at) == pytest.approx(1 - used)
    assert timing.tpot_s == pytest.approx(28.0)


def test_where_prompts_fill_a_wait_nobody_waits_for_a_turn():
    # One turn of 4 s at the only stage, and three other prompts whose 48 s are all lost over two
    # later tokens: 24 s, a token takes 28 s.
    at = served(4, 1, software={"interruption_share": 1.0}, output_tokens=3)
    one = {"decode": ((1.0, 2.0, 0.0, 1.0, 0.0),), "prefill": ((6.0, 0.0, 2.0, 0.0, 0.0),)}
    timing = by_hand(at, stage("a"), **one)
    assert timing.tpot_s == pytest.approx(28.0)
    assert timing.round_s == 4.0  # its own way round
    # Of the 24 s beyond its own 4 s, all are prompts.
    assert others_prompts_s(timing, at) == pytest.approx(24.0)
    assert timing.token[0] == pytest.approx([1 + 18, 2, 6, 1, 0, 0])
    assert timing.token.sum() == pytest.approx(timing.tpot_s)


def test_on_two_stages_a_lone_micro_batch_trails_those_prompts():
    # Three prompts in two rounds, 1.5 a round: 1 - e^-1.5 of the rounds meet one. Without one they
    # take 8 s. With one its first chunk takes 15 s; of the 3 chunks a round those behind the first
    # take 8 s each at the first stage, and the pass of 4 s comes behind them.
    met = 1 - math.exp(-1.5)
    timing = by_hand(served(4, 1, software={"interruption_share": 1.0}, output_tokens=3))
    behind = (3 - met) * 8 + met * 4
    assert timing.tpot_s == pytest.approx((1 - met) * 8 + met * 15 + behind)
    # The first chunk takes 4 s longer on the first stage than the pass, 1 s longer on its link, 2 s
    # longer on the second stage. Three quarters of a prompt on the first stage are compute.
    longer = 4 * met + behind
    assert timing.token == pytest.approx(
        np.array(
            [
                [1 + 0.75 * longer, 2, 0.25 * longer, 1, 1 + met, 0],
                [1 + 0.8 * 2 * met, 1 + 0.2 * 2 * met, 1, 0, 0, 0],
            ]
        )
    )


def test_a_token_that_waits_for_nobody_takes_its_own_way():
    timing = by_hand(served(1, 1))
    assert (timing.tpot_s, timing.round_s) == (8.0, 8.0)
    assert others_prompts_s(timing, served(1, 1)) == 0.0
    assert timing.token[:, -1].tolist() == [0.0, 0.0]
    # Two turns of 4 s, half a second longer than its own way.
    nearly = ((1.0, 2.0, 0.0, 1.0, 0.5), (1.0, 1.0, 1.0, 0.0, 0.0))
    timing = by_hand(served(2, 2, phase="decode"), decode=nearly)
    assert timing.tpot_s == timing.token.sum() == 8.0
    assert timing.token[:, -1].tolist() == [0.5, 0.0]


def test_a_busy_link_holds_up_tokens_as_a_busy_stage_does():
    slow = ((1.0, 0.0, 0.0, 0.0, 5.0), (1.0, 0.0, 0.0, 0.0, 0.0))
    timing = by_hand(served(4, 4, phase="decode"), decode=slow, prefill=PREFILL_S)
    assert timing.tpot_s == 20.0
    assert timing.token.tolist() == [[1, 0, 0, 0, 5, 13.0], [1, 0, 0, 0, 0, 0]]
    # And where it is busy with prompts: three of two passes of 9 s each, half of it lost, over ten
    # tokens: 2.7 s.
    crowded = ((1.0, 0.0, 0.0, 0.0, 9.0), (1.0, 0.0, 0.0, 0.0, 0.0))
    timing = by_hand(served(4, 4), decode=slow, prefill=crowded)
    assert timing.tpot_s == pytest.approx(22.7)
    assert timing.token[0] == pytest.approx([1, 0, 0, 0, 5 + 2.7, 13.0])


def test_the_first_token_waits_half_a_round_and_for_prompts_that_came_in_a_burst():
    at = served(4, 4, software={"burst_share": 0.25, "request_overhead_s": 3.0})
    timing = by_hand(at)
    # 3 s of the request, half of a round of 16 s, a quarter of the 48 s of other prompts, and two
    # passes: 15 s and 8 s more at the slowest stage.
    assert timing.ttft_s == pytest.approx(3 + 8 + 12 + 15 + 8)
    assert timing.first_token == pytest.approx(
        np.array([[6 + 6, 0, 2 + 2, 3.0, 2, 8 + 12.0], [4, 1, 0, 0, 0, 0]])
    )
    assert timing.request_s == timing.cycle_s == pytest.approx(46 + 10 * 18.4)
    assert timing.prompt_s == 2 * 8.0
    assert timing.queue_s == 0.0


def test_ranks_that_share_out_sequences_share_out_prompts():
    ranks = stage("a", chips=2), stage("b", first=2, chips=1)
    at = served(4, 4)
    timing = by_hand(at, *ranks)
    # The first stage sees one other prompt on each of two ranks, so seldom that no two meet in a
    # pass: both hold up everyone, 32 s; the second all three, 30 s. Half of that over ten tokens:
    # the first is in use for 16 + 1.6 s, the second for 12 + 1.5 s.
    assert timing.tpot_s == pytest.approx(16 + 1.6)
    # Rounds that meet a prompt, of 0.05 on a rank and of 0.15 a round, take less.
    met, also = 1 - math.exp(-0.05), 1 - math.exp(-0.15)
    own = 1 - math.exp(-0.15 / 4)
    held_up = met * (8 + 2) + also * 5
    behind = (also + 2 * (0.15 - also) / 4) * 5 + own * 3  # at the second stage
    more = more_of(at, timing.prefill, timing.prefill)
    trail = trail_of(at, np.array([1.0, 3.0]), timing.decode, timing.prefill, more)
    assert trail.round_s == pytest.approx((1 - met) * 16 + held_up + behind)
    assert trail.round_s < 17.6
    assert (
        timing.prompt_s == 10.0
    )  # two passes of 5 s at the second stage; 8 s on each rank of the first


def test_requests_at_a_rate_queue_for_the_prompts_before_them():
    at = served(4, 4, batch_size=None, requests_per_s=1 / 32)
    timing = by_hand(at)
    # A prompt keeps the first stage busy for 16 s, half of the time: the mean wait is 0.5 × 16 s /
    # (2 × 0.5).
    assert timing.queue_s == 8.0
    # All four others that it finds in flight stand in its way: 64 s, half of it lost over ten
    # tokens, beside 16 s of turns.
    assert timing.tpot_s == pytest.approx(19.2)
    assert timing.ttft_s == pytest.approx(8 + 8 + 15 + 8)
    assert timing.cycle_s == pytest.approx(8 + 15 + 8 + 192)
    assert timing.request_s == pytest.approx(timing.cycle_s + 8)
    assert timing.first_token[0, -1] == 16.0
    two = by_hand(at, stage("a", replicas=2, apart=2), stage("b", first=1, replicas=2, apart=2))
    assert two.queue_s == 0.25 * 16 / (2 * 0.75)  # each replica gets half of them


def test_a_replica_that_makes_single_tokens_still_has_its_other_prompts_to_do():
    timing = by_hand(served(4, 4, output_tokens=1))
    assert timing.tpot_s == 16.0
    # No round of decode passes to wait half of; its own prompt, and three more at the busiest stage.
    assert timing.request_s == timing.ttft_s == 15 + 8.0
    assert timing.cycle_s == 23.0 + 48.0


def test_drafted_tokens_share_a_pass():
    at = served(4, 4, speculation=Speculation(tokens=1, acceptance_rate=0.25), output_tokens=11)
    timing = by_hand(at)
    # 1.25 tokens a pass, so the 24 s that are lost fall to 8 passes: 16 + 3 s for 1.25 tokens.
    assert timing.tpot_s == pytest.approx(19 / 1.25)
    assert timing.token.sum() == pytest.approx(19 / 1.25)
    assert timing.request_s == pytest.approx(timing.ttft_s + 10 * 19 / 1.25)


def test_the_slowest_replica_is_the_one_with_the_longest_cycle():
    slow, quick = by_hand(served(4, 4)), by_hand(served(1, 1))
    assert slowest_timing([quick, slow]) is slow


def test_in_a_cycle_stages_wait_for_what_they_do_not_work():
    at = served(4, 4)
    timing = by_hand(at)
    # Four prompts of two passes of 13 s, ten tokens of four micro-batches of 7 s: 384 s of work on
    # two stages. A cycle takes 8 s + 23 s + 184 s.
    assert steps_of_cycle(at) == (8.0, 40.0)
    assert bubble_fraction(timing, at) == pytest.approx(1 - 384 / (2 * 215))


CHAIN = chain(
    layer("a", matmul()), layer("b", matmul(), attention()), layer("c", head(), kind="head")
)
TWO_STAGES = plan_of(stage("a", "b"), stage("c", first=1))


def test_a_pass_adds_up_its_stages_their_hops_and_the_host():
    software = {"step_overhead_s": 0.5, "sequence_overhead_s": 0.25}
    prices = PriceList(CHAIN, round_machine(2, software=software))
    asked = []

    def hop(number: int, bytes_per_token: float, step: Step) -> float:
        asked.append((number, bytes_per_token, step))
        return 7.0

    step = Step(tokens=2.0, sequences=2.0, context_tokens=3.0, decode=True)
    prompt = step._replace(decode=False)
    made, read = passes_of([prices, prices], TWO_STAGES, [step, prompt], [ALONE, ALONE], hop)
    # Layer a: 16 s of memory; b: 16 + 40 s; c: 16 s; a launch for each operator. The host waits 0.5
    # + 2 × 0.25 s.
    assert made.seconds.tolist() == [[0, 72, 0, 3, 7.0], [0, 16, 0, 1 + 1.0, 0]]
    assert made.flop.tolist() == [200 + 440.0, 200.0]
    assert made.moved_bytes.tolist() == [160 + 560.0, 160.0]
    assert made.busy_s.tolist() == [[75.0, 7.0], [18.0, 0.0]]
    assert made.pass_s == 100.0
    assert asked == [(0, 20.0, step), (0, 20.0, prompt)]  # 10 values of 2 B
    assert read.seconds[1, CAUSES.index("overhead")] == 1 + 0.5


def test_a_layer_that_several_need_is_handed_on_once_as_far_as_the_last():
    graph = chain(
        *(layer(name, matmul()) for name in "abc"), layer("wide", matmul()), layer("e", matmul())
    )
    graph = graph.replace(edges=(*graph.edges, ("a", "c"), ("a", "wide"), ("b", "wide")))
    prices = PriceList(graph, round_machine(4))
    plan = plan_of(
        *(stage(name, first=number) for number, name in enumerate(["a", "b", "c"])),
        stage("wide", "e", first=3),
    )
    crossing = []

    def hop(number: int, bytes_per_token: float, step: Step) -> float:
        crossing.append(bytes_per_token)
        return 0.0

    step = Step(tokens=1.0, sequences=1.0, context_tokens=3.0, decode=True)
    passes_of([prices] * 4, plan, [step], [ALONE] * 4, hop)
    assert crossing == [20.0, 40.0, 60.0]  # a; a and b; a, b and c


def test_a_hop_carries_the_share_of_the_busiest_chip():
    software = {"step_overhead_s": 0.5}
    machine = round_machine(4, software=software)
    plan = plan_of(stage("a", "b", chips=2), stage("c", first=2, chips=2))
    at = scheduled(
        Workload(batch_size=4, prompt_tokens=8, output_tokens=3, arrivals="together"),
        machine.software,
        batch_size=4,
        replicas=1,
        micro_batches=1,
    )
    timing = timing_of(PriceList(CHAIN, machine), plan, at)
    # Two of four sequences on each rank: 2 × 20 B in 4 s, a step of 1 s, and 1 s of software.
    assert timing.decode.seconds[0, -1] == 6.0
    # 32 prompt tokens in four passes of 8: a pass is one prompt, which no other rank shares: 8 × 20
    # B.
    assert timing.prefill.seconds[0, -1] == 18.0


def test_what_a_cycle_needs_is_counted_by_passes():
    machine = round_machine(
        1, power=Power(chip_w=1.0, idle_share=0.5, compute_activity=1.0, memory_activity=2.0)
    )
    graph = chain(layer("a", matmul()), layer("a2", matmul()))
    work = Workload(batch_size=4, prompt_tokens=20, output_tokens=11)
    at = scheduled(work, machine.software, batch_size=4, replicas=1, micro_batches=2)
    # Four prompts of two passes of ten tokens, ten tokens in two micro-batches of two. A layer does
    # 1,000 FLOP and moves 100 + 300 B in a prompt's pass, 200 FLOP and 100 + 60 B in a decode pass;
    # useful bytes are the weights.
    assert useful_of_cycle(graph, at) == (2 * (8 * 1000.0 + 20 * 200), 2 * (8 * 100.0 + 20 * 100))
    assert active_chip_s(PriceList(graph, machine), at) == 2 * (
        8 * (10.0 + 2 * 40) + 20 * (2.0 + 2 * 16)
    )
    # A bound counts no more passes than sequences demand: 10 × 4 / 2.
    relaxed = schedule_of(work, machine.software, 4, 3, 2, relaxed=True)
    assert active_chip_s(PriceList(graph, machine), relaxed) == 2 * (8 * 90.0 + 20 * 34)


def test_drafts_in_vain_are_no_useful_work():
    graph = chain(layer("a", matmul()))
    work = Workload(
        batch_size=2,
        prompt_tokens=10,
        output_tokens=11,
        speculation=Speculation(tokens=3, acceptance_rate=0.0),
    )
    at = scheduled(work, round_software(), batch_size=2, replicas=1, micro_batches=1)
    assert useful_of_cycle(graph, at) == (2 * 1000.0 + 10 * 200.0, 2 * 100.0 + 10 * 100.0)


def test_the_nearest_ends_of_two_groups_are_found_either_way():
    topology = tiny_topology(8, fabric("chain", 4), fabric("chain", 2))
    groups = [
        ChipRange(first=first, count=count) for first, count in ((1, 1), (2, 2), (5, 1), (4, 4))
    ]
    one, two, five, right = groups
    assert hop_between(topology, two, one) == (
        0,
        1,
    )  # back, from the first of the sender to the last of the receiver
    assert hop_between(topology, one, ChipRange(first=3, count=1)) == (0, 2)
    assert hop_between(topology, two, five) == (1, 1)
    assert hop_between(topology, one, one) == (None, 0)
    assert hop_between(topology, five, ChipRange(first=7, count=1)) == (0, 2)
    assert hop_between(topology, right, one) == (1, 1)


def test_what_crosses_from_layer_to_layer_is_what_the_next_one_needs():
    crossing = crossing_bytes(GRAPH, range(len(NAMES)))
    handed = [layer.activation_bytes_per_token for layer in GRAPH.layers]
    assert crossing.tolist() == [*handed[:-1], 0.0]


def test_what_is_needed_further_on_crosses_every_border_once():
    """The first layer feeds the last as well, which stands two stages on."""
    skipping = GRAPH.replace(edges=(*GRAPH.edges, (NAMES[0], NAMES[-1])))
    each = GRAPH.layers[0].activation_bytes_per_token
    assert crossing_bytes(GRAPH, [0, 0, 1, 1, 1, 2]).tolist() == [each, each, 0.0]
    # Whatever the order in which the edges are told.
    turned = skipping.replace(edges=skipping.edges[::-1])
    assert crossing_bytes(turned, [0, 0, 1, 1, 1, 2]).tolist() == [2 * each, 2 * each, 0.0]
    assert crossing_bytes(skipping, [0, 0, 1, 1, 1, 2]).tolist() == [2 * each, 2 * each, 0.0]


def test_waits_are_composed_alike_for_one_plan_and_for_many():
    """By hand: half a round of 3 s until the prompt starts, then 4 s through the stages and two
    more passes of 1.5 s at the slowest; a token takes the longer of its way and its turn."""
    software = tiny_software(prefill_chunk_tokens=100, request_overhead_s=0.25)
    work = Workload(batch_size=4, prompt_tokens=300, output_tokens=11)
    at = scheduled(work, software, batch_size=4, replicas=1, micro_batches=2)
    given = {"turn_s": 3.0, "others_s": 9.0, "prompt_pass_s": 4.0, "prompt_slowest_s": 1.5}
    one = waits_of(at, pass_s=2.0, interrupted_s=3.5, trailing_s=0.0, **given)
    assert at.prefill_passes == 3
    assert one == (0.25 + 1.5 + 4.0 + 2 * 1.5, 3.5, 3.0, 1.5)
    many = waits_of(
        at,
        pass_s=np.array([2.0, 5.0, 2.0]),
        interrupted_s=np.array([3.5, 3.5, 3.5]),
        trailing_s=np.array([3.0, 3.0, 6.0]),
        **given,
    )
    assert np.asarray(many.tpot_s).tolist() == [3.5, 5.0, 6.0]
    later = 0.25 + 2.5 + 4.0 + 2 * 1.5
    assert np.asarray(many.joined_s).tolist() == [one.joined_s, later, one.joined_s]


def test_nobody_is_interrupted_who_makes_no_later_tokens():
    work = Workload(batch_size=4, prompt_tokens=300, output_tokens=1)
    at = scheduled(work, tiny_software(), batch_size=4, replicas=1, micro_batches=1)
    assert interruptions_s(at, 5.0) == 0.0
    at = scheduled(
        work.replace(output_tokens=6), tiny_software(), batch_size=4, replicas=1, micro_batches=1
    )
    assert interruptions_s(at, 5.0) == pytest.approx(1.0)


def test_a_prefill_pool_finishes_as_many_prompts_as_its_passes_hold():
    graph, topology = load_model("llama-3.1-8b"), load_topology("hgx-h100", chips=1)
    plan = uniform_plan(graph, topology)
    short = score_plan(plan, graph, topology, Workload(phase="prefill", prompt_tokens=1024))
    served = Served(graph, topology, Workload(phase="prefill", prompt_tokens=1024))
    at = served.schedule(1)
    assert at.pool_prompts == 8  # of 1,024 tokens in a chunk of 8,192
    pass_s = timing_of(served.prices, plan, at).prefill.pass_s
    # Eight prompts leave after each pass; each waited for all of it.
    assert short.tokens_per_s == pytest.approx(8 * 256 / pass_s)
    assert short.ttft_s == pytest.approx(pass_s + topology.software.request_overhead_s)
    assert sum(short.prefill_breakdown[0].model_dump().values()) == pytest.approx(short.ttft_s)


@pytest.mark.parametrize("objective", ["tokens_per_s", "ttft_s"])
@pytest.mark.parametrize("space", ["engine", "any"])
def test_the_search_packs_prompts_as_the_score_does(objective, space):
    graph, topology = load_model("llama-3.1-8b"), load_topology("hgx-h100", chips=4)
    direction = "minimize" if objective == "ttft_s" else "maximize"
    work = Workload(phase="prefill", prompt_tokens=700)
    found = partition(graph, topology, work, **{direction: objective}, space=space)
    assert found.status == "optimal"
    each = [
        score_plan(
            uniform_plan(graph, topology, tensor_parallel=tensor, data_parallel=4 // tensor),
            graph,
            topology,
            work,
        )
        for tensor in (1, 2, 4)
    ]
    values = [getattr(one, objective) for one in each]
    if direction == "minimize":
        assert found.objective <= min(values) * (1 + 1e-9)
    else:
        assert found.objective >= max(values) * (1 - 1e-9)


@pytest.mark.slow
@given(st.floats(0, 0.99), st.floats(0, 0.99), st.integers(1, 20_000))
def test_more_of_a_prompt_cached_is_never_slower(one, other, prompt_tokens):
    graph, topology = load_model("llama-3.1-8b"), load_topology("hgx-h100", chips=1)
    plan = uniform_plan(graph, topology)
    less, more = (
        score_plan(
            plan,
            graph,
            topology,
            Workload(prompt_tokens=prompt_tokens, cached_prompt_share=share),
        )
        for share in sorted((one, other))
    )
    assert more.ttft_s <= less.ttft_s * (1 + 1e-9)
    assert more.memory_headroom_bytes >= less.memory_headroom_bytes - 1.0


# ── Layers off the first memory ──────────────────────────────────────────────────────────────────

THREE = chain(*(layer(name, matmul()) for name in "abc"))
"""A layer on the chip takes one token 130 B / 10 B/s and a launch: 14 s."""


def pass_s(machine, tokens: float = 1.0, away: tuple[str, ...] = ("a",)) -> float:
    """One pass of a stage of three layers, some of which lie elsewhere."""
    plan = plan_of(stage(*"abc", offloaded=away))
    step = Step(tokens, 1.0, 0.0, tokens == 1.0)
    (found,) = passes_of([PriceList(THREE, machine)], plan, [step], [ALONE], lambda *_: 0.0)
    assert found.busy_s[0, 0] == pytest.approx(found.pass_s)
    assert found.pieces_s.sum() == pytest.approx(found.pass_s)
    return found.pass_s


def leaving(mode: str, **changes):
    """A machine whose host has 2 B/s and 10 FLOP/s behind a link of 4 B/s that starts in 1 s."""
    software = {"engine": Engine(offload=mode)}
    return round_machine(1, software=software, host=round_host(), **changes)


def test_weights_in_the_hosts_memory_are_read_at_its_bandwidth():
    assert pass_s(leaving("streams"), away=()) == 3 * 14
    # 30 B of activations at 10 B/s, 100 B of weights at 2 B/s, a launch.
    assert pass_s(leaving("streams")) == (3 + 50 + 1) + 2 * 14


def test_a_link_that_is_slower_than_the_memory_behind_it_sets_the_rate():
    machine = leaving("streams")
    slow = machine.replace(host=machine.host.replace(bandwidth_bytes_per_s=1.0))
    assert pass_s(slow) == (3 + 100 + 1) + 2 * 14


def test_a_second_memory_of_the_chip_is_read_at_its_bandwidth():
    memory = (
        MemoryTier(name="SRAM", capacity_bytes=1000.0, bandwidth_bytes_per_s=10.0),
        MemoryTier(name="LPDDR", capacity_bytes=9000.0, bandwidth_bytes_per_s=5.0),
    )
    assert pass_s(leaving("layers", chip=round_chip(memory=memory))) == (3 + 20 + 1) + 2 * 14


def test_a_hosts_processor_computes_at_its_own_roofline_and_hands_over():
    # 130 B at 2 B/s and a launch; then 20 B of activations at 2 B/s, and a start.
    handed_s = 10 + 1
    assert pass_s(leaving("layers")) == (65 + 1) + handed_s + 2 * 14
    assert pass_s(leaving("layers"), away=("a", "b")) == 2 * 66 + handed_s + 14
    assert pass_s(leaving("layers"), away=("b",)) == 66 + 2 * handed_s + 2 * 14


def test_long_passes_have_their_weights_copied_to_the_chip():
    # 40 tokens: 1,200 B of activations at 10 B/s and 100 B of weights, at 2 B/s where they are
    # copied.
    near = 120 + 10 + 1
    assert pass_s(leaving("layers"), tokens=40.0) == (120 + 50 + 1) + 2 * near
    # 31 tokens on a processor of 2 B/s: (930 + 100) / 2, and what is handed over.
    handed_s = 31 * 20 / 2 + 1
    near = (930 + 100) / 10 + 1
    assert pass_s(leaving("layers"), tokens=31.0) == (1030 / 2 + 1) + handed_s + 2 * near


def test_what_a_host_computes_is_no_work_of_the_chips():
    plan = plan_of(stage(*"abc", offloaded=("a",)))
    prices = PriceList(THREE, leaving("layers"))
    (found,) = passes_of([prices], plan, [Step(1.0, 1.0, 0.0, True)], [ALONE], lambda *_: 0.0)
    assert (found.flop[0], found.moved_bytes[0]) == (200, 260)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    mode=st.sampled_from(("streams", "layers")),
    away=st.integers(0, 1),  # where the last layer leaves too, nothing changes sides any more
    slower=st.floats(0.01, 1.0),
    faster=st.floats(1.0, 100.0),
    tokens=st.sampled_from((1.0, 8.0, 64.0)),
)
def test_layers_in_slower_memory_never_pay_and_faster_memory_never_costs(
    mode, away, slower, faster, tokens
):
    def machine(share: float):
        """A host with that share of the chip's arithmetic and bandwidth, behind a link alike."""
        memory = (
            MemoryTier(name="DIMM", capacity_bytes=5000.0, bandwidth_bytes_per_s=10.0 * share),
        )
        peaks = (Peak(dtype="bf16", flop_per_s=100.0 * share),)
        processor = round_chip(memory=memory, peaks=peaks)
        host = round_host(processor=processor, bandwidth_bytes_per_s=10.0 * share)
        return leaving(mode).replace(host=host)

    fewer, more = tuple("abc"[:away]), tuple("abc"[: away + 1])
    slow = pass_s(machine(slower), tokens, more)
    assert pass_s(machine(slower), tokens, fewer) <= slow * (1 + 1e-12)
    assert pass_s(machine(slower * faster), tokens, more) <= slow * (1 + 1e-12)
