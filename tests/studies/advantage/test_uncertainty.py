"""What the doubt about figures does to a number."""

import math

import pytest

import planner as pl
from planner.scoring.doubts import SPREADS
from planner.studies.advantage.uncertainty import (
    at_probability,
    combined,
    figure_effects,
    residual_of,
)

WAFERS = pl.load_topology("cerebras-cs3")


def test_a_number_that_goes_with_the_square_of_a_figure_has_a_slope_of_two():
    effects = figure_effects(WAFERS, lambda machine: machine.power.system_w**2)
    assert [one.path for one in effects] == ["power.system_w"]
    assert effects[0].slope == pytest.approx(2)
    assert effects[0].half_width == pytest.approx(2 * SPREADS["B"])


def test_the_most_doubted_figure_comes_first():
    effects = figure_effects(
        WAFERS, lambda one: one.power.system_w**2 / one.software.usable_memory_fraction
    )
    assert [one.path for one in effects] == ["software.usable_memory_fraction", "power.system_w"]
    assert effects[0].slope == pytest.approx(-1)


def test_what_cannot_be_priced_has_no_effects():
    assert figure_effects(WAFERS, lambda machine: None) == ()


def test_parts_add_in_squares_and_widths_follow_the_normal_distribution():
    assert combined(3.0, 4.0) == 5.0
    assert at_probability(0.5, 0.8) == pytest.approx(0.5)
    assert at_probability(0.5, 0.95) == pytest.approx(0.5 * 1.95996 / 1.28155, rel=1e-4)
    assert math.isclose(residual_of(WAFERS, "tpot_s"), 0.31)
    assert residual_of(WAFERS, "chips") == 0.0
