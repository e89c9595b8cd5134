"""Intervals of a score."""

import math

import pytest

import planner as pl
from tests.instances import tiny_chip, tiny_software, tiny_topology
from tests.scoring.test_plans import scored


def measured_on(**half_widths):
    software = tiny_software(
        residuals=[{"field": name, "half_width": width} for name, width in half_widths.items()]
    )
    return scored(tiny_topology(4, chip=tiny_chip(1e10), software=software))


def test_an_interval_is_as_wide_as_what_was_measured():
    score = measured_on(tpot_s=0.1)
    low, high = score.interval("tpot_s")
    assert (low, high) == pytest.approx(
        (score.tpot_s * math.exp(-0.1), score.tpot_s * math.exp(0.1))
    )
    assert score.interval("tokens_per_s_per_user")[1] == pytest.approx(
        score.tokens_per_s_per_user * math.exp(0.1)
    )


def test_a_likelier_interval_is_wider():
    score = measured_on(tpot_s=0.1)
    widths = [
        high - low for low, high in (score.interval("tpot_s", p) for p in (0.5, 0.8, 0.9, 0.99))
    ]
    assert widths == sorted(widths)


def test_what_nobody_measured_is_uncertain_by_a_factor_of_two_and_what_is_counted_not_at_all():
    score = measured_on(tpot_s=0.1)
    assert score.interval("ttft_s")[1] == pytest.approx(score.ttft_s * math.exp(0.7))
    assert score.interval("chips") == (score.chips, score.chips)


@pytest.mark.parametrize(
    ("field", "probability"), [("speed", 0.8), ("breakdown", 0.8), ("tpot_s", 0.0), ("tpot_s", 1.0)]
)
def test_an_interval_of_nothing_is_refused(field, probability):
    with pytest.raises(pl.InputError):
        measured_on(tpot_s=0.1).interval(field, probability)


@pytest.mark.parametrize(
    "machine", ["hgx-h100", "groq-lpu-chain", "cerebras-cs3", "apple-m3-ultra"]
)
def test_the_stacks_that_we_ship_carry_their_measured_errors(machine):
    software = pl.load_topology(machine).software
    assert {residual.field for residual in software.residuals} & {
        "tpot_s",
        "request_s",
        "tokens_per_s",
    }
