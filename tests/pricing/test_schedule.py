"""Passes in which a replica serves its share, by hand."""

import pytest

from planner.pricing.schedule import scheduled
from planner.workload import Workload
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
