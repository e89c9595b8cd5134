"""A family of dense transformers between and beyond real ones."""

import pytest

import planner as pl
from planner.studies.advantage.family import (
    dense_family,
    dense_shape,
    member,
    moe_family,
    moe_shape,
)


@pytest.mark.parametrize("parameters", [8e9, 3e10, 7e10, 2e11, 4.05e11, 1e12, 2e12])
def test_a_member_has_the_parameters_that_were_asked_for(parameters):
    assert dense_family(parameters).parameters == pytest.approx(parameters, rel=1e-4)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"])
def test_at_a_real_models_size_it_has_that_models_depth_and_width(name):
    real = pl.load_model(name)
    member = dense_family(real.parameters)
    assert len(member.layers) == len(real.layers)
    assert member.layers[1].activation_width == real.layers[1].activation_width


def test_members_grow_deeper_and_wider():
    shapes = [dense_shape(parameters) for parameters in (8e9, 5e10, 2e11, 5e11, 2e12)]
    for field in ("layers", "hidden"):
        values = [getattr(shape, field) for shape in shapes]
        assert values == sorted(values)


@pytest.mark.parametrize("parameters", [1e6, 1e15, float("nan")])
def test_a_size_that_no_transformer_has_is_refused(parameters):
    with pytest.raises(pl.InputError, match="parameters must lie between"):
        dense_shape(parameters)


@pytest.mark.parametrize("parameters", [8e9, 3e10, 2.35e11, 6.7e11, 2e12])
def test_a_member_with_experts_has_the_parameters_that_were_asked_for(parameters):
    graph = moe_family(parameters)
    assert graph.parameters == pytest.approx(parameters, rel=5e-3)
    assert graph.parameters_active < 0.25 * parameters


def test_members_with_experts_are_like_real_ones():
    real = pl.load_model("qwen3-235b-a22b")
    assert moe_family(real.parameters).parameters_active == pytest.approx(
        real.parameters_active, rel=0.15
    )
    shapes = [moe_shape(parameters) for parameters in (8e9, 5e10, 2e11, 5e11, 2e12)]
    for field in ("layers", "hidden", "experts"):
        values = [getattr(shape, field) for shape in shapes]
        assert values == sorted(values)


def test_a_family_nobody_knows_is_refused():
    with pytest.raises(pl.UnknownNameError, match="family of models"):
        member("sparse", 7e10, "fp8")


def test_no_size_with_experts_beyond_what_was_ever_built():
    with pytest.raises(pl.InputError, match="parameters must lie between"):
        moe_shape(1e15)
