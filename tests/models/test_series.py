"""Graphs with branches as chains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.models.graph import Layer, ModelGraph, chain_edges
from planner.models.operators import MatMul
from planner.models.series import in_series


def matmul(name, **more):
    fields = {"inputs": 8, "outputs": 8, "weight_dtype": "bf16", "compute_dtype": "bf16"}
    return MatMul.from_fields({"name": name, "split": "none", **fields, **more})


def graph(count, edges, **operators):
    layers = tuple(
        Layer(
            name=f"l{number}",
            kind="outputs" if number == count - 1 else "convolution",
            operators=(operators.get(f"l{number}", matmul(f"m{number}")),),
            activation_width=number + 1,
        )
        for number in range(count)
    )
    return ModelGraph(
        name="it",
        layers=layers,
        edges=tuple((f"l{sender}", f"l{receiver}") for sender, receiver in edges),
        weight_dtype="bf16",
        kv_dtype="bf16",
        activation_dtype="bf16",
        parameters_active=0,
    )


def test_branches_become_one_layer():
    """A diamond between a stem and a head."""
    made = in_series(graph(5, [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4)]))
    assert made.names == ("l0", "l1", "l2 … l3", "l4")
    assert made.is_chain
    assert [layer.activation_width for layer in made.layers] == [1, 2, 4, 5]
    assert [layer.kind for layer in made.layers] == ["convolution"] * 3 + ["outputs"]


def test_a_skip_keeps_together_what_it_spans():
    made = in_series(graph(5, [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4)]))
    assert made.names == ("l0", "l1 … l3", "l4")


def test_a_chain_stays_what_it_is():
    chain = graph(3, [(0, 1), (1, 2)])
    assert in_series(chain) is chain


def test_two_programs_in_one_graph_stay_together():
    """Between them nothing is handed on, and a chain has an edge between any two layers."""
    made = in_series(graph(4, [(0, 1), (2, 3)]))
    assert made.names == ("l0", "l1 … l2", "l3")
    assert len(in_series(graph(4, [(0, 3), (1, 2)])).layers) == 2


def test_borrowed_weights_stay_borrowed_and_own_ones_are_held_once():
    tied = matmul("reads", tied_to="l0")
    apart = in_series(graph(4, [(0, 1), (0, 2), (1, 2), (2, 3)], l3=tied))
    assert apart.layers[-1].tied_to == "l0"
    together = in_series(graph(4, [(0, 1), (1, 3), (0, 2), (2, 3)], l3=matmul("r", tied_to="l2")))
    assert together.names == ("l0", "l1 … l3")
    assert together.layers[-1].tied_to == ""
    assert together.parameters == 3 * 64
    assert together.layers[-1].flop(1, 1, 1) == 3 * 128
    assert together.layers[-1].read_bytes(1, 1, 1) == 2 * 128 + 3 * 16


def test_layers_that_run_once_and_always_stay_apart():
    branched = graph(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    layers = list(branched.layers)
    layers[1] = layers[1].replace(runs_per_sample=1)
    with pytest.raises(InputError, match="do not run equally often"):
        in_series(branched.replace(layers=tuple(layers)))


@pytest.mark.slow
@given(
    st.integers(2, 9).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=16),
        )
    )
)
def test_nothing_is_lost_and_what_crosses_a_cut_is_what_one_layer_makes(drawn):
    count, pairs = drawn
    branched = graph(count, sorted(pair for pair in pairs if pair[0] < pair[1]))
    made = in_series(branched)
    assert made.edges == chain_edges(made.layers)
    assert made.parameters == branched.parameters
    held = [operator.name for layer in made.layers for operator in layer.operators]
    assert held == [operator.name for layer in branched.layers for operator in layer.operators]
    end = 0
    for layer in made.layers[:-1]:
        end += len(layer.operators)
        crossing = {
            first for first, second in branched.edges if int(first[1:]) < end <= int(second[1:])
        }
        assert len(crossing) == 1 or branched.is_chain
        if crossing:
            assert layer.activation_width == int(crossing.pop()[1:]) + 1
