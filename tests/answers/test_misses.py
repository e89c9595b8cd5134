"""Near misses as records."""

import planner as pl
from planner.answers.misses import NearMiss
from tests.two_layers import GRAPH, WORK, machine


def test_near_misses_come_back_from_json():
    found = pl.partition(GRAPH, machine(), WORK, minimize="chips", limits={"tpot_s": 30.0})
    (miss,) = found.near_misses()
    assert NearMiss.from_json(miss.to_json()) == miss
