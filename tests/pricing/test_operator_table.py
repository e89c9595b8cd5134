"""What a machine makes of operators."""

import numpy as np
import pytest

import planner as pl
from planner.machines.topology import Peak
from planner.models.operators import Attention, MatMul, Pointwise
from planner.pricing.operator_table import (
    decode_gain,
    operator_facts,
    table_of,
)
from planner.pricing.price_list import PriceList, Split, Step
from tests.instances import tiny_chip, tiny_graph, tiny_moe, tiny_software, tiny_topology


def operators_of(graph, kind):
    return [operator for operator in graph.operators if isinstance(operator, kind)]


def test_rows_follow_the_operators_of_the_kinds():
    graph = tiny_moe()
    machine = tiny_topology(1)
    table = table_of(graph, machine, operator_facts(graph, machine), 1, 1)
    assert len(table.overhead_s) == len(graph.operators)
    counted = table.by_kind(1.0)
    assert counted.tolist() == [len(kind[0].operators) for kind in graph.kinds]
    assert (
        table.steps_by_kind(np.ones((len(graph.operators), 2)))[:, 1].tolist() == counted.tolist()
    )


def test_a_table_asks_what_the_operators_ask():
    graph = tiny_graph()
    machine = tiny_topology(1)
    table = table_of(graph, machine, operator_facts(graph, machine), 2, 1)
    weights = [float(operator.demand(2, 1).weight_bytes) for operator in graph.operators]
    assert np.asarray(table.demand.weight_bytes)[:, 0].tolist() == weights


def test_what_is_fused_moves_less():
    graph = tiny_graph()
    fused = tiny_topology(1, software=tiny_software(unfused_share=0.25))
    table = table_of(graph, fused, operator_facts(graph, fused), 1, 1)
    read = np.asarray(table.demand.read_bytes_per_token)[:, 0]
    for operator, reads in zip(graph.operators, read, strict=True):
        share = 0.25 if isinstance(operator, Pointwise) else 1.0
        assert reads == share * operator.demand().read_bytes_per_token


def test_zeros_are_skipped_by_chips_that_skip_their_pattern():
    pruned = pl.load_model("llama-3.2-1b", sparsity="2:4")
    does, skips = (
        np.asarray(
            table_of(pruned, machine, operator_facts(pruned, machine), 1, 1).demand.flop_per_token
        )
        for machine in (tiny_topology(1), tiny_topology(1, chip=tiny_chip(skips=("2:4",))))
    )
    for operator, before, after in zip(pruned.operators, does, skips, strict=True):
        thin = isinstance(operator, MatMul) and operator.pattern == "2:4"
        assert after == (0.5 if thin else 1.0) * before
    assert (skips < does).any()


def test_a_chip_whose_arithmetic_alone_was_cut_reaches_more_of_what_is_left():
    # H100 and H20 are one die: 989 and 148 TFLOP/s in 16 bit. Where matmuls reach 72.1 % of the
    # one, they reach 0.721 / (0.721 + 0.15 · 0.279) = 94.5 % of the other.
    whole, cut = (pl.load_topology(name, software="vllm") for name in ("hgx-h100", "hgx-h20"))
    graph = pl.load_model("llama-3.1-8b")
    matmul = [isinstance(operator, MatMul) for operator in graph.operators].index(True)
    reached = []
    for machine in (whole, cut):
        facts = operator_facts(graph, machine)
        reached.append(float((facts.achieved_flop_per_s / facts.peak_flop_per_s)[matmul, 0]))
    share = whole.software.compute_efficiency
    assert reached[0] == pytest.approx(share)
    assert reached[1] == pytest.approx(share / (share + 0.15 * (1 - share)))


def test_a_cut_chip_reads_long_prompts_as_fast_as_was_measured():
    # SGLang, Qwen3-235B-A22B in 16 bit on eight H20 (LEV-00463, LEV-00465): first tokens after
    # 571 and 3,183 ms without the transfer. With the H100's shares they were 1,173 and 6,556.
    machine = pl.load_topology("hgx-h20", software="sglang")
    graph = pl.load_model("qwen3-235b-a22b")
    plan = pl.uniform_plan(graph, machine, tensor_parallel=8)
    for prompt, measured_s in ((8192, 0.571), (32768, 3.183)):
        workload = pl.Workload(batch_size=1, prompt_tokens=prompt, output_tokens=128)
        score = pl.score_plan(plan, graph, machine, workload)
        assert score.ttft_s == pytest.approx(measured_s, rel=0.3)


def test_attention_takes_the_format_of_its_cache_where_the_stack_can():
    peaks = (Peak(dtype="bf16", flop_per_s=100e12), Peak(dtype="fp8", flop_per_s=200e12))
    chip = tiny_chip(peaks=peaks, architecture="new")
    plain = tiny_topology(1, chip=chip)
    able = tiny_topology(1, chip=chip, software=tiny_software(attends_in_cache_dtype=("new",)))
    other = tiny_topology(1, chip=chip, software=tiny_software(attends_in_cache_dtype=("old",)))
    narrow = pl.load_model("llama-3.2-1b", kv_dtype="fp8")
    wide = pl.load_model("llama-3.2-1b")
    for machine, graph, dtype in (
        (able, narrow, "fp8"),
        (able, wide, "bf16"),
        (plain, narrow, "bf16"),
        (other, narrow, "bf16"),
    ):
        facts = operator_facts(graph, machine)
        for row, operator in enumerate(graph.operators):
            gain = 2.0 if isinstance(operator, Attention) and dtype == "fp8" else 1.0
            assert decode_gain(machine, operator) == facts.decode_gain[row, 0] == gain


def test_decode_alone_gains_from_attention_in_the_format_of_the_cache():
    # Sixteen tokens a sequence over 8,192 cached, 32 heads of 64: 4 · 32 · 64 · 8192 operations
    # a token in a layer, 4.3 ms for all 64 at 1 TFLOP/s; the cache of 34 MB is read in 0.04 ms.
    peaks = (Peak(dtype="bf16", flop_per_s=1e12), Peak(dtype="fp8", flop_per_s=2e12))
    chip = tiny_chip(peaks=peaks, architecture="new")
    graph = pl.load_model("llama-3.2-1b", kv_dtype="fp8")
    taken = {}
    for able in ((), ("new",)):
        software = tiny_software(attends_in_cache_dtype=able)
        prices = PriceList(graph, tiny_topology(1, chip=chip, software=software))
        for step in (Step(64.0, 4.0, 8192.0, True), Step(64.0, 4.0, 8192.0, False)):
            times = prices.operator_times(Split(), step)
            found = next(one for one in times if one.name == "attention")
            overhead_s = software.kernel_overhead_s
            assert found.taken_s - overhead_s >= found.light_s
            taken[able, step.decode] = found.taken_s - overhead_s
    assert taken[("new",), True] == pytest.approx(taken[(), True] / 2)
    assert taken[("new",), False] == taken[(), False]
