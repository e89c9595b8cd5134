"""Tests of the mirror of stages: parameters are drawn by name, and packed products are products."""

import pytest

from planner.running.stages import cache_argument, drawn, packed


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
