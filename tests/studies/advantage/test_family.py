"""A family of dense transformers between and beyond real ones."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.studies.advantage.family import (
    dense_family,
    dense_shape,
    member,
    moe_family,
    moe_shape,
)
from planner.studies.advantage.maps import map_grids
from tests.lanes import paired, spread


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
    with pytest.raises(pl.InputError, match="parameters must"):
        dense_shape(parameters)


@pytest.mark.parametrize("parameters", [8e9, 3e10, 2.35e11, 6.7e11, 2e12])
def test_a_member_with_experts_has_the_parameters_that_were_asked_for(parameters):
    graph = moe_family(parameters)
    assert graph.parameters == pytest.approx(parameters, rel=5e-3)
    assert graph.parameters_active < 0.25 * parameters


@pytest.mark.parametrize(
    ("name", "off"),
    [("qwen3-30b-a3b", 0.05), ("deepseek-v3", 0.05), ("qwen3-coder-480b-a35b", 0.25)],
)
def test_its_active_parameters_follow_those_of_real_models(name, off):
    real = pl.load_model(name)
    active = moe_family(real.parameters).parameters_active
    assert active == pytest.approx(real.parameters_active, rel=off)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.floats(2e9, 1e13), st.floats(1.01, 3.0))
def test_larger_members_have_more_of_everything_and_as_many_splits(parameters, factor):
    for make in (dense_family, moe_family):
        small, large = make(parameters), make(min(1.9e13, parameters * factor))
        assert small.parameters == pytest.approx(parameters, rel=5e-3)
        for field in ("parameters", "parameters_active", "weight_bytes", "kv_bytes_per_token"):
            assert getattr(small, field) <= getattr(large, field)
        assert len(small.layers) <= len(large.layers)
    # Of the routed family only: what is shared out never changes.
    assert small.splits() == large.splits()
    assert not any(ways % 8 for every in small.splits().values() for ways in every)


@pytest.mark.slow
@pytest.mark.parametrize("least", [9.4e10, 2.42e11, 5.4e11])
def test_a_percent_more_parameters_is_about_a_percent_more_to_read(least):
    # Once heads doubled within the first window and the last, for 1.39 times as many active
    # parameters, and experts within the second, for 0.7 times as many.
    for make in (dense_family, moe_family):
        graphs = [make(least * 1.01**step) for step in range(8)]
        steps = [
            after.parameters_active / before.parameters_active for before, after in pairwise(graphs)
        ]
        assert 1.0 <= min(steps) <= max(steps) < 1.02


LINES = [
    (("hgx-b200", "groq-lpu-chain"), 186, 9),
    (("gb200-nvl72", "groq-lpu-chain"), 186, 9),
    # To 1.1 T: near 1.5 T wafers reach the end of that speed themselves, and lose again.
    (("hgx-h100", "cerebras-cs3"), 50, 8),
]
"""Machines, a speed, and how many sizes."""


@pytest.mark.slow
@pytest.mark.parametrize(("line", "family"), paired(LINES, ("moe", "dense")))
def test_along_a_line_of_one_speed_the_winner_changes_once_at_most(line, family):
    machines, speed, count = line
    sizes = [2e10 * 10 ** (step / 4) for step in spread(range(count), 4)]
    grids = map_grids(machines, sizes=sizes, family=family, models=())
    load = grids.load("energy_per_token_j", None, None)
    winners = [grids.square_at(size, speed, load).winner for size in sizes]
    there = [winner for winner in winners if winner is not None]
    # Beyond what both reach there is no winner, and none comes back.
    assert winners == there + [None] * (len(winners) - len(there))
    assert sum(before != after for before, after in pairwise(there)) <= 1


def test_a_family_nobody_knows_is_refused():
    with pytest.raises(pl.UnknownNameError, match="family of models"):
        member("sparse", 7e10, "fp8")


def test_no_size_with_experts_beyond_what_was_ever_built():
    with pytest.raises(pl.InputError, match="parameters must"):
        moe_shape(1e15)
