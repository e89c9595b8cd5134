"""The picture of a map: everything named, nothing cut, nothing over another."""

import numpy as np
import pytest
from matplotlib.patches import Patch

from planner.studies.advantage import looks
from planner.studies.advantage.drawing import map_picture, map_svg
from planner.studies.advantage.records import AdvantageMap
from tests.legible import faults_of, texts_of
from tests.maps_by_hand import small_map, switch


@pytest.fixture(scope="module")
def drawn():
    return small_map()


def words_of(picture) -> list[str]:
    return [one.get_text() for one in texts_of(picture.figure)]


@pytest.mark.slow
def test_the_picture_names_winners_units_and_terms(drawn):
    picture = map_svg(drawn)
    for words in (
        "Eight GPUs", "A chain of LPUs", "no machine is as fast", "[tokens/s]", "parameters [10⁹]", "published.csv",
        "80 %", "one-30b", "two-32b", "least energy", "2024-05", "hold no larger model", "ROW-two-30b", *looks.SHADES,
    ):  # fmt: skip
        assert words in picture, words
    assert picture == map_svg(drawn)
    assert len(picture) < 60_000


MANY = tuple(switch(f"a-model-{n}-of-many", 1.2e10 * 1.25**n, 60) for n in range(19))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"switches": MANY},
        {"switches": (), "measured": ()},
        {
            "most_users": 1,
            "family": "moe",
            "titles": (
                "A machine of many words, and of chips and wires, as they come",
                "Chips in a long, long chain",
            ),
        },
    ],
    ids=["plain", "many models", "bare", "long names"],
)
def test_no_text_is_cut_or_over_another(drawn, fields):
    picture = map_picture(drawn.replace(**fields))
    assert faults_of(picture.figure) == []


@pytest.mark.slow
def test_no_name_of_a_real_model_is_left_out(drawn):
    words = words_of(map_picture(drawn.replace(switches=MANY)))
    assert {switch.model for switch in MANY} <= set(words)


@pytest.mark.slow
def test_every_hatch_and_shade_is_in_the_key(drawn):
    frame, key = map_picture(drawn).figure.axes
    looked = [
        {(one.get_facecolor(), one.get_hatch()) for one in axes.patches if one.get_fill()}
        for axes in (frame, key)
    ]  # fmt: skip
    assert looked[0] <= looked[1]
    assert len(looked[0]) == len(set(looks.kinds_of(drawn).ravel().tolist()))


@pytest.mark.slow
def test_what_is_not_known_is_a_third_state_with_a_hatch_of_its_own(drawn, monkeypatch):
    winners = drawn.winners()
    winners[0, 0] = looks.UNKNOWN
    monkeypatch.setattr(AdvantageMap, "winners", lambda self: winners.copy())
    picture = map_picture(drawn)
    assert looks.ZONES[looks.UNKNOWN] in words_of(picture)
    hatches = {one.get_hatch() for one in picture.figure.axes[0].findobj(Patch)}
    assert looks.GROUNDS[looks.UNKNOWN][1] in hatches
    assert faults_of(picture.figure) == []


@pytest.mark.slow
def test_marks_stand_where_they_were_measured_and_say_so(drawn):
    picture = map_picture(drawn)
    lines = {line.get_gid(): line for line in picture.figure.axes[0].lines if line.get_gid()}
    assert set(lines) == set(picture.tips) == {"measured-0", "measured-1", "switch-0", "switch-1"}
    assert np.ravel(lines["measured-1"].get_data()).tolist() == [3e10, 280]
    assert "two-30b on lpu: 280 tokens/s" in picture.tips["measured-1"]
    assert picture.tips["switch-0"] == "one-30b: gpu below, lpu above 90 tokens/s"


@pytest.mark.slow
def test_drafts_are_marked_and_named(drawn, monkeypatch):
    monkeypatch.setattr(looks, "has_drafts", lambda one: one.topology == "lpu")
    picture = map_picture(drawn)
    assert "with drafts" in words_of(picture)
    faces = [
        line.get_markerfacecolor()
        for line in picture.figure.axes[0].lines
        if line.get_gid() == "measured-1"
    ]
    assert faces == ["white"]
