"""Pipelines, against figures worked out by hand and a flow shop played through."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.cost.pipeline import bubble_fraction, cycle_s, fill_and_drain_s, request_s

GOLDEN = [
    (fill_and_drain_s, (6.0, 3.0, 1.0), 6.0),
    (fill_and_drain_s, (6.0, 3.0, 5.0), 18.0),
    (cycle_s, (6.0, 3.0), 6.0),
    (cycle_s, (6.0, 9.0), 9.0),
    (request_s, (0.5, 0.02, 1.0), 0.5),
    (request_s, (0.5, 0.02, 101.0), 2.5),
    (bubble_fraction, (6.0, 3.0, 4.0), 0.5),
]
times = st.lists(st.integers(1, 50), min_size=1, max_size=8)


def played_through(stages, passes):
    """When the last of so many passes has left the last stage, each stage taking them one at a
    time."""
    free = [0] * len(stages)
    for _ in range(passes):
        clock = 0
        for stage, busy in enumerate(stages):
            free[stage] = clock = max(clock, free[stage]) + busy
    return free[-1]


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_each_figure_is_the_one_worked_out_by_hand(function, given_values, expected):
    assert function(*given_values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("function", "given_values", "expected"), GOLDEN)
def test_arrays_give_what_floats_give_one_by_one(function, given_values, expected):
    arrays = [np.array([1.0, 2.0, 4.0]) * value for value in given_values]
    one_by_one = [function(*[float(array[n]) for array in arrays]) for n in range(3)]
    assert function(*arrays).shape == (3,)
    assert list(function(*arrays)) == pytest.approx(one_by_one, rel=1e-15)


@pytest.mark.slow
@given(times, st.integers(1, 20))
def test_a_pipeline_fills_and_drains_as_a_flow_shop_played_through_does(stages, passes):
    assert fill_and_drain_s(sum(stages), max(stages), passes) == played_through(stages, passes)


@pytest.mark.slow
@given(times, st.integers(1, 20))
def test_tokens_follow_each_other_as_in_a_loop_played_through(stages, micro_batches):
    """The stages in a ring: a micro-batch that leaves the last begins again at the first."""
    free, ready, ends = [0] * len(stages), [0] * micro_batches, []
    for _ in range(2 * len(stages) + 40):
        for batch in range(micro_batches):
            clock = ready[batch]
            for stage, busy in enumerate(stages):
                free[stage] = clock = max(clock, free[stage]) + busy
            ready[batch] = clock
        ends.append(ready[-1])
    assert ends[-1] - ends[-2] == cycle_s(sum(stages), micro_batches * max(stages))


def test_a_filled_pipeline_of_equal_stages_has_the_known_bubble_against_gpipe():
    for stages, micro_batches, expected in [(4, 1, 3 / 4), (4, 4, 3 / 7), (8, 32, 7 / 39)]:
        period = fill_and_drain_s(stages * 2.0, 2.0, micro_batches)
        busy = stages * micro_batches * 2.0
        assert bubble_fraction(busy, stages, period) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@given(times, st.integers(1, 100))
def test_more_micro_batches_never_enlarge_the_bubble(stages, micro_batches):
    def bubble(passes):
        period = fill_and_drain_s(sum(stages), max(stages), passes)
        return bubble_fraction(passes * sum(stages), len(stages), period)

    assert 0.0 <= bubble(micro_batches + 1) <= bubble(micro_batches) + 1e-12
    assert bubble(micro_batches) < 1.0


def test_one_stage_has_no_bubble():
    assert bubble_fraction(10.0, 1, fill_and_drain_s(2.0, 2.0, 5)) == 0.0


@pytest.mark.slow
@given(st.floats(0, 10), st.floats(0, 1), st.integers(1, 10**6))
def test_one_more_token_costs_one_more_time_per_token(first, each, tokens):
    grown = request_s(first, each, tokens + 1) - request_s(first, each, tokens)
    assert grown == pytest.approx(each, rel=1e-6, abs=1e-6)
