"""How far many plans have come."""

import pytest

from planner.studies.sweeps import meters
from planner.studies.sweeps.meters import Meter, Tally, clock, page_bar, terminal_bar


def tally(**changes):
    return Tally(
        **{
            "cells": 400,
            "reused": 40,
            "planned": 80,
            "infeasible": 2,
            "failed": 0,
            "elapsed_s": 10.0,
        }
        | changes
    )


def test_a_tally_says_what_is_left():
    assert tally().left_s == pytest.approx(35.0)
    assert str(tally()) == "120 of 400 cells, 40 found in the file, 2 infeasible; 35 s left"
    assert str(tally(planned=360, failed=1)).endswith("1 failed; 10 s")
    assert tally(planned=0).left_s is None


def test_clocks_are_short():
    assert [clock(seconds) for seconds in (31.2, 125, 3725)] == ["31 s", "2:05 min", "1:02 h"]


def test_a_function_is_told_the_last_tally(monkeypatch):
    told = []
    meter = Meter(3, told.append)
    meter.count(["optimal"], reused=True)
    meter.count(["infeasible", "error"])
    meter.show()
    meter.show(last=True)
    assert len(told) == 1
    assert (told[0].reused, told[0].planned, told[0].infeasible, told[0].failed) == (1, 2, 1, 1)
    monkeypatch.setattr(meters, "EVERY_S", 0.0)
    meter.show()
    assert len(told) == 2


def test_nobody_watching_sees_nothing(capsys):
    for progress in (True, False):
        Meter(3, progress).show(last=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_keeps_one_line(capsys):
    show = terminal_bar()
    show(tally(), False)
    show(tally(planned=360), True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "400 of 400 cells, 40 found in the file" in err


def test_a_notebook_page_is_drawn_anew(monkeypatch):
    page = pytest.importorskip("IPython.display")
    drawn = []

    class Handle:
        update = staticmethod(lambda html: drawn.append(html.data))

    monkeypatch.setattr(page, "display", lambda *_, **__: Handle)
    show = page_bar()
    show(tally(), False)
    show(tally(planned=360), True)
    assert drawn[0].startswith("<progress value='120' max='400'>")
    assert drawn[1].startswith("400 of 400 cells")
