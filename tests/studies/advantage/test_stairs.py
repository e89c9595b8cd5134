"""Stairs of plans that a person can price: copies for a rate, machines that wait, pools of their
own, and the steps that are left."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.space.uniform import PlanGrid
from planner.studies.advantage.stairs import EMPTY, Load, Plans, Proved, Way, drafts_of, stair_of
from planner.workload import Workload

JOULES, DOLLARS, CHIPS = "energy_per_token_j", "usd_per_million_tokens", "chips"


def grid(**changes: Any) -> PlanGrid:
    """One pipeline of two chips that takes one sequence in 10 ms a token, or four in 20 ms: of ten
    output tokens each, 10 and 20 requests a second; 300 and 400 W as it serves, 100 W as it
    waits."""
    shape = (1, 2, 1)
    rate = np.array([100.0, 200.0]).reshape(shape)
    watts = np.array([300.0, 400.0]).reshape(shape)
    fields = {
        "graph": None,
        "topology": None,
        "ground": None,
        "workload": Workload(batch_size=None, prompt_tokens=1, output_tokens=10),
        "shapes": (None,),
        "chips": np.array([2]),
        "micro_sequences": np.array([1, 4]),
        "micro_batches": np.array([[1]]),
        "ttft_s": np.zeros(shape),
        "tpot_s": np.array([0.01, 0.02]).reshape(shape),
        "tokens_per_s": rate,
        "energy_per_token_j": watts / rate,
        "usd_per_million_tokens": np.array([8.0, 4.0]).reshape(shape),
        "power_w": watts,
        "idle_w": np.full(shape, 100.0),
        "drafted": np.zeros(shape, dtype=np.intp),
    }
    return PlanGrid(**{**fields, **changes})


def plans(*ways: Way) -> Plans:
    return Plans(None, ways or (Way("none", grid()),))


def prompts() -> PlanGrid:
    """Pools of one chip for five prompts a second at 100 W, or of four chips for forty at 400 W; at
    10 and at 5 USD for a million output tokens."""
    shape = (2, 1, 1)
    rate = np.array([50.0, 400.0]).reshape(shape)
    return grid(
        shapes=(None, None),
        chips=np.array([1, 4]),
        micro_sequences=np.array([1]),
        micro_batches=np.array([[1], [1]]),
        tpot_s=np.full(shape, 0.01),
        tokens_per_s=rate,
        energy_per_token_j=np.array([100.0, 400.0]).reshape(shape) / rate,
        usd_per_million_tokens=np.array([10.0, 5.0]).reshape(shape),
        power_w=np.array([100.0, 400.0]).reshape(shape),
        idle_w=np.array([10.0, 40.0]).reshape(shape),
        drafted=np.zeros(shape, dtype=np.intp),
    )


def test_without_a_rate_each_plan_has_all_that_it_serves():
    stair = stair_of(plans(), Load(JOULES))
    assert stair.speeds.tolist() == [100.0, 50.0]
    assert stair.values.tolist() == [3.0, 2.0]
    assert stair.users.tolist() == [1, 4]
    assert stair.fastest == 100.0
    found = [stair.value_at(speed) for speed in (100.0, 60.0, 50.0, 101.0)]
    assert found == [3.0, 3.0, 2.0, math.inf]


def test_plans_of_more_users_than_may_be_are_left_out():
    assert stair_of(plans(), Load(JOULES, most_users=3)).values.tolist() == [3.0]


def test_a_plan_is_copied_for_a_rate_and_waits_in_what_is_left():
    # 30 requests/s: three copies of one user's plan, all busy: 900 W over 300 tokens/s. Or two of
    # four users' plan, each busy for 15/20: 2 (0.75 · 400 + 0.25 · 100) = 650 W over the same.
    stair = stair_of(plans(), Load(JOULES, requests_per_s=30.0))
    assert stair.values == pytest.approx([3.0, 650 / 300])
    assert stair.chips.tolist() == [6, 4]
    assert stair.users.tolist() == [3, 8]
    dollars = stair_of(plans(), Load(DOLLARS, requests_per_s=30.0))
    assert dollars.values == pytest.approx([8.0, 4.0 / 0.75])
    chips = stair_of(plans(), Load(CHIPS, requests_per_s=30.0))
    assert chips.values.tolist() == [6.0, 4.0]


def test_a_rate_that_one_copy_could_serve_ten_times_over_pays_for_waiting():
    # One request a second: one copy, busy for a tenth: 0.1 · 300 + 0.9 · 100 = 120 W, 10 tokens/s.
    # The larger batch is busy for a twentieth, 115 W, but slower.
    stair = stair_of(plans(), Load(JOULES, requests_per_s=1.0))
    assert stair.values == pytest.approx([12.0, 11.5])
    assert stair.chips.tolist() == [2, 2]


@pytest.mark.slow
@given(st.floats(0.01, 1e4))
def test_a_rate_never_costs_less_than_full_plans_nor_has_a_copy_too_few(rate):
    loaded, full = stair_of(plans(), Load(JOULES, None, rate)), stair_of(plans(), Load(JOULES))
    for speed in (50.0, 100.0):
        assert loaded.value_at(speed) >= full.value_at(speed) * (1 - 1e-9)
    chips = stair_of(plans(), Load(CHIPS, None, rate))
    assert chips.value_at(100.0) / 2 * 10 >= rate * (1 - 1e-6)


def test_pools_add_up_at_the_ratio_of_their_rates():
    pooled = plans(Way("none", grid(), prompts()))
    stair = stair_of(pooled, Load(JOULES))
    # The larger pool is cheaper, 1 J, and has 4 chips for 40 requests/s: 1 and 2 for 10 and 20.
    assert stair.values.tolist() == [4.0, 3.0]
    assert stair.chips.tolist() == [3, 4]
    assert stair_of(pooled, Load(DOLLARS)).values.tolist() == [13.0, 9.0]
    # The fewest chips a request are the same pool's, a tenth; not the smaller one's, a fifth.
    assert stair_of(pooled, Load(CHIPS)).values.tolist() == [3.0]


def test_pools_under_a_rate_come_whole_and_wait_too():
    # 4 requests/s: one small pool is busy for 4/5: 82 W; the large one for 1/10: 76 W, and is
    # taken. Beside it one decode pool, busy for 0.4 or 0.2: 180 or 160 W, over 40 tokens/s.
    pooled = plans(Way("none", grid(), prompts()))
    stair = stair_of(pooled, Load(JOULES, requests_per_s=4.0))
    assert stair.values == pytest.approx([(180 + 76) / 40, (160 + 76) / 40])
    assert stair.chips.tolist() == [6, 6]
    assert stair_of(pooled, Load(CHIPS, requests_per_s=4.0)).values.tolist() == [3.0]


def test_of_several_ways_to_draft_each_step_takes_the_cheapest():
    base = grid()
    quick = grid(tpot_s=base.tpot_s / 2, energy_per_token_j=np.full((1, 2, 1), 2.5))
    both = plans(Way("none", base), Way("eagle3", quick))
    stair = stair_of(both, Load(JOULES))
    assert stair.speeds.tolist() == [200.0, 50.0]
    assert stair.values.tolist() == [2.5, 2.0]
    assert [drafts_of(both, int(way)) for way in stair.ways] == ["eagle3", None]


def test_proved_plans_join_the_others():
    found = [Proved(speed=60.0, value=1.5, chips=3, users=5, way=0)]
    stair = stair_of(plans(), Load(JOULES), found)
    assert stair.values.tolist() == [3.0, 1.5]
    assert (stair.chips[-1], stair.users[-1], stair.place[-1]) == (3, 5, -1)


def test_what_does_not_fit_has_no_step_and_what_costs_nobody_knows_has_a_speed_alone():
    assert stair_of(None, Load(JOULES)) is EMPTY
    assert EMPTY.value_at(1.0) == math.inf
    unknown = plans(Way("none", grid(energy_per_token_j=np.full((1, 2, 1), np.inf))))
    stair = stair_of(unknown, Load(JOULES))
    assert (stair.value_at(10.0), stair.fastest) == (math.inf, 100.0)
