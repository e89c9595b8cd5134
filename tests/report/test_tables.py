"""Tables of sentences for a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.report.tables import BETWEEN, WIDTH, cut_to_width, fitted, framed

WORDS = "no machine of the catalogue is as fast as this sentence is long " * 3


def test_what_is_longer_than_its_column_goes_on_below():
    assert framed(("a", "b"), [("one two", "x")], (4, 3)).splitlines() == [
        "a     b",
        "----  ---",
        "one   x",
        "two",
    ]


def test_short_cells_take_what_they_need():
    assert fitted([("claim", "why"), ("12", "a law")]) == [5, 5]


def test_the_widest_columns_are_cut_first():
    short, long, longer = fitted([("claim", WORDS, WORDS * 2)])
    assert short == len("claim")
    assert abs(long - longer) <= 1
    assert short + long + longer + 2 * BETWEEN == WIDTH


def test_columns_without_room_are_left_out_from_the_right_and_named():
    wide = "x" * (WIDTH // 2)
    cut = cut_to_width(("a", "b", "c"), [(wide, "1", wide)])
    assert cut.left_out == ("c",)
    assert [len(line) for line in cut.text.splitlines()][1] == WIDTH // 2 + BETWEEN + 1
    exact = "y" * (WIDTH - WIDTH // 2 - BETWEEN)
    assert cut_to_width(("a", "b"), [(wide, exact)]).left_out == ()
    assert cut_to_width(("a", "b"), [(wide, f"{exact}y")]).left_out == ("b",)


@pytest.mark.slow
@given(st.lists(st.text("abc ", max_size=200), min_size=1, max_size=6))
def test_no_line_is_wider_than_a_terminal_and_no_word_is_lost(cells):
    made = framed(cells, [cells])
    assert max(map(len, made.splitlines())) <= WIDTH
    letters = [letter for letter in "".join(cells) if letter != " "]
    written = [letter for letter in made if letter in "abc"]
    assert len(written) == 2 * len(letters)
