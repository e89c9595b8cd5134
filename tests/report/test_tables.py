"""Tables of sentences for a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from planner.report.tables import BETWEEN, WIDTH, fitted, framed

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


@given(st.lists(st.text("abc ", max_size=200), min_size=1, max_size=6))
def test_no_line_is_wider_than_a_terminal_and_no_word_is_lost(cells):
    made = framed(cells, [cells])
    assert max(map(len, made.splitlines())) <= WIDTH
    letters = [letter for letter in "".join(cells) if letter != " "]
    written = [letter for letter in made if letter in "abc"]
    assert len(written) == 2 * len(letters)
