"""How times scatter: on paper, by what must grow with what, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.loads import SCATTERED, Load, Loop, Spread, rungs

TIMES = ("prompt_s", "packed_s", "first_s", "felt_s")
LADDERS = ("rounds_s", "tpots_s", "cycles_s")


def loaded(**changes) -> Load:
    """Prompts of 1 s, 100 later tokens that take 5 s, and 1 s more for each prompt that comes
    meanwhile; one request every ten seconds."""
    sequences = rungs(400, 400)
    numbers = {
        "requests_per_s": 0.1,
        "most": 400,
        "prompt_s": 1.0,
        "packs": 1,
        "packed_s": 1.0,
        "ranks": 1,
        "interruption_share": 1.0,
        "first_s": 10.0,
        "handed_rounds": 0.0,
        "turn_share": 0.0,
        "felt_s": 1.0,
        "later_tokens": 100,
        "rounds": 100.0,
        "sequences": sequences,
        "rounds_s": tuple(0.05 for _ in sequences),
        "tpots_s": tuple((5.0 + n) / 100.0 for n in sequences),
        "cycles_s": tuple(6.0 + n for n in sequences),
    }
    return Load(**{**numbers, **changes})


def test_later_tokens_wait_for_as_many_prompts_as_borel_and_tanner_say():
    # None comes in its prompt's second and the five of its tokens: e^-0.6 = 0.549; just one in
    # seven, and not in the last: 6/7 × 0.7 e^-0.7 = 0.298. One in ten waits for a prompt, half a
    # second, in which five of a hundred come.
    for share, prompts in ((0.53, 0), (0.56, 1), (0.83, 1), (0.86, 2)):
        assert loaded().percentile("tpot_s", share) == pytest.approx(0.05 + 0.01 * prompts)
    assert loaded().late_fraction("tpot_s", 0.055) == pytest.approx(1 - 0.549, abs=0.01)
    assert loaded().late_fraction("tpot_s", 0.065) == pytest.approx(1 - 0.847, abs=0.01)
    assert loaded().percentile("request_s", 0.45) == pytest.approx(15.0)


def test_half_of_all_find_nobody_before_them_and_one_in_a_hundred_waits_long():
    # The tail of equal services at a load of one half: 0.661 e^(-1.2564 t).
    half = loaded(requests_per_s=0.5)
    assert half.percentile("ttft_s", 0.4) == pytest.approx(10.0, abs=1e-6)
    long = 10 + math.log(66.1) / 1.2564
    assert half.percentile("ttft_s", 0.99) == pytest.approx(long, rel=1e-3)
    assert half.late_fraction("ttft_s", long) == pytest.approx(0.01, rel=1e-2)


def test_a_prompt_that_is_added_to_a_pass_waits_less_and_ends_with_all_of_it():
    # Half of the work: the queue of half the load, at passes as long; at that load of one quarter
    # a pass is longer by 7/8 × 0.25 / 1.25 of the wait.
    packed = loaded(requests_per_s=0.5, packs=8, packed_s=0.5)
    alone = loaded(requests_per_s=0.25)
    waited = alone.percentile("ttft_s", 0.99) - 10.0
    assert packed.percentile("ttft_s", 0.99) == pytest.approx(10.0 + 1.175 * waited, rel=1e-3)


def test_a_request_comes_at_any_time_of_a_round_where_others_are_in_flight():
    flat = {"rounds_s": (8.0,), "tpots_s": (8.0,), "cycles_s": (9.0,), "sequences": (400,)}
    numbers = {"prompt_s": 1e-9, "packed_s": 1e-9, "felt_s": 0.0, "turn_share": 0.5, **flat}
    busy = loaded(requests_per_s=5.0, later_tokens=1, rounds=1.0, **numbers)
    for share in (0.25, 0.5, 0.75):
        assert busy.percentile("ttft_s", share) == pytest.approx(10 + 8 * share, abs=0.2)
        assert busy.percentile("request_s", share) == pytest.approx(18 + 8 * share, abs=0.2)
    assert busy.percentile("tpot_s", 0.99) == 8.0
    idle = busy.at(1e-9)
    assert idle.percentile("ttft_s", 0.9) == pytest.approx(10.0, abs=1e-6)
    handed = busy.replace(handed_rounds=2.0)
    assert handed.percentile("ttft_s", 0.5) == pytest.approx(10 + 4 + 16, abs=0.2)
    assert handed.at(1e-9).percentile("ttft_s", 0.9) == pytest.approx(10.0, abs=1e-6)


def test_prompts_that_are_always_under_way_leave_a_part_of_the_time():
    # Ten times as many come as it takes: all of them hold up half of the time, 5 s / (1 - 0.5).
    flood = loaded(requests_per_s=0.9, interruption_share=0.5)
    assert flood.percentile("tpot_s", 0.99) == pytest.approx(0.1)
    assert flood.replace(interruption_share=1.0).percentile("tpot_s", 0.99) > 0.2


def test_ranks_that_run_prompts_of_their_own_wait_for_one_anothers():
    # Four ranks: a pass takes 4 s, in which 0.4 come; passes follow one another for
    # 1 / (1 + e^-0.4 / 0.4) = 0.374 of the time, and who comes waits for half of one.
    four = loaded(ranks=4)
    assert four.late_fraction("ttft_s", 10.0) == pytest.approx(0.374, abs=1e-3)
    assert four.late_fraction("ttft_s", 12.0) == pytest.approx(0.374 / 2, abs=1e-3)


def test_who_finds_no_place_waits_for_one():
    few = loaded(
        most=2, sequences=(1, 2), rounds_s=(0.05,) * 2, tpots_s=(0.06, 0.07), cycles_s=(7.0, 8.0)
    )
    # 6 s alone, 7 s with another, both at 0.1 a second: weights 1, 0.6, 0.21, the last with those
    # who wait 0.21 / (1 - 0.35).
    full = 0.21 / 0.65
    assert few.full_fraction == pytest.approx(full / (1.6 + full))
    assert few.most_requests_per_s == 0.25
    assert few.load_fraction == 0.4
    assert few.percentile("ttft_s", 0.99) > loaded().percentile("ttft_s", 0.99) + 1.0
    # No more than one joins it before it is gone.
    assert few.percentile("tpot_s", 0.999) == pytest.approx(0.06)


def test_a_load_says_where_its_percentiles_end():
    assert loaded(requests_per_s=1.01).percentile("ttft_s", 0.5) == math.inf
    assert loaded(requests_per_s=1.01).late_fraction("request_s", 1e9) == 1.0
    with pytest.raises(pl.InputError, match="ask for ttft_s"):
        loaded(later_tokens=0).percentile("request_s", 0.5)
    with pytest.raises(pl.InputError, match="ask for tpot_s"):
        loaded(prompt_s=0.0, packed_s=0.0).percentile("ttft_s", 0.5)


def test_a_slower_replica_takes_as_much_longer_at_a_rate_as_much_lower():
    slower = loaded().at(0.05).slower(2.0)
    for field in SCATTERED:
        twice = 2.0 * loaded().percentile(field, 0.9)
        assert slower.percentile(field, 0.9) == pytest.approx(twice, rel=1e-3)


# ── What grows with what ─────────────────────────────────────────────────────────────────────────


@st.composite
def loads(draw) -> Load:
    """Any that a plan could have, and some that none could."""
    most = draw(st.sampled_from([1, 2, 5, 40, 700]))
    sequences = rungs(most, 4096)
    numbers = st.floats(1e-3, 1.0)
    base, each, prompt = draw(numbers), draw(numbers) * draw(numbers), draw(numbers)
    tokens = draw(st.sampled_from([1, 3, 30, 300]))
    lost = draw(st.sampled_from([0.3, 0.7, 1.0]))
    packs, ranks = draw(st.sampled_from([1, 4])), draw(st.sampled_from([1, 8]))
    rounds = [base + each * n for n in sequences]
    tpots = [one + lost * n * prompt / tokens for one, n in zip(rounds, sequences, strict=True)]
    load = Load(
        requests_per_s=1.0,
        most=most,
        prompt_s=prompt,
        packs=packs,
        packed_s=prompt * draw(st.floats(1.0 / packs, 1.0)),
        ranks=ranks,
        interruption_share=lost,
        first_s=prompt + draw(numbers),
        handed_rounds=draw(st.sampled_from([0.0, 2.0])),
        turn_share=0.5,
        felt_s=lost * prompt / packs,
        later_tokens=tokens,
        rounds=float(tokens),
        sequences=sequences,
        rounds_s=tuple(rounds),
        tpots_s=tuple(tpots),
        cycles_s=tuple(
            prompt + one / 2 + tokens * tpot for one, tpot in zip(rounds, tpots, strict=True)
        ),
    )
    return load.at(draw(st.floats(0.02, 0.9)) * load.most_requests_per_s)


def longer(load: Load, which: int, factor: float) -> Load:
    """The same with one of its times longer, or more requests."""
    names = ["requests_per_s", *TIMES, *LADDERS]
    name = names[which % len(names)]
    if name not in LADDERS:
        return load.replace(**{name: factor * getattr(load, name)})
    values = list(getattr(load, name))
    values[which % len(values)] *= factor
    return load.replace(**{name: tuple(values)})


@pytest.mark.slow
@settings(max_examples=80)
@given(loads(), st.integers(0, 2000), st.floats(1.0001, 1.5))
def test_nothing_shrinks_where_more_comes_or_any_time_is_longer(load, which, factor):
    more = longer(load, which, factor)
    for field in SCATTERED:
        for share in (0.5, 0.9, 0.99):
            limit = load.percentile(field, share)
            assert more.percentile(field, share) >= limit * (1 - 1e-9)
            for near in (0.9 * limit, limit, 1.2 * limit):
                assert more.late_fraction(field, near) >= load.late_fraction(field, near) - 1e-9


@pytest.mark.slow
@settings(max_examples=60)
@given(loads(), st.floats(0.3, 1.0))
def test_a_percentile_is_the_time_that_as_many_are_late_for(load, share):
    for field in SCATTERED:
        limit = load.percentile(field, 0.999 * share)
        assert load.late_fraction(field, limit * (1 + 1e-9)) <= 1 - 0.999 * share + 1e-9
        assert load.late_fraction(field, limit * (1 - 1e-3)) >= (1 - 0.999 * share) * (1 - 1e-9)


@pytest.mark.slow
@settings(max_examples=60)
@given(loads(), st.floats(0.3, 0.999), st.floats(0.5, 1.5))
def test_whether_too_many_are_late_is_told_as_the_share_itself_says(load, share, factor):
    for field in SCATTERED:
        limit = factor * load.percentile(field, share)
        assert load.is_late(field, limit, 1 - share) == (
            load.late_fraction(field, limit) > 1 - share
        )


def test_many_are_known_to_be_late_before_all_is_worked_out():
    busy = loaded(requests_per_s=0.5)
    assert busy.is_late("tpot_s", 0.04, 0.5)
    assert busy.is_late("request_s", 14.0, 0.5)
    assert "_ends" not in vars(busy)
    assert not busy.is_late("tpot_s", 10.0, 0.5)
    assert "_ends" in vars(busy)


# ── Clients who send one request after the other ─────────────────────────────────────────────────


def test_a_spread_is_a_constant_and_two_uniform_parts():
    assert Spread(least_s=3.0).percentile(0.01) == 3.0
    one = Spread.of(3.0, (0.0, 2.0))
    assert (one.percentile(0.25), one.percentile(0.99)) == (3.5, pytest.approx(4.98))
    assert one.late_fraction(4.0) == pytest.approx(0.5)
    # Whichever end is the longer.
    assert Spread.of(3.0, (5.0, 1.0)) == Spread(least_s=4.0, one_s=4.0)
    assert one.slower(2.0) == Spread(least_s=6.0, one_s=4.0)


def test_a_loop_tells_each_time_and_refuses_what_it_has_not():
    loop = Loop(
        ttft_s=Spread(least_s=1.0, one_s=2.0),
        tpot_s=Spread(least_s=0.1),
        request_s=Spread(least_s=2.0, one_s=2.0),
    )
    assert loop.percentile("ttft_s", 0.5) == 2.0
    assert loop.late_fraction("request_s", 3.5) == pytest.approx(0.25)
    assert loop.late_fraction("tpot_s", 0.1) == 0.0
    assert loop.slower(3.0).percentile("tpot_s", 0.5) == pytest.approx(0.3)
    with pytest.raises(pl.InputError, match="ask for tpot_s"):
        loop.replace(scattered=("tpot_s",)).percentile("ttft_s", 0.5)
    for field, share in (("chips", 0.5), ("ttft_s", 0.0), ("ttft_s", 1.0)):
        with pytest.raises(pl.InputError):
            loop.percentile(field, share)


def test_rungs_go_up_by_halves_to_the_first_that_is_enough():
    assert rungs(5, 400) == (1, 2, 3, 4, 6)
    assert rungs(400, 400)[-3:] == (256, 384, 400)
    assert np.all(np.diff(rungs(4096, 4096)) > 0)


def test_ranks_of_a_decode_pool_run_no_prompts():
    pool = loaded(prompt_s=0.0, packed_s=0.0, felt_s=0.0, ranks=4)
    alone = loaded(prompt_s=0.0, packed_s=0.0, felt_s=0.0)
    assert pool.percentile("tpot_s", 0.9) == alone.percentile("tpot_s", 0.9)


def test_more_work_in_packed_passes_than_there_is_time_has_no_percentile():
    full = loaded(packed_s=10.5, ranks=2)
    assert full.percentile("ttft_s", 0.5) == math.inf
    assert full.late_fraction("ttft_s", 1e9) == 1.0


def test_with_fewer_places_a_replica_serves_what_its_sequences_leave_it_time_for():
    wide = loaded(
        most=8,
        prompt_s=0.1,
        sequences=(1, 4, 8),
        rounds_s=(0.05,) * 3,
        tpots_s=(0.05, 0.06, 0.08),
        cycles_s=(1.0, 2.0, 6.0),
        full_cycle_s=5.0,
    )
    assert wide.most_requests_per_s == 8 / 5.0
    # Among 6 a sequence stays for 4 s, half way from 2 to 6, and for no less than among 4.
    assert wide.with_places(6).most_requests_per_s == 6 / 4.0
    assert wide.with_places(6, at_best=True).most_requests_per_s == 6 / 2.0
    assert wide.with_places(4, at_best=True).most_requests_per_s == 4 / 2.0
