"""How passes add up in time."""

import itertools

import numpy as np
import pytest

from planner.plan import ChipRange, Plan, Stage
from planner.pricing.price_list import PriceList
from planner.pricing.schedule import scheduled
from planner.pricing.timing import (
    ALL_CAUSES,
    bubble_fraction,
    hop_between,
    steps_of_cycle,
    timing_of,
)
from planner.workload import Workload
from tests.instances import fabric, tiny_chip, tiny_graph, tiny_topology

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
