"""Records of what was measured."""

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.measured import Benchmark, Spread, TimedCollective


def test_a_mean_comes_before_a_median_and_nothing_is_not_zero():
    assert Spread(mean_s=2.0, p50_s=1.0).middle_s == 2.0
    assert Spread(p50_s=1.0).middle_s == 1.0
    assert Spread(p99_s=1.0).middle_s is None
    assert Spread(mean_s=0.0).middle_s is None


def test_sequences_in_flight_are_those_counted_or_follow_from_littles_law():
    run = Benchmark(tool="any", requests_per_s=5.0, e2e=Spread(mean_s=0.8))
    assert run.in_flight == 4.0
    assert run.replace(mean_sequences=3.0).in_flight == 3.0
    assert run.replace(e2e=Spread()).in_flight is None


def test_one_rank_alone_is_no_collective():
    with pytest.raises(InputError, match="ranks"):
        TimedCollective(
            tool="any", kind="all_reduce", ranks=1, ranks_per_node=1, message_bytes=8.0, time_s=1.0
        )
