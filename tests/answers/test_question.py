"""Questions."""

import re

import numpy as np
import pytest

import planner as pl
from planner.answers.question import FIELDS, SAMPLE_FIELDS, as_priced, question_of
from planner.units import gauge_of, parse_figure


def test_a_question_has_one_objective():
    with pytest.raises(pl.InputError, match="minimize= or maximize="):
        question_of("tpot_s", "tokens_per_s", None, None)


def test_without_a_field_the_time_per_token_is_asked_for():
    assert question_of(None, None, None, None).objective == "tpot_s"


def test_an_unknown_field_gets_the_nearest():
    with pytest.raises(pl.UnknownNameError, match="tpot_s"):
        question_of("tpot", None, None, None)


@pytest.mark.parametrize(("minimize", "maximize"), [("tokens_per_s", None), (None, "tpot_s")])
def test_the_wrong_direction_is_refused(minimize, maximize):
    with pytest.raises(pl.InputError, match=r"tokens_per_s|tpot_s"):
        question_of(minimize, maximize, None, None)


@pytest.mark.parametrize("limit", [float("nan"), -1.0, "fast"])
def test_a_limit_that_is_no_figure_is_refused(limit):
    with pytest.raises(pl.InputError, match="ttft_s"):
        question_of("tpot_s", None, {"ttft_s": limit}, None)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("tpot_s", "30ms", 0.03),
        ("ttft_s", "2 s", 2.0),
        ("power_w", "10 kW", 1e4),
        ("usd_per_hour", "100 USD/h", 100.0),
        ("usd_per_million_tokens", "0.5 USD", 0.5),
        ("memory_headroom_bytes", "10 GB", 1e10),
        ("memory_headroom_bytes", "8 GiB", 8 * 2**30),
        ("energy_per_token_j", "500 mJ", 0.5),
        ("tokens_per_s", "10k", 1e4),
        ("requests_per_s", "3 requests/s", 3.0),
        ("mfu_fraction", "40 %", 0.4),
        ("chips", 64, 64.0),
        ("chips", np.int64(64), 64.0),
        ("tpot_s", "0.03", 0.03),
    ],
)
def test_a_limit_may_have_a_unit(name, given, value):
    objective = {"maximize": "tokens_per_s_per_user"}
    asked = question_of(None, objective["maximize"], {name: given}, None)
    assert asked.limits == ((name, pytest.approx(value, rel=1e-15)),)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("tpot_s", "30 kg"),
        ("tpot_s", "30 W"),
        ("tpot_s", "0 ms"),
        ("tpot_s", "-1 ms"),
        ("tpot_s", ""),
        ("usd_per_hour", "100 USD"),
        ("usd_per_million_tokens", "1 USD/h"),
        ("tokens_per_s", "10 requests/s"),
        ("chips", "64 GB"),
        ("power_w", None),
        ("power_w", True),
        ("power_w", float("inf")),
    ],
)
def test_a_limit_with_a_wrong_unit_is_refused_in_one_sentence_with_an_example(name, given):
    with pytest.raises(pl.InputError) as refused:
        question_of("request_s", None, {name: given}, None)
    sentence = str(refused.value)
    assert sentence.startswith(f"limits['{name}'] is measured in ")
    example = re.search(r"such as '([^']+)'", sentence)[1]
    assert question_of("request_s", None, {name: example}, None).limits[0][1] > 0


@pytest.mark.parametrize("name", [*FIELDS, *SAMPLE_FIELDS])
def test_every_field_has_a_measure_whose_example_is_one_of_it(name):
    assert parse_figure(gauge_of(name).example, name, name) > 0


@pytest.mark.parametrize("name", ["requests_per_s", "tokens_per_s_per_chip"])
def test_of_a_diffusion_model_requests_and_tokens_are_not_asked(name):
    with pytest.raises(
        pl.InputError, match=f"^{name} is a field of language models.*samples_per_s"
    ):
        question_of(None, name, None, None, diffusion=True)


def test_percentiles_are_refused_where_prices_alone_are_known():
    asked = question_of(None, None, {"ttft_p99_s": 1.0}, None)
    with pytest.raises(
        pl.InputError, match="ttft_p99_s is asked for on one machine only"
    ) as caught:
        as_priced(asked, "a cluster")
    assert "ask for ttft_s" in str(caught.value)
    means = question_of(None, None, {"ttft_s": 1.0}, None)
    assert as_priced(means, "a cluster") is means
