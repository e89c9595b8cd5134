"""Scaling: efficiency against the fewest chips, and where the rest goes."""

import pytest

import planner as pl
from planner.errors import InputError
from planner.studies.scalings import CAUSES, IDLE, Scaling, fewest_of, scaling
from tests.clock import ticking


@pytest.fixture(scope="module")
def wafers() -> Scaling:
    return scaling("llama-3.1-70b", "cerebras-cs3", weight_dtype="bf16", chips=(2, 5, 8))


def test_the_first_row_that_fits_is_on_the_fewest_chips_and_is_the_measure(wafers):
    base = next(row for row in wafers.rows if row.tokens_per_s)
    assert base.chips == base.fewest_chips == wafers.at(2).fewest_chips
    assert base.efficiency_fraction == base.latency_speed_up_fraction == 1
    assert wafers.at(2).status == "infeasible"
    with pytest.raises(InputError, match="chips = 3 was not priced"):
        wafers.at(3)


def test_efficiency_is_throughput_for_each_chip(wafers):
    base = next(row for row in wafers.rows if row.tokens_per_s)
    row = wafers.at(8)
    assert row.efficiency_fraction == pytest.approx(
        row.tokens_per_s / 8 / (base.tokens_per_s / base.chips)
    )
    assert row.latency_speed_up_fraction == pytest.approx(base.tpot_s / row.tpot_s)
    assert row.batch_size == 64


def test_what_is_lost_sums_to_what_is_missing(wafers):
    for row in wafers.rows:
        if row.tokens_per_s:
            lost = sum(getattr(row, f"{cause}_lost_share") for cause in (*CAUSES, IDLE))
            assert lost == pytest.approx(1 - row.efficiency_fraction, abs=1e-9)


@pytest.mark.slow
def test_a_model_that_no_number_of_chips_holds_has_rows_that_say_so():
    study = scaling(
        "gpt-4-rumour",
        "hgx-h100",
        weight_dtype="bf16",
        chips=(1, 8),
        workload=pl.Workload(batch_size=1),
    )
    assert [row.status for row in study.rows[:2]] == ["infeasible", "infeasible"]
    assert study.rows[0].fewest_chips > 8


def test_a_workload_with_a_batch_keeps_it():
    study = scaling(
        "llama-3.1-8b",
        "hgx-h100",
        weight_dtype="fp8",
        chips=(1, 2),
        workload=pl.Workload(batch_size=8),
        time_limit_s=None,
    )
    assert [row.batch_size for row in study.rows] == [8, 8]
    assert study.at(2).efficiency_fraction < 1 < study.at(2).latency_speed_up_fraction


@pytest.mark.slow
def test_copies_stand_in_where_time_runs_out():
    graph = pl.load_model("mixtral-8x7b", weight_dtype="fp8")
    with ticking(0.02):
        study = scaling(graph, "hgx-h100", chips=(8, 16), base_chips=8, time_limit_s=10)
    assert study.at(16).efficiency_fraction >= 0.999


def test_shares_of_the_chips_time_sum_to_one(wafers):
    for row in wafers.rows:
        if row.tokens_per_s:
            assert sum(getattr(row, f"{cause}_share") for cause in (*CAUSES, IDLE)) == (
                pytest.approx(1.0)
            )


def test_a_row_says_how_far_it_is_from_a_proof(wafers):
    for row in wafers.rows:
        if row.tokens_per_s:
            assert row.most_tokens_per_s >= row.tokens_per_s
            assert row.least_tpot_s <= row.tpot_s
            gaps = (row.throughput_gap_share, row.latency_gap_share)
            assert (row.status == "optimal") == (gaps == (0, 0))
    text = str(wafers)
    assert "2 chips: infeasible; " in text
    assert "proved best" in text


