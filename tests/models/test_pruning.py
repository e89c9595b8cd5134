"""Pruned graphs: what is pruned, what stays as it was, and what is refused."""

import pytest

from planner.errors import InputError
from planner.models.operators import Experts, MatMul
from planner.models.pruning import pattern_of, pruned
from tests.instances import tiny_graph, tiny_moe


@pytest.mark.parametrize("graph", [tiny_graph(), tiny_moe()])
def test_matmuls_and_experts_of_layers_are_pruned_but_not_embedding_and_head(graph):
    thin = pruned(graph, "2:4")
    for before, after in zip(graph.layers, thin.layers, strict=True):
        if before.kind != "decoder":
            assert after == before
            continue
        for dense, sparse in zip(before.operators, after.operators, strict=True):
            weighty = isinstance(dense, MatMul | Experts)
            assert sparse == (dense.replace(pattern="2:4", density=0.5) if weighty else dense)


def test_a_pruned_graph_has_the_parameters_and_kinds_of_the_dense_one():
    dense, thin = tiny_moe(20), pruned(tiny_moe(20), "75%")
    assert (thin.parameters, thin.kind_counts, thin.sparsity) == (
        dense.parameters,
        dense.kind_counts,
        "75%",
    )


def test_weights_at_16_bit_with_two_zeros_in_four_take_nine_sixteenths():
    dense, thin = (graph.layers[1] for graph in (tiny_graph(), pruned(tiny_graph(), "2:4")))
    norms = 2 * 2 * 1024
    assert thin.weight_bytes - norms == (dense.weight_bytes - norms) * 9 / 16


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [("2:4", ("2:4", 0.5)), ("90%", ("unstructured", 0.1)), ("50 %", ("unstructured", 0.5)), ("0.5%", ("unstructured", 0.995))],
)  # fmt: skip
def test_a_sparsity_is_a_pattern_and_what_is_left(sparsity, expected):
    assert pattern_of(sparsity) == expected


@pytest.mark.parametrize("sparsity", ["1:2", "0%", "100%", "-5%", "90", "", "many", None, 0.9])
def test_an_unknown_sparsity_is_refused_in_one_sentence(sparsity):
    with pytest.raises(InputError, match='"2:4" or a share of zeros') as refusal:
        pruned(tiny_graph(), sparsity)
    assert "\n" not in str(refusal.value)
