"""The benchmark of the engine's space: its cases, its goals, and what it calls worse."""

import pytest

from benchmarks.engine_space import (
    BANDS,
    CASES,
    LARGE,
    MIDDLE,
    SMALL,
    Answered,
    Case,
    answered,
    worse_than,
)


@pytest.mark.parametrize(
    ("chips", "band"), [(8, SMALL), (16, SMALL), (32, MIDDLE), (72, MIDDLE), (1024, LARGE)]
)
def test_the_goal_of_a_case_follows_from_its_chips(chips, band):
    assert Case("llama-3.1-70b", "hgx-h100", chips, 2.0, 0.03).band is band


def test_every_band_has_several_models_and_no_case_stands_twice():
    assert len({case.name for case in CASES}) == len(CASES)
    for band in BANDS:
        assert len({case.model for case in CASES if case.band is band}) >= 3


def test_an_answer_is_worse_only_than_one_on_fewer_chips_to_the_same_question():
    few = Case("llama-3.1-70b", "hgx-h100", 8, 2.0, 0.03)
    many = Case("llama-3.1-70b", "hgx-h100", 16, 2.0, 0.03)
    other = Case("llama-3.1-70b", "hgx-h100", 8, 2.0, 0.05)
    known = {few: Answered(0.1, 0.5, 0.0), other: Answered(0.1, 0.1, 0.0)}
    assert worse_than(many, Answered(0.1, 0.6, 0.0), known) == few
    assert worse_than(many, Answered(0.1, 0.5, 0.0), known) is None
    assert worse_than(few, Answered(0.1, 0.6, 0.0), {many: Answered(0.1, 0.5, 0.0)}) is None


def test_a_case_is_answered_with_what_it_took_and_what_was_found():
    found = answered(Case("llama-3.2-1b", "hgx-h100", 1, 1.0, 0.02))
    assert found.cpu_s > 0
    assert found.objective > 0
    assert found.gap == 0
