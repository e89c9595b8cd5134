"""A request's time as a measure of sums and peaks, by hand."""

import numpy as np
import pytest

import planner as pl
from planner.pricing.schedule import scheduled
from planner.space.measures import (
    PEAKS,
    SUMS,
    Clock,
    ClusterResource,
    ClusterSum,
    Peak,
    Resource,
    Sum,
    measure_of,
)
from tests.instances import tiny_graph, tiny_software


def schedule(**changes):
    asked = {"batch_size": 4, "prompt_tokens": 256, "output_tokens": 9} | changes
    workload = pl.Workload(**asked)
    software = tiny_software(prefill_chunk_tokens=256)
    return scheduled(
        workload, software, batch_size=4, replicas=1, micro_batches=1, graph=tiny_graph()
    )


def columns(**values):
    """Sums and peaks of a plan, by the names of their columns."""
    sums, peaks = np.zeros(SUMS), np.zeros(PEAKS)
    for name, value in values.items():
        if name in Sum.__members__:
            sums[Sum[name]] = value
        else:
            peaks[Peak[name]] = value
    return sums, peaks


def test_a_measure_weighs_the_columns_that_it_names():
    measure = measure_of(sums={Sum.DECODE: 2.0}, peaks={Peak.CHUNK: 3.0}, scale=10.0)
    assert measure.value(*columns(DECODE=1.0, CHUNK=5.0)) == 10.0 * (2.0 * 1.0 + 3.0 * 5.0)


@pytest.mark.parametrize("columns", [(Sum, ClusterSum), (Peak,), (Resource, ClusterResource)])
def test_the_columns_of_an_array_are_numbered_without_a_gap(columns):
    """Those that clusters count stand behind the others."""
    numbers = [int(column) for some in columns for column in some]
    assert numbers == list(range(len(numbers)))


def test_a_pair_of_columns_is_told_by_the_end_of_a_box():
    assert [Sum.DECODE.at(end) for end in (0, 1)] == [Sum.DECODE_LOW, Sum.DECODE_HIGH]
    assert [Peak.OTHERS.at(end) for end in (0, 1)] == [Peak.OTHERS_LOW, Peak.OTHERS_HIGH]


def test_a_column_without_a_pair_has_no_ends():
    with pytest.raises(KeyError):
        Sum.CHIPS.at(0)


def test_a_request_takes_its_prompt_then_a_round_for_each_later_token():
    clock = Clock(schedule(arrivals="together"), end=0, turn=0, requests_per_s=0.0)
    sums, peaks = columns(DECODE=0.5, TURN=0.4, PREFILL=2.0)
    # One chunk of prompt, 2 s; eight later tokens, each the longer of a pass (0.5 s) and a turn
    # (0.4 s).
    assert clock.cycle().value(sums, peaks) == pytest.approx(2.0 + 8 * 0.5)


def test_where_the_slowest_stage_takes_longer_than_a_pass_its_turn_counts():
    clock = Clock(schedule(arrivals="together"), end=0, turn=0, requests_per_s=0.0)
    sums, peaks = columns(DECODE=0.5, TURN=0.8, PREFILL=2.0)
    assert clock.cycle().value(sums, peaks) == pytest.approx(2.0 + 8 * 0.8)


def test_a_prefill_pool_takes_as_long_as_its_busiest_stage():
    clock = Clock(schedule(phase="prefill", batch_size=None), end=0, turn=0, requests_per_s=0.0)
    assert clock.cycle().value(*columns(QUEUE=1.5, PREFILL=9.0)) == 1.5


def test_the_wait_in_the_queue_is_that_of_equal_services_at_one_server():
    clock = Clock(schedule(batch_size=None, requests_per_s=1.0), end=0, turn=0, requests_per_s=1.0)
    sums, peaks = columns(QUEUE=0.5)
    # M/D/1: load 0.5, so the mean wait is 0.5 × 0.5 / (2 × (1 - 0.5)) s = 0.25 s.
    assert clock.time(0.0).value(sums, peaks) == pytest.approx(0.25)
