"""Which figures move the answer."""

import pytest

import planner as pl
from planner.errors import InputError
from planner.studies import GlobalSensitivity, Sensitivity, global_sensitivity, sensitivity

GRAPH = pl.load_model("llama-3.2-1b", weight_dtype="fp8")
MACHINE = pl.load_topology("rtx-4090")
ONE = pl.Workload()
BANDWIDTH, PEAK, WATTS = (
    "chip.memory[0].bandwidth_bytes_per_s",
    "chip.peaks[0].flop_per_s",
    "power.chip_w",
)

MOVED = {BANDWIDTH: 0.3, "software.step_overhead_s": 0.3, WATTS: 0.3}


@pytest.fixture(scope="module")
def tornado():
    return sensitivity(GRAPH, MACHINE, ONE, [WATTS, BANDWIDTH], minimize="tpot_s", progress=False)


@pytest.fixture(scope="module")
def shares():
    return global_sensitivity(
        GRAPH, MACHINE, ONE, MOVED, minimize="tpot_s", samples=16, progress=False, processes=1
    )


def test_the_strongest_comes_first_with_what_partition_finds(tornado):
    assert [row.path for row in tornado.rows] == [BANDWIDTH, WATTS]
    row = tornado.rows[0]
    high = pl.partition(
        GRAPH, pl.with_value(MACHINE, BANDWIDTH, row.high), ONE, minimize="tpot_s"
    ).objective
    assert row.high_objective == high
    assert row.high_effect == pytest.approx(high / tornado.objective - 1)
    assert row.high_effect < 0 < row.low_effect
    assert tornado.rows[1].swing == 0


@pytest.mark.slow
def test_without_names_every_told_figure_is_moved_and_the_strongest_share_the_variance(tmp_path):
    options = {
        "minimize": "tpot_s",
        "progress": False,
        "file": tmp_path / "kept.sqlite",
        "processes": 1,
    }
    every = sensitivity(GRAPH, MACHINE, ONE, **options)
    assert {BANDWIDTH, "chip.memory[0].capacity_bytes"} < {row.path for row in every.rows}
    assert all(row.message == "" for row in every.rows)
    swings = [row.swing for row in every.rows]
    assert swings == sorted(swings, reverse=True)
    made = global_sensitivity(GRAPH, MACHINE, ONE, samples=4, most=2, **options)
    assert {row.path for row in made.rows} == {row.path for row in every.rows[:2]}


def test_an_end_without_a_plan_is_told_first():
    made = sensitivity(
        GRAPH,
        MACHINE,
        ONE,
        {WATTS: 0.1, "chip.memory[0].capacity_bytes": (1e9, 24e9)},
        minimize="tpot_s",
        progress=False,
    )
    row = made.rows[0]
    assert row.low_objective is None
    assert "does not fit" in row.message
    assert "no plan" in str(made)
    assert "no plan" in made.plot().data[0].text


@pytest.mark.slow
def test_no_plan_at_all_is_refused():
    with pytest.raises(InputError, match=r"no plan with the figures as they are.*does not fit"):
        sensitivity(pl.load_model("llama-3.1-405b"), MACHINE, ONE, [WATTS], progress=False)


def test_a_wrong_question_is_refused():
    with pytest.raises(InputError, match="needs the price of rtx-4090"):
        sensitivity(
            GRAPH, MACHINE.replace(price=pl.load_topology("rtx-4090").price.replace(usd_per_chip_hour=None)), ONE, [WATTS],
            minimize="usd_per_million_tokens", progress=False,
        )  # fmt: skip


@pytest.mark.slow
def test_shares_of_variance_go_to_what_matters(shares):
    by = {row.path: row for row in shares.rows}
    assert by[WATTS].total_share == pytest.approx(0.0, abs=1e-12)
    assert by[BANDWIDTH].total_share > by["software.step_overhead_s"].total_share > 0
    assert sum(row.first_order_share for row in shares.rows) == pytest.approx(1.0, abs=0.3)
    assert all(row.first_order_margin_share >= 0 for row in shares.rows)
    assert shares.low < shares.median < shares.high


@pytest.mark.slow
def test_the_same_seed_gives_the_same_shares():
    options = {"minimize": "tpot_s", "samples": 4, "progress": False}
    one, again, other = (
        global_sensitivity(GRAPH, MACHINE, ONE, MOVED, seed=seed, **options) for seed in (1, 1, 2)
    )
    assert again.to_json() == one.to_json()
    assert other.rows != one.rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("figures", "samples", "words"),
    [
        ({WATTS: 0.1}, 4, "none of the figures moves"),
        ({BANDWIDTH: 0.1}, 12, "power of 2"),
        ({"chip.memory[0].capacity_bytes": (1e9, 24e9)}, 4, "make the ranges narrower"),
    ],
)
def test_shares_that_mean_nothing_are_refused(figures, samples, words):
    with pytest.raises(InputError, match=words):
        global_sensitivity(
            GRAPH, MACHINE, ONE, figures, minimize="tpot_s", samples=samples, progress=False
        )


@pytest.mark.slow
def test_pictures_have_bars_for_each_figure(tornado, shares):
    figure = tornado.plot()
    assert [trace.name for trace in figure.data] == ["at the low end", "at the high end"]
    assert len(figure.data[0].y) == 1  # what moves nothing is not drawn
    assert [list(trace.y) for trace in shares.plot().data] == [
        [row.path for row in shares.rows]
    ] * 2


def test_text_has_a_line_for_each_figure(tornado, shares):
    assert [line.split()[0] for line in str(tornado).splitlines()[2:]] == [BANDWIDTH, WATTS]
    assert [line.split()[0] for line in str(shares).splitlines()[2:]] == [
        row.path for row in shares.rows
    ]


def test_json_gives_them_back(tornado, shares):
    assert Sensitivity.from_json(tornado.to_json()) == tornado
    assert GlobalSensitivity.from_json(shares.to_json()) == shares
