"""Tables of borders: stretches of a map made by hand, and contests of real machines."""

import pytest

from planner.errors import InputError
from planner.studies.advantage.maps import advantage_map
from planner.studies.advantage.tables import BorderTable, Contest, border_table, stretches
from planner.studies.advantage.terms import Terms
from tests.maps_by_hand import small_map

pytestmark = pytest.mark.slow  # one map, made for all
SIZES = (2e10, 8e10, 3e11)


def test_a_stretch_runs_from_the_border_below_to_the_border_above():
    (found,) = stretches(small_map(), "lpu", 100.0)
    assert found.start.parameters == pytest.approx((1e10 * 3e10) ** 0.5)
    assert found.end.parameters == pytest.approx((1e11 * 3e11) ** 0.5)
    assert found.start.below == "gpu"
    assert found.end.above is None


def test_a_stretch_may_begin_with_the_map_or_end_with_it():
    (from_the_first,) = stretches(small_map(), "lpu", 300.0)
    assert from_the_first.start is None
    assert from_the_first.end.parameters == pytest.approx((3e10 * 1e11) ** 0.5)
    assert from_the_first.words().startswith("up to about 50 B")
    (throughout,) = stretches(small_map(), "gpu", 10.0)
    assert throughout.words() == "all sizes"
    assert list(stretches(small_map(), "lpu", 10.0)) == []


@pytest.fixture(scope="module")
def table() -> BorderTable:
    contests = [
        Contest(what="H100"),
        Contest(what="one user", terms=Terms(most_users=1)),
        Contest(what="B200", baseline="hgx-b200"),
        Contest(what="dollars", metric="usd_per_million_tokens"),
    ]
    return border_table(contests, speeds=(100.0,), sizes=SIZES, close=10.0)


def test_a_row_is_what_the_map_of_its_machines_says(table):
    drawn = advantage_map(
        ("hgx-h100", "groq-lpu-chain"), sizes=SIZES, speeds=(100.0,), models=(), proved="none", borders_at="all"
    )  # fmt: skip
    (alone,) = stretches(drawn, "groq-lpu-chain", 100.0)
    (row,) = table.rows[0].at(100.0)
    low, high = row.start.within
    assert low <= alone.start.parameters <= high
    assert "at the wall" in table.rows[0].counts
    assert "price" in table.row("dollars").counts


def test_rows_are_held_against_the_first(table):
    base, other = table.rows[0], table.row("B200")
    if other.first_size(100.0):
        by_hand = other.first_size(100.0) / base.first_size(100.0)
        assert table.factor(other, 100.0) == pytest.approx(by_hand)
        assert by_hand >= 1  # a faster baseline never helps LPUs
    assert table.factor(base, 100.0) == 1
    lines = table.moves(100.0).splitlines()
    assert len(lines) == 2 + len(table.rows)
    assert lines[2].endswith("|  |")


def test_a_table_is_a_page_and_json(table):
    assert table.markdown().splitlines()[0] == "| what | at 100 tokens/s a user |"
    assert BorderTable.from_json(table.to_json()) == table


def test_contests_are_wanted():
    with pytest.raises(InputError, match="contests must name one"):
        border_table([])
