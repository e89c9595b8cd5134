"""The map in plotly."""

import pytest

from planner.studies.advantage.maps import map_grids
from planner.studies.advantage.plotting import map_figure

NAMES = ("hgx-h100", "cerebras-cs3")


@pytest.mark.slow
def test_plotly_says_of_each_square_what_each_machine_costs():
    pytest.importorskip("plotly")
    grids = map_grids(NAMES, sizes=(8e9, 7e10, 2e11), models=["llama-3.1-70b"])
    drawn = grids.map("usd_per_million_tokens", speeds=(10, 100, 1000, 3000))
    figure = map_figure(drawn)
    tips = [tip for row in figure.data[0].text for tip in row]
    assert len(tips) == len(drawn.rows)
    assert any("too slow" in tip for tip in tips)
    assert any("users in flight" in tip for tip in tips)
    assert figure.layout.xaxis.title.text == "parameters [10⁹]"
