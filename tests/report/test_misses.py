"""Near misses in words."""

import pytest

import planner as pl
from planner.report.html import result_html
from planner.report.misses import near_miss_line, near_miss_lines, quick_misses
from tests.two_layers import GRAPH, WORK, machine

LINE = (
    "usd_per_million_tokens would be 39 % lower (12,800 USD) with one chip, but tpot_s would be 34 s,"
    " 3 % beyond its limit of 33 s"
)


def answer(limit: float = 33.0, **changes) -> pl.Result:
    found = pl.partition(
        GRAPH, machine(), WORK, minimize="usd_per_million_tokens", limits={"tpot_s": limit}
    )
    return found.replace(**changes)


def test_a_line_says_what_is_better_and_what_it_breaks_by_how_much():
    (miss,) = answer().near_misses()
    assert near_miss_line(miss) == LINE
    assert str(miss) == LINE


@pytest.mark.slow
def test_an_answer_tells_its_near_misses_in_text_and_html():
    found = answer()
    assert f"near miss: {LINE}" in str(found)
    assert f"near miss: {LINE}" in result_html(found)
    assert LINE in str(found.why())
    assert LINE in found.why()._repr_mimebundle_()["text/html"]


def test_an_answer_without_limits_or_near_misses_tells_none():
    free = pl.partition(GRAPH, machine(), WORK, minimize="usd_per_million_tokens")
    assert near_miss_lines(free) == []
    assert near_miss_lines(answer(limit=40.0)) == []


def test_an_answer_that_took_long_is_not_kept_waiting_for():
    assert quick_misses(answer(elapsed_s=60.0)) == ()


def test_a_limit_that_is_broken_by_a_hair_is_told_with_the_difference():
    (miss,) = answer(limit=34.0 * (1 - 1e-5)).near_misses()
    assert "tpot_s would be 34 s, 0.001 % (340 µs) beyond its limit of 34 s" in near_miss_line(miss)


def test_of_an_open_batch_the_line_says_how_many_are_in_flight():
    work = WORK.replace(batch_size=None)
    found = pl.partition(GRAPH, machine(), work, maximize="tokens_per_s", limits={"tpot_s": 35.0})
    (miss,) = found.near_misses()
    said = f"and {miss.plan.batch_size} sequences in flight, but tpot_s"
    assert said in near_miss_line(miss)
    assert near_miss_line(miss).startswith("tokens_per_s would be ")
    assert " % higher (" in near_miss_line(miss)
