"""The map in plotly: the same picture as in print, and squares that speak."""

import pytest

from planner.studies.advantage import looks
from planner.studies.advantage.plotting import map_figure
from tests.maps_by_hand import small_map

pytest.importorskip("plotly")


@pytest.fixture(scope="module")
def figure():
    return map_figure(small_map())


def test_it_says_of_each_square_what_each_machine_costs(figure):
    (tips,) = (trace.text for trace in figure.data if trace.type == "heatmap")
    said = [tip for row in tips for tip in row]
    assert len(said) == 20
    assert "10 B at 300 tokens/s" in tips[3][0]
    assert "Eight GPUs: too slow" in tips[3][0]
    assert any("users in flight" in tip for tip in said)
    assert figure.layout.xaxis.title.text == "parameters [10⁹]"


def test_it_is_the_picture_that_is_printed(figure):
    drawn = small_map()
    fields = [trace for trace in figure.data if trace.type == "scatter" and trace.fill]
    kinds = list(looks.blocks_of(drawn))
    assert [trace.fillcolor for trace in fields] == [looks.fill_of(kind)[0] for kind in kinds]
    hatched = [trace.fillpattern.shape for trace in fields]
    assert hatched == [looks.fill_of(kind)[1][:1] or None for kind in kinds]
    names = [trace.name for trace in figure.data if trace.type == "scatter"]
    for name in (looks.BORDER, looks.DOUBT, looks.SWITCH, looks.EDGE, "Eight GPUs, measured"):
        assert name in names
    lines = {trace.name: trace for trace in figure.data if trace.name == looks.BORDER}
    corners = sum(len(line) for line in looks.borders_of(drawn))
    assert sum(x is not None for x in lines[looks.BORDER].x) == corners


def test_captions_stand_under_the_plot_and_models_above_it(figure):
    notes = {one.text: one for one in figure.layout.annotations}
    (caption,) = (one for text, one in notes.items() if "published.csv" in text)
    assert caption.yshift < -50
    assert caption.yanchor == "top"
    assert figure.layout.margin.b > 62 + 16 * (1 + caption.text.count("<br>"))
    assert notes["one-30b"].ay < 0
    assert notes["one-30b"].ay != notes["two-32b"].ay
    assert "2024-05" in notes
