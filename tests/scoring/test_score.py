"""Intervals of a score."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.scoring.score import (
    LIKE,
    UNCERTAIN,
    StageTime,
    quotient_width,
    residuals_of,
    widths_of,
)
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


def test_requests_and_tokens_of_a_chip_are_as_uncertain_as_tokens_and_dollars_an_hour_are_counted():
    score = measured_on(tokens_per_s=0.2)
    for name in ("requests_per_s", "tokens_per_s_per_chip"):
        assert score.interval(name)[1] == pytest.approx(getattr(score, name) * math.exp(0.2))
    assert score.interval("usd_per_hour") == (score.usd_per_hour, score.usd_per_hour)


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
    ("probability", "factor"), [(0.5, 2.2404), (0.8, 5.0), (0.96, 17.138), (0.992, 52.56)]
)
def test_errors_follow_a_stretched_exponential_distribution_of_logarithms(probability, factor):
    # |ln(predicted / measured)| to the power of 1 / 0.82 is exponential. With ln 5 within which
    # four of five stay, 96 % (ln 0.04 = 2 ln 0.2) stay within ln 5 · 2^0.82 = 2.841, 99.2 % within
    # ln 5 · 3^0.82 = 3.962, half within ln 5 · (ln 2 / ln 5)^0.82 = 0.8066.
    score = measured_on(tpot_s=math.log(5))
    low, high = score.interval("tpot_s", probability)
    assert (score.tpot_s / low, high / score.tpot_s) == pytest.approx((factor, factor), rel=1e-3)


def test_half_of_what_lies_outside_an_interval_lies_above_it():
    # So one in ten is above the upper end of 80 %, and at 60 % one in five is: for a width of
    # ln √5, exp(0.8047 · (ln 0.4 / ln 0.2)^0.82) = 1.6603.
    score = measured_on(tpot_s=math.log(5) / 2)
    assert score.interval("tpot_s", 0.6)[1] == pytest.approx(score.tpot_s * 1.6603, rel=1e-4)
    assert score.interval("tpot_s")[1] == pytest.approx(score.tpot_s * 5**0.5)


@pytest.mark.parametrize(
    ("field", "stand_ins"),
    [
        ("tokens_per_s", ("tokens_per_s", "request_s", "tpot_s")),
        ("request_s", ("request_s", "tpot_s", "tokens_per_s")),
        ("mfu_fraction", ("mfu_fraction", "request_s", "tokens_per_s", "tpot_s")),
        ("mbu_fraction", ("mbu_fraction", "request_s", "tokens_per_s", "tpot_s")),
        ("tokens_per_s_per_user", ("tokens_per_s_per_user", "tpot_s")),
        ("samples_per_s", ("samples_per_s", "image_s", "step_s")),
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


WIDTHS = st.floats(min_value=0.0, max_value=2.0)


@pytest.mark.slow
@given(WIDTHS, WIDTHS, st.floats(min_value=0.05, max_value=0.95))
def test_the_intervals_of_joules_watts_and_rates_never_contradict(watts, rate, probability):
    score = measured_on(power_w=watts, tokens_per_s=rate)
    joules = score.interval("energy_per_token_j", probability)
    power = score.interval("power_w", probability)
    rates = score.interval("tokens_per_s", probability)
    # Joules are watts over a rate: no wider than both at their ends ...
    assert joules[0] >= power[0] / rates[1] * (1 - 1e-9)
    assert joules[1] <= power[1] / rates[0] * (1 + 1e-9)
    # ... and wide enough that joules and a rate reach every watt, joules and watts every rate.
    assert joules[1] * rates[1] >= power[1] * (1 - 1e-9)
    assert power[1] / joules[0] >= rates[1] * (1 - 1e-9)


def test_the_width_of_a_quotient_is_by_the_law_of_cosines():
    assert quotient_width(3.0, 4.0, 0.0) == pytest.approx(5.0)
    assert quotient_width(3.0, 4.0, 1.0) == pytest.approx(1.0)
    assert quotient_width(3.0, 4.0, -1.0) == pytest.approx(7.0)
    # 9 + 16 - 2 · 0.5 · 12 = 13.
    assert quotient_width(3.0, 4.0, 0.5) == pytest.approx(math.sqrt(13))


def test_dollars_are_as_sure_as_the_rate_that_they_are_divided_by():
    score = measured_on(tokens_per_s=0.1)
    widths = {one.field: one.half_width for one in score.residuals}
    assert widths["usd_per_million_tokens"] == widths["tokens_per_s"] == 0.1


def test_the_nearest_sort_of_rows_tells_the_width():
    residuals = [
        {"field": "tpot_s", "half_width": 0.1},
        {"field": "tpot_s", "half_width": 0.2, "like": "alone"},
        {"field": "tpot_s", "half_width": 0.3, "like": "alone hopper"},
        {"field": "ttft_s", "half_width": 0.4},
    ]
    widths = widths_of(round_software(residuals=residuals))
    likes = ("alone hopper", "alone", "")
    assert widths.half_width("tpot_s", likes) == 0.3
    assert widths.half_width("tpot_s", ("alone ada", "alone", "")) == 0.2
    assert widths.half_width("tpot_s", ("served ada", "served", "")) == 0.1
    assert widths.half_width("ttft_s", likes) == 0.4
    # What nobody measured is as sure as what it depends on, of the same sort.
    assert widths.half_width("tokens_per_s", likes) == 0.3


def loaded(rate):
    software = tiny_software(residuals=[{"field": "ttft_s", "half_width": 0.2}])
    machine = tiny_topology(4, chip=tiny_chip(1e10), software=software)
    return scored(machine, batch_size=None, requests_per_s=rate)


def test_a_percentile_is_as_unsure_as_the_mean_and_more_so_near_what_can_be_served():
    light, heavy = loaded(1.0), loaded(1000.0)
    for score in (light, heavy):
        middle = score.percentile("ttft_s", 0.99)
        low, high = score.percentile_interval("ttft_s", 0.99)
        narrow = score.percentile_interval("ttft_s", 0.99, within=0.5)
        assert low < narrow[0] < middle < narrow[1] < high
        # Without a queue both ends are off by the factor of the mean; a queue adds to it.
        assert high / middle >= math.exp(0.2) * (1 - 1e-6)
    assert _ratio(heavy) > _ratio(light)


def _ratio(score):
    return score.percentile_interval("ttft_s", 0.99)[1] / score.percentile("ttft_s", 0.99)


def test_a_percentile_has_no_upper_end_where_a_slower_replica_cannot_serve_what_comes():
    score = scored(tiny_topology(4, chip=tiny_chip(1e10)), batch_size=None, requests_per_s=0.1)
    nearly = 0.6 / score.load.load_fraction
    full = score.load.slower(nearly)
    assert full.load_fraction == pytest.approx(0.6)
    near = score.model_copy(update={"load": full})
    assert near.percentile_interval("ttft_s", 0.9)[1] == math.inf


def test_percentiles_are_those_of_the_load():
    score = scored(tiny_topology(4, chip=tiny_chip(1e10)), batch_size=None, requests_per_s=1000.0)
    assert score.percentile("ttft_s", 0.9) == score.load.percentile("ttft_s", 0.9)
    assert score.percentile("ttft_s", 0.9) != score.load.percentile("ttft_s", 0.2)
    closed = measured_on()
    assert closed.percentile("ttft_s", 0.9) == closed.load.percentile("ttft_s", 0.9)
    low, high = closed.percentile_interval("request_s", 0.9)
    assert low < closed.percentile("request_s", 0.9) < high
    with pytest.raises(pl.InputError, match="percentiles are of requests to a language model"):
        closed.replace(load=None).percentile("ttft_s", 0.9)
