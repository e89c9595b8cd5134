"""Passes in which a replica serves its share, by hand."""

import numpy as np
import pytest

from planner.pricing.price_list import Split, Step, shares_of
from planner.pricing.schedule import denoising, schedule_of, scheduled
from planner.workload import Speculation, Workload
from tests.by_hand import chain, layer, matmul, round_software
from tests.instances import tiny_software


def made(batch: int, replicas: int = 1, micro_batches: int = 1, **changes):
    work = Workload(**{"prompt_tokens": 1000, "output_tokens": 11, "batch_size": batch, **changes})
    chunk = tiny_software(prefill_chunk_tokens=256)
    return scheduled(work, chunk, batch_size=batch, replicas=replicas, micro_batches=micro_batches)


def test_the_busiest_replica_takes_what_does_not_divide():
    assert made(7, replicas=2).sequences == 4


def test_no_more_micro_batches_run_than_there_are_sequences():
    at = made(3, micro_batches=8)
    assert (at.micro_batches, at.decode.sequences) == (3, 1.0)


def test_a_prompt_longer_than_a_chunk_takes_several_passes():
    at = made(1)
    assert at.prefill_passes == 4  # 1000 / 256, rounded up
    assert at.prefill.tokens == 250


def test_prompts_of_a_batch_that_starts_as_one_are_prefilled_together():
    assert made(4, arrivals="together").prefill_passes == 16  # 4000 / 256 = 15.6


def test_decode_finds_the_mean_context_and_prefill_half_its_prompt():
    at = made(1)
    assert at.decode.context_tokens == 1000 + 11 / 2
    assert at.prefill.context_tokens == 500


def test_the_first_token_comes_from_the_prefill():
    assert made(1).later_tokens == 10


def test_in_the_steady_state_a_request_meets_the_prompts_of_all_others():
    assert made(8).others_prefills(1) == 7
    assert made(8).others_prefills(4) == 1  # two of eight share its chips
    assert made(8, arrivals="together").others_prefills(1) == 0


@pytest.mark.parametrize(("arrivals", "share"), [("steady", 0.5), ("together", 0.0)])
def test_a_request_that_joins_waits_half_a_round(arrivals, share):
    assert made(8, arrivals=arrivals).waiting_share == share


@pytest.mark.parametrize("handover_rounds", [0.0, 3.0])
def test_where_nothing_decodes_there_are_no_rounds_to_wait_for(handover_rounds):
    """As of encoders, whose one output token the prompt's own pass makes."""
    work = Workload(prompt_tokens=128, output_tokens=1, batch_size=4)
    software = tiny_software(handover_rounds=handover_rounds)
    at = scheduled(work, software, batch_size=4, replicas=1, micro_batches=1)
    assert (at.later_tokens, at.turn_share, at.waiting_share) == (0, 0.0, 0.0)
    assert at.waiting_among(np.array([0.0, 3.0])).tolist() == [0.0, 0.0]
    longer = scheduled(
        work.replace(output_tokens=2), software, batch_size=4, replicas=1, micro_batches=1
    )
    assert longer.waiting_share == 0.5 + handover_rounds


def test_a_prefill_pool_makes_first_tokens_and_holds_two_prompts_on_each_rank():
    work, software = (
        Workload(phase="prefill", prompt_tokens=1000),
        tiny_software(prefill_chunk_tokens=256),
    )
    at = scheduled(work, software, batch_size=2, replicas=2, micro_batches=1)
    assert (at.sequences, at.prefill_passes, at.later_tokens, at.waiting_share, at.burst_share) == (
        1,
        4,
        0,
        0.0,
        0.0,
    )
    assert [at.held_sequences(ranks) for ranks in (1, 4)] == [2, 2]


def test_a_decode_pool_sees_no_prompts():
    at = made(8, phase="decode")
    assert (at.prefill_passes, at.later_tokens, at.others_prefills(1), at.request_overhead_s) == (
        0,
        10,
        0,
        0.0,
    )
    assert at.most_tokens == 8  # buffers need not take a chunk of a prompt
    assert at.held_sequences(4) == 2


# ── On paper: chunks of 10 tokens ─────────────────────────────────────────────────────────────────


def planned(
    sequences: int, micro_batches: int = 1, *, software: dict[str, float] | None = None, **changes
):
    """Prompts of 25 tokens, 11 tokens out."""
    work = Workload(
        **{"batch_size": sequences, "prompt_tokens": 25, "output_tokens": 11, **changes}
    )
    options = {"micro_batches": micro_batches, "replicas": 1}
    return scheduled(work, round_software(**(software or {})), batch_size=sequences, **options)


