"""How far a question is."""

import pytest

from planner.doors import progress
from planner.doors.progress import Herald
from planner.doors.telling import so_far_told
from planner.planning.search import Progress


def search(elapsed_s, objective=None, bound=None):
    return Progress(
        elapsed_s=elapsed_s, boxes_done=1, boxes_open=2, objective=objective, bound=bound
    )


@pytest.mark.parametrize(
    ("told", "gap", "text"),
    [
        (
            ("tpot_s", 0.02, 0.018),
            0.1,
            "best time per output token so far 20 ms; no plan is better than 18 ms; gap 10 %",
        ),
        (("tpot_s", None, 0.018), None, "no plan yet; no plan is better than 18 ms"),
        (("tpot_s", 0.02, None), None, "best time per output token so far 20 ms"),
        (("tpot_s", None, 0.01, "l4"), None, "l4: no plan yet; no plan is better than 10 ms"),
        (("tpot_s", None, float("inf")), None, "no plan yet"),
    ],
    ids=str,
)
def test_what_is_found_so_far_is_told_in_words(told, gap, text):
    found = so_far_told(*told)
    assert found.text == text
    assert found.gap == pytest.approx(gap)


def test_a_search_is_told_of_four_times_a_second_at_most(monkeypatch):
    heard = []
    monkeypatch.setattr(progress, "tell", heard.append)
    herald = Herald("tpot_s", "l4")
    for elapsed_s in (0.0, 0.2, 0.3, 0.4, 0.54, 0.6, 0.9):
        herald(search(elapsed_s, objective=elapsed_s))
    assert [one.objective for one in heard] == [0.3, 0.6, 0.9]
    assert heard[0].text.startswith("l4: best")
