"""Static pictures: the same to the byte, texts as texts, and labels that cover nothing."""

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.report.static import Box, Picture, beside, look, new_figure, size_in, wrapped

FRAME = Box(0, 0, 200, 200)
places = st.tuples(st.floats(20, 180), st.floats(20, 180))


def picture():
    with look():
        figure = new_figure(4, 3)
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        axes.plot([1, 2], [3, 4.123456789], gid="the-line")
        axes.set_xlabel("size < 5 [B]")
        return Picture(figure, "A line & a title", {"the-line": "it rises"})


@pytest.mark.slow
def test_a_picture_is_the_same_to_the_byte_and_keeps_its_texts():
    first, second = picture().svg(), picture().svg()
    assert first == second
    assert first.startswith("<svg")
    assert first.rstrip().endswith("</svg>")
    assert "size &lt; 5 [B]" in first
    assert "<title>A line &amp; a title</title>" in first
    assert "<title>it rises</title>" in first
    assert "<metadata>" not in first
    assert "dc:date" not in first
    assert picture().png() == picture().png()
    assert picture()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
def test_settings_of_the_user_change_nothing_and_are_left_alone():
    import matplotlib

    before = picture().svg()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert picture().svg() == before
        assert matplotlib.rcParams["font.size"] == 30


def test_without_matplotlib_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(
        pl.InputError, match=r"need matplotlib: pip install 'spread-planner\[viz\]'"
    ):
        picture()


def test_a_text_is_broken_where_its_width_ends():
    with look():
        figure = new_figure(4, 3)
        words = "one two three four five six seven eight nine ten"
        lines = wrapped(figure, words, 1.2, fontsize=10)
        assert lines.split() == words.split()
        assert "\n" in lines
        assert size_in(figure, lines, fontsize=10)[0] <= 1.2
        # Two lines could not be one: the first word of each had no room on the line before.
        rows = lines.split("\n")
        for row, following in itertools.pairwise(rows):
            assert size_in(figure, f"{row} {following.split()[0]}", fontsize=10)[0] > 1.2


def test_boxes_meet_where_they_share_ground():
    box = Box(0, 0, 10, 10)
    assert box.meets(Box(9, 9, 20, 20))
    assert not box.meets(Box(10, 0, 20, 10))
    assert box.meets(Box(12, 0, 20, 10), margin=3)
    assert Box(1, 1, 9, 9).is_in(box)
    assert not Box(1, 1, 11, 9).is_in(box)


@pytest.mark.slow
@given(places, st.lists(places, max_size=5))
def test_a_label_covers_nothing_and_stays_inside(point, others):
    taken = [Box.around(*point, 5, 5), *(Box.around(*other, 5, 5) for other in others)]
    place = beside(point, (40, 12), taken, FRAME)
    assert place.is_in(FRAME)
    assert place.right - place.left == pytest.approx(40)
    assert not any(place.meets(other) for other in taken)
