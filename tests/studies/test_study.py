"""What every study offers: a table, a page, JSON."""

import pytest
from pydantic import create_model

import planner as pl
from planner.errors import InputError
from planner.records import Record
from planner.studies.study import SHOWN, Study, machine_of


class Row(Record):
    name: str
    value: float | None = None
    parts: tuple[float, ...] = ()


class Two(Study):
    rows: tuple[Row, ...]


def two(count: int = 2) -> Two:
    return Two(
        rows=tuple(Row(name=f"<{n}>", value=n / 3 or None, parts=(1.0, 2.5)) for n in range(count))
    )


def test_a_frame_has_a_row_for_each_and_a_column_for_each_field():
    frame = two().to_frame()
    assert list(frame.columns) == ["name", "value", "parts"]
    assert frame["value"].tolist()[1] == pytest.approx(1 / 3)


def test_a_page_shows_figures_short_and_names_escaped():
    page = two()._repr_html_()
    assert "0.3333" in page
    assert "&lt;1&gt;" in page
    assert "1, 2.5" in page
    assert "no rows" in two(0)._repr_html_()


def test_a_long_study_says_how_many_rows_it_leaves_out():
    assert "3 more rows" in two(SHOWN + 3)._repr_html_()


def test_json_gives_it_back():
    assert Two.from_json(two().to_json()) == two()


def test_a_study_without_a_picture_says_so():
    with pytest.raises(InputError, match="Two has no picture"):
        two().plot()


def test_a_machine_is_taken_by_its_name_or_as_it_is():
    machine = pl.load_topology("rtx-4090")
    assert machine_of("rtx-4090") == machine
    assert machine_of(machine) is machine


def test_a_terminal_shows_what_was_asked_and_a_table():
    lines = str(two()).splitlines()
    assert lines[0] == "Two"
    assert lines[1].split() == ["name", "value", "parts"]
    assert lines[4].split() == ["<1>", "0.3333", "1,", "2.5"]
    assert str(two(0)) == "Two: no rows"
    assert "3 more rows in .to_frame()" in str(two(SHOWN + 3))


def test_columns_that_a_terminal_has_no_room_for_are_named():
    wide = {f"column_{number}_of_many": (float, 0.5) for number in range(12)}
    kind = create_model("Wide", __base__=Record, **wide)
    made = Study(rows=(kind(),))
    lines = str(made).splitlines()
    assert max(map(len, lines[:-1])) <= 120
    assert "more columns (" in lines[-1]
    assert "column_11_of_many" in lines[-1]