def test_a_gap_is_what_the_bound_leaves(wafers):
    row = wafers.at(8).replace(
        status="feasible", throughput_gap_share=0.25, latency_gap_share=None, idle_share=0.1
    )
    made = wafers.replace(rows=(*wafers.rows[:-1], row))
    assert "(not proved: at most 25 % better)" in str(made)
    assert "(no bound)" in str(made)
    # Whiskers reach from the mark to the bound.
    drawn = made.plot().data[0]
    assert drawn.error_y.array[-1] == pytest.approx(0.25 * row.efficiency_fraction)
    assert set(drawn.error_y.arrayminus) == {0.0}


def test_the_picture_shows_throughput_speed_and_causes(wafers):
    drawn = wafers.plot()
    names = [trace.name for trace in drawn.data]
    assert names[:2] == ["throughput a chip", "speed of one user"]
    assert {"compute", "overhead"} <= {*names[2:]} <= {*CAUSES, IDLE}
    base, *_, last = [row for row in wafers.rows if row.tokens_per_s]
    # Bars are of time that is spent: never below nothing, and all of it at the fewest chips.
    bars = drawn.data[2:]
    assert all(min(bar.y) >= 0 for bar in bars)
    assert sum(bar.y[0] for bar in bars) == pytest.approx(1)
    assert sum(bar.y[-1] for bar in bars) == pytest.approx(1 / last.efficiency_fraction)
    assert list(drawn.data[1].y)[-1] == last.latency_speed_up_fraction
    titles = [drawn.layout[name].title.text for name in ("yaxis", "yaxis2", "yaxis3")]
    assert all(f"on {base.chips} chip" in title and "[" in title for title in titles)
    assert not any("_" in title for title in (drawn.layout.title.text, *titles))
    assert Scaling.from_json(wafers.to_json()) == wafers


def test_chips_left_idle_are_drawn_open_and_said(wafers):
    row = wafers.at(8).replace(held_chips=7)
    drawn = wafers.replace(rows=(*wafers.rows[:-1], row)).plot()
    assert drawn.data[0].marker.color[-1] == "#FFFFFF"
    assert "do not divide" in drawn.layout.title.text


def test_a_table_without_a_plan_has_no_picture(wafers):
    with pytest.raises(InputError, match="fits none of these chips"):
        wafers.replace(rows=wafers.rows[:1]).plot()


@pytest.mark.slow
def test_the_fewest_chips_hold_their_users_too():
    graph, machine = pl.load_model("llama-3.1-8b", weight_dtype="fp8"), pl.load_topology("hgx-h100")
    crowd = pl.Workload(batch_size=400, prompt_tokens=4000, output_tokens=1000)
    assert fewest_of(graph, machine, crowd.replace(batch_size=1)) == 1
    # Caches of 400 × 5,000 tokens of 131,072 B are 262 GB, weights 16: more than 3 × 85.03.
    assert fewest_of(graph, machine, crowd) == 4


@pytest.mark.slow
def test_the_fewest_chips_hold_all_layers():
    # 141 GB of weights; one H100 of 85 GB can leave the rest to its host in vLLM.
    graph = pl.load_model("llama-3.1-70b")
    machine = pl.load_topology("hgx-h100", software="vllm")
    alone = pl.Workload(batch_size=1)
    assert pl.partition(graph, machine.replace(chips=1), alone, minimize="chips").score.chips == 1
    assert fewest_of(graph, machine, alone) == 2


def test_chips_beyond_the_machine_are_refused():
    with pytest.raises(InputError, match="chips must lie between 1 and"):
        scaling("llama-3.1-8b", "apple-m3-ultra", chips=(1, 99))


@pytest.mark.slow
def test_plans_are_those_that_the_engine_runs_unless_any_is_asked_for():
    asked = {"weight_dtype": "fp8", "chips": (2,), "workload": pl.Workload(batch_size=2)}
    engine = scaling("llama-3.1-8b", "hgx-h100", **asked)
    free = scaling("llama-3.1-8b", "hgx-h100", **asked, space="any")
    assert (engine.space, free.space) == ("engine", "any")
    assert engine.at(2).tokens_per_s <= free.at(2).tokens_per_s * (1 + 1e-9)
    assert engine.at(2).tpot_s >= free.at(2).tpot_s * (1 - 1e-9)
