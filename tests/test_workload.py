"""What is asked of a machine."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.errors import InputError
from planner.workload import ACCEPTANCE, Speculation, Workload

counts = st.integers(1, 10_000_000)
workloads = st.builds(
    Workload,
    batch_size=st.none() | counts,
    prompt_tokens=counts,
    output_tokens=counts,
    arrivals=st.sampled_from(["together", "steady"]),
)


def test_a_sequence_grows_to_its_prompt_and_its_output():
    assert Workload(prompt_tokens=1000, output_tokens=200).context_tokens == 1200


def test_a_decode_step_finds_the_prompt_and_half_the_output_on_average():
    assert Workload(prompt_tokens=1000, output_tokens=200).mean_context_tokens == 1100.0


@pytest.mark.parametrize(("arrivals", "block", "unfilled"), [("together", 16, 8), ("together", 20, 0), ("steady", 16, 7.5),
                                                            ("steady", 1, 0)])  # fmt: skip
def test_the_last_block_of_a_sequence_is_partly_empty(arrivals, block, unfilled):
    assert (
        Workload(prompt_tokens=100, output_tokens=20, arrivals=arrivals).unfilled_tokens(block)
        == unfilled
    )


@pytest.mark.slow
@given(workloads)
def test_json_gives_back_an_equal_workload(workload):
    assert Workload.from_json(workload.to_json()) == workload


@pytest.mark.slow
@given(workloads)
def test_the_mean_context_lies_between_prompt_and_context(workload):
    assert workload.prompt_tokens < workload.mean_context_tokens < workload.context_tokens


@pytest.mark.parametrize("field", ["batch_size", "prompt_tokens", "output_tokens"])
@pytest.mark.parametrize("bad", [0, -1, 2.5, "many", math.nan, math.inf, 10**12, [8]])
def test_a_count_that_is_none_is_refused_by_name(field, bad):
    with pytest.raises(InputError, match=rf"^Workload\.{field} must be [^\n]+$"):
        Workload(**{field: bad})


def test_only_the_batch_may_be_left_open():
    assert Workload(batch_size=None).batch_size is None
    with pytest.raises(
        InputError, match=r"^Workload\.prompt_tokens must be a whole number, not None$"
    ):
        Workload(prompt_tokens=None)


def test_arrivals_are_together_steady_or_a_stream():
    with pytest.raises(
        InputError,
        match=r"^Workload\.arrivals must be 'together', 'steady' or 'poisson', not 'bursts'$",
    ):
        Workload(arrivals="bursts")


def test_a_stream_leaves_its_batch_open_and_may_leave_its_rate():
    stream = Workload(arrivals="poisson")
    assert (stream.batch_size, stream.is_stream, stream.is_open_stream) == (None, True, True)
    rated = stream.replace(requests_per_s=3.0)
    assert rated.is_stream
    assert not rated.is_open_stream
    assert Workload(requests_per_s=3.0).is_stream
    assert not Workload(batch_size=None).is_stream
    with pytest.raises(
        InputError, match=r"^Workload\.batch_size must be None where requests come at a rate"
    ):
        Workload(arrivals="poisson", batch_size=8)


def test_under_a_rate_of_requests_the_batch_is_an_outcome():
    assert Workload(requests_per_s=2.5).batch_size is None
    assert Workload.from_json(Workload(requests_per_s=2.5).to_json()) == Workload(
        requests_per_s=2.5
    )
    with pytest.raises(
        InputError,
        match=r"^Workload\.batch_size must be None where requests come at a rate [^\n]+, not 4$",
    ):
        Workload(requests_per_s=2.5, batch_size=4)


def test_requests_that_come_at_a_rate_do_not_start_together():
    with pytest.raises(InputError, match=r"^Workload\.arrivals: "):
        Workload(requests_per_s=2.5, arrivals="together")


def test_a_prefill_pool_takes_one_prompt_after_the_other_and_grows_no_sequence():
    work = Workload(phase="prefill", prompt_tokens=100, output_tokens=20)
    assert work.batch_size is None
    assert work.context_tokens == work.held_context_tokens == 100
    with pytest.raises(
        InputError, match=r"^Workload\.batch_size must be None for a prefill pool[^\n]+, not 4$"
    ):
        Workload(phase="prefill", batch_size=4)


def test_pools_of_one_phase_serve_a_steady_stream_of_more_than_first_tokens():
    with pytest.raises(
        InputError, match=r"^Workload\.arrivals: requests reach a decode pool one by one"
    ):
        Workload(phase="decode", arrivals="together")
    with pytest.raises(InputError, match=r"^Workload\.output_tokens: a decode pool "):
        Workload(phase="decode", output_tokens=1)
    with pytest.raises(InputError, match=r"^Workload\.transfer_s: only a decode pool "):
        Workload(transfer_s=1.0)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "often"])
def test_a_rate_that_is_none_is_refused(bad):
    with pytest.raises(InputError, match=r"^Workload\.requests_per_s must be "):
        Workload(requests_per_s=bad)


def test_a_field_that_it_has_not_is_refused():
    with pytest.raises(
        InputError, match=r"^Workload\.concurrency is not a field of it; did you mean "
    ):
        Workload(concurrency=4)


def test_a_workload_stays_as_it_is():
    with pytest.raises(ValidationError, match="frozen"):
        Workload().batch_size = 4


def test_a_replaced_field_is_validated_and_the_original_stays():
    workload = Workload(batch_size=2)
    assert workload.replace(batch_size=4) == Workload(batch_size=4)
    assert workload.batch_size == 2
    with pytest.raises(InputError, match=r"^Workload\.batch_size"):
        workload.replace(batch_size=0)


@pytest.mark.parametrize(
    ("tokens", "rate", "kept"),
    [(4, 0.0, 1.0), (4, 1.0, 5.0), (1, 0.7, 1.7), (3, 0.5, 1.875), (None, 0.5, 1.0)],
)
def test_a_pass_keeps_what_leviathan_expects_of_its_drafts(tokens, rate, kept):
    assert Speculation(tokens=tokens, acceptance_rate=rate).tokens_per_pass == pytest.approx(kept)


@pytest.mark.slow
@given(st.integers(1, 64), st.floats(0, 0.999))
def test_the_tokens_of_a_pass_are_the_closed_form(tokens, rate):
    kept = Speculation(tokens=tokens, acceptance_rate=rate).tokens_per_pass
    assert kept == pytest.approx((1 - rate ** (tokens + 1)) / (1 - rate))


def test_what_cannot_be_drafted_is_said_in_one_sentence():
    with pytest.raises(InputError, match=r"model graph, such as load_model\('llama-3.2-1b'\)"):
        Speculation(draft="llama-3.2-1b")
    with pytest.raises(InputError, match="tokens must be at least"):
        Speculation(tokens=0)
    with pytest.raises(InputError, match="acceptance_rate must be"):
        Speculation(acceptance_rate=1.1)


@pytest.mark.parametrize("kind", sorted(ACCEPTANCE))
def test_a_kind_of_draft_brings_its_acceptance_rate(kind):
    drafting = Speculation(kind=kind)
    assert drafting.acceptance_rate == ACCEPTANCE[kind].rate
    assert drafting.acceptance_source.startswith(f"{kind}, {ACCEPTANCE[kind].confidence}: ")
    assert Speculation.from_json(drafting.to_json()) == drafting
    assert drafting.replace(tokens=2).acceptance_rate == ACCEPTANCE[kind].rate


def test_a_rate_that_somebody_states_comes_first():
    stated = Speculation(kind="mtp", acceptance_rate=0.5)
    assert (stated.acceptance_rate, stated.acceptance_source[:9]) == (0.5, "as stated")
    assert Speculation().acceptance_rate == 0.7
    assert Speculation(acceptance_rate=None).acceptance_rate == 0.7
    with pytest.raises(InputError, match="kind"):
        Speculation.from_fields({"kind": "oracle"})


def test_rates_of_kinds_keep_what_passes_were_measured_to_keep():
    # EAGLE-3 kept 4.68 of 5 + 1: 1 + 0.865 + … + 0.865⁵ = (1 - 0.865⁶) / (1 - 0.865) = 4.30.
    kept = Speculation(kind="eagle3", tokens=5).tokens_per_pass
    assert kept == pytest.approx((1 - 0.865**6) / 0.135)
    assert kept == pytest.approx(4.68, rel=0.09)
    # MTP of DeepSeek-V4-Pro kept 2.49 and 2.97 of 3 + 1, Qwen3.5 3.39: in between.
    assert 2.49 < Speculation(kind="mtp", tokens=3).tokens_per_pass < 3.39


def test_what_is_cached_of_a_prompt_is_not_run_again():
    work = Workload(prompt_tokens=1000, cached_prompt_share=0.75)
    assert work.new_prompt_tokens == 250
    assert (work.context_tokens, work.mean_context_tokens) == (1256, 1128)  # all of it is seen
    assert Workload(prompt_tokens=2, cached_prompt_share=0.9).new_prompt_tokens == 1  # the last one


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match=r"Workload\.cached_prompt_share must"):
        Workload.from_fields({"cached_prompt_share": share})
