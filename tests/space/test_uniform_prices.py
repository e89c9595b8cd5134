"""What a shape's stages take is what its slowest ones do, and leaving out all others changes no
price."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.price_list import Split
from planner.space import uniform_prices
from planner.space.uniform import plan_grid
from planner.space.uniform_prices import Priced, Pricer, unexceeded
from planner.space.uniform_shapes import Ground, Shape
from tests.by_hand import chain, head, layer, matmul, round_machine
from tests.instances import FOLLOWING, fabric, tiny_graph, tiny_moe, tiny_topology

WORK = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)


@settings(max_examples=100)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=7
        )
    )
)
def test_whatever_is_left_out_is_exceeded_by_something_kept(rows):
    figures = np.array(rows, dtype=float)
    kept = unexceeded(figures)
    assert np.array_equal(figures[kept].max(axis=0), figures.max(axis=0))
    for row in figures[~kept]:
        assert (figures[kept] >= row).all(axis=1).any()
    # None of those kept can go.
    chosen = figures[kept]
    for number, row in enumerate(chosen):
        others = np.delete(chosen, number, axis=0)
        assert not (others >= row).all(axis=1).any()


def test_of_equal_rows_the_first_is_kept():
    assert unexceeded(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0]])).tolist() == [1, 0, 0]


def test_what_two_stages_take_by_hand():
    # Each stage a matmul of 100 B and 30 B a token, then a head likewise; a launch of 1 s for each;
    # 20 B a token over a link of 10 B/s and 1 s, and 1 s for the hop.
    graph = chain(
        layer("a", matmul()), layer("b", matmul()), layer("c", head(), kind="head"), name="two"
    )
    work = pl.Workload(batch_size=None, prompt_tokens=6, output_tokens=5)
    pricer = Pricer(graph, Ground(round_machine(2)), work, np.array([1, 2]))
    stages = pricer._stages(Shape(Split(), 2))
    first, link, last = np.array([14.0, 17.0]), np.array([4.0, 6.0]), np.array([28.0, 34.0])
    assert stages.passing_s == pytest.approx(first + link + last)
    # The last stage takes longest in all that may be asked of any: it alone is kept.
    assert stages.decode_s == pytest.approx(last[None])
    prompt = np.array([29.0, 2 + 12.0, 29 + 14.0])  # six tokens; of the head one row
    assert stages.prompt_s == pytest.approx(prompt[2:])
    assert stages.prompt_pass_s == pytest.approx(prompt.sum())
    assert stages.chips == 2.0
    # A prompt's matmuls take longer than a step's, the head as long, or for two sequences longer.
    assert stages.held_up_s == pytest.approx([29 + 14 + 29 + 14, 29 + 14 + 29 + 17])


@pytest.mark.parametrize("graph", [tiny_graph(5), tiny_moe(3)], ids=["dense", "experts"])
def test_neither_rows_left_out_nor_plans_at_once_change_a_price(graph, monkeypatch):
    topology = tiny_topology(
        8, fabric("switch", 4), fabric("chain", 2, bandwidth_bytes_per_s=1e8), power=FOLLOWING
    )
    asked = {"micro_sequences": [1, 3, 8], "space": "any"}
    found = plan_grid(graph, topology, WORK, **asked)
    monkeypatch.setattr(uniform_prices, "unexceeded", lambda rows: np.ones(len(rows), dtype=bool))
    monkeypatch.setattr(uniform_prices, "PLANS_AT_ONCE", 1)
    again = plan_grid(graph, topology, WORK, **asked)
    for field in Priced._fields:
        assert np.allclose(found.value(field), again.value(field), rtol=1e-12, atol=0.0), field


def test_what_has_no_price_takes_for_ever_and_serves_nobody():
    nothing = Priced.without_plans((1, 2, 3))
    assert np.isinf(nothing.tpot_s).all()
    assert not nothing.tokens_per_s.any()
    assert nothing.idle_w.shape == (1, 2, 3)
