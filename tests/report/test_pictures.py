"""Small pictures of a plan say what its figures say."""

from xml.etree import ElementTree

import pytest

import planner as pl
from planner.report import pictures
from tests.instances import tiny_graph, tiny_topology


def rows_of(picture):
    """Texts at the left of the bars."""
    return [
        text.text for text in ElementTree.fromstring(picture) if text.get("text-anchor") == "end"
    ]


def test_the_breakdown_shows_all_stages_then_each(score):
    assert rows_of(pictures.breakdown_svg(score)) == ["all stages", "stage 0", "stage 1", "stage 2"]


def test_the_memory_shows_equal_stages_once(score):
    stages = score.replace(stages=(score.stages[0],) * 5)
    assert rows_of(pictures.memory_svg(stages)) == ["stages 0-4"]


def test_what_a_chip_holds_and_what_is_free_is_what_may_be_filled(score):
    for stage in score.stages:
        assert sum(value for _, value in pictures.memory_parts(stage)) == pytest.approx(
            stage.usable_bytes
        )


def test_the_map_shows_each_chip_with_its_stage():
    graph, topology = tiny_graph(layers=2), tiny_topology(4)
    plan = pl.uniform_plan(graph, topology, pipeline_parallel=2)
    picture = ElementTree.fromstring(pictures.stage_map_svg(plan, topology))
    tips = [box[0].text for box in picture if len(box)]
    assert tips == [
        "chip 0: stage 0: embedding to decoder.0",
        "chip 1: stage 1: decoder.1 to head",
        "chip 2: unused",
        "chip 3: unused",
    ]


def test_the_map_of_a_large_machine_stops_and_says_so():
    graph, topology = tiny_graph(), pl.load_topology("groq-lpu-chain", chips=4000)
    plan = pl.uniform_plan(graph, topology)
    picture = ElementTree.fromstring(pictures.stage_map_svg(plan, topology))
    assert picture[0].text.endswith("first 2,048 of 4,000 chips")
    assert sum(len(box) for box in picture) == 2048
