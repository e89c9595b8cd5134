"""What the doubt about figures does to a number."""

import math

import pytest

import planner as pl
from planner.errors import InputError
from planner.machines.topology import Figure
from planner.scoring.doubts import SPREADS
from planner.studies.advantage.uncertainty import (
    TAKEN_AS_THEY_ARE,
    at_probability,
    combined,
    figure_effects,
    residual_of,
)
from tests.by_hand import round_machine, round_software

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
    stated = {one.field: one.half_width for one in WAFERS.software.residuals if not one.like}
    assert math.isclose(residual_of(WAFERS, "tpot_s"), stated["tpot_s"])
    assert residual_of(WAFERS, "chips") == 0.0


# ── On paper ──────────────────────────────────────────────────────────────────────────────────────


def known(*figures: tuple[str, float, str]):
    """A machine with figures of these paths, values and grades."""
    return round_machine(2, software={"memory_efficiency": 1.0}).replace(
        figures=tuple(
            Figure(path=path, value=value, source="here", confidence=grade)
            for path, value, grade in figures
        )
    )


def test_a_doubt_is_the_slope_times_the_spread_of_its_grade():
    machine = known(
        ("power.chip_w", 100.0, "guess"),
        ("power.system_w", 150.0, "C"),
        ("price.usd_per_chip_hour", 3.6, "A"),
    )

    def value_on(one):
        return one.power.chip_w**3 / one.power.system_w**2 * one.price.usd_per_chip_hour**5

    effects = figure_effects(machine, value_on)
    assert [one.path for one in effects] == [
        "power.chip_w",
        "power.system_w",
        "price.usd_per_chip_hour",
    ]
    assert [one.slope for one in effects] == pytest.approx([3.0, -2.0, 5.0])
    assert [one.half_width for one in effects] == pytest.approx([3 * 0.3, 2 * 0.2, 0.0])
    assert (effects[0].value, effects[0].source, effects[0].confidence) == (100.0, "here", "guess")
    assert str(effects[1]) == "power.system_w (contested source): -2.00 % for 1 %"


@pytest.mark.parametrize("grade", sorted(SPREADS))
def test_what_was_read_or_fitted_is_not_doubted_here(grade):
    (effect,) = figure_effects(known(("power.chip_w", 100.0, grade)), lambda one: one.power.chip_w)
    assert effect.half_width == pytest.approx(0.0 if grade in TAKEN_AS_THEY_ARE else SPREADS[grade])
    assert set(TAKEN_AS_THEY_ARE) == {"A", "stated", "fit"}


def test_what_cannot_grow_is_moved_down():
    # An efficiency of 1: a fifth less, where the number is its square.
    machine = known(("software.memory_efficiency", 1.0, "B"))
    asked = []

    def value_on(one):
        asked.append(one.software.memory_efficiency)
        return one.software.memory_efficiency**2

    (effect,) = figure_effects(machine, value_on)
    assert asked == [1.0, 0.8]
    assert effect.slope == pytest.approx(2.0)


def test_whole_numbers_stay_whole():
    machine = known(
        ("software.prefill_chunk_tokens", 12.0, "B"), ("software.most_sequences", 1.0, "B")
    )
    machine = machine.replace(software=round_software(prefill_chunk_tokens=12, most_sequences=1))
    # 12 × 1.2 = 14.4, so 14 tokens; one sequence can be moved by no fifth.
    effects = figure_effects(
        machine, lambda one: one.software.prefill_chunk_tokens * one.software.most_sequences
    )
    assert [(one.path, one.slope) for one in effects] == [
        ("software.prefill_chunk_tokens", pytest.approx(1.0))
    ]


def test_a_version_that_cannot_be_priced_is_tried_the_other_way():
    def value_on(one):
        if one.power.chip_w > 100:
            raise InputError("too many watts")
        return one.power.chip_w

    (effect,) = figure_effects(known(("power.chip_w", 100.0, "B")), value_on)
    assert effect.slope == pytest.approx(1.0)


def test_nothing_is_said_of_what_moves_nothing_or_less_than_a_thousandth():
    machine = known(("power.chip_w", 100.0, "B"))
    assert figure_effects(machine, lambda one: 1.0) == ()
    assert figure_effects(machine, lambda one: one.power.chip_w**0.0009) == ()
    assert len(figure_effects(machine, lambda one: one.power.chip_w**0.0011)) == 1
    assert figure_effects(machine, lambda one: 0.0) == ()
    assert (
        figure_effects(
            known(("fabrics[0].latency_s", 0.0, "B")), lambda one: 1 + one.fabrics[0].latency_s
        )
        == ()
    )


def test_the_own_error_of_the_software_is_no_figure_of_the_machine():
    residuals = [{"field": "tpot_s", "half_width": 0.3}]
    machine = known(("software.residuals[0].half_width", 0.3, "C"))
    machine = machine.replace(software=round_software(residuals=residuals))
    assert figure_effects(machine, lambda one: one.software.residuals[0].half_width) == ()
    assert residual_of(machine, "tpot_s") == 0.3
    assert residual_of(machine, "ttft_s") == 0.7  # never measured


def test_equal_doubts_stand_by_what_moves_more_and_then_by_name():
    machine = known(
        ("power.system_w", 150.0, "B"),
        ("power.chip_w", 100.0, "B"),
        ("price.usd_per_chip_hour", 3.6, "A"),
        ("fabrics[0].bandwidth_bytes_per_s", 10.0, "A"),
    )

    def value_on(one):
        wire = one.fabrics[0].bandwidth_bytes_per_s
        return one.power.system_w * one.power.chip_w * one.price.usd_per_chip_hour * wire**2

    assert [one.path for one in figure_effects(machine, value_on)] == [
        "power.chip_w",
        "power.system_w",
        "fabrics[0].bandwidth_bytes_per_s",
        "price.usd_per_chip_hour",
    ]


@pytest.mark.parametrize(
    ("probability", "quantile"), [(0.5, 0.67449), (0.8, 1.28155), (0.9, 1.64485), (0.95, 1.95996)]
)
def test_widths_are_quantiles_of_the_normal_distribution(probability, quantile):
    assert at_probability(1.28155, probability) == pytest.approx(quantile, rel=1e-4)


def test_no_parts_are_no_width_and_three_add_in_squares():
    assert combined() == 0.0
    assert combined(2.0, 3.0, 6.0) == pytest.approx(7.0)


def test_a_figure_that_states_its_own_doubt_is_doubted_whatever_its_grade():
    machine = known(("power.chip_w", 100.0, "fit"))
    (figure,) = machine.figures
    machine = machine.replace(figures=(figure.replace(within=2.0),))
    (effect,) = figure_effects(machine, lambda one: one.power.chip_w**2)
    assert effect.half_width == pytest.approx(2 * math.log(2.0))
