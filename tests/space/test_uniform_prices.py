"""Plans that are priced together cost what each costs alone."""

import numpy as np
import pytest

import planner as pl
from planner.space import uniform_prices, uniform_stages
from planner.space.uniform import plan_grid
from planner.space.uniform_prices import Priced
from tests.instances import FOLLOWING, fabric, tiny_graph, tiny_moe, tiny_topology

WORK = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)


@pytest.mark.parametrize("graph", [tiny_graph(5), tiny_moe(3)], ids=["dense", "experts"])
def test_neither_rows_left_out_nor_plans_at_once_change_a_price(graph, monkeypatch):
    topology = tiny_topology(
        8, fabric("switch", 4), fabric("chain", 2, bandwidth_bytes_per_s=1e8), power=FOLLOWING
    )
    asked = {"micro_sequences": [1, 3, 8], "space": "any"}
    found = plan_grid(graph, topology, WORK, **asked)
    every = lambda rows: np.ones(rows.shape[:2], dtype=bool)  # noqa: E731
    monkeypatch.setattr(uniform_stages, "unexceeded", every)
    monkeypatch.setattr(uniform_prices, "PLANS_AT_ONCE", 1)
    again = plan_grid(graph, topology, WORK, **asked)
    for field in Priced._fields:
        assert np.allclose(found.value(field), again.value(field), rtol=1e-12, atol=0.0), field


def test_what_has_no_price_takes_for_ever_and_serves_nobody():
    nothing = Priced.without_plans((1, 2, 3))
    assert np.isinf(nothing.tpot_s).all()
    assert not nothing.tokens_per_s.any()
    assert nothing.idle_w.shape == (1, 2, 3)
