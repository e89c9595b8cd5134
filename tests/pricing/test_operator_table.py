"""What a machine makes of operators."""

import numpy as np
import pytest

import planner as pl
from planner.machines.software import Tuning
from planner.models.operators import Attention, Experts, MatMul, Pointwise
from planner.pricing.operator_table import (
    efficiency_of,
    launch_s,
    operator_facts,
    table_of,
    widening_flop_per_byte,
)
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


def test_each_sort_of_operator_reaches_its_own_share_of_the_peak():
    (matmul, *_), (attention, *_) = (operators_of(tiny_graph(), one) for one in (MatMul, Attention))
    (experts, *_) = operators_of(tiny_moe(), Experts)
    software = tiny_software(
        compute_efficiency=0.8, quantised_efficiency=0.6, narrow_efficiency=0.4,
        attention_efficiency=0.5, experts_efficiency=0.25,
    )  # fmt: skip
    assert efficiency_of(software, matmul) == 0.8
    assert efficiency_of(software, matmul.replace(compute_dtype="fp8")) == 0.6
    assert efficiency_of(software, matmul.replace(compute_dtype="fp4")) == 0.4
    assert efficiency_of(software, attention) == 0.5
    assert efficiency_of(software, experts) == 0.8 * 0.25


def test_launches_are_counted_by_the_sort_or_by_the_kernel():
    (matmul, *_) = operators_of(tiny_graph(), MatMul)
    (experts, *_) = operators_of(tiny_moe(), Experts)
    software = tiny_software(
        kernel_overhead_s=1e-6, matmul_overhead_s=2e-6, quantised_overhead_s=5e-6,
        experts_overhead_s=7e-6,
    )  # fmt: skip
    assert launch_s(software, matmul) == 2e-6
    assert launch_s(software, matmul.replace(compute_dtype="fp8")) == 5e-6
    assert launch_s(software, experts) == 7e-6
    machine = tiny_topology(1, software=software)
    graph = tiny_moe()
    table = table_of(graph, machine, operator_facts(graph, machine), 1, 1)
    rows = zip(graph.operators, table.overhead_s[:, 0], strict=True)
    for operator, overhead in rows:
        kernels = float(operator.demand().kernels)
        expected = {"matmul": 2e-6 * min(1.0, kernels), "experts": 7e-6}
        assert overhead == pytest.approx(expected.get(operator.kind, 1e-6 * kernels))


def test_narrow_weights_are_widened_where_they_are_multiplied_in_more():
    (matmul, *_) = operators_of(tiny_graph(), MatMul)
    tuning = Tuning(architecture="any", widening_flop_per_weight=6.0)
    assert widening_flop_per_byte(tuning, matmul) == 0.0
    narrow = matmul.replace(weight_dtype="fp8", compute_dtype="bf16")
    assert widening_flop_per_byte(tuning, narrow) == 6.0
    assert widening_flop_per_byte(tuning, narrow.replace(weight_dtype="int4")) > 6.0


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
