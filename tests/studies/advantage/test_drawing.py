"""The pictures of a map: every winner, unit, source and measured system is there."""

import re

import pytest

from planner.studies.advantage.drawing import Frame, map_svg
from planner.studies.advantage.maps import map_grids

NAMES = ("hgx-h100", "cerebras-cs3")


@pytest.fixture(scope="module")
def drawn():
    grids = map_grids(NAMES, sizes=(8e9, 3e10, 7e10, 2e11), models=["llama-3.1-70b"])
    return grids.map("usd_per_million_tokens", speeds=(10, 30, 100, 300, 1000, 3000))


def test_the_picture_names_winners_units_sources_and_what_was_left_out(drawn):
    picture = map_svg(drawn)
    for words in (
        "NVIDIA HGX H100", "Cerebras CS-3", "no machine is as fast", "tokens/s", "parameters [10⁹]", "published.csv",
        "Uniform plans only", "no drafts", "80 %", "llama-3.1-70b", "least dollars",
    ):  # fmt: skip
        assert words in picture, words
    assert len(picture) < 60_000


def test_measured_systems_and_borders_of_real_models_stand_where_they_are(drawn):
    picture, frame = map_svg(drawn), Frame(drawn)
    for one in drawn.measured:
        if frame.holds(one.parameters, one.tokens_per_s_per_user):
            x, y = frame.at(one.parameters, one.tokens_per_s_per_user)
            assert f"translate({x:.1f} {y:.1f})" in picture
            assert one.row_id in picture
    assert any(switch.after for switch in drawn.switches)


def test_machines_differ_in_hatching_too(drawn):
    assert len(re.findall("<pattern", map_svg(drawn))) == 1  # of two machines one is plain
    assert "url(#hatch1)" in map_svg(drawn)
