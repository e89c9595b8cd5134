"""Each field of a question has its measure, and a box is measured where the field is best."""

import pytest

import planner as pl
from planner.answers.question import FIELDS, question_of
from planner.space.boxes import Box
from planner.space.candidates import Candidates
from planner.space.objectives import MEASURES, corner_of
from tests.instances import tiny_graph, tiny_topology


def candidates(**work) -> Candidates:
    question = question_of("tpot_s", None, None, None)
    return Candidates(tiny_graph(4), tiny_topology(8), pl.Workload(**work), question)


def corner(name: str, box: Box, **work):
    made = candidates(**work)
    ends = tuple(made.schedule(box, end) for end in (0, 1))
    return corner_of(name, made.basis, box, ends)


def test_every_field_that_can_be_asked_for_has_a_measure():
    assert set(MEASURES) == set(FIELDS)


@pytest.mark.parametrize(("name", "turns"), [("tpot_s", 0), ("tokens_per_s", 1)])
def test_an_open_batch_is_measured_where_the_field_is_best(name, turns):
    """What grows with the batch at the low end, what shrinks at the high one."""
    found = corner(name, Box(1, None, (1, 4), (1, 8)), batch_size=None, output_tokens=10)
    assert found.turns == turns
    assert found.tokens == (4 * 8 * 10 if turns else 1 * 1 * 10)


def test_a_pass_at_the_high_end_counts_only_where_a_replica_is_full():
    full = Box(1, None, (1, 4), (1, 8))
    capped = full._replace(all_sequences=(1, 20))
    work = {"batch_size": None, "output_tokens": 10}
    assert corner("tokens_per_s", full, **work).passes == 1
    assert corner("tokens_per_s", capped, **work).passes == 0


def test_of_a_fixed_batch_passes_are_shortest_where_micro_batches_are_many():
    found = corner("tokens_per_s", Box(2, 12, (1, 6), (1, 6)), batch_size=12, output_tokens=10)
    assert (found.passes, found.turns) == (0, 1)
    assert found.tokens == 12 * 10 / 2
