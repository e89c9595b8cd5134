"""Small pictures: valid XML, true to scale, and safe from what names may hold."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from planner.report import svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b>&\"'</b>"
COLOURS = {"one": "#000001", "two": "#000002"}


def bar(title="row", one=3.0, two=1.0):
    return svg.Bar(title, [("one", one, COLOURS["one"]), ("two", two, COLOURS["two"])], "a note")


def rectangles(picture, colour=None):
    boxes = ElementTree.fromstring(picture).iter(f"{SVG}rect")
    return [
        box
        for box in boxes
        if box.find(f"{SVG}title") is not None and colour in (None, box.get("fill"))
    ]


def widths(picture, colour):
    return [float(box.get("width")) for box in rectangles(picture, colour)]


def texts(picture):
    return [element.text for element in ElementTree.fromstring(picture).iter() if element.text]


def tips(picture):
    return [box.find(f"{SVG}title").text for box in rectangles(picture)]


# ── Bars ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bars_are_true_to_scale():
    picture = svg.bars([bar(), bar(one=1.0, two=0.5)], title="t", unit="s", legend=COLOURS)
    long, short = widths(picture, COLOURS["one"])
    assert long / short == pytest.approx(3, rel=1e-3)
    assert widths(picture, COLOURS["two"])[0] == pytest.approx(long / 3, rel=1e-3)


def test_parts_of_a_bar_follow_each_other():
    picture = svg.bars([bar()], title="t", unit="s", legend={})
    one, two = rectangles(picture)
    assert float(two.get("x")) == pytest.approx(
        float(one.get("x")) + float(one.get("width")), abs=0.02
    )


def test_the_longest_bar_leaves_room_for_its_note():
    picture = svg.bars([bar()], title="t", unit="s", legend={}, width=500)
    last = rectangles(picture)[-1]
    assert float(last.get("x")) + float(last.get("width")) <= 500 - 100


def test_each_part_says_its_value_and_its_unit():
    assert tips(svg.bars([bar()], title="t", unit="s", legend={})) == ["one: 3 s", "two: 1 s"]


def test_bars_have_a_title_a_note_and_a_legend():
    assert {"t", "row", "a note", "one", "two"} <= set(
        texts(svg.bars([bar()], title="t", unit="s", legend=COLOURS))
    )


@pytest.mark.parametrize("rows", [[], [bar(one=0.0, two=0.0)]])
def test_bars_of_nothing_are_a_picture_still(rows):
    picture = svg.bars(rows, title="t", unit="s", legend=COLOURS)
    assert ElementTree.fromstring(picture).tag == f"{SVG}svg"
    assert set(widths(picture, COLOURS["one"])) <= {0.0}


# ── Chips ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_chip_has_a_box_that_says_who_holds_it():
    picture = svg.chip_map([0, 0, 1, None], 2, ["stage 0: a", "stage 1: b"], title="t")
    assert tips(picture) == [
        "chip 0: stage 0: a",
        "chip 1: stage 0: a",
        "chip 2: stage 1: b",
        "chip 3: unused",
    ]


def test_chips_of_one_stage_have_one_colour():
    picture = svg.chip_map([0, 0, 1, None], 2, ["a", "b"], title="t")
    first, second, third, unused = (box.get("fill") for box in rectangles(picture))
    assert first == second
    assert len({first, third, unused}) == 3


def test_every_unit_has_a_frame():
    picture = svg.chip_map([0] * 12, 4, ["a"], title="t")
    assert (
        sum(box.get("fill") == "none" for box in ElementTree.fromstring(picture).iter(f"{SVG}rect"))
        == 3
    )


@pytest.mark.parametrize("chips", [1, 8, 72, 576, 2048])
@pytest.mark.parametrize("row", [1, 8, 72])
def test_all_chips_lie_inside_the_picture(chips, row):
    picture = svg.chip_map([0] * chips, row, ["a"], title="t")
    root, boxes = ElementTree.fromstring(picture), rectangles(picture)
    assert len(boxes) == chips
    assert max(float(box.get("x")) + float(box.get("width")) for box in boxes) <= float(
        root.get("width")
    )
    assert max(float(box.get("y")) + float(box.get("height")) for box in boxes) <= float(
        root.get("height")
    )
    assert min(float(box.get("width")) for box in boxes) > 1


def test_neighbouring_stages_differ_in_colour():
    colours = [svg.stage_colour(stage) for stage in range(30)]
    assert all(one != other for one, other in pairwise(colours))


# ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "picture",
    [
        svg.bars([bar(HOSTILE)], title=HOSTILE, unit="s", legend={HOSTILE: "#000000"}),
        svg.chip_map([0], 1, [HOSTILE], title=HOSTILE),
        f"<div>{svg.table((HOSTILE,), [(HOSTILE,)])}</div>",
    ],
    ids=["bars", "chip_map", "table"],
)
def test_a_hostile_name_stays_text(picture):
    root = ElementTree.fromstring(picture)
    assert list(root.iter("b")) == list(root.iter(f"{SVG}b")) == []
    assert sum(HOSTILE in text for text in texts(picture)) >= 2


def test_a_picture_says_its_title_to_those_who_cannot_see_it():
    root = ElementTree.fromstring(svg.picture(10, 10, [], title="what it shows"))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "what it shows"


def test_figures_of_a_table_stand_to_the_right_and_words_to_the_left():
    root = ElementTree.fromstring(svg.table(("what", "how many"), [("a", "1"), ("b", "2")]))
    sides = [[cell.get("style").split(";")[0] for cell in row] for row in root.iter("tr")]
    assert sides == [["text-align:left", "text-align:right"]] * 3
    assert [[cell.text for cell in row] for row in root.iter("tr")] == [
        ["what", "how many"],
        ["a", "1"],
        ["b", "2"],
    ]


# ── Axes ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_decade_is_as_long_as_any_other():
    axis = svg.LogAxis(1.0, 100.0, 50.0, 250.0)
    assert [axis.at(value) for value in (1.0, 10.0, 100.0)] == pytest.approx([50.0, 150.0, 250.0])


def test_what_is_below_a_logarithmic_scale_stands_at_its_edge():
    axis = svg.LogAxis(1.0, 100.0, 50.0, 250.0)
    assert axis.at(0.01) == axis.at(0.0) == 50.0


def test_ticks_are_round_and_on_the_scale():
    assert list(svg.LogAxis(0.9, 21.0, 0.0, 1.0).ticks()) == pytest.approx([1, 2, 5, 10, 20])
    assert list(svg.LogAxis(0.02, 0.05, 0.0, 1.0).ticks()) == pytest.approx([0.02, 0.05])


def test_a_frame_has_room_around_its_values_and_pixels_that_count_down():
    frame = svg.framed([1.0, 10.0], [1.0, 10.0], (80.0, 50.0, 700.0, 360.0))
    (left, bottom), (right, top) = frame.at((1.0, 1.0)), frame.at((10.0, 10.0))
    assert 80 < left < right < 700
    assert 360 > bottom > top > 50
    assert (left - 80) == pytest.approx(700 - right)


def test_a_frame_around_one_value_has_two_ends():
    frame = svg.framed([3.0, 3.0], [3.0], (0.0, 0.0, 100.0, 100.0))
    assert frame.across.first < 3.0 < frame.across.last


def test_axes_have_a_line_and_a_figure_for_each_tick_and_two_titles():
    frame = svg.framed([1.0, 10.0], [100.0, 200.0], (80.0, 50.0, 700.0, 360.0))
    drawn = svg.picture(720, 420, svg.axes(frame, "time [ms]", "rate [1/s]"), title="a frame")
    ticks = [*frame.across.ticks(), *frame.up.ticks()]
    lines = ElementTree.fromstring(drawn).iter(f"{SVG}line")
    assert len(list(lines)) == len(ticks) == 6
    said = texts(drawn)
    assert {"1", "2", "5", "10", "100", "200", "time [ms]", "rate [1/s]"} <= set(said)


def test_a_logarithmic_axis_has_plain_figures_in_its_unit():
    axis = svg.log_axis("rate [TFLOP/s]", [1e12, 4e14], 1e12)
    assert axis["ticktext"] == (["1", "2", "5", "10", "20", "50", "100", "200"])
    assert axis["range"][0] < 12 and axis["range"][1] > 14.6  # noqa: PT018


def test_a_logarithmic_axis_of_less_than_a_decade_has_figures_too():
    axis = svg.log_axis("time [ms]", [10.0, 11.5])
    assert axis["ticktext"] == ["10", "11", "12", "13"]
    assert svg.log_axis("x", [0.0, 5.0])["tickvals"]
