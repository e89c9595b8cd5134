"""Pictures of a front."""

import functools
import re

import pytest

import planner as pl
from planner.answers.fronts import Front
from planner.report.fronts import error_lines, front_svg, staircase
from planner.report.plans import plan_line
from tests.instances import (
    FOLLOWING,
    tiny_graph,
    tiny_topology,
)


@functools.cache
def front_of_a_node(requests_per_s: float | None = None, **options) -> Front:
    work = pl.Workload(
        batch_size=None, prompt_tokens=64, output_tokens=16, requests_per_s=requests_per_s
    )
    return pl.pareto(tiny_graph(4), tiny_topology(4).replace(power=FOLLOWING), work, **options)


@pytest.mark.slow
def test_a_front_shows_itself_and_comes_back_from_json():
    front = front_of_a_node()
    assert "within 5 %" in str(front)
    assert "tokens_per_s" in str(front)
    assert "<svg" in front._repr_mimebundle_()["text/html"]
    assert Front.from_json(front.to_json()) == front
    assert [row["tpot_s"] for row in front.rows()] == sorted(row["tpot_s"] for row in front.rows())
    pandas = pytest.importorskip("pandas")
    assert isinstance(front.to_frame(), pandas.DataFrame)


def test_the_table_of_a_front_says_each_plan_and_from_which_plans_they_were_chosen():
    front = front_of_a_node()
    lines = str(front).splitlines()
    assert sum(line.startswith("chosen from: ") for line in lines) == 1
    header = next(line for line in lines if line.split()[:1] == ["tpot_s"])
    assert header.split()[-4:] == ["plan", "chips", "micro-batches", "sequences"]
    rows = lines[lines.index(header) + 1 :]
    for row, member in zip(rows, front.members, strict=True):
        ends = [str(n) for n in (member.score.chips, member.plan.micro_batches)]
        assert row.split()[-3:] == [*ends, str(member.score.batch_size)]
        assert f"  {plan_line(member.plan)}  " in row


def test_the_picture_has_a_dot_for_each_plan_units_on_its_axes_and_the_band_of_the_tolerance():
    front = front_of_a_node()
    drawn = front_svg(front)
    assert drawn.count("<circle") == len(front.members)
    assert "time per output token [ms]" in drawn
    assert "output tokens per second, all users [1/s]" in drawn
    assert re.search("stroke-dasharray", drawn)
    pytest.importorskip("plotly")
    figure = front.plot("tpot_s", "usd_per_million_tokens")
    assert len(figure.data[-1].x) == len(front.members)
    with pytest.raises(pl.UnknownNameError, match="field of this front"):
        front.plot("ttft_s")


def test_the_line_of_the_tolerance_lies_beyond_the_line_of_the_plans():
    front = front_of_a_node()
    near, far = (staircase(front, "tpot_s", "tokens_per_s", factor) for factor in (1.0, 1.05))
    assert all(x1 < x0 and y1 > y0 for (x0, y0), (x1, y1) in zip(near, far, strict=True))


def test_the_error_band_holds_the_plans_and_is_as_wide_as_their_intervals():
    front = front_of_a_node()
    well, ill = error_lines(front, "tpot_s", "tokens_per_s")
    near = staircase(front, "tpot_s", "tokens_per_s")
    assert well[0][0] < near[0][0] < ill[0][0]
    assert max(y for _, y in well) > max(y for _, y in near) > max(y for _, y in ill)
    best = min(front.members, key=lambda one: one.score.tpot_s)
    assert (well[0][0], ill[0][0]) == best.score.interval("tpot_s", 0.8)
    assert "measured with 80 %" in front_svg(front)
