"""Tests of the plans that llama.cpp is started with."""

import pytest

import planner as pl
from benchmarks.engine_cases import CASES, graph_of, machine_of, planned, result_of


def test_plans_are_uneven_and_of_several_models_formats_and_caches():
    given = [case for case in CASES if case.cut]
    assert len(CASES) >= 12
    assert sum(max(case.cut) > 1 + min(case.cut) for case in given) >= 8
    assert len({case.model for case in CASES}) == 4
    assert {"fp16", "q8_0", "q4_0"} <= {case.kv for case in CASES}
    assert {case.chips for case in CASES} == {2, 3}
    assert any(case.away for case in CASES)
    assert len([case for case in CASES if case.cut is None]) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_every_plan_keeps_all_rules(number, tmp_path):
    case = CASES[number]
    graph, _ = graph_of(case, tmp_path)
    result = result_of(case, graph)
    assert pl.check_plan(result.plan, graph, machine_of(case), result.workload) == ()
    on_devices = sum(device.layers for device in planned(result))
    assert on_devices == len(graph.inner_positions) - case.away * case.chips


def test_what_a_device_holds_is_counted_by_hand(tmp_path):
    """The first device of 1 + 11 layers of `dense-f16`, of which the host keeps the embedding."""
    case = next(case for case in CASES if case.cut == (1, 11))
    first = planned(result_of(case, graph_of(case, tmp_path)[0]))[0]
    matrices = 2 * 512 * 512 + 2 * 512 * 128 + 3 * 512 * 1408
    assert first.weight_bytes == 2 * matrices + 4 * 2 * 512
    # Four slots of 180 + 60 tokens, which is less than a block of 256.
    assert first.kv_bytes == 4 * 256 * (2 * 2 * 64) * 2
