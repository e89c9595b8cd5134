"""Figures: their bars and points are the score's, and nothing is lost on the way."""

import sys

import pytest

import planner as pl
from planner.report.plots import figure_of, operator_times
from planner.report.text import CAUSES
from tests.instances import tiny_chip, tiny_graph, tiny_topology

pytest.importorskip("plotly")

STAGES = 2


@pytest.fixture(scope="module")
def result():
    """Two stages of two chips each; four chips stay unused."""
    graph, topology = tiny_graph(layers=5), tiny_topology(8, chip=tiny_chip(400e6))
    workload = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)
    plan = pl.uniform_plan(graph, topology, tensor_parallel=2, pipeline_parallel=STAGES)
    score = pl.score_plan(plan, graph, topology, workload)
    return pl.partition(graph, topology, workload).replace(plan=plan, score=score)


def bars(figure):
    """Values by name of the bar, one for each row."""
    return {trace.name: list(trace.x) for trace in figure.data if trace.type == "bar"}


@pytest.mark.slow
def test_the_bars_of_the_breakdown_sum_to_the_time_of_a_token(result):
    by_cause = bars(result.plot("breakdown"))
    assert sum(sum(values) for values in by_cause.values()) == pytest.approx(
        1e3 * result.score.tpot_s
    )
    for number, stage in enumerate(result.score.breakdown):
        assert sum(values[number] for values in by_cause.values()) == pytest.approx(
            1e3 * stage.total_s
        )


@pytest.mark.slow
def test_each_bar_of_the_breakdown_is_its_cause(result):
    for cause in CAUSES:
        seconds = [getattr(stage, f"{cause}_s") for stage in result.score.breakdown]
        shown = bars(result.plot("breakdown")).get(cause, [0.0] * STAGES)
        assert shown == pytest.approx([1e3 * value for value in seconds])


def test_operators_take_what_the_decode_passes_take_without_collectives(result):
    times = operator_times(result)
    busy = sum(stage.decode_s for stage in result.score.stages)
    assert 0.3 * busy < sum(taken for _, taken, _ in times) < busy
    assert all(0 <= light <= taken for _, taken, light in times)
    assert [taken for _, taken, _ in times] == sorted(
        (taken for _, taken, _ in times), reverse=True
    )


def test_the_bars_of_operators_are_light_and_what_is_lost(result):
    figure, times = result.plot("operators"), operator_times(result)
    light, lost = (list(trace.x) for trace in figure.data)
    assert [a + b for a, b in zip(light, lost, strict=True)] == pytest.approx(
        [1e3 * taken for _, taken, _ in times]
    )
    assert list(figure.data[1].text) == [f"{least / taken:.0%}" for _, taken, least in times]


def test_the_bars_of_the_memory_sum_to_what_may_be_filled(result):
    by_part = bars(result.plot("memory"))
    assert set(by_part) == {
        "weights",
        "KV cache",
        "activations",
        "collectives' buffers",
        "free",
    }
    for number, stage in enumerate(result.score.stages):
        held = [values[number] for values in by_part.values()]
        assert sum(held) == pytest.approx(stage.usable_bytes / 1e9)
        assert by_part["weights"][number] == pytest.approx(stage.weight_bytes / 1e9)


def test_equal_stages_share_a_bar_of_the_memory(result):
    stages = (result.score.stages[0],) * 3
    figure = figure_of(result.replace(score=result.score.replace(stages=stages)), "memory")
    assert list(figure.data[0].y) == ["stages 0-2"]


def test_every_chip_of_the_plan_stands_once_among_the_stages(result):
    figure = result.plot("stages")
    assert len(figure.data) == STAGES
    chips = sorted(
        int(words.removeprefix("chip ")) for trace in figure.data for words in trace.text
    )
    assert chips == sorted(
        chip
        for stage in result.plan.stages
        for group in stage.groups
        for chip in range(group.first, group.last + 1)
    )
    places = {(x, y) for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}
    assert len(places) == result.plan.chips


def test_the_roof_is_the_chips_and_the_passes_lie_beneath_it(result):
    roof, passes = result.plot("roofline").data
    chip = result.topology.chip
    assert max(roof.y) == chip.peak_flop_per_s("bf16")
    assert roof.y[0] / roof.x[0] == pytest.approx(chip.memory[0].bandwidth_bytes_per_s)
    assert len(passes.x) == STAGES
    for stage, intensity, rate in zip(result.score.stages, passes.x, passes.y, strict=True):
        assert intensity == pytest.approx(stage.decode_flop / stage.decode_moved_bytes)
        assert rate == pytest.approx(stage.decode_flop / stage.decode_s)
        assert rate < min(max(roof.y), intensity * chip.memory[0].bandwidth_bytes_per_s)


def test_a_pass_says_what_share_of_the_roof_it_reaches(result):
    _, passes = result.plot("roofline").data
    chip = result.topology.chip
    least = chip.memory[0].bandwidth_bytes_per_s
    share = passes.y[0] / min(chip.peak_flop_per_s("bf16"), passes.x[0] * least)
    assert passes.text[0] == f"stage 0: {100 * share:.0f} %"


def test_axes_have_plain_figures(result):
    layout = result.plot("roofline").layout
    assert set(layout.yaxis.ticktext) >= {"10", "100"}
    assert layout.yaxis.tickvals[layout.yaxis.ticktext.index("10")] == pytest.approx(1e13)
    stages = result.plot("stages").layout
    assert stages.xaxis.dtick == 1


@pytest.mark.parametrize("kind", ["breakdown", "operators", "memory", "stages", "roofline"])
def test_every_figure_has_a_title_and_named_axes(result, kind):
    layout = result.plot(kind).layout
    assert layout.title.text
    assert layout.xaxis.title.text


def test_the_breakdown_is_the_picture_that_nobody_has_to_ask_for(result):
    assert result.plot() == result.plot("breakdown")


def test_an_unknown_picture_gets_the_nearest(result):
    with pytest.raises(
        pl.UnknownNameError,
        match="there is no picture called 'rooflines'; the nearest names are roofline, ",
    ):
        result.plot("rooflines")


def test_without_plotly_the_sentence_says_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(pl.InputError, match=r"pip install 'spread-planner\[viz\]'"):
        result.plot()


def test_the_breakdown_of_a_diffusion_model_is_of_a_step():
    machine = pl.load_topology("hgx-h100", chips=1)
    result = pl.partition(pl.load_model("dit-xl-2"), machine, pl.Workload(), minimize="step_s")
    assert figure_of(result).layout.title.text.startswith("One step of dit-xl-2")
