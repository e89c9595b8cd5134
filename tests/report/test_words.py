"""Words: every figure of a score has a title, a unit, and as many digits as a person reads."""

import math
import re

import pytest

from planner.answers.question import FIELDS, SAMPLE_FIELDS
from planner.catalogue import load_model, load_topology
from planner.machines.software import Residual
from planner.machines.topology import Power
from planner.report.words import (
    FIELD_WORDS,
    QUEUE,
    SAMPLE_WORDS,
    field_text,
    headline,
    range_text,
)
from planner.scoring.plans import score_plan
from planner.scoring.score import Score
from planner.space.degrees import uniform_plan
from planner.workload import Workload
from tests.instances import tiny_graph, tiny_topology


def score_of(power=None):
    graph, topology = (
        tiny_graph(),
        tiny_topology(1, power=power or Power(chip_w=100.0, system_w=150.0)),
    )
    return score_plan(uniform_plan(graph, topology), graph, topology, Workload(batch_size=2))


def test_every_figure_of_a_score_has_words():
    words = {"power_scope", "breakdown", "prefill_breakdown", "residuals", "stages", "load"}
    words |= {"unvouched", "evidence", "power_basis", "price_basis", "traffic"}
    words |= {"others_prompts_s"}  # told below the breakdown that it is part of
    assert set(FIELD_WORDS) | set(SAMPLE_WORDS) == set(Score.model_fields) - words


def test_every_field_that_can_be_optimised_has_words():
    assert set(FIELDS) <= set(FIELD_WORDS)
    assert set(SAMPLE_FIELDS) <= set(SAMPLE_WORDS)


def test_no_two_fields_have_one_title():
    assert len({word.title for word in FIELD_WORDS.values()}) == len(FIELD_WORDS)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("tpot_s", 0.0068, "6.8 ms"),
        ("ttft_s", 12.3e-6, "12.3 µs"),
        ("request_s", 75.0, "75 s"),
        ("tokens_per_s", 1701.23, "1,701 tokens/s"),
        ("tokens_per_s_per_user", 0.5, "0.5 tokens/s"),
        ("energy_per_token_j", 1.504, "1.5 J"),
        ("energy_per_token_j", None, "not known"),
        ("usd_per_million_tokens", 0.3561, "0.356 USD"),
        ("usd_per_million_tokens", None, "not known"),
        ("usd_per_hour", 98.3215, "98.3 USD/h"),
        ("usd_per_hour", None, "not known"),
        ("requests_per_s", 0.12345, "0.1235 requests/s"),
        ("tokens_per_s_per_chip", 1701.23, "1,701 tokens/s"),
        ("samples_per_s", 2.0, "2 samples/s"),
        ("power_w", 10_200.0, "10.2 kW"),
        ("chips", 576, "576"),
        ("memory_headroom_bytes", 63e9, "63 GB"),
        ("memory_headroom_bytes", -5e9, "-5 GB"),
        ("mfu_fraction", 0.0624, "6.24 %"),
        ("bubble_fraction", 0.0, "0 %"),
    ],
)
def test_a_field_is_shown_with_the_unit_that_a_person_reads(field, value, text):
    assert field_text(field, value) == text


@pytest.mark.parametrize(
    ("field", "value", "digits"), [("chips", 2048, "2048"), ("batch_size", 12_345, "12345")]
)
def test_what_is_counted_is_shown_to_the_last_digit(field, value, digits):
    assert field_text(field, value).replace(",", "") == digits


def test_the_headline_has_every_figure_in_order():
    score = score_of()
    shown = [word.title for name, word in FIELD_WORDS.items() if name not in QUEUE]
    assert [title for title, *_ in headline(score)] == shown
    texts = {title: text for title, text, *_ in headline(score)}
    assert texts["time per output token"] == field_text("tpot_s", score.tpot_s)


def test_figures_that_are_predicted_have_an_interval_and_those_that_are_counted_have_none():
    # ln 1.25 either way: 8 to 12.5 of 10.
    sure = Residual(field="tpot_s", half_width=math.log(1.25))
    score = score_of().replace(tpot_s=0.01, residuals=(sure,))
    between = {title: interval for title, _, interval, _ in headline(score)}
    assert between["time per output token"] == "8 to 12.5 ms"
    assert between["chips used"] == ""


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        ("8 ms", "12.5 ms", "8 to 12.5 ms"),
        ("800 ms", "1.2 s", "800 ms to 1.2 s"),
        ("3", "5", "3 to 5"),
        ("800 ms", "without end", "800 ms or more"),
    ],
)
def test_a_range_says_its_unit_once(low, high, said):
    assert range_text(low, high) == said


@pytest.mark.parametrize(
    ("power", "scope"),
    [
        (Power(chip_w=100.0), "chips alone, provisioned"),
        (Power(chip_w=100.0, idle_share=0.5), "chips alone, drawn"),
        (Power(chip_w=100.0, system_w=150.0), "everything at the wall, provisioned"),
        (Power(), "power not published"),
    ],
)
def test_energy_and_power_say_what_they_count(power, scope):
    scoped = [title for title, _, _, counted in headline(score_of(power)) if counted == scope]
    assert scoped == ["energy per output token", "power"]


def test_every_time_and_every_memory_has_its_unit():
    score = score_of().replace(queued=3, queued_s=0.5)
    texts = dict(zip(FIELD_WORDS, (text for _, text, *_ in headline(score)), strict=True))
    assert (texts["queued"], texts["queued_s"]) == ("3", "500 ms")
    assert all(
        re.fullmatch(r"[\d.,]+ [mµn]?s", texts[name]) for name in ("ttft_s", "tpot_s", "request_s")
    )
    assert re.fullmatch(r"[\d.,]+ [kMGT]?B", texts["memory_headroom_bytes"])


def test_the_headline_of_a_diffusion_model_speaks_of_samples():
    graph, topology = load_model("sdxl"), load_topology("hgx-h100", chips=1)
    titles = [
        title
        for title, *_ in headline(
            score_plan(uniform_plan(graph, topology), graph, topology, Workload())
        )
    ]
    assert titles == [word.title for name, word in SAMPLE_WORDS.items() if name not in QUEUE]
    assert not any("token" in title for title in titles)
