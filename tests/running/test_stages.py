"""Tests of the mirror of stages: parameters are drawn by name, and packed products are products."""

import pytest

from planner.running.stages import cache_argument, drawn, packed, routed


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_parameter_is_the_same_wherever_it_is_drawn(torch):
    one = drawn(torch, "model.layers.0.mlp.up_proj.weight", (8, 16), 1)
    assert (one == drawn(torch, "model.layers.0.mlp.up_proj.weight", (8, 16), 1)).all()
    assert (one != drawn(torch, "model.layers.1.mlp.up_proj.weight", (8, 16), 1)).any()
    assert (one != drawn(torch, "model.layers.0.mlp.up_proj.weight", (8, 16), 2)).any()
    assert drawn(torch, "model.norm.weight", (64,), 0).mean() == pytest.approx(1.0, abs=0.05)


def test_a_packed_product_is_the_product(torch):
    torch.manual_seed(0)
    rows, bias, states = torch.randn(6, 8), torch.randn(6), torch.randn(2, 3, 8)
    made = packed(torch, rows, bias)(states)
    assert made.shape == (2, 3, 6)
    assert torch.allclose(made, states @ rows.T + bias, atol=1e-5)


def test_experts_of_this_rank_make_their_share_and_no_more(torch):
    torch.manual_seed(0)
    gate_up, down = torch.randn(4, 12, 8), torch.randn(4, 8, 6)
    states, weights = torch.randn(5, 8), torch.rand(5, 2)
    chosen = torch.tensor([[0, 1], [2, 3], [1, 2], [3, 0], [1, 3]])
    whole = torch.zeros(5, 8)
    for token in range(5):
        for place in range(2):
            expert = chosen[token, place]
            gate, up = (gate_up[expert] @ states[token]).chunk(2)
            made = down[expert] @ (torch.relu(gate) * up)
            whole[token] += weights[token, place] * made
    parts = []
    for own in (slice(0, 2), slice(2, 4)):
        products = {
            "gate_up_proj": [packed(torch, rows, None) for rows in gate_up[own]],
            "down_proj": [packed(torch, rows, None) for rows in down[own]],
        }
        parts.append(routed(torch, products, torch.relu, own)(states, chosen, weights))
    assert torch.allclose(parts[0] + parts[1], whole, atol=1e-4)
    assert not torch.allclose(parts[0], whole, atol=1e-2)


def test_layers_are_given_their_cache_by_the_name_that_they_have_for_it():
    class Old:
        def forward(self, states, past_key_values=None):
            return states

    class New:
        def forward(self, states, cache=None):
            return states

    assert cache_argument([New()]) == "cache"
    assert cache_argument([Old()]) == "past_key_values"
    assert cache_argument([]) == "past_key_values"
