"""Intervals of a score."""

import math

import pytest

import planner as pl
from planner.scoring.score import LIKE, UNCERTAIN, StageTime, residuals_of
from tests.by_hand import round_software
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


@pytest.mark.parametrize(
    ("probability", "factor"), [(0.5, 2.0), (0.75, 4.0), (0.8, 5.0), (0.95, 20.0), (0.99, 100.0)]
)
def test_errors_follow_a_laplace_distribution_of_logarithms(probability, factor):
    # |ln(predicted / measured)| is exponential: with ln 5 within which four of five stay, one in 1
    # / (1 - p) lies beyond p.
    score = measured_on(tpot_s=math.log(5))
    low, high = score.interval("tpot_s", probability)
    assert (score.tpot_s / low, high / score.tpot_s) == pytest.approx((factor, factor))


def test_half_of_what_lies_outside_an_interval_lies_above_it():
    # So one in ten is above the upper end of 80 %, and at 60 % one in five is: a factor of √(1 /
    # 0.4) for a width of ln √5.
    score = measured_on(tpot_s=math.log(5) / 2)
    assert score.interval("tpot_s", 0.6)[1] == pytest.approx(score.tpot_s * 2.5**0.5)
    assert score.interval("tpot_s")[1] == pytest.approx(score.tpot_s * 5**0.5)


@pytest.mark.parametrize(
    ("field", "stand_ins"),
    [
        ("tokens_per_s", ("tokens_per_s", "request_s", "tpot_s")),
        ("request_s", ("request_s", "tpot_s", "tokens_per_s")),
        ("usd_per_million_tokens", ("usd_per_million_tokens", "tokens_per_s", "request_s")),
        ("energy_per_token_j", ("energy_per_token_j", "tokens_per_s", "request_s", "tpot_s")),
        ("mfu_fraction", ("mfu_fraction", "request_s", "tokens_per_s", "tpot_s")),
        ("mbu_fraction", ("mbu_fraction", "request_s", "tokens_per_s", "tpot_s")),
        ("tokens_per_s_per_user", ("tokens_per_s_per_user", "tpot_s")),
        ("samples_per_s", ("samples_per_s", "image_s", "step_s")),
        ("energy_per_sample_j", ("energy_per_sample_j", "image_s", "step_s")),
        ("step_s", ("step_s", "image_s")),
        ("image_s", ("image_s", "step_s")),
        ("ttft_s", ("ttft_s",)),
        ("tpot_s", ("tpot_s",)),
        ("power_w", ("power_w",)),
    ],
)
def test_what_was_not_measured_is_as_uncertain_as_the_nearest_that_was(field, stand_ins):
    measured = dict.fromkeys(UNCERTAIN, 0.0)
    for rank, name in enumerate(stand_ins):
        measured[name] = 0.1 + 0.1 * rank
    for rank, name in enumerate(stand_ins):
        residuals = [
            {"field": one, "half_width": width}
            for one, width in measured.items()
            if one in stand_ins
        ]
        widths = {
            one.field: one.half_width for one in residuals_of(round_software(residuals=residuals))
        }
        assert widths[field] == pytest.approx(0.1 + 0.1 * rank)
        del measured[name]
    assert {one.field: one.half_width for one in residuals_of(round_software())}[field] == 0.7


def test_the_fields_with_a_width_are_those_that_are_predicted():
    assert set(UNCERTAIN) == {"ttft_s", "tpot_s", "power_w", *LIKE}
    assert {one.field for one in residuals_of(round_software())} == set(UNCERTAIN)


def test_the_causes_of_a_stage_add_up_and_so_does_what_it_holds():
    causes = {"compute_s": 1.0, "memory_s": 2.0, "collective_s": 4.0, "hop_s": 8.0}
    assert StageTime(**causes, overhead_s=16.0, bubble_s=32.0).total_s == 63.0
    (stage,) = measured_on().stages
    held = stage.replace(weight_bytes=1.0, kv_bytes=2.0, activation_bytes=4.0)
    assert held.needed_bytes == 7.0


def test_percentiles_are_those_of_the_load():
    score = scored(tiny_topology(4, chip=tiny_chip(1e10)), batch_size=None, requests_per_s=0.1)
    assert score.percentile("ttft_s", 0.9) == score.load.percentile("ttft_s", 0.9)
    assert score.percentile("ttft_s", 0.9) != score.load.percentile("ttft_s", 0.2)
    with pytest.raises(pl.InputError, match="percentiles need a rate"):
        measured_on().percentile("ttft_s", 0.9)
