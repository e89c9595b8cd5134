"""What a machine makes of operators."""

import numpy as np

import planner as pl
from planner.models.operators import MatMul, Pointwise
from planner.pricing.operator_table import (
    operator_facts,
    table_of,
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