def test_each_of_the_passes_of_a_prompt_takes_an_equal_part():
    at = planned(4)
    assert at.prefill_passes == 3  # 10 + 10 + 5, evened out
    assert at.prefill == Step(tokens=25 / 3, sequences=1.0, context_tokens=12.5, decode=False)
    assert at.decode == Step(tokens=4.0, sequences=4.0, context_tokens=30.5, decode=True)
    assert at.most_tokens == 10.0


def test_prompts_that_start_together_fill_passes_between_them():
    at = planned(4, arrivals="together", software={"prefill_chunk_tokens": 60})
    assert at.prefill_passes == 2  # 100 tokens
    assert at.prefill == Step(tokens=50.0, sequences=2.0, context_tokens=12.5, decode=False)
    assert at.most_tokens == 60.0
    short = planned(4, arrivals="together", software={"prefill_chunk_tokens": 1000})
    assert (short.prefill_passes, short.prefill.tokens, short.most_tokens) == (1, 100.0, 100.0)
    work, software = short.workload, round_software(prefill_chunk_tokens=80)
    assert (
        schedule_of(work, software, 4, 1, 4, whole_passes=False).prefill_passes == 1.25
    )  # a bound
    steady = work.replace(arrivals="steady", prompt_tokens=100)
    assert schedule_of(steady, software, 4, 1, 4, whole_passes=False).prefill_passes == 2


def test_seven_sequences_in_three_micro_batches_are_three_and_three_and_one():
    at = planned(7, 3)
    assert (at.micro_batches, at.decode.sequences) == (3, 3.0)
    # As many as are asked for stay in flight, each priced as the largest; what counts as useful is
    # what seven sequences need.
    many = planned(7, 5)
    assert (many.micro_batches, many.decode.sequences) == (5, 2.0)
    assert many.useful_decode.sequences == 7 / 5
    assert many.mean_decode.sequences == pytest.approx(7 / 5, rel=1e-15)
    assert planned(3, 5).micro_batches == 3


def test_drafted_tokens_are_verified_with_the_one_that_is_sure():
    at = planned(4, speculation=Speculation(tokens=3, acceptance_rate=0.5))
    assert (at.decode.tokens, at.decode.sequences) == (16.0, 4.0)
    assert at.tokens_per_pass == 1 + 0.5 + 0.25 + 0.125
    assert at.rounds == 10 / 1.875
    assert at.useful_decode.tokens == 4 * 1.875
    assert at.most_tokens == 16.0
    assert (planned(4).tokens_per_pass, planned(4).rounds, planned(4).useful_decode) == (
        1.0,
        10.0,
        planned(4).decode,
    )


def test_a_first_token_takes_rounds_through_the_engine_where_requests_join_one():
    software = {"handover_rounds": 3.0}
    assert planned(4, software=software).waiting_share == 0.5 + 3
    assert planned(4, software=software).turn_share == 0.5
    assert planned(1, software=software).waiting_share == 0.5  # alone, no pass runs meanwhile
    assert planned(4, software=software, arrivals="together").waiting_share == 0
    # Of a decode pool the first token was made elsewhere.
    assert planned(4, software=software, phase="decode").waiting_share == 0.5
    assert planned(4, software=software, phase="prefill", batch_size=None).waiting_share == 0


def test_a_loaded_server_adds_its_overhead_and_the_prompts_of_a_burst():
    software = {"request_overhead_s": 3.0, "burst_share": 0.25, "interruption_share": 0.75}
    at = planned(4, software=software)
    assert (at.request_overhead_s, at.burst_share) == (3.0, 0.25)
    rate = planned(4, software=software, batch_size=None, requests_per_s=1.0)
    assert (rate.request_overhead_s, rate.burst_share, rate.waiting_share) == (
        3.0,
        0.0,
        0.5,
    )  # the queue counts them
    together = planned(4, software=software, arrivals="together")
    assert (together.request_overhead_s, together.burst_share) == (0.0, 0.25)
    decode = planned(4, software=software, phase="decode", transfer_s=7.0)
    assert (decode.request_overhead_s, decode.burst_share, decode.waiting_share) == (7.0, 0.0, 0.5)
    prefill = planned(4, software=software, phase="prefill", batch_size=None)
    assert (prefill.request_overhead_s, prefill.burst_share, prefill.waiting_share) == (
        3.0,
        0.0,
        0.0,
    )


