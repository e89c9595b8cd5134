"""How few chips hold so many sequences."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import planner as pl
from planner.answers.question import question_of
from planner.solver.chain import exhaustive
from planner.space.candidates import Candidates
from planner.space.filling import Filling
from tests.instances import tiny_chip, tiny_graph, tiny_topology


def filling(room=10.0, most=100) -> Filling:
    """Three layers of 4 bytes and one more for each sequence: on a chip, or halves on two."""
    return Filling(
        np.array([1, 2]),
        np.array([1, 1]),
        np.array([[4.0] * 3, [2.0] * 3]),
        np.array([[1.0] * 3, [0.5] * 3]),
        np.full(2, room),
        most,
    )


def test_chips_follow_from_what_layers_and_caches_take():
    # With one sequence a layer is 5 bytes: two fill a chip, three are 7.5 bytes on each of two.
    assert filling().fewest_chips(1) == 2
    # With two it is 6 bytes: one to a chip, or three as 9 bytes on each of two.
    assert filling().fewest_chips(2) == 2
    # With three, 7 bytes: three are 10.5 bytes on each of two, so that a chip takes the third.
    assert filling().fewest_chips(3) == 3
    # With six, 10 bytes: one to a chip.
    assert filling().fewest_chips(6) == 3
    # With sixteen, 20 bytes: one to two chips; with one more there is no way.
    assert filling().fewest_chips(16) == 6
    assert filling().fewest_chips(17) == float("inf")


def test_ranks_take_no_more_sequences_than_their_software_allows():
    assert filling(most=2).fewest_chips(3) == float("inf")


def test_chips_for_each_sequence_are_the_least_of_a_range():
    assert filling().least_chips_each(1, 6) == pytest.approx(3 / 6)
    assert filling().least_chips_each(7, 20) == pytest.approx(6 / 16)
    assert filling().least_chips_each(17, 20) == float("inf")


@pytest.mark.slow
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.integers(1, 30),
    st.integers(1, 12),
)
def test_no_cut_takes_fewer_chips(weights, caches, room, sequences):
    layers = len(weights)
    held = np.array(weights) + sequences * np.array(caches[:layers])
    widths = (1, 3)
    fill = Filling(
        np.array(widths),
        np.array([1, 1]),
        np.array([[one / width for one in weights] for width in widths]),
        np.array([[one / width for one in caches[:layers]] for width in widths]),
        np.full(2, float(room)),
        100,
    )
    found = []
    for cuts in itertools.product((False, True), repeat=layers - 1):
        ends = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), layers]
        chips = 0.0
        for tail, head in itertools.pairwise(ends):
            needed = held[tail:head].sum()
            chips += min(
                (width for width in widths if needed / width <= room * (1 + 1e-9)),
                default=float("inf"),
            )
        found.append(chips)
    assert fill.fewest_chips(sequences) == min(found)
    each = [fill.fewest_chips(n) / n for n in range(1, sequences + 1)]
    assert fill.least_chips_each(1, sequences) == min(each)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["energy_per_token_j", "usd_per_million_tokens"])
@pytest.mark.parametrize("spare", [1.02, 1.3, 2.0])
def test_chips_that_caches_need_raise_no_bound_beyond_a_plan(field, spare):
    graph = tiny_graph(3)
    room = graph.weight_bytes / 3 * spare
    topology = tiny_topology(5).replace(chip=tiny_chip(room))
    work = pl.Workload(batch_size=None, prompt_tokens=100, output_tokens=20)
    every = Candidates(graph, topology, work, question_of(field, None, None, None))
    raised = 0
    for box in [box for box in every.boxes() if box.replicas == 1 and not box.single]:
        bound = exhaustive.solve(every.to_problem(box)).objective
        raised += every.to_problem(box).objective.least_held > 1
        inside = [box]
        singles = []
        while inside:
            one = inside.pop()
            if one.single:
                singles.append(exhaustive.solve(every.to_problem(one)).objective)
            elif len(singles) < 40:
                inside += one.halves()
        assert bound <= min(singles) * (1 + 1e-12)
    assert raised or not singles
