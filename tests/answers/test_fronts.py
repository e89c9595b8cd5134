"""Fronts as records: a row for each member."""

import pytest

import planner as pl
from tests.instances import tiny_graph, tiny_topology


@pytest.fixture(scope="module")
def front():
    workload = pl.Workload(batch_size=4, prompt_tokens=64, output_tokens=16)
    return pl.pareto(
        tiny_graph(), tiny_topology(), workload, fields=("tpot_s", "chips"), tolerance=0.05
    )


def test_a_row_holds_the_fields_of_a_member_and_its_shape(front):
    for row, member in zip(front.rows(), front.members, strict=True):
        assert row["tpot_s"] == member.score.tpot_s
        assert row["chips"] == member.score.chips
        assert row["stages"] == len(member.plan.stages)


def test_a_front_comes_back_from_json_and_says_what_ended_its_search(front):
    assert pl.Front.from_json(front.to_json()) == front
    assert (front.status, front.stopped_by) == ("complete", "proof")