def test_a_request_that_comes_at_a_rate_finds_as_many_as_are_in_flight():
    rate = planned(8, batch_size=None, requests_per_s=1.0)
    assert [rate.others_prefills(ranks) for ranks in (1, 3)] == [8, 3]
    relaxed = schedule_of(rate.workload, rate.software, 8, 1, 8, relaxed=True)
    assert relaxed.others_prefills(5) == 1.6
    steady = schedule_of(planned(8).workload, rate.software, 8, 1, 8, relaxed=True)
    assert [steady.others_prefills(ranks) for ranks in (1, 5, 16)] == [7.0, pytest.approx(0.6), 0.0]
    assert [planned(8).others_prefills(ranks) for ranks in (3, 16)] == [2, 0]


def test_caches_are_held_by_the_rank_with_the_most_sequences():
    assert [planned(8).held_sequences(ranks) for ranks in (1, 3, 8, 16)] == [8, 3, 1, 1]


def test_samples_go_through_the_denoiser_once_for_each_pass_of_guidance():
    graph = chain(layer("a", matmul()), steps=20, tokens_per_sample=16, passes_per_step=2)
    step = Step(tokens=2 * 3 * 16.0, sequences=6.0, context_tokens=8.0, decode=False)
    assert denoising(graph, 3) == step
    at = scheduled(
        Workload(batch_size=5),
        round_software(),
        batch_size=5,
        replicas=2,
        micro_batches=4,
        graph=graph,
    )
    assert (at.sequences, at.micro_batches, at.prefill_passes, at.most_tokens) == (3, 1, 1.0, 96.0)
    assert at.prefill == at.decode == step


def batching(**changes):
    """Software whose scheduler fills passes with prompts."""
    return round_software(packs_prompts=True, **changes)


def test_short_prompts_share_a_pass_of_a_prefill_pool_that_is_never_idle():
    work = Workload(phase="prefill", prompt_tokens=25)
    at = schedule_of(work, batching(prefill_chunk_tokens=110), 9, 1, 9)
    assert at.pool_prompts == 4  # 100 of 110 tokens
    assert (at.prefill_passes, at.most_tokens, at.sequences) == (0.25, 25.0, 1)
    assert at.prefill == Step(100.0, 4.0, 12.5, decode=False, together=4.0)
    # Room for one in work and one that leaves: with no more than that, an engine packs fewer.
    assert at.held_sequences(1) == at.held_sequences(8) == 2


def test_prompts_run_alone_under_a_rate_in_long_chunks_and_where_no_engine_batches_them():
    work = Workload(phase="prefill", prompt_tokens=25)
    software = batching(prefill_chunk_tokens=110)
    alone = schedule_of(work, batching(prefill_chunk_tokens=49), 1, 1, 1)
    for at in (
        alone,
        schedule_of(work.replace(requests_per_s=1.0, batch_size=None), software, 1, 1, 1),
        schedule_of(work, round_software(prefill_chunk_tokens=110), 1, 1, 1),
    ):
        assert (at.pool_prompts, at.prefill_passes, at.prefill.tokens) == (1, 1.0, 25.0)


def test_ranks_that_share_out_the_sequences_fill_passes_of_their_own():
    packed = Step(100.0, 4.0, 12.5, decode=False, together=4.0)
    assert shares_of(Split(attention=4), packed) == (100.0, 4.0)
    assert shares_of(Split(attention=4), packed._replace(together=1.0)) == (25.0, 1.0)


def test_passes_run_what_is_not_cached_and_see_all_of_the_context():
    # 40 of 100 tokens are run, in chunks of 30: 20 and 20. They see 60 cached and half of 40.
    at = planned(
        4, prompt_tokens=100, cached_prompt_share=0.6, software={"prefill_chunk_tokens": 30}
    )
    assert at.prefill_passes == 2
    assert at.prefill == Step(tokens=20.0, sequences=1.0, context_tokens=80.0, decode=False)


def test_more_prompts_share_a_pass_where_less_of_them_is_run():
    work = Workload(phase="prefill", prompt_tokens=50, cached_prompt_share=0.5)
    assert schedule_of(work, batching(prefill_chunk_tokens=110), 1, 1, 1).pool_prompts == 4
