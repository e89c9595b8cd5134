"""The look that pictures of studies share."""

import pytest

from planner.studies.plots import axis_title, captioned, dress


def test_an_axis_names_the_field_and_its_unit():
    assert axis_title("tpot_s").endswith(" [s]")
    assert axis_title("image_s").endswith(" [s]")


def test_a_bare_number_has_no_unit():
    assert "[" not in axis_title("chips")


def test_lines_stand_smaller_under_the_title():
    assert captioned("what", "how", "whence") == "what<br><sup>how<br>whence</sup>"


def test_a_figure_keeps_its_own_layout():
    drawn = pytest.importorskip("plotly.graph_objects").Figure()
    dress(drawn, letters=11, title="mine", height=200)
    assert (drawn.layout.font.size, drawn.layout.height) == (11, 200)
    assert drawn.layout.title.text == "mine"
    assert drawn.layout.template.layout.plot_bgcolor == "white"
