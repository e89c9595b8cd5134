"""What a shape's stages take is what its slowest ones do, whichever shapes are priced beside it, and
whatever was priced before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planner as pl
from planner.pricing.price_list import Split
from planner.space.uniform_shapes import Ground, Shape, shapes_of
from planner.space.uniform_stages import Layouts, StagePricer, layouts_of, unexceeded
from planner.workload import Speculation
from tests.by_hand import chain, head, layer, matmul, round_machine
from tests.instances import fabric, tiny_graph, tiny_moe, tiny_topology

WORK = pl.Workload(batch_size=None, prompt_tokens=90, output_tokens=20)


@pytest.mark.slow
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
    kept = unexceeded(figures[:, None])[:, 0]
    assert np.array_equal(figures[kept].max(axis=0), figures.max(axis=0))
    for row in figures[~kept]:
        assert (figures[kept] >= row).all(axis=1).any()
    # None of those kept can go.
    chosen = figures[kept]
    for number, row in enumerate(chosen):
        others = np.delete(chosen, number, axis=0)
        assert not (others >= row).all(axis=1).any()


def test_of_equal_rows_the_first_is_kept():
    rows = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0]])
    assert unexceeded(rows[:, None]).ravel().tolist() == [1, 0, 0]


def test_rows_of_one_shape_leave_those_of_others_alone():
    first, second = np.array([[3.0], [1.0]]), np.array([[1.0], [2.0]])
    kept = unexceeded(np.stack([first, second], axis=1))
    assert kept.T.tolist() == [[True, False], [False, True]]


def test_what_two_stages_take_by_hand():
    # Each stage a matmul of 100 B and 30 B a token, then a head likewise; a launch of 1 s for each;
    # 20 B a token over a link of 10 B/s and 1 s, and 1 s for the hop.
    graph = chain(
        layer("a", matmul()), layer("b", matmul()), layer("c", head(), kind="head"), name="two"
    )
    work = pl.Workload(batch_size=None, prompt_tokens=6, output_tokens=5)
    pricer = StagePricer(Layouts(graph, Ground(round_machine(2))), work, np.array([1, 2]))
    stages = pricer.stages([Shape(Split(), 2)])
    first, link, last = np.array([14.0, 17.0]), np.array([4.0, 6.0]), np.array([28.0, 34.0])
    assert stages.passing_s == pytest.approx((first + link + last)[None])
    # The last stage takes longest in all that may be asked of any: it alone is kept.
    assert stages.decode_s == pytest.approx(last[None, None])
    prompt = np.array([29.0, 2 + 12.0, 29 + 14.0])  # six tokens; of the head one row
    assert stages.prompt_s == pytest.approx(prompt[2:][None])
    assert stages.prompt_pass_s == pytest.approx(prompt.sum()[None])
    assert stages.chips.tolist() == [2.0]
    # A prompt's matmuls take longer than a step's, the head as long, or for two sequences longer.
    assert stages.held_up_s == pytest.approx(np.array([[29 + 14 + 29 + 14, 29 + 14 + 29 + 17]]))


def ground() -> Ground:
    return Ground(tiny_topology(8, fabric("switch", 4), fabric("chain", 2)))


def test_stages_of_many_shapes_are_those_of_each():
    layouts = Layouts(tiny_moe(3), ground())
    pricer = StagePricer(layouts, WORK, np.array([1, 5]))
    shapes = list(shapes_of(layouts.graph, layouts.ground, "any"))
    assert len({len(layouts.of([shape]).owner) for shape in shapes}) > 1
    together = pricer.stages(shapes)
    for number, shape in enumerate(shapes):
        alone = pricer.stages([shape])
        for name in ("decode_s", "quicker_s", "prompt_s", "more_s", "held_bytes", "sequence_bytes"):
            found, wanted = getattr(together, name)[:, number], getattr(alone, name)[:, 0]
            assert np.allclose(found[: len(wanted)], wanted, rtol=1e-12, atol=0.0), name
            assert not found[len(wanted) :].any()
        for name in ("passing_s", "held_up_s", "prompt_pass_s", "chips", "sequence_chips"):
            assert getattr(together, name)[number] == pytest.approx(getattr(alone, name)[0])


def test_what_is_recalled_is_what_would_be_worked_out():
    # First without drafts, then of a draft model, then of another number of its tokens.
    graph, sizes = tiny_moe(3), np.array([1, 5])
    kept = layouts_of(graph, ground())
    shapes = list(shapes_of(graph, kept.ground, "any"))
    draft = tiny_graph(1)
    drafting = [Speculation(draft=draft, tokens=tokens, kind="draft-model") for tokens in (3, 2)]
    for one in (None, *drafting):
        work = WORK.replace(speculation=one)
        again = StagePricer(kept, work, sizes).stages(shapes)
        anew = StagePricer(Layouts(graph, ground()), work, sizes).stages(shapes)
        for name, found, wanted in zip(again._fields, again, anew, strict=True):
            assert np.array_equal(found, wanted), name


def test_the_last_graph_on_a_ground_is_kept_and_no_other():
    stands = ground()
    first = layouts_of(tiny_moe(3), stands)
    assert layouts_of(first.graph, stands) is first
    assert layouts_of(tiny_graph(2), stands) is not first
    assert layouts_of(first.graph, stands) is not first


def test_equal_drafts_share_what_was_worked_out():
    layouts = Layouts(tiny_moe(3), ground())
    assert layouts.recall_of(tiny_graph(1)) is layouts.recall_of(tiny_graph(1))
    assert layouts.recall_of(tiny_graph(1)) is not layouts.recall_of(layouts.graph)
