"""The field's own chart: all machines named, bands around their lines, the promise shaded."""

import pytest
from matplotlib.colors import to_hex

import planner as pl
from planner import studies
from planner.studies.servings import COLOURS, HATCHES, serving_fronts
from tests.legible import faults_of, texts_of

FIELDS = ("tokens_per_s_per_user", "tokens_per_s_per_chip")
WORK = pl.Workload(batch_size=None, prompt_tokens=512, output_tokens=128)


def front_on(name: str, fields=FIELDS, workload=WORK):
    graph = pl.load_model("llama-3.2-1b", weight_dtype="fp8")
    return pl.pareto(graph, pl.load_topology(name, chips=1), workload, fields=fields, tolerance=0.3)


@pytest.fixture(scope="module")
def fronts():
    return {"one H100": front_on("hgx-h100"), "one B200": front_on("hgx-b200")}


@pytest.fixture(scope="module")
def picture(fronts):
    return serving_fronts(fronts, tpot_s=0.004, ttft_s=0.1)


@pytest.mark.slow
def test_every_line_band_and_shade_is_named_and_nothing_is_cut(picture):
    words = [one.get_text() for one in texts_of(picture.figure)]
    for name in (
        "one H100", "one B200", "80 % of measurements", "slower than 4 ms a token",
        "first token after more than 100 ms", "speed for each user [tokens/s]", "output of each chip [tokens/s]",
    ):  # fmt: skip
        assert name in words, name
    assert faults_of(picture.figure) == []
    assert "llama-3.2-1b" in picture.title


def test_points_are_the_plans_and_hollow_where_the_first_token_is_late(picture, fronts):
    (axes,) = picture.figure.axes
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    members = [one for front in fronts.values() for one in front.members]
    assert len(points) == len(members)
    for point, one in zip(points, members, strict=True):
        assert float(point.get_xdata()[0]) == one.score.tokens_per_s_per_user
        assert float(point.get_ydata()[0]) == pytest.approx(
            one.score.tokens_per_s / one.score.chips
        )
        is_late = one.score.ttft_s > 0.1
        assert (point.get_markerfacecolor() == "white") == is_late
    assert 0 < sum(point.get_markerfacecolor() == "white" for point in points) < len(points)


def test_bands_reach_to_the_ends_of_the_intervals(picture, fronts):
    band = next(
        one
        for one in picture.figure.axes[0].patches
        if to_hex(one.get_facecolor()) == COLOURS[0].lower()
    )
    scores = [one.score for one in fronts["one H100"].members]
    xs, ys = band.get_xy().T
    assert xs.max() == pytest.approx(max(one.interval(FIELDS[0])[1] for one in scores))
    assert ys.max() == pytest.approx(max(one.interval(FIELDS[1])[1] for one in scores))
    assert ys.min() == pytest.approx(min(one.interval(FIELDS[1])[0] for one in scores))


def test_bands_of_machines_differ_in_hatching(picture):
    hatches = {one.get_hatch() for one in picture.figure.axes[0].patches if one.get_hatch()}
    assert hatches == {HATCHES[1]}


@pytest.mark.slow
def test_without_a_promise_nothing_is_shaded(fronts):
    bare = serving_fronts(list(fronts.values()))
    words = [one.get_text() for one in texts_of(bare.figure)]
    assert not any("slower" in one or "after more" in one for one in words)
    assert any("H100" in one for one in words)


@pytest.mark.slow
def test_fronts_that_cannot_share_a_picture_are_refused(fronts):
    with pytest.raises(pl.InputError, match="one front or more"):
        serving_fronts({})
    with pytest.raises(pl.InputError, match="no field tokens_per_s_per_user: ask pareto"):
        serving_fronts([front_on("hgx-h100", ("tpot_s", "usd_per_million_tokens"))])
    other = front_on("hgx-h200", workload=WORK.replace(output_tokens=64))
    with pytest.raises(pl.InputError, match="one model and one workload"):
        serving_fronts([fronts["one H100"], other])


def test_the_studies_offer_it_by_its_name(fronts):
    assert studies.serving_fronts is serving_fronts
