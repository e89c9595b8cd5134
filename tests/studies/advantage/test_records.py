"""What a map says of its squares, on one made by hand."""

import pytest

from planner.studies.advantage.records import AdvantageMap, Square

SIZES, SPEEDS = (1e9, 1e10, 1e11, 1e12), (10.0, 100.0)
ROWS = (
    (("a", 0.99), ("a", 0.6), ("b", 0.7), ("b", 0.95)),
    (("b", 0.9), ("b", 0.9), (None, None), (None, 0.95)),
)
"""Winner and how likely it is, by speed, then by size."""


@pytest.fixture(scope="module")
def drawn() -> AdvantageMap:
    squares = [
        Square(
            parameters=size, tokens_per_s_per_user=speed, winner=ROWS[row][column][0], advantage=None,
            likely_share=ROWS[row][column][1], values=(1.0, 2.0), chips=None, users=None, tpot_s=None,
        )
        for column, size in enumerate(SIZES)
        for row, speed in enumerate(SPEEDS)
    ]  # fmt: skip
    return AdvantageMap(
        topologies=("a", "b"), titles=("A", "B"), metric="chips", family="dense", weight_dtype="fp8", prompt_tokens=1,
        output_tokens=1, most_users=None, sizes=SIZES, speeds=SPEEDS, rows=tuple(squares), uncertainties=(), measured=(),
        switches=(),
    )  # fmt: skip


def test_a_border_lies_between_its_squares_and_its_interval_ends_where_winners_are_sure(drawn):
    (border,) = drawn.borders(10.0)
    assert (border.below, border.above) == ("a", "b")
    assert border.parameters == pytest.approx((1e10 * 1e11) ** 0.5)
    # Below, 0.9 lies at 10/13 of the way from a square of 0.6 to one of 0.99, above at 4/5.
    assert border.interval == pytest.approx((10 ** (10 - 10 / 13), 10 ** (11 + 4 / 5)))
    assert border.words() == "about 30 B (1.7 to 600)"


def test_where_no_machine_is_fast_enough_the_border_has_two_ends_too(drawn):
    (border,) = drawn.borders(100.0)
    assert (border.below, border.above) == ("b", None)
    assert border.interval == pytest.approx((1e10, 10 ** (11 + 0.9 / 0.95)))


def test_shares_count_squares_that_a_machine_reaches(drawn):
    assert drawn.share("a") == pytest.approx(2 / 6)
    assert drawn.share("b") == pytest.approx(4 / 6)


def test_squares_are_found_by_the_nearest_size_and_speed(drawn):
    assert drawn.cell(9e8, 12.0).winner == "a"
    assert drawn.cell(5e11, 90.0).winner is None
    assert drawn.winners().tolist() == [[0, 0, 1, 1], [1, 1, -1, -1]]


def test_json_gives_it_back(drawn):
    assert AdvantageMap.from_json(drawn.to_json()) == drawn
